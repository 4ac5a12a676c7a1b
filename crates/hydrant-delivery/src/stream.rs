//! One stream on its way from the log to S3.

mod delivery;
mod discard;
mod feed;
mod health;
mod lane_settings;
mod open_batch;
mod removal;
mod schedule;
mod unsafe_ranges;
mod worker;

use std::sync::Arc;

use hydrant_ingest::StreamTable;
use hydrant_log::RecordLog;
use hydrant_metastore::Metastore;
use hydrant_types::{Clock, Entropy};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    ObjectStore, Settings, encode_slots::EncodeSlots, memory_budget::MemoryBudget, metrics::Metrics,
    recorder::Recorder, trims::Trims, upload_gates::UploadGates,
};

pub(crate) use worker::{Progress, Worker};

/// What all streams share.
pub(crate) struct Shared {
    pub(crate) log: Arc<dyn RecordLog>,
    pub(crate) metastore: Arc<dyn Metastore>,
    pub(crate) streams: Arc<StreamTable>,
    pub(crate) objects: Arc<dyn ObjectStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) metrics: Metrics,
    pub(crate) recorder: Recorder,
    pub(crate) trims: Trims,
    pub(crate) gates: UploadGates,
    pub(crate) encoders: MemoryBudget,
    pub(crate) slots: EncodeSlots,
    pub(crate) loader_wake: Arc<Notify>,
    /// No new step is begun once this is cancelled.
    pub(crate) stopping: CancellationToken,
}

/// Why a stream, or a batch of it, does not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stop {
    /// The log cannot give the records.
    #[error("read the stream's records")]
    Read(#[from] hydrant_log::error::Read),
    /// The log says that it has records which a read does not give.
    #[error("the record log has no records at position {from}, though it is durable to {durable}")]
    RecordsMissing { from: hydrant_types::Position, durable: hydrant_types::Position },
    /// The metastore refused a change for good.
    #[error("record the stream's progress")]
    Refused(#[source] hydrant_metastore::Error),
    /// The settings make no key, or one that is longer than S3 allows.
    #[error("name the object")]
    Key(#[from] crate::object_key::Error),
    /// Records are left of a stream whose settings nobody knows any more.
    #[error("the stream's settings are gone from the metastore while records of it are left")]
    SettingsGone,
    /// Not an error: the stream's records are not to be delivered any more.
    #[error("what is left of the stream is thrown away")]
    Discarding,
    /// Not an error: the service is stopping.
    #[error("the service is stopping")]
    Stopping,
}

impl From<crate::recorder::Ended> for Stop {
    fn from(_: crate::recorder::Ended) -> Self {
        Self::Stopping
    }
}
