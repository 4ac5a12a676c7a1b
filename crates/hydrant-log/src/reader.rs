//! Reading one stream's records out of segments.

use std::io;

use hydrant_types::{DataKeyId, Lsn, Position, StreamId};

use crate::{
    Chunk, FramePart,
    disk::DiskFile,
    error,
    frame::{ALIGN, Encrypted, FrameKind, HEADER_LEN, Header},
    segment::{Extent, Segment},
    store::Shared,
    streams::Part,
};

/// Read at once while looking for a stream's frames.
const READ_BLOCK: usize = 256 * 1024;

/// Reads records of `stream` from `from` on, about `bytes_max` bytes.
pub(crate) fn read(
    shared: &Shared,
    stream: StreamId,
    from: Position,
    bytes_max: usize,
) -> Result<Chunk, error::Read> {
    let parts = {
        let streams = shared.streams.lock();
        let tail = streams.tail(stream).ok_or(error::Read::UnknownStream { stream })?;
        if from < tail.trimmed {
            return Err(error::Read::Trimmed { stream, from, trimmed: tail.trimmed });
        }
        if from >= tail.next {
            return Ok(Chunk::default());
        }
        streams.find(stream, from)
    };
    let mut reader = Reader { stream, next: from, left: bytes_max.max(1) as u64, chunk: Chunk::default() };
    match reader.read_parts(shared, &parts) {
        Ok(()) => Ok(reader.chunk),
        // What was trimmed meanwhile may have been overwritten meanwhile.
        Err(error) => match shared.streams.lock().tail(stream) {
            Some(tail) if from < tail.trimmed => {
                Err(error::Read::Trimmed { stream, from, trimmed: tail.trimmed })
            }
            // What comes before the damage is given first.
            _ if !reader.chunk.frames.is_empty() => Ok(reader.chunk),
            _ => Err(error),
        },
    }
}

/// Collects one stream's records.
struct Reader {
    stream: StreamId,
    /// The position that is wanted next.
    next: Position,
    left: u64,
    chunk: Chunk,
}

/// Where in a segment a reader is.
struct Place<'a> {
    segment: &'a Segment,
    file: &'a dyn DiskFile,
    extent: &'a Extent,
    /// A piece of the file, read once for many small frames.
    block: Vec<u8>,
    block_start: u64,
}

impl Reader {
    fn read_parts(&mut self, shared: &Shared, parts: &[Part]) -> Result<(), error::Read> {
        if parts.is_empty() {
            return Err(self.missing("no segment holds them"));
        }
        for part in parts {
            let segment = shared.segments.lock().get(&part.segment).cloned();
            let segment = segment.ok_or_else(|| self.missing("their segment is gone"))?;
            let io = |source: io::Error| error::Read::Io { path: segment.path.clone(), source };
            let file = segment.file().map_err(io)?;
            for extent in part.extents_from(&segment, file.as_ref(), self.next).map_err(io)? {
                let place = Place {
                    segment: &segment,
                    file: file.as_ref(),
                    extent: &extent,
                    block: Vec::new(),
                    block_start: extent.from_offset,
                };
                if !self.read_extent(shared, place)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Reads the stream's frames in an extent; `false` when enough was read. Frames that do not hold are looked past: if they were another
    /// stream's, ours are complete without them.
    fn read_extent(&mut self, shared: &Shared, mut place: Place<'_>) -> Result<bool, error::Read> {
        let mut offset = place.extent.from_offset;
        let mut damaged_at = None;
        while self.next < place.extent.next {
            if offset >= place.extent.to_offset {
                let lsns = (place.extent.first_lsn, place.extent.last_lsn);
                return Err(self.damaged(
                    &place,
                    damaged_at.unwrap_or(offset),
                    lsns,
                    "frames here cannot be read",
                ));
            }
            let Some(header) = place.header_at(offset)? else {
                damaged_at.get_or_insert(offset);
                offset += ALIGN as u64;
                continue;
            };
            if header.kind == FrameKind::Records && header.stream == self.stream && header.next() > self.next
            {
                if header.first > self.next {
                    let reason = "records before this frame are missing";
                    let lsns = (place.extent.first_lsn, Lsn(header.lsn.0.saturating_sub(1)));
                    return Err(self.damaged(&place, damaged_at.unwrap_or(offset), lsns, reason));
                }
                if !self.take_frame(shared, &mut place, &header, offset)? {
                    return Ok(false);
                }
            }
            offset += header.frame_len();
        }
        Ok(true)
    }

    fn take_frame(
        &mut self,
        shared: &Shared,
        place: &mut Place<'_>,
        header: &Header,
        offset: u64,
    ) -> Result<bool, error::Read> {
        if !self.chunk.frames.is_empty() && u64::from(header.data_len) > self.left {
            return Ok(false);
        }
        let mut payload = place.payload_of(header, offset)?;
        if !header.covers(&payload) {
            let lsns = (header.lsn, header.lsn);
            return Err(self.damaged(place, offset, lsns, "the payload's check sum does not hold"));
        }
        if let Some(Encrypted { key: id, nonce }) = header.encrypted {
            let keys = shared.keys.read().clone();
            let key = keys.and_then(|keys| keys.find(self.stream, id));
            let key = key.ok_or_else(|| self.key_missing(place, id, offset))?;
            if !header.decrypt(&key, nonce, &mut payload) {
                let lsns = (header.lsn, header.lsn);
                let reason = format!("the payload is not what data key {} sealed", id.0);
                return Err(self.damaged(place, offset, lsns, &reason));
            }
        }
        let part = part_from(header, payload, self.next);
        self.next = header.next();
        self.left = self.left.saturating_sub(part.data.len() as u64);
        self.chunk.frames.push(part);
        Ok(self.left > 0)
    }

    fn damaged(&self, place: &Place<'_>, offset: u64, lsns: (Lsn, Lsn), reason: &str) -> error::Read {
        error::Read::Damaged {
            path: place.segment.path.clone(),
            offset,
            stream: self.stream,
            first: lsns.0,
            last: lsns.1,
            reason: format!("{reason}; wanted from position {} on", self.next),
        }
    }

    fn key_missing(&self, place: &Place<'_>, key: DataKeyId, offset: u64) -> error::Read {
        error::Read::KeyMissing { stream: self.stream, key, path: place.segment.path.clone(), offset }
    }

    fn missing(&self, reason: &str) -> error::Read {
        error::Read::Missing { stream: self.stream, from: self.next, reason: reason.to_owned() }
    }
}

impl Place<'_> {
    fn io(&self, source: io::Error) -> error::Read {
        error::Read::Io { path: self.segment.path.clone(), source }
    }

    /// The header at `offset`, where one holds.
    fn header_at(&mut self, offset: u64) -> Result<Option<Header>, error::Read> {
        if offset + HEADER_LEN as u64 > self.extent.to_offset {
            return Ok(None);
        }
        if offset < self.block_start
            || offset + HEADER_LEN as u64 > self.block_start + self.block.len() as u64
        {
            let len = (self.extent.to_offset - offset).min(READ_BLOCK as u64) as usize;
            self.block.clear();
            self.block_start = offset;
            let file = self.file;
            file.read_more(&mut self.block, len, offset).map_err(|source| self.io(source))?;
        }
        let at = (offset - self.block_start) as usize;
        let header = Header::decode(&self.block[at..at + HEADER_LEN], self.segment.header.seed);
        Ok(header.filter(|header| offset + header.frame_len() <= self.extent.to_offset))
    }

    /// What follows the header: what the block has of it, and the rest from the file.
    fn payload_of(&self, header: &Header, offset: u64) -> Result<Vec<u8>, error::Read> {
        let at = (offset - self.block_start) as usize + HEADER_LEN;
        let read = &self.block[at..self.block.len().min(at + header.padded_len())];
        let mut payload = Vec::with_capacity(header.padded_len());
        payload.extend_from_slice(read);
        let (left, from) = (header.padded_len() - read.len(), self.block_start + (at + read.len()) as u64);
        self.file.read_more(&mut payload, left, from).map_err(|source| self.io(source))?;
        Ok(payload)
    }
}

/// The records of a frame from position `from` on.
fn part_from(header: &Header, payload: Vec<u8>, from: Position) -> FramePart {
    let data_len = header.data_len as usize;
    let lengths: Vec<u32> = payload[data_len..header.plain_len()]
        .chunks_exact(4)
        .map(|bytes| u32::from_le_bytes(bytes.try_into().expect("four bytes")))
        .collect();
    let skip = from.0.saturating_sub(header.first.0) as usize;
    let skipped: usize = lengths[..skip].iter().map(|length| *length as usize).sum();
    FramePart {
        first: header.first.max(from),
        arrival: header.arrival,
        data: bytes::Bytes::from(payload).slice(skipped..data_len),
        lengths: lengths[skip..].to_vec(),
    }
}
