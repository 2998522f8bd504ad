//! `report changes`: what became of a month after it was closed.

use recording_archiver::cli::report::CostsOutput;
use recording_archiver::cli::report::changes::{ChangesArgs, run};
use sqlx::PgPool;

use crate::seed::{Seed, execute, migrated_database};

async fn changes(pool: &PgPool, month: &str, project: Option<&str>, output: CostsOutput) -> String {
    let args = ChangesArgs {
        month: month.parse().unwrap(),
        project: project.map(str::to_owned),
        output,
    };
    let mut out = Vec::new();
    run(pool, &args, &mut out).await.unwrap();
    String::from_utf8(out).unwrap()
}

async fn seed(pool: &PgPool) {
    for (number, project_id, started_at) in [
        (1, "a", "2026-03-31T23:59:59.999999Z"),
        (2, "b", "2026-03-01T00:00:00Z"),
        (3, "a", "2026-04-01T00:00:00Z"),
    ] {
        Seed {
            number,
            project_id: Some(project_id),
            started_at: Some(started_at),
            ..Seed::default()
        }
        .insert(pool)
        .await;
    }
    execute(
        pool,
        "INSERT INTO archiver.cost_observations (recording_id, observed_at, cost_usd, observed_by)
         SELECT recording_id, at::timestamptz, cost, 'reprice'
           FROM (VALUES (1, '2026-03-31T23:59:59.99Z', 0.050),
                        (1, '2026-03-31T23:59:59.999999Z', 0.06),
                        (1, '2026-04-01T00:00:00Z', 0.0625), (2, '2026-04-01T00:00:00Z', 1),
                        (2, '2026-04-02T00:00:00Z', 0.9000001), (3, '2026-04-02T00:00:00Z', 1),
                        (3, '2026-05-02T00:00:00Z', 2)) seen (number, at, cost)
           JOIN archiver.recordings ON right(recording_id::text, 1)::int = number
          ORDER BY at",
    )
    .await;
}

#[tokio::test]
async fn what_changed_after_the_month_had_ended_is_listed_and_added_up() {
    let database = migrated_database().await;
    let pool = database.pool();
    seed(&pool).await;
    assert_eq!(
        changes(&pool, "2026-03", None, CostsOutput::Table).await,
        "\
recording                             project  seen (UTC)            before (USD)  now (USD)  change (USD)
00000000-0000-0000-0000-000000000001  a        2026-04-01T00:00:00Z          0.06     0.0625        0.0025
00000000-0000-0000-0000-000000000002  b        2026-04-02T00:00:00Z             1  0.9000001    -0.0999999
total                                                                                           -0.0974999
2 changes of costs of 2026-03 after the month had ended: -0.0974999 USD in all
"
    );
    assert_eq!(
        changes(&pool, "2026-03", Some("a"), CostsOutput::Csv).await,
        "recording_id,project_id,billing_month,observed_at,previous_cost_usd,cost_usd,change_usd,\
         after_month_end\r\n\
         00000000-0000-0000-0000-000000000001,a,2026-03-01,2026-04-01T00:00:00Z,0.06,0.0625,0.0025,\
         true\r\n"
    );
    let json = changes(&pool, "2026-03", Some("b"), CostsOutput::Json).await;
    assert!(
        json.contains(r#""change_usd":"-0.0999999","after_month_end":true}"#),
        "{json}"
    );
    assert_eq!(
        changes(&pool, "2026-02", Some("b"), CostsOutput::Table).await,
        "No cost of 2026-02 of project b changed after the month had ended.\n"
    );
}
