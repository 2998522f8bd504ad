//! `verify` as people and scripts meet it, and the service's own reading.

use std::fs;
use std::path::PathBuf;

use uuid::Uuid;

use super::{KIB, end, get, id_flags, offer, texts};
use crate::harness::binary::Binary;
use crate::harness::eventually;
use crate::harness::s3::{Call, StoreFault};
use crate::harness::world::{World, files_below};
use crate::seed::execute;

/// Recordings that are archived by the binary.
async fn archived(
    world: &World,
    binary: &Binary,
    numbers: std::ops::RangeInclusive<u128>,
) -> Vec<Uuid> {
    let ids = offer(world, numbers, 100 * KIB);
    let named = texts(&ids);
    let mut arguments = vec!["archive"];
    arguments.extend(id_flags(&named));
    binary.run(&arguments).await.demand_code(0);
    ids
}

fn place_of(world: &World, id: Uuid) -> PathBuf {
    world.path_of(&world.key_of(id))
}

fn rot(world: &World, id: Uuid) {
    let mut bytes = fs::read(place_of(world, id)).unwrap();
    bytes[70_000] ^= 0x80;
    fs::write(place_of(world, id), bytes).unwrap();
}

#[tokio::test]
async fn verify_reads_everything_and_ends_by_what_it_found() {
    let world = World::s3().await;
    let binary = Binary::of(&world);
    let ids = archived(&world, &binary, 1..=4).await;
    let sound = binary.run(&["verify"]).await.demand_code(0);
    assert_eq!(
        sound.stdout,
        "4 equal, 0 different, 0 not read, 0 in another store; 400.0 KiB read\n"
    );
    // No terminal, no bars.
    assert_eq!(sound.stderr, "", "{sound:?}");

    rot(&world, ids[1]);
    fs::remove_file(place_of(&world, ids[2])).unwrap();
    execute(
        &world.pool,
        "UPDATE archiver.recordings SET object_url = 's3://former/' || object_key
          WHERE recording_id = '10000000-0000-4000-8000-000000000004'",
    )
    .await;
    let found = binary.run(&["verify"]).await.demand_code(1);
    let mut lines: Vec<&str> = found.stdout.lines().collect();
    let summary = lines.pop();
    assert_eq!(
        summary,
        Some("1 equal, 2 different, 0 not read, 1 in another store; 300.0 KiB read")
    );
    lines.sort_unstable();
    let starts = [
        format!("{}  checksum_mismatch: the archived object s3://", ids[1]),
        format!("{}  object_missing: the archived object is gone", ids[2]),
    ];
    assert_eq!(lines.len(), 2, "{found:?}");
    for (line, start) in lines.iter().zip(&starts) {
        assert!(line.starts_with(start), "{line}");
    }
    for id in [ids[1], ids[2]] {
        let told = found
            .stderr
            .lines()
            .filter(|line| line.contains(&id.to_string()));
        let told: Vec<_> = told.collect();
        assert!(told.len() == 1 && told[0].contains("ERROR"), "{told:?}");
    }
    let status = binary.run(&["status"]).await.demand_code(0);
    status.demand_output(&[
        "% read again within 90 days, longest unread since 20",
        "2 archived recordings damaged or missing\n",
        "checksum_mismatch             1  run `verify --repair`",
    ]);
}

#[tokio::test]
async fn verify_takes_ids_and_says_why_it_cannot_read_one() {
    let world = World::local().await;
    let binary = Binary::of(&world);
    let ids = archived(&world, &binary, 1..=3).await;
    offer(&world, [4], KIB);
    world.enqueue(super::id(4)).await;
    rot(&world, ids[2]);
    let first = ids[0].to_string();
    binary
        .run(&["verify", "--id", &first])
        .await
        .demand_code(0)
        .demand_output(&["1 equal, 0 different"]);
    let named = texts(&[ids[1], super::id(4), super::id(5)]).join("\n");
    let ended = binary
        .run_with_input(&["verify", "--ids-file", "-"], &named)
        .await
        .demand_code(1);
    ended.demand_output(&[
        &format!("{}  not archived: it is pending\n", super::id(4)),
        &format!("{}  unknown: it is not in the queue\n", super::id(5)),
        "1 equal, 0 different",
    ]);
    // Two of three, whichever.
    for sample in ["2", "40%"] {
        let ended = binary.run(&["verify", "--sample", sample]).await;
        let sum = ended.stdout.lines().last().unwrap().to_owned();
        let two = ["2 equal, 0 different", "1 equal, 1 different"];
        assert!(two.iter().any(|it| sum.starts_with(it)), "{ended:?}");
    }
}

#[tokio::test]
async fn verify_ends_with_75_for_trouble_and_2_for_a_refusal() {
    let world = World::s3().await;
    let server = world.s3_server();
    let binary = Binary::of(&world);
    archived(&world, &binary, 1..=1).await;
    for (fault, code) in [
        (StoreFault::Refuse(501, "NotImplemented"), 75),
        (StoreFault::Refuse(403, "AccessDenied"), 2),
    ] {
        server.inject(Call::Get, fault, 100);
        let ended = binary.run(&["verify"]).await.demand_code(code);
        ended.demand_output(&["0 equal, 0 different, 1 not read"]);
        server.clear_faults();
    }
    let damaged = "SELECT count(*) FROM archiver.recordings WHERE error_kind IS NOT NULL";
    assert_eq!(world.number(damaged).await, 0);
}

#[tokio::test]
async fn verify_repairs_what_the_provider_still_has() {
    let world = World::local().await;
    let binary = Binary::of(&world);
    let ids = archived(&world, &binary, 1..=2).await;
    rot(&world, ids[0]);
    rot(&world, ids[1]);
    world.simulator.remove(ids[1]);
    let ended = binary.run(&["verify", "--repair"]).await.demand_code(1);
    ended.demand_output(&[
        "; repaired; the bad object is kept at file:///",
        "; not repaired: the provider has it no more\n",
        "0 equal, 2 different (1 repaired), 0 not read",
    ]);
    world.demand_archived(ids[0]).await;
    // Nobody writes where the damaged ones are kept, and no walk meets them.
    let again = binary.run(&["verify", "--repair"]).await.demand_code(1);
    again.demand_output(&["1 equal, 1 different (0 repaired), 0 not read"]);
    // Without the settings of the provider it can only look.
    let binary = binary.without("SIGNALWIRE_API_TOKEN");
    binary.run(&["verify"]).await.demand_code(1);
    binary.run(&["verify", "--repair"]).await.demand_code(2);
}

#[tokio::test]
async fn the_service_reads_by_schedule_and_repairs() {
    let world = World::s3().await;
    let binary = Binary::of(&world);
    let ids = archived(&world, &binary, 1..=2).await;
    rot(&world, ids[0]);
    let daemon = binary
        .with("RECORDING_ARCHIVER_VERIFY_SCHEDULE", "* * * * * *")
        .with("RECORDING_ARCHIVER_VERIFY_WITHIN", "1h")
        .start(&["run"]);
    daemon.demand_log("read a slice of the archive again").await;
    world.demand_archived(ids[0]).await;
    let kept = files_below(&world.path_of("video/archive/.recording-archiver-damaged"));
    assert_eq!(kept.len(), 1, "{kept:?}");
    let http = daemon.http().await;
    let seen = eventually("the metrics have it", || async {
        let (_, text) = get(&format!("{http}/metrics")).await?;
        text.contains("archive_recordings 2\n").then_some(text)
    })
    .await;
    for line in [
        "verified_objects_total{result=\"equal\"} 1",
        "verified_objects_total{result=\"checksum_mismatch\"} 1",
        "verified_objects_total{result=\"object_missing\"} 0",
        "verified_bytes_total 102400",
        "attempts_total{outcome=\"archived\"} 1",
        "archive_size_bytes 204800",
        "archive_read_again_recordings 1",
        "archive_read_again_bytes 102400",
        "archive_damaged_recordings 0",
        "verify_within_seconds 3600",
    ] {
        let line = format!("recording_archiver_{line}\n");
        assert!(seen.contains(&line), "{line} is missing in\n{seen}");
    }
    let log = end(daemon).await;
    let told = log.lines().filter(|line| line.contains("has changed"));
    assert_eq!(told.count(), 1, "{log}");
}
