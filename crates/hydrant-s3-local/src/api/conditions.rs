//! Conditional reads (RFC 9110, section 13.2.2: the order in which conditions are looked at).

use s3s::dto::{ETag, ETagCondition, Timestamp};
use s3s::{S3Result, s3_error};

use crate::object::{Object, timestamp};

/// The conditions of a GET, a HEAD, or of a copy's source.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    pub(super) if_match: Option<ETagCondition>,
    pub(super) if_none_match: Option<ETagCondition>,
    pub(super) if_modified_since: Option<Timestamp>,
    pub(super) if_unmodified_since: Option<Timestamp>,
}

impl Conditions {
    /// # Errors
    /// `PreconditionFailed` or `NotModified`.
    pub(super) fn check(&self, object: &Object) -> S3Result<()> {
        // HTTP dates have whole seconds.
        let modified = timestamp(object.modified_ms / 1_000 * 1_000);
        let holds = match (&self.if_match, &self.if_unmodified_since) {
            (Some(wanted), _) => matches(wanted, &object.etag()),
            (None, Some(since)) => modified <= *since,
            (None, None) => true,
        };
        if !holds {
            return Err(s3_error!(PreconditionFailed));
        }
        let unchanged = match (&self.if_none_match, &self.if_modified_since) {
            (Some(known), _) => matches(known, &object.etag()),
            (None, Some(since)) => modified <= *since,
            (None, None) => false,
        };
        match unchanged {
            true => Err(s3_error!(NotModified)),
            false => Ok(()),
        }
    }
}

fn matches(condition: &ETagCondition, etag: &ETag) -> bool {
    condition.is_any() || condition.as_etag().is_some_and(|wanted| wanted.weak_cmp(etag))
}
