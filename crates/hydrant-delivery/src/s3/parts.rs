//! Big objects: sent in parts, several at a time, each with its checksum, and the whole object's at the end.
//!
//! A part that fails costs its own bytes and not the whole object's, and several connections carry more than one. What was begun and is
//! not ended is kept by S3, unseen and paid for: it is aborted when a part fails, and, where nobody was left to do that, before the next
//! try to put the same object. Only uploads of exactly that object's key are touched: it ends with the batch's id, and whoever puts a
//! batch has its lease.

use std::time::Duration;

use aws_sdk_s3::{
    primitives::ByteStream,
    types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart},
};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use hydrant_types::StoredObject;
use tracing::{debug, warn};

use super::{Failure, Put, Target, base64_crc32, classify, headers::ObjectHeaders, unquoted};
use crate::object_store::{Body, Error};

const MIB: usize = 1024 * 1024;
/// Parts of one object under way. They are slices of the body, which is in memory anyway.
const PARTS_AT_ONCE: usize = 4;
/// For what is tidied up after a failure: the delivery has the next try to make.
const TIDY_LIMIT: Duration = Duration::from_secs(5);

/// From where on an object is sent in parts, and how big they are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// The biggest body that is sent whole. Below, the two calls more cost more than they save.
    pub(super) whole_max: usize,
    /// S3 wants 5 MiB at least, and takes 10,000 of them.
    pub(super) part: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { whole_max: 32 * MIB, part: 8 * MIB }
    }
}

impl Target<'_> {
    /// Sends a body in parts; whole, where the store does not take them.
    pub(super) async fn put_in_parts(&self, body: &Body) -> Put {
        let upload = match self.begin_upload(body).await {
            Ok(upload) => upload,
            Err(failure) if failure.unsupported => {
                let put = self.put_whole(body).await;
                if put.is_ok() {
                    self.store.has_no_parts();
                }
                return put;
            }
            Err(failure) => return Err(failure),
        };
        let put = match self.send_parts(&upload, &body.bytes).await {
            Ok(parts) => self.complete_upload(&upload, body, parts).await,
            Err(failure) => Err(failure),
        };
        if put.is_err() {
            self.tidy(self.abort_upload(&upload)).await;
        }
        put
    }

    async fn begin_upload(&self, body: &Body) -> Put {
        let headers = ObjectHeaders::new(body, self.options);
        let begun = self
            .store
            .client
            .create_multipart_upload()
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
            .checksum_algorithm(ChecksumAlgorithm::Crc32)
            .checksum_type(ChecksumType::FullObject)
            .send()
            .await;
        match begun {
            Ok(output) => Ok(output.upload_id().unwrap_or_default().to_owned()),
            Err(error) => Err(self.failure("begin the upload of", error)),
        }
    }

    async fn send_parts(&self, upload: &str, bytes: &Bytes) -> Result<Vec<CompletedPart>, Failure> {
        let starts = (0..bytes.len()).step_by(self.sizes.part);
        let parts = (1..).zip(starts).map(|(number, start)| {
            let end = bytes.len().min(start + self.sizes.part);
            self.send_part(upload, number, bytes.slice(start..end))
        });
        // In the parts' order, whichever is done first.
        stream::iter(parts).buffered(PARTS_AT_ONCE).try_collect().await
    }

    async fn send_part(&self, upload: &str, number: i32, bytes: Bytes) -> Result<CompletedPart, Failure> {
        // Some 0.2 ms for 8 MiB: not worth another thread.
        let crc32 = base64_crc32(crc32fast::hash(&bytes));
        let sent = self
            .store
            .client
            .upload_part()
            .bucket(self.bucket.as_str())
            .key(self.key.as_str())
            .set_expected_bucket_owner(self.owner())
            .upload_id(upload)
            .part_number(number)
            .checksum_crc32(&crc32)
            .body(ByteStream::from(bytes))
            .customize()
            .disable_payload_signing()
            .send()
            .await;
        match sent {
            Ok(output) => Ok(CompletedPart::builder()
                .part_number(number)
                .set_e_tag(output.e_tag().map(str::to_owned))
                // A store that has no checksums did not check it and does not expect it.
                .set_checksum_crc32(output.checksum_crc32().map(|_| crc32))
                .build()),
            Err(error) => Err(self.failure("put a part of", error)),
        }
    }

    async fn complete_upload(&self, upload: &str, body: &Body, parts: Vec<CompletedPart>) -> Put {
        if !self.store.is_conditional() {
            return self.send_completion(upload, body, parts, false).await;
        }
        match self.send_completion(upload, body, parts.clone(), true).await {
            Err(failure) if failure.unsupported => {
                let put = self.send_completion(upload, body, parts, false).await;
                if put.is_ok() {
                    self.store.has_no_conditions();
                }
                put
            }
            put => put,
        }
    }

    async fn send_completion(
        &self,
        upload: &str,
        body: &Body,
        parts: Vec<CompletedPart>,
        conditional: bool,
    ) -> Put {
        let checked = parts.iter().all(|part| part.checksum_crc32().is_some());
        let completed = self
            .store
            .client
            .complete_multipart_upload()
            .bucket(self.bucket.as_str())
            .key(self.key.as_str())
            .set_expected_bucket_owner(self.owner())
            .upload_id(upload)
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build())
            .set_if_none_match(conditional.then(|| "*".to_owned()))
            .set_checksum_crc32(checked.then(|| base64_crc32(body.crc32)))
            .set_checksum_type(checked.then_some(ChecksumType::FullObject))
            .send()
            .await;
        match completed {
            Ok(output) => Ok(unquoted(output.e_tag())),
            Err(error) => Err(self.failure("complete the upload of", error)),
        }
    }

    /// Aborts what earlier tries left behind. Gives the object where one of them had put it after all, so that a big body need not be
    /// sent to learn that.
    pub(super) async fn settle_earlier_tries(&self, body: &Body) -> Option<StoredObject> {
        self.tidy(self.abort_leftovers()).await;
        if body.bytes.len() <= self.sizes.whole_max {
            return None;
        }
        let there = self.look().await.ok().flatten();
        there.filter(|there| there.holds_records_of(body)).map(|there| there.object)
    }

    async fn abort_leftovers(&self) -> Result<(), Error> {
        let listed = self
            .store
            .client
            .list_multipart_uploads()
            .bucket(self.bucket.as_str())
            .prefix(self.key.as_str())
            .set_expected_bucket_owner(self.owner())
            .send()
            .await
            .map_err(|error| *self.failure("list uploads of", error).error)?;
        let of_this_key = listed.uploads().iter().filter(|upload| upload.key() == Some(self.key.as_str()));
        for upload in of_this_key.filter_map(|upload| upload.upload_id()) {
            self.abort_upload(upload).await?;
            warn!(bucket = %self.bucket, key = %self.key, "aborted an upload that an earlier try had left");
        }
        Ok(())
    }

    async fn abort_upload(&self, upload: &str) -> Result<(), Error> {
        let abort = self
            .store
            .client
            .abort_multipart_upload()
            .bucket(self.bucket.as_str())
            .key(self.key.as_str())
            .set_expected_bucket_owner(self.owner())
            .upload_id(upload);
        match abort.send().await {
            Ok(_) => Ok(()),
            // Ended meanwhile, one way or the other.
            Err(error) if classify::status(&error) == Some(404) => Ok(()),
            Err(error) => Err(*self.failure("abort the upload of", error).error),
        }
    }

    /// Nothing depends on it but what the bucket's owner pays; a store that cannot list uploads, or credentials that may not, keep what is
    /// left.
    async fn tidy(&self, work: impl Future<Output = Result<(), Error>>) {
        match tokio::time::timeout(TIDY_LIMIT, work).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(%error, "what an upload left behind is not aborted"),
            Err(_) => {
                debug!(bucket = %self.bucket, key = %self.key, "what an upload left behind is not aborted in time")
            }
        }
    }
}
