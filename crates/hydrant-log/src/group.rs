//! A commit group: the frames that one sync makes durable, and who waits for them.

use std::collections::HashMap;

use hydrant_types::{Position, StreamId, Timestamp};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::{
    Appended, CallKey,
    calls::{CallId, Calls, KnownCall},
    error,
    footer::PER_FRAME_MAX,
    frame::{FrameKind, HEADER_LEN, Header, SealedPayload},
    segment::Extent,
    streams::Streams,
};

pub(crate) type AppendAnswer = oneshot::Sender<Result<Appended, error::Append>>;
pub(crate) type CloseAnswer = oneshot::Sender<Result<Position, error::Append>>;

pub(crate) enum Request {
    Append(AppendRequest),
    Close(StreamId, CloseAnswer),
    /// Something is to be written into the checkpoint.
    Wake,
    Stop,
}

pub(crate) struct AppendRequest {
    pub(crate) stream: StreamId,
    pub(crate) payload: SealedPayload,
    pub(crate) arrival: Timestamp,
    pub(crate) call: Option<NamedCall>,
    pub(crate) answer: AppendAnswer,
    /// Bytes in the queue; given back when the request is answered.
    pub(crate) permit: OwnedSemaphorePermit,
}

/// How a call is named, and under which names it may be stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NamedCall {
    pub(crate) key: CallKey,
    pub(crate) id: CallId,
    /// Of an encrypted call: as an earlier attempt was stored in clear, before encryption was started.
    pub(crate) id_in_clear: Option<CallId>,
}

impl NamedCall {
    pub(crate) fn of(key: CallKey, stream: StreamId, payload: &SealedPayload) -> Self {
        let id_of = |digest: [u8; 16]| CallId::of(key, &digest, stream);
        Self { key, id: id_of(payload.digest), id_in_clear: payload.digest_in_clear.map(id_of) }
    }

    fn ids(self) -> impl Iterator<Item = CallId> {
        [Some(self.id), self.id_in_clear].into_iter().flatten()
    }
}

impl AppendRequest {
    /// Bytes that it may take in a segment, its part of the footer included.
    pub(crate) fn cost(&self) -> u64 {
        self.payload.bytes.len() as u64 + PER_FRAME_MAX
    }
}

/// One call that waits for the group.
pub(crate) struct Waiting {
    pub(crate) stream: StreamId,
    pub(crate) answer: AppendAnswer,
    pub(crate) appended: Appended,
    /// Its records, once they are written.
    pub(crate) extent: Option<Extent>,
    /// To be remembered once the group is durable.
    pub(crate) call: Option<KnownCall>,
    /// What is answered was durable before this group.
    pub(crate) was_stored: bool,
    /// Its place in the queue, given back when it is answered.
    _permit: OwnedSemaphorePermit,
}

/// A frame to be written, and for whom.
pub(crate) struct Frame {
    pub(crate) header: Header,
    pub(crate) bytes: Vec<u8>,
    pub(crate) waiting: usize,
}

/// What one sync makes durable.
#[derive(Default)]
pub(crate) struct Group {
    pub(crate) frames: Vec<Frame>,
    pub(crate) waiting: Vec<Waiting>,
    pub(crate) closes: Vec<(StreamId, CloseAnswer)>,
    /// Where each stream is after the frames so far, and whether it is closed.
    nexts: HashMap<StreamId, (Position, bool)>,
    /// Named calls in the frames so far.
    named: HashMap<CallId, KnownCall>,
}

impl Group {
    /// Bytes of frames.
    pub(crate) fn len(&self) -> u64 {
        self.frames.iter().map(|frame| frame.bytes.len() as u64).sum()
    }

    /// Bytes that it may take in a segment.
    pub(crate) fn cost(&self) -> u64 {
        self.len() + self.frames.len() as u64 * PER_FRAME_MAX
    }

    /// Gives an append its positions, or those of its first attempt, or refuses it at once.
    pub(crate) fn add(&mut self, append: AppendRequest, streams: &Streams, calls: &Calls, now: Timestamp) {
        let AppendRequest { stream, payload, arrival, call, answer, permit } = append;
        let in_group = call.and_then(|call| call.ids().find_map(|id| self.named.get(&id).copied()));
        let stored = call.and_then(|call| call.ids().find_map(|id| calls.get(&id, now)));
        let is_new = in_group.is_none() && stored.is_none();
        let (next, is_closed) = *self.nexts.entry(stream).or_insert_with(|| {
            streams.point(stream).map_or((Position::FIRST, false), |point| (point.next, point.closed))
        });
        if is_new && is_closed {
            let _ = answer.send(Err(error::Append::StreamClosed { stream }));
            return;
        }
        let (first, records) =
            in_group.or(stored).map_or((next, payload.records), |known| (known.first, known.records));
        let known = call.map(|call| KnownCall { id: call.id, first, records, seen: now });
        let key = call.map(|call| call.key);
        let encrypted = payload.encrypted.is_some();
        if is_new && records > 0 {
            self.nexts.insert(stream, (first.plus(u64::from(records)), false));
            let header = header(FrameKind::Records, stream, first, arrival, records, &payload, key);
            self.frames.push(Frame { header, bytes: payload.bytes, waiting: self.waiting.len() });
        } else if in_group.is_none() && stored.is_some() {
            // On disk too: a restart must not forget it sooner than the process would.
            let header = header(FrameKind::Retry, stream, first, now, records, &payload, key);
            self.frames.push(Frame { header, bytes: vec![0; HEADER_LEN], waiting: self.waiting.len() });
        }
        self.named.extend(known.map(|known| (known.id, known)));
        self.waiting.push(Waiting {
            stream,
            answer,
            appended: Appended { first, records, duplicate: !is_new, encrypted },
            extent: None,
            call: known.filter(|_| in_group.is_none() && records > 0),
            was_stored: stored.is_some(),
            _permit: permit,
        });
    }

    /// Appends that come after are refused.
    pub(crate) fn close(&mut self, stream: StreamId, answer: CloseAnswer, streams: &Streams) {
        let next = self.nexts.get(&stream).map(|(next, _)| *next);
        let next = next.or_else(|| streams.point(stream).map(|point| point.next)).unwrap_or(Position::FIRST);
        self.nexts.insert(stream, (next, true));
        self.closes.push((stream, answer));
    }

    /// Answers everybody but the closes: what they wait for is durable.
    pub(crate) fn answer(waiting: Vec<Waiting>) {
        // Who asked may be gone; then nobody is to be answered.
        waiting.into_iter().for_each(|call| drop(call.answer.send(Ok(call.appended))));
    }

    /// Nothing of it is stored.
    pub(crate) fn refuse(waiting: Vec<Waiting>, reason: &str) {
        for call in waiting {
            let refused = || error::Append::Full { reason: reason.to_owned() };
            // A retry of what is stored is answered even now.
            let answer = if call.was_stored { Ok(call.appended) } else { Err(refused()) };
            let _ = call.answer.send(answer);
        }
    }

    /// What of it is stored nobody knows.
    pub(crate) fn give_up(waiting: Vec<Waiting>, closes: Vec<(StreamId, CloseAnswer)>) {
        waiting.into_iter().for_each(|call| drop(call.answer.send(Err(error::Append::OutcomeUnknown))));
        closes.into_iter().for_each(|(_, answer)| drop(answer.send(Err(error::Append::OutcomeUnknown))));
    }
}

/// A header without the numbers that writing gives it.
fn header(
    kind: FrameKind,
    stream: StreamId,
    first: Position,
    arrival: Timestamp,
    records: u32,
    payload: &SealedPayload,
    call: Option<CallKey>,
) -> Header {
    let has_payload = kind == FrameKind::Records;
    Header {
        kind,
        lsn: hydrant_types::Lsn(0),
        group: 0,
        group_len: 0,
        group_offset: 0,
        stream,
        first,
        records,
        arrival,
        payload_len: if has_payload { payload.payload_len } else { 0 },
        data_len: if has_payload { payload.data_len } else { 0 },
        payload_crc: if has_payload { payload.crc } else { crc32fast::hash(&[]) },
        call: call.map_or([0; 16], |call| call.0),
        digest: payload.digest,
        encrypted: payload.encrypted.filter(|_| has_payload),
    }
}
