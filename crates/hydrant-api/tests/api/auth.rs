//! Who may call: the AWS SDK for Rust with keys that are right, wrong, unknown, late and not allowed; and requests no SDK sends.

use std::{
    num::NonZeroU32,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_credential_types::Credentials;
use aws_sdk_firehose::{
    Client,
    config::{BehaviorVersion, Region, retry::RetryConfig},
    error::{ProvideErrorMetadata, SdkError},
    primitives::Blob,
    types::Record,
};
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign},
    sign::v4,
};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hydrant_auth::{AccessKey, AccessKeys};
use hydrant_types::{Clock, Secret, Timestamp};
use insta::assert_snapshot;
use serde_json::json;

use crate::support::{ACCOUNT, Answer, Api, Options, REGION, batch, data, s3};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

fn key(id: &str, actions: &[&str], streams: &[&str]) -> AccessKey {
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    AccessKey {
        id: id.to_owned(),
        secret: Secret::new(SECRET),
        actions: texts(actions),
        streams: texts(streams),
        calls_per_sec: None,
    }
}

/// `AKIAADMIN` may do everything, `AKIAPRODUCER` put to and describe what is named `orders…`. The clock shows the time that SDKs sign with.
async fn start() -> Api {
    start_with(vec![
        key("AKIAADMIN", &["firehose:*"], &["*"]),
        key("AKIAPRODUCER", &["firehose:PutRecord*", "firehose:DescribeDeliveryStream"], &["orders*"]),
    ])
    .await
}

async fn start_with(keys: Vec<AccessKey>) -> Api {
    let api = Api::start_with(Options { access_keys: Some(keys), ..Options::default() }).await;
    api.clock.set_wall(timestamp(SystemTime::now()));
    api
}

fn timestamp(at: SystemTime) -> Timestamp {
    Timestamp(at.duration_since(UNIX_EPOCH).unwrap().as_millis() as u64)
}

fn config(api: &Api, id: &str, secret: &str) -> aws_sdk_firehose::config::Builder {
    aws_sdk_firehose::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .credentials_provider(Credentials::new(id, secret, None, None, "test"))
        .region(Region::from_static(REGION))
        .retry_config(RetryConfig::disabled())
        .endpoint_url(format!("http://{}", api.address))
}

fn client(api: &Api, id: &str) -> Client {
    Client::from_conf(config(api, id, SECRET).build())
}

/// Creates a stream as the admin does.
async fn create(api: &Api, name: &str) {
    let input = json!({"DeliveryStreamName": name, "ExtendedS3DestinationConfiguration": s3()});
    let answer = signed(api, "AKIAADMIN", "CreateDeliveryStream", input.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

async fn put(client: &Client, stream: &str) -> Result<(), (u16, String, String)> {
    let record = Record::builder().data(Blob::new("a")).build().unwrap();
    refusal(client.put_record().delivery_stream_name(stream).record(record).send().await)
}

/// Status, code and message of an error.
fn refusal<T, E: ProvideErrorMetadata>(
    answer: Result<T, SdkError<E, aws_sdk_firehose::config::http::HttpResponse>>,
) -> Result<(), (u16, String, String)> {
    let error = match answer {
        Ok(_) => return Ok(()),
        Err(error) => error,
    };
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let status = error.raw_response().map_or(0, |response| response.status().as_u16());
    Err((status, text(error.code()), text(error.message())))
}

fn denied(id: &str, action: &str, resource: &str) -> String {
    format!(
        "User: arn:aws:iam::{ACCOUNT}:user/{id} is not authorized to perform: firehose:{action} on resource: \
         arn:aws:firehose:{REGION}:{ACCOUNT}:deliverystream/{resource} because no identity-based policy allows the firehose:{action} action"
    )
}

/// A request signed by AWS's signer, in either form.
fn request(
    api: &Api,
    id: &str,
    operation: &str,
    body: impl Into<Bytes>,
    presigned: bool,
) -> Request<Full<Bytes>> {
    let body = body.into();
    let mut settings = SigningSettings::default();
    if presigned {
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(Duration::from_secs(60));
    }
    let identity = Credentials::new(id, SECRET, None, None, "test").into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(REGION)
        .name("firehose")
        .time(UNIX_EPOCH + Duration::from_millis(api.clock.now().as_millis()))
        .settings(settings)
        .build()
        .unwrap()
        .into();
    let (url, target) = (format!("http://{}/", api.address), format!("Firehose_20150804.{operation}"));
    let headers = [
        ("host", api.address.as_str()),
        ("content-type", "application/x-amz-json-1.1"),
        ("x-amz-target", &target),
        ("amz-sdk-invocation-id", "5d2b0f2c-0000-4000-8000-000000000001"),
    ];
    let signable =
        SignableRequest::new("POST", &url, headers.into_iter(), SignableBody::Bytes(&body)).unwrap();
    let (instructions, _) = sign(signable, &params).unwrap().into_parts();
    let mut request = Request::builder().method("POST").uri(&url);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let mut request = request.body(Full::new(body)).unwrap();
    instructions.apply_to_request_http1x(&mut request);
    // As clients send it: the host is in its header.
    *request.uri_mut() = request.uri().path_and_query().unwrap().as_str().parse().unwrap();
    request
}

async fn signed(api: &Api, id: &str, operation: &str, body: impl Into<Bytes>) -> Answer {
    api.request(request(api, id, operation, body, false)).await
}

#[tokio::test]
async fn a_right_key_does_what_it_may() {
    let api = start().await;
    let admin = client(&api, "AKIAADMIN");
    create(&api, "orders").await;
    put(&client(&api, "AKIAPRODUCER"), "orders").await.unwrap();
    put(&admin, "orders").await.unwrap();
    let id = api.streams.get("orders").unwrap().id;
    assert_eq!(api.stored(id), [b"a", b"a"]);
    assert_eq!(admin.list_delivery_streams().send().await.unwrap().delivery_stream_names(), ["orders"]);
    let described =
        client(&api, "AKIAPRODUCER").describe_delivery_stream().delivery_stream_name("orders").send().await;
    described.unwrap();
    admin.delete_delivery_stream().delivery_stream_name("orders").send().await.unwrap();
}

#[tokio::test]
async fn a_large_batch_is_hashed_as_it_arrives() {
    let api = start().await;
    create(&api, "orders").await;
    let records = (0..4)
        .map(|number| Record::builder().data(Blob::new(vec![b'0' + number; 1_000_000])).build().unwrap());
    let put = client(&api, "AKIAPRODUCER").put_record_batch().delivery_stream_name("orders");
    assert_eq!(put.set_records(Some(records.collect())).send().await.unwrap().failed_put_count(), 0);
    // One byte of many was changed on the way.
    let body = batch("orders", &[data(vec![b'x'; 900_000]), data("y")]).to_string();
    let mut altered = request(&api, "AKIAPRODUCER", "PutRecordBatch", body.clone(), false);
    *altered.body_mut() = Full::new(body.replacen("eHh4", "eHh5", 1).into());
    let answer = api.request(altered).await;
    assert_eq!((answer.status, answer.header("x-amzn-errortype")), (403, "InvalidSignatureException"));
    let id = api.streams.get("orders").unwrap().id;
    assert_eq!(api.stored(id).len(), 4);
}

#[tokio::test]
async fn a_wrong_secret_and_an_unknown_key_are_told_so() {
    let api = start().await;
    create(&api, "orders").await;
    let wrong = Client::from_conf(config(&api, "AKIAPRODUCER", "another").build());
    let (status, code, message) = put(&wrong, "orders").await.unwrap_err();
    assert_eq!((status, code.as_str()), (403, "InvalidSignatureException"));
    assert!(message.starts_with(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key"
    ));
    let unknown = "The security token included in the request is invalid.".to_owned();
    let unknown = Err((400, "UnrecognizedClientException".to_owned(), unknown));
    assert_eq!(put(&client(&api, "AKIANOBODY"), "orders").await, unknown);
    // Credentials of a role: there is no STS here.
    let role = Credentials::new("AKIAPRODUCER", SECRET, Some("token".to_owned()), None, "test");
    let role = Client::from_conf(config(&api, "", "").credentials_provider(role).build());
    assert_eq!(put(&role, "orders").await, unknown);
    let id = api.streams.get("orders").unwrap().id;
    assert!(api.stored(id).is_empty());
    let counted = "hydrant_api_requests_total{code=\"UnrecognizedClientException\",operation=\"PutRecord\"}";
    assert_eq!(api.metric(counted) as u64, 2);
}

#[tokio::test]
async fn an_unsigned_call_is_refused_before_its_body_is_used_and_the_connection_stays() {
    let api = start().await;
    let answer = api.call("PutRecord", &json!({"Record": 1})).await;
    answer.is_error(403, "MissingAuthenticationTokenException", "Missing Authentication Token");
    let mut stream = api.connect().await;
    let body = "x".repeat(100_000);
    let refused = api.put_head("PutRecord", &format!("content-length: {}\r\n", body.len())) + &body;
    let last = api.put_head("ListDeliveryStreams", "content-length: 2\r\nconnection: close\r\n") + "{}";
    let answers = crate::support::exchange(&mut stream, (refused + &last).as_bytes()).await;
    assert_eq!(answers.matches("HTTP/1.1 403").count(), 2, "{answers}");
    // Who asks before sending is told at once, and need not send.
    let mut stream = api.connect().await;
    let asks =
        api.put_head("PutRecord", "content-length: 9000000\r\nexpect: 100-continue\r\nconnection: close\r\n");
    let answer = crate::support::exchange(&mut stream, asks.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    // There is no such operation, whoever asks.
    assert_eq!(api.call("Nothing", &json!({})).await.json(), json!({"__type": "UnknownOperationException"}));
}

/// The client's clock is an hour behind; ours, and so the header `Date`, is right.
#[tokio::test]
async fn the_sdk_corrects_its_clock_by_our_date_and_signs_again() {
    let api = start().await;
    create(&api, "orders").await;
    let late = || {
        let hour_ago = SystemTime::now() - Duration::from_secs(3600);
        let source = aws_smithy_async::time::StaticTimeSource::new(hour_ago);
        config(&api, "AKIAPRODUCER", SECRET).time_source(source)
    };
    let (status, code, message) = put(&Client::from_conf(late().build()), "orders").await.unwrap_err();
    assert_eq!((status, code.as_str()), (403, "InvalidSignatureException"));
    assert!(message.starts_with("Signature expired: ") && message.ends_with("Z - 5 min.)"), "{message}");
    let retrying = late().retry_config(RetryConfig::standard().with_max_attempts(2)).build();
    put(&Client::from_conf(retrying), "orders").await.unwrap();
    let id = api.streams.get("orders").unwrap().id;
    assert_eq!(api.stored(id), [b"a"]);
}

#[tokio::test]
async fn what_a_key_does_not_allow_is_denied_before_existence_and_before_validation() {
    let api = start().await;
    create(&api, "orders").await;
    create(&api, "payments").await;
    let producer = client(&api, "AKIAPRODUCER");
    let refused = |action: &str, resource: &str| {
        Err((400, "AccessDeniedException".to_owned(), denied("AKIAPRODUCER", action, resource)))
    };
    // A stream that exists and one that does not look the same.
    for stream in ["payments", "nothing"] {
        assert_eq!(put(&producer, stream).await, refused("PutRecord", stream));
        let describe = producer.describe_delivery_stream().delivery_stream_name(stream).send().await;
        assert_eq!(refusal(describe), refused("DescribeDeliveryStream", stream));
    }
    let delete = producer.delete_delivery_stream().delivery_stream_name("orders").send().await;
    assert_eq!(refusal(delete), refused("DeleteDeliveryStream", "orders"));
    assert_eq!(refusal(producer.list_delivery_streams().send().await), refused("ListDeliveryStreams", "*"));
    // What else is wrong with the input is nobody's business who may not call.
    for (operation, input, resource) in [
        ("PutRecordBatch", json!({"DeliveryStreamName": "payments"}), "payments"),
        ("PutRecordBatch", batch("payments", &[json!({"Data": "not base64"})]), "payments"),
        ("CreateDeliveryStream", json!({"DeliveryStreamName": "orders"}), "orders"),
        ("DeleteDeliveryStream", json!({"DeliveryStreamName": "a b"}), "*"),
        ("DeleteDeliveryStream", json!([]), "*"),
    ] {
        let answer = signed(&api, "AKIAPRODUCER", operation, input.to_string()).await;
        assert_eq!(answer.json()["Message"], denied("AKIAPRODUCER", operation, resource));
    }
    // Who may put somewhere learns what is wrong with a name that nothing can have.
    let answer = signed(&api, "AKIAPRODUCER", "PutRecord", r#"{"DeliveryStreamName":"a b"}"#).await;
    assert_eq!((answer.status, answer.header("x-amzn-errortype")), (400, "ValidationException"));
    let answer = signed(&api, "AKIAPRODUCER", "PutRecord", "{").await;
    answer.is_serialization("not JSON");
    // And that an allowed stream is not there.
    let gone = put(&producer, "orders-2").await.unwrap_err();
    assert_eq!(gone.1, "ResourceNotFoundException");
}

#[tokio::test]
async fn tags_at_the_creation_need_leave_to_tag() {
    let api = start_with(vec![key("AKIAMAKER", &["firehose:CreateDeliveryStream"], &["*"])]).await;
    let mut input = json!({"DeliveryStreamName": "orders", "ExtendedS3DestinationConfiguration": s3()});
    input["Tags"] = json!([{"Key": "team", "Value": "shop"}]);
    let answer = signed(&api, "AKIAMAKER", "CreateDeliveryStream", input.to_string()).await;
    assert_eq!(answer.json()["Message"], denied("AKIAMAKER", "TagDeliveryStream", "orders"));
    input["Tags"].take();
    assert_eq!(signed(&api, "AKIAMAKER", "CreateDeliveryStream", input.to_string()).await.status, 200);
}

#[tokio::test]
async fn the_denial_byte_for_byte() {
    let api = start().await;
    let input = json!({"DeliveryStreamName": "payments", "Record": data("a")});
    let answer = signed(&api, "AKIAPRODUCER", "PutRecord", input.to_string()).await;
    assert_snapshot!(
        "error_access_denied",
        format!("PutRecord\n{input:#}\n\n{}\n\n{:#}", answer.golden(), answer.json())
    );
}

#[tokio::test]
async fn a_presigned_call_is_taken_until_its_time_is_up() {
    let api = start().await;
    create(&api, "orders").await;
    let body = json!({"DeliveryStreamName": "orders", "Record": data("a")}).to_string();
    let call = || request(&api, "AKIAPRODUCER", "PutRecord", body.clone(), true);
    let presigned = call();
    assert!(presigned.uri().query().unwrap().contains("X-Amz-Signature"), "{}", presigned.uri());
    assert!(presigned.headers().get("authorization").is_none());
    let answer = api.request(presigned.clone()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let mut other_body = call();
    *other_body.body_mut() = Full::new(body.replace("YQ==", "Yg==").into());
    assert_eq!(api.request(other_body).await.header("x-amzn-errortype"), "InvalidSignatureException");
    api.clock.advance(Duration::from_secs(61));
    let answer = api.request(presigned).await;
    assert_eq!((answer.status, answer.header("x-amzn-errortype")), (403, "InvalidSignatureException"));
    assert!(answer.json()["message"].as_str().unwrap().starts_with("Signature expired: "));
}

#[tokio::test]
async fn a_retry_is_recognised_by_its_callers_key_in_either_form() {
    let api = start().await;
    create(&api, "orders").await;
    let body = json!({"DeliveryStreamName": "orders", "Record": data("a")}).to_string();
    let mut ids = Vec::new();
    for (id, presigned) in
        [("AKIAPRODUCER", false), ("AKIAPRODUCER", true), ("AKIAPRODUCER", false), ("AKIAADMIN", false)]
    {
        // Each signs anew.
        api.clock.advance(Duration::from_secs(1));
        let answer = api.request(request(&api, id, "PutRecord", body.clone(), presigned)).await;
        ids.push(answer.json()["RecordId"].as_str().unwrap().to_owned());
    }
    assert!(ids[0] == ids[1] && ids[1] == ids[2] && ids[2] != ids[3], "{ids:?}");
    let stream = api.streams.get("orders").unwrap().id;
    assert_eq!(api.stored(stream), [b"a", b"a"]);
}

#[tokio::test]
async fn a_keys_calls_a_second_are_limited_and_the_sdk_tries_again() {
    let limited = AccessKey { calls_per_sec: NonZeroU32::new(1), ..key("AKIASLOW", &["*"], &["*"]) };
    let api = start_with(vec![key("AKIAADMIN", &["*"], &["*"]), limited]).await;
    create(&api, "orders").await;
    let slow = client(&api, "AKIASLOW");
    put(&slow, "orders").await.unwrap();
    let throttled = Err((400, "ThrottlingException".to_owned(), "Rate exceeded".to_owned()));
    assert_eq!(put(&slow, "orders").await, throttled);
    put(&client(&api, "AKIAADMIN"), "orders").await.unwrap();
    let retrying = RetryConfig::standard().with_max_attempts(4);
    let retrying = Client::from_conf(config(&api, "AKIASLOW", SECRET).retry_config(retrying).build());
    let refused = "hydrant_api_requests_total{code=\"ThrottlingException\",operation=\"PutRecord\"}";
    let (put, ()) = tokio::join!(put(&retrying, "orders"), async {
        hydrant_testkit::eventually("a call is refused", crate::support::PATIENCE, async || {
            (api.metric(refused) >= 2.0).then_some(())
        })
        .await;
        api.clock.advance(Duration::from_secs(2));
    });
    put.unwrap();
}

#[tokio::test]
async fn keys_are_replaced_while_a_connection_stays() {
    let api = start().await;
    create(&api, "orders").await;
    let (old, new) = (client(&api, "AKIAPRODUCER"), client(&api, "AKIANEW"));
    put(&old, "orders").await.unwrap();
    assert_eq!(put(&new, "orders").await.unwrap_err().1, "UnrecognizedClientException");
    let clock: std::sync::Arc<dyn Clock> = std::sync::Arc::new(api.clock.clone());
    let keys = vec![key("AKIANEW", &["firehose:PutRecord"], &["*"])];
    assert!(api.authenticator.replace_keys(AccessKeys::new(keys, &hydrant_api::SERVICE, &clock).unwrap()));
    put(&new, "orders").await.unwrap();
    assert_eq!(put(&old, "orders").await.unwrap_err().1, "UnrecognizedClientException");
}

#[tokio::test]
async fn where_nobody_is_asked_any_signature_and_none_will_do() {
    let api = Api::start().await;
    api.create("orders").await;
    for id in ["AKIANOBODY", "producer"] {
        put(&client(&api, id), "orders").await.unwrap();
    }
    let input = json!({"DeliveryStreamName": "orders", "Record": data("a")});
    assert_eq!(api.call("PutRecord", &input).await.status, 200);
    assert_eq!(
        api.send_with("PutRecord", input.to_string(), &[("authorization", "nonsense")]).await.status,
        200
    );
}
