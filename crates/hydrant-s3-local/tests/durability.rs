//! What is left after `kill -9`, and what a directory may look like at start.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may end with a panic and may print")]

mod common;

use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use common::{ACCESS_KEY_ID, BUCKET, SECRET_ACCESS_KEY, Server, client, settings};
use hydrant_s3_local::{Error, serve};
use hydrant_testkit::{Fault, FaultProxy, Process, Scratch};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const DIRECTORY_VARIABLE: &str = "HYDRANT_S3_LOCAL_TEST_DIR";
const START_LIMIT: Duration = Duration::from_secs(30);

/// Not a test of its own: the server that the tests below start as a process and kill.
#[tokio::test]
async fn server_for_the_tests_that_kill_it() {
    let Some(directory) = std::env::var_os(DIRECTORY_VARIABLE) else { return };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("\n{{\"s3\":\"http://{}\"}}", listener.local_addr().unwrap());
    serve(listener, settings(Path::new(&directory)), CancellationToken::new()).await.unwrap();
}

async fn start(directory: &Path) -> (Process, Client) {
    let program = std::env::current_exe().unwrap();
    let arguments = ["--exact", "server_for_the_tests_that_kill_it", "--nocapture"];
    let process = Process::start_with(&program, arguments, |command| {
        command.env(DIRECTORY_VARIABLE, directory);
    });
    let ready = process.first_json_line(START_LIMIT).await;
    let endpoint = ready["s3"].as_str().unwrap();
    (process, client(endpoint, ACCESS_KEY_ID, SECRET_ACCESS_KEY))
}

/// A body that tells which write it is of, and whether it is whole.
fn body(version: u64) -> Vec<u8> {
    let mut generator = fastrand::Rng::with_seed(version);
    let length = generator.usize(1..300_000);
    let mut body = version.to_be_bytes().to_vec();
    body.extend(std::iter::repeat_with(|| generator.u8(..)).take(length));
    body
}

#[tokio::test]
async fn a_kill_leaves_every_object_old_or_new_and_loses_none_that_was_acknowledged() {
    let directory = Scratch::new();
    let mut version = 0;
    let mut acknowledged_in_all = 0;
    for round in 0..6 {
        let (process, client) = start(directory.path()).await;
        let mut writers = tokio::task::JoinSet::new();
        for key in ["one", "two", "three", "four"] {
            let client = client.clone();
            let first = version;
            version += 1_000;
            // Writes until the server is gone; gives the last acknowledged and the last begun version.
            writers.spawn(async move {
                let mut begun = first;
                loop {
                    let next = body(begun + 1);
                    let put = client.put_object().bucket(BUCKET).key(key).body(ByteStream::from(next));
                    match put.send().await {
                        Ok(_) => begun += 1,
                        Err(_) => return (key, first, begun),
                    }
                }
            });
        }
        tokio::time::sleep(Duration::from_millis(40 + 37 * round)).await;
        process.kill9().await;
        let (_process, client) = start(directory.path()).await;
        while let Some(written) = writers.join_next().await {
            let (key, first, acknowledged) = written.unwrap();
            if acknowledged == first {
                continue;
            }
            acknowledged_in_all += acknowledged - first;
            let stored = common::get(&client, key).await;
            assert!(
                stored == body(acknowledged) || stored == body(acknowledged + 1),
                "{key} is neither the acknowledged version {acknowledged} nor the one under way"
            );
        }
        assert!(entries(&directory.path().join("tmp")).is_empty());
    }
    assert!(acknowledged_in_all > 0, "every kill came before the first answer");
}

#[tokio::test]
async fn memory_does_not_grow_with_what_is_put_and_read() {
    const BODY_BYTES: usize = 32 * 1024 * 1024;
    const CLIENTS: usize = 8;
    let directory = Scratch::new();
    let (process, client) = start(directory.path()).await;
    client.put_object().bucket(BUCKET).key("first").send().await.unwrap();
    let before = process.rss_bytes();
    let body = bytes::Bytes::from(vec![7; BODY_BYTES]);
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..CLIENTS {
        let (client, body) = (client.clone(), ByteStream::from(body.clone()));
        clients.spawn(async move {
            let key = number.to_string();
            client.put_object().bucket(BUCKET).key(&key).body(body).send().await.unwrap();
            let mut object = client.get_object().bucket(BUCKET).key(&key).send().await.unwrap();
            let mut read_bytes = 0;
            while let Some(piece) = object.body.next().await {
                read_bytes += piece.unwrap().len();
            }
            assert_eq!(read_bytes, BODY_BYTES);
        });
    }
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
    // Eight bodies together are 256 MiB; what the allocator keeps for itself is some MiB a thread.
    let grown = process.rss_bytes_peak() - before;
    assert!(grown < 64 * 1024 * 1024, "grew by {} MiB", grown / 1024 / 1024);
}

#[tokio::test]
async fn a_connection_cut_in_the_body_leaves_nothing_behind() {
    let server = Server::start().await;
    let proxy = FaultProxy::tcp(&server.endpoint).await;
    proxy.inject_matching("cut here", 1, Fault::CutBefore);
    let half = [vec![b'x'; 2_000_000], b"cut here ".repeat(100_000)].concat();
    let client = client(&proxy.url(), ACCESS_KEY_ID, SECRET_ACCESS_KEY);
    let put = client.put_object().bucket(BUCKET).key("cut").body(ByteStream::from(half));
    put.send().await.unwrap_err();
    assert_eq!(proxy.faults(), 1);
    hydrant_testkit::eventually("the temporary file is gone", START_LIMIT, async || {
        entries(&server.dir.path().join("tmp")).is_empty().then_some(())
    })
    .await;
    let listed = server.client.list_objects_v2().bucket(BUCKET).send().await.unwrap();
    assert!(listed.contents().is_empty());
}

#[tokio::test]
async fn one_server_at_a_time_uses_a_directory() {
    let server = Server::start().await;
    server.put("a", "x").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let second = serve(listener, settings(server.dir.path()), CancellationToken::new()).await;
    assert!(matches!(second, Err(Error::InUse { .. })), "{second:?}");
}

#[tokio::test]
async fn a_damaged_file_is_named_at_start_and_not_skipped() {
    let server = Server::start().await;
    server.put("a", "hello").await;
    let directory = server.stop().await;
    let objects = directory.path().join("buckets").join(BUCKET).join("objects");
    let file = entries(&entries(&objects)[0]).remove(0);
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refused = serve(listener, settings(directory.path()), CancellationToken::new()).await;
    assert!(matches!(&refused, Err(Error::Damaged { path }) if *path == file), "{refused:?}");
}

#[tokio::test]
async fn a_request_under_way_is_finished_at_the_stop() {
    let server = Server::start().await;
    server.put("first", "x").await;
    let put = server.client.put_object().bucket(BUCKET).key("a").body(ByteStream::from(vec![1; 3_000_000]));
    let under_way = tokio::spawn(async move { put.send().await });
    hydrant_testkit::eventually("the body is on its way", START_LIMIT, async || {
        (under_way.is_finished() || !entries(&server.dir.path().join("tmp")).is_empty()).then_some(())
    })
    .await;
    let directory = server.stop().await;
    under_way.await.unwrap().unwrap();
    assert_eq!(Server::on(directory).await.get("a").await.len(), 3_000_000);
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
}
