//! The operations' inputs, as the service model has them.
//!
//! Source: botocore `firehose/2015-08-04/service-2.json`. The destinations that are delivered are spelled out; the others are only
//! recognised, so that they can be refused by name.

use crate::{
    jdbc,
    shape::{Member, Pattern, Shape, check_text, optional, pattern, required, text},
};

pub(crate) const NAME: Shape = pattern(1, 64, "[a-zA-Z0-9_.-]+");
const ROLE_ARN: Shape = pattern(1, 512, r"arn:.*:iam::\d{12}:role/[a-zA-Z_0-9+=,.@\-_/]+");
const BUCKET_ARN: Shape = pattern(1, 2048, r"arn:.*:s3:::[\w\.\-]{1,255}");
const KMS_KEY_ARN: Shape =
    pattern(1, 512, r"arn:.*:kms:[a-zA-Z0-9\-]+:\d{12}:(key|alias)/[a-zA-Z_0-9+=,.@\-_/]+");
const SECRET_ARN: Shape =
    pattern(1, 2048, r"arn:.*:secretsmanager:[a-zA-Z0-9\-]+:\d{12}:secret:[a-zA-Z0-9\-/_+=.@!]+");

/// Printed in the order in which the service prints it.
const COMPRESSION: Shape = Shape::Enum(&["ZIP", "HADOOP_SNAPPY", "Snappy", "GZIP", "UNCOMPRESSED"]);
const STREAM_TYPE: Shape =
    Shape::Enum(&["DirectPut", "KinesisStreamAsSource", "MSKAsSource", "DatabaseAsSource"]);
const BACKUP_MODE: Shape = Shape::Enum(&["Disabled", "Enabled"]);

const BUFFERING_HINTS: Shape = Shape::Struct(&[
    optional("SizeInMBs", &Shape::Integer { min: 1, max: 128 }),
    optional("IntervalInSeconds", &Shape::Integer { min: 0, max: 900 }),
]);

const ENCRYPTION: Shape = Shape::Struct(&[
    optional("NoEncryptionConfig", &Shape::Enum(&["NoEncryption"])),
    optional("KMSEncryptionConfig", &Shape::Struct(&[required("AWSKMSKeyARN", &KMS_KEY_ARN)])),
]);

const CLOUDWATCH_LOGGING: Shape = Shape::Struct(&[
    optional("Enabled", &Shape::Boolean),
    optional("LogGroupName", &pattern(0, 512, r"[\.\-_/#A-Za-z0-9]*")),
    optional("LogStreamName", &pattern(0, 512, r"[^:*]*")),
]);

const PROCESSING: Shape = Shape::Struct(&[
    optional("Enabled", &Shape::Boolean),
    optional("Processors", &Shape::List { min: 0, max: usize::MAX, item: &PROCESSOR }),
]);

const PROCESSOR: Shape = Shape::Struct(&[
    required(
        "Type",
        &Shape::Enum(&[
            "Decompression",
            "Lambda",
            "RecordDeAggregation",
            "MetadataExtraction",
            "AppendDelimiterToRecord",
            "CloudWatchLogProcessing",
        ]),
    ),
    optional("Parameters", &Shape::List { min: 0, max: usize::MAX, item: &PROCESSOR_PARAMETER }),
]);

const PROCESSOR_PARAMETER: Shape = Shape::Struct(&[
    required(
        "ParameterName",
        &Shape::Enum(&[
            "DataMessageExtraction",
            "NumberOfRetries",
            "Delimiter",
            "RoleArn",
            "JsonParsingEngine",
            "SubRecordType",
            "MetadataExtractionQuery",
            "BufferIntervalInSeconds",
            "LambdaArn",
            "BufferSizeInMBs",
            "CompressionFormat",
        ]),
    ),
    required(
        "ParameterValue",
        &Shape::Text {
            min: 1,
            max: 5120,
            pattern: Pattern::Checked(r"^(?!\s*$).+", |text| !text.trim().is_empty()),
        },
    ),
]);

const RETRY_OPTIONS: Shape =
    Shape::Struct(&[optional("DurationInSeconds", &Shape::Integer { min: 0, max: 7200 })]);

const S3_DESTINATION: Shape = Shape::Struct(&[
    required("RoleARN", &ROLE_ARN),
    required("BucketARN", &BUCKET_ARN),
    optional("Prefix", &text(0, 1024)),
    optional("ErrorOutputPrefix", &text(0, 1024)),
    optional("BufferingHints", &BUFFERING_HINTS),
    optional("CompressionFormat", &COMPRESSION),
    optional("EncryptionConfiguration", &ENCRYPTION),
    optional("CloudWatchLoggingOptions", &CLOUDWATCH_LOGGING),
]);

const FILE_EXTENSION: Shape = Shape::Text {
    min: 0,
    max: 128,
    pattern: Pattern::Printed(r"^(|\.[0-9a-z!\-_.*'()]+)$", r"|\.[0-9a-z!\-_.*'()]+"),
};

const EXTENDED_S3_DESTINATION: Shape = Shape::Struct(&[
    required("RoleARN", &ROLE_ARN),
    required("BucketARN", &BUCKET_ARN),
    optional("Prefix", &text(0, 1024)),
    optional("ErrorOutputPrefix", &text(0, 1024)),
    optional("BufferingHints", &BUFFERING_HINTS),
    optional("CompressionFormat", &COMPRESSION),
    optional("EncryptionConfiguration", &ENCRYPTION),
    optional("CloudWatchLoggingOptions", &CLOUDWATCH_LOGGING),
    optional("ProcessingConfiguration", &PROCESSING),
    optional("S3BackupMode", &BACKUP_MODE),
    optional("S3BackupConfiguration", &S3_DESTINATION),
    optional("DataFormatConversionConfiguration", &Shape::Struct(&[optional("Enabled", &Shape::Boolean)])),
    optional(
        "DynamicPartitioningConfiguration",
        &Shape::Struct(&[optional("Enabled", &Shape::Boolean), optional("RetryOptions", &RETRY_OPTIONS)]),
    ),
    optional("FileExtension", &FILE_EXTENSION),
    optional("CustomTimeZone", &pattern(0, 50, r"^$|[a-zA-Z/_]+")),
]);

const COPY_COMMAND: Shape = Shape::Struct(&[
    required("DataTableName", &text(1, 512)),
    optional("DataTableColumns", &text(0, 10_240)),
    optional("CopyOptions", &text(0, 10_240)),
]);

const REDSHIFT_DESTINATION: Shape = Shape::Struct(&[
    required("RoleARN", &ROLE_ARN),
    required(
        "ClusterJDBCURL",
        &Shape::Text { min: 1, max: 512, pattern: Pattern::Checked(jdbc::PATTERN, jdbc::matches) },
    ),
    required("CopyCommand", &COPY_COMMAND),
    optional("Username", &text(1, 512)),
    optional("Password", &text(6, 512)),
    optional("RetryOptions", &RETRY_OPTIONS),
    required("S3Configuration", &S3_DESTINATION),
    optional("ProcessingConfiguration", &PROCESSING),
    optional("S3BackupMode", &BACKUP_MODE),
    optional("S3BackupConfiguration", &S3_DESTINATION),
    optional("CloudWatchLoggingOptions", &CLOUDWATCH_LOGGING),
    optional(
        "SecretsManagerConfiguration",
        &Shape::Struct(&[
            required("Enabled", &Shape::Boolean),
            optional("SecretARN", &SECRET_ARN),
            optional("RoleARN", &ROLE_ARN),
        ]),
    ),
]);

const TAG_KEY_PATTERN: &str = r"^(?!aws:)[\p{L}\p{Z}\p{N}_.:\/=+\-@%]*$";
const TAG_VALUE_PATTERN: &str = r"^[\p{L}\p{Z}\p{N}_.:\/=+\-@%]*$";

const TAGS: Shape = Shape::List {
    min: 1,
    max: 50,
    item: &Shape::Struct(&[
        required(
            "Key",
            &Shape::Text { min: 1, max: 128, pattern: Pattern::Checked(TAG_KEY_PATTERN, is_tag_key) },
        ),
        optional("Value", &pattern(0, 256, TAG_VALUE_PATTERN)),
    ]),
};

fn is_tag_key(key: &str) -> bool {
    const CHARACTERS: Shape = pattern(0, usize::MAX, TAG_VALUE_PATTERN);
    let mut violations = Vec::new();
    check_text(key, &CHARACTERS, "", &mut violations);
    !key.starts_with("aws:") && violations.is_empty()
}

/// A structure that is recognised and not looked into.
const ANY_STRUCT: Shape = Shape::Struct(&[]);

const KINESIS_SOURCE: Shape = Shape::Struct(&[
    required(
        "KinesisStreamARN",
        &pattern(1, 512, r"arn:.*:kinesis:[a-zA-Z0-9\-]+:\d{12}:stream/[a-zA-Z0-9_.-]+"),
    ),
    required("RoleARN", &ROLE_ARN),
]);

const ENCRYPTION_INPUT: Shape = Shape::Struct(&[
    required("KeyType", &Shape::Enum(&["AWS_OWNED_CMK", "CUSTOMER_MANAGED_CMK"])),
    optional("KeyARN", &pattern(1, 512, r"arn:.*:kms:[a-zA-Z0-9\-]+:\d{12}:key/[a-zA-Z_0-9+=,.@\-_/]+")),
]);

/// Destinations that are recognised and refused.
pub(crate) const OTHER_DESTINATIONS: [&str; 7] = [
    "ElasticsearchDestinationConfiguration",
    "AmazonopensearchserviceDestinationConfiguration",
    "AmazonOpenSearchServerlessDestinationConfiguration",
    "SplunkDestinationConfiguration",
    "HttpEndpointDestinationConfiguration",
    "SnowflakeDestinationConfiguration",
    "IcebergDestinationConfiguration",
];

/// What a stream's records come from, where they are not put; recognised and refused.
pub(crate) const OTHER_SOURCES: [&str; 2] = ["MSKSourceConfiguration", "DatabaseSourceConfiguration"];

pub(crate) const CREATE: &[Member] = &[
    required("DeliveryStreamName", &NAME),
    optional("DeliveryStreamType", &STREAM_TYPE),
    optional(
        "DirectPutSourceConfiguration",
        &Shape::Struct(&[required("ThroughputHintInMBs", &Shape::Integer { min: 1, max: 100 })]),
    ),
    optional("S3DestinationConfiguration", &S3_DESTINATION),
    optional("ExtendedS3DestinationConfiguration", &EXTENDED_S3_DESTINATION),
    optional("RedshiftDestinationConfiguration", &REDSHIFT_DESTINATION),
    optional("KinesisStreamSourceConfiguration", &KINESIS_SOURCE),
    optional("MSKSourceConfiguration", &ANY_STRUCT),
    optional("DatabaseSourceConfiguration", &ANY_STRUCT),
    optional("DeliveryStreamEncryptionConfigurationInput", &ENCRYPTION_INPUT),
    optional("ElasticsearchDestinationConfiguration", &ANY_STRUCT),
    optional("AmazonopensearchserviceDestinationConfiguration", &ANY_STRUCT),
    optional("AmazonOpenSearchServerlessDestinationConfiguration", &ANY_STRUCT),
    optional("SplunkDestinationConfiguration", &ANY_STRUCT),
    optional("HttpEndpointDestinationConfiguration", &ANY_STRUCT),
    optional("SnowflakeDestinationConfiguration", &ANY_STRUCT),
    optional("IcebergDestinationConfiguration", &ANY_STRUCT),
    optional("Tags", &TAGS),
];

pub(crate) const DESCRIBE: &[Member] = &[
    required("DeliveryStreamName", &NAME),
    optional("Limit", &Shape::Integer { min: 1, max: 10_000 }),
    optional("ExclusiveStartDestinationId", &pattern(1, 100, "[a-zA-Z0-9-]+")),
];

pub(crate) const LIST: &[Member] = &[
    optional("Limit", &Shape::Integer { min: 1, max: 10_000 }),
    optional("DeliveryStreamType", &STREAM_TYPE),
    optional("ExclusiveStartDeliveryStreamName", &NAME),
];

pub(crate) const DELETE: &[Member] =
    &[required("DeliveryStreamName", &NAME), optional("AllowForceDelete", &Shape::Boolean)];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape;

    /// Walks every shape there is, so that a pattern that does not compile is found here and not by a caller.
    fn walk(shape: &'static Shape) {
        match shape {
            Shape::Text { .. } => shape::check_text("x", shape, "", &mut Vec::new()),
            Shape::List { item, .. } => walk(item),
            Shape::Struct(members) => members.iter().for_each(|member| walk(member.shape)),
            Shape::Enum(_) | Shape::Integer { .. } | Shape::Boolean => {}
        }
    }

    #[test]
    fn every_pattern_of_the_model_compiles() {
        for members in [CREATE, DESCRIBE, LIST, DELETE] {
            members.iter().for_each(|member| walk(member.shape));
        }
    }

    #[test]
    fn tag_keys_of_aws_and_odd_characters_are_refused() {
        for good in ["team", "a b", "Größe", "x:y/z=+-@%"] {
            assert!(is_tag_key(good), "{good}");
        }
        for bad in ["aws:team", "a\nb", "a*"] {
            assert!(!is_tag_key(bad), "{bad}");
        }
    }
}
