//! What a read gives.

use bytes::Bytes;
use hydrant_types::{Position, Timestamp};

/// A run of records of one stream, checked, from one read.
#[derive(Debug, Clone, Default)]
pub struct Chunk {
    /// Frames (or the parts of frames that were asked for), in order and without gaps.
    pub frames: Vec<FramePart>,
}

/// Consecutive records that arrived in one call.
#[derive(Debug, Clone)]
pub struct FramePart {
    /// Position of the first record here.
    pub first: Position,
    /// When they arrived.
    pub arrival: Timestamp,
    /// The records' bytes, one directly after the other.
    pub data: Bytes,
    /// The length of each record in `data`.
    pub lengths: Vec<u32>,
}

impl Chunk {
    /// The position after the last record; `None` for an empty chunk.
    pub fn next(&self) -> Option<Position> {
        self.frames.last().map(|part| part.first.plus(part.lengths.len() as u64))
    }

    /// Bytes of records in it.
    pub fn bytes(&self) -> u64 {
        self.frames.iter().map(|part| part.data.len() as u64).sum()
    }

    /// Every record with its position and arrival.
    pub fn records(&self) -> impl Iterator<Item = (Position, Timestamp, &[u8])> {
        self.frames.iter().flat_map(FramePart::records)
    }
}

impl FramePart {
    /// Every record with its position and arrival.
    pub fn records(&self) -> impl Iterator<Item = (Position, Timestamp, &[u8])> {
        let mut start = 0;
        self.lengths.iter().zip(self.first.0..).map(move |(&length, position)| {
            let end = start + length as usize;
            let record = &self.data[start..end];
            start = end;
            (Position(position), self.arrival, record)
        })
    }
}
