//! The batch that a stream's records are being read into.

use std::{sync::Arc, time::Duration};

use hydrant_types::{
    Batch, BatchId, BatchState, Clock, Compression, Entropy, Lane, LogId, Position, PositionRange,
    S3Settings, Stream, StreamOptions, Timestamp,
};

use super::{
    feed::{EXPANDING_READ_BYTES_MAX, Intake, Taken},
    lane_settings::LaneSettings,
    schedule::OpenView,
};
use crate::{
    Settings,
    encoder::Encoding,
    object_key::{self, ObjectName},
};

/// An interval of 0 means "no buffering, within a few seconds": this short, so that one burst is one object.
const INTERVAL_MIN: Duration = Duration::from_millis(200);

/// Not sealed yet: nothing of it is written down, and a crash forgets it without harm.
pub(super) struct OpenBatch {
    /// The settings it is sealed and delivered under: those in force when its first record was read.
    pub(super) stream: Arc<Stream>,
    lane: Lane,
    pub(super) settings: LaneSettings,
    pub(super) intake: Intake,
    from: Position,
    to: Position,
    bytes: u64,
    oldest_arrival: Timestamp,
    deadline: Duration,
    interval: Duration,
}

impl OpenBatch {
    /// Begins a batch at `from`.
    pub(super) fn new(
        stream: Arc<Stream>,
        lane: Lane,
        settings: LaneSettings,
        from: Position,
        intake: Intake,
        service: &Settings,
    ) -> Self {
        let interval = interval(&stream, lane, &settings.s3, service);
        let (deadline, oldest_arrival) = (Duration::MAX, Timestamp(u64::MAX));
        Self { stream, lane, settings, intake, from, to: from, bytes: 0, oldest_arrival, deadline, interval }
    }

    /// Adds what was read. The deadline is set with the first records: their age by the wall clock, kept between 0 and the interval (the
    /// wall clock may have stepped, the records may have waited through a restart), then the monotonic clock alone counts.
    pub(super) fn add(&mut self, taken: Taken, clock: &dyn Clock) {
        if self.bytes == 0 && self.from == self.to {
            let age = clock.now().since(taken.oldest_arrival).min(self.interval);
            self.deadline = clock.monotonic() + (self.interval - age);
        }
        self.to = taken.to;
        self.bytes += taken.bytes;
        self.oldest_arrival = self.oldest_arrival.min(taken.oldest_arrival);
    }

    /// Bytes until it is full, by what is read or by what is written of it, whichever is more.
    pub(super) fn room(&self) -> u64 {
        let bytes = self.bytes.max(self.intake.processed().bytes);
        self.settings.s3.buffering.size_bytes().saturating_sub(bytes)
    }

    /// Bytes of records that the next read may give.
    pub(super) fn read_bytes_max(&self) -> u64 {
        let room = self.room().max(1);
        let expands = self.settings.pipeline.as_ref().is_some_and(|pipeline| pipeline.expands());
        if expands { room.min(EXPANDING_READ_BYTES_MAX) } else { room }
    }

    pub(super) fn view(&self) -> OpenView {
        OpenView { full: self.room() == 0, deadline: self.deadline }
    }

    /// Between its first record and its seal.
    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    pub(super) fn oldest_arrival(&self) -> Timestamp {
        self.oldest_arrival
    }

    /// Its range; `None` while it is empty.
    pub(super) fn range(&self) -> Option<PositionRange> {
        PositionRange::new(self.from, self.to)
    }

    /// What is fixed by sealing it.
    pub(super) fn sealed(
        &self,
        range: PositionRange,
        log: LogId,
        id: BatchId,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<Batch, object_key::Error> {
        let (stream, s3, processed) = (&*self.stream, &*self.settings.s3, self.intake.processed());
        let name = ObjectName {
            stream: &stream.name,
            version: stream.version,
            oldest_arrival: self.oldest_arrival,
            batch: id,
        };
        let date = StreamOptions::of_checked(&stream.tags).prefix_date;
        Ok(Batch {
            id,
            stream: stream.id,
            stream_name: stream.name.clone(),
            stream_version: stream.version,
            log,
            range,
            content: self.lane.into(),
            bytes: self.bytes,
            processed_bytes: processed.bytes + processed.failed_bytes,
            oldest_arrival: self.oldest_arrival,
            bucket: s3.bucket.clone(),
            key: object_key::object(s3, date, name, entropy)?,
            copy_target: stream.destination.copy_target().filter(|_| self.lane == Lane::Delivery),
            state: BatchState::Sealed,
            sealed_at: now,
            updated_at: now,
        })
    }
}

/// The buffering interval of a lane, within what the settings and good sense allow. One that the stream's tags give for its delivery is meant as
/// it is.
fn interval(stream: &Stream, lane: Lane, s3: &S3Settings, settings: &Settings) -> Duration {
    let capped = |interval: Duration| settings.interval_max.map_or(interval, |max| interval.min(max));
    match StreamOptions::of_checked(&stream.tags).buffering_interval {
        Some(interval) if lane == Lane::Delivery => capped(interval),
        _ => capped(s3.buffering.interval()).max(INTERVAL_MIN),
    }
}

/// How a stream's objects are encoded, by its tags as they are now. A stream that is gone has none.
pub(super) fn encoding(compression: Compression, stream: Option<&Stream>, settings: &Settings) -> Encoding {
    let options = stream.map(|stream| StreamOptions::of_checked(&stream.tags)).unwrap_or_default();
    Encoding {
        compression,
        level: options.gzip_level.unwrap_or(settings.gzip_level),
        gzip_member_size: options.gzip_member_size,
        content_encoding: options.content_encoding.unwrap_or(true),
    }
}

#[cfg(test)]
mod tests {
    use hydrant_types::{BufferingHints, StreamEncryption, StreamId, StreamStatus, StreamVersion, Tags};

    use super::*;
    use crate::tests::world;

    #[test]
    fn an_interval_is_the_tags_or_the_hints_within_the_settings() {
        let interval = |interval_secs: u32, tag: Option<&str>, most_millis: Option<u64>| {
            let mut s3 = world::s3("", hydrant_types::Compression::Gzip);
            s3.buffering = BufferingHints { size_mb: 1, interval_secs };
            let tag = tag.map(|value| ("hydrant:buffering-interval".to_owned(), value.to_owned()));
            let stream = Stream {
                id: StreamId(1),
                name: "s".parse().unwrap(),
                status: StreamStatus::Active,
                version: StreamVersion::FIRST,
                destination: hydrant_types::Destination::S3(s3.clone()),
                created_at: Timestamp(0),
                updated_at: None,
                tags: tag.into_iter().collect::<Tags>(),
                encryption: StreamEncryption::default(),
                declared_in: None,
            };
            let interval_max = most_millis.map(Duration::from_millis);
            let settings = Settings { interval_max, ..Settings::default() };
            let of = |lane| super::interval(&stream, lane, &s3, &settings).as_millis();
            let without_tags = super::interval(
                &Stream { tags: Tags::new(), ..stream.clone() },
                Lane::Delivery,
                &s3,
                &settings,
            );
            assert_eq!(of(Lane::Backup), without_tags.as_millis(), "a tag is for the delivery");
            of(Lane::Delivery)
        };
        assert_eq!(interval(60, None, None), 60_000);
        assert_eq!(interval(60, None, Some(1_000)), 1_000);
        assert_eq!(interval(0, None, None), 200, "no buffering is a short interval");
        assert_eq!(interval(60, Some("1ms"), None), 1);
        assert_eq!(interval(0, Some("15m"), None), 900_000);
        assert_eq!(interval(60, Some("2s"), Some(1_000)), 1_000);
    }
}
