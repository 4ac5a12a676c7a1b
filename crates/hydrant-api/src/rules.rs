//! Firehose's own rules for a destination's settings: what no shape can say, with the service's codes and texts.
//!
//! They know nothing of what this service delivers to: a setting that breaks a rule is refused in Firehose's words, whether it would
//! have had an effect here or not.

mod copy_options;
mod elsewhere;
mod prefix;
mod processing;

use crate::{
    destination::Kind,
    input::{Faults, Node},
    jdbc,
};

pub(crate) use processing::{is_on as is_processing_on, read as processor, refuse as refuse_processors};

/// Where an S3 configuration stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Objects of records: the destination itself, a backup, what failed.
    Objects,
    /// Firehose reads it back itself.
    RedshiftStaging,
}

/// Checks the configuration of a destination.
pub(crate) fn check(kind: Kind, config: &Node<'_>, faults: &mut Faults) {
    match kind {
        Kind::S3 => check_s3(config, Place::Objects, false, faults),
        Kind::ExtendedS3 => check_extended_s3(config, faults),
        Kind::Redshift => check_redshift(config, faults),
        _ => elsewhere::check(kind, config, faults),
    }
}

fn check_s3(config: &Node<'_>, place: Place, partitioned: bool, faults: &mut Faults) {
    check_logging(config, faults);
    check_buffering(config, faults);
    check_object_encryption(config, faults);
    if place == Place::RedshiftStaging {
        let format = config.at("CompressionFormat");
        if !matches!(format.text(), None | Some("UNCOMPRESSED" | "GZIP")) {
            faults.invalid(
                &format,
                "Only the following compression formats are allowed when using Redshift: [UNCOMPRESSED, GZIP]",
            );
        }
        prefix::check_none(config, faults);
    }
    prefix::check(config, partitioned, faults);
}

fn check_logging(config: &Node<'_>, faults: &mut Faults) {
    let options = config.at("CloudWatchLoggingOptions");
    if options.at("Enabled").is_true() && options.at("LogGroupName").filled().is_none() {
        faults.invalid(&options, "CloudWatch Log Group Name is required if CloudWatch Logging is enabled");
    }
}

fn check_buffering(config: &Node<'_>, faults: &mut Faults) {
    let hints = config.at("BufferingHints");
    if hints.at("SizeInMBs").is_given() != hints.at("IntervalInSeconds").is_given() {
        faults.invalid(
            &hints,
            "BufferingHints: SizeInMBs and IntervalInSeconds must be given together or not at all.",
        );
    }
}

fn check_object_encryption(config: &Node<'_>, faults: &mut Faults) {
    let encryption = config.at("EncryptionConfiguration");
    if encryption.at("NoEncryptionConfig").is_given() && encryption.at("KMSEncryptionConfig").is_given() {
        faults.invalid(
            &encryption,
            "EncryptionConfiguration: NoEncryptionConfig and KMSEncryptionConfig cannot be given together.",
        );
    }
}

fn check_backup(config: &Node<'_>, faults: &mut Faults) {
    let (mode, backup) = (config.at("S3BackupMode"), config.at("S3BackupConfiguration"));
    if mode.is("Enabled") && !backup.is_given() {
        faults.invalid(&mode, "S3 backup destination configuration is required when enabling S3 backup.");
    }
    if backup.is_given() {
        check_s3(&backup, Place::Objects, false, faults);
        let interval = backup.at("BufferingHints").at("IntervalInSeconds");
        if interval.number() == Some(0) {
            faults.invalid(
                &interval,
                "BufferingHints.IntervalInSeconds must be greater than 0 for S3 backup: zero buffering is not supported for it.",
            );
        }
    }
}

fn check_extended_s3(config: &Node<'_>, faults: &mut Faults) {
    let partitioning = config.at("DynamicPartitioningConfiguration").at("Enabled").is_true();
    check_s3(config, Place::Objects, partitioning, faults);
    let size = config.at("BufferingHints").at("SizeInMBs");
    if partitioning && size.number().is_some_and(|size| size < 64) {
        faults.invalid(
            &size,
            "BufferingHints.SizeInMBs must be at least 64 when Dynamic Partitioning is enabled.",
        );
    }
    processing::check(config, processing::Place::S3 { partitioning }, faults);
    check_backup(config, faults);
    check_conversion(config, faults);
    let zone = config.at("CustomTimeZone");
    if zone.filled().is_some_and(|zone| hydrant_types::time_zone(zone).is_none()) {
        faults.invalid(
            &zone,
            "Provided custom time zone is not supported. Custom time zones are limited to UTC and non-3-letter IANA time zones.",
        );
    }
}

/// It is on unless it says otherwise.
pub(crate) fn is_conversion_on(conversion: &Node<'_>) -> bool {
    conversion.is_given() && conversion.at("Enabled").value().as_bool() != Some(false)
}

fn check_conversion(config: &Node<'_>, faults: &mut Faults) {
    let conversion = config.at("DataFormatConversionConfiguration");
    if !is_conversion_on(&conversion) {
        return;
    }
    let format = config.at("CompressionFormat");
    if format.text().is_some_and(|format| format != "UNCOMPRESSED") {
        faults.invalid(
            &format,
            "The S3 destination's compression format must be set to UNCOMPRESSED when data format conversion is enabled",
        );
    }
    for name in ["SchemaConfiguration", "InputFormatConfiguration", "OutputFormatConfiguration"] {
        if !conversion.at(name).is_given() {
            faults.invalid(&conversion, format!("{name} must not be null"));
        }
    }
    for (format, what, kinds) in [
        ("InputFormatConfiguration", "Deserializer", ["OpenXJsonSerDe", "HiveJsonSerDe"]),
        ("OutputFormatConfiguration", "Serializer", ["ParquetSerDe", "OrcSerDe"]),
    ] {
        let format = conversion.at(format);
        let chosen = format.at(what);
        match kinds.iter().filter(|kind| chosen.at(kind).is_given()).count() {
            1 => {}
            0 if !format.is_given() => {}
            0 => faults.invalid(&format, format!("{what} must not be null")),
            _ => faults.invalid(
                &chosen,
                format!("More than one {} specified. Only one may be chosen.", what.to_lowercase()),
            ),
        }
    }
}

fn check_redshift(config: &Node<'_>, faults: &mut Faults) {
    let secret = check_secret(config, faults);
    if !secret && !config.at("Password").is_given() {
        faults.invalid(config, "Redshift Database Password is required for Redshift Destination");
    }
    check_logging(config, faults);
    check_s3(&config.at("S3Configuration"), Place::RedshiftStaging, false, faults);
    processing::check(config, processing::Place::Other, faults);
    check_backup(config, faults);
    copy_options::check(&config.at("CopyCommand").at("CopyOptions"), faults);
    let url = config.at("ClusterJDBCURL");
    if url.text().is_some_and(|url| jdbc::parse(url).is_none()) {
        faults.invalid(
            &url,
            "ClusterJDBCURL must name cluster or workgroup and region: <name>.<id>.<region>.redshift.amazonaws.com",
        );
    }
}

/// Whether the secret is in Secrets Manager.
fn check_secret(config: &Node<'_>, faults: &mut Faults) -> bool {
    let secret = config.at("SecretsManagerConfiguration");
    let enabled = secret.at("Enabled").is_true();
    if enabled && !secret.at("SecretARN").is_given() {
        faults.invalid(&secret, "Invalid secret ARN: null");
    }
    enabled
}
