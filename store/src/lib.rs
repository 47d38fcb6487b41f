//! Opens the database that an address names: a SQLite file, or PostgreSQL. Everything behind is [`Store`].

use std::path::PathBuf;
use std::sync::Arc;

use seatrial_core::store::{Result, Store, StoreError};
pub use seatrial_store_sqlite::Synchronous;

/// How to open a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// For SQLite. PostgreSQL decides for itself (`synchronous_commit`).
    pub synchronous: Synchronous,
}

/// Where a database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    Sqlite(PathBuf),
    Postgres(String),
}

impl Address {
    /// Reads `postgres://…`, `postgresql://…`, `sqlite:…` or a plain path.
    pub fn parse(text: &str) -> Result<Self> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self::Postgres(text.to_owned()));
        }
        match text.split_once("://") {
            Some((scheme, _)) if scheme != "sqlite" => Err(StoreError::Conflict {
                what: format!(
                    "{scheme:?} is not a database that this build knows (expected postgres://…, sqlite:… or a path)"
                ),
            }),
            Some(_) | None => seatrial_store_sqlite::file_of(text)
                .map(|file| Self::Sqlite(file.to_owned()))
                .ok_or_else(|| StoreError::Conflict {
                    what: format!(
                        "{text:?} names no database file; nothing would be kept in memory (expected sqlite:… or a path)"
                    ),
                }),
        }
    }
}

/// Opens the database at `url_or_path`, makes it when it is a file that is missing, and brings its schema up to this
/// build. A schema that is newer than the build is refused.
pub async fn open(url_or_path: &str, options: Options) -> Result<Arc<dyn Store>> {
    let Options { synchronous } = options;
    Ok(match Address::parse(url_or_path)? {
        Address::Sqlite(file) => Arc::new(
            seatrial_store_sqlite::Database::open(&seatrial_store_sqlite::Options { file, synchronous }).await?,
        ),
        Address::Postgres(url) => {
            Arc::new(seatrial_store_postgres::Database::open(&seatrial_store_postgres::Options { url }).await?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_chooses_the_database() {
        for text in ["sqlite:/data/a.db", "sqlite:///data/a.db", "/data/a.db", "sqlite:/data/a.db?mode=rwc"] {
            assert_eq!(Address::parse(text).unwrap(), Address::Sqlite("/data/a.db".into()), "{text}");
        }
        assert_eq!(Address::parse("sqlite:a.db").unwrap(), Address::Sqlite("a.db".into()));
        assert!(matches!(Address::parse("postgres://u@h/d").unwrap(), Address::Postgres(_)));
    }

    #[test]
    fn an_unknown_scheme_and_a_database_in_memory_are_refused_in_words() {
        let error = Address::parse("mysql://h/d").unwrap_err().to_string();
        assert!(error.contains("\"mysql\" is not a database that this build knows"), "{error}");
        let error = Address::parse("sqlite::memory:").unwrap_err().to_string();
        assert!(error.contains("names no database file"), "{error}");
    }
}
