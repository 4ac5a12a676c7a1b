//! Throwing away what is not delivered of a stream that is deleted so (`hydrant:on-delete` = `discard`).
//!
//! What is in the log is sealed as ever, without being encoded, so that every record is in a batch; each batch is then marked as discarded
//! where it would be uploaded. A crash between the two leaves a sealed batch, which the next start discards.

use hydrant_metastore::{Error as StoreError, Kind};
use hydrant_types::{Batch, Stream};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{Shared, Stop};

/// Batches that wait for a load are looked at so many at a time.
const WAITING_MAX: u32 = 1_000;

/// Whether a stream's records are thrown away, and what was.
#[derive(Default)]
pub(super) struct Discard {
    begun: CancellationToken,
    sum: Mutex<Sum>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Sum {
    batches: u64,
    records: u64,
    bytes: u64,
    /// Batches that were in it when it was last logged.
    said: u64,
}

impl Discard {
    /// From now on nothing of the stream is to be delivered; never taken back.
    pub(super) fn begin(&self) {
        self.begun.cancel();
    }

    pub(super) fn is_begun(&self) -> bool {
        self.begun.is_cancelled()
    }

    /// Waits until it has begun. Cancel-safe.
    pub(super) async fn begun(&self) {
        self.begun.cancelled().await;
    }

    /// Marks a sealed batch as discarded.
    pub(super) async fn batch(&self, shared: &Shared, batch: &Batch) -> Result<(), Stop> {
        let receipt = shared.recorder.discarded(batch.id).await?;
        receipt.wait().await?.map_err(Stop::Refused)?;
        self.count(shared, batch);
        Ok(())
    }

    /// Discards what is in S3 and waits for a load, of any node. What a load has taken meanwhile follows it.
    ///
    /// # Errors
    /// The metastore did not answer, or refused.
    pub(super) async fn waiting(&self, shared: &Shared, stream: &Stream) -> Result<(), StoreError> {
        let mut found = false;
        for waiting in shared.metastore.waiting().await?.iter().filter(|of| of.stream == stream.id) {
            let batches = shared.metastore.waiting_batches(stream.id, &waiting.target, WAITING_MAX).await?;
            let mut receipts = Vec::with_capacity(batches.len());
            for batch in &batches {
                // Ended: the service is stopping, and the next start goes on.
                let Ok(receipt) = shared.recorder.discarded(batch.id).await else { return Ok(()) };
                receipts.push(receipt);
            }
            for (batch, receipt) in batches.iter().zip(receipts) {
                match receipt.wait().await {
                    Ok(Ok(())) => self.count(shared, batch),
                    Ok(Err(error)) if error.kind() == Kind::Moved => {}
                    Ok(Err(error)) => return Err(error),
                    Err(_) => return Ok(()),
                }
            }
            found = true;
        }
        if found {
            // It shows the age of what waits.
            shared.loader_wake.notify_one();
        }
        Ok(())
    }

    fn count(&self, shared: &Shared, batch: &Batch) {
        let records = batch.range.records();
        shared.metrics.discarded(records, batch.bytes);
        let mut sum = self.sum.lock();
        sum.batches += 1;
        sum.records += records;
        sum.bytes += batch.bytes;
    }

    /// Says what was thrown away since the last start, where there is something new to say.
    pub(super) fn say(&self, stream: &Stream) {
        let sum = {
            let mut sum = self.sum.lock();
            if sum.said == sum.batches {
                return;
            }
            sum.said = sum.batches;
            *sum
        };
        let Sum { batches, records, bytes, .. } = sum;
        warn!(stream = %stream.name, batches, records, bytes,
            "thrown away as hydrant:on-delete says; `hydrant delivery list --state discarded` shows which");
    }
}
