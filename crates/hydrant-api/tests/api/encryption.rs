//! Start and StopDeliveryStreamEncryption.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{ACCOUNT, Answer, Api, KEY, OTHER_KEY, Options, batch, data, s3};

const UNKNOWN_KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/unknown";
const MEMBER: &str = "DeliveryStreamEncryptionConfigurationInput";

async fn start(api: &Api, config: Value) -> Answer {
    api.call("StartDeliveryStreamEncryption", &json!({"DeliveryStreamName": "s", MEMBER: config})).await
}

async fn stop(api: &Api) -> Answer {
    api.call("StopDeliveryStreamEncryption", &json!({"DeliveryStreamName": "s"})).await
}

async fn shown(api: &Api) -> Value {
    let answer = api.call("DescribeDeliveryStream", &json!({"DeliveryStreamName": "s"})).await;
    answer.json()["DeliveryStreamDescription"]["DeliveryStreamEncryptionConfiguration"].clone()
}

async fn encrypted(api: &Api) -> [Value; 2] {
    let one = api.call("PutRecord", &json!({"DeliveryStreamName": "s", "Record": data("secret-one")})).await;
    let many = api.call("PutRecordBatch", &batch("s", &[data("secret-two")])).await;
    [one.json()["Encrypted"].clone(), many.json()["Encrypted"].clone()]
}

#[track_caller]
fn done(answer: &Answer) {
    assert_eq!((answer.status, answer.text()), (200, "{}"));
}

fn customer(arn: &str) -> Value {
    json!({"KeyType": "CUSTOMER_MANAGED_CMK", "KeyARN": arn})
}

#[tokio::test]
async fn encryption_is_started_changed_and_stopped() {
    let (api, _) = Api::with_stream("s").await;
    assert_eq!(shown(&api).await, json!({"Status": "DISABLED"}));
    assert_eq!(encrypted(&api).await, [json!(false), json!(false)]);
    done(&start(&api, json!(null)).await);
    let by_default = json!({"KeyType": "AWS_OWNED_CMK", "Status": "ENABLED"});
    assert_eq!(shown(&api).await, by_default);
    assert_eq!(encrypted(&api).await, [json!(true), json!(true)]);
    done(&start(&api, customer(OTHER_KEY)).await);
    let by_customer = json!({"KeyARN": OTHER_KEY, "KeyType": "CUSTOMER_MANAGED_CMK", "Status": "ENABLED"});
    assert_eq!(shown(&api).await, by_customer);
    assert_eq!(encrypted(&api).await, [json!(true), json!(true)]);
    done(&start(&api, json!({"KeyType": "AWS_OWNED_CMK"})).await);
    assert_eq!(shown(&api).await, by_default);
    done(&stop(&api).await);
    assert_eq!(shown(&api).await, json!({"Status": "DISABLED"}));
    assert_eq!(encrypted(&api).await, [json!(false), json!(false)]);
    let stream = api.streams.get("s").unwrap();
    assert_eq!(
        (stream.version.0, stream.encryption.data_keys.len()),
        (1, 3),
        "what is in the log stays readable"
    );
}

#[tokio::test]
async fn a_stream_is_created_encrypted() {
    let api = Api::start().await;
    let input =
        json!({"DeliveryStreamName": "s", "ExtendedS3DestinationConfiguration": s3(), MEMBER: customer(KEY)});
    assert_eq!(api.call("CreateDeliveryStream", &input).await.status, 200);
    assert_eq!(
        shown(&api).await,
        json!({"KeyARN": KEY, "KeyType": "CUSTOMER_MANAGED_CMK", "Status": "ENABLED"})
    );
    assert_eq!(encrypted(&api).await, [json!(true), json!(true)]);
}

#[track_caller]
fn is_kms(answer: &Answer, code: &str, message: &str) {
    let expected = json!({"__type": "InvalidKMSResourceException", "message": message, "code": code});
    assert_eq!((answer.status, answer.json()), (400, expected));
}

#[tokio::test]
async fn a_key_that_is_not_configured_is_refused_and_the_former_one_stays() {
    let (api, _) = Api::with_stream("s").await;
    done(&start(&api, customer(OTHER_KEY)).await);
    let message = format!("No key {UNKNOWN_KEY} is configured.");
    is_kms(&start(&api, customer(UNKNOWN_KEY)).await, "NotFoundException", &message);
    assert_eq!(shown(&api).await["KeyARN"], OTHER_KEY);
    let input = json!({"DeliveryStreamName": "t", "ExtendedS3DestinationConfiguration": s3(), MEMBER: customer(UNKNOWN_KEY)});
    is_kms(&api.call("CreateDeliveryStream", &input).await, "NotFoundException", &message);
    assert!(api.streams.get("t").is_none());
}

#[tokio::test]
async fn without_a_default_key_only_named_keys_encrypt() {
    let api = Api::start_with(Options { keys: &[], ..Options::default() }).await;
    api.create("s").await;
    is_kms(&start(&api, json!(null)).await, "NotFoundException", "No default key is configured.");
    assert_eq!(shown(&api).await, json!({"Status": "DISABLED"}));
}

#[tokio::test]
async fn encryption_is_started_and_stopped_25_times_a_day() {
    let (api, _) = Api::with_stream("s").await;
    for _ in 0..12 {
        done(&start(&api, json!(null)).await);
        done(&stop(&api).await);
    }
    done(&stop(&api).await);
    let message = "Encryption of stream s was started and stopped 25 times within 24 hours.";
    start(&api, json!(null)).await.is_error(400, "LimitExceededException", message);
    stop(&api).await.is_error(400, "LimitExceededException", message);
    api.clock.advance(Duration::from_secs(24 * 3600));
    done(&start(&api, json!(null)).await);
}

#[tokio::test]
async fn a_stream_must_exist() {
    let api = Api::start().await;
    let message = format!("Firehose s under account {ACCOUNT} not found.");
    start(&api, json!(null)).await.is_error(400, "ResourceNotFoundException", &message);
    // Before anything is said about the key.
    let no_key = json!({"KeyType": "CUSTOMER_MANAGED_CMK"});
    start(&api, no_key).await.is_error(400, "ResourceNotFoundException", &message);
    stop(&api).await.is_error(400, "ResourceNotFoundException", &message);
}

#[tokio::test]
async fn what_this_node_cannot_take_over_is_not_said_to_be_done() {
    let (api, _) = Api::with_stream("s").await;
    let copy = api.metastore_path().with_file_name("log").join("streams.json");
    let kept = copy.with_file_name("kept");
    std::fs::rename(&copy, &kept).unwrap();
    std::fs::create_dir(&copy).unwrap();
    let slow_down = |answer: Answer| answer.is_error(503, "ServiceUnavailableException", "Slow down.");
    slow_down(start(&api, json!(null)).await);
    assert_eq!(encrypted(&api).await, [json!(false), json!(false)], "as was said");
    std::fs::remove_dir(&copy).unwrap();
    std::fs::rename(&kept, &copy).unwrap();
    // As an SDK tries again.
    done(&start(&api, json!(null)).await);
    assert_eq!(encrypted(&api).await, [json!(true), json!(true)]);
}
