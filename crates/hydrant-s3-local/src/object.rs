//! What is known about an object besides its bytes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use s3s::dto::{ETag, Timestamp};
use serde::{Deserialize, Serialize};

use crate::headers::Headers;

/// The description of one stored object; the end of its file holds it as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Object {
    pub(crate) key: String,
    pub(crate) size_bytes: u64,
    /// Without quotes.
    pub(crate) etag: String,
    pub(crate) modified_ms: u64,
    pub(crate) headers: Headers,
    pub(crate) checksums: Checksums,
}

/// Checksums in base64, as the protocol has them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Checksums {
    pub(crate) crc32: Option<String>,
    pub(crate) crc32c: Option<String>,
    pub(crate) crc64nvme: Option<String>,
    pub(crate) sha1: Option<String>,
    pub(crate) sha256: Option<String>,
    /// Made of the checksums of an upload's parts, not of the object's bytes.
    pub(crate) composite: bool,
}

/// The description of one part of an upload; the end of its file holds it as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) size_bytes: u64,
    /// Without quotes: the MD5 in hexadecimal.
    pub(crate) etag: String,
    pub(crate) modified_ms: u64,
    pub(crate) checksums: Checksums,
}

/// Files that end in a description say how long what comes before it is.
pub(crate) trait Described: Serialize + for<'de> Deserialize<'de> {
    fn size_bytes(&self) -> u64;
}

impl Described for Object {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }
}

impl Described for Part {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }
}

impl Object {
    pub(crate) fn etag(&self) -> ETag {
        ETag::Strong(self.etag.clone())
    }
}

impl Part {
    pub(crate) fn etag(&self) -> ETag {
        ETag::Strong(self.etag.clone())
    }
}

/// The wall clock, as descriptions have it.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

/// A time of a description as the protocol has it.
pub(crate) fn timestamp(modified_ms: u64) -> Timestamp {
    Timestamp::from(UNIX_EPOCH + Duration::from_millis(modified_ms))
}
