//! DescribeDeliveryStream's answer: what real Firehose echoes, defaults included, and no secret.

use hydrant_types::{CloudWatchLogging, Destination, RedshiftSettings, S3Settings, Stream, StreamStatus};
use serde_json::{Map, Value, json};

/// Constant across updates, as the service has it.
const DESTINATION_ID: &str = "destinationId-000000000001";

/// `arn:aws:firehose:<region>:<account>:deliverystream/<name>`
pub(crate) fn arn(region: &str, account: &str, name: &str) -> String {
    let partition = match region {
        region if region.starts_with("cn-") => "aws-cn",
        region if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    };
    format!("arn:{partition}:firehose:{region}:{account}:deliverystream/{name}")
}

pub(crate) fn describe(stream: &Stream, region: &str, account: &str) -> Value {
    let status = match stream.status {
        StreamStatus::Active => "ACTIVE",
        StreamStatus::Deleting => "DELETING",
    };
    let mut description = json!({
        "DeliveryStreamName": stream.name,
        "DeliveryStreamARN": arn(region, account, stream.name.as_str()),
        "DeliveryStreamStatus": status,
        "DeliveryStreamEncryptionConfiguration": {"Status": "DISABLED"},
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

fn destination(destination: &Destination) -> Value {
    match destination {
        Destination::S3(s3) => {
            let mut extended = s3_description(s3);
            extended["S3BackupMode"] = "Disabled".into();
            json!({
                "DestinationId": DESTINATION_ID,
                "S3DestinationDescription": s3_description(s3),
                "ExtendedS3DestinationDescription": extended,
            })
        }
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
        "EncryptionConfiguration": {"NoEncryptionConfig": "NoEncryption"},
        "CloudWatchLoggingOptions": logging(&s3.cloudwatch_logging),
    });
    set(&mut description, "Prefix", s3.prefix.as_deref());
    set(&mut description, "ErrorOutputPrefix", s3.error_output_prefix.as_deref());
    description
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
        "S3BackupMode": "Disabled",
        "CloudWatchLoggingOptions": logging(&redshift.cloudwatch_logging),
    });
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
