//! The object store as deliveries see it.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hydrant_types::{
    BucketName, Compression, Lane, ObjectKey, S3Options, S3Settings, StoredObject, Stream, StreamOptions,
};

/// Codes of errors: those that Firehose logs (developer guide, "Monitoring with CloudWatch Logs"); `S3.Unreachable` and `S3.Timeout`
/// where there was no answer, `S3.ObjectDiffers` where another object has the key; `InternalError` for what the message says.
pub(crate) const CODES: [&str; 13] = [
    "S3.AccessDenied",
    "S3.NoSuchBucket",
    "S3.KMS.NotFoundException",
    "S3.KMS.RequestLimitExceeded",
    "S3.AccountProblem",
    "S3.AllAccessDisabled",
    "S3.InvalidPayer",
    "S3.NotSignedUp",
    "S3.MethodNotAllowed",
    "S3.Unreachable",
    "S3.Timeout",
    "S3.ObjectDiffers",
    "InternalError",
];

use crate::encoder::Encoding;

/// An object's bytes, whole and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// The bytes.
    pub bytes: Bytes,
    /// CRC-32 (IEEE) of them, for the store to verify.
    pub crc32: u32,
    /// CRC-32 of the records in it, whatever they are encoded as: two objects with equal ones hold the same records.
    pub records_crc32: u32,
    /// How they are encoded.
    pub compression: Compression,
    /// What the header `Content-Encoding` is to say.
    pub content_encoding: Option<&'static str>,
}

impl Body {
    /// A body that is not encoded. Computes: bigger ones are not for async workers.
    pub fn plain(bytes: Bytes) -> Self {
        let crc32 = crc32fast::hash(&bytes);
        let (records_crc32, compression) = (crc32, Compression::Uncompressed);
        Self { bytes, crc32, records_crc32, compression, content_encoding: None }
    }

    /// What an encoder has made of records with this checksum. Computes, as [`Body::plain`].
    pub(crate) fn encoded(bytes: Bytes, records_crc32: u32, encoding: Encoding) -> Self {
        let compression = encoding.compression;
        let crc32 = match compression {
            Compression::Uncompressed => records_crc32,
            _ => crc32fast::hash(&bytes),
        };
        let content_encoding = compression.content_encoding().filter(|_| encoding.content_encoding);
        Self { bytes, crc32, records_crc32, compression, content_encoding }
    }
}

/// What is said to the object store besides bucket, key and body, and as whom. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PutOptions {
    /// The role to be assumed, where roles are; `None`: the process's own credentials.
    pub role_arn: Option<String>,
    /// ARN of the KMS key that the object is to be encrypted with; `None`: as the bucket says.
    pub kms_key_arn: Option<String>,
    /// What the stream's tags say.
    pub tagged: S3Options,
    /// An earlier try to put this object may have left something behind: an upload that nobody ended, or the object itself.
    pub tried_before: bool,
}

impl PutOptions {
    /// For what was sealed on `lane` under the settings `sealed`, where the stream is `now` that; `None` where it is gone.
    ///
    /// Bucket and key are fixed by the seal. As whom it is put, and with which key it is encrypted, follows the settings of now where they
    /// mean the same bucket: whoever mends a role or a key heals what waits for it. Encryption is never taken away from what was sealed
    /// with it.
    pub fn new(sealed: &S3Settings, lane: Lane, now: Option<&Stream>) -> Self {
        let s3 = now.and_then(|stream| stream.destination.lane(lane)).filter(|s3| s3.bucket == sealed.bucket);
        let s3 = s3.unwrap_or(sealed);
        Self {
            role_arn: Some(s3.role_arn.clone()).filter(|arn| !arn.is_empty()),
            kms_key_arn: s3.kms_key_arn.clone().or_else(|| sealed.kms_key_arn.clone()),
            tagged: now.map(|stream| StreamOptions::of_checked(&stream.tags).s3).unwrap_or_default(),
            tried_before: false,
        }
    }
}

/// A call to the object store failed. All of them are tried again for ever; the object's key makes that harmless.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{step} s3://{bucket}/{key}: {message}")]
pub struct Error {
    /// What was being done.
    pub step: &'static str,
    /// Which bucket.
    pub bucket: BucketName,
    /// Which object.
    pub key: ObjectKey,
    /// `S3.AccessDenied`, `S3.NoSuchBucket` … as Firehose logs them, or `InternalError`; `S3.Unreachable` and `S3.Timeout` where
    /// there was no answer, `S3.ObjectDiffers` where another object has the key.
    pub code: String,
    /// The store's words.
    pub message: String,
    /// What the caller does about it.
    pub kind: Kind,
}

impl Error {
    /// A call that gave no answer within `limit`.
    pub(crate) fn timed_out(
        step: &'static str,
        bucket: &BucketName,
        key: &ObjectKey,
        limit: Duration,
    ) -> Self {
        Self {
            step,
            bucket: bucket.clone(),
            key: key.clone(),
            code: "S3.Timeout".to_owned(),
            message: format!("no answer within {limit:?}"),
            kind: Kind::Unreachable,
        }
    }
}

/// What the caller does about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The store answered: this stream backs off.
    Refused,
    /// There was no answer in time: everybody who uses the bucket backs off, one probes.
    Unreachable,
}

/// Puts objects durably. The one implementation speaks S3; tests put faults in between.
#[async_trait]
pub trait ObjectStore: Send + Sync + 'static {
    /// Stores an object. One that is there already under this key is left as it is and answered where it holds the same records: it is
    /// from an earlier try (its bytes may differ: another gzip level, another version of the encoder). Durable when answered.
    ///
    /// # Errors
    /// [`struct@Error`]; the object may have been stored all the same. Safe to repeat.
    ///
    /// # Cancel safety
    /// As an error: it may have been stored.
    async fn put(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        body: Body,
        options: &PutOptions,
    ) -> Result<StoredObject, Error>;

    /// The object under a key, `None` where there is none.
    ///
    /// # Errors
    /// [`struct@Error`].
    async fn head(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        options: &PutOptions,
    ) -> Result<Option<StoredObject>, Error>;
}
