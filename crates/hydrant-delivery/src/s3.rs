//! S3 through the AWS SDK.

mod classify;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use aws_sdk_s3::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    operation::put_object::{PutObjectError, PutObjectOutput},
    primitives::ByteStream,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hydrant_types::{BucketName, Compression, ObjectKey, StoredObject};
use tracing::warn;

use crate::object_store::{Body, Error, ObjectStore};

const CONTENT_TYPE: &str = "application/octet-stream";
const ACCESS_DENIED: &str = "S3.AccessDenied";
/// Stands for an ETag that we may not read.
const ETAG_UNKNOWN: &str = "unknown";
/// User metadata: the CRC-32 of the records in the object, in hexadecimal. Tells our object from another one under the same key.
const RECORDS_CRC32: &str = "hydrant-records-crc32";

/// [`ObjectStore`] over S3 and what speaks its protocol.
///
/// The client is expected not to retry (each failure is shown, and retried by the delivery that owns it) and to have time-outs for
/// connecting; the delivery bounds the whole call.
pub struct S3Objects {
    client: Client,
    /// Off once the store said that it has no conditional PUT.
    conditional: AtomicBool,
}

type PutResult = Result<PutObjectOutput, SdkError<PutObjectError, HttpResponse>>;

impl S3Objects {
    /// Over this client.
    pub fn new(client: Client) -> Self {
        Self { client, conditional: AtomicBool::new(true) }
    }

    async fn send(&self, bucket: &BucketName, key: &ObjectKey, body: Body, conditional: bool) -> PutResult {
        let encoding = match body.compression {
            Compression::Uncompressed => None,
            Compression::Gzip => Some("gzip".to_owned()),
        };
        self.client
            .put_object()
            .bucket(bucket.as_str())
            .key(key.as_str())
            .content_type(CONTENT_TYPE)
            .metadata(RECORDS_CRC32, records_crc32(&body))
            .set_content_encoding(encoding)
            // An overwrite would fire a second event at whatever listens to the bucket (design decision D17).
            .set_if_none_match(conditional.then(|| "*".to_owned()))
            // Given here, the SDK neither hashes the body for the signature nor computes a checksum of its own.
            .checksum_crc32(STANDARD.encode(body.crc32.to_be_bytes()))
            .body(ByteStream::from(body.bytes))
            .customize()
            .disable_payload_signing()
            .send()
            .await
    }

    /// A PUT without a condition, after one with a condition was called not implemented. Where it succeeds, the condition was the reason.
    async fn send_unconditionally(&self, bucket: &BucketName, key: &ObjectKey, body: Body) -> PutResult {
        let result = self.send(bucket, key, body, false).await;
        if result.is_ok() && self.conditional.swap(false, Ordering::Relaxed) {
            warn!("the object store has no conditional PUT: objects are put unconditionally from now on");
        }
        result
    }

    /// The answer to a PUT that found an object there already.
    async fn compare(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        body: &Body,
        refused: SdkError<PutObjectError, HttpResponse>,
    ) -> Result<StoredObject, Error> {
        match self.look(bucket, key).await {
            Ok(Some(there)) if there.holds_records_of(body) => Ok(there.object),
            Ok(Some(there)) => Err(classify::other_object(bucket, key, there.object.bytes)),
            // Gone in between: the next try puts it.
            Ok(None) => Err(classify::error("put", bucket, key, refused)),
            // Credentials that may write only: that it is there is all that can be known.
            Err(denied) if denied.code == ACCESS_DENIED => {
                Ok(StoredObject { etag: ETAG_UNKNOWN.into(), bytes: body.bytes.len() as u64 })
            }
            Err(error) => Err(error),
        }
    }

    async fn look(&self, bucket: &BucketName, key: &ObjectKey) -> Result<Option<Found>, Error> {
        match self.client.head_object().bucket(bucket.as_str()).key(key.as_str()).send().await {
            Ok(output) => Ok(Some(Found {
                object: StoredObject {
                    etag: unquoted(output.e_tag()),
                    bytes: output.content_length().and_then(|length| u64::try_from(length).ok()).unwrap_or(0),
                },
                records_crc32: output.metadata().and_then(|metadata| metadata.get(RECORDS_CRC32)).cloned(),
            })),
            Err(error) if status(&error) == Some(404) => Ok(None),
            Err(error) => Err(classify::error("head", bucket, key, error)),
        }
    }
}

/// An object that is there.
struct Found {
    object: StoredObject,
    records_crc32: Option<String>,
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

fn records_crc32(body: &Body) -> String {
    format!("{:08x}", body.records_crc32)
}

#[async_trait]
impl ObjectStore for S3Objects {
    async fn put(&self, bucket: &BucketName, key: &ObjectKey, body: Body) -> Result<StoredObject, Error> {
        let mut conditional = self.conditional.load(Ordering::Relaxed);
        let mut result = self.send(bucket, key, body.clone(), conditional).await;
        if conditional
            && result.as_ref().is_err_and(|error| classify::is_unsupported(status(error), error.code()))
        {
            conditional = false;
            result = self.send_unconditionally(bucket, key, body.clone()).await;
        }
        match result {
            Ok(output) => Ok(StoredObject { etag: unquoted(output.e_tag()), bytes: body.bytes.len() as u64 }),
            Err(error) if conditional && status(&error) == Some(412) => {
                self.compare(bucket, key, &body, error).await
            }
            Err(error) => Err(classify::error("put", bucket, key, error)),
        }
    }

    async fn head(&self, bucket: &BucketName, key: &ObjectKey) -> Result<Option<StoredObject>, Error> {
        Ok(self.look(bucket, key).await?.map(|found| found.object))
    }
}

fn status<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

fn unquoted(etag: Option<&str>) -> String {
    etag.unwrap_or_default().trim_matches('"').to_owned()
}
