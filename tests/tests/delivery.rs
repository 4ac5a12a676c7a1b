//! The main job: what is put arrives once, in S3 and in the table, and can be followed there.

use hydrant_e2e::Site;

#[tokio::test]
async fn every_acknowledged_record_arrives_once_in_s3() {
    let site = Site::new().await;
    let service = site.serve().await;
    let producer = service.producer();
    producer.create_s3_stream("orders").await;
    let numbers: Vec<u64> = (0..5_000).collect();
    producer.put("orders", numbers.clone()).await;
    site.expect_in_s3("orders/", &numbers).await;
    service.stop().await;
}

#[tokio::test]
async fn every_acknowledged_record_arrives_once_in_the_table() {
    let site = Site::new().await;
    let service = site.serve().await;
    let producer = service.producer();
    producer.create_redshift_stream("orders", "events", 3600).await;
    let numbers: Vec<u64> = (0..5_000).collect();
    producer.put("orders", numbers.clone()).await;
    site.expect_in_table(&numbers).await;
    assert!(!site.keys("orders/manifests/").await.is_empty(), "there is a manifest");
    site.wait_for_load("committed").await;
    site.wait_for_batch("loaded").await;
    service.stop().await;
}

#[tokio::test]
async fn an_objects_key_is_laid_out_as_firehose_does() {
    let site = Site::new().await;
    let service = site.serve().await;
    let producer = service.producer();
    producer.create_s3_stream("orders").await;
    producer.put("orders", [1]).await;
    site.expect_in_s3("orders/", &[1]).await;
    let keys = site.keys("orders/").await;
    let uuid = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}";
    let form =
        format!(r"^orders/\d{{4}}/\d\d/\d\d/\d\d/orders-1-\d{{4}}-\d\d-\d\d-\d\d-\d\d-\d\d-{uuid}\.gz$");
    assert!(regex::Regex::new(&form).unwrap().is_match(&keys[0]), "{keys:?}");
    service.stop().await;
}

#[tokio::test]
async fn a_record_can_be_followed_by_its_id() {
    let site = Site::new().await;
    let service = site.serve().await;
    let producer = service.producer();
    producer.create_redshift_stream("orders", "events", 3600).await;
    let ids = producer.put("orders", 0..10).await;
    site.expect_in_table(&(0..10).collect::<Vec<_>>()).await;
    site.wait_for_batch("loaded").await;

    let (code, text) = site.run(&["where", &ids[7]]).await;
    assert_eq!(code, 0, "{text}");
    for part in
        ["record 7 of stream orders", "s3://landing/orders/", "state      loaded", "COPY       committed"]
    {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    let (code, text) = site.run(&["delivery", "list"]).await;
    assert!(code == 0 && text.contains("loaded") && text.contains("committed"), "{text}");
    let (code, text) = site.run(&["where", "nonsense"]).await;
    assert!(code == 1 && text.contains("not a RecordId"), "{text}");
    service.stop().await;
}

#[tokio::test]
async fn a_deleted_stream_delivers_what_it_had_acknowledged_and_is_gone() {
    let site = Site::new().await;
    let service = site.serve().await;
    let producer = service.producer();
    producer.create_s3_stream("orders").await;
    let numbers: Vec<u64> = (0..500).collect();
    producer.put("orders", numbers.clone()).await;
    producer.client().delete_delivery_stream().delivery_stream_name("orders").send().await.unwrap();
    assert!(!producer.try_put("orders", &[900]).await, "puts are refused from then on");
    site.expect_in_s3("orders/", &numbers).await;
    hydrant_testkit::eventually("the stream is gone", hydrant_e2e::PATIENCE, async || {
        let listed = producer.client().list_delivery_streams().send().await.unwrap();
        listed.delivery_stream_names().is_empty().then_some(())
    })
    .await;
    // A stream of the same name made later is another stream.
    producer.create_s3_stream("orders").await;
    producer.put("orders", [1_000]).await;
    let all: Vec<u64> = (0..500).chain([1_000]).collect();
    site.expect_in_s3("orders/", &all).await;
    service.stop().await;
}

#[tokio::test]
async fn metrics_mirror_cloudwatchs_names() {
    let site = Site::new().await;
    let service = site.serve().await;
    let producer = service.producer();
    producer.create_s3_stream("orders").await;
    producer.put("orders", 0..100).await;
    site.expect_in_s3("orders/", &(0..100).collect::<Vec<_>>()).await;
    site.wait_for_batch("delivered").await;
    let metrics = service.metrics().await;
    for line in [
        "hydrant_incoming_records_total{stream=\"orders\"} 100",
        "hydrant_delivery_to_s3_records_total{stream=\"orders\"} 100",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    service.stop().await;
}
