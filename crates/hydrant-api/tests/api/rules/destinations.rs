//! What each destination asks for.

use super::*;

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
    assert!(api.streams.get("s").is_none());
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
            "CopyCommand.CopyOptions",
            json!("GZIP credentials 'aws_access_key_id=A'"),
            "CopyOptions must not contain CREDENTIALS: COPY is authorized by the RoleARN of the destination.",
        ),
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
            "CustomTimeZone",
            json!("Europe/Berlim"),
            "Provided custom time zone is not supported. Custom time zones are limited to UTC and non-3-letter IANA time zones.",
        ),
        (
            EXTENDED,
            "CustomTimeZone",
            json!("europe/berlin"),
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
