//! Archived objects read again: what is damaged is found, and brought home while the provider has it.

use std::collections::HashSet;
use std::fs;
use std::num::NonZeroU64;
use std::time::Duration;

use recording_archiver::archive::Archiver;
use recording_archiver::bandwidth::Bandwidth;
use recording_archiver::progress::Board;
use recording_archiver::queue::{Chore, Unread, coverage};
use recording_archiver::simulator::{MetadataFault, SimulatedRecording, Times};
use recording_archiver::upkeep::{Found, Repair, Sample, Scrub, Scrubbed, Sliced, Supply, slice};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::harness::s3::{Call, StoreFault};
use crate::harness::world::{PART, World, files_below};
use crate::seed::execute;

mod future;
mod repair;
mod slices;

const KIB: u64 = 1024;
const ALL: Scrubbed = Scrubbed {
    equal: 0,
    damaged: 0,
    repaired: 0,
    left: 0,
    denied: 0,
    cold: 0,
    read_bytes: 0,
    cut_short: false,
};

/// A test's scrub: which objects, and what is done about them.
struct Reading<'a> {
    world: &'a World,
    archiver: &'a Archiver,
    repair: bool,
    sample: Option<u64>,
    stop: CancellationToken,
    bandwidth: Bandwidth,
}

impl<'a> Reading<'a> {
    fn of(world: &'a World, archiver: &'a Archiver) -> Self {
        Self {
            world,
            archiver,
            repair: false,
            sample: None,
            stop: CancellationToken::new(),
            bandwidth: Bandwidth::new(None),
        }
    }

    fn repairing(self) -> Self {
        Self {
            repair: true,
            ..self
        }
    }

    /// Reads all there is, and gives what was found of each.
    async fn all(&self) -> (Scrubbed, Vec<(Uuid, Found)>) {
        let storage = &self.archiver.storage;
        let walk = Unread::begin(&self.world.service, storage.url_root())
            .await
            .unwrap();
        let all = walk.ahead().await.unwrap().recordings;
        let sample = self.sample.map(|wanted| Sample::new(wanted, all));
        let mut supply = Supply::walk(walk, sample);
        let board = Board::default();
        let mut seen = Vec::new();
        let scrub = self.scrub(&board);
        let reading = scrub.run(&mut supply, None, |object, found| {
            let found = match found {
                Found::Equal => Found::Equal,
                Found::Damaged { damage, repair } => Found::Damaged {
                    damage: damage.clone(),
                    repair: repair.as_ref().map(told),
                },
                Found::NotRead { kind, message } => Found::NotRead {
                    kind: *kind,
                    message: message.clone(),
                },
                Found::Cold { message } => Found::Cold {
                    message: message.clone(),
                },
                Found::Replaced => Found::Replaced,
            };
            seen.push((object.recording_id.uuid(), found));
        });
        let scrubbed = Box::pin(reading).await.unwrap();
        (scrubbed, seen)
    }

    fn scrub<'b>(&'b self, board: &'b Board) -> Scrub<'b> {
        Scrub {
            pool: &self.world.service,
            storage: &self.archiver.storage,
            repair: self.repair.then_some(self.archiver),
            bandwidth: &self.bandwidth,
            side_by_side: 4,
            board,
            stop: &self.stop,
        }
    }
}

/// A repair in its words.
fn told(repair: &Repair) -> Repair {
    Repair::NotDone {
        reason: repair.to_string(),
    }
}

/// A recording that is archived and proven.
async fn archived(world: &World, archiver: &Archiver, size_bytes: u64) -> Uuid {
    let recording = SimulatedRecording::new(Uuid::new_v4(), size_bytes);
    let id = world.add(recording).await;
    world.attempt(archiver).await;
    world.demand_archived(id).await;
    id
}

/// Turns the lowest bit of one byte over, behind everyone's back.
fn rot(world: &World, id: Uuid, position: usize) -> Vec<u8> {
    let path = world.path_of(&world.key_of(id));
    let mut bytes = fs::read(&path).unwrap();
    bytes[position] ^= 1;
    fs::write(&path, &bytes).unwrap();
    bytes
}

fn lose(world: &World, id: Uuid) {
    fs::remove_file(world.path_of(&world.key_of(id))).unwrap();
}

/// `error_kind`, since when it is damaged (whether at all), and whether it was read again.
async fn standing(world: &World, id: Uuid) -> (String, bool, bool) {
    let (kind, damaged, verified): (Option<String>, bool, bool) = sqlx::query_as(
        "SELECT error_kind, damage_found_at IS NOT NULL, coalesce(verified_at, archived_at) <> archived_at
           FROM archiver.recordings WHERE recording_id = $1 AND state = 'archived'",
    )
    .bind(id)
    .fetch_one(&world.pool)
    .await
    .unwrap();
    (kind.unwrap_or_default(), damaged, verified)
}

fn sound() -> (String, bool, bool) {
    (String::new(), false, true)
}

#[tokio::test]
async fn a_flipped_byte_and_a_missing_object_are_found_and_the_others_are_read_again() {
    for world in [World::local().await, World::s3().await] {
        let archiver = world.archiver();
        let mut ids = Vec::new();
        for size in [100 * KIB, PART + 1, 0, 17] {
            ids.push(archived(&world, &archiver, size).await);
        }
        rot(&world, ids[1], 3_000_000);
        lose(&world, ids[3]);
        let reading = Reading::of(&world, &archiver);
        let (scrubbed, seen) = reading.all().await;
        let expected = Scrubbed {
            equal: 2,
            damaged: 2,
            read_bytes: 100 * KIB + PART + 1 + 17,
            ..ALL
        };
        assert_eq!(scrubbed, expected, "{seen:?}");
        assert_eq!(standing(&world, ids[0]).await, sound());
        assert_eq!(standing(&world, ids[2]).await, sound());
        let damaged = |kind: &str| (kind.to_owned(), true, false);
        assert_eq!(standing(&world, ids[1]).await, damaged("checksum_mismatch"));
        assert_eq!(standing(&world, ids[3]).await, damaged("object_missing"));
        let row = world.row(ids[1]).await;
        let message = row.error_message.unwrap();
        assert!(message.contains(&row.object_url.unwrap()), "{message}");

        // Found again, its day stays; whole again, nothing is left of it.
        let since = "SELECT damage_found_at::text FROM archiver.recordings WHERE recording_id = $1";
        let first = world.text(since, ids[1]).await;
        assert_eq!(reading.all().await.0.damaged, 2);
        assert_eq!(world.text(since, ids[1]).await, first);
        rot(&world, ids[1], 3_000_000);
        assert_eq!(reading.all().await.0.damaged, 1);
        assert_eq!(standing(&world, ids[1]).await, sound());
        assert_eq!(world.row(ids[1]).await.error_message, None);
    }
}

#[tokio::test]
async fn trouble_of_the_store_is_no_verdict() {
    let world = World::s3().await;
    let server = world.s3_server();
    let archiver = world.archiver();
    let id = archived(&world, &archiver, KIB).await;
    let reading = Reading::of(&world, &archiver);
    for (fault, denied) in [
        (StoreFault::Refuse(403, "AccessDenied"), 1),
        (StoreFault::Refuse(400, "ExpiredToken"), 1),
        (StoreFault::Refuse(501, "NotImplemented"), 0),
    ] {
        server.inject(Call::Get, fault.clone(), 100);
        let (scrubbed, seen) = reading.all().await;
        let left = Scrubbed {
            left: 1,
            denied,
            ..ALL
        };
        assert_eq!(scrubbed, left, "{fault:?}: {seen:?}");
        server.clear_faults();
        let row = world.row(id).await;
        assert_eq!((row.state.as_str(), row.error_kind), ("archived", None));
        assert_eq!(standing(&world, id).await, (String::new(), false, false));
    }
}

#[tokio::test]
async fn cold_object_is_skipped_and_counted() {
    let world = World::s3().await;
    let archiver = world.archiver();
    let id = archived(&world, &archiver, KIB).await;
    let cold = StoreFault::Refuse(403, "InvalidObjectState");
    world.s3_server().inject(Call::Get, cold, 100);
    let (scrubbed, seen) = Reading::of(&world, &archiver).repairing().all().await;
    assert_eq!(scrubbed, Scrubbed { cold: 1, ..ALL }, "{seen:?}");
    let row = world.row(id).await;
    assert_eq!((row.state.as_str(), row.error_kind), ("archived", None));
    let ended = crate::harness::binary::Binary::of(&world)
        .run(&["verify"])
        .await;
    let ended = ended.demand_code(0);
    assert!(
        ended
            .stdout
            .contains("0 equal, 0 different, 1 in a cold storage class"),
        "{ended:?}"
    );
}

#[tokio::test]
async fn a_read_that_gave_other_bytes_once_is_no_verdict() {
    let world = World::s3().await;
    let server = world.s3_server();
    let archiver = world.archiver();
    let id = archived(&world, &archiver, KIB).await;
    // The first reading meets the byte turned over, and the second one is held until it is not.
    rot(&world, id, 5);
    let go = CancellationToken::new();
    server.inject_after(1, Call::Get, StoreFault::HoldUntil(go.clone()), 1);
    let before = server.count(Call::Get);
    let reading = Reading::of(&world, &archiver);
    let mending = async {
        crate::harness::eventually("it is read a second time", || async {
            (server.count(Call::Get) == before + 2).then_some(())
        })
        .await;
        rot(&world, id, 5);
        go.cancel();
    };
    let ((scrubbed, _), ()) = tokio::join!(reading.all(), mending);
    assert_eq!((scrubbed.equal, scrubbed.damaged), (1, 0));
    assert_eq!(standing(&world, id).await, sound());
}

#[tokio::test]
async fn a_directory_that_is_not_mounted_does_not_look_like_an_archive_that_is_gone() {
    let world = World::local().await;
    let archiver = world.archiver();
    let id = archived(&world, &archiver, KIB).await;
    let root = world.path_of("");
    let elsewhere = root.with_extension("elsewhere");
    fs::rename(&root, &elsewhere).unwrap();
    for mounted in [false, true] {
        if mounted {
            fs::create_dir_all(root.join("lost+found")).unwrap();
        }
        let (scrubbed, seen) = Reading::of(&world, &archiver).repairing().all().await;
        assert_eq!((scrubbed.left, scrubbed.damaged), (1, 0), "{seen:?}");
    }
    fs::remove_dir_all(&root).unwrap();
    fs::rename(&elsewhere, &root).unwrap();
    assert_eq!(Reading::of(&world, &archiver).all().await.0.equal, 1);
    world.demand_archived(id).await;
}

#[tokio::test]
async fn a_store_that_is_in_trouble_is_not_asked_for_everything() {
    let world = World::s3().await;
    let archiver = world.archiver();
    for _ in 0..20 {
        archived(&world, &archiver, 16).await;
    }
    let server = world.s3_server();
    server.inject(Call::Get, StoreFault::Refuse(403, "AccessDenied"), 1000);
    let before = server.count(Call::Get);
    let (scrubbed, _) = Reading::of(&world, &archiver).all().await;
    assert!(scrubbed.cut_short, "{scrubbed:?}");
    let asked = server.count(Call::Get) - before;
    // Five in a row, and those that were on their way.
    assert!((5..=8).contains(&asked), "{asked}");
}

#[tokio::test]
async fn the_longest_unread_come_first_and_other_stores_are_left_out() {
    let world = World::local().await;
    let archiver = world.archiver();
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(archived(&world, &archiver, 10).await);
    }
    for (place, verified) in [(0, "1 hour"), (1, "3 hours"), (2, "2 hours")] {
        sqlx::query(
            "UPDATE archiver.recordings SET verified_at = now() - $2::text::interval
              WHERE recording_id = $1",
        )
        .bind(ids[place])
        .bind(verified)
        .execute(&world.pool)
        .await
        .unwrap();
    }
    sqlx::query(
        "UPDATE archiver.recordings SET verified_at = NULL,
                object_url = 's3://elsewhere/' || object_key WHERE recording_id = $1",
    )
    .bind(ids[3])
    .execute(&world.pool)
    .await
    .unwrap();
    let mut walk = Unread::begin(&world.pool, archiver.storage.url_root())
        .await
        .unwrap();
    let ahead = walk.ahead().await.unwrap();
    assert_eq!((ahead.recordings, ahead.bytes, ahead.elsewhere), (3, 30, 1));
    // Read meanwhile, so it is not met again; nor is what comes later.
    let page = walk.page().await.unwrap();
    let order: Vec<Uuid> = page.iter().map(|it| it.recording_id.uuid()).collect();
    assert_eq!(order, [ids[1], ids[2], ids[0]]);
    assert!(walk.page().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_walk_of_many_pages_meets_each_object_once() {
    let world = World::local().await;
    // More than two pages, some of them read, all archived at the same moment.
    execute(
        &world.pool,
        "INSERT INTO archiver.recordings (recording_id, state, object_key, object_url, size_bytes,
                sha256, crc64nvme, evidence, archived_at, finalized_at, verified_at)
         SELECT gen_random_uuid(), 'archived', n, 'file:///x/' || n, 1, sha256('x'), 'x',
                'read_back', now() - interval '1 day', now() - interval '1 day',
                CASE WHEN n % 3 = 0 THEN now() - interval '1 hour' END
           FROM generate_series(1, 1234) n",
    )
    .await;
    let mut walk = Unread::begin(&world.pool, "file:///x/".to_owned())
        .await
        .unwrap();
    let (mut met, mut pages) = (HashSet::new(), 0);
    loop {
        let page = walk.page().await.unwrap();
        if page.is_empty() {
            break;
        }
        pages += 1;
        for object in page {
            assert!(met.insert(object.recording_id), "{object:?}");
        }
        execute(
            &world.pool,
            "UPDATE archiver.recordings SET verified_at = now() WHERE object_key LIKE '1%'",
        )
        .await;
    }
    assert!(pages >= 2, "{pages}");
    // Those beyond the first page that were read meanwhile are not read once more.
    assert!((500..1234).contains(&met.len()), "{}", met.len());
}

#[tokio::test]
async fn a_sample_reads_as_many_as_were_asked_for() {
    let world = World::local().await;
    let archiver = world.archiver();
    for _ in 0..9 {
        archived(&world, &archiver, 16).await;
    }
    let mut reading = Reading::of(&world, &archiver);
    reading.sample = Some(4);
    let (scrubbed, seen) = reading.all().await;
    assert_eq!(scrubbed.equal, 4);
    let ids: HashSet<Uuid> = seen.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids.len(), 4);
    let again = "SELECT count(*) FROM archiver.recordings WHERE verified_at <> archived_at";
    assert_eq!(world.number(again).await, 4);
}

#[tokio::test]
async fn reading_is_held_to_its_bandwidth_and_stops_in_the_middle() {
    let world = World::local().await;
    let archiver = world.archiver();
    let id = archived(&world, &archiver, 8 * KIB * KIB).await;
    let mut reading = Reading::of(&world, &archiver);
    // At this pace it takes two hours.
    reading.bandwidth = Bandwidth::new(NonZeroU64::new(KIB));
    let stop = reading.stop.clone();
    let board = Board::default();
    let storage = &archiver.storage;
    let walk = Unread::begin(&world.pool, storage.url_root())
        .await
        .unwrap();
    let mut supply = Supply::walk(walk, None);
    let scrub = reading.scrub(&board);
    let scrubbing = scrub.run(&mut supply, None, |_, _| {});
    let stopping = async {
        crate::harness::eventually("bytes are read", || async {
            (board.received_bytes() > 0).then_some(())
        })
        .await;
        stop.cancel();
    };
    let (scrubbed, ()) = tokio::join!(scrubbing, stopping);
    let scrubbed = scrubbed.unwrap();
    assert_eq!((scrubbed.left, scrubbed.equal), (1, 0));
    assert!(board.received_bytes() < KIB * KIB);
    assert_eq!(standing(&world, id).await, (String::new(), false, false));
}

#[tokio::test]
async fn coverage_counts_recordings_and_bytes_that_were_read_within_the_time() {
    let world = World::s3().await;
    let archiver = world.archiver();
    let mut ids = Vec::new();
    for size in [1000, 200, 30, 14] {
        ids.push(archived(&world, &archiver, size).await);
    }
    lose(&world, ids[3]);
    Reading::of(&world, &archiver).all().await;
    execute(
        &world.pool,
        "UPDATE archiver.recordings SET archived_at = archived_at - interval '300 days';
         UPDATE archiver.recordings SET verified_at = verified_at - interval '100 days'
          WHERE size_bytes = 200",
    )
    .await;
    let day = Duration::from_hours(24);
    let seen = coverage(&world.pool, 90 * day).await.unwrap();
    assert_eq!((seen.recordings, seen.size_bytes), (4, 1244));
    assert_eq!((seen.read_again, seen.read_again_bytes), (2, 1030));
    assert_eq!((seen.damaged, seen.within_secs), (1, 90 * 86_400));
    let since = "SELECT archived_at FROM archiver.recordings WHERE size_bytes = 14";
    let since = sqlx::query_scalar(since)
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(seen.longest_unread_since, Some(since));
    let seen = coverage(&world.pool, 110 * day).await.unwrap();
    assert_eq!((seen.read_again, seen.read_again_bytes), (3, 1230));
}
