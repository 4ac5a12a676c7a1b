//! The words of the domain as checked types; AWS's limits as constants.
//!
//! Strings are parsed into these types at the edge (the API, the configuration, a database row); inside there is
//! nothing left to check. Nothing here does I/O: the two seams to the outside, [`Clock`] and [`Entropy`], are traits
//! whose system implementations are handed in by the binary, so that every decision can be replayed.

pub mod batch;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod ids;
pub mod limits;
pub mod load;
pub mod name;
pub mod options;
pub mod prefix;
pub mod s3_options;
pub mod seams;
pub mod secret;
pub mod size;
pub mod stream;
pub mod time;

pub use batch::{Batch, BatchState, Content, ErrorOutputType, Lane, StoredObject};
pub use ids::{
    BatchId, LeaseEpoch, LoadId, LogId, Lsn, MetastoreId, Position, PositionRange, RecordId, StreamId,
    StreamVersion,
};
pub use load::{CopyTarget, Load, LoadState, StatementId, Warehouse};
pub use name::{BucketName, NameError, ObjectKey, StreamName};
pub use options::{BadOption, OnDelete, PrefixDate, StreamOptions};
pub use prefix::{BadPrefix, Prefix, time_zone};
pub use s3_options::{AccountId, CannedAcl, EndpointUrl, ObjectTags, RegionName, S3Options, StorageClass};
pub use seams::{Clock, Entropy, SystemClock, SystemEntropy};
pub use secret::Secret;
pub use size::ByteSize;
pub use stream::{
    BufferingHints, CloudWatchLogging, Compression, CurrentKey, DataKeyId, Destination, Processing,
    Processor, RedshiftSettings, S3Settings, Stream, StreamEncryption, StreamStatus, Tags, WrappedDataKey,
};
pub use time::Timestamp;
