//! Uploads in parts.

use std::sync::Arc;

use http::HeaderMap;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::conditions::Conditions;
use super::list::encoder;
use super::objects::{check_key, contents};
use super::{Answer, Api};
use crate::bucket::{Bucket, Condition};
use crate::checksums::Expected;
use crate::headers::Headers;
use crate::object::{Part as StoredPart, now_ms, timestamp};
use crate::receive::{blocking, receive};
use crate::upload::{ListedPart, Plan, part_number};

/// S3 answers no more than this, whatever is asked for.
const ENTRIES_MAX: i32 = 1_000;

/// Which part of which upload.
struct PartPlace {
    bucket: Arc<Bucket>,
    upload_id: String,
    key: String,
    number: u16,
}

impl PartPlace {
    /// # Errors
    /// `NoSuchUpload`, before the body is read.
    async fn plan(&self) -> S3Result<Plan> {
        let (bucket, upload_id, key) = (Arc::clone(&self.bucket), self.upload_id.clone(), self.key.clone());
        blocking(move || bucket.upload_plan(&upload_id, &key)).await
    }
}

impl Api {
    pub(super) async fn begin_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> Answer<CreateMultipartUploadOutput> {
        let S3Request { input, headers, .. } = request;
        check_key(&input.key)?;
        let bucket = self.store.bucket(&input.bucket)?;
        let algorithm = input.checksum_algorithm.as_ref().map(|algorithm| algorithm.as_str().to_owned());
        let composite = is_composite(algorithm.as_deref(), input.checksum_type.as_ref());
        let plan = Plan::new(input.key.clone(), Headers::of(&headers)?, algorithm, composite);
        let answered = plan.clone();
        blocking(move || bucket.begin_upload(plan)).await?;
        let output = CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(answered.id.clone()),
            checksum_type: checksum_type(&answered),
            checksum_algorithm: input.checksum_algorithm,
            ..CreateMultipartUploadOutput::default()
        };
        Ok(S3Response::with_headers(output, answered.headers.encryption()))
    }

    pub(super) async fn put_part(&self, request: S3Request<UploadPartInput>) -> Answer<UploadPartOutput> {
        let S3Request { input, headers, trailing_headers, .. } = request;
        let place = PartPlace {
            bucket: self.store.bucket(&input.bucket)?,
            upload_id: input.upload_id,
            key: input.key,
            number: part_number(input.part_number)?,
        };
        let plan = place.plan().await?;
        let expected = Expected::of(&headers, trailing_headers, plan.algorithm.clone());
        let stored = self.store_part(place, input.body, &expected).await?;
        let output = UploadPartOutput {
            e_tag: Some(stored.etag()),
            checksum_crc32: stored.checksums.crc32,
            checksum_crc32c: stored.checksums.crc32c,
            checksum_crc64nvme: stored.checksums.crc64nvme,
            checksum_sha1: stored.checksums.sha1,
            checksum_sha256: stored.checksums.sha256,
            ..UploadPartOutput::default()
        };
        Ok(S3Response::with_headers(output, plan.headers.encryption()))
    }

    pub(super) async fn copy_part(&self, input: UploadPartCopyInput) -> Answer<UploadPartCopyOutput> {
        let place = PartPlace {
            bucket: self.store.bucket(&input.bucket)?,
            upload_id: input.upload_id,
            key: input.key,
            number: part_number(input.part_number)?,
        };
        let plan = place.plan().await?;
        let conditions = Conditions {
            if_match: input.copy_source_if_match,
            if_none_match: input.copy_source_if_none_match,
            if_modified_since: input.copy_source_if_modified_since,
            if_unmodified_since: input.copy_source_if_unmodified_since,
        };
        let (source, file) = self.copy_source(&input.copy_source, conditions).await?;
        let range = match &input.copy_source_range {
            None => 0..source.size_bytes,
            Some(text) => {
                let range =
                    Range::parse(text).map_err(|_| s3_error!(InvalidArgument, "not a range: {text}"))?;
                range.check(source.size_bytes)?
            }
        };
        let expected = Expected::of(&HeaderMap::new(), None, plan.algorithm.clone());
        let stored = self.store_part(place, Some(contents(file, range)), &expected).await?;
        let result = CopyPartResult {
            e_tag: Some(stored.etag()),
            last_modified: Some(timestamp(stored.modified_ms)),
            checksum_crc32: stored.checksums.crc32,
            checksum_crc32c: stored.checksums.crc32c,
            checksum_crc64nvme: stored.checksums.crc64nvme,
            checksum_sha1: stored.checksums.sha1,
            checksum_sha256: stored.checksums.sha256,
        };
        let output = UploadPartCopyOutput { copy_part_result: Some(result), ..Default::default() };
        Ok(S3Response::with_headers(output, plan.headers.encryption()))
    }

    async fn store_part(
        &self,
        place: PartPlace,
        body: Option<StreamingBlob>,
        expected: &Expected,
    ) -> S3Result<StoredPart> {
        let received = receive(self.store.place().tmp(), body, expected).await?;
        let part = StoredPart {
            size_bytes: received.size_bytes,
            etag: hex::encode(received.md5),
            modified_ms: now_ms(),
            checksums: received.checksums.clone(),
        };
        blocking(move || {
            place.bucket.put_part(&place.upload_id, &place.key, place.number, received, part.clone())?;
            Ok(part)
        })
        .await
    }

    pub(super) async fn parts(&self, input: ListPartsInput) -> Answer<ListPartsOutput> {
        let bucket = self.store.bucket(&input.bucket)?;
        let parts_max = entries_max(input.max_parts)?;
        let after = input.part_number_marker.unwrap_or(0);
        let (upload_id, key) = (input.upload_id.clone(), input.key.clone());
        let (plan, mut parts) = blocking(move || {
            bucket.with_upload(&upload_id, &key, |upload| {
                let later = upload.parts.iter().filter(|(number, _)| i32::from(**number) > after);
                let shown = later.take(parts_max + 1).map(|(number, part)| shown(*number, part));
                Ok((upload.plan.clone(), shown.collect::<Vec<_>>()))
            })
        })
        .await?;
        let is_truncated = parts.len() > parts_max;
        parts.truncate(parts_max);
        Ok(S3Response::new(ListPartsOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            part_number_marker: Some(after),
            next_part_number_marker: parts.last().filter(|_| is_truncated).and_then(|part| part.part_number),
            max_parts: Some(parts_max as i32),
            is_truncated: Some(is_truncated),
            parts: Some(parts),
            checksum_type: checksum_type(&plan),
            checksum_algorithm: plan.algorithm.map(ChecksumAlgorithm::from),
            storage_class: Some(StorageClass::from(plan.headers.storage_class())),
            ..ListPartsOutput::default()
        }))
    }

    pub(super) async fn uploads(
        &self,
        input: ListMultipartUploadsInput,
    ) -> Answer<ListMultipartUploadsOutput> {
        if input.delimiter.is_some() {
            return Err(s3_error!(NotImplemented, "uploads are listed without a delimiter"));
        }
        let bucket = self.store.bucket(&input.bucket)?;
        let uploads_max = entries_max(input.max_uploads)?;
        let encode = encoder(input.encoding_type.as_ref())?;
        let prefix = input.prefix.clone().unwrap_or_default();
        let key_marker = input.key_marker.clone().unwrap_or_default();
        // Without an upload's id, all uploads of the marker's key have been seen.
        let id_marker = input.upload_id_marker.clone().unwrap_or_else(|| char::MAX.to_string());
        let mut plans =
            blocking(move || Ok(bucket.uploads(&prefix, (key_marker.as_str(), id_marker.as_str())))).await?;
        let is_truncated = plans.len() > uploads_max;
        plans.truncate(uploads_max);
        let last = plans.last().filter(|_| is_truncated);
        let upload = |plan: &Plan| MultipartUpload {
            key: Some(encode(&plan.key)),
            upload_id: Some(plan.id.clone()),
            initiated: Some(timestamp(plan.started_ms)),
            storage_class: Some(StorageClass::from(plan.headers.storage_class())),
            ..MultipartUpload::default()
        };
        Ok(S3Response::new(ListMultipartUploadsOutput {
            bucket: Some(input.bucket),
            prefix: Some(encode(&input.prefix.unwrap_or_default())),
            key_marker: Some(encode(&input.key_marker.unwrap_or_default())),
            upload_id_marker: input.upload_id_marker,
            next_key_marker: last.map(|plan| encode(&plan.key)),
            next_upload_id_marker: last.map(|plan| plan.id.clone()),
            max_uploads: Some(uploads_max as i32),
            is_truncated: Some(is_truncated),
            uploads: Some(plans.iter().map(upload).collect()),
            encoding_type: input.encoding_type,
            ..ListMultipartUploadsOutput::default()
        }))
    }

    pub(super) async fn complete_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> Answer<CompleteMultipartUploadOutput> {
        let S3Request { input, headers, .. } = request;
        let bucket = self.store.bucket(&input.bucket)?;
        let condition = Condition::new(input.if_match, input.if_none_match)?;
        let expected = Expected::of_whole_object(&headers);
        let listed = listed_parts(input.multipart_upload)?;
        let (upload_id, key) = (input.upload_id, input.key.clone());
        let object =
            blocking(move || bucket.complete_upload(&upload_id, &key, &listed, &expected, &condition))
                .await?;
        let output = CompleteMultipartUploadOutput {
            location: Some(format!("/{}/{}", input.bucket, input.key)),
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(object.etag()),
            checksum_type: object.checksums.kind(),
            checksum_crc32: object.checksums.crc32,
            checksum_crc32c: object.checksums.crc32c,
            checksum_crc64nvme: object.checksums.crc64nvme,
            checksum_sha1: object.checksums.sha1,
            checksum_sha256: object.checksums.sha256,
            ..CompleteMultipartUploadOutput::default()
        };
        Ok(S3Response::with_headers(output, object.headers.encryption()))
    }
}

/// S3 user guide, "Checking object integrity": CRC-64/NVME is always of the full object, the SHAs are always composite,
/// the other CRCs are composite unless asked otherwise.
fn is_composite(algorithm: Option<&str>, asked: Option<&ChecksumType>) -> bool {
    match algorithm {
        None | Some(ChecksumAlgorithm::CRC64NVME) => false,
        Some(_) => asked.is_none_or(|asked| asked.as_str() != ChecksumType::FULL_OBJECT),
    }
}

fn checksum_type(plan: &Plan) -> Option<ChecksumType> {
    let name = if plan.composite { ChecksumType::COMPOSITE } else { ChecksumType::FULL_OBJECT };
    plan.algorithm.as_ref().map(|_| ChecksumType::from_static(name))
}

fn shown(number: u16, part: &StoredPart) -> Part {
    Part {
        part_number: Some(i32::from(number)),
        size: Some(part.size_bytes as i64),
        e_tag: Some(part.etag()),
        last_modified: Some(timestamp(part.modified_ms)),
        checksum_crc32: part.checksums.crc32.clone(),
        checksum_crc32c: part.checksums.crc32c.clone(),
        checksum_crc64nvme: part.checksums.crc64nvme.clone(),
        checksum_sha1: part.checksums.sha1.clone(),
        checksum_sha256: part.checksums.sha256.clone(),
    }
}

fn listed_parts(upload: Option<CompletedMultipartUpload>) -> S3Result<Vec<ListedPart>> {
    let parts = upload.and_then(|upload| upload.parts).unwrap_or_default();
    let listed = parts.into_iter().map(|part| {
        let number = part.part_number.ok_or_else(|| s3_error!(MalformedXML, "a part without a number"))?;
        let etag = part.e_tag.ok_or_else(|| s3_error!(MalformedXML, "a part without an ETag"))?;
        Ok(ListedPart { number: part_number(number)?, etag: etag.into_value() })
    });
    listed.collect()
}

fn entries_max(asked: Option<i32>) -> S3Result<usize> {
    let asked = asked.unwrap_or(ENTRIES_MAX).min(ENTRIES_MAX);
    usize::try_from(asked).map_err(|_| s3_error!(InvalidArgument, "a maximum must not be negative"))
}
