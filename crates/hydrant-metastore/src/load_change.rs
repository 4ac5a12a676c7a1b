//! Whether a load may be planned, or moved on. Pure; both stores ask here, inside their transaction.

use std::collections::HashMap;

use hydrant_types::{BatchId, Load, LoadId, LoadState};

use crate::{
    Error, NewLoad,
    column::{Id, number},
    error::Result,
};

/// What a call leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// It is to be made.
    Due,
    /// It was made by an earlier call whose answer was lost.
    Made,
}

/// A batch that a load is to take.
#[derive(sqlx::FromRow)]
pub(crate) struct Candidate {
    id: Id,
    stream_id: i64,
    state: String,
}

/// Whether a load is to be inserted. `existing` is the load of that id with its batches in manifest order.
///
/// # Errors
/// [`Error::LoadMoved`] where another load has the id.
pub(crate) fn planning(existing: Option<(&Load, &[BatchId])>, new: &NewLoad) -> Result<Change> {
    let Some((load, batches)) = existing else { return Ok(Change::Due) };
    let same = load.stream == new.load.stream
        && load.target == new.load.target
        && load.bucket == new.load.bucket
        && load.manifest_key == new.load.manifest_key
        && batches == new.batches;
    if same {
        return Ok(Change::Made);
    }
    Err(Error::LoadMoved {
        id: load.id,
        expected: "new or planned with the same batches".to_owned(),
        found: "another load".to_owned(),
    })
}

/// Checks that each batch of a new load is one of its stream's and `uploaded` still.
///
/// # Errors
/// [`Error::BatchMoved`] for the first that is not.
pub(crate) fn check_uploaded(new: &NewLoad, candidates: &[Candidate]) -> Result<()> {
    let candidates: HashMap<BatchId, &Candidate> =
        candidates.iter().map(|row| (BatchId(row.id.0), row)).collect();
    for id in &new.batches {
        let found = match candidates.get(id) {
            None => "gone",
            Some(row) if row.stream_id != number(new.load.stream.0) => "another stream's",
            Some(row) if row.state == "uploaded" => continue,
            Some(row) => &row.state,
        };
        return Err(Error::BatchMoved { id: *id, expected: "uploaded", found: found.to_owned() });
    }
    Ok(())
}

/// Refuses a second load of a table while `other` is not done.
pub(crate) fn still_loading(other: LoadId, state: &str) -> Error {
    let expected = "done, before the table's next load".to_owned();
    Error::LoadMoved { id: other, expected, found: state.to_owned() }
}

/// Whether a load is to be moved from `expected` to `next`. `current` is its row under lock.
///
/// # Errors
/// [`Error::LoadMoved`] where it is neither.
pub(crate) fn advancing(
    id: LoadId,
    current: Option<&Load>,
    expected: &LoadState,
    next: &LoadState,
) -> Result<Change> {
    match current {
        Some(load) if load.state == *expected => Ok(Change::Due),
        Some(load) if load.state == *next => Ok(Change::Made),
        Some(load) => Err(moved(id, expected, describe(&load.state))),
        None => Err(moved(id, expected, "gone".to_owned())),
    }
}

/// The state that the batches of a load get when it ends as `next`, with the reason for those that are parked.
pub(crate) fn state_of_batches(next: &LoadState) -> Option<(&'static str, Option<&str>)> {
    match next {
        LoadState::Committed { .. } => Some(("loaded", None)),
        LoadState::Abandoned { reason, .. } => Some(("parked", Some(reason))),
        LoadState::Planned { .. } | LoadState::Submitted { .. } => None,
    }
}

fn moved(id: LoadId, expected: &LoadState, found: String) -> Error {
    Error::LoadMoved { id, expected: describe(expected), found }
}

fn describe(state: &LoadState) -> String {
    format!("{} at attempt {}", state.name(), state.attempt())
}
