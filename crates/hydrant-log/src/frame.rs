//! The frame: what one call adds to the log. `docs/log-format.md` has the bytes.

use hydrant_types::{Lsn, Position, StreamId, Timestamp};

/// Length of a frame's header; payload follows.
pub(crate) const HEADER_LEN: usize = 128;
/// Frames begin at multiples of this.
pub(crate) const ALIGN: usize = 8;
const MAGIC: u32 = u32::from_le_bytes(*b"HFR1");

/// The records of one call in the frame's own encoding, built where they are decoded (no copy afterwards).
///
/// A caller appends a record's bytes to [`Payload::buffer`] and then calls [`Payload::end_record`]; what was appended since
/// the last end is the record.
#[derive(Debug)]
pub struct Payload {
    /// Room for the header, then the records one after the other.
    buffer: Vec<u8>,
    lengths: Vec<u32>,
    /// Where the current record begins.
    start: usize,
}

impl Payload {
    /// For records of about `bytes` together.
    pub fn with_capacity(bytes: usize) -> Self {
        let mut buffer = Vec::with_capacity(HEADER_LEN + bytes + bytes / 64 + 64);
        buffer.resize(HEADER_LEN, 0);
        Self { buffer, lengths: Vec::new(), start: HEADER_LEN }
    }

    /// Without records.
    pub fn new() -> Self {
        Self::with_capacity(0)
    }

    /// The end of the current record: append its bytes here, and never shorten what was there.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Ends the current record.
    pub fn end_record(&mut self) {
        self.lengths.push(self.record_bytes_current() as u32);
        self.start = self.buffer.len();
    }

    /// Adds a whole record.
    pub fn push(&mut self, record: &[u8]) {
        self.buffer.extend_from_slice(record);
        self.end_record();
    }

    /// How many records were ended.
    pub fn records(&self) -> u32 {
        self.lengths.len() as u32
    }

    /// Bytes of the records that were ended.
    pub fn data_bytes(&self) -> u64 {
        (self.start - HEADER_LEN) as u64
    }

    /// Bytes of the current record so far.
    pub fn record_bytes_current(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// The records, one directly after the other.
    pub fn data(&self) -> &[u8] {
        &self.buffer[HEADER_LEN..self.start]
    }

    /// The length of each record.
    pub fn lengths(&self) -> &[u32] {
        &self.lengths
    }

    /// Everything but the header's fields that the writer gives, in the file's own bytes.
    pub(crate) fn seal(mut self) -> SealedPayload {
        self.buffer.truncate(self.start);
        let data_len = self.buffer.len() - HEADER_LEN;
        for length in &self.lengths {
            self.buffer.extend_from_slice(&length.to_le_bytes());
        }
        let payload_len = (self.buffer.len() - HEADER_LEN) as u32;
        self.buffer.resize(self.buffer.len().next_multiple_of(ALIGN), 0);
        // With the padding: every byte of a frame is under a checksum.
        let padded = &self.buffer[HEADER_LEN..];
        let crc = crc32fast::hash(padded);
        let digest = digest_of(padded, crc, payload_len, self.lengths.len() as u32);
        SealedPayload {
            bytes: self.buffer,
            payload_len,
            data_len: data_len as u32,
            records: self.lengths.len() as u32,
            crc,
            digest,
        }
    }
}

impl Default for Payload {
    fn default() -> Self {
        Self::new()
    }
}

/// Names a payload's content for retry recognition: 64 bits of CRC and the lengths. Not a defence against somebody who holds
/// the caller's credentials and invocation id; a guard against an id that was used for two bodies by mistake.
fn digest_of(padded: &[u8], crc: u32, payload_len: u32, records: u32) -> [u8; 16] {
    let wide = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, padded);
    let mut digest = [0; 16];
    digest[..8].copy_from_slice(&wide.to_le_bytes());
    digest[8..12].copy_from_slice(&crc.to_le_bytes());
    digest[12..].copy_from_slice(&(payload_len ^ records.rotate_left(16)).to_le_bytes());
    digest
}

/// A payload with its checksums, ready for the writer.
#[derive(Debug)]
pub(crate) struct SealedPayload {
    /// Header (still empty), payload, padding.
    pub(crate) bytes: Vec<u8>,
    pub(crate) payload_len: u32,
    pub(crate) data_len: u32,
    pub(crate) records: u32,
    pub(crate) crc: u32,
    pub(crate) digest: [u8; 16],
}

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameKind {
    /// Records of a call.
    Records,
    /// A stored call was asked for again: it is remembered for longer. Names the stored records, has no payload.
    Retry,
}

/// A frame's header, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: FrameKind,
    pub(crate) lsn: Lsn,
    /// Number of the commit group, ever growing; frames of one fdatasync share it.
    pub(crate) group: u64,
    /// Bytes of the whole group in this segment, from its first frame.
    pub(crate) group_len: u32,
    /// Bytes of the group before this frame.
    pub(crate) group_offset: u32,
    pub(crate) stream: StreamId,
    pub(crate) first: Position,
    pub(crate) records: u32,
    pub(crate) arrival: Timestamp,
    pub(crate) payload_len: u32,
    pub(crate) data_len: u32,
    pub(crate) payload_crc: u32,
    /// Zeros: the producer did not name the call.
    pub(crate) call: [u8; 16],
    pub(crate) digest: [u8; 16],
}

impl Header {
    /// Bytes of the whole frame, padding included.
    pub(crate) fn frame_len(&self) -> u64 {
        (HEADER_LEN as u64 + u64::from(self.payload_len)).next_multiple_of(ALIGN as u64)
    }

    /// Bytes after the header, padding included.
    pub(crate) fn padded_len(&self) -> usize {
        self.frame_len() as usize - HEADER_LEN
    }

    /// Whether `padded` is what follows the header.
    pub(crate) fn covers(&self, padded: &[u8]) -> bool {
        crc32fast::hash(padded) == self.payload_crc
    }

    pub(crate) fn next(&self) -> Position {
        self.first.plus(u64::from(self.records))
    }

    /// Writes it at the start of `frame`. `seed` is the segment's: a recycled segment's old frames do not check.
    pub(crate) fn encode(&self, frame: &mut [u8], seed: u32) {
        let header = &mut frame[..HEADER_LEN];
        header.fill(0);
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &MAGIC.to_le_bytes());
        put(
            8,
            &[match self.kind {
                FrameKind::Records => 0,
                FrameKind::Retry => 1,
            }],
        );
        put(12, &self.group_len.to_le_bytes());
        put(16, &self.lsn.0.to_le_bytes());
        put(24, &self.group.to_le_bytes());
        put(32, &self.stream.0.to_le_bytes());
        put(40, &self.first.0.to_le_bytes());
        put(48, &self.arrival.0.to_le_bytes());
        put(56, &self.records.to_le_bytes());
        put(60, &self.payload_len.to_le_bytes());
        put(64, &self.data_len.to_le_bytes());
        put(68, &self.payload_crc.to_le_bytes());
        put(72, &self.call);
        put(88, &self.digest);
        put(104, &self.group_offset.to_le_bytes());
        // 108..112 key id, 112..124 nonce: for encryption, zeros until then.
        let crc = header_crc(header, seed);
        header[4..8].copy_from_slice(&crc.to_le_bytes());
    }

    /// Reads a header; `None` where there is none or it is damaged.
    pub(crate) fn decode(header: &[u8], seed: u32) -> Option<Self> {
        let u32_at = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
        let u64_at = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
        if u32_at(0) != MAGIC || u32_at(4) != header_crc(&header[..HEADER_LEN], seed) {
            return None;
        }
        let kind = match header[8] {
            0 => FrameKind::Records,
            1 => FrameKind::Retry,
            _ => return None,
        };
        let (records, payload_len, data_len) = (u32_at(56), u32_at(60), u32_at(64));
        let lengths_len = if kind == FrameKind::Records { u64::from(records) * 4 } else { 0 };
        if u64::from(payload_len) != u64::from(data_len) + lengths_len {
            return None;
        }
        Some(Self {
            kind,
            lsn: Lsn(u64_at(16)),
            group: u64_at(24),
            group_len: u32_at(12),
            group_offset: u32_at(104),
            stream: StreamId(u64_at(32)),
            first: Position(u64_at(40)),
            arrival: Timestamp(u64_at(48)),
            records,
            payload_len,
            data_len,
            payload_crc: u32_at(68),
            call: header[72..88].try_into().expect("sixteen bytes"),
            digest: header[88..104].try_into().expect("sixteen bytes"),
        })
    }
}

/// LSN and group as they stand at `frame`, whether or not the header checks: for telling what was half written from what is old.
pub(crate) fn raw_numbers(frame: &[u8]) -> (u64, u64) {
    let u64_at = |at: usize| u64::from_le_bytes(frame[at..at + 8].try_into().expect("eight bytes"));
    (u64_at(16), u64_at(24))
}

fn header_crc(header: &[u8], seed: u32) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(seed);
    hasher.update(&header[..4]);
    hasher.update(&header[8..HEADER_LEN]);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_lie_one_after_the_other_with_their_lengths_behind() {
        let mut payload = Payload::new();
        payload.push(b"one");
        payload.push(b"");
        payload.buffer().extend_from_slice(b"th");
        payload.buffer().extend_from_slice(b"ree");
        assert_eq!(payload.record_bytes_current(), 5);
        payload.end_record();
        assert_eq!((payload.records(), payload.data_bytes()), (3, 8));
        assert_eq!(payload.data(), b"onethree");
        let sealed = payload.seal();
        assert_eq!(sealed.payload_len, 8 + 12);
        assert_eq!(sealed.bytes.len() % ALIGN, 0);
    }

    #[test]
    fn an_unfinished_record_is_not_part_of_a_sealed_payload() {
        let mut payload = Payload::new();
        payload.push(b"one");
        payload.buffer().extend_from_slice(b"half");
        assert_eq!(payload.seal().data_len, 3);
    }

    #[test]
    fn a_frame_has_the_bytes_of_the_format() {
        let mut payload = Payload::new();
        payload.push(b"ab");
        payload.push(b"c");
        let sealed = payload.seal();
        let header = Header {
            kind: FrameKind::Records,
            lsn: Lsn(0x1112),
            group: 0x2122,
            group_len: 0x3132,
            group_offset: 0x41,
            stream: StreamId(0x51),
            first: Position(0x61),
            records: sealed.records,
            arrival: Timestamp(0x71),
            payload_len: sealed.payload_len,
            data_len: sealed.data_len,
            payload_crc: sealed.crc,
            call: [0xca; 16],
            digest: [0xd1; 16],
        };
        let mut frame = sealed.bytes.clone();
        header.encode(&mut frame, 0x8182_8384);
        let mut expected = b"HFR1".to_vec();
        expected.extend_from_slice(&header_crc(&frame, 0x8182_8384).to_le_bytes());
        expected.extend_from_slice(&[0, 0, 0, 0, 0x32, 0x31, 0, 0]);
        for number in [0x1112u64, 0x2122, 0x51, 0x61, 0x71] {
            expected.extend_from_slice(&number.to_le_bytes());
        }
        for number in [2u32, 11, 3, crc32fast::hash(b"abc\x02\0\0\0\x01\0\0\0\0\0\0\0\0")] {
            expected.extend_from_slice(&number.to_le_bytes());
        }
        expected.extend_from_slice(&[0xca; 16]);
        expected.extend_from_slice(&[0xd1; 16]);
        expected.extend_from_slice(&[0x41, 0, 0, 0]);
        expected.resize(HEADER_LEN, 0);
        expected.extend_from_slice(b"abc\x02\0\0\0\x01\0\0\0\0\0\0\0\0");
        assert_eq!(frame, expected);
        assert_eq!(Header::decode(&frame[..HEADER_LEN], 0x8182_8384), Some(header));
        assert_eq!(Header::decode(&frame[..HEADER_LEN], 0x8182_8385), None, "another use of the file");
    }
}
