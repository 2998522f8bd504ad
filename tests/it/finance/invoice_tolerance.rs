//! What is rounding, and what only looks like it.

use super::invoice::{IN_MARCH, MARCH, id, reconcile, seed};
use crate::harness::world::World;
use crate::seed::execute;

async fn seed_all(world: &World, costs: &[&'static str]) {
    for (number, cost) in (1..).zip(costs) {
        seed(world, number, MARCH, Some(*cost)).await;
    }
}

fn invoice(amounts: &[&str]) -> String {
    let lines: Vec<String> = (1..)
        .zip(amounts)
        .map(|(number, amount)| format!("{},{amount}\n", id(number)))
        .collect();
    format!("recording_id,amount\n{}", lines.concat())
}

#[tokio::test]
async fn whole_dollars_are_no_rounding_of_cents() {
    let world = World::local().await;
    seed_all(&world, &["0.27", "0.31", "0.60"]).await;
    let dollars = invoice(&["1", "1", "1"]);
    let run = reconcile(&world, &dollars, &IN_MARCH).await.demand_code(1);
    assert_eq!(
        run.stdout.matches("\namount_differs ").count(),
        4,
        "{run:?}"
    );
    let tolerant = ["--line-tolerance", "1"];
    let run = reconcile(&world, &dollars, &tolerant).await.demand_code(1);
    assert_eq!(
        run.stdout.matches("\namount_differs ").count(),
        3,
        "{run:?}"
    );
}

#[tokio::test]
async fn rounding_is_half_a_unit_of_the_last_place_of_its_own_line() {
    let world = World::local().await;
    let costs = ["0.0523", "0.1234", "0.12345678901234567", "0.045", "0.055"];
    seed_all(&world, &costs).await;
    let rounded = invoice(&["0.05", "0.1234", "0.12345678901234567", "0.05", "0.05"]);
    let run = reconcile(&world, &rounded, &IN_MARCH).await.demand_code(0);
    run.demand_output(&["\n2 match;"]);
    for (place, amount) in [
        (0, "0.06"),
        (1, "0.1235"),
        (2, "0.12345678901234569"),
        (3, "0.0451"),
    ] {
        let mut amounts = costs;
        amounts[place] = amount;
        let run = reconcile(&world, invoice(&amounts), &IN_MARCH)
            .await
            .demand_code(1);
        assert!(
            run.stdout.contains("\namount_differs "),
            "{amount}: {run:?}"
        );
    }
}

#[tokio::test]
async fn sum_of_roundings_is_bounded() {
    let world = World::local().await;
    seed_all(&world, &["0.045"; 20]).await;
    let up = invoice(&["0.05"; 20]);
    reconcile(&world, &up, &IN_MARCH)
        .await
        .demand_code(1)
        .demand_output(&[
            "roundings come to 0.100 USD, more than 0.05; ",
            "--max-rounding 0.100",
        ]);
    let accepted = ["--max-rounding", "0.1"];
    reconcile(&world, &up, &accepted).await.demand_code(0);
    let both: Vec<_> = ["0.05", "0.04"].repeat(10);
    reconcile(&world, invoice(&both), &IN_MARCH)
        .await
        .demand_code(0);
}

#[tokio::test]
async fn any_former_cost_explains_a_line_with_its_time() {
    let world = World::local().await;
    seed_all(&world, &["0.20", "0.30"]).await;
    execute(
        &world.pool,
        "INSERT INTO archiver.cost_observations (recording_id, observed_at, cost_usd, observed_by)
         SELECT id, at::timestamptz, cost, 'reprice'
           FROM (VALUES ('00000000-0000-0000-0000-000000000001'::uuid),
                        ('00000000-0000-0000-0000-000000000002')) ids(id),
                (VALUES (1, '2026-03-11', 0.25), (2, '2026-04-02', 0.2449),
                        (3, '2026-04-05', 0.10)) held(place, at, cost)
          ORDER BY place;
         INSERT INTO archiver.cost_observations (recording_id, observed_at, cost_usd, observed_by)
         VALUES ('00000000-0000-0000-0000-000000000001', '2026-04-09', 0.20, 'reprice'),
                ('00000000-0000-0000-0000-000000000002', 'infinity', 0.30, 'reprice')",
    )
    .await;
    for (amounts, until) in [
        (["0.25", "0.30"], "held until 2026-04-02 00:00 UTC"),
        (["0.24", "0.30"], "held until 2026-04-05 00:00 UTC"),
        (["0.10", "0.30"], "held until 2026-04-09 00:00 UTC"),
        (["0.20", "0.10"], "held until infinity UTC"),
    ] {
        reconcile(&world, invoice(&amounts), &IN_MARCH)
            .await
            .demand_code(1)
            .demand_output(&["\nlate_change ", until]);
    }
}
