//! Firehose's own rules, each with its code and text (contract section 1.6), and what is valid there and not done here yet.

use serde_json::{Value, json};

use crate::support::{Answer, Api, ROLE, redshift, s3, with};

const EXTENDED: &str = "ExtendedS3DestinationConfiguration";
const REDSHIFT: &str = "RedshiftDestinationConfiguration";
const DOMAIN: &str = "arn:aws:es:eu-west-1:123456789012:domain/shop";
const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/k1";

fn search() -> Value {
    json!({"RoleARN": ROLE, "IndexName": "i", "DomainARN": DOMAIN, "S3Configuration": s3()})
}

fn serverless() -> Value {
    json!({"RoleARN": ROLE, "IndexName": "i", "CollectionEndpoint": "https://c", "S3Configuration": s3()})
}

fn splunk() -> Value {
    json!({"HECEndpoint": "https://splunk.example:8088", "HECEndpointType": "Raw", "HECToken": "t", "S3Configuration": s3()})
}

fn http() -> Value {
    json!({"EndpointConfiguration": {"Url": "https://example.org/in", "AccessKey": "k"}, "S3Configuration": s3()})
}

fn snowflake() -> Value {
    json!({
        "AccountUrl": "https://abcdefg.snowflakecomputing.com", "PrivateKey": "QUJD".repeat(64), "User": "u", "Database": "d",
        "Schema": "s", "Table": "t", "RoleARN": ROLE, "S3Configuration": s3(),
    })
}

fn iceberg() -> Value {
    json!({
        "RoleARN": ROLE, "CatalogConfiguration": {"CatalogARN": "arn:aws:glue:eu-west-1:123456789012:catalog"},
        "DestinationTableConfigurationList": [{"DestinationDatabaseName": "d", "DestinationTableName": "t"}], "S3Configuration": s3(),
    })
}

/// Every destination with what makes it valid.
fn destinations() -> [(&'static str, Value); 10] {
    [
        ("S3DestinationConfiguration", s3()),
        (EXTENDED, s3()),
        (REDSHIFT, redshift()),
        ("ElasticsearchDestinationConfiguration", search()),
        ("AmazonopensearchserviceDestinationConfiguration", search()),
        ("AmazonOpenSearchServerlessDestinationConfiguration", serverless()),
        ("SplunkDestinationConfiguration", splunk()),
        ("HttpEndpointDestinationConfiguration", http()),
        ("SnowflakeDestinationConfiguration", snowflake()),
        ("IcebergDestinationConfiguration", iceberg()),
    ]
}

fn valid(destination: &str) -> Value {
    destinations().into_iter().find(|(name, _)| *name == destination).unwrap().1
}

async fn create(api: &Api, destination: &str, config: Value) -> Answer {
    api.call("CreateDeliveryStream", &json!({"DeliveryStreamName": "s", destination: config})).await
}

#[track_caller]
fn is_invalid(answer: &Answer, message: &str) {
    answer.is_error(400, "InvalidArgumentException", message);
}

#[track_caller]
fn is_not_yet(answer: &Answer, what: &str) {
    is_invalid(answer, &format!("{what} is not supported by this service yet."));
}

fn processing(processors: Value) -> Value {
    json!({"Enabled": true, "Processors": processors})
}

/// A processor with these parameters.
fn processor(kind: &str, parameters: &[(&str, &str)]) -> Value {
    let parameters: Vec<Value> = parameters
        .iter()
        .map(|(name, value)| json!({"ParameterName": name, "ParameterValue": value}))
        .collect();
    json!({"Type": kind, "Parameters": parameters})
}

#[tokio::test]
async fn exactly_one_destination_is_given() {
    let api = Api::start().await;
    let message = "Exactly one destination configuration is supported for a Firehose";
    is_invalid(&api.call("CreateDeliveryStream", &json!({"DeliveryStreamName": "s"})).await, message);
    for (name, config) in destinations().into_iter().filter(|(name, _)| *name != EXTENDED) {
        let input = json!({"DeliveryStreamName": "s", EXTENDED: s3(), name: config});
        is_invalid(&api.call("CreateDeliveryStream", &input).await, message);
    }
    assert!(api.streams.snapshot().streams().is_empty());
}

#[tokio::test]
async fn destinations_that_are_not_delivered_to_are_validated_and_then_refused_by_name() {
    let api = Api::start().await;
    for (name, config) in destinations().into_iter().skip(3) {
        is_not_yet(&create(&api, name, config.clone()).await, name);
        let broken = create(&api, name, with(config.clone(), "S3Configuration", json!({}))).await;
        let path = format!("{}{}.s3Configuration", name[..1].to_lowercase(), &name[1..]);
        let null = "Member must not be null";
        broken.violates(&[(&format!("{path}.roleARN"), null), (&format!("{path}.bucketARN"), null)]);
        create(&api, name, with(config, "S3Configuration", json!([])))
            .await
            .is_serialization("s3Configuration");
    }
    assert!(api.streams.snapshot().streams().is_empty());
}

#[tokio::test]
async fn each_destinations_rules_have_their_texts() {
    let api = Api::start().await;
    let secret = json!({"Enabled": true});
    for (name, member, value, message) in [
        (
            "ElasticsearchDestinationConfiguration",
            "DomainARN",
            json!(null),
            "Provide either the Elasticsearch cluster endpoint or domain arn.",
        ),
        (
            "AmazonopensearchserviceDestinationConfiguration",
            "ClusterEndpoint",
            json!("https://x"),
            "Cannot provide both Elasticsearch cluster endpoint and domain ARN. Provide either the cluster endpoint or domain arn.",
        ),
        (
            "AmazonopensearchserviceDestinationConfiguration",
            "TypeName",
            json!("t"),
            "Types are deprecated in Elasticsearch version 7+ and all OpenSearch versions. TypeName must be empty.",
        ),
        (
            "SplunkDestinationConfiguration",
            "HECEndpoint",
            json!("http://splunk.example:8088"),
            "Invalid HECEndpoint. Supported endpoint format is https://<domain>:<port>.",
        ),
        (
            "SplunkDestinationConfiguration",
            "HECEndpoint",
            json!("https://splunk.example"),
            "Invalid HECEndpoint. Supported endpoint format is https://<domain>:<port>.",
        ),
        (
            "SplunkDestinationConfiguration",
            "SecretsManagerConfiguration",
            secret.clone(),
            "Invalid secret ARN: null",
        ),
        (
            "HttpEndpointDestinationConfiguration",
            "SecretsManagerConfiguration",
            secret.clone(),
            "Invalid secret ARN: null",
        ),
        (
            "SnowflakeDestinationConfiguration",
            "SecretsManagerConfiguration",
            secret.clone(),
            "Invalid secret ARN: null",
        ),
        ("SnowflakeDestinationConfiguration", "PrivateKey", json!(null), "PrivateKey must be provided."),
        ("SnowflakeDestinationConfiguration", "User", json!(null), "User must be provided."),
        (
            "SnowflakeDestinationConfiguration",
            "SnowflakeRoleConfiguration",
            json!({"Enabled": true}),
            "Must provide SnowflakeRole when SnowflakeRoleConfiguration is enabled.",
        ),
        (
            "SnowflakeDestinationConfiguration",
            "DataLoadingOption",
            json!("VARIANT_CONTENT_AND_METADATA_MAPPING"),
            "Must provide ContentColumnName and MetadataColumnName when Data Loading Option is VARIANT_CONTENT_AND_METADATA_MAPPING.",
        ),
        (
            "IcebergDestinationConfiguration",
            "S3BackupMode",
            json!("AllData"),
            "S3BackupMode.AllData is not supported for Iceberg as destination.",
        ),
        (
            "IcebergDestinationConfiguration",
            "DestinationTableConfigurationList",
            json!([]),
            "A single default destination table configuration must be provided when both Lambda and MetadataExtraction processors are not provided",
        ),
        (
            REDSHIFT,
            "Password",
            json!(null),
            "Redshift Database Password is required for Redshift Destination",
        ),
        (REDSHIFT, "SecretsManagerConfiguration", secret, "Invalid secret ARN: null"),
        (
            REDSHIFT,
            "S3BackupMode",
            json!("Enabled"),
            "S3 backup destination configuration is required when enabling S3 backup.",
        ),
        (
            REDSHIFT,
            "ClusterJDBCURL",
            json!("jdbc:redshift://shop.redshift.amazonaws.com:5439/dev"),
            "ClusterJDBCURL must name cluster or workgroup and region: <name>.<id>.<region>.redshift.amazonaws.com",
        ),
        (
            EXTENDED,
            "S3BackupMode",
            json!("Enabled"),
            "S3 backup destination configuration is required when enabling S3 backup.",
        ),
        (
            EXTENDED,
            "CloudWatchLoggingOptions",
            json!({"Enabled": true}),
            "CloudWatch Log Group Name is required if CloudWatch Logging is enabled",
        ),
        (
            EXTENDED,
            "CustomTimeZone",
            json!("EST"),
            "Provided custom time zone is not supported. Custom time zones are limited to UTC and non-3-letter IANA time zones.",
        ),
        (
            EXTENDED,
            "BufferingHints",
            json!({"SizeInMBs": 5}),
            "BufferingHints: SizeInMBs and IntervalInSeconds must be given together or not at all.",
        ),
    ] {
        is_invalid(&create(&api, name, with(valid(name), member, value)).await, message);
    }
    for format in ["ZIP", "Snappy", "HADOOP_SNAPPY"] {
        is_invalid(
            &create(&api, REDSHIFT, with(redshift(), "S3Configuration.CompressionFormat", json!(format)))
                .await,
            "Only the following compression formats are allowed when using Redshift: [UNCOMPRESSED, GZIP]",
        );
    }
    // What an Iceberg stream is routed by makes the default table unnecessary.
    let routed = with(iceberg(), "DestinationTableConfigurationList", json!(null));
    let lambda = processing(json!([processor("Lambda", &[("LambdaArn", "arn:l")])]));
    let answer =
        create(&api, "IcebergDestinationConfiguration", with(routed, "ProcessingConfiguration", lambda))
            .await;
    is_not_yet(&answer, "IcebergDestinationConfiguration");
}

#[tokio::test]
async fn prefixes_have_their_rules() {
    let api = Api::start().await;
    let check = async |prefix: Value, error_prefix: Value, constraint: &str| {
        let config = with(with(s3(), "Prefix", prefix), "ErrorOutputPrefix", error_prefix);
        is_invalid(
            &create(&api, EXTENDED, config).await,
            &format!("The supplied prefix(es) do not satisfy the following constraint: {constraint}"),
        );
    };
    let error_type = "e/!{firehose:error-output-type}/";
    for (prefix, error_prefix, constraint) in [
        (
            json!("!{timestamp:yyyy}/"),
            json!(null),
            "ErrorOutputPrefix cannot be null or empty when Prefix contains expressions",
        ),
        (
            json!("!{timestamp:yyyy}/"),
            json!(""),
            "ErrorOutputPrefix cannot be null or empty when Prefix contains expressions",
        ),
        (
            json!(null),
            json!("!{timestamp:yyyy}/"),
            "ErrorOutputPrefix must contain at least one occurrence of !{firehose:error-output-type}",
        ),
        (
            json!(error_type),
            json!("e/"),
            "Prefix must not contain any occurrence of !{firehose:error-output-type}",
        ),
        (json!("a!{"), json!("e/"), "Invalid expression usage"),
        (json!("!{timestamp}"), json!("e/"), "Invalid expression usage"),
        (json!("!{time:yyyy}"), json!("e/"), "Namespace to the left of colon (time) is an invalid keyword!"),
        (
            json!("!{timestamp:yyyyTMM}"),
            json!("e/"),
            "Invalid conversion character used in the value of the expression in Prefix",
        ),
        (
            json!(null),
            json!("!{firehose:error-output-type}!{partitionKeyFromQuery:k}"),
            "Dynamic Partitioning Namespaces can't be part of an error prefix expression",
        ),
        (json!("p".repeat(513)), json!(null), "Length of evaluated prefix cannot be greater than 512"),
        (json!("ä".repeat(257)), json!(null), "Length of evaluated prefix cannot be greater than 512"),
        (
            json!(null),
            json!("p".repeat(513)),
            "Length of evaluated ErrorOutputPrefix cannot be greater than 512",
        ),
        (json!("a\u{7}b/"), json!(null), "Control characters are not allowed"),
        (json!(null), json!("tab\t/"), "Control characters are not allowed"),
    ] {
        check(prefix, error_prefix, constraint).await;
    }
    let partitioned = with(s3(), "DynamicPartitioningConfiguration", json!({"Enabled": true}));
    is_invalid(
        &create(&api, EXTENDED, partitioned.clone()).await,
        "The supplied prefix(es) do not satisfy the following constraint: \
         S3 Prefix should contain Dynamic Partitioning namespaces when Dynamic Partitioning is enabled",
    );
    let partitioned = with(
        with(partitioned, "Prefix", json!("!{partitionKeyFromQuery:k}/")),
        "ErrorOutputPrefix",
        json!("e/"),
    );
    let small =
        with(partitioned.clone(), "BufferingHints", json!({"SizeInMBs": 63, "IntervalInSeconds": 60}));
    is_invalid(
        &create(&api, EXTENDED, small).await,
        "BufferingHints.SizeInMBs must be at least 64 when Dynamic Partitioning is enabled.",
    );
    is_not_yet(&create(&api, EXTENDED, partitioned).await, "DynamicPartitioningConfiguration");
    for (member, value) in [("Prefix", "!{timestamp:yyyy}/"), ("ErrorOutputPrefix", "errors/")] {
        is_invalid(
            &create(&api, REDSHIFT, with(redshift(), &format!("S3Configuration.{member}"), json!(value)))
                .await,
            "The supplied prefix(es) do not satisfy the following constraint: \
             Prefix Expressions or ErrorOutputPrefix is currently not supported for this destination",
        );
    }
    let valid =
        with(with(s3(), "Prefix", json!("!{timestamp:yyyy}/")), "ErrorOutputPrefix", json!(error_type));
    is_not_yet(&create(&api, EXTENDED, valid).await, "Prefix with expressions (!{...})");
    let longest = with(s3(), "Prefix", json!("p".repeat(512)));
    assert_eq!(create(&api, EXTENDED, longest).await.status, 200);
}

#[tokio::test]
async fn processors_have_their_rules() {
    let api = Api::start().await;
    let lambda = |more: &[(&str, &str)]| {
        let mut parameters = vec![("LambdaArn", "arn:aws:lambda:eu-west-1:123456789012:function:f")];
        parameters.extend(more);
        processor("Lambda", &parameters)
    };
    let count =
        "A maximum of 5 and a minimum of 1 processor needs to be supplied when processing is enabled.";
    let deaggregate = |parameters: &[(&str, &str)]| processor("RecordDeAggregation", parameters);
    let six: Vec<Value> = (0..6).map(|_| processor("AppendDelimiterToRecord", &[])).collect();
    for (processors, message) in [
        (json!([]), count),
        (json!(six), count),
        (json!([lambda(&[]), lambda(&[])]), "Cannot have more than 1 Lambda processor."),
        (json!([processor("Lambda", &[])]), "LambdaArn is required when Lambda processor is used."),
        (
            json!([lambda(&[("NumberOfRetries", "301")])]),
            "Number of retries for lambda must be between 0 and 300.",
        ),
        (
            json!([lambda(&[("NumberOfRetries", "x")])]),
            "Number of retries for lambda must be between 0 and 300.",
        ),
        (
            json!([lambda(&[("BufferSizeInMBs", "0.1"), ("BufferIntervalInSeconds", "60")])]),
            "BufferSizeInMBs for lambda processor must be between 0.2 and 3.",
        ),
        (
            json!([lambda(&[("BufferSizeInMBs", "1"), ("BufferIntervalInSeconds", "901")])]),
            "BufferIntervalInSeconds for lambda processor must be between 0 and 900.",
        ),
        (
            json!([lambda(&[("BufferSizeInMBs", "1")])]),
            "Both BufferSizeInMBs and BufferIntervalInSeconds are required to configure buffering for lambda processor.",
        ),
        (
            json!([processor("MetadataExtraction", &[("JsonParsingEngine", "JQ-1.6")])]),
            "class com.amazonaws.services.firehose.internal.model.MetadataExtractionProcessor can only be present when \
             Dynamic Partitioning is enabled.",
        ),
        (json!([deaggregate(&[("SubRecordType", "XML")])]), "SubRecordType has to be one of JSON, DELIMITED"),
        (
            json!([deaggregate(&[("SubRecordType", "DELIMITED")])]),
            "Delimiter should be present for DELIMITED",
        ),
        (
            json!([processor("CloudWatchLogProcessing", &[])]),
            "CloudWatchLogProcessingProcessor can only be enabled with DecompressionProcessor",
        ),
        (
            json!([
                processor("Decompression", &[]),
                processor("CloudWatchLogProcessing", &[("DataMessageExtraction", "yes")])
            ]),
            "Invalid parameter value for DataMessageExtraction. Allowed values are True and False.",
        ),
        (
            json!([processor("Decompression", &[("CompressionFormat", "ZIP")])]),
            "CompressionFormat has to be GZIP",
        ),
    ] {
        let config = with(s3(), "ProcessingConfiguration", processing(processors));
        is_invalid(&create(&api, EXTENDED, config).await, message);
    }
    let partitioned = json!({
        "RoleARN": ROLE, "BucketARN": "arn:aws:s3:::demo", "Prefix": "!{partitionKeyFromQuery:k}/", "ErrorOutputPrefix": "e/",
        "DynamicPartitioningConfiguration": {"Enabled": true},
        "ProcessingConfiguration": processing(json!([processor("MetadataExtraction", &[("JsonParsingEngine", "jq")])])),
    });
    is_invalid(
        &create(&api, EXTENDED, partitioned).await,
        "MetaDataExtraction JSON Parsing Engine has to be one of JQ-1.6",
    );
    // Not said to be enabled, and yet there.
    let meant = with(s3(), "ProcessingConfiguration", json!({"Processors": [processor("Lambda", &[])]}));
    is_invalid(&create(&api, EXTENDED, meant).await, "LambdaArn is required when Lambda processor is used.");
    for destination in [EXTENDED, REDSHIFT] {
        let good = with(valid(destination), "ProcessingConfiguration", processing(json!([lambda(&[])])));
        is_not_yet(&create(&api, destination, good).await, "ProcessingConfiguration");
    }
}

#[tokio::test]
async fn format_conversion_has_its_rules() {
    let api = Api::start().await;
    let good = json!({
        "SchemaConfiguration": {"RoleARN": ROLE, "DatabaseName": "d", "TableName": "t"},
        "InputFormatConfiguration": {"Deserializer": {"OpenXJsonSerDe": {"ColumnToJsonKeyMappings": {"a": "b"}}}},
        "OutputFormatConfiguration": {"Serializer": {"ParquetSerDe": {}}},
    });
    for (member, value, message) in [
        ("SchemaConfiguration", json!(null), "SchemaConfiguration must not be null"),
        ("InputFormatConfiguration", json!(null), "InputFormatConfiguration must not be null"),
        ("OutputFormatConfiguration", json!(null), "OutputFormatConfiguration must not be null"),
        ("InputFormatConfiguration", json!({}), "Deserializer must not be null"),
        ("OutputFormatConfiguration", json!({"Serializer": {}}), "Serializer must not be null"),
        (
            "InputFormatConfiguration.Deserializer.HiveJsonSerDe",
            json!({}),
            "More than one deserializer specified. Only one may be chosen.",
        ),
        (
            "OutputFormatConfiguration.Serializer.OrcSerDe",
            json!({"PaddingTolerance": 0.5}),
            "More than one serializer specified. Only one may be chosen.",
        ),
    ] {
        let config = with(s3(), "DataFormatConversionConfiguration", with(good.clone(), member, value));
        is_invalid(&create(&api, EXTENDED, config).await, message);
    }
    let config = with(s3(), "DataFormatConversionConfiguration", good);
    is_invalid(
        &create(&api, EXTENDED, with(config.clone(), "CompressionFormat", json!("GZIP"))).await,
        "The S3 destination's compression format must be set to UNCOMPRESSED when data format conversion is enabled",
    );
    is_not_yet(&create(&api, EXTENDED, config).await, "DataFormatConversionConfiguration");
}

#[tokio::test]
async fn sources_need_their_configuration_and_are_refused_by_name() {
    let api = Api::start().await;
    let create = async |kind: &str, member: &str, value: Value| {
        let input =
            json!({"DeliveryStreamName": "s", "DeliveryStreamType": kind, EXTENDED: s3(), member: value});
        api.call("CreateDeliveryStream", &input).await
    };
    for (kind, message) in [
        (
            "KinesisStreamAsSource",
            "KinesisSourceStreamConfig is mandatory for KinesisStreamAsSource stream type.",
        ),
        ("MSKAsSource", "MSKSourceConfig is mandatory for MSK as Source stream type."),
        ("DatabaseAsSource", "IcebergDestinationConfiguration must be specified for Database as Source."),
    ] {
        is_invalid(&create(kind, "Tags", json!(null)).await, message);
    }
    let kinesis =
        json!({"KinesisStreamARN": "arn:aws:kinesis:eu-west-1:123456789012:stream/k", "RoleARN": ROLE});
    let msk = json!({
        "MSKClusterARN": "arn:aws:kafka:eu-west-1:123456789012:cluster/c", "TopicName": "t",
        "AuthenticationConfiguration": {"RoleARN": ROLE, "Connectivity": "PUBLIC"}, "ReadFromTimestamp": 1_700_000_000.5,
    });
    let answer = create("KinesisStreamAsSource", "KinesisStreamSourceConfiguration", kinesis.clone()).await;
    is_not_yet(&answer, "DeliveryStreamType KinesisStreamAsSource");
    is_not_yet(
        &create("MSKAsSource", "MSKSourceConfiguration", msk.clone()).await,
        "DeliveryStreamType MSKAsSource",
    );
    is_not_yet(&create("DirectPut", "MSKSourceConfiguration", msk).await, "MSKSourceConfiguration");
    let input = json!({"DeliveryStreamName": "s", "DeliveryStreamType": "DatabaseAsSource", "IcebergDestinationConfiguration": iceberg()});
    is_not_yet(&api.call("CreateDeliveryStream", &input).await, "IcebergDestinationConfiguration");
    let encrypted = json!({
        "DeliveryStreamName": "s", "DeliveryStreamType": "KinesisStreamAsSource", EXTENDED: s3(),
        "KinesisStreamSourceConfiguration": kinesis, "DeliveryStreamEncryptionConfigurationInput": {"KeyType": "AWS_OWNED_CMK"},
    });
    is_invalid(
        &api.call("CreateDeliveryStream", &encrypted).await,
        "Server side encryption from firehose is only allowed for direct put delivery streams and database as a source delivery streams",
    );
    // Firehose itself ignores it.
    assert_eq!(create("DirectPut", "KinesisStreamSourceConfiguration", kinesis).await.status, 200);
}

#[tokio::test]
async fn encryption_keys_have_their_rules() {
    let api = Api::start().await;
    for (config, message) in [
        (
            json!({"KeyType": "CUSTOMER_MANAGED_CMK"}),
            "KeyARN has to be specified when KeyType is CUSTOMER_MANAGED_CMK",
        ),
        (
            json!({"KeyType": "AWS_OWNED_CMK", "KeyARN": KEY}),
            "KeyARN cannot be specified when KeyType is AWS_OWNED_CMK",
        ),
        (
            json!({"KeyType": "CUSTOMER_MANAGED_CMK", "KeyARN": KEY.replace("eu-west-1", "us-east-1")}),
            "Cross-region keys are not allowed for SSE. Please provide CMKs in the same region as firehose",
        ),
    ] {
        let member = "DeliveryStreamEncryptionConfigurationInput";
        let create = json!({"DeliveryStreamName": "s", EXTENDED: s3(), member: config});
        is_invalid(&api.call("CreateDeliveryStream", &create).await, message);
        let start = json!({"DeliveryStreamName": "s", member: config});
        is_invalid(&api.call("StartDeliveryStreamEncryption", &start).await, message);
    }
}

#[tokio::test]
async fn what_works_elsewhere_and_not_here_yet_is_refused_by_name() {
    let api = Api::start().await;
    let kms = json!({"KMSEncryptionConfig": {"AWSKMSKeyARN": KEY}});
    let secret = json!({"Enabled": true, "SecretARN": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:s", "RoleARN": ROLE});
    for (destination, member, value, what) in [
        (EXTENDED, "CompressionFormat", json!("ZIP"), "CompressionFormat ZIP"),
        (EXTENDED, "CompressionFormat", json!("Snappy"), "CompressionFormat Snappy"),
        (EXTENDED, "CompressionFormat", json!("HADOOP_SNAPPY"), "CompressionFormat HADOOP_SNAPPY"),
        (EXTENDED, "EncryptionConfiguration", kms.clone(), "EncryptionConfiguration.KMSEncryptionConfig"),
        (
            "S3DestinationConfiguration",
            "EncryptionConfiguration",
            kms.clone(),
            "EncryptionConfiguration.KMSEncryptionConfig",
        ),
        (EXTENDED, "FileExtension", json!(".json"), "FileExtension"),
        (EXTENDED, "CustomTimeZone", json!("Europe/Berlin"), "CustomTimeZone other than UTC"),
        (
            REDSHIFT,
            "S3Configuration.EncryptionConfiguration",
            kms,
            "EncryptionConfiguration.KMSEncryptionConfig",
        ),
        (REDSHIFT, "SecretsManagerConfiguration", secret, "SecretsManagerConfiguration.RoleARN"),
    ] {
        is_not_yet(&create(&api, destination, with(valid(destination), member, value)).await, what);
    }
    for destination in [EXTENDED, REDSHIFT] {
        let config =
            with(with(valid(destination), "S3BackupMode", json!("Enabled")), "S3BackupConfiguration", s3());
        is_not_yet(&create(&api, destination, config).await, "S3BackupMode Enabled");
    }
    assert!(api.streams.snapshot().streams().is_empty());
}

#[tokio::test]
async fn what_the_model_says_of_every_member_is_checked() {
    let api = Api::start().await;
    let config = json!({
        "RoleARN": "arn:aws:iam::1:role/r",
        "BucketARN": "demo",
        "Prefix": "x".repeat(1025),
        "BufferingHints": {"SizeInMBs": 0, "IntervalInSeconds": 901},
        "CompressionFormat": "gzip",
        "S3BackupMode": "On",
        "DataFormatConversionConfiguration": {"OutputFormatConfiguration": {"Serializer": {"OrcSerDe": {"PaddingTolerance": 2, "StripeSizeBytes": 1}}}},
        "DynamicPartitioningConfiguration": {"RetryOptions": {"DurationInSeconds": 7201}},
        "ProcessingConfiguration": {"Processors": [{"Type": "lambda", "Parameters": [{"ParameterName": "X", "ParameterValue": " "}]}]},
        "FileExtension": "json",
        "CustomTimeZone": "Europe/Berlin2",
    });
    let root = "extendedS3DestinationConfiguration";
    let mut violations: Vec<(String, &str)> = Vec::new();
    for (path, constraint) in [
        (
            "roleARN",
            r"Member must satisfy regular expression pattern: arn:.*:iam::\d{12}:role/[a-zA-Z_0-9+=,.@\-_/]+",
        ),
        ("bucketARN", r"Member must satisfy regular expression pattern: arn:.*:s3:::[\w\.\-]{1,255}"),
        ("prefix", "Member must have length less than or equal to 1024"),
        ("bufferingHints.sizeInMBs", "Member must have value greater than or equal to 1"),
        ("bufferingHints.intervalInSeconds", "Member must have value less than or equal to 900"),
        (
            "compressionFormat",
            "Member must satisfy enum value set: [ZIP, HADOOP_SNAPPY, Snappy, GZIP, UNCOMPRESSED]",
        ),
        (
            "processingConfiguration.processors.1.member.type",
            "Member must satisfy enum value set: [Decompression, Lambda, RecordDeAggregation, MetadataExtraction, AppendDelimiterToRecord, CloudWatchLogProcessing]",
        ),
        (
            "processingConfiguration.processors.1.member.parameters.1.member.parameterName",
            "Member must satisfy enum value set: [DataMessageExtraction, NumberOfRetries, Delimiter, RoleArn, JsonParsingEngine, SubRecordType, MetadataExtractionQuery, BufferIntervalInSeconds, LambdaArn, BufferSizeInMBs, CompressionFormat]",
        ),
        (
            "processingConfiguration.processors.1.member.parameters.1.member.parameterValue",
            r"Member must satisfy regular expression pattern: ^(?!\s*$).+",
        ),
        ("s3BackupMode", "Member must satisfy enum value set: [Disabled, Enabled]"),
        (
            "dataFormatConversionConfiguration.outputFormatConfiguration.serializer.orcSerDe.stripeSizeBytes",
            "Member must have value greater than or equal to 8388608",
        ),
        (
            "dataFormatConversionConfiguration.outputFormatConfiguration.serializer.orcSerDe.paddingTolerance",
            "Member must have value less than or equal to 1",
        ),
        (
            "dynamicPartitioningConfiguration.retryOptions.durationInSeconds",
            "Member must have value less than or equal to 7200",
        ),
        ("fileExtension", r"Member must satisfy regular expression pattern: ^(|\.[0-9a-z!\-_.*'()]+)$"),
        ("customTimeZone", "Member must satisfy regular expression pattern: ^$|[a-zA-Z/_]+"),
    ] {
        violations.push((format!("{root}.{path}"), constraint));
    }
    let expected: Vec<(&str, &str)> =
        violations.iter().map(|(path, constraint)| (path.as_str(), *constraint)).collect();
    create(&api, EXTENDED, config).await.violates(&expected);
    let null = "Member must not be null";
    for (operation, paths) in [
        ("CreateDeliveryStream", &["deliveryStreamName"][..]),
        ("DeleteDeliveryStream", &["deliveryStreamName"]),
        ("DescribeDeliveryStream", &["deliveryStreamName"]),
        ("UpdateDestination", &["deliveryStreamName", "currentDeliveryStreamVersionId", "destinationId"]),
        ("TagDeliveryStream", &["deliveryStreamName", "tags"]),
        ("UntagDeliveryStream", &["deliveryStreamName", "tagKeys"]),
        ("ListTagsForDeliveryStream", &["deliveryStreamName"]),
        ("StartDeliveryStreamEncryption", &["deliveryStreamName"]),
        ("StopDeliveryStreamEncryption", &["deliveryStreamName"]),
        ("PutRecord", &["deliveryStreamName", "record"]),
        ("PutRecordBatch", &["deliveryStreamName", "records"]),
    ] {
        let violations: Vec<(&str, &str)> = paths.iter().map(|path| (*path, null)).collect();
        api.call(operation, &json!({})).await.violates(&violations);
    }
}
