//! Why a caller is not believed, in AWS's codes and words.

use crate::signing_time::SigningTime;

/// A request that was not authenticated. Display is the message for the caller: it quotes what the caller sent, shortened, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing says who calls, or in another scheme than AWS's.
    #[error("Missing Authentication Token")]
    Missing,
    /// Signed in both ways.
    #[error("Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.")]
    BothForms,
    /// A header or parameter that says one thing was given twice.
    #[error("The request has more than one '{0}'.")]
    Repeated(&'static str),
    /// Neither SigV4 nor anything else that is verified here.
    #[error("Unsupported AWS 'algorithm': '{0}' (only AWS4-HMAC-SHA256 for now). ")]
    Algorithm(String),
    /// A part of the Authorization header.
    #[error("'{0}' not a valid key=value pair (missing equal-sign) in Authorization header.")]
    NotAPair(String),
    /// Parts of the signature are missing; a sentence for each.
    #[error("{0}")]
    Parts(String),
    /// The time of signing.
    #[error("Date must be in ISO-8601 'basic format'. Got '{0}'. See http://en.wikipedia.org/wiki/ISO_8601")]
    Date(String),
    /// The credential.
    #[error(
        "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '{0}'"
    )]
    Credential(String),
    /// How long a presigned request lives.
    #[error("X-Amz-Expires must be a number of seconds from 1 to 604800, got '{0}'.")]
    Expires(String),
    /// Signed too long ago.
    #[error("Signature expired: {signed} is now earlier than {limit} ({now} - 5 min.)")]
    Expired {
        /// When it was signed.
        signed: SigningTime,
        /// The earliest time that is taken.
        limit: SigningTime,
        /// Our time.
        now: SigningTime,
    },
    /// A presigned request is past its time.
    #[error("Signature expired: {until} is now earlier than {now}")]
    PresignedExpired {
        /// Until when it was good.
        until: SigningTime,
        /// Our time.
        now: SigningTime,
    },
    /// Signed in the future.
    #[error("Signature not yet current: {signed} is still later than {limit} ({now} + 5 min.)")]
    NotYetCurrent {
        /// When it was signed.
        signed: SigningTime,
        /// The latest time that is taken.
        limit: SigningTime,
        /// Our time.
        now: SigningTime,
    },
    /// For another day, region, service or purpose; a sentence for each.
    #[error("{0}")]
    Scope(String),
    /// `Host` was not signed.
    #[error("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")]
    HostNotSigned,
    /// A header that must be signed was not.
    #[error("'{0}' must be a 'SignedHeader' in the AWS Authorization.")]
    HeaderNotSigned(String),
    /// The payload's hash is not a hash.
    #[error("x-amz-content-sha256 must be the SHA-256 of the body in hexadecimal; '{0}' is not supported.")]
    UnsignedPayload(String),
    /// The payload's hash is another payload's.
    #[error("The provided 'x-amz-content-sha256' header does not match what was computed.")]
    PayloadMismatch,
    /// No such access key, or a session token, of which there are none.
    #[error("The security token included in the request is invalid.")]
    Unrecognized,
    /// Another secret, or another request.
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key \
         and signing method. Consult the service documentation for details."
    )]
    SignatureMismatch,
    /// The access key's calls a second are used up.
    #[error("Rate exceeded")]
    Throttled,
}

impl Error {
    /// Every code that [`Error::code`] gives.
    pub const CODES: [&'static str; 5] = [
        "MissingAuthenticationTokenException",
        "IncompleteSignatureException",
        "InvalidSignatureException",
        "UnrecognizedClientException",
        "ThrottlingException",
    ];

    /// AWS's code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing => "MissingAuthenticationTokenException",
            Self::Repeated(_)
            | Self::Algorithm(_)
            | Self::NotAPair(_)
            | Self::Parts(_)
            | Self::Date(_)
            | Self::Credential(_)
            | Self::Expires(_) => "IncompleteSignatureException",
            Self::BothForms
            | Self::Expired { .. }
            | Self::PresignedExpired { .. }
            | Self::NotYetCurrent { .. }
            | Self::Scope(_)
            | Self::HostNotSigned
            | Self::HeaderNotSigned(_)
            | Self::UnsignedPayload(_)
            | Self::PayloadMismatch
            | Self::SignatureMismatch => "InvalidSignatureException",
            Self::Unrecognized => "UnrecognizedClientException",
            Self::Throttled => "ThrottlingException",
        }
    }

    /// The HTTP status that goes with the code.
    pub fn status(&self) -> u16 {
        match self.code() {
            "MissingAuthenticationTokenException" | "InvalidSignatureException" => 403,
            _ => 400,
        }
    }
}

/// Of what the caller sent, no more than a message should quote.
pub(crate) fn quote(text: impl AsRef<str>) -> String {
    const CHARS_MAX: usize = 100;
    text.as_ref().chars().take(CHARS_MAX).collect()
}
