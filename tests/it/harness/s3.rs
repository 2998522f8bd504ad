//! An S3 server in this process, over real sockets: a bucket in a temporary directory, and in
//! front of it the faults that s3s-fs itself does not have.

use std::fs;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use axum::body::{Body as AxumBody, to_bytes};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use recording_archiver::digest::Fingerprinting;
use s3s::Body;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) const BUCKET: &str = "recordings";
pub(crate) const ACCESS_KEY_ID: &str = "AKIAOFTHETESTS";
pub(crate) const SECRET_ACCESS_KEY: &str = "SecretKeyOfTheTestsWhichNobodyMaySee";

/// Where the servers of the tests run, away from the thread whose logs a test may capture.
static SERVERS: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("start a runtime")
});

/// Runs the start of a server on the servers' own threads.
pub(crate) async fn on_server_threads<T: Send + 'static>(
    start: impl Future<Output = T> + Send + 'static,
) -> T {
    SERVERS.spawn(start).await.expect("a server starts")
}

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Head,
    Get,
    Put,
    Delete,
    BeginUpload,
    PutPart,
    Complete,
    Abort,
    Other,
}

/// What happens instead of the answer.
#[derive(Debug, Clone)]
pub(crate) enum StoreFault {
    /// This status and code; nothing is done.
    Refuse(u16, &'static str),
    /// The connection ends before an answer; nothing is done.
    Cut,
    /// It is done, and then the connection ends before an answer.
    LoseAnswer,
    /// It is done, and then the lowest bit of this byte of the object is turned over.
    FlipByte(u64),
    /// The body arrives with its first byte turned over.
    DamageInTransit,
    /// Nothing until the token is cancelled, then as usual.
    HoldUntil(CancellationToken),
}

struct Order {
    on: Call,
    skip: u32,
    times: u32,
    fault: StoreFault,
}

/// A running server; ends when dropped.
pub(crate) struct S3Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    directory: TempDir,
    _stop: DropGuard,
}

struct Shared {
    root: PathBuf,
    service: S3Service,
    orders: Mutex<Vec<Order>>,
    calls: Mutex<Vec<(Call, String)>>,
    honours_part_checksums: AtomicBool,
    honours_create_only: AtomicBool,
}

/// Makes hyper close the connection.
#[derive(Debug, thiserror::Error)]
#[error("the connection is cut")]
struct Cut;

impl S3Server {
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join(BUCKET)).unwrap();
        let root = directory.path().canonicalize().unwrap();
        let mut builder = S3ServiceBuilder::new(FileSystem::new(&root).unwrap());
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY_ID, SECRET_ACCESS_KEY));
        let shared = Arc::new(Shared {
            root,
            service: builder.build(),
            orders: Mutex::default(),
            calls: Mutex::default(),
            honours_part_checksums: AtomicBool::new(true),
            honours_create_only: AtomicBool::new(true),
        });
        let stop = CancellationToken::new();
        let (served, stopping) = (Arc::clone(&shared), stop.clone());
        let address = on_server_threads(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            tokio::spawn(async move {
                let serving = async {
                    while let Ok((stream, _)) = listener.accept().await {
                        let (shared, stop) = (Arc::clone(&served), stopping.clone());
                        tokio::spawn(async move {
                            stop.run_until_cancelled(serve(shared, stream)).await;
                        });
                    }
                };
                stopping.run_until_cancelled(serving).await;
            });
            address
        })
        .await;
        Self {
            shared,
            address,
            directory,
            _stop: stop.drop_guard(),
        }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything that the server keeps on disk.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Lets the next `times` calls for a recording's own object meet `fault`. Probes and
    /// manifests are spared.
    pub(crate) fn inject(&self, on: Call, fault: StoreFault, times: u32) {
        self.inject_after(0, on, fault, times);
    }

    /// The same for the calls after the first `skip`.
    pub(crate) fn inject_after(&self, skip: u32, on: Call, fault: StoreFault, times: u32) {
        self.shared.orders.lock().unwrap().push(Order {
            on,
            skip,
            times,
            fault,
        });
    }

    pub(crate) fn clear_faults(&self) {
        self.shared.orders.lock().unwrap().clear();
    }

    /// Whether wrong checksums of parts are refused; true at first.
    pub(crate) fn honour_part_checksums(&self, honour: bool) {
        let honours = &self.shared.honours_part_checksums;
        honours.store(honour, Ordering::SeqCst);
    }

    /// Whether `If-None-Match: *` is obeyed; true at first.
    pub(crate) fn honour_create_only(&self, honour: bool) {
        let honours = &self.shared.honours_create_only;
        honours.store(honour, Ordering::SeqCst);
    }

    /// How often a recording's own object was the subject of such a call, refused ones included.
    pub(crate) fn count(&self, call: Call) -> usize {
        let calls = self.shared.calls.lock().unwrap();
        calls
            .iter()
            .filter(|(it, key)| *it == call && is_recording(key))
            .count()
    }

    /// The multipart uploads that are begun and neither completed nor aborted. A part whose call
    /// loses the race against the abort may stay on disk: that is this server's own affair.
    pub(crate) fn unfinished_uploads(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.shared.root).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with(".upload-")).collect()
    }

    /// Where the server keeps an object.
    pub(crate) fn path_of(&self, key: &str) -> PathBuf {
        self.shared.root.join(BUCKET).join(key)
    }
}

async fn serve(shared: Arc<Shared>, stream: TcpStream) {
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { shared.answer(request).await }
    });
    // A connection that ends in an error is what several faults are about.
    let _ended = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

impl Shared {
    async fn answer(&self, mut request: Request<Incoming>) -> Result<Response<Body>, Cut> {
        let (bucket, key) = place(&request);
        let call = call_of(&request);
        self.calls.lock().unwrap().push((call, key.clone()));
        let fault = is_recording(&key).then(|| self.due(call)).flatten();
        match &fault {
            Some(StoreFault::Refuse(status, code)) => {
                // A client that is refused in the middle of its body sees a broken pipe instead.
                let body = AxumBody::new(request.into_body());
                to_bytes(body, usize::MAX).await.map_err(|_| Cut)?;
                return Ok(refusal(*status, code));
            }
            Some(StoreFault::Cut) => return Err(Cut),
            Some(StoreFault::HoldUntil(let_go)) => let_go.cancelled().await,
            Some(
                StoreFault::LoseAnswer | StoreFault::FlipByte(_) | StoreFault::DamageInTransit,
            )
            | None => {}
        }
        if !self.root.join(&bucket).is_dir() {
            return Ok(refusal(404, "NoSuchBucket"));
        }
        if let Some(upload_id) = query(&request, "uploadId")
            && !self.root.join(format!(".upload-{upload_id}.json")).exists()
        {
            return Ok(refusal(404, "NoSuchUpload"));
        }
        if !self.honours_create_only.load(Ordering::SeqCst) {
            request.headers_mut().remove("if-none-match");
        }
        let request = match self.checked_part(call, fault.as_ref(), request).await {
            Ok(request) => request,
            Err(refusal) => return Ok(refusal),
        };
        // Of its own: what a store has begun does not end with the connection of who asked for it.
        let service = self.service.clone();
        let answered = tokio::spawn(async move { service.call(request).await });
        let response = answered
            .await
            .expect("s3s does not panic")
            .map_err(|_| Cut)?;
        match fault {
            Some(StoreFault::LoseAnswer) => Err(Cut),
            Some(StoreFault::FlipByte(position)) => {
                flip(&self.root.join(&bucket).join(&key), position);
                Ok(response)
            }
            _ => Ok(response),
        }
    }

    fn due(&self, call: Call) -> Option<StoreFault> {
        let mut orders = self.orders.lock().unwrap();
        let order = orders
            .iter_mut()
            .find(|order| order.on == call && order.times > 0)?;
        if order.skip > 0 {
            order.skip -= 1;
            return None;
        }
        order.times -= 1;
        Some(order.fault.clone())
    }

    /// s3s-fs looks at no checksum of a part: a store that honours them is made here.
    async fn checked_part(
        &self,
        call: Call,
        fault: Option<&StoreFault>,
        request: Request<Incoming>,
    ) -> Result<Request<Body>, Response<Body>> {
        if call != Call::PutPart || !self.honours_part_checksums.load(Ordering::SeqCst) {
            return Ok(request.map(Body::from));
        }
        let (parts, body) = request.into_parts();
        let Ok(body) = to_bytes(AxumBody::new(body), usize::MAX).await else {
            return Err(refusal(400, "IncompleteBody"));
        };
        let mut body = body.to_vec();
        if matches!(fault, Some(StoreFault::DamageInTransit)) {
            body[0] ^= 1;
        }
        let mut fingerprint = Fingerprinting::new();
        fingerprint.update(&body);
        let stated = parts.headers.get("x-amz-checksum-crc64nvme");
        let right = fingerprint.finish().crc64nvme.to_string();
        if stated.is_some_and(|stated| stated.as_bytes() != right.as_bytes()) {
            return Err(refusal(400, "BadDigest"));
        }
        Ok(Request::from_parts(parts, Body::from(body)))
    }
}

fn is_recording(key: &str) -> bool {
    !key.contains(".recording-archiver-probe/") && !key.ends_with(".manifest.json")
}

/// Bucket and key of a path-style request.
fn place(request: &Request<Incoming>) -> (String, String) {
    let path = percent_decode_str(request.uri().path()).decode_utf8_lossy();
    let path = path.trim_start_matches('/');
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    (bucket.to_owned(), key.to_owned())
}

fn query(request: &Request<Incoming>, name: &str) -> Option<String> {
    let query = request.uri().query().unwrap_or_default();
    url::form_urlencoded::parse(query.as_bytes())
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.into_owned())
}

fn call_of(request: &Request<Incoming>) -> Call {
    let has = |name| query(request, name).is_some();
    match *request.method() {
        Method::HEAD => Call::Head,
        Method::GET => Call::Get,
        Method::PUT if has("partNumber") => Call::PutPart,
        Method::PUT => Call::Put,
        Method::POST if has("uploads") => Call::BeginUpload,
        Method::POST if has("uploadId") => Call::Complete,
        Method::DELETE if has("uploadId") => Call::Abort,
        Method::DELETE => Call::Delete,
        _ => Call::Other,
    }
}

fn refusal(status: u16, code: &str) -> Response<Body> {
    let xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code>\
         <Message>as the test wants it</Message><AWSAccessKeyId>{ACCESS_KEY_ID}</AWSAccessKeyId>\
         </Error>"
    );
    Response::builder()
        .status(status)
        .header("content-type", "application/xml")
        .body(Body::from(xml))
        .unwrap()
}

fn flip(path: &Path, position: u64) {
    let mut bytes = fs::read(path).unwrap();
    bytes[usize::try_from(position).unwrap()] ^= 1;
    fs::write(path, bytes).unwrap();
}
