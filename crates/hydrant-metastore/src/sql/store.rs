//! The trait's calls: each on one connection, within a time, and where it writes in one transaction.

use std::time::Duration;

use async_trait::async_trait;
use hydrant_types::{
    Batch, BatchId, BucketName, CopyTarget, Destination, Lane, Load, LoadId, LoadState, LogId, MetastoreId,
    ObjectKey, Position, Stream, StreamEncryption, StreamId, StreamName, StreamVersion, Tags, Timestamp,
};
use sqlx::Pool;
use tokio::sync::OnceCell;

use super::{
    Database, attempts, batches,
    call::Call,
    leases,
    loads::{self, Advance},
    record_logs, retention, stream_changes, streams,
};
use crate::{
    Attempt, Filter, Lease, Metastore, NewLoad, NewStream, RegisteredLog, SealedTo, StreamChanges, Subject,
    Uploaded, Waiting, error::Result, open,
};

/// A metastore in this database.
pub(crate) struct Store {
    writer: Pool<Database>,
    reader: Pool<Database>,
    id: OnceCell<MetastoreId>,
}

/// Does work on a connection that reads.
macro_rules! read {
    ($store:expr, $step:literal, $work:path $(, $argument:expr)*) => {{
        let mut call = Call::read(&$store.reader, $step).await?;
        let limit = call.limit;
        let done = limit.keep($work(&mut call $(, $argument)*)).await.flatten();
        call.end(done).await
    }};
}
/// Does work in a transaction.
macro_rules! write {
    ($store:expr, $step:literal, $work:path $(, $argument:expr)*) => {{
        let mut call = Call::write(&$store.writer, $step).await?;
        let limit = call.limit;
        let done = limit.keep($work(&mut call $(, $argument)*)).await.flatten();
        call.end(done).await
    }};
}

impl Store {
    /// One that writes through one pool and reads through the other; they may be the same.
    pub(crate) fn new(writer: Pool<Database>, reader: Pool<Database>) -> Self {
        Self { writer, reader, id: OnceCell::new() }
    }

    /// Whether the schema is this program's, and then the metastore's id.
    async fn checked_id(&self) -> Result<MetastoreId> {
        let version = read!(self, "read the schema's version", record_logs::schema_version)?;
        open::check_schema(version)?;
        read!(self, "read the metastore's id", record_logs::metastore_id)
    }
}

#[async_trait]
impl Metastore for Store {
    async fn id(&self) -> Result<MetastoreId> {
        self.id.get_or_try_init(|| self.checked_id()).await.copied()
    }

    async fn create_stream(&self, new: &NewStream, now: Timestamp) -> Result<Stream> {
        write!(self, "create the stream", streams::create, new, now)
    }

    async fn stream(&self, name: &StreamName) -> Result<Option<Stream>> {
        read!(self, "read the stream", streams::by_name, name)
    }

    async fn streams(&self) -> Result<Vec<Stream>> {
        read!(self, "read the streams", streams::all)
    }

    async fn destination(&self, stream: StreamId, version: StreamVersion) -> Result<Option<Destination>> {
        read!(self, "read the stream's settings", streams::destination, stream, version)
    }

    async fn streams_revision(&self) -> Result<u64> {
        read!(self, "read the streams' revision", streams::revision)
    }

    async fn streams_changed(&self, revision: u64) -> Result<StreamChanges> {
        read!(self, "read what changed about the streams", streams::changed, revision)
    }

    async fn update_destination(
        &self,
        stream: StreamId,
        expected: StreamVersion,
        destination: &Destination,
        now: Timestamp,
    ) -> Result<Stream> {
        write!(
            self,
            "change the stream's settings",
            stream_changes::update_destination,
            stream,
            expected,
            destination,
            now
        )
    }

    async fn change_tags(&self, stream: StreamId, set: &Tags, remove: &[String]) -> Result<()> {
        write!(self, "change the stream's tags", stream_changes::change_tags, stream, set, remove)
    }

    async fn set_encryption(
        &self,
        stream: StreamId,
        expected: &StreamEncryption,
        next: &StreamEncryption,
    ) -> Result<()> {
        write!(self, "change the stream's encryption", stream_changes::set_encryption, stream, expected, next)
    }

    async fn set_declared_in(&self, stream: StreamId, file: Option<&str>) -> Result<()> {
        write!(self, "note the stream's file", stream_changes::set_declared_in, stream, file)
    }

    async fn mark_deleting(&self, stream: StreamId, now: Timestamp) -> Result<()> {
        write!(self, "mark the stream for deletion", stream_changes::mark_deleting, stream, now)
    }

    async fn remove_stream(&self, stream: StreamId, now: Timestamp) -> Result<()> {
        write!(self, "remove the stream", stream_changes::remove, stream, now)
    }

    async fn import_stream(&self, stream: &Stream) -> Result<()> {
        write!(self, "import the stream", streams::import, stream)
    }

    async fn register_log(&self, log: LogId, node: &str, now: Timestamp) -> Result<()> {
        write!(self, "register the record log", record_logs::register, log, node, now)
    }

    async fn logs(&self) -> Result<Vec<RegisteredLog>> {
        read!(self, "read the record logs", record_logs::all)
    }

    async fn retire_log(&self, log: LogId, now: Timestamp) -> Result<()> {
        write!(self, "retire the record log", record_logs::retire, log, now)
    }

    async fn sealed_to(&self, log: LogId) -> Result<Vec<SealedTo>> {
        read!(self, "read the record log's positions", record_logs::sealed_to, log)
    }

    async fn set_sealed_to(&self, log: LogId, positions: &[(StreamId, Lane, Position)]) -> Result<()> {
        write!(self, "write the record log's positions", record_logs::set_sealed_to, log, positions)
    }

    async fn acquire_lease(&self, resource: &str, owner: &str, ttl: Duration) -> Result<Option<Lease>> {
        write!(self, "acquire the lease", leases::acquire, resource, owner, ttl)
    }

    async fn renew_lease(&self, lease: &Lease, ttl: Duration) -> Result<()> {
        write!(self, "renew the lease", leases::renew, lease, ttl)
    }

    async fn release_lease(&self, lease: &Lease) -> Result<()> {
        write!(self, "release the lease", leases::release, lease)
    }

    async fn seal_batches(&self, log_lease: &Lease, batches: &[Batch]) -> Result<()> {
        write!(self, "seal the batches", batches::seal, log_lease, batches)
    }

    async fn mark_uploaded(&self, log_lease: &Lease, uploaded: &[Uploaded], now: Timestamp) -> Result<()> {
        write!(self, "mark the batches as uploaded", batches::mark_uploaded, log_lease, uploaded, now)
    }

    async fn discard_batches(&self, log_lease: &Lease, batches: &[BatchId], now: Timestamp) -> Result<()> {
        write!(self, "discard the batches", batches::discard, log_lease, batches, now)
    }

    async fn sealed_batches(&self, log: LogId) -> Result<Vec<Batch>> {
        read!(self, "read the sealed batches", batches::sealed, log)
    }

    async fn batches_at(&self, log: LogId, stream: StreamId, position: Position) -> Result<Vec<Batch>> {
        read!(self, "look for the record's batches", batches::at, log, stream, position)
    }

    async fn batch(&self, id: BatchId) -> Result<Option<Batch>> {
        read!(self, "read the batch", batches::by_id, id)
    }

    async fn batches(&self, filter: &Filter) -> Result<Vec<Batch>> {
        read!(self, "list the batches", batches::list, filter)
    }

    async fn unfinished_batches(&self, stream: StreamId) -> Result<u64> {
        read!(self, "count the stream's unfinished batches", batches::unfinished, stream)
    }

    async fn waiting(&self) -> Result<Vec<Waiting>> {
        read!(self, "read what waits for a load", batches::waiting)
    }

    async fn waiting_batches(&self, stream: StreamId, target: &CopyTarget, limit: u32) -> Result<Vec<Batch>> {
        read!(self, "read the batches that wait for a load", batches::waiting_of, stream, target, limit)
    }

    async fn plan_load(&self, table_lease: &Lease, new: &NewLoad) -> Result<()> {
        write!(self, "plan the load", loads::plan, table_lease, new)
    }

    async fn advance_load(
        &self,
        table_lease: &Lease,
        load: LoadId,
        expected: &LoadState,
        next: &LoadState,
        attempt: Option<&Attempt>,
        now: Timestamp,
    ) -> Result<()> {
        let advance = Advance { load, expected, next, attempt, now };
        write!(self, "move the load on", loads::advance, table_lease, advance)
    }

    async fn add_unreachable(&self, table_lease: &Lease, load: LoadId, millis: u64) -> Result<()> {
        write!(self, "count the time out of reach", loads::add_unreachable, table_lease, load, millis)
    }

    async fn unfinished_loads(&self) -> Result<Vec<Load>> {
        read!(self, "read the unfinished loads", loads::unfinished)
    }

    async fn load(&self, id: LoadId) -> Result<Option<Load>> {
        read!(self, "read the load", loads::by_id, id)
    }

    async fn load_batches(&self, id: LoadId) -> Result<Vec<Batch>> {
        read!(self, "read the load's batches", loads::batches, id)
    }

    async fn load_objects(&self, id: LoadId) -> Result<Vec<(BucketName, ObjectKey)>> {
        read!(self, "read the load's objects", loads::objects, id)
    }

    async fn loads_of_batch(&self, id: BatchId) -> Result<Vec<Load>> {
        read!(self, "read the batch's loads", loads::of_batch, id)
    }

    async fn loads(&self, filter: &Filter) -> Result<Vec<Load>> {
        read!(self, "list the loads", loads::list, filter)
    }

    async fn record_attempts(&self, attempts: &[Attempt]) -> Result<()> {
        write!(self, "write the attempts", attempts::add, attempts)
    }

    async fn attempts(&self, subject: Subject) -> Result<Vec<(Attempt, u64)>> {
        read!(self, "read the attempts", attempts::of, subject)
    }

    async fn sweep(&self, before: Timestamp, limit: u32) -> Result<u64> {
        write!(self, "sweep done deliveries", retention::sweep, before, limit)
    }
}
