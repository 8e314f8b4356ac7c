//! What clients of a database ask about it before anything else: which tables there are, of which columns, and how things are set. Small tables
//! and functions of PostgreSQL's names, in the session of a statement that asks for them; nothing in them comes from the log.

use std::sync::Arc;

use datafusion::catalog::{MemorySchemaProvider, SchemaProvider as _};
use datafusion::common::{DataFusionError, Result};
use datafusion::prelude::{SessionConfig, SessionContext};

mod functions;
mod tables;
mod understanding;

pub(crate) use understanding::understood;

/// The version of PostgreSQL whose clients find what they look for.
pub const SERVER_VERSION: &str = "15.0";
/// The name of the one database.
pub(crate) const DATABASE: &str = "testimony";
/// The schema of the views.
const SCHEMA: &str = "public";
/// The other one.
const STANDARD: &str = "information_schema";

/// How things are set, for all clients alike. Sorted.
const SETTINGS: [(&str, &str); 26] = [
    ("client_encoding", "UTF8"),
    ("client_min_messages", "notice"),
    ("datestyle", "ISO, MDY"),
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_read_only", "on"),
    ("extra_float_digits", "1"),
    ("in_hot_standby", "off"),
    ("integer_datetimes", "on"),
    ("intervalstyle", "postgres"),
    ("is_superuser", "off"),
    ("lc_collate", "C"),
    ("lc_ctype", "C"),
    ("lc_monetary", "C"),
    ("max_identifier_length", "63"),
    ("max_index_keys", "32"),
    ("row_security", "on"),
    ("search_path", "public"),
    ("server_encoding", "UTF8"),
    ("server_version", SERVER_VERSION),
    ("server_version_num", "150000"),
    ("ssl", "on"),
    ("standard_conforming_strings", "on"),
    ("statement_timeout", "30s"),
    ("timezone", "UTC"),
    ("transaction_isolation", "read committed"),
    ("transaction_read_only", "on"),
];

/// How something is set, by its name in any case.
#[must_use]
pub fn setting(name: &str) -> Option<&'static str> {
    SETTINGS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
}

/// What a client finds beside the views.
#[derive(Debug, Clone)]
pub struct Catalog {
    /// Who it is.
    pub user: String,
}

/// A session whose names are those of the catalogue.
pub(crate) fn configured(config: SessionConfig) -> SessionConfig {
    let mut config = config.with_information_schema(false).with_default_catalog_and_schema(DATABASE, SCHEMA);
    // A moment with a time zone is one, as its clients expect.
    config.options_mut().execution.time_zone = Some("UTC".to_owned());
    config
}

impl Catalog {
    /// Puts into a session what a statement asks for.
    pub(crate) fn register(&self, session: &SessionContext, statement: &str) -> Result<()> {
        functions::all(&self.user).into_iter().for_each(|function| session.register_udf(function));
        let statement = statement.to_ascii_lowercase();
        if statement.contains("pg_") {
            for table in tables::of_postgres(&self.user) {
                session.register_table(table.name, table.provider()?)?;
            }
        }
        if statement.contains(STANDARD) {
            let schema = MemorySchemaProvider::new();
            for table in tables::of_the_standard() {
                schema.register_table(table.name.to_owned(), table.provider()?)?;
            }
            let catalog = session.catalog(DATABASE);
            let catalog = catalog.ok_or_else(|| DataFusionError::Plan(format!("there is no catalog {DATABASE}")))?;
            catalog.register_schema(STANDARD, Arc::new(schema))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
