//! What comes from outside stays text, and no secret is shown.

use super::get;
use super::seeded::{HARMLESS, HOSTILE_ONE, STORIED, fill, served};
use crate::cli::end;
use crate::harness::world::World;

#[tokio::test]
async fn what_a_provider_sends_is_neither_markup_nor_steers_the_text() {
    let world = World::local().await;
    fill(&world).await;
    let (daemon, base) = served(&world).await;
    let recording = format!("/recordings/{HOSTILE_ONE}");
    // In the list of the last that failed; in each fact, the attempt and the cost's row.
    for (path, times) in [("/", 1), (recording.as_str(), 12)] {
        let page = get(&format!("{base}{path}")).await.demand(200);
        assert_eq!(page.matches(HARMLESS).count(), times, "{path}");
        for part in [
            "<script",
            "<img",
            "onerror=alert(1)>",
            "\u{202e}",
            "\u{200b}",
            "\u{1b}",
        ] {
            assert!(!page.contains(part), "{part:?} in {path}");
        }
        assert_eq!(page.matches("</main>").count(), 1);
    }
    for path in [
        "/recordings?id=%3Cscript%3E%22",
        "/recordings/%3Cscript%3E%22%E2%80%AE",
    ] {
        let page = get(&format!("{base}{path}")).await.demand(400);
        assert!(page.contains("&lt;script&gt;&quot;"), "{page}");
        assert!(!page.contains("<script") && !page.contains('\u{202e}'));
    }
    end(daemon).await;
}

#[tokio::test]
async fn no_secret_is_on_it() {
    let world = World::local().await;
    fill(&world).await;
    let (daemon, base) = served(&world).await;
    let tokens: Vec<String> = sqlx::query_scalar(
        "SELECT lease_token::text FROM archiver.recordings WHERE lease_token IS NOT NULL
         UNION SELECT lease_token::text FROM archiver.attempts",
    )
    .fetch_all(&world.pool)
    .await
    .unwrap();
    assert!(tokens.len() > 5);
    let running: String = sqlx::query_scalar(
        "SELECT recording_id::text FROM archiver.recordings WHERE state = 'in_progress' LIMIT 1",
    )
    .fetch_one(&world.pool)
    .await
    .unwrap();
    for path in [
        "/".to_owned(),
        format!("/recordings/{STORIED}"),
        format!("/recordings/{running}"),
    ] {
        let page = get(&format!("{base}{path}")).await.demand(200);
        let url = world.database_url();
        for secret in tokens
            .iter()
            .map(String::as_str)
            .chain([world.simulator.api_token(), url.as_str()])
        {
            assert!(!page.contains(secret), "{secret} in {path}");
        }
    }
    end(daemon).await;
}
