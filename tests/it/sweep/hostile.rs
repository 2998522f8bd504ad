//! A store whose lists cannot be relied on: nothing of others' is deleted, aborted or taken in.

use std::fs::File;
use std::time::{Duration, SystemTime};

use recording_archiver::simulator::SimulatedRecording;
use uuid::Uuid;

use super::{WEEK, begin};
use crate::harness::binary::Binary;
use crate::harness::eventually;
use crate::harness::world::World;

/// What others keep in the bucket, all of it long there.
const OTHERS: [&str; 6] = [
    "backups/database.dump",
    "video/archive2/a.mp4",
    "video/archive",
    "video/.recording-archiver-probe/c22d24f6-5a47-4597-9a23-c7d01e696b92",
    ".recording-archiver-probe/c22d24f6-5a47-4597-9a23-c7d01e696b92/object",
    "other/video/archive/.recording-archiver-probe/c22d24f6-5a47-4597-9a23-c7d01e696b92",
];

fn put_old(world: &World, key: &str) {
    world.put_under(key, b"not ours");
    let file = File::options()
        .append(true)
        .open(world.path_of(key))
        .unwrap();
    let week_ago = SystemTime::now() - Duration::from_hours(7 * 24);
    file.set_modified(week_ago).unwrap();
}

/// A bucket with an archived recording, and with objects and uploads of others.
async fn shared_bucket() -> (World, Uuid, Vec<String>) {
    let world = World::s3().await;
    let id = world
        .add(SimulatedRecording::new(Uuid::new_v4(), 5000))
        .await;
    world.attempt(&world.archiver()).await;
    world.demand_archived(id).await;
    for key in OTHERS.into_iter().filter(|it| *it != "video/archive") {
        put_old(&world, key);
    }
    // A whole archive of others, with its manifests.
    let key = world.key_of(id);
    for suffix in ["", ".manifest.json"] {
        let ours = world.path_of(&format!("{key}{suffix}"));
        let theirs = world.path_of(&format!("theirs/{key}{suffix}"));
        std::fs::create_dir_all(theirs.parent().unwrap()).unwrap();
        std::fs::copy(ours, theirs).unwrap();
    }
    let unknown = Uuid::new_v4();
    let mut uploads = Vec::new();
    for key in OTHERS.map(str::to_owned).into_iter().chain([
        format!("theirs/{}", world.key_of(unknown)),
        format!("video/archive2/year=2022/month=01/day=01/{unknown}.mp4"),
        format!("year=2022/month=01/day=01/{id}.mp4"),
    ]) {
        uploads.push(begin(&world, &key, WEEK).await);
    }
    (world, id, uploads)
}

async fn demand_untouched(world: &World, uploads: &[String], about: &str) {
    for key in OTHERS.into_iter().filter(|it| *it != "video/archive") {
        assert!(world.path_of(key).exists(), "{about}: {key}");
    }
    // Those of probes are not counted among the others.
    let left = world.s3_server().unfinished_of_any_kind();
    assert_eq!(left, uploads.len(), "{about}");
    let rows = "SELECT count(*) FROM archiver.recordings WHERE state = 'archived'";
    assert_eq!(world.number(rows).await, 1, "{about}");
}

#[tokio::test]
async fn list_that_ignores_the_prefix_harms_nobody() {
    let (world, id, uploads) = shared_bucket().await;
    let probe = "video/archive/.recording-archiver-probe/killed/object";
    put_old(&world, probe);
    world.s3_server().honour_list_prefixes(false);
    let binary = Binary::of(&world);
    let swept = binary.run(&["sweep"]).await.demand_code(0);
    let swept = swept.demand_output(&["aborted: 0, left: 0"]);
    swept.demand_error(&["its list ignores the prefix"]);
    demand_untouched(&world, &uploads, "sweep").await;

    for arguments in [&["reconcile", "--only", "bucket"][..], &["rebuild"]] {
        let ended = binary.run(arguments).await;
        assert_ne!(ended.code, Some(0), "{ended:?}");
        ended.demand_error(&["its list ignores the prefix"]);
        demand_untouched(&world, &uploads, arguments[0]).await;
    }
    let daemon = binary.start(&["run"]);
    daemon.http().await;
    eventually("the daemon has swept", || async {
        let swept = "SELECT count(*) FROM archiver.chores
                      WHERE chore = 'sweep' AND succeeded_at IS NOT NULL";
        (world.number(swept).await > 0).then_some(())
    })
    .await;
    daemon.killed().await;
    for key in OTHERS.into_iter().filter(|it| *it != "video/archive") {
        assert!(world.path_of(key).exists(), "run: {key}");
    }
    world.s3_server().honour_list_prefixes(true);

    // An honest list: what is left of a probe goes, and nothing else does.
    binary.run(&["sweep"]).await.demand_code(0);
    assert!(!world.path_of(probe).exists());
    let ended = binary.run(&["rebuild"]).await.demand_code(0);
    ended.demand_output(&["rows rebuilt: 0, known already: 1"]);
    assert_eq!(world.row(id).await.state, "archived");
    for key in OTHERS.into_iter().filter(|it| *it != "video/archive") {
        assert!(world.path_of(key).exists(), "{key}");
    }
}

#[tokio::test]
async fn list_that_ignores_its_markers_comes_to_an_end() {
    let (world, _, _) = shared_bucket().await;
    let probe = "video/archive/.recording-archiver-probe/killed/object";
    put_old(&world, probe);
    begin(&world, &world.key_of(Uuid::new_v4()), Duration::ZERO).await;
    world.s3_server().honour_list_markers(false);
    let binary = Binary::of(&world);
    let swept = binary.run(&["sweep"]).await.demand_code(0);
    swept.demand_error(&["old probes stay", "uploads on no record are not looked for"]);
    let requests = world.s3_server().requests();
    for arguments in [&["reconcile", "--only", "bucket"][..], &["rebuild"]] {
        let ended = binary.run(arguments).await;
        assert_ne!(ended.code, Some(0), "{ended:?}");
        ended.demand_error(&["out of order"]);
    }
    let requests = world.s3_server().requests() - requests;
    assert!(requests < 200, "{requests}");
}
