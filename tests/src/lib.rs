//! End to end: the real binary, real Postgres, a real S3 server, real SDKs.
//!
//! ```text
//!  aws-sdk-firehose, boto3 ──▶ hydrant serve ──▶ FaultProxy ──▶ SeaweedFS
//!                               │   │                             ▲
//!                      Postgres ◀   └──▶ FaultProxy ──▶ hydrant redshift-local ──▶ Postgres
//! ```
//!
//! A [`Site`] is everything around the service, with a proxy in front of S3 and of the Data API; a [`Service`] is one run of
//! `hydrant serve` in it. Each record carries a number, so that [`Site`] can say which are at the destination, and how often.

mod producer;

use std::{collections::BTreeMap, io::Read, path::PathBuf, time::Duration};

use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use hydrant_testkit::{
    FaultProxy, Postgres, Process, Scratch, SeaweedFs, eventually, free_port, hydrant_binary,
};
use sqlx::{Connection, PgConnection, Row};

pub use producer::{PRODUCER, Producer, ROLE};

/// The bucket that the tests' streams deliver to.
pub const BUCKET: &str = "landing";
/// Long enough for anything that happens by itself, on the busiest machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// From SIGTERM to the end, whatever is away.
pub const STOP_LIMIT: Duration = Duration::from_secs(10);

/// Everything around the service.
pub struct Site {
    /// Behind `s3_proxy`.
    pub s3: SeaweedFs,
    /// Between the service and S3.
    pub s3_proxy: FaultProxy,
    /// Between the service and the Data API.
    pub data_api_proxy: FaultProxy,
    /// Of the metastore.
    pub metastore_url: String,
    /// Of the database behind the Redshift stand-in.
    pub warehouse_url: String,
    /// `log.bytes_max`; at first more than any test puts.
    pub log_bytes_max: &'static str,
    /// `delivery.interval_max`; at first `1s`.
    pub interval_max: &'static str,
    /// Access key and secret of the service's own at S3; at first one that may do everything.
    pub s3_credentials: (String, String),
    /// Lines of `[s3]` beside those that every test needs.
    pub more_s3: String,
    /// `auth.mode`; at first `none`.
    pub auth_mode: &'static str,
    /// Sections of the configuration beside those that every test needs.
    pub more_config: String,
    /// Variables of the environment of all that [`Site::hydrant`] starts, beside those that every test needs.
    pub environment: Vec<(&'static str, String)>,
    /// The record log's directory and the configuration file are here.
    pub dir: Scratch,
    /// Address of the Redshift stand-in, the same after a restart.
    redshift_listen: String,
    redshift_local: Process,
}

impl Site {
    /// Starts it with an empty bucket, an empty table `events` and an empty metastore.
    pub async fn new() -> Self {
        Self::around(SeaweedFs::start(&[BUCKET]).await).await
    }

    /// The same around an S3 that runs already.
    pub async fn around(s3: SeaweedFs) -> Self {
        let s3_proxy = FaultProxy::http(&s3.endpoint_url()).await;
        let metastore_url = Postgres::shared().database().await;
        let warehouse_url = Postgres::shared().database().await;
        execute(&warehouse_url, "CREATE TABLE events (id BIGINT, kind VARCHAR(32))").await;
        let redshift_listen = format!("127.0.0.1:{}", free_port());
        let redshift_local = start_redshift_local(&s3, &warehouse_url, &redshift_listen).await;
        let data_api_proxy = FaultProxy::http(&redshift_listen).await;
        let s3_credentials = (s3.access_key_id().to_owned(), s3.secret_access_key().to_owned());
        Self {
            s3,
            s3_proxy,
            data_api_proxy,
            metastore_url,
            warehouse_url,
            log_bytes_max: "50GiB",
            interval_max: "1s",
            s3_credentials,
            more_s3: String::new(),
            auth_mode: "none",
            more_config: String::new(),
            environment: Vec::new(),
            dir: Scratch::new(),
            redshift_listen,
            redshift_local,
        }
    }

    /// Where the record log is.
    pub fn log_dir(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// Where the configuration file is.
    pub fn config_path(&self) -> PathBuf {
        self.dir.path().join("hydrant.toml")
    }

    /// Writes the configuration for ports that are free now; gives the API's and the admin listener's addresses.
    pub fn write_config(&self) -> (String, String) {
        let (api, admin) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
        self.write_config_for(&api, &admin);
        (api, admin)
    }

    fn write_config_for(&self, api: &str, admin: &str) {
        let config = format!(
            r#"
[api]
listen = "{api}"
[admin]
listen = "{admin}"
[auth]
mode = "{auth_mode}"
[log]
dir = {log:?}
bytes_max = "{bytes_max}"
free_min = "1MiB"
[metastore]
url = "{metastore}"
[s3]
endpoint_url = "{s3}"
region = "{region}"
{more_s3}
[redshift]
endpoint_url = "{redshift}"
[delivery]
interval_max = "{interval_max}"
gzip_level = 1
copy_retry = "1s"
{more}
"#,
            auth_mode = self.auth_mode,
            more = self.more_config,
            more_s3 = self.more_s3,
            interval_max = self.interval_max,
            log = self.log_dir().display().to_string(),
            bytes_max = self.log_bytes_max,
            metastore = self.metastore_url,
            s3 = self.s3_proxy.url(),
            region = self.s3.region(),
            redshift = self.data_api_proxy.url(),
        );
        std::fs::write(self.config_path(), config).expect("the scratch directory is writable");
    }

    /// Writes the configuration as it is now for a service that runs, and tells it (SIGHUP).
    pub fn reload(&self, service: &Service) {
        self.write_config_for(&service.api, &service.admin);
        service.process.hang_up();
    }

    /// Starts `hydrant serve` and waits until it is ready.
    pub async fn serve(&self) -> Service {
        let service = self.start_serve();
        service.wait_until_ready().await;
        service
    }

    /// Starts `hydrant serve` and waits for nothing.
    pub fn start_serve(&self) -> Service {
        let (api, admin) = self.write_config();
        let config = self.config_path().display().to_string();
        let mut arguments = vec!["serve", "-c", &config];
        // SQLite's schema is made without being told.
        if self.metastore_url.starts_with("postgres") {
            arguments.push("--migrate");
        }
        let process = self.hydrant(&arguments);
        Service { process, api, admin }
    }

    /// Starts any command of the binary with the credentials of this site's S3.
    pub fn hydrant(&self, arguments: &[&str]) -> Process {
        Process::start_with(hydrant_binary(), arguments, |command| {
            command.env("AWS_ACCESS_KEY_ID", &self.s3_credentials.0);
            command.env("AWS_SECRET_ACCESS_KEY", &self.s3_credentials.1);
            command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        })
    }

    /// Runs a command of the binary with this site's configuration to its end and gives its exit code and stdout.
    pub async fn run(&self, arguments: &[&str]) -> (i32, String) {
        let config = self.config_path().display().to_string();
        let process = self.hydrant(&[arguments, &["-c", &config]].concat());
        let status = process.wait(PATIENCE).await;
        (status.code().unwrap_or(-1), process.stdout() + &process.stderr())
    }

    /// `kill -9` for the Redshift stand-in: what it was doing ends in the middle.
    pub async fn kill9_redshift_local(&self) {
        self.redshift_local.kill9().await;
    }

    /// Starts the killed stand-in again, on the same port and database.
    pub async fn restart_redshift_local(&mut self) {
        self.redshift_local =
            start_redshift_local(&self.s3, &self.warehouse_url, &self.redshift_listen).await;
    }

    /// A client for S3 itself, past the proxy.
    pub fn s3_client(&self) -> aws_sdk_s3::Client {
        let credentials =
            Credentials::new(self.s3.access_key_id(), self.s3.secret_access_key(), None, None, "test");
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .credentials_provider(credentials)
            .region(Region::new(self.s3.region()))
            .endpoint_url(self.s3.endpoint_url())
            .force_path_style(true)
            .build();
        aws_sdk_s3::Client::from_conf(config)
    }

    /// The keys below `prefix`.
    pub async fn keys(&self, prefix: &str) -> Vec<String> {
        let mut pages =
            self.s3_client().list_objects_v2().bucket(BUCKET).prefix(prefix).into_paginator().send();
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await {
            keys.extend(page.expect("S3 lists").contents().iter().filter_map(|o| o.key().map(str::to_owned)));
        }
        keys
    }

    /// An object's bytes, gunzipped where the key says so.
    pub async fn object(&self, key: &str) -> Vec<u8> {
        let object =
            self.s3_client().get_object().bucket(BUCKET).key(key).send().await.expect("the object is there");
        let body = object.body.collect().await.expect("the object can be read").into_bytes();
        if !key.ends_with(".gz") {
            return body.to_vec();
        }
        let mut records = Vec::new();
        // GzDecoder reads one member: more of them would be lost on readers that do the same.
        flate2::read::GzDecoder::new(body.as_ref()).read_to_end(&mut records).expect("it is gzip");
        records
    }

    /// How often each record's number is in the objects of `prefix`.
    pub async fn in_s3(&self, prefix: &str) -> BTreeMap<u64, usize> {
        let mut counts = BTreeMap::new();
        for key in self.keys(prefix).await {
            if key.contains("manifests/") {
                continue;
            }
            for line in self.object(&key).await.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
                let record: serde_json::Value = serde_json::from_slice(line).expect("records are JSON here");
                *counts.entry(record["id"].as_u64().expect("records have an id")).or_default() += 1;
            }
        }
        counts
    }

    /// How often each record's number is in the table.
    pub async fn in_table(&self) -> BTreeMap<u64, usize> {
        let rows = query(&self.warehouse_url, "SELECT id, count(*) FROM events GROUP BY id").await;
        rows.iter().map(|row| (row.get::<i64, _>(0) as u64, row.get::<i64, _>(1) as usize)).collect()
    }

    /// Waits until every one of `acknowledged` is in S3, then checks that each is there once and nothing else is.
    pub async fn expect_in_s3(&self, prefix: &str, acknowledged: &[u64]) {
        eventually("every acknowledged record is in S3", PATIENCE, async || {
            let there = self.in_s3(prefix).await;
            acknowledged.iter().all(|id| there.contains_key(id)).then_some(())
        })
        .await;
        expect_once(&self.in_s3(prefix).await, acknowledged, "S3");
    }

    /// The same for the table.
    pub async fn expect_in_table(&self, acknowledged: &[u64]) {
        eventually("every acknowledged record is in the table", PATIENCE, async || {
            let there = self.in_table().await;
            acknowledged.iter().all(|id| there.contains_key(id)).then_some(())
        })
        .await;
        expect_once(&self.in_table().await, acknowledged, "the table");
    }

    /// States of this site's batches, in the order they were sealed.
    pub async fn batch_states(&self) -> Vec<String> {
        self.column("SELECT state FROM batches ORDER BY sealed_at, id").await
    }

    /// States of this site's loads, in the order they were planned.
    pub async fn load_states(&self) -> Vec<String> {
        self.column("SELECT state FROM loads ORDER BY planned_at, id").await
    }

    /// Waits until some batch is in `state`.
    pub async fn wait_for_batch(&self, state: &str) {
        eventually(&format!("a batch is {state}"), PATIENCE, async || {
            self.batch_states().await.iter().any(|s| s == state).then_some(())
        })
        .await;
    }

    /// Waits until some load is in `state`.
    pub async fn wait_for_load(&self, state: &str) {
        eventually(&format!("a load is {state}"), PATIENCE, async || {
            self.load_states().await.iter().any(|s| s == state).then_some(())
        })
        .await;
    }

    async fn column(&self, sql: &'static str) -> Vec<String> {
        query(&self.metastore_url, sql).await.iter().map(|row| row.get::<String, _>(0)).collect()
    }
}

/// Each of `expected` once, and nothing else.
///
/// # Panics
/// With those for which that is not so.
pub fn expect_once(there: &BTreeMap<u64, usize>, expected: &[u64], place: &str) {
    let twice: Vec<_> = there.iter().filter(|(_, times)| **times != 1).collect();
    assert!(twice.is_empty(), "{place}: loaded more than once: {twice:?}");
    let strangers: Vec<_> = there.keys().filter(|id| !expected.contains(id)).collect();
    assert!(strangers.is_empty(), "{place}: never acknowledged: {strangers:?}");
    assert_eq!(there.len(), expected.len(), "{place}: number of records");
}

/// The lines of one access key. A [`Producer`] signs as [`PRODUCER`].
pub fn access_key((id, secret): (&str, &str), more: &str) -> String {
    format!("[[auth.keys]]\naccess_key_id = {id:?}\nsecret_access_key = {secret:?}\n{more}\n")
}

/// One run of `hydrant serve`.
pub struct Service {
    /// The process.
    pub process: Process,
    /// Address of the API.
    pub api: String,
    /// Address of the admin listener.
    pub admin: String,
}

impl Service {
    /// Waits until `/health/ready` answers 200.
    pub async fn wait_until_ready(&self) {
        eventually("the service is ready", PATIENCE, async || {
            assert!(self.process.exit_status().is_none(), "it ended: {}", self.process.stderr());
            matches!(get(&self.admin, "/health/ready").await, Some((200, _))).then_some(())
        })
        .await;
    }

    /// A producer that speaks to it.
    pub fn producer(&self) -> Producer {
        Producer::new(&self.api)
    }

    /// The same, and a call that is refused is not tried again.
    pub fn producer_without_retries(&self) -> Producer {
        Producer::without_retries(&self.api)
    }

    /// Waits until this run has uploaded `records` of `stream`, without reading the objects.
    pub async fn wait_until_uploaded(&self, stream: &str, records: usize) {
        let line = format!("hydrant_delivery_to_s3_records_total{{stream=\"{stream}\"}} {records}\n");
        self.wait_for_metric(&line).await;
    }

    /// Waits until `/metrics` has `text`.
    pub async fn wait_for_metric(&self, text: &str) {
        eventually(&format!("{text:?} is in the metrics"), PATIENCE, async || {
            self.metrics().await.contains(text).then_some(())
        })
        .await;
    }

    /// The text of `/metrics`.
    pub async fn metrics(&self) -> String {
        get(&self.admin, "/metrics").await.expect("the admin listener answers").1
    }

    /// `kill -9`.
    pub async fn kill9(self) {
        self.process.kill9().await;
    }

    /// Waits until it has logged `text` more than `times` times.
    pub async fn wait_for_log(&self, text: &str, times: usize) {
        eventually(&format!("{text:?} is in the log"), PATIENCE, async || {
            (self.process.stderr().matches(text).count() > times).then_some(())
        })
        .await;
    }

    /// SIGTERM; it must end with 0 in time.
    pub async fn stop(self) {
        let status = self.process.terminate(STOP_LIMIT).await;
        assert_eq!(status.code(), Some(0), "{}", self.process.stderr());
    }
}

/// An entry of `[[encryption.keys]]`, and its file in `dir`; it is the same key each time.
pub fn encryption_key(dir: &std::path::Path, arn: &str) -> String {
    let path = dir.join("encryption.key");
    std::fs::write(&path, "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n")
        .expect("the scratch directory is writable");
    format!("[[encryption.keys]]\narn = {arn:?}\nkey = {{ file = {path:?} }}\n")
}

/// A plain GET; the status and the body.
pub async fn get(address: &str, path: &str) -> Option<(u16, String)> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.ok()?;
    let request = format!("GET {path} HTTP/1.0\r\nhost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Some((status, body.to_owned()))
}

/// Starts the Redshift stand-in and waits until it is ready.
async fn start_redshift_local(s3: &SeaweedFs, warehouse_url: &str, listen: &str) -> Process {
    let endpoint_url = s3.endpoint_url();
    let arguments = [
        "redshift-local",
        "--listen",
        listen,
        "--database-url",
        warehouse_url,
        "--s3-endpoint-url",
        &endpoint_url,
        "--s3-region",
        s3.region(),
    ];
    let process = Process::start_with(hydrant_binary(), arguments, |command| {
        command.env("AWS_ACCESS_KEY_ID", s3.access_key_id());
        command.env("AWS_SECRET_ACCESS_KEY", s3.secret_access_key());
    });
    eventually("the Redshift stand-in is ready", PATIENCE, async || {
        assert!(process.exit_status().is_none(), "it ended: {}", process.stderr());
        matches!(get(listen, "/health/ready").await, Some((200, _))).then_some(())
    })
    .await;
    process
}

/// Runs one statement in a Postgres database.
pub async fn execute(url: &str, sql: &'static str) {
    let mut connection = PgConnection::connect(url).await.expect("Postgres answers");
    sqlx::raw_sql(sql).execute(&mut connection).await.expect("the statement runs");
}

/// The rows of one query.
pub async fn query(url: &str, sql: &'static str) -> Vec<sqlx::postgres::PgRow> {
    let mut connection = PgConnection::connect(url).await.expect("Postgres answers");
    sqlx::query(sql).fetch_all(&mut connection).await.expect("the query runs")
}
