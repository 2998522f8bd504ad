//! Unfinished uploads that no record knows: aborted if they are ours and nobody's, and nobody
//! else's is touched.

use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::multipart::MultipartStore as _;
use object_store::path::Path;
use recording_archiver::config::StorageLocation;
use recording_archiver::storage::Storage;
use recording_archiver::upkeep::{Swept, Why, sweep};
use uuid::Uuid;

use crate::harness::binary::Binary;
use crate::harness::eventually;
use crate::harness::s3::{ACCESS_KEY_ID, BUCKET, Call, S3Server, SECRET_ACCESS_KEY, StoreFault};
use crate::harness::world::{World, claim};

mod hostile;

const HOUR: Duration = Duration::from_mins(61);
const NEARLY_AN_HOUR: Duration = Duration::from_mins(59);
const WEEK: Duration = Duration::from_hours(7 * 24 + 1);
const NEARLY_A_WEEK: Duration = Duration::from_hours(7 * 24 - 1);

fn stranger(server: &S3Server) -> AmazonS3 {
    AmazonS3Builder::new()
        .with_endpoint(server.endpoint())
        .with_allow_http(true)
        .with_bucket_name(BUCKET)
        .with_access_key_id(ACCESS_KEY_ID)
        .with_secret_access_key(SECRET_ACCESS_KEY)
        .build()
        .unwrap()
}

/// Begins an upload that our database does not know.
async fn begin(world: &World, key: &str, ago: Duration) -> String {
    let server = world.s3_server();
    let path = Path::parse(key).unwrap();
    let id = stranger(server).create_multipart(&path).await.unwrap();
    server.age_uploads(key, ago);
    id
}

/// A key as this program makes them, of a recording that nobody knows.
fn unknown(world: &World) -> String {
    world.key_of(Uuid::new_v4())
}

fn storage(world: &World, prefix: &str) -> Storage {
    let mut config = world.settings().storage;
    config.location = StorageLocation::S3 {
        bucket: BUCKET.to_owned(),
        prefix: prefix.to_owned(),
    };
    Storage::open(&config).unwrap()
}

async fn swept(world: &World, storage: &Storage) -> (u64, u64) {
    let swept = sweep(&world.service, storage, false).await.unwrap();
    assert_eq!(swept.found, []);
    (swept.aborted, swept.left)
}

#[tokio::test]
async fn one_of_a_known_recording_is_aborted_after_an_hour_unless_somebody_holds_it() {
    let world = World::s3().await;
    let (server, storage) = (world.s3_server(), storage(&world, "video/archive"));
    let id = Uuid::new_v4();
    world.enqueue(id).await;
    let key = world.key_of(id);
    let upload = begin(&world, &key, NEARLY_AN_HOUR).await;
    assert_eq!(swept(&world, &storage).await, (0, 0), "it is young");

    server.age_uploads(&key, Duration::from_mins(2));
    let archiver = world.archiver();
    let held = claim(&archiver).await;
    assert_eq!(swept(&world, &storage).await, (0, 0), "it is held");
    assert_eq!(server.unfinished_uploads(), [upload]);

    world.make_due().await;
    assert_eq!(swept(&world, &storage).await, (1, 0));
    assert_eq!(server.unfinished_uploads(), Vec::<String>::new());
    drop(held);
}

#[tokio::test]
async fn one_of_no_known_recording_is_aborted_after_a_week_if_the_prefix_is_ours() {
    let world = World::s3().await;
    let server = world.s3_server();
    let ours = [unknown(&world), unknown(&world)];
    for key in &ours {
        begin(&world, key, NEARLY_A_WEEK).await;
    }
    // As old as can be, and none of ours.
    let other_layout = format!("video/archive/clips/{}.mp4", Uuid::new_v4());
    let other_name = unknown(&world).replace(".mp4", "-hd.mp4");
    let others = [
        begin(&world, "video/archived", WEEK).await,
        begin(&world, "other/thing", WEEK).await,
        begin(&world, "video/archive/.recording-archiver-damaged/x", WEEK).await,
        begin(&world, "video/archive/any thing", WEEK).await,
        begin(&world, &other_layout, WEEK).await,
        begin(&world, &other_name, WEEK).await,
    ];
    let storage = storage(&world, "video/archive");
    assert_eq!(swept(&world, &storage).await, (0, 0), "they are young");
    for key in &ours {
        server.age_uploads(key, Duration::from_hours(2));
    }
    assert_eq!(swept(&world, &storage).await, (2, 0));
    assert_eq!(server.unfinished_uploads(), others);
}

#[tokio::test]
async fn without_a_prefix_only_those_of_known_recordings_are_ours() {
    let world = World::s3().await;
    let id = Uuid::new_v4();
    world.enqueue(id).await;
    let day = "year=2022/month=01/day=01";
    let ours = begin(&world, &format!("{day}/{id}.mp4"), HOUR).await;
    let unknown = format!("{day}/{}.mp4", Uuid::new_v4());
    let others = [
        begin(&world, &unknown, WEEK).await,
        begin(&world, "backups/database", WEEK).await,
        begin(&world, &format!("transcoded/{id}.mp4"), WEEK).await,
    ];
    assert_eq!(world.s3_server().unfinished_uploads()[0], ours);
    assert_eq!(swept(&world, &storage(&world, "")).await, (1, 0));
    assert_eq!(world.s3_server().unfinished_uploads(), others);
}

#[tokio::test]
async fn all_pages_of_the_list_are_read() {
    let world = World::s3().await;
    let server = world.s3_server();
    server.list_parts_by(2);
    let keys = [unknown(&world), unknown(&world), unknown(&world)];
    for number in 0..7 {
        // Several under one key too.
        begin(&world, &keys[number / 3], WEEK).await;
    }
    assert_eq!(
        swept(&world, &storage(&world, "video/archive")).await,
        (7, 0)
    );
    assert_eq!(server.unfinished_uploads(), Vec::<String>::new());
    assert!(server.count(Call::ListUploads) >= 4);
}

#[tokio::test]
async fn one_that_is_on_record_is_left_to_its_record() {
    let world = World::s3().await;
    let id = Uuid::new_v4();
    world.enqueue(id).await;
    let key = world.key_of(id);
    let upload = begin(&world, &key, WEEK).await;
    // A checkpoint of yesterday: another attempt goes on with it.
    sqlx::query(
        "INSERT INTO archiver.uploads (recording_id, lease_token, object_key, object_url,
                                       upload_id, checkpoint_at)
         VALUES ($1, gen_random_uuid(), $2, 's3://' || $2, $3, now() - interval '1 day')",
    )
    .bind(id)
    .bind(&key)
    .bind(&upload)
    .execute(&world.pool)
    .await
    .unwrap();
    assert_eq!(
        swept(&world, &storage(&world, "video/archive")).await,
        (0, 0)
    );
    assert_eq!(world.s3_server().unfinished_uploads(), [upload]);
}

#[tokio::test]
async fn a_store_that_does_not_list_uploads_keeps_nothing_else_from_being_swept() {
    let world = World::s3().await;
    begin(&world, &unknown(&world), WEEK).await;
    let refuse = StoreFault::Refuse(501, "NotImplemented");
    world.s3_server().inject(Call::ListUploads, refuse, 100);
    let binary = Binary::of(&world);
    let ended = binary.run(&["sweep"]).await.demand_code(0);
    ended.demand_output(&["aborted: 0, left: 0"]);
}

#[tokio::test]
async fn one_that_cannot_be_aborted_is_left_for_the_next_time() {
    let world = World::s3().await;
    begin(&world, &unknown(&world), WEEK).await;
    begin(&world, &unknown(&world), WEEK).await;
    let refuse = StoreFault::Refuse(403, "AccessDenied");
    world.s3_server().inject(Call::Abort, refuse, 1);
    let storage = storage(&world, "video/archive");
    assert_eq!(swept(&world, &storage).await, (1, 1));
    assert_eq!(swept(&world, &storage).await, (1, 0));
}

#[tokio::test]
async fn a_dry_run_tells_each_and_why_and_aborts_none() {
    let world = World::s3().await;
    let id = Uuid::new_v4();
    world.enqueue(id).await;
    let key = world.key_of(id);
    let upload = begin(&world, &key, HOUR).await;
    let of_nobody = world.key_of(Uuid::nil());
    begin(&world, &of_nobody, WEEK).await;
    let storage = storage(&world, "video/archive");
    let found = sweep(&world.service, &storage, true);
    let Swept {
        found,
        aborted: 0,
        left: 0,
    } = found.await.unwrap()
    else {
        panic!("it did something");
    };
    let whys: Vec<Why> = found.iter().map(|it| it.why).collect();
    assert_eq!(whys, [Why::Unknown, Why::Unrecorded(id)]);

    let binary = Binary::of(&world);
    let ended = binary.run(&["sweep", "--dry-run"]).await.demand_code(0);
    ended.demand_output(&[
        &format!("{key}  upload {}, begun 20", &upload[..12]),
        &format!("on no record, and nobody works on recording {id}\n"),
        &format!("{of_nobody}  upload "),
        "of no recording that is known, and over 7 days old\n",
        "orphaned uploads: 2\n",
    ]);
    assert_eq!(world.s3_server().unfinished_uploads().len(), 2);
}

#[tokio::test]
async fn the_service_shows_what_its_sweep_came_to() {
    let world = World::s3().await;
    begin(&world, &unknown(&world), WEEK).await;
    let daemon = Binary::of(&world).start(&["run"]);
    let url = format!("{}/metrics", daemon.http().await);
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(10))
        .build()
        .unwrap();
    eventually("the sweep is counted", || async {
        let text = client.get(&url).send().await.ok()?.text().await.ok()?;
        let aborted = "recording_archiver_orphaned_uploads_aborted_total 1\n";
        let swept = "chore_last_success_timestamp_seconds{chore=\"sweep\"} 1";
        (text.contains(aborted) && text.contains(swept)).then_some(())
    })
    .await;
    assert_eq!(world.s3_server().unfinished_uploads(), Vec::<String>::new());
    daemon.killed().await;
}
