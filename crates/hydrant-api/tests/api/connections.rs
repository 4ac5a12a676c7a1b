//! Connections: limits, stalls, oversize, protocols, stopping.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{Api, Options, PATIENCE, batch, data, exchange, read_all};

/// Small limits, so that a test need not wait.
fn impatient() -> Options {
    let mut options = Options::default();
    options.settings.header_timeout = Duration::from_millis(300);
    options.settings.body_timeout = Duration::from_millis(300);
    options
}

fn body_of(bytes: usize) -> Vec<u8> {
    vec![b' '; bytes]
}

#[tokio::test]
async fn a_20_mb_body_is_answered_with_413_and_not_with_a_reset() {
    let (api, _) = Api::with_stream("s").await;
    for operation in ["PutRecordBatch", "PutRecord"] {
        let refused = api.send(operation, body_of(20_000_000)).await;
        refused.is_error(413, "RequestEntityTooLargeException", "The request is larger than 10485760 bytes.");
    }
    let refused = api.send("CreateDeliveryStream", body_of(2_000_000)).await;
    refused.is_error(413, "RequestEntityTooLargeException", "The request is larger than 1048576 bytes.");
    api.send("PutRecord", body_of(10_485_760)).await.is_serialization("not JSON");
    assert_eq!(api.metric("hydrant_in_flight_bytes"), 0.0);
}

#[tokio::test]
async fn a_chunked_body_is_taken_and_bounded_alike() {
    let (api, id) = Api::with_stream("s").await;
    let head = api.put_head("PutRecordBatch", "transfer-encoding: chunked\r\nconnection: close\r\n");
    let body = batch("s", &[data("chunked")]).to_string();
    let (one, two) = body.split_at(20);
    let text = format!("{head}{:x}\r\n{one}\r\n{:x}\r\n{two}\r\n0\r\n\r\n", one.len(), two.len());
    let answer = exchange(&mut api.connect().await, text.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert_eq!(api.stored(id), [b"chunked"]);
    let mut endless = head.into_bytes();
    let chunk = body_of(1_000_000);
    for _ in 0..12 {
        endless.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        endless.extend_from_slice(&chunk);
        endless.extend_from_slice(b"\r\n");
    }
    endless.extend_from_slice(b"0\r\n\r\n");
    let answer = exchange(&mut api.connect().await, &endless).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("RequestEntityTooLargeException"), "{answer}");
}

#[tokio::test]
async fn a_client_that_waits_for_leave_to_send_gets_it_or_the_refusal() {
    let (api, id) = Api::with_stream("s").await;
    let body = batch("s", &[data("a")]).to_string();
    let head = |length: usize| {
        api.put_head(
            "PutRecordBatch",
            &format!("content-length: {length}\r\nexpect: 100-continue\r\nconnection: close\r\n"),
        )
    };
    let mut stream = api.connect().await;
    stream.write_all(head(body.len()).as_bytes()).await.unwrap();
    let mut leave = [0; 25];
    stream.read_exact(&mut leave).await.unwrap();
    assert_eq!(&leave, b"HTTP/1.1 100 Continue\r\n\r\n");
    let answer = exchange(&mut stream, body.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(api.stored(id), [b"a"]);
    let begun = Instant::now();
    let answer = exchange(&mut api.connect().await, head(20_000_000).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(begun.elapsed() < Duration::from_secs(4), "at once");
}

#[tokio::test]
async fn a_connection_that_sends_nothing_is_closed() {
    let api = Api::start_with(impatient()).await;
    assert_eq!(read_all(&mut api.connect().await).await, "");
}

#[tokio::test]
async fn headers_that_come_slowly_are_cut_off() {
    let api = Api::start_with(impatient()).await;
    // In the middle of the method, of HTTP/2's preface, and of a header.
    for beginning in ["PO", "PRI * HTTP/2.0\r\n", "POST / HTTP/1.1\r\nhost: x\r\nx-amz-ta"] {
        let mut stream = api.connect().await;
        stream.write_all(beginning.as_bytes()).await.unwrap();
        let begun = Instant::now();
        read_all(&mut stream).await;
        assert!(begun.elapsed() < Duration::from_secs(5), "{beginning}");
    }
    // A byte now and then is no progress.
    let mut stream = api.connect().await;
    let begun = Instant::now();
    for byte in api.put_head("PutRecord", "").bytes() {
        if stream.write_all(&[byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "cut off in the middle");
}

#[tokio::test]
async fn a_body_that_stalls_is_answered_with_408_and_holds_no_room() {
    let api = Api::start_with(impatient()).await;
    api.create("s").await;
    let mut stream = api.connect().await;
    let head = api.put_head("PutRecordBatch", "content-length: 5000000\r\n");
    let answer = exchange(&mut stream, format!("{head}{{\"Delivery").as_bytes()).await;
    assert!(
        answer.starts_with("HTTP/1.1 408 ") && answer.contains("x-amzn-errortype: RequestTimeoutException"),
        "{answer}"
    );
    assert_eq!(api.metric("hydrant_in_flight_bytes"), 0.0);
}

#[tokio::test]
async fn clients_that_announce_much_and_send_nothing_hold_nobody_up() {
    let mut options = Options::default();
    options.settings.ingest.bytes_in_flight_max = 1_000_000;
    let api = Api::start_with(options).await;
    api.create("s").await;
    let mut stalled = Vec::new();
    for _ in 0..50 {
        let mut stream = api.connect().await;
        let head = api.put_head("PutRecordBatch", "content-length: 5000000\r\n");
        stream.write_all(format!("{head}{{").as_bytes()).await.unwrap();
        stalled.push(stream);
    }
    let answer = api.call("PutRecordBatch", &batch("s", &[data(vec![0; 500_000])])).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn beyond_the_bytes_in_flight_calls_are_refused_with_503_and_taken_again_once_there_is_room() {
    let mut options = Options::default();
    options.settings.ingest.bytes_in_flight_max = 1_000_000;
    let api = Api::start_with(options).await;
    let id = api.create("s").await;
    let large = batch("s", &vec![data(vec![0; 100_000]); 10]);
    api.call("PutRecordBatch", &large).await.is_error(503, "ServiceUnavailableException", "Slow down.");
    assert!(api.stored(id).is_empty());
    // Half of the room is held by a body that is still to come.
    let half = body_of(600_000);
    let mut slow = api.connect().await;
    slow.write_all(
        api.put_head("PutRecordBatch", "content-length: 700000\r\nconnection: close\r\n").as_bytes(),
    )
    .await
    .unwrap();
    slow.write_all(&half).await.unwrap();
    hydrant_testkit::eventually("the body is held", PATIENCE, async || {
        (api.metric("hydrant_in_flight_bytes") == 600_000.0).then_some(())
    })
    .await;
    let middle = batch("s", &vec![data(vec![0; 100_000]); 4]);
    api.call("PutRecordBatch", &middle).await.is_error(503, "ServiceUnavailableException", "Slow down.");
    drop(slow);
    hydrant_testkit::eventually("the room is given back", PATIENCE, async || {
        (api.metric("hydrant_in_flight_bytes") == 0.0).then_some(())
    })
    .await;
    assert_eq!(api.call("PutRecordBatch", &middle).await.status, 200);
}

#[tokio::test]
async fn a_client_that_goes_away_in_its_body_leaves_nothing_behind() {
    let (api, id) = Api::with_stream("s").await;
    let head = api.put_head("PutRecordBatch", "content-length: 5000\r\n");
    let mut stream = api.connect().await;
    stream.write_all(format!("{head}{}", batch("s", &[data("a")])).as_bytes()).await.unwrap();
    hydrant_testkit::eventually("the body is held", PATIENCE, async || {
        (api.metric("hydrant_in_flight_bytes") > 0.0).then_some(())
    })
    .await;
    drop(stream);
    hydrant_testkit::eventually("the room is given back", PATIENCE, async || {
        (api.metric("hydrant_in_flight_bytes") == 0.0).then_some(())
    })
    .await;
    assert!(api.stored(id).is_empty());
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_their_turn() {
    let mut options = Options::default();
    options.settings.connections_max = 2;
    let api = Api::start_with(options).await;
    let request = "POST / HTTP/1.1\r\nhost: h\r\nx-amz-target: Firehose_20150804.ListDeliveryStreams\r\ncontent-length: 2\r\n\r\n{}";
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = api.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.read_exact(&mut [0; 15]).await.unwrap();
        held.push(stream);
    }
    let mut third = api.connect().await;
    third.write_all(request.as_bytes()).await.unwrap();
    let mut first_bytes = [0; 15];
    let early = tokio::time::timeout(Duration::from_millis(300), third.read_exact(&mut first_bytes)).await;
    assert!(early.is_err(), "not accepted while two are held");
    held.pop();
    tokio::time::timeout(PATIENCE, third.read_exact(&mut first_bytes)).await.expect("accepted now").unwrap();
    assert_eq!(&first_bytes, b"HTTP/1.1 200 OK");
}

#[tokio::test]
async fn one_connection_takes_many_requests() {
    let (api, id) = Api::with_stream("s").await;
    let stream = TcpStream::connect(&api.address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for number in 0..20 {
        let body = json!({"DeliveryStreamName": "s", "Record": data(format!("{number}"))}).to_string();
        let response = sender.send_request(put_record(&api.address, body)).await.unwrap();
        assert_eq!(response.status(), 200);
        response.into_body().collect().await.unwrap();
    }
    assert_eq!(api.stored(id).len(), 20);
}

#[tokio::test]
async fn http_2_is_spoken_where_the_client_begins_with_it() {
    let (api, id) = Api::with_stream("s").await;
    let stream = TcpStream::connect(&api.address).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let calls = (0..50).map(|number| {
        let mut sender = sender.clone();
        let uri = format!("http://{}/", api.address);
        let body = json!({"DeliveryStreamName": "s", "Record": data(vec![number; 50_000])}).to_string();
        async move {
            let response = sender.send_request(put_record(&uri, body)).await.unwrap();
            assert_eq!((response.status().as_u16(), response.version()), (200, http::Version::HTTP_2));
            response.into_body().collect().await.unwrap();
        }
    });
    futures_util::future::join_all(calls).await;
    assert_eq!(api.stored(id).len(), 50);
}

fn put_record(uri: &str, body: String) -> Request<Full<Bytes>> {
    let uri = if uri.starts_with("http") { uri } else { "/" };
    Request::post(uri)
        .header("host", "h")
        .header("x-amz-target", "Firehose_20150804.PutRecord")
        .body(Full::new(Bytes::from(body)))
        .unwrap()
}

#[tokio::test]
async fn headers_beyond_what_is_buffered_are_refused() {
    let api = Api::start().await;
    let head = api.put_head("PutRecord", &format!("x-large: {}\r\n", "x".repeat(600_000)));
    let answer = exchange(&mut api.connect().await, head.as_bytes()).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let answer = exchange(&mut api.connect().await, b"no http at all\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(api.send("ListDeliveryStreams", "{}").await.status, 200, "the server goes on");
}

#[tokio::test]
async fn stopping_finishes_the_request_under_way_and_closes_idle_connections() {
    let (mut api, id) = Api::with_stream("s").await;
    let mut idle = api.connect().await;
    let mut under_way = api.connect().await;
    let body = batch("s", &[data("late")]).to_string();
    let head = api.put_head("PutRecordBatch", &format!("content-length: {}\r\n", body.len()));
    under_way.write_all(head.as_bytes()).await.unwrap();
    under_way.write_all(&body.as_bytes()[..10]).await.unwrap();
    hydrant_testkit::eventually("the body is held", PATIENCE, async || {
        (api.metric("hydrant_in_flight_bytes") == 10.0).then_some(())
    })
    .await;
    api.shutdown.cancel();
    assert_eq!(read_all(&mut idle).await, "");
    hydrant_testkit::eventually("no new connections", PATIENCE, async || {
        TcpStream::connect(&api.address).await.is_err().then_some(())
    })
    .await;
    assert!(!api.served.is_finished());
    let answer = exchange(&mut under_way, &body.as_bytes()[10..]).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("connection: close"), "{answer}");
    assert_eq!(api.stored(id), [b"late"]);
    tokio::time::timeout(PATIENCE, &mut api.served).await.expect("ends in time").unwrap().unwrap();
}
