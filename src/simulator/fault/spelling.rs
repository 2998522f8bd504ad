//! Answers for how faults are written on the command line: `RECORDING_ID|all=FAULT[:ARG][xTIMES]`.

use bytesize::ByteSize;
use thiserror::Error;
use uuid::Uuid;

use super::{Fault, MediaFault, MetadataFault, RetryAfter, Times};

/// A fault and where it is to happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultOrder {
    /// `None`: whichever recording is asked for.
    pub recording_id: Option<Uuid>,
    pub fault: Fault,
    pub times: Times,
}

/// Why a `--fault` was not understood.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ParseFaultError {
    #[error("read fault {0:?}: no `=`; write RECORDING_ID=FAULT or all=FAULT")]
    NoTarget(String),
    #[error("read fault target {0:?}: neither a recording id nor `all`")]
    BadTarget(String),
    #[error("read fault {0:?}: unknown; one of {known}", known = fault_spellings().join(", "))]
    Unknown(String),
    #[error("read fault {name}: argument {argument:?} is not {expected}")]
    BadArgument {
        name: String,
        argument: String,
        expected: &'static str,
    },
}

/// What a fault takes after its colon.
#[derive(Clone, Copy)]
enum Spelling {
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
            "media-status",
            Status(|code| MediaFault::Status(code).into()),
        ),
        (
            "media-throttled",
            RetryAfter(|after| MediaFault::Throttled(after).into()),
        ),
        ("media-link-dies", Plain(|| MediaFault::LinkDies.into())),
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

/// Reads `RECORDING_ID|all=FAULT[:ARG][xTIMES]`; `TIMES` is a number or `always`, once if absent.
/// A text argument that itself ends in `x` and digits needs its `xTIMES` spelled out.
///
/// ```
/// # use recording_archiver::simulator::{parse_fault, Fault, MediaFault, Times};
/// let order = parse_fault("all=media-cut-after:1MiBx3").unwrap();
/// assert_eq!(order.fault, Fault::Media(MediaFault::CutAfter(1 << 20)));
/// assert_eq!((order.recording_id, order.times), (None, Times::Count(3)));
/// ```
pub fn parse_fault(text: &str) -> Result<FaultOrder, ParseFaultError> {
    let (target, rest) = text
        .split_once('=')
        .ok_or_else(|| ParseFaultError::NoTarget(text.to_owned()))?;
    let recording_id = match target {
        "all" => None,
        id => Some(
            id.parse()
                .map_err(|_| ParseFaultError::BadTarget(id.to_owned()))?,
        ),
    };
    let (spelled, times) = split_times(rest);
    let (name, argument) = match spelled.split_once(':') {
        Some((name, argument)) => (name, Some(argument)),
        None => (spelled, None),
    };
    let (_, spelling) = SPELLINGS
        .iter()
        .find(|(known, _)| *known == name)
        .ok_or_else(|| ParseFaultError::Unknown(name.to_owned()))?;
    Ok(FaultOrder {
        recording_id,
        fault: spelling.build(name, argument)?,
        times,
    })
}

fn split_times(text: &str) -> (&str, Times) {
    if let Some((fault, times)) = text.rsplit_once('x') {
        if times == "always" {
            return (fault, Times::Always);
        }
        if let Ok(count) = times.parse() {
            return (fault, Times::Count(count));
        }
    }
    (text, Times::ONCE)
}

impl Spelling {
    fn build(self, name: &str, argument: Option<&str>) -> Result<Fault, ParseFaultError> {
        let bad = |expected| ParseFaultError::BadArgument {
            name: name.to_owned(),
            argument: argument.unwrap_or_default().to_owned(),
            expected,
        };
        Ok(match (self, argument) {
            (Self::Plain(make), None) => make(),
            (Self::Plain(_), Some(_)) => return Err(bad("allowed here: it takes none")),
            (Self::Status(make), code) => {
                let code = code.and_then(|code| code.parse().ok());
                make(
                    code.filter(|code| (400..600).contains(code))
                        .ok_or_else(|| bad("an HTTP error status from 400 to 599"))?,
                )
            }
            (Self::Size(make), size) => {
                let size = size.and_then(|size| size.parse::<ByteSize>().ok());
                make(
                    size.ok_or_else(|| bad("a size such as 1000 or 8MiB"))?
                        .as_u64(),
                )
            }
            (Self::Text(make), Some(text)) if !text.is_empty() => make(text.to_owned()),
            (Self::Text(_), _) => return Err(bad("a text")),
            (Self::RetryAfter(make), None) => make(RetryAfter::Absent),
            (Self::RetryAfter(make), Some(after)) => {
                let (seconds, build): (_, fn(u64) -> RetryAfter) = match after.strip_prefix("date+")
                {
                    Some(seconds) => (seconds, RetryAfter::DateInSeconds),
                    None => (after, RetryAfter::Seconds),
                };
                let seconds = seconds
                    .parse()
                    .map_err(|_| bad("SECONDS or date+SECONDS"))?;
                make(build(seconds))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Uuid = uuid::uuid!("c22d24f6-5a47-4597-9a23-c7d01e696b92");

    fn parsed(text: &str) -> (Option<Uuid>, Fault, Times) {
        let order = parse_fault(text).unwrap();
        (order.recording_id, order.fault, order.times)
    }

    #[test]
    fn target_argument_and_times_are_read() {
        assert_eq!(
            parsed(&format!("{ID}=metadata-status:503x2")),
            (Some(ID), MetadataFault::Status(503).into(), Times::Count(2))
        );
        assert_eq!(
            parsed("all=media-stall-after:8KiBxalways"),
            (None, MediaFault::StallAfter(8192).into(), Times::Always)
        );
        assert_eq!(
            parsed("all=metadata-throttled:date+30"),
            (
                None,
                MetadataFault::Throttled(RetryAfter::DateInSeconds(30)).into(),
                Times::ONCE
            )
        );
        assert_eq!(
            parsed("all=media-redirect:http://169.254.169.254/?a=b"),
            (
                None,
                MediaFault::Redirect("http://169.254.169.254/?a=b".into()).into(),
                Times::ONCE
            )
        );
    }

    /// `media-ignore-range` and friends contain an `x` nowhere, `…-next` does: the names must win.
    #[test]
    fn every_fault_is_understood_as_it_is_listed() {
        for listed in fault_spellings() {
            let text = listed
                .replace(":CODE", ":500")
                .replace(":BYTES", ":7")
                .replace(":TEXT", ":text")
                .replace("[:SECONDS|:date+SECONDS]", ":5");
            assert_eq!(parsed(&format!("all={text}")).2, Times::ONCE, "{text}");
            assert_eq!(
                parsed(&format!("all={text}x4")).2,
                Times::Count(4),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_not_understood_says_what_would_be() {
        for (text, cure) in [
            ("media-reset", "write RECORDING_ID=FAULT or all=FAULT"),
            ("some=media-reset", "neither a recording id nor `all`"),
            ("all=media-explodes", "media-cut-after:BYTES"),
            ("all=media-cut-after", "a size such as 1000 or 8MiB"),
            ("all=media-reset:1", "it takes none"),
            ("all=metadata-status:200", "400 to 599"),
            ("all=metadata-throttled:soon", "SECONDS or date+SECONDS"),
            ("all=media-redirect:", "a text"),
        ] {
            let message = parse_fault(text).unwrap_err().to_string();
            assert!(message.contains(cure), "{text}: {message}");
        }
    }
}
