//! Stops, kills and power cuts, one at a time.

use std::io::ErrorKind;

use super::*;
use crate::testing::Operation;

#[test]
fn what_was_acknowledged_survives_a_power_cut() {
    let mut rig = Rig::new(1);
    let log = rig.open();
    for n in 0..50 {
        let appended = put(&rig, &log, STREAM, &[record(n, 100), record(n, 700)]);
        assert_eq!((appended.first, appended.records, appended.duplicate), (Position(2 * n), 2, false));
    }
    let before = read_all(&log, STREAM);
    assert_eq!(before.len(), 100);
    for _ in 0..20 {
        let log = rig.power_cut();
        assert_eq!(read_all(&log, STREAM), before);
        assert_eq!(put(&rig, &log, OTHER, &["x"]).records, 1);
    }
    assert!(rig.failures.lock().is_empty());
}

#[test]
fn a_clean_stop_leaves_footers_only_and_the_next_start_reads_no_frame() {
    let rig = Rig::new(2);
    let log = rig.open();
    for n in 0..40 {
        put(&rig, &log, STREAM, &[record(n, 1000)]);
    }
    log.shutdown();
    assert!(matches!(
        wait(log.append(call(&rig, STREAM, None, &["late"]))),
        Err(error::Append::ShuttingDown)
    ));
    let report = crate::inspect::inspect_on(&rig.as_disk(), Path::new(DIR)).unwrap();
    assert!(report.segments.len() > 2 && report.segments.iter().all(|segment| segment.sealed));
    let before = rig.disk.bytes_read();
    let log = rig.open();
    let read = rig.disk.bytes_read() - before;
    assert!(read < report.segments.len() as u64 * 5000, "{read} bytes read at the start");
    assert_eq!(read_all(&log, STREAM).len(), 40);
}

#[test]
fn a_start_after_a_kill_reads_footers_and_the_tail_only() {
    let mut rig = Rig::new(3);
    rig.settings.segment_len = 64 * 1024;
    rig.settings.bytes_max = 1 << 30;
    let log = rig.open();
    for n in 0..200 {
        put(&rig, &log, STREAM, &[record(n, 20_000)]);
    }
    rig.disk = rig.disk.kill();
    let log = rig.open();
    let (segments, read) = (rig.segments().len() as u64, rig.disk.bytes_read());
    assert!(segments > 60);
    assert!(
        read < segments * 5000 + 2 * rig.settings.segment_len,
        "{read} bytes read for {segments} segments"
    );
    assert_eq!(read_all(&log, STREAM).len(), 200);
}

#[test]
fn records_that_a_killed_process_wrote_and_did_not_sync_are_made_durable_before_they_are_shown() {
    let mut rig = Rig::new(4);
    let log = rig.open();
    put(&rig, &log, STREAM, &["synced"]);
    // Written, and the process dies in the sync.
    rig.disk.crash_after(1);
    assert!(matches!(
        wait(log.append(call(&rig, STREAM, None, &["seen"]))),
        Err(error::Append::OutcomeUnknown)
    ));
    assert_eq!(read_all_or_none(&log), None, "the old process reads nothing more");
    let log = rig.kill();
    assert_eq!(read_all(&log, STREAM), [b"synced".to_vec(), b"seen".to_vec()]);
    for _ in 0..10 {
        let log = rig.power_cut();
        assert_eq!(read_all(&log, STREAM).len(), 2, "what was shown stays");
    }
}

fn read_all_or_none(log: &FileLog) -> Option<Vec<Vec<u8>>> {
    try_read(log, STREAM, Position(1), 100).ok().filter(|records| !records.is_empty())
}

#[test]
fn a_start_may_die_at_any_step_again_and_again() {
    for seed in 0..40 {
        let mut rig = Rig::new(seed);
        let log = rig.open();
        put(&rig, &log, STREAM, &["one", "two"]);
        put(&rig, &log, OTHER, &["three"]);
        rig.disk = rig.disk.power_cut();
        for steps in 0..30 {
            rig.disk.crash_after(steps);
            let _ = rig.try_open();
            rig.disk = if (seed + steps) % 2 == 0 { rig.disk.power_cut() } else { rig.disk.kill() };
        }
        let log = rig.open();
        assert_eq!(read_all(&log, STREAM).len(), 2);
        assert_eq!(read_all(&log, OTHER).len(), 1);
        assert!(rig.segments().len() <= 2 && rig.names("free-").len() <= 3, "nothing piles up");
    }
}

#[test]
fn numbers_and_positions_of_a_torn_group_are_given_out_again() {
    for seed in 0..60 {
        let mut rig = Rig::new(seed);
        let log = rig.open();
        put(&rig, &log, STREAM, &["kept"]);
        rig.disk.crash_after(0);
        let lost = record("lost", 3000);
        assert!(wait(log.append(call(&rig, STREAM, None, &[&lost, &lost]))).is_err());
        let log = rig.power_cut();
        let appended = put(&rig, &log, STREAM, &["next"]);
        let expected: &[&[u8]] = match appended.first.0 {
            1 => &[b"kept", b"next"],
            3 => &[b"kept", &lost, &lost, b"next"],
            first => panic!("position {first}: part of a call"),
        };
        assert_eq!(read_all(&log, STREAM), expected);
    }
}

#[test]
fn a_stream_whose_segments_are_all_recycled_keeps_its_next_position() {
    let mut rig = Rig::new(5);
    let log = rig.open();
    put(&rig, &log, STREAM, &["a", "b", "c"]);
    log.trim(STREAM, Position(3));
    for n in 0..60 {
        put(&rig, &log, OTHER, &[record(n, 1000)]);
        log.trim(OTHER, Position(n + 1));
    }
    log.shutdown();
    for _ in 0..3 {
        let log = rig.power_cut();
        assert_eq!(put(&rig, &log, OTHER, &["x"]).first.0, log.tail(OTHER).unwrap().next.0 - 1);
        assert_eq!(log.tail(STREAM).unwrap().next, Position(3));
    }
    assert_eq!(put(&rig, &rig.open_again(), STREAM, &["d"]).first, Position(3));
}

impl Rig {
    fn open_again(&self) -> Arc<FileLog> {
        let mut rig = Rig::new(99);
        rig.disk = self.disk.kill();
        rig.open()
    }
}

#[test]
fn a_stream_that_was_trimmed_before_its_segment_was_sealed_keeps_its_next_position() {
    let mut rig = Rig::new(6);
    rig.settings.segment_len = 8 * 1024;
    let log = rig.open();
    // The checkpoint of the start knows nothing of what follows.
    put(&rig, &log, STREAM, &["a", "b"]);
    log.trim(STREAM, Position(2));
    for n in 0..5 {
        put(&rig, &log, OTHER, &[record(n, 1000)]);
    }
    let log = rig.power_cut();
    assert_eq!(log.tail(STREAM).unwrap().next, Position(2), "the footer says so, whatever is trimmed");
}

#[test]
fn a_close_survives_a_power_cut_at_once_and_a_full_log() {
    let mut rig = Rig::new(7);
    rig.settings.bytes_max = 2 * rig.settings.segment_len;
    let log = rig.open();
    put(&rig, &log, STREAM, &["a"]);
    while wait(log.append(call(&rig, OTHER, None, &[record("fill", 3000)]))).is_ok() {}
    assert_eq!(wait(log.close_stream(STREAM)).unwrap(), Position(1));
    let log = rig.power_cut();
    let refused = wait(log.append(call(&rig, STREAM, None, &["b"])));
    assert!(matches!(refused, Err(error::Append::StreamClosed { stream: STREAM })), "{refused:?}");
    assert_eq!(wait(log.close_stream(STREAM)).unwrap(), Position(1), "closing again gives the same answer");
    assert_eq!(wait(log.close_stream(StreamId(1000))).unwrap(), Position(0), "also a stream without records");
}

#[test]
fn a_close_is_ordered_between_appends_of_the_same_moment() {
    let rig = Rig::new(8);
    let log = rig.open();
    let before = log.append(call(&rig, STREAM, None, &["a", "b"]));
    let close = log.close_stream(STREAM);
    let after = log.append(call(&rig, STREAM, None, &["c"]));
    let (before, close, after) = in_one_group(&log, futures_util::future::join3(before, close, after));
    assert_eq!(before.unwrap().first, Position(0));
    assert_eq!(close.unwrap(), Position(2));
    assert!(matches!(after, Err(error::Append::StreamClosed { .. })));
    assert_eq!(read_all(&log, STREAM).len(), 2);
}

#[test]
fn a_forgotten_stream_does_not_come_back_though_its_frames_are_still_there() {
    let mut rig = Rig::new(9);
    let log = rig.open();
    put(&rig, &log, STREAM, &["a", "b"]);
    put(&rig, &log, OTHER, &["keeps the segment"]);
    log.forget_stream(STREAM);
    assert!(log.tail(STREAM).is_some(), "it is not closed");
    wait(log.close_stream(STREAM)).unwrap();
    log.forget_stream(STREAM);
    assert!(log.tail(STREAM).is_some(), "it is not trimmed");
    log.trim(STREAM, Position(2));
    log.forget_stream(STREAM);
    assert!(log.tail(STREAM).is_none());
    assert!(matches!(log.read(STREAM, Position(0), 1), Err(error::Read::UnknownStream { .. })));
    let late = wait(log.append(call(&rig, STREAM, None, &["late"])));
    assert!(
        matches!(late, Err(error::Append::StreamClosed { .. })),
        "a call under way meanwhile is refused: {late:?}"
    );
    log.shutdown();
    for _ in 0..3 {
        let log = rig.power_cut();
        assert!(log.tail(STREAM).is_none());
        assert_eq!(log.streams().iter().map(|(id, _)| *id).collect::<Vec<_>>(), [OTHER]);
    }
    let log = rig.kill();
    log.trim(OTHER, Position(1));
    log.shutdown();
    rig.kill().shutdown();
    let checkpoint = String::from_utf8(rig.disk.files()[&rig.path("checkpoint.json")].clone()).unwrap();
    assert!(!checkpoint.contains(r#""7":{"#), "no segment names it any more: {checkpoint}");
}

#[test]
fn sealed_and_trimmed_positions_hold_over_a_clean_restart_and_never_go_back() {
    let mut rig = Rig::new(10);
    let log = rig.open();
    put(&rig, &log, STREAM, &["a", "b", "c", "d"]);
    log.note_sealed(STREAM, Position(3));
    log.note_sealed(STREAM, Position(2));
    log.note_sealed(STREAM, Position(100));
    log.note_sealed(StreamId(555), Position(1));
    log.trim(STREAM, Position(1));
    log.trim(STREAM, Position(0));
    let tail = log.tail(STREAM).unwrap();
    assert_eq!(
        (tail.trimmed, tail.sealed, tail.next),
        (Position(1), Position(4), Position(4)),
        "never beyond the end"
    );
    assert!(log.tail(StreamId(555)).is_none(), "a note makes no stream");
    log.reset_sealed(STREAM, Position(0));
    assert_eq!(log.tail(STREAM).unwrap().sealed, Position(1), "not before what is trimmed");
    log.reset_sealed(STREAM, Position(2));
    log.shutdown();
    let log = rig.power_cut();
    let tail = log.tail(STREAM).unwrap();
    assert_eq!((tail.trimmed, tail.sealed, tail.next), (Position(1), Position(2), Position(4)));
    log.trim(STREAM, Position(99));
    assert_eq!(log.tail(STREAM).unwrap().trimmed, Position(4));
}

#[test]
fn a_trim_that_the_checkpoint_does_not_have_frees_nothing_yet() {
    // Trims race with the checkpoint at every step of it; whatever they free must be covered by the one before.
    for steps in 0..40 {
        let mut rig = Rig::new(steps);
        rig.settings.segment_len = 8 * 1024;
        let log = rig.open();
        for n in 0..20 {
            put(&rig, &log, STREAM, &[record(n, 1000)]);
        }
        rig.disk.crash_after(steps);
        log.trim(STREAM, Position(7));
        let trimmer = std::thread::spawn({
            let log = log.clone();
            move || (8..=20).for_each(|to| log.trim(STREAM, Position(to)))
        });
        log.shutdown();
        trimmer.join().unwrap();
        let log = rig.power_cut();
        let tail = log.tail(STREAM).unwrap();
        assert_eq!(tail.next, Position(20));
        let records = read_all(&log, STREAM);
        assert_eq!(records.len() as u64, 20 - tail.trimmed.0, "what is not trimmed is there");
    }
}

#[test]
fn the_log_id_is_made_once_and_a_new_one_keeps_the_records() {
    let mut rig = Rig::new(11);
    let log = rig.open();
    let id = log.log_id();
    put(&rig, &log, STREAM, &["a"]);
    assert_eq!(rig.kill().log_id(), id);
    assert_eq!(rig.power_cut().log_id(), id);
    assert_ne!(Rig::new(12).open().log_id(), id);
}

#[test]
fn the_metastore_it_is_bound_to_is_durable_when_the_call_returns() {
    let mut rig = Rig::new(13);
    let log = rig.open();
    assert_eq!(log.metastore_binding(), None);
    let metastore = hydrant_types::MetastoreId(Uuid::from_u128(5));
    log.bind_metastore(metastore).unwrap();
    assert_eq!(rig.power_cut().metastore_binding(), Some(metastore));
}

#[test]
fn one_process_has_the_log_at_a_time_and_until_its_last_byte_is_written() {
    let rig = Rig::new(14);
    let log = rig.open();
    assert!(matches!(rig.try_open(), Err(error::Open::Locked { .. })));
    put(&rig, &log, STREAM, &["a"]);
    // Without a shutdown the writer finishes by itself, and gives the lock up only then.
    drop(log);
    eventually("the lock is free", || rig.try_open().is_ok());
    let mut rig = rig;
    assert_eq!(read_all(&rig.power_cut(), STREAM).len(), 1);
    assert!(rig.failures.lock().is_empty());
}

#[test]
fn readers_see_what_is_durable_only() {
    let rig = Rig::new(15);
    let log = rig.open();
    put(&rig, &log, STREAM, &["durable"]);
    rig.disk.fail_next(Operation::Sync, 0, ErrorKind::Other);
    assert!(wait(log.append(call(&rig, STREAM, None, &["written"]))).is_err());
    assert_eq!(log.tail(STREAM).unwrap().next, Position(1));
    assert_eq!(read_all(&log, STREAM), [b"durable"]);
}

#[test]
fn a_waiting_reader_is_told_of_new_records_and_of_a_close_once() {
    let rig = Rig::new(16);
    let log = rig.open();
    wait(async {
        let changed = log.changed();
        let appended = log.append(call(&rig, STREAM, None, &["a"]));
        let (changed, _) = futures_util::join!(changed, appended);
        assert_eq!(changed, [STREAM]);
        log.close_stream(OTHER).await.unwrap();
        assert_eq!(log.changed().await, [OTHER]);
        let nothing = tokio::time::timeout(Duration::from_millis(20), log.changed()).await;
        assert!(nothing.is_err(), "{nothing:?}");
    });
    let mut rig = rig;
    let log = rig.kill();
    assert_eq!(wait(log.changed()), [STREAM, OTHER], "after a start every stream is to be looked at");
}
