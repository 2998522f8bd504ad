//! `demo`: the whole thing in one process. A simulated SignalWire on loopback, a private Postgres
//! and a file store under one directory, and the same worker as `run`.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use indicatif::MultiProgress;
use sqlx::PgPool;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::bars::Bars;
use super::exit::Exit;
use super::human;
use super::report::{self, CostsArgs, CostsOutput};
use super::session::Session;
use crate::archive::{Archiver, Report};
use crate::config::{Config, Environment};
use crate::daemon::{Ending, Hangups, Shutdown, Worker};
use crate::database::Database;
use crate::finance::report::Grouping;
use crate::printable::printable;
use crate::progress::Board;
use crate::queue::Outcome;
use crate::simulator::{Simulator, SimulatorConfig};

mod cast;
mod follow_up;

use cast::Part;

/// The demo waits for retries that are due within this time, and leaves later ones to a next run.
const PATIENCE: Duration = Duration::from_secs(45);
/// Tables fit into this width where the output is no terminal.
const COLUMNS: usize = 80;
const DATA_DIR: &str = "RECORDING_ARCHIVER_DATA_DIR";

#[derive(Debug, clap::Args)]
pub(super) struct DemoArgs {
    /// Where database and files go [default: ./recording-archive]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

pub(super) async fn run(
    args: &DemoArgs,
    progress: &MultiProgress,
    color: bool,
    out: &mut impl Write,
) -> anyhow::Result<Exit> {
    let shutdown = Shutdown::on_signals(Duration::ZERO, Hangups::watch_unless_ignored()?)?;
    let simulator = Simulator::start(SimulatorConfig::default())
        .await
        .context("start the simulated SignalWire")?;
    let session = Session::new(
        configuration(args, &simulator)?,
        progress.clone(),
        color && io::stdout().is_terminal(),
    );
    writeln!(
        out,
        "Simulated SignalWire  {}\nPrivate Postgres      {}",
        simulator.base_url(),
        session.config.data_dir.join("postgres").display()
    )?;
    let database = session.migrated().await?;
    let shown = show(&session, &database, &simulator, &shutdown, out).await;
    database.close().await;
    simulator.stop().await;
    shown
}

/// The demo's own settings: nothing of this host's configuration gets in.
fn configuration(args: &DemoArgs, simulator: &Simulator) -> anyhow::Result<Config> {
    let here = std::env::current_dir().context("find the current directory")?;
    let mut variables: Vec<(&str, OsString)> = vec![
        ("SIGNALWIRE_SPACE", simulator.base_url().into()),
        ("SIGNALWIRE_PROJECT_ID", simulator.project_id().into()),
        ("SIGNALWIRE_API_TOKEN", simulator.api_token().into()),
    ];
    if let Some(data_dir) = &args.data_dir {
        variables.push((DATA_DIR, here.join(data_dir).into()));
    }
    let environment = Environment::isolated(&here, variables);
    Ok(Config::of_environment(&environment)?)
}

async fn show(
    session: &Session,
    database: &Database,
    simulator: &Simulator,
    shutdown: &Shutdown,
    out: &mut impl Write,
) -> anyhow::Result<Exit> {
    let pool = database.pool();
    let store = session.config.storage()?.location.to_string();
    writeln!(out, "Archive               {store}\n")?;

    let archiver = Arc::new(session.archiver(pool)?);
    archiver
        .queue
        .register_project(&session.config.signalwire()?.space)
        .await?;
    let second_time = meeting_was_running(pool).await?;
    let cast = cast::cast(second_time);
    for part in &cast {
        part.enter(simulator);
    }
    let new = enqueue(pool, &cast).await?;
    writeln!(
        out,
        "INSERT INTO archiver.recordings (recording_id) VALUES (…), (…), …;\n\
         {} queued, {} known from an earlier run\n",
        new,
        cast.len() as u64 - new
    )?;

    if !archive_all(session, &archiver, pool, &cast, shutdown, out).await? {
        return Ok(Exit::Failed);
    }
    tell_what_became(pool, &cast, out).await?;
    writeln!(out, "\nWhat it cost (recording-archiver report costs)\n")?;
    let costs = CostsArgs {
        by: Grouping::Month,
        from: None,
        to: None,
        project: None,
        output: CostsOutput::Table,
    };
    let width = super::terminal_width().unwrap_or(COLUMNS);
    report::costs(pool, &costs, Some(width), out).await?;
    follow_up::where_to_look(session, database, out)?;
    wait_at_a_terminal(shutdown, out).await?;
    Ok(Exit::Done)
}

/// Whether an earlier run met the meeting while it was still being recorded: it has ended by now.
async fn meeting_was_running(pool: &PgPool) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM archiver.recordings
                         WHERE recording_id = $1 AND recording_status = 'recording')",
    )
    .bind(cast::meeting())
    .fetch_one(pool)
    .await
}

/// Enqueues as any program may: an INSERT of IDs, nothing else.
async fn enqueue(pool: &PgPool, cast: &[Part]) -> Result<u64, sqlx::Error> {
    let ids: Vec<Uuid> = cast.iter().map(|part| part.id).collect();
    let inserted = sqlx::query(
        "INSERT INTO archiver.recordings (recording_id)
         SELECT unnest($1::uuid[]) ON CONFLICT DO NOTHING",
    )
    .bind(&ids)
    .execute(pool)
    .await?;
    // What the last run put off is what this run is for.
    sqlx::query(
        "UPDATE archiver.recordings SET next_attempt_at = now()
          WHERE recording_id = ANY ($1) AND state = 'pending'",
    )
    .bind(&ids)
    .execute(pool)
    .await?;
    Ok(inserted.rows_affected())
}

/// Drains the queue, and again while retries are due soon. `false` if it had to stop.
async fn archive_all(
    session: &Session,
    archiver: &Arc<Archiver>,
    pool: &PgPool,
    cast: &[Part],
    shutdown: &Shutdown,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let board = Board::default();
    let bars = Bars::follow(board.clone(), &session.progress, None);
    loop {
        let (reports, mut heard) = mpsc::unbounded_channel();
        let worker = Worker::new(
            Arc::clone(archiver),
            session.config.worker.concurrency,
            board.clone(),
            reports,
        );
        let telling = async {
            while let Some(report) = heard.recv().await {
                bars.done(1);
                bars.beside(|| tell(&report, cast, out))?;
            }
            io::Result::Ok(())
        };
        let (ending, told) = tokio::join!(worker.run_once(shutdown), telling);
        told?;
        match ending {
            Ending::Done => {}
            Ending::Halted { message, .. } => anyhow::bail!(message),
            Ending::Database(error) => return Err(error.into()),
        }
        if shutdown.soft.is_cancelled() {
            return Ok(false);
        }
        let Some(wait) = next_retry(pool).await?.filter(|wait| *wait <= PATIENCE) else {
            return Ok(true);
        };
        bars.beside(|| {
            writeln!(
                out,
                "          … the next retry is due in {:.0} s",
                wait.as_secs_f64().ceil()
            )
        })?;
        let pause = tokio::time::sleep(wait);
        if shutdown.soft.run_until_cancelled(pause).await.is_none() {
            return Ok(false);
        }
    }
}

/// How long until the next retry is due; a recording that is not ready is not waited for.
async fn next_retry(pool: &PgPool) -> Result<Option<Duration>, sqlx::Error> {
    let seconds: Option<f64> = sqlx::query_scalar(
        "SELECT extract(epoch FROM min(next_attempt_at) - now())::float8
           FROM archiver.recordings WHERE state = 'pending' AND not_ready_since IS NULL",
    )
    .fetch_one(pool)
    .await?;
    Ok(seconds.map(|seconds| Duration::from_secs_f64(seconds.max(0.1))))
}

/// One line for each attempt.
fn tell(report: &Report, cast: &[Part], out: &mut impl Write) -> io::Result<()> {
    let story = cast
        .iter()
        .find(|part| part.id == report.recording_id.uuid())
        .map_or("", |part| part.story);
    let ended = match (&report.object, &report.failure) {
        (Some(object), _) => format!(
            "{:>9}  {}",
            human::size(object.fingerprint.size_bytes.into()),
            object.evidence
        ),
        (None, Some(failure)) => format!("{}: {}", failure.kind, printable(&failure.message)),
        (None, None) => String::new(),
    };
    let outcome = match report.outcome {
        Outcome::AlreadyArchived => "archived",
        outcome => outcome.as_str(),
    };
    writeln!(out, "{outcome:10}{story:44}{ended}")
}

/// What the queue says of a recording now.
#[derive(Debug, sqlx::FromRow)]
struct Ended {
    recording_id: Uuid,
    state: String,
    tries: i64,
    evidence: Option<String>,
    cost_usd: Option<String>,
    error_kind: Option<String>,
}

async fn tell_what_became(
    pool: &PgPool,
    cast: &[Part],
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let ids: Vec<Uuid> = cast.iter().map(|part| part.id).collect();
    let rows: Vec<Ended> = sqlx::query_as(
        "SELECT recording_id, state, evidence, cost_usd::text, error_kind,
                (SELECT count(*) FROM archiver.attempts a
                  WHERE a.recording_id = r.recording_id) AS tries
           FROM archiver.recordings r WHERE recording_id = ANY ($1)",
    )
    .bind(&ids)
    .fetch_all(pool)
    .await?;
    let lines = cast
        .iter()
        .filter_map(|part| {
            let row = rows.iter().find(|row| row.recording_id == part.id)?;
            let why = row.evidence.as_ref().or(row.error_kind.as_ref());
            Some(vec![
                part.story.to_owned(),
                row.tries.to_string(),
                row.cost_usd.clone().unwrap_or_default(),
                match why {
                    Some(why) => format!("{}, {why}", row.state),
                    None => row.state.clone(),
                },
            ])
        })
        .collect();
    // Fits into 80 columns.
    let header = ["recording", "tries", "cost USD", "what became of it"];
    let table = human::table(&header, &[1, 2], lines);
    writeln!(out, "\nIn the end\n")?;
    writeln!(out, "{}", table.trim_end())?;
    Ok(())
}

/// The private Postgres ends with this process, so a person who wants to look gets the time.
async fn wait_at_a_terminal(shutdown: &Shutdown, out: &mut impl Write) -> anyhow::Result<()> {
    if !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
        return Ok(());
    }
    write!(out, "\nThe database runs until you press Enter. ")?;
    out.flush()?;
    let enter = tokio::task::spawn_blocking(|| io::stdin().read_line(&mut String::new()));
    drop(shutdown.soft.run_until_cancelled(enter).await);
    Ok(())
}
