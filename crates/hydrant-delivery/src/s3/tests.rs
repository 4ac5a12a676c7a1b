//! Against a real S3 server in this process, and against answers that it does not give.

mod big_objects;
mod roles;

use std::{sync::Arc, time::Duration};

use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_s3::{
    Client,
    config::{BehaviorVersion, Builder, Credentials, Region, SharedAsyncSleep, retry::RetryConfig},
};
use aws_smithy_async::{
    rt::sleep::TokioSleep,
    time::{SharedTimeSource, SystemTimeSource},
};
use flate2::read::GzDecoder;
use hydrant_types::{BatchId, Compression, Secret, StreamOptions};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    encoder::{Encoder, Encoding},
    object_store::Kind,
};

fn sdk(secret: &str) -> SdkConfig {
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
            "test", secret, None, None, "test",
        )))
        .region(Region::new("us-east-1"))
        .retry_config(RetryConfig::disabled())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .time_source(SharedTimeSource::new(SystemTimeSource::new()))
        .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
        .build()
}

fn access(endpoint: &str) -> S3Access {
    S3Access { endpoint_url: Some(endpoint.to_owned()), force_path_style: true, assume_roles: None }
}

fn objects(endpoint: &str) -> S3Objects {
    S3Objects::new(sdk("test"), access(endpoint))
}

/// Sends what is longer than `whole_max` in parts of `part`.
fn objects_in_parts(endpoint: &str, whole_max: usize, part: usize) -> S3Objects {
    S3Objects { sizes: parts::Sizes { whole_max, part }, ..objects(endpoint) }
}

struct Server {
    objects: S3Objects,
    /// Another client of the same server.
    client: Client,
    endpoint: String,
    _dir: TempDir,
    _stop: tokio_util::sync::DropGuard,
}

async fn server() -> Server {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let config = Builder::from(&sdk("test")).endpoint_url(&endpoint).force_path_style(true).build();
    let client = Client::from_conf(config);
    let settings = hydrant_s3_local::Settings {
        dir: dir.path().to_owned(),
        access_key_id: "test".to_owned(),
        secret_access_key: Secret::new("test"),
        buckets: vec!["landing".to_owned()],
    };
    let stop = CancellationToken::new();
    tokio::spawn(hydrant_s3_local::serve(listener, settings, stop.clone()));
    Server { objects: objects(&endpoint), client, endpoint, _dir: dir, _stop: stop.drop_guard() }
}

fn plain() -> PutOptions {
    PutOptions::default()
}

fn bucket() -> BucketName {
    "landing".parse().unwrap()
}

fn key() -> ObjectKey {
    "a/2026/01/02/03/orders-1-x.gz".parse().unwrap()
}

fn gzip(records: &[u8], level: u32) -> Body {
    let mut encoder = Encoder::new(Encoding { level, ..Encoding::of(Compression::Gzip) });
    encoder.write(records);
    encoder.finish(BatchId(uuid::Uuid::nil()))
}

#[tokio::test]
async fn an_object_arrives_as_it_was_encoded_with_its_headers() {
    let server = server().await;
    let records = b"{\"a\":1}\n".repeat(1000);
    let body = gzip(&records, 6);
    let stored = server.objects.put(&bucket(), &key(), body.clone(), &plain()).await.unwrap();
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
    assert_eq!(server.objects.head(&bucket(), &key(), &plain()).await.unwrap(), Some(stored));
    let missing = "a/nothing".parse().unwrap();
    assert_eq!(server.objects.head(&bucket(), &missing, &plain()).await.unwrap(), None);
    let body = Body::plain(records.into());
    server.objects.put(&bucket(), &missing, body, &plain()).await.unwrap();
    let got = server.client.get_object().bucket("landing").key("a/nothing").send().await.unwrap();
    assert_eq!(got.content_encoding(), None);
}

#[tokio::test]
async fn content_type_and_encoding_are_those_of_firehoses_objects() {
    let server = server().await;
    for (compression, encoding) in [
        (Compression::Uncompressed, None),
        (Compression::Gzip, Some("gzip")),
        (Compression::Zip, Some("zip")),
        (Compression::Snappy, Some("snappy-java")),
        (Compression::HadoopSnappy, Some("hadoop-snappy")),
    ] {
        for content_encoding in [true, false] {
            let encoder = Encoder::new(Encoding { content_encoding, ..Encoding::of(compression) });
            let key = format!("a/{}-{content_encoding}", compression.as_api()).parse().unwrap();
            server
                .objects
                .put(&bucket(), &key, encoder.finish(BatchId(uuid::Uuid::nil())), &plain())
                .await
                .unwrap();
            let got = server.client.get_object().bucket("landing").key(key.as_str()).send().await.unwrap();
            assert_eq!(got.content_encoding(), encoding.filter(|_| content_encoding), "{key}");
            assert_eq!(got.content_type(), Some("application/octet-stream"), "{key}");
        }
    }
}

#[tokio::test]
async fn an_object_that_is_there_is_left_and_answered_where_it_holds_the_same_records() {
    let server = server().await;
    let records = b"{\"a\":1}\n".repeat(1000);
    let first = server.objects.put(&bucket(), &key(), gzip(&records, 1), &plain()).await.unwrap();
    // Encoded anew by another version: other bytes, the same records.
    let again = gzip(&records, 9);
    assert_ne!(again.bytes.len() as u64, first.bytes);
    assert_eq!(server.objects.put(&bucket(), &key(), again, &plain()).await.unwrap(), first);
    assert_eq!(server.objects.head(&bucket(), &key(), &plain()).await.unwrap(), Some(first));
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
        let error = server.objects.put(&bucket(), &key(), ours.clone(), &plain()).await.unwrap_err();
        assert_eq!((error.code.as_str(), error.kind), ("S3.ObjectDiffers", Kind::Refused));
        let there = server.client.get_object().bucket("landing").key(key().as_str()).send().await.unwrap();
        assert_eq!(there.body.collect().await.unwrap().to_vec(), theirs);
    }
}

#[tokio::test]
async fn a_missing_bucket_and_wrong_credentials_are_refusals_with_firehoses_codes() {
    let server = server().await;
    let nowhere = "nowhere".parse().unwrap();
    let error = server.objects.put(&nowhere, &key(), gzip(b"x", 1), &plain()).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.kind), ("S3.NoSuchBucket", Kind::Refused));
    let wrong = S3Objects::new(sdk("wrong"), access(&server.endpoint));
    let error = wrong.put(&bucket(), &key(), gzip(b"x", 1), &plain()).await.unwrap_err();
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
            let (mut stream, head) = loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                if let Some(head) = read_request(&mut stream).await {
                    break (stream, head);
                }
            };
            kept.lock().push(head);
            let answer = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        // Then nothing: the listener is closed.
    });
    (objects_in_parts(&endpoint, 6 << 10, 5 << 10), heads)
}

/// The head of a request; of a form the body too, which says what is wanted. `None`: the caller gave up in the middle.
async fn read_request(stream: &mut tokio::net::TcpStream) -> Option<String> {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    let (mut head, mut length) = (None, 0);
    loop {
        if head.is_none()
            && let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n")
        {
            let text = String::from_utf8_lossy(&request[..end]).to_lowercase();
            let line = text.lines().find_map(|line| line.strip_prefix("content-length: "));
            length = end + 4 + line.map_or(0, |length| length.trim().parse::<usize>().unwrap());
            head = Some(text);
        }
        if let Some(head) = head.take_if(|_| request.len() >= length) {
            let is_form = head.contains("x-www-form-urlencoded");
            return Some(if is_form { String::from_utf8_lossy(&request).to_lowercase() } else { head });
        }
        let read = stream.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
        request.extend_from_slice(&buffer[..read]);
    }
}

#[tokio::test]
async fn a_put_is_conditional_unsigned_and_carries_its_checksums() {
    let (objects, heads) = canned(vec![("200 OK\r\nETag: \"e1\"", "")]).await;
    let body = gzip(b"records", 1);
    let stored = objects.put(&bucket(), &key(), body.clone(), &plain()).await.unwrap();
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
    objects.put(&bucket(), &key(), gzip(b"x", 1), &plain()).await.unwrap();
    objects.put(&bucket(), &key(), gzip(b"x", 1), &plain()).await.unwrap();
    let conditional: Vec<bool> = heads.lock().iter().map(|head| head.contains("if-none-match")).collect();
    assert_eq!(conditional, [true, false, false]);
}

#[tokio::test]
async fn a_store_that_lacks_something_else_keeps_its_conditions() {
    let lacks = ("501 Not Implemented", NOT_IMPLEMENTED);
    let (objects, heads) = canned(vec![lacks, lacks, ("200 OK\r\nETag: \"e\"", "")]).await;
    objects.put(&bucket(), &key(), gzip(b"x", 1), &plain()).await.unwrap_err();
    objects.put(&bucket(), &key(), gzip(b"x", 1), &plain()).await.unwrap();
    let conditional: Vec<bool> = heads.lock().iter().map(|head| head.contains("if-none-match")).collect();
    assert_eq!(conditional, [true, false, true]);
}

const EXISTS: (&str, &str) =
    ("412 Precondition Failed", "<Error><Code>PreconditionFailed</Code><Message>there</Message></Error>");

#[tokio::test]
async fn credentials_that_may_only_write_are_told_by_the_412_that_the_object_is_there() {
    let (objects, _) = canned(vec![EXISTS, ("403 Forbidden", "")]).await;
    let body = gzip(b"x", 1);
    let stored = objects.put(&bucket(), &key(), body.clone(), &plain()).await.unwrap();
    assert_eq!(stored, StoredObject { etag: ETAG_UNKNOWN.to_owned(), bytes: body.bytes.len() as u64 });
}

#[tokio::test]
async fn an_object_that_is_gone_after_the_412_is_an_error_and_put_by_the_next_try() {
    let (objects, _) = canned(vec![EXISTS, ("404 Not Found", ""), ("200 OK\r\nETag: \"e\"", "")]).await;
    assert_eq!(
        objects.put(&bucket(), &key(), gzip(b"x", 1), &plain()).await.unwrap_err().kind,
        Kind::Refused
    );
    objects.put(&bucket(), &key(), gzip(b"x", 1), &plain()).await.unwrap();
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
        let error = objects.put(&bucket(), &key(), gzip(b"x", 1), &plain()).await.unwrap_err();
        assert_eq!((error.code.as_str(), error.kind), (code, kind), "{answer:?}");
    }
    let (objects, _) = canned(vec![]).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let error = objects.put(&bucket(), &key(), gzip(b"x", 1), &plain()).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.kind), ("S3.Unreachable", Kind::Unreachable));
}

/// What every kind of request says.
fn asked() -> PutOptions {
    let tags = [
        ("hydrant:expected-bucket-owner", "123456789012"),
        ("hydrant:acl", "bucket-owner-full-control"),
        ("hydrant:storage-class", "STANDARD_IA"),
        ("hydrant:object-tags", "team=shop cost=a+b"),
        ("hydrant:s3-region", "eu-west-1"),
    ];
    let tags = tags.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    PutOptions {
        kms_key_arn: Some("arn:aws:kms:eu-west-1:123456789012:key/k".to_owned()),
        tagged: StreamOptions::from_tags(&tags).unwrap().s3,
        ..plain()
    }
}

const STORED_WITH: [&str; 5] = [
    "x-amz-server-side-encryption: aws:kms",
    "x-amz-server-side-encryption-aws-kms-key-id: arn:aws:kms:eu-west-1:123456789012:key/k",
    "x-amz-acl: bucket-owner-full-control",
    "x-amz-storage-class: standard_ia",
    "x-amz-tagging: team=shop&cost=a%2bb",
];
const OWNER: &str = "x-amz-expected-bucket-owner: 123456789012";

#[tokio::test]
async fn what_a_stream_asks_for_is_in_the_headers_and_nothing_of_it_otherwise() {
    let ok = ("200 OK\r\nETag: \"e\"", "");
    let (objects, heads) = canned(vec![ok, ok, ok]).await;
    objects.put(&bucket(), &key(), gzip(b"x", 1), &asked()).await.unwrap();
    objects.head(&bucket(), &key(), &asked()).await.unwrap();
    objects.put(&bucket(), &key(), gzip(b"x", 1), &plain()).await.unwrap();
    let heads = heads.lock();
    for line in STORED_WITH.into_iter().chain([OWNER, "/eu-west-1/s3/aws4_request"]) {
        assert!(heads[0].contains(line), "{line} in {}", heads[0]);
    }
    assert!(heads[1].contains(OWNER) && !heads[1].contains("x-amz-acl"), "{}", heads[1]);
    for name in STORED_WITH.into_iter().chain([OWNER]).map(|line| line.split(':').next().unwrap()) {
        assert!(!heads[2].contains(name), "{name} in {}", heads[2]);
    }
}

#[tokio::test]
async fn a_streams_endpoint_is_where_its_objects_go() {
    let (here, there) = (server().await, server().await);
    let mut options = plain();
    options.tagged.endpoint = hydrant_types::EndpointUrl::parse(&there.endpoint);
    here.objects.put(&bucket(), &key(), gzip(b"x", 1), &options).await.unwrap();
    assert!(here.objects.head(&bucket(), &key(), &options).await.unwrap().is_some());
    assert_eq!(here.objects.head(&bucket(), &key(), &plain()).await.unwrap(), None);
    assert!(there.objects.head(&bucket(), &key(), &plain()).await.unwrap().is_some());
}
