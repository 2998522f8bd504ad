//! What the configuration may see of the process: its variables and its directory, taken once.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A snapshot of the environment, so that tests need not change the process's.
#[derive(Clone)]
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
    directory: PathBuf,
    system_file: PathBuf,
}

impl Environment {
    /// The environment of this process.
    ///
    /// Fails when the current directory is gone or may not be entered.
    pub fn process() -> io::Result<Self> {
        Ok(Self {
            variables: std::env::vars_os().collect(),
            directory: std::env::current_dir()?,
            system_file: PathBuf::from("/etc/recording-archiver/config.toml"),
        })
    }

    /// A world of its own: `directory` (absolute) is the current directory, and the system's
    /// configuration file is looked for below it too.
    pub fn isolated<N: Into<OsString>, V: Into<OsString>>(
        directory: &Path,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        Self {
            variables: variables
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            directory: directory.to_owned(),
            system_file: directory.join("etc/recording-archiver/config.toml"),
        }
    }

    /// The same with one variable set.
    #[must_use]
    pub fn with(&self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        let mut changed = self.clone();
        changed.variables.insert(name.into(), value.into());
        changed
    }

    /// A variable's value; an empty one counts as unset.
    pub(super) fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables
            .get(OsStr::new(name))
            .map(OsString::as_os_str)
            .filter(|value| !value.is_empty())
    }

    /// The names of all variables that are set and readable as text.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.variables
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .filter_map(|(name, _)| name.to_str())
    }

    /// The path seen from the current directory.
    pub(super) fn absolute(&self, path: impl AsRef<Path>) -> PathBuf {
        self.directory.join(path).components().collect()
    }

    pub(super) fn system_file(&self) -> &Path {
        &self.system_file
    }
}

/// Names only: values may be secrets.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("variables", &self.variables.keys())
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}
