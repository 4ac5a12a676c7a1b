//! Streams and their versions.

use hydrant_types::{
    Destination, Stream, StreamId, StreamName, StreamStatus, StreamVersion, Timestamp, limits,
};
use sqlx::types::Json;

use super::call::Call;
use crate::{
    Error,
    column::number,
    error::Result,
    failure::undone,
    row::{self, StreamRow, moment, read_all, stream_columns, version_number},
};

pub(super) async fn create(
    call: &mut Call,
    name: &StreamName,
    destination: &Destination,
    now: Timestamp,
) -> Result<Stream> {
    // Taken first: whoever adds a stream waits for the others here.
    let id: i64 = sqlx::query_scalar(
        "update meta set stream_id_last = stream_id_last + 1, streams_revision = streams_revision + 1 returning stream_id_last",
    )
    .fetch_one(&mut **call)
    .await
    .map_err(undone(call.step))?;
    check_free(call, name).await?;
    let count: i64 = sqlx::query_scalar("select count(*) from streams where status <> 'removed'")
        .fetch_one(&mut **call)
        .await
        .map_err(undone(call.step))?;
    if count >= limits::STREAMS_MAX as i64 {
        return Err(Error::TooManyStreams(limits::STREAMS_MAX));
    }
    let stream = Stream {
        id: row::stream_id(id)?,
        name: name.clone(),
        status: StreamStatus::Active,
        version: StreamVersion::FIRST,
        destination: destination.clone(),
        created_at: now,
        updated_at: None,
    };
    insert(call, &stream).await?;
    Ok(stream)
}

pub(super) async fn import(call: &mut Call, stream: &Stream) -> Result<()> {
    // Also where nothing is changed by it: whoever adds a stream waits for the others here.
    sqlx::query(
        "update meta set streams_revision = streams_revision + 1, \
         stream_id_last = case when stream_id_last < $1 then $1 else stream_id_last end",
    )
    .bind(number(stream.id.0))
    .execute(&mut **call)
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
            insert(call, stream).await
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

async fn insert(call: &mut Call, stream: &Stream) -> Result<()> {
    // The version refers to its stream, the stream to its version: the second is checked at commit.
    sqlx::query(
        "insert into streams (id, name, status, version, created_at, updated_at, deleting_at) \
         values ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(number(stream.id.0))
    .bind(stream.name.as_str())
    .bind(row::status_name(stream.status))
    .bind(version_number(stream.version))
    .bind(moment(stream.created_at))
    .bind(stream.updated_at.map(moment))
    .bind((stream.status == StreamStatus::Deleting).then(|| moment(stream.created_at)))
    .execute(&mut **call)
    .await
    .map_err(undone(call.step))?;
    sqlx::query(
        "insert into stream_versions (stream_id, version, destination, created_at) values ($1, $2, $3, $4)",
    )
    .bind(number(stream.id.0))
    .bind(version_number(stream.version))
    .bind(Json(&stream.destination))
    .bind(moment(stream.updated_at.unwrap_or(stream.created_at)))
    .execute(&mut **call)
    .await
    .map(drop)
    .map_err(undone(call.step))
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

pub(super) async fn mark_deleting(call: &mut Call, stream: StreamId, now: Timestamp) -> Result<()> {
    if status(call, stream).await? != "active" {
        return Ok(());
    }
    sqlx::query("update streams set status = 'deleting', deleting_at = $2 where id = $1")
        .bind(number(stream.0))
        .bind(moment(now))
        .execute(&mut **call)
        .await
        .map_err(undone(call.step))?;
    count_change(call).await
}

pub(super) async fn remove(call: &mut Call, stream: StreamId, now: Timestamp) -> Result<()> {
    match status(call, stream).await?.as_str() {
        "deleting" => {}
        "removed" => return Ok(()),
        found => {
            return Err(Error::StreamMoved { id: stream, expected: "deleting", found: found.to_owned() });
        }
    }
    sqlx::query("update streams set status = 'removed', removed_at = $2 where id = $1")
        .bind(number(stream.0))
        .bind(moment(now))
        .execute(&mut **call)
        .await
        .map_err(undone(call.step))?;
    count_change(call).await
}

/// A stream's status, which stays as it is until the transaction ends.
async fn status(call: &mut Call, stream: StreamId) -> Result<String> {
    let status: Option<String> =
        sqlx::query_scalar(concat!("select status from streams where id = $1", for_update!()))
            .bind(number(stream.0))
            .fetch_optional(&mut **call)
            .await
            .map_err(undone(call.step))?;
    status.ok_or_else(|| Error::NoSuchStream(stream.to_string()))
}

async fn count_change(call: &mut Call) -> Result<()> {
    sqlx::query("update meta set streams_revision = streams_revision + 1")
        .execute(&mut **call)
        .await
        .map(drop)
        .map_err(undone(call.step))
}
