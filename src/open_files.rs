//! File descriptors: as many as this process may have.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Enough for any configuration, and not so many that a child that closes each one takes long.
const ENOUGH: u64 = 65_536;

/// Raises the soft limit on open files to the hard one: a session's default of 1,024 is kept low for
/// programs that call `select`, which this one does not.
///
/// Fails where limits may not be changed.
pub fn raise_limit() -> io::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let raised = hard.min(ENOUGH);
    if soft < raised {
        setrlimit(Resource::RLIMIT_NOFILE, raised, hard)?;
    }
    Ok(())
}
