//! The columns of FOCUS, filled from what is known.

use recording_archiver::cli::report::{FocusArgs, FocusOutput, focus};
use serde_json::Value;
use sqlx::PgPool;

use crate::seed::{Seed, migrated_database};

async fn exported(pool: &PgPool, output: FocusOutput) -> String {
    let args = FocusArgs {
        from: None,
        to: Some("2026-02".parse().unwrap()),
        project: None,
        output,
    };
    let mut out = Vec::new();
    focus(pool, &args, &mut out).await.unwrap();
    String::from_utf8(out).unwrap()
}

#[tokio::test]
async fn each_known_cost_is_a_row_and_nothing_is_invented() {
    let database = migrated_database().await;
    let pool = database.pool();
    let known = Seed {
        number: 1,
        archived: true,
        status: Some("completed"),
        same_for: Some("8 days"),
        project_id: Some("project"),
        session: Some(0xa),
        started_at: Some("2026-01-31T23:30:00Z"),
        finished_at: Some("2026-02-01T00:30:00Z"),
        duration_secs: Some(3600),
        cost_usd: Some("0.0500000000000000001"),
        ..Seed::default()
    };
    known.insert(&pool).await;
    for (number, cost_usd, started_at) in [
        (2, Some("1"), Some("2026-02-28T12:00:00Z")),
        // No cost, no month, another period.
        (3, None, Some("2026-02-01T00:00:00Z")),
        (4, Some("1"), None),
        (5, Some("1"), Some("2026-03-01T00:00:00Z")),
    ] {
        let seed = Seed {
            number,
            started_at,
            cost_usd,
            ..Seed::default()
        };
        seed.insert(&pool).await;
    }
    assert_eq!(
        exported(&pool, FocusOutput::Csv).await,
        "BilledCost,BillingCurrency,BillingPeriodStart,BillingPeriodEnd,ChargeCategory,ChargeClass,\
         ChargeDescription,ChargeFrequency,ChargePeriodStart,ChargePeriodEnd,ConsumedQuantity,\
         ConsumedUnit,ProviderName,PublisherName,ResourceId,ResourceType,ServiceCategory,\
         ServiceName,SubAccountId,Tags\r\n\
         0.0500000000000000001,USD,2026-01-01T00:00:00Z,2026-02-01T00:00:00Z,Usage,,\
         Recording of a video room,Usage-Based,2026-01-31T23:30:00Z,2026-02-01T00:30:00Z,3600,\
         Seconds,SignalWire,SignalWire,00000000-0000-0000-0000-000000000001,Room recording,Media,\
         SignalWire Video,project,\
         \"{\"\"cost_state\"\": \"\"final\"\", \"\"archive_state\"\": \"\"archived\"\", \
         \"\"room_session_id\"\": \"\"00000000-0000-0000-0000-00000000000a\"\"}\"\r\n\
         1,USD,2026-02-01T00:00:00Z,2026-03-01T00:00:00Z,Usage,,\
         Recording of a video room,Usage-Based,2026-02-28T12:00:00Z,,,\
         ,SignalWire,SignalWire,00000000-0000-0000-0000-000000000002,Room recording,Media,\
         SignalWire Video,,\
         \"{\"\"cost_state\"\": \"\"provisional\"\", \"\"archive_state\"\": \"\"pending\"\"}\"\r\n"
    );
    let rows: Vec<Value> = serde_json::from_str(&exported(&pool, FocusOutput::Json).await).unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0]["BilledCost"], "0.0500000000000000001");
    assert_eq!(rows[0]["ConsumedQuantity"], 3600);
    assert!(rows[1]["ConsumedUnit"].is_null());
}
