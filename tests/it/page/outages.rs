//! The page while the database is away, slow, or not reached yet; and many who look at once.

use std::time::{Duration, Instant};

use sqlx::Connection as _;
use sqlx::PgConnection;

use super::seeded::{STORIED, daemon, served};
use super::{Answer, get};
use crate::cli::end;
use crate::harness::binary::Binary;
use crate::harness::eventually;
use crate::harness::wire::Wire;
use crate::harness::world::World;

/// A database that is not there is told in this time; the page's own limit is 5 s.
const TOLD_WITHIN: Duration = Duration::from_secs(9);

async fn told(url: &str) -> Answer {
    let asked = Instant::now();
    let answer = get(url).await;
    assert!(asked.elapsed() < TOLD_WITHIN, "{:?}", asked.elapsed());
    answer
}

#[tokio::test]
async fn until_the_database_is_reached_the_page_says_so() {
    let world = World::local().await;
    let wire = Wire::to_database(&world).await;
    wire.cut();
    let url = wire.database_url(&world);
    let daemon = daemon(&world).with("DATABASE_URL", url).start(&["run"]);
    let base = daemon.http().await;
    for path in ["/", "/recordings/00000000-0000-4000-8000-000000000000"] {
        let answer = told(&format!("{base}{path}")).await;
        assert_eq!(answer.header("retry-after"), "10");
        assert_eq!(answer.header("x-frame-options"), "DENY");
        assert!(
            answer
                .demand(503)
                .contains("The database is not reached yet")
        );
    }
    wire.mend();
    eventually("the page is there", || async {
        (get(&format!("{base}/")).await.status == 200).then_some(())
    })
    .await;
    end(daemon).await;
}

#[tokio::test]
async fn a_question_that_takes_too_long_is_told_and_leaves_nothing_behind() {
    let world = World::local().await;
    let (daemon, base) = served(&world).await;
    let mut owner = PgConnection::connect(&world.database_url()).await.unwrap();
    let mut held = owner.begin().await.unwrap();
    sqlx::query(
        "LOCK TABLE archiver.retirements, archiver.cost_observations IN ACCESS EXCLUSIVE MODE",
    )
    .execute(&mut *held)
    .await
    .unwrap();
    world.enqueue(STORIED).await;
    let recording = format!("{base}/recordings/{STORIED}");
    // More than may look at once: who comes last waits no longer than the others.
    let many = futures_util::future::join_all((0..6).map(|_| told(&recording))).await;
    for answer in many {
        assert!(answer.demand(503).contains("The database takes too long"));
    }
    eventually("nothing is left behind in the server", || async {
        let waiting = "SELECT count(*) FROM pg_stat_activity
                        WHERE datname = current_database() AND wait_event_type = 'Lock'";
        (world.number(waiting).await == 0).then_some(())
    })
    .await;
    held.rollback().await.unwrap();
    get(&recording).await.demand(200);
    end(daemon).await;
}

#[tokio::test]
async fn a_halt_stands_above_all_with_its_cure() {
    let world = World::local().await;
    world.enqueue(STORIED).await;
    let daemon = Binary::of(&world)
        .with("SIGNALWIRE_API_TOKEN", "PT-wrong")
        .start(&["run"]);
    let base = daemon.http().await;
    let page = eventually("the page tells of the halt", || async {
        let answer = get(&format!("{base}/")).await;
        let page = (answer.status == 200).then_some(answer.body)?;
        page.contains("claiming is halted: unauthorized")
            .then_some(page)
    })
    .await;
    assert!(page.contains("the token needs the Video scope"));
    assert!(!page.contains("Recordings are being claimed"));
    assert!(!page.contains("PT-wrong"));
    end(daemon).await;
}

#[tokio::test]
async fn a_database_that_went_away_is_told_and_comes_back() {
    let world = World::local().await;
    let wire = Wire::to_database(&world).await;
    let daemon = daemon(&world)
        .with("DATABASE_URL", wire.database_url(&world))
        .start(&["run"]);
    daemon.demand_log("ready").await;
    let base = daemon.http().await;
    let url = format!("{base}/");
    get(&url).await.demand(200);
    wire.cut();
    told(&url).await.demand(503);
    wire.mend();
    eventually("the page is back", || async {
        (get(&url).await.status == 200).then_some(())
    })
    .await;
    wire.silence();
    told(&url).await.demand(503);
    wire.mend();
    eventually("the page is back again", || async {
        (get(&url).await.status == 200).then_some(())
    })
    .await;
    end(daemon).await;
}
