//! When a chore is due: a cron expression, checked by the parser that the scheduler uses.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use croner::parser::{CronParser, Seconds};

/// A checked cron expression with six fields (seconds first), in UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CronSchedule(String);

/// The text is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    #[error(
        "`{text}` has {fields} fields; a schedule has six (second minute hour day month weekday), as in `*/30 * * * * *`, or five without the second"
    )]
    Fields { text: String, fields: usize },
    #[error("`{text}` is not a cron expression: {reason}")]
    Syntax { text: String, reason: String },
    #[error("`{0}` is never due")]
    Never(String),
}

impl CronSchedule {
    /// The expression as the scheduler takes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CronSchedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        let expression = match text.split_whitespace().count() {
            6 => text.trim().to_owned(),
            5 => format!("0 {}", text.trim()),
            // @hourly and its like.
            1 if text.trim().starts_with('@') => text.trim().to_owned(),
            fields => {
                return Err(ScheduleError::Fields {
                    text: text.to_owned(),
                    fields,
                });
            }
        };
        // The same rules as tokio-cron-scheduler: what passes here does not fail at the start.
        let cron = CronParser::builder()
            .seconds(Seconds::Required)
            .dom_and_dow(true)
            .build()
            .parse(&expression)
            .map_err(|error| ScheduleError::Syntax {
                text: text.to_owned(),
                reason: error.to_string(),
            })?;
        // The 30th of February parses; any moment will do to find out that it never comes.
        let anchor = DateTime::<Utc>::UNIX_EPOCH;
        match cron.find_next_occurrence(&anchor, false) {
            Ok(_) => Ok(Self(expression)),
            Err(_) => Err(ScheduleError::Never(text.to_owned())),
        }
    }
}

impl fmt::Display for CronSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_fields_get_second_zero() {
        let schedule: CronSchedule = " 30 3 * * * ".parse().unwrap();
        assert_eq!(schedule.as_str(), "0 30 3 * * *");
        let schedule: CronSchedule = "*/30 * * * * *".parse().unwrap();
        assert_eq!(schedule.as_str(), "*/30 * * * * *");
        "@daily".parse::<CronSchedule>().unwrap();
    }

    #[test]
    fn what_is_no_schedule_is_refused_with_the_reason() {
        for (text, word) in [
            ("", "0 fields"),
            ("hourly", "1 fields"),
            ("* * * * * * 2026", "7 fields"),
            ("61 * * * * *", "not a cron expression"),
            ("* * * * x", "not a cron expression"),
            ("@sometimes", "not a cron expression"),
            ("0 0 0 30 2 *", "never due"),
        ] {
            let error = text.parse::<CronSchedule>().unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[tokio::test]
    async fn the_scheduler_takes_what_is_taken_here() {
        for text in [
            "30 3 * * *",
            "*/30 * * * * *",
            "@daily",
            "0 0 12 L * MON-FRI",
        ] {
            let schedule: CronSchedule = text.parse().unwrap();
            tokio_cron_scheduler::Job::new_async(schedule.as_str(), |_, _| Box::pin(async {}))
                .unwrap();
        }
    }
}
