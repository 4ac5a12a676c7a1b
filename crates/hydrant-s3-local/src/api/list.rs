//! ListObjects, in both versions.

use std::sync::Arc;

use s3s::dto::*;
use s3s::{S3Response, S3Result, s3_error};

use super::{Answer, Api};
use crate::listing::{Page, Query};
use crate::object::timestamp;
use crate::receive::blocking;

/// S3 answers no more than this, whatever is asked for.
const ENTRIES_MAX: i32 = 1_000;

/// What both versions have in common.
struct Wanted {
    prefix: String,
    delimiter: Option<String>,
    after: String,
    entries_max: i32,
}

impl Api {
    pub(super) async fn list_v2(&self, input: ListObjectsV2Input) -> Answer<ListObjectsV2Output> {
        let after = match &input.continuation_token {
            Some(token) => decode_token(token)?,
            None => input.start_after.clone().unwrap_or_default(),
        };
        let entries_max = entries_max(input.max_keys)?;
        let wanted = Wanted {
            prefix: input.prefix.clone().unwrap_or_default(),
            delimiter: input.delimiter.clone(),
            after,
            entries_max,
        };
        let page = self.page(&input.bucket, wanted).await?;
        let encode = encoder(input.encoding_type.as_ref())?;
        let next = page.resume_after.as_ref().map(hex::encode);
        let contents = contents(&page, encode);
        let prefixes = common_prefixes(&page, encode);
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: Some(encode(&input.prefix.unwrap_or_default())),
            max_keys: Some(entries_max),
            key_count: Some((contents.len() + prefixes.len()) as i32),
            continuation_token: input.continuation_token,
            is_truncated: Some(next.is_some()),
            next_continuation_token: next,
            contents: Some(contents),
            common_prefixes: Some(prefixes),
            delimiter: input.delimiter.map(|delimiter| encode(&delimiter)),
            encoding_type: input.encoding_type,
            start_after: input.start_after.map(|after| encode(&after)),
            ..ListObjectsV2Output::default()
        }))
    }

    pub(super) async fn list_v1(&self, input: ListObjectsInput) -> Answer<ListObjectsOutput> {
        let entries_max = entries_max(input.max_keys)?;
        let wanted = Wanted {
            prefix: input.prefix.clone().unwrap_or_default(),
            delimiter: input.delimiter.clone(),
            after: input.marker.clone().unwrap_or_default(),
            entries_max,
        };
        let page = self.page(&input.bucket, wanted).await?;
        let encode = encoder(input.encoding_type.as_ref())?;
        // S3 names the next marker only with a delimiter; without one it is the last key, which everybody has.
        let next = page.resume_after.as_ref().filter(|_| input.delimiter.is_some());
        Ok(S3Response::new(ListObjectsOutput {
            name: Some(input.bucket),
            prefix: Some(encode(&input.prefix.unwrap_or_default())),
            marker: Some(encode(&input.marker.unwrap_or_default())),
            max_keys: Some(entries_max),
            is_truncated: Some(page.resume_after.is_some()),
            next_marker: next.map(|next| encode(next)),
            contents: Some(contents(&page, encode)),
            common_prefixes: Some(common_prefixes(&page, encode)),
            delimiter: input.delimiter.map(|delimiter| encode(&delimiter)),
            encoding_type: input.encoding_type,
            ..ListObjectsOutput::default()
        }))
    }

    async fn page(&self, bucket: &str, wanted: Wanted) -> S3Result<Page> {
        let bucket = self.store.bucket(bucket)?;
        blocking(move || {
            Ok(bucket.list(Query {
                prefix: &wanted.prefix,
                delimiter: wanted.delimiter.as_deref(),
                after: &wanted.after,
                entries_max: wanted.entries_max as usize,
            }))
        })
        .await
    }
}

type Encode = fn(&str) -> String;

fn contents(page: &Page, encode: Encode) -> Vec<Object> {
    let object = |object: &Arc<crate::object::Object>| Object {
        key: Some(encode(&object.key)),
        size: Some(object.size_bytes as i64),
        e_tag: Some(object.etag()),
        last_modified: Some(timestamp(object.modified_ms)),
        storage_class: Some(ObjectStorageClass::from(object.headers.storage_class())),
        ..Object::default()
    };
    page.objects.iter().map(object).collect()
}

fn common_prefixes(page: &Page, encode: Encode) -> Vec<CommonPrefix> {
    page.prefixes.iter().map(|prefix| CommonPrefix { prefix: Some(encode(prefix)) }).collect()
}

fn entries_max(asked: Option<i32>) -> S3Result<i32> {
    match asked.unwrap_or(ENTRIES_MAX) {
        asked @ 0.. => Ok(asked.min(ENTRIES_MAX)),
        _ => Err(s3_error!(InvalidArgument, "max-keys must not be negative")),
    }
}

fn decode_token(token: &str) -> S3Result<String> {
    let invalid = || s3_error!(InvalidArgument, "The continuation token provided is incorrect");
    let bytes = hex::decode(token).map_err(|_| invalid())?;
    String::from_utf8(bytes).map_err(|_| invalid())
}

/// Keys may hold characters that XML 1.0 cannot; clients that know ask for them in URL encoding (boto3 always does).
pub(super) fn encoder(encoding: Option<&EncodingType>) -> S3Result<Encode> {
    match encoding.map(EncodingType::as_str) {
        None => Ok(str::to_owned),
        Some(EncodingType::URL) => Ok(url_encoded),
        Some(_) => Err(s3_error!(InvalidArgument, "Invalid Encoding Method specified in Request")),
    }
}

/// Everything but RFC 3986's unreserved characters, and `/` as S3 leaves it.
fn url_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                encoded.push(char::from(byte));
            }
            _ => {
                encoded.push('%');
                encoded.push_str(&hex::encode_upper([byte]));
            }
        }
    }
    encoded
}
