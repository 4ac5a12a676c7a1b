//! What the log knows of each stream: how far it is, and in which segments its records are.
//!
//! Per stream and segment one [`Run`] is kept; where in the segment its frames are stays in the footer. Only the segment that is written has
//! its extents in memory, so that memory grows with streams × segments, not with frames.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use hydrant_types::{Position, StreamId};
use serde::{Deserialize, Serialize};

use crate::{
    StreamTail,
    calls::KnownCall,
    footer::{Contents, ExtentsAt, StreamInSegment},
    segment::{Extent, push_extent},
};

/// One stream, without its records; what the checkpoint keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct StreamPoint {
    pub(crate) trimmed: Position,
    pub(crate) sealed: Position,
    pub(crate) next: Position,
    pub(crate) closed: bool,
    /// A tombstone: kept while a segment may still name the stream, or a start would take its dead records for live ones.
    pub(crate) forgotten: bool,
    /// The youngest segment that names it.
    pub(crate) last_segment: u64,
}

/// One stream's records in one segment, not wholly trimmed.
#[derive(Debug, Clone)]
struct Run {
    segment: u64,
    first: Position,
    next: Position,
    bytes: u64,
    place: Place,
}

#[derive(Debug, Clone)]
enum Place {
    /// In the segment that is written.
    Open,
    /// In the footer.
    Footer(ExtentsAt),
    /// The footer does not check, the frames were read instead.
    Memory(Arc<[Extent]>),
}

/// A run for somebody who wants to read it.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) segment: u64,
    pub(crate) first: Position,
    pub(crate) next: Position,
    pub(crate) source: Source,
}

#[derive(Debug)]
pub(crate) enum Source {
    Extents(Vec<Extent>),
    Footer(ExtentsAt),
}

#[derive(Debug, Default)]
struct StreamState {
    point: StreamPoint,
    runs: VecDeque<Run>,
}

/// All streams. Only what is durable is in here.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    by_id: BTreeMap<StreamId, StreamState>,
    /// Live bytes in each segment; a segment without is free.
    live: BTreeMap<u64, u64>,
    /// The segment that is written, with what its footer will say.
    open: Option<(u64, Arc<Contents>)>,
    changed: BTreeSet<StreamId>,
}

/// Extents of the open segment that are given out at once.
const EXTENTS_MAX: usize = 1024;

impl Streams {
    /// A stream's point; a forgotten stream has one while its tombstone is kept.
    pub(crate) fn point(&self, stream: StreamId) -> Option<StreamPoint> {
        self.by_id.get(&stream).map(|state| state.point)
    }

    pub(crate) fn tail(&self, stream: StreamId) -> Option<StreamTail> {
        self.point(stream).filter(|point| !point.forgotten).map(tail_of)
    }

    pub(crate) fn tails(&self) -> Vec<(StreamId, StreamTail)> {
        let known = self.by_id.iter().filter(|(_, state)| !state.point.forgotten);
        known.map(|(id, state)| (*id, tail_of(state.point))).collect()
    }

    /// What the checkpoint keeps, while the oldest segment is `oldest_segment`. Tombstones that no segment needs stay in memory only: there they
    /// refuse a call that was under way while its stream was deleted.
    pub(crate) fn points(&self, oldest_segment: Option<u64>) -> BTreeMap<StreamId, StreamPoint> {
        let is_named =
            |point: &StreamPoint| oldest_segment.is_some_and(|oldest| oldest <= point.last_segment);
        let points = self.by_id.iter().map(|(id, state)| (*id, state.point));
        points.filter(|(_, point)| !point.forgotten || is_named(point)).collect()
    }

    /// What a start takes from the checkpoint.
    pub(crate) fn restore(&mut self, points: &BTreeMap<StreamId, StreamPoint>) {
        for (id, point) in points {
            self.by_id.entry(*id).or_default().point = *point;
        }
    }

    /// Goes on in `segment`, which holds what `contents` says already.
    pub(crate) fn open_segment(&mut self, segment: u64, mut contents: Contents) {
        let extents = std::mem::take(&mut contents.extents);
        contents.bytes.clear();
        self.open = Some((segment, Arc::new(contents)));
        for (stream, extents) in extents {
            extents.into_iter().for_each(|extent| self.add(stream, extent));
        }
    }

    /// What the footer of the open segment will say.
    pub(crate) fn open_contents(&self) -> Option<Arc<Contents>> {
        self.open.as_ref().map(|(_, contents)| contents.clone())
    }

    fn open_mut(&mut self) -> (u64, &mut Contents) {
        let (segment, contents) = self.open.as_mut().expect("records are added to an open segment");
        (*segment, Arc::make_mut(contents))
    }

    /// Takes note of the frames written to the open segment so far.
    pub(crate) fn advance(
        &mut self,
        end: u64,
        next_lsn: hydrant_types::Lsn,
        next_group: u64,
        calls: &[KnownCall],
    ) {
        let (_, contents) = self.open_mut();
        (contents.end, contents.next_lsn, contents.next_group) = (end, next_lsn, next_group);
        contents.calls.extend_from_slice(calls);
    }

    /// Adds durable records of the open segment.
    pub(crate) fn add(&mut self, stream: StreamId, extent: Extent) {
        let bytes = extent.to_offset - extent.from_offset;
        let (segment, contents) = self.open_mut();
        push_extent(contents.extents.entry(stream).or_default(), extent);
        *contents.bytes.entry(stream).or_default() += bytes;
        let run = Run { segment, first: extent.first, next: extent.next, bytes, place: Place::Open };
        self.add_run(stream, run);
    }

    /// Adds what a footer says of a stream.
    pub(crate) fn add_sealed(&mut self, segment: u64, sealed: &StreamInSegment) {
        let StreamInSegment { stream, first, next, bytes, at } = *sealed;
        self.add_run(stream, Run { segment, first, next, bytes, place: Place::Footer(at) });
    }

    /// Adds what the frames of a segment without a footer say of a stream.
    pub(crate) fn add_scanned(&mut self, segment: u64, stream: StreamId, extents: &[Extent], bytes: u64) {
        if let (Some(first), Some(last)) = (extents.first(), extents.last()) {
            let place = Place::Memory(extents.into());
            self.add_run(stream, Run { segment, first: first.first, next: last.next, bytes, place });
        }
    }

    fn add_run(&mut self, stream: StreamId, run: Run) {
        let state = self.by_id.entry(stream).or_default();
        state.point.next = state.point.next.max(run.next);
        state.point.last_segment = state.point.last_segment.max(run.segment);
        // A start meets segments that wait to be recycled.
        if state.point.forgotten || run.next <= state.point.trimmed {
            return;
        }
        *self.live.entry(run.segment).or_default() += run.bytes;
        match state.runs.back_mut() {
            Some(last) if last.segment == run.segment => {
                last.next = run.next;
                last.bytes += run.bytes;
            }
            _ => state.runs.push_back(run),
        }
    }

    /// The open segment has its footer: its extents need not be in memory any more.
    pub(crate) fn sealed(&mut self, streams: &[StreamInSegment]) {
        let Some((segment, _)) = self.open.take() else { return };
        for sealed in streams {
            let run = self.by_id.get_mut(&sealed.stream).and_then(|state| state.runs.back_mut());
            if let Some(run) = run.filter(|run| run.segment == segment) {
                run.place = Place::Footer(sealed.at);
            }
        }
    }

    /// The runs of `stream` that hold `from` and what follows, a few of them.
    pub(crate) fn find(&self, stream: StreamId, from: Position) -> Vec<Part> {
        const PARTS_MAX: usize = 16;
        let Some(state) = self.by_id.get(&stream) else { return Vec::new() };
        let start = state.runs.partition_point(|run| run.next <= from);
        state
            .runs
            .iter()
            .skip(start)
            .take(PARTS_MAX)
            .filter_map(|run| self.part(stream, run, from, EXTENTS_MAX))
            .collect()
    }

    fn part(&self, stream: StreamId, run: &Run, from: Position, extents_max: usize) -> Option<Part> {
        let some = |extents: &[Extent]| {
            let start = extents.partition_point(|extent| extent.next <= from);
            extents.iter().skip(start).take(extents_max).copied().collect()
        };
        let source = match &run.place {
            Place::Footer(at) => Source::Footer(*at),
            Place::Memory(extents) => Source::Extents(some(extents)),
            Place::Open => Source::Extents(some(self.open.as_ref()?.1.extents.get(&stream)?)),
        };
        Some(Part { segment: run.segment, first: run.first, next: run.next, source })
    }

    pub(crate) fn mark_changed(&mut self, stream: StreamId) {
        self.changed.insert(stream);
    }

    pub(crate) fn take_changed(&mut self) -> Vec<StreamId> {
        std::mem::take(&mut self.changed).into_iter().collect()
    }

    /// Notes that everything before `to` is sealed; whether that was news.
    pub(crate) fn note_sealed(&mut self, stream: StreamId, to: Position) -> bool {
        let Some(state) = self.by_id.get_mut(&stream) else { return false };
        let to = to.min(state.point.next);
        let news = to > state.point.sealed;
        state.point.sealed = state.point.sealed.max(to);
        news
    }

    /// Takes back what was noted as sealed, down to `to` but not beyond what was trimmed.
    pub(crate) fn reset_sealed(&mut self, stream: StreamId, to: Position) {
        if let Some(StreamState { point, .. }) = self.by_id.get_mut(&stream) {
            point.sealed = to.max(point.trimmed).min(point.next);
        }
    }

    /// Drops what lies before `to`; whether anything changed.
    pub(crate) fn trim(&mut self, stream: StreamId, to: Position) -> bool {
        let Some(state) = self.by_id.get_mut(&stream) else { return false };
        let to = to.min(state.point.next);
        if to <= state.point.trimmed {
            return false;
        }
        state.point.trimmed = to;
        state.point.sealed = state.point.sealed.max(to);
        while let Some(run) = state.runs.pop_front_if(|run| run.next <= to) {
            if let Some(live) = self.live.get_mut(&run.segment) {
                *live = live.saturating_sub(run.bytes);
                if *live == 0 {
                    self.live.remove(&run.segment);
                }
            }
        }
        true
    }

    /// Refuses more records of `stream`.
    pub(crate) fn close(&mut self, stream: StreamId) {
        self.by_id.entry(stream).or_default().point.closed = true;
        self.changed.insert(stream);
    }

    /// Makes a closed and wholly trimmed stream a tombstone; whether it did.
    pub(crate) fn forget(&mut self, stream: StreamId) -> bool {
        let Some(StreamState { point, .. }) = self.by_id.get_mut(&stream) else { return false };
        if !point.closed || point.trimmed < point.next || point.forgotten {
            return false;
        }
        point.forgotten = true;
        self.changed.remove(&stream);
        true
    }

    /// Bytes in `segment` that somebody still needs.
    pub(crate) fn live_bytes(&self, segment: u64) -> u64 {
        self.live.get(&segment).copied().unwrap_or_default()
    }

    #[cfg(test)]
    pub(crate) fn extents_in_memory(&self) -> (usize, usize) {
        let runs = self.by_id.values().flat_map(|state| &state.runs);
        let of_run = |run: &Run| if let Place::Memory(extents) = &run.place { extents.len() } else { 0 };
        let open = self.open.iter().flat_map(|(_, contents)| contents.extents.values()).map(Vec::len).sum();
        (runs.map(of_run).sum(), open)
    }

    /// What is live in `segment`, each with the position before which it is not.
    pub(crate) fn live_parts(&self, segment: u64) -> Vec<(Position, Part)> {
        let mut parts = Vec::new();
        for (id, state) in &self.by_id {
            for run in state.runs.iter().filter(|run| run.segment == segment) {
                let trimmed = state.point.trimmed;
                parts.extend(self.part(*id, run, trimmed, usize::MAX).map(|part| (trimmed, part)));
            }
        }
        parts
    }
}

fn tail_of(point: StreamPoint) -> StreamTail {
    StreamTail { trimmed: point.trimmed, sealed: point.sealed, next: point.next }
}
