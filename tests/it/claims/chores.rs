//! Periodic chores: every host hears the bell, one does the chore.

use std::time::Duration;

use recording_archiver::metrics::Metrics;
use recording_archiver::queue::{self, Chore, Queue};
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

/// A chore that did not end well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Failed;

fn done() -> std::future::Ready<Result<(), Failed>> {
    std::future::ready(Ok(()))
}

const LET_IT_END: &str = "UPDATE archiver.chores SET lease_expires_at = now()";

#[tokio::test]
async fn one_host_does_a_chore_and_the_others_need_not() {
    let world = World::local().await;
    let (one, other) = (host(&world, "one"), host(&world, "other"));
    let (chore, go_on) = (sweep("s3://a"), Notify::new());
    let work = async {
        go_on.notified().await;
        done().await
    };
    let first = async { one.in_turn(&chore, work).await.unwrap() };
    let others = async {
        let begun = "SELECT count(*) FROM archiver.chores WHERE ended_at IS NULL";
        eventually("the first host is at it", || async {
            (world.number(begun).await == 1).then_some(())
        })
        .await;
        assert_eq!(other.in_turn(&chore, done()).await.unwrap(), None);
        // Another store is another chore.
        let elsewhere = sweep("s3://b");
        assert_eq!(
            other.in_turn(&elsewhere, done()).await.unwrap(),
            Some(Ok(()))
        );
        go_on.notify_one();
    };
    let (ended, ()) = tokio::join!(first, others);
    assert_eq!(ended, Some(Ok(())));

    // A bell that rings a moment later on the other host is about the same round.
    assert_eq!(other.in_turn(&chore, done()).await.unwrap(), None);
    execute(&world.pool, LET_IT_END).await;
    assert_eq!(other.in_turn(&chore, done()).await.unwrap(), Some(Ok(())));
}

#[tokio::test]
async fn task_lease_written_a_moment_later_is_not_stolen() {
    let world = World::local().await;
    let (one, other) = (host(&world, "one"), host(&world, "other"));
    let chore = sweep("s3://a");
    assert_eq!(one.in_turn(&chore, done()).await.unwrap(), Some(Ok(())));
    // As a host sees it whose transaction began before the holder wrote its lease.
    for (ahead, taken) in [("61 seconds", None), ("2 hours", Some(Ok(())))] {
        let end = format!("UPDATE archiver.chores SET lease_expires_at = now() + '{ahead}'");
        execute(&world.pool, &end).await;
        assert_eq!(
            other.in_turn(&chore, done()).await.unwrap(),
            taken,
            "{ahead}"
        );
    }
}

#[tokio::test]
async fn a_host_that_died_at_a_chore_leaves_it_to_the_next() {
    let world = World::local().await;
    let (one, other) = (host(&world, "one"), host(&world, "other"));
    let chore = sweep("s3://a");
    {
        let mut dying =
            std::pin::pin!(one.in_turn(&chore, std::future::pending::<Result<(), Failed>>()));
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
        other.in_turn(&chore, done()).await.unwrap(),
        None,
        "not yet"
    );
    execute(&world.pool, LET_IT_END).await;
    assert_eq!(other.in_turn(&chore, done()).await.unwrap(), Some(Ok(())));
}

#[tokio::test]
async fn a_host_that_lost_its_turn_stops_in_the_middle() {
    let world = World::local().await;
    let one = host(&world, "one");
    let chore = sweep("s3://a");
    let at_it = async {
        one.in_turn(&chore, std::future::pending::<Result<(), Failed>>())
            .await
    };
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

#[tokio::test]
async fn what_ends_well_is_noted_and_what_does_not_changes_nothing() {
    let world = World::local().await;
    let one = host(&world, "one");
    let chore = sweep("s3://a");
    let succeeded = || async {
        let scopes = ["s3://a".to_owned(), "another project".to_owned()];
        queue::succeeded_chores(&world.pool, &scopes).await.unwrap()
    };
    let failing = async { Err::<(), _>(Failed) };
    let ended = one.in_turn(&chore, failing).await.unwrap();
    assert_eq!(ended, Some(Err(Failed)));
    assert_eq!(succeeded().await, []);

    execute(&world.pool, LET_IT_END).await;
    one.in_turn(&chore, done()).await.unwrap();
    let noted = succeeded().await;
    assert_eq!(noted.len(), 1);
    assert_eq!(noted[0].0, "sweep");

    execute(&world.pool, LET_IT_END).await;
    let failing = async { Err::<(), _>(Failed) };
    one.in_turn(&chore, failing).await.unwrap();
    assert_eq!(succeeded().await, noted, "the last good one");
    let elsewhere = sweep("s3://b");
    one.in_turn(&elsewhere, done()).await.unwrap();
    assert_eq!(succeeded().await, noted, "another store's");

    let metrics = Metrics::new();
    metrics.show_chores(&noted);
    let text = metrics.encode();
    let line = format!(
        "chore_last_success_timestamp_seconds{{chore=\"sweep\"}} {}\n",
        noted[0].1.timestamp()
    );
    assert!(text.contains(&line), "{text}");
}
