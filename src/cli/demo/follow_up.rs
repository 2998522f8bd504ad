//! How a person looks at what the demo made: files, database, and this program's own commands.

use std::io::Write;
use std::path::Path;

use anyhow::Context;

use super::DATA_DIR;
use crate::cli::session::Session;
use crate::config::{Config, Environment};
use crate::database::Database;
use crate::printable::shell_word;

pub(super) fn where_to_look(
    session: &Session,
    database: &Database,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let objects = session.config.storage()?.location.to_string();
    writeln!(out, "\nWhere to look\n")?;
    writeln!(out, "  files     {}", objects.trim_start_matches("file://"))?;
    if let Some(private) = database.embedded() {
        writeln!(out, "  database  {}", private.psql_command())?;
    }
    writeln!(
        out,
        "  in it     SELECT * FROM finance.monthly_costs;   \\d+ archiver.recordings"
    )?;
    let program = again(&session.config)?;
    writeln!(
        out,
        "  later     {program} status\n            \
         {program} report costs --by recording"
    )?;
    Ok(())
}

/// Returns how a shell in this directory starts this program with the demo's database: no longer
/// than this host's configuration demands.
fn again(demo: &Config) -> anyhow::Result<String> {
    let program = own_name()?;
    let data_dir = demo.data_dir.to_string_lossy();
    let data_dir = format!("{DATA_DIR}={}", shell_word(&data_dir));
    let environment = Environment::process()?;
    let finds_it = |environment: &Environment| {
        Config::load(None, environment)
            .is_ok_and(|config| config.database.url.is_none() && config.data_dir == demo.data_dir)
    };
    Ok(if finds_it(&environment) {
        program
    } else if finds_it(&environment.with(DATA_DIR, &demo.data_dir)) {
        format!("{data_dir} {program}")
    } else {
        // Another database is configured here.
        format!("env -i PATH=\"$PATH\" RECORDING_ARCHIVER_CONFIG=/dev/null {data_dir} {program}")
    })
}

/// The name by which a shell in this directory finds this program.
fn own_name() -> anyhow::Result<String> {
    let program = std::env::current_exe().context("find this program")?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    if let Some(name) = program.file_name()
        && let Some(first) = std::env::split_paths(&path)
            .map(|directory| directory.join(name))
            .find(|candidate| candidate.is_file())
        && first.canonicalize().ok() == program.canonicalize().ok()
    {
        return Ok(shell_word(&name.to_string_lossy()).into_owned());
    }
    let here = std::env::current_dir().context("find the current directory")?;
    let shown = match program.strip_prefix(here) {
        Ok(below) => Path::new(".").join(below),
        Err(_) => program,
    };
    Ok(shell_word(&shown.to_string_lossy()).into_owned())
}
