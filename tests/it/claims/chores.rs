//! Periodic chores: every host hears the bell, one does the chore.

use std::time::Duration;

use recording_archiver::queue::{Chore, Queue};
use tokio::sync::Notify;

use crate::harness::eventually;
use crate::harness::world::World;
use crate::seed::execute;

fn host(world: &World, name: &str) -> Queue {
    let lease = Duration::from_mins(2);
    Queue::new(
        world.pool.clone(),
        "project".to_owned(),
        name.to_owned(),
        lease,
    )
}

fn sweep(scope: &str) -> Chore {
    Chore {
        name: "sweep",
        scope: scope.to_owned(),
    }
}

const LET_IT_END: &str = "UPDATE archiver.chores SET lease_expires_at = now()";

#[tokio::test]
async fn one_host_does_a_chore_and_the_others_need_not() {
    let world = World::local().await;
    let (one, other) = (host(&world, "one"), host(&world, "other"));
    let (chore, go_on) = (sweep("s3://a"), Notify::new());
    let first = async { one.in_turn(&chore, go_on.notified()).await.unwrap() };
    let others = async {
        let begun = "SELECT count(*) FROM archiver.chores WHERE ended_at IS NULL";
        eventually("the first host is at it", || async {
            (world.number(begun).await == 1).then_some(())
        })
        .await;
        assert_eq!(other.in_turn(&chore, async {}).await.unwrap(), None);
        // Another store is another chore.
        let elsewhere = sweep("s3://b");
        assert_eq!(other.in_turn(&elsewhere, async {}).await.unwrap(), Some(()));
        go_on.notify_one();
    };
    let (done, ()) = tokio::join!(first, others);
    assert_eq!(done, Some(()));

    // A bell that rings a moment later on the other host is about the same round.
    assert_eq!(other.in_turn(&chore, async {}).await.unwrap(), None);
    execute(&world.pool, LET_IT_END).await;
    assert_eq!(other.in_turn(&chore, async {}).await.unwrap(), Some(()));
}

#[tokio::test]
async fn a_host_that_died_at_a_chore_leaves_it_to_the_next() {
    let world = World::local().await;
    let (one, other) = (host(&world, "one"), host(&world, "other"));
    let chore = sweep("s3://a");
    {
        let mut dying = std::pin::pin!(one.in_turn(&chore, std::future::pending::<()>()));
        let begun = "SELECT count(*) FROM archiver.chores";
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        while world.number(begun).await == 0 {
            tokio::select! {
                ended = &mut dying => panic!("{ended:?}"),
                _ = ticks.tick() => {}
            }
        }
    }
    assert_eq!(
        other.in_turn(&chore, async {}).await.unwrap(),
        None,
        "not yet"
    );
    execute(&world.pool, LET_IT_END).await;
    assert_eq!(other.in_turn(&chore, async {}).await.unwrap(), Some(()));
}

#[tokio::test]
async fn a_host_that_lost_its_turn_stops_in_the_middle() {
    let world = World::local().await;
    let one = host(&world, "one");
    let chore = sweep("s3://a");
    let at_it = async { one.in_turn(&chore, std::future::pending::<()>()).await };
    let others = async {
        eventually("it is at it", || async {
            let rows = world.number("SELECT count(*) FROM archiver.chores").await;
            (rows == 1).then_some(())
        })
        .await;
        execute(
            &world.pool,
            "UPDATE archiver.chores SET lease_token = gen_random_uuid()",
        )
        .await;
        // It looks after its turn every so often.
        tokio::time::pause();
        tokio::time::advance(Duration::from_mins(1)).await;
        tokio::time::resume();
    };
    let (stopped, ()) = tokio::join!(at_it, others);
    assert_eq!(stopped.unwrap(), None);
}
