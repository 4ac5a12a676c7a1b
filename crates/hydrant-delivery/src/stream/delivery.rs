//! A sealed batch on its way into S3.

use std::{sync::Arc, time::Duration};

use hydrant_metastore::{Attempt, Subject, Uploaded};
use hydrant_types::{Batch, Compression, StoredObject, Timestamp};
use tracing::{Instrument as _, debug, info_span};

use super::{
    Shared, Stop,
    feed::{Progress, Reencoding},
    health::Health,
};
use crate::{
    backoff::Backoff,
    encoder::Encoder,
    memory_budget::Charge,
    metrics::Outcome,
    object_store::{self, Body, Kind},
    recorder::Receipt,
    upload_gates::{Admission, Probe},
};

/// Whether a bucket answers is found out within this time.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
const MIB: u64 = 1024 * 1024;

/// A batch to be delivered.
pub(super) struct Delivery {
    pub(super) shared: Arc<Shared>,
    pub(super) batch: Batch,
    pub(super) compression: Compression,
    pub(super) health: Arc<Health>,
    /// What was encoded while the batch was open, with the memory it is charged with.
    pub(super) encoded: Option<(Body, Charge)>,
}

impl Delivery {
    /// Waits for the seal to be committed (`None`: it was long ago), puts the object and marks the batch. Tries for ever; ends with an
    /// error only where trying again is pointless, or the service stops.
    pub(super) async fn run(mut self, seal: Option<Receipt>) -> Result<Batch, Stop> {
        let span = info_span!("deliver", stream = %self.batch.stream_name, delivery_id = %self.batch.id);
        async {
            if let Some(receipt) = seal {
                receipt.wait().await?.map_err(Stop::Refused)?;
            }
            let object = self.upload().await?;
            self.mark(object).await?;
            Ok(self.batch)
        }
        .instrument(span)
        .await
    }

    async fn upload(&mut self) -> Result<StoredObject, Stop> {
        let mut backoff = Backoff::new(&self.shared.settings, &*self.shared.entropy);
        let mut failed_before = false;
        loop {
            let (started_at, tried) = self.try_once().await?;
            match tried {
                Ok(object) => {
                    self.health.succeeded();
                    self.shared.metrics.s3_attempt(&self.batch.stream_name, Outcome::Ok);
                    if failed_before {
                        self.note(started_at, Outcome::Ok, None);
                    }
                    return Ok(object);
                }
                Err(error) => self.failed(started_at, &error),
            }
            // Memory and place went to others while this one waits; the body is made again from the log.
            failed_before = true;
            tokio::select! {
                () = self.shared.stopping.cancelled() => return Err(Stop::Stopping),
                () = tokio::time::sleep(backoff.next()) => {}
            }
        }
    }

    /// One try, and when it was begun.
    async fn try_once(&mut self) -> Result<(Timestamp, Result<StoredObject, object_store::Error>), Stop> {
        loop {
            if self.is_unreachable() {
                // The wait may be long, and encoders of others need the memory.
                self.encoded = None;
                let probe = tokio::select! {
                    () = self.shared.stopping.cancelled() => return Err(Stop::Stopping),
                    probe = self.shared.gates.probe(&self.batch.bucket) => probe,
                };
                let started_at = self.shared.clock.now();
                if let Some(probe) = probe
                    && let Err(error) = self.ask(&probe).await
                {
                    return Ok((started_at, Err(error)));
                }
            }
            let Some((admission, body)) = self.admitted_body().await? else { continue };
            let _turn = admission.put_turn().await;
            if !self.is_unreachable() {
                return Ok((self.shared.clock.now(), self.put(&admission, body).await));
            }
        }
    }

    fn is_unreachable(&self) -> bool {
        self.shared.gates.is_unreachable(&self.batch.bucket)
    }

    /// Asks the bucket whether it answers, with what needs neither memory nor place.
    async fn ask(&self, probe: &Probe) -> Result<(), object_store::Error> {
        let (bucket, key) = (&self.batch.bucket, &self.batch.key);
        match tokio::time::timeout(PROBE_TIMEOUT, self.shared.objects.head(bucket, key)).await {
            Err(_) => Err(object_store::Error::timed_out("head", bucket, key, PROBE_TIMEOUT)),
            Ok(Err(error)) if error.kind == Kind::Unreachable => Err(error),
            // Whatever it answered: the PUT will show what it says to that.
            Ok(_) => {
                probe.answered();
                Ok(())
            }
        }
    }

    /// A body, and the right to hold it in memory; `None` where the bucket was found not to answer while this waited.
    async fn admitted_body(&mut self) -> Result<Option<(Admission, Body)>, Stop> {
        let shared = &self.shared;
        let bytes = self.encoded.as_ref().map_or(self.body_bytes_max(), |(body, _)| body.bytes.len() as u64);
        let mut admission = tokio::select! {
            () = shared.stopping.cancelled() => return Err(Stop::Stopping),
            admission = shared.gates.admit(&self.batch.bucket, bytes) => admission,
        };
        if self.is_unreachable() {
            return Ok(None);
        }
        let body = match self.encoded.take() {
            Some((body, _charge)) => body,
            None => self.encode().await?,
        };
        admission.shrink(body.bytes.len() as u64);
        Ok(Some((admission, body)))
    }

    /// No body of the batch is longer.
    fn body_bytes_max(&self) -> u64 {
        Encoder::object_bytes_max(self.compression, self.batch.bytes)
    }

    async fn encode(&self) -> Result<Body, Stop> {
        let level = self.shared.settings.gzip_level;
        let mut encoding = Reencoding::new(self.batch.range, self.compression, level, self.body_bytes_max());
        loop {
            if self.shared.stopping.is_cancelled() {
                return Err(Stop::Stopping);
            }
            let (log, stream) = (self.shared.log.clone(), self.batch.stream);
            match self.shared.slots.run(move || encoding.step(&*log, stream)).await? {
                Progress::More(more) => encoding = more,
                Progress::Done(body) => return Ok(body),
            }
        }
    }

    async fn put(&self, admission: &Admission, body: Body) -> Result<StoredObject, object_store::Error> {
        let (bucket, key) = (&self.batch.bucket, &self.batch.key);
        let limit = self.shared.settings.upload_timeout + Duration::from_secs(body.bytes.len() as u64 / MIB);
        let result = match tokio::time::timeout(limit, self.shared.objects.put(bucket, key, body)).await {
            Ok(result) => result,
            Err(_) => Err(object_store::Error::timed_out("put", bucket, key, limit)),
        };
        let unanswered = result.as_ref().is_err_and(|error| error.kind == Kind::Unreachable);
        admission.answered(!unanswered);
        result
    }

    async fn mark(&self, object: StoredObject) -> Result<(), Stop> {
        let (shared, batch) = (&self.shared, &self.batch);
        let object_bytes = object.bytes;
        let delivered = batch.copy_target.is_none();
        let receipt = shared.recorder.uploaded(Uploaded { id: batch.id, object, delivered }).await?;
        receipt.wait().await?.map_err(Stop::Refused)?;
        shared.metrics.uploaded(&batch.stream_name, batch.range.records(), batch.bytes, object_bytes);
        if !delivered {
            shared.loader_wake.notify_one();
        }
        debug!(key = %batch.key, records = batch.range.records(), bytes = batch.bytes, object_bytes, "uploaded");
        Ok(())
    }

    fn failed(&self, started_at: Timestamp, error: &object_store::Error) {
        let outcome = match error.kind {
            Kind::Refused => Outcome::Failed,
            Kind::Unreachable => Outcome::Unknown,
        };
        self.health.failed(error);
        self.shared.metrics.s3_attempt(&self.batch.stream_name, outcome);
        self.note(started_at, outcome, Some(error));
    }

    fn note(&self, started_at: Timestamp, outcome: Outcome, error: Option<&object_store::Error>) {
        self.shared.recorder.attempt(Attempt {
            subject: Subject::Batch(self.batch.id),
            step: "put_object",
            started_at,
            ended_at: self.shared.clock.now(),
            outcome: outcome.name(),
            code: error.map(|error| error.code.clone()),
            message: error.map(|error| error.message.clone()),
        });
    }
}
