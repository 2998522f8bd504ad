//! The command line: types, dispatch, exit codes. Data goes to stdout, everything else to stderr.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, Parser, Subcommand};
use indicatif::{MultiProgress, ProgressDrawTarget};

use crate::config::{Config, Environment, LogFormat};
use crate::telemetry::{self, Logging, Verbosity};
use crate::{core_dumps, open_files};

mod archive;
mod bars;
mod demo;
mod discover;
mod doctor;
mod exit;
mod health;
mod human;
mod ids;
mod lines;
mod named;
mod queueing;
mod rebuild;
mod reconcile;
pub mod report;
mod restore;
mod retire;
mod run;
mod session;
mod shell;
pub mod simulate;
pub mod status;
mod upkeep;
mod verify;

use exit::Exit;
pub(crate) use ids::parse as parse_ids;
use session::Session;

/// Archives SignalWire video room recordings into S3-compatible storage: each one proven byte for
/// byte, with its status and cost in Postgres.
#[derive(Debug, Parser)]
#[command(name = "recording-archiver", version, about, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 done; 1 something failed for good; 2 wrong usage or \
    configuration; 75 something is not done yet and will be tried again."
)]
pub struct Cli {
    /// Configuration file [default: ./config.toml, then /etc/recording-archiver/config.toml]
    #[arg(long, global = true, value_name = "PATH")]
    config: Option<PathBuf>,
    /// How log lines look [default: log.format, which fits where stderr goes]
    #[arg(long, global = true, value_enum)]
    log_format: Option<LogFormat>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service: archive whatever is queued, until told to stop
    Run(run::RunArgs),
    /// Archive these recordings now, queueing what is not queued yet
    Archive(archive::ArchiveArgs),
    /// Queue recordings without waiting for them
    Enqueue(queueing::EnqueueArgs),
    /// List the provider's recordings and queue the unknown ones
    Discover(discover::DiscoverArgs),
    /// Hold provider, queue and bucket against each other and name every difference
    Reconcile(reconcile::ReconcileArgs),
    /// Show the queue at a glance, or one recording with its attempts
    Status(status::StatusArgs),
    /// Put failed recordings back into the queue
    Retry(queueing::RetryArgs),
    /// Bring the database back from the manifests in the bucket
    Rebuild(rebuild::RebuildArgs),
    /// Report what the recordings cost
    #[command(subcommand)]
    Report(ReportCommand),
    /// Ask again for costs that are not final yet
    Reprice,
    /// Read archived objects again and compare them with what is on record
    Verify(verify::VerifyArgs),
    /// Write archived recordings to files, checked while they are written
    Restore(restore::RestoreArgs),
    /// Abort unfinished uploads that nobody works on any more
    Sweep(upkeep::SweepArgs),
    /// Delete recordings at the provider that are archived beyond doubt; off by default
    Retire(retire::RetireArgs),
    /// Check configuration, database, API credentials and storage
    Doctor,
    /// Ask the running service whether it is alive, as containers do
    Health,
    /// Bring the database schema up to date
    Migrate(queueing::MigrateArgs),
    /// Show it all at work: a simulated SignalWire, a private Postgres, a file store
    Demo(demo::DemoArgs),
    /// Serve a simulated SignalWire, for trying out and testing
    Simulate(Box<simulate::SimulateArgs>),
    /// Print a completion script for a shell
    Completions(shell::CompletionsArgs),
    /// Print the manual page
    Man,
}

#[derive(Debug, Subcommand)]
enum ReportCommand {
    /// Costs by month, session, project or recording
    Costs(report::CostsArgs),
    /// Costs in the columns of FOCUS, for cost management tools
    Focus(report::FocusArgs),
    /// Costs of a month that changed after it had ended
    Changes(report::changes::ChangesArgs),
    /// Compare an invoice with the ledger, and bridge between the two sums
    Reconcile(Box<report::reconcile::ReconcileArgs>),
}

impl Cli {
    /// The whole command line, for completions and manual pages.
    pub fn definition() -> clap::Command {
        <Self as CommandFactory>::command()
    }
}

/// Runs a command to its end. Errors are told on stderr, with all their causes.
pub async fn run(cli: Cli) -> ExitCode {
    // Before any secret is read.
    let forbidden = core_dumps::forbid();
    let raised = open_files::raise_limit();
    let progress = MultiProgress::with_draw_target(if io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    });
    let color = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let verbosity = match cli.command {
        Command::Run(_) => Verbosity::Service,
        _ => Verbosity::Command,
    };
    let environment = Environment::process().context("find the current directory");
    let config = configuration(&cli, environment.as_ref());
    let configured = config.as_ref().ok().and_then(Option::as_ref);
    let format = cli
        .log_format
        .or_else(|| configured.and_then(|config| config.log.format));
    let logging = telemetry::init(format, verbosity, color, &progress);
    if let Err(error) = forbidden {
        tracing::warn!("a crash may leave a core dump with secrets in it: {error}");
    }
    if let Err(error) = raised {
        tracing::warn!("raise the limit on open files: {error}");
    }

    let dispatched = Box::pin(async {
        let run = dispatch(cli, config?, environment?, progress, color, logging);
        Box::pin(run).await
    });
    match dispatched.await {
        Ok(exit) => exit.into(),
        Err(error) if exit::is_closed_pipe(&error) => Exit::Done.into(),
        Err(error) => {
            // Written by hand: an error ends the command whatever RUST_LOG says.
            drop(writeln!(io::stderr(), "error: {}", exit::explain(&error)));
            Exit::of(&error).into()
        }
    }
}

/// What the command is to go by; `None` for those that need no configuration.
fn configuration(
    cli: &Cli,
    environment: Result<&Environment, &anyhow::Error>,
) -> anyhow::Result<Option<Config>> {
    match cli.command {
        Command::Simulate(_) | Command::Demo(_) | Command::Completions(_) | Command::Man => {
            Ok(None)
        }
        _ => {
            let environment = environment.map_err(|error| anyhow::anyhow!("{error:#}"))?;
            Ok(Some(Config::load(cli.config.as_deref(), environment)?))
        }
    }
}

async fn dispatch(
    cli: Cli,
    config: Option<Config>,
    environment: Environment,
    progress: MultiProgress,
    color: bool,
    logging: Logging,
) -> anyhow::Result<Exit> {
    let mut out = io::stdout();
    let Some(config) = config else {
        return unconfigured(cli.command, &progress, color, &mut out).await;
    };
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    let session = Session::new(config, progress, color && io::stdout().is_terminal());
    match cli.command {
        Command::Run(args) => {
            let source = run::Source {
                explicit: cli.config,
                environment,
                logging,
            };
            run::run(&session, &args, source).await
        }
        Command::Archive(args) => archive::run(&session, &args, &mut out).await,
        Command::Enqueue(args) => queueing::enqueue(&session, &args, &mut out).await,
        Command::Discover(args) => discover::run(&session, &args, &mut out).await,
        Command::Reconcile(args) => reconcile::run(&session, &args, &mut out).await,
        Command::Rebuild(args) => rebuild::run(&session, &args, &mut out).await,
        Command::Retry(args) => queueing::retry(&session, &args, &mut out).await,
        Command::Migrate(args) => queueing::migrate(&session, &args, &mut out).await,
        Command::Status(args) => {
            let database = session.look().await?;
            let within = session.config.verify.within;
            let shown =
                status::status(database.pool(), &args, within, session.color, &mut out).await;
            database.close().await;
            shown?;
            Ok(Exit::Done)
        }
        Command::Report(ReportCommand::Costs(args)) => {
            let database = session.look().await?;
            let reported = report::costs(database.pool(), &args, terminal_width(), &mut out).await;
            database.close().await;
            reported?;
            Ok(Exit::Done)
        }
        Command::Report(ReportCommand::Focus(args)) => {
            let database = session.look().await?;
            let reported = report::focus(database.pool(), &args, &mut out).await;
            database.close().await;
            reported?;
            Ok(Exit::Done)
        }
        Command::Report(ReportCommand::Changes(args)) => {
            let database = session.look().await?;
            let reported = report::changes::run(database.pool(), &args, &mut out).await;
            database.close().await;
            reported?;
            Ok(Exit::Done)
        }
        Command::Report(ReportCommand::Reconcile(args)) => {
            let database = session.look().await?;
            let compared = report::reconcile::run(database.pool(), &args, &mut out).await;
            database.close().await;
            compared
        }
        Command::Reprice => upkeep::reprice(&session, &mut out).await,
        Command::Verify(args) => verify::run(&session, &args, &mut out).await,
        Command::Restore(args) => restore::run(&session, &args, &mut out).await,
        Command::Sweep(args) => upkeep::sweep(&session, &args, &mut out).await,
        Command::Retire(args) => retire::run(&session, &args, &mut out).await,
        Command::Doctor => doctor::run(&session, &mut out).await,
        Command::Health => health::run(session.config.http.listen, &mut out).await,
        Command::Simulate(_) | Command::Demo(_) | Command::Completions(_) | Command::Man => {
            unreachable!("these have no configuration")
        }
    }
}

/// Of the terminal that stdout is, if it is one.
fn terminal_width() -> Option<usize> {
    let (terminal_size::Width(width), _) = terminal_size::terminal_size_of(io::stdout())?;
    Some(width.into())
}

/// The commands that need no configuration.
async fn unconfigured(
    command: Command,
    progress: &MultiProgress,
    color: bool,
    out: &mut io::Stdout,
) -> anyhow::Result<Exit> {
    match command {
        Command::Simulate(args) => {
            simulate::run(*args, out).await?;
            Ok(Exit::Done)
        }
        Command::Demo(args) => demo::run(&args, progress, color, out).await,
        Command::Completions(args) => shell::completions(&args, out),
        Command::Man => shell::manual(out),
        _ => unreachable!("all others have a configuration"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::definition().debug_assert();
    }
}
