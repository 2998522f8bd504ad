//! `doctor`: one line for each thing that must be right, with the cure where it is not.

use std::io::{self, Write};

use super::exit::{Exit, explain};
use super::session::{Session, holder};
use crate::archive::{ArchiveError, confirm_store};
use crate::config::ChecksumMode;
use crate::database::{self, Database, Intent, SchemaVersion};
use crate::error::chain;
use crate::printable::printable;
use crate::storage::{Algorithm, Enforcement, PartSize, PartSizeAnswer, StorageError};
use crate::upkeep::{PART_SIZE_CURE, REMOVAL_CURE, look};

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
    let database = database(session, &mut findings).await?;
    api(session, &mut findings).await?;
    storage(session, database.as_ref(), &mut findings).await?;
    if let Some(database) = database {
        database.close().await;
    }
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

async fn database(
    session: &Session,
    findings: &mut Findings<'_, impl Write>,
) -> io::Result<Option<Database>> {
    let what = "database";
    if session.config.database.url.is_none() && !session.has_private_postgres() {
        let place = session.config.data_dir.display();
        let note = format!("none yet; `run` or `archive` makes a private Postgres under {place}");
        findings.note(what, &note)?;
        return Ok(None);
    }
    match session.connect(Intent::Write).await {
        Ok(database) => {
            let version: Result<String, _> = sqlx::query_scalar("SHOW server_version")
                .fetch_one(database.pool())
                .await;
            let place = match database.embedded() {
                Some(private) => format!("private; look inside with: {}", private.psql_command()),
                None => "as configured".to_owned(),
            };
            let version = version.unwrap_or_else(|_| "?".to_owned());
            let schema = match database::schema_version(database.pool()).await {
                Ok(SchemaVersion::Current) => "schema up to date".to_owned(),
                Ok(SchemaVersion::Newer { applied }) => {
                    format!("schema of a newer version (migration {applied}), compatible")
                }
                Ok(SchemaVersion::Missing) => {
                    "no schema yet (`migrate`, or the start of the service, creates it)".to_owned()
                }
                Ok(SchemaVersion::Older { applied }) => format!(
                    "schema of an older version (migration {applied}; `migrate`, or the start of the \
                     service, upgrades it)"
                ),
                Ok(unusable @ (SchemaVersion::TooNew { .. } | SchemaVersion::Altered { .. })) => {
                    if let Err(error) = unusable.demand_usable() {
                        findings.bad(what, &explain(&error.into()), "see the message")?;
                    }
                    database.close().await;
                    return Ok(None);
                }
                Err(error) => format!("schema not read: {error}"),
            };
            findings.good(what, &format!("Postgres {version}, {schema}, {place}"))?;
            if let Some(shortage) = database.shortage() {
                findings.note(what, &shortage)?;
            }
            rights(&database, findings).await?;
            Ok(Some(database))
        }
        Err(error) => {
            let cure =
                "check database.url, that the server runs and that the role may create schemas";
            findings.bad(what, &explain(&error.into()), cure)?;
            Ok(None)
        }
    }
}

/// Checks each right that the service and its commands need, as the role that is configured.
async fn rights(database: &Database, findings: &mut Findings<'_, impl Write>) -> io::Result<()> {
    let what = "database";
    match database::missing_rights(database.pool()).await {
        Ok(None) => findings.good(what, "the role has every right that the service needs"),
        Ok(Some(missing)) => {
            let role = &missing.role;
            let problem = format!("role {role} lacks rights that the service needs");
            let cure = format!(
                "as the owner of schema archiver: `recording-archiver migrate --grant-service {role}`, or in SQL:"
            );
            findings.bad(what, &problem, &cure)?;
            for statement in &missing.grants {
                writeln!(findings.out, "      {:13}  {statement}", "")?;
            }
            Ok(())
        }
        Err(error) => {
            let problem = format!("check the role's rights: {}", chain(&error));
            findings.bad(what, &problem, "see the server's log")
        }
    }
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

async fn storage(
    session: &Session,
    database: Option<&Database>,
    findings: &mut Findings<'_, impl Write>,
) -> io::Result<()> {
    let what = "storage";
    let store = match session.storage() {
        Ok(store) => store,
        Err(error) => {
            let cure = "set what is missing; config.example.toml shows every key";
            return findings.bad(what, &explain(&error), cure);
        }
    };
    let place = store.location().to_string();
    let confirmed = match database {
        // Without a schema, nothing is known to be archived.
        Some(database) => confirm_store(database.pool(), &store).await,
        None => Ok(()),
    };
    let probed = match confirmed {
        Err(ArchiveError::Storage(error)) => Err(error),
        _ => match store.check_access().await {
            Ok(access) => look(&store).await.map(|known| (access, known)),
            Err(error) => Err(error),
        },
    };
    let (access, known) = match probed {
        Ok((access, known)) => (access, known.with_part_size(&store).await),
        Err(error) => {
            let (kind, error) = (error.kind(), error.into());
            return findings.bad(what, &explain(&error), kind.cure());
        }
    };
    let known = match database {
        Some(database) => known.on_record(database.pool(), &holder()).await,
        None => known,
    };
    let Some(found) = known.found else {
        findings.good(what, &format!("{place}: writable; objects are read back"))?;
        if let Some(path) = store.readable_by_others().await {
            let path = path.display();
            let note =
                format!("other users may read recordings below {path}; fix: chmod -R go= {path}");
            findings.note(what, &note)?;
        }
        return removal(access.cannot_remove, findings);
    };
    findings.good(what, &format!("{place}: readable and writable"))?;
    removal(access.cannot_remove, findings)?;
    for line in enforcement(&found) {
        findings.note(what, &line)?;
    }
    if let Some(part_size) = &known.part_size {
        parts(part_size, findings)?;
    }
    let evidence = known.assurance.evidence;
    let reason = known.assurance.reason;
    let reason = reason.map_or_else(String::new, |reason| format!(", because {reason}"));
    findings.note(what, &format!("so evidence is `{evidence}`{reason}"))?;
    if let Some(worse) = known.worse {
        findings.note(what, &worse.to_string())?;
    }
    if let Some(error) = known.unrecorded {
        findings.note(what, &format!("this is not put on record: {error}"))?;
    }
    Ok(())
}

/// A line where objects cannot be removed.
fn removal(
    cannot_remove: Option<StorageError>,
    findings: &mut Findings<'_, impl Write>,
) -> io::Result<()> {
    let Some(error) = cannot_remove else {
        return Ok(());
    };
    let error = explain(&error.into());
    findings.bad(
        "storage",
        &format!("cannot remove objects: {error}"),
        REMOVAL_CURE,
    )
}

fn parts(found: &PartSize, findings: &mut Findings<'_, impl Write>) -> io::Result<()> {
    let what = "storage";
    let size = bytesize::ByteSize(found.bytes).display().iec();
    match &found.answer {
        PartSizeAnswer::Taken => findings.note(what, &format!("parts of {size} are taken")),
        PartSizeAnswer::Refused(said) => {
            let problem = format!("parts of {size} are refused: {said}");
            findings.bad(what, &problem, PART_SIZE_CURE)
        }
        PartSizeAnswer::Untold(error) => {
            let note = format!("whether parts of {size} are taken could not be told: {error}");
            findings.note(what, &note)
        }
    }
}

/// What the store was seen to do.
fn enforcement(found: &Enforcement) -> Vec<String> {
    let refuses = |yes| if yes { "refused" } else { "NOT refused" };
    let does = |yes, what: &str| format!("{}{what}", if yes { "" } else { "NOT " });
    let mut lines = Vec::new();
    if found.checksum == ChecksumMode::None {
        lines.push("no checksums are sent: storage.checksum is none".to_owned());
    } else {
        for (name, algorithm) in [
            ("CRC64NVME", Algorithm::Crc64Nvme),
            ("SHA-256", Algorithm::Sha256),
        ] {
            lines.push(format!(
                "a wrong {name} is {} on PUT and {} of a part",
                refuses(found.put(algorithm)),
                refuses(found.part(algorithm)),
            ));
        }
    }
    lines.push(format!(
        "overwriting is {} on PUT when only creating is asked",
        refuses(found.create_only)
    ));
    lines.push(format!(
        "completing an upload is {} with a wrong checksum of the whole, {} with a wrong size, {} over another object",
        refuses(found.object_checksum),
        refuses(found.object_size),
        refuses(found.complete_create_only),
    ));
    lines.push(format!(
        "uploads are {} and {}, their parts {}; metadata is {}",
        does(found.lists_uploads, "listed"),
        does(found.aborts_uploads, "aborted"),
        does(found.lists_parts, "listed"),
        does(found.keeps_metadata, "kept"),
    ));
    lines
}
