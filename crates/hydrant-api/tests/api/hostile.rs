//! What a hostile client may try: answered or cut, within bounds, and counted.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hydrant_types::StreamId;
use hyper_util::rt::{TokioExecutor, TokioIo};
use proptest::prelude::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{Api, Options, PATIENCE, batch, data, exchange, read_all};

fn impatient() -> Options {
    let mut options = Options::default();
    options.settings.header_timeout = Duration::from_millis(300);
    options.settings.body_timeout = Duration::from_millis(300);
    options
}

fn cut(api: &Api, reason: &str) -> f64 {
    api.metric(&format!("hydrant_api_connections_cut_total{{reason=\"{reason}\"}}"))
}

async fn is_cut(api: &Api, reason: &str, times: f64) {
    hydrant_testkit::eventually(&format!("{reason} is counted"), PATIENCE, async || {
        (cut(api, reason) == times).then_some(())
    })
    .await;
}

/// Nothing is held for anybody, and the service goes on.
async fn all_is_well(api: &Api, stream: StreamId, stored: usize) {
    hydrant_testkit::eventually("the room is given back", PATIENCE, async || {
        (api.metric("hydrant_in_flight_bytes") == 0.0).then_some(())
    })
    .await;
    assert_eq!(api.stored(stream).len(), stored);
    let answer = api.call("PutRecordBatch", &batch("s", &[data("honest")])).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn answers(text: &str) -> usize {
    text.matches("HTTP/1.1 ").count()
}

/// A put that would be taken.
fn put() -> String {
    batch("s", &[data("a")]).to_string()
}

#[tokio::test]
async fn headers_beyond_their_number_or_size_are_refused_with_431() {
    let (api, id) = Api::with_stream("s").await;
    let many = |count: usize| "x-n: 1\r\n".repeat(count);
    let large = |bytes: usize| format!("x-large: {}\r\n", "x".repeat(bytes));
    let refused = [many(98), many(10_000), large(33_000), large(10_000_000)];
    for (number, headers) in refused.iter().enumerate() {
        let head = api.put_head("PutRecordBatch", &format!("content-length: 0\r\n{headers}"));
        let answer = exchange(&mut api.connect().await, head.as_bytes()).await;
        // Of one that is still being sent the answer may be lost with the reset.
        let lost = answer.is_empty() && headers.len() > 50_000;
        assert!(lost || answer.starts_with("HTTP/1.1 431 "), "{}: {answer}", headers.len());
        assert!(lost || answer.contains("date: "), "{answer}");
        is_cut(&api, "headers_too_large", number as f64 + 1.0).await;
    }
    let line = format!("POST /{} HTTP/1.1\r\nhost: h\r\n\r\n", "x".repeat(70_000));
    let answer = exchange(&mut api.connect().await, line.as_bytes()).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let body = put();
    for headers in [many(90), large(30_000)] {
        let more = format!("content-length: {}\r\nconnection: close\r\n{headers}", body.len());
        let text = format!("{}{body}", api.put_head("PutRecordBatch", &more));
        let answer = exchange(&mut api.connect().await, text.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    all_is_well(&api, id, 2).await;
}

#[tokio::test]
async fn slowness_is_told_from_silence() {
    let api = Api::start_with(impatient()).await;
    let id = api.create("s").await;
    let before = cut(&api, "client_gone");
    let mut silent = api.connect().await;
    read_all(&mut silent).await;
    is_cut(&api, "idle", 1.0).await;
    let mut slow = api.connect().await;
    for byte in api.put_head("PutRecordBatch", "").bytes() {
        if slow.write_all(&[byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    is_cut(&api, "header_timeout", 1.0).await;
    // After an answer as well: one connection that is only kept, and one that begins a second request.
    let body = put();
    let text =
        format!("{}{body}", api.put_head("PutRecordBatch", &format!("content-length: {}\r\n", body.len())));
    let (mut kept, mut again) = (api.connect().await, api.connect().await);
    for stream in [&mut kept, &mut again] {
        stream.write_all(text.as_bytes()).await.unwrap();
        stream.read_exact(&mut [0; 100]).await.unwrap();
    }
    again.write_all(b"POST / HT").await.unwrap();
    read_all(&mut kept).await;
    read_all(&mut again).await;
    is_cut(&api, "idle", 2.0).await;
    is_cut(&api, "header_timeout", 2.0).await;
    assert_eq!(cut(&api, "client_gone"), before);
    all_is_well(&api, id, 2).await;
}

#[tokio::test]
async fn a_body_that_comes_byte_by_byte_is_answered_with_408_whichever_way_it_is_framed() {
    let api = Api::start_with(impatient()).await;
    let id = api.create("s").await;
    for (framing, bytes) in
        [("content-length: 500\r\n", &b" "[..]), ("transfer-encoding: chunked\r\n", b"1\r\n \r\n")]
    {
        let mut stream = api.connect().await;
        stream.write_all(api.put_head("PutRecordBatch", framing).as_bytes()).await.unwrap();
        let begun = Instant::now();
        let (mut read, mut write) = stream.split();
        let send = async {
            for _ in 0..1_000 {
                // One write by byte, so that the pieces of a chunk come apart too.
                for byte in bytes {
                    if write.write_all(&[*byte]).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        };
        let mut answer = [0; 13];
        tokio::select! {
            read = read.read_exact(&mut answer) => { read.unwrap(); }
            () = send => panic!("sent to the end without an answer"),
        }
        assert_eq!(&answer, b"HTTP/1.1 408 ");
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
    let series = "hydrant_api_requests_total{code=\"RequestTimeoutException\",operation=\"PutRecordBatch\"}";
    assert_eq!(api.metric(series), 2.0);
    all_is_well(&api, id, 0).await;
}

#[tokio::test]
async fn a_chunked_body_that_never_ends_is_bounded_in_bytes_and_time() {
    let (api, id) = Api::with_stream("s").await;
    let mut stream = api.connect().await;
    let head = api.put_head("PutRecordBatch", "transfer-encoding: chunked\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let begun = Instant::now();
    let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x1_0000], b"\r\n"].concat();
    let (mut read, mut write) = stream.into_split();
    let sent = tokio::spawn(async move {
        let mut sent = 0;
        while write.write_all(&chunk).await.is_ok() {
            sent += chunk.len();
        }
        sent
    });
    let mut held_most = 0.0_f64;
    while !sent.is_finished() {
        held_most = held_most.max(api.metric("hydrant_in_flight_bytes"));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut answer = Vec::new();
    let _ = read.read_to_end(&mut answer).await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 413 "));
    assert!(sent.await.unwrap() < 100_000_000, "10 MiB are read, some are thrown away, what is on its way");
    assert!(held_most <= 10_485_760.0, "{held_most}");
    assert!(begun.elapsed() < Duration::from_secs(15));
    let series =
        "hydrant_api_requests_total{code=\"RequestEntityTooLargeException\",operation=\"PutRecordBatch\"}";
    assert_eq!(api.metric(series), 1.0);
    all_is_well(&api, id, 0).await;
}

#[tokio::test]
async fn a_body_shorter_than_announced_stores_nothing() {
    let (api, id) = Api::with_stream("s").await;
    let body = put();
    for framing in [
        format!("content-length: {}\r\n\r\n{body}", body.len() + 1),
        format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n", body.len()),
        format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}", body.len() + 1),
    ] {
        let mut stream = api.connect().await;
        let text = api.put_head("PutRecordBatch", "").trim_end().to_owned() + "\r\n" + &framing;
        stream.write_all(text.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let answer = read_all(&mut stream).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    let series = "hydrant_api_requests_total{code=\"SerializationException\",operation=\"PutRecordBatch\"}";
    hydrant_testkit::eventually("each is counted", PATIENCE, async || {
        (api.metric(series) + cut(&api, "client_gone") >= 3.0).then_some(())
    })
    .await;
    all_is_well(&api, id, 0).await;
}

#[tokio::test]
async fn what_follows_a_body_is_another_request_and_no_part_of_it() {
    let (api, id) = Api::with_stream("s").await;
    let body = put();
    let head = api.put_head("PutRecordBatch", &format!("content-length: {}\r\n", body.len()));
    let answer = exchange(&mut api.connect().await, format!("{head}{body}surplus\r\n\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("HTTP/1.1 400 "), "{answer}");
    assert_eq!(answers(&answer), 2);
    is_cut(&api, "malformed", 1.0).await;
    all_is_well(&api, id, 1).await;
}

#[tokio::test]
async fn headers_that_decide_are_given_once_and_bodies_are_not_compressed() {
    let (api, id) = Api::with_stream("s").await;
    let body = put();
    for (more, words) in [
        ("x-amz-target: Firehose_20150804.ListDeliveryStreams\r\n", "The header X-Amz-Target is given more"),
        ("host: other\r\n", "The header Host is given more"),
        ("authorization: AWS4-HMAC-SHA256 a\r\nauthorization: b\r\n", "The header Authorization is given"),
        ("content-type: application/json\r\n", "The header Content-Type is given more"),
        ("content-encoding: gzip\r\n", "Content-Encoding \\\"gzip\\\" is not supported"),
    ] {
        let more = format!("content-length: {}\r\nconnection: close\r\n{more}", body.len());
        let text = format!("{}{body}", api.put_head("PutRecordBatch", &more));
        let answer = exchange(&mut api.connect().await, text.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains(words), "{words}: {answer}");
        assert!(answer.contains("x-amzn-errortype: SerializationException"), "{answer}");
    }
    all_is_well(&api, id, 0).await;
}

#[tokio::test]
async fn framing_that_could_be_read_in_two_ways_is_refused_or_closes_the_connection() {
    let (api, id) = Api::with_stream("s").await;
    let body = put();
    let (length, chunked) = (body.len(), format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()));
    let hidden = format!(
        "POST / HTTP/1.1\r\nhost: h\r\nx-amz-target: Firehose_20150804.PutRecordBatch\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    let malformed = [
        format!("content-length: {length}\r\ncontent-length: {}\r\n\r\n{body}", length + 1),
        format!("content-length: {length}, {length}\r\n\r\n{body}"),
        format!("content-length: +{length}\r\n\r\n{body}"),
        format!("content-length: -1\r\n\r\n{body}"),
        format!("content-length: 0x10\r\n\r\n{body}"),
        format!("content-length: 99999999999999999999999\r\n\r\n{body}"),
        format!("content-length : {length}\r\n\r\n{body}"),
        format!("transfer-encoding: gzip\r\n\r\n{chunked}"),
        format!("transfer-encoding: chunked, gzip\r\n\r\n{chunked}"),
        format!("transfer-encoding: xchunked\r\n\r\n{chunked}"),
        format!("transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n{chunked}"),
        // A line that goes on in the next.
        format!("x-folded: a\r\n b\r\ncontent-length: {length}\r\n\r\n{body}"),
        format!("transfer-encoding:\r\n chunked\r\ncontent-length: {length}\r\n\r\n{chunked}"),
        format!("x-nul: a\0b\r\ncontent-length: {length}\r\n\r\n{body}"),
        format!("x-bare: a\rb\r\ncontent-length: {length}\r\n\r\n{body}"),
        format!("no colon\r\ncontent-length: {length}\r\n\r\n{body}"),
        format!("content length: 1\r\ncontent-length: {length}\r\n\r\n{body}"),
    ];
    let start = api.put_head("PutRecordBatch", "").trim_end().to_owned() + "\r\n";
    let mut counted = 0.0;
    for framing in &malformed {
        let answer = exchange(&mut api.connect().await, format!("{start}{framing}{hidden}").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 ") || answer.is_empty(), "{framing}: {answer}");
        assert!(answers(&answer) <= 1, "{framing}: {answer}");
        counted += 1.0;
        is_cut(&api, "malformed", counted).await;
    }
    assert!(api.stored(id).is_empty());

    // Both, where Transfer-Encoding counts: then nothing that follows on the connection is read as a request.
    for framing in [
        format!("content-length: {length}\r\ntransfer-encoding: chunked\r\n\r\n{chunked}"),
        format!("transfer-encoding: chunked\r\ncontent-length: {length}\r\n\r\n{chunked}"),
        format!("transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n{chunked}"),
    ] {
        let answer = exchange(&mut api.connect().await, format!("{start}{framing}{hidden}").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("connection: close"), "{answer}");
        assert_eq!(answers(&answer), 1, "{framing}");
    }
    all_is_well(&api, id, 3).await;
}

#[tokio::test]
async fn chunks_of_no_size_end_the_request_and_what_follows_is_not_read() {
    let (api, id) = Api::with_stream("s").await;
    let body = put();
    let start = api.put_head("PutRecordBatch", "transfer-encoding: chunked\r\n");
    let size = body.len();
    for chunk in [
        format!("zz\r\n{body}\r\n0\r\n\r\n"),
        format!("-{size:x}\r\n{body}\r\n0\r\n\r\n"),
        format!("0x{size:x}\r\n{body}\r\n0\r\n\r\n"),
        format!("fffffffffffffffff\r\n{body}\r\n0\r\n\r\n"),
        format!("{:x}\r\n{body}\r\n0\r\n\r\n", size - 1),
        format!("{size:x} {size:x}\r\n{body}\r\n0\r\n\r\n"),
        format!("\r\n{body}\r\n0\r\n\r\n"),
        format!("{size:x};{}\r\n{body}\r\n0\r\n\r\n", "e".repeat(100_000)),
    ] {
        let answer = exchange(&mut api.connect().await, format!("{start}{chunk}{start}").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 ") || answer.is_empty(), "{chunk:.80}: {answer}");
        assert!(answers(&answer) <= 1, "{chunk:.80}: {answer}");
    }
    // A trailer without end.
    let trailer = format!("{start}{size:x}\r\n{body}\r\n0\r\nx: {}", "y".repeat(1_000_000));
    let answer = exchange(&mut api.connect().await, trailer.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 400 ") || answer.is_empty(), "{answer}");
    all_is_well(&api, id, 0).await;
}

#[tokio::test]
async fn garbage_and_the_oldest_http_are_refused_and_counted() {
    let api = Api::start().await;
    let mut counted = 0.0;
    for text in [
        &b"GET /\r\n\r\n"[..],
        b"GET / HTTP/3.7\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"SSH-2.0-x\r\n",
        b"{}\r\n\r\n",
    ] {
        let answer = exchange(&mut api.connect().await, text).await;
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("date: "), "{answer}");
        counted += 1.0;
        is_cut(&api, "malformed", counted).await;
    }
    // Whoever looks whether somebody listens is nobody's trouble.
    drop(api.connect().await);
    hydrant_testkit::eventually("it is gone", PATIENCE, async || {
        let accepted = api.metric("hydrant_api_connections_accepted_total");
        (accepted == counted + 1.0 && api.metric("hydrant_api_connections") == 0.0).then_some(())
    })
    .await;
    assert_eq!(cut(&api, "malformed"), counted);
    assert_eq!(cut(&api, "client_gone"), 0.0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is done to the bytes of a put: what is answered with 200 was stored, and nothing else; and the service goes on.
    #[test]
    fn a_damaged_request_is_answered_or_cut(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..6),
        sent in any::<prop::sample::Index>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (api, id) = Api::with_stream("s").await;
            let body = put();
            let more = format!("content-length: {}\r\nconnection: close\r\n", body.len());
            let mut text = format!("{}{body}", api.put_head("PutRecordBatch", &more)).into_bytes();
            for (at, byte, how) in &edits {
                let at = at.index(text.len());
                match how {
                    0 => text[at] = *byte,
                    1 => text.insert(at, *byte),
                    _ => { text.remove(at); }
                }
            }
            text.truncate(sent.index(text.len() * 2).max(1));
            let mut stream = api.connect().await;
            let _ = stream.write_all(&text).await;
            let _ = stream.shutdown().await;
            let mut answer = Vec::new();
            let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it ends");
            let answer = String::from_utf8_lossy(&answer).into_owned();
            assert!(!answer.contains("HTTP/1.1 5"), "{answer}");
            let taken = usize::from(answer.contains("\"RecordId\""));
            assert!(taken == 1 || !answer.contains("FailedPutCount"), "{answer}");
            all_is_well(&api, id, taken).await;
        });
    }
}

/// Frames of HTTP/2 by hand (RFC 9113, section 4.1).
mod http_2 {
    use super::*;

    pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    pub const HEADERS: u8 = 1;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const CONTINUATION: u8 = 9;
    pub const END_STREAM: u8 = 1;
    pub const END_HEADERS: u8 = 4;
    pub const ENHANCE_YOUR_CALM: u32 = 11;

    pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        frame.extend_from_slice(&[kind, flags]);
        frame.extend_from_slice(&stream.to_be_bytes());
        frame.extend_from_slice(payload);
        frame
    }

    /// HPACK's literal without indexing; lengths below 127.
    pub fn literal(name: &str, value: &str) -> Vec<u8> {
        let mut field = vec![0, name.len() as u8];
        field.extend_from_slice(name.as_bytes());
        field.push(value.len() as u8);
        field.extend_from_slice(value.as_bytes());
        field
    }

    pub fn request_headers() -> Vec<u8> {
        [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "h"),
            ("x-amz-target", "Firehose_20150804.ListDeliveryStreams"),
        ]
        .iter()
        .flat_map(|(name, value)| literal(name, value))
        .collect()
    }

    /// A connection after the preface.
    pub async fn connect(api: &Api) -> TcpStream {
        let mut stream = api.connect().await;
        stream.write_all(PREFACE).await.unwrap();
        stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
        stream
    }

    /// Reads to the end; the error code of the GOAWAY, where there is one.
    pub async fn goodbye(stream: &mut TcpStream) -> Option<u32> {
        let mut bytes = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
        let _ = ended.expect("the connection ends");
        let mut rest = &bytes[..];
        while rest.len() >= 9 {
            let length = u32::from_be_bytes([0, rest[0], rest[1], rest[2]]) as usize;
            let payload = rest.get(9..9 + length)?;
            if rest[3] == GOAWAY {
                return Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
            }
            rest = &rest[9 + length..];
        }
        None
    }

    /// Writes until it is done or the connection is gone.
    pub async fn pour(stream: &mut TcpStream, frames: &[u8]) {
        let _ = tokio::time::timeout(Duration::from_secs(2), stream.write_all(frames)).await;
    }
}

#[tokio::test]
async fn http_2_streams_opened_and_reset_without_end_are_a_flood() {
    let (api, id) = Api::with_stream("s").await;
    let mut stream = http_2::connect(&api).await;
    let flags = http_2::END_HEADERS | http_2::END_STREAM;
    let frames: Vec<u8> = (0..20_000_u32)
        .flat_map(|number| {
            let mut pair = http_2::frame(http_2::HEADERS, flags, number * 2 + 1, &http_2::request_headers());
            pair.extend(http_2::frame(http_2::RST_STREAM, 0, number * 2 + 1, &8_u32.to_be_bytes()));
            pair
        })
        .collect();
    http_2::pour(&mut stream, &frames).await;
    // The reason may be lost with the reset.
    let reason = http_2::goodbye(&mut stream).await;
    assert!(reason.is_none() || reason == Some(http_2::ENHANCE_YOUR_CALM), "{reason:?}");
    is_cut(&api, "flood", 1.0).await;
    all_is_well(&api, id, 0).await;
}

#[tokio::test]
async fn http_2_headers_that_are_continued_without_end_are_a_flood() {
    let (api, id) = Api::with_stream("s").await;
    for (counted, fragment) in [(1.0, vec![]), (2.0, http_2::literal("x", "y"))] {
        let mut stream = http_2::connect(&api).await;
        let mut frames = http_2::frame(http_2::HEADERS, http_2::END_STREAM, 1, &http_2::request_headers());
        for _ in 0..50_000 {
            frames.extend(http_2::frame(http_2::CONTINUATION, 0, 1, &fragment));
        }
        http_2::pour(&mut stream, &frames).await;
        let reason = http_2::goodbye(&mut stream).await;
        assert!(reason.is_none() || reason == Some(http_2::ENHANCE_YOUR_CALM), "{reason:?}");
        is_cut(&api, "flood", counted).await;
    }
    all_is_well(&api, id, 0).await;
}

#[tokio::test]
async fn http_2_settings_and_pings_without_a_request_are_cut_whether_the_answers_are_read_or_not() {
    let api = Api::start_with(impatient()).await;
    let id = api.create("s").await;
    let settings = http_2::frame(http_2::SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]);
    let ping = http_2::frame(http_2::PING, 0, 0, b"12345678");
    let mut counted = 0.0;
    for flood in [settings, ping] {
        let frames = flood.repeat(20_000);
        for read in [false, true] {
            let stream = http_2::connect(&api).await;
            let begun = Instant::now();
            let (mut reader, mut writer) = stream.into_split();
            let reading = tokio::spawn(async move {
                let mut sink = vec![0; 65_536];
                while read && reader.read(&mut sink).await.is_ok_and(|bytes| bytes > 0) {}
                reader
            });
            while writer.write_all(&frames).await.is_ok() {}
            assert!(begun.elapsed() < Duration::from_secs(5));
            drop((writer, reading.await));
            counted += 1.0;
            is_cut(&api, "header_timeout", counted).await;
        }
    }
    all_is_well(&api, id, 0).await;
}

#[tokio::test]
async fn http_2_headers_beyond_their_size_are_refused_and_the_connection_goes_on() {
    let (api, id) = Api::with_stream("s").await;
    let stream = TcpStream::connect(&api.address).await.unwrap();
    // A client that does not keep to the limit that it is told.
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let ask = |bytes: usize| {
        let mut sender = sender.clone();
        let request = http::Request::post(format!("http://{}/", api.address))
            .header("x-amz-target", "Firehose_20150804.ListDeliveryStreams")
            .header("x-large", "x".repeat(bytes))
            .body(Full::new(Bytes::from_static(b"{}")))
            .unwrap();
        async move { sender.send_request(request).await }
    };
    let refused = ask(40_000).await.unwrap();
    assert_eq!(refused.status(), 431);
    let taken = ask(20_000).await.unwrap();
    assert_eq!((taken.status().as_u16(), taken.version()), (200, http::Version::HTTP_2));
    assert!(taken.headers()["date"].to_str().unwrap().ends_with(" GMT"));
    taken.into_body().collect().await.unwrap();
    // Decoded, not as sent: a name of the table that is repeated costs one byte on the wire.
    let mut bomb = http_2::connect(&api).await;
    let mut headers = http_2::request_headers();
    // Into the table (index 62), then over and over again.
    headers.push(0x40);
    headers.extend_from_slice(&http_2::literal("x-bomb", &"x".repeat(100))[1..]);
    headers.extend_from_slice(&[0x80 | 62; 15_000]);
    let flags = http_2::END_HEADERS | http_2::END_STREAM;
    http_2::pour(&mut bomb, &http_2::frame(http_2::HEADERS, flags, 1, &headers)).await;
    let mut answer = vec![0; 1_024];
    let read = tokio::time::timeout(PATIENCE, bomb.read(&mut answer)).await.expect("an answer or the end");
    assert!(read.is_ok());
    drop(bomb);
    all_is_well(&api, id, 0).await;
}

#[tokio::test]
async fn the_headers_of_all_connections_have_one_budget() {
    let mut options = Options::default();
    options.settings.header_bytes_max = 4_000;
    let api = Api::start_with(options).await;
    let id = api.create("s").await;
    let body = put();
    let more =
        format!("content-length: {}\r\nconnection: close\r\nx-pad: {}\r\n", body.len(), "x".repeat(1_500));
    let head = api.put_head("PutRecordBatch", &more);
    let mut held = Vec::new();
    for number in 1..=2 {
        let mut stream = api.connect().await;
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&body.as_bytes()[..10]).await.unwrap();
        hydrant_testkit::eventually("it is under way", PATIENCE, async || {
            (api.metric("hydrant_in_flight_bytes") == 10.0 * f64::from(number)).then_some(())
        })
        .await;
        held.push(stream);
    }
    let text = format!("{head}{body}");
    let refused = exchange(&mut api.connect().await, text.as_bytes()).await;
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert!(refused.contains("x-amzn-errortype: ServiceUnavailableException"), "{refused}");
    for mut stream in held {
        let answer = exchange(&mut stream, &body.as_bytes()[10..]).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    let taken = exchange(&mut api.connect().await, text.as_bytes()).await;
    assert!(taken.starts_with("HTTP/1.1 200 "), "{taken}");
    let series = "hydrant_api_requests_total{code=\"ServiceUnavailableException\",operation=\"unknown\"}";
    assert_eq!(api.metric(series), 1.0);
    all_is_well(&api, id, 3).await;
}
