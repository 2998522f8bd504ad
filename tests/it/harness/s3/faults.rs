//! What a test may let a store do instead of its duty.

use std::sync::Mutex;

use hyper::body::Incoming;
use hyper::{HeaderMap, Method, Request};
use percent_encoding::{percent_decode, percent_decode_str};
use tokio_util::sync::CancellationToken;

use super::BUCKET;
use super::policy::Place;

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Head,
    Get,
    Put,
    Delete,
    BeginUpload,
    PutPart,
    ListParts,
    ListUploads,
    Complete,
    Abort,
    Other,
}

/// What happens instead of the answer.
#[derive(Debug, Clone)]
pub(crate) enum StoreFault {
    /// This status and code; nothing is done. 200 is S3's way to fail late: an error where the
    /// answer to Complete would be.
    Refuse(u16, &'static str),
    /// The same with this message.
    RefuseSaying(u16, &'static str, &'static str),
    /// The same with `Retry-After`, in seconds.
    RefuseFor(u16, &'static str, u32),
    /// This status and code to what has more than so many bytes; all else is served as usual.
    RefuseLarger(u64, u16, &'static str),
    /// It is done, and then answered with this status and code.
    RefuseLate(u16, &'static str),
    /// The connection ends before an answer; nothing is done.
    Cut,
    /// It is done, and then the connection ends before an answer.
    LoseAnswer,
    /// It is done, and then the connection ends in the middle of the answer.
    CutAnswer,
    /// It is done, and the answer is a success that says nothing.
    EmptyAnswer,
    /// The same, and nothing is done.
    Pretend,
    /// It is done, and then the lowest bit of this byte of the object is turned over.
    FlipByte(u64),
    /// The body arrives with its first byte turned over.
    DamageInTransit,
    /// It is done, and there is no answer until the token is cancelled.
    StaySilent(CancellationToken),
    /// Nothing until the token is cancelled, then as usual.
    HoldUntil(CancellationToken),
    /// This part of the upload is gone. This and what follows happens to an unfinished upload
    /// behind everyone's back: right before the call, or right after it if it stores a part.
    /// Checksums and sizes follow the bytes, `ETag`s stay.
    LosePart(u32),
    /// This part and all after it are gone.
    DropPartsFrom(u32),
    /// Each of these parts has the other's bytes.
    SwapParts(u32, u32),
    /// The lowest bit of the first byte of this part is turned over.
    AlterPart(u32),
    /// The whole upload is gone.
    ForgetUpload,
}

impl StoreFault {
    /// Whether it leaves this request alone.
    pub(super) fn spares<B>(&self, request: &Request<B>) -> bool {
        let Self::RefuseLarger(most, ..) = self else {
            return false;
        };
        let length = request.headers().get("content-length");
        let bytes: Option<u64> = length.and_then(|it| it.to_str().ok()?.parse().ok());
        bytes.is_none_or(|bytes| bytes <= *most)
    }
}

/// The faults that are still due.
#[derive(Debug, Default)]
pub(super) struct Orders(Mutex<Vec<Order>>);

#[derive(Debug)]
struct Order {
    on: Call,
    /// Only for the part of this number.
    part: Option<u32>,
    /// Only for requests with this header, of this value if one is given.
    header: Option<(&'static str, Option<&'static str>)>,
    /// Not only for recordings' own objects.
    everywhere: bool,
    /// Only for manifests.
    of_manifests: bool,
    skip: u32,
    times: u32,
    fault: StoreFault,
}

impl Orders {
    pub(super) fn add(&self, skip: u32, on: Call, fault: StoreFault, times: u32) {
        self.0.lock().unwrap().push(Order {
            on,
            part: None,
            header: None,
            everywhere: false,
            of_manifests: false,
            skip,
            times,
            fault,
        });
    }

    pub(super) fn add_for_part(&self, part: u32, fault: StoreFault, times: u32) {
        self.0.lock().unwrap().push(Order {
            on: Call::PutPart,
            part: Some(part),
            header: None,
            everywhere: false,
            of_manifests: false,
            skip: 0,
            times,
            fault,
        });
    }

    pub(super) fn add_everywhere(&self, on: Call, fault: StoreFault) {
        self.0.lock().unwrap().push(Order {
            on,
            part: None,
            header: None,
            everywhere: true,
            of_manifests: false,
            skip: 0,
            times: u32::MAX,
            fault,
        });
    }

    pub(super) fn add_for_header(
        &self,
        on: Call,
        header: (&'static str, Option<&'static str>),
        fault: StoreFault,
    ) {
        self.0.lock().unwrap().push(Order {
            on,
            part: None,
            header: Some(header),
            everywhere: true,
            of_manifests: false,
            skip: 0,
            times: u32::MAX,
            fault,
        });
    }

    pub(super) fn add_for_manifests(&self, fault: StoreFault, times: u32) {
        self.0.lock().unwrap().push(Order {
            on: Call::Put,
            part: None,
            header: None,
            everywhere: false,
            of_manifests: true,
            skip: 0,
            times,
            fault,
        });
    }

    pub(super) fn clear(&self) {
        self.0.lock().unwrap().clear();
    }

    pub(super) fn due(
        &self,
        call: Call,
        part: Option<u32>,
        headers: &HeaderMap,
        of_recording: bool,
        of_manifest: bool,
    ) -> Option<StoreFault> {
        let mut orders = self.0.lock().unwrap();
        let order = orders.iter_mut().find(|order| {
            let of_part = order.part.is_none() || order.part == part;
            let meant = if order.of_manifests {
                of_manifest
            } else {
                order.everywhere || of_recording
            };
            let has_header = order.header.is_none_or(|(name, value)| {
                let found = headers.get(name);
                found.is_some_and(|found| value.is_none_or(|value| found == value))
            });
            order.on == call && of_part && has_header && meant && order.times > 0
        })?;
        if order.skip > 0 {
            order.skip -= 1;
            return None;
        }
        order.times -= 1;
        Some(order.fault.clone())
    }
}

impl Call {
    pub(crate) const ALL: [Self; 11] = [
        Self::Head,
        Self::Get,
        Self::Put,
        Self::Delete,
        Self::BeginUpload,
        Self::PutPart,
        Self::ListParts,
        Self::ListUploads,
        Self::Complete,
        Self::Abort,
        Self::Other,
    ];

    pub(super) fn of(request: &Request<Incoming>) -> Self {
        let has = |name| query(request, name).is_some();
        match *request.method() {
            Method::HEAD => Self::Head,
            Method::GET if has("uploadId") => Self::ListParts,
            Method::GET if has("uploads") => Self::ListUploads,
            Method::GET => Self::Get,
            Method::PUT if has("partNumber") => Self::PutPart,
            Method::PUT => Self::Put,
            Method::POST if has("uploads") => Self::BeginUpload,
            Method::POST if has("uploadId") => Self::Complete,
            Method::DELETE if has("uploadId") => Self::Abort,
            Method::DELETE => Self::Delete,
            _ => Self::Other,
        }
    }
}

/// The host that a request is for.
pub(super) fn host(request: &Request<Incoming>) -> &str {
    let host = request.headers().get("host");
    host.and_then(|host| host.to_str().ok()).unwrap_or_default()
}

/// Bucket, key and source of a request, whether path or host names the bucket.
pub(super) fn place(request: &Request<Incoming>) -> Place {
    let path = percent_decode_str(request.uri().path()).decode_utf8_lossy();
    let path = path.trim_start_matches('/');
    let in_path = path.split_once('/').unwrap_or((path, ""));
    let (bucket, key) = bucket_in(host(request)).map_or(in_path, |bucket| (bucket, path));
    let source = request.headers().get("x-amz-copy-source");
    let source = source.map(|source| {
        let source = percent_decode(source.as_bytes()).decode_utf8_lossy();
        source.trim_start_matches('/').to_owned()
    });
    Place {
        bucket: bucket.to_owned(),
        key: key.to_owned(),
        source,
    }
}

/// The bucket that a host name begins with.
pub(super) fn bucket_in(host: &str) -> Option<&str> {
    let (bucket, _) = host.split_once('.')?;
    (bucket == BUCKET).then_some(bucket)
}

pub(super) fn query(request: &Request<Incoming>, name: &str) -> Option<String> {
    let query = request.uri().query().unwrap_or_default();
    url::form_urlencoded::parse(query.as_bytes())
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.into_owned())
}
