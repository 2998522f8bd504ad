//! Parses the command line, starts the runtime, ends with an exit code.

use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::thread::available_parallelism;

use clap::Parser;
use recording_archiver::cli::{self, Cli};

/// Well above the largest `worker.concurrency`.
const MAX_BLOCKING_THREADS: usize = 2048;

fn main() -> ExitCode {
    // One core is left to hashing, which has threads of its own.
    let cores = available_parallelism().map_or(1, NonZeroUsize::get);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.saturating_sub(1).max(1))
        // Each running recording hashes on one; files and names take turns on the rest.
        .max_blocking_threads(MAX_BLOCKING_THREADS)
        .enable_all()
        .build()
        .expect("a process may start threads")
        .block_on(cli::run(Cli::parse()))
}
