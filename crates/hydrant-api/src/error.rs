//! Errors as AWS JSON 1.1 has them.

use hydrant_auth::Denied;
use serde_json::Value;

use crate::shape::Finding;

/// Every code that is given.
pub(crate) const CODES: [&str; 19] = [
    "SerializationException",
    "ValidationException",
    "InvalidArgumentException",
    "ResourceNotFoundException",
    "ResourceInUseException",
    "LimitExceededException",
    "ConcurrentModificationException",
    "InvalidKMSResourceException",
    "UnknownOperationException",
    "ServiceUnavailableException",
    "RequestEntityTooLargeException",
    "RequestTimeoutException",
    "InternalFailure",
    // Of hydrant-auth.
    "MissingAuthenticationTokenException",
    "IncompleteSignatureException",
    "InvalidSignatureException",
    "UnrecognizedClientException",
    "ThrottlingException",
    Denied::CODE,
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
    /// `code`, which InvalidKMSResourceException has: what the key's service said.
    pub kms_code: Option<&'static str>,
}

impl ApiError {
    fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        debug_assert!(CODES.contains(&code), "{code} is counted");
        Self { status, code, message: Some(message.into()), kms_code: None }
    }

    /// Not JSON, or a member of the wrong type.
    pub(crate) fn serialization(message: impl Into<String>) -> Self {
        Self::new(400, "SerializationException", message)
    }

    /// Shapes are violated; all of them in one message.
    pub(crate) fn validation(violations: &[Finding]) -> Self {
        let errors = if violations.len() == 1 { "error" } else { "errors" };
        let texts: Vec<&str> = violations.iter().map(|violation| violation.text.as_str()).collect();
        let message = format!("{} validation {errors} detected: {}", texts.len(), texts.join("; "));
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

    pub(crate) fn concurrent_modification(message: impl Into<String>) -> Self {
        Self::new(400, "ConcurrentModificationException", message)
    }

    /// `kms_code` is the name of the exception that AWS's key service would have given.
    pub(crate) fn invalid_kms_resource(kms_code: &'static str, message: impl Into<String>) -> Self {
        Self { kms_code: Some(kms_code), ..Self::new(400, "InvalidKMSResourceException", message) }
    }

    pub(crate) fn unknown_operation() -> Self {
        Self { status: 400, code: "UnknownOperationException", message: None, kms_code: None }
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
        // The code comes first, as AWS writes it. AccessDenied's message has a capital, unlike all others'.
        let mut body = format!(r#"{{"__type":"{}""#, self.code);
        let message = if self.code == Denied::CODE { "Message" } else { "message" };
        for (member, value) in [("code", self.kms_code), (message, self.message.as_deref())] {
            if let Some(value) = value {
                body.push_str(&format!(r#","{member}":{}"#, Value::from(value)));
            }
        }
        body.push('}');
        body
    }
}

impl From<hydrant_auth::Error> for ApiError {
    fn from(error: hydrant_auth::Error) -> Self {
        Self::new(error.status(), error.code(), error.to_string())
    }
}

impl From<Denied> for ApiError {
    fn from(denied: Denied) -> Self {
        Self::new(400, Denied::CODE, denied.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_of_an_unverified_caller_is_counted() {
        assert!(hydrant_auth::Error::CODES.iter().all(|code| CODES.contains(code)));
    }
}
