//! Answers for the pages of recordings and for the links that lead from one to the next.

use axum::{http::StatusCode, response::Response};
use uuid::Uuid;

use super::{
    answer::{Refusal, json},
    api::ApiRequest,
    fault::MetadataFault,
    link::hmac_sha256,
    recording::quoted,
    world::World,
};

const DEFAULT_PAGE_SIZE: u64 = 50;
const MAX_PAGE_SIZE: u64 = 1000;

/// One page of all recordings, or of those of one room session.
pub(super) async fn serve(
    request: ApiRequest<'_>,
    room_session_id: Option<Uuid>,
) -> Result<Response, Refusal> {
    let world = request.world;
    let ttl = request.media_ttl()?;
    let size = request
        .integer("page_size", 1, MAX_PAGE_SIZE)?
        .unwrap_or(DEFAULT_PAGE_SIZE);
    let number = request
        .integer("page_number", 0, u64::from(u32::MAX))?
        .unwrap_or(0);
    if number > 0 {
        let token = request.parameter("page_token");
        let token = token.ok_or_else(|| {
            request.invalid(
                "page_token",
                "is required when page_number is greater than 0",
            )
        })?;
        if *token != page_token(world, number) {
            return Err(request.invalid("page_token", "is not a token of this page"));
        }
    }

    let fault = world.take_metadata_fault(None);
    let too_far = |_| request.invalid("page_number", "is too large");
    let skip = usize::try_from(number * size).map_err(too_far)?;
    let take = usize::try_from(size).map_err(too_far)?;
    let (recordings, more_follow) = world.page(room_session_id, skip, take);

    let mut links = vec![("self", number), ("first", 0)];
    match &fault {
        Some(MetadataFault::RepeatedNext) => links.push(("next", number)),
        _ if more_follow => links.push(("next", number + 1)),
        _ => {}
    }
    if number > 0 {
        links.push(("prev", number - 1));
    }
    let links: Vec<_> = links
        .into_iter()
        .map(|(name, number)| format!("{}:{}", quoted(name), quoted(&link(request, number, size))))
        .collect();
    let data: Vec<_> = recordings
        .iter()
        .filter(|_| fault != Some(MetadataFault::EmptyPage))
        .map(|recording| world.describe(recording, request.host, ttl).render())
        .collect();
    let body = format!(
        "{{\"links\":{{{}}},\"data\":[{}]}}",
        links.join(","),
        data.join(",")
    );

    if let Some(fault) = &fault
        && let Some(response) = request.spoiled(fault, &body).await
    {
        return Ok(response);
    }
    Ok(json(StatusCode::OK, body))
}

fn link(request: ApiRequest<'_>, number: u64, size: u64) -> String {
    let path = request.parts.uri.path();
    let mut link = format!("{path}?page_number={number}&page_size={size}");
    if number > 0 {
        link.push_str("&page_token=");
        link.push_str(&page_token(request.world, number));
    }
    // Validated above: digits only.
    if let Some(ttl) = request.parameter("media_ttl") {
        link.push_str("&media_ttl=");
        link.push_str(&ttl);
    }
    if request.world.config.relative_links {
        link
    } else {
        format!("http://{}{link}", request.host)
    }
}

/// The token without which the page is refused.
fn page_token(world: &World, number: u64) -> String {
    let digest = hmac_sha256(&world.page_token_key, &number.to_be_bytes());
    format!("PA{}", hex::encode(&digest[..8]))
}
