//! What every recording asks of the database is not planned anew for each one: that would take
//! longer than to do it.

use recording_archiver::simulator::SimulatedRecording;
use sqlx::postgres::PgPoolOptions;
use uuid::Uuid;

use crate::harness::world::World;
use crate::seed::execute;

/// Postgres plans with the values at hand so often before it thinks of a plan for all.
const TRIED_WITH_VALUES: i64 = 5;

#[tokio::test]
async fn what_every_recording_asks_is_planned_for_all_of_them() {
    const RECORDINGS: i64 = 12;
    let world = World::local().await;
    // Of a small table, any plan is as good.
    execute(
        &world.pool,
        "INSERT INTO archiver.recordings (recording_id, next_attempt_at)
         SELECT gen_random_uuid(), now() + interval '1 day' FROM generate_series(1, 5000)",
    )
    .await;
    execute(&world.pool, "ANALYZE archiver.recordings").await;
    for _ in 0..RECORDINGS {
        world
            .add(SimulatedRecording::new(Uuid::new_v4(), 100))
            .await;
    }
    // Prepared statements are a session's own: here there is only one.
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .connect_with(world.database_options())
        .await
        .unwrap();
    let (_, reports) = world
        .run_once(world.settings().archiver(pool.clone()), 1)
        .await;
    assert_eq!(i64::try_from(reports.len()).unwrap(), RECORDINGS);

    let statements: Vec<(String, i64, i64)> = sqlx::query_as(
        r"SELECT substring(statement from '^-- (\S+)'), custom_plans, generic_plans
            FROM pg_prepared_statements
           WHERE statement LIKE '-- %' AND custom_plans + generic_plans >= $1",
    )
    .bind(RECORDINGS)
    .fetch_all(&pool)
    .await
    .unwrap();
    for name in [
        "queue::claim_due",
        "finance::record_one",
        "queue::complete",
        "queue::finish_attempt",
    ] {
        let Some((_, with_values, _)) = statements.iter().find(|(it, ..)| it == name) else {
            panic!("{name} is not among {statements:?}");
        };
        assert!(
            *with_values <= TRIED_WITH_VALUES,
            "{name} was planned {with_values} times"
        );
    }
}

#[tokio::test]
async fn what_counts_a_recording_is_planned_for_all_of_them() {
    let world = World::local().await;
    // A later `CREATE OR REPLACE` would lose it.
    let is_planned_once: bool = sqlx::query_scalar(
        "SELECT coalesce('plan_cache_mode=force_generic_plan' = ANY (p.proconfig), false)
           FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
          WHERE t.tgrelid = 'archiver.recordings'::regclass AND t.tgname = 'count_changed'",
    )
    .fetch_one(&world.pool)
    .await
    .unwrap();
    assert!(is_planned_once);
}
