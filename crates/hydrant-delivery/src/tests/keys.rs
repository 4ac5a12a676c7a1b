//! Streams whose records are encrypted, and whose keys are away for a while.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hydrant_log::{Append, DataKey, DataKeys, Payload, RecordLog};
use hydrant_metastore::Metastore;
use hydrant_testkit::eventually;
use hydrant_types::{BatchState, DataKeyId, Stream, StreamId, Tags};

use super::{
    objects::Mood,
    world::{BUCKET, Node, PATIENCE, World, records, to_s3},
};

/// One key for all streams, which may be away.
#[derive(Default)]
struct Keys(AtomicBool);

impl DataKeys for Keys {
    fn find(&self, _: StreamId, id: DataKeyId) -> Option<Arc<DataKey>> {
        (!self.0.load(Ordering::Relaxed)).then(|| key(id))
    }
}

impl Keys {
    fn set_away(&self, is_away: bool) {
        self.0.store(is_away, Ordering::Relaxed);
    }
}

fn key(id: DataKeyId) -> Arc<DataKey> {
    Arc::new(DataKey::new(id, &[1; 32], &[2; 32]).unwrap())
}

async fn put_encrypted(world: &World, node: &Node, stream: &Stream, records: &[Vec<u8>]) {
    let mut payload = Payload::new();
    records.iter().for_each(|record| payload.push(record));
    let (arrival, key) = (world.clock.now(), Some(key(DataKeyId(1))));
    node.log.append(Append { stream: stream.id, payload, arrival, call: None, key }).await.unwrap();
}

/// How many records are in S3; each is a line.
fn records_at(world: &World, prefix: &str) -> usize {
    let objects = world.objects.records_under(BUCKET, prefix);
    objects.iter().map(|(_, content)| content.split(|byte| *byte == b'\n').count() - 1).sum()
}

async fn delivered(world: &World, prefix: &str, count: usize) {
    eventually(&format!("{count} records under {prefix}"), PATIENCE, async || {
        (records_at(world, prefix) == count).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_without_its_key_delivers_what_comes_before_waits_and_goes_on_when_the_key_comes() {
    let world = World::new();
    let node = world.start("a").await;
    let keys = Arc::new(Keys::default());
    node.log.set_data_keys(keys.clone());
    let (orders, other) = (node.create("orders", to_s3("o/")).await, node.create("other", to_s3("x/")).await);
    keys.set_away(true);
    node.put(&orders, &records("orders", 0..3, 10)).await;
    // So many that they would be read at once.
    put_encrypted(&world, &node, &orders, &records("orders", 3..13, 100_000)).await;
    node.put(&orders, &records("orders", 13..14, 10)).await;
    node.put(&other, &records("other", 0..5, 10)).await;
    node.settled(&other).await;
    delivered(&world, "o/", 3).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(node.tail(&orders).trimmed.0, 3, "nothing behind the key is given up");
    keys.set_away(false);
    node.settled(&orders).await;
    assert_eq!(records_at(&world, "o/"), 14);
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_being_deleted_is_not_gone_before_its_key_comes() {
    let world = World::new();
    let node = world.start("a").await;
    let keys = Arc::new(Keys::default());
    node.log.set_data_keys(keys.clone());
    let orders = node.create("orders", to_s3("o/")).await;
    keys.set_away(true);
    put_encrypted(&world, &node, &orders, &records("orders", 0..5, 10)).await;
    node.metastore.mark_deleting(orders.id, world.clock.now()).await.unwrap();
    node.streams.refresh().await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(node.streams.by_id(orders.id).is_some());
    keys.set_away(false);
    delivered(&world, "o/", 5).await;
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_batch_whose_key_went_away_waits_without_holding_up_others() {
    let world = World::new();
    let keys = Arc::new(Keys::default());
    let node = world.start("a").await;
    node.log.set_data_keys(keys.clone());
    let (orders, other) = (node.create("orders", to_s3("o/")).await, node.create("other", to_s3("x/")).await);
    world.objects.set_mood(BUCKET, Mood::Down);
    put_encrypted(&world, &node, &orders, &records("orders", 0..5, 10)).await;
    eventually("it is sealed", PATIENCE, async || (node.batches(&orders).await.len() == 1).then_some(()))
        .await;
    keys.set_away(true);
    node.stop().await.unwrap();

    // Encoded anew after a restart, by reading the log again.
    world.objects.set_mood(BUCKET, Mood::Well);
    let node = world.start("a").await;
    node.log.set_data_keys(keys.clone());
    node.put(&other, &records("other", 0..5, 10)).await;
    node.settled(&other).await;
    assert_eq!(records_at(&world, "o/"), 0);
    keys.set_away(false);
    node.settled(&orders).await;
    assert_eq!(records_at(&world, "o/"), 5);
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_key_is_gone_for_good_can_be_deleted_with_what_nobody_can_read() {
    let world = World::new();
    let node = world.start("a").await;
    let keys = Arc::new(Keys::default());
    node.log.set_data_keys(keys.clone());
    let orders = node.create("orders", to_s3("o/")).await;
    keys.set_away(true);
    put_encrypted(&world, &node, &orders, &records("orders", 0..5, 10)).await;
    node.metastore.mark_deleting(orders.id, world.clock.now()).await.unwrap();
    node.streams.refresh().await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(node.streams.by_id(orders.id).is_some());
    let discard = Tags::from([("hydrant:on-delete".to_owned(), "discard".to_owned())]);
    node.metastore.change_tags(orders.id, &discard, &[]).await.unwrap();
    node.streams.refresh().await.unwrap();
    eventually("it is gone", PATIENCE, async || node.streams.by_id(orders.id).is_none().then_some(())).await;
    let batches = node.batches(&orders).await;
    assert_eq!((batches.len(), batches[0].range.records(), batches[0].bytes), (1, 5, 0));
    assert_eq!(batches[0].state, BatchState::Discarded { object: None });
    node.stop().await.unwrap();
}
