//! Whole means whole: whatever the framing of a body, its end is read and its size compared before
//! anything is published.

use bytes::Bytes;
use recording_archiver::archive::{Archiver, Report};
use recording_archiver::queue::Outcome;
use uuid::Uuid;

use crate::harness::media_host::{Framing, MediaHost, MediaReply, MediaRequest, add_at, mp4};
use crate::harness::world::{MIB, World};

/// An archiver whose parts are 1 MiB.
fn archiver(world: &World, accept_size: bool) -> Archiver {
    world.archiver_with(|settings| {
        settings.storage.part_size_bytes = MIB;
        settings.policy.accept_size = accept_size;
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Declared {
    Right,
    TooSmall,
    /// By whole parts, so that a prefix ends where a part does.
    TooSmallByParts,
    TooLarge,
    None,
}

impl Declared {
    fn size_of(self, size: u64) -> Option<u64> {
        match self {
            Self::Right => Some(size),
            Self::TooSmall => Some(size - 1),
            Self::TooSmallByParts => Some(size.div_ceil(MIB).saturating_sub(1).max(1) * MIB)
                .filter(|smaller| *smaller < size)
                .or(Some(size / 2)),
            Self::TooLarge => Some(size + 1),
            Self::None => None,
        }
    }
}

const SIZES: [u64; 4] = [300_000, MIB, 4 * MIB, 4 * MIB + 7];

const FRAMINGS: [Framing; 3] = [Framing::ContentLength, Framing::Chunked, Framing::Close];

/// The kind with which the first attempt ends; none when it must be archived.
fn kind_of(
    framing: Framing,
    ranges: bool,
    declared: Declared,
    accept_size: bool,
) -> Option<&'static str> {
    // A range announces the size of the file, whatever the framing of its body.
    let announced = ranges || framing == Framing::ContentLength;
    if declared == Declared::None || accept_size {
        // Nothing tells a cut from the end.
        let endless = !announced && framing == Framing::Close;
        return endless.then_some("media_unavailable");
    }
    match declared {
        Declared::Right | Declared::None => None,
        // Nothing tells the end of the body from a broken connection.
        Declared::TooLarge if !announced && framing == Framing::Close => Some("truncated"),
        Declared::TooSmall | Declared::TooSmallByParts | Declared::TooLarge => {
            Some("size_mismatch")
        }
    }
}

async fn demand(
    world: &World,
    bytes: &Bytes,
    id: Uuid,
    report: &Report,
    kind: Option<&str>,
    about: &str,
) {
    let row = world.row(id).await;
    assert_eq!(row.error_kind.as_deref(), kind, "{about}: {report:?}");
    if kind.is_none() {
        assert_eq!(report.outcome, Outcome::Archived, "{about}: {report:?}");
        assert_eq!(world.object(id).as_deref(), Some(&bytes[..]), "{about}");
        world.demand_archived(id).await;
    } else {
        assert_eq!(row.state, "pending", "{about}: {report:?}");
        world.demand_nothing_stored(id).await;
    }
}

async fn demand_table(accept_size: bool) {
    let world = World::local().await;
    for size in SIZES {
        let bytes = mp4(size);
        for framing in FRAMINGS {
            for ranges in [false, true] {
                let host =
                    MediaHost::start(bytes.clone(), None, move |request: &MediaRequest, size| {
                        let reply = if ranges {
                            MediaReply::regular(request, size).etag("one")
                        } else {
                            MediaReply::whole(size)
                        };
                        reply.framed(framing)
                    })
                    .await;
                for declared in [
                    Declared::Right,
                    Declared::TooSmall,
                    Declared::TooSmallByParts,
                    Declared::TooLarge,
                    Declared::None,
                ] {
                    let about = format!("{size} {framing:?} ranges {ranges} {declared:?}");
                    let id = add_at(&world, &host, &bytes, declared.size_of(size)).await;
                    let report = world.attempt(&archiver(&world, accept_size)).await;
                    let kind = kind_of(framing, ranges, declared, accept_size);
                    demand(&world, &bytes, id, &report, kind, &about).await;
                    park(&world).await;
                }
            }
        }
    }
}

/// Keeps what was tried from being claimed again.
async fn park(world: &World) {
    sqlx::query(
        "UPDATE archiver.recordings SET next_attempt_at = 'infinity' WHERE state = 'pending'",
    )
    .execute(&world.pool)
    .await
    .unwrap();
}

#[tokio::test]
async fn body_of_any_framing_and_declared_size_is_archived_whole_or_not_at_all() {
    demand_table(false).await;
}

#[tokio::test]
async fn accepted_size_is_that_of_the_whole_body() {
    demand_table(true).await;
}

#[tokio::test]
async fn prefix_of_the_source_is_not_equal_to_it() {
    let world = World::local().await;
    let size = 4 * MIB;
    let bytes = mp4(size);
    for framing in [Framing::Chunked, Framing::Close] {
        let host = MediaHost::start(bytes.clone(), None, move |_: &MediaRequest, size| {
            MediaReply::whole(size).framed(framing)
        })
        .await;
        // What is there has the declared size, and so many bytes of the source are the same.
        let declared = 2 * MIB;
        let id = add_at(&world, &host, &bytes, Some(declared)).await;
        world.put_object(id, &bytes[..usize::try_from(declared).unwrap()]);
        let report = world.attempt(&archiver(&world, false)).await;
        assert_eq!(report.outcome, Outcome::Retrying, "{report:?}");
        let row = world.row(id).await;
        assert_eq!(
            row.error_kind.as_deref(),
            Some("size_mismatch"),
            "{report:?}"
        );
        park(&world).await;
    }
}

#[tokio::test]
async fn same_excess_twice_fails_the_recording() {
    let world = World::local().await;
    let bytes = mp4(4 * MIB);
    let host = MediaHost::start(bytes.clone(), None, |_: &MediaRequest, size| {
        MediaReply::whole(size).framed(Framing::Chunked)
    })
    .await;
    let id = add_at(&world, &host, &bytes, Some(2 * MIB)).await;
    world.attempt(&archiver(&world, false)).await;
    world.make_due().await;
    let report = world.attempt(&archiver(&world, false)).await;
    assert_eq!(report.outcome, Outcome::Failed, "{report:?}");
    assert_eq!(
        world.row(id).await.error_kind.as_deref(),
        Some("size_mismatch")
    );
    world.demand_nothing_stored(id).await;
}
