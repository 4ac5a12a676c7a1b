//! Bytes that are not what was written: detected, or in the last group and counted; never silently wrong or missing.

use futures_util::future::join_all;

use super::*;
use crate::{
    inspect::{Report, inspect_on, verify_on},
    segment::FRAMES_START,
};

fn records_of(n: usize) -> Vec<Vec<u8>> {
    (0..n).map(|n| record(n, 20)).collect()
}

/// Two streams, groups of one and of several frames, a named call.
fn small_log(rig: &Rig, log: &FileLog) -> Vec<(StreamId, Vec<Vec<u8>>)> {
    let records = records_of(8);
    put(rig, log, STREAM, &records[..2]);
    put(rig, log, OTHER, &records[..1]);
    let one = log.append(call(rig, STREAM, Some("named"), &records[2..3]));
    let two = log.append(call(rig, OTHER, None, &records[1..3]));
    let three = log.append(call(rig, STREAM, None, &records[3..5]));
    let answers = in_one_group(log, join_all([one, two, three]));
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    put(rig, log, OTHER, &records[3..4]);
    put(rig, log, STREAM, &records[5..7]);
    vec![(STREAM, records[..7].to_vec()), (OTHER, records[..4].to_vec())]
}

/// What became of a log with a changed byte.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Refused,
    /// Reads stopped with file and offset.
    Stopped,
    /// Every record is there.
    Whole,
    /// The last group is gone.
    Torn,
}

fn outcome(rig: &Rig, disk: SimDisk, expected: &[(StreamId, Vec<Vec<u8>>)]) -> (Outcome, Option<Report>) {
    let report = verify_on(&(Arc::new(disk.clone()) as Arc<dyn Disk>), Path::new(DIR)).ok();
    let rig = Rig {
        disk,
        failures: Arc::default(),
        clock: rig.clock.clone(),
        settings: rig.settings.clone(),
        keys: rig.keys.clone(),
        entropy: rig.entropy.clone(),
    };
    let log = match rig.try_open() {
        Ok(log) => log,
        Err(error::Open::Damaged { .. } | error::Open::Io { .. }) => return (Outcome::Refused, report),
        Err(error) => panic!("{}", chain(&error)),
    };
    let mut outcome = Outcome::Whole;
    for (stream, records) in expected {
        match try_read(&log, *stream, Position(0), 100) {
            Ok(read) if read == *records => {}
            Ok(read) => {
                assert!(
                    report.as_ref().unwrap().torn_bytes > 0,
                    "stream {stream} lost records, and nothing was counted as torn"
                );
                assert!(
                    read.len() + 2 >= records.len() && records.starts_with(&read),
                    "stream {stream} reads {read:?}"
                );
                outcome = Outcome::Torn;
            }
            Err(error::Read::UnknownStream { .. }) => panic!("stream {stream} is gone"),
            Err(error::Read::Damaged { .. } | error::Read::Missing { .. }) => outcome = Outcome::Stopped,
            Err(error) => panic!("{}", chain(&error)),
        }
    }
    (outcome, report)
}

#[test]
fn a_log_that_is_cut_at_any_byte_has_whole_calls_and_nothing_after_the_cut() {
    let mut rig = Rig::new(1);
    let log = rig.open();
    let expected = small_log(&rig, &log);
    rig.disk = rig.disk.kill();
    let path = rig.segments()[0].clone();
    let end = inspect_on(&rig.as_disk(), Path::new(DIR)).unwrap().segments[0].bytes + FRAMES_START;
    let mut seen = std::collections::BTreeSet::new();
    for cut in FRAMES_START..=end {
        for shorten in [false, true] {
            let disk = rig.disk.fork();
            disk.tamper(&path, |bytes| {
                if shorten { bytes.truncate(cut as usize) } else { bytes[cut as usize..].fill(0) }
            });
            let rig = Rig { disk, ..Rig::new(2) };
            match rig.try_open() {
                Ok(log) => {
                    let mut lengths = Vec::new();
                    for (stream, records) in &expected {
                        let read = log.tail(*stream).map_or(Vec::new(), |_| read_all(&log, *stream));
                        assert!(records.starts_with(&read), "cut at {cut}");
                        lengths.push(read.len());
                    }
                    seen.insert(lengths);
                }
                Err(error) => assert!(shorten, "cut at {cut}: {}", chain(&error)),
            }
        }
    }
    let groups = [[0, 0], [2, 0], [2, 1], [5, 3], [5, 4], [7, 4]].map(|lengths| lengths.to_vec());
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), groups, "groups are there whole or not at all");
}

#[test]
fn every_flipped_bit_of_an_unsealed_log_is_detected_or_in_the_last_group_and_counted() {
    flip_every_bit_of_an_unsealed_log(Rig::new(3), 48);
}

#[test]
fn every_flipped_bit_of_an_encrypted_unsealed_log_is_detected_or_in_the_last_group_and_counted() {
    let rig = Rig::new(3);
    rig.keys.rotate(STREAM);
    rig.keys.rotate(OTHER);
    flip_every_bit_of_an_unsealed_log(rig, 48 + 16);
}

fn flip_every_bit_of_an_unsealed_log(mut rig: Rig, last_payload_len: u64) {
    let log = rig.open();
    let expected = small_log(&rig, &log);
    rig.disk = rig.disk.kill();
    let path = rig.segments()[0].clone();
    let end = inspect_on(&rig.as_disk(), Path::new(DIR)).unwrap().segments[0].bytes + FRAMES_START;
    let last_group = end - (128 + last_payload_len);
    for byte in (0..64).chain(FRAMES_START..end) {
        for bit in 0..8 {
            let disk = rig.disk.fork();
            disk.tamper(&path, |bytes| bytes[byte as usize] ^= 1 << bit);
            let (outcome, report) = outcome(&rig, disk, &expected);
            let place = format!("bit {bit} of byte {byte}: {outcome:?}");
            if byte >= last_group {
                assert_eq!(outcome, Outcome::Torn, "{place}");
            } else {
                assert!(matches!(outcome, Outcome::Refused | Outcome::Stopped), "{place}");
                assert!(!report.unwrap().damage.is_empty(), "{place}");
            }
        }
    }
    let path = rig.path("checkpoint.json");
    for byte in 0..rig.disk.files()[&path].len() {
        for bit in 0..8 {
            let disk = rig.disk.fork();
            disk.tamper(&path, |bytes| bytes[byte] ^= 1 << bit);
            assert_eq!(
                outcome(&rig, disk, &expected).0,
                Outcome::Refused,
                "bit {bit} of the checkpoint's byte {byte}"
            );
        }
    }
}

#[test]
fn every_flipped_bit_of_a_sealed_log_is_found_by_verify_and_never_gives_other_records() {
    flip_bits_of_a_sealed_log(Rig::new(4));
}

#[test]
fn every_flipped_bit_of_a_sealed_log_that_is_partly_encrypted_is_found_by_verify_without_a_key() {
    let rig = Rig::new(4);
    rig.keys.rotate(STREAM);
    flip_bits_of_a_sealed_log(rig);
}

fn flip_bits_of_a_sealed_log(mut rig: Rig) {
    rig.settings.segment_len = FRAMES_START + 1500;
    let log = rig.open();
    let expected = small_log(&rig, &log);
    log.shutdown();
    rig.disk = rig.disk.kill();
    let report = verify_on(&rig.as_disk(), Path::new(DIR)).unwrap();
    assert!(report.damage.is_empty() && report.segments.len() == 2, "{report:?}");
    let [first, last] = rig.segments().try_into().unwrap();
    let content = rig.disk.files()[&first].clone();
    let used = content.iter().rposition(|byte| *byte != 0).unwrap();
    let footer_end = content[..content.len() - 64].iter().rposition(|byte| *byte != 0).unwrap();
    assert!(used > footer_end);
    let len = content.len();
    let mut whole = 0;
    for (path, is_last) in [(&first, false), (&last, true)] {
        let end = FRAMES_START as usize + report.segments[usize::from(is_last)].bytes as usize;
        for byte in (0..64).chain(FRAMES_START as usize..footer_end + 1).chain(len - 64..len) {
            // Every bit of headers and footers; of frames, which the unsealed log's test flips bit by bit, one bit a byte.
            let bits = if byte < 64 || byte >= end { 0..8 } else { byte as u32 % 8..byte as u32 % 8 + 1 };
            for bit in bits {
                let disk = rig.disk.fork();
                disk.tamper(path, |bytes| bytes[byte] ^= 1 << bit);
                let (outcome, report) = outcome(&rig, disk, &expected);
                let place = format!("bit {bit} of byte {byte} of {}: {outcome:?}", path.display());
                assert_ne!(outcome, Outcome::Torn, "{place}");
                let is_found = report.is_none_or(|report| !report.damage.is_empty());
                assert!(is_found || is_last && outcome == Outcome::Whole, "{place}");
                assert!(byte >= 64 || outcome == Outcome::Refused, "{place}");
                if (FRAMES_START as usize..end).contains(&byte) {
                    assert_eq!(outcome, Outcome::Stopped, "{place}");
                }
                whole += u32::from(outcome == Outcome::Whole);
            }
        }
    }
    assert!(whole > 1000, "a damaged footer costs no records: {whole}");
}

fn damaged(error: error::Read) -> (PathBuf, u64, StreamId, u64, u64) {
    match error {
        error::Read::Damaged { path, offset, stream, first, last, .. } => {
            (path, offset, stream, first.0, last.0)
        }
        error => panic!("{}", chain(&error)),
    }
}

/// Three frames in three groups: `STREAM`, `OTHER`, `STREAM`; and where the second begins.
fn three_frames(rig: &Rig, log: &FileLog) -> usize {
    put(rig, log, STREAM, &["a"]);
    put(rig, log, OTHER, &["b"]);
    put(rig, log, STREAM, &["c"]);
    FRAMES_START as usize + 136
}

#[test]
fn a_damaged_payload_in_the_middle_stops_its_stream_with_file_offset_and_lsns_and_no_other() {
    let mut rig = Rig::new(5);
    let log = rig.open();
    let second = three_frames(&rig, &log);
    rig.disk = rig.disk.kill();
    rig.disk.tamper(&rig.segments()[0], |bytes| bytes[second + 128] ^= 1);
    for _ in 0..3 {
        let log = rig.kill();
        let path = rig.segments()[0].clone();
        let error = log.read(OTHER, Position(0), 100).unwrap_err();
        assert!(chain(&error).contains("the payload's check sum does not hold"), "{}", chain(&error));
        assert_eq!(damaged(error), (path, second as u64, OTHER, 2, 2), "it is so after every start");
        assert_eq!(read_all(&log, STREAM), [b"a", b"c"]);
        assert_eq!(put(&rig, &log, OTHER, &["d"]).records, 1, "positions go on behind the damage");
        assert!(
            matches!(log.read(OTHER, Position(0), 100), Err(error::Read::Damaged { .. })),
            "never skipped"
        );
        assert_eq!(log.read(OTHER, Position(1), 100).unwrap().records().next().unwrap().2, b"d");
    }
}

#[test]
fn an_unreadable_header_that_no_checkpoint_counts_refuses_the_start() {
    let mut rig = Rig::new(6);
    let log = rig.open();
    let second = three_frames(&rig, &log);
    rig.disk = rig.disk.kill();
    let path = rig.segments()[0].clone();
    rig.disk.tamper(&path, |bytes| bytes[second + 40] ^= 1);
    match rig.try_open() {
        Err(error::Open::Damaged { path: of, offset, first, last, .. }) => {
            assert_eq!((of, offset, first.0, last.0), (path, second as u64, 2, 2));
        }
        other => panic!("{:?}", other.map(|log| log.streams())),
    }
    let report = verify_on(&rig.as_disk(), Path::new(DIR)).unwrap();
    assert_eq!(report.damage[0].offset, second as u64);
}

#[test]
fn an_unreadable_header_that_the_checkpoint_counts_stops_its_stream_only() {
    let mut rig = Rig::new(7);
    let log = rig.open();
    let second = three_frames(&rig, &log);
    // Any close writes the checkpoint.
    wait(log.close_stream(StreamId(1))).unwrap();
    rig.disk = rig.disk.kill();
    rig.disk.tamper(&rig.segments()[0], |bytes| bytes[second + 40] ^= 1);
    let log = rig.kill();
    assert_eq!(read_all(&log, STREAM), [b"a", b"c"], "also through the damage");
    assert_eq!(log.tail(OTHER).unwrap().next, Position(1), "its position is not given out again");
    assert!(matches!(log.read(OTHER, Position(0), 1), Err(error::Read::Missing { from: Position(0), .. })));
    put(&rig, &log, OTHER, &["d"]);
    assert!(log.read(OTHER, Position(0), 1).is_err(), "never skipped");
}

#[test]
fn damage_in_the_last_group_is_no_torn_tail_once_a_checkpoint_counts_it() {
    let mut rig = Rig::new(8);
    let log = rig.open();
    let second = three_frames(&rig, &log);
    wait(log.close_stream(StreamId(1))).unwrap();
    rig.disk = rig.disk.kill();
    rig.disk.tamper(&rig.segments()[0], |bytes| bytes[second + 136 + 128] ^= 1);
    let log = rig.kill();
    assert_eq!(log.tail(STREAM).unwrap().next, Position(2));
    let error = log.read(STREAM, Position(1), 1).unwrap_err();
    assert_eq!(damaged(error).2, STREAM);
    assert_eq!(log.read(STREAM, Position(0), 1).unwrap().bytes(), 1, "what is before it reads");
}

#[test]
fn a_segment_that_is_gone_stops_the_streams_that_are_in_it() {
    let mut rig = Rig::new(9);
    let log = rig.open();
    put(&rig, &log, STREAM, &["a"]);
    for n in 0..20 {
        put(&rig, &log, OTHER, &[record(n, 3000)]);
    }
    log.shutdown();
    rig.disk = rig.disk.kill();
    rig.disk.remove(&rig.segments()[0]).unwrap();
    let log = rig.open();
    assert!(matches!(log.read(STREAM, Position(0), 1), Err(error::Read::Missing { .. })));
    assert!(log.read(OTHER, Position(0), 1).is_err());
    assert_eq!(read_last(&log), record(19, 3000));
    let rest = verify_on(&rig.as_disk(), Path::new(DIR)).unwrap().damage;
    assert_eq!(rest.len(), 2, "{rest:?}");
}

fn read_last(log: &FileLog) -> Vec<u8> {
    log.read(OTHER, Position(19), 1).unwrap().records().next().unwrap().2.to_vec()
}

#[test]
fn what_is_not_this_logs_is_refused() {
    let mut rig = Rig::new(10);
    let log = rig.open();
    put(&rig, &log, STREAM, &["a"]);
    rig.disk = rig.disk.kill();
    let segment = rig.segments()[0].clone();
    let other = Rig::new(11);
    let log = other.open();
    put(&other, &log, STREAM, &["b"]);
    let foreign = other.disk.files()[&other.segments()[0]].clone();

    let disk = rig.disk.fork();
    disk.tamper(&segment, |bytes| *bytes = foreign);
    let refused = Rig { disk, ..Rig::new(12) }.try_open().map(|_| ());
    assert!(
        matches!(&refused, Err(error @ error::Open::Damaged { offset: 0, .. }) if chain(error).contains("another log's")),
        "{refused:?}"
    );

    let disk = rig.disk.fork();
    disk.rename(&segment, &rig.path("segment-00000000000000ff.log")).unwrap();
    let refused = Rig { disk, ..Rig::new(12) }.try_open().map(|_| ());
    assert!(matches!(&refused, Err(error::Open::Damaged { .. })), "{refused:?}");

    let disk = rig.disk.fork();
    disk.remove(&rig.path("checkpoint.json")).unwrap();
    let refused = Rig { disk, ..Rig::new(12) }.try_open().map(|_| ());
    assert!(matches!(&refused, Err(error::Open::NoCheckpoint { .. })), "{refused:?}");

    let rig = Rig { settings: Settings { segment_len: 4096, ..rig.settings.clone() }, ..Rig::new(13) };
    assert!(matches!(rig.try_open(), Err(error::Open::SegmentTooShort { .. })));
}
