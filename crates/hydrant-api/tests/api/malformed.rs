//! Requests that are not what the protocol says.

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use serde_json::json;

use crate::support::{ACCOUNT, Api, batch, data, s3, with};

const OPERATIONS: [&str; 6] = [
    "PutRecord",
    "PutRecordBatch",
    "CreateDeliveryStream",
    "DescribeDeliveryStream",
    "ListDeliveryStreams",
    "DeleteDeliveryStream",
];

#[tokio::test]
async fn what_is_not_json_is_a_serialization_error() {
    let api = Api::start().await;
    for operation in OPERATIONS {
        for body in
            ["{", "}", "{\"DeliveryStreamName\"", "{'a':1}", "{\"a\":1}x", "{\"a\":01}", "\u{feff}{}", "nul"]
        {
            api.send(operation, body).await.is_serialization("The request is not JSON: ");
        }
        api.send(operation, &b"{\"DeliveryStreamName\":\"\xff\"}"[..]).await.is_serialization("");
    }
}

#[tokio::test]
async fn json_that_is_no_object_is_a_serialization_error() {
    let api = Api::start().await;
    for operation in OPERATIONS {
        for body in ["[]", "null", "\"text\"", "1", "true"] {
            api.send(operation, body).await.is_serialization("The request is not an object.");
        }
    }
}

#[tokio::test]
async fn an_empty_body_is_an_empty_input_of_control_operations_and_no_put() {
    let api = Api::start().await;
    assert_eq!(api.send("ListDeliveryStreams", "").await.status, 200);
    api.send("DescribeDeliveryStream", "")
        .await
        .violates(&[("deliveryStreamName", "Member must not be null")]);
    api.send("PutRecord", "").await.is_serialization("not JSON");
}

#[tokio::test]
async fn a_member_of_the_wrong_type_is_a_serialization_error_whatever_else_is_wrong() {
    let (api, id) = Api::with_stream("s").await;
    let wrong =
        |path: &str, expected: &str| format!("Member '{path}' has the wrong type: expected {expected}.");
    for (operation, input, words) in [
        (
            "PutRecord",
            json!({"DeliveryStreamName": 1, "Record": data("")}),
            wrong("deliveryStreamName", "a string"),
        ),
        (
            "PutRecord",
            json!({"DeliveryStreamName": ["s"], "Record": data("")}),
            wrong("deliveryStreamName", "a string"),
        ),
        ("PutRecord", json!({"DeliveryStreamName": "s", "Record": "aGk="}), wrong("record", "an object")),
        (
            "PutRecord",
            json!({"DeliveryStreamName": "no name", "Record": {"Data": 1}}),
            wrong("record.data", "a string of base64"),
        ),
        (
            "PutRecord",
            json!({"DeliveryStreamName": "s", "Record": {"Data": {"a": 1}}}),
            wrong("record.data", "a string of base64"),
        ),
        (
            "PutRecordBatch",
            json!({"DeliveryStreamName": "s", "Records": {"Data": ""}}),
            wrong("records", "a list"),
        ),
        ("PutRecordBatch", json!({"DeliveryStreamName": "s", "Records": "aGk="}), wrong("records", "a list")),
        ("PutRecordBatch", batch("s", &[data("a"), json!(["aGk="])]), wrong("records.2.member", "an object")),
        (
            "PutRecordBatch",
            batch("s", &[data("a"), json!({"Data": true})]),
            wrong("records.2.member.data", "a string of base64"),
        ),
        ("ListDeliveryStreams", json!({"Limit": "10"}), wrong("limit", "an integer")),
        ("ListDeliveryStreams", json!({"Limit": 1.5}), wrong("limit", "an integer")),
        (
            "DescribeDeliveryStream",
            json!({"DeliveryStreamName": {}}),
            wrong("deliveryStreamName", "a string"),
        ),
        (
            "DeleteDeliveryStream",
            json!({"DeliveryStreamName": "s", "AllowForceDelete": "true"}),
            wrong("allowForceDelete", "true or false"),
        ),
        (
            "CreateDeliveryStream",
            json!({"DeliveryStreamName": "no name", "ExtendedS3DestinationConfiguration": with(s3(), "Prefix", json!(1))}),
            wrong("extendedS3DestinationConfiguration.prefix", "a string"),
        ),
        (
            "CreateDeliveryStream",
            json!({"DeliveryStreamName": "t", "S3DestinationConfiguration": []}),
            wrong("s3DestinationConfiguration", "an object"),
        ),
        (
            "CreateDeliveryStream",
            json!({"DeliveryStreamName": "t", "SplunkDestinationConfiguration": 1}),
            wrong("splunkDestinationConfiguration", "an object"),
        ),
        (
            "CreateDeliveryStream",
            json!({"DeliveryStreamName": "t", "Tags": {"k": "v"}}),
            wrong("tags", "a list"),
        ),
    ] {
        let answer = api.call(operation, &input).await;
        answer.is_error(400, "SerializationException", &words);
    }
    assert!(api.stored(id).is_empty());
}

#[tokio::test]
async fn what_is_not_base64_with_padding_is_a_serialization_error_and_nothing_is_stored() {
    let (api, id) = Api::with_stream("s").await;
    for bad in ["aGk", "aGk==", "aGl=", "a_-k", "aG k", "aGk=\n", "====", "ä"] {
        let one = json!({"DeliveryStreamName": "s", "Record": {"Data": bad}});
        api.call("PutRecord", &one).await.is_error(
            400,
            "SerializationException",
            "Member 'record.data' is not base64 with padding.",
        );
        api.call("PutRecordBatch", &batch("s", &[data("good"), json!({"Data": bad})])).await.is_error(
            400,
            "SerializationException",
            "Member 'records.2.member.data' is not base64 with padding.",
        );
    }
    assert!(api.stored(id).is_empty());
}

#[tokio::test]
async fn unknown_members_are_ignored_and_of_a_repeated_one_the_last_counts() {
    let (api, id) = Api::with_stream("s").await;
    let answer = api
        .send("PutRecordBatch", r#"{"Else":{"a":[1,{"b":null}]},"DeliveryStreamName":"other","DeliveryStreamName":"s","Records":[],"Records":[{"Data":"AAAA","Data":"aGk=","Key":1}]}"#)
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = api
        .send("PutRecord", r#"{"DeliveryStreamName":"\u0073","Record":{"Data":"\/\u002b\/+"},"X":1e400}"#)
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(api.stored(id), [&b"hi"[..], &[0xff, 0xef, 0xfe]]);
    let create = json!({"DeliveryStreamName": "t", "Else": 1, "S3DestinationConfiguration": with(s3(), "Else", json!([]))});
    assert_eq!(api.call("CreateDeliveryStream", &create).await.status, 200);
}

#[tokio::test]
async fn a_target_that_is_not_known_is_an_unknown_operation_without_a_message() {
    let api = Api::start().await;
    for operation in ["DescribeStream", "putrecord", "", "Put Record"] {
        let answer = api.send(operation, "{}").await;
        assert_eq!(
            (answer.status, answer.text()),
            (400, r#"{"__type":"UnknownOperationException"}"#),
            "{operation}"
        );
        assert_eq!(answer.header("x-amzn-errortype"), "UnknownOperationException");
    }
    for target in
        ["Firehose_20150804", "Kinesis_20131202.PutRecord", "PutRecord", "Firehose_20150804PutRecord"]
    {
        let answer = api.send_with("", "{}", &[("x-amz-target", target)]).await;
        assert_eq!(answer.json()["__type"], "UnknownOperationException", "{target}");
    }
}

#[tokio::test]
async fn only_a_post_to_the_root_is_an_operation() {
    let api = Api::start().await;
    let request = |method: Method, path: &str| {
        Request::builder()
            .method(method)
            .uri(path)
            .header("host", "h")
            .header("x-amz-target", "Firehose_20150804.ListDeliveryStreams")
            .body(Full::new(Bytes::from_static(b"{}")))
            .unwrap()
    };
    for (method, path) in
        [(Method::GET, "/"), (Method::PUT, "/"), (Method::OPTIONS, "/"), (Method::POST, "/metrics")]
    {
        let answer = api.request(request(method.clone(), path)).await;
        assert_eq!(
            (answer.status, answer.json()),
            (400, json!({"__type": "UnknownOperationException"})),
            "{method} {path}"
        );
    }
    assert_eq!(
        api.request(request(Method::POST, "/")).await.status,
        200,
        "no content type is taken for JSON"
    );
    assert_eq!(api.request(request(Method::POST, "/?a=b")).await.status, 200);
}

#[tokio::test]
async fn the_content_type_is_json_with_any_parameters() {
    let api = Api::start().await;
    for good in [
        "application/x-amz-json-1.1",
        "application/x-amz-json-1.1; charset=utf-8",
        "application/x-amz-json-1.0",
        "application/json",
    ] {
        let answer = api.send_with("ListDeliveryStreams", "{}", &[("content-type", good)]).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, "application/x-amz-json-1.1"),
            "{good}"
        );
    }
    for bad in ["application/cbor", "application/x-www-form-urlencoded"] {
        api.send_with("ListDeliveryStreams", "{}", &[("content-type", bad)])
            .await
            .is_serialization("Content-Type");
    }
}

#[tokio::test]
async fn every_answer_has_an_id_of_its_own_and_a_date() {
    let api = Api::start().await;
    let mut ids = Vec::new();
    for operation in ["ListDeliveryStreams", "PutRecord", "Nothing"] {
        let answer = api.send(operation, "{}").await;
        ids.push(answer.header("x-amzn-requestid").to_owned());
        assert!(answer.header("date").ends_with(" GMT"));
        assert_eq!(answer.header("x-amz-id-2").len(), 24);
    }
    ids.dedup();
    assert_eq!(ids.len(), 3);
}

#[tokio::test]
async fn checks_come_in_the_services_order() {
    let api = Api::start().await;
    // Wrong type before violated constraint before what only the service knows.
    let records = [data(vec![0; 1_024_001]), json!({"Data": "no base64!"})];
    api.call("PutRecordBatch", &batch("no name", &records)).await.is_serialization("records.2.member.data");
    let records = vec![data(vec![0; 1_000_000]); 5];
    api.call("PutRecordBatch", &batch("no name", &records)).await.violates(&[(
        "deliveryStreamName",
        "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+",
    )]);
    api.call("PutRecordBatch", &batch("nobody", &records)).await.is_error(
        400,
        "InvalidArgumentException",
        "Records size exceeds 4 MB limit",
    );
    let message = format!("Firehose nobody under account {ACCOUNT} not found.");
    api.call("PutRecordBatch", &batch("nobody", &[data("")])).await.is_error(
        400,
        "ResourceNotFoundException",
        &message,
    );
    // A destination that is not there yet is refused only once the shapes are right.
    let input = json!({"DeliveryStreamName": "no name", "SplunkDestinationConfiguration": {}});
    assert_eq!(api.call("CreateDeliveryStream", &input).await.json()["__type"], "ValidationException");
}
