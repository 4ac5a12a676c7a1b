//! Streams that cannot be delivered any more are deleted with what is left of them, and it is recorded.

use hydrant_e2e::{PATIENCE, Service, Site, query};
use hydrant_testkit::eventually;
use sqlx::Row;

const MISSING: &str = "no-such-bucket";

async fn delete(site: &Site, service: &Service, arguments: &[&str]) {
    let endpoint = format!("http://{}", service.api);
    let process = site
        .hydrant(&[&["stream", "delete"], arguments, &["--no-sign", "--endpoint-url", &endpoint]].concat());
    let status = process.wait(PATIENCE).await;
    assert!(status.success(), "{arguments:?}: {}{}", process.stdout(), process.stderr());
}

async fn status(service: &Service, stream: &str) -> Option<String> {
    let producer = service.producer();
    let described = producer.client().describe_delivery_stream().delivery_stream_name(stream).send().await;
    match described {
        Ok(answer) => {
            let stream = answer.delivery_stream_description().expect("it is described");
            Some(stream.delivery_stream_status().as_str().to_owned())
        }
        Err(error) => {
            let error = error.into_service_error();
            assert!(error.is_resource_not_found_exception(), "{error}");
            None
        }
    }
}

async fn gone(service: &Service, stream: &str) {
    eventually(&format!("{stream} is gone"), PATIENCE, async || {
        status(service, stream).await.is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_stream_without_its_bucket_is_deleted_with_what_is_left_and_every_record_says_so() {
    let site = Site::new().await;
    let service = site.serve().await;
    let producer = service.producer();
    producer.create_s3_stream_in("now", MISSING).await;
    producer.create_s3_stream_in("later", MISSING).await;
    producer.create_s3_stream("orders").await;
    let ids = producer.put("now", 0..700).await;
    producer.put("later", 0..300).await;
    let numbers: Vec<u64> = (0..500).collect();
    producer.put("orders", numbers.clone()).await;
    eventually("the missing bucket is seen", PATIENCE, async || {
        let (_, text) = site.run(&["delivery", "list", "--stream", "now"]).await;
        text.contains("S3.NoSuchBucket").then_some(())
    })
    .await;

    delete(&site, &service, &["now", "--discard"]).await;
    gone(&service, "now").await;

    // This one was to be delivered first, and never will be.
    delete(&site, &service, &["later"]).await;
    eventually("it is being deleted", PATIENCE, async || {
        (status(&service, "later").await.as_deref() == Some("DELETING")).then_some(())
    })
    .await;
    delete(&site, &service, &["later", "--discard"]).await;
    gone(&service, "later").await;

    let (code, text) = site.run(&["delivery", "list", "--state", "discarded"]).await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("discarded: its stream was deleted with --discard"), "{text}");
    assert!(text.contains("now") && text.contains("later") && !text.contains("orders"), "{text}");
    let rows = query(
        &site.metastore_url,
        "SELECT stream, sum(records)::bigint FROM batches WHERE state = 'discarded' GROUP BY stream ORDER BY stream",
    )
    .await;
    let counts: Vec<(String, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(counts, [("later".to_owned(), 300), ("now".to_owned(), 700)]);
    for id in [&ids[0], &ids[699]] {
        let (code, text) = site.run(&["where", id]).await;
        assert_eq!(code, 0, "{text}");
        assert!(text.contains("discarded: its stream was deleted with --discard"), "{text}");
    }
    service.wait_for_metric("hydrant_delivery_discarded_records_total 1000\n").await;
    let log = service.process.stderr();
    let warnings: Vec<&str> =
        log.lines().filter(|line| line.contains("thrown away as hydrant:on-delete")).collect();
    assert_eq!(warnings.len(), 2, "{log}");
    assert!(warnings[0].contains("700") && warnings[1].contains("300"), "{warnings:?}");

    // Others are delivered as ever, and the name is free again.
    site.expect_in_s3("orders/", &numbers).await;
    producer.create_s3_stream("now").await;
    producer.put("now", 0..10).await;
    site.expect_in_s3("now/", &(0..10).collect::<Vec<_>>()).await;
    service.stop().await;
}
