//! What only this client's parts can show: that a redirect leads nowhere inside, although the host
//! that sends it is inside, and that a name is asked for once.

use std::num::NonZeroU16;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::http::HeaderMap;
use axum::http::header::LOCATION;
use futures_util::FutureExt as _;
use tokio::net::TcpListener;

use super::*;

/// The links that the integration tests hand out in the provider's answer.
#[path = "../../../tests/it/links/hostile.rs"]
mod hostile;

use hostile::{HOSTILE, Verdict};

const LAX: LinkPolicy = LinkPolicy {
    require_https: false,
    allow_private: true,
};
const STRICT: LinkPolicy = LinkPolicy {
    require_https: false,
    allow_private: false,
};

fn config() -> TransferConfig {
    TransferConfig {
        connections: NonZeroU16::MIN,
        connections_per_host: NonZeroU16::MIN,
        memory_limit_bytes: 1024 * 1024,
        idle_timeout: Duration::from_secs(10),
        min_bytes_per_second: 1024,
        bandwidth_limit_bytes: None,
    }
}

/// Where nobody must arrive.
async fn trap(address: &str) -> (TcpListener, u16) {
    let trap = TcpListener::bind(address).await.unwrap();
    let port = trap.local_addr().unwrap().port();
    (trap, port)
}

fn demand_nobody_came(trap: &TcpListener, about: &str) {
    let came = trap.accept().now_or_never();
    assert!(came.is_none(), "{about}: {came:?}");
}

/// A server on loopback that sends everybody to the place that is set.
async fn sending_to(place: Arc<Mutex<Vec<u8>>>) -> SignedUrl {
    let app = Router::new().fallback(move || {
        let place = place.lock().unwrap().clone();
        async move {
            let mut headers = HeaderMap::new();
            headers.insert(LOCATION, place.as_slice().try_into().unwrap());
            (StatusCode::FOUND, headers)
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let link = format!("http://{}/x", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    SignedUrl::parse(&link).unwrap()
}

#[tokio::test]
async fn no_redirect_leads_inside() {
    let (trap, port) = trap("127.0.0.1:0").await;
    let place = Arc::new(Mutex::new(Vec::new()));
    let link = sending_to(Arc::clone(&place)).await;
    let client = MediaClient::build(&config(), LAX, STRICT, GuardedResolver::new(STRICT)).unwrap();
    let too_long = format!("http://8.8.8.8/{}", "x".repeat(20_000));
    let others: &[(Verdict, &[&str])] = &[(Verdict::Refused, &[too_long.as_str()])];
    let mut tried = 0;
    for (verdict, links) in HOSTILE.iter().chain(others) {
        for hostile in *links {
            // A header cannot hold it.
            if hostile.contains('\n') {
                continue;
            }
            let hostile = hostile.replace("{port}", &port.to_string());
            hostile.as_bytes().clone_into(&mut place.lock().unwrap());
            let error = client.get(&link, None, None).await.unwrap_err();
            let is_refused = matches!(error, TransferError::Refused(_));
            let is_web = hostile.trim().to_ascii_lowercase().starts_with("http");
            match verdict {
                Verdict::Refused if is_web => assert!(is_refused, "{hostile}: {error:?}"),
                // What has no host at all is not even followed.
                Verdict::Refused => assert!(
                    is_refused || matches!(error, TransferError::Status { .. }),
                    "{hostile}: {error:?}"
                ),
                // Or it leads on at the same host, round and round.
                Verdict::Unreadable => {}
            }
            demand_nobody_came(&trap, &hostile);
            tried += 1;
        }
    }
    assert!(tried >= 60, "{tried}");
}

#[tokio::test]
async fn a_name_is_asked_for_once_and_what_was_checked_is_what_is_connected_to() {
    let (server, port) = trap("127.0.0.1:0").await;
    let came = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&came);
    let app = Router::new().fallback(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        async { "media" }
    });
    tokio::spawn(async move { axum::serve(server, app).await });
    // Whoever asks a second time is told something else.
    let asked = Arc::new(AtomicU32::new(0));
    let changing = |policy, first: [u8; 4], later: [u8; 4]| {
        let asked = Arc::clone(&asked);
        asked.store(0, Ordering::Relaxed);
        GuardedResolver::with(policy, move |_| {
            let address = match asked.fetch_add(1, Ordering::Relaxed) {
                0 => first,
                _ => later,
            };
            std::future::ready(Ok(vec![(address, 0).into()])).boxed()
        })
    };
    let (here, elsewhere) = ([127, 0, 0, 1], [192, 0, 2, 1]);
    let link = SignedUrl::parse(&format!("http://rebinding.example:{port}/x")).unwrap();
    let resolver = changing(LAX, here, elsewhere);
    let lax = MediaClient::build(&config(), LAX, LAX, resolver).unwrap();
    lax.get(&link, None, None).await.unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    assert_eq!(came.load(Ordering::Relaxed), 1);

    let resolver = changing(STRICT, here, elsewhere);
    let strict = MediaClient::build(&config(), STRICT, STRICT, resolver).unwrap();
    let error = strict.get(&link, None, None).await.unwrap_err();
    assert!(matches!(error, TransferError::Refused(_)), "{error:?}");
    assert_eq!(
        came.load(Ordering::Relaxed),
        1,
        "somebody came all the same"
    );
}
