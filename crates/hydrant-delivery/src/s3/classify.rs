//! What an S3 error means, in one place.

use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use hydrant_types::{BucketName, ObjectKey};

use crate::object_store::{Error, Kind};

/// Codes that Firehose logs under the same name with `S3.` before it (developer guide, "Monitoring with CloudWatch Logs").
const FIREHOSE_CODES: [&str; 7] = [
    "AccessDenied",
    "AccountProblem",
    "AllAccessDisabled",
    "InvalidPayer",
    "NotSignedUp",
    "NoSuchBucket",
    "MethodNotAllowed",
];
/// Longest message that is kept.
const MESSAGE_LEN_MAX: usize = 500;

/// Whether an answer to a PUT with If-None-Match says that the store has no conditions.
pub(super) fn is_unsupported(status: Option<u16>, code: Option<&str>) -> bool {
    status == Some(501) || code == Some("NotImplemented")
}

/// The error of a call that failed.
pub(super) fn error<E>(
    step: &'static str,
    bucket: &BucketName,
    key: &ObjectKey,
    error: SdkError<E, HttpResponse>,
) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let (code, kind) = match &error {
        SdkError::TimeoutError(_) => ("S3.Timeout".to_owned(), Kind::Unreachable),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => {
            ("S3.Timeout".to_owned(), Kind::Unreachable)
        }
        SdkError::DispatchFailure(failure) if failure.is_io() => {
            ("S3.Unreachable".to_owned(), Kind::Unreachable)
        }
        SdkError::ResponseError(_) => ("S3.Unreachable".to_owned(), Kind::Unreachable),
        SdkError::ServiceError(answer) => {
            let status = answer.raw().status().as_u16();
            (code_of(status, answer.err().code()), Kind::Refused)
        }
        // No credentials, an address that is none …: found without waiting for anybody.
        _ => ("InternalError".to_owned(), Kind::Refused),
    };
    let mut message = match (error.code(), error.message()) {
        (Some(theirs), Some(message)) => format!("{theirs}: {message}"),
        _ => DisplayErrorContext(&error).to_string(),
    };
    if let Some((end, _)) = message.char_indices().nth(MESSAGE_LEN_MAX) {
        message.truncate(end);
    }
    Error { step, bucket: bucket.clone(), key: key.clone(), code, message, kind }
}

/// Another object has the key of ours. Nothing of it is touched; a person has to look.
pub(super) fn other_object(bucket: &BucketName, key: &ObjectKey, bytes: u64) -> Error {
    Error {
        step: "put",
        bucket: bucket.clone(),
        key: key.clone(),
        code: "S3.ObjectDiffers".to_owned(),
        message: format!("an object of {bytes} bytes with other records has this key already"),
        kind: Kind::Refused,
    }
}

fn code_of(status: u16, code: Option<&str>) -> String {
    match (status, code) {
        (_, Some(code)) if FIREHOSE_CODES.contains(&code) => format!("S3.{code}"),
        (_, Some(code)) if code.starts_with("KMS.") => format!("S3.{code}"),
        // An answer to HEAD has no body, and so no code.
        (403, _) => "S3.AccessDenied".to_owned(),
        (404, _) => "S3.NoSuchBucket".to_owned(),
        _ => "InternalError".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_that_firehose_logs() {
        assert_eq!(code_of(403, Some("AccessDenied")), "S3.AccessDenied");
        assert_eq!(code_of(403, Some("SignatureDoesNotMatch")), "S3.AccessDenied");
        assert_eq!(code_of(404, Some("NoSuchBucket")), "S3.NoSuchBucket");
        assert_eq!(code_of(400, Some("KMS.NotFoundException")), "S3.KMS.NotFoundException");
        assert_eq!(code_of(503, Some("SlowDown")), "InternalError");
    }
}
