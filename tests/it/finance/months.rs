//! Where a month ends: at midnight UTC, in every view and report, whatever the session's time zone.

use recording_archiver::cli::report::{CostsArgs, CostsOutput, FocusArgs, FocusOutput, focus};
use recording_archiver::finance::report::Grouping;
use sqlx::PgPool;

use super::{args, report_with};
use crate::harness::postgres::TestDatabase;
use crate::seed::{Seed, execute, migrated_database};

/// Starts and ends of recordings, and the month that each belongs to.
const EDGES: [(u128, &str, &str, &str); 9] = [
    (
        1,
        "2025-12-31T23:59:59.999999Z",
        "2026-01-01T00:30:00Z",
        "2025-12",
    ),
    (2, "2026-01-01T00:00:00Z", "2026-01-01T00:30:00Z", "2026-01"),
    // Over midnight of the month's end.
    (3, "2026-01-31T23:30:00Z", "2026-02-01T01:00:00Z", "2026-01"),
    (
        4,
        "2026-01-31T23:59:59.999999Z",
        "2026-01-31T23:59:59.999999Z",
        "2026-01",
    ),
    (5, "2026-02-01T00:00:00Z", "2026-02-01T00:01:00Z", "2026-02"),
    // As told from elsewhere.
    (
        6,
        "2026-02-01T12:59:59+13:00",
        "2026-02-01T13:30:00+13:00",
        "2026-01",
    ),
    (
        7,
        "2026-01-31T14:00:00-10:00",
        "2026-01-31T15:00:00-10:00",
        "2026-02",
    ),
    (
        8,
        "2024-02-29T23:59:59.999999Z",
        "2024-03-01T00:10:00Z",
        "2024-02",
    ),
    (9, "2024-03-01T00:00:00Z", "2024-03-01T00:10:00Z", "2024-03"),
];

/// Half a day ahead of UTC: what forgets to say UTC is wrong for half of each day.
async fn in_auckland(database: &TestDatabase) -> PgPool {
    let pool = database.pool();
    execute(
        &pool,
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timezone = %L',
            current_database(), 'Pacific/Auckland'); END $$",
    )
    .await;
    pool.close().await;
    let pool = PgPool::connect_with(database.options()).await.unwrap();
    for (number, started_at, finished_at, _) in EDGES {
        Seed {
            number,
            project_id: Some("p"),
            session: Some(number),
            started_at: Some(started_at),
            finished_at: Some(finished_at),
            cost_usd: Some("1"),
            ..Seed::default()
        }
        .insert(&pool)
        .await;
    }
    pool
}

#[tokio::test]
async fn a_month_ends_at_midnight_utc_in_every_report() {
    let database = migrated_database().await;
    let pool = in_auckland(&database).await;
    for month in ["2024-02", "2024-03", "2025-12", "2026-01", "2026-02"] {
        let expected = EDGES.iter().filter(|(.., of)| *of == month);
        let expected: Vec<u128> = expected.map(|(number, ..)| *number).collect();
        let of_month = Some(month.parse().unwrap());
        let csv = async |by| {
            let args = CostsArgs {
                from: of_month,
                to: of_month,
                ..args(by, CostsOutput::Csv)
            };
            let csv = report_with(&pool, &args, None).await.unwrap();
            let rows: Vec<String> = csv.lines().skip(1).map(str::to_owned).collect();
            rows
        };
        let count = expected.len();
        assert_eq!(
            csv(Grouping::Month).await,
            [format!("{month}-01,p,{count},0,,,{count},{count},0")]
        );
        assert_eq!(
            csv(Grouping::Project).await,
            [format!("p,{count},0,,,{count},{count},0")]
        );
        assert_eq!(csv(Grouping::Session).await.len(), count);
        let recordings = csv(Grouping::Recording).await;
        let ids = recordings.iter().map(|row| row.split(',').next().unwrap());
        let mut found: Vec<u128> = ids
            .map(|id| id.parse::<uuid::Uuid>().unwrap().as_u128())
            .collect();
        found.sort_unstable();
        assert_eq!(found, expected, "{month}");

        let args = FocusArgs {
            from: of_month,
            to: of_month,
            project: None,
            output: FocusOutput::Csv,
        };
        let mut out = Vec::new();
        focus(&pool, &args, &mut out).await.unwrap();
        let focus = String::from_utf8(out).unwrap();
        let begins = format!("1,USD,{month}-01T00:00:00Z,");
        assert_eq!(focus.matches(&begins).count(), count, "{focus}");
    }
}

#[tokio::test]
async fn what_hangs_on_a_months_or_a_days_end_is_utc_too() {
    let database = migrated_database().await;
    let pool = in_auckland(&database).await;
    execute(
        &pool,
        "INSERT INTO archiver.cost_observations (recording_id, observed_at, cost_usd, observed_by)
         SELECT '00000000-0000-0000-0000-000000000001', at, cost, 'reprice'
           FROM (VALUES (timestamptz '2025-12-31T23:59:59Z', 1), ('2025-12-31T23:59:59.999999Z', 2),
                        ('2026-01-01T00:00:00Z', 3)) seen (at, cost)
          ORDER BY at",
    )
    .await;
    let late: Vec<bool> =
        sqlx::query_scalar("SELECT after_month_end FROM finance.cost_changes ORDER BY observed_at")
            .fetch_all(&pool)
            .await
            .unwrap();
    assert_eq!(late, [false, true]);
    // Read again around the moment from which it counts, and around that day's two midnights.
    execute(
        &pool,
        "UPDATE archiver.recordings
            SET state = 'archived', object_url = 'file:///a', object_key = 'a', size_bytes = 1,
                sha256 = sha256(''), crc64nvme = '', evidence = 'parts', archived_at = now(),
                finalized_at = now(),
                verified_at = CASE right(recording_id::text, 1)::int
                    WHEN 1 THEN since - interval '1 s' WHEN 2 THEN since + interval '10 min'
                    WHEN 3 THEN day - interval '1 s' WHEN 4 THEN day
                    WHEN 5 THEN day + interval '1 day' - interval '1 s'
                    WHEN 6 THEN day + interval '1 day' WHEN 7 THEN since + interval '11 hours'
                    WHEN 8 THEN since - interval '11 hours' END
           FROM (SELECT now() - interval '30 days' AS since,
                        date_trunc('day', now() - interval '30 days', 'UTC') AS day) moments",
    )
    .await;
    let (kept, plain): (i64, i64) = sqlx::query_as(
        "SELECT read_again, (SELECT count(*) FROM archiver.recordings
                              WHERE verified_at > now() - interval '30 days')
           FROM archiver.coverage('30 days')",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(kept, plain);
}
