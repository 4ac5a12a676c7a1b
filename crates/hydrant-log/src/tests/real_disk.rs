//! The same on the operating system's files.

use std::os::unix::fs::MetadataExt;

use hydrant_types::{SystemClock, SystemEntropy};

use super::*;

fn open(settings: &Settings) -> Result<Arc<FileLog>, error::Open> {
    let deps = Deps::system(Arc::new(SystemClock::new()), Arc::new(SystemEntropy));
    FileLog::open(settings.clone(), deps, &Registry::new())
}

fn settings(dir: &Path) -> Settings {
    Settings { bytes_max: 1 << 30, free_min: 0, segment_len: 1 << 20, ..Settings::new(dir) }
}

fn put_now(log: &FileLog, stream: StreamId, records: &[Vec<u8>]) -> Appended {
    let append = Append {
        stream,
        payload: payload(records),
        arrival: SystemClock::new().now(),
        call: None,
        key: None,
    };
    wait(log.append(append)).unwrap()
}

fn segments_in(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.to_str().unwrap().contains("/segment-"));
    paths.sort();
    paths
}

#[test]
fn records_survive_a_restart_and_the_directory_is_made_with_those_above_it() {
    let above = tempfile::tempdir().unwrap();
    let settings = settings(&above.path().join("data/node/log"));
    let log = open(&settings).unwrap();
    let records: Vec<_> = (0..50).map(|n| record(n, 40_000)).collect();
    for pair in records.chunks(2) {
        put_now(&log, STREAM, pair);
    }
    assert!(matches!(open(&settings), Err(error::Open::Locked { .. })));
    log.shutdown();
    let log = open(&settings).unwrap();
    assert_eq!(try_read(&log, STREAM, Position(0), 1 << 20).unwrap(), records);
    assert_eq!(try_read(&log, STREAM, Position(33), 1).unwrap(), records[33..]);
}

#[test]
fn holes_are_punched_between_the_few_records_that_are_live() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path());
    let log = open(&settings).unwrap();
    let stuck: Vec<_> = (0..5).map(|n| record(n, 1000)).collect();
    for n in 0..5u64 {
        put_now(&log, OTHER, &stuck[n as usize..=n as usize]);
        for m in 0..10 {
            put_now(&log, STREAM, &[record(m, 30_000)]);
        }
    }
    let first = segments_in(dir.path())[0].clone();
    let before = first.metadata().unwrap().blocks() * 512;
    assert!(before >= 1 << 20, "it was written once from end to end: {before}");
    log.trim(STREAM, log.tail(STREAM).unwrap().next);
    eventually("holes", || first.metadata().unwrap().blocks() * 512 < before / 4);
    assert_eq!(first.metadata().unwrap().len(), 1 << 20);
    assert_eq!(read_all(&log, OTHER), stuck);
    log.shutdown();
    let report = crate::inspect::verify(dir.path()).unwrap();
    assert!(report.damage.is_empty(), "{:?}", report.damage);
    assert_eq!(read_all(&open(&settings).unwrap(), OTHER), stuck);
}

#[test]
fn inspect_and_verify_say_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(crate::inspect::inspect(dir.path()).unwrap_err().kind(), std::io::ErrorKind::NotFound);
    let settings = settings(dir.path());
    let log = open(&settings).unwrap();
    put_now(&log, STREAM, &[record("a", 100), record("b", 100)]);
    put_now(&log, OTHER, &[record("c", 100)]);
    log.note_sealed(STREAM, Position(1));
    wait(log.close_stream(OTHER)).unwrap();
    let metastore = hydrant_types::MetastoreId(Uuid::from_u128(1));
    log.bind_metastore(metastore).unwrap();
    log.shutdown();
    let report = crate::inspect::verify(dir.path()).unwrap();
    assert_eq!((report.log_id, report.metastore, report.torn_bytes), (log.log_id(), Some(metastore), 0));
    let stream = &report.streams[&STREAM];
    assert_eq!((stream.trimmed.0, stream.sealed.0, stream.next.0, stream.closed), (0, 1, 2, false));
    assert!(report.streams[&OTHER].closed);
    let [segment] = &report.segments[..] else { panic!("{report:?}") };
    assert!(segment.sealed);
    assert_eq!((segment.streams, segment.frames, segment.bytes), (2, 2, 128 + 208 + 128 + 104));
    assert!(report.damage.is_empty());

    let path = segments_in(dir.path())[0].clone();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4096 + 128 + 5] ^= 4;
    std::fs::write(&path, bytes).unwrap();
    let report = crate::inspect::verify(dir.path()).unwrap();
    let [damage] = &report.damage[..] else { panic!("{report:?}") };
    assert_eq!((damage.path.as_str(), damage.offset), (path.to_str().unwrap(), 4096));
    assert!(damage.reason.starts_with("stream 7: "), "{}", damage.reason);
}

#[test]
fn a_new_identity_keeps_the_records_and_is_not_given_to_a_log_in_use() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(FileLog::reidentify(dir.path(), &SystemEntropy), Err(error::Open::Io { .. })));
    let settings = settings(dir.path());
    let log = open(&settings).unwrap();
    put_now(&log, STREAM, &[record("a", 10)]);
    assert!(matches!(FileLog::reidentify(dir.path(), &SystemEntropy), Err(error::Open::Locked { .. })));
    log.shutdown();
    for _ in 0..2 {
        let id = FileLog::reidentify(dir.path(), &SystemEntropy).unwrap();
        assert_ne!(id, log.log_id());
        let log = open(&settings).unwrap();
        assert_eq!(log.log_id(), id);
        put_now(&log, STREAM, &[record("b", 10)]);
        log.shutdown();
    }
    let log = open(&settings).unwrap();
    assert_eq!(log.tail(STREAM).unwrap().next, Position(3));
    assert_eq!(read_all(&log, STREAM).len(), 3);
}
