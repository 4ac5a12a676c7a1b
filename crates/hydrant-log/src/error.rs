//! What can fail, one variant per failing step.

use std::path::PathBuf;

use hydrant_types::{Lsn, Position, StreamId};

/// An append was not stored.
#[derive(Debug, thiserror::Error)]
pub enum Append {
    /// The log's byte limit or the disk's free minimum is reached; puts go on as space frees.
    #[error("the record log is full: {reason}")]
    Full {
        /// Which limit.
        reason: String,
    },
    /// The stream was closed: it is being deleted.
    #[error("stream {stream} takes no more records")]
    StreamClosed {
        /// Which.
        stream: StreamId,
    },
    /// The service is stopping; nothing was stored.
    #[error("the record log is shutting down")]
    ShuttingDown,
    /// The writer ended before it answered: the records may be stored.
    #[error("the record log ended before it answered")]
    OutcomeUnknown,
}

/// A range could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Read {
    /// The position was trimmed.
    #[error("position {from} of stream {stream} was trimmed; the oldest kept is {trimmed}")]
    Trimmed {
        /// Which stream.
        stream: StreamId,
        /// The position asked for.
        from: Position,
        /// The oldest kept.
        trimmed: Position,
    },
    /// The log has never seen the stream.
    #[error("stream {stream} is not in this record log")]
    UnknownStream {
        /// Which.
        stream: StreamId,
    },
    /// Bytes on disk are not what was written. Never skipped silently: the stream stops.
    #[error(
        "record log damaged: {path} at offset {offset}, stream {stream}, LSN {first} to {last}: {reason}"
    )]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// Byte offset of the damage in it.
        offset: u64,
        /// Whose records.
        stream: StreamId,
        /// First LSN concerned.
        first: Lsn,
        /// Last LSN concerned.
        last: Lsn,
        /// What does not hold.
        reason: String,
    },
    /// The disk failed.
    #[error("read record log segment {path}")]
    Io {
        /// The segment.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}
