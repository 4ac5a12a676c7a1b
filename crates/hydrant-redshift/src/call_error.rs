//! What a failed Data API call asks for, in one place.

use std::time::Duration;

use aws_sdk_redshiftdata::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

use crate::{Error, Kind, redaction::redacted};

/// Errors that the SDK models for one operation.
pub(crate) trait CallError: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static {}
impl<E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static> CallError for E {}

/// What a call leaves behind when its answer is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing that matters: it may simply be made again.
    Harmless,
    /// A statement that may run.
    Statement,
}

/// Firehose's code for a warehouse that cannot be reached.
const CONNECTION_FAILED: &str = "Redshift.ConnectionFailed";
/// Codes that pass by themselves. What is not here is not retried under the same token.
const PASSING: [&str; 8] = [
    "ThrottlingException",
    "Throttling",
    "TooManyRequestsException",
    "ActiveStatementsExceededException",
    "ActiveSessionsExceededException",
    "ActiveWaitingRequestsExceededException",
    "RequestLimitExceeded",
    "SlowDown",
];
/// Codes that say that the warehouse behind the Data API is away.
const AWAY: [&str; 3] = ["DatabaseConnectionException", "ServiceUnavailable", "ServiceUnavailableException"];
/// Codes that do not say whether the statement was taken.
const UNCLEAR: [&str; 4] = [
    "BatchExecuteStatementException",
    "ExecuteStatementException",
    "InternalServerException",
    "InternalFailure",
];

pub(crate) fn from_sdk<E: CallError>(step: &'static str, effect: Effect, error: &SdkError<E>) -> Error {
    if let SdkError::ServiceError(service) = error {
        let code = service.err().code().unwrap_or("InternalError").to_owned();
        let message =
            service.err().message().map_or_else(|| DisplayErrorContext(error).to_string(), str::to_owned);
        let kind = kind_of(&code, service.raw().status().as_u16(), effect);
        let code = if kind == Kind::Unreachable { CONNECTION_FAILED.to_owned() } else { code };
        return Error { step, code, message: redacted(&message), kind };
    }
    let message = redacted(&DisplayErrorContext(error).to_string());
    let was_sent = match error {
        // A wrong setting of ours, which somebody may put right.
        SdkError::ConstructionFailure(_) => false,
        // No credentials (which may come), or no connection: nothing left this machine.
        SdkError::DispatchFailure(failure) => {
            !(failure.is_user() || is_without_connection(&message) || is_without_credentials(&message))
        }
        _ => true,
    };
    let kind = if was_sent { lost(effect) } else { Kind::Unreachable };
    Error { step, code: CONNECTION_FAILED.to_owned(), message, kind }
}

/// The call was given up.
pub(crate) fn timed_out(step: &'static str, effect: Effect, after: Duration) -> Error {
    let message = format!("no answer within {after:?}");
    Error { step, code: CONNECTION_FAILED.to_owned(), message, kind: lost(effect) }
}

/// What the loss of an answer means.
fn lost(effect: Effect) -> Kind {
    match effect {
        Effect::Harmless => Kind::Unreachable,
        Effect::Statement => Kind::OutcomeUnknown,
    }
}

fn kind_of(code: &str, status: u16, effect: Effect) -> Kind {
    if PASSING.contains(&code) || status == 429 {
        return Kind::Retry { after: None };
    }
    if AWAY.contains(&code) {
        return Kind::Unreachable;
    }
    if UNCLEAR.contains(&code) || status >= 500 {
        return match effect {
            Effect::Harmless => Kind::Retry { after: None },
            Effect::Statement => Kind::OutcomeUnknown,
        };
    }
    Kind::Rejected
}

/// The SDK tells a connection that was never made from one that was cut only in the words of the causes: refused, no such host,
/// TLS, and the time-out of connecting.
fn is_without_connection(causes: &str) -> bool {
    causes.contains("client error (Connect)") || causes.contains("HTTP connect")
}

fn is_without_credentials(causes: &str) -> bool {
    causes.contains("failed to select an auth scheme")
        || causes.contains("no auth options are available")
        || causes.contains("the credential provider was not enabled")
        || causes.contains("failed to load credentials")
        || causes.contains("no providers in chain provided credentials")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_statement_can_have_an_unknown_outcome() {
        let retry = Kind::Retry { after: None };
        for (code, status, statement, harmless) in [
            ("ThrottlingException", 400, retry, retry),
            ("ActiveStatementsExceededException", 400, retry, retry),
            ("DatabaseConnectionException", 500, Kind::Unreachable, Kind::Unreachable),
            ("ServiceUnavailable", 503, Kind::Unreachable, Kind::Unreachable),
            ("BatchExecuteStatementException", 500, Kind::OutcomeUnknown, retry),
            ("InternalServerException", 500, Kind::OutcomeUnknown, retry),
            ("SomethingNew", 502, Kind::OutcomeUnknown, retry),
            ("ValidationException", 400, Kind::Rejected, Kind::Rejected),
            ("AccessDeniedException", 400, Kind::Rejected, Kind::Rejected),
            ("SomethingNew", 400, Kind::Rejected, Kind::Rejected),
        ] {
            assert_eq!(kind_of(code, status, Effect::Statement), statement, "{code}");
            assert_eq!(kind_of(code, status, Effect::Harmless), harmless, "{code}");
        }
    }
}
