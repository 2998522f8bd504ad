//! The Video API: credentials, parameters, the object, pages, deletion.

use std::collections::BTreeSet;

use recording_archiver::simulator::{
    ErrorShape, Media, MetadataFault, SimulatedRecording, SimulatorConfig, Times,
};
use serde_json::{Value, json as value};
use uuid::Uuid;

use super::{ID, Setup, json, refusal};

#[tokio::test]
async fn the_documented_example_comes_back_as_documented() {
    let setup = Setup::with(SimulatorConfig::default()).await;
    let example = SimulatedRecording::documented_example();
    let id = example.id;
    setup.simulator.add(example);
    let response = setup.api(&format!("room_recordings/{id}")).await;
    let text = response.text().await.unwrap();
    assert!(text.contains(r#""cost_in_dollars":0.05,"#), "{text}");
    let mut object: Value = serde_json::from_str(&text).unwrap();
    let uri = object["uri"].take();
    assert!(
        uri.as_str()
            .unwrap()
            .starts_with(&setup.simulator.base_url()),
        "{uri}"
    );
    assert_eq!(
        object,
        value!({
            "id": "c22d24f6-5a47-4597-9a23-c7d01e696b92",
            "room_session_id": "a1b2c3d4-5e6f-7890-abcd-ef1234567890",
            "status": "completed",
            "started_at": "2022-01-01T10:00:00Z",
            "finished_at": "2022-01-01T11:00:00Z",
            "duration": 120,
            "size_in_bytes": 20_971_520,
            "format": "video/mp4",
            "cost_in_dollars": 0.05,
            "uri": null,
            "created_at": "2022-01-01T10:00:00Z",
            "updated_at": "2022-01-01T11:00:00Z"
        })
    );
}

#[tokio::test]
async fn without_the_right_credentials_nothing_is_answered() {
    let setup = Setup::new(10).await;
    let url = format!(
        "{}/api/video/room_recordings/{ID}",
        setup.simulator.base_url()
    );
    for credentials in [
        None,
        Some("Basic eDp5"),
        Some("Bearer PTsimulated"),
        Some("Basic ***"),
    ] {
        let mut request = setup.client.get(&url);
        if let Some(credentials) = credentials {
            request = request.header("Authorization", credentials);
        }
        let (status, body) = refusal(request.send().await.unwrap()).await;
        assert_eq!(
            (status, body.as_str()),
            (401, r#"{"error":"Unauthorized"}"#)
        );
    }
    assert_eq!(setup.simulator.counts(ID).metadata_requests, 0);
}

#[tokio::test]
async fn malformed_parameters_are_refused_by_name() {
    let setup = Setup::new(10).await;
    for (path, attribute) in [
        ("room_recordings/not-a-uuid".into(), "id"),
        (format!("room_recordings/{}", ID.simple()), "id"),
        (format!("room_recordings/{ID}?media_ttl=soon"), "media_ttl"),
        (format!("room_recordings/{ID}?media_ttl=-1"), "media_ttl"),
        (format!("room_recordings/{ID}?media_ttl=1.5"), "media_ttl"),
        (
            format!("room_recordings/{ID}?media_ttl=604801"),
            "media_ttl",
        ),
        ("room_recordings?page_size=0".into(), "page_size"),
        ("room_recordings?page_size=1001".into(), "page_size"),
        ("room_recordings?page_number=1".into(), "page_token"),
        (
            "room_recordings?page_number=1&page_token=PA0".into(),
            "page_token",
        ),
        ("room_sessions/x/recordings".into(), "id"),
    ] {
        let response = setup.api(&path).await;
        assert_eq!(response.status(), 422, "{path}");
        let errors = &json(response).await["errors"];
        assert_eq!(errors[0]["attribute"], attribute, "{path}");
        assert_eq!(errors[0]["type"], "validation_error", "{path}");
    }
    let longest = setup
        .api(&format!("room_recordings/{ID}?media_ttl=604800"))
        .await;
    assert_eq!(longest.status(), 200);
}

#[tokio::test]
async fn the_older_flat_error_shape_can_be_had() {
    let config = SimulatorConfig {
        error_shape: ErrorShape::Flat,
        ..SimulatorConfig::default()
    };
    let setup = Setup::with(config).await;
    let invalid = json(setup.api("room_recordings/x").await).await;
    assert_eq!(invalid["attribute"], "id");
    let url = format!(
        "{}/api/video/room_recordings/{ID}",
        setup.simulator.base_url()
    );
    let unauthorized = json(setup.client.get(url).send().await.unwrap()).await;
    assert_eq!(unauthorized["code"], "unauthorized");
    let missing = refusal(setup.api(&format!("room_recordings/{ID}")).await).await;
    assert_eq!(missing, (404, r#"{"error":"Not Found"}"#.into()));
}

#[tokio::test]
async fn a_deleted_recording_is_gone_with_its_media() {
    let setup = Setup::new(10).await;
    let link = setup.link().await;
    let url = format!(
        "{}/api/video/room_recordings/{ID}",
        setup.simulator.base_url()
    );
    for expected in [204, 404] {
        let request = setup
            .client
            .delete(&url)
            .header("Authorization", setup.credentials());
        assert_eq!(request.send().await.unwrap().status(), expected);
    }
    let (status, body) = refusal(setup.api(&format!("room_recordings/{ID}")).await).await;
    assert_eq!((status, body.as_str()), (404, r#"{"error":"Not Found"}"#));
    let (status, body) = refusal(setup.open(&link, &[]).await).await;
    assert_eq!(status, 404);
    assert!(body.contains("<Code>NoSuchKey</Code>"), "{body}");
}

#[tokio::test]
async fn a_recording_without_media_has_no_link() {
    let setup = Setup::new(10).await;
    assert!(
        setup
            .simulator
            .update(ID, |recording| recording.media = Media::None)
    );
    let object = setup.metadata().await;
    assert!(
        object["uri"].is_null() && object["size_in_bytes"].is_null(),
        "{object}"
    );
    assert_eq!(object["status"], "completed");
    assert_eq!(setup.simulator.media_sha256(ID), None);
}

/// Follows `next` from the first page; the ids in order, and how many pages there were.
async fn walk(setup: &Setup, first: &str) -> (Vec<String>, usize) {
    let base = setup.simulator.base_url();
    let (mut ids, mut pages) = (Vec::new(), 0);
    let mut next = Some(format!("/api/video/{first}"));
    while let Some(url) = next {
        let url = if url.starts_with('/') {
            format!("{base}{url}")
        } else {
            url
        };
        let page = json(setup.get_api(&url).await.unwrap()).await;
        let data = page["data"].as_array().unwrap();
        ids.extend(
            data.iter()
                .map(|item| item["id"].as_str().unwrap().to_owned()),
        );
        pages += 1;
        assert!(pages < 20, "the pages never end");
        assert_eq!(page["links"].get("prev").is_some(), pages > 1);
        next = page["links"]
            .get("next")
            .map(|link| link.as_str().unwrap().to_owned());
    }
    (ids, pages)
}

#[tokio::test]
async fn pages_lead_through_all_recordings_once() {
    for relative_links in [false, true] {
        let config = SimulatorConfig {
            relative_links,
            ..SimulatorConfig::default()
        };
        let setup = Setup::with(config).await;
        let session = Uuid::from_u128(77);
        for number in 1..=7 {
            let mut recording = SimulatedRecording::new(Uuid::from_u128(number), 10);
            if number % 2 == 0 {
                recording.room_session_id = session;
            }
            setup.simulator.add(recording);
        }
        let (ids, pages) = walk(&setup, "room_recordings?page_size=3&media_ttl=60").await;
        assert_eq!((ids.len(), pages), (7, 3));
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 7);
        let path = format!("room_sessions/{session}/recordings");
        assert_eq!(walk(&setup, &path).await.0.len(), 3);
        let path = format!("room_sessions/{}/recordings", Uuid::nil());
        assert_eq!(walk(&setup, &path).await, (vec![], 1));

        let first = json(setup.api("room_recordings?page_size=3&media_ttl=60").await).await;
        let next = first["links"]["next"].as_str().unwrap();
        assert_eq!(next.starts_with('/'), relative_links, "{next}");
        assert!(
            first["data"][0]["uri"]
                .as_str()
                .unwrap()
                .contains("X-Amz-Expires=60&")
        );
    }
}

#[tokio::test]
async fn listings_can_show_the_two_known_traps() {
    let setup = Setup::new(10).await;
    setup
        .simulator
        .add(SimulatedRecording::new(Uuid::from_u128(1), 10));
    setup
        .simulator
        .inject_for_all(MetadataFault::EmptyPage, Times::ONCE);
    let (ids, pages) = walk(&setup, "room_recordings?page_size=1").await;
    assert_eq!((ids.len(), pages), (1, 2));

    setup
        .simulator
        .inject_for_all(MetadataFault::RepeatedNext, Times::ONCE);
    let page = json(setup.api("room_recordings").await).await;
    assert_eq!(page["links"]["next"], page["links"]["self"]);
}
