//! What a stream's `hydrant:…` tags say is what the next batch, or the next attempt, is done with.

use std::time::{Duration, Instant};

use hydrant_metastore::Metastore;
use hydrant_testkit::eventually;
use hydrant_types::{BatchState, Destination, Stream, Tags};

use super::{
    objects::Mood,
    warehouse::Verdict,
    world::{BUCKET, Node, PATIENCE, World, records, table_key, to_bucket, to_redshift, to_s3},
};

async fn tag(node: &Node, stream: &Stream, key: &str, value: &str) {
    let set = Tags::from([(key.to_owned(), value.to_owned())]);
    node.metastore.change_tags(stream.id, &set, &[]).await.unwrap();
    node.streams.refresh().await.unwrap();
}

async fn object_bytes(node: &Node, stream: &Stream) -> u64 {
    let batches = node.batches(stream).await;
    let [batch] = batches.as_slice() else { panic!("one batch: {batches:?}") };
    let BatchState::Delivered { object } = &batch.state else { panic!("delivered: {batch:?}") };
    object.bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interval_in_a_tag_counts_from_the_next_batch_on() {
    let world = World::new();
    let node = world.start_with("a", |settings| settings.interval_max = None).await;
    // 15 minutes, as its hints say.
    let stream = node.create("orders", to_s3("o/")).await;
    for interval in ["1ms", "300ms"] {
        tag(&node, &stream, "hydrant:buffering-interval", interval).await;
        let begun = Instant::now();
        node.put(&stream, &records("orders", 0..10, 100)).await;
        node.settled(&stream).await;
        let took = begun.elapsed();
        let interval = humantime::parse_duration(interval).unwrap();
        assert!(took >= interval && took < interval + Duration::from_secs(10), "{interval:?} took {took:?}");
    }
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gzip_level_in_a_tag_makes_smaller_or_faster_objects() {
    let world = World::new();
    let node = world.start_with("a", |settings| settings.gzip_level = 1).await;
    // Words that repeat at a distance: what a higher level finds.
    let words: Vec<Vec<u8>> = records("w", 0..50, 40);
    let put: Vec<Vec<u8>> =
        (0..2_000).map(|n: usize| [&words[n * 7 % 50][..], &words[n * n % 50][..]].concat()).collect();
    for (failing, mood) in [(false, Mood::Well), (true, Mood::Refuses("S3.AccessDenied"))] {
        let mut bytes = Vec::new();
        for level in ["1", "9"] {
            let stream = node.create(&format!("orders-{level}-{failing}"), to_s3("o/")).await;
            tag(&node, &stream, "hydrant:gzip-level", level).await;
            // A body that could not be put is made again from the log.
            world.objects.set_mood(BUCKET, mood);
            let puts = world.objects.puts();
            node.put(&stream, &put).await;
            if failing {
                eventually("it was tried", PATIENCE, async || (world.objects.puts() > puts).then_some(()))
                    .await;
            }
            world.objects.set_mood(BUCKET, Mood::Well);
            node.settled(&stream).await;
            bytes.push(object_bytes(&node, &stream).await);
        }
        assert!(bytes[1] < bytes[0], "{bytes:?}, failing: {failing}");
    }
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_cut_gzip_into_members_and_leave_the_content_encoding_out() {
    let world = World::new();
    let node = world.start("a").await;
    let put = records("orders", 0..40, 20_000);
    // The second is encoded at once, the first once its bucket answers.
    for (name, mood) in [("waits", Mood::Down), ("goes", Mood::Well)] {
        let stream = node.create(name, to_s3("o/")).await;
        tag(&node, &stream, "hydrant:gzip-member-size", "256KiB").await;
        tag(&node, &stream, "hydrant:content-encoding", "off").await;
        world.objects.set_mood(BUCKET, mood);
        node.put(&stream, &put).await;
        eventually("it is sealed", PATIENCE, async || node.batches(&stream).await.pop()).await;
        world.objects.set_mood(BUCKET, Mood::Well);
        node.settled(&stream).await;
        let mut all = Vec::new();
        for batch in node.batches(&stream).await {
            let body = world.objects.stored(BUCKET, batch.key.as_str()).unwrap();
            assert_eq!(body.content_encoding, None);
            let begins = body.bytes.windows(4).filter(|bytes| bytes == b"\x1f\x8b\x08\0").count();
            assert_eq!(begins as u64, batch.bytes.div_ceil(256 * 1024), "members of {} bytes", batch.bytes);
            all.extend(world.objects.content(BUCKET, batch.key.as_str()).unwrap());
        }
        assert!(all == put.concat(), "{name}");
    }
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_in_a_tag_is_waited_before_the_next_copy() {
    let world = World::new();
    let node = world.start_with("a", |settings| settings.copy_retry = Duration::from_secs(3600)).await;
    let stream = node.create("orders", to_redshift("o/", "events", 7200)).await;
    tag(&node, &stream, "hydrant:copy-retry", "150ms").await;
    world.warehouse.let_end([Verdict::Fail("ERROR: no"), Verdict::Commit]);
    let put = records("orders", 0..10, 10);
    let begun = Instant::now();
    node.put(&stream, &put).await;
    node.settled(&stream).await;
    assert!(begun.elapsed() >= Duration::from_millis(150), "{:?}", begun.elapsed());
    assert_eq!(world.warehouse.rows(&table_key("events")), put);
    assert_eq!(world.warehouse.statements().len(), 2);
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interval_of_0_means_no_buffering() {
    let world = World::new();
    let node = world.start_with("a", |settings| settings.interval_max = None).await;
    let mut destination = to_s3("o/");
    let Destination::S3(s3) = &mut destination else { unreachable!() };
    s3.buffering.interval_secs = 0;
    let stream = node.create("orders", destination).await;
    for number in 0..3 {
        node.put(&stream, &records("orders", number..number + 1, 10)).await;
        node.settled(&stream).await;
    }
    assert_eq!(node.batches(&stream).await.len(), 3, "each went without waiting for more");
    node.stop().await.unwrap();
}

/// Manifests as well as data.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_of_s3_is_what_the_stream_says_now() {
    let world = World::new();
    let node = world.start("a").await;
    let with = |role: &str, key: Option<&str>| {
        let mut destination = to_redshift("o/", "events", 7200);
        let Destination::Redshift(redshift) = &mut destination else { unreachable!("it is Redshift") };
        redshift.s3.role_arn = role.to_owned();
        redshift.s3.kms_key_arn = key.map(str::to_owned);
        destination
    };
    let stream = node.create("orders", with("mistyped", Some("k1"))).await;
    tag(&node, &stream, "hydrant:storage-class", "STANDARD_IA").await;
    world.objects.set_mood(BUCKET, Mood::Refuses("S3.AccessDenied"));
    node.put(&stream, &records("orders", 0..10, 10)).await;
    hydrant_testkit::eventually("it was refused", super::world::PATIENCE, async || {
        (world.objects.puts() > 1).then_some(())
    })
    .await;
    let failing =
        |streams| format!("hydrant_delivery_to_s3_failing_streams{{code=\"S3.AccessDenied\"}} {streams}\n");
    assert!(node.metrics().contains(&failing(1)), "{}", node.metrics());
    let now = world.clock.now();
    node.metastore.update_destination(stream.id, stream.version, &with("writer", None), now).await.unwrap();
    tag(&node, &stream, "hydrant:storage-class", "GLACIER_IR").await;
    world.objects.set_mood(BUCKET, Mood::Well);
    node.settled(&stream).await;
    assert!(node.metrics().contains(&failing(0)), "{}", node.metrics());
    let asked = world.objects.asked_with();
    assert_eq!(asked.len(), 2, "an object and its manifest: {asked:?}");
    for (key, options) in asked {
        assert_eq!(options.role_arn.as_deref(), Some("writer"), "{key}");
        assert_eq!(options.kms_key_arn.as_deref(), Some("k1"), "it was sealed to be encrypted: {key}");
        assert_eq!(options.tagged.storage_class.unwrap().as_str(), "GLACIER_IR", "{key}");
        assert_eq!(options.tried_before, !key.contains("manifests/"), "{key}");
    }
    node.stop().await.unwrap();
}

/// A role of another bucket may not write to this one.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_sealed_for_another_bucket_is_put_as_it_was_sealed() {
    let world = World::new();
    let node = world.start("a").await;
    let to = |bucket: &str, role: &str| {
        let mut destination = to_bucket(bucket, "o/");
        let Destination::S3(s3) = &mut destination else { unreachable!("it is S3") };
        s3.role_arn = role.to_owned();
        destination
    };
    let stream = node.create("orders", to("old", "writes-old")).await;
    world.objects.set_mood("old", Mood::Refuses("S3.NoSuchBucket"));
    node.put(&stream, &records("orders", 0..10, 10)).await;
    hydrant_testkit::eventually("it was refused", super::world::PATIENCE, async || {
        (world.objects.puts() > 1).then_some(())
    })
    .await;
    let now = world.clock.now();
    node.metastore
        .update_destination(stream.id, stream.version, &to("new", "writes-new"), now)
        .await
        .unwrap();
    node.streams.refresh().await.unwrap();
    node.put(&stream, &records("orders", 10..20, 10)).await;
    world.objects.set_mood("old", Mood::Well);
    node.settled(&stream).await;
    let roles: std::collections::BTreeSet<_> =
        world.objects.asked_with().into_iter().map(|(_, options)| options.role_arn.unwrap()).collect();
    assert_eq!(roles.into_iter().collect::<Vec<_>>(), ["writes-new", "writes-old"]);
    node.stop().await.unwrap();
}
