//! The page in a real browser: no complaint, no sideways scrolling, light and dark, by keyboard, and
//! readable for who hears it.

use std::path::PathBuf;
use std::{env, fs};

use fantoccini::key::Key;

use super::browser::Browser;
use super::seeded::{HOSTILE_ONE, STORIED, fill, served};
use crate::cli::end;
use crate::harness::world::World;

/// What a checker for accessibility would complain of, as sentences.
const COMPLAINTS: &str = include_str!("complaints.js");

/// Whatever the keyboard reaches, in the order of the page.
const REACHABLE: &str = r#"
    const all = document.querySelectorAll("a[href], input, button, summary, [tabindex='0']");
    window.reachable = [...all].filter((element) => element.checkVisibility());
    return window.reachable.length;
"#;

struct Shown {
    path: String,
    name: &'static str,
}

/// Where pictures are left for somebody to look at, if anybody wants them.
fn album() -> Option<PathBuf> {
    env::var_os("PAGE_PICTURES").map(PathBuf::from)
}

#[tokio::test]
async fn a_browser_shows_it_without_a_complaint() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let world = World::local().await;
    fill(&world).await;
    let (daemon, base) = served(&world).await;
    let shown = [
        ("/".to_owned(), "dashboard"),
        (format!("/recordings/{STORIED}"), "recording"),
        (format!("/recordings/{HOSTILE_ONE}"), "hostile"),
        ("/recordings?id=nonsense".to_owned(), "problem"),
    ];
    for Shown { path, name } in shown.map(|(path, name)| Shown { path, name }) {
        let mut grounds = Vec::new();
        for (look, width, height, scheme) in [
            ("light", 1280, 900, "light"),
            ("dark", 1280, 900, "dark"),
            ("phone", 360, 740, "light"),
            ("phone-dark", 360, 740, "dark"),
        ] {
            browser.look_like(width, height, scheme).await;
            browser.client.goto(&format!("{base}{path}")).await.unwrap();
            let complaints: Vec<String> = browser.ask(COMPLAINTS).await;
            assert_eq!(complaints, Vec::<String>::new(), "{path} {look}");
            let wide: u32 = browser
                .ask("return document.documentElement.scrollWidth;")
                .await;
            assert!(wide <= width, "{path} {look} is {wide} wide");
            grounds.push(
                browser
                    .ask::<String>("return getComputedStyle(document.body).backgroundColor;")
                    .await,
            );
            let picture = browser.picture().await;
            assert!(picture.starts_with(b"\x89PNG"));
            if let Some(album) = album() {
                fs::write(album.join(format!("{name}-{look}.png")), picture).unwrap();
            }
        }
        assert_ne!(grounds[0], grounds[1], "{path}: dark and light differ");
        let console = browser.console().await;
        // Chromium notes a status of 400 there by itself.
        let told = console.iter().filter(|it| {
            name != "problem"
                || !it["message"]
                    .as_str()
                    .unwrap()
                    .contains("400 (Bad Request)")
        });
        assert_eq!(told.count(), 0, "{path}: {console:?}");
    }
    end(daemon).await;
    browser.close().await;
}

#[tokio::test]
async fn a_style_that_is_not_its_own_is_refused_and_told() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let world = World::local().await;
    let (daemon, base) = served(&world).await;
    browser.client.goto(&format!("{base}/")).await.unwrap();
    assert_eq!(browser.console().await, Vec::<serde_json::Value>::new());
    let colour: String = browser
        .ask(
            "const style = document.createElement('style');
             style.textContent = 'body { color: rgb(1, 2, 3) !important }';
             document.head.append(style);
             const script = document.createElement('script');
             script.textContent = 'window.ran = true';
             document.head.append(script);
             return window.ran + getComputedStyle(document.body).color;",
        )
        .await;
    assert!(
        colour.starts_with("undefined") && !colour.contains("(1, 2, 3)"),
        "{colour}"
    );
    // So the console would have told of a violation above.
    assert!(browser.console().await.len() >= 2);
    end(daemon).await;
    browser.close().await;
}

#[tokio::test]
async fn everything_is_reached_by_keyboard_in_the_order_of_the_page() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let world = World::local().await;
    fill(&world).await;
    let (daemon, base) = served(&world).await;
    browser.look_like(1280, 900, "light").await;
    for path in ["/".to_owned(), format!("/recordings/{STORIED}")] {
        browser.client.goto(&format!("{base}{path}")).await.unwrap();
        let reachable: usize = browser.ask(REACHABLE).await;
        assert!(reachable > 8, "{path}: {reachable}");
        for place in 0..reachable {
            press(&browser, Key::Tab).await;
            let focused: (i64, String, f64) = browser
                .ask(
                    "const it = document.activeElement;
                     const outline = getComputedStyle(it).outlineStyle === 'none' ? 0
                         : parseFloat(getComputedStyle(it).outlineWidth);
                     return [window.reachable.indexOf(it), it.outerHTML.slice(0, 120), outline];",
                )
                .await;
            assert_eq!(
                usize::try_from(focused.0),
                Ok(place),
                "{path}: {}",
                focused.1
            );
            assert!(focused.2 >= 2.0, "{path}: no mark on {}", focused.1);
        }
    }
    // The first one leads past all others.
    browser.client.goto(&format!("{base}/")).await.unwrap();
    press(&browser, Key::Tab).await;
    press(&browser, Key::Enter).await;
    let focused: String = browser.ask("return document.activeElement.id;").await;
    assert_eq!(focused, "main");
    // And the form leads to a recording.
    let input = browser
        .client
        .find(fantoccini::Locator::Id("id"))
        .await
        .unwrap();
    input.send_keys(&STORIED.to_string()).await.unwrap();
    press(&browser, Key::Enter).await;
    crate::harness::eventually("the recording's page", || async {
        let path: String = browser.ask("return location.pathname;").await;
        (path == format!("/recordings/{STORIED}")).then_some(())
    })
    .await;
    end(daemon).await;
    browser.close().await;
}

/// Presses a key wherever the focus is.
async fn press(browser: &Browser, key: Key) {
    let focused = browser.client.active_element().await.unwrap();
    focused
        .send_keys(&char::from(key).to_string())
        .await
        .unwrap();
}
