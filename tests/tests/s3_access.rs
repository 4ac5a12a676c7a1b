//! As whom objects are written, what is asked for with each, and what refuses them for a while.

use std::time::{Duration, Instant};

use aws_sdk_firehose::types::{
    BufferingHints, EncryptionConfiguration, ExtendedS3DestinationConfiguration, KmsEncryptionConfig, Tag,
};
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use hydrant_e2e::{BUCKET, PATIENCE, Producer, Site};
use hydrant_testkit::{Fault, FaultProxy, Moto, SeaweedFs, eventually};

/// A stream that writes plain objects below `<name>/` as `role`.
async fn create(
    producer: &Producer,
    name: &str,
    role: &str,
    size_mb: i32,
    kms_key: Option<&str>,
    tags: &[(&str, &str)],
) {
    let encryption = kms_key.map(|arn| {
        let key = KmsEncryptionConfig::builder().awskms_key_arn(arn).build().expect("the ARN is given");
        EncryptionConfiguration::builder().kms_encryption_config(key).build()
    });
    let destination = ExtendedS3DestinationConfiguration::builder()
        .role_arn(role)
        .bucket_arn(format!("arn:aws:s3:::{BUCKET}"))
        .prefix(format!("{name}/"))
        .buffering_hints(BufferingHints::builder().size_in_mbs(size_mb).interval_in_seconds(60).build())
        .set_encryption_configuration(encryption)
        .build()
        .expect("all required members are given");
    let tags = tags
        .iter()
        .map(|(key, value)| Tag::builder().key(*key).value(*value).build().expect("a key is given"));
    let tags: Vec<Tag> = tags.collect();
    producer
        .client()
        .create_delivery_stream()
        .delivery_stream_name(name)
        .extended_s3_destination_configuration(destination)
        .set_tags((!tags.is_empty()).then_some(tags))
        .send()
        .await
        .expect("the stream is created");
}

/// What a person sees.
async fn list(site: &Site, stream: &str) -> String {
    let (code, text) = site.run(&["delivery", "list", "--stream", stream]).await;
    assert_eq!(code, 0, "{text}");
    text
}

/// Waits until a person sees `text`, for no longer than `limit`.
async fn see_within(site: &Site, stream: &str, text: &str, limit: Duration) {
    let begun = Instant::now();
    eventually(&format!("{text:?} is listed"), PATIENCE, async || {
        list(site, stream).await.contains(text).then_some(())
    })
    .await;
    assert!(begun.elapsed() < limit, "{text:?} was seen after {:?}", begun.elapsed());
}

#[tokio::test]
async fn roles_are_assumed_enforced_and_assumed_again_before_they_expire() {
    let roles = [("writer", BUCKET), ("stranger", "backup")];
    let s3 = SeaweedFs::start_with_roles(&[BUCKET, "backup"], &roles, "14s").await;
    let mut site = Site::around(s3).await;
    // The service itself may do nothing but assume roles.
    site.s3_credentials = site.s3.create_user("hydrant").await;
    site.more_s3 = format!("assume_roles = true\nsts_endpoint_url = {:?}", site.s3_proxy.url());
    let service = site.serve().await;
    let producer = service.producer();
    create(&producer, "orders", &site.s3.role_arn("writer"), 1, None, &[]).await;
    create(&producer, "denied", &site.s3.role_arn("stranger"), 1, None, &[]).await;
    create(&producer, "nobody", &site.s3.role_arn("mistyped"), 1, None, &[]).await;
    producer.put("denied", 0..10).await;
    producer.put("nobody", 0..10).await;
    see_within(&site, "denied", "S3.AccessDenied", Duration::from_secs(10)).await;
    see_within(&site, "nobody", "the role cannot be assumed", Duration::from_secs(10)).await;
    // Longer than credentials are good for.
    let begun = Instant::now();
    let mut put = 0;
    while begun.elapsed() < Duration::from_secs(18) {
        producer.put("orders", put..put + 10).await;
        put += 10;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    site.expect_in_s3("orders/", &(0..put).collect::<Vec<_>>()).await;
    let metrics = service.metrics().await;
    for outcome in ["failed", "unknown"] {
        let none =
            format!("hydrant_delivery_to_s3_attempts_total{{outcome=\"{outcome}\",stream=\"orders\"}} 0\n");
        assert!(metrics.contains(&none), "no upload met credentials that had expired: {metrics}");
    }
    assert!(
        metrics.contains("hydrant_delivery_to_s3_failing_streams{code=\"S3.AccessDenied\"} 2\n"),
        "{metrics}"
    );
    // Mended as a person would: nothing is restarted, and what was sealed before is delivered too.
    for stream in ["denied", "nobody"] {
        let update = aws_sdk_firehose::types::ExtendedS3DestinationUpdate::builder()
            .role_arn(site.s3.role_arn("writer"))
            .build();
        producer
            .client()
            .update_destination()
            .delivery_stream_name(stream)
            .current_delivery_stream_version_id("1")
            .destination_id("destinationId-000000000001")
            .extended_s3_destination_update(update)
            .send()
            .await
            .expect("the destination is updated");
        site.expect_in_s3(&format!("{stream}/"), &(0..10).collect::<Vec<_>>()).await;
    }
    service.stop().await;
}

#[tokio::test]
async fn fifty_thousand_records_wait_for_a_permission_and_arrive_once_in_objects_of_the_asked_size() {
    const RECORDS: u64 = 50_000;
    let s3 = SeaweedFs::start_with_roles(&[BUCKET], &[], "1h").await;
    let mut site = Site::around(s3).await;
    site.s3_credentials = site.s3.create_user("hydrant").await;
    let service = site.serve().await;
    let producer = service.producer().padded(220);
    create(&producer, "orders", hydrant_e2e::ROLE, 1, None, &[]).await;
    producer.put("orders", 0..100).await;
    see_within(&site, "orders", "S3.AccessDenied", Duration::from_secs(10)).await;
    producer.put("orders", 100..RECORDS).await;
    assert_eq!(site.keys("orders/").await, [""; 0]);
    site.s3.allow("hydrant", BUCKET).await;
    site.expect_in_s3("orders/", &(0..RECORDS).collect::<Vec<_>>()).await;
    // Sizes before compression, which there is none of here.
    let sizes =
        hydrant_e2e::query(&site.metastore_url, "SELECT bytes FROM batches ORDER BY sealed_at, id").await;
    let sizes: Vec<i64> = sizes.iter().map(|row| sqlx::Row::get(row, 0)).collect();
    let full = sizes.iter().filter(|bytes| **bytes >= 1024 * 1024).count();
    // What was sealed before the refusal was seen, and the end of it all.
    assert!(sizes.len() - full <= 4, "{sizes:?}");
    assert!(full >= 11, "{sizes:?}");
    service.stop().await;
}

#[tokio::test]
async fn a_missing_bucket_is_seen_at_once_and_healed_when_it_is_made() {
    let site = Site::new().await;
    let service = site.serve().await;
    let producer = service.producer();
    producer.create_s3_stream_in("orders", "not-yet").await;
    producer.put("orders", 0..100).await;
    see_within(&site, "orders", "S3.NoSuchBucket", Duration::from_secs(10)).await;
    let s3 = site.s3_client();
    s3.create_bucket().bucket("not-yet").send().await.expect("the bucket is made");
    service.wait_until_uploaded("orders", 100).await;
    service.stop().await;
}

async fn uploads(site: &Site) -> usize {
    let listed = site.s3_client().list_multipart_uploads().bucket(BUCKET).send().await;
    listed.expect("S3 lists").uploads().len()
}

#[tokio::test]
async fn an_object_of_128_mib_killed_in_the_middle_is_one_object_and_leaves_nothing_behind() {
    /// Of 40 KiB.
    const RECORDS: u64 = 3_300;
    let mut site = Site::new().await;
    site.interval_max = "15m";
    let service = site.serve().await;
    let producer = service.producer().padded(40 * 1024);
    create(&producer, "orders", hydrant_e2e::ROLE, 128, None, &[("hydrant:buffering-interval", "15m")]).await;
    site.s3_proxy.inject_matching("partNumber=9&", usize::MAX, Fault::Stall);
    producer.put("orders", 0..RECORDS).await;
    eventually("it is in the middle of the upload", PATIENCE, async || {
        let asked = site.s3_proxy.requests();
        asked.iter().any(|request| request.contains("partNumber=9&")).then_some(())
    })
    .await;
    assert_eq!(uploads(&site).await, 1);
    service.kill9().await;
    site.s3_proxy.heal();
    let service = site.serve().await;
    eventually("the object is in S3", PATIENCE, async || {
        (site.batch_states().await == ["delivered"]).then_some(())
    })
    .await;
    let keys = site.keys("orders/").await;
    assert_eq!(keys.len(), 1, "{keys:?}");
    let object = site.object(&keys[0]).await;
    assert!(object.len() >= 128 << 20, "{} bytes", object.len());
    assert_eq!(uploads(&site).await, 0);
    let resident = service.metrics().await;
    let resident = resident.lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
    let resident: f64 = resident.expect("it is shown").parse().expect("it is a number");
    assert!(resident < 600e6, "the body twice, and what there is besides: {resident}");
    // The rest waits for its own size or age.
    let there = object.iter().filter(|byte| **byte == b'\n').count() as u64;
    assert!(there < RECORDS && there > RECORDS - 100, "{there} records");
    service.stop().await;
}

/// moto shows what an object was stored with; the proxy in front of it, what was asked for.
#[tokio::test]
async fn what_a_stream_asks_of_s3_is_what_s3_stores_with() {
    const KEY: &str = "arn:aws:kms:us-east-1:123456789012:key/objects";
    let moto = Moto::start().await;
    let proxy = FaultProxy::http(&moto.endpoint_url()).await;
    let credentials = Credentials::new("any", "any", None, None, "test");
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .credentials_provider(credentials)
        .region(Region::new("us-east-1"))
        .endpoint_url(moto.endpoint_url())
        .force_path_style(true)
        .build();
    let s3 = aws_sdk_s3::Client::from_conf(config);
    s3.create_bucket().bucket(BUCKET).send().await.expect("the bucket is made");
    let site = Site::new().await;
    let service = site.serve().await;
    let producer = service.producer();
    let endpoint = proxy.url();
    let tags = [
        ("hydrant:s3-endpoint", endpoint.as_str()),
        ("hydrant:s3-region", "us-east-1"),
        ("hydrant:expected-bucket-owner", "123456789012"),
        ("hydrant:acl", "bucket-owner-full-control"),
        ("hydrant:storage-class", "STANDARD_IA"),
        ("hydrant:object-tags", "team=shop cost=a%20b"),
    ];
    create(&producer, "orders", hydrant_e2e::ROLE, 1, Some(KEY), &tags).await;
    create(&producer, "plain", hydrant_e2e::ROLE, 1, None, &tags[..2]).await;
    for stream in ["orders", "plain"] {
        producer.put(stream, 0..10).await;
        service.wait_until_uploaded(stream, 10).await;
    }
    let key = async |prefix: &str| {
        let listed = s3.list_objects_v2().bucket(BUCKET).prefix(prefix).send().await.expect("moto lists");
        listed.contents()[0].key().expect("objects have keys").to_owned()
    };
    let orders = key("orders/").await;
    let head = s3.head_object().bucket(BUCKET).key(&orders).send().await.expect("the object is there");
    assert_eq!(head.server_side_encryption().map(|sse| sse.as_str()), Some("aws:kms"));
    assert_eq!(head.ssekms_key_id(), Some(KEY));
    assert_eq!(head.storage_class().map(|class| class.as_str()), Some("STANDARD_IA"));
    let tagging = s3.get_object_tagging().bucket(BUCKET).key(&orders).send().await.expect("it has tags");
    let stored: Vec<_> = tagging.tag_set().iter().map(|tag| (tag.key(), tag.value())).collect();
    assert_eq!(stored, [("team", "shop"), ("cost", "a b")]);
    let plain = s3.head_object().bucket(BUCKET).key(key("plain/").await).send().await.expect("it is there");
    assert_eq!((plain.ssekms_key_id(), plain.storage_class()), (None, None));
    let asked = |prefix: &str| {
        let heads = proxy.heads();
        let put = heads.into_iter().find(|head| head.starts_with(&format!("PUT /{BUCKET}/{prefix}")));
        put.expect("the object was put")
    };
    let said = asked("orders/");
    assert!(said.contains("\nx-amz-expected-bucket-owner: 123456789012"), "{said}");
    assert!(said.contains("\nx-amz-acl: bucket-owner-full-control"), "{said}");
    let said = asked("plain/");
    for silent in
        ["x-amz-expected-bucket-owner", "x-amz-acl", "x-amz-server-side-encryption", "x-amz-tagging"]
    {
        assert!(!said.contains(silent), "{silent} in {said}");
    }
    service.stop().await;
}
