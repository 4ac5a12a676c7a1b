//! S3, Redshift and Postgres away or refusing: records are accepted, trouble is seen, all arrives when it is over.

use std::time::{Duration, Instant};

use hydrant_e2e::{PATIENCE, Site};
use hydrant_testkit::{Fault, Postgres, eventually};
use tokio::{io::AsyncWriteExt, net::TcpStream};

#[tokio::test]
async fn access_denied_for_a_while_loses_nothing_and_heals_without_a_restart() {
    let site = Site::new().await;
    let service = site.serve().await;
    let producer = service.producer();
    producer.create_s3_stream("orders").await;
    site.s3_proxy.inject(Fault::Status(403));
    let numbers: Vec<u64> = (0..3_000).collect();
    producer.put("orders", numbers.clone()).await;
    eventually("the trouble is seen", PATIENCE, async || {
        let (_, text) = site.run(&["delivery", "list"]).await;
        (text.contains("sealed") && text.contains("S3.AccessDenied")).then_some(())
    })
    .await;
    site.s3_proxy.heal();
    site.expect_in_s3("orders/", &numbers).await;
    service.stop().await;
}

#[tokio::test]
async fn one_streams_missing_bucket_does_not_hold_up_another() {
    let site = Site::new().await;
    let service = site.serve().await;
    let producer = service.producer();
    producer.create_s3_stream_in("stuck", "no-such-bucket").await;
    producer.create_s3_stream("orders").await;
    producer.put("stuck", 0..500).await;
    let numbers: Vec<u64> = (0..2_000).collect();
    producer.put("orders", numbers.clone()).await;
    site.expect_in_s3("orders/", &numbers).await;
    eventually("the missing bucket is seen", PATIENCE, async || {
        let (_, text) = site.run(&["delivery", "list", "--stream", "stuck"]).await;
        text.contains("S3.NoSuchBucket").then_some(())
    })
    .await;
    service.stop().await;
}

#[tokio::test]
async fn what_piled_up_while_s3_was_away_is_cut_by_size_not_by_interval() {
    let site = Site::new().await;
    let service = site.serve().await;
    let producer = service.producer();
    producer.create_s3_stream("orders").await;
    site.s3_proxy.inject(Fault::Refuse);
    // Several intervals of a second pass while nothing can be uploaded.
    let numbers: Vec<u64> = (0..4_000).collect();
    for some in numbers.chunks(500) {
        producer.put("orders", some.to_vec()).await;
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    site.s3_proxy.heal();
    site.expect_in_s3("orders/", &numbers).await;
    let objects = site.keys("orders/").await.len();
    assert!(objects <= 4, "{objects} objects for less than 1 MiB");
    service.stop().await;
}

#[tokio::test]
async fn a_missing_table_parks_the_batches_and_the_stream_goes_on() {
    let site = Site::new().await;
    let service = site.serve().await;
    let producer = service.producer();
    producer.create_redshift_stream("orders", "missing", 0).await;
    producer.put("orders", 0..10).await;
    site.wait_for_load("abandoned").await;
    site.wait_for_batch("parked").await;
    let (_, text) = site.run(&["delivery", "list"]).await;
    assert!(text.contains("Redshift.TableNotFound"), "{text}");
    assert_eq!(site.keys("orders/errors/manifests/").await.len(), 1);
    assert_eq!(site.in_s3("orders/2").await.len(), 10, "the objects stay where they are");

    hydrant_e2e::execute(&site.warehouse_url, "CREATE TABLE missing (id BIGINT, kind VARCHAR(32))").await;
    producer.put("orders", 10..20).await;
    site.wait_for_load("committed").await;
    service.stop().await;
}

#[tokio::test]
async fn a_record_that_is_not_json_parks_its_batch_with_the_reason() {
    let site = Site::new().await;
    let service = site.serve().await;
    let producer = service.producer();
    producer.create_redshift_stream("orders", "events", 0).await;
    let record = aws_sdk_firehose::types::Record::builder()
        .data(aws_sdk_firehose::primitives::Blob::new("this is not JSON\n"))
        .build()
        .unwrap();
    producer.client().put_record().delivery_stream_name("orders").record(record).send().await.unwrap();
    site.wait_for_load("abandoned").await;
    let (_, text) = site.run(&["delivery", "list", "--state", "abandoned"]).await;
    assert!(text.contains("Redshift.DataLoadFailed"), "{text}");
    producer.put("orders", 0..10).await;
    site.expect_in_table(&(0..10).collect::<Vec<_>>()).await;
    service.stop().await;
}

#[tokio::test]
async fn a_warehouse_out_of_reach_does_not_use_up_the_retries() {
    let site = Site::new().await;
    let service = site.serve().await;
    let producer = service.producer();
    producer.create_redshift_stream("orders", "events", 1).await;
    site.data_api_proxy.inject(Fault::Refuse);
    producer.put("orders", 0..100).await;
    site.wait_for_load("planned").await;
    // Longer than the stream's RetryOptions allow.
    tokio::time::sleep(Duration::from_secs(3)).await;
    site.data_api_proxy.heal();
    site.expect_in_table(&(0..100).collect::<Vec<_>>()).await;
    service.stop().await;
}

#[tokio::test]
async fn a_metastore_away_while_running_holds_up_delivery_only() {
    let postgres = Postgres::start().await;
    let mut site = Site::new().await;
    site.metastore_url = postgres.database().await;
    let service = site.serve().await;
    let producer = service.producer();
    producer.create_s3_stream("orders").await;
    producer.put("orders", 0..100).await;
    site.expect_in_s3("orders/", &(0..100).collect::<Vec<_>>()).await;
    postgres.crash().await;
    let numbers: Vec<u64> = (0..1_000).collect();
    producer.put("orders", 100..1_000).await;
    postgres.restart().await;
    site.expect_in_s3("orders/", &numbers).await;
    service.stop().await;
}

#[tokio::test]
async fn a_metastore_away_at_a_later_start_still_lets_records_in() {
    let postgres = Postgres::start().await;
    let mut site = Site::new().await;
    site.metastore_url = postgres.database().await;
    let service = site.serve().await;
    service.producer().create_s3_stream("orders").await;
    service.stop().await;

    postgres.crash().await;
    let service = site.start_serve();
    service.wait_until_ready().await;
    service.producer().put("orders", 0..500).await;
    postgres.restart().await;
    site.expect_in_s3("orders/", &(0..500).collect::<Vec<_>>()).await;
    service.stop().await;
}

#[tokio::test]
async fn a_metastore_that_says_nothing_at_a_later_start_holds_up_neither_records_nor_a_stop() {
    let postgres = Postgres::start().await;
    let mut site = Site::new().await;
    site.metastore_url = postgres.database().await;
    let service = site.serve().await;
    service.producer().create_s3_stream("orders").await;
    service.stop().await;

    // Connections are made, as the kernel does that, and then there is silence.
    postgres.pause();
    for numbers in [0..500, 500..1_000] {
        let begun = Instant::now();
        let service = site.start_serve();
        service.wait_until_ready().await;
        service.producer().put("orders", numbers).await;
        assert!(begun.elapsed() < Duration::from_secs(10), "records were taken after {:?}", begun.elapsed());
        service.stop().await;
    }
    let service = site.start_serve();
    service.wait_until_ready().await;
    postgres.resume();
    site.expect_in_s3("orders/", &(0..1_000).collect::<Vec<_>>()).await;
    service.stop().await;
}

#[tokio::test]
async fn neither_a_silent_s3_nor_a_client_in_the_middle_of_its_call_holds_up_a_stop() {
    let site = Site::new().await;
    let service = site.serve().await;
    let producer = service.producer();
    producer.create_s3_stream("orders").await;
    site.s3_proxy.inject(Fault::Stall);
    let numbers: Vec<u64> = (0..2_000).collect();
    producer.put("orders", numbers.clone()).await;
    site.wait_for_batch("sealed").await;
    eventually("an upload is under way", PATIENCE, async || (site.s3_proxy.faults() > 0).then_some(())).await;
    let mut half_sent = TcpStream::connect(&service.api).await.unwrap();
    let half = "POST / HTTP/1.1\r\nhost: here\r\nx-amz-target: Firehose_20150804.PutRecord\r\n\
                content-type: application/x-amz-json-1.1\r\ncontent-length: 1000\r\n\r\n\
                {\"DeliveryStreamName\":\"orders\",\"Record\":";
    half_sent.write_all(half.as_bytes()).await.unwrap();
    eventually("the call's first half is there", PATIENCE, async || {
        (!service.metrics().await.contains("hydrant_in_flight_bytes 0\n")).then_some(())
    })
    .await;
    service.stop().await;
    drop(half_sent);

    site.s3_proxy.heal();
    let service = site.serve().await;
    site.expect_in_s3("orders/", &numbers).await;
    service.stop().await;
}
