//! The one thread that writes: gathers what waits, writes it, syncs once, publishes, answers.

use std::{
    any::Any,
    io,
    path::PathBuf,
    sync::{Arc, atomic::Ordering, mpsc},
    time::{Duration, Instant},
};

use hydrant_types::{Clock, Lsn};
use tracing::{info, warn};

use crate::{
    calls::Calls,
    disk::{DiskFile, is_full},
    error,
    footer::{Contents, PER_FRAME_MAX},
    frame::FrameKind,
    group::{CloseAnswer, Frame, Group, Request, Waiting},
    metrics::Metrics,
    segment::{Extent, FRAMES_START, Segment, TRAILER_LEN},
    store::{Store, Waste},
};

/// A group is closed at this size: the first in it should not wait for ever.
const GROUP_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Frames below this are gathered into one write; larger ones are written from where they are.
const GATHER_MAX: usize = 32 * 1024;
/// How often the checkpoint is written while something changes. Also bounds how much a damaged tail can make unaccountable.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);

pub(crate) struct Writer {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) fatal: Arc<dyn Fn(&str) + Send + Sync>,
    pub(crate) store: Store,
    pub(crate) metrics: Metrics,
    pub(crate) calls: Calls,
    pub(crate) active: Option<Active>,
    pub(crate) next_lsn: Lsn,
    pub(crate) next_group: u64,
    pub(crate) checkpoint_due: Option<Instant>,
    pub(crate) state: State,
    /// Held until the last byte is written, not until the last user is gone.
    pub(crate) _lock: Box<dyn Any + Send + Sync>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    /// Appends are refused until space frees.
    Full,
    /// The disk failed: nothing is written any more.
    Failed,
}

/// The segment that is written.
pub(crate) struct Active {
    pub(crate) segment: Arc<Segment>,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) offset: u64,
    /// At least what the footer will take.
    pub(crate) footer_len: u64,
}

/// Why there is no room for a group.
enum Refusal {
    Full(String),
    Failed,
}

impl Writer {
    /// Runs until told to stop, until all askers are gone, or until the disk fails.
    pub(crate) fn run(mut self, requests: &mpsc::Receiver<Request>) {
        // What the last process could not give back any more.
        self.maintain();
        let mut held = None;
        while self.state != State::Failed {
            let first = match held.take() {
                Some(request) => Some(request),
                None => match requests.recv_timeout(self.wait()) {
                    Ok(request) => Some(request),
                    Err(mpsc::RecvTimeoutError::Timeout) => None,
                    Err(mpsc::RecvTimeoutError::Disconnected) => break,
                },
            };
            let mut stop = false;
            if first.is_none()
                && let Err(failure) = self.store.drop_call_files(self.clock.now())
            {
                // The next look tries again.
                warn!(%failure, "calls that nobody may ask for any more are not removed");
            }
            if let Some(first) = first {
                let gathered = self.gather(first, requests);
                (held, stop) = (gathered.held, gathered.stop);
                self.commit(gathered.group);
            }
            if stop {
                break;
            }
            if self.store.shared.dirty.load(Ordering::Acquire) {
                self.checkpoint_soon();
            }
            if self.state != State::Failed && self.checkpoint_due.is_some_and(|due| due <= Instant::now()) {
                self.maintain();
            }
        }
        if self.state != State::Failed && self.seal_active().is_ok() {
            self.maintain();
        }
        held.into_iter().chain(requests.try_iter()).for_each(refuse_late);
    }

    fn wait(&self) -> Duration {
        self.checkpoint_due.map_or(CHECKPOINT_INTERVAL, |due| due.saturating_duration_since(Instant::now()))
    }

    fn checkpoint_soon(&mut self) {
        self.checkpoint_due.get_or_insert_with(|| Instant::now() + CHECKPOINT_INTERVAL);
    }

    /// The process must end: what is durable only a new start can find out.
    fn fail(&mut self, step: &str, failure: &io::Error) {
        self.state = State::Failed;
        (self.fatal)(&format!("{step}: {failure}"));
    }

    /// Takes what waits, as much as one group may hold.
    fn gather(&self, first: Request, requests: &mpsc::Receiver<Request>) -> Gathered {
        let capacity = self.store.limits.segment_len - FRAMES_START - TRAILER_LEN;
        let mut limit = None;
        let mut cost = 0;
        let mut gathered = Gathered { group: Group::default(), held: None, stop: false };
        let streams = self.store.shared.streams.lock();
        let now = self.clock.now();
        let mut next = Some(first);
        while let Some(request) = next {
            match request {
                Request::Stop => gathered.stop = true,
                Request::Wake => {}
                Request::Close(stream, answer) => gathered.group.close(stream, answer, &streams),
                Request::Append(append) if append.cost() > capacity => {
                    let reason =
                        format!("a call of {} bytes is larger than a segment", append.payload.bytes.len());
                    let _ = append.answer.send(Err(error::Append::Full { reason }));
                }
                Request::Append(append) => {
                    let limit = *limit.get_or_insert_with(|| match self.room() {
                        room if append.cost() <= room => room.min(GROUP_BYTES_MAX.max(append.cost())),
                        _ => capacity.min(GROUP_BYTES_MAX.max(append.cost())),
                    });
                    if cost + append.cost() > limit {
                        gathered.held = Some(Request::Append(append));
                        break;
                    }
                    cost += append.cost();
                    gathered.group.add(append, &streams, &self.calls, now);
                }
            }
            if gathered.stop {
                break;
            }
            next = requests.try_recv().ok();
        }
        gathered
    }

    /// Bytes that the active segment still takes.
    fn room(&self) -> u64 {
        let used = |active: &Active| active.offset + active.footer_len;
        self.active.as_ref().map_or(0, |active| active.segment.room_end().saturating_sub(used(active)))
    }

    /// Writes a group, syncs it, publishes it and answers.
    fn commit(&mut self, mut group: Group) {
        let duplicates = group.waiting.iter().filter(|call| call.appended.duplicate).count();
        self.metrics.duplicates(duplicates);
        let (mut waiting, closes) = (std::mem::take(&mut group.waiting), std::mem::take(&mut group.closes));
        if !group.frames.is_empty() {
            match self.make_room(group.cost()) {
                Ok(()) => {}
                Err(Refusal::Full(reason)) => {
                    self.set_full(&reason);
                    // Seen all the same; on disk only the last time counts for which there was room.
                    let now = self.clock.now();
                    let seen = waiting.iter().filter(|call| call.was_stored).filter_map(|call| call.call);
                    seen.for_each(|call| self.calls.remember(call, now));
                    Group::refuse(waiting, &reason);
                    return self.close(closes);
                }
                Err(Refusal::Failed) => return Group::give_up(waiting, closes),
            }
            let (begun, len) = (Instant::now(), group.len());
            if let Err(failure) = self.write(group.frames, len, &mut waiting) {
                self.fail("write and sync the record log", &failure);
                return Group::give_up(waiting, closes);
            }
            self.metrics.committed(waiting.len(), len, begun.elapsed());
            self.publish(&waiting);
        }
        Group::answer(waiting);
        self.close(closes);
    }

    fn set_full(&mut self, reason: &str) {
        if self.state == State::Running {
            warn!(reason, "the record log is full: records are refused until space frees");
            self.state = State::Full;
        }
    }

    /// Writes and syncs the frames at the end of the active segment, giving them their numbers.
    fn write(&mut self, frames: Vec<Frame>, len: u64, waiting: &mut [Waiting]) -> io::Result<()> {
        let active = self.active.as_mut().expect("make_room leaves an active segment");
        let seed = active.segment.header.seed;
        let (group_start, count) = (active.offset, frames.len() as u64);
        let mut offset = group_start;
        let mut gathered: Vec<u8> = Vec::new();
        for mut frame in frames {
            frame.header.lsn = self.next_lsn;
            frame.header.group = self.next_group;
            frame.header.group_len = len as u32;
            frame.header.group_offset = (offset - group_start) as u32;
            self.next_lsn = self.next_lsn.next();
            frame.header.encode(&mut frame.bytes, seed);
            if frame.header.kind == FrameKind::Records {
                waiting[frame.waiting].extent = Some(Extent::of(&frame.header, offset));
            }
            if frame.bytes.len() <= GATHER_MAX {
                gathered.extend_from_slice(&frame.bytes);
            } else {
                flush(active.file.as_ref(), &mut gathered, offset)?;
                active.file.write_at(&frame.bytes, offset)?;
            }
            offset += frame.bytes.len() as u64;
        }
        flush(active.file.as_ref(), &mut gathered, offset)?;
        let begun = Instant::now();
        active.file.sync()?;
        self.metrics.synced(begun.elapsed());
        active.offset = offset;
        active.footer_len += count * PER_FRAME_MAX;
        self.next_group += 1;
        Ok(())
    }

    /// What was written is durable: readers may see it.
    fn publish(&mut self, waiting: &[Waiting]) {
        let now = self.clock.now();
        let end = self.active.as_ref().expect("a group was written into it").offset;
        let calls: Vec<_> = waiting.iter().filter_map(|call| call.call).collect();
        {
            let mut streams = self.store.shared.streams.lock();
            streams.advance(end, self.next_lsn, self.next_group, &calls);
            for call in waiting {
                if let Some(extent) = call.extent {
                    streams.add(call.stream, extent);
                    streams.mark_changed(call.stream);
                }
            }
        }
        calls.into_iter().for_each(|call| self.calls.remember(call, now));
        self.store.shared.changed.notify_one();
        self.checkpoint_soon();
    }

    /// Closes streams: they are closed once the checkpoint says so.
    fn close(&mut self, closes: Vec<(hydrant_types::StreamId, CloseAnswer)>) {
        if closes.is_empty() {
            return;
        }
        let mut nexts = Vec::new();
        {
            let mut streams = self.store.shared.streams.lock();
            for (stream, answer) in closes {
                streams.close(stream);
                nexts.push((streams.point(stream).unwrap_or_default().next, answer));
            }
        }
        self.store.shared.changed.notify_one();
        let written = self.checkpoint();
        for (next, answer) in nexts {
            let _ = answer.send(match &written {
                Ok(()) => Ok(next),
                Err(Refusal::Full(reason)) => Err(error::Append::Full { reason: reason.clone() }),
                Err(Refusal::Failed) => Err(error::Append::OutcomeUnknown),
            });
        }
    }

    /// Makes sure that a group of this cost fits into the active segment.
    fn make_room(&mut self, cost: u64) -> Result<(), Refusal> {
        if self.active.is_some() && cost <= self.room() {
            return Ok(());
        }
        if let (Some(active), Some(contents)) =
            (&mut self.active, self.store.shared.streams.lock().open_contents())
        {
            // Most frames add less than they might.
            active.footer_len = contents.footer_len();
        }
        if self.active.is_some() && cost <= self.room() {
            return Ok(());
        }
        // Sealed first: if nothing in it is needed any more, it is the one to be used again.
        self.seal_active()?;
        if self.store.free.is_empty() && !self.store.find_waste(None).is_empty() {
            self.maintain();
            if self.state == State::Failed {
                return Err(Refusal::Failed);
            }
        }
        let (path, opened) = self.open_free_file()?;
        let header = self.store.next_header(self.next_lsn, self.next_group);
        let seq = header.seq;
        let started = self.store.start((&path, opened), header, &[]);
        let started = started.and_then(|segment| Ok((segment.file()?, segment)));
        match started {
            Ok((file, segment)) => {
                let contents = Contents {
                    end: FRAMES_START,
                    next_lsn: self.next_lsn,
                    next_group: self.next_group,
                    ..Contents::default()
                };
                self.store.shared.streams.lock().open_segment(seq, contents);
                self.active = Some(Active { segment, file, offset: FRAMES_START, footer_len: 0 });
                if self.state == State::Full {
                    info!("the record log has room again");
                    self.state = State::Running;
                }
                Ok(())
            }
            Err(failure) => {
                self.fail("start a segment", &failure);
                Err(Refusal::Failed)
            }
        }
    }

    /// A file for the next segment. Where the process has no descriptor for it nothing was done yet, and it is tried again with the next call.
    fn open_free_file(&mut self) -> Result<(PathBuf, Arc<dyn DiskFile>), Refusal> {
        let path = self.store.take_file().map_err(Refusal::Full)?;
        match self.store.disk.open(&path) {
            Ok(opened) => Ok((path, opened)),
            Err(failure) if is_full(&failure) => {
                self.store.free.push(path);
                Err(Refusal::Full(format!("open a segment: {failure}")))
            }
            Err(failure) => {
                self.fail("open a segment", &failure);
                Err(Refusal::Failed)
            }
        }
    }

    /// Writes the active segment's footer. Without one it is scanned at the next start.
    fn seal_active(&mut self) -> Result<(), Refusal> {
        let Some(active) = self.active.take() else { return Ok(()) };
        let contents = self.store.shared.streams.lock().open_contents().expect("the active segment is open");
        match contents.seal(&active.segment, active.file.as_ref()) {
            Ok(sealed) => {
                drop(contents);
                self.store.shared.streams.lock().sealed(&sealed);
                active.segment.close_file();
                Ok(())
            }
            Err(failure) => {
                self.fail("seal a segment", &failure);
                Err(Refusal::Failed)
            }
        }
    }

    /// Writes the checkpoint; a full disk is no failure, the old one holds.
    fn checkpoint(&mut self) -> Result<(), Refusal> {
        self.store.shared.dirty.store(false, Ordering::Release);
        match self.store.write_checkpoint(self.next_lsn, self.next_group) {
            Ok(()) => Ok(()),
            Err(failure) if is_full(&failure) => {
                self.store.shared.dirty.store(true, Ordering::Release);
                Err(Refusal::Full(format!("write the checkpoint: {failure}")))
            }
            Err(failure) => {
                self.fail("write the checkpoint", &failure);
                Err(Refusal::Failed)
            }
        }
    }

    /// Writes the checkpoint, then gives back what is not needed any more.
    fn maintain(&mut self) {
        self.checkpoint_due = None;
        let active = self.active.as_ref().map(|active| active.segment.header.seq);
        let Waste { dead, mostly_dead } = self.store.find_waste(active);
        match self.checkpoint() {
            Ok(()) => {}
            Err(Refusal::Full(reason)) => {
                return warn!(reason, "nothing can be given back until the checkpoint is written");
            }
            Err(Refusal::Failed) => return,
        }
        if let Err(failure) = self.store.recycle(&dead, &self.calls, self.clock.now()) {
            return self.fail("recycle segments", &failure);
        }
        self.store.punch(&mostly_dead);
        let segments = self.store.shared.segments.lock().len();
        let free = self.store.free.len() as u64;
        let bytes = self.store.held_bytes() + free * self.store.limits.segment_len;
        self.metrics.segments(segments as u64, free, bytes);
    }
}

/// What one look into the queue gave.
struct Gathered {
    group: Group,
    /// Did not fit any more.
    held: Option<Request>,
    stop: bool,
}

/// Writes what was gathered so that it ends at `end`.
fn flush(file: &dyn DiskFile, gathered: &mut Vec<u8>, end: u64) -> io::Result<()> {
    if !gathered.is_empty() {
        file.write_at(gathered, end - gathered.len() as u64)?;
        gathered.clear();
    }
    Ok(())
}

/// Came after the stop: nothing of it is stored.
fn refuse_late(request: Request) {
    match request {
        Request::Append(append) => drop(append.answer.send(Err(error::Append::ShuttingDown))),
        Request::Close(_, answer) => drop(answer.send(Err(error::Append::ShuttingDown))),
        Request::Wake | Request::Stop => {}
    }
}
