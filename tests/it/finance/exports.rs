//! CSV and JSON of `report costs`: the view's columns, exact, in order.

use recording_archiver::cli::report::CostsOutput::{Csv, Json};
use recording_archiver::finance::report::Grouping;
use sqlx::PgPool;

use super::{report, report_between};
use crate::seed::{Seed, migrated_database};

/// Two months, two projects and one recording of which nothing is known.
async fn three_months_of_two_projects(pool: &PgPool) {
    let known = Seed {
        archived: true,
        status: Some("completed"),
        same_for: Some("8 days"),
        duration_secs: Some(60),
        size_bytes: Some(1024),
        ..Seed::default()
    };
    for seed in [
        Seed {
            number: 1,
            project_id: Some("beta"),
            session: Some(0xa),
            started_at: Some("2026-01-31T23:59:59.999999Z"),
            cost_usd: Some("0.1"),
            ..known
        },
        Seed {
            number: 2,
            project_id: Some("beta"),
            session: Some(0xa),
            started_at: Some("2026-02-01T00:00:00Z"),
            cost_usd: Some("0.20"),
            ..known
        },
        Seed {
            number: 3,
            project_id: Some("Alpha"),
            session: Some(0xb),
            started_at: Some("2026-02-02T00:00:00Z"),
            cost_usd: Some("123456789.123456789"),
            ..known
        },
        Seed {
            number: 4,
            project_id: Some("Alpha"),
            started_at: Some("2026-02-03T00:00:00Z"),
            status: Some("processing"),
            ..Seed::default()
        },
        Seed {
            number: 5,
            ..Seed::default()
        },
    ] {
        seed.insert(pool).await;
    }
}

#[tokio::test]
async fn csv_by_month_is_the_view() {
    let database = migrated_database().await;
    let pool = database.pool();
    three_months_of_two_projects(&pool).await;
    assert_eq!(
        report(&pool, Grouping::Month, Csv).await,
        "billing_month,project_id,recordings,archived,duration_secs,size_bytes,cost_usd,provisional,missing_cost\r\n\
         2026-01-01,beta,1,1,60,1024,0.1,0,0\r\n\
         2026-02-01,Alpha,2,1,60,1024,123456789.123456789,0,1\r\n\
         2026-02-01,beta,1,1,60,1024,0.20,0,0\r\n\
         ,,1,0,,,,0,1\r\n"
    );
}

#[tokio::test]
async fn csv_by_project_adds_the_months_up() {
    let database = migrated_database().await;
    let pool = database.pool();
    three_months_of_two_projects(&pool).await;
    assert_eq!(
        report(&pool, Grouping::Project, Csv).await,
        "project_id,recordings,archived,duration_secs,size_bytes,cost_usd,provisional,missing_cost\r\n\
         Alpha,2,1,60,1024,123456789.123456789,0,1\r\n\
         beta,2,2,120,2048,0.30,0,0\r\n\
         ,1,0,,,,0,1\r\n"
    );
}

#[tokio::test]
async fn csv_by_session_splits_a_session_over_its_months() {
    let database = migrated_database().await;
    let pool = database.pool();
    three_months_of_two_projects(&pool).await;
    assert_eq!(
        report(&pool, Grouping::Session, Csv).await,
        "room_session_id,project_id,billing_month,recordings,duration_secs,size_bytes,cost_usd\r\n\
         00000000-0000-0000-0000-00000000000a,beta,2026-01-01,1,60,1024,0.1\r\n\
         00000000-0000-0000-0000-00000000000a,beta,2026-02-01,1,60,1024,0.20\r\n\
         00000000-0000-0000-0000-00000000000b,Alpha,2026-02-01,1,60,1024,123456789.123456789\r\n"
    );
}

#[tokio::test]
async fn both_months_of_a_period_are_included() {
    let database = migrated_database().await;
    let pool = database.pool();
    three_months_of_two_projects(&pool).await;
    for (from, to, numbers) in [
        (Some("2026-01"), Some("2026-02"), "1234"),
        (Some("2026-02"), None, "234"),
        (None, Some("2026-01"), "1"),
        (Some("2026-03"), None, ""),
        (None, None, "12345"),
    ] {
        let csv = report_between(&pool, Grouping::Recording, Csv, from, to)
            .await
            .unwrap();
        let found: String = csv
            .lines()
            .skip(1)
            .filter_map(|line| line.split(',').next()?.chars().last())
            .collect();
        assert_eq!(found, numbers, "{from:?} {to:?}");
    }
}

#[tokio::test]
async fn a_reversed_period_is_refused() {
    let database = migrated_database().await;
    let pool = database.pool();
    let error = report_between(
        &pool,
        Grouping::Month,
        Csv,
        Some("2026-02"),
        Some("2026-01"),
    )
    .await
    .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("--from 2026-02 is after --to 2026-01"),
        "{error}"
    );
}

#[tokio::test]
async fn exports_carry_the_columns_of_their_views() {
    let database = migrated_database().await;
    let pool = database.pool();
    for (grouping, view, left_out) in [
        (Grouping::Month, "monthly_costs", ""),
        (Grouping::Session, "session_costs", ""),
        (Grouping::Recording, "recordings", ""),
        (Grouping::Project, "monthly_costs", "billing_month"),
    ] {
        let columns: Vec<String> = sqlx::query_scalar(
            "SELECT column_name::text FROM information_schema.columns
              WHERE table_schema = 'finance' AND table_name = $1 AND column_name <> $2
              ORDER BY ordinal_position",
        )
        .bind(view)
        .bind(left_out)
        .fetch_all(&pool)
        .await
        .unwrap();
        assert_eq!(grouping.columns(), columns, "{grouping:?}");
    }
}

#[tokio::test]
async fn hostile_text_is_disarmed_in_csv_and_kept_in_json() {
    let database = migrated_database().await;
    let pool = database.pool();
    Seed {
        number: 1,
        archived: true,
        project_id: Some("=HYPERLINK(\"http://x\",\"y\")"),
        started_at: Some("2026-01-01T00:00:00Z"),
        cost_usd: Some("-0.0500"),
        object_url: Some("@SUM(A1)\u{1b}[2J\u{202e}"),
        ..Seed::default()
    }
    .insert(&pool)
    .await;
    let csv = report(&pool, Grouping::Recording, Csv).await;
    assert!(
        csv.contains(",\"'=HYPERLINK(\"\"http://x\"\",\"\"y\"\")\","),
        "{csv}"
    );
    assert!(csv.contains(",'@SUM(A1)"), "{csv}");
    assert!(csv.contains(",-0.0500,"), "{csv}");

    let json = report(&pool, Grouping::Recording, Json).await;
    assert!(json.is_ascii(), "{json}");
    assert!(!json.contains('\u{1b}'), "{json}");
    let rows: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(rows[0]["project_id"], "=HYPERLINK(\"http://x\",\"y\")");
    assert_eq!(rows[0]["object_url"], "@SUM(A1)\u{1b}[2J\u{202e}");
}

#[tokio::test]
async fn json_is_one_array_with_money_as_strings() {
    let database = migrated_database().await;
    let pool = database.pool();
    three_months_of_two_projects(&pool).await;
    assert_eq!(
        report_between(&pool, Grouping::Month, Json, Some("2026-02"), None)
            .await
            .unwrap(),
        "[\n\
         {\"billing_month\":\"2026-02-01\",\"project_id\":\"Alpha\",\"recordings\":2,\"archived\":1,\
         \"duration_secs\":60,\"size_bytes\":1024,\"cost_usd\":\"123456789.123456789\",\
         \"provisional\":0,\"missing_cost\":1},\n\
         {\"billing_month\":\"2026-02-01\",\"project_id\":\"beta\",\"recordings\":1,\"archived\":1,\
         \"duration_secs\":60,\"size_bytes\":1024,\"cost_usd\":\"0.20\",\"provisional\":0,\
         \"missing_cost\":0}\n\
         ]\n"
    );
    let recordings = report(&pool, Grouping::Recording, Json).await;
    let recordings: Vec<serde_json::Value> = serde_json::from_str(&recordings).unwrap();
    assert_eq!(recordings[0]["started_at"], "2026-01-31T23:59:59.999999Z");
    assert_eq!(recordings[0]["cost_state"], "final");
    assert_eq!(recordings[4]["cost_usd"], serde_json::Value::Null);
    assert_eq!(recordings[4]["cost_state"], "missing");
}

#[tokio::test]
async fn amounts_of_any_size_are_exported_exactly() {
    let database = migrated_database().await;
    let pool = database.pool();
    let amount = "12345678901234567890123456789012345678.000000000000000000010";
    let started_at = Some("2026-01-01T00:00:00Z");
    Seed {
        number: 1,
        started_at,
        cost_usd: Some(amount),
        ..Seed::default()
    }
    .insert(&pool)
    .await;
    let csv = report(&pool, Grouping::Month, Csv).await;
    assert!(csv.contains(amount), "{csv}");
}

#[tokio::test]
async fn nothing_to_report_is_a_header_or_an_empty_array() {
    let database = migrated_database().await;
    let pool = database.pool();
    let csv = report(&pool, Grouping::Session, Csv).await;
    assert_eq!(csv.lines().count(), 1);
    assert_eq!(report(&pool, Grouping::Session, Json).await, "[]\n");
}
