//! What operators see of requests.

use std::{collections::BTreeSet, time::Duration};

use http::{Method, Request};
use http_body_util::Full;
use tokio::io::AsyncWriteExt;

use crate::support::{Api, PATIENCE, batch, data, exchange};

const REQUESTS: &str = "hydrant_api_requests_total";

fn answered(api: &Api, operation: &str, code: &str) -> f64 {
    api.metric(&format!("{REQUESTS}{{code=\"{code}\",operation=\"{operation}\"}}"))
}

#[tokio::test]
async fn requests_are_counted_by_operation_and_outcome_which_all_exist_from_the_start() {
    let api = Api::start().await;
    api.send("ListDeliveryStreams", "{}").await;
    assert_eq!(answered(&api, "ListDeliveryStreams", "InternalFailure"), 0.0);
    assert_eq!(answered(&api, "DeleteDeliveryStream", "ok"), 0.0);
    api.send("ListDeliveryStreams", "[").await;
    assert_eq!(answered(&api, "ListDeliveryStreams", "ok"), 1.0);
    assert_eq!(answered(&api, "ListDeliveryStreams", "SerializationException"), 1.0);
    assert_eq!(api.metric("hydrant_request_seconds_count{operation=\"ListDeliveryStreams\"}"), 2.0);
    assert_eq!(api.metric("hydrant_request_seconds_count{operation=\"PutRecord\"}"), 0.0);
}

#[tokio::test]
async fn whatever_names_no_operation_of_ours_is_counted_as_unknown() {
    let api = Api::start().await;
    api.send("TagStream", "{}").await;
    api.send("putrecord", "{}").await;
    let get = Request::builder().method(Method::GET).uri("/").body(Full::default()).unwrap();
    api.request(get).await;
    assert_eq!(answered(&api, "unknown", "UnknownOperationException"), 3.0);
    assert_eq!(api.metric("hydrant_request_seconds_count{operation=\"unknown\"}"), 3.0);
}

#[tokio::test]
async fn a_requests_time_includes_the_way_of_its_body() {
    let (api, _) = Api::with_stream("s").await;
    let body = batch("s", &[data("a")]).to_string();
    let head =
        api.put_head("PutRecordBatch", &format!("content-length: {}\r\nconnection: close\r\n", body.len()));
    let mut stream = api.connect().await;
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&body.as_bytes()[..10]).await.unwrap();
    hydrant_testkit::eventually("the body is held", PATIENCE, async || {
        (api.metric("hydrant_in_flight_bytes") == 10.0).then_some(())
    })
    .await;
    // The clock stands still otherwise.
    api.clock.advance(Duration::from_secs(3));
    let answer = exchange(&mut stream, &body.as_bytes()[10..]).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(api.metric("hydrant_request_seconds_sum{operation=\"PutRecordBatch\"}"), 3.0);
}

#[tokio::test]
async fn the_reference_lists_exactly_the_names_of_api_ingest_and_log() {
    let (api, _) = Api::with_stream("s").await;
    api.call("PutRecordBatch", &batch("s", &[data("a")])).await;
    let families = api.registry.gather();
    let shown: BTreeSet<&str> = families.iter().map(|family| family.name()).collect();
    let reference = include_str!("../../../../docs/metrics.md");
    let sections = reference.split("\n## ").filter(|section| {
        ["Requests\n", "Incoming records\n", "Record log\n"].iter().any(|title| section.starts_with(title))
    });
    let names = |section: &'static str| {
        section.lines().filter_map(|line| line.strip_prefix("| `")?.split(['`', '{']).next())
    };
    assert_eq!(sections.flat_map(names).collect::<BTreeSet<_>>(), shown);
}
