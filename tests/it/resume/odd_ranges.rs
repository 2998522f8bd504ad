//! Hosts whose ranges are odd while an upload waits to be resumed: nothing is joined that may be of
//! another file, and no upload is discarded for what another file or another hour shows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use bytes::Bytes;
use recording_archiver::archive::Archiver;
use recording_archiver::queue::Outcome;
use uuid::Uuid;

use super::archiver;
use crate::harness::media_host::{MediaHost, MediaReply, MediaRequest, add_at, mp4};
use crate::harness::world::{PART, World};

/// Two parts and a bit.
const SIZE: u64 = 2 * PART + 7;

/// A host whose answers to a test's recordings change by phases.
struct Phases {
    host: MediaHost,
    phase: Arc<AtomicU8>,
}

impl Phases {
    async fn start(
        bytes: Bytes,
        answer: impl Fn(u8, &MediaRequest) -> MediaReply + Send + Sync + 'static,
    ) -> Self {
        let phase = Arc::new(AtomicU8::new(0));
        let now = Arc::clone(&phase);
        let host = MediaHost::start(bytes, None, move |request: &MediaRequest, _| {
            let mut request = request.clone();
            // The file may be shorter than all that the host has.
            request.range = request.range.map(|range| range.start..range.end.min(SIZE));
            answer(now.load(Ordering::SeqCst), &request)
        })
        .await;
        Self { host, phase }
    }

    fn next(&self) {
        self.phase.fetch_add(1, Ordering::SeqCst);
    }
}

fn good(request: &MediaRequest) -> MediaReply {
    MediaReply::regular(request, SIZE).etag("one")
}

/// All but the last bytes of the file; those are refused as `refusal` says.
fn but_the_last(request: &MediaRequest, refusal: MediaReply) -> MediaReply {
    match &request.range {
        Some(range) if range.start >= 2 * PART => refusal,
        _ => good(request),
    }
}

fn busy() -> MediaReply {
    MediaReply::status("429 Too Many Requests").with("Retry-After", "60")
}

/// An attempt that ends with two parts on record.
async fn demand_two_parts(world: &World, archiver: &Archiver, id: Uuid, kind: &str) {
    let report = world.attempt(archiver).await;
    assert_ne!(report.outcome, Outcome::Archived, "{report:?}");
    let row = world.row(id).await;
    assert_eq!(row.error_kind.as_deref(), Some(kind), "{report:?}");
    assert_eq!(world.parts_on_record(id).await, 2, "{report:?}");
    world.make_due().await;
}

#[tokio::test]
async fn range_without_validator_is_not_joined_to_an_earlier_attempt() {
    let world = World::s3().await;
    let former = mp4(SIZE);
    let mut replaced = former.to_vec();
    replaced[12..].iter_mut().for_each(|byte| *byte ^= 0xff);
    let replaced = Bytes::from(replaced);
    // One file behind the other; the second one under positions of its own.
    let both = Bytes::from([&former[..], &replaced[..]].concat());
    let phases = Phases::start(both, |phase, request| {
        if phase == 0 {
            return but_the_last(request, busy());
        }
        // Ignores `If-Range`.
        let mut reply = MediaReply::regular(request, SIZE);
        reply.body = reply.body.start + SIZE..reply.body.end + SIZE;
        reply
    })
    .await;
    let archiver = archiver(&world);
    let id = add_at(&world, &phases.host, &replaced, Some(SIZE)).await;
    demand_two_parts(&world, &archiver, id, "throttled").await;
    phases.next();
    let report = world.attempt(&archiver).await;
    assert_eq!(report.outcome, Outcome::Archived, "{report:?}");
    assert_eq!(world.object(id).as_deref(), Some(&replaced[..]));
    assert_eq!(report.bytes_fetched, SIZE, "{report:?}");
    world.demand_archived(id).await;
}
