//! Finds the installed Postgres programs, of the version the cluster needs.

use std::cmp::Reverse;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::EmbeddedError;

/// Where to look: the search path, and the root below which packages install.
#[derive(Debug, Clone)]
pub(super) struct SearchPlaces {
    pub(super) path: Option<OsString>,
    pub(super) root: PathBuf,
}

impl SearchPlaces {
    pub(super) fn of_this_machine() -> Self {
        Self {
            path: env::var_os("PATH"),
            root: PathBuf::from("/"),
        }
    }

    /// Directories holding both `initdb` and `postgres`, the preferred first.
    fn installations(&self) -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> = Vec::new();
        let candidates = self
            .path_directories()
            .into_iter()
            .chain(self.pg_config_bindir())
            .chain(self.versioned("usr/lib/postgresql", "", "bin"))
            .chain(self.versioned("opt/homebrew/opt", "postgresql@", "bin"))
            .chain(self.versioned("usr/local/opt", "postgresql@", "bin"))
            .chain([self.root.join("opt/homebrew/bin")]);
        for candidate in candidates {
            // A link in PATH leads to the directory in which the other programs lie too.
            let Ok(postgres) = candidate.join("postgres").canonicalize() else {
                continue;
            };
            let directory = postgres.parent().map_or(candidate.clone(), Path::to_owned);
            let directory = if holds_programs(&directory) {
                directory
            } else {
                candidate
            };
            if holds_programs(&directory) && !found.contains(&directory) {
                found.push(directory);
            }
        }
        found
    }

    fn path_directories(&self) -> Vec<PathBuf> {
        self.path
            .iter()
            .flat_map(env::split_paths)
            .filter(|dir| dir.is_absolute())
            .collect()
    }

    fn pg_config_bindir(&self) -> Option<PathBuf> {
        let program = self
            .path_directories()
            .into_iter()
            .map(|dir| dir.join("pg_config"));
        let program = program.into_iter().find(|program| program.is_file())?;
        let output = Command::new(program).arg("--bindir").output().ok()?;
        let directory = String::from_utf8(output.stdout).ok()?;
        output
            .status
            .success()
            .then(|| PathBuf::from(directory.trim()))
    }

    /// `<root>/<parent>/<prefix><version>/<child>`, the newest version first.
    fn versioned(&self, parent: &str, prefix: &str, child: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.root.join(parent))
            .into_iter()
            .flatten()
            .flatten();
        let mut versions: Vec<(u32, PathBuf)> = entries
            .filter_map(|entry| {
                let name = entry.file_name();
                let version = name.to_str()?.strip_prefix(prefix)?.parse().ok()?;
                Some((version, entry.path().join(child)))
            })
            .collect();
        versions.sort_by_key(|(version, _)| Reverse(*version));
        versions.into_iter().map(|(_, path)| path).collect()
    }
}

fn holds_programs(directory: &Path) -> bool {
    ["initdb", "postgres"]
        .iter()
        .all(|program| directory.join(program).is_file())
}

/// One installation of Postgres.
#[derive(Debug, Clone)]
pub(super) struct Binaries {
    directory: PathBuf,
}

impl Binaries {
    /// The first installation, or the first of the major version that `cluster` was made by.
    pub(super) fn find(
        places: &SearchPlaces,
        cluster: &Path,
        cluster_major: Option<u32>,
    ) -> Result<Self, EmbeddedError> {
        let installations = places.installations();
        if installations.is_empty() {
            return Err(EmbeddedError::NotInstalled {
                looked_in: "PATH, pg_config --bindir, /usr/lib/postgresql, Homebrew".to_owned(),
            });
        }
        let mut majors = Vec::new();
        for directory in installations {
            let binaries = Self { directory };
            let Some(needed) = cluster_major else {
                return Ok(binaries);
            };
            let major = binaries.major();
            if major == Some(needed) {
                return Ok(binaries);
            }
            majors.extend(major.map(|major| major.to_string()));
        }
        Err(EmbeddedError::VersionMissing {
            cluster: cluster.to_owned(),
            needed: cluster_major.unwrap_or_default(),
            installed: majors.join(", "),
        })
    }

    pub(super) fn initdb(&self) -> PathBuf {
        self.directory.join("initdb")
    }

    pub(super) fn postgres(&self) -> PathBuf {
        self.directory.join("postgres")
    }

    /// The psql of this installation, else whichever the shell finds.
    pub(super) fn psql(&self) -> PathBuf {
        let beside = self.directory.join("psql");
        if beside.is_file() {
            beside
        } else {
            PathBuf::from("psql")
        }
    }

    /// `postgres (PostgreSQL) 15.18 (Debian …)` is of major version 15.
    fn major(&self) -> Option<u32> {
        let output = Command::new(self.postgres())
            .arg("--version")
            .output()
            .ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let version = text
            .split_whitespace()
            .find(|word| word.starts_with(char::is_numeric))?;
        leading_number(version)
    }
}

/// The number a version begins with: `15.18` and `18beta1` give 15 and 18.
pub(super) fn leading_number(version: &str) -> Option<u32> {
    let end = version
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(version.len());
    version[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nowhere(root: &Path) -> SearchPlaces {
        SearchPlaces {
            path: None,
            root: root.to_owned(),
        }
    }

    /// Written by a shell, so that this process never holds the script open for writing.
    fn install(directory: &Path, version: &str) {
        let script = r#"mkdir -p "$1" && for p in initdb postgres; do
            printf '#!/bin/sh\necho "postgres (PostgreSQL) %s (Debian)"\n' "$2" >"$1/$p"; chmod 755 "$1/$p"; done"#;
        let mut shell = Command::new("sh");
        shell.args(["-c", script, "sh"]).arg(directory).arg(version);
        let status = shell.status().unwrap();
        assert!(status.success());
    }

    #[test]
    fn nothing_installed_names_the_package_to_install() {
        let root = tempfile::tempdir().unwrap();
        let error = Binaries::find(&nowhere(root.path()), Path::new("/c"), None).unwrap_err();
        let package = if cfg!(target_os = "macos") {
            "brew install postgresql@17"
        } else {
            "sudo apt-get install -y postgresql`"
        };
        assert!(error.to_string().contains(package), "{error}");
    }

    #[test]
    fn the_newest_packaged_version_is_taken_and_the_search_path_goes_before_it() {
        let root = tempfile::tempdir().unwrap();
        let packages = root.path().join("usr/lib/postgresql");
        install(&packages.join("9/bin"), "9.6");
        install(&packages.join("17/bin"), "17.2");
        install(&root.path().join("own"), "16.1");
        let mut places = nowhere(root.path());
        let found = Binaries::find(&places, Path::new("/c"), None).unwrap();
        assert!(
            found
                .postgres()
                .ends_with("usr/lib/postgresql/17/bin/postgres"),
            "{found:?}"
        );
        places.path = Some(root.path().join("own").into());
        let found = Binaries::find(&places, Path::new("/c"), None).unwrap();
        assert!(found.postgres().ends_with("own/postgres"), "{found:?}");
    }

    #[test]
    fn an_old_cluster_gets_the_binaries_of_its_own_version_or_the_name_of_their_package() {
        let root = tempfile::tempdir().unwrap();
        let packages = root.path().join("usr/lib/postgresql");
        install(&packages.join("15/bin"), "15.18");
        install(&packages.join("17/bin"), "17.2");
        let places = nowhere(root.path());
        let found = Binaries::find(&places, Path::new("/c"), Some(15)).unwrap();
        assert!(found.postgres().ends_with("15/bin/postgres"), "{found:?}");
        let error = Binaries::find(&places, Path::new("/c"), Some(14))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("postgresql-14") || error.contains("postgresql@14"),
            "{error}"
        );
        assert!(error.contains("installed is 17, 15"), "{error}");
    }
}
