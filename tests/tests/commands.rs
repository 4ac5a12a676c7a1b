//! What people type: `demo`, `dev`, `put`, `stream`, `bench`, and the AWS tools beside them.

use std::{path::Path, time::Duration};

use hydrant_e2e::{PATIENCE, STOP_LIMIT, Site};
use hydrant_testkit::{Process, Scratch, hydrant_binary, python};

/// A running `hydrant dev` on free ports.
struct Dev {
    process: Process,
    endpoints: serde_json::Value,
}

impl Dev {
    async fn start(dir: &Path) -> Self {
        let data = dir.join("data").display().to_string();
        let free = "127.0.0.1:0";
        let arguments = [
            "dev",
            "--json",
            "--data-dir",
            &data,
            "--listen",
            free,
            "--admin-listen",
            free,
            "--s3-listen",
            free,
            "--redshift-listen",
            free,
        ];
        let process = Process::start(hydrant_binary(), arguments);
        let endpoints = process.first_json_line(PATIENCE).await;
        Self { process, endpoints }
    }

    fn url(&self, part: &str) -> String {
        self.endpoints[part].as_str().expect("an endpoint is text").to_owned()
    }

    /// Runs a program of the Python environment with these endpoints; its stdout.
    async fn tool(&self, program: &Path, arguments: &[&str]) -> String {
        let process = Process::start_with(program, arguments, |command| {
            command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
            command.env("AWS_DEFAULT_REGION", "us-east-1");
            for part in ["api", "s3", "redshift"] {
                command.env(part.to_uppercase(), self.url(part));
            }
        });
        let status = process.wait(PATIENCE).await;
        assert!(status.success(), "{arguments:?}\n{}{}", process.stdout(), process.stderr());
        process.stdout()
    }

    async fn aws(&self, arguments: &[&str]) -> String {
        let aws = python().parent().expect("a program lies in a folder").join("aws");
        self.tool(&aws, arguments).await
    }

    async fn stop(self) {
        assert_eq!(self.process.terminate(STOP_LIMIT).await.code(), Some(0), "{}", self.process.stderr());
    }
}

#[tokio::test]
async fn demo_shows_the_way_of_every_record_and_ends_with_0() {
    let process = Process::start(hydrant_binary(), ["demo"]);
    let status = process.wait(PATIENCE).await;
    let text = process.stdout();
    assert!(status.success(), "{text}{}", process.stderr());
    for part in [
        "PutRecordBatch of 500",
        "s3/",
        "\"mandatory\":true",
        "COPY events FROM 's3://demo/redshift/manifests/",
        "MANIFEST JSON 'auto' GZIP",
        "SELECT count(*) FROM events  =>  2,025",
        "Every acknowledged record is in S3 once and in the table once.",
    ] {
        assert!(text.contains(part), "{part:?} in\n{text}");
    }
}

#[tokio::test]
async fn dev_takes_aws_cli_and_keeps_its_data_over_a_restart() {
    let dir = Scratch::new();
    let dev = Dev::start(dir.path()).await;
    let (api, s3, redshift) = (dev.url("api"), dev.url("s3"), dev.url("redshift"));
    let answer = dev
        .aws(&[
            "firehose",
            "put-record",
            "--endpoint-url",
            &api,
            "--delivery-stream-name",
            "demo-redshift",
            "--record",
            r#"{"Data":"{\"id\":1,\"kind\":\"hello\"}\n"}"#,
        ])
        .await;
    assert!(answer.contains("RecordId"), "{answer}");
    hydrant_testkit::eventually("the object is there", PATIENCE, async || {
        let listed = dev
            .aws(&[
                "s3api",
                "list-objects-v2",
                "--endpoint-url",
                &s3,
                "--bucket",
                "demo",
                "--prefix",
                "redshift/2",
            ])
            .await;
        listed.contains("demo-redshift-1-").then_some(())
    })
    .await;
    // Only now: `aws s3 ls` fails where nothing is found.
    let listed = dev.aws(&["s3", "ls", "--recursive", "--endpoint-url", &s3, "s3://demo/"]).await;
    assert!(listed.contains("demo-redshift-1-"), "{listed}");
    hydrant_testkit::eventually("the row is in the table", PATIENCE, async || {
        let id = dev
            .aws(&[
                "redshift-data",
                "execute-statement",
                "--endpoint-url",
                &redshift,
                "--workgroup-name",
                "local",
                "--database",
                "dev",
                "--sql",
                "SELECT kind FROM events",
                "--query",
                "Id",
                "--output",
                "text",
            ])
            .await;
        let process = dev
            .aws(&["redshift-data", "describe-statement", "--endpoint-url", &redshift, "--id", id.trim()])
            .await;
        if !process.contains("FINISHED") {
            return None;
        }
        let result = dev
            .aws(&["redshift-data", "get-statement-result", "--endpoint-url", &redshift, "--id", id.trim()])
            .await;
        result.contains("hello").then_some(())
    })
    .await;
    dev.stop().await;

    let dev = Dev::start(dir.path()).await;
    let s3 = dev.url("s3");
    let listed = dev.aws(&["s3", "ls", "--recursive", "--endpoint-url", &s3, "s3://demo/"]).await;
    assert!(listed.contains("demo-redshift-1-"), "{listed}");
    dev.stop().await;
}

#[tokio::test]
async fn dev_takes_boto3_unchanged() {
    let dir = Scratch::new();
    let dev = Dev::start(dir.path()).await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/boto3_client.py");
    let said = dev.tool(&python(), &[script]).await;
    assert_eq!(said.trim(), "all of it works");
    dev.stop().await;
}

#[tokio::test]
async fn put_sends_every_line_of_a_file() {
    let dir = Scratch::new();
    let dev = Dev::start(dir.path()).await;
    let file = dir.path().join("records.ndjson");
    let lines: String = (0..3_000).map(|n| format!("{{\"id\":{n}}}\n")).collect();
    std::fs::write(&file, lines).unwrap();
    let api = dev.url("api");
    let file = file.display().to_string();
    let process = Process::start(
        hydrant_binary(),
        ["put", "demo-s3", &file, "--endpoint-url", &api, "--no-sign", "--json"],
    );
    let status = process.wait(PATIENCE).await;
    assert!(status.success(), "{}", process.stderr());
    assert!(process.stdout().contains("3000"), "{}", process.stdout());
    dev.stop().await;
}

#[tokio::test]
async fn bench_accounts_for_every_record() {
    let site = Site::new().await;
    let service = site.serve().await;
    service.producer().create_s3_stream("load").await;
    let endpoint = format!("http://{}", service.api);
    let s3 = site.s3.endpoint_url();
    let process = site.hydrant(&[
        "bench",
        "load",
        "--endpoint-url",
        &endpoint,
        "--no-sign",
        "--records",
        "20000",
        "--connections",
        "4",
        "--server-pid",
        &service.process.pid().to_string(),
        "--verify",
        "s3://landing/load/",
        "--s3-endpoint-url",
        &s3,
        "--json",
    ]);
    let status = process.wait(Duration::from_secs(120)).await;
    assert!(status.success(), "{}{}", process.stdout(), process.stderr());
    let report = process.stdout();
    assert!(report.contains("\"lost\":0") && report.contains("\"duplicated\":0"), "{report}");
    service.stop().await;
}

#[tokio::test]
async fn a_log_is_inspected_and_verified_offline() {
    let site = Site::new().await;
    let service = site.serve().await;
    let producer = service.producer();
    producer.create_s3_stream("orders").await;
    producer.put("orders", 0..1_000).await;
    service.kill9().await;
    let dir = site.log_dir().display().to_string();
    for command in ["inspect", "verify"] {
        let process = site.hydrant(&["log", command, &dir]);
        let status = process.wait(PATIENCE).await;
        assert!(status.success(), "{command}: {}{}", process.stdout(), process.stderr());
    }
}
