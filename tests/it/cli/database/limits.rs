//! Fewer connections than the program would use.

use recording_archiver::simulator::SimulatedRecording;
use url::Url;
use uuid::Uuid;

use crate::cli::end;
use crate::harness::binary::Binary;
use crate::harness::eventually;
use crate::harness::world::World;
use crate::seed::execute;

/// A role with a connection limit; superusers have none.
pub(super) struct LimitedRole {
    pub(super) name: String,
    pub(super) url: String,
}

impl LimitedRole {
    pub(super) async fn create(world: &World, limit: u32) -> Self {
        let name = format!("limited_{}", Uuid::new_v4().simple());
        let mut url: Url = world.database_url().parse().unwrap();
        url.set_username(&name).unwrap();
        url.set_password(Some("limited")).unwrap();
        let create = format!(
            "CREATE ROLE {name} LOGIN PASSWORD 'limited' CONNECTION LIMIT {limit};
             GRANT ALL ON ALL TABLES IN SCHEMA archiver, finance TO {name};
             GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA archiver, finance TO {name};
             GRANT USAGE ON SCHEMA archiver, finance TO {name}"
        );
        execute(&world.pool, &create).await;
        let url = url.into();
        Self { name, url }
    }

    pub(super) async fn drop(self, world: &World) {
        let name = self.name;
        let drop_role = format!("DROP OWNED BY {name}; DROP ROLE {name}");
        execute(&world.pool, &drop_role).await;
    }
}

async fn add(world: &World, count: u32) {
    for _ in 0..count {
        world
            .add(SimulatedRecording::new(Uuid::new_v4(), 1000))
            .await;
    }
}

async fn all_archived(world: &World, count: i64) -> Option<()> {
    let archived =
        "SELECT count(*) FROM archiver.attempts WHERE outcome = 'archived' AND attempt = 1";
    (world.number(archived).await == count).then_some(())
}

#[tokio::test]
async fn pool_works_with_as_few_connections_as_its_role_may_have() {
    for limit in 2..=4 {
        let world = World::local().await;
        let role = LimitedRole::create(&world, limit).await;
        let binary = Binary::of(&world).with("DATABASE_URL", &role.url);
        add(&world, 12).await;
        let once = binary.run(&["run", "--once"]).await.demand_code(0);
        assert!(all_archived(&world, 12).await.is_some(), "{once:?}");
        let words = format!("at most {limit} connections");
        let doctor = binary.run(&["doctor"]).await.demand_code(0);
        doctor.demand_output(&[&words, "12 are wanted"]);
        let daemon = binary.start(&["run"]);
        add(&world, 12).await;
        eventually("all are archived", || all_archived(&world, 24)).await;
        let log = end(daemon).await;
        assert!(log.contains(&words), "{log}");
        assert!(!log.contains("nothing is claimed"), "{log}");
        role.drop(&world).await;
    }
}

#[tokio::test]
async fn too_many_connections_are_named_with_the_number_needed() {
    let world = World::local().await;
    let words = ["too many connections", "up to 12", "worker.concurrency"];
    for limit in [0, 1] {
        let role = LimitedRole::create(&world, limit).await;
        let binary = Binary::of(&world).with("DATABASE_URL", &role.url);
        let once = binary.run(&["run", "--once"]).await.demand_code(75);
        once.demand_error(&words);
        let doctor = binary.run(&["doctor"]).await.demand_code(1);
        doctor.demand_output(&["BAD   database", words[0], words[1]]);
        role.drop(&world).await;
    }
}
