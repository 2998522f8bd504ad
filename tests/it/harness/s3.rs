//! An S3 server in this process, over real sockets: a bucket in a temporary directory, a store that
//! is honest and strict unless a test wants it otherwise, and in front of it the faults.

use std::collections::BTreeSet;
use std::fs;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use axum::body::{Body as AxumBody, to_bytes};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use s3s::Body;
use s3s::service::S3Service;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::{CancellationToken, DropGuard};

mod answers;
mod faults;
mod honesty;
mod multipart;
mod operations;
mod policy;
mod share;
mod store;
mod uploads;

use answers::{cut_in_the_middle, no_bucket, refusal, refused};
pub(crate) use faults::{Call, StoreFault};
use faults::{Orders, host, place, query};
use share::Share;
use store::Store;
use uploads::flip;

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

/// A running server; ends when dropped.
pub(crate) struct S3Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    directory: TempDir,
    _stop: DropGuard,
}

struct Shared {
    store: Arc<Store>,
    service: S3Service,
    orders: Orders,
    share: Mutex<Option<Share>>,
    calls: Mutex<Vec<(Call, String)>>,
    /// One reference for each held call that is not executed yet.
    held: Arc<()>,
    hosts: Mutex<BTreeSet<String>>,
    /// 0 for none.
    refuse_every: AtomicUsize,
    turn: AtomicUsize,
    /// What was asked for before, where each call for a key is refused once.
    slow_at_first: Mutex<Option<BTreeSet<String>>>,
}

/// Makes hyper close the connection.
#[derive(Debug, thiserror::Error)]
#[error("the connection is cut")]
struct Cut;

impl S3Server {
    pub(crate) async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap()).await
    }

    /// Keeps everything in this directory.
    pub(crate) async fn start_in(directory: TempDir) -> Self {
        fs::create_dir(directory.path().join(BUCKET)).unwrap();
        let store = Store::new(directory.path().canonicalize().unwrap());
        let shared = Arc::new(Shared {
            service: store.service(),
            store,
            orders: Orders::default(),
            share: Mutex::default(),
            calls: Mutex::default(),
            held: Arc::default(),
            hosts: Mutex::default(),
            refuse_every: AtomicUsize::new(0),
            turn: AtomicUsize::new(0),
            slow_at_first: Mutex::default(),
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
        self.shared.orders.add(skip, on, fault, times);
    }

    /// The same for the next `times` calls that bring the part of this number.
    pub(crate) fn inject_on_part(&self, part: u32, fault: StoreFault, times: u32) {
        self.shared.orders.add_for_part(part, fault, times);
    }

    /// Lets the next `times` writes of manifests meet `fault`.
    pub(crate) fn inject_on_manifests(&self, fault: StoreFault, times: u32) {
        self.shared.orders.add_for_manifests(fault, times);
    }

    /// Lets a share of all calls about objects and their manifests meet a fault of any kind, from
    /// 0 to 1; the same seed draws the same. Probes are spared.
    pub(crate) fn inject_in_share(&self, share: f64, seed: u64) {
        *self.shared.share.lock().unwrap() = Some(Share::new(share, seed));
    }

    /// How many faults the share has drawn so far.
    pub(crate) fn faults_drawn(&self) -> usize {
        let share = self.shared.share.lock().unwrap();
        share.as_ref().map_or(0, Share::drawn)
    }

    /// Lets all such calls meet `fault`, those of probes and manifests too, until faults are cleared.
    pub(crate) fn inject_everywhere(&self, on: &[Call], fault: &StoreFault) {
        for call in on {
            self.shared.orders.add_everywhere(*call, fault.clone());
        }
    }

    /// Lets all such calls with this header, of this value if one is given, meet `fault`, whatever
    /// they are about, until faults are cleared.
    pub(crate) fn inject_on_header(
        &self,
        on: Call,
        header: (&'static str, Option<&'static str>),
        fault: &StoreFault,
    ) {
        self.shared.orders.add_for_header(on, header, fault.clone());
    }

    /// Answers every n-th request, of any kind, with 503.
    pub(crate) fn slow_down_every(&self, requests: usize) {
        self.shared.refuse_every.store(requests, Ordering::SeqCst);
    }

    /// Answers the first call of each kind for each key with 503.
    pub(crate) fn slow_down_first(&self, slow: bool) {
        *self.shared.slow_at_first.lock().unwrap() = slow.then(BTreeSet::new);
    }

    /// The hosts that requests were for.
    pub(crate) fn hosts(&self) -> BTreeSet<String> {
        self.shared.hosts.lock().unwrap().clone()
    }

    /// Lets the policy demand that keys begin as it says; not at first, because tests also play
    /// strangers with the same credentials.
    pub(crate) fn confine_to_prefix(&self) {
        self.shared.store.policy.confine_to_prefix();
    }

    /// The keys that were asked about; empty for the bucket itself.
    pub(crate) fn keys_asked(&self) -> Vec<String> {
        let calls = self.shared.calls.lock().unwrap();
        calls.iter().map(|(_, key)| key.clone()).collect()
    }

    /// The actions that the policy allows.
    pub(crate) fn allowed_actions(&self) -> BTreeSet<String> {
        self.shared.store.policy.allowed()
    }

    /// Those that were needed so far.
    pub(crate) fn used_actions(&self) -> BTreeSet<String> {
        self.shared.store.policy.used()
    }

    pub(crate) fn clear_faults(&self) {
        self.shared.orders.clear();
    }

    /// Whether wrong checksums of parts are refused; true at first. If not, they are repeated.
    pub(crate) fn honour_part_checksums(&self, honour: bool) {
        self.shared.store.honesty.part_checksums.set(honour);
    }

    /// Whether wrong checksums of a PUT are refused; true at first.
    pub(crate) fn honour_put_checksums(&self, honour: bool) {
        self.shared.store.honesty.put_checksums.set(honour);
    }

    /// Whether that, of a PUT and of parts, goes for SHA-256 too; true at first.
    pub(crate) fn honour_sha256(&self, honour: bool) {
        self.shared.store.honesty.sha256.set(honour);
    }

    /// Whether an object put whole keeps its metadata; true at first.
    pub(crate) fn keeps_metadata(&self, keeps: bool) {
        self.shared.store.honesty.keeps_metadata.set(keeps);
    }

    /// Whether `If-None-Match: *` is obeyed, by PUT and Complete; true at first.
    pub(crate) fn honour_create_only(&self, honour: bool) {
        self.shared.store.honesty.create_only.set(honour);
    }

    /// Whether Complete refuses a wrong checksum of the object; true at first. If not, it is
    /// repeated.
    pub(crate) fn honour_object_checksum(&self, honour: bool) {
        self.shared.store.honesty.object_checksum.set(honour);
    }

    /// Whether Complete refuses a wrong size of the object; true at first.
    pub(crate) fn honour_object_size(&self, honour: bool) {
        self.shared.store.honesty.object_size.set(honour);
    }

    /// Whether PUT and parts need a checksum, as in a bucket with Object Lock; false at first.
    pub(crate) fn demands_checksums(&self, demands: bool) {
        self.shared.store.honesty.takes_bare_bodies.set(!demands);
    }

    /// The most bytes of a part; 5 GiB at first.
    pub(crate) fn takes_parts_up_to(&self, bytes: u64) {
        self.shared.store.honesty.set_largest_part(bytes);
    }

    /// Whether answers tell checksums at all; true at first.
    pub(crate) fn returns_checksums(&self, returns: bool) {
        self.shared.store.honesty.returns_checksums.set(returns);
    }

    /// Whether `ListParts` is known; true at first.
    pub(crate) fn supports_list_parts(&self, supports: bool) {
        self.shared.store.honesty.lists_parts.set(supports);
    }

    /// Whether uploads are listed by the beginning of a key; if not, by the whole key only, as `MinIO`
    /// does. True at first.
    pub(crate) fn lists_uploads_by_prefix(&self, lists: bool) {
        self.shared.store.honesty.lists_by_prefix.set(lists);
    }

    /// Whether a list of objects that is cut off says where it goes on; if not, every one of them
    /// is cut off. True at first.
    pub(crate) fn says_where_lists_go_on(&self, says: bool) {
        let honesty = &self.shared.store.honesty;
        honesty.says_where_lists_go_on.set(says);
    }

    /// Whether lists of objects and of uploads show only what is under the prefix; true at first.
    pub(crate) fn honour_list_prefixes(&self, honour: bool) {
        self.shared.store.honesty.list_prefixes.set(honour);
    }

    /// Whether a list goes on behind the page before; if not, every page is the first one, and says
    /// that there are more. True at first.
    pub(crate) fn honour_list_markers(&self, honour: bool) {
        self.shared.store.honesty.list_markers.set(honour);
    }

    /// How many parts or uploads a list shows at once; 1000 at first.
    pub(crate) fn list_parts_by(&self, parts: usize) {
        self.shared.store.honesty.set_page(parts);
    }

    /// How often a recording's own object was the subject of such a call, refused ones included.
    pub(crate) fn count(&self, call: Call) -> usize {
        let calls = self.shared.calls.lock().unwrap();
        calls
            .iter()
            .filter(|(it, key)| *it == call && is_recording(key))
            .count()
    }

    /// The number of calls under [`StoreFault::HoldUntil`] that are neither executed nor dropped.
    pub(crate) fn held(&self) -> usize {
        Arc::strong_count(&self.shared.held) - 1
    }

    /// How many requests it has seen, of any kind.
    pub(crate) fn requests(&self) -> usize {
        self.shared.calls.lock().unwrap().len()
    }

    /// The ids of all multipart uploads of recordings that are begun and neither completed nor
    /// aborted, in order.
    pub(crate) fn unfinished_uploads(&self) -> Vec<String> {
        let mut ids = self.upload_ids();
        let memory = self.shared.store.memory();
        ids.retain(|id| memory.unfinished.contains_key(id));
        ids
    }

    /// Lets the unfinished uploads under exactly this key have been begun this much earlier.
    pub(crate) fn age_uploads(&self, key: &str, by: Duration) {
        self.age(|it| it == key, by);
    }

    /// The same for all of them.
    pub(crate) fn age_all_uploads(&self, by: Duration) {
        self.age(|_| true, by);
    }

    fn age(&self, is_meant: impl Fn(&str) -> bool, by: Duration) {
        let mut memory = self.shared.store.memory();
        for upload in memory.unfinished.values_mut() {
            if is_meant(&upload.key) {
                upload.begun_at -= by;
            }
        }
    }

    /// How many multipart uploads of any kind, probes included, are begun and not ended.
    pub(crate) fn unfinished_of_any_kind(&self) -> usize {
        self.shared.store.memory().unfinished.len()
    }

    /// The ids of all multipart uploads that were ever begun for recordings, in order.
    pub(crate) fn upload_ids(&self) -> Vec<String> {
        let memory = self.shared.store.memory();
        let begun = memory.begun.iter();
        begun
            .filter(|(key, _)| is_recording(key))
            .map(|(_, id)| id.clone())
            .collect()
    }

    /// Key, number and size of every part of a recording that the store took, in order.
    pub(crate) fn parts_received(&self) -> Vec<(String, u32, u64)> {
        let memory = self.shared.store.memory();
        let received = memory.received.iter();
        received
            .filter(|(key, ..)| is_recording(key))
            .cloned()
            .collect()
    }

    /// Where the server keeps an object.
    pub(crate) fn path_of(&self, key: &str) -> PathBuf {
        self.shared.store.root.join(BUCKET).join(key)
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
    fn by_turn(&self, call: Call, key: &str) -> Option<StoreFault> {
        if let Some(seen) = &mut *self.slow_at_first.lock().unwrap()
            && seen.insert(format!("{call:?} {key}"))
        {
            return Some(StoreFault::Refuse(503, "SlowDown"));
        }
        let every = self.refuse_every.load(Ordering::SeqCst);
        let number = self.turn.fetch_add(1, Ordering::SeqCst);
        (every > 0 && number % every == every - 1).then_some(StoreFault::Refuse(503, "SlowDown"))
    }

    fn by_share(&self, call: Call, key: &str) -> Option<StoreFault> {
        if key.is_empty() || is_probe(key) {
            return None;
        }
        self.share.lock().unwrap().as_mut()?.draw(call)
    }

    async fn answer(&self, mut request: Request<Incoming>) -> Result<Response<Body>, Cut> {
        let place = place(&request);
        let (bucket, key) = (place.bucket.clone(), place.key.clone());
        request.extensions_mut().insert(place);
        let call = Call::of(&request);
        self.calls.lock().unwrap().push((call, key.clone()));
        self.hosts.lock().unwrap().insert(host(&request).to_owned());
        let part = query(&request, "partNumber").and_then(|number| number.parse().ok());
        let fault = self
            .orders
            .due(
                call,
                part,
                request.headers(),
                is_recording(&key),
                is_manifest(&key),
            )
            .or_else(|| self.by_share(call, &key))
            .or_else(|| self.by_turn(call, &key))
            .filter(|fault| !fault.spares(&request));
        if let Some(refusal) = fault.as_ref().and_then(refused) {
            // A client that is refused in the middle of its body sees a broken pipe instead.
            let body = AxumBody::new(request.into_body());
            to_bytes(body, usize::MAX).await.map_err(|_| Cut)?;
            return Ok(refusal);
        }
        let mut held = None;
        match &fault {
            Some(StoreFault::Cut) => return Err(Cut),
            Some(StoreFault::HoldUntil(let_go)) => {
                held = Some(Arc::clone(&self.held));
                let_go.cancelled().await;
            }
            _ => {}
        }
        let root = &self.store.root;
        if !root.join(&bucket).is_dir() {
            return Ok(no_bucket());
        }
        let upload_id = query(&request, "uploadId").unwrap_or_default();
        if let Some(fault) = &fault {
            if call != Call::PutPart {
                self.store.tamper(&upload_id, fault).await;
            }
            request.extensions_mut().insert(fault.clone());
        }
        // Of its own: what a store has begun does not end with the connection of who asked for it.
        let service = self.service.clone();
        let answered = tokio::spawn(async move {
            let answer = service.call(request.map(Body::from)).await;
            drop(held);
            answer
        });
        let response = answered
            .await
            .expect("s3s does not panic")
            .map_err(|_| Cut)?;
        match &fault {
            Some(StoreFault::LoseAnswer) => return Err(Cut),
            Some(StoreFault::CutAnswer) => return cut_in_the_middle(response).await,
            Some(StoreFault::StaySilent(until)) => until.cancelled().await,
            Some(StoreFault::RefuseLate(status, code)) => return Ok(refusal(*status, code)),
            Some(StoreFault::EmptyAnswer) => return Ok(response.map(|_| Body::empty())),
            Some(StoreFault::FlipByte(position)) => flip(&root.join(&bucket).join(&key), *position),
            Some(fault) if call == Call::PutPart => self.store.tamper(&upload_id, fault).await,
            _ => {}
        }
        Ok(response)
    }
}

fn is_recording(key: &str) -> bool {
    !is_probe(key) && !is_manifest(key)
}

fn is_manifest(key: &str) -> bool {
    key.ends_with(".manifest.json")
}

fn is_probe(key: &str) -> bool {
    key.contains(".recording-archiver-probe/")
}
