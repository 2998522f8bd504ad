//! Cron expressions that ring bells. The scheduler starts no work itself: its shutdown waits for
//! nothing, its runs may overlap and its panics vanish, so all it does is ring.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

use crate::config::CronSchedule;

/// One bell and when it rings (UTC). A ring that nobody has heard yet is not repeated.
#[derive(Debug, Clone)]
pub struct Chime {
    pub schedule: CronSchedule,
    pub bell: Arc<Notify>,
}

/// Running schedules; they ring until this is stopped.
pub struct Chimes {
    scheduler: JobScheduler,
}

impl Chimes {
    pub async fn start(chimes: impl IntoIterator<Item = Chime>) -> Result<Self, JobSchedulerError> {
        let scheduler = JobScheduler::new().await?;
        for Chime { schedule, bell } in chimes {
            let job = Job::new_async(schedule.as_str(), move |_, _| {
                bell.notify_one();
                Box::pin(std::future::ready(()))
            })?;
            scheduler.add(job).await?;
        }
        scheduler.start().await?;
        Ok(Self { scheduler })
    }

    pub async fn stop(mut self) {
        if let Err(error) = self.scheduler.shutdown().await {
            tracing::debug!("the scheduler did not stop cleanly: {error}");
        }
    }
}

impl std::fmt::Debug for Chimes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chimes").finish_non_exhaustive()
    }
}
