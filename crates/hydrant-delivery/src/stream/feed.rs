//! Reading a stream's records out of the log and into an encoder.

use hydrant_log::{Chunk, FramePart, RecordLog, error};
use hydrant_types::{Compression, Position, PositionRange, StreamId, Timestamp};

use crate::{
    encoder::Encoder,
    memory_budget::{Charge, MemoryBudget},
    object_store::Body,
};

/// One read: big enough that the read costs little, small enough that streams take turns often.
const READ_BYTES_MAX: u64 = 1024 * 1024;

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
    pub(super) fn open(budget: &MemoryBudget, compression: Compression, gzip_level: u32) -> Self {
        match budget.try_charge(Encoder::memory_first(compression)) {
            Some(charge) => Self::Encode(Encoder::new(compression, gzip_level), charge),
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

/// Ends an object. What the encoder had beside it is given back. Computes: only in an encode slot.
pub(super) fn finish(encoder: Encoder, mut charge: Charge) -> (Body, Charge) {
    let body = encoder.finish();
    charge.try_set(body.bytes.len() as u64);
    (body, charge)
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

/// Reads once from `from` on and gives the records to `write`. Blocks: only in an encode slot.
pub(super) fn take(
    log: &dyn RecordLog,
    stream: StreamId,
    from: Position,
    limit: Limit,
    write: impl FnMut(&[u8]),
) -> Result<Taken, error::Read> {
    let bytes_max = match limit {
        Limit::Bytes(room) => room.min(READ_BYTES_MAX),
        Limit::Before(_) => READ_BYTES_MAX,
    };
    let chunk = log.read(stream, from, bytes_max as usize)?;
    Ok(take_from(&chunk, from, limit, write))
}

fn take_from(chunk: &Chunk, from: Position, limit: Limit, mut write: impl FnMut(&[u8])) -> Taken {
    let mut taken = Taken { to: from, bytes: 0, oldest_arrival: Timestamp(u64::MAX) };
    for part in &chunk.frames {
        let (records, bytes) = fitting(part, limit, taken.bytes);
        if records == 0 {
            break;
        }
        write(&part.data[..bytes]);
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

/// Encoding a sealed batch by reading it again, step by step.
pub(super) struct Reencoding {
    next: Position,
    end: Position,
    encoder: Encoder,
}

impl Reencoding {
    /// Of the records of `range`. Whoever asks for it bounds the body's memory, not the encoders' budget: `body_bytes_max` is reserved at
    /// once, so that it is never copied to grow. (What is not written to takes no memory.)
    pub(super) fn new(
        range: PositionRange,
        compression: Compression,
        gzip_level: u32,
        body_bytes_max: u64,
    ) -> Self {
        let encoder = Encoder::with_capacity(compression, gzip_level, body_bytes_max as usize);
        Self { next: range.from, end: range.to, encoder }
    }

    /// Reads and encodes once. Blocks: only in an encode slot.
    pub(super) fn step(mut self, log: &dyn RecordLog, stream: StreamId) -> Result<Progress, error::Read> {
        let before = self.next;
        let encoder = &mut self.encoder;
        self.next = take(log, stream, before, Limit::Before(self.end), |records| encoder.write(records))?.to;
        if self.next == before {
            // Sealed records are durable: the log no longer has what it said it had.
            return Err(error::Read::UnknownStream { stream });
        }
        if self.next < self.end {
            return Ok(Progress::More(self));
        }
        Ok(Progress::Done(self.encoder.finish()))
    }
}

/// How far a [`Reencoding`] is.
pub(super) enum Progress {
    More(Reencoding),
    Done(Body),
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

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
        let mut first = Sink::open(&budget, Compression::Gzip, 1);
        let mut second = Sink::open(&budget, Compression::Gzip, 1);
        assert!(matches!((&first, &second), (Sink::Encode(..), Sink::Encode(..))));
        let mut random = fastrand::Rng::with_seed(1);
        let records: Vec<u8> = (0..400_000).map(|_| random.u8(..)).collect();
        first.write(&records);
        assert!(matches!(first, Sink::Measure), "incompressible records outgrow the budget");
        second.write(b"a few");
        let Sink::Encode(encoder, charge) = second else { panic!("there is room again for the second") };
        let (body, _charge) = finish(encoder, charge);
        assert_eq!(budget.used(), body.bytes.len() as u64);
    }

    #[test]
    fn a_batch_ends_with_the_record_that_fills_it() {
        let chunk = chunk(&[vec![vec![b'a'; 4], vec![b'b'; 4]], vec![vec![b'c'; 4], vec![b'd'; 4]]]);
        let mut read = Vec::new();
        let taken = take_from(&chunk, Position(10), Limit::Bytes(9), |bytes| read.extend_from_slice(bytes));
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
            let first = take_from(&chunk, Position(10), Limit::Bytes(room), |bytes| read.extend_from_slice(bytes));
            prop_assert!(first.bytes >= room || first.to == end);
            let again = take_from(&chunk, Position(10), Limit::Before(first.to), |_| {});
            prop_assert_eq!((again.to, again.bytes), (first.to, first.bytes));
            let rest: Vec<u8> = chunk.records().filter(|(p, ..)| *p >= first.to).flat_map(|(.., r)| r.to_vec()).collect();
            read.extend_from_slice(&rest);
            prop_assert_eq!(read, all);
        }
    }
}
