//! `restore` as people and scripts meet it.

use std::fs;

use uuid::Uuid;

use super::{KIB, id, id_flags, offer, texts};
use crate::harness::binary::Binary;
use crate::harness::s3::{Call, StoreFault};
use crate::harness::world::World;
use crate::seed::execute;

async fn archived(
    world: &World,
    binary: &Binary,
    numbers: std::ops::RangeInclusive<u128>,
) -> Vec<Uuid> {
    let ids = offer(world, numbers, 300 * KIB);
    let named = texts(&ids);
    let mut arguments = vec!["archive"];
    arguments.extend(id_flags(&named));
    binary.run(&arguments).await.demand_code(0);
    ids
}

#[tokio::test]
async fn one_recording_goes_to_a_file_or_through_a_pipe_without_the_provider() {
    let world = World::s3().await;
    let ids = archived(&world, &Binary::of(&world), 1..=1).await;
    let binary = Binary::of(&world)
        .without("SIGNALWIRE_SPACE")
        .without("SIGNALWIRE_PROJECT_ID")
        .without("SIGNALWIRE_API_TOKEN");
    let (named, object) = (ids[0].to_string(), world.object(ids[0]).unwrap());
    let restore = ["restore", "--id", &named, "--to", "video.mp4"];
    let ended = binary.run(&restore).await.demand_code(0);
    assert_eq!(
        (ended.stdout.as_str(), ended.stderr.as_str()),
        (
            format!("{named}  restored  video.mp4  300.0 KiB\n").as_str(),
            ""
        )
    );
    let file = binary.directory().join("video.mp4");
    assert!(fs::read(&file).unwrap() == object);
    let ended = binary.run(&restore).await.demand_code(0);
    ended.demand_output(&["already there  video.mp4"]);
    fs::write(&file, "mine").unwrap();
    let ended = binary.run(&restore).await.demand_code(1);
    ended.demand_error(&["video.mp4 is there already", "--overwrite"]);
    let mut overwrite = restore.to_vec();
    overwrite.push("--overwrite");
    binary.run(&overwrite).await.demand_code(0);
    assert!(fs::read(&file).unwrap() == object);

    let mut pipe = binary.command(&["restore", "--id", &named, "--to", "-"]);
    let ended = pipe.output().await.unwrap();
    assert!(ended.status.success() && ended.stdout == object && ended.stderr.is_empty());
    let path = world.path_of(&world.key_of(ids[0]));
    let mut wrong = object.clone();
    wrong[0] ^= 1;
    fs::write(path, &wrong).unwrap();
    let mut pipe = binary.command(&["restore", "--id", &named, "--to", "-"]);
    let ended = pipe.output().await.unwrap();
    let told = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stdout == wrong, "nothing but the bytes");
    assert!(
        told.contains("ERROR") && told.contains("has changed"),
        "{told}"
    );
}

#[tokio::test]
async fn many_go_on_past_a_failure_and_are_not_written_twice() {
    let world = World::s3().await;
    let binary = Binary::of(&world);
    let ids = archived(&world, &binary, 1..=6).await;
    fs::remove_file(world.path_of(&world.key_of(ids[2]))).unwrap();
    execute(
        &world.pool,
        "UPDATE archiver.recordings SET object_url = 's3://former/' || object_key
          WHERE recording_id = '10000000-0000-4000-8000-000000000005'",
    )
    .await;
    world.enqueue(id(7)).await;
    let mut named = texts(&ids);
    named.extend(texts(&[id(7), id(8)]));
    fs::write(binary.directory().join("ids"), named.join("\n")).unwrap();
    let restore = ["restore", "--ids-file", "ids", "--to-dir", "back/home"];
    let ended = binary.run(&restore).await.demand_code(1);
    let reasons = [
        format!("{} is not restored: the archived object is gone", ids[2]),
        format!("{} is archived at s3://former/", ids[4]),
        format!("{} is not archived: it is pending", id(7)),
        format!("{} is unknown", id(8)),
    ];
    for reason in &reasons {
        assert!(ended.stderr.contains(reason), "{reason}: {ended:?}");
    }
    let ended = ended.demand_output(&["4 restored, 0 already there, 4 failed, 0 not yet\n"]);
    assert_eq!(ended.stdout.lines().count(), 5, "{ended:?}");
    let home = binary.directory().join("back/home");
    let files: Vec<_> = fs::read_dir(&home).unwrap().collect();
    assert_eq!(files.len(), 4, "{files:?}");
    for place in [0, 1, 3, 5] {
        let file = home.join(format!("{}.mp4", ids[place]));
        assert!(fs::read(file).unwrap() == world.object(ids[place]).unwrap());
    }
    let before = world.s3_server().count(Call::Get);
    let again = binary.run(&restore).await.demand_code(1);
    again.demand_output(&["0 restored, 4 already there, 4 failed, 0 not yet\n"]);
    // Only the one that is gone was asked for.
    assert_eq!(world.s3_server().count(Call::Get), before + 1);
}

#[tokio::test]
async fn trouble_of_the_store_is_for_later_and_a_refusal_for_the_operator() {
    let world = World::s3().await;
    let binary = Binary::of(&world);
    let ids = archived(&world, &binary, 1..=1).await;
    let named = ids[0].to_string();
    for (fault, code) in [
        (StoreFault::Refuse(501, "NotImplemented"), 75),
        (StoreFault::Refuse(403, "AccessDenied"), 2),
    ] {
        world.s3_server().inject(Call::Get, fault, 100);
        let restore = ["restore", "--id", &named, "--to", "video.mp4"];
        let ended = binary.run(&restore).await.demand_code(code);
        ended.demand_error(&["is not restored"]);
        world.s3_server().clear_faults();
        assert!(!binary.directory().join("video.mp4").exists());
    }
}

#[tokio::test]
async fn restore_says_what_is_wrong_with_its_destination() {
    let world = World::local().await;
    let binary = Binary::of(&world);
    let ids = archived(&world, &binary, 1..=2).await;
    let named = texts(&ids);
    let two = ["--id", &named[0], "--id", &named[1]];
    let of = |more: &[&'static str]| -> Vec<String> {
        let words = ["restore"].iter().chain(&two).chain(more);
        words.map(ToString::to_string).collect()
    };
    for (more, error) in [
        (&["--to", "x"][..], "--to takes one recording"),
        (&["--to", "-"], "--to takes one recording"),
        (&["--to", "x", "--to-dir", "y"], "cannot be used with"),
        (&[], "--to"),
    ] {
        let words = of(more);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        binary
            .run(&words)
            .await
            .demand_code(2)
            .demand_error(&[error]);
    }
    fs::write(binary.directory().join("file"), "x").unwrap();
    let words = of(&["--to-dir", "file"]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let ended = binary.run(&words).await.demand_code(1);
    ended.demand_error(&["create the directory file"]);
    let single = ["restore", "--id", &named[0], "--to", "."];
    let ended = binary.run(&single).await.demand_code(1);
    ended.demand_error(&["--to-dir for a directory"]);
}
