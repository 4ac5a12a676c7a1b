//! Appending and reading back, in clear and encrypted, beside what the same disk does without us.
//!
//! `cargo bench -p hydrant-log`; the log goes under `HYDRANT_BENCH_DIR`, or the system's temporary directory. One append is one
//! commit group here, so that a group costs one sync: the figures to compare are `append` and `bare fdatasync` of the same size.
#![allow(missing_docs)]

use std::{fs::File, hint::black_box, os::unix::fs::FileExt, path::PathBuf, sync::Arc};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hydrant_log::{Append, DataKey, DataKeys, Deps, FileLog, Payload, RecordLog, Settings};
use hydrant_types::{Clock, DataKeyId, Position, StreamId, SystemClock, SystemEntropy};

const STREAM: StreamId = StreamId(1);
const GROUPS: [usize; 2] = [64 * 1024, 512 * 1024];
const RECORD: usize = 1024;

fn dir() -> tempfile::TempDir {
    let under = std::env::var_os("HYDRANT_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    tempfile::tempdir_in(under).expect("make a directory")
}

fn open(dir: &tempfile::TempDir) -> Arc<FileLog> {
    let deps = Deps::system(Arc::new(SystemClock::new()), Arc::new(SystemEntropy));
    let settings = Settings { free_min: 0, ..Settings::new(dir.path()) };
    FileLog::open(settings, deps, &prometheus::Registry::new()).expect("open the log")
}

fn payload(bytes: usize) -> Payload {
    let mut payload = Payload::with_capacity(bytes);
    (0..bytes / RECORD).for_each(|_| payload.push(&[b'x'; RECORD]));
    payload
}

fn append(
    runtime: &tokio::runtime::Runtime,
    log: &FileLog,
    bytes: usize,
    key: Option<Arc<DataKey>>,
) -> Position {
    let append = Append {
        stream: STREAM,
        payload: payload(bytes),
        arrival: SystemClock::new().now(),
        call: None,
        key,
    };
    let appended = runtime.block_on(log.append(append)).expect("append");
    appended.first.plus(u64::from(appended.records))
}

fn appending(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut group = c.benchmark_group("append");
    let key = data_key();
    for bytes in GROUPS {
        group.throughput(Throughput::Bytes(bytes as u64));
        let dir = dir();
        let log = open(&dir);
        // Until segments are recycled, not made.
        for _ in 0..(4 << 26) / bytes {
            log.trim(STREAM, append(&runtime, &log, bytes, None));
        }
        group.bench_function(BenchmarkId::new("append", bytes), |b| {
            b.iter(|| log.trim(STREAM, append(&runtime, &log, bytes, None)));
        });
        group.bench_function(BenchmarkId::new("append encrypted", bytes), |b| {
            b.iter(|| log.trim(STREAM, append(&runtime, &log, bytes, Some(key.clone()))));
        });
        log.shutdown();
        let file = File::create(dir.path().join("bare")).expect("make a file");
        let data = vec![b'x'; bytes];
        let slots = (1 << 26) / bytes;
        (0..slots).for_each(|n| file.write_all_at(&data, (n * bytes) as u64).expect("write"));
        file.sync_all().expect("sync");
        let mut n = 0;
        group.bench_function(BenchmarkId::new("bare fdatasync", bytes), |b| {
            b.iter(|| {
                n = (n + 1) % slots;
                file.write_all_at(&data, (n * bytes) as u64).expect("write");
                file.sync_data().expect("sync");
            });
        });
    }
    group.finish();
}

fn data_key() -> Arc<DataKey> {
    Arc::new(DataKey::new(DataKeyId(1), &[1; 32], &[2; 32]).expect("ids are counted from 1"))
}

/// Knows the one key.
struct Keys(Arc<DataKey>);

impl DataKeys for Keys {
    fn find(&self, _stream: StreamId, _id: DataKeyId) -> Option<Arc<DataKey>> {
        Some(self.0.clone())
    }
}

fn reading(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut group = c.benchmark_group("read");
    let sizes = [RECORD, GROUPS[0], GROUPS[1]];
    let kinds = [("frames of", None), ("encrypted frames of", Some(data_key()))];
    for (bytes, (name, key)) in sizes.into_iter().flat_map(|bytes| kinds.clone().map(|kind| (bytes, kind))) {
        let dir = dir();
        let log = open(&dir);
        log.set_data_keys(Arc::new(Keys(data_key())));
        let frames = (16 << 20) / bytes.max(8 * RECORD);
        let mut end = Position::FIRST;
        (0..frames).for_each(|_| end = append(&runtime, &log, bytes, key.clone()));
        group.throughput(Throughput::Bytes(end.0 * RECORD as u64));
        group.bench_function(BenchmarkId::new(name, bytes), |b| {
            b.iter(|| {
                let mut next = Position::FIRST;
                while next < end {
                    let chunk = log.read(STREAM, next, 1 << 20).expect("read");
                    next = chunk.next().expect("records up to the end");
                    black_box(chunk);
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, appending, reading);
criterion_main!(benches);
