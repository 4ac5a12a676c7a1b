//! The log on a simulated disk, and where it matters on a real one.

mod damage;
mod encryption;
mod faults;
mod limits;
mod model;
mod real_disk;
mod restarts;
mod retries;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hydrant_types::{Clock, DataKeyId, Entropy, Position, StreamId, Timestamp};
use parking_lot::Mutex;
use prometheus::Registry;
use uuid::Uuid;

use crate::{
    Append, Appended, CallKey, DataKey, DataKeys, Deps, FileLog, Payload, RecordLog, Settings, disk::Disk,
    error, segment::seq_of, testing::SimDisk,
};

pub(crate) const STREAM: StreamId = StreamId(7);
pub(crate) const OTHER: StreamId = StreamId(9);
const DIR: &str = "/log";

/// A clock that stands still until it is moved.
#[derive(Debug, Clone)]
pub(crate) struct TestClock(Arc<AtomicU64>);

impl TestClock {
    fn new() -> Self {
        Self(Arc::new(AtomicU64::new(1_767_323_045_000)))
    }

    pub(crate) fn advance(&self, millis: u64) {
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }
}

#[derive(Debug)]
struct TestEntropy(Mutex<fastrand::Rng>);

impl Entropy for TestEntropy {
    fn uuid(&self) -> Uuid {
        Uuid::from_u128(self.0.lock().u128(..))
    }
}

/// Data keys of all streams: which one each encrypts with, and which are not to be had.
#[derive(Default)]
pub(crate) struct TestKeys(Mutex<KeyState>);

#[derive(Default)]
struct KeyState {
    /// The last key of each stream, and whether it encrypts now.
    last: BTreeMap<StreamId, (u32, bool)>,
    away: BTreeSet<DataKeyId>,
    /// Every key is another one than it should be.
    wrong: bool,
}

impl TestKeys {
    /// The stream encrypts with a new key from now on.
    pub(crate) fn rotate(&self, stream: StreamId) {
        let mut state = self.0.lock();
        let (id, encrypts) = state.last.entry(stream).or_default();
        (*id, *encrypts) = (*id + 1, true);
    }

    /// The stream stores in clear from now on.
    pub(crate) fn stop(&self, stream: StreamId) {
        self.0.lock().last.entry(stream).or_default().1 = false;
    }

    pub(crate) fn set_away(&self, id: u32, is_away: bool) {
        let away = &mut self.0.lock().away;
        if is_away {
            away.insert(DataKeyId(id))
        } else {
            away.remove(&DataKeyId(id))
        };
    }

    pub(crate) fn set_wrong(&self, is_wrong: bool) {
        self.0.lock().wrong = is_wrong;
    }

    /// What the stream encrypts with.
    pub(crate) fn current(&self, stream: StreamId) -> Option<Arc<DataKey>> {
        let last = self.0.lock().last.get(&stream).copied();
        last.filter(|(_, encrypts)| *encrypts).map(|(id, _)| data_key(stream, id, 0))
    }
}

impl DataKeys for TestKeys {
    fn find(&self, stream: StreamId, id: DataKeyId) -> Option<Arc<DataKey>> {
        let state = self.0.lock();
        (!state.away.contains(&id)).then(|| data_key(stream, id.0, u8::from(state.wrong)))
    }
}

/// The key `id` of a stream; all of a stream have the same digest key.
pub(crate) fn data_key(stream: StreamId, id: u32, variant: u8) -> Arc<DataKey> {
    let mut key = [variant; 32];
    key[8..12].copy_from_slice(&id.to_le_bytes());
    key[16..24].copy_from_slice(&stream.0.to_le_bytes());
    let mut digest_key = [0x5a; 32];
    digest_key[..8].copy_from_slice(&stream.0.to_le_bytes());
    Arc::new(DataKey::new(DataKeyId(id), &key, &digest_key).expect("ids are counted from 1"))
}

/// A simulated disk, and how a log on it is opened.
pub(crate) struct Rig {
    pub(crate) disk: SimDisk,
    pub(crate) clock: TestClock,
    pub(crate) settings: Settings,
    pub(crate) failures: Arc<Mutex<Vec<String>>>,
    pub(crate) keys: Arc<TestKeys>,
    entropy: Arc<TestEntropy>,
}

impl Rig {
    pub(crate) fn new(seed: u64) -> Self {
        let settings = Settings { dir: DIR.into(), bytes_max: 1 << 20, free_min: 0, segment_len: 16 * 1024 };
        Self {
            disk: SimDisk::new(seed),
            clock: TestClock::new(),
            settings,
            failures: Arc::default(),
            keys: Arc::default(),
            entropy: Arc::new(TestEntropy(Mutex::new(fastrand::Rng::with_seed(seed)))),
        }
    }

    pub(crate) fn try_open(&self) -> Result<Arc<FileLog>, error::Open> {
        self.try_open_with(&Registry::new())
    }

    pub(crate) fn try_open_with(&self, registry: &Registry) -> Result<Arc<FileLog>, error::Open> {
        let (failures, disk) = (self.failures.clone(), self.disk.clone());
        // A process that is dead says nothing.
        let fatal = move |reason: &str| {
            if !disk.is_dead() {
                failures.lock().push(reason.to_owned());
            }
        };
        let deps = Deps {
            disk: Arc::new(self.disk.clone()),
            clock: Arc::new(self.clock.clone()),
            entropy: self.entropy.clone(),
            fatal: Arc::new(fatal),
        };
        let log = FileLog::open(self.settings.clone(), deps, registry)?;
        log.set_data_keys(self.keys.clone());
        Ok(log)
    }

    pub(crate) fn open(&self) -> Arc<FileLog> {
        self.try_open().unwrap_or_else(|error| panic!("open: {}", chain(&error)))
    }

    /// The process dies, the page cache does not.
    pub(crate) fn kill(&mut self) -> Arc<FileLog> {
        self.disk = self.disk.kill();
        self.open()
    }

    pub(crate) fn power_cut(&mut self) -> Arc<FileLog> {
        self.disk = self.disk.power_cut();
        self.open()
    }

    pub(crate) fn as_disk(&self) -> Arc<dyn Disk> {
        Arc::new(self.disk.clone())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        Path::new(DIR).join(name)
    }

    /// Names of the files that begin with `prefix`.
    pub(crate) fn names(&self, prefix: &str) -> Vec<String> {
        let names = self.disk.list(Path::new(DIR)).unwrap();
        names.into_iter().filter(|name| name.starts_with(prefix)).collect()
    }

    /// Segments, oldest first.
    pub(crate) fn segments(&self) -> Vec<PathBuf> {
        let names = self.disk.files().into_keys();
        names.filter(|path| seq_of(path.file_name().unwrap().to_str().unwrap()).is_some()).collect()
    }
}

pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes =
        std::iter::successors(error.source(), |cause| cause.source()).map(|cause| format!(": {cause}"));
    error.to_string() + &causes.collect::<String>()
}

pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// Runs calls that reach the writer together, so that one group has them.
pub(crate) fn in_one_group<T>(log: &FileLog, calls: impl Future<Output = T>) -> T {
    let mut calls = Box::pin(calls);
    let pause = log.pause();
    let polled = calls.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    assert!(polled.is_pending());
    drop(pause);
    wait(calls)
}

pub(crate) fn payload(records: &[impl AsRef<[u8]>]) -> Payload {
    let mut payload = Payload::new();
    records.iter().for_each(|record| payload.push(record.as_ref()));
    payload
}

pub(crate) fn call(rig: &Rig, stream: StreamId, key: Option<&str>, records: &[impl AsRef<[u8]>]) -> Append {
    let call = key.map(|key| CallKey::of(key.as_bytes()));
    Append {
        stream,
        payload: payload(records),
        arrival: rig.clock.now(),
        call,
        key: rig.keys.current(stream),
    }
}

/// Appends records without a call key.
pub(crate) fn put(rig: &Rig, log: &FileLog, stream: StreamId, records: &[impl AsRef<[u8]>]) -> Appended {
    wait(log.append(call(rig, stream, None, records))).unwrap()
}

/// Appends records with a call key.
pub(crate) fn put_call(rig: &Rig, log: &FileLog, key: &str, records: &[impl AsRef<[u8]>]) -> Appended {
    wait(log.append(call(rig, STREAM, Some(key), records))).unwrap()
}

/// Every record of `stream` from `from` on.
pub(crate) fn try_read(
    log: &FileLog,
    stream: StreamId,
    from: Position,
    bytes_max: usize,
) -> Result<Vec<Vec<u8>>, error::Read> {
    let mut records = Vec::new();
    let mut next = from;
    loop {
        let chunk = log.read(stream, next, bytes_max)?;
        for (position, _, record) in chunk.records() {
            assert_eq!(position, next.plus(records.len() as u64 - (next.0 - from.0)));
            records.push(record.to_vec());
        }
        match chunk.next() {
            Some(after) => next = after,
            None => return Ok(records),
        }
    }
}

pub(crate) fn read_all(log: &FileLog, stream: StreamId) -> Vec<Vec<u8>> {
    let from = log.tail(stream).map_or(Position::FIRST, |tail| tail.trimmed);
    try_read(log, stream, from, 4096)
        .unwrap_or_else(|error| panic!("read stream {stream}: {}", chain(&error)))
}

/// A record of `len` bytes that says which it is.
pub(crate) fn record(name: impl std::fmt::Display, len: usize) -> Vec<u8> {
    let mut record = format!("{name}|").into_bytes();
    record.resize(len.max(record.len()), b'.');
    record
}

/// Reads until it is true; what happens on the writer's own thread is waited for.
pub(crate) fn eventually(what: &str, mut is_true: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !is_true() {
        assert!(begun.elapsed() < Duration::from_secs(20), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
