//! Snappy, in the two framings that Java has: neither is the framing of the format's own specification.
//!
//! ```text
//! snappy-java:  82 "SNAPPY" 00 │ version 1 │ readable from version 1 │ (length of the block, compressed │ block)…
//! Hadoop:       (length of the records in the block │ length of the block, compressed │ block)…
//! ```
//!
//! All numbers are 32 bits, big-endian. Sources: snappy-java's `SnappyOutputStream` and `SnappyCodec`, Hadoop's `BlockCompressorStream`
//! and `SnappyCodec`. Blocks are no longer than theirs, because readers have buffers for those.

use snap::raw::{Encoder as Snappy, max_compress_len};

/// snappy-java's default.
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;
const XERIAL_HEADER: &[u8; 16] = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
/// What Snappy looks back over, so that longer blocks would not be smaller. Hadoop's readers have a buffer of 256 KiB for a block and another for
/// what comes out of it (`io.compression.codec.snappy.buffersize`): it fits, whatever becomes of it.
const HADOOP_BLOCK_BYTES: usize = 64 * 1024;
/// The library's hash tables, rounded up.
const TABLES_BYTES: u64 = 36 * 1024;
/// A block is never longer than its records by more than their sixth and this.
const BLOCK_BYTES_MORE: u64 = 32;
/// Before a block.
const LENGTHS_BYTES_MAX: u64 = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Xerial,
    Hadoop,
}

impl Framing {
    /// Bytes of records in a block.
    pub(super) fn block_bytes(self) -> usize {
        match self {
            Self::Xerial => XERIAL_BLOCK_BYTES,
            Self::Hadoop => HADOOP_BLOCK_BYTES,
        }
    }

    /// What [`Blocks`] of this framing take beside their output.
    pub(super) fn memory(self) -> u64 {
        TABLES_BYTES + (self.block_bytes() + max_compress_len(self.block_bytes())) as u64
    }

    pub(super) fn bytes_max(self, bytes: u64) -> u64 {
        let blocks = bytes.div_ceil(self.block_bytes() as u64);
        bytes + bytes / 6 + blocks * (BLOCK_BYTES_MORE + LENGTHS_BYTES_MAX) + XERIAL_HEADER.len() as u64
    }
}

/// Cuts records into blocks. All but the last are full, whatever the pieces in which the records come.
pub(super) struct Blocks {
    framing: Framing,
    snappy: Snappy,
    /// Records that do not fill a block yet.
    block: Vec<u8>,
    /// Room for one block, compressed.
    compressed: Vec<u8>,
}

impl Blocks {
    pub(super) fn new(framing: Framing, output: &mut Vec<u8>) -> Self {
        if framing == Framing::Xerial {
            output.extend_from_slice(XERIAL_HEADER);
        }
        let block_bytes = framing.block_bytes();
        let (block, compressed) = (Vec::with_capacity(block_bytes), vec![0; max_compress_len(block_bytes)]);
        Self { framing, snappy: Snappy::new(), block, compressed }
    }

    pub(super) fn write(&mut self, mut records: &[u8], output: &mut Vec<u8>) {
        let block_bytes = self.framing.block_bytes();
        while self.block.len() + records.len() >= block_bytes {
            let (now, later) = records.split_at(block_bytes - self.block.len());
            if self.block.is_empty() {
                self.put(now, output);
            } else {
                self.block.extend_from_slice(now);
                self.put_held_back(output);
            }
            records = later;
        }
        self.block.extend_from_slice(records);
    }

    pub(super) fn finish(mut self, output: &mut Vec<u8>) {
        if !self.block.is_empty() {
            self.put_held_back(output);
        }
    }

    #[cfg(test)]
    pub(super) fn memory_in_vectors(&self) -> u64 {
        (self.block.capacity() + self.compressed.capacity()) as u64
    }

    fn put_held_back(&mut self, output: &mut Vec<u8>) {
        let mut block = std::mem::take(&mut self.block);
        self.put(&block, output);
        block.clear();
        self.block = block;
    }

    fn put(&mut self, block: &[u8], output: &mut Vec<u8>) {
        let bytes = self.snappy.compress(block, &mut self.compressed).expect("there is room for any block");
        if self.framing == Framing::Hadoop {
            output.extend_from_slice(&(block.len() as u32).to_be_bytes());
        }
        output.extend_from_slice(&(bytes as u32).to_be_bytes());
        output.extend_from_slice(&self.compressed[..bytes]);
    }
}
