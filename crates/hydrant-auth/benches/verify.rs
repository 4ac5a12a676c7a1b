//! Verifying a signature beside the bare SHA-256 of the body: it may add 5 µs. CPU time of the thread, so that a busy machine does not
//! count as ours.
//!
//! `cargo bench -p hydrant-auth`

use std::{hint::black_box, sync::Arc, time::Duration};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use http::Request;
use hydrant_auth::{AccessKey, AccessKeys, Authenticator, Head, Realm, Service};
use hydrant_testkit::ManualClock;
use hydrant_types::{Clock, Secret};
use sha2::{Digest, Sha256};

const SERVICE: Service =
    Service { name: "firehose", resource: "deliverystream", actions: &["PutRecord", "PutRecordBatch"] };
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

fn authenticator(clock: &Arc<dyn Clock>) -> Authenticator {
    let key = AccessKey {
        id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
        secret: Secret::new(SECRET),
        actions: vec!["firehose:Put*".to_owned()],
        streams: vec!["*".to_owned()],
        calls_per_sec: None,
    };
    let keys = AccessKeys::new(vec![key], &SERVICE, clock).expect("good keys");
    Authenticator::with_keys(keys, SERVICE, Realm::new("us-east-1", "123456789012"), clock.clone())
}

/// With the headers that the SDK for Python sends.
fn signed(body: &[u8], clock: &Arc<dyn Clock>) -> http::request::Parts {
    let request = Request::builder()
        .method("POST")
        .uri("http://firehose.internal:4573/")
        .header("host", "firehose.internal:4573")
        .header("accept-encoding", "identity")
        .header("content-type", "application/x-amz-json-1.1")
        .header("content-length", body.len())
        .header(
            "user-agent",
            "Boto3/1.43.11 md/Botocore#1.43.11 ua/2.1 os/linux#6.1 md/arch#x86_64 lang/python#3.11",
        )
        .header("x-amz-target", "Firehose_20150804.PutRecordBatch")
        .header("amz-sdk-invocation-id", "5d2b0f2c-0000-4000-8000-000000000001")
        .header("amz-sdk-request", "attempt=1");
    let mut request = request.body(()).expect("a request");
    let identity = Credentials::new("AKIAIOSFODNN7EXAMPLE", SECRET, None, None, "bench").into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region("us-east-1")
        .name("firehose")
        .time(std::time::UNIX_EPOCH + Duration::from_millis(clock.now().as_millis()))
        .settings(SigningSettings::default())
        .build()
        .expect("complete")
        .into();
    let headers = request
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.to_str().expect("ASCII").to_owned()));
    let headers: Vec<(String, String)> = headers.collect();
    let pairs = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let signable =
        SignableRequest::new("POST", "http://firehose.internal:4573/", pairs, SignableBody::Bytes(body))
            .expect("signable");
    let (instructions, _) = sign(signable, &params).expect("signed").into_parts();
    instructions.apply_to_request_http1x(&mut request);
    // As a server gets it.
    let (mut parts, ()) = request.into_parts();
    parts.uri = "/".parse().expect("a path");
    parts
}

/// The CPU time that `iterations` of `work` take.
fn cpu<T>(iterations: u64, mut work: impl FnMut() -> T) -> Duration {
    let now = || {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32)
    };
    let begun = now();
    for _ in 0..iterations {
        black_box(work());
    }
    now() - begun
}

fn verify(criterion: &mut Criterion) {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::default());
    let authenticator = authenticator(&clock);
    for bytes in [1 << 10, 677 << 10] {
        let body = vec![b'a'; bytes];
        let parts = signed(&body, &clock);
        let verified = || {
            let claim = authenticator.claim(&Head::from(&parts)).expect("a claim").expect("asked");
            claim.verify(Sha256::digest(black_box(&body)).into()).expect("verified")
        };
        verified();
        let mut group = criterion.benchmark_group(format!("{} KiB", bytes >> 10));
        group.throughput(Throughput::Bytes(bytes as u64));
        let digest = || Sha256::digest(black_box(&body));
        group.bench_function("bare SHA-256", |bench| bench.iter_custom(|times| cpu(times, digest)));
        group.bench_function("SHA-256 and verify", |bench| bench.iter_custom(|times| cpu(times, verified)));
        let digest: [u8; 32] = digest().into();
        let alone = || {
            let claim = authenticator.claim(&Head::from(&parts)).expect("a claim").expect("asked");
            claim.verify(digest).expect("verified")
        };
        group.bench_function("verify alone", |bench| bench.iter_custom(|times| cpu(times, alone)));
        group.finish();
    }
}

criterion_group!(benches, verify);
criterion_main!(benches);
