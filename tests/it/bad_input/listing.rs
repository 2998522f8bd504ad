//! Pages of the provider's list that are too long, or lead elsewhere.

use std::time::Duration;

use recording_archiver::error::{ErrorKind, chain};
use recording_archiver::signalwire::{ApiError, Catalogue, Page, SignalWire};
use recording_archiver::simulator::SimulatedRecording;
use recording_archiver::storage::Storage;
use recording_archiver::upkeep::{Discovery, PAGE_SIZE, RepriceError, reprice};
use serde_json::json;
use uuid::Uuid;

use super::api::behind;
use super::server::{Answer, Liar};
use crate::harness::world::{MIB, World};

fn client(world: &World, front: &Liar) -> SignalWire {
    let mut config = world.settings().signalwire;
    config.api_base = format!("http://{}/", front.address).parse().unwrap();
    SignalWire::new(&config).unwrap()
}

async fn first_page(world: &World, front: &Liar) -> Result<Page, ApiError> {
    let client = client(world, front);
    client.page(Catalogue::All, PAGE_SIZE, None).await
}

#[tokio::test]
async fn a_page_without_end_is_not_taken_in() {
    let world = World::local().await;
    for (about, begin, again) in [
        ("one text", "{\"data\":[\"", "x"),
        ("entries", "{\"data\":[{}", ",{}"),
        ("nesting", "{\"data\":[", "["),
    ] {
        let front = Liar::start(Answer::endless("200 OK", begin, again)).await;
        let error = first_page(&world, &front).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadMetadata, "{about}: {error}");
        front.demand_not_taken_in(33 * MIB, about);
    }
}

#[tokio::test]
async fn a_page_of_more_than_any_page_has_is_refused_whole() {
    let world = World::local().await;
    let with = |entries: u16| {
        let entries: Vec<_> = (0..entries)
            .map(|_| json!({"id": Uuid::new_v4()}))
            .collect();
        Answer::json(&json!({"data": entries}).to_string())
    };
    let front = Liar::start(with(PAGE_SIZE.get())).await;
    let page = first_page(&world, &front).await.unwrap();
    assert_eq!(page.recordings.len(), usize::from(PAGE_SIZE.get()));
    let front = Liar::start(with(PAGE_SIZE.get() + 1)).await;
    let error = first_page(&world, &front).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadMetadata, "{error}");
}

#[tokio::test]
async fn a_page_that_leads_to_another_host_leads_on_at_our_own() {
    let world = World::local().await;
    let trap = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let elsewhere = trap.local_addr().unwrap();
    let next = format!("http://{elsewhere}/api/video/room_recordings?page_token=PA1");
    let page = json!({"links": {"next": next}, "data": []});
    let front = Liar::start(Answer::json(&page.to_string())).await;
    // It leads there again and again, which is found out.
    let discovery = Discovery {
        pool: &world.pool,
        signalwire: &client(&world, &front),
        storage: &Storage::open(&world.settings().storage).unwrap(),
        page_size: PAGE_SIZE,
    };
    discovery.discover(true, |_| {}).await.unwrap_err();
    let asked = front.asked.lock().unwrap().clone();
    assert!(asked.len() >= 2, "{asked:?}");
    assert!(
        asked[1].starts_with("GET /api/video/room_recordings?page_token=PA1"),
        "{asked:?}"
    );
    assert!(trap.accept().is_err(), "the credentials went elsewhere");
}

#[tokio::test]
async fn page_that_is_refused_or_too_slow_is_requested_smaller() {
    for answer in [
        Answer::whole("422 No", "", b"{\"errors\":[{\"message\":\"page_size\"}]}"),
        Answer::whole("400 Bad", "", b"{}"),
        Answer::whole("504 Gateway Timeout", "", b""),
    ] {
        let world = World::local().await;
        for _ in 0..60 {
            let recording = SimulatedRecording::new(Uuid::new_v4(), 100);
            world.simulator.add(recording);
        }
        let (front, archiver) = behind(&world, "page_size=1000".to_owned(), answer).await;
        let discovery = Discovery {
            pool: &world.pool,
            signalwire: &archiver.signalwire,
            storage: &archiver.storage,
            page_size: PAGE_SIZE,
        };
        let found = discovery.discover(false, |_| {}).await.unwrap();
        assert_eq!((found.listed, found.pages), (60, 1));
        assert_eq!(front.asked.lock().unwrap().len(), 2);
    }
}

#[tokio::test]
async fn list_at_a_wrong_address_is_requested_once() {
    let world = World::local().await;
    let answer = Answer::whole("404 No", "", b"{\"error\":\"Not Found\"}");
    let (front, archiver) = behind(&world, "room_recordings".to_owned(), answer).await;
    let discovery = Discovery {
        pool: &world.pool,
        signalwire: &archiver.signalwire,
        storage: &archiver.storage,
        page_size: PAGE_SIZE,
    };
    let error = discovery.discover(false, |_| {}).await.unwrap_err();
    let message = chain(&error);
    assert!(
        message.contains("no list of recordings at this address"),
        "{message}"
    );
    assert_eq!(front.asked.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn reprice_takes_an_api_that_answers_404_to_everything_for_an_outage() {
    let world = World::local().await;
    let id = world
        .add(SimulatedRecording::new(Uuid::new_v4(), 100))
        .await;
    world.attempt(&world.archiver()).await;
    let answer = Answer::whole("404 No", "", b"{\"error\":\"Not Found\"}");
    let (_front, archiver) = behind(&world, "room_recordings".to_owned(), answer).await;
    let repriced = reprice(
        &world.pool,
        &archiver.signalwire,
        &archiver.storage,
        Duration::ZERO,
    );
    let error = repriced.await.unwrap_err();
    assert!(matches!(error, RepriceError::Refused(_)), "{error:?}");
    let gone = "SELECT count(*) FROM archiver.recordings WHERE source_missing_since IS NOT NULL";
    assert_eq!(world.number(gone).await, 0, "{id}");
}
