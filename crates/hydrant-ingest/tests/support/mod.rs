//! A real record log and a real metastore in a temporary directory.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

use std::{path::PathBuf, sync::Arc};

use hydrant_ingest::{Ingest, Keyring, MasterKeys, Settings, StreamTable};
use hydrant_log::{FileLog, Payload};
use hydrant_metastore::{Metastore, NewStream};
use hydrant_testkit::{ManualClock, SeededEntropy};
use hydrant_types::{Clock, Destination, Entropy, S3Settings, Stream, StreamName};
use prometheus::Registry;

pub struct Site {
    pub dir: tempfile::TempDir,
    pub clock: ManualClock,
    pub metastore: Arc<dyn Metastore>,
}

pub struct Node {
    pub log: Arc<FileLog>,
    pub streams: Arc<StreamTable>,
    pub keyring: Arc<Keyring>,
    pub ingest: Ingest,
    pub registry: Registry,
}

impl Site {
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let metastore = open_sqlite(&dir.path().join("hydrant.db")).await;
        std::fs::create_dir(dir.path().join("log")).unwrap();
        Self { dir, clock: ManualClock::default(), metastore }
    }

    pub fn log_dir(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    pub fn copy_path(&self) -> PathBuf {
        self.log_dir().join(StreamTable::COPY_NAME)
    }

    pub async fn create(&self, name: &str) -> Stream {
        create(self.metastore.as_ref(), name).await
    }

    pub async fn node(&self, settings: Settings) -> Node {
        self.node_with_log_of(settings, 1 << 30).await
    }

    pub async fn node_with_log_of(&self, settings: Settings, bytes_max: u64) -> Node {
        let registry = Registry::new();
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::from_environment());
        let log_settings = hydrant_log::Settings {
            bytes_max,
            free_min: 0,
            segment_len: 8 << 20,
            ..hydrant_log::Settings::new(self.log_dir())
        };
        let log = FileLog::open(log_settings, hydrant_log::Deps::system(clock.clone(), entropy), &registry)
            .unwrap();
        let streams = StreamTable::load(self.metastore.clone(), &self.log_dir()).await.unwrap();
        let keyring = Arc::new(Keyring::new(MasterKeys::default(), streams.clone()));
        log.set_data_keys(keyring.clone());
        let ingest =
            Ingest::new(log.clone(), streams.clone(), keyring.clone(), clock, &registry, &settings).unwrap();
        Node { log, streams, keyring, ingest, registry }
    }
}

/// The log's thread ends before the directory goes.
impl Drop for Node {
    fn drop(&mut self) {
        self.log.shutdown();
    }
}

impl Node {
    /// The value of a series in the text format, `None` where there is none.
    pub fn metric(&self, series: &str) -> Option<f64> {
        let text = prometheus::TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap();
        let line =
            text.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')))?;
        Some(line.rsplit(' ').next()?.parse().unwrap())
    }
}

pub async fn open_sqlite(path: &std::path::Path) -> Arc<dyn Metastore> {
    hydrant_metastore::open(&format!("sqlite://{}", path.display()), true).await.unwrap()
}

/// A Postgres that nobody serves.
pub async fn away() -> Arc<dyn Metastore> {
    let url = format!("postgres://app@127.0.0.1:{}/nothing", hydrant_testkit::free_port());
    hydrant_metastore::open(&url, false).await.unwrap()
}

pub async fn create(metastore: &dyn Metastore, name: &str) -> Stream {
    let name: StreamName = name.parse().unwrap();
    metastore
        .create_stream(&NewStream::new(name.clone(), destination()), ManualClock::default().now())
        .await
        .unwrap()
}

pub fn destination() -> Destination {
    Destination::S3(S3Settings::of_bucket("demo".parse().unwrap()))
}

pub fn payload(records: &[&[u8]]) -> Payload {
    let mut payload = Payload::new();
    records.iter().for_each(|record| payload.push(record));
    payload
}
