//! Admission against a real record log and a real metastore.
#![allow(clippy::unwrap_used, reason = "helpers of tests, which the lint does not know as such")]

mod support;

use std::{
    num::{NonZeroU32, NonZeroU64},
    time::Duration,
};

use futures_util::FutureExt;
use hydrant_ingest::{Error, Quotas, Settings};
use hydrant_log::{CallKey, RecordLog};
use hydrant_types::{Position, StreamStatus};
use support::{Site, create, open_sqlite, payload};

/// Every record of a stream.
fn stored(node: &support::Node, stream: hydrant_types::StreamId) -> Vec<Vec<u8>> {
    let Some(tail) = node.log.tail(stream) else { return Vec::new() };
    let mut records = Vec::new();
    let mut at = tail.trimmed;
    while at < tail.next {
        let chunk = node.log.read(stream, at, 1 << 20).unwrap();
        records.extend(chunk.records().map(|(_, _, record)| record.to_vec()));
        at = chunk.next().expect("what is durable can be read");
    }
    records
}

#[tokio::test]
async fn records_are_stored_in_the_calls_order_and_answered_with_their_positions() {
    let site = Site::new().await;
    let id = site.create("orders").await.id;
    let node = site.node(Settings::default()).await;
    let stream = node.ingest.stream("orders").await.unwrap();
    let first = node.ingest.put(&stream, payload(&[b"a", b"", b"ccc"]), None).await.unwrap();
    let second = node.ingest.put(&stream, payload(&[b"d"]), None).await.unwrap();
    assert_eq!((first.first, first.records, first.duplicate), (Position(0), 3, false));
    assert_eq!((second.first, second.records), (Position(3), 1));
    assert_eq!(stored(&node, id), [&b"a"[..], b"", b"ccc", b"d"]);
    assert_eq!(node.metric("hydrant_incoming_records_total{stream=\"orders\"}"), Some(4.0));
    assert_eq!(node.metric("hydrant_incoming_bytes_total{stream=\"orders\"}"), Some(5.0));
    assert_eq!(node.metric("hydrant_incoming_put_requests_total{stream=\"orders\"}"), Some(2.0));
}

#[tokio::test]
async fn a_retried_call_gets_the_first_answer_and_is_stored_and_counted_once() {
    let site = Site::new().await;
    let id = site.create("orders").await.id;
    let node = site.node(Settings::default()).await;
    let stream = node.ingest.stream("orders").await.unwrap();
    let call = Some(CallKey::of(b"call"));
    let first = node.ingest.put(&stream, payload(&[b"a", b"b"]), call).await.unwrap();
    let again = node.ingest.put(&stream, payload(&[b"a", b"b"]), call).await.unwrap();
    assert_eq!((again.first, again.records, again.duplicate), (first.first, 2, true));
    let other_body = node.ingest.put(&stream, payload(&[b"x"]), call).await.unwrap();
    assert!(!other_body.duplicate, "the same id with another body is another call");
    assert_eq!(stored(&node, id), [b"a", b"b", b"x"]);
    assert_eq!(node.metric("hydrant_incoming_records_total{stream=\"orders\"}"), Some(3.0));
}

#[tokio::test]
async fn a_call_whose_caller_went_away_is_stored_at_most_once_however_often_it_is_retried() {
    let site = Site::new().await;
    let id = site.create("orders").await.id;
    let node = site.node(Settings::default()).await;
    let stream = node.ingest.stream("orders").await.unwrap();
    let call = Some(CallKey::of(b"call"));
    for _ in 0..3 {
        // Polled once, so that it is on its way to the writer, and dropped.
        assert!(node.ingest.put(&stream, payload(&[b"a"]), call).now_or_never().is_none());
    }
    let answered = node.ingest.put(&stream, payload(&[b"a"]), call).await.unwrap();
    assert_eq!((answered.first, answered.duplicate), (Position(0), true));
    assert_eq!(stored(&node, id), [b"a"]);
}

#[tokio::test]
async fn a_stream_made_through_another_node_is_found_at_the_first_put() {
    let site = Site::new().await;
    let node = site.node(Settings::default()).await;
    assert!(matches!(node.ingest.stream("orders").await, Err(Error::NotFound(name)) if name == "orders"));
    let other_node = open_sqlite(&site.dir.path().join("hydrant.db")).await;
    create(other_node.as_ref(), "orders").await;
    assert_eq!(node.ingest.stream("orders").await.unwrap().name.as_str(), "orders");
}

#[tokio::test]
async fn a_name_that_no_stream_can_have_is_not_found() {
    let site = Site::new().await;
    let node = site.node(Settings::default()).await;
    assert!(matches!(node.ingest.stream("no such/name").await, Err(Error::NotFound(_))));
}

#[tokio::test]
async fn a_stream_that_is_being_deleted_takes_no_records_and_can_still_be_found() {
    let site = Site::new().await;
    let id = site.create("orders").await.id;
    let node = site.node(Settings::default()).await;
    let stale = node.ingest.stream("orders").await.unwrap();
    site.metastore.mark_deleting(id, hydrant_types::Clock::now(&site.clock)).await.unwrap();
    node.streams.refresh().await.unwrap();
    assert!(matches!(node.ingest.stream("orders").await, Err(Error::NotActive(_))));
    assert_eq!(node.ingest.find("orders").await.unwrap().status, StreamStatus::Deleting);
    // A put that found the stream before it was closed is refused by the log.
    node.log.close_stream(id).await.unwrap();
    assert!(matches!(node.ingest.put(&stale, payload(&[b"a"]), None).await, Err(Error::NotActive(_))));
    assert_eq!(stored(&node, id), Vec::<Vec<u8>>::new());
}

#[tokio::test]
async fn a_call_beyond_a_quota_is_refused_whole_and_counted_and_admitted_as_time_passes() {
    let site = Site::new().await;
    let ids = [site.create("orders").await.id, site.create("others").await.id];
    let quotas = Quotas { records_per_sec: NonZeroU32::new(600), ..Quotas::default() };
    let node = site.node(Settings { quotas, ..Settings::default() }).await;
    let stream = node.ingest.stream("orders").await.unwrap();
    let records: Vec<&[u8]> = vec![b"x"; 500];
    node.ingest.put(&stream, payload(&records), None).await.unwrap();
    let refused = node.ingest.put(&stream, payload(&records), None).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "records cannot be taken now: the stream's quota of records per second is used up"
    );
    assert_eq!(stored(&node, ids[0]).len(), 500);
    assert_eq!(node.metric("hydrant_throttled_records_total{stream=\"orders\"}"), Some(500.0));
    let other = node.ingest.stream("others").await.unwrap();
    node.ingest.put(&other, payload(&records), None).await.expect("each stream has its own quota");
    site.clock.advance(Duration::from_secs(1));
    node.ingest.put(&stream, payload(&records), None).await.unwrap();
    assert_eq!(stored(&node, ids[0]).len(), 1_000);
}

#[tokio::test]
async fn bytes_and_calls_have_quotas_too() {
    let site = Site::new().await;
    site.create("orders").await;
    let quotas = Quotas {
        bytes_per_sec: NonZeroU64::new(1 << 20),
        calls_per_sec: NonZeroU32::new(100),
        ..Quotas::default()
    };
    let node = site.node(Settings { quotas, ..Settings::default() }).await;
    let stream = node.ingest.stream("orders").await.unwrap();
    let large = vec![0; 1_000_000];
    for _ in 0..4 {
        node.ingest.put(&stream, payload(&[&large]), None).await.unwrap();
    }
    let refused = node.ingest.put(&stream, payload(&[&large]), None).await.unwrap_err();
    assert!(refused.to_string().contains("bytes per second"), "{refused}");
    for _ in 0..96 {
        node.ingest.put(&stream, payload(&[b""]), None).await.unwrap();
    }
    let refused = node.ingest.put(&stream, payload(&[b""]), None).await.unwrap_err();
    assert!(refused.to_string().contains("calls per second"), "{refused}");
}

#[tokio::test]
async fn bytes_in_flight_are_bounded_and_given_back() {
    let site = Site::new().await;
    let node = site.node(Settings { bytes_in_flight_max: 1_000, ..Settings::default() }).await;
    let mut one = node.ingest.room();
    let mut two = node.ingest.room();
    one.grow(600).unwrap();
    one.grow(100).unwrap();
    two.grow(300).unwrap();
    assert!(matches!(two.grow(1), Err(Error::Unavailable(_))));
    two.grow(0).expect("nothing more is always there");
    assert_eq!(node.metric("hydrant_in_flight_bytes"), Some(1_000.0));
    drop(one);
    two.grow(700).expect("what was given back can be taken");
    drop(two);
    assert_eq!(node.metric("hydrant_in_flight_bytes"), Some(0.0));
    node.ingest.room().grow(1_000).unwrap();
    assert!(node.ingest.room().grow(1_001).is_err());
}

#[tokio::test]
async fn a_call_that_the_log_cannot_take_is_refused_whole() {
    let site = Site::new().await;
    let id = site.create("orders").await.id;
    let node = site.node_with_log_of(Settings::default(), 16 << 20).await;
    let stream = node.ingest.stream("orders").await.unwrap();
    let record = vec![7; 1_000_000];
    let mut taken = 0;
    let refused = loop {
        match node.ingest.put(&stream, payload(&[&record, &record]), None).await {
            Ok(_) => taken += 2,
            Err(error) => break error,
        }
        assert!(taken < 20, "a log of 16 MiB holds no 20 MB");
    };
    assert!(matches!(&refused, Error::Unavailable(reason) if reason.contains("full")), "{refused}");
    assert_eq!(node.log.tail(id).unwrap().next, Position(taken));
    assert_eq!(node.metric("hydrant_throttled_records_total{stream=\"orders\"}"), Some(2.0));
}

#[tokio::test]
async fn a_log_that_has_ended_refuses() {
    let site = Site::new().await;
    site.create("orders").await;
    let node = site.node(Settings::default()).await;
    let stream = node.ingest.stream("orders").await.unwrap();
    let log = node.log.clone();
    tokio::task::spawn_blocking(move || log.shutdown()).await.unwrap();
    assert!(matches!(node.ingest.put(&stream, payload(&[b"a"]), None).await, Err(Error::Unavailable(_))));
}

#[tokio::test]
async fn the_series_of_a_stream_that_is_gone_are_dropped() {
    let site = Site::new().await;
    let id = site.create("orders").await.id;
    site.create("others").await;
    let node = site.node(Settings::default()).await;
    for name in ["orders", "others"] {
        let stream = node.ingest.stream(name).await.unwrap();
        node.ingest.put(&stream, payload(&[b"a"]), None).await.unwrap();
    }
    let now = hydrant_types::Clock::now(&site.clock);
    site.metastore.mark_deleting(id, now).await.unwrap();
    site.metastore.remove_stream(id, now).await.unwrap();
    node.streams.refresh().await.unwrap();
    node.ingest.forget_gone_streams();
    assert_eq!(node.metric("hydrant_incoming_records_total{stream=\"orders\"}"), None);
    assert_eq!(node.metric("hydrant_put_seconds_count{stream=\"orders\"}"), None);
    assert_eq!(node.metric("hydrant_incoming_records_total{stream=\"others\"}"), Some(1.0));
}
