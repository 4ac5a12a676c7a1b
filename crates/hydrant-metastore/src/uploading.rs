//! Which batches of a call are to be marked as uploaded. Pure; both stores ask here, inside their transaction.

use std::collections::HashMap;

use hydrant_types::{BatchId, StoredObject};

use crate::{
    Error, FailedObject, Uploaded,
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

    /// Whether this is what the upload leads to: the very object, or none because there was nothing to be put.
    fn is_after(&self, uploaded: &Uploaded) -> bool {
        match &uploaded.object {
            None => self.state == "empty",
            Some(StoredObject { etag, bytes }) => {
                self.etag.as_ref() == Some(etag) && self.object_bytes == Some(number(*bytes))
            }
        }
    }
}

/// Those whose batch is `sealed` still, each once; a batch that has the very object already is a repetition and left out, and its error
/// output with it: that came in the same transaction.
///
/// # Errors
/// [`Error::BatchMoved`] where one is gone, lost, discarded, or has another object.
pub(crate) fn pending<'a>(uploaded: &'a [Uploaded], standings: &[Standing]) -> Result<Vec<&'a Uploaded>> {
    let standings: HashMap<BatchId, &Standing> = standings.iter().map(|row| (row.id(), row)).collect();
    let mut pending = Vec::with_capacity(uploaded.len());
    let mut taken: HashMap<BatchId, &Uploaded> = HashMap::with_capacity(uploaded.len());
    for upload in uploaded {
        match standings.get(&upload.id) {
            Some(standing) if standing.state == "sealed" => match taken.insert(upload.id, upload) {
                None => pending.push(upload),
                Some(first) if first == upload => {}
                Some(_) => return Err(moved(upload.id, "uploaded as another object in the same call")),
            },
            Some(standing) if standing.is_after(upload) => {}
            Some(standing) => return Err(moved(upload.id, &standing.state)),
            None => return Err(moved(upload.id, "gone")),
        }
    }
    Ok(pending)
}

/// The state that an upload leads to.
pub(crate) fn state_after(uploaded: &Uploaded) -> &'static str {
    match (&uploaded.object, uploaded.delivered) {
        (None, _) => "empty",
        (Some(_), true) => "delivered",
        (Some(_), false) => "uploaded",
    }
}

/// The error output of some uploads, each with the batch that it is beside.
pub(crate) fn failed<'a>(pending: &[&'a Uploaded]) -> Vec<(BatchId, &'a FailedObject)> {
    pending.iter().flat_map(|upload| upload.failed.iter().map(|failed| (upload.id, failed))).collect()
}

fn moved(id: BatchId, found: &str) -> Error {
    Error::BatchMoved { id, expected: "sealed", found: found.to_owned() }
}
