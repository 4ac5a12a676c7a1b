//! Streams whose destination is updated: what was begun under a version ends under it.

use std::time::Duration;

use hydrant_metastore::Metastore;
use hydrant_testkit::eventually;
use hydrant_types::{Compression, Destination, Stream, StreamVersion};

use super::{
    objects::Mood,
    world::{BUCKET, Node, PATIENCE, World, records, s3, to_redshift, to_s3},
};

async fn update(node: &Node, stream: &Stream, destination: Destination) -> Stream {
    let now = hydrant_types::Timestamp(stream.created_at.0 + 1);
    let updated =
        node.metastore.update_destination(stream.id, stream.version, &destination, now).await.unwrap();
    node.streams.refresh().await.unwrap();
    updated
}

fn plain(prefix: &str) -> Destination {
    Destination::S3(s3(prefix, Compression::Uncompressed))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sealed_keeps_its_version_and_the_next_batch_has_the_new_one() {
    let world = World::new();
    let node = world.start("a").await;
    let stream = node.create("orders", to_s3("old/")).await;
    world.objects.set_mood(BUCKET, Mood::Refuses("S3.AccessDenied"));
    let first = records("orders", 0..10, 100);
    node.put(&stream, &first).await;
    eventually("it is sealed", PATIENCE, async || (node.batches(&stream).await.len() == 1).then_some(()))
        .await;
    eventually("it was tried", PATIENCE, async || (world.objects.puts() > 0).then_some(())).await;
    update(&node, &stream, plain("new/")).await;
    let second = records("orders", 10..20, 100);
    node.put(&stream, &second).await;
    world.objects.set_mood(BUCKET, Mood::Well);
    node.settled(&stream).await;
    let batches = node.batches(&stream).await;
    let versions: Vec<StreamVersion> = batches.iter().map(|batch| batch.stream_version).collect();
    assert_eq!(versions, [StreamVersion(1), StreamVersion(2)]);
    let keys = batches.iter().map(|batch| batch.key.as_str());
    for (key, (prefix, name, extension)) in
        keys.zip([("old/", "/orders-1-", ".gz"), ("new/", "/orders-2-", "")])
    {
        assert!(key.starts_with(prefix) && key.contains(name) && key.ends_with(extension), "{key}");
    }
    let content = |at: usize| world.objects.content(BUCKET, batches[at].key.as_str()).unwrap();
    assert_eq!((content(0), content(1)), (first.concat(), second.concat()));
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_open_is_sealed_under_the_version_it_was_opened_with() {
    let world = World::new();
    let node = world.start_with("a", |settings| settings.interval_max = Some(Duration::from_secs(2))).await;
    let stream = node.create("orders", to_s3("old/")).await;
    node.put(&stream, &records("orders", 0..1, 10)).await;
    // Read at once, sealed after two seconds.
    tokio::time::sleep(Duration::from_millis(500)).await;
    update(&node, &stream, plain("new/")).await;
    node.put(&stream, &records("orders", 1..2, 10)).await;
    node.settled(&stream).await;
    node.put(&stream, &records("orders", 2..3, 10)).await;
    node.settled(&stream).await;
    let batches = node.batches(&stream).await;
    let sealed: Vec<(u32, u64)> =
        batches.iter().map(|batch| (batch.stream_version.0, batch.range.records())).collect();
    assert_eq!(sealed, [(1, 2), (2, 1)]);
    assert!(batches[0].key.as_str().starts_with("old/") && batches[0].key.as_str().ends_with(".gz"));
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_switched_to_another_table_loads_what_waited_into_the_former_one() {
    let world = World::new();
    let node = world.start("a").await;
    let stream = node.create("orders", to_redshift("o/", "events", 3600)).await;
    world.objects.set_mood(BUCKET, Mood::Refuses("S3.AccessDenied"));
    let first = records("orders", 0..10, 10);
    node.put(&stream, &first).await;
    eventually("it is sealed", PATIENCE, async || (node.batches(&stream).await.len() == 1).then_some(()))
        .await;
    update(&node, &stream, to_redshift("o/", "orders", 3600)).await;
    let second = records("orders", 10..20, 10);
    node.put(&stream, &second).await;
    world.objects.set_mood(BUCKET, Mood::Well);
    node.settled(&stream).await;
    assert_eq!(world.warehouse.rows(&super::world::table_key("events")), first);
    assert_eq!(world.warehouse.rows(&super::world::table_key("orders")), second);
    node.stop().await.unwrap();
}
