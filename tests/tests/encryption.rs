//! Encryption at rest: a log that shows nothing, a key that is missing for a while, and a key that comes back.

use std::path::Path;

use hydrant_e2e::{BUCKET, Producer, ROLE, Service, Site};
use hydrant_testkit::{Fault, Postgres};

/// 32 bytes in base64.
const KEY: &str = "qFvHcUOgXxA4IoG3MuRf7vvz1x1Dn1u3Hn7cQd2cP0M=";
const ARN: &str = "arn:aws:kms:us-east-1:000000000000:key/tests";
/// In every record that [`Producer`] puts.
const IN_CLEAR: &[u8] = b"\"kind\":\"k";

/// A site with `[encryption]` and a key in a file.
async fn site() -> Site {
    let mut site = Site::new().await;
    let key = site.dir.path().join("encryption.key");
    std::fs::write(&key, format!("{KEY}\n")).expect("the scratch directory is writable");
    site.more_config = format!(
        "[encryption]\ndefault = {ARN:?}\n[[encryption.keys]]\narn = {ARN:?}\nkey = {{ file = {key:?} }}\n"
    );
    site
}

async fn create_encrypted(producer: &Producer, name: &str) {
    producer.create_s3_stream(name).await;
    let start = producer.client().start_delivery_stream_encryption().delivery_stream_name(name);
    start.send().await.expect("encryption is started");
}

/// How often `needle` is in the files below `dir`.
fn occurrences(dir: &Path, needle: &[u8]) -> usize {
    let mut found = 0;
    for entry in std::fs::read_dir(dir).expect("the directory is there").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found += occurrences(&path, needle);
            continue;
        }
        let bytes = std::fs::read(&path).expect("the file can be read");
        // Segments are mostly empty: only where the first byte is.
        let starts = bytes.iter().enumerate().filter(|(_, byte)| **byte == needle[0]);
        found += starts.filter(|(at, _)| bytes[*at..].starts_with(needle)).count();
    }
    found
}

#[tokio::test]
async fn encrypted_records_survive_a_kill_and_are_nowhere_in_clear() {
    let site = site().await;
    let service = site.serve().await;
    let producer = service.producer();
    create_encrypted(&producer, "orders").await;
    site.s3_proxy.inject(Fault::Refuse);
    producer.put("orders", 0..1_000).await;
    service.kill9().await;
    assert_eq!(occurrences(&site.log_dir(), IN_CLEAR), 0, "in the log's directory");
    assert_eq!(occurrences(&site.log_dir(), KEY.as_bytes()), 0, "the key");

    let service = site.serve().await;
    service.producer().create_s3_stream("clear").await;
    service.producer().put("clear", 0..10).await;
    assert_eq!(occurrences(&site.log_dir(), IN_CLEAR), 10, "what is not encrypted is found");
    site.s3_proxy.heal();
    site.expect_in_s3("orders/", &(0..1_000).collect::<Vec<_>>()).await;
    let dir = site.log_dir().display().to_string();
    assert!(!service.process.stderr().contains(KEY), "{}", service.process.stderr());
    service.stop().await;
    // Without any key.
    let process = site.hydrant(&["log", "verify", &dir]);
    let status = process.wait(hydrant_e2e::PATIENCE).await;
    assert!(status.success(), "{}{}", process.stdout(), process.stderr());
}

#[tokio::test]
async fn an_encrypted_stream_is_started_from_the_copy_of_the_stream_table_alone() {
    let postgres = Postgres::start().await;
    let mut site = site().await;
    site.metastore_url = postgres.database().await;
    let service = site.serve().await;
    create_encrypted(&service.producer(), "orders").await;
    service.stop().await;

    postgres.crash().await;
    let service = site.start_serve();
    service.wait_until_ready().await;
    service.producer().put("orders", 0..500).await;
    service.kill9().await;
    assert_eq!(occurrences(&site.log_dir(), IN_CLEAR), 0, "in the log's directory");
    // Once more: what is in the log is read with the key that the copy has.
    let service = site.start_serve();
    service.wait_until_ready().await;
    service.producer().put("orders", 500..600).await;
    postgres.restart().await;
    site.expect_in_s3("orders/", &(0..600).collect::<Vec<_>>()).await;
    service.stop().await;
}

/// The code of the error that a put of one record got.
async fn refusal(service: &Service) -> Option<String> {
    let error = service.producer_without_retries().put_call("orders", &[9_999]).await.err()?;
    error.into_service_error().meta().code().map(str::to_owned)
}

#[tokio::test]
async fn a_missing_key_holds_records_back_until_it_is_there_again() {
    let mut site = site().await;
    let service = site.serve().await;
    create_encrypted(&service.producer(), "orders").await;
    service.producer().create_s3_stream("clear").await;
    site.s3_proxy.inject(Fault::Refuse);
    service.producer().put("orders", 0..100).await;
    service.kill9().await;
    site.s3_proxy.heal();

    let with_key = std::mem::take(&mut site.more_config);
    let service = site.serve().await;
    service.wait_for_log("waits for a key", 0).await;
    assert!(service.process.stderr().contains(ARN), "{}", service.process.stderr());
    assert_eq!(refusal(&service).await.as_deref(), Some("InvalidKMSResourceException"));
    service.producer().put("clear", 0..10).await;
    site.expect_in_s3("clear/", &(0..10).collect::<Vec<_>>()).await;
    assert!(site.keys("orders/").await.is_empty(), "nothing of it is delivered");

    site.more_config = with_key;
    site.reload(&service);
    site.expect_in_s3("orders/", &(0..100).collect::<Vec<_>>()).await;
    service.producer().put("orders", 100..110).await;
    site.expect_in_s3("orders/", &(0..110).collect::<Vec<_>>()).await;

    // A key that is taken out while the service runs.
    site.more_config.clear();
    site.reload(&service);
    service.wait_for_log("the configuration was read again", 1).await;
    assert_eq!(refusal(&service).await.as_deref(), Some("InvalidKMSResourceException"));
    service.stop().await;
}

#[tokio::test]
async fn a_key_that_is_not_configured_is_refused_by_its_name() {
    let site = site().await;
    let service = site.serve().await;
    let other = "arn:aws:kms:us-east-1:000000000000:key/other";
    let error = service
        .producer()
        .client()
        .create_delivery_stream()
        .delivery_stream_name("orders")
        .extended_s3_destination_configuration(
            aws_sdk_firehose::types::ExtendedS3DestinationConfiguration::builder()
                .role_arn(ROLE)
                .bucket_arn(format!("arn:aws:s3:::{BUCKET}"))
                .build()
                .unwrap(),
        )
        .delivery_stream_encryption_configuration_input(
            aws_sdk_firehose::types::DeliveryStreamEncryptionConfigurationInput::builder()
                .key_type(aws_sdk_firehose::types::KeyType::CustomerManagedCmk)
                .key_arn(other)
                .build()
                .unwrap(),
        )
        .send()
        .await
        .unwrap_err()
        .into_service_error();
    assert_eq!(error.meta().code(), Some("InvalidKMSResourceException"));
    assert!(error.meta().message().is_some_and(|message| message.contains(other)), "{error:?}");
    service.stop().await;
}
