//! The first answer to a link: what the file is, and how it can be fetched.

use std::sync::Arc;

use reqwest::StatusCode;

use super::answer::{self, coverage, has_an_end, refuse_document};
use super::body::Body;
use super::client::MediaClient;
use super::container::{self, FileFormat, HEAD_BYTES, SHORT_HEAD_BYTES};
use super::error::TransferError;
use super::limits::Slot;
use super::link::LinkHolder;
use super::window::Download;
use crate::checkpoint::Validator;
use crate::memory::MemoryBudget;
use crate::progress::Progress;
use crate::signed_url::SignedUrl;

/// What the provider declared about the file.
#[derive(Debug, Clone, Default)]
pub struct Expected {
    pub size_bytes: Option<u64>,
    pub format: Option<String>,
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
    pub(super) host: String,
    /// Size of the whole file as far as anybody has named it.
    pub(super) size_bytes: Option<u64>,
    /// `None`: answers cannot be joined.
    pub(super) validator: Option<Validator>,
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
        let host = host_of(link);
        let slot = self.limits.slot(&host).await;
        let offset = resume.map_or(0, |resume| resume.offset_bytes);
        let range = offset..offset.saturating_add(first_bytes.max(1));
        let if_range = resume.map(|resume| &resume.validator);
        let mut response = self.get(link, Some(range), if_range).await?;
        if response.status() == StatusCode::RANGE_NOT_SATISFIABLE && resume.is_none() {
            // An empty file has no byte 0: ask for it plainly.
            response = self.get(link, None, None).await?;
        }
        if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            // It was longer when it was fetched in part.
            return Err(TransferError::Changed);
        }
        refuse_document(response.headers())?;
        let mut covers = coverage(&response, offset)?;
        let mut found = answer::validator(response.headers());
        if let Some(resume) = resume {
            let same = response.status() == StatusCode::PARTIAL_CONTENT
                && covers.total == Some(resume.size_bytes)
                && found
                    .as_ref()
                    .is_none_or(|found| *found == resume.validator);
            if !same {
                return Err(TransferError::Changed);
            }
            found = Some(resume.validator.clone());
        } else if !covers.partial {
            // It knows no ranges: a second answer would begin at the front again.
            found = None;
        } else if found.is_none() && covers.end != covers.total {
            response = self.get(link, None, None).await?;
            refuse_document(response.headers())?;
            covers = coverage(&response, 0)?;
        }
        let mismatch = size_mismatch(expected.size_bytes, covers.total)?;
        if covers.end.is_none() && expected.size_bytes.is_none() && !has_an_end(&response) {
            return Err(TransferError::Endless);
        }
        let mut first = Body::new(response, covers, self.idle_timeout);
        if let Some(declared) = expected.size_bytes.filter(|_| mismatch.is_none()) {
            first.expect_end(declared);
        }
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
            format = FileFormat::of(head, expected.format.as_deref());
        }
        if let Some(mismatch) = mismatch {
            return Err(mismatch);
        }
        Ok(Source {
            file: File {
                client: self.clone(),
                link: LinkHolder::new(link.clone()),
                host,
                size_bytes: covers.total.or(expected.size_bytes),
                validator: found,
            },
            first,
            slot,
            format,
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
            return Err(TransferError::Changed);
        }
        refuse_document(response.headers())?;
        let found = answer::validator(response.headers());
        let covers = coverage(&response, offset)?;
        let other_size = covers.total.is_some() && covers.total != self.size_bytes;
        if other_size || !is_same(validator, found.as_ref()) {
            return Err(TransferError::Changed);
        }
        if !covers.partial {
            // The same file from its front: reading up to the offset would fetch it twice.
            return Err(TransferError::WrongRange);
        }
        Ok(Body::new(response, covers, self.client.idle_timeout))
    }
}

/// Whether an answer is of the version that is known. Whoever sent an entity tag once sends it with
/// every range (RFC 9110, section 15.3.7); a date may be left out of an answer to `If-Range`.
fn is_same(known: &Validator, found: Option<&Validator>) -> bool {
    match (known, found) {
        (known, Some(found)) => known == found,
        (Validator::LastModified(_), None) => true,
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

fn host_of(link: &SignedUrl) -> String {
    link.expose().host_str().unwrap_or_default().to_owned()
}
