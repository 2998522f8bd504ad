//! Which version the schema has, and whether this program works on it.

use sqlx::PgPool;

use super::DatabaseError;
use super::migrate::MIGRATOR;

/// The schema in comparison with this program's migrations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaVersion {
    /// No migration was ever applied.
    Missing,
    Current,
    /// Migrated up to `applied`; this program has more.
    Older {
        applied: i64,
    },
    /// Migrated by a later version of this program, whose changes this one tolerates.
    Newer {
        applied: i64,
    },
    /// The same, but only programs that know migration `needed` work on it.
    TooNew {
        needed: i64,
    },
    /// An applied migration is not the one that this program knows by its number.
    Altered {
        migration: i64,
    },
}

/// Returns the version of the schema.
///
/// # Errors
/// Those of the database, a lack of rights among them.
pub async fn schema_version(pool: &PgPool) -> Result<SchemaVersion, sqlx::Error> {
    let exists = "SELECT to_regclass('archiver._sqlx_migrations') IS NOT NULL";
    if !sqlx::query_scalar(exists).fetch_one(pool).await? {
        return Ok(SchemaVersion::Missing);
    }
    let applied: Vec<(i64, Vec<u8>)> = sqlx::query_as(
        "SELECT version, checksum FROM archiver._sqlx_migrations WHERE success ORDER BY version",
    )
    .fetch_all(pool)
    .await?;
    let known: Vec<_> = MIGRATOR.iter().collect();
    let latest_known = known.last().map_or(0, |it| it.version);
    let latest_applied = applied.last().map_or(0, |(version, _)| *version);
    for (version, checksum) in applied.iter().filter(|(it, _)| *it <= latest_known) {
        let is_known = known
            .iter()
            .any(|it| it.version == *version && *it.checksum == **checksum);
        if !is_known {
            return Ok(SchemaVersion::Altered {
                migration: *version,
            });
        }
    }
    let count = applied.iter().filter(|(it, _)| *it <= latest_known).count();
    if count < known.len() {
        return Ok(SchemaVersion::Older {
            applied: latest_applied,
        });
    }
    if latest_applied == latest_known {
        return Ok(SchemaVersion::Current);
    }
    let needed = "SELECT migration FROM archiver.oldest_program";
    let needed: i64 = sqlx::query_scalar(needed).fetch_one(pool).await?;
    Ok(if needed > latest_known {
        SchemaVersion::TooNew { needed }
    } else {
        SchemaVersion::Newer {
            applied: latest_applied,
        }
    })
}

impl SchemaVersion {
    /// Demands a schema that this program works on without migrating it.
    ///
    /// # Errors
    /// Names the command that helps.
    pub fn demand_usable(self) -> Result<(), DatabaseError> {
        match self {
            Self::Current | Self::Newer { .. } => Ok(()),
            Self::Missing => Err(DatabaseError::NoSchema),
            Self::Older { applied } => Err(DatabaseError::Outdated {
                applied,
                needed: MIGRATOR.iter().map(|it| it.version).max().unwrap_or(0),
            }),
            Self::TooNew { needed } => Err(DatabaseError::Newer(needed)),
            Self::Altered { migration } => Err(DatabaseError::Altered(migration)),
        }
    }
}
