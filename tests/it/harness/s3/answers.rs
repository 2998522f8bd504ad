//! What the store answers of its own, and what it does not bring to an end.

use axum::body::{Body as AxumBody, to_bytes};
use futures_util::stream;
use hyper::Response;
use s3s::Body;

use super::faults::StoreFault;
use super::{ACCESS_KEY_ID, Cut};

/// What is said of a refusal that has no message of its own.
const AS_WANTED: &str = "as the test wants it";

/// What the fault is answered with, if nothing is to be done.
pub(super) fn refused(fault: &StoreFault) -> Option<Response<Body>> {
    Some(match *fault {
        StoreFault::Refuse(status, code) | StoreFault::RefuseLarger(_, status, code) => {
            refusal(status, code)
        }
        StoreFault::RefuseSaying(status, code, message) => refusal_saying(status, code, message),
        StoreFault::RefuseFor(status, code, secs) => {
            let mut answer = refusal(status, code);
            answer.headers_mut().insert("retry-after", secs.into());
            answer
        }
        StoreFault::Pretend => Response::new(Body::empty()),
        _ => return None,
    })
}

pub(super) fn no_bucket() -> Response<Body> {
    refusal(404, "NoSuchBucket")
}

pub(super) fn refusal(status: u16, code: &str) -> Response<Body> {
    refusal_saying(status, code, AS_WANTED)
}

fn refusal_saying(status: u16, code: &str, message: &str) -> Response<Body> {
    let xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code>\
         <Message>{message}</Message><AWSAccessKeyId>{ACCESS_KEY_ID}</AWSAccessKeyId>\
         </Error>"
    );
    Response::builder()
        .status(status)
        .header("content-type", "application/xml")
        .body(Body::from(xml))
        .unwrap()
}

/// The head and half of the body, whose whole length is announced.
pub(super) async fn cut_in_the_middle(response: Response<Body>) -> Result<Response<Body>, Cut> {
    let (mut head, body) = response.into_parts();
    let whole = to_bytes(AxumBody::new(body), usize::MAX).await;
    let whole = whole.map_err(|_| Cut)?;
    head.headers
        .insert("content-length", whole.len().max(1).into());
    let half = whole.slice(..whole.len() / 2);
    let body = AxumBody::from_stream(stream::iter([Ok(half), Err(Cut)]));
    Ok(Response::from_parts(head, Body::http_body_unsync(body)))
}
