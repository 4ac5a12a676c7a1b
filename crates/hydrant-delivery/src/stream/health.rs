//! Whether a lane's uploads go through: said once per change, not once per try.

use hydrant_types::{Lane, StreamName};
use parking_lot::Mutex;
use tracing::{info, warn};

use crate::{metrics::Metrics, object_store::Error};

/// The code of the failure that a lane is in, if any.
pub(super) struct Health {
    stream: StreamName,
    lane: Lane,
    metrics: Metrics,
    failing: Mutex<Option<String>>,
}

impl Health {
    pub(super) fn new(stream: StreamName, lane: Lane, metrics: Metrics) -> Self {
        Self { stream, lane, metrics, failing: Mutex::new(None) }
    }

    /// An upload failed and will be tried again.
    pub(super) fn failed(&self, error: &Error) {
        let mut failing = self.failing.lock();
        if failing.as_deref() != Some(&error.code) {
            warn!(stream = %self.stream, lane = %self.lane, code = error.code, %error, "uploads fail and are tried again until they succeed");
            self.metrics.uploads_fail(failing.as_deref(), Some(&error.code));
            *failing = Some(error.code.clone());
        }
    }

    /// An upload succeeded.
    pub(super) fn succeeded(&self) {
        if let Some(code) = self.failing.lock().take() {
            info!(stream = %self.stream, lane = %self.lane, code, "uploads succeed again");
            self.metrics.uploads_fail(Some(&code), None);
        }
    }

    /// Whether the last upload failed.
    pub(super) fn is_failing(&self) -> bool {
        self.failing.lock().is_some()
    }
}

impl Drop for Health {
    /// The stream has nothing to upload any more, so nothing fails.
    fn drop(&mut self) {
        let code = self.failing.get_mut().take();
        self.metrics.uploads_fail(code.as_deref(), None);
    }
}
