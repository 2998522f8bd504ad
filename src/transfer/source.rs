//! The first answer to a link: what the file is, and how it can be fetched.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue, LAST_MODIFIED};

use super::answer::{self, Coverage, coverage, has_an_end, refuse_document};
use super::body::Body;
use super::client::MediaClient;
use super::container::{self, FileFormat, HEAD_BYTES, SHORT_HEAD_BYTES};
use super::error::TransferError;
use super::host::{Host, Slot, StepReason};
use super::http::Response;
use super::link::LinkHolder;
use super::window::Download;
use crate::checkpoint::Validator;
use crate::memory::MemoryBudget;
use crate::progress::Progress;
use crate::signed_url::SignedUrl;

/// Before a request that the host refused while it served another one is repeated.
const REFUSED_PAUSE: Duration = Duration::from_millis(500);

/// What the provider declared about the file, and how it is to be fetched.
#[derive(Debug, Clone, Default)]
pub struct Expected {
    pub size_bytes: Option<u64>,
    pub format: Option<String>,
    /// Fetches the file by one plain GET: answers of this host could not be joined.
    pub plain: bool,
}

/// Where to go on in a file that was fetched in part.
#[derive(Debug, Clone)]
pub struct Resume {
    pub offset_bytes: u64,
    pub size_bytes: u64,
    pub validator: Validator,
}

/// A file at its source, its first answer open. Give it to [`Source::download`].
#[derive(Debug)]
pub struct Source {
    file: File,
    first: Body,
    slot: Slot,
    format: FileFormat,
}

/// What is known of the file, and the way to it; shared by its connections.
#[derive(Debug)]
pub(super) struct File {
    pub(super) client: MediaClient,
    pub(super) link: LinkHolder,
    pub(super) host: Arc<Host>,
    /// Size of the whole file as far as anybody has named it.
    pub(super) size_bytes: Option<u64>,
    /// `None`: answers cannot be joined.
    pub(super) validator: Option<Validator>,
    /// `Last-Modified` of the first answer.
    modified: Option<HeaderValue>,
}

/// The first answer to a link, its headers checked.
struct First {
    response: Response,
    covers: Coverage,
    validator: Option<Validator>,
}

impl First {
    /// `None`: the answer covers something else than a whole file or the range from `asked` on.
    fn read(response: Response, asked: u64) -> Result<Option<Self>, TransferError> {
        refuse_document(response.headers())?;
        Ok(coverage(&response, asked).ok().map(|covers| Self {
            validator: answer::validator(response.headers()),
            response,
            covers,
        }))
    }

    /// Whether later answers can be joined with it, or none is needed.
    fn is_enough(&self) -> bool {
        !self.covers.partial || self.validator.is_some() || self.covers.end == self.covers.total
    }
}

impl MediaClient {
    /// Asks for the first `first_bytes` of the file and checks all that can be told from the
    /// answer: status, range, content type, announced length, first bytes. With `resume`, asks for
    /// those at its offset instead, provided that the file is still the same.
    ///
    /// # Errors
    /// [`TransferError::Changed`] if there is nothing to resume: the file is another one by now.
    pub async fn open(
        &self,
        link: &SignedUrl,
        expected: &Expected,
        first_bytes: u64,
        resume: Option<&Resume>,
    ) -> Result<Source, TransferError> {
        let host = self.limits.hosts.named(&host_of(link));
        let mut narrowed = None;
        loop {
            let slot = host.slot().await;
            let opened = self.open_at(&host, link, expected, first_bytes, resume);
            match opened.await {
                Ok((file, first, format)) => {
                    return Ok(Source {
                        file,
                        first,
                        slot,
                        format,
                    });
                }
                // It serves others instead: wait until one of them has ended.
                Err(error) if narrowed.is_none() && error.is_refusal() && host.answers() > 0 => {
                    narrowed = Some(host.narrow());
                }
                Err(error) => {
                    if let Some(former) = narrowed.flatten() {
                        host.widen(former);
                    }
                    return Err(error);
                }
            }
        }
    }

    async fn open_at(
        &self,
        host: &Arc<Host>,
        link: &SignedUrl,
        expected: &Expected,
        first_bytes: u64,
        resume: Option<&Resume>,
    ) -> Result<(File, Body, FileFormat), TransferError> {
        let plain = expected.plain || host.is_plain();
        let first = match resume {
            Some(_) if plain => return Err(TransferError::Changed),
            Some(resume) => self.first_resumed(link, first_bytes, resume).await?,
            None if plain => self.first_plain(link).await?,
            None => self.first_range(host, link, first_bytes).await?,
        };
        let First {
            response,
            covers,
            validator,
        } = first;
        let mismatch = size_mismatch(expected.size_bytes, covers.total)?;
        if covers.end.is_none() && expected.size_bytes.is_none() && !has_an_end(&response) {
            return Err(TransferError::Endless);
        }
        let modified = response.headers().get(LAST_MODIFIED).cloned();
        let content_type = response.headers().get(CONTENT_TYPE).cloned();
        let mut first = Body::new(response, covers, self, host.answering());
        let mut format = FileFormat::default();
        if resume.is_none() {
            // The first bytes before the size: an error page has another size, too, and always
            // the same one, which would be taken for the file's.
            let mut head = first.peek(SHORT_HEAD_BYTES, &self.limits).await?;
            if !container::is_plainly_media(head) {
                head = first.peek(HEAD_BYTES, &self.limits).await?;
            }
            if head.is_empty() && expected.size_bytes != Some(0) {
                return Err(TransferError::Empty);
            }
            if let Some(language) = container::document(head) {
                return Err(TransferError::DocumentBody { language });
            }
            // An error message has any size, a text file the declared one. A shorter head is all
            // of the body.
            let all = (head.len() < HEAD_BYTES).then_some(head.len() as u64);
            let is_declared_size =
                expected.size_bytes.is_some() && covers.total.or(all) == expected.size_bytes;
            if !is_declared_size && container::is_text(head, content_type.as_ref()) {
                return Err(TransferError::DocumentBody { language: "text" });
            }
            format = FileFormat::of(head, expected.format.as_deref());
        }
        if let Some(mismatch) = mismatch {
            return Err(mismatch);
        }
        if let Some(declared) = expected.size_bytes {
            first.expect_end(declared)?;
        }
        let file = File {
            client: self.clone(),
            link: LinkHolder::new(link.clone()),
            host: Arc::clone(host),
            size_bytes: covers.total.or(expected.size_bytes),
            validator,
            modified,
        };
        Ok((file, first, format))
    }

    /// Asks for the first range of the file. A host that does not serve it is asked plainly.
    async fn first_range(
        &self,
        host: &Host,
        link: &SignedUrl,
        first_bytes: u64,
    ) -> Result<First, TransferError> {
        let mut refused = None;
        match self.get(link, Some(0..first_bytes.max(1)), None).await {
            // An empty file has no byte 0.
            Ok(response) if response.status() == StatusCode::RANGE_NOT_SATISFIABLE => {}
            Ok(response) => match First::read(response, 0)? {
                Some(first) if first.is_enough() => {
                    let joinable = first.covers.partial;
                    return Ok(First {
                        // It knows no ranges: a second answer would begin at the front again.
                        validator: first.validator.filter(|_| joinable),
                        ..first
                    });
                }
                Some(_) => {}
                // Whatever becomes of the plain GET: the next one need not wait for another answer
                // to be dropped.
                None => host.go_plain(StepReason::Ranges, true),
            },
            Err(error) => refused = Some(error.refuses_ranges().ok_or(error)?),
        }
        let first = match self.first_plain(link).await {
            // The host may serve one request at a time, and not have noticed that the first answer
            // was dropped.
            Err(error) if error.is_refusal() || error.is_dead_link() => {
                let pause = self.pause_after(&error, REFUSED_PAUSE).ok_or(error)?;
                tokio::time::sleep(pause).await;
                self.first_plain(link).await?
            }
            first => first?,
        };
        if let Some(reason) = refused {
            host.go_plain(reason, true);
        }
        Ok(first)
    }

    /// Asks for the whole file.
    async fn first_plain(&self, link: &SignedUrl) -> Result<First, TransferError> {
        let response = self.get(link, None, None).await?;
        let first = First::read(response, 0)?;
        match first.filter(|first| first.covers.end == first.covers.total) {
            Some(first) => Ok(First {
                validator: None,
                ..first
            }),
            None => Err(TransferError::WrongRange),
        }
    }

    /// Asks for the bytes from where an earlier attempt stopped.
    async fn first_resumed(
        &self,
        link: &SignedUrl,
        first_bytes: u64,
        resume: &Resume,
    ) -> Result<First, TransferError> {
        let offset = resume.offset_bytes;
        let range = offset..offset.saturating_add(first_bytes.max(1));
        let response = match self.get(link, Some(range), Some(&resume.validator)).await {
            Err(error) if error.refuses_ranges().is_some() => return Err(TransferError::Changed),
            response => response?,
        };
        if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            // It was longer when it was fetched in part.
            return Err(TransferError::Changed);
        }
        let first = First::read(response, offset)?.filter(|first| {
            first.covers.partial
                && first.covers.total == Some(resume.size_bytes)
                && is_same(&resume.validator, first.response.headers())
        });
        let first = first.ok_or(TransferError::Changed)?;
        Ok(First {
            validator: Some(resume.validator.clone()),
            ..first
        })
    }
}

impl Source {
    /// Size of the whole file in bytes, as far as anybody has named it.
    pub const fn size_bytes(&self) -> Option<u64> {
        self.file.size_bytes
    }

    /// What the file is by its first bytes; nothing is known of one that was opened to resume.
    pub const fn format(&self) -> FileFormat {
        self.format
    }

    /// What tells this version of the file from others; `None` if nothing strong does.
    pub const fn validator(&self) -> Option<&Validator> {
        self.file.validator.as_ref()
    }

    /// Starts to fetch the file in parts of `part_bytes`, from where the source was opened.
    /// `progress` hears of every byte as it comes.
    pub fn download(
        self,
        part_bytes: u64,
        budget: &MemoryBudget,
        progress: &Arc<Progress>,
    ) -> Download {
        Download::start(
            self.file,
            (self.first, self.slot),
            part_bytes,
            budget,
            progress,
        )
    }
}

impl File {
    /// Opens another answer at `offset`, which is not the first one.
    pub(super) async fn continue_at(
        &self,
        link: &SignedUrl,
        offset: u64,
        end: u64,
    ) -> Result<Body, TransferError> {
        // Without a validator nothing says that the answer is of the same file.
        let validator = self.validator.as_ref().ok_or(TransferError::WrongRange)?;
        let response = self
            .client
            .get(link, Some(offset..end), Some(validator))
            .await?;
        if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            return Err(TransferError::WrongRange);
        }
        refuse_document(response.headers())?;
        let covers = coverage(&response, offset)?;
        let other_size = covers.total.is_some() && covers.total != self.size_bytes;
        if other_size || !is_same(validator, response.headers()) {
            let reason = StepReason::Validators;
            // A file that was replaced says nothing of its host.
            let modified = response.headers().get(LAST_MODIFIED);
            let replaced = other_size || self.modified.as_ref() != modified;
            self.host.go_plain(reason, !replaced);
            return Err(TransferError::Unjoinable { reason });
        }
        if !covers.partial {
            // The same file from its front: reading up to the offset would fetch it twice.
            return Err(TransferError::WrongRange);
        }
        let answer = self.host.answering();
        Ok(Body::new(response, covers, &self.client, answer))
    }
}

/// Whether an answer is of the version that is known. Whoever sent an entity tag once sends it with
/// every range (RFC 9110, section 15.3.7); a date may be left out of an answer to `If-Range`.
fn is_same(known: &Validator, headers: &HeaderMap) -> bool {
    match (known, answer::validator(headers)) {
        (known, Some(found)) => *known == found,
        (Validator::LastModified(date), None) => headers
            .get(LAST_MODIFIED)
            .is_none_or(|found| found.as_bytes() == date.as_bytes()),
        (Validator::Etag(_), None) => false,
    }
}

/// The error that a wrong size is, once the first bytes are looked at; an empty file at once.
fn size_mismatch(
    declared: Option<u64>,
    actual: Option<u64>,
) -> Result<Option<TransferError>, TransferError> {
    match (declared, actual) {
        (Some(0), Some(0)) => Ok(None),
        (_, Some(0)) => Err(TransferError::Empty),
        (Some(declared), Some(actual)) if declared != actual => {
            Ok(Some(TransferError::SizeMismatch { declared, actual }))
        }
        _ => Ok(None),
    }
}

/// Host and port, which tell one server from another.
fn host_of(link: &SignedUrl) -> String {
    let url = link.expose();
    let port = url.port_or_known_default().unwrap_or_default();
    format!("{}:{port}", url.host_str().unwrap_or_default())
}
