//! Big objects, put in parts.

use super::*;

/// Cannot be compressed, so that it is as long as it says.
fn big(bytes: usize) -> Body {
    let mut random = fastrand::Rng::with_seed(bytes as u64);
    let records: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(bytes).collect();
    Body::plain(records.into())
}

async fn uploads(server: &Server) -> Vec<String> {
    let listed = server.client.list_multipart_uploads().bucket("landing").send().await.unwrap();
    listed.uploads().iter().map(|upload| upload.key().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_big_object_is_put_in_parts_and_is_the_same_object() {
    let server = server().await;
    let objects = objects_in_parts(&server.endpoint, 6 << 20, 5 << 20);
    let body = big((12 << 20) + 1);
    // It refuses what it does not have, and tags are among that.
    let mut options = asked();
    options.tagged.object_tags = None;
    let stored = objects.put(&bucket(), &key(), body.clone(), &options).await.unwrap();
    assert_eq!(stored.bytes, body.bytes.len() as u64);
    assert!(stored.etag.ends_with("-3"), "three parts: {stored:?}");
    let got = server.client.get_object().bucket("landing").key(key().as_str()).send().await.unwrap();
    assert_eq!(got.content_type(), Some("application/octet-stream"));
    assert_eq!(got.storage_class().map(|class| class.as_str()), Some("STANDARD_IA"));
    assert_eq!(got.metadata().unwrap()[RECORDS_CRC32], records_crc32(&body));
    assert!(got.body.collect().await.unwrap().into_bytes() == body.bytes);
    // Once more: it is left and answered; nothing is left of the second upload.
    assert_eq!(objects.put(&bucket(), &key(), body, &plain()).await.unwrap(), stored);
    let other = big((12 << 20) + 2);
    let error = objects.put(&bucket(), &key(), other, &plain()).await.unwrap_err();
    assert_eq!(error.code, "S3.ObjectDiffers");
    assert_eq!(uploads(&server).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_try_left_is_aborted_and_what_is_not_ours_is_not() {
    let server = server().await;
    let objects = objects_in_parts(&server.endpoint, 6 << 20, 5 << 20);
    let theirs = format!("{}-not-ours", key());
    for left in [key().as_str(), key().as_str(), &theirs] {
        server.client.create_multipart_upload().bucket("landing").key(left).send().await.unwrap();
    }
    objects.put(&bucket(), &key(), gzip(b"x", 1), &plain()).await.unwrap();
    assert_eq!(uploads(&server).await.len(), 3, "a first try need not look");
    let again = PutOptions { tried_before: true, ..plain() };
    objects.put(&bucket(), &key(), gzip(b"x", 1), &again).await.unwrap();
    assert_eq!(uploads(&server).await, [theirs]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_big_object_that_is_there_already_is_not_sent_again() {
    let server = server().await;
    let body = big(TWO);
    let stored = server.objects.put(&bucket(), &key(), body.clone(), &plain()).await.unwrap();
    let length = body.bytes.len().to_string();
    let head = format!(
        "200 OK\r\nETag: \"{}\"\r\nx-amz-meta-hydrant-records-crc32: {}\r\nx-length: {length}",
        stored.etag,
        records_crc32(&body)
    );
    let nothing_left = ("200 OK", "<ListMultipartUploadsResult></ListMultipartUploadsResult>");
    let (objects, heads) = canned(vec![nothing_left, (head.leak(), "")]).await;
    let again = PutOptions { tried_before: true, ..plain() };
    let found = objects.put(&bucket(), &key(), body, &again).await.unwrap();
    assert_eq!(found.etag, stored.etag);
    let asked: Vec<_> = heads.lock().iter().map(|head| head.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(asked, ["get", "head"]);
}

const BEGUN: (&str, &str) =
    ("200 OK", "<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>");
const COMPLETED: (&str, &str) =
    ("200 OK", "<CompleteMultipartUploadResult><ETag>\"e-2\"</ETag></CompleteMultipartUploadResult>");
const PART: (&str, &str) = ("200 OK\r\nETag: \"p\"\r\nx-amz-checksum-crc32: AAAAAA==", "");
/// Two parts.
const TWO: usize = 7 << 10;

fn lines(heads: &[String]) -> Vec<String> {
    heads.iter().map(|head| head.lines().next().unwrap().replace(" http/1.1", "")).collect()
}

#[tokio::test]
async fn an_upload_in_parts_is_conditional_checked_and_asks_for_the_same_things() {
    let (objects, heads) = canned(vec![BEGUN, PART, PART, COMPLETED]).await;
    let body = big(TWO);
    let stored = objects.put(&bucket(), &key(), body.clone(), &asked()).await.unwrap();
    assert_eq!(stored, StoredObject { etag: "e-2".to_owned(), bytes: TWO as u64 });
    let heads = heads.lock();
    for line in STORED_WITH.into_iter().chain([
        "x-amz-checksum-algorithm: crc32",
        "x-amz-checksum-type: full_object",
        "x-amz-meta-hydrant-records-crc32",
    ]) {
        assert!(heads[0].contains(line), "{line} in {}", heads[0]);
    }
    let whole = format!("x-amz-checksum-crc32: {}", base64_crc32(body.crc32).to_lowercase());
    for line in ["if-none-match: *", &whole, "x-amz-checksum-type: full_object"] {
        assert!(heads[3].contains(line), "{line} in {}", heads[3]);
    }
    let mut sent = 0;
    for head in &heads[1..3] {
        assert!(
            head.contains("x-amz-content-sha256: unsigned-payload") && !head.contains("aws-chunked"),
            "{head}"
        );
        assert!(head.contains("x-amz-checksum-crc32: "), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        sent += length.parse::<usize>().unwrap();
    }
    assert_eq!(sent, TWO);
    assert!(heads.iter().all(|head| head.contains(OWNER)));
}

#[tokio::test]
async fn an_upload_whose_part_fails_is_aborted() {
    let denied = ("403 Forbidden", "<Error><Code>AccessDenied</Code><Message>no</Message></Error>");
    let (mut objects, heads) = canned(vec![BEGUN, denied, ("204 No Content", "")]).await;
    // One part: of several, those that are given up in the middle come in any order.
    objects.sizes.part = 2 * TWO;
    let error = objects.put(&bucket(), &key(), big(TWO), &plain()).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.step), ("S3.AccessDenied", "put a part of"));
    let last = lines(&heads.lock()).pop().unwrap();
    assert!(last.starts_with("delete ") && last.contains("uploadid=u1"), "{last}");
}

#[tokio::test]
async fn a_store_that_takes_no_parts_gets_big_objects_whole() {
    let no_parts = ("501 Not Implemented", NOT_IMPLEMENTED);
    let ok = ("200 OK\r\nETag: \"e\"", "");
    let (objects, heads) = canned(vec![no_parts, ok, ok]).await;
    for _ in 0..2 {
        objects.put(&bucket(), &key(), big(TWO), &plain()).await.unwrap();
    }
    let methods: Vec<_> = lines(&heads.lock()).iter().map(|line| line[..4].trim().to_owned()).collect();
    assert_eq!(methods, ["post", "put", "put"]);
}

#[tokio::test]
async fn parts_without_conditions_or_checksums_are_completed_without_them() {
    let part = ("200 OK\r\nETag: \"p\"", "");
    let refused = ("501 Not Implemented", NOT_IMPLEMENTED);
    let (objects, heads) =
        canned(vec![BEGUN, part, part, refused, COMPLETED, ("200 OK\r\nETag: \"e\"", "")]).await;
    objects.put(&bucket(), &key(), big(TWO), &plain()).await.unwrap();
    objects.put(&bucket(), &key(), gzip(b"x", 1), &plain()).await.unwrap();
    let heads = heads.lock();
    let conditional: Vec<bool> = heads.iter().map(|head| head.contains("if-none-match")).collect();
    assert_eq!(conditional, [false, false, false, true, false, false]);
    assert!(!heads[4].contains("x-amz-checksum-crc32"), "it checked none of the parts: {}", heads[4]);
}
