//! Streams whose records are processed before they are written, and error output.

use std::io::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::{Compression as Level, write::GzEncoder};
use hydrant_testkit::eventually;
use hydrant_types::{
    Batch, BatchState, Compression, Content, Destination, ErrorOutputType, Processing, Processor, S3Settings,
    Stream,
};
use serde_json::{Value, json};

use super::world::{BUCKET, Node, PATIENCE, World, records, s3, table_key, to_redshift};

pub(crate) fn processing(kinds: &[(&str, &[(&str, &str)])]) -> Processing {
    let processors = kinds.iter().map(|(kind, parameters)| Processor {
        kind: (*kind).to_owned(),
        parameters: parameters.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
    });
    Processing { enabled: true, processors: processors.collect() }
}

/// Decompression, messages, and nothing after them.
pub(crate) fn messages() -> Processing {
    processing(&[
        ("CloudWatchLogProcessing", &[("DataMessageExtraction", "true")]),
        ("Decompression", &[("CompressionFormat", "GZIP")]),
    ])
}

fn to_logs(prefix: &str) -> Destination {
    Destination::S3(S3Settings { processing: messages(), ..s3(prefix, Compression::Gzip) })
}

/// A record as CloudWatch Logs sends it.
pub(crate) fn log_record(kind: &str, messages: &[String]) -> Vec<u8> {
    let events: Vec<Value> =
        messages.iter().map(|text| json!({"id": "1", "timestamp": 2, "message": text})).collect();
    let document = json!({
        "messageType": kind, "owner": "1", "logGroup": "g", "logStream": "s", "subscriptionFilters": [], "logEvents": events
    });
    let mut encoder = GzEncoder::new(Vec::new(), Level::fast());
    encoder.write_all(document.to_string().as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn data(numbers: std::ops::Range<u64>) -> Vec<u8> {
    let messages: Vec<String> = numbers.map(|number| format!("message {number}")).collect();
    log_record("DATA_MESSAGE", &messages)
}

async fn failed(node: &Node, stream: &Stream) -> Vec<Batch> {
    let mut batches = node.batches(stream).await;
    batches.retain(|batch| matches!(batch.content, Content::Failed { .. }));
    batches
}

/// The records in a batch's error output, each with when it arrived.
fn raw_records(world: &World, batch: &Batch) -> Vec<(Vec<u8>, u64)> {
    let content = world.objects.content(BUCKET, batch.key.as_str()).unwrap();
    content
        .split_inclusive(|byte| *byte == b'\n')
        .map(|line| {
            let line: Value = serde_json::from_slice(line).unwrap();
            assert_eq!(line["errorCode"], "Decompression failed.");
            assert_eq!(
                (&line["attemptsMade"], &line["attemptEndingTimestamp"]),
                (&json!(1), &json!(batch.sealed_at.0))
            );
            (
                STANDARD.decode(line["rawData"].as_str().unwrap()).unwrap(),
                line["arrivalTimestamp"].as_u64().unwrap(),
            )
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_is_followed_by_its_delimiter_and_the_batch_is_as_long_as_it_is_then() {
    let world = World::new();
    let node = world.start("a").await;
    let settings = S3Settings {
        processing: processing(&[("AppendDelimiterToRecord", &[("Delimiter", "|\\n")])]),
        ..s3("o/", Compression::Uncompressed)
    };
    let stream = node.create("orders", Destination::S3(settings)).await;
    // A full batch, by the bytes that are written: 16 records of 65,536 bytes would be one, with delimiters 15.
    let records: Vec<Vec<u8>> = (0..20u8).map(|number| vec![b'a' + number; 65_535]).collect();
    for record in &records {
        node.put(&stream, std::slice::from_ref(record)).await;
    }
    node.settled(&stream).await;
    let batches = node.batches(&stream).await;
    let mut expected = records.iter();
    for batch in &batches {
        let content = world.objects.content(BUCKET, batch.key.as_str()).unwrap();
        assert_eq!(
            (batch.bytes + 2 * batch.range.records(), batch.processed_bytes),
            (content.len() as u64, content.len() as u64)
        );
        for _ in 0..batch.range.records() {
            expected.next().unwrap();
        }
        assert!(content.ends_with(b"|\n"));
        assert!(content.len() <= (1 << 20) + 65_537);
    }
    assert!(expected.next().is_none());
    let all: Vec<u8> =
        batches.iter().flat_map(|batch| world.objects.content(BUCKET, batch.key.as_str()).unwrap()).collect();
    assert_eq!(all, records.iter().flat_map(|record| [&record[..], b"|\n"].concat()).collect::<Vec<u8>>());
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_decompressed_is_error_output_with_a_batch_of_its_own() {
    let world = World::new();
    let node = world.start("a").await;
    let stream = node.create("logs", to_logs("l/")).await;
    let bad = b"not of CloudWatch Logs".to_vec();
    let arrival = world.clock.now();
    let all = [data(0..3), bad.clone(), log_record("CONTROL_MESSAGE", &["hello".to_owned()]), data(3..4)];
    node.put_at(&stream, &all, arrival).await.unwrap();
    node.settled(&stream).await;
    let batches = node.batches(&stream).await;
    let [kept, failed] = &batches[..] else { panic!("{batches:?}") };
    assert_eq!((kept.content, kept.range.records()), (Content::Delivery, 4));
    let content = world.objects.content(BUCKET, kept.key.as_str()).unwrap();
    assert_eq!(String::from_utf8(content).unwrap(), "message 0\nmessage 1\nmessage 2\nmessage 3\n");
    assert_eq!(failed.content, Content::Failed { error: ErrorOutputType::DecompressionFailed, records: 1 });
    assert_eq!(
        (failed.range, failed.log, failed.oldest_arrival),
        (kept.range, kept.log, kept.oldest_arrival)
    );
    assert!(matches!(failed.state, BatchState::Delivered { .. }));
    assert!(failed.key.as_str().starts_with("l/decompression-failed/20"), "{}", failed.key);
    assert!(failed.key.as_str().ends_with(".gz"), "{}", failed.key);
    assert_eq!(raw_records(&world, failed), [(bad, arrival.0)]);
    // What bounds the memory of either object.
    let written = "message 0\n".len() as u64 * 4 + failed.bytes;
    assert!(kept.processed_bytes >= written, "{} of {written}", kept.processed_bytes);
    let metrics = node.metrics();
    assert!(metrics.contains("hydrant_processing_failed_records_total{stream=\"logs\"} 1\n"), "{metrics}");
    assert!(metrics.contains("hydrant_delivery_to_s3_records_total{stream=\"logs\"} 3\n"), "{metrics}");
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_which_nothing_is_left_has_no_object_and_no_load() {
    let world = World::new();
    let node = world.start("a").await;
    let mut destination = to_redshift("o/", "events", 3600);
    let Destination::Redshift(redshift) = &mut destination else { unreachable!() };
    redshift.s3.processing = messages();
    let stream = node.create("orders", destination).await;
    node.put(&stream, &[b"bad".to_vec(), log_record("CONTROL_MESSAGE", &[])]).await;
    node.settled(&stream).await;
    let batches = node.batches(&stream).await;
    let states: Vec<_> = batches.iter().map(|batch| (batch.content, batch.state.name())).collect();
    let error = Content::Failed { error: ErrorOutputType::DecompressionFailed, records: 1 };
    assert_eq!(states, [(Content::Delivery, "empty"), (error, "delivered")]);
    assert_eq!(world.objects.records_under(BUCKET, "o/").len(), 0);
    assert_eq!(raw_records(&world, &batches[1]).len(), 1);
    // What comes after it is loaded as ever.
    node.put(&stream, &[data(0..2)]).await;
    node.settled(&stream).await;
    assert_eq!(
        world.warehouse.rows(&table_key("events")),
        [b"message 0\n".to_vec(), b"message 1\n".to_vec()]
    );
    assert_eq!(node.loads().await.len(), 1);
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_become_many_times_as_long_still_make_objects_of_about_the_asked_size() {
    let world = World::new();
    let node = world.start("a").await;
    let settings = S3Settings {
        compression: Compression::Uncompressed,
        processing: messages(),
        ..s3("l/", Compression::Gzip)
    };
    let stream = node.create("logs", Destination::S3(settings)).await;
    let line = "a".repeat(1000);
    let record = log_record("DATA_MESSAGE", &vec![line; 200]);
    assert!(record.len() * 50 < 200_000, "{}", record.len());
    for _ in 0..10 {
        node.put(&stream, &vec![record.clone(); 5]).await;
    }
    node.settled(&stream).await;
    let batches = node.batches(&stream).await;
    let lengths: Vec<u64> = batches.iter().map(|batch| batch.state.object().unwrap().bytes).collect();
    assert_eq!(lengths.iter().sum::<u64>(), 50 * 200 * 1001);
    assert!(batches.iter().all(|batch| batch.processed_bytes == batch.state.object().unwrap().bytes));
    let (last, full) = lengths.split_last().unwrap();
    let asked = 1 << 20;
    // One read goes over it, by what 64 KiB of records become.
    let most = asked + 64 * 1024 / record.len() as u64 * 200_200 + 200_200;
    assert!(full.iter().all(|length| (asked..most).contains(length)) && *last < most, "{lengths:?}");
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn processed_records_and_error_output_are_put_once_whatever_fails() {
    let world = World::new();
    let node = world.start("a").await;
    let stream = node.create("logs", to_logs("l/")).await;
    world.set_fault_percent(30);
    let mut bad = Vec::new();
    for number in 0..40 {
        let record = records("bad", number..number + 1, 20).concat();
        node.put(&stream, &[data(number..number + 1), record.clone()]).await;
        bad.push(record);
        if number == 20 {
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        }
    }
    node.settled(&stream).await;
    world.set_fault_percent(0);
    let batches = node.batches(&stream).await;
    let mut lines: Vec<u8> = Vec::new();
    for batch in batches.iter().filter(|batch| batch.content == Content::Delivery) {
        lines.extend(world.objects.content(BUCKET, batch.key.as_str()).unwrap());
    }
    let expected: String = (0..40).map(|number| format!("message {number}\n")).collect();
    assert_eq!(String::from_utf8(lines).unwrap(), expected);
    let failed = failed(&node, &stream).await;
    let raw: Vec<Vec<u8>> =
        failed.iter().flat_map(|batch| raw_records(&world, batch)).map(|(record, _)| record).collect();
    assert_eq!(raw, bad);
    assert_eq!(world.objects.keys(BUCKET).len(), batches.len(), "no object without a batch");
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn error_output_that_a_crash_left_unrecorded_is_the_same_object_afterwards() {
    let world = World::new();
    let node = world.start("a").await;
    let mut destination = to_logs("l/");
    let Destination::S3(s3) = &mut destination else { unreachable!() };
    s3.error_output_prefix = Some("e/!{firehose:error-output-type}/!{firehose:random-string}/".to_owned());
    let stream = node.create("logs", destination).await;
    node.metastore.silence("mark_uploaded");
    node.put(&stream, &[data(0..1), b"bad".to_vec()]).await;
    eventually("both objects are there", PATIENCE, async || {
        (world.objects.keys(BUCKET).len() == 2).then_some(())
    })
    .await;
    let keys = world.objects.keys(BUCKET);
    node.stop().await.unwrap();
    let node = world.start("a").await;
    node.settled(&stream).await;
    assert_eq!(world.objects.keys(BUCKET), keys);
    let [failed] = &failed(&node, &stream).await[..] else { panic!("one") };
    assert!(
        keys.contains(&failed.key.as_str().to_owned()) && failed.key.as_str().starts_with("e/"),
        "{keys:?}"
    );
    node.stop().await.unwrap();
}
