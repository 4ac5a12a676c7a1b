//! Admitting records: the bytes fit, the stream is known and active, its quotas are not used up, the log has them.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use hydrant_log::{Append, Appended, CallKey, Payload, RecordLog, error::Append as AppendError};
use hydrant_types::{Clock, LogId, Stream, StreamName, StreamStatus};
use parking_lot::Mutex;
use prometheus::IntGauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::debug;

use crate::{
    Keyring, StreamTable,
    lookup::Lookup,
    master_keys::KeyError,
    metrics::{Metrics, Series},
    quota::{Limiter, Quotas},
};

/// Limits of what is admitted.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Bytes of requests that are held at once; beyond them calls get 503 at once, which SDKs retry. A request is held once as it
    /// came and, while it is read, once more as it is stored.
    pub bytes_in_flight_max: usize,
    /// For each stream.
    pub quotas: Quotas,
}

impl Default for Settings {
    fn default() -> Self {
        Self { bytes_in_flight_max: 128 * 1024 * 1024, quotas: Quotas::default() }
    }
}

/// Why records were not admitted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such stream.
    #[error("stream {0} does not exist")]
    NotFound(String),
    /// The stream is being deleted.
    #[error("stream {0} is not active")]
    NotActive(String),
    /// Not now; the same call may succeed soon.
    #[error("records cannot be taken now: {0}")]
    Unavailable(String),
    /// The stream is encrypted, and its key cannot be had. An operator must bring it.
    #[error("records are to be encrypted, and cannot be")]
    Key(#[from] KeyError),
}

/// Admits records from any source. Cheap to clone.
#[derive(Clone)]
pub struct Ingest {
    inner: Arc<Inner>,
}

struct Inner {
    log: Arc<dyn RecordLog>,
    streams: Arc<StreamTable>,
    keyring: Arc<Keyring>,
    clock: Arc<dyn Clock>,
    quotas: Quotas,
    in_flight: Arc<Semaphore>,
    lookup: Lookup,
    metrics: Metrics,
    /// Read on every put, without a lock.
    gates: ArcSwap<HashMap<StreamName, Arc<Gate>>>,
    /// Held while `gates` is replaced.
    changing_gates: Mutex<()>,
}

/// What a stream's records pass.
struct Gate {
    series: Series,
    limiter: Option<Limiter>,
}

/// Room for a request's bytes; given back when dropped.
#[derive(Debug)]
pub struct Room {
    permit: OwnedSemaphorePermit,
    in_flight: IntGauge,
}

impl Room {
    /// Takes room for `bytes` more, or none now; what is held stays held.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub fn grow(&mut self, bytes: usize) -> Result<(), Error> {
        let full = || Error::Unavailable("too many bytes are in flight".to_owned());
        let permits = u32::try_from(bytes).map_err(|_| full())?;
        let more = self.permit.semaphore().clone().try_acquire_many_owned(permits).map_err(|_| full())?;
        self.permit.merge(more);
        self.in_flight.add(i64::from(permits));
        Ok(())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.in_flight.sub(self.permit.num_permits() as i64);
    }
}

impl Ingest {
    /// Admits into `log` what `streams` knows, encrypted with what `keyring` has.
    ///
    /// # Errors
    /// The registry refused a metric.
    pub fn new(
        log: Arc<dyn RecordLog>,
        streams: Arc<StreamTable>,
        keyring: Arc<Keyring>,
        clock: Arc<dyn Clock>,
        registry: &prometheus::Registry,
        settings: &Settings,
    ) -> Result<Self, prometheus::Error> {
        let inner = Inner {
            log,
            streams,
            keyring,
            clock,
            quotas: settings.quotas,
            in_flight: Arc::new(Semaphore::new(settings.bytes_in_flight_max.min(Semaphore::MAX_PERMITS))),
            lookup: Lookup::default(),
            metrics: Metrics::new(registry)?,
            gates: ArcSwap::default(),
            changing_gates: Mutex::new(()),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The log that records are admitted into.
    pub fn log_id(&self) -> LogId {
        self.inner.log.log_id()
    }

    /// No room yet, to be grown as a request's bytes arrive: a client that announces much and sends little holds little.
    pub fn room(&self) -> Room {
        let permit = self.inner.in_flight.clone().try_acquire_many_owned(0);
        Room {
            permit: permit.expect("the semaphore is never closed"),
            in_flight: self.inner.metrics.in_flight.clone(),
        }
    }

    /// The stream of this name, in whatever state. A name this node does not know is looked up in the metastore once before it is refused.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Unavailable`] where the name is not known here and the metastore cannot be asked.
    pub async fn find(&self, name: &str) -> Result<Arc<Stream>, Error> {
        match self.inner.streams.get(name) {
            Some(stream) => Ok(stream),
            None => {
                let streams = &self.inner.streams;
                self.inner.lookup.find(name, || streams.get(name), async || streams.refresh().await).await
            }
        }
    }

    /// The stream of this name, if it takes records; found as by [`Ingest::find`].
    ///
    /// # Errors
    /// As [`Ingest::find`]; [`Error::NotActive`].
    pub async fn stream(&self, name: &str) -> Result<Arc<Stream>, Error> {
        let stream = self.find(name).await?;
        match stream.status {
            StreamStatus::Active => Ok(stream),
            StreamStatus::Deleting => Err(Error::NotActive(name.to_owned())),
        }
    }

    /// Stores one call's records whole or not at all, and answers when they are durable: the first record's position, the others
    /// follow in the call's order; and whether they were encrypted, as they are where `stream` says that its encryption is ENABLED.
    ///
    /// # Errors
    /// [`Error`]; with `Unavailable` because the log is ending, they may be stored.
    ///
    /// # Cancel safety
    /// Dropping the future does not take the records back.
    pub async fn put(
        &self,
        stream: &Stream,
        payload: Payload,
        call: Option<CallKey>,
    ) -> Result<Appended, Error> {
        // Before the quota is used, and before anything is stored.
        let key = self.inner.keyring.current(stream)?;
        let gate = self.gate(&stream.name);
        let (records, bytes) = (payload.records(), payload.data_bytes());
        if let Some(limiter) = &gate.limiter
            && let Err(quota) = limiter.admit(records, bytes)
        {
            gate.series.throttled(u64::from(records));
            return Err(Error::Unavailable(format!("the stream's quota of {quota} is used up")));
        }
        let append = Append { stream: stream.id, payload, arrival: self.inner.clock.now(), call, key };
        let begun = self.inner.clock.monotonic();
        match self.inner.log.append(append).await {
            Ok(appended) => {
                // A retry that was recognised is not counted twice.
                let (records, bytes) = if appended.duplicate { (0, 0) } else { (u64::from(records), bytes) };
                gate.series.admitted(records, bytes, self.inner.clock.monotonic().saturating_sub(begun));
                Ok(appended)
            }
            Err(AppendError::StreamClosed { .. }) => Err(Error::NotActive(stream.name.to_string())),
            Err(error) => {
                gate.series.throttled(u64::from(records));
                debug!(stream = %stream.name, %error, "records were not stored");
                Err(Error::Unavailable(error.to_string()))
            }
        }
    }

    fn gate(&self, name: &StreamName) -> Arc<Gate> {
        if let Some(gate) = self.inner.gates.load().get(name) {
            return gate.clone();
        }
        let _one_at_a_time = self.inner.changing_gates.lock();
        let mut gates = HashMap::clone(&self.inner.gates.load());
        let gate = gates.entry(name.clone()).or_insert_with(|| {
            let limiter = Limiter::new(self.inner.quotas, &self.inner.clock);
            Arc::new(Gate { series: self.inner.metrics.series(name), limiter })
        });
        let gate = gate.clone();
        self.inner.gates.store(Arc::new(gates));
        gate
    }

    /// Drops the series and keys of streams that are gone.
    pub fn forget_gone_streams(&self) {
        self.inner.keyring.forget_gone_streams();
        let snapshot = self.inner.streams.snapshot();
        let _one_at_a_time = self.inner.changing_gates.lock();
        let mut gates = HashMap::clone(&self.inner.gates.load());
        gates.retain(|name, _| {
            let exists = snapshot.by_name(name.as_str()).is_some();
            if !exists {
                self.inner.metrics.forget(name);
            }
            exists
        });
        self.inner.gates.store(Arc::new(gates));
    }
}
