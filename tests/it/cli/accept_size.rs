//! A file of another size than declared: kept out of the archive until an operator takes it.

use recording_archiver::simulator::{MediaFault, SimulatedRecording, Times};
use uuid::Uuid;

use super::{KIB, outcome};
use crate::harness::binary::Binary;
use crate::harness::world::World;

const SHORTER_BY: u64 = 7;

/// A recording whose file is always shorter than the provider says.
async fn offer_shorter(world: &World) -> Uuid {
    let id = world
        .add(SimulatedRecording::new(Uuid::new_v4(), KIB))
        .await;
    let fault = MediaFault::ShorterBy(SHORTER_BY);
    world.simulator.inject(id, fault, Times::Always);
    id
}

#[tokio::test]
async fn a_file_of_another_size_is_archived_only_at_the_operators_word() {
    for world in [World::local().await, World::s3().await] {
        let id = offer_shorter(&world).await;
        let (binary, name) = (Binary::of(&world), id.to_string());
        let archive = ["archive", "--id", &name, "--output", "jsonl"];
        // Twice the same size fails for good.
        for (code, said) in [(75, "retrying"), (1, "failed"), (1, "failed")] {
            let ended = binary.run(&archive).await.demand_code(code);
            let line = ended.json_line();
            assert_eq!(outcome(&line), (said, Some("size_mismatch")), "{line}");
            world.demand_nothing_stored(id).await;
        }

        let accepting = [&archive[..], &["--accept-size"]].concat();
        let ended = binary.run(&accepting).await.demand_code(0);
        let line = ended.json_line();
        assert_eq!(outcome(&line), ("archived", None), "{line}");
        assert_eq!(line["size_bytes"], KIB - SHORTER_BY);
        let row = world.row(id).await;
        assert_eq!(row.size_bytes, i64::try_from(KIB - SHORTER_BY).ok());
        let object = world.object(id).unwrap();
        assert_eq!(object.len() as u64, KIB - SHORTER_BY);
        let declared = "SELECT declared_size_bytes::text FROM archiver.recordings
                         WHERE recording_id = $1";
        assert_eq!(world.text(declared, id).await, Some(KIB.to_string()));

        // What was taken once is no conflict later.
        sqlx::query("UPDATE archiver.recordings SET state = 'pending', finalized_at = NULL")
            .execute(&world.pool)
            .await
            .unwrap();
        let ended = binary.run(&archive).await.demand_code(0);
        let line = ended.json_line();
        assert_eq!(outcome(&line), ("already_archived", None), "{line}");
    }
}
