//! What can fail between us and the Data API.

use std::time::Duration;

/// A Data API call failed.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {message}")]
pub struct Error {
    /// What was being done.
    pub step: &'static str,
    /// Firehose's error code where one fits (`Redshift.…`, developer guide, "Data delivery error codes"), or the Data API's own.
    pub code: String,
    /// The service's words.
    pub message: String,
    /// What the caller does about it.
    pub kind: Kind,
}

/// What the caller does about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Not done, for a passing reason (throttled, too many active statements): try again later.
    Retry {
        /// The service's hint.
        after: Option<Duration>,
    },
    /// The warehouse could not be reached, or a question to it got no answer: as `Retry`, and the time does not count against
    /// RetryOptions.
    Unreachable,
    /// Refused: the same call gets the same answer.
    Rejected,
    /// May have been done: look before doing it again.
    OutcomeUnknown,
}
