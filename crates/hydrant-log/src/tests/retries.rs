//! Retry recognition (design decision D4).

use futures_util::future::join_all;

use super::*;
use crate::calls::REMEMBERED_MS;

fn is_duplicate_of(again: Appended, first: Appended) -> bool {
    again.duplicate && (again.first, again.records) == (first.first, first.records)
}

#[test]
fn a_retry_gets_the_first_answer_and_nothing_is_stored_twice() {
    let rig = Rig::new(1);
    let log = rig.open();
    let first = put_call(&rig, &log, "one", &["a", "b"]);
    put(&rig, &log, STREAM, &["between"]);
    assert!(is_duplicate_of(put_call(&rig, &log, "one", &["a", "b"]), first));
    assert!(!put_call(&rig, &log, "one", &["a", "c"]).duplicate, "another body is another call");
    assert!(!put_call(&rig, &log, "two", &["a", "b"]).duplicate);
    let other = wait(log.append(call(&rig, OTHER, Some("one"), &["a", "b"]))).unwrap();
    assert!(!other.duplicate, "another stream is another call");
    assert!(!put(&rig, &log, STREAM, &["a", "b"]).duplicate, "calls without a name are never retries");
    assert_eq!(read_all(&log, STREAM).len(), 9);
}

#[test]
fn attempts_made_at_the_same_time_are_stored_once() {
    let rig = Rig::new(2);
    let log = rig.open();
    for n in 0..50 {
        let key = format!("call {n}");
        let attempts = (0..8).map(|_| log.append(call(&rig, STREAM, Some(&key), &[record(n, 50)])));
        let answers = in_one_group(&log, join_all(attempts));
        let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
        assert_eq!(answers.iter().filter(|answer| !answer.duplicate).count(), 1);
        assert!(answers.iter().all(|answer| answer.first == Position(n)));
    }
    assert_eq!(read_all(&log, STREAM).len(), 50);
}

#[test]
fn attempts_in_a_group_that_is_refused_are_all_refused_and_may_be_made_again() {
    let mut rig = Rig::new(3);
    rig.settings.bytes_max = 2 * rig.settings.segment_len;
    let log = rig.open();
    let stored = put_call(&rig, &log, "stored", &["x"]);
    while wait(log.append(call(&rig, OTHER, None, &[record("fill", 3000)]))).is_ok() {}
    let big = [record("new", 3000)];
    let attempts = (0..3).map(|_| log.append(call(&rig, STREAM, Some("new"), &big)));
    for answer in in_one_group(&log, join_all(attempts)) {
        assert!(matches!(answer, Err(error::Append::Full { .. })), "{answer:?}");
    }
    assert!(
        is_duplicate_of(put_call(&rig, &log, "stored", &["x"]), stored),
        "what is stored is answered though it is full"
    );
    log.trim(OTHER, log.tail(OTHER).unwrap().next);
    let answer = put_call(&rig, &log, "new", &big);
    assert_eq!((answer.first, answer.duplicate), (Position(1), false));
    assert_eq!(read_all(&log, STREAM).len(), 2);
}

#[test]
fn a_retry_after_a_kill_in_the_sync_is_recognised() {
    let mut rig = Rig::new(4);
    let log = rig.open();
    put_call(&rig, &log, "before", &["x"]);
    rig.disk.crash_after(1);
    let unknown = wait(log.append(call(&rig, STREAM, Some("one"), &["a", "b"])));
    assert!(matches!(unknown, Err(error::Append::OutcomeUnknown)));
    let log = rig.kill();
    let again = put_call(&rig, &log, "one", &["a", "b"]);
    assert_eq!((again.first, again.duplicate), (Position(1), true));
}

#[test]
fn retries_are_recognised_over_clean_stops_kills_and_power_cuts() {
    let mut rig = Rig::new(5);
    let log = rig.open();
    let first = put_call(&rig, &log, "one", &["a"]);
    log.shutdown();
    let log = rig.power_cut();
    assert!(is_duplicate_of(put_call(&rig, &log, "one", &["a"]), first));
    for n in 0..30 {
        let log = if n % 2 == 0 { rig.kill() } else { rig.power_cut() };
        assert!(is_duplicate_of(put_call(&rig, &log, "one", &["a"]), first), "{n}");
        put(&rig, &log, OTHER, &[record(n, 3000)]);
    }
}

#[test]
fn a_call_is_remembered_for_five_minutes_after_the_last_attempt_also_over_a_restart() {
    let mut rig = Rig::new(6);
    let log = rig.open();
    let first = put_call(&rig, &log, "one", &["a"]);
    rig.clock.advance(REMEMBERED_MS - 1000);
    assert!(is_duplicate_of(put_call(&rig, &log, "one", &["a"]), first));
    let log = rig.power_cut();
    rig.clock.advance(REMEMBERED_MS - 1000);
    assert!(is_duplicate_of(put_call(&rig, &log, "one", &["a"]), first), "the second attempt counts");
    log.shutdown();
    let log = rig.kill();
    rig.clock.advance(REMEMBERED_MS + 1);
    assert!(!put_call(&rig, &log, "one", &["a"]).duplicate, "it is forgotten");
}

#[test]
fn a_retry_is_recognised_over_a_restart_though_its_records_were_delivered_and_their_segment_recycled() {
    let mut rig = Rig::new(7);
    let log = rig.open();
    let first = put_call(&rig, &log, "one", &["a"]);
    for n in 0..100 {
        put(&rig, &log, OTHER, &[record(n, 1000)]);
        log.trim(OTHER, Position(n + 1));
        log.trim(STREAM, Position(1));
    }
    let old = rig.path("segment-0000000000000001.log");
    assert!(!rig.segments().contains(&old), "it was recycled");
    assert_eq!(rig.names("calls-").len(), 1);
    let mut log = rig.power_cut();
    assert!(is_duplicate_of(put_call(&rig, &log, "one", &["a"]), first));
    rig.clock.advance(REMEMBERED_MS + 1);
    for n in 0..2 {
        log.shutdown();
        log = if n == 0 { rig.kill() } else { rig.power_cut() };
    }
    log.shutdown();
    assert_eq!(rig.names("calls-").len(), 0, "what nobody may ask for any more is removed");
}

#[test]
fn calls_that_nobody_may_ask_for_any_more_are_removed_also_while_the_log_is_idle() {
    let rig = Rig::new(8);
    let log = rig.open();
    put_call(&rig, &log, "one", &["a"]);
    for n in 0..100 {
        put(&rig, &log, OTHER, &[record(n, 1000)]);
        log.trim(OTHER, Position(n + 1));
        log.trim(STREAM, Position(1));
    }
    assert_eq!(rig.names("calls-").len(), 1);
    rig.clock.advance(REMEMBERED_MS + 1);
    eventually("they are removed", || rig.names("calls-").is_empty());
}
