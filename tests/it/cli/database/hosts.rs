//! Several hosts in `database.url`.

use recording_archiver::simulator::SimulatedRecording;
use url::Url;
use uuid::Uuid;

use crate::cli::{demand_status, end};
use crate::harness::binary::Binary;
use crate::harness::wire::Wire;
use crate::harness::within;
use crate::harness::world::World;

/// The URL of a database by two ways.
fn by_both(world: &World, first: &Wire, second: &Wire) -> String {
    let first: Url = first.database_url(world).parse().unwrap();
    let second: Url = second.database_url(world).parse().unwrap();
    let place = |url: &Url| format!("127.0.0.1:{}", url.port().unwrap());
    first.as_str().replace(
        &place(&first),
        &format!("{},{}", place(&first), place(&second)),
    )
}

#[tokio::test]
async fn hosts_are_tried_in_order_and_a_lost_one_is_replaced() {
    let world = World::local().await;
    let (first, second) = (
        Wire::to_database(&world).await,
        Wire::to_database(&world).await,
    );
    let url = by_both(&world, &first, &second);
    first.cut();
    let binary = Binary::of(&world)
        .with(
            "DATABASE_URL",
            format!("{url}?target_session_attrs=read-write"),
        )
        .with("RECORDING_ARCHIVER_WORKER_SCHEDULE", "* * * * * *");
    let doctor = binary.run(&["doctor"]).await.demand_code(0);
    assert!(!doctor.stdout.contains("not supported"), "{doctor:?}");
    let daemon = binary.start(&["run"]);
    let ready = format!("{}/readyz", daemon.http().await);
    demand_status(&ready, 200).await;
    for (cut, mended) in [(&second, &first), (&first, &second)] {
        mended.mend();
        cut.cut();
        let id = world
            .add(SimulatedRecording::new(Uuid::new_v4(), 1000))
            .await;
        within(60, "it is archived by way of the other host", || async {
            (world.row(id).await.state == "archived").then_some(())
        })
        .await;
        demand_status(&ready, 200).await;
    }
    let log = end(daemon).await;
    assert!(
        log.contains("database host changed from 127.0.0.1:"),
        "{log}"
    );
}

#[tokio::test]
async fn service_refuses_a_target_that_excludes_writes() {
    let world = World::local().await;
    let url = |target: &str| format!("{}&target_session_attrs={target}", world.service_url());
    let binary = |target| Binary::of(&world).with("DATABASE_URL", url(target));
    for (target, words) in [
        ("standby", "selects servers that accept no writes"),
        ("hunter2", "target_session_attrs"),
    ] {
        let ended = binary(target).run(&["run", "--once"]).await.demand_code(2);
        let ended = ended.demand_error(&[words]);
        assert!(!ended.stderr.contains("hunter2"), "{ended:?}");
    }
    let standby = binary("standby").run(&["status"]).await.demand_code(75);
    standby.demand_error(&["is not used", "target_session_attrs"]);
    for target in ["any", "primary", "read-write", "prefer-standby"] {
        binary(target).run(&["status"]).await.demand_code(0);
        binary(target).run(&["run", "--once"]).await.demand_code(0);
    }
    let nowhere = "postgres:///d?host=127.0.0.1,127.0.0.1&port=9,10&user=u";
    let binary = Binary::of(&world).with("DATABASE_URL", nowhere);
    let ended = binary.run(&["status"]).await.demand_code(75);
    ended.demand_error(&["127.0.0.1:9/d", "127.0.0.1:10/d"]);
}
