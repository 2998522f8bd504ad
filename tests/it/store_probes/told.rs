//! What operators hear of it: the service's log, `doctor`, `status`.

use recording_archiver::simulator::SimulatedRecording;
use serde_json::Value;
use uuid::Uuid;

use crate::cli::end;
use crate::harness::binary::Binary;
use crate::harness::s3::{Call, StoreFault};
use crate::harness::world::{MIB, World};

const RUN: [&str; 3] = ["--log-format", "json", "run"];
const ONCE: [&str; 4] = ["--log-format", "json", "run", "--once"];

/// The level and the message of each line about the store.
fn of_store(log: &str) -> Vec<(String, String)> {
    let lines = log.lines().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        line
    });
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    lines
        .filter(|line| line["store.url"] == "s3://recordings/video/archive")
        .map(|line| (text(&line["level"]), text(&line["message"])))
        .collect()
}

#[tokio::test]
async fn the_service_says_at_its_start_by_what_objects_are_proven() {
    let world = World::s3().await;
    let daemon = Binary::of(&world).start(&RUN);
    daemon.demand_log("objects are proven by").await;
    let log = end(daemon).await;
    let expected = "objects are proven by `full_object`".to_owned();
    assert_eq!(of_store(&log), [("INFO".to_owned(), expected)]);

    world.s3_server().honour_part_checksums(false);
    let daemon = Binary::of(&world).start(&RUN);
    daemon.demand_log("has got worse").await;
    let told = of_store(&end(daemon).await);
    let [said, degraded, worse] = &told[..] else {
        panic!("{told:?}");
    };
    let reason = "the store does not refuse a wrong checksum of a part";
    for (line, level, words) in [
        (said, "INFO", "objects are proven by `read_back`"),
        (degraded, "WARN", "evidence is only `read_back`"),
    ] {
        assert_eq!(line.0, level, "{line:?}");
        assert!(line.1.contains(words), "{line:?}");
        assert!(line.1.contains(reason), "{line:?}");
    }
    assert_eq!(worse.0, "WARN");
    let words = "it does not refuse a wrong CRC64NVME of a part, nor refuse a wrong SHA-256 of a part \
                 any more; evidence degrades from `full_object` to `read_back`";
    assert!(worse.1.contains(words), "{worse:?}");
}

#[tokio::test]
async fn a_store_that_cannot_be_probed_at_start_is_told_with_its_cure() {
    let world = World::s3().await;
    let skewed = StoreFault::Refuse(403, "RequestTimeTooSkewed");
    world.s3_server().inject_everywhere(&Call::ALL, &skewed);
    let daemon = Binary::of(&world).start(&RUN);
    daemon.demand_log("cannot be probed yet").await;
    let log = end(daemon).await;
    let mut lines = log.lines();
    let line = lines.find(|line| line.contains("cannot be probed yet"));
    let line = line.unwrap();
    for said in ["set this host's clock", "storage_denied", "Cure: ", "WARN"] {
        assert!(line.contains(said), "{said}: {line}");
    }
}

#[tokio::test]
async fn a_drain_and_a_backfill_tell_it_if_they_had_to_know() {
    let world = World::s3().await;
    world.s3_server().honour_part_checksums(false);
    let ended = Binary::of(&world).run(&ONCE).await.demand_code(0);
    assert!(of_store(&ended.stderr).is_empty(), "nothing was due");
    let recording = SimulatedRecording::new(Uuid::new_v4(), MIB);
    world.add(recording).await;
    let ended = Binary::of(&world).run(&ONCE).await.demand_code(0);
    let levels: Vec<_> = of_store(&ended.stderr).into_iter().map(|it| it.0).collect();
    assert_eq!(levels, ["INFO", "WARN"]);

    let id = Uuid::new_v4();
    world.simulator.add(SimulatedRecording::new(id, MIB));
    let id = id.to_string();
    let archive = ["--log-format", "json", "archive", "--id", &id];
    let ended = Binary::of(&world).run(&archive).await.demand_code(0);
    let told = of_store(&ended.stderr);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].1.contains("only `read_back`"), "{told:?}");
}

#[tokio::test]
async fn doctor_shows_it_and_puts_it_on_record() {
    let world = World::s3().await;
    let doctor = || async { Binary::of(&world).run(&["doctor"]).await.demand_code(0) };
    doctor().await.demand_output(&[
        "a wrong CRC64NVME is refused on PUT and refused of a part",
        "a wrong SHA-256 is refused on PUT and refused of a part",
        "uploads are listed and aborted, their parts listed; metadata is kept",
        "note  storage        parts of 5.0 MiB are taken",
        "so evidence is `full_object`",
    ]);
    world.s3_server().honour_sha256(false);
    world.s3_server().honour_object_checksum(false);
    doctor().await.demand_output(&[
        "a wrong SHA-256 is NOT refused on PUT and NOT refused of a part",
        "so evidence is `parts`, because the store does not refuse a wrong checksum of the whole",
        "got worse since",
        "evidence degrades from `full_object` to `parts`",
    ]);
    world
        .add(SimulatedRecording::new(Uuid::new_v4(), MIB))
        .await;
    let status = Binary::of(&world).run(&["status"]).await.demand_code(0);
    status.demand_output(&["s3://recordings/video/archive proves by parts (probed "]);
}

#[tokio::test]
async fn parts_that_do_not_get_through_are_told_before_a_recording_fails_for_it() {
    let world = World::s3().await;
    world.s3_server().takes_parts_up_to(MIB);
    let cure = "set storage.part_size to what the store takes";
    let daemon = Binary::of(&world).start(&RUN);
    daemon.demand_log("refuses parts of 5.0 MiB").await;
    let told = of_store(&end(daemon).await);
    assert_eq!(told.len(), 2, "{told:?}");
    let (level, warning) = &told[1];
    assert_eq!(level, "WARN");
    for said in ["EntityTooLarge", cure] {
        assert!(warning.contains(said), "{said}: {warning}");
    }
    let doctor = Binary::of(&world).run(&["doctor"]).await.demand_code(1);
    doctor.demand_output(&["BAD   storage        parts of 5.0 MiB are refused: ", cure]);
    world
        .add(SimulatedRecording::new(Uuid::new_v4(), MIB))
        .await;
    let status = Binary::of(&world).run(&["status"]).await.demand_code(0);
    status.demand_output(&["archive refuses parts of 5.0 MiB: "]);
}

#[tokio::test]
async fn doctor_names_the_right_that_removing_takes() {
    let world = World::s3().await;
    let denied = StoreFault::Refuse(403, "AccessDenied");
    world
        .s3_server()
        .inject_everywhere(&[Call::Delete], &denied);
    let doctor = Binary::of(&world).run(&["doctor"]).await.demand_code(1);
    doctor.demand_output(&[
        "BAD   storage        cannot remove objects: remove video/archive/.recording-archiver-probe/",
        "AccessDenied",
        "allow s3:DeleteObject under the prefix",
        "so evidence is `full_object`",
    ]);
    let daemon = Binary::of(&world).start(&RUN);
    daemon.demand_log("the store does not remove objects").await;
    let told = of_store(&end(daemon).await);
    let warnings = told.iter().filter(|(level, _)| level == "WARN");
    assert_eq!(warnings.count(), 1, "{told:?}");
}
