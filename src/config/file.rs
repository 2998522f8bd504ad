//! The configuration file: TOML to texts, with every fault's line and column.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read as _};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::ConfigError;
use super::keys::{self, KEYS, Key, Shape};
use super::raw::{Given, Origin, Place};
use super::trust;

/// A configuration file that was found and read.
pub(super) struct ConfigFile {
    path: PathBuf,
    text: String,
}

type Entry<'a> = (
    &'a Spanned<std::borrow::Cow<'a, str>>,
    &'a Spanned<DeValue<'a>>,
);

impl ConfigFile {
    /// Reads a file that somebody named.
    pub(super) fn read(path: PathBuf) -> Result<Self, ConfigError> {
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Self { path, text }),
            Err(source) => Err(ConfigError::Unreadable { path, source }),
        }
    }

    /// Reads a file that nobody named, if there is one: only one that nobody else could have put
    /// there.
    pub(super) fn read_found(path: PathBuf) -> Result<Option<Self>, ConfigError> {
        // Without this, opening a named pipe would wait for its writer.
        let flags = OFlag::O_NONBLOCK.bits();
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(&path);
        let mut file = match opened {
            Ok(file) => file,
            Err(source) if source.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(match trust::strange_owner(&path) {
                    Some(reason) => ConfigError::Untrusted { path, reason },
                    None => ConfigError::Unreadable { path, source },
                });
            }
        };
        let mut text = String::new();
        let read = file.metadata().and_then(|found| {
            if let Some(reason) = trust::distrust_file(&path, &found) {
                return Ok(Some(reason));
            }
            file.read_to_string(&mut text).map(|_| None)
        });
        match read {
            Ok(None) => Ok(Some(Self { path, text })),
            Ok(Some(reason)) => Err(ConfigError::Untrusted { path, reason }),
            Err(source) => Err(ConfigError::Unreadable { path, source }),
        }
    }

    pub(super) const fn of_text(path: PathBuf, text: String) -> Self {
        Self { path, text }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Every setting in the file. What is wrong with the others goes to `problems`.
    pub(super) fn settings(&self, problems: &mut Vec<String>) -> BTreeMap<&'static str, Given> {
        let mut given = BTreeMap::new();
        let root = match DeTable::parse(&self.text) {
            Ok(root) => root,
            Err(error) => {
                let place = self.place(error.span().unwrap_or_default(), Visible::KnownName);
                problems.push(place.fault(&format!("this is not TOML: {}", error.message())));
                return given;
            }
        };
        let mut faults: Vec<(usize, String)> = Vec::new();
        for (name, value) in root.get_ref() {
            let section = name.get_ref().as_ref();
            let is_section = KEYS.iter().any(|key| key.section() == Some(section));
            match value.get_ref() {
                DeValue::Table(table) if is_section => {
                    for entry in table {
                        self.setting(Some(section), entry, &mut given, &mut faults);
                    }
                }
                _ if is_section => {
                    let fault = self
                        .place(name.span(), Visible::Name)
                        .fault(&format!("`{section}` is a section: write [{section}]"));
                    faults.push((name.span().start, fault));
                }
                _ => self.setting(None, (name, value), &mut given, &mut faults),
            }
        }
        faults.sort();
        problems.extend(faults.into_iter().map(|(_, fault)| fault));
        given
    }

    fn setting(
        &self,
        section: Option<&str>,
        (name, value): Entry<'_>,
        given: &mut BTreeMap<&'static str, Given>,
        faults: &mut Vec<(usize, String)>,
    ) {
        let leaf = name.get_ref().as_ref();
        let full = section.map_or_else(|| leaf.to_owned(), |section| format!("{section}.{leaf}"));
        let Some(key) = keys::find(&full).filter(|key| key.in_file) else {
            let fault = self
                .place(name.span(), Visible::Name)
                .fault(&format!("unknown key `{full}`; {}", known_in(section)));
            faults.push((name.span().start, fault));
            return;
        };
        let place = self.place(value.span(), Visible::of(key));
        match text_of(key.shape, value.get_ref()) {
            Ok(text) if text.is_empty() => {
                let fault = place.fault(&format!("`{full}` is empty: leave it out instead"));
                faults.push((value.span().start, fault));
            }
            Ok(text) => {
                let origin = Origin::File {
                    path: self.path.clone(),
                    line: self.position(value.span().start).0,
                };
                let found = Given {
                    text: text.into(),
                    origin,
                    place,
                };
                given.insert(key.name, found);
            }
            Err(expected) => {
                let found = value.get_ref().type_str();
                let fault = place.fault(&format!("`{full}`: expected {expected}, found {found}"));
                faults.push((value.span().start, fault));
            }
        }
    }

    /// Line and column of a byte, both from 1, the column in characters.
    fn position(&self, at: usize) -> (usize, usize) {
        let before = self.text.get(..at).unwrap_or(&self.text);
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.matches('\n').count() + 1;
        (line, before[start..].chars().count() + 1)
    }

    /// Path, line, column, and the line itself with the fault marked.
    ///
    /// The toml crate's own picture would show the value, and a misspelled key or a missing quote
    /// is most likely right where a token was pasted. So no more than `visible` is shown.
    fn place(&self, span: Range<usize>, visible: Visible) -> Place {
        let (line, column) = self.position(span.start);
        let text = self.text.split('\n').nth(line - 1).unwrap_or_default();
        let shown = visible.part_of(text.trim_end_matches('\r'));
        let room = shown.chars().count().saturating_sub(column - 1);
        let marked = self.text.get(span).map_or(1, |text| {
            let first_line = text.lines().next().unwrap_or_default();
            first_line.chars().count()
        });
        let gutter = " ".repeat(line.to_string().len());
        let mut picture = format!("\n  {gutter} |\n  {line} | {shown}");
        if room > 0 {
            let indent = " ".repeat(column - 1);
            let marks = "^".repeat(marked.clamp(1, room));
            picture = format!("{picture}\n  {gutter} | {indent}{marks}");
        }
        Place {
            at: format!("{}:{line}:{column}", self.path.display()),
            picture,
        }
    }
}

/// How much of a line an error may show.
#[derive(Clone, Copy)]
enum Visible {
    /// All of it: the value belongs to a known key and is no secret.
    Value,
    /// The name before `=`.
    Name,
    /// The name if there is a key of that name: this may be the middle of a value.
    KnownName,
}

impl Visible {
    const fn of(key: &Key) -> Self {
        match key.credential {
            None => Self::Value,
            Some(_) => Self::Name,
        }
    }

    fn part_of(self, line: &str) -> String {
        // A second `=` may be an inline neighbour, and `@` a password in a URL.
        if matches!(self, Self::Value) && line.matches('=').count() == 1 && !line.contains('@') {
            return line.to_owned();
        }
        let known = |name: &str| {
            let leaf = name.rsplit('.').next();
            KEYS.iter()
                .any(|key| key.name.rsplit('.').next() == leaf || key.section() == leaf)
        };
        let may_show = |name: &str| {
            let name = name.trim();
            let is_bare = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
            let is_bare_name = name.len() <= 60 && name.chars().all(is_bare);
            is_bare_name && (!matches!(self, Self::KnownName) || known(name))
        };
        match line.split_once('=') {
            Some((name, _)) if may_show(name) => format!("{name}= …"),
            None if line.starts_with('[') && may_show(line.trim_matches(['[', ']', ' '])) => {
                line.to_owned()
            }
            _ => "…".to_owned(),
        }
    }
}

fn known_in(section: Option<&str>) -> String {
    let in_section = |key: &&Key| key.in_file && key.section() == section;
    let names: Vec<&str> = KEYS
        .iter()
        .filter(in_section)
        .filter_map(|key| key.name.rsplit('.').next())
        .collect();
    let Some(section) = section else {
        let mut sections: Vec<&str> = KEYS.iter().filter_map(Key::section).collect();
        sections.dedup();
        let sections = sections.join(", ");
        return format!(
            "outside of sections there is {}; sections are {sections}",
            names.join(", ")
        );
    };
    format!("[{section}] has {}", names.join(", "))
}

/// The value as the same text that an environment variable would hold.
fn text_of(shape: Shape, value: &DeValue<'_>) -> Result<String, &'static str> {
    match (shape, value) {
        (Shape::Text | Shape::Quantity, DeValue::String(text)) => Ok(text.as_ref().to_owned()),
        // A bare number is passed on as a quantity, so that the missing unit is explained.
        (Shape::Integer | Shape::Quantity, DeValue::Integer(number)) => Ok(number.to_string()),
        (Shape::Quantity, DeValue::Float(number)) => Ok(number.to_string()),
        (Shape::Boolean, DeValue::Boolean(flag)) => Ok(flag.to_string()),
        (Shape::Text, _) => Err("a string in quotes"),
        (Shape::Quantity, _) => Err("a number and a unit in quotes, as in \"15m\" or \"8MiB\""),
        (Shape::Integer, _) => Err("a whole number without quotes"),
        (Shape::Boolean, _) => Err("true or false without quotes"),
    }
}
