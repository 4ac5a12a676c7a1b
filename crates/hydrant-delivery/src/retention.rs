//! Deletes done batches and loads that are older than the retention, in small steps.

use std::{sync::Arc, time::Duration};

use hydrant_metastore::Metastore;
use hydrant_types::{Clock, Timestamp};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::Settings;

/// Rows a step deletes: a transaction of milliseconds.
const STEP_ROWS: u32 = 500;
/// Between two steps, for others to get a turn.
const STEP_PAUSE: Duration = Duration::from_millis(100);

/// The first sweep comes this soon: a process that is restarted often is to sweep too.
const FIRST_PAUSE: Duration = Duration::from_secs(60);

/// Sweeps soon after the start and then at every interval until `stopping`. A sweep that fails is tried again at the next.
pub(crate) async fn run(
    metastore: Arc<dyn Metastore>,
    clock: Arc<dyn Clock>,
    settings: Arc<Settings>,
    stopping: CancellationToken,
) {
    let mut pause = FIRST_PAUSE.min(settings.retention_interval);
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = settings.retention_interval;
        let age_ms = u64::try_from(settings.retention.as_millis()).unwrap_or(u64::MAX);
        let before = Timestamp(clock.now().0.saturating_sub(age_ms));
        tokio::select! {
            () = stopping.cancelled() => return,
            () = sweep(&*metastore, before) => {}
        }
    }
}

async fn sweep(metastore: &dyn Metastore, before: Timestamp) {
    let mut rows = 0;
    loop {
        match metastore.sweep(before, STEP_ROWS).await {
            Ok(0) => break,
            Ok(deleted) => rows += deleted,
            Err(error) => {
                debug!(%error, "the retention sweep stopped early; the next one goes on");
                break;
            }
        }
        tokio::time::sleep(STEP_PAUSE).await;
    }
    if rows > 0 {
        info!(rows, %before, "deleted done deliveries that are older than the retention");
    }
}
