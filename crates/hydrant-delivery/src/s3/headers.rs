//! What an object is stored with, the same whether it is put whole or in parts.

use std::collections::HashMap;

use crate::object_store::{Body, PutOptions};
use aws_sdk_s3::types::{ObjectCannedAcl, ServerSideEncryption, StorageClass};

const CONTENT_TYPE: &str = "application/octet-stream";
/// User metadata: the CRC-32 of the records in the object, in hexadecimal. Tells our object from another one under the same key.
pub(super) const RECORDS_CRC32: &str = "hydrant-records-crc32";

/// What an object is stored with.
pub(super) struct ObjectHeaders {
    pub(super) content_type: &'static str,
    pub(super) content_encoding: Option<String>,
    pub(super) metadata: HashMap<String, String>,
    pub(super) server_side_encryption: Option<ServerSideEncryption>,
    pub(super) kms_key_id: Option<String>,
    pub(super) acl: Option<ObjectCannedAcl>,
    pub(super) storage_class: Option<StorageClass>,
    pub(super) tagging: Option<String>,
}

impl ObjectHeaders {
    pub(super) fn new(body: &Body, options: &PutOptions) -> Self {
        let tagged = &options.tagged;
        Self {
            content_type: CONTENT_TYPE,
            content_encoding: body.content_encoding.map(str::to_owned),
            metadata: HashMap::from([(RECORDS_CRC32.to_owned(), records_crc32(body))]),
            // Without a key nothing is said, and the bucket's default holds.
            server_side_encryption: options.kms_key_arn.as_ref().map(|_| ServerSideEncryption::AwsKms),
            kms_key_id: options.kms_key_arn.clone(),
            acl: tagged.acl.map(|acl| ObjectCannedAcl::from(acl.as_str())),
            storage_class: tagged.storage_class.map(|class| StorageClass::from(class.as_str())),
            tagging: tagged.object_tags.as_ref().map(|tags| tags.as_header().to_owned()),
        }
    }
}

pub(super) fn records_crc32(body: &Body) -> String {
    format!("{:08x}", body.records_crc32)
}
