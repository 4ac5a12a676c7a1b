//! The frame: what one call adds to the log. `docs/log-format.md` has the bytes.

use hydrant_types::{DataKeyId, Lsn, Position, StreamId, Timestamp};

use crate::{
    CallKey, DataKey,
    encryption::{Facts, NONCE_LEN, TAG_LEN},
};

/// Length of a frame's header; payload follows.
pub(crate) const HEADER_LEN: usize = 128;
/// Frames begin at multiples of this.
pub(crate) const ALIGN: usize = 8;
/// LSNs, groups and positions end here: a million a second for 290,000 years.
const NUMBER_MAX: u64 = u64::MAX / 2;
pub(crate) const MAGIC: u32 = u32::from_le_bytes(*b"HFR1");

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
            digest_in_clear: None,
            encrypted: None,
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
    /// As it stands in the file.
    pub(crate) digest: [u8; 16],
    /// Of an encrypted payload: the digest that it has where it is stored in clear.
    pub(crate) digest_in_clear: Option<[u8; 16]>,
    pub(crate) encrypted: Option<Encrypted>,
}

impl SealedPayload {
    /// Encrypts data and lengths. `nonce` must never have been used with this key.
    pub(crate) fn encrypt(
        mut self,
        key: &DataKey,
        nonce: [u8; NONCE_LEN],
        stream: StreamId,
        arrival: Timestamp,
        call: Option<CallKey>,
    ) -> Self {
        // A call without a name is never asked for again: its digest is of no use, and would show which payloads are equal.
        let digest = call.map_or([0; 16], |call| key.digest(&call.0, &self.digest));
        let call = call.map_or([0; 16], |call| call.0);
        let facts = Facts { stream, arrival, records: self.records, data_len: self.data_len, call, digest };
        self.bytes.truncate(HEADER_LEN + self.payload_len as usize);
        let tag = key.seal(nonce, &facts, &mut self.bytes[HEADER_LEN..]);
        self.bytes.extend_from_slice(&tag);
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGN), 0);
        Self {
            payload_len: self.payload_len + TAG_LEN as u32,
            crc: crc32fast::hash(&self.bytes[HEADER_LEN..]),
            digest,
            digest_in_clear: Some(self.digest),
            encrypted: Some(Encrypted { key: key.id(), nonce }),
            ..self
        }
    }
}

/// How a payload is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Encrypted {
    /// Never 0.
    pub(crate) key: DataKeyId,
    pub(crate) nonce: [u8; NONCE_LEN],
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
    pub(crate) encrypted: Option<Encrypted>,
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

    /// Bytes of data and lengths.
    pub(crate) fn plain_len(&self) -> usize {
        self.payload_len as usize - if self.encrypted.is_some() { TAG_LEN } else { 0 }
    }

    /// Decrypts what follows the header of an encrypted frame, in place; whether it is what `key` sealed for this header.
    #[must_use]
    pub(crate) fn decrypt(&self, key: &DataKey, nonce: [u8; NONCE_LEN], padded: &mut [u8]) -> bool {
        let &Self { stream, arrival, records, data_len, call, digest, .. } = self;
        let facts = Facts { stream, arrival, records, data_len, call, digest };
        key.open(nonce, &facts, &mut padded[..self.payload_len as usize])
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
        if let Some(encrypted) = self.encrypted {
            put(108, &encrypted.key.0.to_le_bytes());
            put(112, &encrypted.nonce);
        }
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
        let nonce = header[112..124].try_into().expect("twelve bytes");
        let encrypted = Some(Encrypted { key: DataKeyId(u32_at(108)), nonce });
        let encrypted = encrypted.filter(|encrypted| encrypted.key != DataKeyId(0));
        let tag_len = if encrypted.is_some() { TAG_LEN as u64 } else { 0 };
        if u64::from(payload_len) != u64::from(data_len) + lengths_len + tag_len {
            return None;
        }
        // Never written, whatever its check sum says; so what is reckoned from a header cannot overflow.
        if [16, 24, 40].into_iter().any(|at| u64_at(at) > NUMBER_MAX) {
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
            encrypted,
        })
    }
}

/// LSN and group as they stand at `frame`, whether or not the header checks: for telling what was half written from what is old.
pub(crate) fn raw_numbers(frame: &[u8]) -> (u64, u64) {
    let u64_at = |at: usize| u64::from_le_bytes(frame[at..at + 8].try_into().expect("eight bytes"));
    (u64_at(16), u64_at(24))
}

pub(crate) fn header_crc(header: &[u8], seed: u32) -> u32 {
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
            encrypted: None,
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

    #[test]
    fn an_encrypted_frame_has_the_bytes_of_the_format() {
        let key = DataKey::new(DataKeyId(0x1112), &[0x42; 32], &[0x43; 32]).unwrap();
        let mut payload = Payload::new();
        payload.push(b"ab");
        payload.push(b"c");
        let clear = payload.seal();
        let (stream, arrival, call) = (StreamId(0x51), Timestamp(0x71), CallKey([0xca; 16]));
        let digest = key.digest(&call.0, &clear.digest);
        let in_clear = clear.digest;
        let sealed = clear.encrypt(&key, [0xee; 12], stream, arrival, Some(call));
        assert_eq!((sealed.digest, sealed.digest_in_clear), (digest, Some(in_clear)));
        assert_eq!((sealed.data_len, sealed.records, sealed.payload_len), (3, 2, 3 + 8 + 16));
        let header = Header {
            kind: FrameKind::Records,
            lsn: Lsn(1),
            group: 2,
            group_len: 3,
            group_offset: 4,
            stream,
            first: Position(5),
            records: sealed.records,
            arrival,
            payload_len: sealed.payload_len,
            data_len: sealed.data_len,
            payload_crc: sealed.crc,
            call: call.0,
            digest: sealed.digest,
            encrypted: sealed.encrypted,
        };
        let mut frame = sealed.bytes.clone();
        header.encode(&mut frame, 9);
        assert_eq!(frame.len() as u64, header.frame_len());
        assert_eq!(frame[108..112], [0x12, 0x11, 0, 0]);
        assert_eq!(frame[112..124], [0xee; 12]);
        assert_eq!(frame[124..128], [0; 4]);
        assert_eq!(Header::decode(&frame[..HEADER_LEN], 9).as_ref(), Some(&header));
        assert!(header.covers(&frame[HEADER_LEN..]), "the check sum is of what is in the file");

        // What is authenticated, written out: magic, key id, stream, arrival, records, bytes of data, call, digest.
        let mut facts = b"HFR1\x12\x11\0\0\x51\0\0\0\0\0\0\0\x71\0\0\0\0\0\0\0\x02\0\0\0\x03\0\0\0".to_vec();
        facts.extend_from_slice(&[0xca; 16]);
        facts.extend_from_slice(&digest);
        let cipher = ring::aead::UnboundKey::new(&ring::aead::AES_256_GCM, &[0x42; 32]).unwrap();
        let mut expected = b"abc\x02\0\0\0\x01\0\0\0".to_vec();
        ring::aead::LessSafeKey::new(cipher)
            .seal_in_place_append_tag(
                ring::aead::Nonce::assume_unique_for_key([0xee; 12]),
                ring::aead::Aad::from(facts),
                &mut expected,
            )
            .unwrap();
        expected.resize(expected.len().next_multiple_of(ALIGN), 0);
        assert_eq!(frame[HEADER_LEN..], expected);
        assert!(header.decrypt(&key, [0xee; 12], &mut frame[HEADER_LEN..]));
        assert_eq!(&frame[HEADER_LEN..][..header.plain_len()], b"abc\x02\0\0\0\x01\0\0\0");
    }

    #[test]
    fn an_encrypted_payload_of_an_unnamed_call_has_no_digest() {
        let key = DataKey::new(DataKeyId(1), &[1; 32], &[2; 32]).unwrap();
        let sealed = Payload::new().seal().encrypt(&key, [0; 12], StreamId(1), Timestamp(1), None);
        assert_eq!(sealed.digest, [0; 16]);
    }
}
