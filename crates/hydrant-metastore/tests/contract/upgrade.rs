//! A database of the last release, with rows in it, is brought up to date and read by this one.

use std::sync::Arc;

use hydrant_metastore::{Error, Filter, Metastore, SealedTo, Subject, Uploaded, open};
use hydrant_testkit::{Postgres, Scratch};
use hydrant_types::{
    Batch, BatchId, BatchState, Content, Lane, LoadId, LogId, Position, PositionRange, Stream,
    StreamEncryption, StreamId, StreamStatus, StreamVersion, Tags,
};
use sqlx::{AssertSqlSafe, PgPool, SqlitePool, migrate::Migrator};
use uuid::Uuid;

use crate::fixture::{LONG, NOW, error_output, failed, later, to_redshift, to_s3, uploaded};

static POSTGRES: Migrator = sqlx::migrate!("../../migrations/postgres");
static SQLITE: Migrator = sqlx::migrate!("../../migrations/sqlite");

/// The last migration of the release that had no tags.
const WITHOUT_TAGS: i64 = 1;
/// The last migration before batches could be discarded.
const WITHOUT_DISCARDS: i64 = 2;
/// The last migration before streams had lanes.
const WITHOUT_LANES: i64 = 3;
/// The counters in its rows.
const REVISION: u64 = 9;
const STREAM_ID_LAST: u64 = 4;

/// Rows as that release wrote them: a stream that is active, one with another version, one that is being deleted, one that is gone.
fn rows() -> String {
    let (s3, redshift) = (serde_json::to_string(&to_s3()), serde_json::to_string(&to_redshift("clicks")));
    let (s3, redshift) = (s3.unwrap(), redshift.unwrap().replace('\'', "''"));
    let (at, then) = (NOW, later(7));
    format!(
        "begin; update meta set stream_id_last = {STREAM_ID_LAST}, streams_revision = {REVISION}; \
         insert into streams (id, name, status, version, created_at, updated_at, deleting_at, removed_at) values \
         (1, 'active', 'active', 1, '{at}', null, null, null), (2, 'changed', 'active', 2, '{at}', '{then}', null, null), \
         (3, 'going', 'deleting', 1, '{at}', null, '{then}', null), (4, 'gone', 'removed', 1, '{at}', null, '{then}', '{then}'); \
         insert into stream_versions (stream_id, version, destination, created_at) values (1, 1, '{s3}', '{at}'), \
         (2, 1, '{s3}', '{at}'), (2, 2, '{redshift}', '{then}'), (3, 1, '{s3}', '{at}'), (4, 1, '{s3}', '{at}'); commit"
    )
}

async fn old_postgres(migration: i64, rows: String) -> String {
    let url = Postgres::shared().database().await;
    let pool = PgPool::connect(&url).await.unwrap();
    POSTGRES.run_to(migration, &pool).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(rows)).execute(&pool).await.unwrap();
    pool.close().await;
    url
}

async fn old_sqlite(directory: &Scratch, migration: i64, rows: String) -> String {
    let url = format!("sqlite://{}", directory.path().join("hydrant.db").display());
    let pool = SqlitePool::connect(&format!("{url}?mode=rwc")).await.unwrap();
    SQLITE.run_to(migration, &pool).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(rows)).execute(&pool).await.unwrap();
    pool.close().await;
    url
}

fn stream(id: u64, name: &str) -> Stream {
    Stream {
        id: StreamId(id),
        name: name.parse().unwrap(),
        status: StreamStatus::Active,
        version: StreamVersion::FIRST,
        destination: to_s3(),
        created_at: NOW,
        updated_at: None,
        tags: Tags::new(),
        encryption: StreamEncryption::default(),
        declared_in: None,
    }
}

async fn reads_on(metastore: Arc<dyn Metastore>) {
    let changed = Stream {
        version: StreamVersion(2),
        destination: to_redshift("clicks"),
        updated_at: Some(later(7)),
        ..stream(2, "changed")
    };
    let going = Stream { status: StreamStatus::Deleting, ..stream(3, "going") };
    let all = [stream(1, "active"), changed.clone(), going];
    assert_eq!(metastore.streams().await.unwrap(), all);
    // A node that knew all of it reads all of it once more, and then only what changes.
    let since = metastore.streams_changed(REVISION).await.unwrap();
    assert_eq!((&since.changed[..], since.removed), (&all[..], vec![StreamId(4)]));
    assert!(since.revision > REVISION);
    let set = Tags::from([("team".to_owned(), "web".to_owned())]);
    metastore.change_tags(changed.id, &set, &[]).await.unwrap();
    let next = metastore.streams_changed(since.revision).await.unwrap();
    assert_eq!((next.changed, next.removed), (vec![Stream { tags: set, ..changed.clone() }], vec![]));
    let updated =
        metastore.update_destination(changed.id, changed.version, &to_s3(), later(9)).await.unwrap();
    assert_eq!(updated.version, StreamVersion(3));
    metastore.remove_stream(StreamId(3), later(9)).await.unwrap();
    let new = hydrant_metastore::NewStream::new("gone".parse().unwrap(), to_s3());
    assert_eq!(metastore.create_stream(&new, NOW).await.unwrap().id, StreamId(STREAM_ID_LAST + 1));
}

#[tokio::test]
async fn a_sqlite_of_the_last_release_is_brought_up_to_date_and_read() {
    let directory = Scratch::new();
    reads_on(open(&old_sqlite(&directory, WITHOUT_TAGS, rows()).await, false).await.unwrap()).await;
}

#[tokio::test]
async fn a_postgres_of_the_last_release_is_brought_up_to_date_by_command_and_read() {
    let url = old_postgres(WITHOUT_TAGS, rows()).await;
    let error = open(&url, false).await.map(drop).unwrap_err();
    assert!(matches!(error, Error::NotMigrated), "{error}");
    reads_on(open(&url, true).await.unwrap()).await;
}

#[tokio::test]
async fn an_empty_database_of_the_last_release_is_brought_up_to_date() {
    let url = Postgres::shared().database().await;
    let pool = PgPool::connect(&url).await.unwrap();
    POSTGRES.run_to(WITHOUT_TAGS, &pool).await.unwrap();
    assert_eq!(open(&url, true).await.unwrap().streams().await.unwrap(), []);
}

/// A node of the last release that is still running must not make changes that others do not notice.
#[tokio::test]
async fn a_change_as_the_last_release_made_it_is_refused() {
    let url = old_postgres(WITHOUT_TAGS, rows()).await;
    let metastore = open(&url, true).await.unwrap();
    let before = metastore.streams().await.unwrap();
    let pool = PgPool::connect(&url).await.unwrap();
    for statements in [
        "update streams set status = 'deleting', deleting_at = now() where id = 1; \
         update meta set streams_revision = streams_revision + 1",
        "update meta set stream_id_last = 9, streams_revision = streams_revision + 1; \
         insert into streams (id, name, status, version, created_at) values (9, 'new', 'active', 1, now())",
    ] {
        sqlx::raw_sql(statements).execute(&pool).await.unwrap_err();
    }
    assert_eq!(metastore.streams().await.unwrap(), before);
}

/// A stream to S3 and one to Redshift that is being deleted; a batch that is delivered, one that is parked with its load, two that wait.
fn deliveries() -> String {
    let (s3, redshift) = (serde_json::to_string(&to_s3()), serde_json::to_string(&to_redshift("events")));
    let (s3, redshift) = (s3.unwrap(), redshift.unwrap().replace('\'', "''"));
    let target =
        serde_json::to_string(&to_redshift("events").copy_target().unwrap()).unwrap().replace('\'', "''");
    let (at, log, load) = (NOW, uuid(1), uuid(2));
    let batch = |id: u128, stream: u64, from: u64, target: &str, state: &str| {
        let name = if stream == 1 { "clicks" } else { "events" };
        format!(
            "('{}', '{name}', {stream}, 1, '{log}', {from}, {}, 7, '{at}', 'demo', 'key-{id}', {target}, {state}, '{at}', '{at}')",
            uuid(id),
            from + 10
        )
    };
    let to_table = format!("'table', '{target}'");
    let batches = [
        batch(10, 1, 0, "null, null", "'delivered', 'etag', 42, null, null"),
        batch(11, 2, 0, &to_table, &format!("'parked', 'etag', 42, '{load}', 'no such table'")),
        batch(12, 2, 10, &to_table, "'uploaded', 'etag', 42, null, null"),
        batch(13, 2, 20, &to_table, "'sealed', null, null, null, null"),
    ]
    .join(", ");
    format!(
        "begin; update meta set stream_id_last = 2, streams_revision = {REVISION}; \
         insert into streams (id, name, status, version, created_at, deleting_at, revision) values \
         (1, 'clicks', 'active', 1, '{at}', null, {REVISION}), (2, 'events', 'deleting', 1, '{at}', '{at}', {REVISION}); \
         insert into stream_versions (stream_id, version, destination, created_at) values (1, 1, '{s3}', '{at}'), \
         (2, 1, '{redshift}', '{at}'); \
         insert into logs (id, node, registered_at) values ('{log}', 'node-1', '{at}'); \
         insert into log_positions (log, stream_id, sealed_to) values ('{log}', 1, 10), ('{log}', 2, 30); \
         insert into loads (id, stream, stream_id, table_key, copy_target, bucket, manifest_key, state, attempt, statement, \
         errors_manifest_key, code, reason, planned_at, first_submitted_at, updated_at) values ('{load}', 'events', 2, 'table', \
         '{target}', 'demo', 'manifest', 'abandoned', 1, 's', 'errors', 'code', 'no such table', '{at}', '{at}', '{at}'); \
         insert into batches (id, stream, stream_id, stream_version, log, position_from, position_to, bytes, oldest_arrival, \
         bucket, object_key, table_key, copy_target, state, etag, object_bytes, load_id, reason, sealed_at, updated_at) \
         values {batches}; \
         insert into load_batches (load_id, ordinal, batch_id) values ('{load}', 0, '{parked}'); \
         insert into attempts (batch_id, step, outcome, times, started_at, ended_at) values ('{delivered}', 'put_object', \
         'failed', 3, '{at}', '{at}'), ('{delivered}', 'put_object', 'ok', 1, '{at}', '{at}'); \
         insert into attempts (load_id, step, outcome, started_at, ended_at) values ('{load}', 'copy', 'failed', '{at}', '{at}'); \
         commit",
        parked = uuid(11),
        delivered = uuid(10),
    )
}

fn uuid(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

async fn discards_on(metastore: Arc<dyn Metastore>) {
    let [delivered, parked, waiting, sealed] = [10, 11, 12, 13].map(|number| BatchId(uuid(number)));
    let (log, load) = (LogId(uuid(1)), LoadId(uuid(2)));
    let name = async |id| metastore.batch(id).await.unwrap().unwrap().state.name();
    let states = [name(delivered).await, name(parked).await, name(waiting).await, name(sealed).await];
    assert_eq!(states, ["delivered", "parked", "uploaded", "sealed"]);
    assert_eq!(metastore.load_batches(load).await.unwrap()[0].id, parked);
    let times = |attempts: Vec<(_, u64)>| attempts.into_iter().map(|(_, times)| times).collect::<Vec<_>>();
    assert_eq!(times(metastore.attempts(Subject::Batch(delivered)).await.unwrap()), [3, 1], "in their order");
    assert_eq!(times(metastore.attempts(Subject::Load(load)).await.unwrap()), [1]);
    let lease = metastore.acquire_lease(&format!("log:{log}"), "node-1", LONG).await.unwrap().unwrap();
    metastore.discard_batches(&lease, &[waiting, sealed], later(5)).await.unwrap();
    assert_eq!(metastore.unfinished_batches(StreamId(2)).await.unwrap(), 0);
    // What belongs to a batch still goes with it: all but the parked one, its load, and what belongs to them.
    assert_eq!(metastore.sweep(later(10), 100).await.unwrap(), 3);
    assert_eq!(metastore.attempts(Subject::Batch(delivered)).await.unwrap(), []);
    assert_eq!(name(parked).await, "parked");
    assert_eq!(metastore.load_batches(load).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_sqlite_from_before_discards_keeps_its_deliveries_and_discards_some() {
    let directory = Scratch::new();
    let url = old_sqlite(&directory, WITHOUT_DISCARDS, deliveries()).await;
    discards_on(open(&url, false).await.unwrap()).await;
    no_reference_is_broken(&url).await;
}

async fn no_reference_is_broken(url: &str) {
    let pool = SqlitePool::connect(url).await.unwrap();
    let broken: Vec<String> =
        sqlx::query_scalar("select \"table\" from pragma_foreign_key_check").fetch_all(&pool).await.unwrap();
    assert_eq!(broken, [""; 0]);
}

#[tokio::test]
async fn a_postgres_from_before_discards_keeps_its_deliveries_and_discards_some() {
    let url = old_postgres(WITHOUT_DISCARDS, deliveries()).await;
    discards_on(open(&url, true).await.unwrap()).await;
}

async fn has_lanes(metastore: Arc<dyn Metastore>) {
    let (log, clicks, sealed) = (LogId(uuid(1)), StreamId(1), BatchId(uuid(13)));
    let batches = metastore.batches(&Filter::default()).await.unwrap();
    assert_eq!(batches.len(), 4);
    for batch in &batches {
        assert_eq!((batch.content, batch.bytes, batch.processed_bytes), (Content::Delivery, 7, 7));
    }
    let at = |stream, sealed, uploaded| SealedTo {
        stream: StreamId(stream),
        lane: Lane::Delivery,
        sealed: Position(sealed),
        uploaded: Position(uploaded),
    };
    assert_eq!(metastore.sealed_to(log).await.unwrap(), [at(1, 10, 10), at(2, 30, 20)]);
    let lease = metastore.acquire_lease(&format!("log:{log}"), "node-1", LONG).await.unwrap().unwrap();
    // What was sealed before the change is finished as anything else.
    let sealed = batches.iter().find(|batch| batch.id == sealed).unwrap();
    let failed = failed(BatchId(uuid(99)), 3);
    let upload = Uploaded { object: None, failed: vec![failed.clone()], ..uploaded(sealed) };
    metastore.mark_uploaded(&lease, &[upload], later(9)).await.unwrap();
    assert_eq!(metastore.batch(sealed.id).await.unwrap().unwrap().state, BatchState::Empty);
    let expected = error_output(sealed, &failed, later(9));
    assert_eq!(metastore.batch(failed.id).await.unwrap(), Some(expected));
    let delivered = batches.iter().find(|batch| batch.stream == clicks).unwrap();
    let next = |id, content, from, to| Batch {
        id: BatchId(uuid(id)),
        content,
        range: PositionRange::new(Position(from), Position(to)).unwrap(),
        state: BatchState::Sealed,
        ..delivered.clone()
    };
    let both = [next(100, Content::Delivery, 10, 20), next(101, Content::Backup, 5, 20)];
    metastore.seal_batches(&lease, &both).await.unwrap();
    assert_eq!(metastore.batches_at(log, clicks, Position(7)).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_sqlite_from_before_lanes_keeps_its_deliveries_as_those_of_the_first_lane() {
    let directory = Scratch::new();
    let url = old_sqlite(&directory, WITHOUT_LANES, deliveries()).await;
    has_lanes(open(&url, false).await.unwrap()).await;
    no_reference_is_broken(&url).await;
}

#[tokio::test]
async fn a_postgres_from_before_lanes_keeps_its_deliveries_as_those_of_the_first_lane() {
    let url = old_postgres(WITHOUT_LANES, deliveries()).await;
    has_lanes(open(&url, true).await.unwrap()).await;
}
