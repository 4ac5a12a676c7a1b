//! One file of the log: a header page, frames, and at its end, once it is sealed, a footer that says which streams are where.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use hydrant_types::{LogId, Lsn, Position};
use parking_lot::Mutex;

use crate::{
    disk::{Disk, DiskFile},
    frame::Header,
};

/// Frames begin here: the header has a page of its own, so that no frame's write can tear it.
pub(crate) const FRAMES_START: u64 = 4096;
/// Kept free at the end for the trailer that finds the footer.
pub(crate) const TRAILER_LEN: u64 = 64;
const MAGIC: &[u8; 8] = b"HYDRLOG1";
/// Written at once while a segment is made.
const ZEROS_LEN: usize = 1024 * 1024;

/// What a segment's header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) log: LogId,
    /// Ever growing; part of the file's name.
    pub(crate) seq: u64,
    /// Random; seeds the checksum of every frame in it.
    pub(crate) seed: u32,
    /// The segment whose valid tail was copied here after a crash; 0 for none.
    pub(crate) replaces: u64,
    /// Number of the first commit group in it.
    pub(crate) first_group: u64,
    /// LSN of the first frame in it.
    pub(crate) first_lsn: Lsn,
}

impl SegmentHeader {
    fn encode(&self) -> Vec<u8> {
        let mut page = vec![0; FRAMES_START as usize];
        page[..8].copy_from_slice(MAGIC);
        page[8..24].copy_from_slice(self.log.0.as_bytes());
        page[24..32].copy_from_slice(&self.seq.to_le_bytes());
        page[32..40].copy_from_slice(&self.replaces.to_le_bytes());
        page[40..48].copy_from_slice(&self.first_group.to_le_bytes());
        page[48..56].copy_from_slice(&self.first_lsn.0.to_le_bytes());
        page[56..60].copy_from_slice(&self.seed.to_le_bytes());
        let crc = crc32fast::hash(&page[..60]);
        page[60..64].copy_from_slice(&crc.to_le_bytes());
        page
    }

    fn decode(page: &[u8]) -> Option<Self> {
        let u64_at = |at: usize| u64::from_le_bytes(page[at..at + 8].try_into().expect("eight bytes"));
        let u32_at = |at: usize| u32::from_le_bytes(page[at..at + 4].try_into().expect("four bytes"));
        if &page[..8] != MAGIC || crc32fast::hash(&page[..60]) != u32_at(60) {
            return None;
        }
        let log: [u8; 16] = page[8..24].try_into().expect("sixteen bytes");
        Some(Self {
            log: LogId(uuid::Uuid::from_bytes(log)),
            seq: u64_at(24),
            replaces: u64_at(32),
            first_group: u64_at(40),
            first_lsn: Lsn(u64_at(48)),
            seed: u32_at(56),
        })
    }
}

/// A stretch of a segment that holds frames of one stream, and perhaps small ones of others between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) from_offset: u64,
    pub(crate) to_offset: u64,
    pub(crate) first: Position,
    pub(crate) next: Position,
    pub(crate) first_lsn: Lsn,
    pub(crate) last_lsn: Lsn,
}

/// Gaps of other streams' frames up to this are read through.
const GAP_MAX: u64 = 64 * 1024;
/// An extent grows no longer, so that a position is found by reading a little.
const EXTENT_LEN_MAX: u64 = 1024 * 1024;

impl Extent {
    pub(crate) fn of(header: &Header, offset: u64) -> Self {
        Self {
            from_offset: offset,
            to_offset: offset + header.frame_len(),
            first: header.first,
            next: header.next(),
            first_lsn: header.lsn,
            last_lsn: header.lsn,
        }
    }

    /// Takes `other` in, where it follows closely; whether it did.
    fn extend(&mut self, other: &Self) -> bool {
        let near = other.from_offset >= self.to_offset
            && other.from_offset - self.to_offset <= GAP_MAX
            && other.to_offset - self.from_offset <= EXTENT_LEN_MAX;
        if near && other.first == self.next {
            self.to_offset = other.to_offset;
            self.next = other.next;
            self.last_lsn = other.last_lsn;
            return true;
        }
        false
    }
}

/// Adds `extent` behind `extents`, joined with the last where they are close.
pub(crate) fn push_extent(extents: &mut Vec<Extent>, extent: Extent) {
    if !extents.last_mut().is_some_and(|last| last.extend(&extent)) {
        extents.push(extent);
    }
}

/// A named segment.
pub(crate) struct Segment {
    pub(crate) header: SegmentHeader,
    pub(crate) path: PathBuf,
    pub(crate) len: u64,
    /// Bytes that it takes on the disk.
    pub(crate) held: AtomicU64,
    /// Live bytes when holes were last punched.
    pub(crate) punched_at: AtomicU64,
    disk: Arc<dyn Disk>,
    /// Kept open while it is written only: a large log must not use up the process's file descriptors.
    file: Mutex<Option<Arc<dyn DiskFile>>>,
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Segment").field("path", &self.path).finish_non_exhaustive()
    }
}

/// `segment-000000000000001f.log`
pub(crate) fn segment_name(seq: u64) -> String {
    format!("segment-{seq:016x}.log")
}

pub(crate) fn seq_of(name: &str) -> Option<u64> {
    u64::from_str_radix(name.strip_prefix("segment-")?.strip_suffix(".log")?, 16).ok()
}

/// Makes a file of zeros, synced: later writes within it change no metadata, so that a sync costs one disk write.
pub(crate) fn prepare(disk: &dyn Disk, path: &Path, len: u64) -> io::Result<()> {
    let file = disk.create(path)?;
    let zeros = vec![0; ZEROS_LEN.min(len as usize)];
    let mut offset = 0;
    while offset < len {
        let some = (len - offset).min(zeros.len() as u64);
        file.write_at(&zeros[..some as usize], offset)?;
        offset += some;
    }
    file.sync()
}

impl Segment {
    /// Where frames and the footer must end.
    pub(crate) fn room_end(&self) -> u64 {
        self.len - TRAILER_LEN
    }

    /// Opens a named segment; `None` where its header does not hold.
    pub(crate) fn open(disk: &Arc<dyn Disk>, path: &Path) -> io::Result<Option<Self>> {
        let file = disk.open(path)?;
        let len = file.len()?;
        if len < FRAMES_START + TRAILER_LEN {
            return Ok(None);
        }
        let mut page = vec![0; FRAMES_START as usize];
        file.read_at(&mut page, 0)?;
        let Some(header) = SegmentHeader::decode(&page) else { return Ok(None) };
        Ok(Some(Self {
            header,
            path: path.to_owned(),
            len,
            held: AtomicU64::new(file.allocated()?.min(len)),
            punched_at: AtomicU64::new(u64::MAX),
            disk: disk.clone(),
            file: Mutex::new(None),
        }))
    }

    /// Writes the header into `file`, which holds zeros or an old segment, and makes it durable. `path` is the name it will have.
    pub(crate) fn start(
        disk: &Arc<dyn Disk>,
        file: Arc<dyn DiskFile>,
        path: PathBuf,
        header: SegmentHeader,
    ) -> io::Result<Self> {
        let len = file.len()?;
        // With the old trailer gone, nobody takes the old footer for this segment's.
        file.write_at(&[0; TRAILER_LEN as usize], len - TRAILER_LEN)?;
        file.write_at(&header.encode(), 0)?;
        file.sync()?;
        Ok(Self {
            header,
            path,
            len,
            held: AtomicU64::new(len),
            punched_at: AtomicU64::new(u64::MAX),
            disk: disk.clone(),
            file: Mutex::new(Some(file)),
        })
    }

    /// The file. Fails with `NotFound` when the segment was recycled meanwhile.
    pub(crate) fn file(&self) -> io::Result<Arc<dyn DiskFile>> {
        match &*self.file.lock() {
            Some(file) => Ok(file.clone()),
            None => self.disk.open(&self.path),
        }
    }

    /// Nothing is written to it any more.
    pub(crate) fn close_file(&self) {
        *self.file.lock() = None;
    }

    /// All of it up to the trailer.
    pub(crate) fn read_whole(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.room_end() as usize];
        self.file()?.read_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// Bytes on the disk.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_segment_header_has_the_bytes_of_the_format() {
        let header = SegmentHeader {
            log: LogId(Uuid::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10)),
            seq: 0x1112,
            seed: 0x2122_2324,
            replaces: 0x31,
            first_group: 0x41,
            first_lsn: Lsn(0x51),
        };
        let page = header.encode();
        let mut expected = Vec::new();
        expected.extend_from_slice(b"HYDRLOG1");
        expected.extend(1..=16);
        expected.extend_from_slice(&[0x12, 0x11, 0, 0, 0, 0, 0, 0, 0x31, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend_from_slice(&[
            0x41, 0, 0, 0, 0, 0, 0, 0, 0x51, 0, 0, 0, 0, 0, 0, 0, 0x24, 0x23, 0x22, 0x21,
        ]);
        let crc = crc32fast::hash(&expected).to_le_bytes();
        expected.extend_from_slice(&crc);
        assert_eq!(&page[..64], expected);
        assert_eq!(SegmentHeader::decode(&page), Some(header));
    }

    #[test]
    fn close_frames_of_a_stream_share_an_extent_and_far_ones_do_not() {
        let extent = |from: u64, to: u64, first: u64| Extent {
            from_offset: from,
            to_offset: to,
            first: Position(first),
            next: Position(first + 1),
            first_lsn: Lsn(first),
            last_lsn: Lsn(first),
        };
        let mut extents = Vec::new();
        push_extent(&mut extents, extent(4096, 5000, 0));
        push_extent(&mut extents, extent(5000 + GAP_MAX, 80_000, 1));
        assert_eq!(extents.len(), 1);
        push_extent(&mut extents, extent(80_001 + GAP_MAX, 160_000, 2));
        assert_eq!(extents.len(), 2, "the gap is too wide");
        push_extent(&mut extents, extent(160_000, 160_100, 4));
        assert_eq!(extents.len(), 3, "a position is missing in between");
        push_extent(&mut extents, extent(160_100, 160_001 + EXTENT_LEN_MAX, 5));
        assert_eq!(extents.len(), 4, "it would be too long");
    }
}
