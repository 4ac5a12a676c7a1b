//! Errors as AWS JSON 1.1 has them.

use serde_json::json;

/// Every code that is given.
pub(crate) const CODES: [&str; 11] = [
    "SerializationException",
    "ValidationException",
    "InvalidArgumentException",
    "ResourceNotFoundException",
    "ResourceInUseException",
    "LimitExceededException",
    "UnknownOperationException",
    "ServiceUnavailableException",
    "RequestEntityTooLargeException",
    "RequestTimeoutException",
    "InternalFailure",
];

/// An error answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// HTTP status.
    pub status: u16,
    /// `__type`, without a namespace.
    pub code: &'static str,
    /// `message`; some codes have none.
    pub message: Option<String>,
}

impl ApiError {
    fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        debug_assert!(CODES.contains(&code), "{code} is counted");
        Self { status, code, message: Some(message.into()) }
    }

    /// Not JSON, or a member of the wrong type.
    pub(crate) fn serialization(message: impl Into<String>) -> Self {
        Self::new(400, "SerializationException", message)
    }

    /// Shapes are violated; all of them in one message.
    pub(crate) fn validation(violations: &[String]) -> Self {
        let errors = if violations.len() == 1 { "error" } else { "errors" };
        let message = format!("{} validation {errors} detected: {}", violations.len(), violations.join("; "));
        Self::new(400, "ValidationException", message)
    }

    pub(crate) fn invalid_argument(message: impl Into<String>) -> Self {
        Self::new(400, "InvalidArgumentException", message)
    }

    pub(crate) fn not_found(stream: &str, account: &str) -> Self {
        Self::new(
            400,
            "ResourceNotFoundException",
            format!("Firehose {stream} under account {account} not found."),
        )
    }

    pub(crate) fn not_active(stream: &str, account: &str) -> Self {
        Self::new(
            400,
            "ResourceNotFoundException",
            format!("Firehose {stream} is not active in {account} account."),
        )
    }

    pub(crate) fn in_use(message: impl Into<String>) -> Self {
        Self::new(400, "ResourceInUseException", message)
    }

    pub(crate) fn limit_exceeded(message: impl Into<String>) -> Self {
        Self::new(400, "LimitExceededException", message)
    }

    pub(crate) fn unknown_operation() -> Self {
        Self { status: 400, code: "UnknownOperationException", message: None }
    }

    /// 503, which every SDK retries by itself.
    pub(crate) fn unavailable() -> Self {
        Self::new(503, "ServiceUnavailableException", "Slow down.")
    }

    pub(crate) fn too_large(bytes_max: usize) -> Self {
        Self::new(
            413,
            "RequestEntityTooLargeException",
            format!("The request is larger than {bytes_max} bytes."),
        )
    }

    pub(crate) fn request_timeout() -> Self {
        Self::new(408, "RequestTimeoutException", "The request's body did not arrive in time.")
    }

    pub(crate) fn internal() -> Self {
        Self::new(500, "InternalFailure", "The request failed; the service's log says why.")
    }

    /// The body of the answer.
    pub fn body(&self) -> String {
        match &self.message {
            Some(message) => json!({"__type": self.code, "message": message}).to_string(),
            None => json!({"__type": self.code}).to_string(),
        }
    }
}
