//! By what evidence each bucket's objects are proven, as it was last probed.

use std::io::{self, Write};

use crate::cli::human;
use crate::printable::printable;
use crate::queue::overview::Overview;

pub(super) fn write(overview: &Overview, out: &mut dyn Write) -> io::Result<()> {
    for probe in &overview.stores {
        let reason = probe.seen.evidence_reason.as_deref();
        let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
        let line = format!(
            "{} proves by {} (probed {}){reason}",
            probe.store,
            probe.seen.evidence,
            human::age(probe.probed_at, overview.now),
        );
        writeln!(out, "{}", printable(&line))?;
        if let Some(refused) = probe.seen.part_size.filter(|it| !it.is_taken) {
            let size = bytesize::ByteSize(refused.bytes).display().iec();
            writeln!(
                out,
                "{} refuses parts of {size}: `doctor` tells the cure",
                printable(&probe.store)
            )?;
        }
    }
    Ok(())
}
