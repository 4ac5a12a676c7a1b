//! Turns records into an object's bytes, as they come.

use std::io::Write as _;

use bytes::Bytes;
use flate2::{Compression as Level, write::GzEncoder};
use hydrant_types::Compression;

use crate::object_store::Body;

/// What a gzip stream keeps beside its output: window, hash chains, pending bits (zlib-rs, rounded up).
const GZIP_STATE_BYTES: u64 = 320 * 1024;
/// Output that a gzip stream may hold back, and give with the next write.
const PENDING_BYTES_MAX: usize = 128 * 1024;
/// A gzip member's header, trailer and empty last block, rounded up.
const GZIP_FRAME_BYTES_MAX: u64 = 1024;
/// The output of a batch of a few records fits without growing.
const OUTPUT_BYTES_FIRST: usize = 16 * 1024;

/// Encodes one batch: records one directly after the other, in one gzip member where the stream compresses (design decision D15).
pub struct Encoder(Inner);

enum Inner {
    Plain(Vec<u8>),
    Gzip(Box<GzEncoder<Vec<u8>>>),
}

impl Encoder {
    /// Memory of an encoder that has not been given anything.
    pub fn memory_first(compression: Compression) -> u64 {
        match compression {
            Compression::Uncompressed => OUTPUT_BYTES_FIRST as u64,
            Compression::Gzip => GZIP_STATE_BYTES + OUTPUT_BYTES_FIRST as u64,
        }
    }

    /// An encoder for `compression`; `gzip_level` is 1 to 9.
    pub fn new(compression: Compression, gzip_level: u32) -> Self {
        Self::with_capacity(compression, gzip_level, OUTPUT_BYTES_FIRST)
    }

    /// As [`Encoder::new`], with room for `output_bytes`.
    pub fn with_capacity(compression: Compression, gzip_level: u32, output_bytes: usize) -> Self {
        let output = Vec::with_capacity(output_bytes);
        match compression {
            Compression::Uncompressed => Self(Inner::Plain(output)),
            // No name and no time in the header. The bytes still depend on the pieces in which the records come: an object made anew
            // from a batch holds the same records, not the same bytes.
            Compression::Gzip => {
                let level = Level::new(gzip_level.clamp(1, 9));
                Self(Inner::Gzip(Box::new(GzEncoder::new(output, level))))
            }
        }
    }

    /// Adds bytes. Computes: not for async workers.
    pub fn write(&mut self, records: &[u8]) {
        match &mut self.0 {
            Inner::Plain(output) => output.extend_from_slice(records),
            Inner::Gzip(gzip) => gzip.write_all(records).expect("writing to memory cannot fail"),
        }
    }

    /// Memory it may use while `bytes` are written: where its output has to grow, the old one and the new are there together.
    pub fn memory_while_writing(&self, bytes: usize) -> u64 {
        let output = match &self.0 {
            Inner::Plain(output) => output,
            Inner::Gzip(gzip) => gzip.get_ref(),
        };
        let needed = output.len() + bytes + bytes / 8 + PENDING_BYTES_MAX;
        if needed <= output.capacity() {
            return self.memory();
        }
        // It grows by doubling, so to less than twice what it needs.
        self.memory() + 2 * needed as u64
    }

    /// No object that holds `bytes` of records is longer. Incompressible records at level 1 become 9 bits a byte: the fast encoder has fixed codes.
    pub fn object_bytes_max(compression: Compression, bytes: u64) -> u64 {
        match compression {
            Compression::Uncompressed => bytes,
            Compression::Gzip => bytes + bytes / 8 + GZIP_FRAME_BYTES_MAX,
        }
    }

    /// Memory it uses now.
    pub fn memory(&self) -> u64 {
        match &self.0 {
            Inner::Plain(output) => output.capacity() as u64,
            Inner::Gzip(gzip) => GZIP_STATE_BYTES + gzip.get_ref().capacity() as u64,
        }
    }

    /// Ends the object. Computes: not for async workers.
    pub fn finish(self) -> Body {
        let (bytes, compression) = match self.0 {
            Inner::Plain(output) => (output, Compression::Uncompressed),
            Inner::Gzip(gzip) => (gzip.finish().expect("writing to memory cannot fail"), Compression::Gzip),
        };
        Body::new(Bytes::from(bytes), compression)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_same_records_are_recognised_however_they_come_and_whatever_the_level() {
        let records = b"{\"a\":1}{\"a\":2}{\"a\":3}".repeat(1000);
        let mut whole = Encoder::new(Compression::Gzip, 6);
        whole.write(&records);
        let mut parts = Encoder::new(Compression::Gzip, 1);
        records.chunks(77).for_each(|part| parts.write(part));
        let (whole, parts) = (whole.finish(), parts.finish());
        assert_ne!(whole.bytes, parts.bytes);
        assert_eq!(whole.records_crc32, parts.records_crc32);
    }

    #[test]
    fn no_object_is_longer_than_the_bound_that_its_memory_is_taken_by() {
        // Bytes from 144 on have the longest codes.
        let mut random = fastrand::Rng::with_seed(7);
        for length in [0, 1, 1000, 300_000] {
            let records: Vec<u8> = (0..length).map(|_| random.u8(144..)).collect();
            for level in 1..=9 {
                let bound = Encoder::object_bytes_max(Compression::Gzip, length);
                let mut encoder = Encoder::with_capacity(Compression::Gzip, level, bound as usize);
                let before = encoder.memory();
                records.chunks(65_536).for_each(|part| encoder.write(part));
                assert_eq!(encoder.memory(), before, "it never had to grow");
                let object = encoder.finish().bytes.len() as u64;
                assert!(object <= bound, "level {level}: {length} bytes became {object}");
            }
        }
    }

    #[test]
    fn a_higher_level_makes_smaller_objects() {
        let record = |n: u64| {
            format!("{{\"n\":{n},\"name\":\"customer {}\",\"price\":{}}}\n", n * 7919 % 1000, n * n % 997)
        };
        let records: String = (0..5000).map(record).collect();
        let length = |level| {
            let mut encoder = Encoder::new(Compression::Gzip, level);
            encoder.write(records.as_bytes());
            encoder.finish().bytes.len()
        };
        let (fast, middle, small) = (length(1), length(6), length(9));
        assert!(fast > middle && middle >= small, "{fast}, {middle}, {small}");
    }

    #[test]
    fn levels_out_of_range_are_taken_for_the_nearest() {
        for (given, taken) in [(0, 1), (99, 9)] {
            let encode = |level| {
                let mut encoder = Encoder::new(Compression::Gzip, level);
                encoder.write(&b"abcabcabc".repeat(500));
                encoder.finish().bytes
            };
            assert_eq!(encode(given), encode(taken));
        }
    }

    proptest! {
        #[test]
        fn memory_never_exceeds_what_was_announced(pieces in prop::collection::vec(0usize..70_000, 1..40), plain: bool) {
            let compression = if plain { Compression::Uncompressed } else { Compression::Gzip };
            let mut random = fastrand::Rng::with_seed(pieces.len() as u64);
            let mut encoder = Encoder::new(compression, 1);
            for length in pieces {
                let piece: Vec<u8> = (0..length).map(|_| random.u8(..)).collect();
                let announced = encoder.memory_while_writing(length);
                encoder.write(&piece);
                prop_assert!(encoder.memory() <= announced);
            }
        }

        #[test]
        fn one_gzip_member_holds_exactly_the_records(parts: Vec<Vec<u8>>, level in 1u32..=9) {
            let mut encoder = Encoder::new(Compression::Gzip, level);
            parts.iter().for_each(|part| encoder.write(part));
            let body = encoder.finish();
            prop_assert_eq!(body.crc32, crc32fast::hash(&body.bytes));
            prop_assert_eq!(body.records_crc32, crc32fast::hash(&parts.concat()));
            let mut read = Vec::new();
            let mut decoder = GzDecoder::new(&body.bytes[..]);
            decoder.read_to_end(&mut read).unwrap();
            prop_assert_eq!(read, parts.concat());
            prop_assert!(decoder.into_inner().is_empty(), "nothing after the first member");
        }

        #[test]
        fn uncompressed_is_the_records_as_they_came(parts: Vec<Vec<u8>>) {
            let mut encoder = Encoder::new(Compression::Uncompressed, 6);
            parts.iter().for_each(|part| encoder.write(part));
            prop_assert_eq!(&encoder.finish().bytes[..], &parts.concat()[..]);
        }
    }
}
