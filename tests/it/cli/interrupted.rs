//! `archive` beside others, against the clock, cut off, and refused.

use nix::sys::signal::Signal;
use recording_archiver::simulator::{MetadataFault, RetryAfter, Times};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{KIB, id, id_flags, offer, outcome, texts};
use crate::harness::binary::{Binary, Running};
use crate::harness::eventually;
use crate::harness::s3::{Call, StoreFault};
use crate::harness::world::{MIB, World};

/// Two parts and a bit.
const LARGE: u64 = 11 * MIB;

/// Starts to archive a recording of which the store takes one part, and then no more.
async fn caught_in_the_middle(world: &World, binary: &Binary) -> (Uuid, Running) {
    let id = offer(world, [1], LARGE)[0];
    let hold = StoreFault::HoldUntil(CancellationToken::new());
    world.s3_server().inject_after(1, Call::PutPart, hold, 1000);
    let running = binary.start(&["archive", "--id", &id.to_string(), "--output", "jsonl"]);
    eventually("it waits for the store", || async {
        (world.s3_server().count(Call::PutPart) == 3).then_some(())
    })
    .await;
    (id, running)
}

#[tokio::test]
async fn ctrl_c_gives_the_recording_back_unburnt_and_the_next_run_leaves_no_upload() {
    let world = World::s3().await;
    let binary = Binary::of(&world);
    let (id, running) = caught_in_the_middle(&world, &binary).await;
    running.signal(Signal::SIGINT);
    let line = running.ended().await.demand_code(75).json_line();
    assert_eq!(outcome(&line), ("deferred", Some("cancelled")));

    let row = world.row(id).await;
    assert_eq!(
        (row.state.as_str(), row.attempts),
        ("pending", 0),
        "{row:?}"
    );
    assert!(row.due_in_secs <= 0.0, "due at once: {row:?}");
    let attempts = world.attempts(id).await;
    assert_eq!(attempts[0].outcome.as_deref(), Some("released"));
    assert_eq!(attempts[0].error_kind.as_deref(), Some("cancelled"));
    assert!(attempts[0].bytes_fetched >= 5 * MIB.cast_signed());
    assert!(world.object(id).is_none() && world.manifest(id).is_none());

    world.s3_server().clear_faults();
    let again = binary.run(&["archive", "--id", &id.to_string()]).await;
    again.demand_code(0);
    world.demand_archived(id).await;
    assert_eq!(world.row(id).await.attempts, 1);
}

#[tokio::test]
async fn a_terminal_that_is_closed_is_like_ctrl_c() {
    let world = World::s3().await;
    let binary = Binary::of(&world);
    let (id, running) = caught_in_the_middle(&world, &binary).await;
    running.signal(Signal::SIGHUP);
    let line = running.ended().await.demand_code(75).json_line();
    assert_eq!(outcome(&line), ("deferred", Some("cancelled")));
    let row = world.row(id).await;
    assert_eq!((row.state.as_str(), row.attempts), ("pending", 0));
}

#[tokio::test]
async fn under_nohup_it_goes_on() {
    let world = World::s3().await;
    let id = offer(&world, [1], LARGE)[0];
    let go_on = CancellationToken::new();
    let hold = StoreFault::HoldUntil(go_on.clone());
    world.s3_server().inject(Call::Complete, hold, 1);
    let binary = Binary::of(&world);
    let program = env!("CARGO_BIN_EXE_recording-archiver");
    let mut command = binary.command(&[]);
    let mut nohup = tokio::process::Command::new("nohup");
    let variables = command.as_std_mut().get_envs();
    nohup
        .args([program, "archive", "--id", &id.to_string()])
        .env_clear()
        .envs(variables.filter_map(|(name, value)| Some((name, value?))))
        .current_dir(binary.directory())
        .stdout(std::process::Stdio::null())
        .kill_on_drop(true);
    let mut child = nohup.spawn().unwrap();
    eventually("it is about to be published", || async {
        (world.s3_server().count(Call::Complete) > 0).then_some(())
    })
    .await;
    let pid = nix::unistd::Pid::from_raw(child.id().unwrap().cast_signed());
    nix::sys::signal::kill(pid, Signal::SIGHUP).unwrap();
    go_on.cancel();
    assert!(child.wait().await.unwrap().success());
    world.demand_archived(id).await;
}

#[tokio::test]
async fn one_that_another_process_holds_is_left_to_it_or_waited_for() {
    let world = World::s3().await;
    let binary = Binary::of(&world);
    let id = offer(&world, [1], LARGE)[0];
    let go_on = CancellationToken::new();
    let hold = StoreFault::HoldUntil(go_on.clone());
    world.s3_server().inject(Call::Complete, hold, 1);
    let id_text = id.to_string();
    let arguments = ["archive", "--id", &id_text, "--output", "jsonl"];
    let holder = binary.start(&arguments);
    eventually("the first process holds it", || async {
        (world.row_if_there(id).await?.state == "in_progress").then_some(())
    })
    .await;

    let line = binary.run(&arguments).await.demand_code(75).json_line();
    assert_eq!(outcome(&line), ("in_progress_elsewhere", None));
    let message = line["message"].as_str().unwrap();
    assert!(message.starts_with("held by "), "{message}");
    assert!(line["seconds"].as_f64().unwrap() < 10.0, "at once: {line}");

    // Time that is up while it is waited for changes nothing of the answer.
    let mut brief = arguments.to_vec();
    brief.extend(["--wait", "1s"]);
    let line = binary.run(&brief).await.demand_code(75).json_line();
    assert_eq!(outcome(&line), ("in_progress_elsewhere", None));
    let waited = line["seconds"].as_f64().unwrap();
    assert!((0.5..30.0).contains(&waited), "it was waited for: {line}");

    let mut patient = arguments.to_vec();
    patient.extend(["--wait", "1m"]);
    let waiting = binary.start(&patient);
    go_on.cancel();
    let line = holder.ended().await.demand_code(0).json_line();
    assert_eq!(outcome(&line), ("archived", None));
    let line = waiting.ended().await.demand_code(0).json_line();
    assert_eq!(outcome(&line), ("already_archived", None));
    world.demand_archived(id).await;
    assert_eq!(world.attempts(id).await.len(), 1);
}

#[tokio::test]
async fn wait_goes_on_until_it_is_settled_or_the_time_is_up() {
    let world = World::local().await;
    let binary = Binary::of(&world);
    offer(&world, [1, 2], KIB);
    let soon = MetadataFault::Throttled(RetryAfter::Seconds(1));
    world.simulator.inject(id(1), soon, Times::ONCE);
    let late = MetadataFault::Throttled(RetryAfter::Seconds(600));
    world.simulator.inject(id(2), late, Times::Always);
    let waiting = async |duration: &str, numbers: &[u128]| {
        let ids = texts(&numbers.iter().map(|it| id(*it)).collect::<Vec<_>>());
        let mut arguments = vec!["archive", "--wait", duration, "--output", "jsonl"];
        arguments.extend(id_flags(&ids));
        let ended = binary.run(&arguments).await;
        let mut lines = ended.json_lines();
        lines.sort_by_key(|line| line["recording_id"].to_string());
        (ended.code, lines)
    };

    // The third is nowhere.
    let (code, lines) = waiting("1m", &[1, 3]).await;
    assert_eq!(code, Some(1));
    assert_eq!(outcome(&lines[0]), ("archived", None));
    assert_eq!(outcome(&lines[1]), ("failed", Some("not_found")));
    let seconds = lines[0]["seconds"].as_f64().unwrap();
    assert!((1.0..50.0).contains(&seconds), "{}", lines[0]);
    world.demand_archived(id(1)).await;

    let (code, lines) = waiting("2s", &[2]).await;
    assert_eq!(code, Some(75));
    assert_eq!(outcome(&lines[0]), ("deferred", Some("throttled")));
    let seconds = lines[0]["seconds"].as_f64().unwrap();
    assert!((1.0..50.0).contains(&seconds), "{}", lines[0]);
    let row = world.row(id(2)).await;
    assert_eq!(
        (row.state.as_str(), row.attempts),
        ("pending", 0),
        "{row:?}"
    );
}

#[tokio::test]
async fn refused_credentials_end_everything_with_2_and_burn_no_attempt() {
    let world = World::s3().await;
    let ids = offer(&world, 1..=6, KIB);
    let texts = texts(&ids);
    let mut arguments = vec!["archive", "--output", "jsonl"];
    arguments.extend(id_flags(&texts));
    for (binary, kind, cure) in [
        (
            Binary::of(&world).with("SIGNALWIRE_API_TOKEN", "PTwrong"),
            "unauthorized",
            "the token needs the Video scope",
        ),
        (
            Binary::of(&world).with("AWS_SECRET_ACCESS_KEY", "wrong"),
            "storage_denied",
            "check the storage credentials",
        ),
    ] {
        let ended = binary.run(&arguments).await.demand_code(2);
        let lines = ended.json_lines();
        assert_eq!(lines.len(), 6, "{ended:?}");
        for line in &lines {
            assert_eq!(outcome(line), ("deferred", Some(kind)), "{ended:?}");
        }
        assert_eq!(
            ended.stderr.matches(cure).count(),
            1,
            "told once: {ended:?}"
        );
        for id in &ids {
            let row = world.row(*id).await;
            assert_eq!(
                (row.state.as_str(), row.attempts),
                ("pending", 0),
                "{row:?}"
            );
        }
        // They were put behind those that nobody refused yet.
        world.make_due().await;
        let once = binary.run(&["run", "--once"]).await.demand_code(2);
        assert_eq!(once.stderr.matches(cure).count(), 1, "told once: {once:?}");
    }
    world.demand_nothing_unfinished().await;
    assert_eq!(
        world
            .number(
                "SELECT count(*) FROM archiver.recordings WHERE state <> 'pending' OR attempts > 0"
            )
            .await,
        0
    );
}

#[tokio::test]
async fn a_database_that_cannot_be_reached_is_for_later() {
    let world = World::local().await;
    let binary =
        Binary::of(&world).with("DATABASE_URL", "postgres://archiver@127.0.0.1:9/archiver");
    let id = id(1).to_string();
    for arguments in [
        &["archive", "--id", &id][..],
        &["enqueue", "--id", &id],
        &["status"],
        &["run", "--once"],
    ] {
        let ended = binary.run(arguments).await.demand_code(75);
        ended.demand_error(&["check that it runs"]);
    }
}

#[tokio::test]
async fn full_disk_under_the_output_is_reported() {
    let world = World::local().await;
    let ids: Vec<String> = offer(&world, 1..=3, KIB)
        .iter()
        .map(ToString::to_string)
        .collect();
    let mut arguments = vec!["archive", "--output", "jsonl"];
    for id in &ids {
        arguments.extend(["--id", id]);
    }
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let binary = Binary::of(&world);
    let mut command = binary.command(&arguments);
    command.stdout(full).stderr(std::process::Stdio::piped());
    let running = command.spawn().unwrap();
    let ended = running.wait_with_output().await.unwrap();
    let errors = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(75), "{errors}");
    assert!(
        errors.contains("write the output: No space left on device"),
        "{errors}"
    );
}
