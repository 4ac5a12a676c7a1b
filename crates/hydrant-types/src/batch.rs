//! Batches: a fixed range of one stream's records, which becomes one object.

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
    /// Bytes of records before compression.
    pub bytes: u64,
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
            Self::Lost => "lost",
            Self::Discarded { .. } => "discarded",
        }
    }

    /// The object, once it is in S3.
    pub fn object(&self) -> Option<&StoredObject> {
        match self {
            Self::Sealed | Self::Lost => None,
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
        matches!(self, Self::Delivered { .. } | Self::Loaded { .. } | Self::Discarded { .. })
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
