//! Changes of streams that exist: each locks the stream's row, looks whether the change starts from what is there, and counts the
//! streams' revision.

use hydrant_types::{
    Destination, Stream, StreamEncryption, StreamId, StreamOptions, StreamVersion, Tags, Timestamp, limits,
};
use sqlx::types::Json;

use super::{
    call::Call,
    streams::{by_id, insert_version, next_revision},
};
use crate::{
    Error,
    column::number,
    error::Result,
    failure::undone,
    row::{StandingRow, moment, version_number},
};

pub(super) async fn update_destination(
    call: &mut Call,
    stream: StreamId,
    expected: StreamVersion,
    destination: &Destination,
    now: Timestamp,
) -> Result<Stream> {
    let standing = active(call, stream).await?;
    let found = standing.version()?;
    if found != expected {
        return Err(Error::VersionMoved { id: stream, expected, found });
    }
    let version = standing.next_version()?;
    insert_version(call, stream, version, destination, now).await?;
    let revision = next_revision(call).await?;
    sqlx::query("update streams set version = $2, updated_at = $3, revision = $4 where id = $1")
        .bind(number(stream.0))
        .bind(version_number(version))
        .bind(moment(now))
        .bind(revision)
        .execute(&mut **call)
        .await
        .map_err(undone(call.step))?;
    by_id(call, stream).await
}

pub(super) async fn change_tags(
    call: &mut Call,
    stream: StreamId,
    set: &Tags,
    remove: &[String],
) -> Result<()> {
    let standing = standing(call, stream).await?;
    // A deletion that does not get on can still be told to throw away what is left: only that, and it is never taken back.
    let turned = standing.status == "deleting" && StreamOptions::turns_to_discard(set, remove);
    if standing.status != "active" && !turned {
        return Err(not_active(stream, standing));
    }
    let mut tags = standing.tags().clone();
    for key in remove {
        tags.remove(key);
    }
    tags.extend(set.iter().map(|(key, value)| (key.clone(), value.clone())));
    if tags == *standing.tags() {
        return Ok(());
    }
    // Others cannot be removed any more to make room.
    if tags.len() > limits::STREAM_TAGS_MAX && !turned {
        return Err(Error::TooManyTags(limits::STREAM_TAGS_MAX));
    }
    let revision = next_revision(call).await?;
    sqlx::query("update streams set tags = $2, revision = $3 where id = $1")
        .bind(number(stream.0))
        .bind(Json(tags))
        .bind(revision)
        .execute(&mut **call)
        .await
        .map(drop)
        .map_err(undone(call.step))
}

pub(super) async fn set_encryption(
    call: &mut Call,
    stream: StreamId,
    expected: &StreamEncryption,
    next: &StreamEncryption,
) -> Result<()> {
    let standing = active(call, stream).await?;
    if standing.encryption() == next {
        return Ok(());
    }
    if standing.encryption() != expected {
        let expected = "encrypted as when the change was decided on";
        return Err(Error::StreamMoved { id: stream, expected, found: "encrypted otherwise".to_owned() });
    }
    let revision = next_revision(call).await?;
    sqlx::query("update streams set encryption = $2, revision = $3 where id = $1")
        .bind(number(stream.0))
        .bind(Json(next))
        .bind(revision)
        .execute(&mut **call)
        .await
        .map(drop)
        .map_err(undone(call.step))
}

pub(super) async fn set_declared_in(call: &mut Call, stream: StreamId, file: Option<&str>) -> Result<()> {
    let standing = standing(call, stream).await?;
    if standing.declared_in.as_deref() == file {
        return Ok(());
    }
    if standing.status == "removed" {
        return Err(Error::StreamMoved { id: stream, expected: "there", found: standing.status });
    }
    let revision = next_revision(call).await?;
    sqlx::query("update streams set declared_in = $2, revision = $3 where id = $1")
        .bind(number(stream.0))
        .bind(file)
        .bind(revision)
        .execute(&mut **call)
        .await
        .map(drop)
        .map_err(undone(call.step))
}

pub(super) async fn mark_deleting(call: &mut Call, stream: StreamId, now: Timestamp) -> Result<()> {
    let found = standing(call, stream).await?.status;
    match found.as_str() {
        "active" => {}
        "deleting" => return Ok(()),
        _ => return Err(Error::StreamMoved { id: stream, expected: "active or deleting", found }),
    }
    let revision = next_revision(call).await?;
    sqlx::query("update streams set status = 'deleting', deleting_at = $2, revision = $3 where id = $1")
        .bind(number(stream.0))
        .bind(moment(now))
        .bind(revision)
        .execute(&mut **call)
        .await
        .map(drop)
        .map_err(undone(call.step))
}

pub(super) async fn remove(call: &mut Call, stream: StreamId, now: Timestamp) -> Result<()> {
    let found = standing(call, stream).await?.status;
    match found.as_str() {
        "deleting" => {}
        "removed" => return Ok(()),
        _ => return Err(Error::StreamMoved { id: stream, expected: "deleting", found }),
    }
    let revision = next_revision(call).await?;
    sqlx::query("update streams set status = 'removed', removed_at = $2, revision = $3 where id = $1")
        .bind(number(stream.0))
        .bind(moment(now))
        .bind(revision)
        .execute(&mut **call)
        .await
        .map(drop)
        .map_err(undone(call.step))
}

/// What a stream is, which stays so until the transaction ends.
async fn standing(call: &mut Call, stream: StreamId) -> Result<StandingRow> {
    let row: Option<StandingRow> = sqlx::query_as(concat!(
        "select status, version, tags, encryption, declared_in from streams where id = $1",
        for_update!()
    ))
    .bind(number(stream.0))
    .fetch_optional(&mut **call)
    .await
    .map_err(undone(call.step))?;
    row.ok_or_else(|| Error::NoSuchStream(stream.to_string()))
}

/// What an active stream is.
async fn active(call: &mut Call, stream: StreamId) -> Result<StandingRow> {
    let standing = standing(call, stream).await?;
    match standing.status.as_str() {
        "active" => Ok(standing),
        _ => Err(not_active(stream, standing)),
    }
}

fn not_active(stream: StreamId, standing: StandingRow) -> Error {
    Error::StreamMoved { id: stream, expected: "active", found: standing.status }
}
