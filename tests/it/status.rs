//! `status`: the queue at a glance, and one recording with its history.

use std::sync::Arc;
use std::time::Duration;

use recording_archiver::cli::status::{StatusArgs, StatusError, StatusOutput, status};
use recording_archiver::progress::Progress;
use recording_archiver::simulator::SimulatedRecording;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::harness::eventually;
use crate::harness::world::{MIB, PART, World, claim};
use crate::seed::{Seed, execute, migrated_database};

/// The time within which all is to be read again.
const WITHIN: Duration = Duration::from_hours(90 * 24);

async fn shown(pool: &PgPool, id: Option<u128>, output: StatusOutput) -> String {
    let id = id.map(|number| Uuid::from_u128(number).into());
    let mut out = Vec::new();
    status(pool, &StatusArgs { id, output }, WITHIN, false, &mut out)
        .await
        .unwrap();
    String::from_utf8(out).unwrap()
}

async fn json(pool: &PgPool, id: Option<u128>) -> serde_json::Value {
    serde_json::from_str(&shown(pool, id, StatusOutput::Json).await).unwrap()
}

/// One recording in each state, two of them pending, one claim dead.
async fn busy_queue(pool: &PgPool) {
    for number in 1..=6 {
        Seed {
            number,
            ..Seed::default()
        }
        .insert(pool)
        .await;
    }
    Seed {
        number: 7,
        archived: true,
        size_bytes: Some(2048),
        ..Seed::default()
    }
    .insert(pool)
    .await;
    Seed {
        number: 8,
        archived: true,
        size_bytes: Some(1024),
        ..Seed::default()
    }
    .insert(pool)
    .await;
    execute(
        pool,
        "UPDATE archiver.recordings SET enqueued_at = now() - interval '3 hours'
          WHERE recording_id = '00000000-0000-0000-0000-000000000001';
         UPDATE archiver.recordings SET next_attempt_at = now() + interval '4 minutes 30 seconds'
          WHERE recording_id = '00000000-0000-0000-0000-000000000002';
         UPDATE archiver.recordings SET state = 'in_progress', lease_token = recording_id,
                leased_by = 'host-a:1', lease_expires_at = now() + interval '90 seconds'
          WHERE recording_id = '00000000-0000-0000-0000-000000000003';
         UPDATE archiver.recordings SET state = 'in_progress', lease_token = recording_id,
                leased_by = 'host-b:2', lease_expires_at = now() - interval '5 minutes 1 second'
          WHERE recording_id = '00000000-0000-0000-0000-000000000004';
         INSERT INTO archiver.attempts (recording_id, attempt, started_at, leased_by, lease_token)
         SELECT recording_id, 1, now() - interval '10 minutes', leased_by, lease_token
           FROM archiver.recordings WHERE state = 'in_progress';
         UPDATE archiver.recordings SET state = 'failed', error_kind = 'object_conflict',
                error_message = 'another object', finalized_at = now()
          WHERE recording_id = '00000000-0000-0000-0000-000000000005';
         UPDATE archiver.recordings SET state = 'failed', error_kind = 'from_the_future',
                error_message = 'who knows', finalized_at = now()
          WHERE recording_id = '00000000-0000-0000-0000-000000000006';
         UPDATE archiver.recordings SET error_kind = 'object_missing', error_message = 'gone',
                archived_at = now() - interval '30 days'
          WHERE recording_id = '00000000-0000-0000-0000-000000000008'",
    )
    .await;
}

#[tokio::test]
async fn an_empty_queue_says_how_to_fill_it() {
    let database = migrated_database().await;
    let pool = database.pool();
    let text = shown(&pool, None, StatusOutput::Text).await;
    assert!(
        text.contains("recording-archiver enqueue --id UUID"),
        "{text}"
    );
    assert_eq!(json(&pool, None).await["states"]["pending"], 0);
}

#[tokio::test]
async fn the_queue_at_a_glance_says_what_waits_works_failed_and_helps() {
    let database = migrated_database().await;
    let pool = database.pool();
    busy_queue(&pool).await;
    let text = shown(&pool, None, StatusOutput::Text).await;
    for part in [
        "pending            2  oldest queued 3 h ago\n  due now          1\n",
        "\n  later            1  the next in 4 min\n",
        "in_progress        2\n",
        "archived           2  3.0 KiB\n  last 24 h        1  2.0 KiB\n  last hour        1  2.0 KiB\n",
        "failed             2\n",
        "000000000003  for 10 min by host-a:1\n  just begun\n",
        "000000000004  for 10 min by host-b:2\n  its lease ended 5 min ago, anybody may claim it\n",
        "object_conflict               1  another object stands under the key: move it\n",
        "\n                                 away, then run `retry`\n",
        "from_the_future               1  written by another version",
        "then try again:  recording-archiver retry --failed --kind object_conflict\n",
        "found damaged or missing since\n",
        "object_missing                1  run `verify --repair`",
    ] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
    assert!(!text.contains("--kind from_the_future"), "{text}");
}

#[tokio::test]
async fn the_queue_as_json_has_stable_keys() {
    let database = migrated_database().await;
    let pool = database.pool();
    busy_queue(&pool).await;
    let mut overview = json(&pool, None).await;
    let keys: Vec<_> = overview
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        keys,
        [
            "archived",
            "claims",
            "coverage",
            "damaged",
            "due",
            "failed",
            "format_mismatches",
            "next_due_at",
            "now",
            "oldest_due_at",
            "oldest_pending_enqueued_at",
            "retrying",
            "states",
            "stores",
            "stuck",
            "waiting"
        ]
    );
    assert_eq!(
        overview["states"],
        serde_json::json!({"pending": 2, "in_progress": 2, "archived": 2, "failed": 2})
    );
    let first = overview["archived"]["first_last_hour_at"].take();
    assert!(first.is_string(), "{first}");
    assert_eq!(
        overview["archived"],
        serde_json::json!({
            "recordings": 2, "size_bytes": 3072, "recordings_today": 1, "size_bytes_today": 2048,
            "recordings_last_24h": 1, "size_bytes_last_24h": 2048,
            "recordings_last_hour": 1, "size_bytes_last_hour": 2048, "first_last_hour_at": null
        })
    );
    assert_eq!(overview["claims"][0]["leased_by"], "host-a:1");
    assert_eq!(
        overview["failed"][0],
        serde_json::json!({"error_kind": "from_the_future", "recordings": 1})
    );
}

#[tokio::test]
async fn what_is_going_on_has_its_rate_and_an_end_in_sight() {
    let database = migrated_database().await;
    let pool = database.pool();
    busy_queue(&pool).await;
    execute(
        &pool,
        "UPDATE archiver.attempts SET started_at = now() - interval '105 seconds',
                progress_at = now() - interval '5 seconds', stage = 'transfer',
                size_bytes = 1048576000, bytes_resumed = 104857600, bytes_fetched = 209715200
          WHERE leased_by = 'host-a:1'",
    )
    .await;
    // 300 of 1000 MiB are there; 200 of them came in 100 s, so the other 700 take 350 s.
    let text = shown(&pool, None, StatusOutput::Text).await;
    for part in [
        "in_progress        2  2.0 MiB/s\n",
        "000003  for 1 min by host-a:1\n  transfer, 30 % of 1000.0 MiB, 2.0 MiB/s, 5 min left\n",
    ] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
    let quiet = "UPDATE archiver.attempts SET started_at = started_at - interval '5 minutes',
                        progress_at = progress_at - interval '5 minutes'";
    execute(&pool, quiet).await;
    let text = shown(&pool, None, StatusOutput::Text).await;
    assert!(text.contains(" left, no further for 5 min\n"), "{text}");
}

#[tokio::test]
async fn the_pace_of_the_last_hour_says_how_long_the_rest_takes() {
    let database = migrated_database().await;
    let pool = database.pool();
    busy_queue(&pool).await;
    let pace = |text: String| -> Option<String> {
        let mut lines = text.lines();
        let line = lines.find(|line| line.starts_with("At the pace"))?;
        Some(line.to_owned())
    };
    let text = shown(&pool, None, StatusOutput::Text).await;
    assert_eq!(pace(text), None, "one alone shows none");
    execute(
        &pool,
        "UPDATE archiver.recordings SET archived_at = now() - interval '31 minutes 1 second'
          WHERE recording_id = '00000000-0000-0000-0000-000000000008'",
    )
    .await;
    let text = shown(&pool, None, StatusOutput::Text).await;
    let expected = "At the pace of the last hour, 1 an hour, what is pending takes 1 h.";
    assert_eq!(pace(text).as_deref(), Some(expected));
}

#[tokio::test]
async fn what_is_tried_again_and_again_is_told_with_its_reason() {
    let database = migrated_database().await;
    let pool = database.pool();
    busy_queue(&pool).await;
    execute(
        &pool,
        "UPDATE archiver.recordings SET error_kind = 'stalled', error_message = 'no byte moved'
          WHERE state = 'pending';
         UPDATE archiver.recordings SET attempts = 7, enqueued_at = now() - interval '3 days'
          WHERE recording_id = '00000000-0000-0000-0000-000000000002'",
    )
    .await;
    let text = shown(&pool, None, StatusOutput::Text).await;
    for part in [
        "\nTo be tried again\nerror_kind           recordings  what helps\n\
         stalled                       2  check the network; lower",
        "still tried, the oldest first\n\
         00000000-0000-0000-0000-000000000002  3 days ago, 7 attempts, due in 4 min\n  \
         stalled: no byte moved\n\nFailed\n",
    ] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
    let overview = json(&pool, None).await;
    assert_eq!(
        overview["retrying"],
        serde_json::json!([{"error_kind": "stalled", "recordings": 2}])
    );
    assert_eq!(overview["stuck"].as_array().unwrap().len(), 1);
    assert_eq!(overview["stuck"][0]["attempts_burnt"], 7);
}

#[tokio::test]
async fn what_is_overdue_while_nobody_works_is_told() {
    let database = migrated_database().await;
    let pool = database.pool();
    busy_queue(&pool).await;
    let overdue = "UPDATE archiver.recordings SET next_attempt_at = now() - interval '12 minutes'
          WHERE recording_id = '00000000-0000-0000-0000-000000000001'";
    execute(&pool, overdue).await;
    let told = "\nNobody has claimed what has been due for 12 min.\n";
    let text = shown(&pool, None, StatusOutput::Text).await;
    assert!(!text.contains(told), "host-a works:\n{text}");
    let died = "UPDATE archiver.recordings SET lease_expires_at = now() - interval '1 minute'
          WHERE state = 'in_progress'";
    execute(&pool, died).await;
    let text = shown(&pool, None, StatusOutput::Text).await;
    assert!(text.contains(told), "{text}");
}

#[tokio::test]
async fn a_person_is_told_of_twenty_claims_and_that_there_are_more() {
    let database = migrated_database().await;
    let pool = database.pool();
    for number in 1..=23 {
        Seed {
            number,
            ..Seed::default()
        }
        .insert(&pool)
        .await;
    }
    let claim = "UPDATE archiver.recordings SET state = 'in_progress', leased_by = 'host-a:1',
                        lease_token = recording_id, lease_expires_at = now() + interval '1 hour'";
    execute(&pool, claim).await;
    let text = shown(&pool, None, StatusOutput::Text).await;
    assert_eq!(text.matches(" by host-a:1\n").count(), 20, "{text}");
    assert!(text.contains("\nand 3 more; --output json has them all\n"));
    assert_eq!(
        json(&pool, None).await["claims"].as_array().unwrap().len(),
        23
    );
}

#[tokio::test]
async fn an_unknown_recording_is_an_error_that_says_how_to_add_it() {
    let database = migrated_database().await;
    let pool = database.pool();
    let id = Uuid::from_u128(9);
    let args = StatusArgs {
        id: Some(id.into()),
        output: StatusOutput::Text,
    };
    let error = status(&pool, &args, WITHIN, false, &mut Vec::new())
        .await
        .unwrap_err();
    assert!(matches!(error, StatusError::Unknown(_)));
    assert!(
        error.to_string().contains(&format!("enqueue --id {id}")),
        "{error}"
    );
}

async fn recording_with_a_history(pool: &PgPool) {
    Seed {
        number: 1,
        archived: true,
        project_id: Some("p"),
        session: Some(2),
        status: Some("completed\u{1b}[31m"),
        started_at: Some("2026-01-15T12:00:00Z"),
        duration_secs: Some(3_661),
        size_bytes: Some(1_048_576),
        cost_usd: Some("0.0500"),
        ..Seed::default()
    }
    .insert(pool)
    .await;
    execute(
        pool,
        "INSERT INTO archiver.attempts (recording_id, attempt, started_at, finished_at, leased_by,
                lease_token, outcome, error_kind, error_message, bytes_fetched)
         SELECT recording_id, number, now() - interval '1 hour', now() - interval '58 minutes',
                'host-a:1', gen_random_uuid(), ended, kind, message, 512
           FROM archiver.recordings,
                (VALUES (1, 'retrying', 'stalled', E'no byte\\u202e moved'),
                        (2, 'archived', NULL, NULL)) tried (number, ended, kind, message);
         INSERT INTO archiver.cost_observations (recording_id, cost_usd, recording_status, observed_by)
         SELECT recording_id, cost, 'completed', 'archive'
           FROM archiver.recordings, (VALUES (0.04), (0.0500)) seen (cost)",
    )
    .await;
}

#[tokio::test]
async fn one_recording_is_shown_with_its_facts_costs_and_attempts() {
    let database = migrated_database().await;
    let pool = database.pool();
    recording_with_a_history(&pool).await;
    let text = shown(&pool, Some(1), StatusOutput::Text).await;
    for part in [
        "Recording 00000000-0000-0000-0000-000000000001\nstate               archived\n",
        "\nProvider\nproject             p\n",
        "status              completed\\u{1b}[31m\n",
        "started             2026-01-15T12:00:00Z (",
        "duration (h:mm:ss)  1:01:01\n",
        "\nStorage\nobject              s3://bucket/key\n",
        "size                1048576 bytes (1.0 MiB)\n",
        "\nEvidence\nevidence            read_back\n",
        "sha256              e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n",
        "\nCost\ncost (USD)          0.0500\n",
        "0.0500  completed    archive\n",
        "Z (1 h ago), retrying after 2 min, 512 B fetched, by\n     host-a:1\n     stalled: no byte\\u{202e} moved\n",
        "Z (1 h ago), archived after 2 min, 512 B fetched, by\n     host-a:1\n",
    ] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
    assert!(!text.contains("\nLease"), "{text}");
    assert!(text.is_ascii() && !text.contains('\u{1b}'), "{text}");
}

#[tokio::test]
async fn one_recording_as_json_has_money_as_strings_and_digests_in_hex() {
    let database = migrated_database().await;
    let pool = database.pool();
    recording_with_a_history(&pool).await;
    let details = json(&pool, Some(1)).await;
    assert_eq!(details["cost_usd"], "0.0500");
    assert_eq!(
        details["sha256"],
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    assert_eq!(details["recording_status"], "completed\u{1b}[31m");
    assert_eq!(details["cost_observations"][0]["cost_usd"], "0.04");
    assert_eq!(details["cost_observations"][1]["cost_usd"], "0.0500");
    assert_eq!(details["attempts"][0]["error_kind"], "stalled");
    assert_eq!(details["attempts"][1]["outcome"], "archived");
    assert_eq!(details["leased_by"], serde_json::Value::Null);
    let keys = details.as_object().unwrap();
    assert!(!keys.contains_key("lease_token") && !keys.contains_key("metadata"));
}

#[tokio::test]
async fn a_failed_recording_names_the_cure_and_the_command() {
    let database = migrated_database().await;
    let pool = database.pool();
    busy_queue(&pool).await;
    let text = shown(&pool, Some(5), StatusOutput::Text).await;
    for part in [
        "error_kind          object_conflict\n",
        "error               another object\n",
        "what helps          another object stands under the key",
        "then                recording-archiver retry --id 00000000-0000-0000-0000-000000000005\n",
        "\nAttempts\nnone yet\n",
    ] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
    let leased = shown(&pool, Some(3), StatusOutput::Text).await;
    assert!(
        leased.contains("\nLease\nheld by             host-a:1\nlease ends          "),
        "{leased}"
    );
}

#[tokio::test]
async fn colour_comes_only_when_asked_for() {
    let database = migrated_database().await;
    let pool = database.pool();
    busy_queue(&pool).await;
    let args = StatusArgs {
        id: None,
        output: StatusOutput::Text,
    };
    let mut colored = Vec::new();
    status(&pool, &args, WITHIN, true, &mut colored)
        .await
        .unwrap();
    assert!(
        String::from_utf8(colored)
            .unwrap()
            .contains("\u{1b}[1mFailed\u{1b}[0m")
    );
    let plain = shown(&pool, None, StatusOutput::Text).await;
    assert!(!plain.contains('\u{1b}'));
}

/// What a worker writes down while it works is what `status` tells from another process.
#[tokio::test]
async fn a_running_attempt_says_how_far_it_is() {
    let world = World::local().await;
    let archiver = world.archiver_with(|settings| settings.lease = Duration::from_secs(3));
    let mut recording = SimulatedRecording::new(Uuid::new_v4(), 3 * PART);
    recording.bytes_per_second = Some(MIB / 2);
    let id = world.add(recording).await;
    let (progress, stop) = (Arc::new(Progress::default()), CancellationToken::new());
    let claim = claim(&archiver).await;
    let watched = async {
        let told = eventually("it is told", || async {
            let told = json(&world.pool, None).await["claims"][0].clone();
            (told["fetched_bytes"].as_i64()? > 0).then_some(told)
        })
        .await;
        assert_eq!(told["recording_id"], id.to_string());
        assert_eq!(told["stage"], "transfer");
        assert_eq!(told["size_bytes"], 3 * PART);
        assert_eq!(told["resumed_bytes"], 0);
        let text = shown(&world.pool, None, StatusOutput::Text).await;
        assert!(text.contains(" % of 15.0 MiB, "), "{text}");
        assert!(text.contains("/s, "), "{text}");
        stop.cancel();
    };
    tokio::join!(Box::pin(archiver.attempt(claim, &progress, &stop)), watched);
    let claims = json(&world.pool, None).await["claims"].clone();
    assert_eq!(claims, serde_json::json!([]));
}
