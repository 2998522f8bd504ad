//! Several projects on one database: each archiver finds its own among what nobody has claimed.

use nix::sys::signal::Signal;
use recording_archiver::simulator::{SimulatedRecording, Simulator, SimulatorConfig};

use super::{KIB, id, offer};
use crate::harness::binary::Binary;
use crate::harness::eventually;
use crate::harness::s3::on_server_threads;
use crate::harness::world::World;

const OTHER_PROJECT: &str = "5a8b1c2d-0000-4000-8000-000000000002";

#[tokio::test]
async fn each_finds_its_own_and_nobody_s_are_not_found() {
    let world = World::local().await;
    let other = on_server_threads(Simulator::start(SimulatorConfig {
        project_id: OTHER_PROJECT.to_owned(),
        api_token: "PTother".to_owned(),
        ..SimulatorConfig::default()
    }))
    .await
    .unwrap();
    offer(&world, 1..=10, KIB);
    for number in 11..=20 {
        other.add(SimulatedRecording::new(id(number), 2 * KIB));
    }
    let schedule = "RECORDING_ARCHIVER_WORKER_SCHEDULE";
    let first = Binary::of(&world).with(schedule, "* * * * * *");
    let second = Binary::of(&world)
        .with(schedule, "* * * * * *")
        .with("SIGNALWIRE_SPACE", other.base_url())
        .with("SIGNALWIRE_PROJECT_ID", OTHER_PROJECT)
        .with("SIGNALWIRE_API_TOKEN", "PTother");
    let daemons = [first.start(&["run"]), second.start(&["run"])];
    for daemon in &daemons {
        daemon.demand_log("ready").await;
    }
    // 21 and 22 are at neither of the two.
    for number in 1..=22 {
        world.enqueue(id(number)).await;
    }
    eventually("all are settled", || async {
        let open = "SELECT count(*) FROM archiver.recordings
                     WHERE state NOT IN ('archived', 'failed')";
        (world.number(open).await == 0).then_some(())
    })
    .await;
    for daemon in daemons {
        daemon.signal(Signal::SIGTERM);
        daemon.ended().await.demand_code(0);
    }

    let own = world.simulator.project_id().to_owned();
    for number in 1..=20 {
        let project = if number <= 10 {
            own.as_str()
        } else {
            OTHER_PROJECT
        };
        let row = world.row(id(number)).await;
        assert_eq!(row.state, "archived", "{row:?}");
        assert_eq!(row.project_id.as_deref(), Some(project), "{row:?}");
        assert_eq!(row.attempts, 1, "asking in vain burns none: {row:?}");
    }
    for number in 21..=22 {
        let row = world.row(id(number)).await;
        assert_eq!(row.state, "failed", "{row:?}");
        assert_eq!(row.error_kind.as_deref(), Some("not_found"), "{row:?}");
        let asked = [&world.simulator, &other].map(|it| it.counts(id(number)).metadata_requests);
        let attempts = world.attempts(id(number)).await;
        assert_eq!(
            attempts.len(),
            2,
            "each has asked once: {asked:?} {attempts:?}"
        );
    }

    // By hand it is the same: what belongs to the other is left to it.
    let elsewhere = id(30);
    other.add(SimulatedRecording::new(elsewhere, KIB));
    let arguments = ["archive", "--id", &elsewhere.to_string()];
    let left = first.run(&arguments).await.demand_code(75);
    left.demand_output(&["deferred", "not_found"]);
    second.run(&arguments).await.demand_code(0);
    first
        .run(&arguments)
        .await
        .demand_code(0)
        .demand_output(&["already archived"]);
}
