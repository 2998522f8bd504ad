//! A claim costs the same however deep the queue is, and whatever lies dead in front of it.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use recording_archiver::queue::{Cursor, Queue};
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection, PgConnection, PgPool, Postgres, Transaction};
use uuid::Uuid;

use crate::harness::world::World;
use crate::seed::execute;

const DEPTH: usize = 12_000;
/// Claimed in one statement.
const BATCH: usize = 20;
const BATCHES_MEASURED: usize = 100;

#[tokio::test]
async fn what_was_claimed_before_is_not_walked_over_though_a_snapshot_keeps_it() {
    let world = World::local().await;
    // Statistics are a connection's own until it tells them: here there is only one.
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .connect_with(world.database_options())
        .await
        .unwrap();
    fill(&pool, DEPTH).await;
    let mut old = PgConnection::connect_with(&world.database_options())
        .await
        .unwrap();
    let snapshot = old_snapshot(&mut old).await;

    let lease = Duration::from_hours(1);
    let queue = Queue::new(pool.clone(), "project".to_owned(), "test".to_owned(), lease);
    let mut cursor = Cursor::default();
    let measured = BATCH * BATCHES_MEASURED;
    claim(&queue, &mut cursor, DEPTH - measured).await;
    let before = entries_read(&pool).await;
    claim(&queue, &mut cursor, measured).await;
    let read = entries_read(&pool).await - before;
    // One entry for each row, and now and then a look from the front, which walks over everything.
    // Without a cursor each batch would do that.
    let every_time = (DEPTH - measured) * BATCHES_MEASURED;
    let read = usize::try_from(read).unwrap();
    assert!(read >= measured, "{read}: nothing was measured");
    assert!(
        read < every_time / 5,
        "{read} of {every_time} index entries"
    );
    snapshot.rollback().await.unwrap();
}

#[tokio::test]
async fn a_claim_walks_its_lane_in_order_whatever_the_statistics_say() {
    let world = World::local().await;
    let mut connection = PgConnection::connect_with(&world.database_options())
        .await
        .unwrap();
    fill(&world.pool, 5000).await;
    let claim = statement("queue::claim_due");
    for statistics in ["SELECT 1", "ANALYZE archiver.recordings"] {
        execute(&world.pool, statistics).await;
        let plan = generic_plan(&mut connection, &claim).await;
        assert!(plan.contains("Index Scan using recordings_lanes"), "{plan}");
        assert!(
            !plan.contains("Sort") && !plan.contains("Seq Scan"),
            "{plan}"
        );
    }
}

/// For `.ci/queue-depth`: takes minutes, and says what it saw.
#[tokio::test]
#[ignore = "takes minutes"]
async fn a_million_rows_are_claimed_as_fast_as_a_few_thousand() {
    for held in [false, true] {
        let world = World::local().await;
        let lease = Duration::from_hours(1);
        let queue = Queue::new(
            world.pool.clone(),
            "project".to_owned(),
            "test".to_owned(),
            lease,
        );
        println!("an old snapshot is {}held", if held { "" } else { "not " });
        fill(&world.pool, 10_000).await;
        let shallow = Rates::measured(&queue, &world.pool, &mut Cursor::default()).await;
        println!("     10,000 rows: {shallow:?}");
        fill(&world.pool, 1_000_000).await;
        execute(&world.pool, "ANALYZE archiver.recordings").await;
        let mut old = PgConnection::connect_with(&world.database_options())
            .await
            .unwrap();
        let snapshot = if held {
            Some(old_snapshot(&mut old).await)
        } else {
            None
        };
        let mut cursor = Cursor::default();
        let mut worst: f64 = 1.0;
        for claimed in [0, 100_000, 300_000, 600_000] {
            while passed(&world.pool).await < claimed + 10_000 {
                settle_batch(&queue, &world.pool, &mut cursor, 1000).await;
            }
            let deep = Rates::measured(&queue, &world.pool, &mut cursor).await;
            let (one, many) = (deep.one / shallow.one, deep.twenty / shallow.twenty);
            println!(
                "{claimed:>7} of 1,000,000: {deep:?}, {one:.2} and {many:.2} of the shallow queue"
            );
            worst = worst.min(one).min(many);
        }
        drop(snapshot);
        assert!(worst > 0.5, "it slows down with depth: {worst}");
    }
}

/// Recordings claimed and settled in a second, in batches of this size.
#[derive(Debug)]
struct Rates {
    one: f64,
    twenty: f64,
}

impl Rates {
    async fn measured(queue: &Queue, pool: &PgPool, cursor: &mut Cursor) -> Self {
        let mut rates = [0.0; 2];
        for (rate, batch) in rates.iter_mut().zip([1, 20]) {
            let (began, mut done) = (Instant::now(), 0);
            while done < 2000 {
                done += settle_batch(queue, pool, cursor, batch).await;
            }
            *rate = f64::from(u32::try_from(done).unwrap()) / began.elapsed().as_secs_f64();
        }
        let [one, twenty] = rates;
        Self { one, twenty }
    }
}

async fn settle_batch(queue: &Queue, pool: &PgPool, cursor: &mut Cursor, batch: usize) -> usize {
    let due = queue.claim_due(cursor, batch).await.unwrap();
    let ids: Vec<Uuid> = due
        .claims
        .iter()
        .map(|claim| claim.recording_id().uuid())
        .collect();
    sqlx::query(
        "WITH ended AS (
             UPDATE archiver.attempts SET outcome = 'failed', finished_at = now()
              WHERE recording_id = ANY ($1) AND outcome IS NULL)
         UPDATE archiver.recordings
            SET state = 'failed', error_kind = 'not_found', error_message = 'not found',
                finalized_at = now(), lease_token = NULL, lease_expires_at = NULL, leased_by = NULL
          WHERE recording_id = ANY ($1)",
    )
    .bind(&ids)
    .execute(pool)
    .await
    .unwrap();
    ids.len()
}

async fn passed(pool: &PgPool) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM archiver.attempts")
        .fetch_one(pool)
        .await
        .unwrap()
}

async fn old_snapshot(connection: &mut PgConnection) -> Transaction<'_, Postgres> {
    let mut snapshot = connection.begin().await.unwrap();
    for statement in [
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "SELECT FROM archiver.recordings LIMIT 1",
    ] {
        sqlx::query(statement)
            .execute(&mut *snapshot)
            .await
            .unwrap();
    }
    snapshot
}

async fn fill(pool: &PgPool, rows: usize) {
    sqlx::query(
        "INSERT INTO archiver.recordings (recording_id)
         SELECT gen_random_uuid() FROM generate_series(1, $1)",
    )
    .bind(i64::try_from(rows).unwrap())
    .execute(pool)
    .await
    .unwrap();
}

async fn claim(queue: &Queue, cursor: &mut Cursor, rows: usize) {
    let mut left = rows;
    while left > 0 {
        let due = queue.claim_due(cursor, BATCH).await.unwrap();
        assert_eq!(due.claims.len(), BATCH, "the queue is deep enough");
        left -= due.claims.len();
    }
}

/// How many entries of the queue's index were read so far, dead ones included.
async fn entries_read(pool: &PgPool) -> i64 {
    execute(pool, "SELECT pg_stat_force_next_flush()").await;
    sqlx::query_scalar(
        "SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'recordings_lanes'",
    )
    .fetch_one(pool)
    .await
    .unwrap()
}

/// The text of a checked query, as it is sent.
fn statement(name: &str) -> String {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(".sqlx");
    let texts = fs::read_dir(directory).unwrap().map(|entry| {
        let file = fs::read_to_string(entry.unwrap().path()).unwrap();
        let query: serde_json::Value = serde_json::from_str(&file).unwrap();
        query["query"].as_str().unwrap().to_owned()
    });
    let mut found: Vec<String> = texts
        .filter(|text| text.starts_with(&format!("-- {name}\n")))
        .collect();
    assert_eq!(found.len(), 1, "{name}");
    found.remove(0)
}

/// The plan that serves all parameters.
async fn generic_plan(connection: &mut PgConnection, statement: &str) -> String {
    for set_up in [
        "DEALLOCATE ALL".to_owned(),
        "SET plan_cache_mode = force_generic_plan".to_owned(),
        format!("PREPARE claim AS {statement}"),
    ] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(set_up))
            .execute(&mut *connection)
            .await
            .unwrap();
    }
    let explain = "EXPLAIN EXECUTE claim(0, '', '-infinity', gen_random_uuid(), 'project', 1,
                                         '1 minute', 'test')";
    let lines: Vec<String> = sqlx::query_scalar(explain)
        .persistent(false)
        .fetch_all(connection)
        .await
        .unwrap();
    lines.join("\n")
}
