//! Puts: what is stored, what is answered, what is refused.

use std::sync::Arc;

use hydrant_log::{FileLog, RecordLog, testing::HookedLog};
use hydrant_types::{Position, RecordId};
use serde_json::{Value, json};

use crate::support::{ACCOUNT, Answer, Api, Options, batch, data, open_metastore};

const ID: &str = "amz-sdk-invocation-id";

fn record_ids(answer: &Answer) -> Vec<RecordId> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json();
    assert_eq!((&answer["FailedPutCount"], &answer["Encrypted"]), (&json!(0), &json!(false)));
    let entries = answer["RequestResponses"].as_array().unwrap().clone();
    entries
        .iter()
        .map(|entry| {
            assert_eq!(entry.as_object().unwrap().len(), 1, "no error members beside a RecordId");
            entry["RecordId"].as_str().unwrap().parse().unwrap()
        })
        .collect()
}

#[tokio::test]
async fn entries_are_answered_in_the_requests_order_and_their_ids_name_the_records() {
    let (api, id) = Api::with_stream("s").await;
    let texts: Vec<String> = (0..300).map(|number| format!("record {number}")).collect();
    let records: Vec<Value> = texts.iter().map(data).collect();
    api.call("PutRecord", &json!({"DeliveryStreamName": "s", "Record": data("first")})).await;
    let answer = api.call("PutRecordBatch", &batch("s", &records)).await;
    for (at, record) in record_ids(&answer).into_iter().enumerate() {
        assert_eq!(record, RecordId { log: api.log.log_id(), stream: id, position: Position(at as u64 + 1) });
    }
    let stored = api.stored(id);
    assert_eq!(stored[0], b"first");
    assert!(stored[1..].iter().eq(texts.iter().map(String::as_bytes)));
    assert!(answer.text().contains("\"FailedPutCount\":0,"), "compact: Fluent Bit looks for it");
}

#[tokio::test]
async fn any_bytes_are_stored_as_they_came() {
    let (api, id) = Api::with_stream("s").await;
    let all: Vec<u8> = (0..=255).cycle().take(10_000).collect();
    let records: Vec<Value> = (0..30).map(|length| data(&all[length * 7..length * 8])).collect();
    record_ids(&api.call("PutRecordBatch", &batch("s", &records)).await);
    // With blanks, as boto3 writes it; and pretty, which the scanner reads as well.
    let pretty = serde_json::to_string_pretty(&batch("s", &[data(&all)])).unwrap();
    record_ids(&api.send("PutRecordBatch", pretty).await);
    let mut expected: Vec<Vec<u8>> = (0..30).map(|length| all[length * 7..length * 8].to_vec()).collect();
    expected.push(all);
    assert_eq!(api.stored(id), expected);
}

#[tokio::test]
async fn a_retried_call_gets_the_first_answer_and_is_stored_once() {
    let (api, id) = Api::with_stream("s").await;
    let body = batch("s", &[data("a"), data("b")]).to_string();
    let first = api.send_with("PutRecordBatch", body.clone(), &[(ID, "call-1")]).await;
    let again = api
        .send_with("PutRecordBatch", body.clone(), &[(ID, "call-1"), ("amz-sdk-request", "attempt=2; max=3")])
        .await;
    assert_eq!(record_ids(&first), record_ids(&again));
    assert_eq!(api.stored(id).len(), 2);
    // Another id, another caller, another body, no id at all: other calls.
    let signed = "AWS4-HMAC-SHA256 Credential=AKIA1/20260102/eu-west-1/firehose/aws4_request, SignedHeaders=host, Signature=0";
    api.send_with("PutRecordBatch", body.clone(), &[(ID, "call-2")]).await;
    api.send_with("PutRecordBatch", body.clone(), &[(ID, "call-1"), ("authorization", signed)]).await;
    api.send_with("PutRecordBatch", batch("s", &[data("a"), data("c")]).to_string(), &[(ID, "call-1")]).await;
    api.send_with("PutRecordBatch", body.clone(), &[(ID, "")]).await;
    api.send_with("PutRecordBatch", body.clone(), &[(ID, "")]).await;
    api.send("PutRecordBatch", body).await;
    assert_eq!(api.stored(id).len(), 14);
    let one = json!({"DeliveryStreamName": "s", "Record": data("a")}).to_string();
    for _ in 0..3 {
        api.send_with("PutRecord", one.clone(), &[(ID, "call-1")]).await;
    }
    assert_eq!(api.stored(id).len(), 15, "PutRecord is another operation, and recognised as well");
}

#[tokio::test]
async fn retries_that_run_beside_the_first_attempt_are_stored_once() {
    let (api, id) = Api::with_stream("s").await;
    let body = batch("s", &[data("a"), data("b")]).to_string();
    let attempts = (0..16).map(|_| api.send_with("PutRecordBatch", body.clone(), &[(ID, "call")]));
    let answers = futures_util::future::join_all(attempts).await;
    let first = record_ids(&answers[0]);
    assert!(answers.iter().all(|answer| record_ids(answer) == first));
    assert_eq!(api.stored(id).len(), 2);
}

#[tokio::test]
async fn a_stream_that_does_not_exist_is_not_found() {
    let api = Api::start().await;
    let message = format!("Firehose nobody under account {ACCOUNT} not found.");
    let one = json!({"DeliveryStreamName": "nobody", "Record": data("a")});
    api.call("PutRecord", &one).await.is_error(400, "ResourceNotFoundException", &message);
    api.call("PutRecordBatch", &batch("nobody", &[data("a")])).await.is_error(
        400,
        "ResourceNotFoundException",
        &message,
    );
}

#[tokio::test]
async fn a_stream_made_through_another_node_takes_records_at_once() {
    let (api, first) = Api::with_stream("s").await;
    let destination = api.streams.by_id(first).unwrap().destination.clone();
    let other_node = open_metastore(&api.metastore_path()).await;
    let now = hydrant_types::Clock::now(&api.clock);
    other_node
        .create_stream(
            &hydrant_metastore::NewStream::new("theirs".parse().unwrap(), destination.clone()),
            now,
        )
        .await
        .unwrap();
    record_ids(&api.call("PutRecordBatch", &batch("theirs", &[data("a")])).await);
}

#[tokio::test]
async fn a_stream_that_is_being_deleted_takes_no_records() {
    let (api, id) = Api::with_stream("s").await;
    record_ids(&api.call("PutRecordBatch", &batch("s", &[data("a")])).await);
    let deleted = api.call("DeleteDeliveryStream", &json!({"DeliveryStreamName": "s"})).await;
    assert_eq!((deleted.status, deleted.text()), (200, "{}"));
    let message = format!("Firehose s is not active in {ACCOUNT} account.");
    let one = json!({"DeliveryStreamName": "s", "Record": data("b")});
    api.call("PutRecord", &one).await.is_error(400, "ResourceNotFoundException", &message);
    api.call("PutRecordBatch", &batch("s", &[data("b")])).await.is_error(
        400,
        "ResourceNotFoundException",
        &message,
    );
    assert_eq!(api.stored(id), [b"a"]);
}

#[tokio::test]
async fn a_full_log_refuses_calls_whole_with_503_and_keeps_what_it_has() {
    let api = Api::start_with(Options { log_bytes_max: 16 << 20, ..Options::default() }).await;
    let id = api.create("s").await;
    let call = batch("s", &vec![data(vec![7; 900_000]); 2]);
    let mut taken = 0;
    let refused = loop {
        let answer = api.call("PutRecordBatch", &call).await;
        if answer.status != 200 {
            break answer;
        }
        taken += 2;
        assert!(taken < 20, "a log of 16 MiB holds no 18 MB");
    };
    refused.is_error(503, "ServiceUnavailableException", "Slow down.");
    assert_eq!(api.stored(id).len(), taken);
    assert_eq!(api.metric("hydrant_throttled_records_total{stream=\"s\"}"), 2.0);
}

#[tokio::test]
async fn a_call_beyond_a_quota_is_refused_whole_with_503() {
    let mut options = Options::default();
    options.settings.ingest.quotas.records_per_sec = std::num::NonZeroU32::new(500);
    let api = Api::start_with(options).await;
    let id = api.create("s").await;
    record_ids(&api.call("PutRecordBatch", &batch("s", &vec![data("x"); 400])).await);
    let refused = api.call("PutRecordBatch", &batch("s", &vec![data("x"); 200])).await;
    refused.is_error(503, "ServiceUnavailableException", "Slow down.");
    assert_eq!(api.stored(id).len(), 400);
}

#[tokio::test]
async fn a_panic_is_answered_with_500_and_the_server_goes_on() {
    let wrap: fn(Arc<FileLog>) -> Arc<dyn RecordLog> = |log| {
        Arc::new(HookedLog::new(log).before_append(|append| assert_ne!(append.payload.data(), b"panic")))
    };
    let api = Api::start_with(Options { wrap, ..Options::default() }).await;
    let id = api.create("s").await;
    let refused = api.call("PutRecord", &json!({"DeliveryStreamName": "s", "Record": data("panic")})).await;
    refused.is_error(500, "InternalFailure", "The request failed; the service's log says why.");
    record_ids(&api.call("PutRecordBatch", &batch("s", &[data("a")])).await);
    assert_eq!(api.stored(id), [b"a"]);
    assert_eq!(api.metric("hydrant_in_flight_bytes"), 0.0);
    let counted = "hydrant_api_requests_total{code=\"InternalFailure\",operation=\"PutRecord\"}";
    assert_eq!(api.metric(counted), 1.0);
}
