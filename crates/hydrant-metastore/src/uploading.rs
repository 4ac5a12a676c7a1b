//! Which batches of a call are to be marked as uploaded. Pure; both stores ask here, inside their transaction.

use std::collections::HashMap;

use hydrant_types::BatchId;

use crate::{
    Error, Uploaded,
    column::{Id, number},
    error::Result,
};

/// The state of a batch and its object.
#[derive(sqlx::FromRow)]
pub(crate) struct Standing {
    id: Id,
    state: String,
    etag: Option<String>,
    object_bytes: Option<i64>,
}

impl Standing {
    pub(crate) fn id(&self) -> BatchId {
        BatchId(self.id.0)
    }

    pub(crate) fn state(&self) -> &str {
        &self.state
    }

    fn has_object_of(&self, uploaded: &Uploaded) -> bool {
        self.etag.as_deref() == Some(uploaded.object.etag.as_str())
            && self.object_bytes == Some(number(uploaded.object.bytes))
    }
}

/// Those whose batch is `sealed` still; a batch that has the very object already is a repetition and left out.
///
/// # Errors
/// [`Error::BatchMoved`] where one is gone, lost, discarded, or has another object.
pub(crate) fn pending<'a>(uploaded: &'a [Uploaded], standings: &[Standing]) -> Result<Vec<&'a Uploaded>> {
    let standings: HashMap<BatchId, &Standing> = standings.iter().map(|row| (row.id(), row)).collect();
    let mut pending = Vec::with_capacity(uploaded.len());
    for upload in uploaded {
        match standings.get(&upload.id) {
            Some(standing) if standing.state == "sealed" => pending.push(upload),
            Some(standing) if standing.has_object_of(upload) => {}
            Some(standing) => return Err(moved(upload.id, &standing.state)),
            None => return Err(moved(upload.id, "gone")),
        }
    }
    Ok(pending)
}

/// The state that an upload leads to.
pub(crate) fn state_after(uploaded: &Uploaded) -> &'static str {
    if uploaded.delivered { "delivered" } else { "uploaded" }
}

fn moved(id: BatchId, found: &str) -> Error {
    Error::BatchMoved { id, expected: "sealed", found: found.to_owned() }
}
