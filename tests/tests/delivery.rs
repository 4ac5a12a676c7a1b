//! The main job: what is put arrives once, in S3 and in the table, and can be followed there.

use aws_sdk_firehose::types::{CompressionFormat, ExtendedS3DestinationConfiguration};
use hydrant_e2e::{BUCKET, ROLE, Site};

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
async fn an_objects_key_has_expressions_a_zone_and_an_extension() {
    let site = Site::new().await;
    let service = site.serve().await;
    let producer = service.producer();
    let destination = ExtendedS3DestinationConfiguration::builder()
        .role_arn(ROLE)
        .bucket_arn(format!("arn:aws:s3:::{BUCKET}"))
        .prefix("by-hour/!{timestamp:yyyy-MM-dd'T'HH}/!{firehose:random-string}/!{timestamp:mm}/")
        .error_output_prefix("errors/!{firehose:error-output-type}/")
        .custom_time_zone("Asia/Kathmandu")
        .file_extension(".jsonl.gz")
        .compression_format(CompressionFormat::Gzip)
        .build()
        .unwrap();
    let create = producer.client().create_delivery_stream().delivery_stream_name("orders");
    create.extended_s3_destination_configuration(destination).send().await.unwrap();
    let before = std::time::SystemTime::now();
    producer.put("orders", [1, 2]).await;
    site.expect_in_s3("by-hour/", &[1, 2]).await;
    let keys = site.keys("").await;
    let uuid = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}";
    let form = format!(
        r"^by-hour/(\d{{4}}-\d\d-\d\d)T(\d\d)/[0-9a-f]{{8}}-[0-9a-f]{{2}}/(\d\d)/orders-1-(\d{{4}}-\d\d-\d\d)-(\d\d)-(\d\d)-\d\d-{uuid}\.jsonl\.gz$"
    );
    let form = regex::Regex::new(&form).unwrap();
    for key in keys {
        let parts = form.captures(&key).unwrap_or_else(|| panic!("{key}"));
        assert_eq!(
            (&parts[1], &parts[2], &parts[3]),
            (&parts[4], &parts[5], &parts[6]),
            "one instant: {key}"
        );
        // Nepal is 5 hours and 45 minutes ahead of UTC.
        let minute = |time: std::time::SystemTime| {
            (time.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() / 60 + 345) % 1440
        };
        let told = parts[5].parse::<u64>().unwrap() * 60 + parts[6].parse::<u64>().unwrap();
        let since = (told + 1440 - minute(before)) % 1440;
        assert!(since <= 2, "{since} minutes after the put: {key}");
    }
    let described = producer.client().describe_delivery_stream().delivery_stream_name("orders").send().await;
    let described = described.unwrap().delivery_stream_description.unwrap();
    let shown = described.destinations()[0].extended_s3_destination_description().unwrap();
    assert_eq!(
        (shown.custom_time_zone(), shown.file_extension()),
        (Some("Asia/Kathmandu"), Some(".jsonl.gz"))
    );
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
async fn a_deletion_that_is_forced_discards_nothing() {
    let site = Site::new().await;
    let service = site.serve().await;
    let producer = service.producer();
    producer.create_s3_stream("orders").await;
    site.s3_proxy.inject(hydrant_testkit::Fault::Refuse);
    let numbers: Vec<u64> = (0..500).collect();
    producer.put("orders", numbers.clone()).await;
    let delete = producer.client().delete_delivery_stream().delivery_stream_name("orders");
    delete.allow_force_delete(true).send().await.unwrap();
    assert!(!producer.try_put("orders", &[900]).await, "puts are refused from then on");
    site.s3_proxy.heal();
    site.expect_in_s3("orders/", &numbers).await;
    service.stop().await;
}

#[tokio::test]
async fn metrics_mirror_cloudwatchs_names() {
    let site = Site::new().await;
    let service = site.serve().await;
    let producer = service.producer();
    producer.create_redshift_stream("orders", "events", 3600).await;
    producer.put("orders", 0..100).await;
    site.expect_in_table(&(0..100).collect::<Vec<_>>()).await;
    service.wait_for_metric("hydrant_delivery_to_redshift_records_total{stream=\"orders\"} 100\n").await;
    let key = &site.keys("orders/2").await[0];
    let bytes = site.object(key).await.len();
    let metrics = service.metrics().await;
    for (name, line) in [
        ("IncomingRecords", "hydrant_incoming_records_total{stream=\"orders\"} 100"),
        ("IncomingBytes", &format!("hydrant_incoming_bytes_total{{stream=\"orders\"}} {bytes}")),
        ("IncomingPutRequests", "hydrant_incoming_put_requests_total{stream=\"orders\"} 1"),
        ("ThrottledRecords", "hydrant_throttled_records_total{stream=\"orders\"} 0"),
        ("PutRecordBatch.Latency", "hydrant_request_seconds_count{operation=\"PutRecordBatch\"} 1"),
        ("DeliveryToS3.Records", "hydrant_delivery_to_s3_records_total{stream=\"orders\"} 100"),
        ("DeliveryToS3.Bytes", &format!("hydrant_delivery_to_s3_bytes_total{{stream=\"orders\"}} {bytes}")),
        ("DeliveryToS3.ObjectCount", "hydrant_delivery_to_s3_objects_total{stream=\"orders\"} 1"),
        ("DeliveryToS3.Success", "hydrant_delivery_to_s3_attempts_total{outcome=\"ok\",stream=\"orders\"} 1"),
        ("DeliveryToRedshift.Records", "hydrant_delivery_to_redshift_records_total{stream=\"orders\"} 100"),
        (
            "DeliveryToRedshift.Bytes",
            &format!("hydrant_delivery_to_redshift_bytes_total{{stream=\"orders\"}} {bytes}"),
        ),
        (
            "DeliveryToRedshift.Success",
            "hydrant_delivery_to_redshift_attempts_total{outcome=\"ok\",stream=\"orders\"} 1",
        ),
    ] {
        assert!(metrics.lines().any(|shown| shown == line), "{name}: {line} in {metrics}");
    }

    // DeliveryToS3.DataFreshness is the age of what waits: first nothing does.
    hydrant_testkit::eventually("nothing is shown as waiting", hydrant_e2e::PATIENCE, async || {
        let metrics = service.metrics().await;
        let is_idle = metrics.contains("hydrant_oldest_undelivered_age_seconds 0\n");
        (is_idle && !metrics.contains("data_freshness_seconds{")).then_some(())
    })
    .await;
    site.s3_proxy.inject(hydrant_testkit::Fault::Refuse);
    producer.put("orders", [100]).await;
    service.wait_for_metric("hydrant_delivery_to_s3_data_freshness_seconds{stream=\"orders\"} ").await;
    site.s3_proxy.heal();
    site.expect_in_table(&(0..101).collect::<Vec<_>>()).await;
    service.stop().await;
}

#[tokio::test]
async fn serve_on_sqlite_delivers_and_goes_on_after_a_restart() {
    let mut site = Site::new().await;
    site.metastore_url = format!("sqlite://{}", site.dir.path().join("hydrant.db").display());
    let service = site.serve().await;
    let producer = service.producer();
    producer.create_redshift_stream("orders", "events", 3600).await;
    producer.put("orders", 0..1_000).await;
    site.expect_in_table(&(0..1_000).collect::<Vec<_>>()).await;
    site.s3_proxy.inject(hydrant_testkit::Fault::Refuse);
    producer.put("orders", 1_000..2_000).await;
    service.stop().await;

    site.s3_proxy.heal();
    let service = site.serve().await;
    service.producer().put("orders", 2_000..3_000).await;
    site.expect_in_table(&(0..3_000).collect::<Vec<_>>()).await;
    let (code, text) = site.run(&["delivery", "list", "--state", "committed"]).await;
    assert!(code == 0 && text.contains("events"), "{text}");
    service.stop().await;
}
