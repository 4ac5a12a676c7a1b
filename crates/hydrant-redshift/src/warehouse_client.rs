//! The warehouse as the loader sees it.

use std::fmt;

use async_trait::async_trait;
use hydrant_types::{CopyTarget, LoadId, StatementId, Timestamp};

use crate::{Error, redaction::redacted};

/// One attempt of a load, ready to be submitted as one transaction. Its Debug shows no credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct Submission {
    /// `hydrant:<stream>:<load id>:<attempt>`: what it is looked up by.
    pub statement_name: String,
    /// The Data API's ClientToken, 1 to 64 characters.
    pub client_token: String,
    /// Ledger lock and check, COPY, ledger row.
    pub sqls: Vec<String>,
}

impl fmt::Debug for Submission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submission")
            .field("statement_name", &self.statement_name)
            .field("client_token", &self.client_token)
            .field("sqls", &self.sqls.iter().map(|sql| redacted(sql)).collect::<Vec<_>>())
            .finish()
    }
}

/// How a statement stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatementStatus {
    /// SUBMITTED, PICKED or STARTED.
    Running,
    /// The transaction is committed.
    Finished {
        /// Rows that COPY reported, where it did.
        rows: Option<u64>,
    },
    /// The transaction was rolled back.
    Failed {
        /// Firehose's error code (developer guide, "Data delivery error codes").
        code: String,
        /// The warehouse's words.
        message: String,
        /// The ledger check stopped it: this load was committed by an earlier statement.
        already_loaded: bool,
    },
    /// Cancelled, or cut off by a restart; rolled back.
    Aborted {
        /// The warehouse's words.
        message: String,
    },
    /// The Data API no longer knows it (kept 24 h).
    Gone,
}

/// A statement found by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementSummary {
    /// Its id.
    pub id: StatementId,
    /// Its full name.
    pub name: String,
    /// When it was created.
    pub created_at: Timestamp,
}

/// Runs statements in a warehouse. The one implementation speaks the Redshift Data API; tests wrap it with faults.
#[async_trait]
pub trait WarehouseClient: Send + Sync + 'static {
    /// Creates the ledger table beside the target table where it is missing; who may not create tables can have it made by
    /// someone else. Idempotent; waits for the outcome. Cheap once it was seen, until a statement fails.
    async fn ensure_ledger(&self, target: &CopyTarget) -> Result<(), Error>;
    /// Submits; the same token again is the same statement, not a second one.
    async fn submit(&self, target: &CopyTarget, submission: &Submission) -> Result<StatementId, Error>;
    /// How a statement stands.
    async fn describe(&self, target: &CopyTarget, id: &StatementId) -> Result<StatementStatus, Error>;
    /// Statements with exactly this name, newest first.
    async fn find(&self, target: &CopyTarget, statement_name: &str) -> Result<Vec<StatementSummary>, Error>;
    /// Asks for a statement to be cancelled; one that has ended already is no error.
    async fn cancel(&self, target: &CopyTarget, id: &StatementId) -> Result<(), Error>;
    /// Whether the ledger holds the load: `true` proves that it was committed; `false` proves nothing while a statement
    /// of it may still run.
    async fn ledger_holds(&self, target: &CopyTarget, load: LoadId) -> Result<bool, Error>;
}
