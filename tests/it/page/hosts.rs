//! Who is answered, how, and with which headers.

use axum::http::Method;

use super::seeded::{daemon, served};
use super::{ask, get};
use crate::cli::end;
use crate::harness::world::World;

#[tokio::test]
async fn only_hosts_that_nobody_else_can_be_are_answered() {
    let world = World::local().await;
    let daemon = daemon(&world)
        .with(
            "RECORDING_ARCHIVER_HTTP_HOSTS",
            "Archive.example.com, archiver",
        )
        .start(&["run"]);
    daemon.demand_log("ready").await;
    let base = daemon.http().await;
    let port = base.rsplit_once(':').unwrap().1.to_owned();
    for (host, status) in [
        (format!("127.0.0.1:{port}"), 200),
        ("localhost".to_owned(), 200),
        (format!("LOCALHOST:{port}"), 200),
        ("[::1]".to_owned(), 200),
        ("192.0.2.7".to_owned(), 200),
        ("archive.example.com:443".to_owned(), 200),
        ("archiver".to_owned(), 200),
        ("evil.test".to_owned(), 421),
        (format!("127.0.0.1.evil.test:{port}"), 421),
        ("example.com".to_owned(), 421),
        ("user@localhost".to_owned(), 400),
    ] {
        for path in ["/", "/recordings?id=x", "/nowhere"] {
            let answer = ask(Method::GET, &format!("{base}{path}"), Some(&host)).await;
            let expected = match (status, path) {
                (200, "/recordings?id=x") => 400,
                (200, "/nowhere") => 404,
                _ => status,
            };
            assert_eq!(answer.status, expected, "{host} {path}");
            if status == 421 {
                let name = host.split(':').next().unwrap();
                let cure = format!("http.hosts = \"{name}\"");
                assert!(
                    answer.body.contains(&cure.replace('"', "&quot;"))
                        || answer.body.contains(&cure),
                    "{}",
                    answer.body
                );
            }
        }
        // What tools ask for is answered by any name: it shows nothing personal.
        for path in ["/livez", "/readyz", "/metrics"] {
            let answer = ask(Method::GET, &format!("{base}{path}"), Some(&host)).await;
            assert_eq!(answer.status, 200, "{host} {path}");
        }
    }
    end(daemon).await;
}

#[tokio::test]
async fn every_answer_of_the_page_is_sealed() {
    let world = World::local().await;
    let (daemon, base) = served(&world).await;
    for (path, host) in [
        ("/", None),
        ("/", Some("evil.test")),
        ("/nowhere", None),
        ("/recordings/nonsense", None),
        ("/recordings/00000000-0000-4000-8000-000000000000", None),
        ("/recordings?id=00000000-0000-4000-8000-000000000000", None),
    ] {
        let answer = ask(Method::GET, &format!("{base}{path}"), host).await;
        let policy = answer.header("content-security-policy");
        let directives: Vec<_> = policy.split("; ").collect();
        for directive in [
            "default-src 'none'",
            "img-src data:",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        ] {
            assert!(directives.contains(&directive), "{path}: {policy}");
        }
        assert!(
            !policy.contains("unsafe") && !policy.contains('*'),
            "{policy}"
        );
        assert_eq!(directives.len(), 6, "{policy}");
        for (name, value) in [
            ("x-frame-options", "DENY"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), value, "{path} {name}");
        }
        assert!(!answer.headers.contains_key("set-cookie"));
        if answer.status != 303 {
            assert_eq!(
                answer.header("content-type"),
                "text/html; charset=utf-8",
                "{path}"
            );
            assert!(!answer.body.contains("<script"), "{path}");
            assert!(!answer.body.contains("src="), "{path}");
        }
    }
    end(daemon).await;
}

#[tokio::test]
async fn it_is_only_read() {
    let world = World::local().await;
    let (daemon, base) = served(&world).await;
    let got = get(&format!("{base}/")).await;
    let head = ask(Method::HEAD, &format!("{base}/"), None).await;
    assert_eq!(head.status, 200);
    assert_eq!(head.body, "");
    assert_eq!(
        head.header("content-security-policy"),
        got.header("content-security-policy")
    );
    for method in [
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::PATCH,
        Method::OPTIONS,
    ] {
        for path in ["/", "/recordings", "/recordings/x", "/nowhere"] {
            let answer = ask(method.clone(), &format!("{base}{path}"), None).await;
            assert_eq!(answer.status, 405, "{method} {path}");
            assert_eq!(answer.header("allow"), "GET, HEAD", "{method} {path}");
        }
    }
    end(daemon).await;
}
