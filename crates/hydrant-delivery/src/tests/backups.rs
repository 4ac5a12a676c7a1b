//! Streams with a backup: their records go to two buckets, each on a lane of its own.

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
use hydrant_types::{
    Batch, BufferingHints, Compression, Content, Destination, Lane, S3Settings, Stream, Tags, Timestamp,
};

use super::{
    objects::Mood,
    processing::processing,
    world::{BUCKET, Node, PATIENCE, World, records, s3, table_key, to_redshift, to_s3},
};

const BACKUP: &str = "backup";

pub(crate) fn backup(prefix: &str) -> Option<Box<S3Settings>> {
    Some(Box::new(S3Settings {
        prefix: Some(prefix.to_owned()),
        buffering: BufferingHints { size_mb: 1, interval_secs: 60 },
        ..S3Settings::of_bucket(BACKUP.parse().unwrap())
    }))
}

fn to_s3_with_backup(prefix: &str) -> Destination {
    Destination::S3(S3Settings {
        processing: processing(&[("AppendDelimiterToRecord", &[("Delimiter", "|")])]),
        backup: backup(prefix),
        ..s3(prefix, Compression::Gzip)
    })
}

async fn batches_of(node: &Node, stream: &Stream, content: Content) -> Vec<Batch> {
    let mut batches = node.batches(stream).await;
    batches.retain(|batch| batch.content == content);
    batches
}

/// The records in the backup, in the order of their bytes: objects of one second have no order.
fn backed_up(world: &World, prefix: &str) -> Vec<Vec<u8>> {
    let objects = world.objects.records_under(BACKUP, prefix);
    let lines = objects.iter().flat_map(|(_, content)| content.split_inclusive(|byte| *byte == b'\n'));
    sorted(lines.map(<[u8]>::to_vec).collect())
}

fn sorted(mut records: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    records.sort_unstable();
    records
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_backed_up_as_they_came_into_their_own_bucket() {
    let world = World::new();
    let node = world.start("a").await;
    let stream = node.create("orders", to_s3_with_backup("o/")).await;
    let records = records("orders", 0..10, 10);
    node.put(&stream, &records).await;
    node.settled(&stream).await;
    assert_eq!(backed_up(&world, "o/"), sorted(records.clone()));
    let delivered: Vec<u8> =
        world.objects.records_under(BUCKET, "o/").into_iter().flat_map(|(_, content)| content).collect();
    assert_eq!(delivered, records.join(&b'|').into_iter().chain([b'|']).collect::<Vec<u8>>());
    let backups = batches_of(&node, &stream, Content::Backup).await;
    assert!(backups.iter().all(|batch| batch.bucket.as_str() == BACKUP && batch.state.name() == "delivered"));
    assert!(!backups[0].key.as_str().ends_with(".gz"), "its compression is its own");
    let metrics = node.metrics();
    for name in ["hydrant_backup_to_s3_records_total", "hydrant_delivery_to_s3_records_total"] {
        assert!(metrics.contains(&format!("{name}{{stream=\"orders\"}} 10\n")), "{metrics}");
    }
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_backup_holds_up_neither_the_delivery_nor_the_loads_and_keeps_its_records_in_the_log() {
    let world = World::new();
    let node = world.start("a").await;
    let mut destination = to_redshift("o/", "events", 3600);
    let Destination::Redshift(redshift) = &mut destination else { unreachable!() };
    redshift.s3.backup = backup("b/");
    let stream = node.create("orders", destination).await;
    world.objects.set_mood(BACKUP, Mood::Refuses("S3.AccessDenied"));
    let records = records("orders", 0..30, 100);
    for (part, loaded) in records.chunks(10).zip([10, 20, 30]) {
        node.put(&stream, part).await;
        eventually("what came is loaded", PATIENCE, async || {
            (world.warehouse.rows(&table_key("events")).len() == loaded).then_some(())
        })
        .await;
    }
    assert_eq!(node.tail(&stream).trimmed.0, 0, "the log has what is not backed up");
    let freshness = "hydrant_backup_to_s3_data_freshness_seconds{stream=\"orders\"}";
    eventually("its age is shown", PATIENCE, async || node.metrics().contains(freshness).then_some(())).await;
    let nothing_undelivered = "hydrant_oldest_undelivered_age_seconds 0\n";
    eventually("nothing else waits", PATIENCE, async || {
        node.metrics().contains(nothing_undelivered).then_some(())
    })
    .await;
    // Also across a restart.
    node.stop().await.unwrap();
    let node = world.start("a").await;
    assert_eq!(node.tail(&stream).trimmed.0, 0);
    world.objects.set_mood(BACKUP, Mood::Well);
    node.settled(&stream).await;
    assert_eq!(backed_up(&world, "b/"), sorted(records));
    assert_eq!(world.warehouse.rows(&table_key("events")).len(), 30);
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_delivery_does_not_hold_up_the_backup() {
    let world = World::new();
    let node = world.start("a").await;
    let stream = node.create("orders", to_s3_with_backup("o/")).await;
    world.objects.set_mood(BUCKET, Mood::Down);
    let records = records("orders", 0..10, 10);
    node.put(&stream, &records).await;
    eventually("it is backed up", PATIENCE, async || {
        (backed_up(&world, "o/") == sorted(records.clone())).then_some(())
    })
    .await;
    assert_eq!(node.tail(&stream).trimmed.0, 0);
    world.objects.set_mood(BUCKET, Mood::Well);
    node.settled(&stream).await;
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_enabled_later_has_every_record_from_then_on() {
    let world = World::new();
    let node = world.start("a").await;
    let stream = node.create("orders", to_s3("o/")).await;
    let before = records("orders", 0..10, 10);
    node.put(&stream, &before).await;
    node.settled(&stream).await;
    let now = Timestamp(stream.created_at.0 + 1);
    let with = to_s3_with_backup("o/");
    world.objects.set_mood(BACKUP, Mood::Down);
    node.metastore.update_destination(stream.id, stream.version, &with, now).await.unwrap();
    node.streams.refresh().await.unwrap();
    let after = records("orders", 10..20, 10);
    node.put(&stream, &after).await;
    eventually("the delivery goes on", PATIENCE, async || {
        (batches_of(&node, &stream, Content::Delivery).await.len() == 2).then_some(())
    })
    .await;
    // A restart before anything of it is in the backup begins at the same record.
    node.stop().await.unwrap();
    let node = world.start("a").await;
    world.objects.set_mood(BACKUP, Mood::Well);
    node.settled(&stream).await;
    assert_eq!(backed_up(&world, "o/"), sorted(after));
    let backups = batches_of(&node, &stream, Content::Backup).await;
    assert_eq!(backups[0].range.from.0, 10);
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_stream_stays_until_its_backup_is_whole_or_thrown_away() {
    for discard in [false, true] {
        let world = World::new();
        let node = world.start("a").await;
        let stream = node.create("orders", to_s3_with_backup("o/")).await;
        world.objects.set_mood(BACKUP, Mood::Refuses("S3.NoSuchBucket"));
        let records = records("orders", 0..10, 10);
        node.put(&stream, &records).await;
        node.metastore.mark_deleting(stream.id, world.clock.now()).await.unwrap();
        node.streams.refresh().await.unwrap();
        eventually("it is delivered", PATIENCE, async || {
            let delivered = batches_of(&node, &stream, Content::Delivery).await;
            (!delivered.is_empty() && delivered.iter().all(|batch| batch.state.is_done())).then_some(())
        })
        .await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(node.streams.by_id(stream.id).is_some(), "its backup is not whole");
        if discard {
            let tags = Tags::from([("hydrant:on-delete".to_owned(), "discard".to_owned())]);
            node.metastore.change_tags(stream.id, &tags, &[]).await.unwrap();
            node.streams.refresh().await.unwrap();
        } else {
            world.objects.set_mood(BACKUP, Mood::Well);
        }
        eventually("it is gone", PATIENCE, async || node.streams.by_id(stream.id).is_none().then_some(()))
            .await;
        let backups = batches_of(&node, &stream, Content::Backup).await;
        let state = if discard { "discarded" } else { "delivered" };
        assert!(
            !backups.is_empty() && backups.iter().all(|batch| batch.state.name() == state),
            "{backups:?}"
        );
        assert_eq!(backed_up(&world, "o/"), if discard { Vec::new() } else { sorted(records) });
        node.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_lane_has_its_positions_and_its_size() {
    let world = World::new();
    let node = world.start("a").await;
    let stream = node.create("orders", to_s3_with_backup("o/")).await;
    // Three full batches.
    node.put(&stream, &records("orders", 0..50, 65_536)).await;
    node.settled(&stream).await;
    let positions = node.metastore.sealed_to(node.log.log_id()).await.unwrap();
    let sealed: Vec<(Lane, u64)> =
        positions.iter().map(|position| (position.lane, position.sealed.0)).collect();
    assert_eq!(sealed.len(), 2);
    assert!(sealed.contains(&(Lane::Delivery, 50)) && sealed.contains(&(Lane::Backup, 50)), "{sealed:?}");
    for content in [Content::Delivery, Content::Backup] {
        let batches = batches_of(&node, &stream, content).await;
        let (_, full) = batches.split_last().unwrap();
        assert!(full.len() >= 2 && full.iter().all(|batch| batch.bytes >= (1 << 20) - 65_600), "{content:?}");
    }
    node.stop().await.unwrap();
}

/// A stream with what makes its lanes seal at different times: a tag is for the delivery alone.
async fn with_interval(node: &Node, destination: Destination, interval: &str) -> Stream {
    let stream = node.create("orders", destination).await;
    let tags = Tags::from([("hydrant:buffering-interval".to_owned(), interval.to_owned())]);
    node.metastore.change_tags(stream.id, &tags, &[]).await.unwrap();
    node.streams.refresh().await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_the_delivery_has_sealed_is_still_there_for_the_backup_after_a_restart() {
    let world = World::new();
    let node = world.start_with("a", |settings| settings.interval_max = None).await;
    let stream = with_interval(&node, to_s3_with_backup("o/"), "1ms").await;
    let records = records("orders", 0..10, 10);
    node.put(&stream, &records).await;
    eventually("it is delivered", PATIENCE, async || {
        let delivered = batches_of(&node, &stream, Content::Delivery).await;
        (!delivered.is_empty() && delivered.iter().all(|batch| batch.state.is_done())).then_some(())
    })
    .await;
    assert!(batches_of(&node, &stream, Content::Backup).await.is_empty());
    node.stop().await.unwrap();
    let node = world.start("a").await;
    node.settled(&stream).await;
    assert_eq!(backed_up(&world, "o/"), sorted(records));
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_ahead_of_the_delivery_is_no_disagreement_at_a_start() {
    let world = World::new();
    let node = world.start_with("a", |settings| settings.interval_max = None).await;
    let mut destination = to_s3_with_backup("o/");
    let Destination::S3(s3) = &mut destination else { unreachable!() };
    s3.backup.as_mut().unwrap().buffering.interval_secs = 1;
    let stream = with_interval(&node, destination, "15m").await;
    let records = records("orders", 0..10, 10);
    node.put(&stream, &records).await;
    eventually("it is backed up", PATIENCE, async || {
        (backed_up(&world, "o/") == sorted(records.clone())).then_some(())
    })
    .await;
    assert!(batches_of(&node, &stream, Content::Delivery).await.is_empty());
    node.stop().await.unwrap();
    let node = world.start("a").await;
    node.settled(&stream).await;
    assert_eq!(world.objects.records_under(BUCKET, "o/").len(), 1);
    assert_eq!(backed_up(&world, "o/"), sorted(records), "and not again");
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_backup_cannot_go_on_is_not_removed() {
    let world = World::new();
    let mut node = world.open("a").await;
    let unreadable = Arc::new(AtomicBool::new(false));
    let told = unreadable.clone();
    // Not trimmed: what was delivered before the backup began is left for it.
    let log = HookedLog::new(node.log.clone()).never_trimmed().before_read(move |stream, from| {
        let reason = "as told".to_owned();
        if told.load(Ordering::Relaxed) { Err(error::Read::Missing { stream, from, reason }) } else { Ok(()) }
    });
    world.deliver(&mut node, Arc::new(log), |_| {}).await;
    let stream = node.create("orders", to_s3("o/")).await;
    node.put(&stream, &records("orders", 0..10, 10)).await;
    eventually("it is delivered", PATIENCE, async || {
        let delivered = batches_of(&node, &stream, Content::Delivery).await;
        (!delivered.is_empty() && delivered.iter().all(|batch| batch.state.is_done())).then_some(())
    })
    .await;
    unreadable.store(true, Ordering::Relaxed);
    let now = Timestamp(stream.created_at.0 + 1);
    let with = to_s3_with_backup("o/");
    node.metastore.update_destination(stream.id, stream.version, &with, now).await.unwrap();
    node.streams.refresh().await.unwrap();
    eventually("its backup stopped", PATIENCE, async || {
        node.metrics().contains("hydrant_delivery_streams_stopped 1").then_some(())
    })
    .await;
    let looks = node.metastore.calls("logs");
    node.metastore.mark_deleting(stream.id, world.clock.now()).await.unwrap();
    node.streams.refresh().await.unwrap();
    eventually("the removal looks", PATIENCE, async || (node.metastore.calls("logs") > looks).then_some(()))
        .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(node.streams.by_id(stream.id).is_some(), "records are left that the backup does not have");
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_put_as_its_own_role_with_its_own_key_in_the_same_bucket_too() {
    let world = World::new();
    let node = world.start("a").await;
    let of = |prefix: &str, role: &str, key: Option<&str>| S3Settings {
        role_arn: role.to_owned(),
        kms_key_arn: key.map(str::to_owned),
        ..s3(prefix, Compression::Gzip)
    };
    let backup = Some(Box::new(of("b/", "backup", None)));
    let settings = S3Settings { backup, ..of("o/", "delivery", Some("k")) };
    let stream = node.create("orders", Destination::S3(settings)).await;
    node.put(&stream, &records("orders", 0..10, 10)).await;
    node.settled(&stream).await;
    let asked = world.objects.asked_with();
    assert_eq!(asked.len(), 2, "{asked:?}");
    for (key, options) in asked {
        let (role, kms_key) = if key.starts_with("b/") { ("backup", None) } else { ("delivery", Some("k")) };
        assert_eq!(
            (options.role_arn.as_deref(), options.kms_key_arn.as_deref()),
            (Some(role), kms_key),
            "{key}"
        );
    }
    node.stop().await.unwrap();
}
