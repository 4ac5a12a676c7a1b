//! How a lane's objects are written.

use std::sync::Arc;

use hydrant_types::{Destination, Lane, S3Settings};

use crate::processing::Pipeline;

/// Under one version of the stream's settings. Cheap to clone.
#[derive(Clone)]
pub(super) struct LaneSettings {
    pub(super) s3: Arc<S3Settings>,
    /// What is done to records before they are written.
    pub(super) pipeline: Option<Arc<Pipeline>>,
}

impl LaneSettings {
    /// `None` where the destination does not have this lane.
    pub(super) fn of(destination: &Destination, lane: Lane) -> Option<Self> {
        let s3 = destination.lane(lane)?;
        // A backup's settings have no processing: it has records as they came.
        let pipeline = Pipeline::of(&s3.processing).map(Arc::new);
        Some(Self { s3: Arc::new(s3.clone()), pipeline })
    }
}
