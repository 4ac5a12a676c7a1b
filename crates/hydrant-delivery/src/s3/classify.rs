//! What an S3 error means, in one place.

use std::error::Error as StdError;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use hydrant_types::{BucketName, ObjectKey};

use super::{ACCESS_DENIED, Target};
use crate::object_store::{CODES, Error, Kind};

/// Longest message that is kept.
const MESSAGE_LEN_MAX: usize = 500;

/// A call that failed.
pub(super) struct Failure {
    /// What the caller of the store is told.
    pub(super) error: Box<Error>,
    /// There is an object under the key, and the call was not to replace one.
    pub(super) exists: bool,
    /// The store does not have what was asked for: a condition, parts.
    pub(super) unsupported: bool,
}

impl Target<'_> {
    pub(super) fn failure<E>(&self, step: &'static str, error: SdkError<E, HttpResponse>) -> Failure
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        let status = status(&error);
        Failure {
            exists: status == Some(412),
            unsupported: status == Some(501) || error.code() == Some("NotImplemented"),
            error: Box::new(self.error(step, error)),
        }
    }

    fn error<E>(&self, step: &'static str, error: SdkError<E, HttpResponse>) -> Error
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
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
            // No credentials, an address that is none …: found without asking S3, and no reason for others to wait.
            _ => (
                if is_role_refused(&error) { ACCESS_DENIED } else { "InternalError" }.to_owned(),
                Kind::Refused,
            ),
        };
        let mut message = match (error.code(), error.message()) {
            (Some(theirs), Some(message)) => format!("{theirs}: {message}"),
            _ => without_s3(&error).unwrap_or_else(|| DisplayErrorContext(&error).to_string()),
        };
        if let Some((end, _)) = message.char_indices().nth(MESSAGE_LEN_MAX) {
            message.truncate(end);
        }
        Error { step, bucket: self.bucket.clone(), key: self.key.clone(), code, message, kind }
    }
}

/// The status that was answered.
pub(super) fn status<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

/// Errors and what caused them.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// STS's answer where it refused the role.
fn role_refusal<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a AssumeRoleError> {
    causes(error).find_map(|cause| match cause.downcast_ref::<SdkError<AssumeRoleError, HttpResponse>>()? {
        SdkError::ServiceError(answer) => Some(answer.err()),
        _ => None,
    })
}

/// Firehose says that access was denied, too, where a role cannot be assumed. What STS answers to a busy time is another thing.
fn is_role_refused(error: &(dyn StdError + 'static)) -> bool {
    role_refusal(error)
        .is_some_and(|refusal| !matches!(refusal.code(), Some("Throttling" | "InternalFailure")))
}

/// What went wrong before S3 was asked, for whoever has to mend it.
fn without_s3(error: &(dyn StdError + 'static)) -> Option<String> {
    if let Some(refusal) = role_refusal(error) {
        let (code, message) = (refusal.code().unwrap_or("-"), refusal.message().unwrap_or("-"));
        return Some(format!("the role cannot be assumed: {code}: {message}"));
    }
    let credentials = causes(error).find(|cause| cause.is::<CredentialsError>())?;
    Some(format!("there are no credentials: {}", DisplayErrorContext(credentials)))
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
        (_, Some(code)) if CODES.contains(&format!("S3.{code}").as_str()) => format!("S3.{code}"),
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
