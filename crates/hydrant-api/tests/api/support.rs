//! The real server on a free port, with a real record log and a real metastore in a temporary directory.

use std::{path::PathBuf, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use hydrant_api::{Control, Deps, Settings, TlsCertificates};
use hydrant_auth::{AccessKey, AccessKeys, Authenticator, Realm};
use hydrant_ingest::{Keyring, MasterKey, MasterKeys, StreamTable};
use hydrant_log::{FileLog, RecordLog};
use hydrant_metastore::Metastore;
use hydrant_testkit::{ManualClock, SeededEntropy};
use hydrant_types::{Clock, Entropy, Secret, StreamId};
use hyper_util::rt::TokioIo;
use prometheus::Registry;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

pub const ACCOUNT: &str = "123456789012";
pub const ROLE: &str = "arn:aws:iam::123456789012:role/firehose";
pub const JDBC_URL: &str = "jdbc:redshift://shop.abc123.eu-west-1.redshift.amazonaws.com:5439/dev";
pub const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/default";
pub const OTHER_KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/other";
/// Anything that takes longer is a defect.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub const REGION: &str = "eu-west-1";

pub struct Api {
    pub address: String,
    pub authenticator: Arc<Authenticator>,
    pub log: Arc<FileLog>,
    pub metastore: Arc<dyn Metastore>,
    pub streams: Arc<StreamTable>,
    /// As the binary has it, for streams that files declare.
    pub control: Control,
    pub clock: ManualClock,
    pub registry: Registry,
    pub shutdown: CancellationToken,
    pub served: JoinHandle<Result<(), prometheus::Error>>,
    dir: tempfile::TempDir,
}

/// What a test sets otherwise.
pub struct Options {
    pub settings: Settings,
    pub log_bytes_max: u64,
    /// `None`: anybody may call.
    pub access_keys: Option<Vec<AccessKey>>,
    /// ARNs of keys that are configured; the first is the default.
    pub keys: &'static [&'static str],
    /// Puts something before the log.
    pub wrap: fn(Arc<FileLog>) -> Arc<dyn RecordLog>,
    pub tls: Option<TlsCertificates>,
}

impl Default for Options {
    fn default() -> Self {
        let settings =
            Settings { account_id: ACCOUNT.to_owned(), region: REGION.to_owned(), ..Settings::default() };
        Self {
            settings,
            log_bytes_max: 1 << 30,
            access_keys: None,
            keys: &[KEY, OTHER_KEY],
            wrap: |log| log,
            tls: None,
        }
    }
}

/// The log's thread ends before the directory goes.
impl Drop for Api {
    fn drop(&mut self) {
        self.shutdown.cancel();
        self.log.shutdown();
    }
}

impl Api {
    pub async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    /// With a stream that takes records.
    pub async fn with_stream(name: &str) -> (Self, StreamId) {
        let api = Self::start().await;
        let id = api.create(name).await;
        (api, id)
    }

    pub async fn start_with(options: Options) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = ManualClock::default();
        // Always the same chance: ids in golden answers.
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(7));
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let registry = Registry::new();
        let log_settings = hydrant_log::Settings {
            bytes_max: options.log_bytes_max,
            free_min: 0,
            segment_len: 8 << 20,
            ..hydrant_log::Settings::new(dir.path().join("log"))
        };
        let log_deps = hydrant_log::Deps::system(shared.clone(), entropy.clone());
        let log = FileLog::open(log_settings, log_deps, &registry).unwrap();
        let metastore = open_metastore(&dir.path().join("hydrant.db")).await;
        let streams = StreamTable::load(metastore.clone(), &dir.path().join("log")).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let authenticator = Arc::new(match options.access_keys {
            Some(keys) => {
                let keys = AccessKeys::new(keys, &hydrant_api::SERVICE, &shared).unwrap();
                let realm = Realm::new(REGION, ACCOUNT);
                Authenticator::with_keys(keys, hydrant_api::SERVICE, realm, shared.clone())
            }
            None => Authenticator::anyone(),
        });
        let master =
            MasterKeys::new(options.keys.iter().map(|arn| key(arn)), options.keys.first().copied()).unwrap();
        let keyring = Arc::new(Keyring::new(master, streams.clone()));
        let control = Control {
            metastore: metastore.clone(),
            streams: streams.clone(),
            clock: shared.clone(),
            keyring: keyring.clone(),
            entropy: entropy.clone(),
            account_id: options.settings.account_id.clone(),
            region: options.settings.region.clone(),
        };
        let deps = Deps {
            authenticator: authenticator.clone(),
            log: (options.wrap)(log.clone()),
            metastore: metastore.clone(),
            streams: streams.clone(),
            clock: shared,
            keyring,
            entropy,
            tls: options.tls,
            registry: registry.clone(),
        };
        let shutdown = CancellationToken::new();
        let served = tokio::spawn(hydrant_api::serve(listener, deps, options.settings, shutdown.clone()));
        Self {
            address,
            authenticator,
            log,
            metastore,
            streams,
            control,
            clock,
            registry,
            shutdown,
            served,
            dir,
        }
    }

    pub fn metastore_path(&self) -> PathBuf {
        self.dir.path().join("hydrant.db")
    }

    /// Makes a stream through the API.
    pub async fn create(&self, name: &str) -> StreamId {
        let input = json!({"DeliveryStreamName": name, "ExtendedS3DestinationConfiguration": s3()});
        let answer = self.call("CreateDeliveryStream", &input).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        self.streams.get(name).expect("a stream is known once it is created").id
    }

    pub async fn call(&self, operation: &str, input: &Value) -> Answer {
        self.send(operation, input.to_string()).await
    }

    pub async fn send(&self, operation: &str, body: impl Into<Bytes>) -> Answer {
        self.send_with(operation, body, &[]).await
    }

    pub async fn send_with(
        &self,
        operation: &str,
        body: impl Into<Bytes>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri("/")
            .header("host", &self.address)
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", format!("Firehose_20150804.{operation}"));
        for (name, value) in headers {
            let all = request.headers_mut().unwrap();
            all.insert(http::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        self.request(request.body(Full::new(body.into())).unwrap()).await
    }

    /// One request on a connection of its own.
    pub async fn request(&self, request: Request<Full<Bytes>>) -> Answer {
        let stream = TcpStream::connect(&self.address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let response =
            tokio::time::timeout(PATIENCE, sender.send_request(request)).await.expect("in time").unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    /// A bare connection.
    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.address).await.unwrap()
    }

    pub fn put_head(&self, operation: &str, more: &str) -> String {
        format!(
            "POST / HTTP/1.1\r\nhost: {}\r\ncontent-type: application/x-amz-json-1.1\r\n\
             x-amz-target: Firehose_20150804.{operation}\r\n{more}\r\n",
            self.address
        )
    }

    /// Every record that the log holds of a stream.
    pub fn stored(&self, stream: StreamId) -> Vec<Vec<u8>> {
        let Some(tail) = self.log.tail(stream) else { return Vec::new() };
        let mut records = Vec::new();
        let mut at = tail.trimmed;
        while at < tail.next {
            let chunk = self.log.read(stream, at, 1 << 20).unwrap();
            records.extend(chunk.records().map(|(_, _, record)| record.to_vec()));
            at = chunk.next().expect("what is durable can be read");
        }
        records
    }

    pub fn metric(&self, series: &str) -> f64 {
        let text = prometheus::TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap();
        let line =
            text.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')));
        line.unwrap_or_else(|| panic!("{series} in {text}")).rsplit(' ').next().unwrap().parse().unwrap()
    }
}

/// An answer as it came.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.text()))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("{name} in {:?}", self.headers)).to_str().unwrap()
    }

    /// Status, body and the headers that are the protocol's, for golden files.
    pub fn golden(&self) -> String {
        let type_header = self
            .headers
            .get("x-amzn-errortype")
            .map(|code| format!("x-amzn-errortype: {}\n", code.to_str().unwrap()));
        format!(
            "HTTP {}\ncontent-type: {}\n{}\n{}",
            self.status,
            self.header("content-type"),
            type_header.unwrap_or_default(),
            self.text()
        )
    }

    /// Exactly this error, in AWS's shape.
    #[track_caller]
    pub fn is_error(&self, status: u16, code: &str, message: &str) {
        assert_eq!((self.status, self.json()), (status, json!({"__type": code, "message": message})));
        assert_eq!(self.header("x-amzn-errortype"), code);
        assert_eq!(self.header("content-type"), "application/x-amz-json-1.1");
        uuid_like(self.header("x-amzn-requestid"));
    }

    /// A ValidationException with exactly these violations.
    #[track_caller]
    pub fn violates(&self, violations: &[(&str, &str)]) {
        let words: Vec<String> = violations
            .iter()
            .map(|(path, constraint)| format!("Value at '{path}' failed to satisfy constraint: {constraint}"))
            .collect();
        let errors = if words.len() == 1 { "error" } else { "errors" };
        let message = format!("{} validation {errors} detected: {}", words.len(), words.join("; "));
        self.is_error(400, "ValidationException", &message);
    }

    #[track_caller]
    pub fn is_serialization(&self, words: &str) {
        let message = self.json()["message"].as_str().unwrap_or_default().to_owned();
        assert!(message.contains(words), "{words:?} in {message:?}");
        self.is_error(400, "SerializationException", &message);
    }
}

#[track_caller]
fn uuid_like(id: &str) {
    let groups: Vec<usize> = id.split('-').map(str::len).collect();
    assert_eq!(groups, [8, 4, 4, 4, 12], "{id}");
}

/// An extended S3 destination with what is required.
pub fn s3() -> Value {
    json!({"RoleARN": ROLE, "BucketARN": "arn:aws:s3:::demo"})
}

/// A Redshift destination with what is required.
pub fn redshift() -> Value {
    json!({
        "RoleARN": ROLE,
        "ClusterJDBCURL": JDBC_URL,
        "CopyCommand": {"DataTableName": "events"},
        "Username": "loader",
        "Password": "hunter2-secret",
        "S3Configuration": s3(),
    })
}

/// `value` with `member` (a path with dots) set otherwise.
pub fn with(mut value: Value, member: &str, to: Value) -> Value {
    let mut at = &mut value;
    for name in member.split('.') {
        at = &mut at[name];
    }
    *at = to;
    value
}

pub fn data(bytes: impl AsRef<[u8]>) -> Value {
    json!({"Data": STANDARD.encode(bytes)})
}

pub fn batch(stream: &str, records: &[Value]) -> Value {
    json!({"DeliveryStreamName": stream, "Records": records})
}

/// A key that is the same in each run.
fn key(arn: &str) -> MasterKey {
    let bytes = [arn.len() as u8; 32];
    MasterKey::new(arn, &Secret::new(STANDARD.encode(bytes))).unwrap()
}

pub async fn open_metastore(path: &std::path::Path) -> Arc<dyn Metastore> {
    hydrant_metastore::open(&format!("sqlite://{}", path.display()), true).await.unwrap()
}

/// Writes to a bare connection and reads what comes until it ends.
pub async fn exchange(stream: &mut TcpStream, text: &[u8]) -> String {
    // Refused in the middle, perhaps; then the answer says so.
    let _ = stream.write_all(text).await;
    read_all(stream).await
}

pub async fn read_all(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    // A reset after the answer is an end too.
    let _ = read.expect("the connection ends in time");
    String::from_utf8(answer).unwrap()
}
