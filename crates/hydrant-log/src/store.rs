//! The log's files: which become segments, which are recycled, what is given back to the disk.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use hydrant_types::{Entropy, Lsn, Position, Timestamp};
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tracing::{error, warn};

use crate::{
    DataKeys,
    calls::{self, Calls, REMEMBERED_MS, is_young},
    checkpoint::Checkpoint,
    disk::{Disk, DiskFile, is_full},
    footer::Footer,
    segment::{Extent, FRAMES_START, Segment, SegmentHeader, prepare, segment_name},
    streams::{Part, Source, Streams},
};

/// Free files kept beyond what is in use, so that the next segment need not be made while callers wait: making one costs as much as filling it
/// does. A GiB of them, so that a log that grows and shrinks with its deliveries does not make and remove the same files over and over.
const SPARE_FILES_MAX: u64 = 16;
/// A small log keeps fewer: what is spare is not in use.
const SPARE_SHARE: u64 = 8;
const SPARE_FILES_MIN: u64 = 2;

/// What the writer and everybody else share.
pub(crate) struct Shared {
    pub(crate) streams: Mutex<Streams>,
    pub(crate) segments: Mutex<BTreeMap<u64, Arc<Segment>>>,
    pub(crate) changed: Notify,
    /// Something was trimmed, sealed or forgotten that the checkpoint does not have yet.
    pub(crate) dirty: AtomicBool,
    /// Given once the streams are known, which is after the log is open.
    pub(crate) keys: RwLock<Option<Arc<dyn DataKeys>>>,
}

pub(crate) struct Limits {
    pub(crate) segment_len: u64,
    pub(crate) bytes_max: u64,
    pub(crate) free_min: u64,
}

impl Limits {
    fn spare_files(&self) -> usize {
        let share = self.bytes_max / SPARE_SHARE / self.segment_len;
        share.clamp(SPARE_FILES_MIN, SPARE_FILES_MAX) as usize
    }
}

pub(crate) struct Store {
    pub(crate) dir: PathBuf,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) limits: Limits,
    pub(crate) shared: Arc<Shared>,
    pub(crate) checkpoint: Arc<Mutex<Checkpoint>>,
    pub(crate) free: Vec<PathBuf>,
    pub(crate) call_files: Vec<(PathBuf, Timestamp)>,
}

type LiveParts = Vec<(Position, Part)>;

/// What can be given back to the disk.
pub(crate) struct Waste {
    pub(crate) dead: Vec<Arc<Segment>>,
    /// With their live bytes, and where these are.
    pub(crate) mostly_dead: Vec<(Arc<Segment>, u64, LiveParts)>,
}

impl Waste {
    pub(crate) fn is_empty(&self) -> bool {
        self.dead.is_empty() && self.mostly_dead.is_empty()
    }
}

impl Store {
    /// A file for the next segment, made where there is none and the limits allow it; or why there is none.
    pub(crate) fn take_file(&mut self) -> Result<PathBuf, String> {
        let Limits { segment_len, bytes_max, free_min } = self.limits;
        if self.held_bytes() + segment_len > bytes_max {
            return Err(format!("log.bytes_max ({bytes_max} bytes) is reached"));
        }
        if self.free.len() > 1
            && let Some(path) = self.free.pop()
        {
            return Ok(path);
        }
        let free =
            self.disk.free_bytes(&self.dir).map_err(|e| format!("ask the disk for its free space: {e}"))?;
        // The last one stays for the start after a crash, which copies the tail, unless there would be room for that anyhow.
        if let Some(path) = self.free.pop_if(|_| free >= segment_len) {
            return Ok(path);
        }
        if free < free_min + segment_len {
            return Err(format!(
                "a new segment needs {segment_len} bytes beyond log.free_min ({free_min}), and {free} are free on its disk"
            ));
        }
        self.make_file(segment_len).map_err(|e| format!("make a segment: {e}"))
    }

    /// Makes a file of zeros.
    pub(crate) fn make_file(&self, len: u64) -> io::Result<PathBuf> {
        let path = self.free_path();
        match prepare(self.disk.as_ref(), &path, len) {
            Ok(()) => Ok(path),
            Err(failure) => {
                let _ = self.disk.remove(&path);
                Err(failure)
            }
        }
    }

    fn free_path(&self) -> PathBuf {
        self.dir.join(format!("free-{}.seg", self.entropy.uuid().simple()))
    }

    /// A header for the next segment.
    pub(crate) fn next_header(&self, first_lsn: Lsn, first_group: u64) -> SegmentHeader {
        let mut checkpoint = self.checkpoint.lock();
        checkpoint.last_seq += 1;
        SegmentHeader {
            log: checkpoint.log_id,
            seq: checkpoint.last_seq,
            seed: self.entropy.uuid().as_u128() as u32,
            replaces: 0,
            first_group,
            first_lsn,
        }
    }

    /// Turns a free file into a segment that begins with `frames`: durable, then named. `Err` also where it may have been named.
    pub(crate) fn start(
        &self,
        (free, file): (&Path, Arc<dyn DiskFile>),
        header: SegmentHeader,
        frames: &[u8],
    ) -> io::Result<Arc<Segment>> {
        if !frames.is_empty() {
            file.write_at(frames, FRAMES_START)?;
        }
        let path = self.dir.join(segment_name(header.seq));
        let segment = Arc::new(Segment::start(&self.disk, file, path, header)?);
        self.disk.rename(free, &segment.path)?;
        self.disk.sync_dir(&self.dir)?;
        self.shared.segments.lock().insert(segment.header.seq, segment.clone());
        Ok(segment)
    }

    /// Bytes of segments on the disk, free ones not counted.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.shared.segments.lock().values().map(|segment| segment.held_bytes()).sum()
    }

    pub(crate) fn write_checkpoint(&mut self, next_lsn: Lsn, next_group: u64) -> io::Result<()> {
        let mut checkpoint = self.checkpoint.lock();
        let oldest_segment = self.shared.segments.lock().keys().next().copied();
        checkpoint.streams = self.shared.streams.lock().points(oldest_segment);
        checkpoint.next_lsn = next_lsn.0;
        checkpoint.next_group = next_group;
        match checkpoint.write(self.disk.as_ref(), &self.dir) {
            // A checkpoint is what frees space: a file that is free anyhow makes room for it.
            Err(failure) if is_full(&failure) && !self.free.is_empty() => {
                self.free.drain(..).try_for_each(|path| self.disk.remove(&path))?;
                checkpoint.write(self.disk.as_ref(), &self.dir)
            }
            written => written,
        }
    }

    /// Segments that nobody needs, the one that is written excepted.
    fn dead(&self, active: Option<u64>) -> Vec<Arc<Segment>> {
        let streams = self.shared.streams.lock();
        let segments = self.shared.segments.lock();
        let is_dead = |seq: u64| Some(seq) != active && streams.live_bytes(seq) == 0;
        segments.values().filter(|segment| is_dead(segment.header.seq)).cloned().collect()
    }

    /// What can be given back. To be asked *before* a checkpoint and acted on after it: what is trimmed in between is not in the checkpoint,
    /// and a start that finds neither the trim nor the records would take them for lost, or give their positions out again.
    pub(crate) fn find_waste(&self, active: Option<u64>) -> Waste {
        let dead = self.dead(active);
        let streams = self.shared.streams.lock();
        let segments = self.shared.segments.lock();
        let mostly_dead = segments.values().filter_map(|segment| {
            const MOSTLY_DEAD: u64 = 4;
            let seq = segment.header.seq;
            let live = streams.live_bytes(seq);
            let is_candidate =
                Some(seq) != active && live > 0 && live != segment.punched_at.load(Ordering::Relaxed);
            let is_worth_it = live * MOSTLY_DEAD <= segment.held_bytes();
            (is_candidate && is_worth_it).then(|| (segment.clone(), live, streams.live_parts(seq)))
        });
        Waste { mostly_dead: mostly_dead.collect(), dead }
    }

    /// Makes segments that nobody needs free.
    pub(crate) fn recycle(&mut self, dead: &[Arc<Segment>], calls: &Calls, now: Timestamp) -> io::Result<()> {
        let mut kept_calls = false;
        for segment in dead {
            kept_calls |= self.keep_calls(segment, calls, now)?;
        }
        if kept_calls {
            self.disk.sync_dir(&self.dir)?;
        }
        for segment in dead {
            self.shared.segments.lock().remove(&segment.header.seq);
            if let Err(failure) = self.retire(&segment.path, segment.len) {
                self.shared.segments.lock().insert(segment.header.seq, segment.clone());
                return Err(failure);
            }
        }
        if !dead.is_empty() {
            self.disk.sync_dir(&self.dir)?;
        }
        self.drop_call_files(now)
    }

    /// Makes a file free, or removes it where there are enough or it cannot be used again. The directory is not synced.
    pub(crate) fn retire(&mut self, path: &Path, len: u64) -> io::Result<()> {
        let room = self.limits.bytes_max.saturating_sub(self.held_bytes());
        let is_wanted = self.free.len() < self.limits.spare_files()
            && (self.free.len() as u64 + 1) * self.limits.segment_len <= room;
        // Writing into a hole would ask the disk for room, which it may not have by then.
        if !is_wanted || len != self.limits.segment_len || self.disk.open(path)?.allocated()? < len {
            return self.disk.remove(path);
        }
        let free = self.free_path();
        self.disk.rename(path, &free)?;
        self.free.push(free);
        Ok(())
    }

    /// Takes over the free files that a start found; those that were not made to their end, or are too many, are removed.
    pub(crate) fn take_over_free(&mut self, found: Vec<PathBuf>) -> io::Result<()> {
        for path in found {
            let file = self.disk.open(&path)?;
            let len = self.limits.segment_len;
            if self.free.len() < self.limits.spare_files() && file.len()? == len && file.allocated()? >= len {
                self.free.push(path);
            } else {
                self.disk.remove(&path)?;
            }
        }
        Ok(())
    }

    /// Keeps the calls of a segment that is about to go; whether there were any.
    fn keep_calls(&mut self, segment: &Segment, known: &Calls, now: Timestamp) -> io::Result<bool> {
        let since = Timestamp(now.0.saturating_sub(REMEMBERED_MS));
        let Some(footer) = Footer::read(segment, since)? else { return Ok(false) };
        let kept: Vec<_> = footer.calls.iter().filter_map(|call| known.get(&call.id, now)).collect();
        let Some(newest) = kept.iter().map(|call| call.seen).max() else { return Ok(false) };
        let path = self.dir.join(calls::file_name(segment.header.seq));
        match calls::write_file(self.disk.as_ref(), &path, &kept) {
            Ok(()) => {
                // A start that died here left one already, perhaps torn: it is this one now, and goes when this one may.
                self.call_files.retain(|(known, _)| *known != path);
                self.call_files.push((path, newest));
                Ok(true)
            }
            // Space comes first: these are only forgotten if the process ends within five minutes.
            Err(failure) if is_full(&failure) => {
                warn!(%failure, calls = kept.len(), "no room to keep stored calls over a restart");
                Ok(false)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Removes the calls that nobody may ask for any more.
    pub(crate) fn drop_call_files(&mut self, now: Timestamp) -> io::Result<()> {
        while let Some(at) = self.call_files.iter().position(|(_, newest)| !is_young(*newest, now)) {
            self.disk.remove(&self.call_files[at].0)?;
            self.call_files.swap_remove(at);
        }
        Ok(())
    }

    /// Gives back the space between what few records still need in old segments.
    pub(crate) fn punch(&self, mostly_dead: &[(Arc<Segment>, u64, LiveParts)]) {
        for (segment, live, parts) in mostly_dead {
            if let Err(failure) = punch(segment, parts) {
                error!(segment = %segment.path.display(), %failure, "dead space cannot be given back");
            }
            segment.punched_at.store(*live, Ordering::Relaxed);
        }
    }
}

fn punch(segment: &Segment, parts: &LiveParts) -> io::Result<()> {
    const PAGE: u64 = 4096;
    let Some(footer) = Footer::read(segment, Timestamp(u64::MAX))? else { return Ok(()) };
    let file = segment.file()?;
    let mut live = Vec::new();
    for (trimmed, part) in parts {
        let Some(extents) = part.extents(segment, file.as_ref())? else { return Ok(()) };
        live.extend(
            extents.iter().filter(|extent| extent.next > *trimmed).map(|e| (e.from_offset, e.to_offset)),
        );
    }
    live.sort_unstable();
    live.push((footer.end, footer.end));
    let mut from = FRAMES_START;
    for (start, end) in live {
        let (first, last) = (from.next_multiple_of(PAGE), start / PAGE * PAGE);
        if last > first {
            file.punch(first, last - first)?;
        }
        from = from.max(end);
    }
    segment.held.store(file.allocated()?.min(segment.len), Ordering::Relaxed);
    Ok(())
}

impl Part {
    /// Where the frames are; `None` where that does not check.
    pub(crate) fn extents(&self, segment: &Segment, file: &dyn DiskFile) -> io::Result<Option<Vec<Extent>>> {
        match &self.source {
            Source::Extents(extents) => Ok(Some(extents.clone())),
            Source::Footer(at) => at.read(segment, file),
        }
    }

    /// As [`Part::extents`], from position `from` on, and by reading through the whole segment where they do not check.
    pub(crate) fn extents_from(
        &self,
        segment: &Segment,
        file: &dyn DiskFile,
        from: Position,
    ) -> io::Result<Vec<Extent>> {
        let mut extents = match (self.extents(segment, file)?, &self.source) {
            (Some(extents), _) => extents,
            (None, Source::Footer(at)) => vec![at.whole_segment(segment, self.first, self.next)],
            (None, Source::Extents(_)) => Vec::new(),
        };
        extents.drain(..extents.partition_point(|extent| extent.next <= from));
        Ok(extents)
    }
}
