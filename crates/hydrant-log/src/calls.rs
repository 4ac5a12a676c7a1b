//! Calls that were stored, so that a retry gets the first answer (design decision D4).
//!
//! A call is on disk in its own frame, then in its segment's footer. When the segment is recycled before the call is forgotten, it goes
//! into a small file of its own, so that a restart does not forget what was delivered quickly.

use std::{
    collections::{HashMap, VecDeque},
    io,
    path::Path,
};

use hydrant_types::{Position, StreamId, Timestamp};
use sha2::{Digest, Sha256};

use crate::{
    CallKey,
    disk::{Disk, DiskFile},
    fields::{Cursor, put_u32, put_u64},
    frame::Header,
};

/// How long after the last attempt a call is remembered: longer than any SDK keeps trying.
pub(crate) const REMEMBERED_MS: u64 = 5 * 60 * 1000;
/// About 40 MiB of them.
pub(crate) const CALLS_MAX: usize = 400_000;
const FILE_MAGIC: &[u8; 8] = b"HYDRCAL1";

/// Names a stored call: producer's key, stream and payload digest, hashed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct CallId([u8; 16]);

impl CallId {
    pub(crate) fn of(key: CallKey, digest: &[u8; 16], stream: StreamId) -> Self {
        let hash = Sha256::new()
            .chain_update(key.0)
            .chain_update(digest)
            .chain_update(stream.0.to_le_bytes())
            .finalize();
        let mut id = [0; 16];
        id.copy_from_slice(&hash[..16]);
        Self(id)
    }
}

/// A stored call and where its records are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KnownCall {
    pub(crate) id: CallId,
    pub(crate) first: Position,
    pub(crate) records: u32,
    pub(crate) seen: Timestamp,
}

impl KnownCall {
    /// Bytes on disk.
    pub(crate) const LEN: usize = 36;

    /// The call that a frame stores or asks for again, if its producer named it.
    pub(crate) fn in_frame(header: &Header) -> Option<Self> {
        (header.call != [0; 16]).then(|| Self {
            id: CallId::of(CallKey(header.call), &header.digest, header.stream),
            first: header.first,
            records: header.records,
            seen: header.arrival,
        })
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.id.0);
        put_u64(out, self.first.0);
        put_u32(out, self.records);
        put_u64(out, self.seen.0);
    }

    pub(crate) fn get_all(bytes: &[u8]) -> Vec<Self> {
        let get = |bytes| {
            let mut fields = Cursor(bytes);
            Self {
                id: CallId(fields.array()),
                first: Position(fields.u64()),
                records: fields.u32(),
                seen: Timestamp(fields.u64()),
            }
        };
        bytes.chunks_exact(Self::LEN).map(get).collect()
    }
}

#[derive(Debug, Clone, Copy)]
struct Stored {
    first: Position,
    records: u32,
    seen: Timestamp,
}

/// The calls of the last five minutes.
#[derive(Debug)]
pub(crate) struct Calls {
    known: HashMap<CallId, Stored>,
    /// In the order in which they may be forgotten, each once; one that was seen again since is put back.
    order: VecDeque<(Timestamp, CallId)>,
    max: usize,
}

impl Default for Calls {
    fn default() -> Self {
        Self { known: HashMap::new(), order: VecDeque::new(), max: CALLS_MAX }
    }
}

impl Calls {
    /// The call, if it was stored before and is remembered still.
    pub(crate) fn get(&self, id: &CallId, now: Timestamp) -> Option<KnownCall> {
        let stored = self.known.get(id).filter(|stored| is_young(stored.seen, now))?;
        Some(KnownCall { id: *id, first: stored.first, records: stored.records, seen: stored.seen })
    }

    /// Remembers a call, or that it was seen again; forgets what is old or beyond the budget.
    pub(crate) fn remember(&mut self, call: KnownCall, now: Timestamp) {
        self.forget_old(now);
        if !is_young(call.seen, now) {
            return;
        }
        match self.known.get_mut(&call.id) {
            // Seen again; or stored again, because it was forgotten in between.
            Some(stored) => {
                let seen = stored.seen.max(call.seen);
                *stored = Stored { first: call.first, records: call.records, seen };
            }
            None => {
                self.known
                    .insert(call.id, Stored { first: call.first, records: call.records, seen: call.seen });
                self.order.push_back((call.seen, call.id));
            }
        }
        while self.known.len() > self.max {
            self.forget_first(|seen, since| seen <= since);
        }
    }

    /// Remembers what a start found, in any order.
    pub(crate) fn restore(&mut self, mut found: Vec<KnownCall>, now: Timestamp) {
        found.sort_by_key(|call| (call.seen, call.id));
        found.into_iter().for_each(|call| self.remember(call, now));
    }

    fn forget_old(&mut self, now: Timestamp) {
        while self.order.front().is_some_and(|(since, _)| !is_young(*since, now)) {
            self.forget_first(|seen, _| !is_young(seen, now));
        }
    }

    /// Takes the first in order; forgets it where `is_due` (last seen, when it was put in order), else puts it back behind.
    fn forget_first(&mut self, is_due: impl Fn(Timestamp, Timestamp) -> bool) {
        let Some((since, id)) = self.order.pop_front() else { return };
        match self.known.get(&id).map(|stored| stored.seen) {
            Some(seen) if !is_due(seen, since) => self.order.push_back((seen, id)),
            _ => {
                self.known.remove(&id);
            }
        }
    }
}

/// Whether a call last seen at `seen` is to be remembered. A clock that was set back forgets nothing.
pub(crate) fn is_young(seen: Timestamp, now: Timestamp) -> bool {
    now.0.saturating_sub(seen.0) <= REMEMBERED_MS
}

/// `calls-000000000000001f.log`, for the calls of that segment.
pub(crate) fn file_name(seq: u64) -> String {
    format!("calls-{seq:016x}.log")
}

pub(crate) fn is_file_name(name: &str) -> bool {
    name.starts_with("calls-") && name.ends_with(".log")
}

/// Writes calls into a file of their own, synced; the directory is not.
pub(crate) fn write_file(disk: &dyn Disk, path: &Path, calls: &[KnownCall]) -> io::Result<()> {
    let mut bytes = FILE_MAGIC.to_vec();
    bytes.extend_from_slice(&[0; 4]);
    calls.iter().for_each(|call| call.put(&mut bytes));
    let crc = crc32fast::hash(&bytes[12..]);
    bytes[8..12].copy_from_slice(&crc.to_le_bytes());
    let file = disk.create(path)?;
    file.write_at(&bytes, 0)?;
    file.sync()
}

/// Reads them; none where the file does not check.
pub(crate) fn read_file(file: &dyn DiskFile) -> io::Result<Vec<KnownCall>> {
    let mut bytes = vec![0; file.len()? as usize];
    file.read_at(&mut bytes, 0)?;
    if bytes.len() < 12
        || &bytes[..8] != FILE_MAGIC
        || crc32fast::hash(&bytes[12..]).to_le_bytes() != bytes[8..12]
    {
        return Ok(Vec::new());
    }
    Ok(KnownCall::get_all(&bytes[12..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(n: u64, at: u64) -> KnownCall {
        let id = CallId::of(CallKey::of(&n.to_le_bytes()), &[0; 16], StreamId(1));
        KnownCall { id, first: Position(n), records: 1, seen: Timestamp(at) }
    }

    #[test]
    fn a_call_is_forgotten_five_minutes_after_it_was_last_seen() {
        let mut calls = Calls::default();
        calls.remember(call(1, 0), Timestamp(0));
        let at = Timestamp(REMEMBERED_MS);
        assert!(calls.get(&call(1, 0).id, at).is_some());
        calls.remember(call(1, at.0), at);
        calls.remember(call(2, at.0 + 1), Timestamp(at.0 + 1));
        assert!(calls.get(&call(1, 0).id, Timestamp(at.0 + 1)).is_some(), "it was seen again");
        let later = Timestamp(2 * REMEMBERED_MS + 2);
        assert!(calls.get(&call(1, 0).id, later).is_none(), "also where nothing was remembered since");
        calls.remember(call(3, later.0), later);
        assert_eq!(calls.known.len(), 1);
        assert_eq!(calls.order.len(), 1, "nothing is left behind in the order");
    }

    #[test]
    fn beyond_the_budget_what_was_seen_longest_ago_goes_first() {
        let mut calls = Calls { max: 2, ..Calls::default() };
        calls.remember(call(1, 1), Timestamp(1));
        calls.remember(call(2, 2), Timestamp(2));
        calls.remember(call(1, 3), Timestamp(3));
        calls.remember(call(3, 4), Timestamp(4));
        let known = [1, 2, 3].map(|n| calls.get(&call(n, 0).id, Timestamp(4)).is_some());
        assert_eq!(known, [true, false, true]);
        assert_eq!(calls.order.len(), 2);
    }

    #[test]
    fn the_same_call_key_with_another_payload_or_stream_is_another_call() {
        let key = CallKey::of(b"call");
        let id = CallId::of(key, &[1; 16], StreamId(1));
        assert_ne!(id, CallId::of(key, &[2; 16], StreamId(1)));
        assert_ne!(id, CallId::of(key, &[1; 16], StreamId(2)));
    }
}
