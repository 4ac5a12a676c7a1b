//! Producers and operators that change `endpoint_url` and nothing else, one test a client. docs/clients.md has the results as a table.
//!
//! Each does the same: puts, is throttled and tries again, loses an answer and tries again, calls with a wrong key, and goes through every
//! control operation. What the tests look at is the service's: its metrics and what is in S3.

mod rust_sdk;
mod versions;

use std::time::Duration;

use hydrant_e2e::{BUCKET, PATIENCE, PRODUCER, ROLE, Service, Site, access_key, encryption_key};
use hydrant_testkit::{Fault, FaultProxy, Process, eventually, node, python};
use rust_sdk::RustSdk;

/// May call this often a second, as the streams may.
const THROTTLED: (&str, &str) = ("throttled", "throttleds-secret");
/// May describe, and nothing else.
const READER: (&str, &str) = ("reader", "readers-secret");
/// The default key.
const KEY_ARN: &str = "arn:aws:kms:us-east-1:000000000000:key/own";
const STREAM: &str = "clicks";
/// For one phase: aws-cli starts a Python for each of a dozen calls.
const PHASE_LIMIT: Duration = Duration::from_secs(180);
/// A throttled call may be refused for good, and a client may take longer than the quota: then both are tried again.
const ROUNDS_MAX: u64 = 20;

#[derive(Debug, Clone, Copy)]
enum Client {
    Boto3,
    AwsCli,
    Node,
    RustSdk,
}

#[tokio::test]
async fn boto3_works_unchanged() {
    works_unchanged(Client::Boto3).await;
}

#[tokio::test]
async fn aws_cli_works_unchanged() {
    works_unchanged(Client::AwsCli).await;
}

#[tokio::test]
async fn the_aws_sdk_for_javascript_works_unchanged() {
    works_unchanged(Client::Node).await;
}

#[tokio::test]
async fn the_aws_sdk_for_rust_works_unchanged() {
    works_unchanged(Client::RustSdk).await;
}

async fn works_unchanged(client: Client) {
    let calls_per_sec = client.calls_per_sec();
    let mut site = Site::new().await;
    site.auth_mode = "sigv4";
    site.more_config = [
        access_key(PRODUCER, ""),
        access_key(THROTTLED, &format!("calls_per_sec = {calls_per_sec}")),
        access_key(READER, "actions = [\"firehose:Describe*\"]"),
        format!("[quotas]\ncalls_per_sec = {calls_per_sec}\n"),
        format!("[encryption]\ndefault = {KEY_ARN:?}\n"),
        encryption_key(site.dir.path(), KEY_ARN),
    ]
    .concat();
    let service = site.serve().await;
    for stream in [STREAM, "lost", "bursts"] {
        service.producer().create_s3_stream(stream).await;
    }
    let endpoint_url = format!("http://{}", service.api);
    let run = async |key, phase: Phase<'_>| client.run(&endpoint_url, key, phase).await;

    run(PRODUCER, Phase::Put { stream: STREAM, first: 1 }).await.expect("records are put");
    run(PRODUCER, Phase::Control { stream: "controlled" }).await.expect("all of it works");
    for (key, code) in [
        (("nobody", PRODUCER.1), "UnrecognizedClientException"),
        ((PRODUCER.0, "another-secret"), "InvalidSignatureException"),
        (READER, "AccessDeniedException"),
    ] {
        let refusal = run(key, Phase::Put { stream: STREAM, first: 100 }).await.expect_err("it is refused");
        assert!(refusal.contains(code), "{code} in {refusal}");
        assert_eq!(answered(&service, "PutRecord", code).await, 1, "{code} is not tried again");
    }
    let taken = tries_again_when_throttled(client, &service).await;
    stores_once_when_an_answer_is_lost(client, &service).await;

    site.expect_in_s3(&format!("{STREAM}/"), &[1, 2, 3, 4]).await;
    site.expect_in_s3("lost/", &[1]).await;
    // Of a round in which a call was refused to the end, some are there and some are not; none twice.
    let bursts = eventually("what was taken is in S3", PATIENCE, async || {
        let found = site.in_s3("bursts/").await;
        taken.iter().all(|number| found.contains_key(number)).then_some(found)
    })
    .await;
    assert!(bursts.values().all(|times| *times == 1), "{bursts:?}");
    service.stop().await;
}

/// One more call than a second's worth, by a key that may make so many and then by one that may not: both refusals come to an end by the
/// client's own retry. Gives the numbers of the rounds of which the client reported no error.
async fn tries_again_when_throttled(client: Client, service: &Service) -> Vec<u64> {
    let mut taken = Vec::new();
    let endpoint_url = format!("http://{}", service.api);
    let calls = u64::from(client.calls_per_sec()) + 1;
    for (key, code) in [(PRODUCER, "ServiceUnavailableException"), (THROTTLED, "ThrottlingException")] {
        let mut said = String::new();
        let mut again = false;
        for round in 0..ROUNDS_MAX {
            let before = answered(service, "PutRecord", code).await;
            let first = 1_000 + round * 100 + if key == PRODUCER { 0 } else { 10_000 };
            let outcome =
                client.run(&endpoint_url, key, Phase::Burst { stream: "bursts", first, calls }).await;
            let was_throttled = answered(service, "PutRecord", code).await > before;
            match outcome {
                Ok(()) => {
                    taken.extend(first..first + calls);
                    again = was_throttled;
                }
                Err(refusal) => said = refusal,
            }
            if again {
                break;
            }
            // The next round is to begin with a whole second's worth again, or it is refused more often than a client tries.
            tokio::time::sleep(Duration::from_millis(1_100)).await;
        }
        assert!(
            again,
            "{client:?}: no call was refused with {code} and then taken; the last refusal: {said}"
        );
    }
    taken
}

async fn stores_once_when_an_answer_is_lost(client: Client, service: &Service) {
    let proxy = FaultProxy::http(&service.api).await;
    proxy.inject_matching("PutRecord", 1, Fault::CutAfter);
    client
        .run(&proxy.url(), PRODUCER, Phase::Burst { stream: "lost", first: 1, calls: 1 })
        .await
        .expect("it tries again");
    assert_eq!(proxy.faults(), 1);
    // More where the stream's quota made the retry wait.
    assert!(proxy.requests().len() >= 2, "{:?}", proxy.requests());
    let metrics = service.metrics().await;
    assert!(metrics.contains("\nhydrant_log_duplicate_calls_total 1\n"), "{metrics}");
}

/// What a client is told to do.
enum Phase<'a> {
    /// A record, then three in a call.
    Put { stream: &'a str, first: u64 },
    /// Calls with one record each, as fast as the client can.
    Burst { stream: &'a str, first: u64, calls: u64 },
    /// Every control operation.
    Control { stream: &'a str },
}

impl Client {
    /// So few that the client can make one more within a second, and so many that its own retries last until one more is allowed.
    fn calls_per_sec(self) -> u32 {
        match self {
            // A process for each call; the retries of both go on for seconds.
            Self::AwsCli => 1,
            Self::RustSdk => 5,
            // These two try again within 0.15 seconds, and no more then.
            Self::Boto3 => 10,
            Self::Node => 20,
        }
    }

    /// What it said, when it failed.
    async fn run(self, endpoint_url: &str, key: (&str, &str), phase: Phase<'_>) -> Result<(), String> {
        let bucket = format!("arn:aws:s3:::{BUCKET}");
        if let Self::RustSdk = self {
            let client = RustSdk::new(endpoint_url, key);
            return match phase {
                Phase::Put { stream, first } => client.put(stream, first).await,
                Phase::Burst { stream, first, calls } => client.burst(stream, first, calls).await,
                Phase::Control { stream } => client.control(stream, &bucket, ROLE).await,
            };
        }
        let (program, script) = match self {
            Self::Boto3 => (python(), "boto3_unchanged.py"),
            Self::AwsCli => ("/bin/sh".into(), "aws_cli_unchanged.sh"),
            Self::Node | Self::RustSdk => (node().join("node"), "node/unchanged.js"),
        };
        let script = format!("{}/tests/clients/{script}", env!("CARGO_MANIFEST_DIR"));
        let words = match phase {
            Phase::Put { stream, first } => vec!["put".to_owned(), stream.to_owned(), first.to_string()],
            Phase::Burst { stream, first, calls } => {
                vec!["burst".to_owned(), stream.to_owned(), first.to_string(), calls.to_string()]
            }
            Phase::Control { stream } => {
                vec!["control".to_owned(), stream.to_owned(), bucket, ROLE.to_owned()]
            }
        };
        let process = Process::start_with(&program, [vec![script], words].concat(), |command| {
            command.env("AWS_ENDPOINT_URL_FIREHOSE", endpoint_url);
            command.env("AWS_ACCESS_KEY_ID", key.0).env("AWS_SECRET_ACCESS_KEY", key.1);
            command.env("AWS_REGION", "us-east-1").env("AWS_DEFAULT_REGION", "us-east-1");
            // Nothing of the machine's own configuration.
            command.env("AWS_CONFIG_FILE", "/dev/null").env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
            command.env("AWS", python().with_file_name("aws"));
            command.env("NODE_PATH", node().join("node_modules"));
        });
        match process.wait(PHASE_LIMIT).await.success() {
            true => Ok(()),
            false => Err(process.stdout() + &process.stderr()),
        }
    }
}

/// How many requests of `operation` were answered with `code`.
async fn answered(service: &Service, operation: &str, code: &str) -> u64 {
    let metrics = service.metrics().await;
    let lines = metrics.lines().filter(|line| line.starts_with("hydrant_api_requests_total{"));
    let of_both = lines.filter(|line| {
        line.contains(&format!("code=\"{code}\"")) && line.contains(&format!("operation=\"{operation}\""))
    });
    of_both.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}
