//! Progress bars on a terminal: one in all, one for each running transfer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tokio::task::JoinHandle;

use self::pace::{Ahead, Rate};
use super::human;
use crate::progress::{Board, Progress};
use crate::recording::RecordingId;

const REFRESH: Duration = Duration::from_millis(100);
/// More transfers than these are only counted: the screen is for the lines too.
const MOST_TRANSFERS: usize = 16;

mod pace;

/// Bars that follow a board until dropped.
#[derive(Debug)]
pub(super) struct Bars {
    progress: MultiProgress,
    all: ProgressBar,
    following: JoinHandle<()>,
}

impl Bars {
    /// Shows `total` recordings to come (if known) and whatever runs on the board.
    pub(super) fn follow(board: Board, progress: &MultiProgress, total: Option<u64>) -> Self {
        let all = progress.add(match total {
            Some(total) => ProgressBar::new(total).with_style(style(
                "{pos}/{len} recordings  {wide_bar:.green}  {elapsed_precise}  {msg}",
            )),
            None => ProgressBar::new_spinner()
                .with_style(style("{pos} attempts  {spinner}  {elapsed_precise}  {msg}")),
        });
        let (progress, shown, ticked) = (progress.clone(), progress.clone(), all.clone());
        let following = tokio::spawn(async move {
            let mut bars: HashMap<RecordingId, ProgressBar> = HashMap::new();
            let mut others: Option<ProgressBar> = None;
            let mut ticks = tokio::time::interval(REFRESH);
            let mut rate = Rate::default();
            loop {
                ticks.tick().await;
                let running = board.running();
                let rate = rate.at(Instant::now(), board.received_bytes());
                ticked.set_message(pace(rate, ahead(&board, &running, &ticked)));
                ticked.tick();
                bars.retain(|id, bar| {
                    let runs = running.iter().any(|(running, _)| running == id);
                    if !runs {
                        bar.finish_and_clear();
                        progress.remove(bar);
                    }
                    runs
                });
                for (id, transfer) in &running {
                    if bars.len() == MOST_TRANSFERS && !bars.contains_key(id) {
                        continue;
                    }
                    let bar = bars.entry(*id).or_insert_with(|| {
                        let bar = ProgressBar::no_length().with_message(short(*id));
                        match &others {
                            Some(others) => progress.insert_before(others, bar),
                            None => progress.add(bar),
                        }
                    });
                    show(bar, transfer);
                }
                count(&mut others, running.len() - bars.len(), &progress);
            }
        });
        Self {
            progress: shown,
            all,
            following,
        }
    }

    /// So many more are done: of a known total recordings, else attempts.
    pub(super) fn done(&self, more: usize) {
        self.all.inc(more as u64);
    }

    /// Prints while the bars are out of the way.
    pub(super) fn beside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.progress.suspend(print)
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.following.abort();
        self.all.finish_and_clear();
        // The bars of transfers that were cut off are nobody's now. A terminal that is gone needs
        // no clearing.
        drop(self.progress.clear());
    }
}

fn show(bar: &ProgressBar, transfer: &Progress) {
    let position = transfer.resumed_bytes() + transfer.received_bytes();
    match (transfer.total_bytes(), bar.length()) {
        (None, _) => bar.set_style(style("  {msg}  waiting for the first bytes")),
        (Some(_), None) if transfer.received_bytes() == 0 => {}
        (Some(total), None) => {
            bar.set_length(total);
            bar.set_style(style(
                "  {msg}  {wide_bar}  {bytes:>10} of {total_bytes:10}  {bytes_per_sec:>12}  {eta:>4}",
            ));
            // What came before, in an earlier attempt too, says nothing of how fast it is now.
            bar.set_position(position);
            bar.reset_eta();
        }
        (Some(total), Some(_)) if position >= total => {
            bar.set_style(style(
                "  {msg}  {wide_bar}  {total_bytes:>10} came, being stored and proven",
            ));
        }
        (Some(_), Some(_)) => {}
    }
    bar.set_position(position);
}

/// Says how many transfers have no bar of their own.
fn count(others: &mut Option<ProgressBar>, number: usize, progress: &MultiProgress) {
    match (number, &*others) {
        (0, None) => {}
        (0, Some(bar)) => {
            bar.finish_and_clear();
            progress.remove(bar);
            *others = None;
        }
        (_, Some(bar)) => bar.set_message(format!("and {number} more")),
        (_, None) => {
            let bar = ProgressBar::no_length().with_style(style("  {msg}"));
            *others = Some(progress.add(bar.with_message(format!("and {number} more"))));
        }
    }
}

/// What is still to come, by what is known of those that have begun.
fn ahead(board: &Board, running: &[(RecordingId, Arc<Progress>)], all: &ProgressBar) -> Ahead {
    let (ended, ended_bytes) = board.ended();
    let begun = all.position() + running.len() as u64;
    let mut ahead = Ahead {
        waiting: all.length().unwrap_or(0).saturating_sub(begun),
        known: ended,
        known_bytes: ended_bytes,
        ..Ahead::default()
    };
    for (_, transfer) in running {
        if let Some(total) = transfer.total_bytes() {
            let done = transfer.resumed_bytes() + transfer.received_bytes();
            ahead.known += 1;
            ahead.known_bytes += total;
            ahead.running_bytes += total.saturating_sub(done);
        }
    }
    ahead
}

/// `134.6 MiB/s  1m 5s left`
fn pace(bytes_per_second: u64, ahead: Ahead) -> String {
    let rate = human::rate(bytes_per_second);
    match ahead.time_left(bytes_per_second) {
        Some(left) => format!("{rate}  {} left", human::estimate(left)),
        None => rate,
    }
}

fn short(id: RecordingId) -> String {
    id.to_string().chars().take(8).collect()
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates of this file are well-formed")
}
