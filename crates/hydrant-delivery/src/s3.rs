//! S3 through the AWS SDK.
//!
//! ```text
//!  put ── clients ──▶ store (endpoint, region, role) ── up to 32 MiB ──▶ PutObject ────────────────────────────┐
//!                                                    └─ beyond ────────▶ parts: Create, UploadPart × n, Complete ┴─▶ 412? ─▶ HEAD, compare
//! ```

mod classify;
mod clients;
mod headers;
mod parts;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_s3::{operation::head_object::HeadObjectOutput, primitives::ByteStream};
use aws_types::SdkConfig;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hydrant_types::{BucketName, ObjectKey, StoredObject};

use self::{
    classify::Failure,
    clients::{Clients, Store},
    headers::{ObjectHeaders, RECORDS_CRC32, records_crc32},
};
use crate::object_store::{Body, Error, ObjectStore, PutOptions};

pub use clients::{AssumeRoles, S3Access};

const ACCESS_DENIED: &str = "S3.AccessDenied";
/// Stands for an ETag that we may not read.
const ETAG_UNKNOWN: &str = "unknown";

/// [`ObjectStore`] over S3 and what speaks its protocol.
///
/// The SDK is expected not to retry (each failure is shown, and retried by the delivery that owns it) and to have time-outs for
/// connecting; the delivery bounds the whole call.
pub struct S3Objects {
    clients: Clients,
    sizes: parts::Sizes,
}

impl S3Objects {
    /// With the HTTP client, region and own credentials in `sdk`.
    pub fn new(sdk: SdkConfig, access: S3Access) -> Self {
        Self { clients: Clients::new(sdk, access), sizes: parts::Sizes::default() }
    }

    async fn target<'a>(
        &self,
        bucket: &'a BucketName,
        key: &'a ObjectKey,
        options: &'a PutOptions,
    ) -> Target<'a> {
        Target { store: self.clients.store(options).await, bucket, key, options, sizes: self.sizes }
    }
}

/// One object that is put or looked for.
struct Target<'a> {
    store: Arc<Store>,
    bucket: &'a BucketName,
    key: &'a ObjectKey,
    options: &'a PutOptions,
    sizes: parts::Sizes,
}

/// An object's ETag, once it is stored.
type Put = Result<String, Failure>;

impl Target<'_> {
    fn owner(&self) -> Option<String> {
        self.options.tagged.expected_bucket_owner.as_ref().map(ToString::to_string)
    }

    async fn put(&self, body: &Body) -> Put {
        let in_parts = body.bytes.len() > self.sizes.whole_max && self.store.takes_parts();
        if in_parts { self.put_in_parts(body).await } else { self.put_whole(body).await }
    }

    /// One PUT. A store that has no conditional one is put to without.
    async fn put_whole(&self, body: &Body) -> Put {
        if !self.store.is_conditional() {
            return self.send_whole(body, false).await;
        }
        match self.send_whole(body, true).await {
            Err(failure) if failure.unsupported => {
                let put = self.send_whole(body, false).await;
                // Where it succeeds, the condition was the reason.
                if put.is_ok() {
                    self.store.has_no_conditions();
                }
                put
            }
            put => put,
        }
    }

    async fn send_whole(&self, body: &Body, conditional: bool) -> Put {
        let headers = ObjectHeaders::new(body, self.options);
        let sent = self
            .store
            .client
            .put_object()
            .bucket(self.bucket.as_str())
            .key(self.key.as_str())
            .set_expected_bucket_owner(self.owner())
            .content_type(headers.content_type)
            .set_content_encoding(headers.content_encoding)
            .set_metadata(Some(headers.metadata))
            .set_server_side_encryption(headers.server_side_encryption)
            .set_ssekms_key_id(headers.kms_key_id)
            .set_acl(headers.acl)
            .set_storage_class(headers.storage_class)
            .set_tagging(headers.tagging)
            // An overwrite would fire a second event at whatever listens to the bucket (design decision D17).
            .set_if_none_match(conditional.then(|| "*".to_owned()))
            // Given here, the SDK neither hashes the body for the signature nor computes a checksum of its own.
            .checksum_crc32(base64_crc32(body.crc32))
            .body(ByteStream::from(body.bytes.clone()))
            .customize()
            .disable_payload_signing()
            .send()
            .await;
        match sent {
            Ok(output) => Ok(unquoted(output.e_tag())),
            Err(error) => Err(self.failure("put", error)),
        }
    }

    /// The answer to a PUT that found an object there already.
    async fn compare(&self, body: &Body, refused: Error) -> Result<StoredObject, Error> {
        match self.look().await {
            Ok(Some(there)) if there.holds_records_of(body) => Ok(there.object),
            Ok(Some(there)) => Err(classify::other_object(self.bucket, self.key, there.object.bytes)),
            // Gone in between: the next try puts it.
            Ok(None) => Err(refused),
            // Credentials that may write only: that it is there is all that can be known.
            Err(denied) if denied.code == ACCESS_DENIED => {
                Ok(StoredObject { etag: ETAG_UNKNOWN.into(), bytes: body.bytes.len() as u64 })
            }
            Err(error) => Err(error),
        }
    }

    async fn look(&self) -> Result<Option<Found>, Error> {
        let head = self
            .store
            .client
            .head_object()
            .bucket(self.bucket.as_str())
            .key(self.key.as_str())
            .set_expected_bucket_owner(self.owner());
        match head.send().await {
            Ok(output) => Ok(Some(Found::from(&output))),
            Err(error) if classify::status(&error) == Some(404) => Ok(None),
            Err(error) => Err(*self.failure("head", error).error),
        }
    }
}

/// An object that is there.
struct Found {
    object: StoredObject,
    records_crc32: Option<String>,
}

impl From<&HeadObjectOutput> for Found {
    fn from(output: &HeadObjectOutput) -> Self {
        Self {
            object: StoredObject {
                etag: unquoted(output.e_tag()),
                bytes: output.content_length().and_then(|length| u64::try_from(length).ok()).unwrap_or(0),
            },
            records_crc32: output.metadata().and_then(|metadata| metadata.get(RECORDS_CRC32)).cloned(),
        }
    }
}

impl Found {
    /// A store that does not keep user metadata leaves the length to go by.
    fn holds_records_of(&self, body: &Body) -> bool {
        match &self.records_crc32 {
            Some(theirs) => *theirs == records_crc32(body),
            None => self.object.bytes == body.bytes.len() as u64,
        }
    }
}

#[async_trait]
impl ObjectStore for S3Objects {
    async fn put(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        body: Body,
        options: &PutOptions,
    ) -> Result<StoredObject, Error> {
        let target = self.target(bucket, key, options).await;
        if options.tried_before
            && let Some(object) = target.settle_earlier_tries(&body).await
        {
            return Ok(object);
        }
        match target.put(&body).await {
            Ok(etag) => Ok(StoredObject { etag, bytes: body.bytes.len() as u64 }),
            Err(failure) if failure.exists => target.compare(&body, *failure.error).await,
            Err(failure) => Err(*failure.error),
        }
    }

    async fn head(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        options: &PutOptions,
    ) -> Result<Option<StoredObject>, Error> {
        let target = self.target(bucket, key, options).await;
        Ok(target.look().await?.map(|found| found.object))
    }
}

fn base64_crc32(crc32: u32) -> String {
    STANDARD.encode(crc32.to_be_bytes())
}

fn unquoted(etag: Option<&str>) -> String {
    etag.unwrap_or_default().trim_matches('"').to_owned()
}
