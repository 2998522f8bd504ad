//! The store at the start of the service: what it does, and by what evidence objects are proven.

use std::time::Duration;

use sqlx::PgPool;

use crate::archive::Archiver;
use crate::cli::session::holder;
use crate::error::chain;
use crate::upkeep::look;

/// A store that cannot be probed at start is probed again this often.
const AGAIN: Duration = Duration::from_secs(30);

/// How well the store is to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Acquaintance {
    /// By what evidence objects are proven.
    Evidence,
    /// And whether whole parts get through, which takes uploading one.
    PartSizeToo,
}

/// Has the store probed, puts on record what it does, and tells it. One that cannot be probed now
/// is probed again.
pub(super) async fn get_to_know(archiver: &Archiver, pool: &PgPool, how: Acquaintance) {
    let storage = &archiver.storage;
    let mut is_told = false;
    loop {
        // On the heap: its state is large, and waits long.
        match Box::pin(look(storage)).await {
            Ok(mut known) => {
                if how == Acquaintance::PartSizeToo {
                    known = Box::pin(known.with_part_size(storage)).await;
                }
                let known = Box::pin(known.on_record(pool, &holder())).await;
                return known.tell();
            }
            Err(error) if !is_told => {
                let kind = error.kind();
                tracing::warn!(
                    error.kind = kind.as_str(),
                    "the store cannot be probed yet, so nothing is known of what proves objects: {}. \
                     Cure: {}. It is probed again by itself",
                    chain(&error),
                    kind.cure()
                );
                is_told = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(AGAIN).await;
    }
}
