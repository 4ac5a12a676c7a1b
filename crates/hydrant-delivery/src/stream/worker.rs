//! The task of one lane of a stream that has anything to do.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use hydrant_log::error;
use hydrant_types::{
    Batch, BatchId, Lane, Position, Stream, StreamId, StreamName, StreamStatus, StreamVersion,
};
use tokio::{
    sync::Notify,
    task::{JoinError, JoinSet},
};
use tracing::{debug, error, info, warn};

use super::{
    Shared, Stop,
    delivery::{Delivery, Ended},
    discard::Discard,
    feed::{self, Encoded, Intake, Limit, Sink, Taken},
    health::Health,
    lane_settings::LaneSettings,
    open_batch::{self, OpenBatch},
    removal,
    schedule::{self, Reason, Step, View},
    unsafe_ranges::UnsafeRanges,
};
use crate::{backoff::Backoff, recorder::with_causes};

/// More unread than this is worth reading at once.
const BEHIND_BYTES: u64 = 256 * 1024;
/// Records gather for a part of the stream's interval before the next read, within these bounds.
const READ_PAUSE_DIVISOR: u32 = 8;
const READ_PAUSE_MIN: Duration = Duration::from_millis(20);
const READ_PAUSE_MAX: Duration = Duration::from_millis(500);
/// What an average record is taken for before any was read.
const RECORD_BYTES_GUESS: u64 = 1024;

/// Where a lane stands when its worker ends, for the next one to begin with.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    /// Everything before is sealed, so reading begins here.
    pub(crate) sealed: Position,
    /// Sealed, not yet uploaded.
    pub(crate) waiting: Vec<Batch>,
    /// It needs a person; no worker is to be started until the next start of the service.
    pub(crate) stopped: bool,
    /// It stopped though its records were being thrown away: there is no other way for it.
    pub(crate) stopped_discarding: bool,
}

/// Takes one stream's records on one lane from the log to S3 until there is nothing left to do.
pub(crate) struct Worker {
    shared: Arc<Shared>,
    id: StreamId,
    lane: Lane,
    name: StreamName,
    /// How the lane's objects are written under the newest version of the settings.
    newest: Option<(StreamVersion, LaneSettings)>,
    wake: Arc<Notify>,
    /// Position of the next record to be read.
    read: Position,
    open: Option<OpenBatch>,
    waiting: VecDeque<Batch>,
    deliveries: JoinSet<Ended>,
    ranges: UnsafeRanges,
    health: Arc<Health>,
    discard: Arc<Discard>,
    next_read_at: Duration,
    /// Set while the next records wait for their key.
    blocked: Option<Blocked>,
    record_bytes: u64,
    /// The last batch was full at once: there is more than one core's work.
    filled_at_once: bool,
    closed: bool,
    stopped: Option<Stop>,
    stopped_discarding: bool,
}

/// The log has no key for the next records: it is asked again after a while, each time a longer one.
struct Blocked {
    until: Duration,
    backoff: Backoff,
}

impl Worker {
    /// A worker for a lane that stands at `progress`; `wake` tells it that there is something new.
    pub(crate) fn new(
        shared: Arc<Shared>,
        (id, lane): (StreamId, Lane),
        name: StreamName,
        progress: Progress,
        wake: Arc<Notify>,
    ) -> Self {
        let mut ranges = UnsafeRanges::new(progress.sealed);
        progress.waiting.iter().for_each(|batch| ranges.add(batch.range, batch.oldest_arrival));
        Self {
            health: Arc::new(Health::new(name.clone(), lane, shared.metrics.clone())),
            discard: Arc::default(),
            shared,
            id,
            lane,
            name,
            newest: None,
            wake,
            read: progress.sealed,
            open: None,
            waiting: progress.waiting.into(),
            deliveries: JoinSet::new(),
            ranges,
            next_read_at: Duration::ZERO,
            blocked: None,
            record_bytes: RECORD_BYTES_GUESS,
            filled_at_once: false,
            closed: false,
            stopped: None,
            stopped_discarding: false,
        }
    }

    /// Works until there is nothing left to do, the stream stops, or the service does.
    ///
    /// # Cancel safety
    /// Safe as a crash is: the next start goes on from what is recorded.
    pub(crate) async fn run(mut self) -> Progress {
        while self.stopped.is_none() && !self.shared.stopping.is_cancelled() {
            match self.work().await {
                Ok(true) => {}
                Ok(false) => break,
                Err(stop) => self.stop(stop),
            }
        }
        // Batches on their way are not the reason for the stop, and their way is theirs.
        while !self.deliveries.is_empty() {
            self.notice_discard();
            tokio::select! {
                () = self.wake.notified() => {}
                Some(ended) = self.deliveries.join_next() => self.delivered(ended),
            }
        }
        if matches!(self.stopped, Some(Stop::Stopping)) {
            // The recorder may have ended a moment before everybody is told to: nobody goes on with the stream meanwhile.
            self.shared.stopping.cancelled().await;
        }
        let stopped = self.stopped.is_some_and(|stop| !matches!(stop, Stop::Stopping));
        if !stopped {
            // The age of a stream that needs a person is shown until it is helped.
            self.shared.metrics.oldest_staging(&self.name, self.lane, self.ranges.oldest_arrival());
        }
        Progress {
            sealed: self.ranges.sealed_to(),
            waiting: self.waiting.into(),
            stopped,
            stopped_discarding: self.stopped_discarding,
        }
    }

    /// One step; `false` when there is nothing left to do.
    async fn work(&mut self) -> Result<bool, Stop> {
        while let Some(ended) = self.deliveries.try_join_next() {
            self.delivered(ended);
        }
        if self.stopped.is_some() {
            return Ok(true);
        }
        let stream = self.notice_discard();
        self.deliver_waiting().await?;
        let closing = stream.as_ref().is_some_and(|stream| stream.status == StreamStatus::Deleting);
        if closing && !self.closed {
            self.close().await?;
        }
        self.show_oldest();
        match schedule::next_step(self.view(closing)) {
            Step::Read => self.read(stream).await?,
            Step::Seal(reason) => self.seal(reason).await?,
            Step::Wait(until) => self.wait(until).await,
            Step::Idle => {
                if let Some(stream) = stream.filter(|_| closing && self.lane == Lane::Delivery) {
                    removal::remove(&self.shared, &stream, &self.discard).await?;
                }
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The stream as it is now; where its records are to be thrown away, that begins here.
    fn notice_discard(&mut self) -> Option<Arc<Stream>> {
        let stream = self.shared.streams.by_id(self.id);
        if stream.as_ref().is_some_and(|stream| stream.is_discarding()) && !self.discard.is_begun() {
            info!(stream = %self.name, lane = %self.lane, "being deleted: throws away what is not delivered");
            self.discard.begin();
            // Records are only counted from now on: for that they need not be readable.
            self.blocked = None;
            if let Some(open) = &mut self.open {
                open.intake.discard();
            }
        }
        stream
    }

    fn view(&self, closing: bool) -> View {
        let next = self.shared.log.tail(self.id).map_or(self.read, |tail| tail.next);
        let unread = next.0.saturating_sub(self.read.0);
        View {
            now: self.shared.clock.monotonic(),
            open: self.open.as_ref().map(OpenBatch::view),
            unread: unread > 0,
            behind: unread.saturating_mul(self.record_bytes) >= BEHIND_BYTES,
            next_read_at: self.next_read_at,
            blocked_until: self.blocked.as_ref().map(|blocked| blocked.until),
            slot_free: self.slot_free(),
            in_flight: !self.deliveries.is_empty() || !self.waiting.is_empty(),
            closing,
        }
    }

    fn slot_free(&self) -> bool {
        self.deliveries.len() < self.shared.settings.stream_uploads_max.max(1)
    }

    /// Goes on with batches that were sealed by an earlier process or worker.
    async fn deliver_waiting(&mut self) -> Result<(), Stop> {
        while self.slot_free() {
            let Some(batch) = self.waiting.front() else { return Ok(()) };
            let settings = self.settings_of(batch.stream_version).await?;
            let batch = self.waiting.pop_front().expect("it was there a moment ago");
            let delivery = self.delivery(batch, settings, None);
            self.deliveries.spawn(delivery.run(None));
        }
        Ok(())
    }

    fn delivery(&self, batch: Batch, settings: LaneSettings, encoded: Option<Encoded>) -> Delivery {
        let (health, discard) = (self.health.clone(), self.discard.clone());
        Delivery::new(self.shared.clone(), batch, settings, health, discard, encoded)
    }

    /// How records are written on this lane now.
    fn settings(&mut self, stream: &Stream) -> Result<LaneSettings, Stop> {
        if let Some((_, settings)) = self.newest.as_ref().filter(|(version, _)| *version == stream.version) {
            return Ok(settings.clone());
        }
        let settings = LaneSettings::of(&stream.destination, self.lane).ok_or(Stop::SettingsGone)?;
        self.newest = Some((stream.version, settings.clone()));
        Ok(settings)
    }

    /// How records were written on this lane under a version of the settings.
    async fn settings_of(&mut self, version: StreamVersion) -> Result<LaneSettings, Stop> {
        if let Some(stream) = self.shared.streams.by_id(self.id).filter(|stream| stream.version == version) {
            return self.settings(&stream);
        }
        let mut backoff = Backoff::new(&self.shared.settings, &*self.shared.entropy);
        loop {
            match self.shared.metastore.destination(self.id, version).await {
                Ok(destination) => {
                    let settings = destination.and_then(|of| LaneSettings::of(&of, self.lane));
                    return settings.ok_or(Stop::SettingsGone);
                }
                Err(error) => debug!(stream = %self.name, %error, "the settings could not be read"),
            }
            tokio::select! {
                () = self.shared.stopping.cancelled() => return Err(Stop::Stopping),
                () = tokio::time::sleep(backoff.next()) => {}
            }
        }
    }

    async fn close(&mut self) -> Result<(), Stop> {
        // Refused only when the log is ending, and so the service.
        self.shared.log.close_stream(self.id).await.map_err(|_| Stop::Stopping)?;
        self.closed = true;
        if !self.discard.is_begun() && self.lane == Lane::Delivery {
            info!(stream = %self.name, "being deleted: takes no more records, delivers those it took");
        }
        Ok(())
    }

    async fn read(&mut self, stream: Option<Arc<Stream>>) -> Result<(), Stop> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.begin(stream.ok_or(Stop::SettingsGone)?)?,
        };
        let (log, id, from) = (self.shared.log.clone(), self.id, self.read);
        let durable = log.tail(id).map_or(from, |tail| tail.next);
        let limit = Limit::Bytes(open.read_bytes_max());
        let step = move || {
            let taken = feed::take(&*log, id, from, limit, |records| open.intake.write(records));
            (open, taken)
        };
        let (mut open, taken) = self.shared.slots.run(step).await;
        let taken = match taken {
            Ok(taken) if taken.to == from && from < durable => Err(Stop::RecordsMissing { from, durable }),
            Err(missing @ error::Read::KeyMissing { .. }) if !self.discard.is_begun() => {
                self.open = open.range().is_some().then_some(open);
                self.wait_for_key(&missing);
                return Ok(());
            }
            taken => taken.map_err(Stop::Read),
        };
        let taken = match taken {
            Err(unreadable) if self.discard.is_begun() => self.unread(&unreadable, durable),
            taken => taken?,
        };
        if self.blocked.take().is_some() {
            info!(stream = %self.name, "the key is there: delivery of this stream goes on");
        }
        let now = self.shared.clock.monotonic();
        let interval = open.interval();
        let pause = (interval / READ_PAUSE_DIVISOR).clamp(READ_PAUSE_MIN.min(interval), READ_PAUSE_MAX);
        self.next_read_at = now + pause;
        let records = taken.to.0 - from.0;
        if let Some(average) = taken.bytes.checked_div(records) {
            self.record_bytes = average.max(1);
            self.read = taken.to;
            open.add(taken, &*self.shared.clock);
        }
        self.open = open.range().is_some().then_some(open);
        Ok(())
    }

    /// What cannot be read is thrown away as it is: how many records is known, how long they are is not.
    fn unread(&self, unreadable: &Stop, durable: Position) -> Taken {
        warn!(stream = %self.name, error = %with_causes(unreadable), "thrown away without being read");
        Taken { to: durable, bytes: 0, oldest_arrival: self.shared.clock.now() }
    }

    /// What was read before is delivered meanwhile.
    fn wait_for_key(&mut self, missing: &error::Read) {
        let shared = &self.shared;
        let blocked = self.blocked.get_or_insert_with(|| {
            error!(stream = %self.name, error = %missing,
                "delivery of this stream waits for a key; others go on, and its records stay in the log");
            Blocked { until: Duration::ZERO, backoff: Backoff::new(&shared.settings, &*shared.entropy) }
        });
        blocked.until = shared.clock.monotonic() + blocked.backoff.next();
    }

    /// An open batch. What cannot be uploaded soon, or fills faster than one core encodes, is only measured for now: several are
    /// then encoded at a time, each when it is sealed.
    fn begin(&mut self, stream: Arc<Stream>) -> Result<OpenBatch, Stop> {
        let lane = self.settings(&stream)?;
        let discarding = self.discard.is_begun();
        let sink = if self.filled_at_once || self.health.is_failing() || discarding {
            Sink::Measure
        } else {
            let encoding = open_batch::encoding(lane.s3.compression, Some(&stream), &self.shared.settings);
            Sink::open(&self.shared.encoders, encoding)
        };
        let intake = Intake::new(sink, lane.pipeline.clone().filter(|_| !discarding));
        Ok(OpenBatch::new(stream, self.lane, lane, self.read, intake, &self.shared.settings))
    }

    async fn seal(&mut self, reason: Reason) -> Result<(), Stop> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let Some(range) = open.range() else { return Ok(()) };
        let shared = self.shared.clone();
        let id = BatchId(shared.entropy.uuid());
        let batch = open.sealed(range, shared.log.log_id(), id, shared.clock.now(), &*shared.entropy)?;
        self.filled_at_once = reason == Reason::Size && self.view(false).behind;
        let OpenBatch { settings, intake, .. } = open;
        let encoded = match intake.sink {
            Sink::Encode(..) => shared.slots.run(move || intake.finish(id)).await,
            Sink::Measure => None,
        };
        // The order in which batches are put in the queue is the order in which they are committed.
        let receipt = tokio::select! {
            () = shared.stopping.cancelled() => return Err(Stop::Stopping),
            receipt = shared.recorder.seal(batch.clone()) => receipt?,
        };
        self.ranges.add(range, batch.oldest_arrival);
        shared.metrics.sealed(reason.name());
        let delivery = self.delivery(batch, settings, encoded);
        self.deliveries.spawn(delivery.run(Some(receipt)));
        Ok(())
    }

    /// Until something happens. Each arm is cancel-safe: `notified` keeps its permit, `join_next` keeps what it did not give.
    async fn wait(&mut self, until: Option<Duration>) {
        let now = self.shared.clock.monotonic();
        let timer = async {
            match until {
                Some(until) => tokio::time::sleep(until.saturating_sub(now)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.shared.stopping.cancelled() => {}
            () = self.wake.notified() => {}
            Some(ended) = self.deliveries.join_next() => self.delivered(ended),
            () = timer => {}
        }
    }

    fn delivered(&mut self, ended: Result<Ended, JoinError>) {
        match ended {
            Ok(Ended::Done(batch)) => {
                self.ranges.remove(batch.range);
                self.trim();
            }
            Ok(Ended::Left(batch, stop)) => {
                self.waiting.push_back(batch);
                self.stop(stop);
            }
            Ok(Ended::NotSealed(batch, stop)) => {
                self.ranges.not_sealed(batch.range);
                self.stop(stop);
            }
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => self.stop(Stop::Stopping),
            },
        }
    }

    fn trim(&self) {
        self.shared.trims.safe(self.id, self.lane, self.ranges.safe_to());
    }

    fn stop(&mut self, stop: Stop) {
        if !matches!(stop, Stop::Stopping) {
            error!(stream = %self.name, lane = %self.lane, error = %with_causes(&stop),
                "delivery of this stream stopped; others go on, and its records stay in the log");
            if self.stopped.is_none() {
                self.shared.metrics.stream_stopped();
            }
            self.stopped_discarding |= self.discard.is_begun();
        }
        self.stopped.get_or_insert(stop);
    }

    fn show_oldest(&self) {
        let open = self.open.as_ref().map(OpenBatch::oldest_arrival);
        let oldest = [self.ranges.oldest_arrival(), open].into_iter().flatten().min();
        self.shared.metrics.oldest_staging(&self.name, self.lane, oldest);
    }
}
