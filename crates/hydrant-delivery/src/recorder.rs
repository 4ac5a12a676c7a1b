//! Writes what many streams have to say to the metastore in few transactions: one is in flight, the next fills meanwhile.

use std::{future::Future, sync::Arc};

use hydrant_log::RecordLog;
use hydrant_metastore::{Attempt, Error, Kind, Lease, Metastore, Uploaded};
use hydrant_types::{Batch, BatchId, Clock, Content, Entropy, Timestamp};
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

use crate::{Settings, backoff::Backoff, metrics::Metrics};

/// Writes that wait. When it is full, streams wait to seal: records stay in the log, nothing is lost.
const WAITING_MAX: usize = 1024;
/// Most rows in one transaction.
const GROUP_MAX: usize = 256;

/// Hands writes to the recorder. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Recorder {
    sender: mpsc::Sender<Write>,
    metrics: Metrics,
}

/// The answer to a write, given when it is committed or refused for good.
pub(crate) struct Receipt(oneshot::Receiver<Result<(), Error>>);

/// The recorder has ended: the service is stopping.
#[derive(Debug)]
pub(crate) struct Ended;

enum Write {
    Seal(Pending<Box<Batch>>),
    Uploaded(Pending<Uploaded>),
    Discarded(Pending<Discarded>),
    Attempt(Attempt),
}

/// A batch is thrown away.
struct Discarded(BatchId);

struct Pending<T> {
    row: T,
    reply: oneshot::Sender<Result<(), Error>>,
}

impl Recorder {
    /// Puts a sealed batch in the queue. Batches of one stream are committed in the order in which they are put there.
    ///
    /// # Cancel safety
    /// Safe: then it is not in the queue.
    pub(crate) async fn seal(&self, batch: Batch) -> Result<Receipt, Ended> {
        let (reply, receipt) = oneshot::channel();
        self.send(Write::Seal(Pending { row: Box::new(batch), reply })).await?;
        Ok(Receipt(receipt))
    }

    /// Puts in the queue that a batch is uploaded.
    ///
    /// # Cancel safety
    /// Safe: then it is not in the queue.
    pub(crate) async fn uploaded(&self, uploaded: Uploaded) -> Result<Receipt, Ended> {
        let (reply, receipt) = oneshot::channel();
        self.send(Write::Uploaded(Pending { row: uploaded, reply })).await?;
        Ok(Receipt(receipt))
    }

    /// Puts in the queue that a batch is discarded.
    ///
    /// # Cancel safety
    /// Safe: then it is not in the queue.
    pub(crate) async fn discarded(&self, id: BatchId) -> Result<Receipt, Ended> {
        let (reply, receipt) = oneshot::channel();
        self.send(Write::Discarded(Pending { row: Discarded(id), reply })).await?;
        Ok(Receipt(receipt))
    }

    /// Notes an attempt for people to read. Never waits; dropped, and counted, where the metastore does not keep up.
    pub(crate) fn attempt(&self, attempt: Attempt) {
        if self.sender.try_send(Write::Attempt(attempt)).is_err() {
            self.metrics.attempt_dropped();
        }
    }

    async fn send(&self, write: Write) -> Result<(), Ended> {
        self.sender.send(write).await.map_err(|_| Ended)
    }
}

impl Receipt {
    /// Waits for the answer: committed, or refused for good with the reason.
    pub(crate) async fn wait(self) -> Result<Result<(), Error>, Ended> {
        self.0.await.map_err(|_| Ended)
    }
}

/// The task behind [`Recorder`].
pub(crate) struct RecorderTask {
    pub(crate) metastore: Arc<dyn Metastore>,
    pub(crate) log: Arc<dyn RecordLog>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) lease: Arc<Lease>,
    pub(crate) metrics: Metrics,
    receiver: mpsc::Receiver<Write>,
    backoff: Backoff,
}

/// What the task needs from outside.
pub(crate) struct Parts {
    pub(crate) metastore: Arc<dyn Metastore>,
    pub(crate) log: Arc<dyn RecordLog>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) lease: Arc<Lease>,
    pub(crate) metrics: Metrics,
}

impl RecorderTask {
    pub(crate) fn new(parts: Parts, settings: &Settings, entropy: &dyn Entropy) -> (Recorder, Self) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let recorder = Recorder { sender, metrics: parts.metrics.clone() };
        let Parts { metastore, log, clock, lease, metrics } = parts;
        let backoff = Backoff::new(settings, entropy);
        (recorder, Self { metastore, log, clock, lease, metrics, receiver, backoff })
    }

    /// Runs until every [`Recorder`] is dropped.
    ///
    /// # Errors
    /// The log's lease is lost: somebody else delivers this log, and nothing more may be written for it.
    pub(crate) async fn run(mut self) -> Result<(), Error> {
        let mut writes = Vec::with_capacity(GROUP_MAX);
        while self.receiver.recv_many(&mut writes, GROUP_MAX).await > 0 {
            let (mut seals, mut uploads) = (Vec::new(), Vec::new());
            let (mut discards, mut attempts) = (Vec::new(), Vec::new());
            for write in writes.drain(..) {
                match write {
                    Write::Seal(pending) => seals.push(pending),
                    Write::Uploaded(pending) => uploads.push(pending),
                    Write::Discarded(pending) => discards.push(pending),
                    Write::Attempt(attempt) => attempts.push(attempt),
                }
            }
            self.commit(seals.into_iter().map(Pending::unboxed).collect()).await?;
            self.commit(uploads).await?;
            self.commit(discards).await?;
            self.note(attempts).await;
        }
        Ok(())
    }

    /// Commits a group in one transaction, or one by one where something in it is refused, so that one stream cannot stop others.
    async fn commit<R: Row>(&mut self, group: Vec<Pending<R>>) -> Result<(), Error> {
        if group.is_empty() {
            return Ok(());
        }
        let (rows, replies): (Vec<R>, Vec<_>) = group.into_iter().map(|p| (p.row, p.reply)).unzip();
        if self.decided(&rows).await?.is_ok() {
            for (row, reply) in rows.iter().zip(replies) {
                row.committed(&*self.log);
                // Who no longer waits finds it done.
                let _ = reply.send(Ok(()));
            }
            return Ok(());
        }
        for (row, reply) in rows.iter().zip(replies) {
            let result = self.decided(std::slice::from_ref(row)).await?;
            if result.is_ok() {
                row.committed(&*self.log);
            }
            let _ = reply.send(result);
        }
        Ok(())
    }

    /// Repeats until it is known whether the rows are written. The outer error ends the recorder.
    async fn decided<R: Row>(&mut self, rows: &[R]) -> Result<Result<(), Error>, Error> {
        let mut failed = false;
        loop {
            match R::write(&*self.metastore, &self.lease, rows, self.clock.now()).await {
                Ok(()) => {
                    if failed {
                        info!("the metastore answers again");
                        self.backoff.reset();
                    }
                    return Ok(Ok(()));
                }
                Err(error @ Error::LeaseLost { .. }) => return Err(error),
                // Each call may be repeated as it is, also where nobody knows whether it was done.
                Err(error) if matches!(error.kind(), Kind::Retry | Kind::OutcomeUnknown) => {
                    if !failed {
                        warn!(error = %with_causes(&error), "the metastore does not answer: sealing waits");
                    }
                    failed = true;
                    tokio::time::sleep(self.backoff.next()).await;
                }
                Err(error) => return Ok(Err(error)),
            }
        }
    }

    async fn note(&self, attempts: Vec<Attempt>) {
        if !attempts.is_empty() && self.metastore.record_attempts(&attempts).await.is_err() {
            attempts.iter().for_each(|_| self.metrics.attempt_dropped());
        }
    }
}

impl<T> Pending<Box<T>> {
    fn unboxed(self) -> Pending<T> {
        Pending { row: *self.row, reply: self.reply }
    }
}

/// What is written in groups.
trait Row: Sized + Send + Sync {
    fn write(
        metastore: &dyn Metastore,
        lease: &Lease,
        rows: &[Self],
        now: Timestamp,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// What follows at once from its being committed.
    fn committed(&self, _log: &dyn RecordLog) {}
}

impl Row for Batch {
    async fn write(
        metastore: &dyn Metastore,
        lease: &Lease,
        rows: &[Self],
        _now: Timestamp,
    ) -> Result<(), Error> {
        metastore.seal_batches(lease, rows).await
    }

    fn committed(&self, log: &dyn RecordLog) {
        if self.content == Content::Delivery {
            log.note_sealed(self.stream, self.range.to);
        }
    }
}

impl Row for Uploaded {
    async fn write(
        metastore: &dyn Metastore,
        lease: &Lease,
        rows: &[Self],
        now: Timestamp,
    ) -> Result<(), Error> {
        metastore.mark_uploaded(lease, rows, now).await
    }
}

impl Row for Discarded {
    async fn write(
        metastore: &dyn Metastore,
        lease: &Lease,
        rows: &[Self],
        now: Timestamp,
    ) -> Result<(), Error> {
        let ids: Vec<BatchId> = rows.iter().map(|row| row.0).collect();
        metastore.discard_batches(lease, &ids, now).await
    }
}

/// An error with its causes, on one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
