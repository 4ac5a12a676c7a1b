//! What can fail.

/// The stand-in could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL is of neither engine, or of a database in memory.
    #[error("the database URL must begin with postgres://, or sqlite:// and a path")]
    Scheme,
    /// The database failed outside a statement.
    #[error("{step}")]
    Database {
        /// What was being done.
        step: &'static str,
        /// The cause.
        source: sqlx::Error,
    },
    /// The listener failed.
    #[error("serve the Data API")]
    Listen(#[source] std::io::Error),
}

pub(crate) fn database(step: &'static str) -> impl FnOnce(sqlx::Error) -> Error {
    move |source| Error::Database { step, source }
}

/// Why a statement failed, in Redshift's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SqlError(pub(crate) String);

impl SqlError {
    pub(crate) fn new(words: impl Into<String>) -> Self {
        Self(format!("ERROR: {}", words.into()))
    }
}

/// Redshift's words for a database's own.
impl From<sqlx::Error> for SqlError {
    fn from(error: sqlx::Error) -> Self {
        let sqlx::Error::Database(database) = &error else {
            return Self::new(format!("could not connect to the database: {error}"));
        };
        if database.code().as_deref() == Some("22012") {
            return Self::new("Divide by zero");
        }
        Self::new(redshifts_words(database.message()))
    }
}

/// Postgres speaks as Redshift does, mostly; SQLite is translated.
fn redshifts_words(message: &str) -> String {
    if let Some(table) = message.strip_prefix("no such table: ") {
        return format!("relation \"{}\" does not exist", table.trim_start_matches("main."));
    }
    if let Some(column) = message.strip_prefix("no such column: ") {
        return format!("column \"{}\" does not exist", column.trim_matches('"'));
    }
    if let Some(rest) = message.strip_prefix("table ")
        && let Some((table, column)) = rest.split_once(" has no column named ")
    {
        return format!("column \"{column}\" of relation \"{table}\" does not exist");
    }
    if let Some(rest) = message.strip_prefix("table ")
        && let Some(table) = rest.strip_suffix(" already exists")
    {
        return format!("Relation \"{}\" already exists", table.trim_matches('"'));
    }
    if let Some(rest) = message.strip_prefix("near ") {
        return format!("syntax error at or near {}", rest.trim_end_matches(": syntax error"));
    }
    match message {
        "incomplete input" => "syntax error at end of input".to_owned(),
        _ => message.to_owned(),
    }
}
