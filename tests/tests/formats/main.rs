//! Objects of every format, read back by programs that are not ours, and their headers.
//!
//! | format | reader |
//! |---|---|
//! | GZIP, ZIP | Python's `gzip` and `zipfile` |
//! | Snappy | `kafkajs-snappy`, which reads what snappy-java writes for Kafka, over `snappyjs` |
//! | HADOOP_SNAPPY | `python-snappy` |
//! | all records of a run | DuckDB, from S3 |

use std::{collections::BTreeMap, path::Path};

use aws_sdk_firehose::types::{BufferingHints, CompressionFormat, ExtendedS3DestinationConfiguration, Tag};
use hydrant_e2e::{BUCKET, PATIENCE, Producer, ROLE, Site, expect_once};
use hydrant_testkit::{Process, node, python};

/// Some 800 bytes each: more than a block of either framing, and more than a gzip member.
const RECORDS: u64 = 1_500;
const PADDING: usize = 750;

/// What the tag says.
const MEMBER_BYTES: usize = 256 * 1024;

/// What is asked for, and what every object is to look like.
struct Case {
    stream: &'static str,
    format: CompressionFormat,
    tags: &'static [(&'static str, &'static str)],
    extension: &'static str,
    content_encoding: Option<&'static str>,
}

const fn case(
    stream: &'static str,
    format: CompressionFormat,
    extension: &'static str,
    content_encoding: Option<&'static str>,
) -> Case {
    Case { stream, format, tags: &[], extension, content_encoding }
}

#[tokio::test]
async fn objects_of_every_format_are_read_by_programs_that_are_not_ours() {
    let site = Site::new().await;
    let service = site.serve().await;
    let producer = service.producer().padded(PADDING);
    let member = &[("hydrant:gzip-member-size", "256KiB")];
    let unnamed = &[("hydrant:content-encoding", "off")];
    for case in [
        case("plain", CompressionFormat::Uncompressed, "", None),
        case("gzip", CompressionFormat::Gzip, ".gz", Some("gzip")),
        Case { tags: member, ..case("members", CompressionFormat::Gzip, ".gz", Some("gzip")) },
        Case { tags: unnamed, ..case("unnamed", CompressionFormat::Gzip, ".gz", None) },
        case("zip", CompressionFormat::Zip, ".zip", Some("zip")),
        case("snappy", CompressionFormat::Snappy, ".snappy", Some("snappy-java")),
        case("hadoop", CompressionFormat::HadoopSnappy, ".snappy", Some("hadoop-snappy")),
    ] {
        create(&producer, &case).await;
        producer.put(case.stream, 0..RECORDS).await;
        service.wait_until_uploaded(case.stream, RECORDS as usize).await;
        let records = read_objects(&site, &case).await;
        let incoming = format!(
            "hydrant_incoming_bytes_total{{stream=\"{}\"}} {}",
            case.stream,
            records.iter().map(|record| record.len() + 1).sum::<usize>()
        );
        service.wait_for_metric(&incoming).await;
        let mut counts = BTreeMap::new();
        for record in records {
            let record: serde_json::Value = serde_json::from_str(&record).expect("records are JSON here");
            *counts.entry(record["id"].as_u64().expect("records have an id")).or_default() += 1;
        }
        expect_once(&counts, &(0..RECORDS).collect::<Vec<_>>(), case.stream);
    }
    service.stop().await;
}

async fn create(producer: &Producer, case: &Case) {
    let hints = BufferingHints::builder().size_in_mbs(1).interval_in_seconds(60).build();
    let destination = ExtendedS3DestinationConfiguration::builder()
        .role_arn(ROLE)
        .bucket_arn(format!("arn:aws:s3:::{BUCKET}"))
        .prefix(format!("{}/", case.stream))
        .compression_format(case.format.clone())
        .buffering_hints(hints)
        .build()
        .expect("all required members are given");
    let create = producer.client().create_delivery_stream().delivery_stream_name(case.stream);
    let tag = |(key, value): &(&str, &str)| {
        Tag::builder().key(*key).value(*value).build().expect("a tag has a key")
    };
    let create = create.extended_s3_destination_configuration(destination);
    let tags = (!case.tags.is_empty()).then(|| case.tags.iter().map(tag).collect());
    create.set_tags(tags).send().await.expect("the stream is created");
}

/// The records of a case's objects, without their newlines, after a look at each object's name and headers.
async fn read_objects(site: &Site, case: &Case) -> Vec<String> {
    let mut records = Vec::new();
    for key in site.keys(&format!("{}/", case.stream)).await {
        let name = key.rsplit('/').next().expect("there is a last part");
        let uuid = name.strip_suffix(case.extension).and_then(|name| name.get(name.len() - 36..));
        assert!(uuid.is_some_and(|uuid| uuid::Uuid::try_parse(uuid).is_ok()), "{key}");
        let object = site.s3_client().get_object().bucket(BUCKET).key(&key).send().await;
        let object = object.expect("the object is there");
        assert_eq!(object.content_encoding(), case.content_encoding, "{key}");
        // Not the Content-Type: where it is application/octet-stream, SeaweedFS shows what it guesses from the key.
        let bytes = object.body.collect().await.expect("the object can be read").into_bytes();
        let file = site.dir.path().join(name);
        std::fs::write(&file, &bytes).expect("the scratch directory is writable");
        let text = read(&case.format, &file).await;
        if case.format == CompressionFormat::Gzip {
            let members = bytes.windows(4).filter(|bytes| bytes == b"\x1f\x8b\x08\0").count();
            let expected = if case.stream == "members" { text.len().div_ceil(MEMBER_BYTES) } else { 1 };
            assert_eq!(members, expected, "{key} holds {} bytes", text.len());
        }
        assert!(text.ends_with('\n'), "{key} ends with a whole record");
        records.extend(text.lines().map(str::to_owned));
    }
    records
}

async fn read(format: &CompressionFormat, file: &Path) -> String {
    let program = match format {
        CompressionFormat::Snappy => node().join("node"),
        _ => python(),
    };
    let script = match format {
        CompressionFormat::Snappy => "read_snappy.js",
        _ => "read.py",
    };
    run(&program, &[script, format.as_str(), &file.display().to_string()], &[]).await
}

/// DuckDB reads the objects itself, from S3, and counts.
#[tokio::test]
async fn duckdb_counts_every_acknowledged_record_once() {
    let site = Site::new().await;
    let service = site.serve().await;
    let producer = service.producer().padded(500);
    producer.create_s3_stream("orders").await;
    producer.put("orders", 0..10_000).await;
    service.wait_until_uploaded("orders", 10_000).await;
    let endpoint = site.s3.endpoint_url();
    let endpoint = endpoint.strip_prefix("http://").expect("it is plain HTTP");
    let environment = [
        ("S3_ENDPOINT", endpoint),
        ("S3_REGION", site.s3.region()),
        ("AWS_ACCESS_KEY_ID", site.s3.access_key_id()),
        ("AWS_SECRET_ACCESS_KEY", site.s3.secret_access_key()),
    ];
    let objects = format!("s3://{BUCKET}/orders/**/*.gz");
    let counted = run(&python(), &["count.py", &objects], &environment).await;
    let expected = serde_json::json!({
        "objects": site.keys("orders/").await.len(), "records": 10_000, "different": 10_000, "least": 0, "most": 9_999,
    });
    assert_eq!(serde_json::from_str::<serde_json::Value>(&counted).expect("it is JSON"), expected);
    service.stop().await;
}

/// Runs a script of this folder; gives what it printed.
async fn run(program: &Path, words: &[&str], environment: &[(&str, &str)]) -> String {
    let script = format!("{}/tests/formats/{}", env!("CARGO_MANIFEST_DIR"), words[0]);
    let process = Process::start_with(program, [&[script.as_str()], &words[1..]].concat(), |command| {
        command.envs(environment.iter().copied()).env("NODE_PATH", node().join("node_modules"));
    });
    let status = process.wait(PATIENCE).await;
    assert!(status.success(), "{words:?}: {}", process.stderr());
    process.stdout()
}
