//! Several projects in one database: a report takes all of them, or one.

use recording_archiver::cli::report::{CostsArgs, CostsOutput, FocusArgs, FocusOutput, focus};
use recording_archiver::finance::report::Grouping;
use sqlx::PgPool;

use super::{args, report_with};
use crate::seed::{Seed, migrated_database};

async fn seed(pool: &PgPool) {
    for (number, project_id, started_at, session, cost_usd) in [
        (
            1,
            Some("a"),
            Some("2026-01-10T12:00:00Z"),
            Some(7),
            Some("0.10"),
        ),
        (
            2,
            Some("b"),
            Some("2026-01-10T12:00:00Z"),
            Some(7),
            Some("0.2"),
        ),
        (3, Some("b"), Some("2026-02-10T12:00:00Z"), None, None),
        (4, Some("b"), None, Some(8), Some("4")),
        (5, None, Some("2026-01-10T12:00:00Z"), Some(7), Some("8")),
        (6, None, None, None, None),
    ] {
        Seed {
            number,
            project_id,
            session,
            started_at,
            cost_usd,
            ..Seed::default()
        }
        .insert(pool)
        .await;
    }
}

#[tokio::test]
async fn a_report_of_one_project_has_nothing_of_another() {
    let database = migrated_database().await;
    let pool = database.pool();
    seed(&pool).await;
    let of_b = |by, output| CostsArgs {
        project: Some("b".to_owned()),
        ..args(by, output)
    };
    let csv = async |by| {
        let csv = report_with(&pool, &of_b(by, CostsOutput::Csv), None)
            .await
            .unwrap();
        let rows: Vec<String> = csv.lines().skip(1).map(str::to_owned).collect();
        rows
    };
    assert_eq!(
        csv(Grouping::Month).await,
        [
            "2026-01-01,b,1,0,,,0.2,1,0",
            "2026-02-01,b,1,0,,,,0,1",
            ",b,1,0,,,4,1,0",
        ]
    );
    assert_eq!(csv(Grouping::Project).await, ["b,3,0,,,4.2,2,1"]);
    assert_eq!(csv(Grouping::Recording).await.len(), 3);
    let sessions = csv(Grouping::Session).await;
    assert_eq!(sessions.len(), 2, "{sessions:?}");
    assert!(
        sessions.iter().all(|row| row.contains(",b,")),
        "{sessions:?}"
    );

    // What the table says below is about the same recordings.
    let january = CostsArgs {
        from: Some("2026-01".parse().unwrap()),
        ..of_b(Grouping::Session, CostsOutput::Table)
    };
    let table = report_with(&pool, &january, None).await.unwrap();
    let below: Vec<&str> = table
        .lines()
        .skip_while(|line| !line.starts_with("total"))
        .collect();
    assert_eq!(
        below[1..],
        [
            "1 recording with a provisional cost: the provider may still change it",
            "1 recording not listed: the month is not known yet",
            "1 recording not listed: the room session is not known",
        ]
    );
    let nobody = CostsArgs {
        project: Some("nobody\u{1b}[2J".to_owned()),
        ..january
    };
    let table = report_with(&pool, &nobody, None).await.unwrap();
    assert!(
        table.starts_with("No recordings to report from 2026-01 on of project nobody"),
        "{table}"
    );
    assert!(!table.contains('\u{1b}'), "{table:?}");

    let args = FocusArgs {
        from: None,
        to: None,
        project: Some("b".to_owned()),
        output: FocusOutput::Csv,
    };
    let mut out = Vec::new();
    focus(&pool, &args, &mut out).await.unwrap();
    let focus = String::from_utf8(out).unwrap();
    assert_eq!(focus.lines().count(), 2, "{focus}");
    assert!(focus.contains("\r\n0.2,USD,"), "{focus}");
}
