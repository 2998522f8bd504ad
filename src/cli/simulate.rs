//! Answers for the command `simulate`: a SignalWire on this machine to try the archiver against.

mod series;

use std::{
    fmt::Write as _,
    fs,
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use bytesize::ByteSize;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use uuid::Uuid;

use self::series::{Series, sizes};
use crate::simulator::{
    CostToken, FaultOrder, SimulatedRecording, Simulator, SimulatorConfig, fault_spellings,
    generated_recordings, parse_fault, recordings_in,
};

/// Stand in for SignalWire's Video API and its media host, until Ctrl-C
///
/// Without --recordings, --media or --recording-id it serves the one recording of the vendor's
/// documentation.
#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Serve this many generated recordings; repeat it for some of another size, as 20x256MiB
    #[arg(long, value_name = "N[xSIZE]", value_parser = Series::parse)]
    recordings: Vec<Series>,
    /// Size of each generated recording that has none of its own
    #[arg(long, value_name = "SIZE", default_value = "20MiB")]
    size: ByteSize,
    /// Serve the files of this directory
    #[arg(long, value_name = "DIR")]
    media: Option<PathBuf>,
    /// Serve the documented example beside whatever else is asked for
    #[arg(long)]
    seed_example: bool,
    /// Serve one recording of this id, of --size
    #[arg(long, value_name = "UUID")]
    recording_id: Option<Uuid>,
    /// What that recording's metadata claims as its size
    #[arg(long, value_name = "N", requires = "recording_id")]
    size_in_bytes: Option<u64>,
    /// That recording's cost, as JSON: 0.050, 1e-7, "0.05", null
    #[arg(long, value_name = "TOKEN", requires = "recording_id", value_parser = json_token)]
    cost: Option<String>,
    /// That recording's status; anything but `completed` hides its link
    #[arg(long, value_name = "TEXT", requires = "recording_id")]
    status: Option<String>,
    /// That recording's MIME type
    #[arg(long, value_name = "MIME", requires = "recording_id")]
    format: Option<String>,
    /// The most that the media host sends on one connection, per second
    #[arg(long, value_name = "SIZE", alias = "bandwidth")]
    connection_rate: Option<ByteSize>,
    /// Project id to accept
    #[arg(long, value_name = "P")]
    project_id: Option<String>,
    /// File with the API token to accept; else `SIGNALWIRE_API_TOKEN`, else a new one is printed
    #[arg(long, value_name = "FILE")]
    api_token_file: Option<PathBuf>,
    /// Something to go wrong, as in `all=media-cut-after:1MiBx3`; --help lists what can
    #[arg(long = "fault", value_name = "FAULT", value_parser = parse_fault, long_help = fault_help())]
    faults: Vec<FaultOrder>,
    /// Write the ids here, one per line
    #[arg(long, value_name = "PATH")]
    ids_file: Option<PathBuf>,
    /// At the end write here what the recordings were, as SHA-256 and id, one per line
    #[arg(long, value_name = "PATH")]
    digests_file: Option<PathBuf>,
}

/// Serves until Ctrl-C or SIGTERM. What a client needs to know goes to `out` first.
pub async fn run(args: SimulateArgs, out: &mut impl Write) -> anyhow::Result<()> {
    // Watched before anything is printed: who reads the address may stop it at once.
    let mut interrupt = signal(SignalKind::interrupt()).context("watch for Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("watch for SIGTERM")?;
    let digests_file = args.digests_file.clone();
    let (simulator, ids) = start(args, std::env::var("SIGNALWIRE_API_TOKEN").ok(), out).await?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    if let Some(path) = digests_file {
        write_digests(&simulator, &ids, &path)?;
    }
    simulator.stop().await;
    Ok(())
}

/// Faults may have changed what a recording is: this is what it has become.
fn write_digests(simulator: &Simulator, ids: &[Uuid], path: &Path) -> anyhow::Result<()> {
    let mut lines = String::new();
    for id in ids {
        if let Some(sha256) = simulator.media_sha256(*id) {
            writeln!(lines, "{}  {id}", hex::encode(sha256))?;
        }
    }
    fs::write(path, lines).with_context(|| format!("write digests to {}", path.display()))
}

fn fault_help() -> String {
    format!(
        "Something to go wrong: RECORDING_ID|all=FAULT[:ARG][xTIMES][,after=N][,every=N], once if \
         TIMES is not given; xalways never ends. `,after=3` lets the first three requests pass that \
         could meet it, `,every=5` all but every fifth, and never ends by itself. Repeat --fault for \
         several: of those that are due, the first happens. FAULT is one of:\n{}",
        fault_spellings().join("\n")
    )
}

/// Where the accepted token came from, which decides what is printed of it.
enum Token {
    File(PathBuf, String),
    Environment(String),
    New(String),
}

async fn start(
    args: SimulateArgs,
    token_in_environment: Option<String>,
    out: &mut impl Write,
) -> anyhow::Result<(Simulator, Vec<Uuid>)> {
    let recordings = recordings(&args)?;
    let token = token(args.api_token_file.clone(), token_in_environment)?;
    let (Token::File(_, text) | Token::Environment(text) | Token::New(text)) = &token;
    let simulator = Simulator::start(config(&args, text))
        .await
        .with_context(|| {
            format!(
                "listen on {}; choose another address with --listen",
                args.listen
            )
        })?;
    for (_, recording) in &recordings {
        simulator.add(recording.clone());
    }
    for order in args.faults {
        match order.recording_id {
            None => simulator.inject_for_all(order.fault, order.times),
            Some(id) if simulator.inject(id, order.fault, order.times) => {}
            Some(id) => bail!("inject fault: recording {id} is not among those served"),
        }
    }
    let ids: Vec<Uuid> = recordings.iter().map(|(_, it)| it.id).collect();
    if let Some(path) = &args.ids_file {
        let mut lines = String::new();
        for id in &ids {
            writeln!(lines, "{id}")?;
        }
        fs::write(path, lines).with_context(|| format!("write ids to {}", path.display()))?;
    }
    print(&simulator, &token, &recordings, out).context("print what is served")?;
    Ok((simulator, ids))
}

fn config(args: &SimulateArgs, api_token: &str) -> SimulatorConfig {
    let default = SimulatorConfig::default();
    SimulatorConfig {
        listen: args.listen,
        project_id: args.project_id.clone().unwrap_or(default.project_id),
        api_token: api_token.to_owned(),
        connection_rate: args.connection_rate.map(|size| size.as_u64()),
        ..default
    }
}

fn token(file: Option<PathBuf>, environment: Option<String>) -> anyhow::Result<Token> {
    if let Some(path) = file {
        let text = fs::read_to_string(&path)
            .with_context(|| format!("read API token from {}", path.display()))?;
        return Ok(Token::File(path, text.trim().to_owned()));
    }
    Ok(match environment.filter(|token| !token.is_empty()) {
        Some(token) => Token::Environment(token),
        None => Token::New(format!("PT{}", hex::encode(rand::random::<[u8; 20]>()))),
    })
}

/// What is to be served, each with a name for the table.
fn recordings(args: &SimulateArgs) -> anyhow::Result<Vec<(String, SimulatedRecording)>> {
    let mut recordings = Vec::new();
    let generated = args.recordings.iter().any(|series| series.count > 0);
    let nothing_asked = !generated && args.media.is_none() && args.recording_id.is_none();
    if args.seed_example || nothing_asked {
        recordings.push((
            "documented example".into(),
            SimulatedRecording::documented_example(),
        ));
    }
    if let Some(id) = args.recording_id {
        recordings.push(("--recording-id".into(), custom(args, id)));
    }
    let generated = generated_recordings(sizes(&args.recordings, args.size));
    recordings.extend(generated.map(|recording| ("generated".into(), recording)));
    if let Some(directory) = &args.media {
        recordings.extend(files(directory)?);
    }
    Ok(recordings)
}

fn files(directory: &Path) -> anyhow::Result<Vec<(String, SimulatedRecording)>> {
    let files = recordings_in(directory)
        .with_context(|| format!("read media directory {}", directory.display()))?;
    if files.is_empty() {
        bail!(
            "read media directory {}: no files in it",
            directory.display()
        );
    }
    Ok(files)
}

fn custom(args: &SimulateArgs, id: Uuid) -> SimulatedRecording {
    let mut recording = SimulatedRecording::new(id, args.size.as_u64());
    recording.declared_size_bytes = args.size_in_bytes;
    if let Some(token) = &args.cost {
        recording.cost = CostToken::Json(token.clone());
    }
    if args.status.is_some() {
        recording.status.clone_from(&args.status);
    }
    if args.format.is_some() {
        recording.format.clone_from(&args.format);
    }
    recording
}

fn json_token(text: &str) -> Result<String, serde_json::Error> {
    serde_json::from_str::<&serde_json::value::RawValue>(text).map(|token| token.get().to_owned())
}

fn print(
    simulator: &Simulator,
    token: &Token,
    recordings: &[(String, SimulatedRecording)],
    out: &mut impl Write,
) -> std::io::Result<()> {
    writeln!(
        out,
        "# A simulated SignalWire at {}, until Ctrl-C.",
        simulator.base_url()
    )?;
    writeln!(out, "export SIGNALWIRE_SPACE={}", simulator.base_url())?;
    writeln!(
        out,
        "export SIGNALWIRE_PROJECT_ID={}",
        shell_word(simulator.project_id())
    )?;
    match token {
        Token::File(path, _) => {
            let path = path.display().to_string();
            writeln!(
                out,
                "export SIGNALWIRE_API_TOKEN_FILE={}",
                shell_word(&path)
            )?;
        }
        // Whoever set it has it; a token that is not ours to show is not shown.
        Token::Environment(_) => {}
        Token::New(token) => writeln!(out, "export SIGNALWIRE_API_TOKEN={token}")?,
    }
    writeln!(out, "\n{:36}  {:>15}  name", "id", "size_bytes")?;
    for (name, recording) in recordings {
        let size_bytes = simulator.media_size_bytes(recording.id).unwrap_or_default();
        writeln!(out, "{}  {size_bytes:>15}  {name}", recording.id)?;
    }
    out.flush()
}

/// `text` so that a POSIX shell reads it back as one word.
fn shell_word(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::simulator::{Fault, MetadataFault};

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: SimulateArgs,
    }

    fn parsed(flags: &[&str]) -> Result<SimulateArgs, clap::Error> {
        Cli::try_parse_from(["simulate", "--listen", "127.0.0.1:0"].iter().chain(flags))
            .map(|cli| cli.args)
    }

    async fn printed(flags: &[&str], environment: Option<&str>) -> (Simulator, String) {
        let mut out = Vec::new();
        let args = parsed(flags).unwrap();
        let (simulator, _) = start(args, environment.map(str::to_owned), &mut out)
            .await
            .unwrap();
        (simulator, String::from_utf8(out).unwrap())
    }

    #[tokio::test]
    async fn without_flags_the_documented_example_is_served() {
        let (simulator, text) = printed(&[], None).await;
        assert!(text.contains(&format!(
            "export SIGNALWIRE_SPACE={}\n",
            simulator.base_url()
        )));
        let token = format!("export SIGNALWIRE_API_TOKEN={}\n", simulator.api_token());
        assert!(text.contains(&token), "{text}");
        assert!(
            text.contains("c22d24f6-5a47-4597-9a23-c7d01e696b92         20971520  doc"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn a_token_that_was_given_is_accepted_but_not_shown() {
        let (simulator, text) = printed(&[], Some("PTgiven")).await;
        assert_eq!(simulator.api_token(), "PTgiven");
        assert!(!text.contains("PTgiven"), "{text}");

        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "PTfile\n").unwrap();
        let path = file.path().to_str().unwrap();
        let (simulator, text) = printed(&["--api-token-file", path], Some("PTgiven")).await;
        assert_eq!(simulator.api_token(), "PTfile");
        assert!(
            text.contains(&format!("SIGNALWIRE_API_TOKEN_FILE={path}\n")),
            "{text}"
        );
        assert!(!text.contains("PTfile"), "{text}");
    }

    #[tokio::test]
    async fn all_kinds_of_recordings_can_be_served_together() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("talk.webm"), "1234567").unwrap();
        let ids_file = directory.path().join(".ids");
        let id = "0dd5bd3b-3f0c-4e4c-9d5e-2f2a1a6b7c11";
        let (simulator, text) = printed(
            &[
                "--seed-example",
                "--recordings=2",
                "--recordings=1x2KiB",
                "--size=1KiB",
                &format!("--media={}", directory.path().display()),
                &format!("--recording-id={id}"),
                "--cost=0.050",
                "--size-in-bytes=77",
                &format!("--ids-file={}", ids_file.display()),
            ],
            None,
        )
        .await;
        let ids = fs::read_to_string(&ids_file).unwrap();
        let ids: Vec<Uuid> = ids.lines().map(|line| line.parse().unwrap()).collect();
        let sizes: Vec<_> = ids
            .iter()
            .filter_map(|it| simulator.media_size_bytes(*it))
            .collect();
        assert_eq!(sizes, [20_971_520, 1024, 1024, 1024, 2048, 7]);
        assert_eq!(ids[1].to_string(), id);
        for id in ids {
            assert!(text.contains(&id.to_string()), "{text}");
        }
    }

    #[tokio::test]
    async fn a_fault_for_a_recording_that_is_not_served_is_refused() {
        let args = parsed(&["--fault=00000000-0000-0000-0000-000000000000=media-reset"]).unwrap();
        let error = start(args, None, &mut Vec::new()).await.unwrap_err();
        assert!(
            error.to_string().contains("is not among those served"),
            "{error}"
        );
    }

    #[test]
    fn flags_are_checked_before_anything_starts() {
        let faults = parsed(&["--fault", "all=metadata-status:503x2"])
            .unwrap()
            .faults;
        assert_eq!(faults[0].fault, Fault::Metadata(MetadataFault::Status(503)));
        for wrong in [
            &["--fault=all=media-explodes"][..],
            &["--cost=0.05"],
            &[
                "--recording-id=0dd5bd3b-3f0c-4e4c-9d5e-2f2a1a6b7c11",
                "--cost=0.05 dollars",
            ],
            &["--size=large"],
            &["--recordings=20x"],
            &["--recordings=many"],
        ] {
            assert!(parsed(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_rate_of_a_connection_is_a_size() {
        let rate = |flags: &[&str]| config(&parsed(flags).unwrap(), "").connection_rate;
        assert_eq!(rate(&[]), None);
        assert_eq!(rate(&["--connection-rate=20MiB"]), Some(20 << 20));
    }

    #[test]
    fn words_are_quoted_for_the_shell_only_when_needed() {
        assert_eq!(shell_word("/run/token"), "/run/token");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
    }
}
