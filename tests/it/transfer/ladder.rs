//! Sources that do not serve parallel ranges as they should: each is archived within one attempt,
//! by fewer connections or by one plain GET, and the next recording starts where this one ended.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use recording_archiver::archive::Archiver;
use recording_archiver::queue::Outcome;
use recording_archiver::transfer::Step;

use crate::harness::media_host::{Framing, MediaHost, MediaReply, MediaRequest, add_at, mp4};
use crate::harness::world::{MIB, World};

const ONE_PART: u64 = 300_000;
const FIVE_PARTS: u64 = 4 * MIB + 7;

/// Between pieces of 64 KiB: several connections of a recording are in use at the same time.
const PACE: Duration = Duration::from_millis(25);

/// What a source does, how it answers, and to which rung a recording of several parts steps down.
struct Source {
    name: &'static str,
    answer: fn(&MediaRequest, u64) -> MediaReply,
    step: Option<Step>,
    pace: Option<Duration>,
}

const fn source(
    name: &'static str,
    step: Option<Step>,
    answer: fn(&MediaRequest, u64) -> MediaReply,
) -> Source {
    Source {
        name,
        answer,
        step,
        pace: None,
    }
}

/// A source that serves so many requests at the same time.
const fn limited(
    name: &'static str,
    step: Step,
    answer: fn(&MediaRequest, u64) -> MediaReply,
) -> Source {
    Source {
        pace: Some(PACE),
        ..source(name, Some(step), answer)
    }
}

const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

fn good(request: &MediaRequest, size: u64) -> MediaReply {
    MediaReply::regular(request, size).etag("one")
}

/// With a date for a validator.
fn dated(reply: MediaReply) -> MediaReply {
    reply
        .with("Last-Modified", MODIFIED)
        .with("Date", "Mon, 30 Nov 2026 00:00:00 GMT")
}

fn later(request: &MediaRequest) -> bool {
    request.headers.contains_key("if-range")
}

/// A range with this text in its `Content-Range`; a plain GET as it should be.
fn with_content_range(
    request: &MediaRequest,
    size: u64,
    spell: fn(u64, u64, u64) -> Option<String>,
) -> MediaReply {
    let Some(range) = request.range.clone() else {
        return good(request, size);
    };
    let reply = MediaReply::partial(range.clone()).etag("one");
    match spell(range.start, range.end - 1, size) {
        Some(text) => reply.with("Content-Range", text),
        None => reply,
    }
}

fn at_once(request: &MediaRequest, size: u64, most: usize, refusal: MediaReply) -> MediaReply {
    if request.in_service > most {
        refusal
    } else {
        good(request, size)
    }
}

/// One request at a time, and no `Content-Range` in the answer to a range.
fn odd_at_once(request: &MediaRequest, size: u64, refusal: MediaReply) -> MediaReply {
    if request.in_service > 1 {
        refusal
    } else {
        with_content_range(request, size, |_, _, _| None)
    }
}

const SOURCES: &[Source] = {
    use Step::{FewerConnections, OneConnection, PlainStream};
    const PLAIN: Option<Step> = Some(PlainStream);
    &[
        source("ranges under an ETag", None, good),
        source("ranges under a date", None, |request, size| {
            dated(MediaReply::regular(request, size))
        }),
        source("ranges in chunks", None, |request, size| {
            good(request, size).framed(Framing::Chunked)
        }),
        source(
            "ranges that end with the connection",
            None,
            |request, size| good(request, size).framed(Framing::Close),
        ),
        source("half of each range", None, |request, size| {
            let mut half = request.clone();
            half.range = half.range.map(|range| {
                let end = range.start + (range.end - range.start).div_ceil(2);
                range.start..end
            });
            good(&half, size)
        }),
        source("150 headers", None, |request, size| {
            (0..150).fold(good(request, size), |reply, number| {
                reply.with("X-Header", number.to_string())
            })
        }),
        source("200 to every range", None, |_, size| {
            MediaReply::whole(size).etag("one")
        }),
        source("200 in chunks to every range", None, |_, size| {
            MediaReply::whole(size).framed(Framing::Chunked)
        }),
        source("a weak ETag", None, |request, size| {
            MediaReply::regular(request, size).with("ETag", "W/\"one\"")
        }),
        source("no validator", None, MediaReply::regular),
        source("an ETag for each answer", PLAIN, |request, size| {
            MediaReply::regular(request, size).etag(&request.number.to_string())
        }),
        source(
            "an ETag for each of two backends",
            PLAIN,
            |request, size| {
                MediaReply::regular(request, size)
                    .etag(["one", "two"][(request.number % 2) as usize])
            },
        ),
        source(
            "an ETag in the first answer only",
            PLAIN,
            |request, size| {
                if later(request) {
                    MediaReply::regular(request, size)
                } else {
                    good(request, size)
                }
            },
        ),
        source(
            "206 first, then 200",
            PLAIN,
            |request, size| match &request.range {
                Some(range) if range.start > 0 => MediaReply::whole(size).etag("one"),
                _ => good(request, size),
            },
        ),
        source(
            "206 first, then 200 in chunks",
            PLAIN,
            |request, size| match &request.range {
                Some(range) if range.start > 0 => {
                    MediaReply::whole(size).etag("one").framed(Framing::Chunked)
                }
                _ => good(request, size),
            },
        ),
        source("200 to If-Range with an ETag", PLAIN, |request, size| {
            if later(request) {
                MediaReply::whole(size).etag("one")
            } else {
                good(request, size)
            }
        }),
        source("200 to If-Range with a date", PLAIN, |request, size| {
            dated(if later(request) {
                MediaReply::whole(size)
            } else {
                MediaReply::regular(request, size)
            })
        }),
        source("400 to If-Range", PLAIN, |request, size| {
            if later(request) {
                MediaReply::status("400 Bad Request")
            } else {
                good(request, size)
            }
        }),
        source("412 to If-Range", PLAIN, |request, size| {
            if later(request) {
                MediaReply::status("412 Precondition Failed")
            } else {
                good(request, size)
            }
        }),
        source("501 to Range", PLAIN, |request, size| match request.range {
            Some(_) => MediaReply::status("501 Not Implemented"),
            None => good(request, size),
        }),
        source("416 to Range", None, |request, size| match request.range {
            Some(_) => MediaReply::status("416 Range Not Satisfiable"),
            None => good(request, size),
        }),
        source("Content-Range of unknown size", PLAIN, |request, size| {
            with_content_range(request, size, |first, last, _| {
                Some(format!("bytes {first}-{last}/*"))
            })
        }),
        source("Content-Range in another unit", PLAIN, |request, size| {
            with_content_range(request, size, |first, last, size| {
                Some(format!("items {first}-{last}/{size}"))
            })
        }),
        source("no Content-Range", PLAIN, |request, size| {
            with_content_range(request, size, |_, _, _| None)
        }),
        source("Content-Range one byte off", PLAIN, |request, size| {
            with_content_range(request, size, |first, last, size| {
                Some(format!("bytes {}-{}/{}", first + 1, last + 1, size + 1))
            })
        }),
        source(
            "Content-Range of another size each time",
            PLAIN,
            |request, size| {
                let size = if later(request) { size + 1 } else { size };
                let mut reply = good(request, size);
                reply.body.end = reply.body.end.min(size);
                reply
            },
        ),
        limited("503 but to one", OneConnection, |request, size| {
            at_once(request, size, 1, MediaReply::status("503 Slow Down"))
        }),
        limited("429 but to one", OneConnection, |request, size| {
            at_once(
                request,
                size,
                1,
                MediaReply::status("429 Too Many Requests"),
            )
        }),
        limited(
            "429 for a minute but to one",
            OneConnection,
            |request, size| {
                let refusal = MediaReply::status("429 Too Many Requests").with("Retry-After", "60");
                at_once(request, size, 1, refusal)
            },
        ),
        limited("reset but to one", OneConnection, |request, size| {
            at_once(request, size, 1, MediaReply::reset())
        }),
        limited("403 but to one", OneConnection, |request, size| {
            at_once(request, size, 1, MediaReply::status("403 Forbidden"))
        }),
        limited(
            "no Content-Range, 503 but to one",
            PlainStream,
            |request, size| odd_at_once(request, size, MediaReply::status("503 Slow Down")),
        ),
        limited(
            "no Content-Range, 429 but to one",
            PlainStream,
            |request, size| {
                let refusal = MediaReply::status("429 Too Many Requests").with("Retry-After", "1");
                odd_at_once(request, size, refusal)
            },
        ),
        limited(
            "no Content-Range, reset but to one",
            PlainStream,
            |request, size| odd_at_once(request, size, MediaReply::reset()),
        ),
        limited(
            "no Content-Range, 403 but to one",
            PlainStream,
            |request, size| odd_at_once(request, size, MediaReply::status("403 Forbidden")),
        ),
        limited("503 but to two", FewerConnections, |request, size| {
            at_once(request, size, 2, MediaReply::status("503 Slow Down"))
        }),
    ]
};

fn archiver(world: &World) -> Archiver {
    world.archiver_with(|settings| {
        settings.storage.part_size_bytes = MIB;
        settings.transfer.connections = NonZeroU16::new(4).unwrap();
    })
}

async fn demand_each_source_is_archived(size: u64, is_declared: bool) {
    let world = World::local().await;
    let bytes = mp4(size);
    for source in SOURCES {
        let host = MediaHost::start(bytes.clone(), source.pace, source.answer).await;
        let archiver = archiver(&world);
        let id = add_at(&world, &host, &bytes, is_declared.then_some(size)).await;
        let report = world.attempt(&archiver).await;
        let about = format!("{}: {report:?} {:?}", source.name, host.requests());
        assert_eq!(report.outcome, Outcome::Archived, "{about}");
        assert_eq!(world.attempts(id).await.len(), 1, "{about}");
        assert_eq!(world.object(id).as_deref(), Some(&bytes[..]), "{about}");
        world.demand_archived(id).await;
        if size > MIB {
            let steps = Step::ALL.map(|step| archiver.media.traffic().steps(step) > 0);
            let expected = Step::ALL.map(|step| source.step == Some(step));
            assert_eq!(steps, expected, "{about}");
        }
    }
}

#[tokio::test]
async fn each_source_of_one_part_is_archived_in_one_attempt() {
    demand_each_source_is_archived(ONE_PART, true).await;
}

#[tokio::test]
async fn each_source_of_one_part_and_unknown_size_is_archived_in_one_attempt() {
    demand_each_source_is_archived(ONE_PART, false).await;
}

#[tokio::test]
async fn each_source_of_several_parts_is_archived_in_one_attempt() {
    demand_each_source_is_archived(FIVE_PARTS, true).await;
}

#[tokio::test]
async fn each_source_of_several_parts_and_unknown_size_is_archived_in_one_attempt() {
    demand_each_source_is_archived(FIVE_PARTS, false).await;
}

#[tokio::test]
async fn next_recording_starts_at_the_rung_of_its_host() {
    let world = World::local().await;
    let bytes = mp4(FIVE_PARTS);
    for source in SOURCES {
        let host = MediaHost::start(bytes.clone(), source.pace, source.answer).await;
        let archiver = archiver(&world);
        add_at(&world, &host, &bytes, Some(FIVE_PARTS)).await;
        world.attempt(&archiver).await;
        let seen = host.requests().len();
        let id = add_at(&world, &host, &bytes, Some(FIVE_PARTS)).await;
        world.attempt(&archiver).await;
        world.demand_archived(id).await;
        let requests = host.requests().split_off(seen);
        let about = format!("{}: {requests:?}", source.name);
        let most = requests.iter().map(|it| it.in_service).max();
        match source.step {
            Some(Step::PlainStream) if source.name != REPLACED => {
                assert_eq!(requests.len(), 1, "{about}");
                assert_eq!(requests[0].range, None, "{about}");
            }
            Some(Step::OneConnection) => assert_eq!(most, Some(1), "{about}"),
            Some(Step::FewerConnections) => assert!(most <= Some(2), "{about}"),
            _ => {}
        }
    }
}

/// A file of another size is another file: that says nothing of its host.
const REPLACED: &str = "Content-Range of another size each time";

#[tokio::test]
async fn several_recordings_share_the_one_connection_of_their_host() {
    for size in [ONE_PART, FIVE_PARTS] {
        let world = World::local().await;
        let bytes = mp4(size);
        let host = MediaHost::start(bytes.clone(), Some(PACE), |request: &MediaRequest, size| {
            at_once(request, size, 1, MediaReply::status("503 Slow Down"))
        })
        .await;
        let mut ids = Vec::new();
        for _ in 0..4 {
            ids.push(add_at(&world, &host, &bytes, Some(size)).await);
        }
        let archiver = world.archiver_with(|settings| {
            settings.storage.part_size_bytes = MIB;
            // Room for three parts of all recordings together.
            settings.transfer.memory_limit_bytes = 8 * MIB;
        });
        let running = world.run_once(archiver, 4);
        let (_, reports) = tokio::time::timeout(Duration::from_mins(2), running)
            .await
            .expect("no recording waits forever");
        for report in reports {
            assert_eq!(report.outcome, Outcome::Archived, "{report:?}");
        }
        for id in ids {
            assert_eq!(world.attempts(id).await.len(), 1);
            world.demand_archived(id).await;
        }
    }
}

#[tokio::test]
async fn broken_plain_stream_is_retried_from_the_start() {
    let world = World::local().await;
    let bytes = mp4(FIVE_PARTS);
    let broken = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let breaks = Arc::clone(&broken);
    let host = MediaHost::start(bytes.clone(), None, move |request: &MediaRequest, size| {
        let mut reply = MediaReply::regular(request, size).etag(&request.number.to_string());
        if request.range.is_none() && breaks.swap(false, std::sync::atomic::Ordering::SeqCst) {
            reply = reply.with("Content-Length", size.to_string());
            reply.body.end -= 1000;
            reply.framing = Framing::Close;
        }
        reply
    })
    .await;
    let archiver = archiver(&world);
    let id = add_at(&world, &host, &bytes, Some(FIVE_PARTS)).await;
    let report = world.attempt(&archiver).await;
    assert_eq!(report.outcome, Outcome::Retrying, "{report:?}");
    assert_eq!(world.row(id).await.error_kind.as_deref(), Some("truncated"));
    world.demand_nothing_stored(id).await;
    world.make_due().await;
    let report = world.attempt(&archiver).await;
    assert_eq!(report.outcome, Outcome::Archived, "{report:?}");
    assert_eq!(report.bytes_fetched, FIVE_PARTS, "{report:?}");
    world.demand_archived(id).await;
}
