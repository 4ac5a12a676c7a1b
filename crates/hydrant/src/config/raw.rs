//! The configuration as it is written: text, every key optional, unknown keys refused.

use serde::Deserialize;

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Raw {
    pub(super) api: Api,
    pub(super) admin: Admin,
    pub(super) auth: Auth,
    pub(super) encryption: Encryption,
    pub(super) quotas: Quotas,
    pub(super) log: Log,
    pub(super) metastore: Metastore,
    pub(super) s3: S3,
    pub(super) redshift: Redshift,
    pub(super) delivery: Delivery,
    pub(super) streams: Streams,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Api {
    pub(super) listen: Option<String>,
    pub(super) account_id: Option<String>,
    pub(super) region: Option<String>,
    pub(super) tls: Option<Tls>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Tls {
    pub(super) cert: Option<String>,
    pub(super) key: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Admin {
    pub(super) listen: Option<String>,
    pub(super) token: Option<SecretSource>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Auth {
    pub(super) mode: Option<String>,
    pub(super) keys: Vec<AuthKey>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AuthKey {
    pub(super) access_key_id: Option<String>,
    pub(super) secret_access_key: Option<SecretSource>,
    pub(super) actions: Option<Vec<String>>,
    pub(super) streams: Option<Vec<String>>,
    pub(super) calls_per_sec: Option<Number>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Encryption {
    pub(super) default: Option<String>,
    pub(super) keys: Vec<EncryptionKey>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct EncryptionKey {
    pub(super) arn: Option<String>,
    pub(super) key: Option<SecretSource>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Quotas {
    pub(super) records_per_sec: Option<Number>,
    pub(super) bytes_per_sec: Option<String>,
    pub(super) calls_per_sec: Option<Number>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Log {
    pub(super) dir: Option<String>,
    pub(super) bytes_max: Option<String>,
    pub(super) free_min: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Metastore {
    pub(super) url: Option<SecretSource>,
    pub(super) retention: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct S3 {
    pub(super) endpoint_url: Option<String>,
    pub(super) region: Option<String>,
    pub(super) force_path_style: Option<Flag>,
    pub(super) assume_roles: Option<Flag>,
    pub(super) sts_endpoint_url: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Redshift {
    pub(super) endpoint_url: Option<String>,
    pub(super) region: Option<String>,
    pub(super) iam_role: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Delivery {
    pub(super) interval_max: Option<String>,
    pub(super) gzip_level: Option<Number>,
    pub(super) copy_retry: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Streams {
    pub(super) dir: Option<String>,
}

/// A secret, or where it is: inline, in an environment variable, in a file.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a string, { env = \"NAME\" } or { file = \"PATH\" }")]
pub(super) enum SecretSource {
    Inline(hydrant_types::Secret),
    /// `env` or `file`, and which. A map and no struct: a struct would be read from a list too.
    From(std::collections::BTreeMap<String, String>),
}

/// `true`, or `"true"` as the environment gives it.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected true or false")]
pub(super) enum Flag {
    Value(bool),
    Text(String),
}

/// `6`, or `"6"` as the environment gives it.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a whole number")]
pub(super) enum Number {
    Value(i64),
    Text(String),
}
