//! A defect at every place where a crash could hurt: it costs one attempt, and tells no secret.

use recording_archiver::crash::CrashPoint;
use recording_archiver::simulator::SimulatedRecording;
use uuid::Uuid;

use super::{LOST, SIZE};
use crate::harness::binary::Binary;
use crate::harness::s3::SECRET_ACCESS_KEY;
use crate::harness::secrets::demand_no_secret;
use crate::harness::world::World;

#[tokio::test]
async fn a_panic_anywhere_costs_one_attempt_and_tells_no_secret() {
    for point in CrashPoint::ALL {
        let at = point.as_str();
        let world = World::s3().await;
        let id = world
            .add(SimulatedRecording::new(Uuid::new_v4(), SIZE))
            .await;
        let defective = Binary::of(&world)
            .with("ARCHIVER_TEST_PANIC_AT", at)
            .with("RUST_BACKTRACE", "full")
            .with("RUST_LOG", "trace");
        let ended = defective.run(&["run", "--once"]).await;
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert!(said.contains(&format!("ordered at {at}")), "{said}");
        let token = world.simulator.api_token();
        let secrets = [token, SECRET_ACCESS_KEY, "Signature="].map(str::to_owned);
        demand_no_secret(&secrets, at, &said);

        world.make_due().await;
        Binary::of(&world)
            .run(&["run", "--once"])
            .await
            .demand_code(0);
        world.demand_archived(id).await;
        let attempts = world.attempts(id).await;
        let outcomes: Vec<_> = attempts
            .iter()
            .filter_map(|it| it.outcome.as_deref())
            .collect();
        let expected = match point {
            CrashPoint::AfterSettle => &["archived"][..],
            _ => LOST,
        };
        assert_eq!(outcomes, expected, "{at}");
    }
}
