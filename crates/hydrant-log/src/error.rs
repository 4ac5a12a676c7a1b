//! What can fail, one variant per failing step.

use std::path::PathBuf;

use hydrant_types::{DataKeyId, Lsn, Position, StreamId};

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
    /// Records that the log gave out are in no segment. Never skipped silently: the stream stops.
    #[error("record log damaged: stream {stream} from position {from} on is missing: {reason}")]
    Missing {
        /// Whose records.
        stream: StreamId,
        /// From which position on.
        from: Position,
        /// What is known.
        reason: String,
    },
    /// The records are encrypted with a data key that is not to be had now. Nothing is damaged: the stream waits for the key.
    #[error("records of stream {stream} are encrypted with its data key {}, which cannot be had now ({path} at offset {offset})", key.0)]
    KeyMissing {
        /// Whose records.
        stream: StreamId,
        /// Which of the stream's data keys.
        key: DataKeyId,
        /// The segment.
        path: PathBuf,
        /// Byte offset of the frame in it.
        offset: u64,
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

/// The log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum Open {
    /// Another process has it.
    #[error("the record log in {dir} is locked by another process")]
    Locked {
        /// Its directory.
        dir: PathBuf,
    },
    /// Bytes are not what was written, and going on could lose records without saying so or give positions out twice.
    #[error("record log damaged: {path} at offset {offset}, LSN {first} to {last}: {reason}")]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// Byte offset of the damage in it.
        offset: u64,
        /// First LSN concerned; 0 where that is not known.
        first: Lsn,
        /// Last LSN concerned; 0 where that is not known.
        last: Lsn,
        /// What does not hold.
        reason: String,
    },
    /// There are segments, and nothing that says whose.
    #[error(
        "{dir} holds segments and no checkpoint: put checkpoint.json back, or start with an empty directory"
    )]
    NoCheckpoint {
        /// The log's directory.
        dir: PathBuf,
    },
    /// The segment length is no use.
    #[error("segments of {segment_len} bytes are too short: at least {min}")]
    SegmentTooShort {
        /// As set.
        segment_len: u64,
        /// The least.
        min: u64,
    },
    /// The disk failed, or what is there is not a record log's.
    #[error("{step}")]
    Io {
        /// What was being done.
        step: &'static str,
        /// The cause.
        source: std::io::Error,
    },
    /// The registry refused a metric: it was registered twice.
    #[error("register the record log's metrics")]
    Metrics(#[source] prometheus::Error),
}
