//! Answers for the names of the faults, and for what each takes after its colon.

use bytesize::ByteSize;

use super::{DeletionFault, Fault, MediaFault, MetadataFault, RetryAfter};

/// What a fault takes after its colon.
#[derive(Debug, Clone, Copy)]
pub(super) enum Spelling {
    Plain(fn() -> Fault),
    Status(fn(u16) -> Fault),
    Size(fn(u64) -> Fault),
    Text(fn(String) -> Fault),
    RetryAfter(fn(RetryAfter) -> Fault),
}

/// Every fault, by name.
const SPELLINGS: &[(&str, Spelling)] = {
    use Spelling::{Plain, RetryAfter, Size, Status, Text};
    &[
        (
            "metadata-status",
            Status(|code| MetadataFault::Status(code).into()),
        ),
        (
            "metadata-throttled",
            RetryAfter(|after| MetadataFault::Throttled(after).into()),
        ),
        ("metadata-reset", Plain(|| MetadataFault::Reset.into())),
        ("metadata-hang", Plain(|| MetadataFault::Hang.into())),
        ("metadata-html", Plain(|| MetadataFault::Html.into())),
        (
            "metadata-truncated-json",
            Plain(|| MetadataFault::TruncatedJson.into()),
        ),
        (
            "metadata-empty-body",
            Plain(|| MetadataFault::EmptyBody.into()),
        ),
        (
            "metadata-redirect",
            Text(|to| MetadataFault::Redirect(to).into()),
        ),
        (
            "metadata-other-recording",
            Plain(|| MetadataFault::OtherRecording.into()),
        ),
        ("metadata-null-uri", Plain(|| MetadataFault::NullUri.into())),
        ("metadata-uri", Text(|uri| MetadataFault::Uri(uri).into())),
        (
            "metadata-not-ready",
            Plain(|| MetadataFault::NotReady.into()),
        ),
        (
            "metadata-null-status",
            Plain(|| MetadataFault::NullStatus.into()),
        ),
        (
            "metadata-unknown-status",
            Text(|text| MetadataFault::UnknownStatus(text).into()),
        ),
        (
            "metadata-missing-fields",
            Plain(|| MetadataFault::MissingFields.into()),
        ),
        (
            "metadata-extra-fields",
            Plain(|| MetadataFault::ExtraFields.into()),
        ),
        (
            "metadata-wrong-types",
            Plain(|| MetadataFault::WrongTypes.into()),
        ),
        (
            "metadata-empty-page",
            Plain(|| MetadataFault::EmptyPage.into()),
        ),
        (
            "metadata-repeated-next",
            Plain(|| MetadataFault::RepeatedNext.into()),
        ),
        (
            "deletion-status",
            Status(|code| DeletionFault::Status(code).into()),
        ),
        (
            "deletion-throttled",
            RetryAfter(|after| DeletionFault::Throttled(after).into()),
        ),
        ("deletion-html", Plain(|| DeletionFault::Html.into())),
        ("deletion-reset", Plain(|| DeletionFault::Reset.into())),
        (
            "deletion-answer-lost",
            Plain(|| DeletionFault::AnswerLost.into()),
        ),
        ("deletion-hang", Plain(|| DeletionFault::Hang.into())),
        (
            "media-status",
            Status(|code| MediaFault::Status(code).into()),
        ),
        (
            "media-throttled",
            RetryAfter(|after| MediaFault::Throttled(after).into()),
        ),
        ("media-link-dies", Plain(|| MediaFault::LinkDies.into())),
        (
            "media-bad-request-expired",
            Plain(|| MediaFault::BadRequestExpired.into()),
        ),
        ("media-reset", Plain(|| MediaFault::Reset.into())),
        (
            "media-reset-after",
            Size(|bytes| MediaFault::ResetAfter(bytes).into()),
        ),
        (
            "media-cut-after",
            Size(|bytes| MediaFault::CutAfter(bytes).into()),
        ),
        (
            "media-chunked-cut-after",
            Size(|bytes| MediaFault::ChunkedCutAfter(bytes).into()),
        ),
        ("media-hang", Plain(|| MediaFault::Hang.into())),
        (
            "media-stall-after",
            Size(|bytes| MediaFault::StallAfter(bytes).into()),
        ),
        (
            "media-drip",
            Size(|bytes_per_second| MediaFault::Drip(bytes_per_second).into()),
        ),
        ("media-html", Plain(|| MediaFault::Html.into())),
        (
            "media-html-as-media",
            Plain(|| MediaFault::HtmlAsMedia.into()),
        ),
        ("media-xml-error", Plain(|| MediaFault::XmlError.into())),
        ("media-json-error", Plain(|| MediaFault::JsonError.into())),
        (
            "media-shorter-by",
            Size(|bytes| MediaFault::ShorterBy(bytes).into()),
        ),
        (
            "media-ignore-range",
            Plain(|| MediaFault::IgnoreRange.into()),
        ),
        (
            "media-wrong-content-range",
            Plain(|| MediaFault::WrongContentRange.into()),
        ),
        (
            "media-short-range",
            Size(|bytes| MediaFault::ShortRange(bytes).into()),
        ),
        ("media-changes", Plain(|| MediaFault::MediaChanges.into())),
        (
            "media-etag-changes",
            Plain(|| MediaFault::EtagChanges.into()),
        ),
        ("media-weak-etag", Plain(|| MediaFault::WeakEtag.into())),
        (
            "media-no-validator",
            Plain(|| MediaFault::NoValidator.into()),
        ),
        ("media-redirect", Text(|to| MediaFault::Redirect(to).into())),
        (
            "media-redirect-loop",
            Plain(|| MediaFault::RedirectLoop.into()),
        ),
        ("media-gzip-claim", Plain(|| MediaFault::GzipClaim.into())),
        ("media-zero-bytes", Plain(|| MediaFault::ZeroBytes.into())),
        (
            "media-flipped-byte",
            Size(|position| MediaFault::FlippedByte(position).into()),
        ),
    ]
};

/// Every fault's name with the kind of its argument, for `--help` and error messages.
pub fn fault_spellings() -> Vec<String> {
    SPELLINGS
        .iter()
        .map(|(name, spelling)| match spelling {
            Spelling::Plain(_) => (*name).to_owned(),
            Spelling::Status(_) => format!("{name}:CODE"),
            Spelling::Size(_) => format!("{name}:BYTES"),
            Spelling::Text(_) => format!("{name}:TEXT"),
            Spelling::RetryAfter(_) => format!("{name}[:SECONDS|:date+SECONDS]"),
        })
        .collect()
}

impl Spelling {
    pub(super) fn of(name: &str) -> Option<Self> {
        let (_, spelling) = SPELLINGS.iter().find(|(known, _)| *known == name)?;
        Some(*spelling)
    }

    /// Fails with what the argument should have been.
    pub(super) fn build(self, argument: Option<&str>) -> Result<Fault, &'static str> {
        Ok(match (self, argument) {
            (Self::Plain(make), None) => make(),
            (Self::Plain(_), Some(_)) => return Err("allowed here: it takes none"),
            (Self::Status(make), code) => {
                let code = code.and_then(|code| code.parse().ok());
                make(
                    code.filter(|code| (400..600).contains(code))
                        .ok_or("an HTTP error status from 400 to 599")?,
                )
            }
            (Self::Size(make), size) => {
                let size = size.and_then(|size| size.parse::<ByteSize>().ok());
                make(size.ok_or("a size such as 1000 or 8MiB")?.as_u64())
            }
            (Self::Text(make), Some(text)) if !text.is_empty() => make(text.to_owned()),
            (Self::Text(_), _) => return Err("a text"),
            (Self::RetryAfter(make), None) => make(RetryAfter::Absent),
            (Self::RetryAfter(make), Some(after)) => {
                let (seconds, build): (_, fn(u64) -> RetryAfter) = match after.strip_prefix("date+")
                {
                    Some(seconds) => (seconds, RetryAfter::DateInSeconds),
                    None => (after, RetryAfter::Seconds),
                };
                let seconds = seconds.parse().map_err(|_| "SECONDS or date+SECONDS")?;
                make(build(seconds))
            }
        })
    }
}
