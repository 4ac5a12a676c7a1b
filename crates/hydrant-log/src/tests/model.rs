//! Random operations against a small model, with *reopen*, *kill*, *power cut* and *crash at the n-th disk operation* among them.
//!
//! What the model holds the log to:
//! 1. every acknowledged record reads back exactly, until it is trimmed;
//! 2. a call whose outcome nobody saw is there whole or not at all;
//! 3. positions are dense, and a position that was ever visible keeps its content;
//! 4. a retry within five minutes of the last attempt gets the first answer, also over restarts;
//! 5. trims and closes hold; what a crash may take back of a trim is still readable;
//! 6. what was only ever put while its stream was encrypted is nowhere on the disk in clear;
//! 7. a log with everything trimmed takes records again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures_util::future::join_all;
use hydrant_types::{Clock, Position, StreamId};
use proptest::prelude::*;

use super::*;
use crate::calls::REMEMBERED_MS;

#[derive(Debug, Clone)]
enum Step {
    /// Calls made at the same time.
    Put(Vec<Call>),
    /// Named calls that were made before, again.
    Retry(Vec<usize>),
    Close(u64),
    Trim(u64, u8),
    Seal(u64, u8),
    Forget(u64),
    /// Encrypts with a new data key from now on, or not at all.
    Encrypt(u64, bool),
    Check,
    Wait(u64),
    Reopen,
    Kill,
    PowerCut,
    /// The process dies at the n-th changing disk operation from now on.
    CrashAfter(u64, bool),
}

#[derive(Debug, Clone)]
struct Call {
    stream: u64,
    named: bool,
    lengths: Vec<usize>,
}

#[derive(Clone)]
struct Made {
    stream: StreamId,
    key: Option<String>,
    records: Vec<Vec<u8>>,
    /// Whether this attempt is encrypted.
    encrypted: bool,
}

impl std::fmt::Debug for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}, stream {}, {} records", self.key, self.stream, self.records.len())
    }
}

/// What the model knows of a named call that is stored.
#[derive(Debug, Clone, Copy)]
struct Known {
    first: Position,
    /// When it was stored: that much is on disk.
    stored: u64,
    /// The last attempt that was surely seen.
    seen: u64,
}

#[derive(Debug, Default)]
struct Stream {
    /// Every record that was ever visible, by position.
    records: Vec<Vec<u8>>,
    trimmed: u64,
    sealed: u64,
    closed: bool,
    forgotten: bool,
    /// Calls and a close whose outcome nobody saw.
    unknown: Vec<Made>,
    close_unknown: bool,
}

struct Model {
    rig: Rig,
    log: Arc<FileLog>,
    streams: BTreeMap<StreamId, Stream>,
    named: Vec<Made>,
    /// By stream, name, and whether the attempt that it answers is encrypted.
    known: BTreeMap<(StreamId, String, bool), Known>,
    /// What every record begins with that was never put in clear.
    secrets: BTreeSet<Vec<u8>>,
    calls_made: u64,
    /// How the process ends when it dies by itself.
    next_is_power_cut: bool,
}

impl Model {
    fn new(seed: u64) -> Self {
        let mut rig = Rig::new(seed);
        rig.settings.bytes_max = 10 * rig.settings.segment_len;
        let log = rig.open();
        Self {
            rig,
            log,
            streams: BTreeMap::new(),
            named: Vec::new(),
            known: BTreeMap::new(),
            secrets: BTreeSet::new(),
            calls_made: 0,
            next_is_power_cut: false,
        }
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Put(calls) => {
                let made = calls.into_iter().map(|call| self.make(call)).collect();
                self.put(made);
            }
            Step::Retry(which) => {
                if !self.named.is_empty() {
                    let made = which.iter().map(|n| self.named[n % self.named.len()].clone()).collect();
                    self.put(made);
                }
            }
            Step::Close(stream) => self.close(StreamId(stream)),
            Step::Trim(stream, part) => {
                let Some((id, to)) = self.part_of(stream, part) else { return };
                self.log.trim(id, Position(to));
                let stream = self.streams.get_mut(&id).unwrap();
                stream.trimmed = stream.trimmed.max(to);
                stream.sealed = stream.sealed.max(to);
            }
            Step::Seal(stream, part) => {
                let Some((id, to)) = self.part_of(stream, part) else { return };
                self.log.note_sealed(id, Position(to));
                let stream = self.streams.get_mut(&id).unwrap();
                stream.sealed = stream.sealed.max(to);
            }
            Step::Forget(stream) => {
                let id = StreamId(stream);
                self.log.forget_stream(id);
                if let Some(stream) = self.streams.get_mut(&id) {
                    stream.forgotten |= (stream.closed
                        || stream.close_unknown && self.log.tail(id).is_none())
                        && stream.trimmed == stream.records.len() as u64;
                }
            }
            Step::Encrypt(stream, true) => self.rig.keys.rotate(StreamId(stream)),
            Step::Encrypt(stream, false) => self.rig.keys.stop(StreamId(stream)),
            Step::Check => self.check(),
            Step::Wait(millis) => self.rig.clock.advance(millis),
            Step::Reopen => {
                self.log.shutdown();
                if self.rig.disk.is_dead() {
                    return self.restart();
                }
                self.rig.disk.crash_after(u64::MAX);
                self.log = self.rig.open();
                self.doubt_retries();
                self.check();
            }
            Step::Kill => self.end(false),
            Step::PowerCut => self.end(true),
            Step::CrashAfter(steps, power_cut) => {
                self.next_is_power_cut = power_cut;
                self.rig.disk.crash_after(steps);
            }
        }
        if self.rig.disk.is_dead() {
            self.restart();
        }
    }

    fn make(&mut self, call: Call) -> Made {
        self.calls_made += 1;
        let n = self.calls_made;
        let records =
            call.lengths.iter().enumerate().map(|(i, len)| record(format!("call {n} record {i}"), *len));
        let made = Made {
            stream: StreamId(call.stream),
            key: call.named.then(|| format!("call {n}")),
            records: records.collect(),
            encrypted: false,
        };
        self.secrets.extend(made.records.iter().map(|record| secret_of(record)));
        if call.named {
            self.named.push(made.clone());
        }
        made
    }

    fn put(&mut self, mut made: Vec<Made>) {
        // The id of a forgotten stream is not used again.
        made.retain(|made| !self.streams.get(&made.stream).is_some_and(|stream| stream.forgotten));
        for made in &mut made {
            made.encrypted = self.rig.keys.current(made.stream).is_some();
            if !made.encrypted {
                self.secrets.retain(|secret| !made.records.iter().any(|record| secret_of(record) == *secret));
            }
        }
        let now = self.rig.clock.now();
        let log = self.log.clone();
        let appends = made
            .iter()
            .map(|made| log.append(call(&self.rig, made.stream, made.key.as_deref(), &made.records)));
        let mut answers: Vec<_> = made.iter().zip(wait(join_all(appends))).collect();
        // In the order in which the log has them: stored ones first, by position; then those that are answered from these.
        answers.sort_by_key(|(_, answer)| {
            answer.as_ref().map_or((true, Position::FIRST), |a| (a.duplicate, a.first))
        });
        let is_empty = self.streams.values().all(|stream| stream.trimmed == stream.records.len() as u64);
        for (made, answer) in answers {
            let name = made.key.clone().map(|key| (made.stream, key, made.encrypted));
            // As it would be found: as an encrypted attempt stored it, then as one in clear did.
            let may_be_found: Vec<Known> = [true, false]
                .into_iter()
                .filter(|encrypted| made.encrypted || !encrypted)
                .filter_map(|encrypted| self.known.get(&(made.stream, made.key.clone()?, encrypted)).copied())
                .collect();
            let is_young = |known: &Known| now.0 - known.seen <= REMEMBERED_MS;
            let stream = self.streams.entry(made.stream).or_default();
            match answer {
                Ok(Appended { first, records, duplicate, encrypted }) => {
                    assert_eq!(records as usize, made.records.len(), "{made:?}");
                    assert_eq!(encrypted, made.encrypted);
                    // Remembering longer than that loses nothing; that calls are forgotten at all has its own tests.
                    let must_be_found = may_be_found.iter().any(is_young);
                    assert!(duplicate || !must_be_found, "{made:?} {may_be_found:?}");
                    let mut known = None;
                    if duplicate {
                        // Of two, the first is what counts where it is surely remembered.
                        let choices = match may_be_found.first() {
                            Some(known) if is_young(known) => 1,
                            _ => may_be_found.len(),
                        };
                        known = may_be_found[..choices].iter().find(|known| known.first == first);
                        assert!(known.is_some(), "{made:?}: {first}, {may_be_found:?}");
                    } else {
                        assert!(!stream.closed, "stored in a closed stream: {made:?}");
                        assert_eq!(first.0, stream.records.len() as u64, "positions are dense: {made:?}");
                        stream.records.extend_from_slice(&made.records);
                    }
                    let stored = known.map_or(now.0, |known| known.stored);
                    let known = Known { first, stored, seen: now.0 };
                    self.known.extend(name.map(|name| (name, known)));
                }
                Err(error::Append::StreamClosed { .. }) => assert!(stream.closed || stream.close_unknown),
                Err(error::Append::Full { reason }) => {
                    assert!(!is_empty || self.rig.disk.is_dead(), "{reason}, and everything is trimmed");
                }
                Err(error::Append::ShuttingDown) => assert!(self.rig.disk.is_dead()),
                Err(error::Append::OutcomeUnknown) => {
                    assert!(self.rig.disk.is_dead());
                    if !may_be_found.iter().any(is_young) {
                        stream.unknown.push(made.clone());
                    }
                }
            }
        }
    }

    fn close(&mut self, id: StreamId) {
        let stream = self.streams.entry(id).or_default();
        if stream.forgotten {
            return;
        }
        match wait(self.log.close_stream(id)) {
            Ok(next) => {
                assert_eq!(next.0, stream.records.len() as u64);
                stream.closed = true;
            }
            Err(_) => {
                assert!(self.rig.disk.is_dead());
                stream.close_unknown = true;
            }
        }
    }

    /// A position of the stream, `part` 255ths of the way from what is trimmed to its end.
    fn part_of(&self, stream: u64, part: u8) -> Option<(StreamId, u64)> {
        let id = StreamId(stream);
        let stream = self.streams.get(&id)?;
        let rest = stream.records.len() as u64 - stream.trimmed;
        Some((id, stream.trimmed + rest * u64::from(part) / 255))
    }

    fn end(&mut self, power_cut: bool) {
        self.next_is_power_cut = power_cut;
        self.restart();
    }

    /// The process is dead or is ended now; another one starts, perhaps more than once.
    fn restart(&mut self) {
        // What was shown before must be there afterwards.
        let shown: Vec<_> = self.log.streams();
        let mut seed = fastrand::Rng::with_seed(self.calls_made + self.rig.disk.operations());
        for attempt in 0.. {
            let power_cut = if attempt == 0 { self.next_is_power_cut } else { seed.bool() };
            self.rig.disk = if power_cut { self.rig.disk.power_cut() } else { self.rig.disk.kill() };
            if attempt < 3 && seed.bool() {
                // Dies again, somewhere in the start.
                self.rig.disk.crash_after(seed.u64(..12));
            }
            match self.rig.try_open() {
                Ok(log) => {
                    self.log = log;
                    break;
                }
                Err(error) => assert!(self.rig.disk.is_dead(), "{}", chain(&error)),
            }
        }
        self.rig.disk.crash_after(u64::MAX);
        if self.rig.disk.is_dead() {
            return self.restart();
        }
        self.doubt_retries();
        for (id, tail) in shown {
            if let Some(now) = self.log.tail(id) {
                assert!(now.next >= tail.next, "stream {id} shrank from {} to {}", tail.next, now.next);
            }
        }
        self.adopt();
        self.check();
    }

    /// Attempts that were answered while the log was full are not on disk.
    fn doubt_retries(&mut self) {
        self.known.values_mut().for_each(|known| known.seen = known.stored);
    }

    /// What a crash leaves open, the log has decided: it must be one of the possible things.
    fn adopt(&mut self) {
        let log = self.log.clone();
        for (id, stream) in &mut self.streams {
            let had = stream.records.len() as u64;
            let Some(tail) = log.tail(*id) else {
                assert!(stream.forgotten || had == 0 && !stream.closed, "stream {id} is gone");
                stream.unknown.clear();
                continue;
            };
            stream.forgotten = false;
            assert!(tail.trimmed.0 <= stream.trimmed, "stream {id}: more is trimmed than was asked for");
            assert!(tail.sealed.0 <= stream.sealed && tail.sealed >= tail.trimmed, "stream {id}");
            assert!(tail.next.0 >= had, "stream {id} ends at {}, acknowledged to {had}", tail.next);
            (stream.trimmed, stream.sealed) = (tail.trimmed.0, tail.sealed.0);
            let mut new = try_read(&log, *id, Position(had), 1000).unwrap();
            assert_eq!(new.len() as u64, tail.next.0 - had);
            while !new.is_empty() {
                let whole = stream.unknown.iter().position(|made| new.starts_with(&made.records));
                let made = stream
                    .unknown
                    .remove(whole.unwrap_or_else(|| panic!("stream {id} has part of a call: {:?}", new[0])));
                let first = Position(stream.records.len() as u64);
                new.drain(..made.records.len());
                stream.records.extend_from_slice(&made.records);
                if let Some(key) = made.key {
                    let now = self.rig.clock.now().0;
                    // A second attempt in the same group has the same content.
                    stream.unknown.retain(|other| other.key.as_ref() != Some(&key));
                    self.known.insert((*id, key, made.encrypted), Known { first, stored: now, seen: now });
                }
            }
            stream.unknown.clear();
            if std::mem::take(&mut stream.close_unknown) {
                // Closing again makes it sure.
                stream.closed = wait(log.close_stream(*id)).is_ok();
            }
        }
    }

    fn check(&mut self) {
        if self.rig.disk.is_dead() {
            return;
        }
        for (path, content) in self.rig.disk.files() {
            for secret in &self.secrets {
                let found = memchr::memmem::find(&content, secret);
                assert_eq!(found, None, "{} in {}", String::from_utf8_lossy(secret), path.display());
            }
        }
        for (id, stream) in &self.streams {
            let tail = self.log.tail(*id);
            if stream.forgotten || tail.is_none() {
                assert!(
                    tail.is_none() && (stream.forgotten || stream.records.is_empty()),
                    "stream {id}: {tail:?}"
                );
                continue;
            }
            let tail = tail.unwrap();
            let expected = (stream.trimmed, stream.sealed, stream.records.len() as u64);
            assert_eq!((tail.trimmed.0, tail.sealed.0, tail.next.0), expected, "stream {id}");
            for bytes_max in [1, 700, 1 << 20] {
                match try_read(&self.log, *id, tail.trimmed, bytes_max) {
                    Ok(records) => assert!(
                        records == stream.records[stream.trimmed as usize..],
                        "stream {id} reads otherwise"
                    ),
                    Err(_) if self.rig.disk.is_dead() => return,
                    Err(error) => panic!("stream {id}: {}", chain(&error)),
                }
            }
            if let Some(before) = stream.trimmed.checked_sub(1) {
                let refused = self.log.read(*id, Position(before), 1);
                assert!(matches!(refused, Err(error::Read::Trimmed { .. })), "{refused:?}");
            }
        }
    }
}

/// What a record begins with, up to its padding.
fn secret_of(record: &[u8]) -> Vec<u8> {
    record.split_inclusive(|byte| *byte == b'|').next().unwrap().to_vec()
}

fn call_strategy() -> impl Strategy<Value = Call> {
    let lengths = prop::collection::vec(prop_oneof![0usize..40, 0usize..900], 1..5);
    (1u64..5, any::<bool>(), lengths).prop_map(|(stream, named, lengths)| Call { stream, named, lengths })
}

fn step_strategy() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => prop::collection::vec(call_strategy(), 1..8).prop_map(Step::Put),
        5 => prop::collection::vec(any::<usize>(), 1..4).prop_map(Step::Retry),
        1 => (3u64..6).prop_map(Step::Close),
        6 => (1u64..5, prop_oneof![Just(255u8), any::<u8>()]).prop_map(|(stream, part)| Step::Trim(stream, part)),
        2 => (1u64..5, any::<u8>()).prop_map(|(stream, part)| Step::Seal(stream, part)),
        1 => (3u64..6).prop_map(Step::Forget),
        3 => (1u64..5, prop::bool::weighted(0.7)).prop_map(|(stream, on)| Step::Encrypt(stream, on)),
        2 => Just(Step::Check),
        2 => prop_oneof![0..1000u64, Just(REMEMBERED_MS / 2), Just(REMEMBERED_MS + 1)].prop_map(Step::Wait),
        2 => Just(Step::Reopen),
        2 => Just(Step::Kill),
        2 => Just(Step::PowerCut),
        4 => (0u64..25, any::<bool>()).prop_map(|(steps, power_cut)| Step::CrashAfter(steps, power_cut)),
    ]
}

fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(200)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn the_log_keeps_its_promises_whatever_happens(
        seed: u64,
        steps in prop::collection::vec(step_strategy(), 1..60),
    ) {
        let mut model = Model::new(seed);
        for step in steps {
            model.run(step);
        }
        model.run(Step::Check);
        model.run(Step::PowerCut);
    }
}
