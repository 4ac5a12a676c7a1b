//! What can fail.

use hydrant_types::{BatchId, LoadId, LogId, Position, StreamId, StreamName, StreamVersion};

pub(crate) type Result<T> = std::result::Result<T, Error>;

/// A metastore call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A stream of this name exists (also while it is being deleted).
    #[error("stream {0} already exists")]
    StreamExists(StreamName),
    /// No such stream.
    #[error("stream {0} does not exist")]
    NoSuchStream(String),
    /// The account's quota of streams is used up.
    #[error("{0} streams exist already, which is the limit")]
    TooManyStreams(usize),
    /// A stream is not in the state that the change starts from.
    #[error("stream {id} is {found}, expected {expected}")]
    StreamMoved {
        /// Which.
        id: StreamId,
        /// The state it should have been in.
        expected: &'static str,
        /// The state it is in.
        found: String,
    },
    /// The settings in force are of another version than the one the change starts from.
    #[error("stream {id} is at version {found}, expected {expected}")]
    VersionMoved {
        /// Which.
        id: StreamId,
        /// The version it should have had.
        expected: StreamVersion,
        /// The version in force.
        found: StreamVersion,
    },
    /// A stream cannot have that many tags.
    #[error("a stream has at most {0} tags")]
    TooManyTags(usize),
    /// A range does not begin where the stream's sealed range ends: it was cut from another past than the one recorded.
    #[error("batch {id} begins at {from}, but stream {stream} is sealed to {sealed_to} in record log {log}")]
    NotAdjacent {
        /// The batch that was to be sealed.
        id: BatchId,
        /// Its stream.
        stream: StreamId,
        /// The log that holds its records.
        log: LogId,
        /// Where it begins.
        from: Position,
        /// Where the sealed range ends.
        sealed_to: Position,
    },
    /// A batch is not in the state that the change starts from.
    #[error("batch {id} is {found}, expected {expected}")]
    BatchMoved {
        /// Which.
        id: BatchId,
        /// The state it should have been in.
        expected: &'static str,
        /// The state it is in, or `gone`.
        found: String,
    },
    /// A load is not in the state that the change starts from.
    #[error("load {id} is {found}, expected {expected}")]
    LoadMoved {
        /// Which.
        id: LoadId,
        /// The state it should have been in.
        expected: String,
        /// The state it is in, or `gone`.
        found: String,
    },
    /// Somebody else holds, or took, the lease.
    #[error("lease {resource} is held by {holder}")]
    LeaseLost {
        /// What the lease is for.
        resource: String,
        /// Who has it, or `nobody`.
        holder: String,
    },
    /// The log is not, or no longer, registered here.
    #[error("record log {0} is not registered with this metastore, or was given up")]
    UnknownLog(LogId),
    /// The schema is missing or older than this program.
    #[error("the metastore's schema is not up to date: run `hydrant migrate`")]
    NotMigrated,
    /// The schema was brought up to date by a newer program.
    #[error(
        "the metastore's schema is newer than this program (it has migration {migration}): run the newer version"
    )]
    SchemaNewer {
        /// The migration that this program does not know.
        migration: i64,
    },
    /// A migration that was applied is not the one this program has under that number.
    #[error("the metastore's migration {migration} is another than this program's")]
    SchemaDiffers {
        /// Its number.
        migration: i64,
    },
    /// The URL names no database that can be used.
    #[error("the metastore's URL cannot be used: {reason}")]
    BadUrl {
        /// Why; never holds the URL, which may hold a password.
        reason: String,
    },
    /// A row does not hold what its type demands.
    #[error("metastore row of {table} is not readable: {reason}")]
    Unreadable {
        /// Which table.
        table: &'static str,
        /// What does not hold.
        reason: String,
    },
    /// The database could not be reached, or refused for a passing reason; nothing was changed.
    #[error("{step}: the metastore is not available")]
    Unavailable {
        /// What was being done.
        step: &'static str,
        /// The cause.
        #[source]
        source: sqlx::Error,
    },
    /// The connection ended during the call: it may have been done.
    #[error("{step}: the metastore's answer was lost")]
    OutcomeUnknown {
        /// What was being done.
        step: &'static str,
        /// The cause.
        #[source]
        source: sqlx::Error,
    },
    /// The database refused the statement: a defect of ours or of the schema.
    #[error("{step}: the metastore refused")]
    Refused {
        /// What was being done.
        step: &'static str,
        /// The cause.
        #[source]
        source: sqlx::Error,
    },
}

/// What the caller does about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The same call may succeed later; nothing was changed.
    Retry,
    /// Look at the row before doing it again. Every call of the trait says whether repeating it is safe.
    OutcomeUnknown,
    /// The row has moved on or the lease is lost: read again and decide anew.
    Moved,
    /// Asking again gives the same answer.
    Rejected,
}

impl Error {
    /// What the caller does about it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Unavailable { .. } => Kind::Retry,
            Self::OutcomeUnknown { .. } => Kind::OutcomeUnknown,
            Self::StreamMoved { .. }
            | Self::VersionMoved { .. }
            | Self::NotAdjacent { .. }
            | Self::BatchMoved { .. }
            | Self::LoadMoved { .. }
            | Self::LeaseLost { .. } => Kind::Moved,
            Self::StreamExists(_)
            | Self::NoSuchStream(_)
            | Self::TooManyStreams(_)
            | Self::TooManyTags(_)
            | Self::UnknownLog(_)
            | Self::NotMigrated
            | Self::SchemaNewer { .. }
            | Self::SchemaDiffers { .. }
            | Self::BadUrl { .. }
            | Self::Unreadable { .. }
            | Self::Refused { .. } => Kind::Rejected,
        }
    }
}
