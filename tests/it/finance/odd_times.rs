//! Times that Postgres can hold and the calendar of this program cannot.

use recording_archiver::cli::report::changes::{ChangesArgs, run};
use recording_archiver::cli::report::{CostsOutput, FocusArgs, FocusOutput, focus};
use recording_archiver::finance::report::Grouping;

use super::report;
use crate::seed::{Seed, execute, migrated_database};

const ODD: [&str; 4] = [
    "infinity",
    "-infinity",
    "4713-01-01 00:00:00+00 BC",
    "294276-12-31 00:00:00+00",
];
/// As reports spell them.
const SPELLED: [&str; 4] = [
    "infinity",
    "-infinity",
    "4713-01-01T00:00:00+00:00 BC",
    "294276-12-31T00:00:00+00:00",
];

#[tokio::test]
async fn changes_with_odd_times_are_reported() {
    let database = migrated_database().await;
    let pool = database.pool();
    let cost_usd = Some("0.30");
    Seed {
        number: 1,
        started_at: Some("2026-03-10T12:00:00Z"),
        cost_usd,
        ..Seed::default()
    }
    .insert(&pool)
    .await;
    for (place, at) in ["2026-03-11"].iter().chain(&ODD).enumerate() {
        execute(
            &pool,
            &format!(
                "INSERT INTO archiver.cost_observations
                     (recording_id, observed_at, cost_usd, observed_by)
                 VALUES ('00000000-0000-0000-0000-000000000001', '{at}', {place}, 'reprice')"
            ),
        )
        .await;
    }
    for output in [CostsOutput::Table, CostsOutput::Csv, CostsOutput::Json] {
        let args = ChangesArgs {
            month: "2026-03".parse().unwrap(),
            project: None,
            output,
        };
        let mut out = Vec::new();
        run(&pool, &args, &mut out).await.unwrap();
        let out = String::from_utf8(out).unwrap();
        // The others lie before the end of the month.
        for at in [SPELLED[0], SPELLED[3]] {
            assert!(out.contains(at), "{at}: {out}");
        }
    }
}

#[tokio::test]
async fn recordings_with_odd_times_are_reported() {
    let database = migrated_database().await;
    let pool = database.pool();
    for (number, started_at) in (1..).zip(ODD) {
        Seed {
            number,
            session: Some(number),
            started_at: Some(started_at),
            finished_at: Some(started_at),
            cost_usd: Some("0.30"),
            ..Seed::default()
        }
        .insert(&pool)
        .await;
    }
    for by in [
        Grouping::Month,
        Grouping::Session,
        Grouping::Project,
        Grouping::Recording,
    ] {
        for output in [CostsOutput::Table, CostsOutput::Csv, CostsOutput::Json] {
            let report = report(&pool, by, output).await;
            if by == Grouping::Recording && output == CostsOutput::Csv {
                for at in SPELLED {
                    assert!(report.contains(at), "{at}: {report}");
                }
            }
        }
    }
    for output in [FocusOutput::Csv, FocusOutput::Json] {
        let args = FocusArgs {
            from: None,
            to: None,
            project: None,
            output,
        };
        focus(&pool, &args, &mut Vec::new()).await.unwrap();
    }
}
