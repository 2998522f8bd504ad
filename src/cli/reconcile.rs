//! `reconcile`: provider, queue and bucket held against each other.

use std::collections::BTreeMap;
use std::io::{self, Write};

use indicatif::ProgressBar;
use serde::Serialize;

use super::exit::Exit;
use super::human;
use super::session::Session;
use crate::finance::report::Cell;
use crate::printable::{printable, write_json};
use crate::recording::RecordingId;
use crate::upkeep::{
    Difference, DifferenceKind, Listener, PAGE_SIZE, ReconcileError, Reconciled, Reconciliation,
};

const COLUMNS: [&str; 6] = [
    "kind",
    "recording_id",
    "object_key",
    "detail",
    "fixed",
    "cure",
];

#[derive(Debug, clap::Args)]
pub(super) struct ReconcileArgs {
    /// Mend what can be mended without a risk: queue what is not queued, write missing manifests
    #[arg(long)]
    fix: bool,
    /// Compare the queue with one side only
    #[arg(long, value_enum)]
    only: Option<Side>,
    /// A table to read; CSV and JSON have one difference a line
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Side {
    Provider,
    Bucket,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    Table,
    Csv,
    Json,
}

/// Writes differences as they are found: there may be any number of them.
struct Report<'a, W> {
    output: Output,
    out: &'a mut W,
    bar: ProgressBar,
    is_empty: bool,
    /// How many of each kind, and how many of these are fixed.
    by_kind: BTreeMap<DifferenceKind, (u64, u64)>,
}

pub(super) async fn run(
    session: &Session,
    args: &ReconcileArgs,
    out: &mut impl Write,
) -> anyhow::Result<Exit> {
    let signalwire = session.signalwire()?;
    let storage = session.storage_to_look_at()?;
    let database = session.look().await?;
    let reconciliation = Reconciliation {
        pool: database.pool(),
        signalwire: &signalwire,
        storage: &storage,
        page_size: PAGE_SIZE,
        fix: args.fix,
    };
    let mut report = Report {
        output: args.output,
        out,
        bar: session.progress.add(ProgressBar::new_spinner()),
        is_empty: true,
        by_kind: BTreeMap::new(),
    };
    report.begin()?;
    let compared = compare(&reconciliation, args.only, &mut report).await;
    report.bar.finish_and_clear();
    database.close().await;
    let compared = compared?;
    report.end(&compared)?;
    Ok(if compared.differences > compared.fixed {
        Exit::Failed
    } else if compared.unsure > 0 {
        Exit::Later
    } else {
        Exit::Done
    })
}

async fn compare<W: Write>(
    reconciliation: &Reconciliation<'_>,
    only: Option<Side>,
    report: &mut Report<'_, W>,
) -> Result<Reconciled, ReconcileError> {
    let mut so_far = Reconciled::default();
    if only != Some(Side::Bucket) {
        Box::pin(reconciliation.provider(&mut so_far, report)).await?;
    }
    if only != Some(Side::Provider) {
        Box::pin(reconciliation.bucket(&mut so_far, report)).await?;
    }
    Ok(so_far)
}

impl<W: Write> Listener for Report<'_, W> {
    fn difference(&mut self, difference: &Difference) -> io::Result<()> {
        let bar = self.bar.clone();
        bar.suspend(|| self.tell(difference))
    }

    fn so_far(&mut self, compared: &Reconciled) {
        self.bar.set_message(format!(
            "{} listed, {} stored, {} differences",
            compared.listed, compared.stored, compared.differences
        ));
        self.bar.tick();
    }
}

impl<W: Write> Report<'_, W> {
    fn begin(&mut self) -> io::Result<()> {
        match self.output {
            Output::Csv => self.csv(&COLUMNS.map(str::to_owned)),
            Output::Table | Output::Json => Ok(()),
        }
    }

    fn tell(&mut self, difference: &Difference) -> io::Result<()> {
        let (all, fixed) = self.by_kind.entry(difference.kind).or_default();
        *all += 1;
        *fixed += u64::from(difference.fixed);
        let row = Row::from(difference);
        match self.output {
            Output::Table => self.line(&row),
            Output::Csv => {
                let id = row.recording_id.map(|id| Cell::from(id.uuid()));
                let texts = [row.object_key, Some(row.detail)];
                let texts = texts.map(|text| Cell::from(text.map(str::to_owned)).to_csv());
                let [object_key, detail] = texts;
                self.csv(&[
                    row.kind.to_owned(),
                    Cell::from(id).to_csv(),
                    object_key,
                    detail,
                    row.fixed.to_string(),
                    row.cure.to_owned(),
                ])
            }
            Output::Json => {
                let separator: &[u8] = if self.is_empty { b"[\n" } else { b",\n" };
                self.is_empty = false;
                self.out.write_all(separator)?;
                write_json(self.out, &row).map_err(io::Error::from)
            }
        }
    }

    fn line(&mut self, row: &Row<'_>) -> io::Result<()> {
        let id = row.recording_id.map(|id| id.to_string());
        let mut line = format!("{:24}{:38}", row.kind, id.unwrap_or_else(|| "-".to_owned()));
        let fixed = row.fixed.then_some("(fixed)");
        let rest = [
            row.object_key,
            Some(row.detail).filter(|it| !it.is_empty()),
            fixed,
        ];
        let rest: Vec<&str> = rest.into_iter().flatten().collect();
        line.push_str(&printable(&rest.join("  ")));
        writeln!(self.out, "{}", line.trim_end())
    }

    fn csv(&mut self, fields: &[String]) -> io::Result<()> {
        let mut writer = csv::WriterBuilder::new()
            .terminator(csv::Terminator::CRLF)
            .from_writer(&mut *self.out);
        writer.write_record(fields).map_err(io::Error::from)?;
        writer.flush()
    }

    /// The sums are for people: on stdout only where no machine reads it.
    fn end(&mut self, compared: &Reconciled) -> io::Result<()> {
        match self.output {
            Output::Table => {
                if compared.differences > 0 {
                    writeln!(self.out)?;
                }
                let sums = sums(&self.by_kind, compared);
                self.out.write_all(sums.as_bytes())
            }
            Output::Csv => io::stderr().write_all(sums(&self.by_kind, compared).as_bytes()),
            Output::Json => {
                let end: &[u8] = if self.is_empty { b"[]\n" } else { b"\n]\n" };
                self.out.write_all(end)?;
                io::stderr().write_all(sums(&self.by_kind, compared).as_bytes())
            }
        }
    }
}

fn sums(by_kind: &BTreeMap<DifferenceKind, (u64, u64)>, compared: &Reconciled) -> String {
    let signed = |number| i64::try_from(number).unwrap_or(i64::MAX);
    let mut text = String::new();
    for (kind, (all, fixed)) in by_kind {
        let fixed = match fixed {
            0 => String::new(),
            fixed => format!(", {fixed} of them fixed"),
        };
        let start = format!("{kind:24}{all:>8}  ");
        let cure = format!("{}{fixed}", kind.cure());
        text.push_str(&human::hanging(&start, &cure));
        text.push('\n');
    }
    let verdict = match compared.differences {
        0 => "no difference".to_owned(),
        differences => human::count(signed(differences), "difference"),
    };
    let compared_sides = format!(
        "{verdict}: {} at the provider, {} archived, {} in the bucket",
        human::count(signed(compared.listed), "recording"),
        human::count(signed(compared.archived), "row"),
        human::count(signed(compared.stored), "object"),
    );
    text.push_str(&human::hanging("", &compared_sides));
    text.push('\n');
    if compared.unsure > 0 {
        let unsure = compared.unsure;
        let unsure =
            format!("could not be looked at once more, so nothing is said of them: {unsure}\n");
        text.push_str(&unsure);
    }
    text
}

/// A difference as machines read it.
#[derive(Debug, Serialize)]
struct Row<'a> {
    kind: &'static str,
    recording_id: Option<RecordingId>,
    object_key: Option<&'a str>,
    detail: &'a str,
    fixed: bool,
    cure: &'static str,
}

impl<'a> From<&'a Difference> for Row<'a> {
    fn from(difference: &'a Difference) -> Self {
        Self {
            kind: difference.kind.as_str(),
            recording_id: difference.recording_id,
            object_key: difference.object_key.as_deref(),
            detail: &difference.detail,
            fixed: difference.fixed,
            cure: difference.kind.cure(),
        }
    }
}
