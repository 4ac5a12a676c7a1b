//! Encryption at rest as requests and files ask for it.

use hydrant_ingest::{keyring::StartError, master_keys::KeyError};

use crate::{
    error::ApiError,
    input::{Faults, Node},
};

/// What new records are to be encrypted with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyChoice {
    /// AWS_OWNED_CMK: the configured default key.
    Default,
    /// CUSTOMER_MANAGED_CMK: the configured key of this ARN.
    Arn(String),
}

impl KeyChoice {
    pub(crate) fn arn(&self) -> Option<&str> {
        match self {
            Self::Default => None,
            Self::Arn(arn) => Some(arn),
        }
    }
}

/// Reads `DeliveryStreamEncryptionConfigurationInput`; `None` where it is not given or a fault.
pub(crate) fn read(input: &Node<'_>, allowed: bool, region: &str, faults: &mut Faults) -> Option<KeyChoice> {
    let given = input.at("DeliveryStreamEncryptionConfigurationInput");
    if !given.is_given() {
        return None;
    }
    if !allowed {
        faults.invalid(
            &given,
            "Server side encryption from firehose is only allowed for direct put delivery streams and database as a source delivery streams",
        );
        return None;
    }
    let key = given.at("KeyARN");
    match (given.at("KeyType").is("CUSTOMER_MANAGED_CMK"), key.text()) {
        (false, None) => Some(KeyChoice::Default),
        (false, Some(_)) => {
            faults.invalid(&key, "KeyARN cannot be specified when KeyType is AWS_OWNED_CMK");
            None
        }
        (true, None) => {
            faults.invalid(&given, "KeyARN has to be specified when KeyType is CUSTOMER_MANAGED_CMK");
            None
        }
        (true, Some(arn)) if arn.split(':').nth(3) != Some(region) => {
            faults.invalid(
                &key,
                "Cross-region keys are not allowed for SSE. Please provide CMKs in the same region as firehose",
            );
            None
        }
        (true, Some(arn)) => Some(KeyChoice::Arn(arn.to_owned())),
    }
}

/// What starting encryption with a key that cannot be had is answered. The codes are those of AWS's key service.
pub(crate) fn refusal(error: &StartError) -> ApiError {
    match error {
        StartError::UnknownKey(_) | StartError::NoDefaultKey => {
            ApiError::invalid_kms_resource("NotFoundException", sentence(error))
        }
        StartError::TooOften(_) | StartError::TooManyKeys(_) => ApiError::limit_exceeded(sentence(error)),
    }
}

/// What a put is answered whose stream's key cannot be had.
pub(crate) fn put_refusal(error: &KeyError) -> ApiError {
    match error {
        KeyError::NotConfigured { .. } => {
            ApiError::invalid_kms_resource("NotFoundException", sentence(error))
        }
        KeyError::DoesNotUnwrap { .. } | KeyError::Unknown { .. } => {
            ApiError::invalid_kms_resource("InvalidCiphertextException", sentence(error))
        }
    }
}

/// Errors are written without a capital letter and a full stop, answers with them.
pub(crate) fn sentence(error: &dyn std::error::Error) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    format!("{}{}.", first.map(String::from).unwrap_or_default(), letters.as_str())
}
