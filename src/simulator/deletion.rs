//! Answers for DELETE of one recording.

use axum::{http::StatusCode, response::Response};
use uuid::Uuid;

use super::{
    answer::{HTML_PAGE, answer, api_error, throttled},
    api::ApiRequest,
    fault::DeletionFault,
};

pub(super) async fn serve(request: ApiRequest<'_>, id: Uuid) -> Response {
    let (world, connection) = (request.world, request.connection);
    let shape = world.config.error_shape;
    match world.take_deletion_fault(id) {
        None => {
            if world.remove(id) {
                answer(StatusCode::NO_CONTENT, "application/json", "")
            } else {
                api_error(shape, StatusCode::NOT_FOUND)
            }
        }
        Some(DeletionFault::Status(code)) => {
            api_error(shape, StatusCode::from_u16(code).unwrap_or_default())
        }
        Some(DeletionFault::Throttled(after)) => {
            throttled(api_error(shape, StatusCode::TOO_MANY_REQUESTS), after)
        }
        Some(DeletionFault::Html) => answer(StatusCode::OK, "text/html; charset=utf-8", HTML_PAGE),
        Some(DeletionFault::Reset) => {
            connection.reset();
            Response::default()
        }
        Some(DeletionFault::AnswerLost) => {
            world.remove(id);
            connection.reset();
            Response::default()
        }
        Some(DeletionFault::Hang) => {
            // The connection drops this future when the client goes away.
            world.stopping.cancelled().await;
            connection.reset();
            Response::default()
        }
    }
}
