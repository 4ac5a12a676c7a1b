//! A metastore of its own for each test, and short words for what tests put into it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hydrant_metastore::{Error, FailedObject, Lease, Metastore, NewLoad, NewStream, Uploaded};
use hydrant_testkit::{Postgres, Scratch};
use hydrant_types::{
    Batch, BatchId, BatchState, CloudWatchLogging, Compression, Content, CopyTarget, Destination,
    ErrorOutputType, Load, LoadId, LoadState, LogId, Position, PositionRange, RedshiftSettings, S3Settings,
    StatementId, StoredObject, Stream, StreamVersion, Timestamp, Warehouse,
};
use sqlx::{AssertSqlSafe, PgPool, SqlitePool};
use uuid::Uuid;

/// The present of the tests' own clock.
pub(crate) const NOW: Timestamp = Timestamp(1_767_323_045_678);
/// Longer than any test runs.
pub(crate) const LONG: Duration = Duration::from_secs(600);
/// A time that is over at once.
pub(crate) const SHORT: Duration = Duration::from_millis(20);

/// A metastore, and its database beside it.
pub(crate) struct Fixture {
    pub(crate) metastore: Arc<dyn Metastore>,
    pub(crate) url: String,
    raw: Raw,
    ids: AtomicU64,
    _directory: Option<Scratch>,
}

enum Raw {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Fixture {
    /// In a new file.
    pub(crate) async fn sqlite() -> Self {
        let directory = Scratch::new();
        let url = format!("sqlite://{}", directory.path().join("hydrant.db").display());
        let metastore = hydrant_metastore::open(&url, true).await.unwrap();
        let raw = Raw::Sqlite(SqlitePool::connect(&url).await.unwrap());
        Self { metastore, url, raw, ids: AtomicU64::new(1), _directory: Some(directory) }
    }

    /// In a new database of the shared server.
    pub(crate) async fn postgres() -> Self {
        let url = Postgres::shared().database().await;
        let metastore = hydrant_metastore::open(&url, true).await.unwrap();
        let raw = Raw::Postgres(PgPool::connect(&url).await.unwrap());
        Self { metastore, url, raw, ids: AtomicU64::new(1), _directory: None }
    }

    pub(crate) fn is_sqlite(&self) -> bool {
        matches!(self.raw, Raw::Sqlite(_))
    }

    /// The same metastore, opened once more.
    pub(crate) async fn reopened(&self) -> Arc<dyn Metastore> {
        hydrant_metastore::open(&self.url, false).await.unwrap()
    }

    /// Runs statements beside the store.
    pub(crate) async fn sql(&self, statements: &str) -> Result<(), sqlx::Error> {
        let statements = sqlx::raw_sql(AssertSqlSafe(statements.to_owned()));
        match &self.raw {
            Raw::Sqlite(pool) => statements.execute(pool).await.map(drop),
            Raw::Postgres(pool) => statements.execute(pool).await.map(drop),
        }
    }

    /// Runs statements that the database must refuse, and gives its words.
    pub(crate) async fn refused(&self, statements: &str) -> String {
        match self.sql(statements).await {
            Err(sqlx::Error::Database(error)) => error.to_string(),
            other => panic!("{statements} was not refused: {other:?}"),
        }
    }

    /// The one column of each row of a query, as text.
    pub(crate) async fn rows(&self, query: &str) -> Vec<String> {
        let query = AssertSqlSafe(query.to_owned());
        let rows = match &self.raw {
            Raw::Sqlite(pool) => sqlx::query_scalar(query).fetch_all(pool).await,
            Raw::Postgres(pool) => sqlx::query_scalar(query).fetch_all(pool).await,
        };
        rows.unwrap()
    }

    fn number(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn uuid(&self) -> Uuid {
        Uuid::from_u128(u128::from(self.number()))
    }

    pub(crate) async fn stream(&self, name: &str, destination: &Destination) -> Stream {
        self.metastore
            .create_stream(&NewStream::new(name.parse().unwrap(), destination.clone()), NOW)
            .await
            .unwrap()
    }

    /// A log and the right to deliver it.
    pub(crate) async fn log(&self) -> (LogId, Lease) {
        let log = LogId(self.uuid());
        self.metastore.register_log(log, "node-1:/var/lib/hydrant", NOW).await.unwrap();
        (log, self.lease(&format!("log:{log}")).await)
    }

    pub(crate) async fn lease(&self, resource: &str) -> Lease {
        self.metastore.acquire_lease(resource, "node-1", LONG).await.unwrap().unwrap()
    }

    /// A lease of the table that a target names.
    pub(crate) async fn table(&self, target: &CopyTarget) -> Lease {
        self.lease(&format!("table:{}", target.table_key())).await
    }

    /// Records `from..to` of a stream, not sealed yet.
    pub(crate) fn batch(&self, stream: &Stream, log: LogId, from: u64, to: u64) -> Batch {
        let id = BatchId(self.uuid());
        Batch {
            id,
            stream: stream.id,
            stream_name: stream.name.clone(),
            stream_version: stream.version,
            log,
            range: PositionRange::new(Position(from), Position(to)).unwrap(),
            content: Content::Delivery,
            bytes: (to - from) * 100,
            processed_bytes: (to - from) * 300,
            oldest_arrival: NOW,
            bucket: "demo".parse().unwrap(),
            key: format!("2026/01/02/03/{}-1-{id}.gz", stream.name).parse().unwrap(),
            copy_target: stream.destination.copy_target(),
            state: BatchState::Sealed,
            sealed_at: NOW,
            updated_at: NOW,
        }
    }

    /// The same of its backup.
    pub(crate) fn backup(&self, stream: &Stream, log: LogId, from: u64, to: u64) -> Batch {
        let batch = self.batch(stream, log, from, to);
        Batch {
            content: Content::Backup,
            processed_bytes: batch.bytes,
            bucket: "backup".parse().unwrap(),
            copy_target: None,
            ..batch
        }
    }

    /// An object of records that failed.
    pub(crate) fn failed(&self, records: u64) -> FailedObject {
        failed(BatchId(self.uuid()), records)
    }

    /// Seals `count` batches of ten records each.
    pub(crate) async fn sealed(&self, stream: &Stream, log: LogId, lease: &Lease, count: u64) -> Vec<Batch> {
        let batches: Vec<Batch> =
            (0..count).map(|at| self.batch(stream, log, at * 10, (at + 1) * 10)).collect();
        self.metastore.seal_batches(lease, &batches).await.unwrap();
        batches
    }

    /// Seals and uploads `count` batches of ten records each.
    pub(crate) async fn uploaded(
        &self,
        stream: &Stream,
        log: LogId,
        lease: &Lease,
        count: u64,
    ) -> Vec<Batch> {
        let batches = self.sealed(stream, log, lease, count).await;
        let uploaded: Vec<Uploaded> = batches.iter().map(uploaded).collect();
        self.metastore.mark_uploaded(lease, &uploaded, NOW).await.unwrap();
        batches
    }

    /// A load of batches of one stream, not planned yet.
    pub(crate) fn load(&self, stream: &Stream, batches: &[Batch]) -> NewLoad {
        let id = LoadId(self.uuid());
        let load = Load {
            id,
            stream: stream.id,
            stream_name: stream.name.clone(),
            target: stream.destination.copy_target().unwrap(),
            bucket: "demo".parse().unwrap(),
            manifest_key: format!("manifests/2026/01/02/03/{}-{id}", stream.name).parse().unwrap(),
            state: planned(1),
            planned_at: NOW,
            first_submitted_at: None,
            unreachable_ms: 0,
            updated_at: NOW,
        };
        NewLoad { load, batches: batches.iter().map(|batch| batch.id).collect() }
    }

    /// Plans a load of batches and takes it to its end.
    pub(crate) async fn ended(
        &self,
        stream: &Stream,
        table: &Lease,
        batches: &[Batch],
        end: &LoadState,
        now: Timestamp,
    ) -> LoadId {
        let new = self.load(stream, batches);
        self.metastore.plan_load(table, &new).await.unwrap();
        let id = new.load.id;
        self.metastore.advance_load(table, id, &planned(1), &submitted(1), None, now).await.unwrap();
        self.metastore.advance_load(table, id, &submitted(1), end, None, now).await.unwrap();
        id
    }

    pub(crate) async fn state_of(&self, batch: BatchId) -> BatchState {
        self.metastore.batch(batch).await.unwrap().unwrap().state
    }

    pub(crate) async fn load_state(&self, load: LoadId) -> LoadState {
        self.metastore.load(load).await.unwrap().unwrap().state
    }
}

pub(crate) fn later(millis: u64) -> Timestamp {
    Timestamp(NOW.0 + millis)
}

pub(crate) fn to_s3() -> Destination {
    Destination::S3(S3Settings {
        prefix: Some("clicks/".to_owned()),
        compression: Compression::Gzip,
        ..S3Settings::of_bucket("demo".parse().unwrap())
    })
}

pub(crate) fn to_redshift(table: &str) -> Destination {
    let Destination::S3(s3) = to_s3() else { unreachable!() };
    Destination::Redshift(RedshiftSettings {
        role_arn: "arn:aws:iam::000000000000:role/firehose".to_owned(),
        cluster_jdbc_url:
            "jdbc:redshift://local.000000000000.us-east-1.redshift-serverless.amazonaws.com:5439/dev"
                .to_owned(),
        warehouse: Warehouse::Workgroup("local".to_owned()),
        database: "dev".to_owned(),
        region: "us-east-1".to_owned(),
        table: table.to_owned(),
        columns: None,
        copy_options: Some("JSON 'auto' GZIP".to_owned()),
        username: None,
        secret_arn: None,
        retry_secs: 3600,
        s3,
        cloudwatch_logging: CloudWatchLogging::default(),
    })
}

pub(crate) fn object(batch: BatchId) -> StoredObject {
    StoredObject { etag: format!("etag-of-{batch}"), bytes: 42 }
}

pub(crate) fn failed(id: BatchId, records: u64) -> FailedObject {
    FailedObject {
        id,
        error: ErrorOutputType::DecompressionFailed,
        records,
        bytes: records * 500,
        key: format!("decompression-failed/2026/01/02/03/clicks-1-{id}").parse().unwrap(),
        object: object(id),
    }
}

pub(crate) fn uploaded(batch: &Batch) -> Uploaded {
    Uploaded {
        id: batch.id,
        object: Some(object(batch.id)),
        delivered: batch.copy_target.is_none(),
        failed: Vec::new(),
    }
}

/// The row of error output beside a batch that was uploaded then.
pub(crate) fn error_output(batch: &Batch, failed: &FailedObject, at: Timestamp) -> Batch {
    Batch {
        id: failed.id,
        content: Content::Failed { error: failed.error, records: failed.records },
        bytes: failed.bytes,
        processed_bytes: failed.bytes,
        key: failed.key.clone(),
        copy_target: None,
        state: BatchState::Delivered { object: failed.object.clone() },
        updated_at: at,
        ..batch.clone()
    }
}

pub(crate) fn planned(attempt: u32) -> LoadState {
    LoadState::Planned { attempt, token: format!("token-{attempt}"), not_before: NOW }
}

pub(crate) fn submitted(attempt: u32) -> LoadState {
    let statement = StatementId(format!("statement-{attempt}"));
    LoadState::Submitted { attempt, token: format!("token-{attempt}"), statement }
}

pub(crate) fn committed(rows: u64) -> LoadState {
    LoadState::Committed { attempt: 1, rows: Some(rows) }
}

pub(crate) fn abandoned() -> LoadState {
    LoadState::Abandoned {
        attempt: 1,
        errors_manifest_key: "errors/manifests/1".parse().unwrap(),
        code: "Redshift.TableNotFound".to_owned(),
        reason: "relation \"events\" does not exist".to_owned(),
    }
}

pub(crate) const FIRST: StreamVersion = StreamVersion::FIRST;

/// Whether a call was refused because the lease is somebody else's.
pub(crate) fn is_lease_lost<T>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::LeaseLost { .. }))
}
