//! A sealed batch on its way into S3.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hydrant_log::error::Read;
use hydrant_metastore::{Attempt, FailedObject, Subject, Uploaded};
use hydrant_types::{Batch, BatchId, Entropy, ErrorOutputType, Lane, ObjectKey, StoredObject, Timestamp};
use tracing::{Instrument as _, debug, error, info_span};
use uuid::Uuid;

use super::{
    Shared, Stop,
    discard::Discard,
    feed::{Encoded, Piece, Processed, Progress, Reencoding},
    health::Health,
    lane_settings::LaneSettings,
    open_batch,
};
use crate::{
    backoff::Backoff,
    encoder::{Encoder, Encoding},
    metrics::Outcome,
    object_key::{self, ObjectName},
    object_store::{self, Body, Kind, PutOptions},
    recorder::Receipt,
    upload_gates::{Admission, Place, Probe},
};

/// Whether a bucket answers is found out within this time.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
const MIB: u64 = 1024 * 1024;

/// Chance that is the same whenever it is asked anew: what is made from a batch again gets the same names.
struct DrawnFrom {
    id: BatchId,
    draws: AtomicU64,
}

impl Entropy for DrawnFrom {
    fn uuid(&self) -> Uuid {
        let draw = self.draws.fetch_add(ErrorOutputType::ALL.len() as u64, Ordering::Relaxed);
        let (high, low) = self.id.0.as_u64_pair();
        let mixed = [high, low].map(|half| mix(half.wrapping_add(mix(draw))).to_be_bytes());
        uuid::Builder::from_random_bytes(mixed.concat().try_into().unwrap_or_default()).into_uuid()
    }
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood, 2014): every bit of its input moves about half of its output's.
fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// What there is after a try: the object and what became of the records, or why not.
type Tried = Result<(Option<StoredObject>, Processed), object_store::Error>;

/// How a delivery ended.
pub(super) enum Ended {
    /// The batch is in its final state.
    Done(Batch),
    /// It is sealed; whoever goes on with the stream goes on with it.
    Left(Batch, Stop),
    /// It is not sealed, as far as is known: nothing was put, and its records are still to be sealed.
    NotSealed(Batch, Stop),
}

async fn sealed(receipt: Receipt) -> Result<(), Stop> {
    receipt.wait().await?.map_err(Stop::Refused)
}

/// A batch to be delivered.
pub(super) struct Delivery {
    shared: Arc<Shared>,
    batch: Batch,
    settings: LaneSettings,
    health: Arc<Health>,
    discard: Arc<Discard>,
    /// What was encoded while the batch was open.
    encoded: Option<Encoded>,
    /// Set once its records had to wait for a key.
    key_backoff: Option<Backoff>,
    /// A try may have been made: by a process that ended, or here.
    tried_before: bool,
}

impl Delivery {
    pub(super) fn new(
        shared: Arc<Shared>,
        batch: Batch,
        settings: LaneSettings,
        health: Arc<Health>,
        discard: Arc<Discard>,
        encoded: Option<Encoded>,
    ) -> Self {
        Self { shared, batch, settings, health, discard, encoded, key_backoff: None, tried_before: false }
    }

    /// Waits for the seal to be committed (`None`: it was long ago), puts its objects and marks the batch; or discards it, once the
    /// stream's records are thrown away. Tries for ever; ends otherwise only where trying again is pointless, or the service stops.
    pub(super) async fn run(mut self, seal: Option<Receipt>) -> Ended {
        let span = info_span!("deliver", stream = %self.batch.stream_name, delivery_id = %self.batch.id);
        self.tried_before = seal.is_none();
        if let Some(receipt) = seal
            && let Err(stop) = sealed(receipt).instrument(span.clone()).await
        {
            return Ended::NotSealed(self.batch, stop);
        }
        match self.deliver().instrument(span).await {
            Ok(()) => Ended::Done(self.batch),
            Err(stop) => Ended::Left(self.batch, stop),
        }
    }

    async fn deliver(&mut self) -> Result<(), Stop> {
        match self.upload().await {
            Ok(uploaded) => self.mark(uploaded).await,
            Err(Stop::Stopping) => Err(Stop::Stopping),
            // Whatever it was: nobody wants the object any more.
            Err(_) if self.discard.is_begun() => self.discard.batch(&self.shared, &self.batch).await,
            Err(stop) => Err(stop),
        }
    }

    /// Waits until there is a reason not to go on.
    async fn interrupted(&self) -> Stop {
        tokio::select! {
            () = self.shared.stopping.cancelled() => Stop::Stopping,
            () = self.discard.begun() => Stop::Discarding,
        }
    }

    fn is_interrupted(&self) -> bool {
        self.shared.stopping.is_cancelled() || self.discard.is_begun()
    }

    /// Puts what is kept of the batch, then what failed.
    async fn upload(&mut self) -> Result<Uploaded, Stop> {
        let key = self.batch.key.clone();
        let (object, processed) = self.put_until_it_is_there(Piece::Kept, &key).await?;
        let mut uploaded = Uploaded {
            id: self.batch.id,
            object,
            delivered: self.batch.copy_target.is_none(),
            failed: Vec::new(),
        };
        let pipeline = self.settings.pipeline.clone().filter(|_| processed.failed > 0);
        if let Some(error) = pipeline.and_then(|pipeline| pipeline.error()) {
            let (id, key) = self.failed_object(error)?;
            let piece = Piece::Failed(error, self.batch.sealed_at);
            if let (Some(object), written) = self.put_until_it_is_there(piece, &key).await? {
                let (records, bytes) = (processed.failed, written.written);
                uploaded.failed.push(FailedObject { id, error, records, bytes, key, object });
            }
        }
        Ok(uploaded)
    }

    /// Where records that failed go: derived from the batch, so that putting them again is the same object.
    fn failed_object(&self, error: ErrorOutputType) -> Result<(BatchId, ObjectKey), Stop> {
        let batch = &self.batch;
        // Both from the batch's own id, whose bits are random.
        let drawn = DrawnFrom { id: batch.id, draws: AtomicU64::new(error as u64) };
        let id = BatchId(drawn.uuid());
        let name = ObjectName {
            stream: &batch.stream_name,
            version: batch.stream_version,
            oldest_arrival: batch.oldest_arrival,
            batch: id,
        };
        let key = object_key::error_object(&self.settings.s3, name, error, &drawn)?;
        Ok((id, key))
    }

    /// `None` where there is nothing to be put.
    async fn put_until_it_is_there(
        &mut self,
        piece: Piece,
        key: &ObjectKey,
    ) -> Result<(Option<StoredObject>, Processed), Stop> {
        let mut backoff = Backoff::new(&self.shared.settings, &*self.shared.entropy);
        let mut failed_before = false;
        loop {
            let (started_at, tried) = self.try_once(piece, key).await?;
            match tried {
                Ok((object, processed)) => {
                    if object.is_some() {
                        self.health.succeeded();
                        self.shared.metrics.s3_attempt(&self.batch.stream_name, Outcome::Ok);
                    }
                    if failed_before {
                        self.note(started_at, Outcome::Ok, None);
                    }
                    return Ok((object, processed));
                }
                Err(error) => self.failed(started_at, &error),
            }
            // Memory and place went to others while this one waits; the body is made again from the log.
            failed_before = true;
            self.tried_before = true;
            tokio::select! {
                stop = self.interrupted() => return Err(stop),
                () = tokio::time::sleep(backoff.next()) => {}
            }
        }
    }

    /// One try, and when it was begun.
    async fn try_once(&mut self, piece: Piece, key: &ObjectKey) -> Result<(Timestamp, Tried), Stop> {
        loop {
            if self.is_interrupted() {
                return Err(self.interrupted().await);
            }
            if self.is_unreachable() {
                // The wait may be long, and encoders of others need the memory.
                self.encoded = None;
                let place = self.place();
                let probe = tokio::select! {
                    stop = self.interrupted() => return Err(stop),
                    probe = self.shared.gates.probe(&place) => probe,
                };
                let started_at = self.shared.clock.now();
                if let Some(probe) = probe
                    && let Err(error) = self.ask(&probe).await
                {
                    return Ok((started_at, Err(error)));
                }
            }
            let Some((admission, encoded)) = self.admitted(piece).await? else { continue };
            let Encoded { body, processed, .. } = encoded;
            let Some(body) = body else { return Ok((self.shared.clock.now(), Ok((None, processed)))) };
            let _turn = tokio::select! {
                stop = self.interrupted() => return Err(stop),
                turn = admission.put_turn() => turn,
            };
            // What is begun here is waited for, also when the stream's records are thrown away meanwhile.
            if !self.is_unreachable() {
                let started_at = self.shared.clock.now();
                let put = self.put(&admission, key, body).await;
                return Ok((started_at, put.map(|object| (Some(object), processed))));
            }
        }
    }

    /// What is asked of the store now.
    fn lane(&self) -> Lane {
        self.batch.content.lane().unwrap_or(Lane::Delivery)
    }

    fn options(&self) -> PutOptions {
        let stream = self.shared.streams.by_id(self.batch.stream);
        PutOptions {
            tried_before: self.tried_before,
            ..PutOptions::new(&self.settings.s3, self.lane(), stream.as_deref())
        }
    }

    fn place(&self) -> Place {
        Place::new(&self.batch.bucket, &self.options())
    }

    fn is_unreachable(&self) -> bool {
        self.shared.gates.is_unreachable(&self.place())
    }

    /// Asks the bucket whether it answers, with what needs neither memory nor place.
    async fn ask(&self, probe: &Probe) -> Result<(), object_store::Error> {
        let (bucket, key, options) = (&self.batch.bucket, &self.batch.key, self.options());
        match tokio::time::timeout(PROBE_TIMEOUT, self.shared.objects.head(bucket, key, &options)).await {
            Err(_) => Err(object_store::Error::timed_out("head", bucket, key, PROBE_TIMEOUT)),
            Ok(Err(error)) if error.kind == Kind::Unreachable => Err(error),
            // Whatever it answered: the PUT will show what it says to that.
            Ok(_) => {
                probe.answered();
                Ok(())
            }
        }
    }

    /// A body, and the right to hold it in memory; `None` where there is none now, because the bucket was found not to answer, or a key was missing,
    /// while this waited.
    async fn admitted(&mut self, piece: Piece) -> Result<Option<(Admission, Encoded)>, Stop> {
        let shared = &self.shared;
        // Settled once: a tag that is set meanwhile is not to make the body longer than what is admitted.
        let encoding = self.encoding();
        let body_bytes_max = encoding.object_bytes_max(self.batch.processed_bytes);
        let bytes = match self.encoded.as_ref().filter(|_| piece == Piece::Kept) {
            Some(encoded) => encoded.body.as_ref().map_or(0, |body| body.bytes.len() as u64),
            None => body_bytes_max,
        };
        let place = self.place();
        let mut admission = tokio::select! {
            stop = self.interrupted() => return Err(stop),
            admission = shared.gates.admit(&place, bytes) => admission,
        };
        if self.is_unreachable() {
            return Ok(None);
        }
        let encoded = match self.encoded.take_if(|_| piece == Piece::Kept) {
            Some(encoded) => Encoded { _charge: None, ..encoded },
            None => match self.encode(piece, encoding, body_bytes_max).await {
                Err(Stop::Read(missing @ Read::KeyMissing { .. })) => {
                    // Others need the memory and the place.
                    drop(admission);
                    self.wait_for_key(&missing).await?;
                    return Ok(None);
                }
                encoded => encoded?,
            },
        };
        admission.shrink(encoded.body.as_ref().map_or(0, |body| body.bytes.len() as u64));
        Ok(Some((admission, encoded)))
    }

    /// Until the log is asked again for records for which it has no key.
    async fn wait_for_key(&mut self, missing: &Read) -> Result<(), Stop> {
        let shared = &self.shared;
        let backoff = self.key_backoff.get_or_insert_with(|| {
            error!(error = %missing, "a sealed batch waits for a key; its records stay in the log");
            Backoff::new(&shared.settings, &*shared.entropy)
        });
        let pause = backoff.next();
        tokio::select! {
            stop = self.interrupted() => Err(stop),
            () = tokio::time::sleep(pause) => Ok(()),
        }
    }

    fn encoding(&self) -> Encoding {
        let stream = self.shared.streams.by_id(self.batch.stream);
        open_batch::encoding(self.settings.s3.compression, stream.as_deref(), &self.shared.settings)
    }

    async fn encode(&self, piece: Piece, encoding: Encoding, body_bytes_max: u64) -> Result<Encoded, Stop> {
        let (batch, pipeline) = (&self.batch, self.settings.pipeline.clone());
        // Reserved at once, so that it is never copied to grow. (What is not written to takes no memory.)
        let encoder = Encoder::with_capacity(encoding, body_bytes_max as usize);
        let mut encoding = Reencoding::new(batch.id, batch.range, piece, pipeline, encoder);
        loop {
            if self.is_interrupted() {
                return Err(self.interrupted().await);
            }
            let (log, stream) = (self.shared.log.clone(), self.batch.stream);
            match self.shared.slots.run(move || encoding.step(&*log, stream)).await? {
                Progress::More(more) => encoding = more,
                Progress::Done(encoded) => return Ok(encoded),
            }
        }
    }

    async fn put(
        &self,
        admission: &Admission,
        key: &ObjectKey,
        body: Body,
    ) -> Result<StoredObject, object_store::Error> {
        let (bucket, options) = (&self.batch.bucket, self.options());
        let limit = self.shared.settings.upload_timeout + Duration::from_secs(body.bytes.len() as u64 / MIB);
        let put = self.shared.objects.put(bucket, key, body, &options);
        let result = match tokio::time::timeout(limit, put).await {
            Ok(result) => result,
            Err(_) => Err(object_store::Error::timed_out("put", bucket, key, limit)),
        };
        let unanswered = result.as_ref().is_err_and(|error| error.kind == Kind::Unreachable);
        admission.answered(!unanswered);
        result
    }

    async fn mark(&self, uploaded: Uploaded) -> Result<(), Stop> {
        let (shared, batch) = (&self.shared, &self.batch);
        let failed: u64 = uploaded.failed.iter().map(|failed| failed.records).sum();
        let object_bytes = uploaded.object.as_ref().map(|object| object.bytes);
        let receipt = shared.recorder.uploaded(uploaded).await?;
        receipt.wait().await?.map_err(Stop::Refused)?;
        let records = batch.range.records() - failed;
        if let Some(object_bytes) = object_bytes {
            shared.metrics.uploaded(&batch.stream_name, batch.content, records, batch.bytes, object_bytes);
        }
        shared.metrics.processing_failed(&batch.stream_name, failed);
        if batch.copy_target.is_some() {
            shared.loader_wake.notify_one();
        }
        debug!(key = %batch.key, records, failed, bytes = batch.bytes, object_bytes, "uploaded");
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
