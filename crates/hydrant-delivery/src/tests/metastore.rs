//! A real metastore whose calls fail as told: before they are done, or after.

use std::{collections::HashMap, future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use hydrant_metastore::{
    Attempt, Error, Filter, Lease, Metastore, NewLoad, NewStream, RegisteredLog, SealedTo, StreamChanges,
    Subject, Uploaded, Waiting,
};
use hydrant_types::{
    Batch, BatchId, BucketName, CopyTarget, Destination, Lane, Load, LoadId, LoadState, LogId, MetastoreId,
    ObjectKey, Position, Stream, StreamEncryption, StreamId, StreamName, StreamVersion, Tags, Timestamp,
};
use parking_lot::Mutex;

use super::faults::{Fate, Faults};

pub(crate) struct FaultyMetastore {
    inner: Arc<dyn Metastore>,
    faults: Arc<Faults>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    calls: HashMap<&'static str, u64>,
    /// Calls that do not answer.
    silent: Vec<&'static str>,
    delays: HashMap<&'static str, Duration>,
    away: bool,
}

impl FaultyMetastore {
    pub(crate) fn new(inner: Arc<dyn Metastore>, faults: Arc<Faults>) -> Arc<Self> {
        Arc::new(Self { inner, faults, state: Mutex::default() })
    }

    /// How often a method was called.
    pub(crate) fn calls(&self, method: &'static str) -> u64 {
        self.state.lock().calls.get(method).copied().unwrap_or_default()
    }

    /// From now on this method does not answer.
    pub(crate) fn silence(&self, method: &'static str) {
        self.state.lock().silent.push(method);
    }

    /// From now on each call of this method takes so long.
    pub(crate) fn slow_down(&self, method: &'static str, delay: Duration) {
        self.state.lock().delays.insert(method, delay);
    }

    /// Whether every call fails, and nothing is done.
    pub(crate) fn set_away(&self, away: bool) {
        self.state.lock().away = away;
    }

    async fn call<T>(
        &self,
        method: &'static str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let (silent, delay, away) = {
            let mut state = self.state.lock();
            *state.calls.entry(method).or_default() += 1;
            (state.silent.contains(&method), state.delays.get(method).copied(), state.away)
        };
        if silent {
            std::future::pending::<()>().await;
        }
        if let Some(delay) = delay {
            tokio::time::sleep(delay).await;
        }
        if away {
            return Err(Error::Unavailable { step: method, source: sqlx::Error::PoolTimedOut });
        }
        match self.faults.draw().await {
            Fate::Done => call.await,
            Fate::NotDone => Err(Error::Unavailable { step: method, source: sqlx::Error::PoolTimedOut }),
            Fate::DoneUnseen => {
                call.await?;
                Err(Error::OutcomeUnknown { step: method, source: sqlx::Error::WorkerCrashed })
            }
        }
    }
}

macro_rules! delegated {
    ($(fn $method:ident($($name:ident: $type:ty),*) -> $answer:ty;)*) => {
        #[async_trait]
        impl Metastore for FaultyMetastore {
            $(async fn $method(&self, $($name: $type),*) -> Result<$answer, Error> {
                self.call(stringify!($method), self.inner.$method($($name),*)).await
            })*
        }
    };
}

delegated! {
    fn id() -> MetastoreId;
    fn create_stream(new: &NewStream, now: Timestamp) -> Stream;
    fn streams_changed(revision: u64) -> StreamChanges;
    fn update_destination(
        stream: StreamId,
        expected: StreamVersion,
        destination: &Destination,
        now: Timestamp
    ) -> Stream;
    fn change_tags(stream: StreamId, set: &Tags, remove: &[String]) -> ();
    fn set_encryption(stream: StreamId, expected: &StreamEncryption, next: &StreamEncryption) -> ();
    fn set_declared_in(stream: StreamId, file: Option<&str>) -> ();
    fn stream(name: &StreamName) -> Option<Stream>;
    fn streams() -> Vec<Stream>;
    fn destination(stream: StreamId, version: StreamVersion) -> Option<Destination>;
    fn streams_revision() -> u64;
    fn mark_deleting(stream: StreamId, now: Timestamp) -> ();
    fn remove_stream(stream: StreamId, now: Timestamp) -> ();
    fn import_stream(stream: &Stream) -> ();
    fn register_log(log: LogId, node: &str, now: Timestamp) -> ();
    fn logs() -> Vec<RegisteredLog>;
    fn retire_log(log: LogId, now: Timestamp) -> ();
    fn sealed_to(log: LogId) -> Vec<SealedTo>;
    fn set_sealed_to(log: LogId, positions: &[(StreamId, Lane, Position)]) -> ();
    fn acquire_lease(resource: &str, owner: &str, ttl: Duration) -> Option<Lease>;
    fn renew_lease(lease: &Lease, ttl: Duration) -> ();
    fn release_lease(lease: &Lease) -> ();
    fn seal_batches(log_lease: &Lease, batches: &[Batch]) -> ();
    fn mark_uploaded(log_lease: &Lease, uploaded: &[Uploaded], now: Timestamp) -> ();
    fn discard_batches(log_lease: &Lease, batches: &[BatchId], now: Timestamp) -> ();
    fn sealed_batches(log: LogId) -> Vec<Batch>;
    fn batches_at(log: LogId, stream: StreamId, position: Position) -> Vec<Batch>;
    fn batch(id: BatchId) -> Option<Batch>;
    fn batches(filter: &Filter) -> Vec<Batch>;
    fn unfinished_batches(stream: StreamId) -> u64;
    fn waiting() -> Vec<Waiting>;
    fn waiting_batches(stream: StreamId, target: &CopyTarget, limit: u32) -> Vec<Batch>;
    fn plan_load(table_lease: &Lease, new: &NewLoad) -> ();
    fn advance_load(
        table_lease: &Lease,
        load: LoadId,
        expected: &LoadState,
        next: &LoadState,
        attempt: Option<&Attempt>,
        now: Timestamp
    ) -> ();
    fn add_unreachable(table_lease: &Lease, load: LoadId, millis: u64) -> ();
    fn unfinished_loads() -> Vec<Load>;
    fn load(id: LoadId) -> Option<Load>;
    fn load_batches(id: LoadId) -> Vec<Batch>;
    fn load_objects(id: LoadId) -> Vec<(BucketName, ObjectKey)>;
    fn loads_of_batch(id: BatchId) -> Vec<Load>;
    fn loads(filter: &Filter) -> Vec<Load>;
    fn record_attempts(attempts: &[Attempt]) -> ();
    fn attempts(subject: Subject) -> Vec<(Attempt, u64)>;
    fn sweep(before: Timestamp, limit: u32) -> u64;
}
