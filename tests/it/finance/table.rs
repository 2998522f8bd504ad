//! `report costs` for people: units, totals, the rounding line, and what the totals lack.

use recording_archiver::cli::report::CostsOutput::Table;
use recording_archiver::finance::report::Grouping;

use super::{args, report, report_between, report_with};
use crate::seed::{Seed, migrated_database};

const KNOWN: Seed = Seed {
    number: 0,
    archived: true,
    project_id: Some("p"),
    session: None,
    status: Some("completed"),
    started_at: Some("2026-01-15T12:00:00Z"),
    finished_at: None,
    created_at: None,
    duration_secs: Some(3_600),
    size_bytes: Some(1_048_576),
    cost_usd: Some("0.1"),
    same_for: Some("8 days"),
    object_url: None,
};

#[tokio::test]
async fn amounts_with_few_decimals_are_shown_exactly() {
    let database = migrated_database().await;
    let pool = database.pool();
    Seed { number: 1, ..KNOWN }.insert(&pool).await;
    Seed {
        number: 2,
        cost_usd: Some("0.2"),
        ..KNOWN
    }
    .insert(&pool)
    .await;
    Seed {
        number: 3,
        started_at: Some("2026-02-01T00:00:00Z"),
        cost_usd: Some("2.1250"),
        same_for: None,
        ..KNOWN
    }
    .insert(&pool)
    .await;
    Seed {
        number: 4,
        ..Seed::default()
    }
    .insert(&pool)
    .await;
    assert_eq!(
        report(&pool, Grouping::Month, Table).await,
        "\
month (UTC)      project          recordings  archived  h:mm:ss     size  cost (USD)  provisional  no cost yet
2026-01          p                         2         2  2:00:00  2.0 MiB       0.30             0            0
2026-02          p                         1         1  1:00:00  1.0 MiB       2.125            1            0
(not known yet)  (not found yet)           1         0        -        -           -            0            1
total                                      4         3  3:00:00  3.0 MiB       2.425            1            1
1 recording with a provisional cost: the provider may still change it
1 recording without a cost so far: not part of the total
"
    );
}

#[tokio::test]
async fn printed_rows_and_the_rounding_line_add_up_to_the_exact_total() {
    let database = migrated_database().await;
    let pool = database.pool();
    Seed {
        number: 1,
        cost_usd: Some("123456789.123456789"),
        ..KNOWN
    }
    .insert(&pool)
    .await;
    Seed {
        number: 2,
        project_id: Some("q"),
        cost_usd: Some("0.006"),
        ..KNOWN
    }
    .insert(&pool)
    .await;
    assert_eq!(
        report(&pool, Grouping::Project, Table).await,
        "\
project   recordings  archived  h:mm:ss     size           cost (USD)  provisional  no cost yet
p                  1         1  1:00:00  1.0 MiB  123456789.12                   0            0
q                  1         1  1:00:00  1.0 MiB          0.01                   0            0
rounding                                                 -0.000543211
total              2         2  2:00:00  2.0 MiB  123456789.129456789            0            0
"
    );
}

#[tokio::test]
async fn recordings_and_sessions_say_what_is_not_listed() {
    let database = migrated_database().await;
    let pool = database.pool();
    Seed {
        number: 1,
        session: Some(7),
        ..KNOWN
    }
    .insert(&pool)
    .await;
    Seed { number: 2, ..KNOWN }.insert(&pool).await;
    Seed {
        number: 3,
        ..Seed::default()
    }
    .insert(&pool)
    .await;
    let sessions = report_between(
        &pool,
        Grouping::Session,
        Table,
        Some("2026-01"),
        Some("2026-01"),
    )
    .await
    .unwrap();
    assert!(
        sessions.contains("\n1 recording not listed: the month is not known yet\n"),
        "{sessions}"
    );
    assert!(
        sessions.contains("\n1 recording not listed: the room session is not known\n"),
        "{sessions}"
    );
    assert!(!sessions.contains("without a cost"), "{sessions}");

    let recordings = report(&pool, Grouping::Recording, Table).await;
    assert!(recordings.contains("2026-01-15T12:00:00Z"), "{recordings}");
    assert!(
        recordings.contains("\n1 recording without a cost so far"),
        "{recordings}"
    );
    assert!(!recordings.contains("not listed"), "{recordings}");
}

#[tokio::test]
async fn hostile_text_reaches_no_terminal() {
    let database = migrated_database().await;
    let pool = database.pool();
    let project_id = Some("p\u{1b}[2J\u{202e}");
    Seed {
        number: 1,
        project_id,
        ..KNOWN
    }
    .insert(&pool)
    .await;
    let table = report(&pool, Grouping::Month, Table).await;
    assert!(table.contains(r"p\u{1b}[2J\u{202e}"), "{table}");
    assert!(table.is_ascii() && !table.contains('\u{1b}'), "{table}");
}

#[tokio::test]
async fn an_empty_report_says_so() {
    let database = migrated_database().await;
    let pool = database.pool();
    assert_eq!(
        report(&pool, Grouping::Month, Table).await,
        "No recordings to report.\n"
    );
    let bounded = report_between(
        &pool,
        Grouping::Month,
        Table,
        Some("2026-01"),
        Some("2026-02"),
    );
    assert_eq!(
        bounded.await.unwrap(),
        "No recordings to report from 2026-01 to 2026-02.\n"
    );
}

#[tokio::test]
async fn a_total_that_cannot_be_exact_is_refused_with_the_cure() {
    let database = migrated_database().await;
    let pool = database.pool();
    Seed {
        number: 1,
        cost_usd: Some("12345678901234567890123456789.5"),
        ..KNOWN
    }
    .insert(&pool)
    .await;
    let error = report_between(&pool, Grouping::Month, Table, None, None)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("--output csv"), "{error}");
}

#[tokio::test]
async fn a_terminal_with_room_shows_bars_and_a_pipe_none() {
    let database = migrated_database().await;
    let pool = database.pool();
    let project_id = Some("7c2d1a40-0000-4000-8000-000000000000");
    for (number, started_at, cost_usd) in [
        (1, "2026-01-15T12:00:00Z", Some("10")),
        (2, "2026-02-15T12:00:00Z", Some("2.5")),
        (3, "2026-03-15T12:00:00Z", Some("0.01")),
        (4, "2026-04-15T12:00:00Z", None),
        (5, "2026-05-15T12:00:00Z", Some("-1")),
    ] {
        Seed {
            number,
            project_id,
            started_at: Some(started_at),
            cost_usd,
            ..KNOWN
        }
        .insert(&pool)
        .await;
    }
    let args = args(Grouping::Month, Table);
    let narrow = report_with(&pool, &args, Some(80)).await.unwrap();
    insta::assert_snapshot!(narrow, @r"
    project 7c2d1a40-0000-4000-8000-000000000000
    month (UTC)  recordings  archived  h:mm:ss     size  cost (USD)
    2026-01               1         1  1:00:00  1.0 MiB       10.00  ███████████████
    2026-02               1         1  1:00:00  1.0 MiB        2.50  ███▊
    2026-03               1         1  1:00:00  1.0 MiB        0.01  ▏
    2026-04               1         1  1:00:00  1.0 MiB           -
    2026-05               1         1  1:00:00  1.0 MiB       -1.00
    total                 5         5  5:00:00  5.0 MiB       11.51
    1 recording without a cost so far: not part of the total
    ");
    let wide = report_with(&pool, &args, Some(120)).await.unwrap();
    insta::assert_snapshot!(wide, @r"
    project 7c2d1a40-0000-4000-8000-000000000000
    month (UTC)  recordings  archived  h:mm:ss     size  cost (USD)  provisional  no cost yet
    2026-01               1         1  1:00:00  1.0 MiB       10.00            0            0  █████████████████████████████
    2026-02               1         1  1:00:00  1.0 MiB        2.50            0            0  ███████▎
    2026-03               1         1  1:00:00  1.0 MiB        0.01            0            0  ▏
    2026-04               1         1  1:00:00  1.0 MiB           -            0            1
    2026-05               1         1  1:00:00  1.0 MiB       -1.00            0            0
    total                 5         5  5:00:00  5.0 MiB       11.51            0            1
    1 recording without a cost so far: not part of the total
    ");
    let widest = report_with(&pool, &args, Some(300)).await.unwrap();
    assert!(
        widest.contains(&"█".repeat(40)) && !widest.contains(&"█".repeat(41)),
        "{widest}"
    );
    assert!(
        widest.contains("provisional"),
        "with room for all, nothing is left out"
    );

    let piped = report_with(&pool, &args, None).await.unwrap();
    let cramped = report_with(&pool, &args, Some(60)).await.unwrap();
    assert_eq!(cramped, piped, "without room for bars nothing is left out");
    assert!(!piped.contains('█'), "{piped}");

    // Two projects are told apart in every row.
    Seed {
        number: 6,
        project_id: Some("q"),
        ..KNOWN
    }
    .insert(&pool)
    .await;
    let two = report_with(&pool, &args, Some(120)).await.unwrap();
    assert!(two.contains("7c2d1a40") && two.contains("  q  "), "{two}");
}
