//! What a crash leaves behind: no image of the memory, which holds secrets.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// In bytes. At this limit the kernel gives up a dump wherever it would go; 0 forbids only files,
/// and not the program that `kernel.core_pattern` may name.
const NO_DUMP_BYTES: u64 = 1;

/// Forbids core dumps to this process and to all that it starts, for good.
///
/// Fails where limits may not even be lowered.
pub fn forbid() -> io::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_CORE)?;
    let lowest = NO_DUMP_BYTES.min(hard);
    if (soft, hard) != (lowest, lowest) {
        setrlimit(Resource::RLIMIT_CORE, lowest, lowest)?;
    }
    Ok(())
}
