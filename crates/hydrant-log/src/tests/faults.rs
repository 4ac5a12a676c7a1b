//! A failing disk.

use std::io::ErrorKind;

use futures_util::future::join_all;

use super::*;
use crate::testing::Operation;

#[test]
fn a_failed_fdatasync_ends_the_log_and_what_was_acknowledged_is_there_after_the_next_start() {
    for seed in 0..40 {
        let mut rig = Rig::new(seed);
        let log = rig.open();
        put(&rig, &log, STREAM, &["acknowledged"]);
        rig.disk.fail_next(Operation::Sync, 0, ErrorKind::Other);
        let calls = (0..4)
            .map(|n| log.append(call(&rig, STREAM, Some(&n.to_string()), &[record(n, 400), record(n, 400)])));
        let answers = wait(join_all(calls));
        assert!(
            answers.iter().any(|answer| matches!(answer, Err(error::Append::OutcomeUnknown))),
            "{answers:?}"
        );
        assert!(answers.iter().all(Result::is_err), "a failed sync is never tried again: {answers:?}");
        assert_eq!(rig.failures.lock().len(), 1, "{:?}", rig.failures.lock());
        assert!(rig.failures.lock()[0].starts_with("write and sync the record log: "));
        assert!(wait(log.append(call(&rig, STREAM, None, &["later"]))).is_err());
        assert!(wait(log.close_stream(STREAM)).is_err());
        let log = rig.power_cut();
        let records = read_all(&log, STREAM);
        assert_eq!(records[0], b"acknowledged");
        assert_eq!(records.len() % 2, 1, "calls are whole or not there");
    }
}

#[test]
fn a_failing_write_ends_the_log_wherever_it_is() {
    for operation in
        [Operation::Write, Operation::Sync, Operation::Rename, Operation::SyncDir, Operation::Create]
    {
        for skip in 0..12 {
            let mut rig = Rig::new(skip);
            rig.settings.segment_len = 8 * 1024;
            let log = rig.open();
            rig.disk.fail_next(operation, skip, ErrorKind::Other);
            let mut stored = 0;
            for n in 0..30 {
                stored += u64::from(wait(log.append(call(&rig, STREAM, None, &[record(n, 1000)]))).is_ok());
                log.trim(STREAM, Position(stored / 2));
            }
            let failures = rig.failures.lock().len();
            assert!(failures <= 1, "{:?}", rig.failures.lock());
            let log = rig.power_cut();
            let tail = log.tail(STREAM).map_or((0, 0), |tail| (tail.trimmed.0, tail.next.0));
            assert!(tail.1 >= stored, "{operation:?} {skip}: {stored} acknowledged, {} there", tail.1);
            if stored > 0 {
                assert_eq!(read_all(&log, STREAM).len() as u64, tail.1 - tail.0);
            }
        }
    }
}

#[test]
fn a_disk_that_does_not_read_is_an_error_of_that_read() {
    let rig = Rig::new(1);
    let log = rig.open();
    put(&rig, &log, STREAM, &["a"]);
    rig.disk.kill();
    assert!(matches!(log.read(STREAM, Position(0), 1), Err(error::Read::Io { .. })));
}

#[test]
fn a_stop_while_calls_wait_answers_every_one_of_them() {
    let rig = Rig::new(2);
    let log = rig.open();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let calls: Vec<_> = (0..500)
        .map(|n| {
            let (log, append) = (log.clone(), call(&rig, STREAM, None, &[record(n, 30)]));
            runtime.spawn(async move { log.append(append).await })
        })
        .collect();
    log.shutdown();
    log.shutdown();
    let answers: Vec<_> = runtime.block_on(join_all(calls)).into_iter().map(Result::unwrap).collect();
    let stored = answers.iter().filter(|answer| answer.is_ok()).count();
    assert!(
        answers.iter().all(|answer| matches!(answer, Ok(_) | Err(error::Append::ShuttingDown))),
        "{answers:?}"
    );
    let mut rig = rig;
    let log = rig.power_cut();
    assert_eq!(log.tail(STREAM).map_or(0, |tail| tail.next.0), stored as u64);
}
