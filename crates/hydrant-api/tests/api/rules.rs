//! Firehose's own rules, each with its code and text, and what is valid there and not done here yet.

mod backup;
mod destinations;
mod prefix;
mod processing;

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

/// What a creation is answered. Where a rule of Firehose's or of ours refuses it, an update to the same settings is refused alike.
async fn create(api: &Api, destination: &str, config: Value) -> Answer {
    let input = json!({"DeliveryStreamName": "s", destination: config});
    let answer = api.call("CreateDeliveryStream", &input).await;
    // Of search domains nothing is looked at, since the type is not changed to them.
    let is_search = ["Elasticsearch", "Amazonopensearch", "AmazonOpenSearch"]
        .iter()
        .any(|name| destination.starts_with(name));
    if answer.json()["__type"] == "InvalidArgumentException" && !is_search {
        is_refused_as_an_update(api, destination, config, &answer).await;
    }
    answer
}

async fn is_refused_as_an_update(api: &Api, destination: &str, mut config: Value, creation: &Answer) {
    // Of another type, so that nothing of it is kept.
    let (name, other) = match destination {
        REDSHIFT => ("updated-s3", json!({"DeliveryStreamName": "updated-s3", EXTENDED: s3()})),
        _ => ("updated-redshift", json!({"DeliveryStreamName": "updated-redshift", REDSHIFT: redshift()})),
    };
    if api.streams.get(name).is_none() {
        assert_eq!(api.call("CreateDeliveryStream", &other).await.status, 200);
    }
    if destination != "IcebergDestinationConfiguration" {
        for part in ["S3", "S3Backup"] {
            let given = config.as_object_mut().unwrap().remove(&format!("{part}Configuration"));
            if let Some(given) = given {
                config[format!("{part}Update")] = given;
            }
        }
    }
    let member = destination.replace("Configuration", "Update");
    let input = json!({
        "DeliveryStreamName": name, "CurrentDeliveryStreamVersionId": "1",
        "DestinationId": "destinationId-000000000001", &member: config,
    });
    let message = creation.json()["message"].as_str().unwrap().replace(destination, &member);
    is_invalid(&api.call("UpdateDestination", &input).await, &message);
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
    assert!(api.streams.get("s").is_none());
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
    is_not_yet(&api.call("CreateDeliveryStream", &input).await, "DeliveryStreamType DatabaseAsSource");
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
    api.create("started").await;
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
        let start = json!({"DeliveryStreamName": "started", member: config});
        is_invalid(&api.call("StartDeliveryStreamEncryption", &start).await, message);
    }
}

#[tokio::test]
async fn objects_are_encrypted_with_a_key_or_as_the_bucket_says_and_not_both() {
    let api = Api::start().await;
    let both = json!({"NoEncryptionConfig": "NoEncryption", "KMSEncryptionConfig": {"AWSKMSKeyARN": KEY}});
    for (destination, member) in [
        (EXTENDED, "EncryptionConfiguration"),
        ("S3DestinationConfiguration", "EncryptionConfiguration"),
        (REDSHIFT, "S3Configuration.EncryptionConfiguration"),
    ] {
        is_invalid(
            &create(&api, destination, with(valid(destination), member, both.clone())).await,
            "EncryptionConfiguration: NoEncryptionConfig and KMSEncryptionConfig cannot be given together.",
        );
    }
}

#[tokio::test]
async fn what_works_elsewhere_and_not_here_yet_is_refused_by_name() {
    let api = Api::start().await;
    let secret = json!({"Enabled": true, "SecretARN": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:s", "RoleARN": ROLE});
    for (destination, member, value, what) in
        [(REDSHIFT, "SecretsManagerConfiguration", secret, "SecretsManagerConfiguration.RoleARN")]
    {
        is_not_yet(&create(&api, destination, with(valid(destination), member, value)).await, what);
    }
    assert!(api.streams.get("s").is_none());
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

#[tokio::test]
async fn a_lambdas_numbers_have_both_ends() {
    let api = Api::start().await;
    let arn = "arn:aws:lambda:eu-west-1:123456789012:function:f";
    let retries = "Number of retries for lambda must be between 0 and 300.";
    let size = "BufferSizeInMBs for lambda processor must be between 0.2 and 3.";
    let interval = "BufferIntervalInSeconds for lambda processor must be between 0 and 900.";
    let buffered = |size, interval| vec![("BufferSizeInMBs", size), ("BufferIntervalInSeconds", interval)];
    for (message, parameters) in [
        (retries, vec![("NumberOfRetries", "-1")]),
        (retries, vec![("NumberOfRetries", "301")]),
        (retries, vec![("NumberOfRetries", "1.5")]),
        (retries, vec![("NumberOfRetries", "1e2")]),
        (size, buffered("0.19", "60")),
        (size, buffered("3.1", "60")),
        (size, buffered("NaN", "60")),
        (interval, buffered("1", "-1")),
        (interval, buffered("1", "901")),
        (interval, buffered("1", "0.5")),
    ] {
        let lambda = processor("Lambda", &[vec![("LambdaArn", arn)], parameters].concat());
        let config = with(s3(), "ProcessingConfiguration", processing(json!([lambda])));
        is_invalid(&create(&api, EXTENDED, config).await, message);
    }
    for parameters in [
        vec![("NumberOfRetries", "0")],
        vec![("NumberOfRetries", "300")],
        buffered("0.2", "0"),
        buffered("3", "900"),
        buffered("3.0", "900"),
    ] {
        let lambda = processor("Lambda", &[vec![("LambdaArn", arn)], parameters].concat());
        let config = with(s3(), "ProcessingConfiguration", processing(json!([lambda])));
        let told = create(&api, EXTENDED, config).await.json();
        let of_range = [retries, size, interval].iter().any(|message| told["message"] == *message);
        assert!(!of_range, "{told}");
    }
}
