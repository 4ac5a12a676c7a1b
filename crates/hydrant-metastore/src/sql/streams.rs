//! Streams and their versions.

use hydrant_types::{
    Destination, Stream, StreamId, StreamName, StreamStatus, StreamVersion, Timestamp, limits,
};
use sqlx::types::Json;

use super::call::Call;
use crate::{
    Error, NewStream, StreamChanges,
    column::number,
    error::Result,
    failure::undone,
    row::{self, ChangedStreamRow, StreamRow, moment, read_all, stream_columns, version_number},
};

pub(super) async fn create(call: &mut Call, new: &NewStream, now: Timestamp) -> Result<Stream> {
    // Taken first: whoever adds a stream waits for the others here.
    let (id, revision): (i64, i64) = sqlx::query_as(
        "update meta set stream_id_last = stream_id_last + 1, streams_revision = streams_revision + 1 \
         returning stream_id_last, streams_revision",
    )
    .fetch_one(&mut **call)
    .await
    .map_err(undone(call.step))?;
    if new.tags.len() > limits::STREAM_TAGS_MAX {
        return Err(Error::TooManyTags(limits::STREAM_TAGS_MAX));
    }
    check_free(call, &new.name).await?;
    let count: i64 = sqlx::query_scalar("select count(*) from streams where status <> 'removed'")
        .fetch_one(&mut **call)
        .await
        .map_err(undone(call.step))?;
    if count >= limits::STREAMS_MAX as i64 {
        return Err(Error::TooManyStreams(limits::STREAMS_MAX));
    }
    let stream = Stream {
        id: row::stream_id(id)?,
        name: new.name.clone(),
        status: StreamStatus::Active,
        version: StreamVersion::FIRST,
        destination: new.destination.clone(),
        created_at: now,
        updated_at: None,
        tags: new.tags.clone(),
        encryption: new.encryption.clone(),
        declared_in: new.declared_in.clone(),
    };
    insert(call, &stream, revision).await?;
    Ok(stream)
}

pub(super) async fn import(call: &mut Call, stream: &Stream) -> Result<()> {
    // Also where nothing is changed by it: whoever adds a stream waits for the others here.
    let revision: i64 = sqlx::query_scalar(
        "update meta set streams_revision = streams_revision + 1, \
         stream_id_last = case when stream_id_last < $1 then $1 else stream_id_last end \
         returning streams_revision",
    )
    .bind(number(stream.id.0))
    .fetch_one(&mut **call)
    .await
    .map_err(undone(call.step))?;
    let there: Option<String> = sqlx::query_scalar("select name from streams where id = $1")
        .bind(number(stream.id.0))
        .fetch_optional(&mut **call)
        .await
        .map_err(undone(call.step))?;
    match there {
        Some(name) if name == stream.name.as_str() => Ok(()),
        Some(name) => Err(Error::StreamMoved {
            id: stream.id,
            expected: "unknown or of the same name",
            found: format!("the id of {name}"),
        }),
        None => {
            check_free(call, &stream.name).await?;
            insert(call, stream, revision).await
        }
    }
}

async fn check_free(call: &mut Call, name: &StreamName) -> Result<()> {
    let taken: bool =
        sqlx::query_scalar("select exists (select 1 from streams where name = $1 and status <> 'removed')")
            .bind(name.as_str())
            .fetch_one(&mut **call)
            .await
            .map_err(undone(call.step))?;
    if taken { Err(Error::StreamExists(name.clone())) } else { Ok(()) }
}

async fn insert(call: &mut Call, stream: &Stream, revision: i64) -> Result<()> {
    // The version refers to its stream, the stream to its version: the second is checked at commit.
    sqlx::query(
        "insert into streams (id, name, status, version, created_at, updated_at, deleting_at, revision, tags, encryption, declared_in) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(number(stream.id.0))
    .bind(stream.name.as_str())
    .bind(row::status_name(stream.status))
    .bind(version_number(stream.version))
    .bind(moment(stream.created_at))
    .bind(stream.updated_at.map(moment))
    .bind((stream.status == StreamStatus::Deleting).then(|| moment(stream.created_at)))
    .bind(revision)
    .bind(Json(&stream.tags))
    .bind(Json(&stream.encryption))
    .bind(stream.declared_in.as_deref())
    .execute(&mut **call)
    .await
    .map_err(undone(call.step))?;
    let since = stream.updated_at.unwrap_or(stream.created_at);
    insert_version(call, stream.id, stream.version, &stream.destination, since).await
}

pub(super) async fn insert_version(
    call: &mut Call,
    stream: StreamId,
    version: StreamVersion,
    destination: &Destination,
    since: Timestamp,
) -> Result<()> {
    sqlx::query(
        "insert into stream_versions (stream_id, version, destination, created_at) values ($1, $2, $3, $4)",
    )
    .bind(number(stream.0))
    .bind(version_number(version))
    .bind(Json(destination))
    .bind(moment(since))
    .execute(&mut **call)
    .await
    .map(drop)
    .map_err(undone(call.step))
}

pub(super) async fn by_id(call: &mut Call, id: StreamId) -> Result<Stream> {
    let row: Option<StreamRow> = sqlx::query_as(concat!(
        "select ",
        stream_columns!(),
        " from streams s join stream_versions v on v.stream_id = s.id and v.version = s.version where s.id = $1"
    ))
    .bind(number(id.0))
    .fetch_optional(&mut **call)
    .await
    .map_err(undone(call.step))?;
    row.ok_or_else(|| Error::NoSuchStream(id.to_string()))?.read()
}

pub(super) async fn by_name(call: &mut Call, name: &StreamName) -> Result<Option<Stream>> {
    let row: Option<StreamRow> = sqlx::query_as(concat!(
        "select ",
        stream_columns!(),
        " from streams s join stream_versions v on v.stream_id = s.id and v.version = s.version \
         where s.name = $1 and s.status <> 'removed'"
    ))
    .bind(name.as_str())
    .fetch_optional(&mut **call)
    .await
    .map_err(undone(call.step))?;
    row.map(StreamRow::read).transpose()
}

pub(super) async fn all(call: &mut Call) -> Result<Vec<Stream>> {
    let rows: Vec<StreamRow> = sqlx::query_as(concat!(
        "select ",
        stream_columns!(),
        " from streams s join stream_versions v on v.stream_id = s.id and v.version = s.version \
         where s.status <> 'removed' order by s.name"
    ))
    .fetch_all(&mut **call)
    .await
    .map_err(undone(call.step))?;
    read_all(rows, StreamRow::read)
}

pub(super) async fn destination(
    call: &mut Call,
    stream: StreamId,
    version: StreamVersion,
) -> Result<Option<Destination>> {
    let destination: Option<Json<Destination>> =
        sqlx::query_scalar("select destination from stream_versions where stream_id = $1 and version = $2")
            .bind(number(stream.0))
            .bind(version_number(version))
            .fetch_optional(&mut **call)
            .await
            .map_err(undone(call.step))?;
    Ok(destination.map(|json| json.0))
}

pub(super) async fn revision(call: &mut Call) -> Result<u64> {
    let revision: i64 = sqlx::query_scalar("select streams_revision from meta")
        .fetch_one(&mut **call)
        .await
        .map_err(undone(call.step))?;
    row::revision(revision)
}

pub(super) async fn changed(call: &mut Call, since: u64) -> Result<StreamChanges> {
    // Where no row follows, nothing changed after `since`, and so neither up to this revision.
    let now = revision(call).await?;
    if now == since {
        return Ok(StreamChanges { revision: now, changed: Vec::new(), removed: Vec::new() });
    }
    // Who begins knows of none that could be gone.
    let rows: Vec<ChangedStreamRow> = sqlx::query_as(concat!(
        "select m.streams_revision as revision, ",
        stream_columns!(),
        " from meta m join streams s on s.revision > $1 \
         join stream_versions v on v.stream_id = s.id and v.version = s.version \
         where s.status <> 'removed' or $1 > 0 order by s.name, s.id"
    ))
    .bind(number(since))
    .fetch_all(&mut **call)
    .await
    .map_err(undone(call.step))?;
    row::read_changes(now, rows)
}

/// A change takes its revision here and holds the counter until it is committed, so that revisions become visible in their order: a
/// snapshot that has one has every change before it.
pub(super) async fn next_revision(call: &mut Call) -> Result<i64> {
    sqlx::query_scalar("update meta set streams_revision = streams_revision + 1 returning streams_revision")
        .fetch_one(&mut **call)
        .await
        .map_err(undone(call.step))
}
