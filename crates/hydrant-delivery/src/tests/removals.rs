//! Streams that are deleted.

use std::time::Duration;

use hydrant_log::RecordLog;
use hydrant_metastore::Metastore;
use hydrant_testkit::eventually;

use super::{
    objects::Mood,
    world::{BUCKET, PATIENCE, World, records, table_key, to_redshift, to_s3},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_stream_is_delivered_at_once_and_gone_with_everything_that_showed_it() {
    let world = World::new();
    let node = world.start_with("a", |settings| settings.interval_max = None).await;
    let (stream, other) =
        (node.create("orders", to_s3("o/")).await, node.create("clicks", to_s3("c/")).await);
    world.objects.set_mood(BUCKET, Mood::Refuses("S3.NoSuchBucket"));
    node.put(&stream, &records("orders", 0..100, 100)).await;
    node.put(&other, &records("clicks", 0..1, 10)).await;
    node.metastore.mark_deleting(stream.id, world.clock.now()).await.unwrap();
    node.streams.refresh().await.unwrap();
    eventually("it takes no more records", PATIENCE, async || {
        node.put_at(&stream, &records("orders", 900..901, 10), world.clock.now()).await.is_err().then_some(())
    })
    .await;
    eventually("it is sealed without waiting for its age", PATIENCE, async || {
        (world.objects.puts() > 3).then_some(())
    })
    .await;
    assert!(node.streams.by_id(stream.id).is_some(), "it is not gone before it is delivered");
    world.objects.set_mood(BUCKET, Mood::Well);
    eventually("it is gone", PATIENCE, async || node.streams.by_id(stream.id).is_none().then_some(())).await;
    eventually("the log forgot it", PATIENCE, async || node.log.tail(stream.id).is_none().then_some(()))
        .await;
    let objects = world.objects.records_under(BUCKET, "o/");
    let lines: usize = objects.iter().map(|(_, content)| content.split(|b| *b == b'\n').count() - 1).sum();
    assert!((100..=101).contains(&lines), "what was acknowledged is delivered: {lines}");
    eventually("its series are gone", PATIENCE, async || (!node.metrics().contains("orders")).then_some(()))
        .await;
    assert!(node.metrics().contains("hydrant_delivery_to_s3_data_freshness_seconds{stream=\"clicks\"}"));
    // A stream of the same name made later is another one.
    let again = node.create("orders", to_s3("again/")).await;
    assert_ne!(again.id, stream.id);
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_stream_stays_until_its_last_load_is_committed() {
    let world = World::new();
    let node = world.start("a").await;
    let stream = node.create("orders", to_redshift("o/", "events", 3600)).await;
    world.warehouse.let_answer("ensure_ledger", [super::warehouse::Answer::Unreachable; 40]);
    node.put(&stream, &records("orders", 0..10, 10)).await;
    eventually("the load is under way", PATIENCE, async || {
        (world.warehouse.calls("ensure_ledger") > 2).then_some(())
    })
    .await;
    node.metastore.mark_deleting(stream.id, world.clock.now()).await.unwrap();
    node.streams.refresh().await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(
        node.streams.by_id(stream.id).is_some() || world.warehouse.rows(&table_key("events")).len() == 10
    );
    eventually("it is gone", PATIENCE, async || node.streams.by_id(stream.id).is_none().then_some(())).await;
    assert_eq!(world.warehouse.rows(&table_key("events")).len(), 10);
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_being_deleted_is_removed_after_a_restart() {
    let world = World::new();
    let node = world.start("a").await;
    let stream = node.create("orders", to_s3("o/")).await;
    node.metastore.silence("remove_stream");
    node.put(&stream, &records("orders", 0..3, 10)).await;
    node.metastore.mark_deleting(stream.id, world.clock.now()).await.unwrap();
    node.streams.refresh().await.unwrap();
    eventually("its removal hangs", PATIENCE, async || {
        (node.metastore.calls("remove_stream") > 0).then_some(())
    })
    .await;
    node.stop().await.unwrap();
    let node = world.start("a").await;
    eventually("it is gone", PATIENCE, async || node.streams.by_id(stream.id).is_none().then_some(())).await;
    assert_eq!(world.objects.records_under(BUCKET, "o/").len(), 1, "and delivered once");
    node.stop().await.unwrap();
}
