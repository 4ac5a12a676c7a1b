//! CreateDeliveryStream's input as a destination: what the shapes cannot say.
//!
//! A setting that is valid for Firehose and has no effect here yet is refused by name; the few that are accepted without effect are in
//! `docs/api.md`.

use hydrant_types::{
    BucketName, BufferingHints, CloudWatchLogging, Compression, Destination, RedshiftSettings, S3Settings,
    StreamName, limits,
};
use serde_json::Value;

use crate::{error::ApiError, jdbc, model, shape};

/// Longest literal prefix, so that a key with date, name and extension behind it is within S3's 1,024 bytes.
const EVALUATED_PREFIX_BYTES_MAX: usize = 512;

/// Name and destination of a stream to be made.
pub(crate) fn read(input: &Value) -> Result<(StreamName, Destination), ApiError> {
    shape::check(input, model::CREATE)?;
    let name = input["DeliveryStreamName"].as_str().unwrap_or_default();
    let name =
        name.parse().map_err(|e: hydrant_types::NameError| ApiError::invalid_argument(e.to_string()))?;
    let kind = input["DeliveryStreamType"].as_str().unwrap_or("DirectPut");
    if kind != "DirectPut" {
        return Err(not_yet(&format!("DeliveryStreamType {kind}")));
    }
    // A Kinesis source on a DirectPut stream is not among them: Firehose itself ignores it.
    let not_read = ["DirectPutSourceConfiguration", "DeliveryStreamEncryptionConfigurationInput", "Tags"];
    if let Some(member) = given(input, &not_read).or(given(input, &model::OTHER_SOURCES)) {
        return Err(not_yet(member));
    }
    Ok((name, destination(input)?))
}

/// The first of `members` that is given.
fn given(input: &Value, members: &[&'static str]) -> Option<&'static str> {
    members.iter().copied().find(|member| !input[*member].is_null())
}

fn not_yet(what: &str) -> ApiError {
    ApiError::invalid_argument(format!("{what} is not supported by this service yet."))
}

fn destination(input: &Value) -> Result<Destination, ApiError> {
    const OURS: [&str; 3] = [
        "S3DestinationConfiguration",
        "ExtendedS3DestinationConfiguration",
        "RedshiftDestinationConfiguration",
    ];
    let all = || OURS.into_iter().chain(model::OTHER_DESTINATIONS);
    let destinations: Vec<&str> = all().filter(|name| !input[*name].is_null()).collect();
    let [name] = destinations.as_slice() else {
        return Err(ApiError::invalid_argument(
            "Exactly one destination configuration is supported for a Firehose",
        ));
    };
    let config = &input[*name];
    match *name {
        "S3DestinationConfiguration" => s3_settings(config).map(Destination::S3),
        "ExtendedS3DestinationConfiguration" => extended_s3(config).map(Destination::S3),
        "RedshiftDestinationConfiguration" => redshift_settings(config).map(Destination::Redshift),
        other => Err(not_yet(other)),
    }
}

fn extended_s3(config: &Value) -> Result<S3Settings, ApiError> {
    refuse_processing(config)?;
    refuse_backup(config)?;
    for part in ["DataFormatConversionConfiguration", "DynamicPartitioningConfiguration"] {
        // DataFormatConversionConfiguration is on unless it says otherwise.
        let on_by_default = part.starts_with("Data");
        if !config[part].is_null() && config[part]["Enabled"].as_bool().unwrap_or(on_by_default) {
            return Err(not_yet(part));
        }
    }
    if text(config, "FileExtension").is_some_and(|extension| !extension.is_empty()) {
        return Err(not_yet("FileExtension"));
    }
    if text(config, "CustomTimeZone").is_some_and(|zone| !matches!(zone.as_str(), "" | "UTC")) {
        return Err(not_yet("CustomTimeZone other than UTC"));
    }
    s3_settings(config)
}

/// Processors that are switched off have no effect in Firehose either.
fn refuse_processing(config: &Value) -> Result<(), ApiError> {
    let processing = &config["ProcessingConfiguration"];
    let on = match processing["Enabled"].as_bool() {
        Some(enabled) => enabled,
        None => processing["Processors"].as_array().is_some_and(|processors| !processors.is_empty()),
    };
    if on { Err(not_yet("ProcessingConfiguration")) } else { Ok(()) }
}

fn refuse_backup(config: &Value) -> Result<(), ApiError> {
    if config["S3BackupMode"] != "Enabled" {
        return Ok(());
    }
    if config["S3BackupConfiguration"].is_null() {
        return Err(ApiError::invalid_argument(
            "S3 backup destination configuration is required when enabling S3 backup.",
        ));
    }
    Err(not_yet("S3BackupMode Enabled"))
}

fn s3_settings(config: &Value) -> Result<S3Settings, ApiError> {
    if !config["EncryptionConfiguration"]["KMSEncryptionConfig"].is_null() {
        return Err(not_yet("EncryptionConfiguration.KMSEncryptionConfig"));
    }
    for (member, evaluated) in [("Prefix", "prefix"), ("ErrorOutputPrefix", "ErrorOutputPrefix")] {
        let prefix = config[member].as_str().unwrap_or_default();
        if prefix.contains("!{") {
            return Err(not_yet(&format!("{member} with expressions (!{{...}})")));
        }
        // In bytes, as S3 counts a key.
        if prefix.len() > EVALUATED_PREFIX_BYTES_MAX {
            return Err(bad_prefix(&format!(
                "Length of evaluated {evaluated} cannot be greater than {EVALUATED_PREFIX_BYTES_MAX}"
            )));
        }
    }
    let bucket_arn = text(config, "BucketARN").unwrap_or_default();
    let bucket = bucket_arn.rsplit(':').next().unwrap_or_default().parse::<BucketName>();
    Ok(S3Settings {
        role_arn: text(config, "RoleARN").unwrap_or_default(),
        bucket: bucket.map_err(|e| ApiError::invalid_argument(e.to_string()))?,
        bucket_arn,
        prefix: text(config, "Prefix"),
        error_output_prefix: text(config, "ErrorOutputPrefix"),
        buffering: buffering(&config["BufferingHints"])?,
        compression: compression(config["CompressionFormat"].as_str())?,
        cloudwatch_logging: cloudwatch_logging(&config["CloudWatchLoggingOptions"])?,
    })
}

fn bad_prefix(constraint: &str) -> ApiError {
    ApiError::invalid_argument(format!(
        "The supplied prefix(es) do not satisfy the following constraint: {constraint}"
    ))
}

fn buffering(hints: &Value) -> Result<BufferingHints, ApiError> {
    let number = |name: &str| hints[name].as_u64().map(|n| n as u32);
    match (number("SizeInMBs"), number("IntervalInSeconds")) {
        (None, None) => Ok(BufferingHints::default()),
        (Some(size_mb), Some(interval_secs)) => Ok(BufferingHints { size_mb, interval_secs }),
        _ => Err(ApiError::invalid_argument(
            "BufferingHints: SizeInMBs and IntervalInSeconds must be given together or not at all.",
        )),
    }
}

fn compression(format: Option<&str>) -> Result<Compression, ApiError> {
    match format {
        None | Some("UNCOMPRESSED") => Ok(Compression::Uncompressed),
        Some("GZIP") => Ok(Compression::Gzip),
        Some(other) => Err(not_yet(&format!("CompressionFormat {other}"))),
    }
}

fn cloudwatch_logging(options: &Value) -> Result<CloudWatchLogging, ApiError> {
    let logging = CloudWatchLogging {
        enabled: options["Enabled"].as_bool().unwrap_or(false),
        log_group_name: text(options, "LogGroupName"),
        log_stream_name: text(options, "LogStreamName"),
    };
    if logging.enabled && logging.log_group_name.as_deref().unwrap_or_default().is_empty() {
        return Err(ApiError::invalid_argument(
            "CloudWatch Log Group Name is required if CloudWatch Logging is enabled",
        ));
    }
    Ok(logging)
}

fn redshift_settings(config: &Value) -> Result<RedshiftSettings, ApiError> {
    refuse_processing(config)?;
    refuse_backup(config)?;
    let url = text(config, "ClusterJDBCURL").unwrap_or_default();
    let target = jdbc::parse(&url).ok_or_else(|| {
        ApiError::invalid_argument(
            "ClusterJDBCURL must name cluster or workgroup and region: <name>.<id>.<region>.redshift.amazonaws.com",
        )
    })?;
    let secret_arn = secret_arn(&config["SecretsManagerConfiguration"])?;
    if secret_arn.is_none() && text(config, "Password").is_none() {
        return Err(ApiError::invalid_argument(
            "Redshift Database Password is required for Redshift Destination",
        ));
    }
    let staging = &config["S3Configuration"];
    refuse_staging(staging)?;
    let copy = &config["CopyCommand"];
    let retry_secs = config["RetryOptions"]["DurationInSeconds"].as_u64();
    Ok(RedshiftSettings {
        role_arn: text(config, "RoleARN").unwrap_or_default(),
        cluster_jdbc_url: url,
        warehouse: target.warehouse,
        database: target.database,
        region: target.region,
        table: text(copy, "DataTableName").unwrap_or_default(),
        columns: text(copy, "DataTableColumns").filter(|columns| !columns.trim().is_empty()),
        copy_options: text(copy, "CopyOptions").filter(|options| !options.trim().is_empty()),
        username: text(config, "Username"),
        secret_arn,
        retry_secs: retry_secs.map_or(limits::REDSHIFT_RETRY_SECS_DEFAULT, |n| n as u32),
        s3: s3_settings(staging)?,
        cloudwatch_logging: cloudwatch_logging(&config["CloudWatchLoggingOptions"])?,
    })
}

/// What Firehose does not take for Redshift's staging, in its words.
fn refuse_staging(staging: &Value) -> Result<(), ApiError> {
    let format = staging["CompressionFormat"].as_str().unwrap_or("UNCOMPRESSED");
    if !["UNCOMPRESSED", "GZIP"].contains(&format) {
        return Err(ApiError::invalid_argument(
            "Only the following compression formats are allowed when using Redshift: [UNCOMPRESSED, GZIP]",
        ));
    }
    let expressions = text(staging, "Prefix").is_some_and(|prefix| prefix.contains("!{"));
    let error_prefix = text(staging, "ErrorOutputPrefix").is_some_and(|prefix| !prefix.is_empty());
    if expressions || error_prefix {
        return Err(bad_prefix(
            "Prefix Expressions or ErrorOutputPrefix is currently not supported for this destination",
        ));
    }
    Ok(())
}

fn secret_arn(config: &Value) -> Result<Option<String>, ApiError> {
    if config["Enabled"].as_bool() != Some(true) {
        return Ok(None);
    }
    if !config["RoleARN"].is_null() {
        return Err(not_yet("SecretsManagerConfiguration.RoleARN"));
    }
    match text(config, "SecretARN") {
        Some(arn) => Ok(Some(arn)),
        None => Err(ApiError::invalid_argument("Invalid secret ARN: null")),
    }
}

fn text(value: &Value, name: &str) -> Option<String> {
    value[name].as_str().map(str::to_owned)
}
