//! What is made of records on their way into S3: delimiters, decompressed logs, error output, backups.

use std::io::Write as _;

use aws_sdk_firehose::types::{
    BufferingHints, ProcessingConfiguration, Processor, ProcessorParameter, ProcessorParameterName as Name,
    ProcessorType, S3BackupMode, S3DestinationConfiguration,
};
use hydrant_e2e::{BUCKET, PATIENCE, Producer, ROLE, Site};
use hydrant_testkit::{Fault, eventually};

fn processor(kind: ProcessorType, parameters: &[(Name, &str)]) -> Processor {
    let parameters = parameters.iter().map(|(name, value)| {
        let parameter = ProcessorParameter::builder().parameter_name(name.clone()).parameter_value(*value);
        parameter.build().expect("name and value are given")
    });
    let processor = Processor::builder().r#type(kind).set_parameters(Some(parameters.collect()));
    processor.build().expect("the type is given")
}

fn processing(processors: Vec<Processor>) -> ProcessingConfiguration {
    ProcessingConfiguration::builder().enabled(true).set_processors(Some(processors)).build()
}

fn backup(prefix: &str) -> S3DestinationConfiguration {
    S3DestinationConfiguration::builder()
        .role_arn(ROLE)
        .bucket_arn(format!("arn:aws:s3:::{BUCKET}"))
        .prefix(prefix)
        .buffering_hints(BufferingHints::builder().size_in_mbs(1).interval_in_seconds(60).build())
        .build()
        .expect("all required members are given")
}

async fn create_backed_up(producer: &Producer) {
    let delimiter = processor(ProcessorType::AppendDelimiterToRecord, &[(Name::Delimiter, "\\n")]);
    producer
        .create_s3_stream_with("orders", |config| {
            config
                .processing_configuration(processing(vec![delimiter]))
                .s3_backup_mode(S3BackupMode::Enabled)
                .s3_backup_configuration(backup("copies/"))
        })
        .await;
}

#[tokio::test]
async fn processed_records_and_their_backup_are_each_there_once_whenever_it_is_killed() {
    let site = Site::new().await;
    let mut service = site.serve().await;
    create_backed_up(&service.producer()).await;
    let mut acknowledged = Vec::new();
    for round in 0..4_u64 {
        // Killed with batches of both lanes sealed and not uploaded, uploaded and not recorded, and neither.
        match round {
            1 => site.s3_proxy.inject(Fault::Stall),
            2 => site.s3_proxy.inject(Fault::CutAfter),
            _ => site.s3_proxy.heal(),
        }
        let numbers: Vec<u64> = (round * 1_000..round * 1_000 + 1_000).collect();
        service.producer().put("orders", numbers.clone()).await;
        acknowledged.extend(numbers);
        tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
        service.kill9().await;
        service = site.serve().await;
    }
    site.s3_proxy.heal();
    site.expect_in_s3("orders/", &acknowledged).await;
    site.expect_in_s3("copies/", &acknowledged).await;
    for key in site.keys("orders/").await {
        let text = String::from_utf8(site.object(&key).await).unwrap();
        assert_eq!(text.matches("}\n\n").count(), text.matches('{').count(), "each with its delimiter");
    }
    for key in site.keys("copies/").await {
        assert!(!site.object(&key).await.windows(2).any(|two| two == b"\n\n"), "as they came");
    }
    service.stop().await;
}

#[tokio::test]
async fn a_log_stays_as_long_as_the_backup_needs_it_and_the_delivery_goes_on() {
    let site = Site::new().await;
    let service = site.serve().await;
    let producer = service.producer();
    producer
        .create_s3_stream_with("orders", |config| {
            let away = S3DestinationConfiguration::builder()
                .role_arn(ROLE)
                .bucket_arn("arn:aws:s3:::not-there-yet")
                .prefix("copies/")
                .build()
                .expect("all required members are given");
            config.s3_backup_mode(S3BackupMode::Enabled).s3_backup_configuration(away)
        })
        .await;
    let numbers: Vec<u64> = (0..500).collect();
    producer.put("orders", numbers.clone()).await;
    site.expect_in_s3("orders/", &numbers).await;
    service.wait_for_metric("hydrant_backup_to_s3_data_freshness_seconds{stream=\"orders\"} ").await;
    let (code, text) = site.run(&["delivery", "list", "--stream", "orders"]).await;
    assert!(code == 0 && text.contains("backup") && text.contains("sealed"), "{text}");
    service.kill9().await;
    let service = site.serve().await;
    site.s3_client().create_bucket().bucket("not-there-yet").send().await.unwrap();
    service.wait_for_metric("hydrant_backup_to_s3_records_total{stream=\"orders\"} 500\n").await;
    service.stop().await;
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).expect("writing to memory cannot fail");
    encoder.finish().expect("writing to memory cannot fail")
}

/// As a CloudWatch Logs subscription puts it.
fn log_events(kind: &str, messages: &[&str]) -> Vec<u8> {
    let events: Vec<_> =
        messages.iter().map(|text| serde_json::json!({"id": "1", "timestamp": 1, "message": text})).collect();
    let document = serde_json::json!({
        "messageType": kind, "owner": "123456789012", "logGroup": "g", "logStream": "s", "subscriptionFilters": ["f"], "logEvents": events,
    });
    gzip(&document.to_string())
}

#[tokio::test]
async fn log_events_become_lines_and_what_is_none_is_in_error_output() {
    let site = Site::new().await;
    let service = site.serve().await;
    let producer = service.producer();
    let processors = vec![
        processor(ProcessorType::Decompression, &[(Name::CompressionFormat, "GZIP")]),
        processor(ProcessorType::CloudWatchLogProcessing, &[(Name::DataMessageExtraction, "true")]),
    ];
    producer
        .create_s3_stream_with("logs", |config| config.processing_configuration(processing(processors)))
        .await;
    let bad = b"never compressed".to_vec();
    let records = [
        log_events("CONTROL_MESSAGE", &["CWL CONTROL MESSAGE: Checking health of destination Firehose."]),
        log_events("DATA_MESSAGE", &["{\"id\":1}", "{\"id\":2}"]),
        bad.clone(),
        log_events("DATA_MESSAGE", &["{\"id\":3}"]),
    ];
    producer.put_records("logs", &records).await;
    site.expect_in_s3("logs/2", &[1, 2, 3]).await;
    let failed = eventually("error output is there", PATIENCE, async || {
        site.keys("logs/decompression-failed/").await.first().cloned()
    })
    .await;
    let line: serde_json::Value = serde_json::from_slice(&site.object(&failed).await).unwrap();
    assert_eq!(line["rawData"], "bmV2ZXIgY29tcHJlc3NlZA==");
    assert_eq!(line["errorCode"], "Decompression failed.");
    let (code, text) = site.run(&["delivery", "list", "--stream", "logs"]).await;
    assert!(code == 0 && text.contains("decompression-failed"), "{text}");
    service.stop().await;
}
