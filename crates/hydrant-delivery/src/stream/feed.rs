//! Reading a stream's records out of the log, through its processors, and into an encoder.

use std::sync::Arc;

use hydrant_log::{Chunk, FramePart, RecordLog, error};
use hydrant_types::{BatchId, ErrorOutputType, Position, PositionRange, StreamId, Timestamp};

use crate::{
    encoder::{Encoder, Encoding},
    memory_budget::{Charge, MemoryBudget},
    object_store::Body,
    processing::{Failure, Outcome, Pipeline},
};

/// One read: big enough that the read costs little, small enough that streams take turns often.
const READ_BYTES_MAX: u64 = 1024 * 1024;

/// One read of records that may become many times as long: a batch is not to become much bigger than it was asked to be.
pub(super) const EXPANDING_READ_BYTES_MAX: u64 = 64 * 1024;

/// One write: an encoder's memory grows in steps that are announced before.
const WRITE_BYTES_MAX: usize = 64 * 1024;

/// Where the records of an open batch go.
pub(super) enum Sink {
    /// Into an encoder, whose memory is charged.
    Encode(Encoder, Charge),
    /// Nowhere: they are only measured, and encoded when the batch is sealed.
    Measure,
}

impl Sink {
    /// An encoder where the budget has room for one.
    pub(super) fn open(budget: &MemoryBudget, encoding: Encoding) -> Self {
        match budget.try_charge(encoding.memory_first()) {
            Some(charge) => Self::Encode(Encoder::new(encoding), charge),
            None => Self::Measure,
        }
    }

    /// Adds records; falls back to measuring where the budget has no room for what that may take.
    pub(super) fn write(&mut self, records: &[u8]) {
        for piece in records.chunks(WRITE_BYTES_MAX) {
            let Self::Encode(encoder, charge) = self else { return };
            if !charge.try_set(encoder.memory_while_writing(piece.len())) {
                *self = Self::Measure;
                return;
            }
            encoder.write(piece);
            charge.try_set(encoder.memory());
        }
    }
}

/// What became of records in processing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Processed {
    /// Bytes that are written, before compression.
    pub(super) bytes: u64,
    /// Records that failed.
    pub(super) failed: u64,
    /// At most so many bytes of error output are made of them.
    pub(super) failed_bytes: u64,
    /// Bytes of the object that was made, before compression.
    pub(super) written: u64,
}

/// The way of an open batch's records: through the stream's processors, if it has some, into the sink.
pub(super) struct Intake {
    pub(super) sink: Sink,
    pipeline: Option<Arc<Pipeline>>,
    processed: Processed,
}

impl Intake {
    pub(super) fn new(sink: Sink, pipeline: Option<Arc<Pipeline>>) -> Self {
        Self { sink, pipeline, processed: Processed::default() }
    }

    /// From now on records are only counted: nobody wants them any more.
    pub(super) fn discard(&mut self) {
        self.sink = Sink::Measure;
        self.pipeline = None;
    }

    pub(super) fn processed(&self) -> Processed {
        self.processed
    }

    /// Adds records. Computes: only in an encode slot.
    pub(super) fn write(&mut self, records: &Records<'_>) {
        let Self { sink, pipeline, processed } = self;
        process(pipeline.as_deref(), records, processed, |bytes| sink.write(bytes), |_, _, _| {});
    }

    /// Ends the object of `batch`: without bytes there is none. `None` where nothing was encoded, or the budget has no room for what ending it
    /// may take. What the encoder had beside the object is given back. Computes: only in an encode slot.
    pub(super) fn finish(self, batch: BatchId) -> Option<Encoded> {
        let Sink::Encode(encoder, mut charge) = self.sink else { return None };
        if !charge.try_set(encoder.memory_while_writing(0)) {
            return None;
        }
        let body = encoder.finish(batch);
        charge.try_set(body.bytes.len() as u64);
        let body = (self.processed.bytes > 0).then_some(body);
        Some(Encoded { body, processed: self.processed, _charge: Some(charge) })
    }
}

/// An encoded batch.
pub(super) struct Encoded {
    /// `None` where processing left nothing to be written.
    pub(super) body: Option<Body>,
    pub(super) processed: Processed,
    /// The memory that it is charged with, where it was encoded while it was open.
    pub(super) _charge: Option<Charge>,
}

/// Some records of one frame, one directly after the other.
pub(super) struct Records<'a> {
    pub(super) data: &'a [u8],
    lengths: &'a [u32],
    arrival: Timestamp,
}

impl<'a> Records<'a> {
    fn each(&self) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = self.data;
        self.lengths.iter().map(move |&length| {
            let (record, after) = rest.split_at(length as usize);
            rest = after;
            record
        })
    }
}

/// Gives what is kept of records to `write`, in pieces of any length, and those that fail to `fail`, with their arrival.
fn process(
    pipeline: Option<&Pipeline>,
    records: &Records<'_>,
    processed: &mut Processed,
    mut write: impl FnMut(&[u8]),
    mut fail: impl FnMut(Failure, &[u8], Timestamp),
) {
    let Some(pipeline) = pipeline else {
        processed.bytes += records.data.len() as u64;
        return write(records.data);
    };
    let mut kept = Vec::with_capacity(records.data.len().min(WRITE_BYTES_MAX));
    for record in records.each() {
        match pipeline.process(record) {
            Outcome::Kept(bytes) => {
                kept.extend_from_slice(&bytes);
                kept.extend_from_slice(pipeline.delimiter());
            }
            Outcome::Dropped => {}
            Outcome::Failed(failure) => {
                processed.failed += 1;
                processed.failed_bytes += Failure::line_bytes_max(record.len());
                fail(failure, record, records.arrival);
            }
        }
        if kept.len() >= WRITE_BYTES_MAX {
            processed.bytes += kept.len() as u64;
            write(&kept);
            kept.clear();
        }
    }
    processed.bytes += kept.len() as u64;
    write(&kept);
}

/// How far a read may go.
#[derive(Debug, Clone, Copy)]
pub(super) enum Limit {
    /// Up to and with the record that makes this many bytes.
    Bytes(u64),
    /// Up to, but without, this position.
    Before(Position),
}

/// What was taken out of the log. Nothing, where `to` is where it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    /// The position after the last record.
    pub(super) to: Position,
    /// Bytes of records.
    pub(super) bytes: u64,
    /// The oldest arrival among them.
    pub(super) oldest_arrival: Timestamp,
}

/// Reads once from `from` on and gives the records to `write`, frame by frame. Blocks: only in an encode slot.
pub(super) fn take(
    log: &dyn RecordLog,
    stream: StreamId,
    from: Position,
    limit: Limit,
    write: impl FnMut(&Records<'_>),
) -> Result<Taken, error::Read> {
    let bytes_max = match limit {
        Limit::Bytes(room) => room.min(READ_BYTES_MAX),
        Limit::Before(_) => READ_BYTES_MAX,
    };
    let chunk = log.read(stream, from, bytes_max as usize)?;
    Ok(take_from(&chunk, from, limit, write))
}

fn take_from(chunk: &Chunk, from: Position, limit: Limit, mut write: impl FnMut(&Records<'_>)) -> Taken {
    let mut taken = Taken { to: from, bytes: 0, oldest_arrival: Timestamp(u64::MAX) };
    for part in &chunk.frames {
        let (records, bytes) = fitting(part, limit, taken.bytes);
        if records == 0 {
            break;
        }
        write(&Records {
            data: &part.data[..bytes],
            lengths: &part.lengths[..records],
            arrival: part.arrival,
        });
        taken.to = part.first.plus(records as u64);
        taken.bytes += bytes as u64;
        taken.oldest_arrival = taken.oldest_arrival.min(part.arrival);
        if records < part.lengths.len() {
            break;
        }
    }
    taken
}

/// How many of a part's records are within the limit, and their bytes.
fn fitting(part: &FramePart, limit: Limit, bytes_before: u64) -> (usize, usize) {
    let all = (part.lengths.len(), part.data.len());
    let sum = |records: usize| part.lengths[..records].iter().map(|&length| length as usize).sum();
    match limit {
        Limit::Bytes(room) if bytes_before >= room => (0, 0),
        Limit::Bytes(room) if bytes_before + (all.1 as u64) < room => all,
        Limit::Bytes(room) => {
            let (mut records, mut bytes) = (0, 0usize);
            while records < all.0 && bytes_before + (bytes as u64) < room {
                bytes += part.lengths[records] as usize;
                records += 1;
            }
            (records, bytes)
        }
        Limit::Before(end) => {
            let records = end.0.saturating_sub(part.first.0).min(all.0 as u64) as usize;
            (records, if records == all.0 { all.1 } else { sum(records) })
        }
    }
}

/// Which of a batch's objects is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    /// What is kept of its records.
    Kept,
    /// The lines of those that failed so, in a batch that was sealed at this time.
    Failed(ErrorOutputType, Timestamp),
}

/// Encoding a sealed batch by reading it again, step by step.
pub(super) struct Reencoding {
    next: Position,
    end: Position,
    batch: BatchId,
    encoder: Encoder,
    pipeline: Option<Arc<Pipeline>>,
    piece: Piece,
    processed: Processed,
}

impl Reencoding {
    /// Of the records of `batch`. Whoever asks for it bounds the body's memory, not the encoders' budget.
    pub(super) fn new(
        batch: BatchId,
        range: PositionRange,
        piece: Piece,
        pipeline: Option<Arc<Pipeline>>,
        encoder: Encoder,
    ) -> Self {
        let processed = Processed::default();
        Self { next: range.from, end: range.to, batch, encoder, pipeline, piece, processed }
    }

    /// Reads and encodes once. Blocks: only in an encode slot.
    pub(super) fn step(mut self, log: &dyn RecordLog, stream: StreamId) -> Result<Progress, error::Read> {
        let before = self.next;
        self.next = take(log, stream, before, Limit::Before(self.end), |records| self.write(records))?.to;
        if self.next == before {
            // Sealed records are durable: the log no longer has what it said it had.
            return Err(error::Read::UnknownStream { stream });
        }
        if self.next < self.end {
            return Ok(Progress::More(self));
        }
        let body = self.encoder.finish(self.batch);
        let body = (self.processed.written > 0).then_some(body);
        Ok(Progress::Done(Encoded { body, processed: self.processed, _charge: None }))
    }

    fn write(&mut self, records: &Records<'_>) {
        let Self { encoder, pipeline, piece, processed, .. } = self;
        let pipeline = pipeline.as_deref();
        let mut written = 0;
        let mut write = |bytes: &[u8]| {
            written += bytes.len() as u64;
            encoder.write(bytes);
        };
        match *piece {
            Piece::Kept => process(pipeline, records, processed, &mut write, |_, _, _| {}),
            Piece::Failed(error, ended) => {
                let line = |failure: Failure, record: &[u8], arrival: Timestamp| {
                    if failure.error == error {
                        write(&failure.line(record, arrival, ended));
                    }
                };
                process(pipeline, records, processed, |_| {}, line);
            }
        }
        processed.written += written;
    }
}

/// How far a [`Reencoding`] is.
pub(super) enum Progress {
    More(Reencoding),
    Done(Encoded),
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hydrant_types::Compression;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn chunk(frames: &[Vec<Vec<u8>>]) -> Chunk {
        let mut first = Position(10);
        let frames = frames
            .iter()
            .enumerate()
            .map(|(index, records)| {
                let part = FramePart {
                    first,
                    arrival: Timestamp(1000 - index as u64),
                    data: Bytes::from(records.concat()),
                    lengths: records.iter().map(|record| record.len() as u32).collect(),
                };
                first = first.plus(records.len() as u64);
                part
            })
            .collect();
        Chunk { frames }
    }

    #[test]
    fn an_encoder_that_finds_no_more_room_gives_its_memory_back_and_the_batch_is_only_measured() {
        let budget = MemoryBudget::new(1024 * 1024);
        let encoding = Encoding { level: 1, ..Encoding::of(Compression::Gzip) };
        let mut first = Sink::open(&budget, encoding);
        let second = Sink::open(&budget, encoding);
        assert!(matches!((&first, &second), (Sink::Encode(..), Sink::Encode(..))));
        let mut random = fastrand::Rng::with_seed(1);
        let records: Vec<u8> = (0..400_000).map(|_| random.u8(..)).collect();
        first.write(&records);
        assert!(matches!(first, Sink::Measure), "incompressible records outgrow the budget");
        let mut second = Intake::new(second, None);
        let (data, lengths) = (&b"a few"[..], &[5][..]);
        second.write(&Records { data, lengths, arrival: Timestamp(1) });
        let encoded = second.finish(BatchId(Uuid::nil())).expect("there is room again for the second");
        assert_eq!(budget.used(), encoded.body.unwrap().bytes.len() as u64);
    }

    #[test]
    fn a_batch_ends_with_the_record_that_fills_it() {
        let chunk = chunk(&[vec![vec![b'a'; 4], vec![b'b'; 4]], vec![vec![b'c'; 4], vec![b'd'; 4]]]);
        let mut read = Vec::new();
        let taken =
            take_from(&chunk, Position(10), Limit::Bytes(9), |records| read.extend_from_slice(records.data));
        assert_eq!(taken, Taken { to: Position(13), bytes: 12, oldest_arrival: Timestamp(999) });
        assert_eq!(read, b"aaaabbbbcccc");
        let exact = take_from(&chunk, Position(10), Limit::Bytes(8), |_| {});
        assert_eq!((exact.to, exact.bytes), (Position(12), 8));
    }

    proptest! {
        #[test]
        fn cutting_anywhere_loses_and_repeats_nothing(
            frames in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 1..6), 0..6),
            room in 1u64..40,
        ) {
            let chunk = chunk(&frames);
            let all: Vec<u8> = frames.concat().concat();
            let end = Position(10 + frames.iter().map(Vec::len).sum::<usize>() as u64);
            let mut read = Vec::new();
            let first = take_from(&chunk, Position(10), Limit::Bytes(room), |records| read.extend_from_slice(records.data));
            prop_assert!(first.bytes >= room || first.to == end);
            let again = take_from(&chunk, Position(10), Limit::Before(first.to), |_| {});
            prop_assert_eq!((again.to, again.bytes), (first.to, first.bytes));
            let rest: Vec<u8> = chunk.records().filter(|(p, ..)| *p >= first.to).flat_map(|(.., r)| r.to_vec()).collect();
            read.extend_from_slice(&rest);
            prop_assert_eq!(read, all);
        }
    }
}
