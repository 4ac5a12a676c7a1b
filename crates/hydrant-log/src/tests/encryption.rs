//! Encryption at rest: what is on the disk, who needs a key for what, and retries across changes of it.

use std::collections::BTreeSet;

use futures_util::future::join_all;

use super::*;
use crate::{
    inspect::{inspect_on, verify_on},
    segment::FRAMES_START,
};

const SECRET: &str = "attack at dawn";

fn encrypted_rig(seed: u64) -> Rig {
    let rig = Rig::new(seed);
    rig.keys.rotate(STREAM);
    rig
}

/// Records that say what they are, of lengths that say which they are.
fn secrets(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|n| record(format!("{SECRET} {n}"), 701 + 17 * n)).collect()
}

fn holds(rig: &Rig, needle: &[u8]) -> Option<PathBuf> {
    let files = rig.disk.files();
    files.into_iter().find_map(|(path, content)| memchr::memmem::find(&content, needle).map(|_| path))
}

#[test]
fn neither_records_nor_lengths_nor_check_sums_of_them_are_in_any_file() {
    for is_encrypted in [true, false] {
        let rig = if is_encrypted { encrypted_rig(1) } else { Rig::new(1) };
        let log = rig.open();
        let records = secrets(4);
        let first = put_call(&rig, &log, "call", &records);
        assert_eq!(first.encrypted, is_encrypted);
        assert!(put_call(&rig, &log, "call", &records).duplicate, "writes a frame of its own");
        put(&rig, &log, STREAM, &records);
        assert_eq!(read_all(&log, STREAM).len(), 8);
        // Enough for footers, recycled segments and the file of their calls.
        log.trim(STREAM, Position(8));
        for n in 0..100 {
            put(&rig, &log, OTHER, &[record(n, 1000)]);
            log.trim(OTHER, Position(n));
        }
        eventually("calls of a recycled segment", || rig.names("calls-").len() == 1);
        log.shutdown();
        put_call(&rig, &rig.open(), "another call", &records);

        let sealed = payload(&records).seal();
        let (data, lengths) = sealed.bytes[128..].split_at(sealed.data_len as usize);
        let needles: [&[u8]; 5] =
            [SECRET.as_bytes(), &data[..40], &lengths[..8], &sealed.digest[..8], &sealed.crc.to_le_bytes()];
        for needle in needles {
            let found = holds(&rig, needle);
            assert_eq!(found.is_none(), is_encrypted, "{needle:x?} in {found:?}");
        }
    }
}

#[test]
fn frames_in_clear_and_under_several_keys_alternate_and_read_back_after_any_start() {
    let mut rig = Rig::new(2);
    let mut log = rig.open();
    let mut expected = Vec::new();
    for n in 0..40 {
        match n % 4 {
            1 | 2 => rig.keys.rotate(STREAM),
            0 => rig.keys.stop(STREAM),
            _ => {}
        }
        let records = [record(n, 900), Vec::new(), record(n, 3)];
        assert_eq!(put(&rig, &log, STREAM, &records).encrypted, n % 4 != 0);
        expected.extend(records);
        if n % 13 == 12 {
            log = if n % 2 == 0 { rig.kill() } else { rig.power_cut() };
        }
        assert_eq!(read_all(&log, STREAM), expected);
    }
    // In the middle of an encrypted frame, too.
    for from in 0..expected.len() {
        let records = try_read(&log, STREAM, Position(from as u64), 1).unwrap();
        assert_eq!(records, expected[from..]);
    }
}

#[test]
fn every_frame_has_another_nonce() {
    let rig = encrypted_rig(3);
    let log = rig.open();
    let appends = (0..50).map(|_| log.append(call(&rig, STREAM, None, &["the same"])));
    assert!(in_one_group(&log, join_all(appends)).iter().all(Result::is_ok));
    log.shutdown();
    let content = rig.disk.files()[&rig.segments()[0]].clone();
    let frames = content[FRAMES_START as usize..].chunks_exact(128 + 32).take(50);
    let nonces: BTreeSet<_> = frames.clone().map(|frame| frame[112..124].to_vec()).collect();
    let payloads: BTreeSet<_> = frames.map(|frame| frame[128..].to_vec()).collect();
    assert_eq!((nonces.len(), payloads.len()), (50, 50));
}

#[test]
fn a_stream_whose_key_is_missing_waits_and_goes_on_when_the_key_comes() {
    let mut rig = encrypted_rig(4);
    let log = rig.open();
    put(&rig, &log, STREAM, &["first"]);
    rig.keys.rotate(STREAM);
    put(&rig, &log, STREAM, &["second"]);
    put(&rig, &log, OTHER, &["other"]);
    rig.keys.set_away(2, true);
    for _ in 0..2 {
        let log = rig.kill();
        let chunk = log.read(STREAM, Position(0), 1 << 20).unwrap();
        assert_eq!(chunk.next(), Some(Position(1)), "what is before it is given first");
        let missing = log.read(STREAM, Position(1), 1 << 20).unwrap_err();
        assert!(
            matches!(&missing, error::Read::KeyMissing { stream: STREAM, key: DataKeyId(2), path, offset }
                if *path == rig.segments()[0] && *offset > FRAMES_START),
            "{missing:?}"
        );
        assert!(missing.to_string().contains("data key 2"), "{missing}");
        assert_eq!(read_all(&log, OTHER), [b"other"]);
        assert!(put(&rig, &log, STREAM, &["more"]).encrypted, "puts go on");
        rig.keys.set_away(2, false);
        assert_eq!(try_read(&log, STREAM, Position(1), 1 << 20).unwrap()[0], b"second");
        rig.keys.set_away(2, true);
    }
}

#[test]
fn without_any_keys_everything_but_reading_works() {
    let mut rig = encrypted_rig(5);
    let log = rig.open();
    let first = put_call(&rig, &log, "call", &secrets(2));
    for n in 0..20 {
        put(&rig, &log, STREAM, &[record(n, 2000)]);
        put(&rig, &log, OTHER, &[record(n, 100)]);
    }
    let log = rig.kill();
    log.set_data_keys(Arc::new(NoKeys));
    assert!(matches!(log.read(STREAM, Position(0), 1), Err(error::Read::KeyMissing { .. })));
    assert_eq!(read_all(&log, OTHER).len(), 20);
    let again = put_call(&rig, &log, "call", &secrets(2));
    assert_eq!((again.first, again.duplicate), (first.first, true));
    let inspected = inspect_on(&rig.as_disk(), Path::new(DIR)).unwrap();
    assert_eq!(inspected.streams[&STREAM].next, Position(22));
    log.trim(STREAM, Position(21));
    log.trim(OTHER, Position(19));
    eventually("the space comes back", || rig.segments().len() <= 2);
    log.shutdown();
    let report = verify_on(&rig.as_disk(), Path::new(DIR)).unwrap();
    assert!(report.damage.is_empty(), "{report:?}");
    assert_eq!(report.encrypted_frames, 1, "of what is live");
    assert_eq!(report.streams[&STREAM].data_keys, BTreeSet::from([DataKeyId(1)]));
    assert!(report.streams[&OTHER].data_keys.is_empty());
    assert_eq!(read_all(&rig.open(), STREAM), [record(19, 2000)]);
}

struct NoKeys;

impl DataKeys for NoKeys {
    fn find(&self, _stream: StreamId, _id: DataKeyId) -> Option<Arc<DataKey>> {
        None
    }
}

#[test]
fn a_frame_that_another_key_sealed_is_damage() {
    let rig = encrypted_rig(6);
    let log = rig.open();
    put(&rig, &log, STREAM, &["a"]);
    put(&rig, &log, OTHER, &["b"]);
    rig.keys.set_wrong(true);
    let error = log.read(STREAM, Position(0), 1).unwrap_err();
    assert!(matches!(&error, error::Read::Damaged { stream: STREAM, offset: FRAMES_START, .. }), "{error:?}");
    assert!(error.to_string().contains("not what data key 1 sealed"), "{error}");
    assert_eq!(read_all(&log, OTHER), [b"b"]);
}

#[test]
fn a_payload_that_was_put_under_another_header_is_damage_though_every_check_sum_holds() {
    let mut rig = encrypted_rig(7);
    let log = rig.open();
    put(&rig, &log, STREAM, &["one"]);
    put(&rig, &log, STREAM, &["two"]);
    log.shutdown();
    rig.disk = rig.disk.kill();
    // Payloads, their check sums and nonces are exchanged, and the headers sealed anew.
    rig.disk.tamper(&rig.segments()[0], |bytes| {
        let seed = u32::from_le_bytes(bytes[56..60].try_into().unwrap());
        let (first, second) = (FRAMES_START as usize, FRAMES_START as usize + 128 + 24);
        for (from, to) in [(68, 72), (112, 124), (128, 152)] {
            for byte in from..to {
                bytes.swap(first + byte, second + byte);
            }
        }
        // The same key, stream and lengths: what differs is the time of arrival.
        bytes[first + 48] ^= 1;
        for frame in [first, second] {
            let mut crc = crc32fast::Hasher::new_with_initial(seed);
            crc.update(&bytes[frame..frame + 4]);
            crc.update(&bytes[frame + 8..frame + 128]);
            bytes[frame + 4..frame + 8].copy_from_slice(&crc.finalize().to_le_bytes());
        }
    });
    assert!(verify_on(&rig.as_disk(), Path::new(DIR)).unwrap().damage.is_empty(), "it has no key");
    let log = rig.open();
    assert!(matches!(log.read(STREAM, Position(0), 1), Err(error::Read::Damaged { .. })));
}

#[test]
fn a_retry_is_recognised_across_restarts_and_changes_of_the_data_key() {
    let mut rig = encrypted_rig(8);
    let log = rig.open();
    let first = put_call(&rig, &log, "call", &secrets(2));
    rig.keys.rotate(STREAM);
    let again = put_call(&rig, &log, "call", &secrets(2));
    assert_eq!((again.first, again.duplicate, again.encrypted), (first.first, true, true));
    for n in 0..6 {
        let log = if n % 2 == 0 { rig.kill() } else { rig.power_cut() };
        rig.keys.rotate(STREAM);
        let again = put_call(&rig, &log, "call", &secrets(2));
        assert_eq!((again.first, again.duplicate), (first.first, true), "{n}");
        assert!(!put_call(&rig, &log, "call", &secrets(3)[n % 2..]).duplicate || n > 1, "another body");
        put(&rig, &log, OTHER, &[record(n, 3000)]);
    }
}

#[test]
fn a_retry_is_recognised_across_the_start_of_encryption_and_may_not_be_across_its_end() {
    let mut rig = Rig::new(9);
    let log = rig.open();
    let first = put_call(&rig, &log, "call", &["a", "b"]);
    rig.keys.rotate(STREAM);
    let again = put_call(&rig, &log, "call", &["a", "b"]);
    assert_eq!((again.first, again.duplicate), (first.first, true));
    let log = rig.power_cut();
    let again = put_call(&rig, &log, "call", &["a", "b"]);
    assert_eq!((again.first, again.duplicate), (first.first, true));

    let encrypted = put_call(&rig, &log, "later", &["c"]);
    rig.keys.stop(STREAM);
    let clear = put_call(&rig, &log, "later", &["c"]);
    assert!(!clear.duplicate, "the log does not keep in clear what would recognise it");
    assert!(put_call(&rig, &log, "later", &["c"]).duplicate, "once");
    rig.keys.rotate(STREAM);
    let again = put_call(&rig, &log, "later", &["c"]);
    assert_eq!((again.first, again.duplicate), (encrypted.first, true));
}
