//! DescribeDeliveryStream's answer: what real Firehose echoes, defaults included, and no secret.

use hydrant_types::{
    CloudWatchLogging, Destination, Processing, RedshiftSettings, S3Settings, Stream, StreamEncryption,
    StreamStatus,
};
use serde_json::{Map, Value, json};

/// Constant across updates, as the service has it.
pub(crate) const DESTINATION_ID: &str = "destinationId-000000000001";

/// `arn:aws:firehose:<region>:<account>:deliverystream/<name>`
pub(crate) fn arn(region: &str, account: &str, name: &str) -> String {
    let partition = hydrant_auth::partition(region);
    format!("arn:{partition}:firehose:{region}:{account}:deliverystream/{name}")
}

/// API value of `DeliveryStreamStatus`.
pub(crate) fn status(status: StreamStatus) -> &'static str {
    match status {
        StreamStatus::Active => "ACTIVE",
        StreamStatus::Deleting => "DELETING",
    }
}

pub(crate) fn describe(stream: &Stream, region: &str, account: &str) -> Value {
    let mut description = json!({
        "DeliveryStreamName": stream.name,
        "DeliveryStreamARN": arn(region, account, stream.name.as_str()),
        "DeliveryStreamStatus": status(stream.status),
        "DeliveryStreamEncryptionConfiguration": encryption(&stream.encryption),
        "DeliveryStreamType": "DirectPut",
        "VersionId": stream.version.to_string(),
        "CreateTimestamp": stream.created_at.as_epoch_seconds(),
        "Destinations": [destination(&stream.destination)],
        "HasMoreDestinations": false,
    });
    if let Some(updated_at) = stream.updated_at {
        description["LastUpdateTimestamp"] = updated_at.as_epoch_seconds().into();
    }
    json!({"DeliveryStreamDescription": description})
}

fn encryption(encryption: &StreamEncryption) -> Value {
    match &encryption.current {
        None => json!({"Status": "DISABLED"}),
        Some(current) => match &current.key_arn {
            None => json!({"KeyType": "AWS_OWNED_CMK", "Status": "ENABLED"}),
            Some(arn) => json!({"KeyARN": arn, "KeyType": "CUSTOMER_MANAGED_CMK", "Status": "ENABLED"}),
        },
    }
}

/// The settings in force as the configuration that makes them: the description's members under the configuration's names.
pub(crate) fn configuration(destination: &Destination) -> Map<String, Value> {
    let described = match destination {
        Destination::S3(s3) => extended_s3_description(s3),
        Destination::Redshift(redshift) => redshift_description(redshift),
    };
    let Value::Object(mut config) = described else { return Map::new() };
    if let Some(backup) = config.remove("S3BackupDescription") {
        config.insert("S3BackupConfiguration".to_owned(), backup);
    }
    if let Destination::Redshift(redshift) = destination {
        if let Some(s3) = config.remove("S3DestinationDescription") {
            config.insert("S3Configuration".to_owned(), s3);
        }
        // One was given where there is no secret, and was not kept.
        if redshift.secret_arn.is_none() {
            config.insert("Password".to_owned(), "not kept".into());
        }
    }
    config
}

fn destination(destination: &Destination) -> Value {
    match destination {
        Destination::S3(s3) => json!({
            "DestinationId": DESTINATION_ID,
            "S3DestinationDescription": s3_description(s3),
            "ExtendedS3DestinationDescription": extended_s3_description(s3),
        }),
        Destination::Redshift(redshift) => json!({
            "DestinationId": DESTINATION_ID,
            "RedshiftDestinationDescription": redshift_description(redshift),
        }),
    }
}

fn s3_description(s3: &S3Settings) -> Value {
    let mut description = json!({
        "RoleARN": s3.role_arn,
        "BucketARN": s3.bucket_arn,
        "BufferingHints": {"SizeInMBs": s3.buffering.size_mb, "IntervalInSeconds": s3.buffering.interval_secs},
        "CompressionFormat": s3.compression.as_api(),
        "EncryptionConfiguration": match &s3.kms_key_arn {
            Some(arn) => json!({"KMSEncryptionConfig": {"AWSKMSKeyARN": arn}}),
            None => json!({"NoEncryptionConfig": "NoEncryption"}),
        },
        "CloudWatchLoggingOptions": logging(&s3.cloudwatch_logging),
    });
    set(&mut description, "Prefix", s3.prefix.as_deref());
    set(&mut description, "ErrorOutputPrefix", s3.error_output_prefix.as_deref());
    description
}

/// With what only the newer shape has.
fn extended_s3_description(s3: &S3Settings) -> Value {
    let mut description = s3_description(s3);
    set_processing_and_backup(&mut description, s3);
    set(&mut description, "CustomTimeZone", s3.time_zone.as_deref());
    set(&mut description, "FileExtension", s3.file_extension.as_deref());
    description
}

fn set_processing_and_backup(description: &mut Value, s3: &S3Settings) {
    if s3.processing != Processing::default() {
        description["ProcessingConfiguration"] = processing(&s3.processing);
    }
    description["S3BackupMode"] = if s3.backup.is_some() { "Enabled" } else { "Disabled" }.into();
    if let Some(backup) = &s3.backup {
        description["S3BackupDescription"] = s3_description(backup);
    }
}

fn processing(processing: &Processing) -> Value {
    let parameter =
        |(name, value): &(String, String)| json!({"ParameterName": name, "ParameterValue": value});
    let processors = processing.processors.iter().map(|processor| {
        let parameters: Vec<Value> = processor.parameters.iter().map(parameter).collect();
        json!({"Type": processor.kind, "Parameters": parameters})
    });
    json!({"Enabled": processing.enabled, "Processors": processors.collect::<Vec<_>>()})
}

fn redshift_description(redshift: &RedshiftSettings) -> Value {
    let mut copy = json!({"DataTableName": redshift.table});
    set(&mut copy, "DataTableColumns", redshift.columns.as_deref());
    set(&mut copy, "CopyOptions", redshift.copy_options.as_deref());
    let mut description = json!({
        "RoleARN": redshift.role_arn,
        "ClusterJDBCURL": redshift.cluster_jdbc_url,
        "CopyCommand": copy,
        "RetryOptions": {"DurationInSeconds": redshift.retry_secs},
        "S3DestinationDescription": s3_description(&redshift.s3),
        "CloudWatchLoggingOptions": logging(&redshift.cloudwatch_logging),
    });
    set_processing_and_backup(&mut description, &redshift.s3);
    set(&mut description, "Username", redshift.username.as_deref());
    if let Some(secret_arn) = &redshift.secret_arn {
        description["SecretsManagerConfiguration"] = json!({"Enabled": true, "SecretARN": secret_arn});
    }
    description
}

fn logging(logging: &CloudWatchLogging) -> Value {
    let mut options = json!({"Enabled": logging.enabled});
    set(&mut options, "LogGroupName", logging.log_group_name.as_deref());
    set(&mut options, "LogStreamName", logging.log_stream_name.as_deref());
    options
}

/// Absent members are left out, never null.
fn set(object: &mut Value, name: &str, value: Option<&str>) {
    let members: Option<&mut Map<String, Value>> = object.as_object_mut();
    if let (Some(members), Some(value)) = (members, value) {
        members.insert(name.to_owned(), value.into());
    }
}

#[cfg(test)]
mod tests {
    use hydrant_types::{CurrentKey, DataKeyId, StreamId, StreamVersion, Tags, Timestamp};

    use super::*;
    use crate::{
        destination::{self, Kind},
        input::{Faults, Node},
        model,
        shape::Findings,
    };

    fn s3_config() -> Value {
        json!({
            "RoleARN": "arn:aws:iam::123456789012:role/r", "BucketARN": "arn:aws:s3:::b", "Prefix": "p/",
            "CompressionFormat": "GZIP", "BufferingHints": {"SizeInMBs": 2, "IntervalInSeconds": 3},
            "EncryptionConfiguration": {"KMSEncryptionConfig": {"AWSKMSKeyARN": "arn:aws:kms:eu-west-1:123456789012:key/k"}},
            "CloudWatchLoggingOptions": {"Enabled": true, "LogGroupName": "g", "LogStreamName": "s"},
        })
    }

    fn extended_config() -> Value {
        let mut config = s3_config();
        config["Prefix"] = "!{timestamp:yyyy}/!{firehose:random-string}/".into();
        config["ErrorOutputPrefix"] = "e/!{firehose:error-output-type}/".into();
        config["CustomTimeZone"] = "Europe/Berlin".into();
        config["FileExtension"] = ".json.gz".into();
        config
    }

    fn redshift_config() -> Value {
        json!({
            "RoleARN": "arn:aws:iam::123456789012:role/r",
            "ClusterJDBCURL": "jdbc:redshift://shop.abc.eu-west-1.redshift.amazonaws.com:5439/dev",
            "CopyCommand": {"DataTableName": "t", "DataTableColumns": "a", "CopyOptions": "GZIP"},
            "Username": "u", "Password": "123456", "RetryOptions": {"DurationInSeconds": 1}, "S3Configuration": s3_config(),
            "CloudWatchLoggingOptions": {"Enabled": false, "LogGroupName": "g"},
        })
    }

    fn with_secret() -> Value {
        let secret = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:s";
        let mut config = redshift_config();
        config["SecretsManagerConfiguration"] = json!({"Enabled": true, "SecretARN": secret});
        config
    }

    fn read(kind: Kind, config: &Value) -> Destination {
        let mut faults = Faults::default();
        let read = destination::read(kind, &Node::root(config), &mut faults);
        faults.or(read).unwrap()
    }

    /// With processors and a backup.
    fn extended(mut config: Value) -> Value {
        config["ProcessingConfiguration"] = json!({"Enabled": true, "Processors": [
            {"Type": "AppendDelimiterToRecord"},
            {"Type": "Decompression", "Parameters": [{"ParameterName": "CompressionFormat", "ParameterValue": "GZIP"}]},
            {"Type": "CloudWatchLogProcessing", "Parameters": [{"ParameterName": "DataMessageExtraction", "ParameterValue": "True"}]},
        ]});
        config["S3BackupMode"] = "Enabled".into();
        config["S3BackupConfiguration"] = s3_config();
        config["S3BackupConfiguration"]["BucketARN"] = "arn:aws:s3:::backup".into();
        config
    }

    fn every_destination() -> [(Kind, Destination); 6] {
        [
            (Kind::ExtendedS3, s3_config()),
            (Kind::ExtendedS3, extended_config()),
            (Kind::Redshift, redshift_config()),
            (Kind::Redshift, with_secret()),
            (Kind::ExtendedS3, extended(s3_config())),
            (Kind::Redshift, extended(with_secret())),
        ]
        .map(|(kind, config)| (kind, read(kind, &config)))
    }

    #[test]
    fn what_is_described_is_what_the_model_says_and_nothing_else() {
        for (_, destination) in every_destination() {
            for key_arn in [None, Some("arn:aws:kms:eu-west-1:123456789012:key/k".to_owned())] {
                let current = Some(CurrentKey { key_arn, data_key: DataKeyId(1) });
                let stream = Stream {
                    id: StreamId(1),
                    name: "s".parse().unwrap(),
                    status: StreamStatus::Active,
                    version: StreamVersion(3),
                    destination: destination.clone(),
                    created_at: Timestamp(1),
                    updated_at: Some(Timestamp(2)),
                    tags: Tags::new(),
                    encryption: StreamEncryption { current, ..StreamEncryption::default() },
                    declared_in: None,
                };
                let described = describe(&stream, "eu-west-1", "123456789012");
                let findings = Findings::of_strict(&described, model::shape("DescribeDeliveryStreamOutput"));
                assert!(findings.is_empty(), "{findings:?}");
            }
        }
    }

    #[test]
    fn a_configuration_that_is_made_of_settings_makes_the_same_settings() {
        for (kind, destination) in every_destination() {
            let config = Value::Object(configuration(&destination));
            let name = kind.configuration();
            let findings = Findings::of_strict(&config, model::shape(&name));
            assert!(findings.is_empty(), "{findings:?}");
            assert_eq!(read(kind, &config), destination);
        }
    }
}
