//! Objects as AWS's own client sees them.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may end with a panic and may print")]

mod common;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, Delete, MetadataDirective, ObjectIdentifier, ServerSideEncryption,
    StorageClass,
};
use common::{BUCKET, Server, refusal};

#[tokio::test]
async fn what_was_put_comes_back_with_all_that_was_said_about_it() {
    let server = Server::start().await;
    server
        .client
        .put_object()
        .bucket(BUCKET)
        .key("2026/01/02/object.gz")
        .content_type("application/octet-stream")
        .content_encoding("gzip")
        .cache_control("no-store")
        .metadata("stream", "demo-s3")
        .server_side_encryption(ServerSideEncryption::AwsKms)
        .ssekms_key_id("alias/hydrant")
        .storage_class(StorageClass::StandardIa)
        .checksum_algorithm(ChecksumAlgorithm::Crc32)
        .body(ByteStream::from_static(b"hello"))
        .send()
        .await
        .unwrap();
    let server = server.restart().await;
    let object = server
        .client
        .get_object()
        .bucket(BUCKET)
        .key("2026/01/02/object.gz")
        .checksum_mode(ChecksumMode::Enabled)
        .send()
        .await
        .unwrap();
    assert_eq!(object.e_tag(), Some("\"5d41402abc4b2a76b9719d911017c592\""));
    assert_eq!(object.content_type(), Some("application/octet-stream"));
    assert_eq!(object.content_encoding(), Some("gzip"));
    assert_eq!(object.cache_control(), Some("no-store"));
    assert_eq!(object.metadata().unwrap()["stream"], "demo-s3");
    assert_eq!(object.server_side_encryption(), Some(&ServerSideEncryption::AwsKms));
    assert_eq!(object.ssekms_key_id(), Some("alias/hydrant"));
    assert_eq!(object.storage_class(), Some(&StorageClass::StandardIa));
    assert_eq!(object.checksum_crc32(), Some("NhCmhg=="));
    assert_eq!(object.content_length(), Some(5));
    assert_eq!(object.body.collect().await.unwrap().to_vec(), b"hello");
    let head = server.client.head_object().bucket(BUCKET).key("2026/01/02/object.gz").send().await.unwrap();
    assert_eq!((head.content_length(), head.content_encoding()), (Some(5), Some("gzip")));
}

#[tokio::test]
async fn any_utf8_of_up_to_1024_bytes_is_a_key() {
    let server = Server::start().await;
    let long = format!("{}//{}", "k".repeat(1_000), "ü".repeat(11));
    assert_eq!(long.len(), 1_024);
    let keys = ["a", "a/b", "a//b", "a/", "/a", "../../etc/passwd", "blank and +%20", "日本語/🦀.gz", &long];
    for key in keys {
        server.put(key, key).await;
    }
    let server = server.restart().await;
    for key in keys {
        assert_eq!(server.get(key).await, key.as_bytes());
    }
    let listed = server.client.list_objects_v2().bucket(BUCKET).send().await.unwrap();
    let mut listed: Vec<&str> = listed.contents().iter().filter_map(|object| object.key()).collect();
    listed.sort_unstable();
    let mut expected = keys.to_vec();
    expected.sort_unstable();
    assert_eq!(listed, expected);
    let long = "k".repeat(1_025);
    let refused = server.client.put_object().bucket(BUCKET).key(long).send().await;
    assert_eq!(refusal(refused), (400, "KeyTooLongError".to_owned()));
}

#[tokio::test]
async fn a_missing_bucket_is_named_even_to_who_sends_much() {
    let server = Server::start().await;
    let body = ByteStream::from(vec![7; 20_000_000]);
    let put = server.client.put_object().bucket("mistyped").key("a").body(body).send().await;
    assert_eq!(refusal(put), (404, "NoSuchBucket".to_owned()));
    let get = server.client.get_object().bucket("mistyped").key("a").send().await;
    assert_eq!(refusal(get), (404, "NoSuchBucket".to_owned()));
    let list = server.client.list_objects_v2().bucket("mistyped").send().await;
    assert_eq!(refusal(list), (404, "NoSuchBucket".to_owned()));
    assert_eq!(refusal(server.client.head_bucket().bucket("mistyped").send().await).0, 404);
}

#[tokio::test]
async fn a_missing_key_is_refused_and_its_deletion_is_not() {
    let server = Server::start().await;
    let get = server.client.get_object().bucket(BUCKET).key("a").send().await;
    assert_eq!(refusal(get), (404, "NoSuchKey".to_owned()));
    assert_eq!(refusal(server.client.head_object().bucket(BUCKET).key("a").send().await).0, 404);
    server.client.delete_object().bucket(BUCKET).key("a").send().await.unwrap();
}

#[tokio::test]
async fn a_range_is_a_part_of_the_body() {
    let server = Server::start().await;
    server.put("digits", "0123456789").await;
    let range = async |range: &str| {
        let part = server.client.get_object().bucket(BUCKET).key("digits").range(range).send().await.unwrap();
        let content_range = part.content_range().unwrap().to_owned();
        (content_range, String::from_utf8(part.body.collect().await.unwrap().to_vec()).unwrap())
    };
    assert_eq!(range("bytes=2-4").await, ("bytes 2-4/10".to_owned(), "234".to_owned()));
    assert_eq!(range("bytes=8-99").await, ("bytes 8-9/10".to_owned(), "89".to_owned()));
    assert_eq!(range("bytes=-3").await, ("bytes 7-9/10".to_owned(), "789".to_owned()));
    let beyond = server.client.get_object().bucket(BUCKET).key("digits").range("bytes=10-").send().await;
    assert_eq!(refusal(beyond), (416, "InvalidRange".to_owned()));
}

#[tokio::test]
async fn a_big_body_comes_back_byte_for_byte() {
    let server = Server::start().await;
    let mut generator = fastrand::Rng::with_seed(7);
    let body: Vec<u8> = std::iter::repeat_with(|| generator.u8(..)).take(9_000_001).collect();
    server.put("big", body.clone()).await;
    assert!(server.get("big").await == body);
    server.put("big", "small").await;
    assert_eq!(server.get("big").await, b"small");
}

#[tokio::test]
async fn a_wrong_checksum_is_refused_and_nothing_is_stored() {
    let server = Server::start().await;
    let put = || server.client.put_object().bucket(BUCKET).key("a").body(ByteStream::from_static(b"hello"));
    assert_eq!(refusal(put().checksum_crc32("AAAAAA==").send().await), (400, "BadDigest".to_owned()));
    let md5_of_nothing = "1B2M2Y8AsgTpgAmY7PhCfg==";
    assert_eq!(refusal(put().content_md5(md5_of_nothing).send().await), (400, "BadDigest".to_owned()));
    assert_eq!(refusal(server.client.head_object().bucket(BUCKET).key("a").send().await).0, 404);
    for algorithm in [ChecksumAlgorithm::Crc32C, ChecksumAlgorithm::Crc64Nvme, ChecksumAlgorithm::Sha256] {
        put().checksum_algorithm(algorithm).send().await.unwrap();
    }
}

#[tokio::test]
async fn a_list_is_paged_and_grouped() {
    let server = Server::start().await;
    for key in ["a/1", "a/2", "b", "c/1", "d"] {
        server.put(key, "x").await;
    }
    let mut seen = Vec::new();
    let mut token = None;
    loop {
        let request = server.client.list_objects_v2().bucket(BUCKET).delimiter("/").max_keys(1);
        let page = request.set_continuation_token(token).send().await.unwrap();
        assert_eq!(page.key_count(), Some(1));
        seen.extend(page.contents().iter().filter_map(|object| object.key()).map(str::to_owned));
        seen.extend(page.common_prefixes().iter().filter_map(|prefix| prefix.prefix()).map(str::to_owned));
        match page.next_continuation_token {
            Some(next) => token = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, ["a/", "b", "c/", "d"]);
    let page = server.client.list_objects_v2().bucket(BUCKET).prefix("a/").start_after("a/1").send().await;
    assert_eq!(page.unwrap().contents()[0].key(), Some("a/2"));
    let old = server.client.list_objects().bucket(BUCKET).delimiter("/").max_keys(2).send().await.unwrap();
    assert_eq!((old.is_truncated(), old.next_marker()), (Some(true), Some("b")));
    let old = server.client.list_objects().bucket(BUCKET).delimiter("/").marker("b").send().await.unwrap();
    assert_eq!(old.common_prefixes()[0].prefix(), Some("c/"));
    assert_eq!(old.contents()[0].size(), Some(1));
}

#[tokio::test]
async fn deleted_objects_stay_deleted_after_a_restart() {
    let server = Server::start().await;
    for key in ["one", "two", "three", "four"] {
        server.put(key, key).await;
    }
    server.client.delete_object().bucket(BUCKET).key("one").send().await.unwrap();
    let object = |key: &str| ObjectIdentifier::builder().key(key).build().unwrap();
    let delete = Delete::builder().objects(object("two")).objects(object("never")).build().unwrap();
    let deleted = server.client.delete_objects().bucket(BUCKET).delete(delete).send().await.unwrap();
    assert_eq!((deleted.deleted().len(), deleted.errors().len()), (2, 0));
    let server = server.restart().await;
    let left = server.client.list_objects_v2().bucket(BUCKET).send().await.unwrap();
    let left: Vec<_> = left.contents().iter().filter_map(|object| object.key()).collect();
    assert_eq!(left, ["four", "three"]);
}

#[tokio::test]
async fn a_copy_is_an_object_of_its_own() {
    let server = Server::start().await;
    let put = server.client.put_object().bucket(BUCKET).key("from/ü").metadata("a", "b");
    put.body(ByteStream::from_static(b"hello")).send().await.unwrap();
    let copy =
        |target: &str| server.client.copy_object().bucket(BUCKET).key(target).copy_source("demo/from/%C3%BC");
    let copied = copy("to").send().await.unwrap();
    assert_eq!(copied.copy_object_result().unwrap().e_tag(), Some("\"5d41402abc4b2a76b9719d911017c592\""));
    server.client.delete_object().bucket(BUCKET).key("from/ü").send().await.unwrap();
    let kept = server.client.get_object().bucket(BUCKET).key("to").send().await.unwrap();
    assert_eq!(kept.metadata().unwrap()["a"], "b");
    assert_eq!(kept.body.collect().await.unwrap().to_vec(), b"hello");
    assert_eq!(refusal(copy("to").send().await), (404, "NoSuchKey".to_owned()));
    let itself = || server.client.copy_object().bucket(BUCKET).key("to").copy_source("demo/to");
    assert_eq!(refusal(itself().send().await), (400, "InvalidRequest".to_owned()));
    itself().metadata_directive(MetadataDirective::Replace).metadata("c", "d").send().await.unwrap();
    let head = server.client.head_object().bucket(BUCKET).key("to").send().await.unwrap();
    assert_eq!(head.metadata().unwrap().get("c").map(String::as_str), Some("d"));
}

#[tokio::test]
async fn buckets_are_made_and_deleted_for_good() {
    let server = Server::start().await;
    let client = &server.client;
    client.create_bucket().bucket("second").send().await.unwrap();
    let again = client.create_bucket().bucket("second").send().await;
    assert_eq!(refusal(again), (409, "BucketAlreadyOwnedByYou".to_owned()));
    client.put_object().bucket("second").key("a").send().await.unwrap();
    let full = client.delete_bucket().bucket("second").send().await;
    assert_eq!(refusal(full), (409, "BucketNotEmpty".to_owned()));
    client.delete_object().bucket("second").key("a").send().await.unwrap();
    client.get_bucket_location().bucket("second").send().await.unwrap();
    client.delete_bucket().bucket("second").send().await.unwrap();
    client.create_bucket().bucket("third").send().await.unwrap();
    let server = server.restart().await;
    let listed = server.client.list_buckets().send().await.unwrap();
    let names: Vec<_> = listed.buckets().iter().filter_map(|bucket| bucket.name()).collect();
    assert_eq!(names, [BUCKET, "third"]);
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_by_name() {
    let server = Server::start().await;
    let tagged = server.client.put_object().bucket(BUCKET).key("a").tagging("a=b").send().await;
    assert_eq!(refusal(tagged), (501, "NotImplemented".to_owned()));
}
