//! Answers for what can go wrong on demand: the faults, when each happens, and their spelling.

mod names;
mod queue;
mod schedule;
mod spelling;

pub use names::fault_spellings;
pub(super) use queue::FaultQueue;
pub use schedule::{Schedule, Times};
pub use spelling::{FaultOrder, ParseFaultError, parse_fault};

/// What goes wrong, on one of the sides of the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    Metadata(MetadataFault),
    Media(MediaFault),
    Deletion(DeletionFault),
}

impl From<MetadataFault> for Fault {
    fn from(fault: MetadataFault) -> Self {
        Self::Metadata(fault)
    }
}

impl From<MediaFault> for Fault {
    fn from(fault: MediaFault) -> Self {
        Self::Media(fault)
    }
}

impl From<DeletionFault> for Fault {
    fn from(fault: DeletionFault) -> Self {
        Self::Deletion(fault)
    }
}

/// What the API does instead of deleting a recording. Only DELETE meets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeletionFault {
    /// This status with the documented error body; nothing is deleted.
    Status(u16),
    /// 429; nothing is deleted.
    Throttled(RetryAfter),
    /// 200 with a page instead of 204; nothing is deleted.
    Html,
    /// The connection is reset; nothing is deleted.
    Reset,
    /// The recording is deleted, and then the connection is reset.
    AnswerLost,
    /// No answer until the client gives up; nothing is deleted.
    Hang,
}

/// What the API does instead of answering as documented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetadataFault {
    /// This status with the documented error body: 401, 403, 404, 422, 500, 502, 503 and so on.
    Status(u16),
    /// 429.
    Throttled(RetryAfter),
    /// The connection is reset before a byte of the answer.
    Reset,
    /// No answer until the client gives up.
    Hang,
    /// 200 with an HTML page.
    Html,
    /// 200 with JSON that breaks off in the middle, its length consistent.
    TruncatedJson,
    /// 200 with no body.
    EmptyBody,
    /// 302 to this place.
    Redirect(String),
    /// The answer carries the id of some other recording.
    OtherRecording,
    /// `uri` is null whatever the status says.
    NullUri,
    /// `uri` is this text, such as a link to a private address.
    Uri(String),
    /// The recording is still `processing`.
    NotReady,
    /// `status` is null, all else as it is.
    NullStatus,
    /// `status` is this text, all else as it is.
    UnknownStatus(String),
    /// Only `id`, `status` and `uri` are sent.
    MissingFields,
    /// Keys nobody has documented are sent too.
    ExtraFields,
    /// Numbers as text, a timestamp as a number, and the like.
    WrongTypes,
    /// Listings only: a page without data whose `next` link is there.
    EmptyPage,
    /// Listings only: `next` leads to the same page again.
    RepeatedNext,
}

impl MetadataFault {
    /// Whether a listing can show it; the others wait for a request for one recording.
    pub(super) fn applies_to_listings(&self) -> bool {
        match self {
            Self::Status(_)
            | Self::Throttled(_)
            | Self::Reset
            | Self::Hang
            | Self::Html
            | Self::TruncatedJson
            | Self::EmptyBody
            | Self::Redirect(_)
            | Self::EmptyPage
            | Self::RepeatedNext => true,
            Self::OtherRecording
            | Self::NullUri
            | Self::Uri(_)
            | Self::NotReady
            | Self::NullStatus
            | Self::UnknownStatus(_)
            | Self::MissingFields
            | Self::ExtraFields
            | Self::WrongTypes => false,
        }
    }

    pub(super) fn applies_to_one_recording(&self) -> bool {
        !matches!(self, Self::EmptyPage | Self::RepeatedNext)
    }
}

/// What the media host does instead of sending what was asked. Only requests whose link opens
/// meet a fault; "only the first n ranges fail" is any of these, n times.
///
/// Positions count the bytes of one response, from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediaFault {
    /// This status with an S3 error body: 403, 404, 410, 500, 503 and so on.
    Status(u16),
    /// 429.
    Throttled(RetryAfter),
    /// 403 "Request has expired" before the lifetime is over; all links issued so far for this
    /// recording are dead from now on.
    LinkDies,
    /// As `LinkDies`, but this answer says it with 400; those that follow, with 403.
    BadRequestExpired,
    /// The connection is reset before a byte of the answer.
    Reset,
    /// The connection is reset after at most so many bytes of the body.
    ResetAfter(u64),
    /// The connection is closed after exactly so many bytes, fewer than `Content-Length` promised.
    CutAfter(u64),
    /// No `Content-Length`; the chunked body ends regularly after so many bytes.
    ChunkedCutAfter(u64),
    /// No answer until the client gives up.
    Hang,
    /// After so many bytes nothing more comes until the client gives up.
    StallAfter(u64),
    /// So many bytes per second, to the end.
    Drip(u64),
    /// 200 with an HTML page, labelled as such.
    Html,
    /// 200 with an HTML page, labelled as the recording's format.
    HtmlAsMedia,
    /// 200 with an S3 XML error.
    XmlError,
    /// 200 with a JSON error.
    JsonError,
    /// The object is so many bytes shorter than the metadata says; headers agree with the body.
    ShorterBy(u64),
    /// 200 with everything whatever `Range` asks.
    IgnoreRange,
    /// 206 with the bytes asked for, but a `Content-Range` one byte off.
    WrongContentRange,
    /// 206 with so many bytes fewer at the end than asked, but one at least; headers agree with
    /// the body.
    ShortRange(u64),
    /// From now on the bytes behind the container's header are others, and so are `ETag`,
    /// `Last-Modified` and `updated_at`: the file was encoded again to the same length.
    MediaChanges,
    /// The `ETag` is another one from now on; the bytes stay.
    EtagChanges,
    /// The `ETag` is a weak one.
    WeakEtag,
    /// Neither `ETag` nor `Last-Modified`.
    NoValidator,
    /// 302 to this place.
    Redirect(String),
    /// 302 to the very same link. Once, it is a redirect on the same host that works.
    RedirectLoop,
    /// `Content-Encoding: gzip` on bytes that are not compressed.
    GzipClaim,
    /// 200 with `Content-Length: 0`.
    ZeroBytes,
    /// The lowest bit of the byte at this position of the recording is flipped.
    FlippedByte(u64),
}

impl MediaFault {
    /// Whether only a request with `Range` can show it.
    pub(super) fn needs_range(&self) -> bool {
        matches!(
            self,
            Self::IgnoreRange | Self::WrongContentRange | Self::ShortRange(_)
        )
    }
}

/// The `Retry-After` of a 429.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryAfter {
    Absent,
    Seconds(u64),
    /// An HTTP-date so many seconds from now.
    DateInSeconds(u64),
}
