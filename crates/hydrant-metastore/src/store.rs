//! The metastore as the rest of Hydrant sees it.

use std::time::Duration;

use async_trait::async_trait;
use hydrant_types::{
    Batch, BatchId, BucketName, CopyTarget, Destination, ErrorOutputType, Lane, LeaseEpoch, Load, LoadId,
    LoadState, LogId, MetastoreId, ObjectKey, Position, StoredObject, Stream, StreamEncryption, StreamId,
    StreamName, StreamVersion, Tags, Timestamp,
};

use crate::error::Result;

/// A right to work on something until a time of the database's clock. Changes made under it carry its epoch and fail
/// with [`Error::LeaseLost`](crate::Error::LeaseLost) once somebody else has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// What for: `log:<log id>`, `table:<table key>`.
    pub resource: String,
    /// Who has it.
    pub owner: String,
    /// Fences former holders.
    pub epoch: LeaseEpoch,
}

/// What the metastore knows of a record log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredLog {
    /// The log.
    pub id: LogId,
    /// The node that registered it: host name and directory, as text for people.
    pub node: String,
    /// When.
    pub registered_at: Timestamp,
    /// Set once a person said that it is gone for good.
    pub retired_at: Option<Timestamp>,
}

/// Where a stream of one log is, as far as batches say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedTo {
    /// Which stream.
    pub stream: StreamId,
    /// On which of its ways out of the log.
    pub lane: Lane,
    /// Everything before is in a batch.
    pub sealed: Position,
    /// Everything before is in a batch that is uploaded or further: may be trimmed.
    pub uploaded: Position,
}

/// A stream that is to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct NewStream {
    /// Must be free.
    pub name: StreamName,
    /// Where its records are to go.
    pub destination: Destination,
    /// At most [`STREAM_TAGS_MAX`](hydrant_types::limits::STREAM_TAGS_MAX), or [`Error::TooManyTags`](crate::Error::TooManyTags).
    pub tags: Tags,
    /// How its records are kept in the log.
    pub encryption: StreamEncryption,
    /// The file that declares it.
    pub declared_in: Option<String>,
}

impl NewStream {
    /// Without tags, encryption and file.
    pub fn new(name: StreamName, destination: Destination) -> Self {
        Self {
            name,
            destination,
            tags: Tags::new(),
            encryption: StreamEncryption::default(),
            declared_in: None,
        }
    }
}

/// What has changed about streams since a revision.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamChanges {
    /// The revision that they bring up to.
    pub revision: u64,
    /// Streams that are new or changed, as they are now.
    pub changed: Vec<Stream>,
    /// Streams that are gone.
    pub removed: Vec<StreamId>,
}

/// A batch's objects are in S3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// Which batch.
    pub id: BatchId,
    /// As stored; `None` where processing left nothing to be put: the batch is then `empty`.
    pub object: Option<StoredObject>,
    /// Whether S3 was its destination.
    pub delivered: bool,
    /// Error output that was put beside it.
    pub failed: Vec<FailedObject>,
}

/// An object of records that failed: becomes a batch of its own, of the same range, `delivered` at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedObject {
    /// Its batch's id; the same whenever the batch beside it is uploaded again.
    pub id: BatchId,
    /// How they failed.
    pub error: ErrorOutputType,
    /// How many they are.
    pub records: u64,
    /// Bytes of the object before compression.
    pub bytes: u64,
    /// Where it is, in the bucket of the batch beside it.
    pub key: ObjectKey,
    /// As stored.
    pub object: StoredObject,
}

/// One try of one step, for people to read: what was tried, when, how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Batch or load.
    pub subject: Subject,
    /// `put_object`, `put_manifest`, `copy`.
    pub step: &'static str,
    /// When it was begun.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// `ok`, `failed`, `unknown`.
    pub outcome: &'static str,
    /// Error code, such as `S3.AccessDenied`.
    pub code: Option<String>,
    /// In words.
    pub message: Option<String>,
}

/// What an attempt belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A batch.
    Batch(BatchId),
    /// A load.
    Load(LoadId),
}

/// A new load: the batches get the state `in_load` in the same transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct NewLoad {
    /// The load, in state `Planned`.
    pub load: Load,
    /// Its batches; every one must be `uploaded` still.
    pub batches: Vec<BatchId>,
}

/// Uploaded batches that wait for a load, one row per stream and target.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// Whose.
    pub stream: StreamId,
    /// Where to.
    pub target: CopyTarget,
    /// How many batches.
    pub batches: u64,
    /// The oldest record's arrival among them.
    pub oldest_arrival: Timestamp,
}

/// Which deliveries [`Metastore::batches`] and [`Metastore::loads`] list; newest first.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this stream only.
    pub stream: Option<StreamName>,
    /// In this state only, by name.
    pub state: Option<String>,
    /// At most this many (0: 100).
    pub limit: u32,
}

/// State of streams, batches and loads. Every change is a compare-and-set in one transaction; what is answered is committed
/// (Postgres: `synchronous_commit=on`; SQLite: `synchronous=FULL`).
///
/// A call that answers [`crate::Kind::OutcomeUnknown`] may be repeated as it is: each is idempotent, or says below how the
/// repetition answers. Every call ends by itself, within about half a minute where the database does not answer.
///
/// # Cancel safety
/// A call that is dropped may or may not be done, as with [`crate::Kind::OutcomeUnknown`]; it is whole or not at all.
#[async_trait]
pub trait Metastore: Send + Sync + 'static {
    /// The metastore's identity; cheap after the first call, which also finds out whether the schema is this program's
    /// ([`Error::NotMigrated`](crate::Error::NotMigrated), [`Error::SchemaNewer`](crate::Error::SchemaNewer)).
    async fn id(&self) -> Result<MetastoreId>;

    // ---- streams ----

    /// Creates a stream at version 1, active. A repetition answers [`Error::StreamExists`](crate::Error::StreamExists).
    async fn create_stream(&self, new: &NewStream, now: Timestamp) -> Result<Stream>;
    /// The stream of this name that exists now.
    async fn stream(&self, name: &StreamName) -> Result<Option<Stream>>;
    /// All streams that exist, also those being deleted, by name.
    async fn streams(&self) -> Result<Vec<Stream>>;
    /// The settings of an older version, for batches that were sealed under it. Kept as long as batches refer to it, and for the
    /// retention after it was replaced.
    async fn destination(&self, stream: StreamId, version: StreamVersion) -> Result<Option<Destination>>;
    /// Grows with every change to any stream; for noticing changes made by other nodes.
    async fn streams_revision(&self) -> Result<u64>;
    /// What has changed since `revision` was read, in one snapshot, by name. Since revision 0 that is every stream that exists; of streams
    /// that are gone only those are named that went since a greater one. Costs what changed. A `revision` that this metastore has not
    /// reached finds nothing, and is greater than the one that is answered.
    async fn streams_changed(&self, revision: u64) -> Result<StreamChanges>;
    /// Gives an active stream other settings, as a new version, where `expected` is the one in force;
    /// [`Error::VersionMoved`](crate::Error::VersionMoved) where it is not, [`Error::StreamMoved`](crate::Error::StreamMoved) where the stream
    /// is not active. Always a new version, also where the settings are equal. Answers the stream as it is now; a repetition answers
    /// [`Error::VersionMoved`](crate::Error::VersionMoved).
    async fn update_destination(
        &self,
        stream: StreamId,
        expected: StreamVersion,
        destination: &Destination,
        now: Timestamp,
    ) -> Result<Stream>;
    /// Sets and removes tags of an active stream in one transaction: first `remove` (keys that are not there are fine), then `set`.
    /// [`Error::TooManyTags`](crate::Error::TooManyTags) changes nothing, nor does [`Error::StreamMoved`](crate::Error::StreamMoved).
    /// One change a stream takes also while it is being deleted, whatever number of tags it has:
    /// [`StreamOptions::turns_to_discard`](hydrant_types::StreamOptions::turns_to_discard). Idempotent.
    async fn change_tags(&self, stream: StreamId, set: &Tags, remove: &[String]) -> Result<()>;
    /// Puts `next` in the place of exactly `expected` on an active stream; [`Error::StreamMoved`](crate::Error::StreamMoved) where something
    /// else is there or the stream is not active. One that is `next` already is fine (repetition).
    async fn set_encryption(
        &self,
        stream: StreamId,
        expected: &StreamEncryption,
        next: &StreamEncryption,
    ) -> Result<()>;
    /// Says which file declares a stream that is not gone, or that none does any more. Idempotent.
    async fn set_declared_in(&self, stream: StreamId, file: Option<&str>) -> Result<()>;
    /// Active → deleting; idempotent. [`Error::StreamMoved`](crate::Error::StreamMoved) where the stream is gone, for its name may be
    /// another's by then; [`Error::NoSuchStream`](crate::Error::NoSuchStream) for an id that was never given.
    async fn mark_deleting(&self, stream: StreamId, now: Timestamp) -> Result<()>;
    /// Deleting → gone; its name may be used again. Batches and loads stay until retention. Idempotent.
    async fn remove_stream(&self, stream: StreamId, now: Timestamp) -> Result<()>;
    /// Puts a stream back as it is, id and version too: for a metastore that was wiped while the log with its cached stream table
    /// was kept. Ids given later are greater. A stream of that id and name that is there already stays as it is (repetition);
    /// [`Error::StreamMoved`](crate::Error::StreamMoved) where another stream has the id, [`Error::StreamExists`](crate::Error::StreamExists)
    /// where another has the name.
    async fn import_stream(&self, stream: &Stream) -> Result<()>;

    // ---- record logs ----

    /// Registers a log, or notes the node that has it now; idempotent. One that is retired stays so.
    async fn register_log(&self, log: LogId, node: &str, now: Timestamp) -> Result<()>;
    /// All logs ever registered.
    async fn logs(&self) -> Result<Vec<RegisteredLog>>;
    /// A person says that a log is gone for good. Its batches that are sealed but not uploaded become `lost`: they stay visible as such.
    /// Nothing can be sealed from it any more. Idempotent; [`Error::UnknownLog`](crate::Error::UnknownLog).
    async fn retire_log(&self, log: LogId, now: Timestamp) -> Result<()>;
    /// How far each lane of each stream of a log is sealed and uploaded. Derived from batches, and kept when batches fall out of retention.
    async fn sealed_to(&self, log: LogId) -> Result<Vec<SealedTo>>;

    /// Says where each stream of a log goes on, for a person who has settled a disagreement between log and metastore. Positions of 0 are
    /// left out: a stream without an entry begins anywhere. [`Error::UnknownLog`](crate::Error::UnknownLog) where the log is not in use.
    async fn set_sealed_to(&self, log: LogId, positions: &[(StreamId, Lane, Position)]) -> Result<()>;

    // ---- leases ----

    /// Takes a lease that is free, has run out (database clock), or is the owner's own; `None` when somebody else has it. The epoch is
    /// greater each time, so an owner that takes its own lease again fences what its former life left under way.
    async fn acquire_lease(&self, resource: &str, owner: &str, ttl: Duration) -> Result<Option<Lease>>;
    /// Extends it, also where it had run out and nobody took it; [`Error::LeaseLost`](crate::Error::LeaseLost) where the epoch is no longer the newest
    /// or it was given back.
    async fn renew_lease(&self, lease: &Lease, ttl: Duration) -> Result<()>;
    /// Gives it back. Idempotent.
    async fn release_lease(&self, lease: &Lease) -> Result<()>;

    // ---- batches ----

    /// Inserts batches in state `sealed`, all or none, in one transaction. Each range must begin where its lane of the stream is sealed to in
    /// that log, or anywhere for the lane's first. A batch that is there already with the same id and range is fine (repetition).
    /// [`Error::NotAdjacent`](crate::Error::NotAdjacent), [`Error::BatchMoved`](crate::Error::BatchMoved) for an id of another range,
    /// [`Error::UnknownLog`](crate::Error::UnknownLog) where the log is not registered or is retired.
    async fn seal_batches(&self, log_lease: &Lease, batches: &[Batch]) -> Result<()>;
    /// `sealed` → `uploaded`, `delivered` or `empty`, all in one transaction, with the batches of their error output. A batch that already has that
    /// object is fine. Fails with
    /// [`Error::BatchMoved`](crate::Error::BatchMoved) and changes nothing where one is in another state.
    async fn mark_uploaded(&self, log_lease: &Lease, uploaded: &[Uploaded], now: Timestamp) -> Result<()>;
    /// `sealed` or `uploaded` → `discarded`, all in one transaction; only where their stream is being deleted. `sealed` ones must be of the
    /// lease's log. A batch that is discarded already is fine. Fails with [`Error::BatchMoved`](crate::Error::BatchMoved) and changes nothing
    /// where one is in another state. What is discarded stays so: nothing that was in a load, or is, can be.
    async fn discard_batches(&self, log_lease: &Lease, batches: &[BatchId], now: Timestamp) -> Result<()>;
    /// The batches of a log that are `sealed`, by stream, lane (the delivery first) and range: what a start goes on with.
    async fn sealed_batches(&self, log: LogId) -> Result<Vec<Batch>>;
    /// The batches that hold a record: of the delivery, of the backup, and error output beside the first, in this order. (Whether the record is
    /// among those that failed, only the objects say.)
    async fn batches_at(&self, log: LogId, stream: StreamId, position: Position) -> Result<Vec<Batch>>;
    /// A batch by id.
    async fn batch(&self, id: BatchId) -> Result<Option<Batch>>;
    /// Lists batches, newest first.
    async fn batches(&self, filter: &Filter) -> Result<Vec<Batch>>;
    /// How many batches of a stream are in no final state (`delivered`, `loaded`, `empty`, `parked`, `lost`, `discarded` are final).
    async fn unfinished_batches(&self, stream: StreamId) -> Result<u64>;

    // ---- loads ----

    /// What waits for a load, oldest first. Targets are compared as this program reads them, however they were written.
    async fn waiting(&self) -> Result<Vec<Waiting>>;
    /// The uploaded batches of one stream and target that wait, oldest range first, at most `limit`.
    async fn waiting_batches(&self, stream: StreamId, target: &CopyTarget, limit: u32) -> Result<Vec<Batch>>;
    /// Inserts a load in state `planned` and moves its batches `uploaded` → `in_load`, in one transaction. The same load again is
    /// fine (repetition). [`Error::BatchMoved`](crate::Error::BatchMoved) changes nothing, nor does [`Error::LoadMoved`](crate::Error::LoadMoved),
    /// which is answered while another load of the table is not done.
    async fn plan_load(&self, table_lease: &Lease, new: &NewLoad) -> Result<()>;
    /// Moves a load from exactly `expected` to `next`, with the attempt row if there is one, in one transaction. Where `next` is `Committed`
    /// its batches become `loaded`; where it is `Abandoned` they become `parked`. A load that already is `next` is fine (repetition).
    async fn advance_load(
        &self,
        table_lease: &Lease,
        load: LoadId,
        expected: &LoadState,
        next: &LoadState,
        attempt: Option<&Attempt>,
        now: Timestamp,
    ) -> Result<()>;
    /// Adds to the time in which the warehouse could not be reached, of a load that is not done. Repeated after an unknown outcome it may
    /// count twice: the load is then given up later, never sooner.
    async fn add_unreachable(&self, table_lease: &Lease, load: LoadId, millis: u64) -> Result<()>;
    /// The loads that are `planned` or `submitted`, oldest first.
    async fn unfinished_loads(&self) -> Result<Vec<Load>>;
    /// A load by id.
    async fn load(&self, id: LoadId) -> Result<Option<Load>>;
    /// The batches of a load, in manifest order.
    async fn load_batches(&self, id: LoadId) -> Result<Vec<Batch>>;
    /// Bucket and key of each object of a load, in manifest order.
    async fn load_objects(&self, id: LoadId) -> Result<Vec<(BucketName, ObjectKey)>>;
    /// The loads a batch was in, newest first.
    async fn loads_of_batch(&self, id: BatchId) -> Result<Vec<Load>>;
    /// Lists loads, newest first.
    async fn loads(&self, filter: &Filter) -> Result<Vec<Load>>;

    // ---- for people ----

    /// Writes attempts; of a row of equal failures of one step (same subject, step and code) only the first and the newest are kept, with a count.
    /// Those whose batch or load is not there are left out. Repeated after an unknown outcome they may count twice.
    async fn record_attempts(&self, attempts: &[Attempt]) -> Result<()>;
    /// The attempts of a batch or load, oldest first, each with how often it happened.
    async fn attempts(&self, subject: Subject) -> Result<Vec<(Attempt, u64)>>;
    /// Deletes done batches and loads (and their attempts) that last changed before `before`, and stream versions that were replaced before then and that
    /// no batch refers to; at most `limit` of them a call; answers how many. What waits for a person (`parked`, `lost`, their loads) stays, and so do positions.
    async fn sweep(&self, before: Timestamp, limit: u32) -> Result<u64>;
}
