//! Turns records into an object's bytes, as they come.
//!
//! An encoder appends to one vector, which becomes the object. What it keeps beside that is of a known size, so that all of it can be
//! charged to a budget before it is used. The bytes may depend on the pieces in which the records come, and on the level: an object
//! made anew from a batch holds the same records, not the same bytes, and is recognised by the CRC-32 of its records.

mod deflate;
mod gzip;
mod snappy;
#[cfg(test)]
mod tests;
mod zip;

use bytes::Bytes;
use crc32fast::Hasher;
use hydrant_types::{BatchId, ByteSize, Compression};

use self::{
    gzip::Gzip,
    snappy::{Blocks, Framing},
    zip::Zip,
};
use crate::object_store::Body;

/// The output of a batch of a few records fits without growing.
const OUTPUT_BYTES_FIRST: usize = 16 * 1024;
const LEVEL_DEFAULT: u32 = 6;

/// How an object is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding {
    /// The format.
    pub compression: Compression,
    /// Of gzip and ZIP, 1 (fast) to 9 (small).
    pub level: u32,
    /// Of gzip: bytes of records in a member, where an object is to have more than one (design decision D15). Not zero.
    pub gzip_member_size: Option<ByteSize>,
    /// Whether the object's header `Content-Encoding` is to name the format.
    pub content_encoding: bool,
}

impl Encoding {
    /// The format as it is where nothing else is asked for.
    pub fn of(compression: Compression) -> Self {
        Self { compression, level: LEVEL_DEFAULT, gzip_member_size: None, content_encoding: true }
    }

    /// No object that holds `bytes` of records is longer.
    pub fn object_bytes_max(self, bytes: u64) -> u64 {
        match self.compression {
            Compression::Uncompressed => bytes,
            Compression::Gzip => {
                gzip::bytes_max(bytes, self.gzip_member_size.map_or(u64::MAX, ByteSize::bytes))
            }
            Compression::Zip => zip::bytes_max(bytes),
            Compression::Snappy => Framing::Xerial.bytes_max(bytes),
            Compression::HadoopSnappy => Framing::Hadoop.bytes_max(bytes),
        }
    }

    /// Memory of an encoder that has not been given anything.
    pub fn memory_first(self) -> u64 {
        self.memory_beside_output() + OUTPUT_BYTES_FIRST as u64
    }

    fn memory_beside_output(self) -> u64 {
        match self.compression {
            Compression::Uncompressed => 0,
            Compression::Gzip | Compression::Zip => deflate::STATE_BYTES,
            Compression::Snappy => Framing::Xerial.memory(),
            Compression::HadoopSnappy => Framing::Hadoop.memory(),
        }
    }

    /// Bytes of records that an encoder may hold back, and give with the next write or at the end.
    fn held_back_max(self) -> u64 {
        match self.compression {
            Compression::Uncompressed => 0,
            Compression::Gzip | Compression::Zip => deflate::PENDING_BYTES_MAX,
            Compression::Snappy => Framing::Xerial.block_bytes() as u64,
            Compression::HadoopSnappy => Framing::Hadoop.block_bytes() as u64,
        }
    }
}

/// Encodes one batch: records one directly after the other.
pub struct Encoder {
    encoding: Encoding,
    format: Format,
    output: Vec<u8>,
    records: Hasher,
}

enum Format {
    Plain,
    Gzip(Box<Gzip>),
    Zip(Box<Zip>),
    Snappy(Box<Blocks>),
}

impl Encoder {
    /// An encoder that has taken [`Encoding::memory_first`].
    pub fn new(encoding: Encoding) -> Self {
        Self::with_capacity(encoding, OUTPUT_BYTES_FIRST)
    }

    /// As [`Encoder::new`], with room for `output_bytes`.
    pub fn with_capacity(encoding: Encoding, output_bytes: usize) -> Self {
        let mut output = Vec::with_capacity(output_bytes);
        let format = match encoding.compression {
            Compression::Uncompressed => Format::Plain,
            Compression::Gzip => {
                Format::Gzip(Box::new(Gzip::new(encoding.level, encoding.gzip_member_size, &mut output)))
            }
            Compression::Zip => Format::Zip(Box::new(Zip::new(encoding.level, &mut output))),
            Compression::Snappy => Format::Snappy(Box::new(Blocks::new(Framing::Xerial, &mut output))),
            Compression::HadoopSnappy => Format::Snappy(Box::new(Blocks::new(Framing::Hadoop, &mut output))),
        };
        Self { encoding, format, output, records: Hasher::new() }
    }

    /// Adds bytes. Computes: not for async workers.
    pub fn write(&mut self, records: &[u8]) {
        self.records.update(records);
        let output = &mut self.output;
        match &mut self.format {
            Format::Plain => output.extend_from_slice(records),
            Format::Gzip(gzip) => gzip.write(records, output),
            Format::Zip(zip) => zip.write(records, output),
            Format::Snappy(blocks) => blocks.write(records, output),
        }
    }

    /// Memory it may use while `bytes` are written, or, with 0, while it is finished: where its output has to grow, the old one and the new
    /// are there together.
    pub fn memory_while_writing(&self, bytes: usize) -> u64 {
        let added = self.encoding.object_bytes_max(bytes as u64 + self.encoding.held_back_max());
        let (needed, there) = (self.output.len() as u64 + added, self.output.capacity() as u64);
        if needed <= there {
            self.memory()
        } else if needed <= 2 * there {
            self.memory() + 2 * there
        } else {
            // It grows more than once, each time to twice what it was: the last time from less than what it needs.
            self.encoding.memory_beside_output() + 3 * needed
        }
    }

    /// Memory it uses now.
    pub fn memory(&self) -> u64 {
        self.encoding.memory_beside_output() + self.output.capacity() as u64
    }

    /// Ends the object of `batch`, whose id is the name of a ZIP archive's entry. Computes: not for async workers.
    ///
    /// # Panics
    /// A ZIP archive's records are 4 GiB or more: the biggest buffer is 128 MiB.
    pub fn finish(self, batch: BatchId) -> Body {
        let (mut output, records_crc32) = (self.output, self.records.finalize());
        match self.format {
            Format::Plain => {}
            Format::Gzip(gzip) => gzip.finish(&mut output),
            Format::Zip(zip) => zip.finish(batch, records_crc32, &mut output),
            Format::Snappy(blocks) => blocks.finish(&mut output),
        }
        // What was reserved and not written to may be memory all the same, of something before it; the body is charged by its length.
        output.shrink_to_fit();
        Body::encoded(Bytes::from(output), records_crc32, self.encoding)
    }
}
