//! The AWS SDK for Rust as a producer: does it read our answers as it reads Firehose's?

use aws_sdk_firehose::{
    Client,
    config::{BehaviorVersion, Credentials, Region, retry::RetryConfig},
    error::ProvideErrorMetadata,
    operation::start_delivery_stream_encryption::StartDeliveryStreamEncryptionError,
    primitives::Blob,
    types::{
        BufferingHints, DeliveryStreamDescription, DeliveryStreamEncryptionConfigurationInput,
        DeliveryStreamEncryptionStatus, DeliveryStreamStatus, ExtendedS3DestinationConfiguration,
        ExtendedS3DestinationUpdate, KeyType, Record, Tag,
    },
};

use crate::support::{ACCOUNT, Api, KEY, Options, ROLE};

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
}

async fn create(client: &Client, name: &str) {
    let destination = ExtendedS3DestinationConfiguration::builder()
        .role_arn(ROLE)
        .bucket_arn("arn:aws:s3:::demo")
        .build()
        .unwrap();
    let created = client.create_delivery_stream().delivery_stream_name(name);
    created.extended_s3_destination_configuration(destination).send().await.unwrap();
}

async fn describe(client: &Client, name: &str) -> DeliveryStreamDescription {
    let described = client.describe_delivery_stream().delivery_stream_name(name).send().await.unwrap();
    described.delivery_stream_description().unwrap().clone()
}

#[tokio::test]
async fn the_sdk_updates_a_destination_and_knows_that_it_came_late() {
    let api = Api::start().await;
    let client = client(&api, 1);
    create(&client, "orders").await;
    let before = describe(&client, "orders").await;
    let update = || {
        let hints = BufferingHints::builder().size_in_mbs(1).interval_in_seconds(10).build();
        let change = ExtendedS3DestinationUpdate::builder().prefix("orders/").buffering_hints(hints).build();
        client
            .update_destination()
            .delivery_stream_name("orders")
            .current_delivery_stream_version_id(before.version_id())
            .destination_id(before.destinations()[0].destination_id())
            .extended_s3_destination_update(change)
            .send()
    };
    update().await.unwrap();
    let after = describe(&client, "orders").await;
    assert_eq!((after.version_id(), after.last_update_timestamp().is_some()), ("2", true));
    let shown = after.destinations()[0].extended_s3_destination_description().unwrap();
    assert_eq!(shown.prefix(), Some("orders/"));
    assert_eq!(shown.buffering_hints().unwrap().interval_in_seconds(), Some(10));
    let late = update().await.unwrap_err().into_service_error();
    assert!(late.is_concurrent_modification_exception(), "{late:?}");
}

#[tokio::test]
async fn the_sdk_tags_lists_tags_and_untags() {
    let api = Api::start().await;
    let client = client(&api, 1);
    create(&client, "orders").await;
    let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build().unwrap();
    let set = client.tag_delivery_stream().delivery_stream_name("orders");
    set.tags(tag("team", "shop")).tags(tag("hydrant:gzip-level", "1")).send().await.unwrap();
    let list = || client.list_tags_for_delivery_stream().delivery_stream_name("orders");
    let page = list().limit(1).send().await.unwrap();
    assert_eq!((page.tags(), page.has_more_tags()), (&[tag("hydrant:gzip-level", "1")][..], true));
    let rest = list().exclusive_start_tag_key("hydrant:gzip-level").send().await.unwrap();
    assert_eq!((rest.tags(), rest.has_more_tags()), (&[tag("team", "shop")][..], false));
    client.untag_delivery_stream().delivery_stream_name("orders").tag_keys("team").send().await.unwrap();
    assert_eq!(list().send().await.unwrap().tags().len(), 1);
    let bad =
        client.tag_delivery_stream().delivery_stream_name("orders").tags(tag("hydrant:gzip-level", "x"));
    assert!(bad.send().await.unwrap_err().into_service_error().is_invalid_argument_exception());
}

#[tokio::test]
async fn the_sdk_starts_and_stops_encryption_and_reads_the_keys_refusal() {
    let api = Api::start().await;
    let client = client(&api, 1);
    create(&client, "orders").await;
    let start = |arn: &str| {
        let config = DeliveryStreamEncryptionConfigurationInput::builder()
            .key_type(KeyType::CustomerManagedCmk)
            .key_arn(arn)
            .build()
            .unwrap();
        let start = client.start_delivery_stream_encryption().delivery_stream_name("orders");
        start.delivery_stream_encryption_configuration_input(config).send()
    };
    start(KEY).await.unwrap();
    let described = describe(&client, "orders").await;
    let shown = described.delivery_stream_encryption_configuration().unwrap();
    assert_eq!(
        (shown.status(), shown.key_arn()),
        (Some(&DeliveryStreamEncryptionStatus::Enabled), Some(KEY))
    );
    let put = client.put_record().delivery_stream_name("orders").record(record("a")).send().await.unwrap();
    assert_eq!(put.encrypted(), Some(true));
    client.stop_delivery_stream_encryption().delivery_stream_name("orders").send().await.unwrap();
    let put = client.put_record().delivery_stream_name("orders").record(record("b")).send().await.unwrap();
    assert_eq!(put.encrypted(), Some(false));
    let refused = start(&KEY.replace("default", "unknown")).await.unwrap_err().into_service_error();
    let StartDeliveryStreamEncryptionError::InvalidKmsResourceException(refused) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(refused.code(), Some("NotFoundException"));
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
