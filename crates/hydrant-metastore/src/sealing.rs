//! Which batches of a call are new, and whether they continue what is sealed. Pure; both stores ask here, inside their
//! transaction, with what they have read under its locks.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use hydrant_types::{Batch, BatchId, BatchState, Lane, LogId, Position, PositionRange, StreamId};

use crate::{Error, error::Result};

/// The positions of one lane of one stream in one log.
pub(crate) type LogLane = (LogId, StreamId, Lane);

/// A batch that was there before the call.
#[derive(sqlx::FromRow)]
pub(crate) struct Known {
    id: crate::column::Id,
    log: crate::column::Id,
    stream_id: i64,
    position_from: i64,
    position_to: i64,
    content: String,
}

impl Known {
    fn is(&self, batch: &Batch) -> bool {
        use crate::column::number;
        self.log.0 == batch.log.0
            && self.stream_id == number(batch.stream.0)
            && self.position_from == number(batch.range.from.0)
            && self.position_to == number(batch.range.to.0)
            && self.content == batch.content.name()
    }
}

/// What is to be written.
#[derive(Debug, PartialEq)]
pub(crate) struct Sealing<'a> {
    /// The batches that are not there yet, by lane and range.
    pub(crate) new: Vec<&'a Batch>,
    /// Where each lane that grows is sealed to afterwards.
    pub(crate) sealed_to: BTreeMap<LogLane, Position>,
}

/// The lane of a batch. Error output has none, and is never sealed: the table refuses it.
fn lane(batch: &Batch) -> Option<LogLane> {
    Some((batch.log, batch.stream, batch.content.lane()?))
}

/// The lanes of some batches, each once.
pub(crate) fn lanes(batches: &[Batch]) -> Vec<LogLane> {
    let mut lanes: Vec<LogLane> = batches.iter().filter_map(lane).collect();
    lanes.sort_unstable();
    lanes.dedup();
    lanes
}

/// The logs of some lanes, each once.
pub(crate) fn logs(lanes: &[LogLane]) -> impl Iterator<Item = LogId> {
    let logs: BTreeSet<LogId> = lanes.iter().map(|(log, ..)| *log).collect();
    logs.into_iter()
}

/// Batches that are known with the same range and content are a repetition and left out; the others must begin where their lane ends.
/// A lane that is not in `sealed_to` may begin anywhere: the records before are in a metastore that was wiped.
///
/// # Errors
/// [`Error::BatchMoved`] for an id that is taken by another range, [`Error::NotAdjacent`] for a gap or an overlap.
pub(crate) fn plan<'a>(
    batches: &'a [Batch],
    known: &[Known],
    sealed_to: &HashMap<LogLane, Position>,
) -> Result<Sealing<'a>> {
    debug_assert!(batches.iter().all(|b| b.state == BatchState::Sealed), "only sealed batches are inserted");
    let known: HashMap<BatchId, &Known> = known.iter().map(|row| (BatchId(row.id.0), row)).collect();
    let mut sealing = Sealing { new: Vec::with_capacity(batches.len()), sealed_to: BTreeMap::new() };
    for batch in batches {
        match known.get(&batch.id) {
            None => sealing.new.push(batch),
            Some(row) if row.is(batch) => {}
            Some(_) => return Err(other_range(batch.id)),
        }
    }
    sealing.new.sort_by_key(|batch| (lane(batch), batch.range.from));
    for batch in &sealing.new {
        let Some(lane) = lane(batch) else { continue };
        let end = sealing.sealed_to.get(&lane).or_else(|| sealed_to.get(&lane)).copied();
        check_adjacent(batch, end)?;
        sealing.sealed_to.insert(lane, batch.range.to);
    }
    Ok(sealing)
}

fn check_adjacent(batch: &Batch, end: Option<Position>) -> Result<()> {
    let PositionRange { from, .. } = batch.range;
    match end {
        Some(sealed_to) if sealed_to != from => {
            Err(Error::NotAdjacent { id: batch.id, stream: batch.stream, log: batch.log, from, sealed_to })
        }
        _ => Ok(()),
    }
}

fn other_range(id: BatchId) -> Error {
    Error::BatchMoved { id, expected: "new or of this range", found: "of another range".to_owned() }
}
