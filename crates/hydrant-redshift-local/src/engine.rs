//! The database behind the stand-in, whichever it is.

use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    copy::{CopyJob, LoadError, LoadReport, Row, TableColumn},
    error::{Error, SqlError},
    field::ResultSet,
    postgres::PostgresEngine,
    sqlite::SqliteEngine,
    statement::Statement,
};

/// What one SQL text gave.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// Rows affected, or loaded by COPY.
    pub(crate) rows: i64,
    pub(crate) result: Option<ResultSet>,
}

/// A database: its own tables, statements' transactions, and the journal of statements.
#[async_trait]
pub(crate) trait Engine: Send + Sync + 'static {
    /// All statements that are stored, those that never ended among them.
    async fn statements(&self) -> Result<Vec<Statement>, Error>;
    /// Stores a statement before it is answered for.
    async fn submit(&self, statement: &Statement) -> Result<(), Error>;
    /// Stores that a statement ended without effect, unless its transaction has stored that it is committed. Gives what is
    /// stored then: the truth about a commit whose answer was lost.
    async fn end(&self, statement: &Statement) -> Result<Statement, Error>;
    /// The results of a committed statement, one for each of its texts that has one.
    async fn results(&self, id: &str) -> Result<Vec<Option<ResultSet>>, Error>;
    /// Forgets statements that have ended.
    async fn forget(&self, ids: &[String]) -> Result<(), Error>;
    /// Begins a transaction in a session of its own. One at a time where the engine writes one at a time.
    async fn begin(&self) -> Result<Box<dyn Transaction>, SqlError>;
    /// Stores what is to be known of a COPY that was rolled back.
    async fn store_failed_load(&self, report: &LoadReport) -> Result<(), Error>;
    /// Schema and name of each table of users.
    async fn tables(&self) -> Result<Vec<(String, String)>, Error>;
    /// The columns of a table, by the parts of its name; empty where there is none.
    async fn columns(&self, table: &[String]) -> Result<Vec<TableColumn>, SqlError>;
}

/// A statement's transaction; rolled back when dropped.
#[async_trait]
pub(crate) trait Transaction: Send {
    /// Runs one SQL text that is not COPY.
    async fn run(&mut self, sql: &str) -> Result<Done, SqlError>;
    /// The columns of a table as this transaction sees it.
    async fn columns(&mut self, table: &[String]) -> Result<Vec<TableColumn>, SqlError>;
    /// Inserts rows whose values were checked; those that the table refuses all the same are given back with the reason, the
    /// others are in.
    async fn insert(&mut self, job: &CopyJob, rows: Vec<Row>) -> Result<Vec<LoadError>, SqlError>;
    /// Notes what a COPY has loaded.
    async fn note_load(&mut self, report: &LoadReport) -> Result<(), SqlError>;
    /// Stores the outcome and commits both together. On an error [`Engine::end`] tells whether it was done.
    async fn commit(
        self: Box<Self>,
        statement: &Statement,
        results: &[Option<ResultSet>],
    ) -> Result<(), SqlError>;
    /// Stops what is running and rolls back. The call that ran may have been dropped before.
    async fn cancel(self: Box<Self>);
}

/// Opens the database and makes the stand-in's own tables.
pub(crate) async fn open(url: &str) -> Result<Arc<dyn Engine>, Error> {
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return Ok(Arc::new(PostgresEngine::open(url).await?));
    }
    if url.starts_with("sqlite:") && !url.contains(":memory:") {
        return Ok(Arc::new(SqliteEngine::open(url).await?));
    }
    Err(Error::Scheme)
}

pub(crate) fn text_of(statement: &Statement) -> String {
    serde_json::to_string(statement).expect("a statement is plain data")
}

pub(crate) fn results_text(results: &[Option<ResultSet>]) -> String {
    serde_json::to_string(results).expect("results are plain data")
}
