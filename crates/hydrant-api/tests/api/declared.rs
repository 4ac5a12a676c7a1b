//! Streams that files declare.

use hydrant_api::{Change, DeclareError, check_declaration};
use hydrant_types::{Clock, StreamVersion};
use serde_json::{Value, json};

use crate::support::{Api, KEY, OTHER_KEY, batch, data, open_metastore, redshift, s3, with};

const FILE: &str = "orders.json";

fn declaration() -> Value {
    json!({
        "DeliveryStreamName": "orders",
        "ExtendedS3DestinationConfiguration": s3(),
        "Tags": [{"Key": "team", "Value": "shop"}, {"Key": "hydrant:gzip-level", "Value": "1"}],
        "DeliveryStreamEncryptionConfigurationInput": {"KeyType": "CUSTOMER_MANAGED_CMK", "KeyARN": OTHER_KEY},
    })
}

async fn declare(api: &Api, declaration: &Value) -> Vec<Change> {
    api.control.declare(FILE, declaration).await.unwrap()
}

async fn described(api: &Api) -> Value {
    let answer = api.call("DescribeDeliveryStream", &json!({"DeliveryStreamName": "orders"})).await;
    answer.json()["DeliveryStreamDescription"].clone()
}

#[tokio::test]
async fn a_declared_stream_is_made_once_and_then_brought_to_what_its_file_says() {
    let api = Api::start().await;
    assert_eq!(declare(&api, &declaration()).await, [Change::Created]);
    let put = api.call("PutRecordBatch", &batch("orders", &[data("a")])).await;
    assert_eq!(put.json()["Encrypted"], true);
    assert_eq!(declare(&api, &declaration()).await, [], "the second time nothing is changed");
    let changed = with(declaration(), "ExtendedS3DestinationConfiguration.Prefix", json!("p/"));
    assert_eq!(declare(&api, &changed).await, [Change::Destination(StreamVersion(2))]);
    let changed = with(changed, "Tags", json!([{"Key": "team", "Value": "core"}]));
    assert_eq!(declare(&api, &changed).await, [Change::Tags]);
    assert_eq!(api.streams.get("orders").unwrap().tags, [("team".to_owned(), "core".to_owned())].into());
    let changed = with(changed, "DeliveryStreamEncryptionConfigurationInput.KeyARN", json!(KEY));
    assert_eq!(declare(&api, &changed).await, [Change::Encryption]);
    assert_eq!(described(&api).await["DeliveryStreamEncryptionConfiguration"]["KeyARN"], KEY);
    let all = json!({"DeliveryStreamName": "orders", "RedshiftDestinationConfiguration": redshift()});
    let expected = [Change::Destination(StreamVersion(3)), Change::Tags, Change::Encryption];
    assert_eq!(declare(&api, &all).await, expected);
    let shown = described(&api).await;
    assert_eq!(shown["DeliveryStreamEncryptionConfiguration"], json!({"Status": "DISABLED"}));
    assert!(shown["Destinations"][0]["RedshiftDestinationDescription"].is_object());
    assert_eq!(declare(&api, &all).await, []);
}

#[tokio::test]
async fn a_declared_stream_is_changed_in_its_file_only() {
    let api = Api::start().await;
    declare(&api, &declaration()).await;
    for (operation, more) in [
        (
            "UpdateDestination",
            json!({"CurrentDeliveryStreamVersionId": "1", "DestinationId": "d", "S3DestinationUpdate": {}}),
        ),
        ("DeleteDeliveryStream", json!({})),
        ("TagDeliveryStream", json!({"Tags": [{"Key": "k"}]})),
        ("UntagDeliveryStream", json!({"TagKeys": ["team"]})),
        ("StartDeliveryStreamEncryption", json!({})),
        ("StopDeliveryStreamEncryption", json!({})),
    ] {
        let input = with(more, "DeliveryStreamName", json!("orders"));
        api.call(operation, &input).await.is_error(
            400,
            "InvalidArgumentException",
            "Firehose orders is declared in the file orders.json and can only be changed there.",
        );
    }
    assert_eq!(declare(&api, &declaration()).await, []);
    assert_eq!(described(&api).await["DeliveryStreamStatus"], "ACTIVE");
}

#[tokio::test]
async fn a_stream_that_was_made_otherwise_is_adopted() {
    let api = Api::start().await;
    api.create("orders").await;
    let plain = json!({"DeliveryStreamName": "orders", "ExtendedS3DestinationConfiguration": s3()});
    assert_eq!(declare(&api, &plain).await, [Change::Adopted]);
    assert_eq!(api.control.declare("renamed.json", &plain).await.unwrap(), [Change::Adopted]);
    assert_eq!(api.streams.get("orders").unwrap().declared_in.as_deref(), Some("renamed.json"));
}

#[tokio::test]
async fn nodes_that_start_together_declare_the_same_stream_once() {
    let api = Api::start().await;
    let mut other = api.control.clone();
    other.metastore = open_metastore(&api.metastore_path()).await;
    let declaration = declaration();
    let (ours, theirs) =
        tokio::join!(api.control.declare(FILE, &declaration), other.declare(FILE, &declaration));
    let (ours, theirs) = (ours.unwrap(), theirs.unwrap());
    assert_eq!([ours, theirs].concat(), [Change::Created]);
}

#[tokio::test]
async fn what_cannot_be_declared_says_why() {
    let api = Api::start().await;
    let unknown = KEY.replace("default", "unknown");
    let key = with(declaration(), "DeliveryStreamEncryptionConfigurationInput.KeyARN", json!(unknown));
    let error = api.control.declare(FILE, &key).await.unwrap_err();
    assert!(matches!(error, DeclareError::Refused { code: "InvalidKMSResourceException", .. }), "{error}");
    assert!(error.to_string().contains(&unknown));
    let faulty = with(declaration(), "ExtendedS3DestinationConfiguration.CompressionFormat", json!("zip"));
    let error = api.control.declare(FILE, &faulty).await.unwrap_err();
    assert!(matches!(error, DeclareError::Faults(_)), "{error}");
    let id = api.create("orders").await;
    api.metastore.mark_deleting(id, api.clock.now()).await.unwrap();
    let error = api.control.declare(FILE, &declaration()).await.unwrap_err();
    assert!(matches!(error, DeclareError::Deleting(_)), "{error}");
}

#[tokio::test]
async fn a_backup_is_not_switched_off_by_a_file_either() {
    let api = Api::start().await;
    let config = "ExtendedS3DestinationConfiguration";
    let backed_up = with(declaration(), &format!("{config}.S3BackupMode"), json!("Enabled"));
    let backed_up = with(backed_up, &format!("{config}.S3BackupConfiguration"), s3());
    assert_eq!(declare(&api, &declaration()).await, [Change::Created]);
    assert_eq!(declare(&api, &backed_up).await, [Change::Destination(StreamVersion(2))]);
    let error = api.control.declare(FILE, &declaration()).await.unwrap_err();
    assert!(matches!(error, DeclareError::Refused { code: "InvalidArgumentException", .. }), "{error}");
    assert_eq!(error.to_string(), "Disabling S3 backup is not currently supported.");
    assert_eq!(declare(&api, &backed_up).await, []);
}

/// Pointer and message of everything that is wrong.
fn faults(declaration: &Value) -> Vec<(String, String)> {
    let faults = check_declaration(declaration, "eu-west-1").unwrap_err();
    faults.0.into_iter().map(|fault| (fault.pointer, fault.message)).collect()
}

#[test]
fn every_fault_of_a_declaration_is_told_with_its_place() {
    assert_eq!(check_declaration(&declaration(), "eu-west-1").unwrap().as_str(), "orders");
    let shapes = json!({
        "DeliveryStreamName": "a b",
        "deliveryStreamType": "DirectPut",
        "ExtendedS3DestinationConfiguration": {"BucketARN": 1, "BufferingHints": {"SizeInMBs": 0}, "prefix": "p/"},
        "Tags": [{"Key": "ok"}, {"Key": "aws:x", "Value": "v", "Colour": "red"}],
    });
    let found = faults(&shapes);
    let mut pointers: Vec<&str> = found.iter().map(|(pointer, _)| pointer.as_str()).collect();
    pointers.sort_unstable();
    assert_eq!(
        pointers,
        [
            "/DeliveryStreamName",
            "/ExtendedS3DestinationConfiguration/BucketARN",
            "/ExtendedS3DestinationConfiguration/BufferingHints/SizeInMBs",
            "/ExtendedS3DestinationConfiguration/RoleARN",
            "/ExtendedS3DestinationConfiguration/prefix",
            "/Tags/1/Colour",
            "/Tags/1/Key",
            "/deliveryStreamType",
        ]
    );
    let rules = json!({
        "DeliveryStreamName": "s",
        "ExtendedS3DestinationConfiguration": {
            "RoleARN": crate::support::ROLE, "BucketARN": "arn:aws:s3:::demo", "Prefix": "a\tb",
            "CloudWatchLoggingOptions": {"Enabled": true},
        },
        "DeliveryStreamEncryptionConfigurationInput": {"KeyType": "CUSTOMER_MANAGED_CMK"},
        "Tags": [{"Key": "hydrant:gzip-level", "Value": "10"}],
    });
    let found = faults(&rules);
    let pointers: Vec<&str> = found.iter().map(|(pointer, _)| pointer.as_str()).collect();
    assert_eq!(
        pointers,
        [
            "/DeliveryStreamEncryptionConfigurationInput",
            "/Tags/0",
            "/ExtendedS3DestinationConfiguration/CloudWatchLoggingOptions",
            "/ExtendedS3DestinationConfiguration/Prefix",
        ]
    );
    let level = "Tag hydrant:gzip-level is not valid: expected a number from 1 (fast) to 9 (small).";
    assert_eq!(found[1].1, level);
    assert_eq!(faults(&json!([])), [(String::new(), "expected an object".to_owned())]);
}
