//! Golden files: request and answer of each operation, byte for byte. Ids come from a seed, times from a clock that stands still.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::support::{Api, JDBC_URL, OTHER_KEY, ROLE, batch, data, with};

/// The request's JSON and the answer as it came; what is JSON in it is also shown readably.
async fn call(api: &Api, operation: &str, input: Value) -> String {
    let answer = api.call(operation, &input).await;
    format!("{operation}\n{input:#}\n\n{}\n\n{:#}", answer.golden(), answer.json())
}

fn every_s3_setting() -> Value {
    json!({
        "RoleARN": ROLE,
        "BucketARN": "arn:aws-cn:s3:::demo",
        "Prefix": "orders/!{timestamp:yyyy/MM/dd}/",
        "ErrorOutputPrefix": "errors/!{firehose:error-output-type}/",
        "CustomTimeZone": "Europe/Berlin",
        "FileExtension": ".json.gz",
        "BufferingHints": {"SizeInMBs": 64, "IntervalInSeconds": 60},
        "CompressionFormat": "GZIP",
        "EncryptionConfiguration": {"KMSEncryptionConfig": {"AWSKMSKeyARN": "arn:aws:kms:eu-west-1:123456789012:key/objects"}},
        "CloudWatchLoggingOptions": {"Enabled": true, "LogGroupName": "/aws/firehose/orders", "LogStreamName": "S3Delivery"},
        "S3BackupMode": "Disabled",
    })
}

#[tokio::test]
async fn an_s3_stream_with_every_setting() {
    let api = Api::start().await;
    let input = json!({
        "DeliveryStreamName": "orders",
        "DeliveryStreamType": "DirectPut",
        "ExtendedS3DestinationConfiguration": every_s3_setting(),
    });
    assert_snapshot!("create_s3", call(&api, "CreateDeliveryStream", input).await);
    let name = json!({"DeliveryStreamName": "orders"});
    assert_snapshot!("describe_s3", call(&api, "DescribeDeliveryStream", name).await);
}

#[tokio::test]
async fn an_s3_stream_with_processors_and_a_backup() {
    let api = Api::start().await;
    let processors = json!([
        {"Type": "Decompression", "Parameters": [{"ParameterName": "CompressionFormat", "ParameterValue": "GZIP"}]},
        {"Type": "CloudWatchLogProcessing", "Parameters": [{"ParameterName": "DataMessageExtraction", "ParameterValue": "True"}]},
        {"Type": "AppendDelimiterToRecord"},
    ]);
    let config = with(
        every_s3_setting(),
        "ProcessingConfiguration",
        json!({"Enabled": true, "Processors": processors}),
    );
    let backup = json!({"RoleARN": ROLE, "BucketARN": "arn:aws:s3:::backup", "Prefix": "source/"});
    let config = with(with(config, "S3BackupMode", json!("Enabled")), "S3BackupConfiguration", backup);
    let input = json!({"DeliveryStreamName": "orders", "ExtendedS3DestinationConfiguration": config});
    assert_snapshot!("create_processed", call(&api, "CreateDeliveryStream", input).await);
    let name = json!({"DeliveryStreamName": "orders"});
    assert_snapshot!("describe_processed", call(&api, "DescribeDeliveryStream", name).await);
}

#[tokio::test]
async fn an_s3_stream_with_what_is_required() {
    let api = Api::start().await;
    let required = json!({"RoleARN": ROLE, "BucketARN": "arn:aws:s3:::demo"});
    let input = json!({"DeliveryStreamName": "orders", "S3DestinationConfiguration": required});
    call(&api, "CreateDeliveryStream", input).await;
    let name = json!({"DeliveryStreamName": "orders"});
    assert_snapshot!("describe_s3_defaults", call(&api, "DescribeDeliveryStream", name).await);
}

#[tokio::test]
async fn a_redshift_stream() {
    let api = Api::start().await;
    let config = json!({
        "RoleARN": ROLE,
        "ClusterJDBCURL": JDBC_URL,
        "CopyCommand": {"DataTableName": "public.events", "DataTableColumns": "id, kind", "CopyOptions": "JSON 'auto' GZIP"},
        "Username": "loader",
        "Password": "hunter2-secret",
        "RetryOptions": {"DurationInSeconds": 60},
        "S3Configuration": {"RoleARN": ROLE, "BucketARN": "arn:aws:s3:::demo", "Prefix": "staging/", "CompressionFormat": "GZIP"},
    });
    let input = json!({"DeliveryStreamName": "events", "RedshiftDestinationConfiguration": config});
    assert_snapshot!("create_redshift", call(&api, "CreateDeliveryStream", input).await);
    let name = json!({"DeliveryStreamName": "events"});
    assert_snapshot!("describe_redshift", call(&api, "DescribeDeliveryStream", name.clone()).await);
    assert_snapshot!("delete", call(&api, "DeleteDeliveryStream", name.clone()).await);
    assert_snapshot!("describe_deleting", call(&api, "DescribeDeliveryStream", name).await);
}

#[tokio::test]
async fn a_redshift_stream_with_what_is_required() {
    let api = Api::start().await;
    let input = json!({"DeliveryStreamName": "events", "RedshiftDestinationConfiguration": crate::support::redshift()});
    call(&api, "CreateDeliveryStream", input).await;
    let name = json!({"DeliveryStreamName": "events"});
    assert_snapshot!("describe_redshift_defaults", call(&api, "DescribeDeliveryStream", name).await);
}

#[tokio::test]
async fn puts() {
    let (api, _) = Api::with_stream("orders").await;
    let one = json!({"DeliveryStreamName": "orders", "Record": data("hello")});
    assert_snapshot!("put_record", call(&api, "PutRecord", one).await);
    let many = batch("orders", &[data("a"), data(""), data("c")]);
    assert_snapshot!("put_record_batch", call(&api, "PutRecordBatch", many).await);
}

#[tokio::test]
async fn lists() {
    let (api, _) = Api::with_stream("orders").await;
    assert_snapshot!("list", call(&api, "ListDeliveryStreams", json!({"Limit": 3})).await);
}

#[tokio::test]
async fn updates() {
    let (api, _) = Api::with_stream("orders").await;
    let input = json!({
        "DeliveryStreamName": "orders",
        "CurrentDeliveryStreamVersionId": "1",
        "DestinationId": "destinationId-000000000001",
        "ExtendedS3DestinationUpdate": {"Prefix": "orders/", "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 10}},
    });
    api.clock.advance(std::time::Duration::from_millis(1_500));
    assert_snapshot!("update", call(&api, "UpdateDestination", input.clone()).await);
    let name = json!({"DeliveryStreamName": "orders"});
    assert_snapshot!("describe_updated", call(&api, "DescribeDeliveryStream", name).await);
    assert_snapshot!("error_concurrent_modification", call(&api, "UpdateDestination", input).await);
}

#[tokio::test]
async fn tags() {
    let (api, _) = Api::with_stream("orders").await;
    let set = json!([{"Key": "team", "Value": "shop"}, {"Key": "hydrant:gzip-level", "Value": "1"}, {"Key": "empty"}]);
    let input = json!({"DeliveryStreamName": "orders", "Tags": set});
    assert_snapshot!("tag", call(&api, "TagDeliveryStream", input).await);
    let input = json!({"DeliveryStreamName": "orders", "Limit": 2});
    assert_snapshot!("list_tags", call(&api, "ListTagsForDeliveryStream", input).await);
    let input = json!({"DeliveryStreamName": "orders", "TagKeys": ["team"]});
    assert_snapshot!("untag", call(&api, "UntagDeliveryStream", input).await);
}

#[tokio::test]
async fn encryption() {
    let (api, _) = Api::with_stream("orders").await;
    let name = json!({"DeliveryStreamName": "orders"});
    let config = json!({"KeyType": "CUSTOMER_MANAGED_CMK", "KeyARN": OTHER_KEY});
    let input = json!({"DeliveryStreamName": "orders", "DeliveryStreamEncryptionConfigurationInput": config});
    assert_snapshot!("start_encryption", call(&api, "StartDeliveryStreamEncryption", input.clone()).await);
    assert_snapshot!("describe_encrypted", call(&api, "DescribeDeliveryStream", name.clone()).await);
    let one = json!({"DeliveryStreamName": "orders", "Record": data("hello")});
    assert_snapshot!("put_record_encrypted", call(&api, "PutRecord", one).await);
    let many = batch("orders", &[data("a")]);
    assert_snapshot!("put_record_batch_encrypted", call(&api, "PutRecordBatch", many).await);
    assert_snapshot!("stop_encryption", call(&api, "StopDeliveryStreamEncryption", name).await);
    let unknown = with(
        input,
        "DeliveryStreamEncryptionConfigurationInput.KeyARN",
        json!(OTHER_KEY.replace("other", "x")),
    );
    assert_snapshot!("error_kms", call(&api, "StartDeliveryStreamEncryption", unknown).await);
}

#[tokio::test]
async fn errors() {
    let (api, _) = Api::with_stream("orders").await;
    assert_snapshot!("error_unknown_operation", call(&api, "DescribeStream", json!({})).await);
    assert_snapshot!("error_validation", call(&api, "PutRecordBatch", batch("a b", &[json!({})])).await);
    assert_snapshot!("error_not_found", call(&api, "PutRecordBatch", batch("nobody", &[data("a")])).await);
    assert_snapshot!("error_serialization", call(&api, "PutRecord", json!({"Record": 1})).await);
    let config = json!({"RoleARN": "r", "BucketARN": "b", "BufferingHints": {"SizeInMBs": 129}, "CompressionFormat": "gzip"});
    let input = json!({"DeliveryStreamName": "a b", "ExtendedS3DestinationConfiguration": config});
    assert_snapshot!("error_validation_create", call(&api, "CreateDeliveryStream", input).await);
    let input = json!({"DeliveryStreamName": "orders"});
    assert_snapshot!("error_invalid_argument", call(&api, "CreateDeliveryStream", input).await);
    let input =
        json!({"DeliveryStreamName": "orders", "ExtendedS3DestinationConfiguration": crate::support::s3()});
    assert_snapshot!("error_in_use", call(&api, "CreateDeliveryStream", input).await);
    let tags: Value = (0..30).map(|n| json!({"Key": format!("k{n}")})).collect();
    let tag = |tags: Value| json!({"DeliveryStreamName": "orders", "Tags": tags});
    call(&api, "TagDeliveryStream", tag(tags)).await;
    let tags: Value = (30..51).map(|n| json!({"Key": format!("k{n}")})).collect();
    assert_snapshot!("error_limit_exceeded", call(&api, "TagDeliveryStream", tag(tags)).await);
}
