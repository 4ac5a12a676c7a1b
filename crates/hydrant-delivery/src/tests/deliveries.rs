//! From the log into S3.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hydrant_log::{RecordLog, testing::HookedLog};
use hydrant_metastore::{Metastore, Subject};
use hydrant_testkit::eventually;
use hydrant_types::{BatchState, Compression, Destination, Position, Timestamp};

use super::{
    objects::Mood,
    world::{BUCKET, PATIENCE, World, records, s3, to_bucket, to_s3},
};
use crate::{
    Error,
    encoder::{Encoder, Encoding},
};

/// Longer than any test: only size seals.
const NEVER: Option<Duration> = None;

#[tokio::test(flavor = "multi_thread")]
async fn records_are_cut_by_size_before_compression_and_the_rest_waits_for_its_age() {
    let world = World::new();
    let node = world.start_with("a", |settings| settings.interval_max = NEVER).await;
    let stream = node.create("orders", to_s3("o/")).await;
    let put = records("orders", 0..70, 50_000);
    node.put(&stream, &put).await;
    eventually("three are full", PATIENCE, async || (node.batches(&stream).await.len() == 3).then_some(()))
        .await;
    eventually("they are uploaded", PATIENCE, async || {
        (world.objects.records_under(BUCKET, "o/").len() == 3).then_some(())
    })
    .await;
    let batches = node.batches(&stream).await;
    for batch in &batches {
        let over = batch.bytes - (1 << 20);
        assert!(over < 50_100, "a batch ends with the record that fills it: {over} over");
        let content = world.objects.content(BUCKET, batch.key.as_str()).unwrap();
        assert_eq!(content.len() as u64, batch.bytes);
    }
    let delivered: Vec<u8> =
        batches.iter().flat_map(|batch| world.objects.content(BUCKET, batch.key.as_str()).unwrap()).collect();
    let all = put.concat();
    assert_eq!(delivered, all[..delivered.len()], "in order, verbatim, nothing between");
    assert!(delivered.len() < all.len(), "the rest is younger than its interval");
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_sealed_is_read_again_after_a_restart() {
    let world = World::new();
    let node = world.start_with("a", |settings| settings.interval_max = NEVER).await;
    let stream = node.create("orders", Destination::S3(s3("o/", Compression::Uncompressed))).await;
    let put = records("orders", 0..10, 100);
    node.put(&stream, &put).await;
    node.stop().await.unwrap();
    assert_eq!(world.objects.puts(), 0, "a stop seals nothing");
    let node = world.start("a").await;
    node.settled(&stream).await;
    let objects = world.objects.records_under(BUCKET, "o/");
    assert_eq!(objects.into_iter().map(|(_, content)| content).collect::<Vec<_>>(), [put.concat()]);
    node.stop().await.unwrap();
}

/// The wall clock may have stepped while records waited; the age counts between 0 and the interval.
#[tokio::test(flavor = "multi_thread")]
async fn a_batchs_age_is_kept_between_zero_and_the_interval() {
    let world = World::new();
    let node =
        world.start_with("a", |settings| settings.interval_max = Some(Duration::from_millis(1500))).await;
    let (old, new) = (node.create("old", to_s3("old/")).await, node.create("new", to_s3("new/")).await);
    let hour = 3_600_000;
    let now = world.clock.now();
    let begun = Instant::now();
    node.put_at(&old, &records("old", 0..1, 10), Timestamp(now.0 - hour)).await.unwrap();
    node.put_at(&new, &records("new", 0..1, 10), Timestamp(now.0 + hour)).await.unwrap();
    node.settled(&old).await;
    let old_took = begun.elapsed();
    node.settled(&new).await;
    let new_took = begun.elapsed();
    assert!(old_took < Duration::from_millis(1200), "an old record is due at once: {old_took:?}");
    assert!(
        new_took >= Duration::from_millis(1400),
        "one from the future has the whole interval: {new_took:?}"
    );
    let key = &node.batches(&old).await[0].key;
    let arrived = Timestamp(now.0 - hour).format_utc("old/%Y/%m/%d/%H/old-1-%Y-%m-%d-%H-%M-%S-");
    assert!(key.as_str().starts_with(&arrived), "keys tell the oldest record's arrival: {key}");
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_is_cut_by_size_and_not_by_the_intervals_that_passed() {
    let world = World::new();
    let node = world.start("a").await;
    let stream = node.create("orders", to_s3("o/")).await;
    world.objects.set_mood(BUCKET, Mood::Refuses("S3.AccessDenied"));
    for n in 0..20 {
        node.put(&stream, &records("orders", n * 10..(n + 1) * 10, 20_000)).await;
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    world.objects.set_mood(BUCKET, Mood::Well);
    node.settled(&stream).await;
    let batches = node.batches(&stream).await;
    assert!(
        batches.len() <= 7,
        "4 MB are 4 full objects and a few at the edges, not one an interval: {}",
        batches.len()
    );
    assert!(
        batches.iter().filter(|batch| batch.bytes >= 1 << 20).count() >= 2,
        "what waited is cut when it is full"
    );
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_refuses_is_tried_until_it_takes_the_objects_and_each_failure_is_shown() {
    let world = World::new();
    let node = world.start("a").await;
    let stream = node.create("orders", to_s3("o/")).await;
    world.objects.set_mood(BUCKET, Mood::Refuses("S3.AccessDenied"));
    let put = records("orders", 0..5, 10);
    node.put(&stream, &put).await;
    eventually("it was tried a few times", PATIENCE, async || (world.objects.puts() >= 5).then_some(()))
        .await;
    assert_eq!(node.tail(&stream).trimmed, Position::FIRST, "nothing is trimmed before it is uploaded");
    let batch = node.batches(&stream).await.remove(0);
    assert_eq!(batch.state, BatchState::Sealed);
    let metrics = node.metrics();
    assert!(
        metrics.contains("hydrant_delivery_to_s3_data_freshness_seconds{stream=\"orders\"}"),
        "{metrics}"
    );
    let (failure, times) = eventually("the failures are recorded", PATIENCE, async || {
        let attempts = node.metastore.attempts(Subject::Batch(batch.id)).await.unwrap();
        attempts.into_iter().find(|(attempt, _)| attempt.code.as_deref() == Some("S3.AccessDenied"))
    })
    .await;
    assert_eq!((failure.step, failure.outcome), ("put_object", "failed"));
    assert!(times >= 1);
    world.objects.set_mood(BUCKET, Mood::Well);
    node.settled(&stream).await;
    assert_eq!(world.objects.content(BUCKET, batch.key.as_str()).unwrap(), put.concat());
    eventually("the success is recorded too", PATIENCE, async || {
        let attempts = node.metastore.attempts(Subject::Batch(batch.id)).await.unwrap();
        (attempts.last()?.0.outcome == "ok").then_some(())
    })
    .await;
    let rows = node.metastore.attempts(Subject::Batch(batch.id)).await.unwrap().len();
    assert!(rows <= 3, "equal failures are one or two rows, however many there were: {rows}");
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_never_answers_slows_no_other_stream_and_is_only_asked_with_heads() {
    let world = World::new();
    // Room for little: a body held for the stuck bucket would be missed at once.
    let node = world
        .start_with("a", |settings| (settings.upload_bytes_max, settings.uploads_max) = (64 << 10, 2))
        .await;
    world.objects.set_mood("stuck", Mood::Silent);
    let well = node.create("well", to_s3("w/")).await;
    let mut stuck = Vec::new();
    for n in 0..6 {
        let name = format!("stuck{n}");
        let stream = node.create(&name, to_bucket("stuck", "s/")).await;
        node.put(&stream, &records(&name, 0..20, 1000)).await;
        stuck.push(stream);
    }
    eventually("the bucket was found stuck", PATIENCE, async || (world.objects.heads() > 0).then_some(()))
        .await;
    let puts = world.objects.puts();
    let begun = Instant::now();
    node.put(&well, &records("well", 0..20, 1000)).await;
    node.settled(&well).await;
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(3), "its own interval and little more: {took:?}");
    assert!(world.objects.puts() <= puts + 2, "the stuck bucket got no more bodies");
    assert!(node.metrics().contains("hydrant_delivery_upload_bytes 0"), "no body is in memory");
    world.objects.set_mood("stuck", Mood::Well);
    for stream in &stuck {
        node.settled(stream).await;
    }
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_cannot_be_reached_is_asked_now_and_then_until_it_is_back() {
    let world = World::new();
    world.objects.set_mood(BUCKET, Mood::Down);
    let node = world.start("a").await;
    let stream = node.create("orders", to_s3("o/")).await;
    node.put(&stream, &records("orders", 0..5, 10)).await;
    eventually("it was asked a few times", PATIENCE, async || (world.objects.heads() >= 4).then_some(()))
        .await;
    assert_eq!(world.objects.puts(), 1, "one PUT found it out");
    let batch = node.batches(&stream).await.remove(0);
    world.objects.set_mood(BUCKET, Mood::Well);
    node.settled(&stream).await;
    let attempts = node.metastore.attempts(Subject::Batch(batch.id)).await.unwrap();
    assert_eq!((attempts[0].0.outcome, attempts[0].0.code.as_deref()), ("unknown", Some("S3.Unreachable")));
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_uploaded_and_trim_is_made_good_at_the_start_also_for_an_idle_stream() {
    let world = World::new();
    let mut node = world.open("a").await;
    let log = Arc::new(HookedLog::new(node.log.clone()).never_trimmed());
    world.deliver(&mut node, log, |_| {}).await;
    let stream = node.create("orders", to_s3("o/")).await;
    node.put(&stream, &records("orders", 0..5, 10)).await;
    eventually("it is delivered", PATIENCE, async || {
        let batches = node.batches(&stream).await;
        batches.first()?.state.is_done().then_some(())
    })
    .await;
    let tail = node.tail(&stream);
    assert_eq!((tail.trimmed, tail.sealed), (Position::FIRST, Position(5)));
    node.stop().await.unwrap();
    let node = world.start("a").await;
    node.settled(&stream).await;
    assert_eq!(world.objects.puts(), 1, "nothing is uploaded again");
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_of_many_streams_are_few_transactions() {
    let world = World::new();
    let node = world.start("a").await;
    node.metastore.slow_down("seal_batches", Duration::from_millis(30));
    node.metastore.slow_down("mark_uploaded", Duration::from_millis(30));
    let mut streams = Vec::new();
    for n in 0..60 {
        streams.push(node.create(&format!("s{n}"), to_s3(&format!("s{n}/"))).await);
    }
    for stream in &streams {
        node.put(stream, &records("s", 0..2, 10)).await;
    }
    for stream in &streams {
        node.settled(stream).await;
    }
    let (seals, uploads) = (node.metastore.calls("seal_batches"), node.metastore.calls("mark_uploaded"));
    assert!(seals <= 30 && uploads <= 30, "60 batches took {seals} and {uploads} transactions");
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_metastore_that_is_away_holds_up_sealing_and_nothing_is_lost() {
    let world = World::new();
    let node = world.start("a").await;
    let stream = node.create("orders", to_s3("o/")).await;
    node.metastore.set_away(true);
    node.put(&stream, &records("orders", 0..5, 10)).await;
    let before = node.metastore.calls("seal_batches");
    eventually("sealing is tried", PATIENCE, async || {
        (node.metastore.calls("seal_batches") > before + 2).then_some(())
    })
    .await;
    assert_eq!(world.objects.puts(), 0, "no object before its batch is written down");
    node.metastore.set_away(false);
    node.settled(&stream).await;
    assert_eq!(world.objects.records_under(BUCKET, "o/").len(), 1);
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn encoders_beyond_the_budget_change_nothing_but_when_a_batch_is_encoded() {
    let world = World::new();
    // One encoder's memory, and bodies of less than one batch.
    let node = world
        .start_with("a", |settings| {
            (settings.encoder_memory_max, settings.upload_bytes_max) = (400 << 10, 100 << 10);
        })
        .await;
    let mut streams = Vec::new();
    for n in 0..8 {
        let compression = if n % 2 == 0 { Compression::Gzip } else { Compression::Uncompressed };
        let name = format!("s{n}");
        streams.push(node.create(&name, Destination::S3(s3(&format!("{name}/"), compression))).await);
    }
    let mut put = Vec::new();
    for stream in &streams {
        // Incompressible: an object is as long as its records.
        let mut random = fastrand::Rng::with_seed(stream.id.0);
        let records: Vec<Vec<u8>> = (0..25).map(|_| (0..100_000).map(|_| random.u8(..)).collect()).collect();
        node.put(stream, &records).await;
        put.push(records.concat());
    }
    for (stream, put) in streams.iter().zip(put) {
        node.settled(stream).await;
        let batches = node.batches(stream).await;
        let objects: Vec<u8> = batches
            .iter()
            .flat_map(|batch| world.objects.content(BUCKET, batch.key.as_str()).unwrap())
            .collect();
        assert!(objects == put, "{} is delivered verbatim", stream.name);
    }
    let metrics = node.metrics();
    assert!(metrics.contains("hydrant_delivery_encoder_memory_bytes 0"), "{metrics}");
    assert!(metrics.contains("hydrant_delivery_upload_bytes 0"), "{metrics}");
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_quick_while_a_bucket_is_silent_and_gives_the_lease_back() {
    let world = World::new();
    world.objects.set_mood(BUCKET, Mood::Silent);
    let node = world.start_with("a", |settings| settings.upload_timeout = Duration::from_secs(60)).await;
    let stream = node.create("orders", to_s3("o/")).await;
    node.put(&stream, &records("orders", 0..5, 10)).await;
    eventually("an upload hangs", PATIENCE, async || (world.objects.puts() > 0).then_some(())).await;
    let (metastore, resource) = (node.metastore.clone(), format!("log:{}", node.log.log_id()));
    let begun = Instant::now();
    node.stop().await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    let taken = metastore.acquire_lease(&resource, "another", Duration::from_secs(5)).await.unwrap();
    assert!(taken.is_some(), "the lease is free");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_loses_the_logs_lease_delivers_nothing_more() {
    let world = World::new();
    let mut node = world.start_with("a", |settings| settings.lease_ttl = Duration::from_millis(300)).await;
    let stream = node.create("orders", to_s3("o/")).await;
    node.put(&stream, &records("orders", 0..5, 10)).await;
    node.settled(&stream).await;
    // Renewals do not come through; the log is locked on disk, so that alone ends nothing.
    node.metastore.silence("renew_lease");
    let resource = format!("log:{}", node.log.log_id());
    eventually("another takes the lease", PATIENCE, async || {
        node.metastore.acquire_lease(&resource, "another", Duration::from_secs(60)).await.unwrap()
    })
    .await;
    let puts = world.objects.puts();
    node.put(&stream, &records("orders", 5..10, 10)).await;
    let ended = tokio::time::timeout(PATIENCE, node.handle.take().unwrap().join()).await.unwrap();
    assert!(matches!(ended, Err(Error::LeaseLost)), "{ended:?}");
    assert_eq!(world.objects.puts(), puts, "what was not sealed was not uploaded");
    assert_eq!(node.batches(&stream).await.len(), 1);
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_another_encoding_with_the_same_records_is_taken_for_the_batchs_own() {
    let world = World::new();
    let node = world.start_with("a", |settings| settings.gzip_level = 1).await;
    let stream = node.create("orders", to_s3("o/")).await;
    // The first PUT is done and reported as failed, then the service is restarted with another level.
    world.objects.faults.set_percent(0);
    world.objects.set_mood(BUCKET, Mood::Refuses("InternalError"));
    let put = records("orders", 0..50, 500);
    node.put(&stream, &put).await;
    let batch = eventually("it is sealed", PATIENCE, async || node.batches(&stream).await.pop()).await;
    node.stop().await.unwrap();
    let mut encoder = Encoder::new(Encoding { level: 9, ..Encoding::of(Compression::Gzip) });
    encoder.write(&put.concat());
    let earlier = encoder.finish(batch.id);
    world.objects.store(BUCKET, batch.key.as_str(), earlier.clone());
    world.objects.set_mood(BUCKET, Mood::Well);
    let node = world.start_with("a", |settings| settings.gzip_level = 1).await;
    node.settled(&stream).await;
    let batch = node.batches(&stream).await.remove(0);
    let object = batch.state.object().unwrap();
    assert_eq!(object.bytes, earlier.bytes.len() as u64, "the metastore knows the object that is there");
    node.stop().await.unwrap();
}
