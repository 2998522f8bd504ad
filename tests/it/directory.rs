//! A directory as the store, on file systems that lack something, and without its file system.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::stat::{Mode, umask};
use recording_archiver::error::ErrorKind;
use recording_archiver::queue::Outcome;
use recording_archiver::simulator::SimulatedRecording;
use tempfile::TempDir;
use uuid::Uuid;

use crate::harness::binary::{Binary, Ended};
use crate::harness::world::{PART, World, files_below};

const MARKER: &str = ".recording-archiver-store";

/// What CIFS and many FUSE file systems answer.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int refuse(const char *call, int error) {
    int log = open(getenv("SHIM_LOG"), O_WRONLY | O_APPEND | O_CREAT, 0600);
    if (log < 0 || write(log, call, strlen(call)) < 0) abort();
    close(log);
    errno = error;
    return -1;
}
int link(const char *a, const char *b) { return refuse("link ", EPERM); }
int linkat(int a, const char *b, int c, const char *d, int e) { return refuse("link ", EPERM); }
int renameat2(int a, const char *b, int c, const char *d, unsigned e) {
    return refuse("renameat2 ", EINVAL);
}
int fsync(int file) {
    struct stat found;
    if (fstat(file, &found) == 0 && S_ISDIR(found.st_mode)) return refuse("fsync ", EINVAL);
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    return real(file);
}
"#;

async fn add(world: &World, size_bytes: u64) -> Uuid {
    world
        .add(SimulatedRecording::new(Uuid::new_v4(), size_bytes))
        .await
}

async fn archive(binary: &Binary, id: Uuid) -> Ended {
    binary.run(&["archive", "--id", &id.to_string()]).await
}

fn mode_of(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

/// The directories below a directory.
fn directories_below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let directories = paths.filter(|path| path.is_dir());
    directories
        .flat_map(|path| [vec![path.clone()], directories_below(&path)].concat())
        .collect()
}

/// The file system of the store is unmounted: what is left is an empty mount point.
struct Unmounted {
    mount_point: PathBuf,
    elsewhere: TempDir,
}

impl Unmounted {
    fn new(world: &World) -> Self {
        let mount_point = world.path_of("").components().collect::<PathBuf>();
        let elsewhere = tempfile::tempdir().unwrap();
        fs::rename(&mount_point, elsewhere.path().join("objects")).unwrap();
        fs::create_dir(&mount_point).unwrap();
        Self {
            mount_point,
            elsewhere,
        }
    }

    fn mount(self) {
        fs::remove_dir_all(&self.mount_point).unwrap();
        fs::rename(self.elsewhere.path().join("objects"), self.mount_point).unwrap();
    }

    fn demand_empty(&self) {
        assert_eq!(files_below(&self.mount_point), Vec::<PathBuf>::new());
    }
}

#[tokio::test]
async fn directory_without_hard_links_and_directory_fsync_archives_and_repairs() {
    let world = World::local().await;
    let work = tempfile::tempdir().unwrap();
    let (source, shim) = (work.path().join("shim.c"), work.path().join("shim.so"));
    fs::write(&source, SHIM).unwrap();
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&shim, &source])
        .arg("-ldl")
        .status();
    assert!(built.unwrap().success());
    let log = work.path().join("log");
    let binary = Binary::of(&world)
        .with("LD_PRELOAD", &shim)
        .with("SHIM_LOG", &log);
    binary.run(&["doctor"]).await.demand_code(0);
    for size_bytes in [0, 1000, 2 * PART + 1] {
        let mut recording = SimulatedRecording::new(Uuid::new_v4(), size_bytes);
        recording.declared_size_bytes = Some(size_bytes);
        let id = world.add(recording).await;
        archive(&binary, id).await.demand_code(0);
        world.demand_archived(id).await;
    }
    let refused = fs::read_to_string(&log).unwrap();
    for call in ["renameat2", "link", "fsync"] {
        assert!(refused.contains(call), "{call} is never called: {refused}");
    }

    // Nothing is overwritten there either.
    let taken = add(&world, 1000).await;
    world.put_object(taken, b"another object");
    archive(&binary, taken).await.demand_code(1);
    assert_eq!(world.object(taken).unwrap(), b"another object");

    // The damaged object is copied where it cannot be linked.
    let rotten = add(&world, 2000).await;
    archive(&binary, rotten).await.demand_code(0);
    world.put_object(rotten, b"rotten");
    binary.run(&["verify", "--repair"]).await.demand_code(1);
    world.demand_archived(rotten).await;
    let quarantine = world.path_of(".recording-archiver-damaged");
    let kept = files_below(&quarantine);
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(fs::read(&kept[0]).unwrap(), b"rotten");
}

#[tokio::test]
async fn unmounted_directory_gets_nothing_and_doctor_names_the_fix() {
    let world = World::local().await;
    let binary = Binary::of(&world);
    let first = add(&world, 1000).await;
    archive(&binary, first).await.demand_code(0);
    binary.run(&["doctor"]).await.demand_code(0);
    let unmounted = Unmounted::new(&world);

    let second = add(&world, 1000).await;
    let said = ["is it mounted?", "touch "];
    archive(&binary, second)
        .await
        .demand_code(75)
        .demand_error(&said);
    unmounted.demand_empty();
    let row = world.row(second).await;
    assert_eq!((row.state.as_str(), row.attempts), ("pending", 0));
    let verified = binary.run(&["verify", "--repair"]).await;
    assert_eq!(verified.code, Some(75), "{verified:?}");
    unmounted.demand_empty();
    assert_eq!(world.row(first).await.error_kind, None);
    let doctor = binary.run(&["doctor"]).await.demand_code(1);
    doctor.demand_output(&["BAD   storage ", "is it mounted?", "touch "]);
    unmounted.demand_empty();

    // The archive of that directory is lost, and its operator says so.
    fs::write(unmounted.mount_point.join(MARKER), "").unwrap();
    binary.run(&["doctor"]).await.demand_code(0);

    unmounted.mount();
    archive(&binary, second).await.demand_code(0);
    world.demand_archived(second).await;
    binary.run(&["verify"]).await.demand_code(0);
}

#[tokio::test]
async fn directory_unmounted_while_running_halts_claiming_until_it_is_mounted() {
    let world = World::local().await;
    let archiver = world.archiver();
    add(&world, 1000).await;
    let report = world.attempt(&archiver).await;
    assert_eq!(report.outcome, Outcome::Archived, "{report:?}");
    let unmounted = Unmounted::new(&world);
    let id = add(&world, 1000).await;
    let report = world.attempt(&archiver).await;
    assert!(report.halt, "{report:?}");
    let kind = report.failure.map(|failure| failure.kind);
    assert_eq!(kind, Some(ErrorKind::StorageUnavailable));
    assert!(archiver.storage.check_access().await.is_err());
    unmounted.demand_empty();
    unmounted.mount();
    archiver.storage.check_access().await.unwrap();
    let report = world.attempt(&archiver).await;
    assert_eq!(report.outcome, Outcome::Archived, "{report:?}");
    world.demand_archived(id).await;
}

#[tokio::test]
async fn directory_of_earlier_version_is_marked_by_its_objects() {
    let world = World::local().await;
    let binary = Binary::of(&world);
    for _ in 0..2 {
        let id = add(&world, 1000).await;
        archive(&binary, id).await.demand_code(0);
        let marker = world.path_of(MARKER);
        assert!(marker.exists());
        fs::remove_file(marker).unwrap();
    }
}

#[tokio::test]
async fn files_are_private_whatever_the_umask() {
    umask(Mode::from_bits_truncate(0o022));
    let world = World::local().await;
    let root = world.path_of("deep/objects");
    let binary = Binary::of(&world).with(
        "RECORDING_ARCHIVER_STORAGE_URL",
        format!("file://{}", root.display()),
    );
    let mut ids = Vec::new();
    for size_bytes in [1000, PART + 1] {
        let id = add(&world, size_bytes).await;
        archive(&binary, id).await.demand_code(0);
        ids.push(id.to_string());
    }
    let object = files_below(&root)
        .into_iter()
        .find(|path| path.to_string_lossy().ends_with(&format!("{}.mp4", ids[0])));
    fs::write(object.unwrap(), "rotten").unwrap();
    binary.run(&["verify", "--repair"]).await.demand_code(1);
    let restored = binary.directory().join("restored.mp4");
    let to = restored.to_str().unwrap();
    binary
        .run(&["restore", "--id", &ids[1], "--to", to])
        .await
        .demand_code(0);

    assert_eq!(mode_of(&restored), 0o600);
    let files = files_below(&root);
    // Two objects, two manifests, one in quarantine, and the marker file.
    assert_eq!(files.len(), 6, "{files:?}");
    for path in files {
        assert_eq!(mode_of(&path), 0o600, "{}", path.display());
    }
    let mut directories = directories_below(&root);
    directories.extend([root.clone(), world.path_of("deep")]);
    for path in directories {
        assert_eq!(mode_of(&path), 0o700, "{}", path.display());
    }
    let doctor = binary.run(&["doctor"]).await.demand_code(0);
    assert!(!doctor.stdout.contains("other users"), "{doctor:?}");

    // What an earlier version left open is said, and not changed.
    let open = fs::Permissions::from_mode(0o755);
    for path in [root.clone(), root.join("year=2022")] {
        fs::set_permissions(path, open.clone()).unwrap();
    }
    let doctor = binary.run(&["doctor"]).await.demand_code(0);
    doctor.demand_output(&["note  storage ", "other users may read", "chmod -R go= "]);
    assert_eq!(mode_of(&root), 0o755);
}
