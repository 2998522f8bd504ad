//! What the service logs: one line a verdict, each findable by the recording's ID, as JSON and in
//! the journal.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::time::Duration;

use recording_archiver::simulator::{MetadataFault, SimulatedRecording, Times};
use serde_json::Value;
use tokio::process::Command;
use uuid::Uuid;

use super::{KIB, id, offer};
use crate::harness::binary::Binary;
use crate::harness::world::World;
use crate::seed::execute;

/// One that is archived, one that fails, one that is put off.
async fn three(world: &World) -> [Uuid; 3] {
    let ids = [id(1), id(2), id(3)];
    offer(world, [1, 3], 3 * KIB);
    let fault = MetadataFault::NotReady;
    world.simulator.inject(ids[2], fault, Times::Always);
    for id in ids {
        world.enqueue(id).await;
    }
    ids
}

#[tokio::test]
async fn each_verdict_is_one_line_of_json_with_dotted_fields() {
    let world = World::local().await;
    let ids = three(&world).await;
    let ended = Binary::of(&world)
        .run(&["--log-format", "json", "run", "--once"])
        .await
        .demand_code(1);
    let lines: Vec<Value> = ended
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect();
    for (id, level, outcome, kind) in [
        (ids[0], "INFO", "archived", Value::Null),
        (ids[1], "ERROR", "failed", "not_found".into()),
        (ids[2], "WARN", "deferred", "not_ready".into()),
    ] {
        let of_it: Vec<&Value> = lines
            .iter()
            .filter(|line| line["recording.id"] == id.to_string())
            .collect();
        let [line] = of_it[..] else {
            panic!("not one line for {id}: {}", ended.stderr);
        };
        assert_eq!(line["level"], level, "{line}");
        assert_eq!(line["attempt.outcome"], outcome, "{line}");
        assert_eq!(line["attempt.number"], 1, "{line}");
        assert_eq!(line["error.kind"], kind, "{line}");
        assert!(line["attempt.seconds"].as_f64().unwrap() > 0.0, "{line}");
        let message = line["message"].as_str().unwrap();
        assert!(message.contains(&id.to_string()), "{line}");
        for key in line.as_object().unwrap().keys() {
            let known = ["timestamp", "level", "message", "target"];
            assert!(
                known.contains(&key.as_str()) || key.contains('.'),
                "{key}: {line}"
            );
        }
    }
    let object = &lines.iter().find(|line| line["level"] == "INFO").unwrap();
    assert_eq!(object["object.size_bytes"], 3 * KIB);
    assert_eq!(object["attempt.fetched_bytes"], 3 * KIB);
    assert!(
        object["object.url"]
            .as_str()
            .unwrap()
            .starts_with("file://")
    );
}

#[tokio::test]
async fn the_format_is_a_setting_and_the_flag_wins() {
    let world = World::local().await;
    let binary = Binary::of(&world).with("RECORDING_ARCHIVER_LOG_FORMAT", "json");
    let once = ["run", "--once"];
    offer(&world, [1, 2], KIB);
    world.enqueue(id(1)).await;
    let ended = binary.run(&once).await.demand_code(0);
    assert!(ended.stderr.starts_with('{'), "{ended:?}");
    world.enqueue(id(2)).await;
    let text = ["--log-format", "text", "run", "--once"];
    let ended = binary.run(&text).await.demand_code(0);
    assert!(ended.stderr.contains(" INFO archived "), "{ended:?}");
}

/// The fields of one datagram of the journal's own protocol.
fn fields(mut datagram: &[u8]) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    while let Some(end) = datagram.iter().position(|byte| *byte == b'\n') {
        let (line, rest) = (&datagram[..end], &datagram[end + 1..]);
        if let Some(sign) = line.iter().position(|byte| *byte == b'=') {
            fields.insert(text(&line[..sign]), text(&line[sign + 1..]));
            datagram = rest;
        } else {
            let (length, rest) = rest.split_first_chunk().unwrap();
            let length = usize::try_from(u64::from_le_bytes(*length)).unwrap();
            fields.insert(text(line), text(&rest[..length]));
            datagram = &rest[length + 1..];
        }
    }
    fields
}

/// Runs what follows with a directory of the test's in the place of the journal's.
const WITH_JOURNAL: &str = "journal=/run/systemd/journal
    if ! [ -d $journal ]; then
        # A socket of Postgres may be in /run, too.
        if [ -d /run/systemd ]; then mount -t tmpfs tmpfs /run/systemd
        else mount -t tmpfs tmpfs /run; fi
        mkdir -p $journal
    fi
    mount --bind \"$0\" $journal && exec \"$@\"";

/// Whether this kernel lets the test mount something for a process of its own.
async fn may_mount(directory: &str) -> bool {
    let tried = unshare(directory).arg("true").output().await;
    tried.is_ok_and(|tried| tried.status.success())
}

fn unshare(directory: &str) -> Command {
    let mut command = Command::new("unshare");
    if !nix::unistd::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.args(["--mount", "sh", "-c", WITH_JOURNAL, directory]);
    command
}

#[tokio::test]
async fn the_journal_gets_each_field_as_its_own() {
    let world = World::local().await;
    let journal = tempfile::tempdir().unwrap();
    let directory = journal.path().to_str().unwrap();
    if !may_mount(directory).await {
        println!("no mount namespace to be had: not tried");
        return;
    }
    let ids = three(&world).await;
    let socket = UnixDatagram::bind(journal.path().join("socket")).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    // As systemd does it: stderr is the journal's, and a variable says which file that is.
    let stderr_path = journal.path().join("stderr");
    let stderr = File::create(&stderr_path).unwrap();
    let file = stderr.metadata().unwrap();
    let binary =
        Binary::of(&world).with("JOURNAL_STREAM", format!("{}:{}", file.dev(), file.ino()));
    let of_binary = binary.command(&["run", "--once"]);
    let of_binary = of_binary.as_std();
    let mut command = unshare(directory);
    command
        .arg(of_binary.get_program())
        .args(of_binary.get_args())
        .env_clear()
        .envs(
            of_binary
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .current_dir(binary.directory())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr);
    let status = command.status().await.unwrap();
    let text = fs::read_to_string(&stderr_path).unwrap();
    assert_eq!(status.code(), Some(1), "{text}");
    assert_eq!(text, "", "nothing twice");

    let mut entries = Vec::new();
    let mut datagram = vec![0; 1 << 20];
    while let Ok(length) = socket.recv(&mut datagram) {
        entries.push(fields(&datagram[..length]));
    }
    for (id, priority, outcome) in [
        (ids[0], "6", "archived"),
        (ids[1], "3", "failed"),
        (ids[2], "4", "deferred"),
    ] {
        let of_it: Vec<_> = entries
            .iter()
            .filter(|entry| entry.get("RECORDING_ID") == Some(&id.to_string()))
            .collect();
        let [entry] = of_it[..] else {
            panic!("not one entry for {id}: {entries:?}");
        };
        assert_eq!(entry["PRIORITY"], priority, "{entry:?}");
        assert_eq!(entry["ATTEMPT_OUTCOME"], outcome, "{entry:?}");
        assert_eq!(entry["SYSLOG_IDENTIFIER"], "recording-archiver");
        assert!(entry["MESSAGE"].contains(&id.to_string()), "{entry:?}");
    }
}

#[tokio::test]
async fn a_journal_that_is_not_there_is_told_of_and_gets_lines_of_text() {
    let world = World::local().await;
    let directory = tempfile::tempdir().unwrap();
    let nowhere = directory.path().to_str().unwrap();
    if !may_mount(nowhere).await {
        println!("no mount namespace to be had: not tried");
        return;
    }
    let binary = Binary::of(&world);
    let of_binary = binary.command(&["--log-format", "journald", "run", "--once"]);
    let of_binary = of_binary.as_std();
    let ended = unshare(nowhere)
        .arg(of_binary.get_program())
        .args(of_binary.get_args())
        .env_clear()
        .envs(
            of_binary
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .current_dir(binary.directory())
        .output()
        .await
        .unwrap();
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(0), "{stderr}");
    assert!(
        stderr.contains(" WARN the journal does not take fields"),
        "{stderr}"
    );
}

/// What a terminal obeys, or a reader of lines takes for another one.
fn acts_unseen(character: char) -> bool {
    (character.is_control() && character != '\n')
        || matches!(character, '\u{2028}'..='\u{202e}' | '\u{200b}'..='\u{200f}')
}

#[tokio::test]
async fn words_of_the_provider_forge_no_line_and_steer_no_terminal() {
    const FORGED: &str =
        "x\n2026-01-01T00:00:00.000000Z  INFO archived FORGED\r\u{1b}[2J\u{9b}2J\u{202e}gpj";
    let world = World::local().await;
    let mut not_ready = SimulatedRecording::new(id(1), KIB);
    not_ready.status = Some(FORGED.to_owned());
    let mut odd = SimulatedRecording::new(id(2), KIB);
    odd.extra_fields = vec![
        (
            "format".to_owned(),
            Value::from(format!("text/{FORGED}")).to_string(),
        ),
        (FORGED.to_owned(), "\"\\u0000\"".to_owned()),
        (
            "cost_in_dollars".to_owned(),
            Value::from(FORGED).to_string(),
        ),
    ];
    let ids = [not_ready.id, odd.id];
    world.simulator.add(not_ready);
    world.simulator.add(odd);
    let binary = Binary::of(&world);
    for format in ["text", "json"] {
        for id in ids {
            world.enqueue(id).await;
        }
        let ended = binary.run(&["--log-format", format, "run", "--once"]).await;
        assert!(ended.stderr.contains("FORGED"), "{ended:?}");
        assert!(!ended.stderr.contains(acts_unseen), "{:?}", ended.stderr);
        for line in ended.stderr.lines() {
            if format == "json" {
                let line: Value = serde_json::from_str(line).unwrap();
                assert!(line["level"].is_string(), "{line}");
            } else {
                let is_own = line.starts_with("20") && !line.contains("INFO archived FORGED\n");
                let forged = line.split("  INFO ").next() == Some("2026-01-01T00:00:00.000000Z");
                assert!(is_own && !forged, "{line}");
            }
        }
        let message = "SELECT error_message FROM archiver.recordings WHERE recording_id = $1";
        let message = world.text(message, ids[0]).await.unwrap();
        assert!(
            message.contains("FORGED") && !message.contains(acts_unseen),
            "{message:?}"
        );
        for arguments in [
            &["status", "--id", &ids[0].to_string()][..],
            &["status", "--id", &ids[1].to_string()],
            &["status", "--id", &ids[1].to_string(), "--output", "json"],
            &["status"],
            &["archive", "--id", &ids[0].to_string()],
            &["archive", "--dry-run", "--id", &ids[0].to_string()],
            &["report", "costs", "--by", "recording"],
        ] {
            let ended = binary.run(arguments).await;
            for text in [&ended.stdout, &ended.stderr] {
                assert!(!text.contains(acts_unseen), "{arguments:?}: {text:?}");
                assert!(
                    !text
                        .lines()
                        .any(|line| line.starts_with("2026-01-01T00:00:00.000000Z")),
                    "{arguments:?}: {text}"
                );
            }
        }
        execute(
            &world.pool,
            "TRUNCATE archiver.upload_parts, archiver.uploads, archiver.attempts;
             UPDATE archiver.recordings
                SET state = 'pending', finalized_at = NULL, next_attempt_at = now()",
        )
        .await;
    }
}
