//! Nodes with a real log and a real metastore, and what is outside of them.

use std::{path::PathBuf, sync::Arc, time::Duration};

use hydrant_ingest::StreamTable;
use hydrant_log::{Append, FileLog, Payload, RecordLog, StreamTail, error};
use hydrant_metastore::{Filter, Metastore, NewStream};
use hydrant_testkit::{SeededEntropy, eventually};
use hydrant_types::{
    Batch, BufferingHints, Clock, CloudWatchLogging, Compression, Destination, Load, RedshiftSettings,
    S3Settings, Stream, SystemClock, Timestamp, Warehouse as WarehouseName,
};
use prometheus::Registry;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::{faults::Faults, metastore::FaultyMetastore, objects::Objects, warehouse::Warehouse};
use crate::{AttachError, Attached, Deps, Error, Handle, Settings, attach, start};

/// Longest wait for a state.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const BUCKET: &str = "landing";

/// What outlives every crash.
pub(crate) struct World {
    dir: TempDir,
    pub(crate) objects: Arc<Objects>,
    pub(crate) warehouse: Arc<Warehouse>,
    pub(crate) metastore_faults: Arc<Faults>,
    pub(crate) entropy: Arc<SeededEntropy>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(SeededEntropy::from_environment())
    }

    pub(crate) fn with(entropy: SeededEntropy) -> Self {
        let objects = Objects::new(entropy.fork());
        Self {
            dir: tempfile::tempdir().unwrap(),
            warehouse: Warehouse::new(objects.clone(), entropy.fork()),
            objects,
            metastore_faults: Arc::new(Faults::new(entropy.fork())),
            entropy: Arc::new(entropy),
            clock: Arc::new(SystemClock::new()),
        }
    }

    pub(crate) fn log_dir(&self, node: &str) -> PathBuf {
        self.dir.path().join(node)
    }

    /// How often so many of a hundred calls fail, everywhere.
    pub(crate) fn set_fault_percent(&self, percent: u32) {
        for faults in [&self.objects.faults, &self.warehouse.faults, &*self.metastore_faults] {
            faults.set_percent(percent);
        }
    }

    /// The node's parts, with nothing delivered yet.
    pub(crate) async fn open(&self, name: &str) -> Node {
        self.open_with(name, "hydrant.db").await
    }

    pub(crate) fn open_log(&self, name: &str, registry: &Registry) -> Arc<FileLog> {
        let settings = hydrant_log::Settings {
            segment_len: 8 << 20,
            free_min: 0,
            ..hydrant_log::Settings::new(self.log_dir(name))
        };
        let deps = hydrant_log::Deps::system(self.clock.clone(), self.entropy.clone());
        FileLog::open(settings, deps, registry).unwrap()
    }

    pub(crate) async fn open_metastore(&self, database: &str) -> Arc<dyn Metastore> {
        let url = format!("sqlite://{}", self.dir.path().join(database).display());
        hydrant_metastore::open(&url, true).await.unwrap()
    }

    pub(crate) async fn open_with(&self, name: &str, database: &str) -> Node {
        let registry = Registry::new();
        let log = self.open_log(name, &registry);
        let metastore = self.open_metastore(database).await;
        let metastore = FaultyMetastore::new(metastore, self.metastore_faults.clone());
        let streams = StreamTable::load(metastore.clone(), &self.log_dir(name)).await.unwrap();
        Node {
            name: name.to_owned(),
            log,
            metastore,
            streams,
            registry,
            clock: self.clock.clone(),
            shutdown: CancellationToken::new(),
            handle: None,
        }
    }

    /// A node that delivers.
    pub(crate) async fn start(&self, name: &str) -> Node {
        self.start_with(name, |_| {}).await
    }

    pub(crate) async fn start_with(&self, name: &str, change: impl FnOnce(&mut Settings)) -> Node {
        let mut node = self.open(name).await;
        let log: Arc<dyn RecordLog> = node.log.clone();
        self.deliver(&mut node, log, change).await;
        node
    }

    /// Lets an open node deliver from `log`.
    pub(crate) async fn deliver(
        &self,
        node: &mut Node,
        log: Arc<dyn RecordLog>,
        change: impl FnOnce(&mut Settings),
    ) {
        let attached = loop {
            match node.attach().await {
                Err(error) if error.is_unavailable() => {}
                attached => break attached.unwrap(),
            }
        };
        let mut settings = settings(&node.name);
        change(&mut settings);
        let deps = Deps { log, ..self.deps(node) };
        node.handle = Some(start(deps, settings, attached, node.shutdown.clone()));
    }

    /// What the node's deliveries are made with.
    pub(crate) fn deps(&self, node: &Node) -> Deps {
        Deps {
            log: node.log.clone(),
            metastore: node.metastore.clone(),
            streams: node.streams.clone(),
            objects: self.objects.clone(),
            warehouse: self.warehouse.clone(),
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
            registry: node.registry.clone(),
        }
    }
}

/// Everything as fast as it goes.
fn settings(node: &str) -> Settings {
    Settings {
        node: node.to_owned(),
        interval_max: Some(Duration::from_millis(200)),
        gzip_level: 1,
        copy_retry: Duration::from_millis(20),
        backoff_min: Duration::from_millis(2),
        backoff_max: Duration::from_millis(50),
        upload_timeout: Duration::from_millis(300),
        lease_ttl: Duration::from_secs(5),
        loader_interval: Duration::from_millis(50),
        poll_min: Duration::from_millis(1),
        poll_max: Duration::from_millis(5),
        stop_grace: Duration::from_millis(500),
        ..Settings::default()
    }
}

pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) log: Arc<FileLog>,
    pub(crate) metastore: Arc<FaultyMetastore>,
    pub(crate) streams: Arc<StreamTable>,
    pub(crate) registry: Registry,
    clock: Arc<dyn Clock>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) handle: Option<Handle>,
}

impl Node {
    pub(crate) async fn attach(&self) -> Result<Attached, AttachError> {
        let metastore: Arc<dyn Metastore> = self.metastore.clone();
        attach(&self.log, &metastore, &self.name, &self.clock).await
    }

    pub(crate) async fn create(&self, name: &str, destination: Destination) -> Stream {
        let created = self
            .metastore
            .create_stream(&NewStream::new(name.parse().unwrap(), destination.clone()), self.clock.now())
            .await;
        let stream = created.unwrap();
        self.streams.refresh().await.unwrap();
        stream
    }

    pub(crate) async fn put(&self, stream: &Stream, records: &[Vec<u8>]) {
        self.put_at(stream, records, self.clock.now()).await.unwrap();
    }

    pub(crate) async fn put_at(
        &self,
        stream: &Stream,
        records: &[Vec<u8>],
        arrival: Timestamp,
    ) -> Result<(), error::Append> {
        let mut payload = Payload::new();
        records.iter().for_each(|record| payload.push(record));
        self.log.append(Append { stream: stream.id, payload, arrival, call: None, key: None }).await.map(drop)
    }

    pub(crate) fn tail(&self, stream: &Stream) -> StreamTail {
        self.log.tail(stream.id).unwrap()
    }

    pub(crate) async fn batches(&self, stream: &Stream) -> Vec<Batch> {
        let filter = Filter { stream: Some(stream.name.clone()), state: None, limit: 10_000 };
        let mut batches = self.metastore.batches(&filter).await.unwrap();
        batches.sort_by_key(|batch| (batch.content.name() != "delivery", batch.log, batch.range.from));
        batches
    }

    pub(crate) async fn loads(&self) -> Vec<Load> {
        let mut loads = self.metastore.loads(&Filter { limit: 10_000, ..Filter::default() }).await.unwrap();
        loads.sort_by_key(|load| (load.planned_at, load.id));
        loads
    }

    /// Waits until every record of a stream is sealed, uploaded and trimmed, and nothing of it waits for a load.
    pub(crate) async fn settled(&self, stream: &Stream) {
        eventually(&format!("{} is settled", stream.name), PATIENCE, async || {
            let tail = self.log.tail(stream.id)?;
            let unfinished = self.metastore.unfinished_batches(stream.id).await;
            (tail.trimmed == tail.next && unfinished.ok()? == 0).then_some(())
        })
        .await;
    }

    pub(crate) fn metrics(&self) -> String {
        prometheus::TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap()
    }

    /// Stops in order.
    pub(crate) async fn stop(mut self) -> Result<(), Error> {
        self.shutdown.cancel();
        let outcome = match self.handle.take() {
            Some(handle) => handle.join().await,
            None => Ok(()),
        };
        let log = self.log.clone();
        tokio::task::spawn_blocking(move || log.shutdown()).await.unwrap();
        outcome
    }
}

/// Records that can be told apart, one a line, each of about `bytes`.
pub(crate) fn records(stream: &str, numbers: std::ops::Range<u64>, bytes: usize) -> Vec<Vec<u8>> {
    let mut random = fastrand::Rng::with_seed(numbers.start);
    numbers
        .map(|number| {
            let filler: String = (0..bytes).map(|_| random.alphanumeric()).collect();
            format!("{stream}:{number}:{filler}\n").into_bytes()
        })
        .collect()
}

pub(crate) fn s3(prefix: &str, compression: Compression) -> S3Settings {
    S3Settings {
        prefix: Some(prefix.to_owned()),
        buffering: BufferingHints { size_mb: 1, interval_secs: 900 },
        compression,
        ..S3Settings::of_bucket(BUCKET.parse().unwrap())
    }
}

pub(crate) fn to_s3(prefix: &str) -> Destination {
    Destination::S3(s3(prefix, Compression::Gzip))
}

pub(crate) fn to_bucket(bucket: &str, prefix: &str) -> Destination {
    Destination::S3(S3Settings { bucket: bucket.parse().unwrap(), ..s3(prefix, Compression::Gzip) })
}

pub(crate) fn to_redshift(prefix: &str, table: &str, retry_secs: u32) -> Destination {
    Destination::Redshift(RedshiftSettings {
        role_arn: "arn:aws:iam::123456789012:role/copy".to_owned(),
        cluster_jdbc_url: String::new(),
        warehouse: WarehouseName::Workgroup("local".to_owned()),
        database: "dev".to_owned(),
        region: "us-east-1".to_owned(),
        table: table.to_owned(),
        columns: None,
        copy_options: Some("JSON 'auto' GZIP".to_owned()),
        username: None,
        secret_arn: None,
        retry_secs,
        s3: s3(prefix, Compression::Gzip),
        cloudwatch_logging: CloudWatchLogging::default(),
    })
}

/// The key of a table of [`to_redshift`].
pub(crate) fn table_key(table: &str) -> String {
    format!("us-east-1/workgroup:local/dev/{table}")
}
