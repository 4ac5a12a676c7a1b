//! Conditional requests, and who may ask at all.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may end with a panic and may print")]

mod common;

use aws_sdk_s3::primitives::ByteStream;
use common::{ACCESS_KEY_ID, BUCKET, SECRET_ACCESS_KEY, Server, client, refusal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn of_sixteen_racing_puts_of_a_new_key_exactly_one_wins() {
    let server = Server::start().await;
    for round in 0..5 {
        let key = format!("race/{round}");
        let racers = (0..16).map(|racer| {
            let body = ByteStream::from(vec![racer; 10_000]);
            let put = server.client.put_object().bucket(BUCKET).key(&key).if_none_match("*").body(body);
            tokio::spawn(async move { (racer, put.send().await) })
        });
        let racers: Vec<_> = racers.collect();
        let mut winners = Vec::new();
        for racer in racers {
            match racer.await.unwrap() {
                (racer, Ok(_)) => winners.push(racer),
                (_, lost) => assert_eq!(refusal(lost), (412, "PreconditionFailed".to_owned())),
            }
        }
        assert_eq!(winners.len(), 1);
        assert_eq!(server.get(&key).await, vec![winners[0]; 10_000]);
    }
}

#[tokio::test]
async fn a_new_key_is_new_after_its_deletion_and_not_after_a_restart() {
    let server = Server::start().await;
    server.put("a", "x").await;
    let server = server.restart().await;
    let put = || server.client.put_object().bucket(BUCKET).key("a").if_none_match("*").send();
    assert_eq!(refusal(put().await), (412, "PreconditionFailed".to_owned()));
    server.client.delete_object().bucket(BUCKET).key("a").send().await.unwrap();
    put().await.unwrap();
}

#[tokio::test]
async fn an_object_is_replaced_only_as_the_writer_knows_it() {
    let server = Server::start().await;
    let put =
        |key: &str, etag: &str| server.client.put_object().bucket(BUCKET).key(key).if_match(etag).send();
    assert_eq!(refusal(put("a", "\"etag\"").await), (404, "NoSuchKey".to_owned()));
    let first = server.put("a", "first").await;
    put("a", &first).await.unwrap();
    assert_eq!(refusal(put("a", &first).await), (412, "PreconditionFailed".to_owned()));
}

#[tokio::test]
async fn a_reader_that_knows_the_object_is_spared_it() {
    let server = Server::start().await;
    let etag = server.put("a", "x").await;
    let get = || server.client.get_object().bucket(BUCKET).key("a");
    assert_eq!(refusal(get().if_none_match(&etag).send().await).0, 304);
    assert_eq!(refusal(get().if_match("\"other\"").send().await), (412, "PreconditionFailed".to_owned()));
    get().if_match(&etag).send().await.unwrap();
}

#[tokio::test]
async fn strangers_are_refused() {
    let server = Server::start().await;
    let wrong_secret = client(&server.endpoint, ACCESS_KEY_ID, "guess");
    let put = wrong_secret.put_object().bucket(BUCKET).key("a").body(ByteStream::from(vec![7; 5_000_000]));
    assert_eq!(refusal(put.send().await), (403, "SignatureDoesNotMatch".to_owned()));
    let unknown = client(&server.endpoint, "stranger", SECRET_ACCESS_KEY);
    let get = unknown.get_object().bucket(BUCKET).key("a").send().await;
    assert_eq!(refusal(get), (403, "InvalidAccessKeyId".to_owned()));
    server.put("a", "secret").await;
    let answer = unsigned_get(&server.endpoint, "/demo/a").await;
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("AccessDenied"), "{answer}");
}

async fn unsigned_get(endpoint: &str, path: &str) -> String {
    let address = endpoint.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
