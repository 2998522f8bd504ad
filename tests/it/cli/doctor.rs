//! `doctor`: one line for each part, and the cure of what is wrong.

use std::fs;

use crate::harness::binary::Binary;
use crate::harness::s3::SECRET_ACCESS_KEY;
use crate::harness::world::World;

#[tokio::test]
async fn all_is_well_in_a_well_configured_world() {
    for world in [World::local().await, World::s3().await] {
        let ended = Binary::of(&world).run(&["doctor"]).await.demand_code(0);
        for part in ["configuration", "database", "api", "storage"] {
            let line = format!("ok    {part:12}  ");
            assert!(ended.stdout.contains(&line), "{line:?}: {ended:?}");
        }
        assert!(!ended.stdout.contains("BAD"), "{ended:?}");
        // Where each value came from, but of secrets nothing else.
        ended.clone().demand_output(&[
            "(environment variable SIGNALWIRE_SPACE)",
            "worker.lease = 2m  (default)",
        ]);
        for secret in [world.simulator.api_token(), SECRET_ACCESS_KEY] {
            assert!(!ended.stdout.contains(secret), "{ended:?}");
        }
        world.demand_nothing_unfinished().await;
    }
}

#[tokio::test]
async fn each_broken_part_is_told_with_its_cure_and_the_others_are_looked_at() {
    let world = World::s3().await;
    let parts = ["database", "api", "storage"];
    for (broken, variable, value, words) in [
        (
            "database",
            "DATABASE_URL",
            "postgres://archiver@127.0.0.1:9/archiver",
            ["check that it runs", "cure: check database.url"],
        ),
        (
            "api",
            "SIGNALWIRE_API_TOKEN",
            "PTwrong",
            ["401", "cure: check signalwire.project_id and api_token"],
        ),
        (
            "api",
            "SIGNALWIRE_SPACE",
            "http://127.0.0.1:9",
            [
                "127.0.0.1:9",
                "cure: check the network and signalwire.space",
            ],
        ),
        (
            "api",
            "SIGNALWIRE_PROJECT_ID",
            "",
            ["SIGNALWIRE_PROJECT_ID", "cure: set what is missing"],
        ),
        (
            "storage",
            "AWS_SECRET_ACCESS_KEY",
            "wrong",
            ["s3://recordings", "cure: check the storage credentials"],
        ),
        (
            "storage",
            "AWS_ENDPOINT_URL",
            "http://127.0.0.1:9",
            [
                "s3://recordings",
                "cure: check the store and storage.endpoint",
            ],
        ),
        (
            "storage",
            "RECORDING_ARCHIVER_STORAGE_URL",
            "s3://nowhere",
            ["nowhere", "cure: "],
        ),
    ] {
        let binary = Binary::of(&world).with(variable, value);
        let ended = binary.run(&["doctor"]).await.demand_code(1);
        for part in parts {
            let sign = if part == broken { "BAD " } else { "ok  " };
            let line = format!("{sign}  {part:12}  ");
            assert!(
                ended.stdout.contains(&line),
                "{variable} {line:?}: {ended:?}"
            );
        }
        ended.demand_output(&words);
    }
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_is_told() {
    let world = World::local().await;
    let binary = Binary::of(&world);
    let occupied = binary.directory().join("occupied");
    fs::write(&occupied, "").unwrap();
    let url = format!("file://{}/objects", occupied.display());
    let binary = binary.with("RECORDING_ARCHIVER_STORAGE_URL", url);
    binary
        .run(&["doctor"])
        .await
        .demand_code(1)
        .demand_output(&["BAD   storage ", "occupied", "cure: "]);
}

#[tokio::test]
async fn remote_database_without_demanded_tls_is_noted_in_doctor_and_log() {
    let world = World::local().await;
    // Not loopback by name or address, though it leads there.
    for (url, noted) in [
        ("postgres://archiver:hunter2@0.0.0.0:9/archiver", true),
        ("postgres://archiver:hunter2@127.0.0.1:9/archiver", false),
    ] {
        let ended = Binary::of(&world)
            .with("DATABASE_URL", url)
            .run(&["doctor"])
            .await
            .demand_code(1);
        let warning = "sslmode is weaker than `require`";
        for text in [&ended.stdout, &ended.stderr] {
            assert_eq!(text.contains(warning), noted, "{ended:?}");
            assert!(!text.contains("hunter2"), "{ended:?}");
        }
    }
}

#[tokio::test]
async fn no_value_of_a_database_parameter_is_shown() {
    let world = World::local().await;
    let url = world.service_url();
    for (parameter, name) in [
        ("sslpassword=hunter2", Some("sslpassword")),
        ("sslmode=hunter2", Some("sslmode")),
        ("channel_binding=hunter2", None),
        ("hunter2=hunter2", None),
    ] {
        let ended = Binary::of(&world)
            .with("DATABASE_URL", format!("{url}&{parameter}"))
            .with("RUST_LOG", "trace")
            .run(&["doctor"])
            .await;
        // In words where it is refused; where it is ignored, everything works.
        let ended = match name {
            Some(name) => ended.demand_code(2).demand_error(&[name]),
            None => ended.demand_code(0).demand_output(&["ignored"]),
        };
        let text = ended.stdout + &ended.stderr;
        assert!(!text.contains("hunter2"), "{parameter}: {text}");
    }
}
