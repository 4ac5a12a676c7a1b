//! ZIP (PKWARE's APPNOTE.TXT): an archive with one deflated entry.
//!
//! ```text
//! local header ─ name ─ deflate stream ─ central header ─ name ─ end of the central directory
//! ```
//!
//! The whole archive is in memory, so the local header is filled in at the end, with lengths and checksum: readers that go from the front
//! to the back need no data descriptor.

use hydrant_types::BatchId;

use super::deflate::{self, Deflate};

/// A UUID as text.
const NAME_BYTES: usize = 36;
const LOCAL_HEADER_BYTES: usize = 30 + NAME_BYTES;
const CENTRAL_HEADER_BYTES: usize = 46 + NAME_BYTES;
const END_BYTES: usize = 22;
/// 2.0, the first that knows deflate.
const VERSION_NEEDED: u16 = 20;
const DEFLATED: u16 = 8;
/// 1980-01-01, the first day that there is: what is in an object says nothing of when it was made.
const DATE_FIRST: u16 = 1 << 5 | 1;

pub(super) fn bytes_max(bytes: u64) -> u64 {
    deflate::bytes_max(bytes) + (LOCAL_HEADER_BYTES + CENTRAL_HEADER_BYTES + END_BYTES) as u64
}

pub(super) struct Zip {
    deflate: Deflate,
    bytes: u64,
}

impl Zip {
    pub(super) fn new(level: u32, output: &mut Vec<u8>) -> Self {
        output.resize(LOCAL_HEADER_BYTES, 0);
        Self { deflate: Deflate::new(level), bytes: 0 }
    }

    pub(super) fn write(&mut self, records: &[u8], output: &mut Vec<u8>) {
        self.bytes += records.len() as u64;
        self.deflate.write(records, output);
    }

    pub(super) fn finish(mut self, batch: BatchId, records_crc32: u32, output: &mut Vec<u8>) {
        self.deflate.end(output);
        let compressed_bytes = field(output.len() - LOCAL_HEADER_BYTES);
        let name = batch.0.hyphenated().to_string();
        let about = about_entry(records_crc32, compressed_bytes, field(self.bytes as usize));

        let local = [b"PK\x03\x04", &about[..], name.as_bytes()].concat();
        output[..LOCAL_HEADER_BYTES].copy_from_slice(&local);

        let central_at = output.len();
        output.extend_from_slice(b"PK\x01\x02");
        output.extend_from_slice(&VERSION_NEEDED.to_le_bytes());
        output.extend_from_slice(&about);
        // No comment, disk 0, no attributes of ours or of a file system, and the local header is at 0.
        output.extend_from_slice(&[0; 2 + 2 + 2 + 4 + 4]);
        output.extend_from_slice(name.as_bytes());

        // This is disk 0, the directory is on disk 0; it has one entry here and one in all.
        output.extend_from_slice(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
        output.extend_from_slice(&(CENTRAL_HEADER_BYTES as u32).to_le_bytes());
        output.extend_from_slice(&field(central_at).to_le_bytes());
        output.extend_from_slice(&[0; 2]);
    }
}

/// What both headers say in the same words, from the version needed to the length of the extra field.
fn about_entry(crc32: u32, compressed_bytes: u32, bytes: u32) -> Vec<u8> {
    let short = |values: &[u16]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>();
    let long = |values: &[u32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>();
    let (flags, time, extra_bytes) = (0, 0, 0);
    [
        short(&[VERSION_NEEDED, flags, DEFLATED, time, DATE_FIRST]),
        long(&[crc32, compressed_bytes, bytes]),
        short(&[NAME_BYTES as u16, extra_bytes]),
    ]
    .concat()
}

fn field(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a batch is far below 4 GiB: the biggest buffer and one record")
}
