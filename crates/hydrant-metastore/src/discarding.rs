//! Which batches of a call are to be discarded. Pure; both stores ask here, inside their transaction.

use std::collections::HashMap;

use hydrant_types::BatchId;

use crate::{Error, error::Result, uploading::Standing};

/// Those that are `sealed` or `uploaded`; a batch that is discarded already is a repetition and left out.
///
/// # Errors
/// [`Error::BatchMoved`] where one is gone, or in another state.
pub(crate) fn pending(batches: &[BatchId], standings: &[Standing]) -> Result<Vec<BatchId>> {
    let states: HashMap<BatchId, &str> = standings.iter().map(|row| (row.id(), row.state())).collect();
    let mut pending = Vec::with_capacity(batches.len());
    for &id in batches {
        match states.get(&id).copied().unwrap_or("gone") {
            "sealed" | "uploaded" => pending.push(id),
            "discarded" => {}
            found => {
                return Err(Error::BatchMoved {
                    id,
                    expected: "sealed or uploaded",
                    found: found.to_owned(),
                });
            }
        }
    }
    Ok(pending)
}
