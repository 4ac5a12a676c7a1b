//! Full logs and full disks, recycling and holes.

use std::io::ErrorKind;

use futures_util::future::join_all;

use super::*;
use crate::testing::Operation;

fn fill(rig: &Rig, log: &FileLog, stream: StreamId) -> (u64, String) {
    for n in 0.. {
        match wait(log.append(call(rig, stream, None, &[record(n, 3000)]))) {
            Ok(_) => {}
            Err(error::Append::Full { reason }) => return (n, reason),
            Err(error) => panic!("{}", chain(&error)),
        }
    }
    unreachable!()
}

#[test]
fn at_bytes_max_calls_are_refused_nothing_is_lost_and_puts_go_on_as_space_frees() {
    let mut rig = Rig::new(1);
    rig.settings.bytes_max = 4 * rig.settings.segment_len;
    let log = rig.open();
    let (stored, reason) = fill(&rig, &log, STREAM);
    assert_eq!(reason, "log.bytes_max (65536 bytes) is reached");
    assert_eq!(read_all(&log, STREAM).len() as u64, stored);
    assert!(rig.disk.used() <= rig.settings.bytes_max + 8192, "{} bytes are used", rig.disk.used());
    for round in 1..6 {
        log.trim(STREAM, Position(log.tail(STREAM).unwrap().next.0 - 2));
        let (more, _) = fill(&rig, &log, STREAM);
        assert!(more > 2, "round {round}: {more} more");
        assert!(rig.disk.used() <= rig.settings.bytes_max + 8192);
    }
    assert!(rig.failures.lock().is_empty());
    let log = rig.power_cut();
    assert!(read_all(&log, STREAM).len() > 2);
}

#[test]
fn a_log_of_which_everything_is_trimmed_takes_records_again_however_small_it_is() {
    let mut rig = Rig::new(2);
    rig.settings.bytes_max = rig.settings.segment_len;
    let log = rig.open();
    for _ in 0..5 {
        let (stored, _) = fill(&rig, &log, STREAM);
        assert!(stored > 0);
        log.trim(STREAM, log.tail(STREAM).unwrap().next);
    }
}

#[test]
fn at_free_min_calls_are_refused_and_puts_go_on_as_space_frees() {
    let mut rig = Rig::new(3);
    rig.settings.free_min = 100_000;
    rig.disk.set_capacity(200_000);
    let log = rig.open();
    let (stored, reason) = fill(&rig, &log, STREAM);
    assert!(reason.contains("16384 bytes beyond log.free_min (100000)"), "{reason}");
    assert!(stored > 5);
    assert!(rig.disk.free_bytes(Path::new(DIR)).unwrap() >= 100_000);
    // What others take of the disk is nothing we can do about; what they free is.
    rig.disk.set_capacity(250_000);
    put(&rig, &log, STREAM, &["again"]);
    assert_eq!(read_all(&log, STREAM).len() as u64, stored + 1);
}

#[test]
fn the_last_spare_segment_stays_for_a_start_after_a_crash_where_the_disk_has_no_room_for_another() {
    let mut rig = Rig::new(12);
    let log = rig.open();
    fill_segments(&rig, &log, 4);
    log.trim(STREAM, log.tail(STREAM).unwrap().next);
    eventually("segments are spare", || rig.names("free-").len() >= 2);
    rig.disk.set_capacity(rig.disk.used());
    let (stored, reason) = fill(&rig, &log, STREAM);
    assert!(stored > 0 && reason.contains("log.free_min"), "{stored}: {reason}");
    assert_eq!(rig.names("free-").len(), 1);
    let kept = read_all(&log, STREAM).len();
    let log = rig.kill();
    assert_eq!(read_all(&log, STREAM).len(), kept, "the start took it");
    assert!(rig.failures.lock().is_empty());
}

fn fill_segments(rig: &Rig, log: &FileLog, count: usize) {
    for n in 0.. {
        if rig.segments().len() >= count {
            return;
        }
        put(rig, log, STREAM, &[record(n, 3000)]);
    }
}

#[test]
fn a_disk_that_fills_while_a_segment_is_made_refuses_calls_and_ends_nothing() {
    let rig = Rig::new(4);
    rig.disk.set_capacity(90_000);
    let log = rig.open();
    let (stored, reason) = fill(&rig, &log, STREAM);
    assert!(stored > 5 && !reason.is_empty());
    rig.disk.set_capacity(1 << 20);
    rig.disk.fail_next(Operation::Write, 0, ErrorKind::StorageFull);
    let refused = wait(log.append(call(&rig, STREAM, None, &[record("x", 3000)])));
    assert!(
        matches!(&refused, Err(error::Append::Full { reason }) if reason.starts_with("make a segment")),
        "{refused:?}"
    );
    assert_eq!(put(&rig, &log, STREAM, &["again"]).first, Position(stored));
    assert!(rig.failures.lock().is_empty());
    assert_eq!(rig.names("free-").len(), 0, "what was half made is removed");
}

#[test]
fn a_process_without_a_descriptor_for_a_segment_refuses_calls_and_ends_nothing() {
    let rig = Rig::new(6);
    let log = rig.open();
    put(&rig, &log, STREAM, &[record("first", 3000)]);
    rig.disk.fail_next(Operation::Open, 0, ErrorKind::StorageFull);
    let mut stored = 1;
    let reason = loop {
        match wait(log.append(call(&rig, STREAM, None, &[record("x", 3000)]))) {
            Ok(_) => stored += 1,
            Err(error::Append::Full { reason }) => break reason,
            Err(other) => panic!("{other:?}"),
        }
        assert!(stored < 10_000, "a new segment was never needed");
    };
    assert!(reason.starts_with("open a segment"), "{reason}");
    assert_eq!(put(&rig, &log, STREAM, &["again"]).first, Position(stored));
    assert!(rig.failures.lock().is_empty());
}

#[test]
fn a_disk_without_room_for_the_checkpoint_frees_nothing_and_goes_on_later() {
    let mut rig = Rig::new(5);
    rig.settings.bytes_max = 3 * rig.settings.segment_len;
    let log = rig.open();
    fill(&rig, &log, STREAM);
    let used = rig.disk.used();
    rig.disk.set_capacity(used);
    log.trim(STREAM, log.tail(STREAM).unwrap().next);
    let refused = wait(log.append(call(&rig, STREAM, None, &[record("x", 3000)])));
    assert!(matches!(refused, Err(error::Append::Full { .. })), "{refused:?}");
    let close = wait(log.close_stream(OTHER));
    assert!(
        matches!(&close, Err(error::Append::Full { .. })),
        "a close is not answered before it is durable: {close:?}"
    );
    rig.disk.set_capacity(used + 8192);
    put(&rig, &log, STREAM, &["again"]);
    wait(log.close_stream(OTHER)).unwrap();
    assert!(rig.failures.lock().is_empty());
}

#[test]
fn a_call_larger_than_a_segment_is_refused_and_the_others_are_not() {
    let rig = Rig::new(6);
    let log = rig.open();
    let huge = [record("huge", 20_000)];
    let calls =
        [&huge[..], &[record("small", 10)][..], &[record("half", 7000)][..], &[record("half", 7000)][..]];
    let answers = wait(join_all(calls.iter().map(|records| log.append(call(&rig, STREAM, None, records)))));
    let is_stored: Vec<bool> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(
        is_stored,
        [false, true, true, true],
        "together the last three are larger than a segment, and that is no reason"
    );
    assert_eq!(read_all(&log, STREAM).len(), 3);
}

#[test]
fn a_call_without_records_stores_nothing() {
    let rig = Rig::new(7);
    let log = rig.open();
    let nothing: [&str; 0] = [];
    let answer = put(&rig, &log, STREAM, &nothing);
    assert_eq!((answer.first, answer.records), (Position(0), 0));
    assert_eq!(put(&rig, &log, STREAM, &["a"]).first, Position(0));
    assert_eq!(put_call(&rig, &log, "none", &nothing).records, 0);
    assert_eq!(read_all(&log, STREAM).len(), 1);
}

#[test]
fn recycling_keeps_the_number_of_files_small_and_makes_no_new_ones() {
    let mut rig = Rig::new(8);
    rig.settings.bytes_max = 1 << 30;
    let log = rig.open();
    let mut created = std::collections::BTreeSet::new();
    for n in 0..600 {
        put(&rig, &log, STREAM, &[record(n, 3000)]);
        log.trim(STREAM, Position(n + 1));
        created.insert(rig.disk.used() / rig.settings.segment_len);
    }
    assert!(rig.segments().len() + rig.names("free-").len() <= 4, "{:?}", rig.names(""));
    assert!(created.len() <= 4, "the disk's use stays the same: {created:?}");
    let log = rig.power_cut();
    assert_eq!(log.tail(STREAM).unwrap().next, Position(600));
    log.shutdown();
    assert!(rig.segments().len() + rig.names("free-").len() <= 4);
}

#[test]
fn a_stuck_stream_holds_its_own_records_only() {
    let mut rig = Rig::new(9);
    rig.settings.segment_len = 64 * 1024;
    rig.settings.bytes_max = 8 * rig.settings.segment_len;
    let log = rig.open();
    let mut stuck = Vec::new();
    for n in 0..600 {
        if n % 20 == 0 && stuck.len() < 16 {
            stuck.push(record(format!("stuck {n}"), 500));
            put(&rig, &log, OTHER, &[stuck.last().unwrap()]);
        }
        // As delivery does: what is full now goes on as the writer gives space back.
        let busy = record(n, 3000);
        eventually("space comes back", || wait(log.append(call(&rig, STREAM, None, &[&busy]))).is_ok());
        log.trim(STREAM, Position(n + 1));
    }
    assert_eq!(read_all(&log, OTHER), stuck);
    assert!(rig.segments().len() > 8, "holes make more segments fit without holes: {}", rig.segments().len());
    assert!(rig.disk.used() <= rig.settings.bytes_max + 65536);
    log.shutdown();
    assert!(crate::inspect::verify_on(&rig.as_disk(), Path::new(DIR)).unwrap().damage.is_empty());
    let log = rig.power_cut();
    assert_eq!(read_all(&log, OTHER), stuck);
    log.trim(OTHER, log.tail(OTHER).unwrap().next);
    for n in 0..50 {
        put(&rig, &log, STREAM, &[record(n, 3000)]);
        log.trim(STREAM, Position(601 + n));
    }
    log.shutdown();
    assert!(rig.segments().len() + rig.names("free-").len() <= 4, "{:?}", rig.names(""));
    let len = rig.settings.segment_len;
    assert!(rig.disk.used() >= rig.names("free-").len() as u64 * len, "a file with holes is not used again");
}

#[test]
fn what_is_in_memory_does_not_grow_with_frames_of_sealed_segments() {
    let mut rig = Rig::new(10);
    rig.settings.segment_len = 256 * 1024;
    rig.settings.bytes_max = 1 << 30;
    let log = rig.open();
    // Frames of one stream lie further apart than an extent bridges: the worst case.
    for round in 0..40 {
        let calls =
            (0..100).map(|stream| log.append(call(&rig, StreamId(stream), None, &[record(round, 800)])));
        wait(join_all(calls)).into_iter().for_each(|answer| assert!(answer.is_ok()));
    }
    let segments = rig.segments().len();
    assert!(segments > 10);
    let (sealed, open) = log.extents_in_memory();
    assert_eq!(sealed, 0, "extents of sealed segments stay in their footers");
    assert!(open <= 400, "{open}");
    for stream in 0..100 {
        let records = read_all(&log, StreamId(stream));
        assert_eq!(records, (0..40).map(|round| record(round, 800)).collect::<Vec<_>>());
    }
}

#[test]
fn a_reader_that_is_overtaken_by_trimming_and_recycling_is_told_so_and_never_gets_other_bytes() {
    let mut rig = Rig::new(11);
    rig.settings.bytes_max = 1 << 30;
    let log = rig.open();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let reader = std::thread::spawn({
        let (log, stop) = (log.clone(), stop.clone());
        move || {
            let mut overtaken = 0;
            while !stop.load(Ordering::SeqCst) {
                let Some(tail) = log.tail(STREAM) else { continue };
                match log.read(STREAM, tail.trimmed, 1 << 20) {
                    Ok(chunk) => {
                        for (position, _, bytes) in chunk.records() {
                            assert_eq!(bytes, record(position.0, 900));
                        }
                    }
                    Err(error::Read::Trimmed { .. }) => overtaken += 1,
                    Err(error) => panic!("{}", chain(&error)),
                }
            }
            overtaken
        }
    });
    for n in 0..3000 {
        put(&rig, &log, STREAM, &[record(n, 900)]);
        if n % 8 == 7 {
            log.trim(STREAM, Position(n));
        }
    }
    stop.store(true, Ordering::SeqCst);
    reader.join().unwrap();
}
