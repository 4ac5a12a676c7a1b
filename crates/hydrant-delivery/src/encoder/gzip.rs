//! gzip (RFC 1952): one member, or as many as the stream asks for.

use crc32fast::Hasher;
use hydrant_types::ByteSize;

use super::deflate::{self, Deflate};

/// A member's header and trailer.
const FRAME_BYTES: u64 = 10 + 8;
/// Header field XFL: "slowest algorithm", "fastest algorithm".
const XFL_SLOWEST: u8 = 2;
const XFL_FASTEST: u8 = 4;
/// Header field OS.
const OS_UNKNOWN: u8 = 255;

pub(super) fn bytes_max(bytes: u64, member_bytes: u64) -> u64 {
    let members = bytes / member_bytes + 1;
    deflate::bytes_max(bytes) + members * (FRAME_BYTES + deflate::END_BYTES_MAX)
}

pub(super) struct Gzip {
    deflate: Deflate,
    xfl: u8,
    member_bytes_max: u64,
    /// Of the member that is being written.
    bytes: u64,
    crc32: Hasher,
}

impl Gzip {
    pub(super) fn new(level: u32, member_size: Option<ByteSize>, output: &mut Vec<u8>) -> Self {
        let xfl = match level {
            0..=1 => XFL_FASTEST,
            2..=8 => 0,
            _ => XFL_SLOWEST,
        };
        let member_bytes_max = member_size.map_or(u64::MAX, |size| size.bytes().max(1));
        let gzip =
            Self { deflate: Deflate::new(level), xfl, member_bytes_max, bytes: 0, crc32: Hasher::new() };
        gzip.begin(output);
        gzip
    }

    /// A member begins with the first record in it, so that none is empty but that of an empty object.
    pub(super) fn write(&mut self, mut records: &[u8], output: &mut Vec<u8>) {
        while !records.is_empty() {
            if self.bytes == self.member_bytes_max {
                self.end(output);
                self.begin(output);
            }
            let room = (self.member_bytes_max - self.bytes).min(records.len() as u64);
            let (now, later) = records.split_at(room as usize);
            self.crc32.update(now);
            self.deflate.write(now, output);
            self.bytes += room;
            records = later;
        }
    }

    pub(super) fn finish(mut self, output: &mut Vec<u8>) {
        self.end(output);
    }

    /// No name and no time: what is in an object says nothing of when it was made.
    fn begin(&self, output: &mut Vec<u8>) {
        output.extend_from_slice(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, self.xfl, OS_UNKNOWN]);
    }

    fn end(&mut self, output: &mut Vec<u8>) {
        self.deflate.end(output);
        let crc32 = std::mem::take(&mut self.crc32).finalize();
        output.extend_from_slice(&crc32.to_le_bytes());
        // The length modulo 2^32, as the format has it.
        output.extend_from_slice(&(self.bytes as u32).to_le_bytes());
        self.bytes = 0;
    }
}
