//! `completions` and `man`.

use std::io::{self, Write};

use clap_complete::Shell;

use super::Cli;
use super::exit::Exit;

#[derive(Debug, clap::Args)]
pub(super) struct CompletionsArgs {
    shell: Shell,
}

pub(super) fn completions(args: &CompletionsArgs, out: &mut impl Write) -> anyhow::Result<Exit> {
    // The generator panics on a closed pipe, a buffer never is one.
    let mut script = Vec::new();
    clap_complete::generate(
        args.shell,
        &mut Cli::definition(),
        "recording-archiver",
        &mut script,
    );
    out.write_all(&script)?;
    Ok(Exit::Done)
}

/// One page with every command: the commands' own sections follow the overview.
pub(super) fn manual(out: &mut impl Write) -> anyhow::Result<Exit> {
    let mut command = Cli::definition();
    command.build();
    clap_mangen::Man::new(command.clone()).render(out)?;
    sections_of(&command, "", out)?;
    Ok(Exit::Done)
}

fn sections_of(command: &clap::Command, parents: &str, out: &mut impl Write) -> io::Result<()> {
    for subcommand in command.get_subcommands().filter(|c| c.get_name() != "help") {
        let name = format!("{parents}{}", subcommand.get_name());
        let page = clap_mangen::Man::new(subcommand.clone());
        writeln!(out, ".SH \"COMMAND {}\"", name.to_uppercase())?;
        page.render_synopsis_section(out)?;
        page.render_description_section(out)?;
        page.render_options_section(out)?;
        sections_of(subcommand, &format!("{name} "), out)?;
    }
    Ok(())
}
