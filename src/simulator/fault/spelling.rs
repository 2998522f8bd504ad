//! Answers for how faults are written on the command line:
//! `RECORDING_ID|all=FAULT[:ARG][xTIMES][,after=N][,every=N]`.

use thiserror::Error;
use uuid::Uuid;

use super::{Fault, Schedule, Times, fault_spellings, names::Spelling};

/// A fault and where it is to happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultOrder {
    /// `None`: whichever recording is asked for.
    pub recording_id: Option<Uuid>,
    pub fault: Fault,
    pub times: Schedule,
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
    #[error(
        "read schedule {0:?} of fault: neither after=N nor every=N with N from 1, each once; \
         write FAULT[:ARG][xTIMES][,after=N][,every=N]"
    )]
    BadSchedule(String),
}

/// Reads `RECORDING_ID|all=FAULT[:ARG][xTIMES][,after=N][,every=N]`: the first N requests that
/// could meet the fault pass, of the rest every Nth meets it. `TIMES` is a number or `always`; if
/// absent, it is once, and always with `every`. A text argument that itself ends in `x` and digits
/// needs its `xTIMES` spelled out.
///
/// ```
/// # use recording_archiver::simulator::{parse_fault, Fault, MediaFault, Times};
/// let order = parse_fault("all=media-cut-after:1MiBx3,after=2").unwrap();
/// assert_eq!(order.fault, Fault::Media(MediaFault::CutAfter(1 << 20)));
/// assert_eq!((order.recording_id, order.times), (None, Times::Count(3).after(2)));
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
    let (spelled, times) = split_schedule(rest)?;
    let (name, argument) = match spelled.split_once(':') {
        Some((name, argument)) => (name, Some(argument)),
        None => (spelled, None),
    };
    let Some(spelling) = Spelling::of(name) else {
        return Err(match name.split_once(',') {
            Some((_, rest)) => ParseFaultError::BadSchedule(rest.to_owned()),
            None => ParseFaultError::Unknown(name.to_owned()),
        });
    };
    let fault = spelling.build(argument).map_err(|expected| {
        let argument = argument.unwrap_or_default();
        match argument.split_once(',') {
            Some((_, rest)) => ParseFaultError::BadSchedule(rest.to_owned()),
            None => ParseFaultError::BadArgument {
                name: name.to_owned(),
                argument: argument.to_owned(),
                expected,
            },
        }
    })?;
    Ok(FaultOrder {
        recording_id,
        fault,
        times,
    })
}

/// The fault with its argument, and when it happens.
fn split_schedule(text: &str) -> Result<(&str, Schedule), ParseFaultError> {
    let (mut rest, mut after, mut every) = (text, None, None);
    while let Some((front, last)) = rest.rsplit_once(',') {
        let Some((key, number)) = last.split_once('=') else {
            break;
        };
        let slot = match key {
            "after" => &mut after,
            "every" => &mut every,
            // Commas stand in texts too.
            _ => break,
        };
        let number = number.parse().ok().filter(|number| *number > 0);
        let (Some(number), None) = (number, &slot) else {
            return Err(ParseFaultError::BadSchedule(last.to_owned()));
        };
        *slot = Some(number);
        rest = front;
    }
    let (spelled, times) = split_times(rest);
    let times = times.unwrap_or(if every.is_some() {
        Times::Always
    } else {
        Times::ONCE
    });
    let schedule = times.after(after.unwrap_or(0)).every(every.unwrap_or(1));
    Ok((spelled, schedule))
}

fn split_times(text: &str) -> (&str, Option<Times>) {
    if let Some((fault, times)) = text.rsplit_once('x') {
        if times == "always" {
            return (fault, Some(Times::Always));
        }
        if let Ok(count) = times.parse() {
            return (fault, Some(Times::Count(count)));
        }
    }
    (text, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::{MediaFault, MetadataFault, RetryAfter};

    const ID: Uuid = uuid::uuid!("c22d24f6-5a47-4597-9a23-c7d01e696b92");

    fn parsed(text: &str) -> (Option<Uuid>, Fault, Schedule) {
        let order = parse_fault(text).unwrap();
        (order.recording_id, order.fault, order.times)
    }

    #[test]
    fn target_argument_and_times_are_read() {
        assert_eq!(
            parsed(&format!("{ID}=metadata-status:503x2")),
            (
                Some(ID),
                MetadataFault::Status(503).into(),
                Times::Count(2).into()
            )
        );
        assert_eq!(
            parsed("all=media-stall-after:8KiBxalways"),
            (
                None,
                MediaFault::StallAfter(8192).into(),
                Times::Always.into()
            )
        );
        assert_eq!(
            parsed("all=metadata-throttled:date+30"),
            (
                None,
                MetadataFault::Throttled(RetryAfter::DateInSeconds(30)).into(),
                Times::ONCE.into()
            )
        );
        assert_eq!(
            parsed("all=media-redirect:http://169.254.169.254/?a=b"),
            (
                None,
                MediaFault::Redirect("http://169.254.169.254/?a=b".into()).into(),
                Times::ONCE.into()
            )
        );
    }

    #[test]
    fn a_schedule_is_read_in_any_order_and_leaves_texts_alone() {
        for (text, fault, schedule) in [
            (
                "media-reset,after=3",
                MediaFault::Reset.into(),
                Times::ONCE.after(3),
            ),
            (
                "media-reset,every=5",
                MediaFault::Reset.into(),
                Times::Always.every(5),
            ),
            (
                "media-cut-after:1MiBx2,every=5,after=3",
                MediaFault::CutAfter(1 << 20).into(),
                Times::Count(2).after(3).every(5),
            ),
            (
                "metadata-throttled:date+30,after=1",
                MetadataFault::Throttled(RetryAfter::DateInSeconds(30)).into(),
                Times::ONCE.after(1),
            ),
            (
                "media-redirect:http://a/?b=1,c=2,after=1",
                MediaFault::Redirect("http://a/?b=1,c=2".into()).into(),
                Times::ONCE.after(1),
            ),
        ] {
            assert_eq!(parsed(&format!("all={text}")), (None, fault, schedule));
        }
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
            assert_eq!(
                parsed(&format!("all={text}")).2,
                Times::ONCE.into(),
                "{text}"
            );
            assert_eq!(
                parsed(&format!("all={text}x4")).2,
                Times::Count(4).into(),
                "{text}"
            );
            assert_eq!(
                parsed(&format!("all={text}x4,after=3,every=5")).2,
                Times::Count(4).after(3).every(5),
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
            ("all=media-reset,after=0", "\"after=0\""),
            ("all=media-reset,every=often", "every=N with N from 1"),
            ("all=media-reset,every=5x2", "[xTIMES][,after=N][,every=N]"),
            ("all=media-reset,after=1,after=2", "each once"),
            ("all=media-reset,evry=5", "\"evry=5\""),
            ("all=media-cut-after:1MiB,evry=5", "\"evry=5\""),
        ] {
            let message = parse_fault(text).unwrap_err().to_string();
            assert!(message.contains(cure), "{text}: {message}");
        }
    }
}
