//! Streams whose deletion throws away what is not delivered.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hydrant_log::{RecordLog, error, testing::HookedLog};
use hydrant_metastore::Metastore;
use hydrant_testkit::eventually;
use hydrant_types::{Batch, BatchState, Position, Stream, Tags};

use super::{
    objects::Mood,
    warehouse::Answer,
    world::{BUCKET, Node, PATIENCE, World, records, table_key, to_bucket, to_redshift, to_s3},
};

const GONE: &str = "gone-bucket";

async fn set_discard(node: &Node, stream: &Stream) {
    let discard = Tags::from([("hydrant:on-delete".to_owned(), "discard".to_owned())]);
    // What is in doubt is done again.
    while node.metastore.change_tags(stream.id, &discard, &[]).await.is_err() {}
    while node.streams.refresh().await.is_err() {}
}

async fn delete(world: &World, node: &Node, stream: &Stream) {
    while node.metastore.mark_deleting(stream.id, world.clock.now()).await.is_err() {}
    while node.streams.refresh().await.is_err() {}
}

async fn gone(node: &Node, stream: &Stream) {
    eventually("it is gone", PATIENCE, async || node.streams.by_id(stream.id).is_none().then_some(())).await;
    eventually("the log forgot it", PATIENCE, async || node.log.tail(stream.id).is_none().then_some(()))
        .await;
}

async fn sealed(node: &Node, stream: &Stream, batches: usize) {
    eventually("batches are sealed", PATIENCE, async || {
        (node.batches(stream).await.len() >= batches).then_some(())
    })
    .await;
}

/// The stream's batches: without a gap, of all the records it took, each at an end.
async fn accounted_for(node: &Node, stream: &Stream, records: u64) -> Vec<Batch> {
    let batches = node.batches(stream).await;
    let mut end = Position::FIRST;
    for batch in &batches {
        assert_eq!(batch.range.from, end);
        end = batch.range.to;
        assert!(batch.state.is_done(), "{:?}", batch.state);
    }
    assert_eq!(end.0, records);
    batches
}

fn discarded(batches: &[Batch]) -> (u64, u64) {
    let discarded = batches.iter().filter(|batch| matches!(batch.state, BatchState::Discarded { .. }));
    discarded.fold((0, 0), |(records, bytes), batch| (records + batch.range.records(), bytes + batch.bytes))
}

fn counted(node: &Node) -> (u64, u64) {
    let metrics = node.metrics();
    let value = |name: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap();
        line.parse().unwrap()
    };
    (value("hydrant_delivery_discarded_records_total"), value("hydrant_delivery_discarded_bytes_total"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_deleted_stream_has_not_delivered_is_thrown_away_and_recorded() {
    let world = World::new();
    let node = world.start_with("a", |settings| settings.interval_max = None).await;
    let stream = node.create("orders", to_bucket(GONE, "o/")).await;
    let other = node.create("clicks", to_s3("c/")).await;
    world.objects.set_mood(GONE, Mood::Refuses("S3.NoSuchBucket"));
    node.put(&other, &records("clicks", 0..5, 10)).await;
    // The tag alone does nothing: full batches of the active stream are tried on.
    set_discard(&node, &stream).await;
    let first = records("orders", 0..40, 60_000);
    node.put(&stream, &first).await;
    sealed(&node, &stream, 1).await;
    eventually("it is tried", PATIENCE, async || (world.objects.puts() > 3).then_some(())).await;
    assert_eq!(node.batches(&stream).await[0].state, BatchState::Sealed);
    // Some of it is never read before the deletion.
    let second = records("orders", 40..100, 60_000);
    node.put(&stream, &second).await;
    delete(&world, &node, &stream).await;
    gone(&node, &stream).await;
    let batches = accounted_for(&node, &stream, 100).await;
    let bytes: usize = first.iter().chain(&second).map(Vec::len).sum();
    assert_eq!(discarded(&batches), (100, bytes as u64));
    assert_eq!(counted(&node), (100, bytes as u64));
    assert!(batches.iter().all(|batch| batch.state == BatchState::Discarded { object: None }));
    assert_eq!(world.objects.records_under(GONE, "o/").len(), 0);
    delete(&world, &node, &other).await;
    gone(&node, &other).await;
    assert_eq!(discarded(&accounted_for(&node, &other, 5).await), (0, 0), "others deliver first");
    assert_eq!(world.objects.records_under(BUCKET, "c/").len(), 1);
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_does_not_get_on_can_be_turned_whatever_it_waits_for() {
    for mood in [Mood::Refuses("S3.AccessDenied"), Mood::Down, Mood::Silent] {
        let world = World::new();
        let node = world.start("a").await;
        let stream = node.create("orders", to_bucket(GONE, "o/")).await;
        world.objects.set_mood(GONE, mood);
        for number in 0..4 {
            node.put(&stream, &records("orders", number * 10..(number + 1) * 10, 10)).await;
            sealed(&node, &stream, 1).await;
        }
        delete(&world, &node, &stream).await;
        eventually("it is being tried", PATIENCE, async || (world.objects.puts() > 0).then_some(())).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(node.streams.by_id(stream.id).is_some(), "{mood:?}");
        set_discard(&node, &stream).await;
        gone(&node, &stream).await;
        assert_eq!(discarded(&accounted_for(&node, &stream, 40).await).0, 40, "{mood:?}");
        node.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_uploaded_at_that_moment_may_still_be_delivered_and_says_so() {
    let world = World::new();
    let node = world.start("a").await;
    let stream = node.create("orders", to_s3("o/")).await;
    set_discard(&node, &stream).await;
    node.metastore.slow_down("mark_uploaded", Duration::from_millis(300));
    node.put(&stream, &records("orders", 0..10, 10)).await;
    eventually("its object is there", PATIENCE, async || {
        (world.objects.records_under(BUCKET, "o/").len() == 1).then_some(())
    })
    .await;
    delete(&world, &node, &stream).await;
    gone(&node, &stream).await;
    assert_eq!(discarded(&accounted_for(&node, &stream, 10).await), (0, 0));
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_load_is_thrown_away_and_what_is_in_one_follows_it() {
    let world = World::new();
    let node = world.start("a").await;
    let stream = node.create("orders", to_redshift("o/", "events", 3600)).await;
    world.warehouse.let_answer("ensure_ledger", [Answer::Unreachable; 10_000]);
    node.put(&stream, &records("orders", 0..10, 10)).await;
    eventually("a load is under way", PATIENCE, async || {
        (world.warehouse.calls("ensure_ledger") > 2).then_some(())
    })
    .await;
    node.put(&stream, &records("orders", 10..30, 10)).await;
    eventually("more waits for a load", PATIENCE, async || {
        let waiting = node.metastore.waiting().await.unwrap();
        (!waiting.is_empty()).then_some(())
    })
    .await;
    delete(&world, &node, &stream).await;
    set_discard(&node, &stream).await;
    eventually("what waits is thrown away", PATIENCE, async || {
        (discarded(&node.batches(&stream).await).0 == 20).then_some(())
    })
    .await;
    assert!(node.streams.by_id(stream.id).is_some(), "nobody knows yet how the load ends");
    let batches = node.batches(&stream).await;
    assert!(matches!(batches[0].state, BatchState::InLoad { .. }), "{:?}", batches[0].state);
    let states = batches[1..].iter().map(|batch| &batch.state);
    assert!(states.into_iter().all(|state| state.object().is_some()), "their objects are named");
    assert_eq!(world.objects.records_under(BUCKET, "o/").len(), batches.len(), "and stay where they are");
    world.warehouse.answer_all("ensure_ledger");
    gone(&node, &stream).await;
    assert_eq!(discarded(&accounted_for(&node, &stream, 30).await).0, 20);
    assert_eq!(world.warehouse.rows(&table_key("events")).len(), 10);
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_step_leaves_a_deletion_that_goes_on() {
    for step in ["seal_batches", "discard_batches", "logs", "remove_stream"] {
        let world = World::new();
        let node = world.start("a").await;
        let stream = node.create("orders", to_bucket(GONE, "o/")).await;
        world.objects.set_mood(GONE, Mood::Refuses("S3.NoSuchBucket"));
        set_discard(&node, &stream).await;
        node.put(&stream, &records("orders", 0..10, 10)).await;
        sealed(&node, &stream, 1).await;
        node.metastore.silence(step);
        let before = node.metastore.calls(step);
        node.put(&stream, &records("orders", 10..30, 10)).await;
        delete(&world, &node, &stream).await;
        eventually(&format!("{step} hangs"), PATIENCE, async || {
            (node.metastore.calls(step) > before).then_some(())
        })
        .await;
        node.stop().await.unwrap();
        let node = world.start("a").await;
        gone(&node, &stream).await;
        assert_eq!(discarded(&accounted_for(&node, &stream, 30).await).0, 30, "{step}");
        node.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_fails_meanwhile_each_record_is_delivered_or_recorded_as_discarded_once() {
    let world = World::new();
    let mut puts = 0;
    let node = world.start("a").await;
    let stream = node.create("orders", to_s3("o/")).await;
    world.set_fault_percent(30);
    for number in 0..30 {
        node.put(&stream, &records("orders", number * 10..(number + 1) * 10, 20_000)).await;
        puts += 10;
    }
    delete(&world, &node, &stream).await;
    set_discard(&node, &stream).await;
    gone(&node, &stream).await;
    world.set_fault_percent(0);
    let batches = accounted_for(&node, &stream, puts).await;
    assert_eq!(counted(&node), discarded(&batches), "counted once, whatever was repeated");
    for batch in &batches {
        let is_there = world.objects.stored(BUCKET, batch.key.as_str()).is_some();
        assert!(is_there || batch.state == BatchState::Discarded { object: None }, "{:?}", batch.state);
    }
    node.stop().await.unwrap();
}

const STOPPED: &str = "hydrant_delivery_streams_stopped";

#[tokio::test(flavor = "multi_thread")]
async fn records_that_cannot_be_read_can_be_thrown_away_though_their_stream_had_stopped() {
    let world = World::new();
    let mut node = world.open("a").await;
    let unreadable = Arc::new(AtomicBool::new(false));
    let told = unreadable.clone();
    let log = HookedLog::new(node.log.clone()).before_read(move |stream, from| {
        let reason = "as told".to_owned();
        if told.load(Ordering::Relaxed) { Err(error::Read::Missing { stream, from, reason }) } else { Ok(()) }
    });
    world.deliver(&mut node, Arc::new(log), |_| {}).await;
    let stream = node.create("orders", to_bucket(GONE, "o/")).await;
    world.objects.set_mood(GONE, Mood::Down);
    node.put(&stream, &records("orders", 0..10, 10)).await;
    sealed(&node, &stream, 1).await;
    unreadable.store(true, Ordering::Relaxed);
    node.put(&stream, &records("orders", 10..30, 10)).await;
    eventually("it stopped", PATIENCE, async || {
        node.metrics().contains(&format!("{STOPPED} 1")).then_some(())
    })
    .await;
    // A sealed batch is on its way still; then that cannot be read either.
    world.objects.set_mood(GONE, Mood::Refuses("S3.NoSuchBucket"));
    set_discard(&node, &stream).await;
    delete(&world, &node, &stream).await;
    gone(&node, &stream).await;
    let batches = accounted_for(&node, &stream, 30).await;
    assert_eq!(discarded(&batches).0, 30);
    assert_eq!(
        batches[1..].iter().map(|batch| batch.bytes).sum::<u64>(),
        0,
        "nobody knows how long they are"
    );
    assert!(node.metrics().contains(&format!("{STOPPED} 0")));
    node.stop().await.unwrap();
}
