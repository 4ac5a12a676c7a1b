//! Golden files: request and answer of each operation, byte for byte. Ids come from a seed, times from a clock that stands still.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::support::{Api, JDBC_URL, ROLE, batch, data};

/// The request's JSON and the answer as it came; what is JSON in it is also shown readably.
async fn call(api: &Api, operation: &str, input: Value) -> String {
    let answer = api.call(operation, &input).await;
    format!("{operation}\n{input:#}\n\n{}\n\n{:#}", answer.golden(), answer.json())
}

fn every_s3_setting() -> Value {
    json!({
        "RoleARN": ROLE,
        "BucketARN": "arn:aws-cn:s3:::demo",
        "Prefix": "orders/",
        "ErrorOutputPrefix": "errors/",
        "BufferingHints": {"SizeInMBs": 64, "IntervalInSeconds": 60},
        "CompressionFormat": "GZIP",
        "EncryptionConfiguration": {"NoEncryptionConfig": "NoEncryption"},
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
async fn errors() {
    let api = Api::start().await;
    assert_snapshot!("error_unknown_operation", call(&api, "UpdateDestination", json!({})).await);
    assert_snapshot!("error_validation", call(&api, "PutRecordBatch", batch("a b", &[json!({})])).await);
    assert_snapshot!("error_not_found", call(&api, "PutRecordBatch", batch("nobody", &[data("a")])).await);
    assert_snapshot!("error_serialization", call(&api, "PutRecord", json!({"Record": 1})).await);
}
