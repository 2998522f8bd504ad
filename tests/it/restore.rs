//! The way back: what is archived becomes a file again, or none at all.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};

use nix::sys::stat::Mode;
use nix::unistd::{geteuid, mkfifo};
use recording_archiver::archive::Archiver;
use recording_archiver::error::ErrorKind;
use recording_archiver::progress::Progress;
use recording_archiver::queue::{ArchivedObject, archived};
use recording_archiver::restore::{Restore, RestoreError, Restored};
use recording_archiver::simulator::SimulatedRecording;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::harness::s3::{Call, StoreFault};
use crate::harness::world::{PART, World, files_below};

/// An archived recording, its bytes, and a place to write it to.
struct Case {
    world: World,
    archiver: Archiver,
    id: Uuid,
    bytes: Vec<u8>,
    object: ArchivedObject,
    directory: TempDir,
    progress: Progress,
    stop: CancellationToken,
}

impl Case {
    async fn of(world: World, size_bytes: u64) -> Self {
        let archiver = world.archiver();
        let recording = SimulatedRecording::new(Uuid::new_v4(), size_bytes);
        let id = world.add(recording).await;
        world.attempt(&archiver).await;
        world.demand_archived(id).await;
        let found = archived(&world.pool, &[id.into()]).await.unwrap();
        Self {
            bytes: world.object(id).unwrap(),
            object: found.into_iter().next().unwrap(),
            directory: tempfile::tempdir().unwrap(),
            progress: Progress::default(),
            stop: CancellationToken::new(),
            world,
            archiver,
            id,
        }
    }

    fn restore(&self) -> Restore<'_> {
        Restore {
            storage: &self.archiver.storage,
            object: &self.object,
            progress: &self.progress,
            stop: &self.stop,
        }
    }

    async fn to_file(&self) -> Result<Restored, RestoreError> {
        self.restore().to_file(&self.destination(), false).await
    }

    fn destination(&self) -> PathBuf {
        self.directory.path().join("a name.mp4")
    }

    /// Where what came so far is kept.
    fn part(&self) -> PathBuf {
        let name = format!(".a name.mp4.{}.part", self.id);
        self.directory.path().join(name)
    }

    fn written(&self) -> Option<Vec<u8>> {
        fs::read(self.destination()).ok()
    }

    fn demand_whole(&self) {
        assert!(self.written().unwrap() == self.bytes, "other bytes");
        assert_eq!(files_below(self.directory.path()), [self.destination()]);
    }

    fn place(&self) -> PathBuf {
        self.world.path_of(&self.world.key_of(self.id))
    }

    fn rot(&self) {
        let mut bytes = self.bytes.clone();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(self.place(), bytes).unwrap();
    }
}

#[tokio::test]
async fn an_object_becomes_the_file_that_it_was() {
    for size in [0, 1000, 2 * PART + 3] {
        for world in [World::local().await, World::s3().await] {
            let case = Case::of(world, size).await;
            assert_eq!(case.to_file().await.unwrap(), Restored::Written);
            case.demand_whole();
            assert_eq!(case.progress.received_bytes(), size);
            assert_eq!(case.to_file().await.unwrap(), Restored::AlreadyThere);
            case.demand_whole();
        }
    }
}

#[tokio::test]
async fn what_came_before_is_gone_on_with() {
    for world in [World::local().await, World::s3().await] {
        let case = Case::of(world, PART).await;
        let there = 3_000_000;
        fs::write(case.part(), &case.bytes[..there]).unwrap();
        assert_eq!(case.to_file().await.unwrap(), Restored::Written);
        case.demand_whole();
        assert_eq!(case.progress.received_bytes(), PART - there as u64);
        assert_eq!(case.progress.resumed_bytes(), there as u64);
    }
}

#[tokio::test]
async fn a_part_that_is_whole_already_is_only_looked_at() {
    let case = Case::of(World::s3().await, PART).await;
    fs::write(case.part(), &case.bytes).unwrap();
    case.to_file().await.unwrap();
    case.demand_whole();
    assert_eq!(case.progress.received_bytes(), 0);
}

#[tokio::test]
async fn a_part_with_wrong_bytes_is_begun_anew() {
    for wrong in [vec![7; 4000], vec![7; 5000], vec![7; 6000]] {
        let case = Case::of(World::s3().await, 5000).await;
        fs::write(case.part(), &wrong).unwrap();
        assert_eq!(case.to_file().await.unwrap(), Restored::Written);
        case.demand_whole();
    }
}

#[tokio::test]
async fn a_damaged_object_becomes_no_file() {
    for world in [World::local().await, World::s3().await] {
        let case = Case::of(world, PART).await;
        case.rot();
        // Whether there is a part or not.
        for there in [0, 1000] {
            if there > 0 {
                fs::write(case.part(), &case.bytes[..there]).unwrap();
            }
            let error = case.to_file().await.unwrap_err();
            assert!(matches!(error, RestoreError::Damaged { .. }), "{error}");
            let (words, url) = (error.to_string(), &case.object.object_url);
            assert!(
                words.contains(url) && words.contains("verify --repair"),
                "{words}"
            );
            assert_eq!(files_below(case.directory.path()), Vec::<PathBuf>::new());
        }
        // Cut off behind what is there.
        fs::write(case.place(), &case.bytes[..500]).unwrap();
        fs::write(case.part(), &case.bytes[..1000]).unwrap();
        let error = case.to_file().await.unwrap_err();
        assert!(
            matches!(
                error,
                RestoreError::Damaged {
                    found_bytes: 500,
                    ..
                }
            ),
            "{error}"
        );
        fs::remove_file(case.place()).unwrap();
        let error = case.to_file().await.unwrap_err();
        assert!(matches!(error, RestoreError::Missing { .. }), "{error}");
        assert_eq!(files_below(case.directory.path()), Vec::<PathBuf>::new());
    }
}

#[tokio::test]
async fn what_is_there_stays_unless_it_may_be_replaced() {
    let case = Case::of(World::local().await, 5000).await;
    let destination = case.destination();
    let mut alike = case.bytes.clone();
    alike[4999] ^= 1;
    for other in [b"notes".to_vec(), alike] {
        fs::write(&destination, &other).unwrap();
        let error = case.to_file().await.unwrap_err();
        assert!(
            matches!(error, RestoreError::SomethingElse { .. }),
            "{error}"
        );
        assert!(error.to_string().contains("--overwrite"), "{error}");
        assert!(case.written().unwrap() == other);
    }
    // The old file stays in its place until the new one is right.
    let old = case.written().unwrap();
    case.rot();
    let replaced = case.restore().to_file(&destination, true).await;
    assert!(replaced.is_err() && case.written().unwrap() == old);
    fs::write(case.place(), &case.bytes).unwrap();
    let replaced = case.restore().to_file(&destination, true).await;
    assert_eq!(replaced.unwrap(), Restored::Written);
    case.demand_whole();

    for path in [case.directory.path(), Path::new("/dev/null")] {
        let error = case.restore().to_file(path, true).await.unwrap_err();
        assert!(matches!(error, RestoreError::NoFile { .. }), "{error}");
    }
    let nowhere = case.directory.path().join("none/file.mp4");
    let error = case.restore().to_file(&nowhere, false).await.unwrap_err();
    assert!(matches!(error, RestoreError::File { .. }), "{error}");
    // Writing fails as on a full disk.
    let mut full = tokio::fs::File::create("/dev/full").await.unwrap();
    let error = case.restore().to_pipe(&mut full).await.unwrap_err();
    assert!(matches!(error, RestoreError::Pipe(_)), "{error}");
}

#[tokio::test]
async fn trouble_of_the_store_keeps_what_came() {
    let case = Case::of(World::s3().await, PART).await;
    let server = case.world.s3_server();
    fs::write(case.part(), &case.bytes[..1000]).unwrap();
    for (call, status, code, kind) in [
        (Call::Get, 501, "NotImplemented", ErrorKind::StorageRefused),
        (Call::Head, 403, "AccessDenied", ErrorKind::StorageDenied),
        (Call::Get, 403, "AccessDenied", ErrorKind::StorageDenied),
    ] {
        server.inject(call, StoreFault::Refuse(status, code), 100);
        let error = case.to_file().await.unwrap_err();
        assert_eq!(error.trouble(), Some(kind), "{error}");
        server.clear_faults();
        assert_eq!(case.written(), None);
        assert_eq!(fs::read(case.part()).unwrap(), case.bytes[..1000]);
    }
    case.stop.cancel();
    let error = case.to_file().await.unwrap_err();
    assert_eq!(error.trouble(), Some(ErrorKind::Cancelled), "{error}");
    assert_eq!(fs::read(case.part()).unwrap(), case.bytes[..1000]);
}

#[tokio::test]
async fn restore_of_a_cold_object_names_the_command_that_thaws_it() {
    let case = Case::of(World::s3().await, PART).await;
    let cold = StoreFault::Refuse(403, "InvalidObjectState");
    case.world.s3_server().inject(Call::Get, cold, 100);
    let error = case.to_file().await.unwrap_err();
    assert!(matches!(error, RestoreError::Cold { .. }), "{error}");
    assert_eq!(error.trouble(), None);
    let told = error.to_string();
    for part in [
        "aws s3api restore-object --bucket recordings --key 'video/archive/",
        "\"Days\":7",
    ] {
        assert!(told.contains(part), "{told}");
    }
}

#[tokio::test]
async fn two_that_restore_to_the_same_file_do_not_mix_their_bytes() {
    let case = Case::of(World::s3().await, PART).await;
    let go = CancellationToken::new();
    let server = case.world.s3_server();
    server.inject(Call::Get, StoreFault::HoldUntil(go.clone()), 1);
    let before = server.count(Call::Get);
    let second = async {
        crate::harness::eventually("the first one reads", || async {
            (server.count(Call::Get) > before).then_some(())
        })
        .await;
        let error = case.to_file().await.unwrap_err();
        assert!(matches!(error, RestoreError::Busy { .. }), "{error}");
        go.cancel();
    };
    let (first, ()) = tokio::join!(case.to_file(), second);
    assert_eq!(first.unwrap(), Restored::Written);
    case.demand_whole();
}

#[tokio::test]
async fn a_pipe_is_told_at_its_end_whether_the_bytes_were_right() {
    let case = Case::of(World::s3().await, PART + 1).await;
    let mut through = Vec::new();
    case.restore().to_pipe(&mut through).await.unwrap();
    assert!(through == case.bytes);
    case.rot();
    let error = case.restore().to_pipe(&mut Vec::new()).await.unwrap_err();
    assert!(matches!(error, RestoreError::Damaged { .. }), "{error}");
}

/// What others have put where the part file goes is neither followed, written nor taken.
#[tokio::test]
async fn restore_planted_part_file_is_refused_and_left() {
    type Plant = fn(&Path, &Path);
    let case = Case::of(World::s3().await, 1000).await;
    let victim = case.directory.path().join("victim");
    let planted: [(&str, Plant); 5] = [
        ("a symlink", |part, victim| symlink(victim, part).unwrap()),
        ("a hard link", |part, victim| {
            fs::hard_link(victim, part).unwrap();
        }),
        ("a pipe", |part, _| {
            mkfifo(part, Mode::from_bits_truncate(0o600)).unwrap();
        }),
        ("a file that others may write", |part, _| {
            fs::write(part, "x").unwrap();
            fs::set_permissions(part, Permissions::from_mode(0o620)).unwrap();
        }),
        ("a stranger's file", |part, _| {
            fs::write(part, "x").unwrap();
            if geteuid().is_root() {
                chown(part, Some(4711), None).unwrap();
            } else {
                fs::set_permissions(part, Permissions::from_mode(0o666)).unwrap();
            }
        }),
    ];
    for (what, plant) in planted {
        fs::write(&victim, "precious").unwrap();
        plant(&case.part(), &victim);
        let error = case.to_file().await.unwrap_err();
        assert!(
            matches!(error, RestoreError::NotOurs { .. }),
            "{what}: {error}"
        );
        assert_eq!(fs::read(&victim).unwrap(), b"precious", "{what}");
        assert_eq!(case.written(), None, "{what}");
        fs::remove_file(case.part()).unwrap();
    }
    fs::remove_file(victim).unwrap();
    assert_eq!(case.to_file().await.unwrap(), Restored::Written);
    case.demand_whole();
}

#[tokio::test]
async fn restore_own_part_file_is_resumed_and_private() {
    let case = Case::of(World::s3().await, PART).await;
    fs::write(case.part(), &case.bytes[..1000]).unwrap();
    fs::set_permissions(case.part(), Permissions::from_mode(0o644)).unwrap();
    assert_eq!(case.to_file().await.unwrap(), Restored::Written);
    case.demand_whole();
    let mode = fs::metadata(case.destination()).unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
}
