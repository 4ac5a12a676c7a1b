//! What is bounded stays so: the record log's disk, and memory, however long S3 is away.

use futures_util::{StreamExt, stream};
use hydrant_e2e::{PATIENCE, Site, expect_once};
use hydrant_testkit::{Fault, eventually};

/// Of one record; a hundred are just below the 4 MiB of a call.
const RECORD_BYTES: usize = 40_000;
const RECORDS_A_CALL: u64 = 100;

fn call(at: u64) -> Vec<u64> {
    (at * RECORDS_A_CALL..(at + 1) * RECORDS_A_CALL).collect()
}

#[tokio::test]
async fn a_full_log_answers_503_loses_nothing_and_takes_records_again_without_a_restart() {
    let mut site = Site::new().await;
    site.log_bytes_max = "256MiB";
    let service = site.serve().await;
    let producer = service.producer_without_retries().padded(RECORD_BYTES);
    producer.create_s3_stream("orders").await;
    site.s3_proxy.inject(Fault::Refuse);
    let mut calls = 0;
    let refusal = loop {
        match producer.put_call("orders", &call(calls)).await {
            Ok(answer) => assert_eq!(answer.failed_put_count(), 0),
            Err(refusal) => break refusal,
        }
        calls += 1;
        assert!(calls < 70, "more than log.bytes_max is in the log");
    };
    assert!(calls > 40, "{calls} calls are much less than log.bytes_max");
    assert_eq!(refusal.raw_response().map(|answer| answer.status().as_u16()), Some(503));
    let said = refusal.into_service_error();
    assert!(said.is_service_unavailable_exception(), "{said:?}");
    assert!(!producer.try_put("orders", &call(calls)).await, "it is as full as before");

    site.s3_proxy.heal();
    eventually("records are taken again", PATIENCE, async || {
        producer.try_put("orders", &call(calls)).await.then_some(())
    })
    .await;
    let acknowledged: Vec<u64> = (0..=calls).flat_map(call).collect();
    service.wait_until_uploaded("orders", acknowledged.len()).await;
    expect_once(&site.in_s3("orders/").await, &acknowledged, "S3");
    service.stop().await;
}

#[tokio::test]
async fn memory_is_flat_while_s3_is_away_and_while_what_piled_up_is_uploaded() {
    const RSS_BYTES_MAX: u64 = 300_000_000;
    let site = Site::new().await;
    let service = site.serve().await;
    let producer = service.producer().padded(RECORD_BYTES);
    producer.create_s3_stream("orders").await;
    site.s3_proxy.inject(Fault::Refuse);
    let all = stream::iter(0..100).for_each_concurrent(4, async |at| {
        assert!(producer.try_put("orders", &call(at)).await, "call {at} is acknowledged");
    });
    all.await;
    let peak = service.process.rss_bytes_peak();
    assert!(peak < RSS_BYTES_MAX, "{peak} bytes while S3 was away");

    site.s3_proxy.heal();
    let acknowledged: Vec<u64> = (0..100).flat_map(call).collect();
    service.wait_until_uploaded("orders", acknowledged.len()).await;
    let peak = service.process.rss_bytes_peak();
    assert!(peak < RSS_BYTES_MAX, "{peak} bytes while it was uploaded");
    expect_once(&site.in_s3("orders/").await, &acknowledged, "S3");
    service.stop().await;
}
