//! Uploads in parts.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may end with a panic and may print")]

mod common;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use common::{BUCKET, Server, refusal};

const PART_BYTES: usize = 5 * 1024 * 1024;

async fn begin(server: &Server, key: &str) -> String {
    let upload = server.client.create_multipart_upload().bucket(BUCKET).key(key).content_encoding("gzip");
    let upload = upload.checksum_algorithm(ChecksumAlgorithm::Crc32);
    upload.send().await.unwrap().upload_id.unwrap()
}

async fn part(server: &Server, key: &str, id: &str, number: i32, body: Vec<u8>) -> CompletedPart {
    let part = server.client.upload_part().bucket(BUCKET).key(key).upload_id(id).part_number(number);
    let stored =
        part.checksum_algorithm(ChecksumAlgorithm::Crc32).body(ByteStream::from(body)).send().await.unwrap();
    let listed = CompletedPart::builder().part_number(number).set_e_tag(stored.e_tag);
    listed.set_checksum_crc32(stored.checksum_crc32).build()
}

fn list(parts: &[CompletedPart]) -> CompletedMultipartUpload {
    CompletedMultipartUpload::builder().set_parts(Some(parts.to_vec())).build()
}

#[tokio::test]
async fn parts_become_one_object_across_restarts() {
    let server = Server::start().await;
    let id = begin(&server, "big").await;
    let first = part(&server, "big", &id, 1, vec![1; PART_BYTES]).await;
    let server = server.restart().await;
    let replaced = part(&server, "big", &id, 2, vec![9; 10]).await;
    let second = part(&server, "big", &id, 2, vec![2; 10]).await;
    assert_ne!(replaced.e_tag, second.e_tag);
    let parts = server.client.list_parts().bucket(BUCKET).key("big").upload_id(&id).send().await.unwrap();
    let sizes: Vec<_> = parts.parts().iter().map(|part| (part.part_number(), part.size())).collect();
    assert_eq!(sizes, [(Some(1), Some(PART_BYTES as i64)), (Some(2), Some(10))]);
    let uploads = server.client.list_multipart_uploads().bucket(BUCKET).send().await.unwrap();
    assert_eq!(uploads.uploads()[0].upload_id(), Some(id.as_str()));
    let complete = |parts: &[CompletedPart]| {
        server
            .client
            .complete_multipart_upload()
            .bucket(BUCKET)
            .key("big")
            .upload_id(&id)
            .multipart_upload(list(parts))
    };
    assert_eq!(refusal(complete(&[first.clone(), replaced]).send().await), (400, "InvalidPart".to_owned()));
    assert_eq!(
        refusal(complete(&[second.clone(), first.clone()]).send().await),
        (400, "InvalidPartOrder".to_owned())
    );
    let done = complete(&[first, second]).send().await.unwrap();
    assert!(done.e_tag().unwrap().ends_with("-2\""));
    assert!(done.checksum_crc32().unwrap().ends_with("-2"));
    let server = server.restart().await;
    let expected = [vec![1; PART_BYTES], vec![2; 10]].concat();
    assert!(server.get("big").await == expected);
    let head = server.client.head_object().bucket(BUCKET).key("big").send().await.unwrap();
    assert_eq!(head.content_encoding(), Some("gzip"));
    let uploads = server.client.list_multipart_uploads().bucket(BUCKET).send().await.unwrap();
    assert!(uploads.uploads().is_empty());
}

#[tokio::test]
async fn small_parts_are_refused_except_the_last() {
    let server = Server::start().await;
    let id = begin(&server, "small").await;
    let parts = [
        part(&server, "small", &id, 1, vec![1; 10]).await,
        part(&server, "small", &id, 2, vec![2; 10]).await,
    ];
    let complete = server.client.complete_multipart_upload().bucket(BUCKET).key("small").upload_id(&id);
    assert_eq!(
        refusal(complete.multipart_upload(list(&parts)).send().await),
        (400, "EntityTooSmall".to_owned())
    );
}

#[tokio::test]
async fn an_aborted_upload_is_gone() {
    let server = Server::start().await;
    let id = begin(&server, "given-up").await;
    let stored = part(&server, "given-up", &id, 1, vec![1; 10]).await;
    let abort =
        || server.client.abort_multipart_upload().bucket(BUCKET).key("given-up").upload_id(&id).send();
    abort().await.unwrap();
    assert_eq!(refusal(abort().await), (404, "NoSuchUpload".to_owned()));
    let complete = server.client.complete_multipart_upload().bucket(BUCKET).key("given-up").upload_id(&id);
    let complete = complete.multipart_upload(list(&[stored])).send().await;
    assert_eq!(refusal(complete), (404, "NoSuchUpload".to_owned()));
}

#[tokio::test]
async fn an_upload_completes_only_into_a_new_key_when_told_so() {
    let server = Server::start().await;
    let id = begin(&server, "taken").await;
    let stored = part(&server, "taken", &id, 1, vec![1; 10]).await;
    server.put("taken", "first").await;
    let complete = server.client.complete_multipart_upload().bucket(BUCKET).key("taken").upload_id(&id);
    let complete = complete.if_none_match("*").multipart_upload(list(&[stored])).send().await;
    assert_eq!(refusal(complete), (412, "PreconditionFailed".to_owned()));
    assert_eq!(server.get("taken").await, b"first");
}

#[tokio::test]
async fn a_part_is_copied_from_a_range_of_another_object() {
    let server = Server::start().await;
    server.put("from", "0123456789").await;
    let id = begin(&server, "to").await;
    let copy = server.client.upload_part_copy().bucket(BUCKET).key("to").upload_id(&id).part_number(1);
    let copied = copy.copy_source("demo/from").copy_source_range("bytes=2-5").send().await.unwrap();
    let result = copied.copy_part_result.unwrap();
    let stored = CompletedPart::builder().part_number(1).set_e_tag(result.e_tag).build();
    let complete = server.client.complete_multipart_upload().bucket(BUCKET).key("to").upload_id(&id);
    complete.multipart_upload(list(&[stored])).send().await.unwrap();
    assert_eq!(server.get("to").await, b"2345");
}
