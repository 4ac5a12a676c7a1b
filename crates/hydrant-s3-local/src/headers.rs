//! What a writer says about an object in headers, kept and given back as it came.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};
use s3s::dto::StorageClass;
use s3s::{S3Result, s3_error};
use serde::{Deserialize, Serialize};

const KEPT: [&str; 6] =
    ["content-type", "content-disposition", "content-language", "cache-control", "expires", CONTENT_ENCODING];
const CONTENT_ENCODING: &str = "content-encoding";
const STORAGE_CLASS: &str = "x-amz-storage-class";
/// SSE-S3 and SSE-KMS: nothing is encrypted here, but what was asked for can be seen.
const ENCRYPTION: &str = "x-amz-server-side-encryption";
const METADATA: &str = "x-amz-meta-";
/// The framing of a request's body, not a property of the object.
const FRAMING: &str = "aws-chunked";
const DEFAULT_STORAGE_CLASS: &str = "STANDARD";

/// These change what is stored or who may have it; to ignore them would be a lie.
const NOT_IMPLEMENTED: [&str; 6] = [
    "x-amz-server-side-encryption-customer-",
    "x-amz-server-side-encryption-context",
    "x-amz-tagging",
    "x-amz-object-lock-",
    "x-amz-website-redirect-location",
    "x-amz-write-offset-bytes",
];

const STORAGE_CLASSES: [&str; 8] = [
    DEFAULT_STORAGE_CLASS,
    StorageClass::STANDARD_IA,
    StorageClass::ONEZONE_IA,
    StorageClass::INTELLIGENT_TIERING,
    StorageClass::GLACIER,
    StorageClass::GLACIER_IR,
    StorageClass::DEEP_ARCHIVE,
    StorageClass::REDUCED_REDUNDANCY,
];

/// Names in lower case with their values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Headers(BTreeMap<String, String>);

impl Headers {
    /// Takes from a request what belongs to the object.
    ///
    /// # Errors
    /// `NotImplemented` for what this server cannot do, `InvalidStorageClass`.
    pub(crate) fn of(request: &HeaderMap) -> S3Result<Self> {
        let mut kept = BTreeMap::new();
        for (name, value) in request {
            let name = name.as_str();
            if NOT_IMPLEMENTED.iter().any(|prefix| name.starts_with(prefix)) {
                return Err(s3_error!(
                    NotImplemented,
                    "A header you provided implies functionality that is not implemented: {name}"
                ));
            }
            let belongs = KEPT.contains(&name)
                || name == STORAGE_CLASS
                || name.starts_with(ENCRYPTION)
                || name.starts_with(METADATA);
            if belongs {
                kept.insert(name.to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned());
            }
        }
        drop_framing(&mut kept);
        check_storage_class(&mut kept)?;
        Ok(Self(kept))
    }

    /// All of them, as GetObject and HeadObject answer.
    pub(crate) fn to_http(&self) -> HeaderMap {
        self.matching(|_| true)
    }

    /// Those that PutObject and its like answer.
    pub(crate) fn encryption(&self) -> HeaderMap {
        self.matching(|name| name.starts_with(ENCRYPTION))
    }

    /// The storage class as lists show it.
    pub(crate) fn storage_class(&self) -> String {
        self.0.get(STORAGE_CLASS).map_or(DEFAULT_STORAGE_CLASS, String::as_str).to_owned()
    }

    fn matching(&self, wanted: impl Fn(&str) -> bool) -> HeaderMap {
        let wanted = self.0.iter().filter(|(name, _)| wanted(name));
        wanted
            .filter_map(|(name, value)| {
                Some((
                    HeaderName::from_bytes(name.as_bytes()).ok()?,
                    HeaderValue::from_bytes(value.as_bytes()).ok()?,
                ))
            })
            .collect()
    }
}

/// `gzip,aws-chunked` means `gzip`; `aws-chunked` alone means nothing.
fn drop_framing(kept: &mut BTreeMap<String, String>) {
    let Some(encodings) = kept.remove(CONTENT_ENCODING) else { return };
    let real: Vec<&str> = encodings
        .split(',')
        .map(str::trim)
        .filter(|encoding| !encoding.eq_ignore_ascii_case(FRAMING) && !encoding.is_empty())
        .collect();
    if !real.is_empty() {
        kept.insert(CONTENT_ENCODING.to_owned(), real.join(","));
    }
}

fn check_storage_class(kept: &mut BTreeMap<String, String>) -> S3Result<()> {
    match kept.get(STORAGE_CLASS).map(String::as_str) {
        None => {}
        // S3 does not mention the default in its answers.
        Some(DEFAULT_STORAGE_CLASS) => drop(kept.remove(STORAGE_CLASS)),
        Some(class) if STORAGE_CLASSES.contains(&class) => {}
        Some(_) => return Err(s3_error!(InvalidStorageClass)),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        let header = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        headers.iter().map(header).collect()
    }

    #[test]
    fn the_framing_of_a_body_is_not_its_encoding() {
        for (sent, kept) in
            [("aws-chunked", None), ("gzip,aws-chunked", Some("gzip")), ("gzip", Some("gzip"))]
        {
            let headers = Headers::of(&request(&[("content-encoding", sent)])).unwrap().to_http();
            assert_eq!(headers.get("content-encoding").map(|value| value.to_str().unwrap()), kept);
        }
    }

    #[test]
    fn what_is_not_the_objects_is_not_kept() {
        let sent = [("authorization", "secret"), ("x-amz-meta-a", "b"), ("x-amz-date", "now")];
        let headers = Headers::of(&request(&sent)).unwrap().to_http();
        assert_eq!(headers, request(&[("x-amz-meta-a", "b")]));
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        let tagged = Headers::of(&request(&[("x-amz-tagging", "a=b")])).unwrap_err();
        assert_eq!(tagged.code().as_str(), "NotImplemented");
        let class = Headers::of(&request(&[("x-amz-storage-class", "SHOEBOX")])).unwrap_err();
        assert_eq!(class.code().as_str(), "InvalidStorageClass");
    }
}
