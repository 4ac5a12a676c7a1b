//! Where objects, manifests and the manifests of loads that were given up go in a bucket.
//!
//! Prefixes are literals here. The date is appended to the prefix directly, without a slash between: that is what Amazon Data
//! Firehose does, whatever the table in its documentation shows (prefix `legacy` gives `legacy2026/07/13/14/…`).

use hydrant_types::{
    BatchId, Compression, ErrorOutputType, LoadId, NameError, ObjectKey, S3Settings, StreamName,
    StreamVersion, Timestamp,
};

const DATE: &str = "%Y/%m/%d/%H/";
const TIME: &str = "%Y-%m-%d-%H-%M-%S";

/// `<prefix>yyyy/MM/dd/HH/<stream>-<version>-yyyy-MM-dd-HH-mm-ss-<batch id><extension>`, at the oldest record's arrival in UTC.
///
/// # Errors
/// The key would be longer than S3 allows.
pub fn object(
    s3: &S3Settings,
    stream: &StreamName,
    version: StreamVersion,
    oldest_arrival: Timestamp,
    batch: BatchId,
) -> Result<ObjectKey, NameError> {
    let prefix = s3.prefix.as_deref().unwrap_or_default();
    let (date, time) = (oldest_arrival.format_utc(DATE), oldest_arrival.format_utc(TIME));
    let extension = Compression::extension(s3.compression);
    format!("{prefix}{date}{stream}-{version}-{time}-{batch}{extension}").parse()
}

/// `<prefix><error output type>/yyyy/MM/dd/HH/<stream>-<version>-yyyy-MM-dd-HH-mm-ss-<batch id><extension>`.
///
/// # Errors
/// The key would be longer than S3 allows.
pub fn error_object(
    s3: &S3Settings,
    stream: &StreamName,
    version: StreamVersion,
    oldest_arrival: Timestamp,
    batch: BatchId,
    error: ErrorOutputType,
) -> Result<ObjectKey, NameError> {
    let prefix = s3.prefix.as_deref().unwrap_or_default();
    let prefix = Some(format!("{prefix}{}/", error.as_str()));
    object(&S3Settings { prefix, ..s3.clone() }, stream, version, oldest_arrival, batch)
}

/// `<prefix>manifests/yyyy/MM/dd/HH/<stream>-yyyy-MM-dd-HH-mm-ss-<load id>`: without version and extension, as Firehose has it.
///
/// # Errors
/// The key would be longer than S3 allows.
pub fn manifest(
    prefix: Option<&str>,
    stream: &StreamName,
    planned_at: Timestamp,
    load: LoadId,
) -> Result<ObjectKey, NameError> {
    let prefix = prefix.unwrap_or_default();
    let (date, time) = (planned_at.format_utc(DATE), planned_at.format_utc(TIME));
    format!("{prefix}manifests/{date}{stream}-{time}-{load}").parse()
}

/// The copy of a manifest under `<prefix>errors/manifests/`, by the same file name.
///
/// # Errors
/// The key would be longer than S3 allows, or `manifest` is not a key of [`manifest`].
pub fn errors_manifest(manifest: &ObjectKey) -> Result<ObjectKey, NameError> {
    // From behind: a prefix may itself contain `manifests/`. The date is four parts, the name one.
    let parts: Vec<_> = manifest.as_str().rsplitn(6, '/').collect();
    let from_date = parts[..parts.len().min(5)].iter().rev().copied().collect::<Vec<_>>().join("/");
    let tail = format!("manifests/{from_date}");
    let prefix = manifest.as_str().strip_suffix(&tail).unwrap_or_default();
    format!("{prefix}errors/{tail}").parse()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const ARRIVAL: Timestamp = Timestamp(1_783_954_800_000 + 61_000);
    const ID: Uuid = Uuid::from_u128(0xc035_7a0f_495d_4eb6_9383_66b7_d934_7e15);

    fn s3(prefix: Option<&str>, compression: Compression) -> S3Settings {
        let prefix = prefix.map(str::to_owned);
        S3Settings { prefix, compression, ..S3Settings::of_bucket("b".parse().unwrap()) }
    }

    fn key(prefix: Option<&str>, compression: Compression) -> String {
        object(&s3(prefix, compression), &"orders".parse().unwrap(), StreamVersion(4), ARRIVAL, BatchId(ID))
            .unwrap()
            .into()
    }

    #[test]
    fn keys_are_laid_out_as_firehose_lays_them_out() {
        let name = "orders-4-2026-07-13-15-01-01-c0357a0f-495d-4eb6-9383-66b7d9347e15";
        assert_eq!(key(None, Compression::Uncompressed), format!("2026/07/13/15/{name}"));
        assert_eq!(key(Some("logs/"), Compression::Gzip), format!("logs/2026/07/13/15/{name}.gz"));
        assert_eq!(key(Some("legacy"), Compression::Gzip), format!("legacy2026/07/13/15/{name}.gz"));
    }

    #[test]
    fn a_manifest_has_neither_version_nor_extension() {
        let stream = "orders".parse().unwrap();
        let key = manifest(Some("a/manifests/"), &stream, ARRIVAL, LoadId(ID)).unwrap();
        let name = "manifests/2026/07/13/15/orders-2026-07-13-15-01-01-c0357a0f-495d-4eb6-9383-66b7d9347e15";
        assert_eq!(key.as_str(), format!("a/manifests/{name}"));
        assert_eq!(errors_manifest(&key).unwrap().as_str(), format!("a/manifests/errors/{name}"));
        let key = manifest(None, &stream, ARRIVAL, LoadId(ID)).unwrap();
        assert_eq!(errors_manifest(&key).unwrap().as_str(), format!("errors/{name}"));
    }

    #[test]
    fn a_key_that_s3_would_refuse_is_an_error() {
        let long = "x".repeat(1000);
        let s3 = s3(Some(&long), Compression::Gzip);
        assert!(object(&s3, &"s".parse().unwrap(), StreamVersion(1), ARRIVAL, BatchId(ID)).is_err());
    }

    /// The API takes evaluated prefixes of 512 bytes: then every key there is fits.
    #[test]
    fn the_longest_prefix_leaves_room_for_every_key() {
        let (prefix, name) = ("ä".repeat(256), "n".repeat(64).parse().unwrap());
        let version = StreamVersion(u32::MAX);
        assert!(object(&s3(Some(&prefix), Compression::Gzip), &name, version, ARRIVAL, BatchId(ID)).is_ok());
        let manifest = manifest(Some(&prefix), &name, ARRIVAL, LoadId(ID)).unwrap();
        assert!(errors_manifest(&manifest).is_ok());
    }
}
