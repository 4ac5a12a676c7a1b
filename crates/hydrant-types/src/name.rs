//! Names that come from outside: streams, buckets, object keys.

use std::{borrow::Borrow, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::limits;

/// A string was not a legal name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {value:?} is not valid: expected {expected}")]
pub struct NameError {
    what: &'static str,
    value: String,
    expected: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $expected:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(value: String) -> Result<Self, NameError> {
                let check: fn(&str) -> bool = $check;
                if check(&value) {
                    Ok(Self(value))
                } else {
                    Err(NameError { what: $what, value, expected: $expected })
                }
            }
        }
        impl FromStr for $name {
            type Err = NameError;
            fn from_str(value: &str) -> Result<Self, NameError> {
                Self::try_from(value.to_owned())
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// The name of a delivery stream, API member `DeliveryStreamName`: 1 to 64 of `[a-zA-Z0-9_.-]`.
    StreamName,
    "stream name",
    "1 to 64 characters of a-z, A-Z, 0-9, '_', '.', '-'",
    |s| (1..=limits::STREAM_NAME_LEN_MAX).contains(&s.len())
        && s.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
);

name!(
    /// The name of an S3 bucket, 1 to 255 of `[\w.-]` as the Firehose model's BucketARN pattern has it.
    BucketName,
    "bucket name",
    "1 to 255 characters of a-z, A-Z, 0-9, '_', '.', '-'",
    |s| (1..=255).contains(&s.len())
        && s.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
);

name!(
    /// The key of an S3 object: 1 to 1024 bytes of UTF-8.
    ObjectKey,
    "object key",
    "1 to 1024 bytes of UTF-8",
    |s| (1..=limits::OBJECT_KEY_LEN_MAX).contains(&s.len())
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_names_are_checked_as_the_model_says() {
        for good in ["a", "A-b_c.9", &"x".repeat(64)] {
            assert_eq!(good.parse::<StreamName>().unwrap().as_str(), good);
        }
        for bad in ["", "a b", "ä", "a/b", &"x".repeat(65)] {
            assert!(bad.parse::<StreamName>().is_err(), "{bad:?}");
        }
        assert!(serde_json::from_str::<StreamName>("\"a b\"").is_err());
    }
}
