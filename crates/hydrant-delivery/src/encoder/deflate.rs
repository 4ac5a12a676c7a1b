//! Raw deflate (RFC 1951), which gzip and ZIP put their frames around.

use flate2::{Compress, Compression as Level, FlushCompress, Status};

/// What a deflate stream keeps: window, hash chains, pending bits (zlib-rs, rounded up).
pub(super) const STATE_BYTES: u64 = 320 * 1024;
/// Output that it may hold back, and give with the next write or at the end.
pub(super) const PENDING_BYTES_MAX: u64 = 128 * 1024;
/// The empty last block of a stream and the bits that fill its last byte, rounded up.
pub(super) const END_BYTES_MAX: u64 = 16;

/// Incompressible records at level 1 become 9 bits a byte: the fast encoder has fixed codes.
pub(super) fn bytes_max(bytes: u64) -> u64 {
    bytes + bytes / 8 + END_BYTES_MAX
}

/// A deflate stream after the other, each appended to the output that it is given.
pub(super) struct Deflate(Compress);

impl Deflate {
    /// Levels out of range are taken for the nearest.
    pub(super) fn new(level: u32) -> Self {
        Self(Compress::new(Level::new(level.clamp(1, 9)), false))
    }

    pub(super) fn write(&mut self, mut bytes: &[u8], output: &mut Vec<u8>) {
        while !bytes.is_empty() {
            make_room(output);
            let taken_before = self.0.total_in();
            self.0.compress_vec(bytes, output, FlushCompress::None).expect("deflate takes any bytes");
            bytes = &bytes[(self.0.total_in() - taken_before) as usize..];
        }
    }

    /// Ends the stream. What is written after it begins another.
    pub(super) fn end(&mut self, output: &mut Vec<u8>) {
        loop {
            make_room(output);
            let status = self.0.compress_vec(&[], output, FlushCompress::Finish);
            if status.expect("deflate can be ended at any time") == Status::StreamEnd {
                break;
            }
        }
        self.0.reset();
    }
}

/// The library appends as much as there is room for.
fn make_room(output: &mut Vec<u8>) {
    if output.len() == output.capacity() {
        output.reserve(1);
    }
}
