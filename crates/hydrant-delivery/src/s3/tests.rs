//! Against a real S3 server in this process, and against answers that it does not give.

use std::{sync::Arc, time::Duration};

use aws_sdk_s3::config::{BehaviorVersion, Builder, Credentials, Region, retry::RetryConfig};
use flate2::read::GzDecoder;
use hydrant_types::Secret;
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{encoder::Encoder, object_store::Kind};

fn client(endpoint: &str) -> Client {
    let config = Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .force_path_style(true)
        .retry_config(RetryConfig::disabled())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    Client::from_conf(config)
}

struct Server {
    objects: S3Objects,
    client: Client,
    _dir: TempDir,
    _stop: tokio_util::sync::DropGuard,
}

async fn server() -> Server {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = client(&format!("http://{}", listener.local_addr().unwrap()));
    let settings = hydrant_s3_local::Settings {
        dir: dir.path().to_owned(),
        access_key_id: "test".to_owned(),
        secret_access_key: Secret::new("test"),
        buckets: vec!["landing".to_owned()],
    };
    let stop = CancellationToken::new();
    tokio::spawn(hydrant_s3_local::serve(listener, settings, stop.clone()));
    Server { objects: S3Objects::new(client.clone()), client, _dir: dir, _stop: stop.drop_guard() }
}

fn bucket() -> BucketName {
    "landing".parse().unwrap()
}

fn key() -> ObjectKey {
    "a/2026/01/02/03/orders-1-x.gz".parse().unwrap()
}

fn gzip(records: &[u8], level: u32) -> Body {
    let mut encoder = Encoder::new(Compression::Gzip, level);
    encoder.write(records);
    encoder.finish()
}

#[tokio::test]
async fn an_object_arrives_as_it_was_encoded_with_its_headers() {
    let server = server().await;
    let records = b"{\"a\":1}\n".repeat(1000);
    let body = gzip(&records, 6);
    let stored = server.objects.put(&bucket(), &key(), body.clone()).await.unwrap();
    assert_eq!(stored.bytes, body.bytes.len() as u64);
    let got = server.client.get_object().bucket("landing").key(key().as_str()).send().await.unwrap();
    assert_eq!(
        (got.content_encoding(), got.content_type()),
        (Some("gzip"), Some("application/octet-stream"))
    );
    assert_eq!(unquoted(got.e_tag()), stored.etag);
    let bytes = got.body.collect().await.unwrap().to_vec();
    let mut read = Vec::new();
    std::io::Read::read_to_end(&mut GzDecoder::new(&bytes[..]), &mut read).unwrap();
    assert!(read == records);
    assert_eq!(server.objects.head(&bucket(), &key()).await.unwrap(), Some(stored));
    let missing = "a/nothing".parse().unwrap();
    assert_eq!(server.objects.head(&bucket(), &missing).await.unwrap(), None);
    let plain = Body::new(records.into(), Compression::Uncompressed);
    server.objects.put(&bucket(), &missing, plain).await.unwrap();
    let got = server.client.get_object().bucket("landing").key("a/nothing").send().await.unwrap();
    assert_eq!(got.content_encoding(), None);
}

#[tokio::test]
async fn an_object_that_is_there_is_left_and_answered_where_it_holds_the_same_records() {
    let server = server().await;
    let records = b"{\"a\":1}\n".repeat(1000);
    let first = server.objects.put(&bucket(), &key(), gzip(&records, 1)).await.unwrap();
    // Encoded anew by another version: other bytes, the same records.
    let again = gzip(&records, 9);
    assert_ne!(again.bytes.len() as u64, first.bytes);
    assert_eq!(server.objects.put(&bucket(), &key(), again).await.unwrap(), first);
    assert_eq!(server.objects.head(&bucket(), &key()).await.unwrap(), Some(first));
}

#[tokio::test]
async fn another_object_under_the_key_is_neither_overwritten_nor_taken_for_ours() {
    let server = server().await;
    let ours = gzip(b"ours", 6);
    for metadata in [None, Some("00000000")] {
        let theirs = vec![7; ours.bytes.len() + 1];
        let mut put =
            server.client.put_object().bucket("landing").key(key().as_str()).body(theirs.clone().into());
        if let Some(crc) = metadata {
            put = put.metadata(RECORDS_CRC32, crc);
        }
        put.send().await.unwrap();
        let error = server.objects.put(&bucket(), &key(), ours.clone()).await.unwrap_err();
        assert_eq!((error.code.as_str(), error.kind), ("S3.ObjectDiffers", Kind::Refused));
        let there = server.client.get_object().bucket("landing").key(key().as_str()).send().await.unwrap();
        assert_eq!(there.body.collect().await.unwrap().to_vec(), theirs);
    }
}

#[tokio::test]
async fn a_missing_bucket_and_wrong_credentials_are_refusals_with_firehoses_codes() {
    let server = server().await;
    let nowhere = "nowhere".parse().unwrap();
    let error = server.objects.put(&nowhere, &key(), gzip(b"x", 1)).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.kind), ("S3.NoSuchBucket", Kind::Refused));
    let config = server.client.config().to_builder();
    let wrong = config.credentials_provider(Credentials::new("test", "wrong", None, None, "test")).build();
    let wrong = S3Objects::new(Client::from_conf(wrong));
    let error = wrong.put(&bucket(), &key(), gzip(b"x", 1)).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.kind), ("S3.AccessDenied", Kind::Refused));
}

/// Answers each request with the next of `answers` (status line and headers, body), and keeps the heads of the requests.
async fn canned(answers: Vec<(&'static str, &'static str)>) -> (S3Objects, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let heads = Arc::new(Mutex::new(Vec::new()));
    let kept = heads.clone();
    tokio::spawn(async move {
        for (status, body) in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let head = read_request(&mut stream).await;
            kept.lock().push(head);
            let answer = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        // Then nothing: the listener is closed.
    });
    (S3Objects::new(client(&endpoint)), heads)
}

async fn read_request(stream: &mut tokio::net::TcpStream) -> String {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer).await.unwrap();
        request.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&request).to_lowercase();
        if let Some(end) = text.find("\r\n\r\n") {
            let length = text
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.trim().parse::<usize>().unwrap());
            if request.len() >= end + 4 + length {
                return text[..end].to_owned();
            }
        }
        assert!(read > 0, "the request ended early");
    }
}

#[tokio::test]
async fn a_put_is_conditional_unsigned_and_carries_its_checksums() {
    let (objects, heads) = canned(vec![("200 OK\r\nETag: \"e1\"", "")]).await;
    let body = gzip(b"records", 1);
    let stored = objects.put(&bucket(), &key(), body.clone()).await.unwrap();
    assert_eq!(stored, StoredObject { etag: "e1".to_owned(), bytes: body.bytes.len() as u64 });
    let head = heads.lock().remove(0);
    for line in [
        "put /landing/a/2026/01/02/03/orders-1-x.gz".to_owned(),
        "if-none-match: *".to_owned(),
        "x-amz-content-sha256: unsigned-payload".to_owned(),
        format!("x-amz-checksum-crc32: {}", STANDARD.encode(body.crc32.to_be_bytes()).to_lowercase()),
        format!("x-amz-meta-hydrant-records-crc32: {:08x}", crc32fast::hash(b"records")),
        format!("content-length: {}", body.bytes.len()),
        "content-encoding: gzip".to_owned(),
    ] {
        assert!(head.contains(&line), "{line} in {head}");
    }
    assert!(!head.contains("aws-chunked"), "the body goes as it is: {head}");
}

const NOT_IMPLEMENTED: &str = "<Error><Code>NotImplemented</Code><Message>no</Message></Error>";

#[tokio::test]
async fn a_store_without_conditions_is_put_to_without_them_from_then_on() {
    let ok = ("200 OK\r\nETag: \"e\"", "");
    let (objects, heads) = canned(vec![("501 Not Implemented", NOT_IMPLEMENTED), ok, ok]).await;
    objects.put(&bucket(), &key(), gzip(b"x", 1)).await.unwrap();
    objects.put(&bucket(), &key(), gzip(b"x", 1)).await.unwrap();
    let conditional: Vec<bool> = heads.lock().iter().map(|head| head.contains("if-none-match")).collect();
    assert_eq!(conditional, [true, false, false]);
}

#[tokio::test]
async fn a_store_that_lacks_something_else_keeps_its_conditions() {
    let lacks = ("501 Not Implemented", NOT_IMPLEMENTED);
    let (objects, heads) = canned(vec![lacks, lacks, ("200 OK\r\nETag: \"e\"", "")]).await;
    objects.put(&bucket(), &key(), gzip(b"x", 1)).await.unwrap_err();
    objects.put(&bucket(), &key(), gzip(b"x", 1)).await.unwrap();
    let conditional: Vec<bool> = heads.lock().iter().map(|head| head.contains("if-none-match")).collect();
    assert_eq!(conditional, [true, false, true]);
}

const EXISTS: (&str, &str) =
    ("412 Precondition Failed", "<Error><Code>PreconditionFailed</Code><Message>there</Message></Error>");

#[tokio::test]
async fn credentials_that_may_only_write_are_told_by_the_412_that_the_object_is_there() {
    let (objects, _) = canned(vec![EXISTS, ("403 Forbidden", "")]).await;
    let body = gzip(b"x", 1);
    let stored = objects.put(&bucket(), &key(), body.clone()).await.unwrap();
    assert_eq!(stored, StoredObject { etag: ETAG_UNKNOWN.to_owned(), bytes: body.bytes.len() as u64 });
}

#[tokio::test]
async fn an_object_that_is_gone_after_the_412_is_an_error_and_put_by_the_next_try() {
    let (objects, _) = canned(vec![EXISTS, ("404 Not Found", ""), ("200 OK\r\nETag: \"e\"", "")]).await;
    assert_eq!(objects.put(&bucket(), &key(), gzip(b"x", 1)).await.unwrap_err().kind, Kind::Refused);
    objects.put(&bucket(), &key(), gzip(b"x", 1)).await.unwrap();
}

#[tokio::test]
async fn answers_are_told_from_silence() {
    for (answer, code, kind) in [
        (
            (
                "503 Slow Down",
                "<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>",
            ),
            "InternalError",
            Kind::Refused,
        ),
        (("500 Internal Server Error", ""), "InternalError", Kind::Refused),
        (
            ("409 Conflict", "<Error><Code>ConditionalRequestConflict</Code></Error>"),
            "InternalError",
            Kind::Refused,
        ),
        (
            ("400 Bad Request", "<Error><Code>KMS.NotFoundException</Code><Message>no key</Message></Error>"),
            "S3.KMS.NotFoundException",
            Kind::Refused,
        ),
        (("403 Forbidden", "<Error><Code>AccountProblem</Code></Error>"), "S3.AccountProblem", Kind::Refused),
    ] {
        let (objects, _) = canned(vec![answer]).await;
        let error = objects.put(&bucket(), &key(), gzip(b"x", 1)).await.unwrap_err();
        assert_eq!((error.code.as_str(), error.kind), (code, kind), "{answer:?}");
    }
    let (objects, _) = canned(vec![]).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let error = objects.put(&bucket(), &key(), gzip(b"x", 1)).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.kind), ("S3.Unreachable", Kind::Unreachable));
}
