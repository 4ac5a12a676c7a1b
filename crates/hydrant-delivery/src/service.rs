//! Starting all of it, and stopping it in order.

use std::sync::Arc;

use hydrant_ingest::StreamTable;
use hydrant_log::RecordLog;
use hydrant_metastore::{Error as StoreError, Metastore};
use hydrant_redshift::WarehouseClient;
use hydrant_types::{Clock, Entropy};
use prometheus::Registry;
use tokio::{
    sync::Notify,
    task::{JoinError, JoinHandle},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    Attached, ObjectStore, Settings,
    encode_slots::EncodeSlots,
    lease_keeper::{KeptLease, Unanswered},
    loader::Loader,
    memory_budget::MemoryBudget,
    metrics::Metrics,
    recorder::{Parts, RecorderTask},
    retention,
    stream::Shared,
    supervisor::Supervisor,
    trims::Trims,
    upload_gates::UploadGates,
};

/// What deliveries are made with.
#[derive(Clone)]
pub struct Deps {
    /// Where records are.
    pub log: Arc<dyn RecordLog>,
    /// Where the state of every delivery is.
    pub metastore: Arc<dyn Metastore>,
    /// The streams this node knows.
    pub streams: Arc<StreamTable>,
    /// Where objects go.
    pub objects: Arc<dyn ObjectStore>,
    /// Where COPY runs.
    pub warehouse: Arc<dyn WarehouseClient>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub entropy: Arc<dyn Entropy>,
    /// Where figures are shown.
    pub registry: Registry,
}

/// Delivery ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else delivers this log now.
    #[error("the record log's lease is lost: another process delivers it")]
    LeaseLost,
    /// The recorder was refused for good.
    #[error("record deliveries")]
    Recorder(#[source] hydrant_metastore::Error),
    /// A part panicked.
    #[error("a part of delivery panicked")]
    Panic(#[from] JoinError),
    /// A part ended though nobody told it to: a defect.
    #[error("the {part} ended by itself")]
    Ended {
        /// Which.
        part: &'static str,
    },
}

/// Running deliveries.
pub struct Handle {
    task: JoinHandle<Result<(), Error>>,
}

impl Handle {
    /// Waits for the end: after the shutdown, or with what failed.
    ///
    /// # Errors
    /// [`enum@Error`].
    pub async fn join(self) -> Result<(), Error> {
        self.task.await?
    }
}

/// Starts delivering until `shutdown`: then nothing more is sealed, steps under way are finished or dropped, and leases are given back.
pub fn start(deps: Deps, settings: Settings, attached: Attached, shutdown: CancellationToken) -> Handle {
    Handle { task: tokio::spawn(run(deps, Arc::new(settings), attached, shutdown)) }
}

async fn run(
    deps: Deps,
    settings: Arc<Settings>,
    attached: Attached,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let stopping = shutdown.child_token();
    let lease = KeptLease::new(
        deps.metastore.clone(),
        attached.lease.clone(),
        settings.lease_ttl,
        tokio::time::Instant::now(),
        // The log is locked on disk too: nobody else can have it while the metastore is away.
        Unanswered::IsFine,
    );
    let gates = UploadGates::new(settings.upload_bytes_max, settings.uploads_max);
    let encoders = MemoryBudget::new(settings.encoder_memory_max);
    let metrics = Metrics::new(&deps, encoders.clone(), gates.clone());
    let parts = Parts {
        metastore: deps.metastore.clone(),
        log: deps.log.clone(),
        clock: deps.clock.clone(),
        lease: lease.lease(),
        metrics: metrics.clone(),
    };
    let (recorder, recording) = RecorderTask::new(parts, &settings, &*deps.entropy);
    let loader_wake = Arc::new(Notify::new());
    let shared = Arc::new(Shared {
        log: deps.log.clone(),
        metastore: deps.metastore.clone(),
        streams: deps.streams.clone(),
        objects: deps.objects.clone(),
        clock: deps.clock.clone(),
        entropy: deps.entropy.clone(),
        settings: settings.clone(),
        metrics,
        recorder,
        trims: Trims::new(deps.log.clone(), deps.streams.clone()),
        gates,
        encoders,
        slots: EncodeSlots::new(settings.encode_slots),
        loader_wake,
        stopping: stopping.clone(),
    });
    let mut recording = tokio::spawn(recording.run());
    let mut loading = tokio::spawn(Loader::new(shared.clone(), deps.warehouse).run());
    let mut sweeping =
        tokio::spawn(retention::run(deps.metastore.clone(), deps.clock, settings.clone(), stopping.clone()));
    let mut supervising = tokio::spawn(Supervisor::new(shared, &attached).run());

    let failure = tokio::select! {
        // First: a shutdown ends the parts too, and that is no failure.
        biased;
        () = shutdown.cancelled() => None,
        () = lease.lost() => Some(Error::LeaseLost),
        ended = &mut supervising => Some(ended_early("supervisor", ended)),
        ended = &mut loading => Some(ended_early("loader", ended)),
        ended = &mut sweeping => Some(ended_early("retention", ended)),
        ended = &mut recording => Some(match ended {
            Ok(Err(StoreError::LeaseLost { .. })) => Error::LeaseLost,
            Ok(Err(error)) => Error::Recorder(error),
            ended => ended_early("recorder", ended.map(drop)),
        }),
    };
    stopping.cancel();
    let parts = async {
        for part in [&mut supervising, &mut loading, &mut sweeping] {
            // The one that ended first is not to be asked again.
            if !part.is_finished() {
                let _ = part.await;
            }
        }
    };
    if tokio::time::timeout(settings.stop_grace, parts).await.is_err() {
        debug!("steps that were under way are dropped: the next start does them again");
    }
    for part in [supervising, loading, sweeping] {
        part.abort();
    }
    recording.abort();
    let log_lease = lease.lease();
    let released = deps.metastore.release_lease(&log_lease);
    match tokio::time::timeout(settings.stop_grace / 2, released).await {
        Ok(Ok(())) => {}
        _ => warn!("the record log's lease was not given back; it runs out by itself"),
    }
    failure.map_or(Ok(()), Err)
}

fn ended_early(part: &'static str, ended: Result<(), JoinError>) -> Error {
    ended.err().map_or(Error::Ended { part }, Error::Panic)
}
