//! Operations on whole objects.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, header};
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::conditions::Conditions;
use super::{Answer, Api};
use crate::bucket::Condition;
use crate::checksums::Expected;
use crate::headers::Headers;
use crate::object::{Object, now_ms, timestamp};
use crate::object_file::Received;
use crate::receive::{blocking, receive};

const READ_BYTES: u64 = 1024 * 1024;
const KEY_BYTES_MAX: usize = 1_024;
/// S3 API reference, DeleteObjects.
const DELETED_KEYS_MAX: usize = 1_000;

impl Api {
    pub(super) async fn put(&self, request: S3Request<PutObjectInput>) -> Answer<PutObjectOutput> {
        let S3Request { input, headers, trailing_headers, .. } = request;
        check_key(&input.key)?;
        let bucket = self.store.bucket(&input.bucket)?;
        let condition = Condition::new(input.if_match, input.if_none_match)?;
        let kept = Headers::of(&headers)?;
        let algorithm = input.checksum_algorithm.map(|algorithm| algorithm.as_str().to_owned());
        let expected = Expected::of(&headers, trailing_headers, algorithm);
        let received = receive(self.store.place().tmp(), input.body, &expected).await?;
        let object = describe(input.key, &received, kept);
        let stored = object.clone();
        blocking(move || bucket.put(received, object, &condition)).await?;
        let output = PutObjectOutput {
            e_tag: Some(stored.etag()),
            checksum_type: stored.checksums.kind(),
            checksum_crc32: stored.checksums.crc32,
            checksum_crc32c: stored.checksums.crc32c,
            checksum_crc64nvme: stored.checksums.crc64nvme,
            checksum_sha1: stored.checksums.sha1,
            checksum_sha256: stored.checksums.sha256,
            ..PutObjectOutput::default()
        };
        Ok(S3Response::with_headers(output, stored.headers.encryption()))
    }

    pub(super) async fn get(&self, input: GetObjectInput) -> Answer<GetObjectOutput> {
        refuse_version(input.version_id.as_ref())?;
        let bucket = self.store.bucket(&input.bucket)?;
        let key = input.key.clone();
        let (object, file) = blocking(move || bucket.read(&key)).await?;
        let conditions = Conditions {
            if_match: input.if_match.clone(),
            if_none_match: input.if_none_match.clone(),
            if_modified_since: input.if_modified_since.clone(),
            if_unmodified_since: input.if_unmodified_since.clone(),
        };
        conditions.check(&object)?;
        let range = input.range.map(|range| range.check(object.size_bytes)).transpose()?;
        let whole = range.is_none() && input.checksum_mode.is_some();
        let checksums = if whole { object.checksums.clone() } else { Default::default() };
        let content_range = range.as_ref().map(|range| content_range(range, object.size_bytes));
        let range = range.unwrap_or(0..object.size_bytes);
        let output = GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some((range.end - range.start) as i64),
            content_range,
            body: Some(contents(file, range)),
            e_tag: Some(object.etag()),
            last_modified: Some(timestamp(object.modified_ms)),
            checksum_type: checksums.kind(),
            checksum_crc32: checksums.crc32,
            checksum_crc32c: checksums.crc32c,
            checksum_crc64nvme: checksums.crc64nvme,
            checksum_sha1: checksums.sha1,
            checksum_sha256: checksums.sha256,
            ..GetObjectOutput::default()
        };
        Ok(S3Response::with_headers(output, without_overridden(object.headers.to_http(), &input)))
    }

    pub(super) async fn head(&self, input: HeadObjectInput) -> Answer<HeadObjectOutput> {
        refuse_version(input.version_id.as_ref())?;
        let bucket = self.store.bucket(&input.bucket)?;
        let key = input.key;
        let object = blocking(move || bucket.describe(&key)).await?;
        let conditions = Conditions {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
        };
        conditions.check(&object)?;
        let asked = input.checksum_mode.is_some();
        let checksums = if asked { object.checksums.clone() } else { Default::default() };
        let output = HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some(object.size_bytes as i64),
            e_tag: Some(object.etag()),
            last_modified: Some(timestamp(object.modified_ms)),
            checksum_type: checksums.kind(),
            checksum_crc32: checksums.crc32,
            checksum_crc32c: checksums.crc32c,
            checksum_crc64nvme: checksums.crc64nvme,
            checksum_sha1: checksums.sha1,
            checksum_sha256: checksums.sha256,
            ..HeadObjectOutput::default()
        };
        Ok(S3Response::with_headers(output, object.headers.to_http()))
    }

    pub(super) async fn copy(&self, request: S3Request<CopyObjectInput>) -> Answer<CopyObjectOutput> {
        let S3Request { input, headers, .. } = request;
        check_key(&input.key)?;
        let replace =
            input.metadata_directive.as_ref().is_some_and(|way| way.as_str() == MetadataDirective::REPLACE);
        let onto_itself = matches!(&input.copy_source, CopySource::Bucket { bucket, key, .. }
            if **bucket == *input.bucket && **key == *input.key);
        let given = Headers::of(&headers)?;
        if onto_itself && !replace && given == Headers::default() {
            return Err(s3_error!(
                InvalidRequest,
                "This copy request is illegal because it is trying to copy an object to itself without changing it"
            ));
        }
        let target = self.store.bucket(&input.bucket)?;
        let conditions = Conditions {
            if_match: input.copy_source_if_match,
            if_none_match: input.copy_source_if_none_match,
            if_modified_since: input.copy_source_if_modified_since,
            if_unmodified_since: input.copy_source_if_unmodified_since,
        };
        let (existing, file) = self.copy_source(&input.copy_source, conditions).await?;
        let algorithm = input.checksum_algorithm.map(|algorithm| algorithm.as_str().to_owned());
        let expected = Expected::of(&HeaderMap::new(), None, algorithm);
        let body = contents(file, 0..existing.size_bytes);
        let received = receive(self.store.place().tmp(), Some(body), &expected).await?;
        let kept = if replace { given } else { existing.headers.clone() };
        let object = describe(input.key, &received, kept);
        let stored = object.clone();
        blocking(move || target.put(received, object, &Condition::default())).await?;
        let result = CopyObjectResult {
            e_tag: Some(stored.etag()),
            last_modified: Some(timestamp(stored.modified_ms)),
            ..CopyObjectResult::default()
        };
        let output = CopyObjectOutput { copy_object_result: Some(result), ..CopyObjectOutput::default() };
        Ok(S3Response::with_headers(output, stored.headers.encryption()))
    }

    /// The object to copy from, if `conditions` hold.
    pub(super) async fn copy_source(
        &self,
        source: &CopySource,
        conditions: Conditions,
    ) -> S3Result<(Arc<Object>, File)> {
        let CopySource::Bucket { bucket, key, version_id: None } = source else {
            return Err(s3_error!(NotImplemented, "copies are made from a bucket and a key"));
        };
        let (bucket, key) = (self.store.bucket(bucket)?, key.to_string());
        let (object, file) = blocking(move || bucket.read(&key)).await?;
        // A copy has no 304: whatever does not hold fails (S3 API reference, CopyObject).
        conditions.check(&object).map_err(|_| s3_error!(PreconditionFailed))?;
        Ok((object, file))
    }

    pub(super) async fn delete_many(&self, input: DeleteObjectsInput) -> Answer<DeleteObjectsOutput> {
        if input.delete.objects.len() > DELETED_KEYS_MAX {
            return Err(s3_error!(MalformedXML, "more than {DELETED_KEYS_MAX} keys in one request"));
        }
        let bucket = self.store.bucket(&input.bucket)?;
        let quiet = input.delete.quiet.unwrap_or(false);
        blocking(move || {
            let mut deleted = Vec::new();
            let mut errors = Vec::new();
            for object in input.delete.objects {
                match bucket.delete(&object.key, object.e_tag.map(ETagCondition::ETag)) {
                    Ok(()) if quiet => {}
                    Ok(()) => {
                        deleted.push(DeletedObject { key: Some(object.key), ..DeletedObject::default() })
                    }
                    Err(error) => errors.push(Error {
                        key: Some(object.key),
                        code: Some(error.code().as_str().to_owned()),
                        message: error.message().map(str::to_owned),
                        ..Error::default()
                    }),
                }
            }
            let output = DeleteObjectsOutput {
                deleted: Some(deleted),
                errors: Some(errors),
                ..DeleteObjectsOutput::default()
            };
            Ok(S3Response::new(output))
        })
        .await
    }
}

/// # Errors
/// `KeyTooLongError`.
pub(super) fn check_key(key: &str) -> S3Result<()> {
    match key.len() {
        ..=KEY_BYTES_MAX => Ok(()),
        _ => Err(s3_error!(KeyTooLongError, "Your key is too long")),
    }
}

fn describe(key: String, received: &Received, headers: Headers) -> Object {
    Object {
        key,
        size_bytes: received.size_bytes,
        etag: hex::encode(received.md5),
        modified_ms: now_ms(),
        headers,
        checksums: received.checksums.clone(),
    }
}

/// There are no versions; `null` is the name of the only one.
fn refuse_version(version: Option<&String>) -> S3Result<()> {
    match version.map(String::as_str) {
        None | Some("null") => Ok(()),
        Some(_) => Err(s3_error!(NoSuchVersion)),
    }
}

fn content_range(range: &Range<u64>, size_bytes: u64) -> String {
    format!("bytes {}-{}/{size_bytes}", range.start, range.end.saturating_sub(1))
}

/// What a request asks to be answered otherwise (`response-content-type` …) is set by s3s, unless it is set here.
fn without_overridden(mut headers: HeaderMap, input: &GetObjectInput) -> HeaderMap {
    let overridden = [
        (header::CONTENT_TYPE, input.response_content_type.is_some()),
        (header::CONTENT_LANGUAGE, input.response_content_language.is_some()),
        (header::EXPIRES, input.response_expires.is_some()),
        (header::CACHE_CONTROL, input.response_cache_control.is_some()),
        (header::CONTENT_DISPOSITION, input.response_content_disposition.is_some()),
        (header::CONTENT_ENCODING, input.response_content_encoding.is_some()),
    ];
    for (name, _) in overridden.iter().filter(|(_, overridden)| *overridden) {
        headers.remove(name);
    }
    headers
}

/// A range of a file, read piece by piece as the client takes it.
pub(super) fn contents(file: File, range: Range<u64>) -> StreamingBlob {
    let file = Arc::new(file);
    StreamingBlob::wrap(stream::unfold((file, range), |(file, range)| async move {
        if range.is_empty() {
            return None;
        }
        let length = READ_BYTES.min(range.end - range.start);
        let rest = range.start + length..range.end;
        let reader = Arc::clone(&file);
        let read = move || {
            let mut piece = vec![0; length as usize];
            reader.read_exact_at(&mut piece, range.start)?;
            Ok(Bytes::from(piece))
        };
        match tokio::task::spawn_blocking(read).await.unwrap_or_else(|error| Err(error.into())) {
            Ok(piece) => Some((Ok(piece), (file, rest))),
            // After an error there is nothing more to come.
            Err(error) => Some((Err::<Bytes, std::io::Error>(error), (file, 0..0))),
        }
    }))
}
