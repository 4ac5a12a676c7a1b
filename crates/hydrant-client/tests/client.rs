//! The client against servers that answer as a test says, over real connections.
#![allow(clippy::unwrap_used, reason = "helpers of tests, which the lint does not know as such")]

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hydrant_client::{
    CallError, Client, Signing,
    batcher::{Batch, PutError},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What the server does with one attempt.
enum Answer {
    Json(u16, Value),
    /// Takes the request and closes the connection without an answer.
    Hangup,
}

/// One request as it arrived.
#[derive(Clone)]
struct Seen {
    headers: http::HeaderMap,
    body: Bytes,
}

impl Seen {
    fn header(&self, name: &str) -> String {
        self.headers
            .get(name)
            .unwrap_or_else(|| panic!("{name} in {:?}", self.headers))
            .to_str()
            .unwrap()
            .to_owned()
    }

    fn records(&self) -> Vec<String> {
        let input: Value = serde_json::from_slice(&self.body).unwrap();
        input["Records"]
            .as_array()
            .unwrap()
            .iter()
            .map(|record| record["Data"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// Answers what it was told, then 200 for every record.
struct Server {
    endpoint: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    async fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let answers = Arc::new(Mutex::new(VecDeque::from(answers)));
        let all = seen.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (all, answers) = (all.clone(), answers.clone());
                let service = service_fn(move |request| answer(request, all.clone(), answers.clone()));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { endpoint, seen }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn answer(
    request: Request<Incoming>,
    all: Arc<Mutex<Vec<Seen>>>,
    answers: Arc<Mutex<VecDeque<Answer>>>,
) -> Result<Response<Full<Bytes>>, &'static str> {
    let (parts, body) = request.into_parts();
    let seen = Seen { headers: parts.headers, body: body.collect().await.unwrap().to_bytes() };
    all.lock().unwrap().push(seen.clone());
    let answer = answers.lock().unwrap().pop_front();
    let (status, body) = match answer {
        Some(Answer::Json(status, body)) => (status, body),
        Some(Answer::Hangup) => return Err("hang up"),
        None => {
            let entries: Vec<Value> = seen.records().iter().map(|_| json!({"RecordId": "r"})).collect();
            (200, json!({"FailedPutCount": 0, "RequestResponses": entries}))
        }
    };
    Ok(Response::builder().status(status).body(Full::new(Bytes::from(body.to_string()))).unwrap())
}

fn slow_down() -> Answer {
    Answer::Json(503, json!({"__type": "ServiceUnavailableException", "message": "Slow down."}))
}

fn failed() -> Value {
    json!({"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "Slow down."})
}

fn batch_of(records: &[&str]) -> Batch {
    let mut batch = Batch::default();
    records.iter().for_each(|record| batch.push(record.as_bytes()));
    batch
}

#[tokio::test]
async fn a_call_is_what_firehose_expects() {
    let server = Server::start(vec![Answer::Json(200, json!({"DeliveryStreamNames": []}))]).await;
    let answer =
        Client::unsigned(&server.endpoint).call("ListDeliveryStreams", &json!({"Limit": 1})).await.unwrap();
    assert_eq!(answer, json!({"DeliveryStreamNames": []}));
    let seen = &server.seen()[0];
    assert_eq!(seen.header("content-type"), "application/x-amz-json-1.1");
    assert_eq!(seen.header("x-amz-target"), "Firehose_20150804.ListDeliveryStreams");
    assert_eq!(seen.header("host"), server.endpoint.trim_start_matches("http://"));
    assert_eq!(seen.header("amz-sdk-request"), "attempt=1; max=3");
    assert!(seen.headers.get("authorization").is_none());
    assert_eq!(seen.body, r#"{"Limit":1}"#);
}

#[tokio::test]
async fn attempts_of_one_call_carry_the_same_invocation_id_and_calls_do_not() {
    let server = Server::start(vec![slow_down(), Answer::Hangup]).await;
    let client = Client::unsigned(&server.endpoint);
    batch_of(&["a"]).put(&client, "s").await.unwrap();
    batch_of(&["a"]).put(&client, "s").await.unwrap();
    let seen = server.seen();
    let ids: Vec<String> = seen.iter().map(|seen| seen.header("amz-sdk-invocation-id")).collect();
    assert_eq!(ids.len(), 4);
    assert!(ids[0] == ids[1] && ids[1] == ids[2] && ids[2] != ids[3], "{ids:?}");
    let attempts: Vec<String> = seen.iter().map(|seen| seen.header("amz-sdk-request")).collect();
    assert_eq!(attempts, ["attempt=1; max=3", "attempt=2; max=3", "attempt=3; max=3", "attempt=1; max=3"]);
    assert!(seen.iter().all(|attempt| attempt.body == seen[0].body));
}

#[tokio::test]
async fn a_call_is_tried_three_times_and_then_fails_with_the_services_words() {
    let server = Server::start((0..9).map(|_| slow_down()).collect()).await;
    let error = batch_of(&["a", "b"]).put(&Client::unsigned(&server.endpoint), "s").await.unwrap_err();
    assert_eq!(server.seen().len(), 3);
    assert_eq!(error.records(), 2);
    let PutError::Call { source: CallError::Service { status, code, message }, .. } = error else {
        panic!("{error}")
    };
    assert_eq!((status, code.as_str(), message.as_str()), (503, "ServiceUnavailableException", "Slow down."));
}

#[tokio::test]
async fn what_is_wrong_with_the_call_is_not_tried_again() {
    let refused = json!({"__type": "com.amazonaws.firehose#ResourceNotFoundException", "message": "Firehose s not found."});
    let server = Server::start(vec![Answer::Json(400, refused)]).await;
    let error = Client::unsigned(&server.endpoint).call("PutRecord", &json!({})).await.unwrap_err();
    assert_eq!(error.to_string(), "ResourceNotFoundException: Firehose s not found.");
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn entries_that_failed_inside_a_200_are_sent_again_alone_and_as_another_call() {
    let some = json!({"FailedPutCount": 2, "RequestResponses": [{"RecordId": "1"}, failed(), {"RecordId": "3"}, failed()]});
    let server = Server::start(vec![Answer::Json(200, some)]).await;
    batch_of(&["a", "b", "c", "d"]).put(&Client::unsigned(&server.endpoint), "s").await.unwrap();
    let seen = server.seen();
    assert_eq!(seen[0].records(), ["YQ==", "Yg==", "Yw==", "ZA=="]);
    assert_eq!(seen[1].records(), ["Yg==", "ZA=="]);
    assert_eq!(seen.len(), 2);
    // Under the first call's id, the service could give the first answer again.
    assert_ne!(seen[0].header("amz-sdk-invocation-id"), seen[1].header("amz-sdk-invocation-id"));
}

#[tokio::test]
async fn entries_that_fail_again_and_again_are_counted() {
    let one_fails =
        |entries: Vec<Value>| Answer::Json(200, json!({"FailedPutCount": 1, "RequestResponses": entries}));
    let mut answers = vec![one_fails(vec![json!({"RecordId": "1"}), failed()])];
    answers.extend((0..9).map(|_| one_fails(vec![failed()])));
    let server = Server::start(answers).await;
    let error = batch_of(&["a", "b"]).put(&Client::unsigned(&server.endpoint), "s").await.unwrap_err();
    assert_eq!(error.to_string(), "1 records were not acknowledged: ServiceUnavailableException: Slow down.");
    assert_eq!(server.seen().len(), 5);
}

#[tokio::test]
async fn a_200_without_an_answer_acknowledges_nothing() {
    let server = Server::start((0..9).map(|_| Answer::Json(200, json!(null))).collect()).await;
    let error = batch_of(&["a"]).put(&Client::unsigned(&server.endpoint), "s").await.unwrap_err();
    assert!(matches!(error, PutError::Entries { records: 1, .. }), "{error}");
}

#[tokio::test]
async fn a_service_that_is_not_there_is_named_with_the_cause() {
    let endpoint = format!("http://127.0.0.1:{}", hydrant_testkit::free_port());
    let error =
        Client::unsigned(&endpoint).call("ListDeliveryStreams", &json!({})).await.unwrap_err().to_string();
    assert!(error.starts_with(&endpoint) && error.contains("refused"), "{error}");
    let error = Client::unsigned("localhost").call("ListDeliveryStreams", &json!({})).await.unwrap_err();
    assert!(matches!(error, CallError::Endpoint(_) | CallError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn connections_are_used_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let accepted = Arc::new(Mutex::new(0));
    let count = accepted.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            *count.lock().unwrap() += 1;
            let service = service_fn(|request: Request<Incoming>| async {
                request
                    .into_body()
                    .collect()
                    .await
                    .map(|_| Response::new(Full::new(Bytes::from_static(b"{}"))))
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    let client = Client::unsigned(&endpoint);
    for _ in 0..10 {
        client.clone().call("ListDeliveryStreams", &json!({})).await.unwrap();
        // The connection goes back to the pool once its answer was read.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(*accepted.lock().unwrap(), 1);
}

/// Signs what arrived anew, as a verifier does, and compares.
fn signature_of(seen: &Seen, endpoint: &str, credentials: &Credentials) -> String {
    let authorization = seen.header("authorization");
    let signed = authorization.split_once("SignedHeaders=").unwrap().1.split(',').next().unwrap();
    let date = seen.header("x-amz-date");
    let identity = credentials.clone().into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region("eu-west-1")
        .name("firehose")
        .time(parse(&date))
        .settings(SigningSettings::default())
        .build()
        .unwrap()
        .into();
    let headers = signed
        .split(';')
        .filter(|name| !["x-amz-date", "x-amz-security-token"].contains(name))
        .map(|name| (name, seen.headers[name].to_str().unwrap()));
    let signable =
        SignableRequest::new("POST", format!("{endpoint}/"), headers, SignableBody::Bytes(&seen.body))
            .unwrap();
    let (instructions, signature) = sign(signable, &params).unwrap().into_parts();
    let mut request = Request::post(format!("{endpoint}/")).body(()).unwrap();
    instructions.apply_to_request_http1x(&mut request);
    assert_eq!(request.headers()["authorization"].to_str().unwrap(), authorization);
    signature
}

/// `20260102T030405Z`
fn parse(date: &str) -> SystemTime {
    let number = |range: std::ops::Range<usize>| date[range].parse::<u64>().unwrap();
    let (year, month, day) = (number(0..4), number(4..6), number(6..8));
    // Days from the civil calendar, after Howard Hinnant.
    let (y, m) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468;
    let seconds = days * 86_400 + number(9..11) * 3_600 + number(11..13) * 60 + number(13..15);
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

#[tokio::test]
async fn what_is_on_the_wire_is_what_was_signed() {
    for token in [None, Some("a/session+token==".to_owned())] {
        let server = Server::start(vec![slow_down()]).await;
        let credentials = Credentials::new("AKIAEXAMPLE", "secret", token.clone(), None, "test");
        let provider = SharedCredentialsProvider::new(credentials.clone());
        let client = Client::new(
            &server.endpoint,
            Signing::V4 { region: "eu-west-1".to_owned(), credentials: provider },
        );
        batch_of(&["a"]).put(&client, "s").await.unwrap();
        let seen = server.seen();
        assert_eq!(seen.len(), 2, "the retry is signed too");
        for attempt in &seen {
            let authorization = attempt.header("authorization");
            let scope = format!("/{}/eu-west-1/firehose/aws4_request", &attempt.header("x-amz-date")[..8]);
            assert!(authorization.contains(&format!("Credential=AKIAEXAMPLE{scope}")), "{authorization}");
            for name in ["content-type", "host", "x-amz-date", "x-amz-target"] {
                assert!(authorization.contains(name), "{name} is signed: {authorization}");
            }
            assert_eq!(
                attempt.headers.get("x-amz-security-token").map(|t| t.to_str().unwrap().to_owned()),
                token
            );
            signature_of(attempt, &server.endpoint, &credentials);
        }
    }
}

#[tokio::test]
async fn a_call_without_credentials_is_not_sent() {
    #[derive(Debug)]
    struct Nobody;
    impl aws_credential_types::provider::ProvideCredentials for Nobody {
        fn provide_credentials<'a>(&'a self) -> aws_credential_types::provider::future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let none = aws_credential_types::provider::error::CredentialsError::not_loaded_no_source();
            aws_credential_types::provider::future::ProvideCredentials::ready(Err(none))
        }
    }
    let server = Server::start(vec![]).await;
    let signing =
        Signing::V4 { region: "eu-west-1".to_owned(), credentials: SharedCredentialsProvider::new(Nobody) };
    let error =
        Client::new(&server.endpoint, signing).call("ListDeliveryStreams", &json!({})).await.unwrap_err();
    assert!(matches!(error, CallError::Credentials(_)), "{error}");
    assert!(server.seen().is_empty());
}
