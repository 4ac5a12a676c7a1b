//! The end of a sealed segment: where each stream is in it, and the calls it remembers, so that a start need not read its frames.

use std::{collections::BTreeMap, io};

use hydrant_types::{Lsn, Position, StreamId, Timestamp};

use crate::{
    calls::KnownCall,
    disk::DiskFile,
    fields::{Cursor, put_u32, put_u64},
    segment::{Extent, FRAMES_START, Segment, TRAILER_LEN},
};

const MAGIC: &[u8; 8] = b"HYDRFTR1";
const EXTENT_LEN: u64 = 48;
const STREAM_LEN: u64 = 40;

/// The most that one frame adds to a footer: an extent, a stream and a call.
pub(crate) const PER_FRAME_MAX: u64 = EXTENT_LEN + STREAM_LEN + KnownCall::LEN as u64;

/// What the writer knows of a segment when it seals it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Contents {
    pub(crate) extents: BTreeMap<StreamId, Vec<Extent>>,
    /// Bytes of each stream's frames.
    pub(crate) bytes: BTreeMap<StreamId, u64>,
    pub(crate) calls: Vec<KnownCall>,
    pub(crate) next_lsn: Lsn,
    pub(crate) next_group: u64,
    /// Where frames end.
    pub(crate) end: u64,
}

/// What a start takes from a footer; the extents stay on disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct Footer {
    pub(crate) streams: Vec<StreamInSegment>,
    pub(crate) calls: Vec<KnownCall>,
    pub(crate) next_lsn: Lsn,
    pub(crate) next_group: u64,
    pub(crate) end: u64,
}

/// One stream's part of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StreamInSegment {
    pub(crate) stream: StreamId,
    pub(crate) first: Position,
    pub(crate) next: Position,
    pub(crate) bytes: u64,
    pub(crate) at: ExtentsAt,
}

/// Where in a file a stream's extents are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ExtentsAt {
    offset: u64,
    count: u32,
    crc: u32,
    /// Where the segment's frames end.
    end: u64,
}

impl Contents {
    /// Bytes that the footer takes.
    pub(crate) fn footer_len(&self) -> u64 {
        let extents: usize = self.extents.values().map(Vec::len).sum();
        extents as u64 * EXTENT_LEN
            + self.extents.len() as u64 * STREAM_LEN
            + self.calls.len() as u64 * KnownCall::LEN as u64
    }

    /// Writes footer and trailer into `segment` and makes them durable. Gives where each stream's extents are.
    pub(crate) fn seal(&self, segment: &Segment, file: &dyn DiskFile) -> io::Result<Vec<StreamInSegment>> {
        assert!(self.end + self.footer_len() <= segment.room_end(), "the writer keeps room for the footer");
        let mut footer = Vec::with_capacity(self.footer_len() as usize);
        let mut streams = Vec::with_capacity(self.extents.len());
        for (stream, extents) in &self.extents {
            let (Some(first), Some(last)) = (extents.first(), extents.last()) else { continue };
            let start = footer.len();
            extents.iter().for_each(|extent| put_extent(&mut footer, extent));
            let at = ExtentsAt {
                offset: self.end + start as u64,
                count: extents.len() as u32,
                crc: seeded_crc(segment, &footer[start..]),
                end: self.end,
            };
            let bytes = self.bytes.get(stream).copied().unwrap_or_default();
            streams.push(StreamInSegment { stream: *stream, first: first.first, next: last.next, bytes, at });
        }
        let extents_len = footer.len();
        streams.iter().for_each(|stream| put_stream(&mut footer, stream));
        let directory_len = footer.len() - extents_len;
        self.calls.iter().for_each(|call| call.put(&mut footer));
        file.write_at(&footer, self.end)?;

        let newest = self.calls.iter().map(|call| call.seen).max().unwrap_or_default();
        let (directory, calls) = footer[extents_len..].split_at(directory_len);
        let mut trailer = MAGIC.to_vec();
        for number in [self.end, self.next_lsn.0, self.next_group, newest.0] {
            put_u64(&mut trailer, number);
        }
        put_u32(&mut trailer, (extents_len as u64 / EXTENT_LEN) as u32);
        put_u32(&mut trailer, streams.len() as u32);
        put_u32(&mut trailer, self.calls.len() as u32);
        put_u32(&mut trailer, seeded_crc(segment, directory));
        put_u32(&mut trailer, seeded_crc(segment, calls));
        let crc = seeded_crc(segment, &trailer);
        put_u32(&mut trailer, crc);
        file.write_at(&trailer, segment.room_end())?;
        file.sync()?;
        Ok(streams)
    }
}

impl Footer {
    /// The footer of a sealed segment; `None` where there is none that holds. Its calls are read only where one was seen at `calls_since` or
    /// later.
    pub(crate) fn read(segment: &Segment, calls_since: Timestamp) -> io::Result<Option<Self>> {
        let file = segment.file()?;
        let mut trailer = [0; TRAILER_LEN as usize];
        file.read_at(&mut trailer, segment.room_end())?;
        let (body, crc) = trailer.split_at(TRAILER_LEN as usize - 4);
        if &body[..8] != MAGIC || seeded_crc(segment, body).to_le_bytes() != crc {
            return Ok(None);
        }
        let mut fields = Cursor(&body[8..]);
        let (end, next_lsn, next_group) = (fields.u64(), Lsn(fields.u64()), fields.u64());
        let newest = Timestamp(fields.u64());
        let (extents, streams, calls) = (fields.u32(), fields.u32(), fields.u32());
        let (directory_crc, calls_crc) = (fields.u32(), fields.u32());
        let directory_at = end + u64::from(extents) * EXTENT_LEN;
        let calls_at = directory_at + u64::from(streams) * STREAM_LEN;
        let calls_len = u64::from(calls) * KnownCall::LEN as u64;
        if end < FRAMES_START || calls_at + calls_len > segment.room_end() {
            return Ok(None);
        }
        let mut directory = vec![0; (calls_at - directory_at) as usize];
        file.read_at(&mut directory, directory_at)?;
        if seeded_crc(segment, &directory) != directory_crc {
            return Ok(None);
        }
        let mut footer =
            Self { streams: get_streams(&directory, end), calls: Vec::new(), next_lsn, next_group, end };
        if newest >= calls_since && calls > 0 {
            let mut bytes = vec![0; calls_len as usize];
            file.read_at(&mut bytes, calls_at)?;
            if seeded_crc(segment, &bytes) != calls_crc {
                return Ok(None);
            }
            footer.calls = KnownCall::get_all(&bytes);
        }
        Ok(Some(footer))
    }
}

impl ExtentsAt {
    /// Reads the extents; where they do not check, `None`.
    pub(crate) fn read(&self, segment: &Segment, file: &dyn DiskFile) -> io::Result<Option<Vec<Extent>>> {
        let mut bytes = vec![0; self.count as usize * EXTENT_LEN as usize];
        file.read_at(&mut bytes, self.offset)?;
        if seeded_crc(segment, &bytes) != self.crc {
            return Ok(None);
        }
        Ok(Some(bytes.chunks_exact(EXTENT_LEN as usize).map(get_extent).collect()))
    }

    /// One extent for all of a stream's frames: found by reading through everything, for when the extents do not check.
    pub(crate) fn whole_segment(&self, segment: &Segment, first: Position, next: Position) -> Extent {
        let first_lsn = segment.header.first_lsn;
        Extent { from_offset: FRAMES_START, to_offset: self.end, first, next, first_lsn, last_lsn: first_lsn }
    }
}

fn seeded_crc(segment: &Segment, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(segment.header.seed);
    hasher.update(bytes);
    hasher.finalize()
}

fn put_extent(out: &mut Vec<u8>, extent: &Extent) {
    let Extent { from_offset, to_offset, first, next, first_lsn, last_lsn } = *extent;
    for number in [from_offset, to_offset, first.0, next.0, first_lsn.0, last_lsn.0] {
        put_u64(out, number);
    }
}

fn get_extent(bytes: &[u8]) -> Extent {
    let mut fields = Cursor(bytes);
    Extent {
        from_offset: fields.u64(),
        to_offset: fields.u64(),
        first: Position(fields.u64()),
        next: Position(fields.u64()),
        first_lsn: Lsn(fields.u64()),
        last_lsn: Lsn(fields.u64()),
    }
}

fn put_stream(out: &mut Vec<u8>, stream: &StreamInSegment) {
    for number in [stream.stream.0, stream.first.0, stream.next.0, stream.bytes] {
        put_u64(out, number);
    }
    put_u32(out, stream.at.count);
    put_u32(out, stream.at.crc);
}

fn get_streams(directory: &[u8], end: u64) -> Vec<StreamInSegment> {
    let mut offset = end;
    let mut streams = Vec::with_capacity(directory.len() / STREAM_LEN as usize);
    for bytes in directory.chunks_exact(STREAM_LEN as usize) {
        let mut fields = Cursor(bytes);
        let stream = StreamId(fields.u64());
        let (first, next, bytes) = (Position(fields.u64()), Position(fields.u64()), fields.u64());
        let at = ExtentsAt { offset, count: fields.u32(), crc: fields.u32(), end };
        offset += u64::from(at.count) * EXTENT_LEN;
        streams.push(StreamInSegment { stream, first, next, bytes, at });
    }
    streams
}
