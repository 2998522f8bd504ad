//! `doctor`: one line for each thing that must be right, with the cure where it is not.

use std::io::{self, Write};

use super::exit::{Exit, explain};
use super::session::Session;
use crate::database;
use crate::printable::printable;
use crate::storage::Enforcement;

/// Writes the lines and remembers whether all was well.
struct Findings<'a, W> {
    out: &'a mut W,
    well: bool,
}

impl<W: Write> Findings<'_, W> {
    fn good(&mut self, what: &str, detail: &str) -> io::Result<()> {
        writeln!(self.out, "ok    {what:13}  {}", printable(detail))
    }

    fn note(&mut self, what: &str, detail: &str) -> io::Result<()> {
        writeln!(self.out, "note  {what:13}  {}", printable(detail))
    }

    fn bad(&mut self, what: &str, problem: &str, cure: &str) -> io::Result<()> {
        self.well = false;
        let mut named = what;
        for line in problem.lines() {
            let mark = if named.is_empty() { "" } else { "BAD" };
            writeln!(self.out, "{mark:4}  {named:13}  {}", printable(line))?;
            named = "";
        }
        writeln!(self.out, "      {:13}  cure: {cure}", "")
    }
}

pub(super) async fn run(session: &Session, out: &mut impl Write) -> anyhow::Result<Exit> {
    let mut findings = Findings { out, well: true };
    configuration(session, &mut findings)?;
    database(session, &mut findings).await?;
    api(session, &mut findings).await?;
    storage(session, &mut findings).await?;
    Ok(if findings.well {
        Exit::Done
    } else {
        Exit::Failed
    })
}

fn configuration(session: &Session, findings: &mut Findings<'_, impl Write>) -> io::Result<()> {
    let config = &session.config;
    match config.file() {
        Some(path) => findings.good("configuration", &path.display().to_string())?,
        None => findings.good("configuration", "no file; environment and defaults")?,
    }
    for (key, origin, value) in config.origins() {
        let text = format!("{key} = {value}  ({origin})");
        writeln!(findings.out, "      {:13}  {}", "", printable(&text))?;
    }
    for warning in config.warnings() {
        findings.note("configuration", warning)?;
    }
    Ok(())
}

async fn database(session: &Session, findings: &mut Findings<'_, impl Write>) -> io::Result<()> {
    let what = "database";
    if session.config.database.url.is_none() && !session.has_private_postgres() {
        let place = session.config.data_dir.display();
        let note = format!("none yet; `run` or `archive` makes a private Postgres under {place}");
        return findings.note(what, &note);
    }
    match session.connect().await {
        Ok(database) => {
            let version: Result<String, _> = sqlx::query_scalar("SHOW server_version")
                .fetch_one(database.pool())
                .await;
            let place = match database.embedded() {
                Some(private) => format!("private; look inside with: {}", private.psql_command()),
                None => "as configured".to_owned(),
            };
            let version = version.unwrap_or_else(|_| "?".to_owned());
            let schema = if database::is_current(database.pool()).await {
                "schema up to date"
            } else {
                "schema NOT up to date (the next start, or `migrate`, brings it there)"
            };
            findings.good(what, &format!("Postgres {version}, {schema}, {place}"))?;
            database.close().await;
        }
        Err(error) => {
            let cure =
                "check database.url, that the server runs and that the role may create schemas";
            findings.bad(what, &explain(&error.into()), cure)?;
        }
    }
    Ok(())
}

async fn api(session: &Session, findings: &mut Findings<'_, impl Write>) -> io::Result<()> {
    let what = "api";
    let client = match session.signalwire() {
        Ok(client) => client,
        Err(error) => {
            let cure = "set what is missing; config.example.toml shows every key";
            return findings.bad(what, &explain(&error), cure);
        }
    };
    match client.check_credentials().await {
        Ok(()) => findings.good(what, "the credentials are accepted"),
        Err(error) => {
            let (kind, error) = (error.kind(), error.into());
            findings.bad(what, &explain(&error), kind.cure())
        }
    }
}

async fn storage(session: &Session, findings: &mut Findings<'_, impl Write>) -> io::Result<()> {
    let what = "storage";
    let store = match session.storage() {
        Ok(store) => store,
        Err(error) => {
            let cure = "set what is missing; config.example.toml shows every key";
            return findings.bad(what, &explain(&error), cure);
        }
    };
    let place = session
        .config
        .storage()
        .map(|config| config.location.to_string())
        .unwrap_or_default();
    let probed = match store.check_access().await {
        Ok(()) => store.enforcement().await,
        Err(error) => Err(error),
    };
    match probed {
        Ok(None) => findings.good(what, &format!("{place}: writable; objects are read back")),
        Ok(Some(found)) => {
            findings.good(what, &format!("{place}: readable and writable"))?;
            for line in enforcement(found) {
                findings.note(what, &line)?;
            }
            Ok(())
        }
        Err(error) => {
            let (kind, error) = (error.kind(), error.into());
            findings.bad(what, &explain(&error), kind.cure())
        }
    }
}

/// What the store was seen to enforce, and what evidence follows.
fn enforcement(found: Enforcement) -> [String; 3] {
    let refuses = |yes| if yes { "refused" } else { "NOT refused" };
    let evidence = if !found.put_checksum || !found.part_checksum {
        "so every object is read back to prove it"
    } else if found.object_checksum {
        "so evidence is `full_object` unless storage.verify = \"read_back\""
    } else {
        "so evidence is `parts` unless storage.verify = \"read_back\""
    };
    [
        format!(
            "wrong checksums are {} on PUT and {} on parts; overwriting is {} when only creating is asked",
            refuses(found.put_checksum),
            refuses(found.part_checksum),
            refuses(found.create_only),
        ),
        format!(
            "completing an upload is {} with a wrong checksum of the whole, {} with a wrong size, {} over another object",
            refuses(found.object_checksum),
            refuses(found.object_size),
            refuses(found.complete_create_only),
        ),
        evidence.to_owned(),
    ]
}
