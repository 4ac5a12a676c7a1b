//! The AWS SDK for Rust as a producer: does it read our answers as it reads Firehose's?

use aws_sdk_firehose::{
    Client,
    config::{BehaviorVersion, Credentials, Region, retry::RetryConfig},
    error::ProvideErrorMetadata,
    primitives::Blob,
    types::{DeliveryStreamStatus, ExtendedS3DestinationConfiguration, Record},
};

use crate::support::{ACCOUNT, Api, Options, ROLE};

fn client(api: &Api, attempts: u32) -> Client {
    let config = aws_sdk_firehose::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .credentials_provider(Credentials::new("producer", "secret", None, None, "test"))
        .region(Region::from_static("eu-west-1"))
        .retry_config(RetryConfig::standard().with_max_attempts(attempts))
        .endpoint_url(format!("http://{}", api.address))
        .build();
    Client::from_conf(config)
}

fn record(text: &str) -> Record {
    Record::builder().data(Blob::new(text)).build().unwrap()
}

#[tokio::test]
async fn the_sdk_creates_describes_puts_lists_and_deletes() {
    let api = Api::start().await;
    let client = client(&api, 1);
    let destination = ExtendedS3DestinationConfiguration::builder()
        .role_arn(ROLE)
        .bucket_arn("arn:aws:s3:::demo")
        .build()
        .unwrap();
    let created = client
        .create_delivery_stream()
        .delivery_stream_name("orders")
        .extended_s3_destination_configuration(destination)
        .send()
        .await
        .unwrap();
    let arn = format!("arn:aws:firehose:eu-west-1:{ACCOUNT}:deliverystream/orders");
    assert_eq!(created.delivery_stream_arn(), Some(arn.as_str()));
    let described =
        client.describe_delivery_stream().delivery_stream_name("orders").limit(1).send().await.unwrap();
    let described = described.delivery_stream_description().unwrap();
    assert_eq!(described.delivery_stream_status(), &DeliveryStreamStatus::Active);
    assert_eq!((described.delivery_stream_name(), described.version_id()), ("orders", "1"));
    assert_eq!(described.create_timestamp().unwrap().secs(), 1_767_323_045);
    let put = client.put_record().delivery_stream_name("orders").record(record("a")).send().await.unwrap();
    assert_eq!((put.record_id().len(), put.encrypted()), (50, Some(false)));
    let records = Some(vec![record("b"), record("c")]);
    let put =
        client.put_record_batch().delivery_stream_name("orders").set_records(records).send().await.unwrap();
    assert_eq!((put.failed_put_count(), put.request_responses().len()), (0, 2));
    let id = api.streams.get("orders").unwrap().id;
    assert_eq!(api.stored(id), [b"a", b"b", b"c"]);
    let listed = client.list_delivery_streams().send().await.unwrap();
    assert_eq!(
        (listed.delivery_stream_names(), listed.has_more_delivery_streams()),
        (&["orders".to_owned()][..], false)
    );
    client.delete_delivery_stream().delivery_stream_name("orders").send().await.unwrap();
}

#[tokio::test]
async fn the_sdk_knows_our_errors() {
    let api = Api::start().await;
    let client = client(&api, 1);
    let error =
        client.put_record().delivery_stream_name("nobody").record(record("a")).send().await.unwrap_err();
    assert!(error.raw_response().unwrap().headers().get("x-amzn-requestid").is_some());
    let error = error.into_service_error();
    assert!(error.is_resource_not_found_exception());
    assert_eq!(error.message(), Some(format!("Firehose nobody under account {ACCOUNT} not found.").as_str()));
    let error = client
        .update_destination()
        .delivery_stream_name("s")
        .current_delivery_stream_version_id("1")
        .destination_id("d")
        .send()
        .await
        .unwrap_err();
    assert_eq!(error.into_service_error().code(), Some("UnknownOperationException"));
}

#[tokio::test]
async fn the_sdk_retries_what_is_refused_with_503_by_itself() {
    let mut options = Options::default();
    options.settings.ingest.quotas.calls_per_sec = std::num::NonZeroU32::new(1);
    let api = Api::start_with(options).await;
    let id = api.create("s").await;
    let client = client(&api, 4);
    let put = || client.put_record().delivery_stream_name("s").record(record("a")).send();
    put().await.unwrap();
    // Refused until the clock, which stands still, goes on.
    let clock = api.clock.clone();
    let (put, ()) = tokio::join!(put(), async {
        let refused = "hydrant_throttled_records_total{stream=\"s\"}";
        hydrant_testkit::eventually("a call is refused", crate::support::PATIENCE, async || {
            (api.metric(refused) >= 1.0).then_some(())
        })
        .await;
        clock.advance(std::time::Duration::from_secs(2));
    });
    put.unwrap();
    assert_eq!(api.stored(id), [b"a", b"a"]);
}
