//! What the finance views compute.

use sqlx::PgPool;

use crate::seed::{Seed, execute, migrated_database};

async fn monthly(pool: &PgPool) -> Vec<(String, i64, Option<String>)> {
    sqlx::query_as(
        "SELECT to_char(billing_month, 'YYYY-MM'), recordings, cost_usd::text
           FROM finance.monthly_costs ORDER BY 1",
    )
    .fetch_all(pool)
    .await
    .unwrap()
}

#[tokio::test]
async fn sums_are_exact_to_the_last_digit() {
    let database = migrated_database().await;
    let pool = database.pool();
    for (number, month, cost) in [
        (1, "2026-01-05T00:00:00Z", "0.1"),
        (2, "2026-01-06T00:00:00Z", "0.2"),
        (3, "2026-02-05T00:00:00Z", "123456789.123456789"),
        (4, "2026-02-05T00:00:00Z", "0.000000001"),
    ] {
        let (started_at, cost_usd) = (Some(month), Some(cost));
        Seed {
            number,
            started_at,
            cost_usd,
            ..Seed::default()
        }
        .insert(&pool)
        .await;
    }
    assert_eq!(
        monthly(&pool).await,
        [
            ("2026-01".to_owned(), 2, Some("0.3".to_owned())),
            (
                "2026-02".to_owned(),
                2,
                Some("123456789.123456790".to_owned())
            ),
        ]
    );
}

#[tokio::test]
async fn a_recording_belongs_to_the_utc_month_of_its_start() {
    let database = migrated_database().await;
    let pool = database.pool();
    // Months must not hang on the time zone of the reader.
    execute(
        &pool,
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timezone = ''Pacific/Auckland''',
            current_database()); END $$",
    )
    .await;
    let options = (*pool.connect_options()).clone();
    pool.close().await;
    let pool = PgPool::connect_with(options).await.unwrap();

    for (number, started_at, created_at, month) in [
        (1, Some("2026-01-31T23:59:59.999999Z"), None, "2026-01"),
        (2, Some("2026-02-01T00:00:00Z"), None, "2026-02"),
        (3, Some("2024-02-29T23:59:59.999999Z"), None, "2024-02"),
        (4, Some("2024-03-01T00:00:00Z"), None, "2024-03"),
        (5, Some("2026-01-01T00:30:00+02:00"), None, "2025-12"),
        (6, None, Some("2025-06-30T23:59:59Z"), "2025-06"),
        (
            7,
            Some("2025-07-31T23:00:00Z"),
            Some("2025-08-01T01:00:00Z"),
            "2025-07",
        ),
    ] {
        // Each ends the next day, some the next month.
        let seed = Seed {
            number,
            started_at,
            created_at,
            finished_at: Some("2026-12-31T00:00:00Z"),
            ..Seed::default()
        };
        seed.insert(&pool).await;
        let found: String = sqlx::query_scalar(
            "SELECT to_char(billing_month, 'YYYY-MM') FROM finance.recordings WHERE recording_id = $1",
        )
        .bind(seed.id())
        .fetch_one(&pool)
        .await
        .unwrap();
        assert_eq!(found, month, "{started_at:?} {created_at:?}");
    }
}

#[tokio::test]
async fn costs_are_missing_provisional_or_final() {
    let database = migrated_database().await;
    let pool = database.pool();
    for (number, status, cost_usd, same_for, cost_state) in [
        (1, Some("completed"), None, None, "missing"),
        (2, Some("completed"), Some("0"), Some("0"), "provisional"),
        (
            3,
            Some("completed"),
            Some("0.05"),
            Some("6 days 23:59:59"),
            "provisional",
        ),
        (4, Some("completed"), Some("0.05"), Some("7 days"), "final"),
        (
            5,
            Some("processing"),
            Some("0.05"),
            Some("30 days"),
            "provisional",
        ),
        (6, None, Some("0.05"), Some("30 days"), "provisional"),
    ] {
        let started_at = Some("2026-01-15T12:00:00Z");
        let seed = Seed {
            number,
            status,
            started_at,
            cost_usd,
            same_for,
            ..Seed::default()
        };
        seed.insert(&pool).await;
        let found: String =
            sqlx::query_scalar("SELECT cost_state FROM finance.recordings WHERE recording_id = $1")
                .bind(seed.id())
                .fetch_one(&pool)
                .await
                .unwrap();
        assert_eq!(found, cost_state, "recording {number}");
    }
    let counted: (i64, i64, i64) =
        sqlx::query_as("SELECT recordings, provisional, missing_cost FROM finance.monthly_costs")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(counted, (6, 4, 1));
}

#[tokio::test]
async fn a_month_without_any_known_cost_has_none_instead_of_zero() {
    let database = migrated_database().await;
    let pool = database.pool();
    let started_at = Some("2026-01-15T12:00:00Z");
    Seed {
        number: 1,
        started_at,
        ..Seed::default()
    }
    .insert(&pool)
    .await;
    assert_eq!(monthly(&pool).await, [("2026-01".to_owned(), 1, None)]);
}

#[tokio::test]
async fn changes_after_the_first_observation_are_listed_and_late_ones_marked() {
    let database = migrated_database().await;
    let pool = database.pool();
    let started_at = Some("2026-01-31T23:00:00Z");
    Seed {
        number: 1,
        started_at,
        ..Seed::default()
    }
    .insert(&pool)
    .await;
    Seed {
        number: 2,
        ..Seed::default()
    }
    .insert(&pool)
    .await;
    execute(
        &pool,
        "INSERT INTO archiver.cost_observations (recording_id, observed_at, cost_usd, observed_by)
         SELECT recording_id, at::timestamptz, cost, 'reprice'
           FROM (VALUES (1, '2026-01-31T23:30:00Z', 0.050), (1, '2026-01-31T23:59:59.999999Z', 0.07),
                        (1, '2026-02-01T00:00:00Z', 0.0625), (2, '2026-02-01T00:00:00Z', 1),
                        (2, '2026-02-02T00:00:00Z', 2)) seen (number, at, cost)
           JOIN archiver.recordings ON right(recording_id::text, 1)::int = number
          ORDER BY at",
    )
    .await;
    let changes: Vec<(String, String, String, bool)> = sqlx::query_as(
        "SELECT previous_cost_usd::text, cost_usd::text, change_usd::text, after_month_end
           FROM finance.cost_changes ORDER BY recording_id, observed_at",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    let change = |previous: &str, cost: &str, change: &str, late| {
        (
            previous.to_owned(),
            cost.to_owned(),
            change.to_owned(),
            late,
        )
    };
    assert_eq!(
        changes,
        [
            change("0.050", "0.07", "0.020", false),
            change("0.07", "0.0625", "-0.0075", true),
            // Without a month there is no month's end.
            change("1", "2", "1", false),
        ]
    );
}

#[tokio::test]
async fn unit_costs_and_changes_are_of_what_is_known() {
    let database = migrated_database().await;
    let pool = database.pool();
    for (number, month, cost_usd, duration_secs, size_bytes) in [
        (
            1,
            "2026-01-05T00:00:00Z",
            Some("0.10"),
            Some(3600),
            Some(1 << 30),
        ),
        (2, "2026-01-06T00:00:00Z", Some("0.20"), Some(1800), None),
        (3, "2026-02-05T00:00:00Z", Some("0.36"), None, None),
        (4, "2026-02-05T00:00:00Z", None, Some(60), None),
        (5, "2026-04-05T00:00:00Z", Some("1"), None, None),
    ] {
        Seed {
            number,
            archived: size_bytes.is_some(),
            started_at: Some(month),
            cost_usd,
            duration_secs,
            size_bytes,
            ..Seed::default()
        }
        .insert(&pool)
        .await;
    }
    let text = |query: &'static str| {
        let pool = pool.clone();
        async move {
            let rows: Vec<String> = sqlx::query_scalar(query).fetch_all(&pool).await.unwrap();
            rows
        }
    };
    let units = "SELECT concat_ws(' ', billing_month, recordings, cost_usd, usd_per_hour::text,
                                  coalesce(usd_per_gib::text, '-'))
                   FROM finance.unit_costs ORDER BY billing_month";
    assert_eq!(
        text(units).await,
        [
            "2026-01-01 2 0.30 0.200000000 0.100000000",
            "2026-02-01 1 0.36 -",
            "2026-04-01 1 1 -",
        ]
    );
    let changes = "SELECT concat_ws(' ', billing_month, cost_usd, coalesce(change_usd::text, '-'),
                                    coalesce(change_percent::text, '-'))
                     FROM finance.monthly_changes ORDER BY billing_month";
    assert_eq!(
        text(changes).await,
        [
            "2026-01-01 0.30 - -",
            "2026-02-01 0.36 0.06 20.00",
            "2026-04-01 1 - -",
        ]
    );
    let not_archived =
        "SELECT concat_ws(' ', right(recording_id::text, 1), archive_state, cost_usd)
                          FROM finance.not_archived ORDER BY recording_id";
    assert_eq!(
        text(not_archived).await,
        [
            "2 pending 0.20",
            "3 pending 0.36",
            "4 pending",
            "5 pending 1"
        ]
    );
}
