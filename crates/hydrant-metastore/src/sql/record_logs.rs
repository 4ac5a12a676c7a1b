//! Record logs, and how far they are sealed.

use std::collections::{BTreeMap, HashMap};

use hydrant_types::{Lane, LogId, MetastoreId, Position, StreamId, Timestamp};
use sqlx::QueryBuilder;

use super::{Database, call::Call};
use crate::{
    Error, RegisteredLog, SealedTo,
    column::{Id, number},
    error::Result,
    failure::undone,
    row::{LogRow, PositionRow, SealedToRow, moment, read_all},
    sealing::LogLane,
    sql::ROWS_MAX,
};

pub(super) async fn metastore_id(call: &mut Call) -> Result<MetastoreId> {
    let id: Id = sqlx::query_scalar("select metastore_id from meta")
        .fetch_one(&mut **call)
        .await
        .map_err(undone(call.step))?;
    Ok(MetastoreId(id.0))
}

/// The newest migration that was applied.
pub(super) async fn schema_version(call: &mut Call) -> Result<i64> {
    let version: Option<i64> = sqlx::query_scalar("select max(version) from _sqlx_migrations where success")
        .fetch_one(&mut **call)
        .await
        .map_err(undone(call.step))?;
    Ok(version.unwrap_or(0))
}

pub(super) async fn register(call: &mut Call, log: LogId, node: &str, now: Timestamp) -> Result<()> {
    sqlx::query(
        "insert into logs (id, node, registered_at) values ($1, $2, $3) on conflict (id) do update set node = $2",
    )
    .bind(Id(log.0))
    .bind(node)
    .bind(moment(now))
    .execute(&mut **call)
    .await
    .map(drop)
    .map_err(undone(call.step))
}

pub(super) async fn all(call: &mut Call) -> Result<Vec<RegisteredLog>> {
    let rows: Vec<LogRow> =
        sqlx::query_as("select id, node, registered_at, retired_at from logs order by registered_at, id")
            .fetch_all(&mut **call)
            .await
            .map_err(undone(call.step))?;
    Ok(rows.into_iter().map(LogRow::read).collect())
}

pub(super) async fn retire(call: &mut Call, log: LogId, now: Timestamp) -> Result<()> {
    // First the log: who seals from it waits for this transaction, or this one for it, and sees its batches.
    let known = sqlx::query("update logs set retired_at = coalesce(retired_at, $2) where id = $1")
        .bind(Id(log.0))
        .bind(moment(now))
        .execute(&mut **call)
        .await
        .map_err(undone(call.step))?;
    if known.rows_affected() == 0 {
        return Err(Error::UnknownLog(log));
    }
    sqlx::query("update batches set state = 'lost', updated_at = $2 where log = $1 and state = 'sealed'")
        .bind(Id(log.0))
        .bind(moment(now))
        .execute(&mut **call)
        .await
        .map(drop)
        .map_err(undone(call.step))
}

/// Checks that logs are registered and not retired, and keeps them so until the transaction ends.
pub(super) async fn check_in_use(call: &mut Call, logs: impl Iterator<Item = LogId>) -> Result<()> {
    for log in logs {
        let in_use: Option<bool> =
            sqlx::query_scalar(concat!("select retired_at is null from logs where id = $1", for_share!()))
                .bind(Id(log.0))
                .fetch_optional(&mut **call)
                .await
                .map_err(undone(call.step))?;
        if in_use != Some(true) {
            return Err(Error::UnknownLog(log));
        }
    }
    Ok(())
}

pub(super) async fn sealed_to(call: &mut Call, log: LogId) -> Result<Vec<SealedTo>> {
    let rows: Vec<SealedToRow> = sqlx::query_as(
        "select p.stream_id, p.lane, p.sealed_to, (select min(b.position_from) from batches b \
         where b.log = p.log and b.stream_id = p.stream_id and b.content = p.lane and b.state = 'sealed') as unsent_from \
         from log_positions p where p.log = $1 order by p.stream_id, p.lane desc",
    )
    .bind(Id(log.0))
    .fetch_all(&mut **call)
    .await
    .map_err(undone(call.step))?;
    read_all(rows, SealedToRow::read)
}

pub(super) async fn set_sealed_to(
    call: &mut Call,
    log: LogId,
    positions: &[(StreamId, Lane, Position)],
) -> Result<()> {
    check_in_use(call, std::iter::once(log)).await?;
    let ends = positions.iter().filter(|(.., sealed)| sealed.0 > 0);
    write_positions(call, &ends.map(|(stream, lane, sealed)| ((log, *stream, *lane), *sealed)).collect())
        .await
}

/// Where lanes are sealed to; those that are not in the answer were never sealed.
pub(super) async fn read_positions(call: &mut Call, lanes: &[LogLane]) -> Result<HashMap<LogLane, Position>> {
    let mut ends = HashMap::with_capacity(lanes.len());
    for lanes in lanes.chunks(ROWS_MAX) {
        let mut query = QueryBuilder::<Database>::new("with lanes (log, stream_id, lane) as (");
        query.push_values(lanes, |mut row, (log, stream, lane)| {
            row.push_bind(Id(log.0)).push_bind(number(stream.0)).push_bind(lane.name());
        });
        query.push(concat!(
            ") select p.log, p.stream_id, p.lane, p.sealed_to from lanes join log_positions p \
             on p.log = lanes.log and p.stream_id = lanes.stream_id and p.lane = lanes.lane \
             order by p.log, p.stream_id, p.lane",
            for_update!()
        ));
        let rows: Vec<PositionRow> = query
            .build_query_as()
            .persistent(false)
            .fetch_all(&mut **call)
            .await
            .map_err(undone(call.step))?;
        ends.extend(read_all(rows, PositionRow::read)?);
    }
    Ok(ends)
}

pub(super) async fn write_positions(call: &mut Call, ends: &BTreeMap<LogLane, Position>) -> Result<()> {
    let ends: Vec<_> = ends.iter().collect();
    for ends in ends.chunks(ROWS_MAX) {
        let mut query =
            QueryBuilder::<Database>::new("insert into log_positions (log, stream_id, lane, sealed_to) ");
        query.push_values(ends, |mut row, ((log, stream, lane), end)| {
            row.push_bind(Id(log.0))
                .push_bind(number(stream.0))
                .push_bind(lane.name())
                .push_bind(number(end.0));
        });
        query.push(" on conflict (log, stream_id, lane) do update set sealed_to = excluded.sealed_to");
        query.build().persistent(false).execute(&mut **call).await.map_err(undone(call.step))?;
    }
    Ok(())
}
