//! Parses the command line, starts the runtime, ends with an exit code.

use std::process::ExitCode;

use clap::Parser;
use recording_archiver::cli::{self, Cli};

/// Well above the largest `worker.concurrency`.
const MAX_BLOCKING_THREADS: usize = 2048;

fn main() -> ExitCode {
    tokio::runtime::Builder::new_multi_thread()
        // Each running recording hashes on one; files and names take turns on the rest.
        .max_blocking_threads(MAX_BLOCKING_THREADS)
        .enable_all()
        .build()
        .expect("a process may start threads")
        .block_on(cli::run(Cli::parse()))
}
