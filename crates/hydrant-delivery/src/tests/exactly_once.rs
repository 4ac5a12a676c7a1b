//! The standing invariant, under faults at every step and crashes at any moment: every acknowledged record is at its destination exactly
//! once, or parked with its object.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use hydrant_testkit::SeededEntropy;
use hydrant_types::{
    Batch, BatchState, Compression, Content, Destination, LoadState, S3Settings, Stream, StreamName,
};
use tokio::runtime::Runtime;

use super::{
    backups::backup,
    processing::processing,
    world::{BUCKET, Node, World, records, s3, table_key, to_redshift, to_s3},
};

/// Lives of the service, each ended by a crash.
const LIVES: usize = 7;

/// What producers were told is stored.
#[derive(Default)]
struct Acknowledged(HashMap<StreamName, BTreeSet<Vec<u8>>>);

impl Acknowledged {
    async fn put(&mut self, node: &Node, stream: &Stream, random: &mut fastrand::Rng) {
        let known = self.0.entry(stream.name.clone()).or_default();
        let first = known.len() as u64;
        let records = records(stream.name.as_str(), first..first + random.u64(1..40), random.usize(1..6000));
        node.put(stream, &records).await;
        known.extend(records);
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Every task ends where it is, as a crash ends them; the log, which has its own tests for that, is closed.
fn crash(runtime: Runtime, node: Node) {
    let log = node.log.clone();
    let inside = runtime.enter();
    drop(node);
    drop(inside);
    runtime.shutdown_timeout(Duration::from_secs(10));
    log.shutdown();
}

async fn create_streams(node: &Node) -> Vec<Stream> {
    vec![
        node.create("zipped", to_s3("zipped/")).await,
        node.create("plain", Destination::S3(s3("plain/", Compression::Uncompressed))).await,
        node.create(
            "processed",
            Destination::S3(S3Settings {
                processing: processing(&[("AppendDelimiterToRecord", &[("Delimiter", "|")])]),
                backup: backup("processed/"),
                ..s3("processed/", Compression::Gzip)
            }),
        )
        .await,
        // Two streams into one table; failures of the second are given up at once.
        node.create("patient", to_redshift("patient/", "events", 3600)).await,
        node.create("impatient", to_redshift("impatient/", "events", 0)).await,
    ]
}

fn live_and_crash(
    world: &World,
    streams: &mut Vec<Stream>,
    acknowledged: &mut Acknowledged,
    random: &mut fastrand::Rng,
) {
    let runtime = runtime();
    world.set_fault_percent(0);
    let mut node = runtime.block_on(world.open("a"));
    if streams.is_empty() {
        *streams = runtime.block_on(create_streams(&node));
    }
    world.set_fault_percent(random.u32(5..25));
    let level = random.u32(1..=9);
    runtime.block_on(async {
        let log = node.log.clone();
        world.deliver(&mut node, log, |settings| settings.gzip_level = level).await;
        for _ in 0..random.usize(3..12) {
            let stream = random.choice(&*streams).unwrap();
            acknowledged.put(&node, stream, random).await;
            tokio::time::sleep(Duration::from_millis(random.u64(0..90))).await;
        }
    });
    crash(runtime, node);
}

#[test]
fn every_acknowledged_record_is_delivered_exactly_once_whatever_fails_and_whenever_it_crashes() {
    let world = World::with(SeededEntropy::from_environment());
    let mut random = world.entropy.fork();
    let (mut streams, mut acknowledged) = (Vec::new(), Acknowledged::default());
    for _ in 0..LIVES {
        live_and_crash(&world, &mut streams, &mut acknowledged, &mut random);
    }
    // The last life has no faults: everything comes to its end.
    world.set_fault_percent(0);
    let runtime = runtime();
    let node = runtime.block_on(world.start("a"));
    runtime.block_on(async {
        for stream in &streams {
            node.settled(stream).await;
        }
        check(&world, &node, &streams, &acknowledged).await;
    });
    crash(runtime, node);
}

/// What the records were before each got a delimiter of one byte, where the stream has that.
fn without_delimiters(content: Vec<u8>, stream: &Stream) -> Vec<u8> {
    if stream.destination.s3().processing.enabled {
        content.into_iter().filter(|byte| *byte != b'|').collect()
    } else {
        content
    }
}

fn check_backup(world: &World, stream: &Stream, backups: &[Batch], expected: &BTreeSet<Vec<u8>>) {
    let mut next = 0;
    let mut arrived = Vec::new();
    for batch in backups {
        assert_eq!((batch.content, batch.range.from.0), (Content::Backup, next), "{}", stream.name);
        next = batch.range.to.0;
        assert_eq!(batch.state.name(), "delivered");
        let content =
            world.objects.content("backup", batch.key.as_str()).expect("every batch has its object");
        arrived.extend(content.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec));
    }
    if stream.destination.s3().backup.is_some() {
        assert_eq!(arrived.len(), expected.len(), "{}: each once", stream.name);
        assert_eq!(&arrived.into_iter().collect::<BTreeSet<_>>(), expected, "{}: all of them", stream.name);
        assert_eq!(world.objects.keys("backup").len(), backups.len(), "no object without a batch");
    }
}

async fn check(world: &World, node: &Node, streams: &[Stream], acknowledged: &Acknowledged) {
    let mut rows: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    for row in world.warehouse.rows(&table_key("events")) {
        *rows.entry(row).or_default() += 1;
    }
    assert_eq!(world.warehouse.running_max(), 1, "one COPY at a time");
    for stream in streams {
        let expected = acknowledged.0.get(&stream.name).cloned().unwrap_or_default();
        let (batches, backups) =
            node.batches(stream).await.into_iter().partition(|batch| batch.content == Content::Delivery);
        let (batches, backups): (Vec<_>, Vec<_>) = (batches, backups);
        check_backup(world, stream, &backups, &expected);
        let mut next = 0;
        let (mut arrived, mut parked) = (Vec::new(), 0);
        for batch in &batches {
            assert_eq!(batch.range.from.0, next, "{}: ranges follow each other without gap", stream.name);
            next = batch.range.to.0;
            let content =
                world.objects.content(BUCKET, batch.key.as_str()).expect("every batch has its object");
            assert_eq!(content.len() as u64, batch.processed_bytes);
            let content = without_delimiters(content, stream);
            assert_eq!(content.len() as u64, batch.bytes);
            let lines: Vec<Vec<u8>> = content.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
            assert_eq!(lines.len() as u64, batch.range.records());
            let times_in_table = match &batch.state {
                BatchState::Delivered { .. } => 0,
                BatchState::Loaded { .. } => 1,
                BatchState::Parked { .. } => {
                    parked += 1;
                    0
                }
                state => panic!("{} is left {}", stream.name, state.name()),
            };
            for line in &lines {
                assert_eq!(rows.get(line).copied().unwrap_or_default(), times_in_table, "{}", stream.name);
            }
            arrived.extend(lines);
        }
        let objects = world.objects.records_under(BUCKET, &format!("{}/", stream.name));
        assert_eq!(objects.len(), batches.len(), "{}: no object without a batch", stream.name);
        assert_eq!(arrived.len(), expected.len(), "{}: each once", stream.name);
        assert_eq!(arrived.into_iter().collect::<BTreeSet<_>>(), expected, "{}: all of them", stream.name);
        let may_park = stream.destination.copy_target().is_some_and(|target| target.retry_secs == 0);
        assert!(parked == 0 || may_park, "{}: only what may be given up is parked", stream.name);
    }
    let loaded: usize = rows.values().sum();
    assert_eq!(loaded, rows.len(), "no row twice");
    for load in node.loads().await {
        if let LoadState::Abandoned { errors_manifest_key, .. } = &load.state {
            let copy = world.objects.content(BUCKET, errors_manifest_key.as_str());
            assert_eq!(
                copy,
                world.objects.content(BUCKET, load.manifest_key.as_str()),
                "its manifest is under errors/"
            );
        }
    }
}
