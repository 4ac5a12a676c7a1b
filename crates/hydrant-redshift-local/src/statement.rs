//! Statements: what was asked, how it stands.

use serde::{Deserialize, Serialize};

/// A statement, or a batch of them, without the rows of its results. Kept in memory, and in the database with its outcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Statement {
    pub(crate) id: String,
    pub(crate) name: Option<String>,
    pub(crate) token: Option<String>,
    /// A digest of what must be equal for the same token to mean the same statement.
    pub(crate) request: String,
    pub(crate) target: Target,
    pub(crate) is_batch: bool,
    pub(crate) sqls: Vec<Sql>,
    pub(crate) status: Status,
    pub(crate) error: Option<String>,
    pub(crate) created_ms: u64,
    pub(crate) updated_ms: u64,
    pub(crate) query_id: i64,
}

/// Where it was to run; any cluster or workgroup is accepted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Target {
    pub(crate) cluster: Option<String>,
    pub(crate) workgroup: Option<String>,
    pub(crate) database: String,
    pub(crate) db_user: Option<String>,
    pub(crate) secret_arn: Option<String>,
}

/// One SQL text of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sql {
    /// As it is shown: without credentials.
    pub(crate) text: String,
    pub(crate) status: Status,
    pub(crate) error: Option<String>,
    /// Rows affected, loaded or in the result.
    pub(crate) rows: Option<i64>,
    /// Size of the result, where there is one.
    pub(crate) result_bytes: Option<u64>,
    pub(crate) duration_ns: u64,
}

impl Sql {
    pub(crate) fn new(text: String) -> Self {
        Self { text, status: Status::Submitted, error: None, rows: None, result_bytes: None, duration_ns: 0 }
    }
}

/// The Data API's states; PICKED never shows here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Status {
    Submitted,
    Started,
    Finished,
    Failed,
    Aborted,
}

impl Status {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Submitted => "SUBMITTED",
            Self::Started => "STARTED",
            Self::Finished => "FINISHED",
            Self::Failed => "FAILED",
            Self::Aborted => "ABORTED",
        }
    }

    pub(crate) fn has_ended(self) -> bool {
        matches!(self, Self::Finished | Self::Failed | Self::Aborted)
    }
}

impl Statement {
    /// The statement as one that was cut off, with nothing done.
    pub(crate) fn abort(&mut self, reason: &str) {
        self.end_without_effect(Status::Aborted, reason);
        for sql in &mut self.sqls {
            sql.status = Status::Aborted;
        }
    }

    /// The statement as one that was rolled back; the one text of it that failed says so itself.
    pub(crate) fn fail(&mut self, reason: &str) {
        self.end_without_effect(Status::Failed, reason);
        for sql in &mut self.sqls {
            if !sql.status.has_ended() {
                sql.status = Status::Aborted;
            }
        }
    }

    fn end_without_effect(&mut self, status: Status, reason: &str) {
        self.status = status;
        self.error = Some(reason.to_owned());
        for sql in &mut self.sqls {
            sql.result_bytes = None;
        }
    }

    /// Which of its texts has the result that is meant when none is named: the last that has one.
    pub(crate) fn result_at(&self) -> Option<usize> {
        self.sqls.iter().rposition(|sql| sql.result_bytes.is_some())
    }

    /// Bytes of text it holds in memory.
    pub(crate) fn text_len(&self) -> usize {
        self.sqls.iter().map(|sql| sql.text.len()).sum()
    }
}
