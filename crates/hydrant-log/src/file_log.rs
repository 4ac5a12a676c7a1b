//! The record log in a directory of segment files.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::JoinHandle,
};

use async_trait::async_trait;
use hydrant_types::{Clock, Entropy, LogId, MetastoreId, Position, StreamId, Timestamp};
use parking_lot::{Mutex, RwLock};
use prometheus::Registry;
use tokio::sync::{Notify, Semaphore, oneshot};
use tracing::{info, warn};

use crate::{
    Append, Appended, Chunk, DataKeys, RecordLog, StreamTail,
    calls::{Calls, REMEMBERED_MS},
    checkpoint::Checkpoint,
    disk::{Disk, RealDisk},
    encryption::NONCE_LEN,
    error,
    footer::PER_FRAME_MAX,
    frame::HEADER_LEN,
    group::{AppendRequest, NamedCall, Request},
    metrics::Metrics,
    reader,
    recovery::{self, Found, Held, Tail},
    segment::{FRAMES_START, TRAILER_LEN, seq_of},
    store::{Limits, Shared, Store},
    streams::Streams,
    writer::{Active, State, Writer},
};

/// Bytes of calls that wait for the writer; more callers wait before they are queued.
const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Calls that wait for the writer; beyond them calls are refused.
const QUEUE_LEN_MAX: usize = 16 * 1024;
/// A segment has room for one frame at least.
const SEGMENT_LEN_MIN: u64 = FRAMES_START + HEADER_LEN as u64 + PER_FRAME_MAX + TRAILER_LEN;

/// Where the log is and how large it may become.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its directory; made where it is missing.
    pub dir: PathBuf,
    /// Most bytes of segments. At least two segments, or nothing can be written while one is waited for.
    pub bytes_max: u64,
    /// Free bytes that must be left on the disk.
    pub free_min: u64,
    /// Length of a segment. A call larger than one is refused.
    pub segment_len: u64,
}

impl Settings {
    /// 50 GiB at most, 1 GiB left free, segments of 64 MiB.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), bytes_max: 50 << 30, free_min: 1 << 30, segment_len: 64 << 20 }
    }
}

/// What the log takes from outside (design decision D16).
pub struct Deps {
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub entropy: Arc<dyn Entropy>,
    /// What happens when the disk fails under a write: the outcome is unknown, and only a new start can find out. If it returns, the log
    /// takes nothing more and writes nothing more.
    pub fatal: Arc<dyn Fn(&str) + Send + Sync>,
}

impl Deps {
    /// The operating system's disk; a failing write ends the process.
    pub fn system(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        let fatal = |reason: &str| {
            tracing::error!(
                reason,
                "the record log failed: ending, so that the next start finds out what is durable"
            );
            std::process::abort();
        };
        Self { disk: Arc::new(RealDisk), clock, entropy, fatal: Arc::new(fatal) }
    }
}

/// The record log in a directory of segment files.
pub struct FileLog {
    log_id: LogId,
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    shared: Arc<Shared>,
    checkpoint: Arc<Mutex<Checkpoint>>,
    requests: mpsc::SyncSender<Request>,
    queue: Arc<Semaphore>,
    entropy: Arc<dyn Entropy>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl FileLog {
    /// Opens the log in `settings.dir`, made there where it is missing, and recovers what is in it. Blocks.
    ///
    /// Dropping it without [`FileLog::shutdown`] finishes what is queued too, on the writer's own thread; the lock is given up after that.
    ///
    /// # Errors
    /// [`error::Open`].
    pub fn open(settings: Settings, deps: Deps, registry: &Registry) -> Result<Arc<Self>, error::Open> {
        let Settings { dir, bytes_max, free_min, segment_len } = settings;
        if segment_len < SEGMENT_LEN_MIN {
            return Err(error::Open::SegmentTooShort { segment_len, min: SEGMENT_LEN_MIN });
        }
        let disk = deps.disk.clone();
        disk.make_dir(&dir).map_err(failed("make the directory"))?;
        let lock = lock(disk.as_ref(), &dir)?;
        let checkpoint = read_or_make_checkpoint(disk.as_ref(), &dir, deps.entropy.as_ref())?;
        let now = deps.clock.now();
        let calls_since = Timestamp(now.0.saturating_sub(REMEMBERED_MS));
        let found =
            recovery::look(&disk, &dir, &checkpoint, calls_since).map_err(failed("read the segments"))?;
        refuse_damage(&found)?;
        let metrics = Metrics::new(registry).map_err(error::Open::Metrics)?;

        let log_id = checkpoint.log_id;
        let mut streams = Streams::default();
        streams.restore(&checkpoint.streams);
        let shared = Arc::new(Shared {
            streams: Mutex::new(streams),
            segments: Mutex::default(),
            changed: Notify::new(),
            dirty: AtomicBool::new(false),
            keys: RwLock::new(None),
        });
        let checkpoint = Arc::new(Mutex::new(checkpoint));
        let mut store = Store {
            dir: dir.clone(),
            disk: disk.clone(),
            entropy: deps.entropy.clone(),
            limits: Limits { segment_len, bytes_max, free_min },
            shared: shared.clone(),
            checkpoint: checkpoint.clone(),
            free: Vec::new(),
            call_files: Vec::new(),
        };
        let mut calls = Calls::default();
        let numbers = (found.next_lsn, found.next_group);
        let active =
            recover(&mut store, &mut calls, &metrics, found, now).map_err(failed("recover the log"))?;

        let (requests, receiver) = mpsc::sync_channel(QUEUE_LEN_MAX);
        let writer = Writer {
            clock: deps.clock,
            fatal: deps.fatal.clone(),
            store,
            metrics,
            calls,
            active,
            next_lsn: numbers.0,
            next_group: numbers.1,
            checkpoint_due: None,
            state: State::Running,
            _lock: lock,
        };
        let thread = std::thread::Builder::new()
            .name("record-log".to_owned())
            .spawn(move || {
                let _guard = PanicIsFatal(deps.fatal);
                writer.run(&receiver);
            })
            .map_err(failed("start the writer"))?;
        let queue = Arc::new(Semaphore::new(QUEUE_BYTES_MAX));
        let writer = Mutex::new(Some(thread));
        let entropy = deps.entropy;
        Ok(Arc::new(Self { log_id, dir, disk, shared, checkpoint, requests, queue, entropy, writer }))
    }

    /// Where reads get the keys of encrypted frames from now on. Until it is called, such frames answer `KeyMissing`; nothing else needs keys.
    pub fn set_data_keys(&self, keys: Arc<dyn DataKeys>) {
        *self.shared.keys.write() = Some(keys);
    }

    /// Finishes what is queued, writes footer and checkpoint, and ends the writer. Blocks. Appends are refused afterwards.
    pub fn shutdown(&self) {
        self.queue.close();
        if let Some(writer) = self.writer.lock().take() {
            let _ = self.requests.send(Request::Stop);
            if writer.join().is_err() {
                warn!("the record log's writer had panicked");
            }
        }
    }

    /// The metastore the log is registered with, once it is.
    pub fn metastore_binding(&self) -> Option<MetastoreId> {
        self.checkpoint.lock().metastore
    }

    /// Remembers the metastore the log is registered with; durable when it returns. Blocks.
    ///
    /// # Errors
    /// The checkpoint could not be written.
    pub fn bind_metastore(&self, metastore: MetastoreId) -> io::Result<()> {
        let mut checkpoint = self.checkpoint.lock();
        if checkpoint.metastore == Some(metastore) {
            // Also on a full disk a start must be possible: it is deliveries that give space back.
            return Ok(());
        }
        checkpoint.metastore = Some(metastore);
        checkpoint.write(self.disk.as_ref(), &self.dir)
    }

    /// Takes back what was noted as sealed, down to `to` (and no further than what was trimmed): for a metastore that knows less. Written by
    /// the next checkpoint.
    pub fn reset_sealed(&self, stream: StreamId, to: Position) {
        self.shared.streams.lock().reset_sealed(stream, to);
        self.wake();
    }

    /// Gives the log in `dir` a new identity: one that was restored from a copy must not give a position out twice under the same name.
    /// Offline; blocks.
    ///
    /// # Errors
    /// The log is in use, or its checkpoint cannot be read or written.
    pub fn reidentify(dir: &Path, entropy: &dyn Entropy) -> Result<LogId, error::Open> {
        let _lock = lock(&RealDisk, dir)?;
        let read = Checkpoint::read(&RealDisk, dir).map_err(failed("read the checkpoint"))?;
        let mut checkpoint = read.ok_or_else(|| {
            let source = io::Error::new(io::ErrorKind::NotFound, "there is no record log here");
            error::Open::Io { step: "read the checkpoint", source }
        })?;
        let former = std::mem::replace(&mut checkpoint.log_id, LogId(entropy.uuid()));
        checkpoint.former_ids.push(former);
        checkpoint.write(&RealDisk, dir).map_err(failed("write the checkpoint"))?;
        Ok(checkpoint.log_id)
    }

    /// Of sealed segments, and of the one that is written.
    #[cfg(test)]
    pub(crate) fn extents_in_memory(&self) -> (usize, usize) {
        self.shared.streams.lock().extents_in_memory()
    }

    /// Keeps the writer from gathering a group while the guard lives.
    #[cfg(test)]
    pub(crate) fn pause(&self) -> parking_lot::MutexGuard<'_, Streams> {
        self.shared.streams.lock()
    }

    /// Has the writer write the checkpoint soon.
    fn wake(&self) {
        if !self.shared.dirty.swap(true, Ordering::AcqRel) {
            // A full queue means that the writer is awake and looks by itself.
            let _ = self.requests.try_send(Request::Wake);
        }
    }

    fn queued(&self, request: Request) -> Result<(), error::Append> {
        self.requests.try_send(request).map_err(|refused| match refused {
            mpsc::TrySendError::Full(_) => {
                error::Append::Full { reason: "too many calls wait for the disk".to_owned() }
            }
            mpsc::TrySendError::Disconnected(_) => error::Append::ShuttingDown,
        })
    }
}

/// Without its writer a log would refuse calls for ever.
struct PanicIsFatal(Arc<dyn Fn(&str) + Send + Sync>);

impl Drop for PanicIsFatal {
    fn drop(&mut self) {
        if std::thread::panicking() {
            (self.0)("the record log's writer panicked");
        }
    }
}

fn failed(step: &'static str) -> impl Fn(io::Error) -> error::Open {
    move |source| error::Open::Io { step, source }
}

fn lock(disk: &dyn Disk, dir: &Path) -> Result<Box<dyn std::any::Any + Send + Sync>, error::Open> {
    let lock = disk.lock(&dir.join("lock")).map_err(failed("take the lock"))?;
    lock.ok_or_else(|| error::Open::Locked { dir: dir.to_owned() })
}

fn read_or_make_checkpoint(
    disk: &dyn Disk,
    dir: &Path,
    entropy: &dyn Entropy,
) -> Result<Checkpoint, error::Open> {
    if let Some(checkpoint) = Checkpoint::read(disk, dir).map_err(failed("read the checkpoint"))? {
        return Ok(checkpoint);
    }
    let names = disk.list(dir).map_err(failed("list the directory"))?;
    if names.iter().any(|name| seq_of(name).is_some()) {
        return Err(error::Open::NoCheckpoint { dir: dir.to_owned() });
    }
    let checkpoint = Checkpoint::new(entropy);
    checkpoint.write(disk, dir).map_err(failed("write the checkpoint"))?;
    Ok(checkpoint)
}

fn refuse_damage(found: &Found) -> Result<(), error::Open> {
    match found.damage.iter().find(|damage| damage.is_fatal).cloned() {
        None => Ok(()),
        Some(recovery::Damage { path, offset, first, last, reason, .. }) => {
            Err(error::Open::Damaged { path, offset, first, last, reason })
        }
    }
}

/// Makes what was found durable and takes it over. Gives the segment to go on in.
fn recover(
    store: &mut Store,
    calls: &mut Calls,
    metrics: &Metrics,
    found: Found,
    now: Timestamp,
) -> io::Result<Option<Active>> {
    store.checkpoint.lock().last_seq = found.last_seq;
    // A rename that a killed process made may be in memory only: durable first, or a power cut could keep the end of what it replaced and
    // lose the replacement.
    store.disk.sync_dir(&store.dir)?;
    if !found.replaced.is_empty() {
        for (path, len) in &found.replaced {
            store.retire(path, *len)?;
        }
        store.disk.sync_dir(&store.dir)?;
    }
    store.take_over_free(found.free)?;
    store.call_files = found.call_files;
    calls.restore(found.calls, now);
    // A killed process may have left the last footer in memory only.
    if let (None, Some((segment, _))) = (&found.tail, found.segments.last()) {
        segment.file()?.sync()?;
    }
    for (segment, held) in found.segments {
        let seq = segment.header.seq;
        let mut streams = store.shared.streams.lock();
        match held {
            Held::Footer(footer) => footer.streams.iter().for_each(|stream| streams.add_sealed(seq, stream)),
            Held::Frames(scan) => {
                let contents = scan.contents();
                for (stream, extents) in &contents.extents {
                    let bytes = contents.bytes.get(stream).copied().unwrap_or_default();
                    streams.add_scanned(seq, *stream, extents, bytes);
                }
            }
        }
        store.shared.segments.lock().insert(seq, segment);
    }
    let active = found.tail.map(|tail| use_tail(store, metrics, tail)).transpose()?.flatten();
    let mut streams = store.shared.streams.lock();
    for (stream, _) in streams.tails() {
        streams.mark_changed(stream);
    }
    drop(streams);
    Ok(active)
}

/// Copies the frames of the unsealed tail into a fresh segment and makes them durable there: a frame that survived `kill -9` in the page
/// cache only is not durable yet.
fn use_tail(store: &mut Store, metrics: &Metrics, tail: Tail) -> io::Result<Option<Active>> {
    let torn = tail.scan.torn_bytes;
    if torn > 0 {
        info!(bytes = torn, "cut a torn tail: written, never acknowledged");
        metrics.torn(torn);
    }
    if tail.scan.frames.is_empty() && tail.scan.holes.is_empty() {
        store.retire(&tail.segment.path, tail.segment.len)?;
        store.disk.sync_dir(&store.dir)?;
        return Ok(None);
    }
    let free = match store.free.pop() {
        Some(free) if tail.segment.len == store.limits.segment_len => free,
        unused => {
            store.free.extend(unused);
            // Not shorter than others: it is written on.
            store.make_file(tail.segment.len.max(store.limits.segment_len))?
        }
    };
    let old = &tail.segment.header;
    let mut header = store.next_header(old.first_lsn, old.first_group);
    header.replaces = old.seq;
    let seq = header.seq;
    let opened = store.disk.open(&free)?;
    let segment = store.start((&free, opened), header.clone(), &tail.copy(header.seed))?;
    store.retire(&tail.segment.path, tail.segment.len)?;
    store.disk.sync_dir(&store.dir)?;
    let contents = tail.scan.contents();
    let footer_len = contents.footer_len();
    let active = Active { file: segment.file()?, segment, offset: contents.end, footer_len };
    store.shared.streams.lock().open_segment(seq, contents);
    Ok(Some(active))
}

impl Drop for FileLog {
    /// As [`FileLog::shutdown`]: nobody is to find the writer at work in a directory that was let go.
    fn drop(&mut self) {
        self.shutdown();
    }
}

#[async_trait]
impl RecordLog for FileLog {
    fn log_id(&self) -> LogId {
        self.log_id
    }

    async fn append(&self, append: Append) -> Result<Appended, error::Append> {
        let Append { stream, payload, arrival, call, key } = append;
        let mut payload = payload.seal();
        if let Some(key) = key {
            let mut nonce = [0; NONCE_LEN];
            self.entropy.fill(&mut nonce);
            payload = payload.encrypt(&key, nonce, stream, arrival, call);
        }
        let call = call.map(|key| NamedCall::of(key, stream, &payload));
        let bytes = payload.bytes.len().min(QUEUE_BYTES_MAX) as u32;
        let permit =
            self.queue.clone().acquire_many_owned(bytes).await.map_err(|_| error::Append::ShuttingDown)?;
        let (answer, answered) = oneshot::channel();
        let request = AppendRequest { stream, payload, arrival, call, answer, permit };
        self.queued(Request::Append(request))?;
        answered.await.unwrap_or(Err(error::Append::OutcomeUnknown))
    }

    fn read(&self, stream: StreamId, from: Position, bytes_max: usize) -> Result<Chunk, error::Read> {
        reader::read(&self.shared, stream, from, bytes_max)
    }

    fn tail(&self, stream: StreamId) -> Option<StreamTail> {
        self.shared.streams.lock().tail(stream)
    }

    fn streams(&self) -> Vec<(StreamId, StreamTail)> {
        self.shared.streams.lock().tails()
    }

    async fn changed(&self) -> Vec<StreamId> {
        loop {
            let changed = self.shared.streams.lock().take_changed();
            if !changed.is_empty() {
                return changed;
            }
            self.shared.changed.notified().await;
        }
    }

    fn note_sealed(&self, stream: StreamId, to: Position) {
        if self.shared.streams.lock().note_sealed(stream, to) {
            self.wake();
        }
    }

    fn trim(&self, stream: StreamId, to: Position) {
        if self.shared.streams.lock().trim(stream, to) {
            self.wake();
        }
    }

    async fn close_stream(&self, stream: StreamId) -> Result<Position, error::Append> {
        let (answer, answered) = oneshot::channel();
        self.queued(Request::Close(stream, answer))?;
        answered.await.unwrap_or(Err(error::Append::OutcomeUnknown))
    }

    fn forget_stream(&self, stream: StreamId) {
        if self.shared.streams.lock().forget(stream) {
            self.wake();
        }
    }
}
