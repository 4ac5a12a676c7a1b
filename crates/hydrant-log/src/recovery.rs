//! What a start finds: footers of sealed segments, frames of the last one.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use hydrant_types::{Lsn, Timestamp};
use tracing::warn;

use crate::{
    calls::{self, KnownCall},
    checkpoint::Checkpoint,
    disk::Disk,
    footer::Footer,
    scan::{Known, Scan, scan},
    segment::{FRAMES_START, Segment, seq_of},
};

/// What was found.
#[derive(Default)]
pub(crate) struct Found {
    /// In order.
    pub(crate) segments: Vec<(Arc<Segment>, Held)>,
    /// The last one, where it has no footer.
    pub(crate) tail: Option<Tail>,
    /// Segments whose frames are in another one, with their length.
    pub(crate) replaced: Vec<(PathBuf, u64)>,
    /// Files ready to become segments, perhaps.
    pub(crate) free: Vec<PathBuf>,
    /// Calls of recycled segments, with the youngest in each file.
    pub(crate) call_files: Vec<(PathBuf, Timestamp)>,
    /// Every call that is in a footer, a frame or such a file.
    pub(crate) calls: Vec<KnownCall>,
    pub(crate) damage: Vec<Damage>,
    pub(crate) next_lsn: Lsn,
    pub(crate) next_group: u64,
    pub(crate) last_seq: u64,
}

/// What a segment holds.
pub(crate) enum Held {
    /// As its footer says.
    Footer(Footer),
    /// As its frames say: the footer does not check.
    Frames(Scan),
}

/// The last segment, not sealed.
pub(crate) struct Tail {
    pub(crate) segment: Segment,
    pub(crate) bytes: Vec<u8>,
    pub(crate) scan: Scan,
}

/// Something that does not check.
#[derive(Debug, Clone)]
pub(crate) struct Damage {
    pub(crate) path: PathBuf,
    pub(crate) offset: u64,
    pub(crate) first: Lsn,
    pub(crate) last: Lsn,
    pub(crate) reason: String,
    /// Whose records are missing nobody can tell: a start would lose or repeat positions.
    pub(crate) is_fatal: bool,
}

/// Reads what is in `dir`; changes nothing. Calls are read where one may have been seen at `calls_since` or later.
pub(crate) fn look(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    checkpoint: &Checkpoint,
    calls_since: Timestamp,
) -> io::Result<Found> {
    let mut found = Found {
        next_lsn: Lsn(checkpoint.next_lsn),
        next_group: checkpoint.next_group,
        last_seq: checkpoint.last_seq,
        ..Found::default()
    };
    let mut segments = BTreeMap::new();
    for name in disk.list(dir)? {
        let path = dir.join(&name);
        if let Some(seq) = seq_of(&name) {
            found.last_seq = found.last_seq.max(seq);
            segments.extend(found.open_segment(disk, path, seq, checkpoint)?.map(|segment| (seq, segment)));
        } else if name.starts_with("free-") {
            found.free.push(path);
        } else if calls::is_file_name(&name) {
            let calls = calls::read_file(disk.open(&path)?.as_ref())?;
            let newest = calls.iter().map(|call| call.seen).max().unwrap_or_default();
            found.call_files.push((path, newest));
            found.calls.extend(calls);
        }
    }
    let replaced: Vec<u64> = segments.values().map(|segment| segment.header.replaces).collect();
    let replaced = replaced.iter().filter_map(|seq| segments.remove(seq));
    found.replaced = replaced.map(|segment| (segment.path, segment.len)).collect();
    let mut segments = segments.into_values().peekable();
    while let Some(segment) = segments.next() {
        found.take(segment, segments.peek(), checkpoint, calls_since)?;
    }
    Ok(found)
}

impl Found {
    fn open_segment(
        &mut self,
        disk: &Arc<dyn Disk>,
        path: PathBuf,
        seq: u64,
        checkpoint: &Checkpoint,
    ) -> io::Result<Option<Segment>> {
        let reason = match Segment::open(disk, &path)? {
            Some(segment) if segment.header.seq != seq => "the segment's header is another segment's",
            Some(segment) if !checkpoint.owns(segment.header.log) => "the segment is another log's",
            Some(segment) => return Ok(Some(segment)),
            None => "the segment's header does not hold",
        };
        let (first, last) = (Lsn(0), Lsn(0));
        self.damage.push(Damage { path, offset: 0, first, last, reason: reason.to_owned(), is_fatal: true });
        Ok(None)
    }

    fn take(
        &mut self,
        segment: Segment,
        next: Option<&Segment>,
        checkpoint: &Checkpoint,
        calls_since: Timestamp,
    ) -> io::Result<()> {
        if let Some(mut footer) = Footer::read(&segment, calls_since)? {
            self.next_lsn = self.next_lsn.max(footer.next_lsn);
            self.next_group = self.next_group.max(footer.next_group);
            self.calls.append(&mut footer.calls);
            self.segments.push((Arc::new(segment), Held::Footer(footer)));
            return Ok(());
        }
        let bytes = segment.read_whole()?;
        let known = match next {
            Some(next) => {
                Known { synced_below: next.header.first_group, followed_by: Some(next.header.first_lsn) }
            }
            None => Known { synced_below: checkpoint.next_group, followed_by: None },
        };
        let scan = scan(&bytes, &segment.header, known);
        self.next_lsn = self.next_lsn.max(scan.next_lsn);
        self.next_group = self.next_group.max(scan.next_group);
        self.calls.extend(scan.frames.iter().filter_map(|frame| KnownCall::in_frame(&frame.header)));
        self.note_damage(&segment, &scan, checkpoint);
        match next {
            Some(_) => {
                warn!(segment = %segment.path.display(), "the footer does not hold; read the frames instead");
                self.segments.push((Arc::new(segment), Held::Frames(scan)));
            }
            None => self.tail = Some(Tail { segment, bytes, scan }),
        }
        Ok(())
    }

    fn note_damage(&mut self, segment: &Segment, scan: &Scan, checkpoint: &Checkpoint) {
        for hole in &scan.holes {
            // What the checkpoint counted shows as a gap in its stream's positions; what is younger would not.
            let is_fatal = hole.last_group >= checkpoint.next_group;
            let damage = Damage {
                path: segment.path.clone(),
                offset: hole.offset,
                first: hole.first,
                last: hole.last,
                reason: "frames here cannot be read".to_owned(),
                is_fatal,
            };
            warn!(segment = %damage.path.display(), damage.offset, first = %damage.first, last = %damage.last, is_fatal, "damaged");
            self.damage.push(damage);
        }
    }
}

impl Tail {
    /// The frames that are kept, sealed anew under `seed`, from the first frame's place to the last one's end. Damage stays damage.
    pub(crate) fn copy(&self, seed: u32) -> Vec<u8> {
        let mut copy = vec![0; (self.scan.end - FRAMES_START) as usize];
        for frame in &self.scan.frames {
            let from = frame.offset as usize;
            let to = from + frame.header.frame_len() as usize;
            let place = &mut copy[from - FRAMES_START as usize..to - FRAMES_START as usize];
            place.copy_from_slice(&self.bytes[from..to]);
            frame.header.encode(place, seed);
        }
        copy
    }
}
