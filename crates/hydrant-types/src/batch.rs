//! Batches: a fixed range of one stream's records, which becomes one object.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    BatchId, BucketName, CopyTarget, LoadId, LogId, ObjectKey, PositionRange, StreamId, StreamName,
    StreamVersion, Timestamp,
};

/// A batch: sealed for ever, then moved through its states. One row in the metastore.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    /// At the end of its object's key.
    pub id: BatchId,
    /// Whose records.
    pub stream: StreamId,
    /// The stream's name when it was sealed.
    pub stream_name: StreamName,
    /// The settings it was sealed under, and is delivered with.
    pub stream_version: StreamVersion,
    /// The log that holds the records.
    pub log: LogId,
    /// Which records.
    pub range: PositionRange,
    /// What of them the object holds.
    pub content: Content,
    /// Bytes of records as they came.
    pub bytes: u64,
    /// Bytes that processing makes of them, before compression, what fails included; `bytes` where nothing is processed.
    pub processed_bytes: u64,
    /// When its oldest record arrived.
    pub oldest_arrival: Timestamp,
    /// Where the object goes.
    pub bucket: BucketName,
    /// Derived from the batch, so that uploading again is the same object.
    pub key: ObjectKey,
    /// What COPY is to load the object into; `None` where S3 is the destination.
    pub copy_target: Option<CopyTarget>,
    /// What is already true of it.
    pub state: BatchState,
    /// When it was sealed.
    pub sealed_at: Timestamp,
    /// When its state last changed.
    pub updated_at: Timestamp,
}

/// One of the ways on which a stream's records leave the log. Each cuts them into batches of its own, without a gap; a record leaves the
/// log when it is safe on every one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// To the destination, processed.
    Delivery,
    /// To the bucket of `S3BackupConfiguration`, as they came.
    Backup,
}

impl Lane {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::Delivery, Self::Backup];

    /// As in the metastore's `lane` column.
    pub fn name(self) -> &'static str {
        match self {
            Self::Delivery => "delivery",
            Self::Backup => "backup",
        }
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What of its records a batch's object holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "content", rename_all = "snake_case")]
pub enum Content {
    /// What goes to the destination: all of them, but what fails in processing.
    Delivery,
    /// All of them, as they came.
    Backup,
    /// The records that failed in processing, with the reason of each: error output.
    Failed {
        /// How they failed.
        error: ErrorOutputType,
        /// How many they are.
        records: u64,
    },
}

impl Content {
    /// The lane whose batches have it; error output is written beside a batch of the delivery.
    pub fn lane(self) -> Option<Lane> {
        match self {
            Self::Delivery => Some(Lane::Delivery),
            Self::Backup => Some(Lane::Backup),
            Self::Failed { .. } => None,
        }
    }

    /// As in the metastore's `content` column: the lane, or the error output type.
    pub fn name(self) -> &'static str {
        match self {
            Self::Delivery => Lane::Delivery.name(),
            Self::Backup => Lane::Backup.name(),
            Self::Failed { error, .. } => error.as_str(),
        }
    }
}

impl From<Lane> for Content {
    fn from(lane: Lane) -> Self {
        match lane {
            Lane::Delivery => Self::Delivery,
            Lane::Backup => Self::Backup,
        }
    }
}

/// How records failed: the value of `!{firehose:error-output-type}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorOutputType {
    /// A processor could not do its work on them.
    ProcessingFailed,
    /// A record could not be decompressed, or is not of CloudWatch Logs.
    DecompressionFailed,
}

impl ErrorOutputType {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::ProcessingFailed, Self::DecompressionFailed];

    /// As it stands in keys.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ProcessingFailed => "processing-failed",
            Self::DecompressionFailed => "decompression-failed",
        }
    }
}

/// What is already true of a batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum BatchState {
    /// Its range and key are fixed; the object may or may not be in S3.
    Sealed,
    /// The object is in S3, durably; it waits for a load.
    Uploaded {
        /// As stored.
        object: StoredObject,
    },
    /// The object is in S3, which was its destination.
    Delivered {
        /// As stored.
        object: StoredObject,
    },
    /// Listed in the manifest of a load that is under way.
    InLoad {
        /// As stored.
        object: StoredObject,
        /// The load.
        load: LoadId,
    },
    /// Its rows are committed in the table.
    Loaded {
        /// As stored.
        object: StoredObject,
        /// The load.
        load: LoadId,
    },
    /// Its load was given up; it waits for a person. The object stays where it is.
    Parked {
        /// As stored.
        object: StoredObject,
        /// The load that was given up.
        load: LoadId,
        /// Why, in words.
        reason: String,
    },
    /// Processing left nothing of it to be delivered: every record failed or had no content. Where some failed, they are in error output.
    Empty,
    /// Its log was given up before the object was in S3: nobody has its records.
    Lost,
    /// Thrown away when its stream was deleted, as its owner had said.
    Discarded {
        /// As stored, where it was in S3 and waited for a load: it stays there. Without it the object was not known to be in S3.
        object: Option<StoredObject>,
    },
}

impl BatchState {
    /// The state's name, as in the metastore's `state` column.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Sealed => "sealed",
            Self::Uploaded { .. } => "uploaded",
            Self::Delivered { .. } => "delivered",
            Self::InLoad { .. } => "in_load",
            Self::Loaded { .. } => "loaded",
            Self::Parked { .. } => "parked",
            Self::Empty => "empty",
            Self::Lost => "lost",
            Self::Discarded { .. } => "discarded",
        }
    }

    /// The object, once it is in S3.
    pub fn object(&self) -> Option<&StoredObject> {
        match self {
            Self::Sealed | Self::Empty | Self::Lost => None,
            Self::Uploaded { object }
            | Self::Delivered { object }
            | Self::InLoad { object, .. }
            | Self::Loaded { object, .. }
            | Self::Parked { object, .. } => Some(object),
            Self::Discarded { object } => object.as_ref(),
        }
    }

    /// Whether nothing is left to do.
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Delivered { .. } | Self::Loaded { .. } | Self::Empty | Self::Discarded { .. })
    }
}

/// An object as S3 answered for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredObject {
    /// The ETag, with its quotes removed.
    pub etag: String,
    /// Length in S3.
    pub bytes: u64,
}
