//! Progress bars on a terminal: one in all, one for each running transfer.

use std::collections::HashMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tokio::task::JoinHandle;

use crate::progress::Board;
use crate::recording::RecordingId;

const REFRESH: Duration = Duration::from_millis(100);

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
                "{pos}/{len} recordings  {wide_bar:.green}  {elapsed_precise}  ETA {eta}",
            )),
            None => ProgressBar::new_spinner()
                .with_style(style("{pos} attempts  {spinner}  {elapsed_precise}")),
        });
        let (progress, shown, ticked) = (progress.clone(), progress.clone(), all.clone());
        let following = tokio::spawn(async move {
            let mut bars: HashMap<RecordingId, ProgressBar> = HashMap::new();
            let mut ticks = tokio::time::interval(REFRESH);
            loop {
                ticks.tick().await;
                ticked.tick();
                let running = board.running();
                bars.retain(|id, bar| {
                    let runs = running.iter().any(|(running, _)| running == id);
                    if !runs {
                        bar.finish_and_clear();
                        progress.remove(bar);
                    }
                    runs
                });
                for (id, transfer) in running {
                    let bar = bars.entry(id).or_insert_with(|| {
                        progress.add(ProgressBar::no_length().with_message(short(id)))
                    });
                    if let (Some(total), None) = (transfer.total_bytes(), bar.length()) {
                        bar.set_length(total);
                        bar.set_style(style(
                            "  {msg}  {wide_bar}  {bytes:>10} of {total_bytes:10}  {bytes_per_sec:>12}",
                        ));
                    } else if bar.length().is_none() {
                        bar.set_style(style("  {msg}  asking SignalWire"));
                    }
                    bar.set_position(transfer.received_bytes());
                }
            }
        });
        Self {
            progress: shown,
            all,
            following,
        }
    }

    /// One more is done: of a known total a recording, else an attempt.
    pub(super) fn one_done(&self) {
        self.all.inc(1);
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

fn short(id: RecordingId) -> String {
    id.to_string().chars().take(8).collect()
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates of this file are well-formed")
}
