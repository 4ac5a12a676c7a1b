//! Batches, until they are in a load.

use hydrant_types::{
    Batch, BatchId, CopyTarget, ErrorOutputType, Lane, LogId, Position, StreamId, Timestamp,
};
use sqlx::{QueryBuilder, types::Json};

use super::{
    Database,
    call::Call,
    leases,
    record_logs::{check_in_use, read_positions, write_positions},
};
use crate::{
    FailedObject, Filter, Lease, Uploaded, Waiting,
    column::{Id, number},
    discarding,
    error::Result,
    failure::undone,
    listing::{self, Listing},
    row::{self, BatchRow, WaitingRow, batch_columns, done_states, moment, read_all, version_number},
    sealing,
    sql::ROWS_MAX,
    uploading,
};

pub(super) async fn seal(call: &mut Call, log_lease: &Lease, batches: &[Batch]) -> Result<()> {
    leases::check(call, log_lease).await?;
    let lanes = sealing::lanes(batches);
    check_in_use(call, sealing::logs(&lanes)).await?;
    let ends = read_positions(call, &lanes).await?;
    let known = known(call, batches).await?;
    let plan = sealing::plan(batches, &known, &ends)?;
    write_positions(call, &plan.sealed_to).await?;
    insert(call, &plan.new).await
}

async fn known(call: &mut Call, batches: &[Batch]) -> Result<Vec<sealing::Known>> {
    let mut known = Vec::new();
    for batches in batches.chunks(ROWS_MAX) {
        let mut query = QueryBuilder::<Database>::new(
            "select id, log, stream_id, position_from, position_to, content from batches where id in ",
        );
        query.push_tuples(batches, |mut row, batch| {
            row.push_bind(Id(batch.id.0));
        });
        let rows: Vec<sealing::Known> = query
            .build_query_as()
            .persistent(false)
            .fetch_all(&mut **call)
            .await
            .map_err(undone(call.step))?;
        known.extend(rows);
    }
    Ok(known)
}

async fn insert(call: &mut Call, batches: &[&Batch]) -> Result<()> {
    for batches in batches.chunks(ROWS_MAX) {
        let mut query = QueryBuilder::<Database>::new(
            "insert into batches (id, stream, stream_id, stream_version, log, position_from, position_to, content, bytes, \
             processed_bytes, oldest_arrival, bucket, object_key, table_key, copy_target, state, sealed_at, updated_at) ",
        );
        query.push_values(batches, |mut row, batch| {
            row.push_bind(Id(batch.id.0))
                .push_bind(batch.stream_name.as_str())
                .push_bind(number(batch.stream.0))
                .push_bind(version_number(batch.stream_version))
                .push_bind(Id(batch.log.0))
                .push_bind(number(batch.range.from.0))
                .push_bind(number(batch.range.to.0))
                .push_bind(batch.content.name())
                .push_bind(number(batch.bytes))
                .push_bind(number(batch.processed_bytes))
                .push_bind(moment(batch.oldest_arrival))
                .push_bind(batch.bucket.as_str())
                .push_bind(batch.key.as_str())
                .push_bind(batch.copy_target.as_ref().map(CopyTarget::table_key))
                .push_bind(batch.copy_target.as_ref().map(Json))
                .push("'sealed'")
                .push_bind(moment(batch.sealed_at))
                .push_bind(moment(batch.sealed_at));
        });
        query.build().persistent(false).execute(&mut **call).await.map_err(undone(call.step))?;
    }
    Ok(())
}

pub(super) async fn mark_uploaded(
    call: &mut Call,
    log_lease: &Lease,
    uploaded: &[Uploaded],
    now: Timestamp,
) -> Result<()> {
    leases::check(call, log_lease).await?;
    let ids: Vec<BatchId> = uploaded.iter().map(|upload| upload.id).collect();
    let standings = standings(call, &ids).await?;
    let pending = uploading::pending(uploaded, &standings)?;
    move_uploaded(call, &pending, now).await?;
    insert_failed(call, &uploading::failed(&pending), now).await
}

async fn move_uploaded(call: &mut Call, pending: &[&Uploaded], now: Timestamp) -> Result<()> {
    for pending in pending.chunks(ROWS_MAX) {
        let mut query =
            QueryBuilder::<Database>::new("with uploaded (id, state, etag, object_bytes, moved_at) as (");
        query.push_values(pending, |mut row, upload| {
            row.push_bind(Id(upload.id.0))
                .push_bind(uploading::state_after(upload))
                .push_bind(upload.object.as_ref().map(|object| object.etag.as_str()))
                .push_bind(upload.object.as_ref().map(|object| number(object.bytes)))
                .push_bind(moment(now));
        });
        query.push(
            ") update batches set state = uploaded.state, etag = uploaded.etag, object_bytes = uploaded.object_bytes, \
             updated_at = uploaded.moved_at from uploaded where batches.id = uploaded.id",
        );
        query.build().persistent(false).execute(&mut **call).await.map_err(undone(call.step))?;
    }
    Ok(())
}

/// Inserts the rows of error output, each with what it has of the batch that it is beside.
async fn insert_failed(call: &mut Call, failed: &[(BatchId, &FailedObject)], now: Timestamp) -> Result<()> {
    for failed in failed.chunks(ROWS_MAX) {
        let mut query = QueryBuilder::<Database>::new(
            "with failed (id, beside, content, records, bytes, object_key, etag, object_bytes, delivered_at) as (",
        );
        query.push_values(failed, |mut row, (beside, failed)| {
            row.push_bind(Id(failed.id.0))
                .push_bind(Id(beside.0))
                .push_bind(failed.error.as_str())
                .push_bind(number(failed.records))
                .push_bind(number(failed.bytes))
                .push_bind(failed.key.as_str())
                .push_bind(failed.object.etag.as_str())
                .push_bind(number(failed.object.bytes))
                .push_bind(moment(now));
        });
        query.push(
            ") insert into batches (id, stream, stream_id, stream_version, log, position_from, position_to, content, failed_records, \
             bytes, processed_bytes, oldest_arrival, bucket, object_key, state, etag, object_bytes, sealed_at, updated_at) \
             select f.id, b.stream, b.stream_id, b.stream_version, b.log, b.position_from, b.position_to, f.content, f.records, \
             f.bytes, f.bytes, b.oldest_arrival, b.bucket, f.object_key, 'delivered', f.etag, f.object_bytes, b.sealed_at, \
             f.delivered_at from failed f join batches b on b.id = f.beside",
        );
        query.build().persistent(false).execute(&mut **call).await.map_err(undone(call.step))?;
    }
    Ok(())
}

/// What batches are, which stays so until the transaction ends.
async fn standings(call: &mut Call, ids: &[BatchId]) -> Result<Vec<uploading::Standing>> {
    let mut standings = Vec::with_capacity(ids.len());
    for ids in ids.chunks(ROWS_MAX) {
        let mut query =
            QueryBuilder::<Database>::new("select id, state, etag, object_bytes from batches where id in ");
        query.push_tuples(ids, |mut row, id| {
            row.push_bind(Id(id.0));
        });
        query.push(concat!(" order by id", for_update!()));
        let rows: Vec<uploading::Standing> = query
            .build_query_as()
            .persistent(false)
            .fetch_all(&mut **call)
            .await
            .map_err(undone(call.step))?;
        standings.extend(rows);
    }
    Ok(standings)
}

pub(super) async fn discard(
    call: &mut Call,
    log_lease: &Lease,
    batches: &[BatchId],
    now: Timestamp,
) -> Result<()> {
    leases::check(call, log_lease).await?;
    let standings = standings(call, batches).await?;
    for pending in discarding::pending(batches, &standings)?.chunks(ROWS_MAX) {
        let mut query =
            QueryBuilder::<Database>::new("update batches set state = 'discarded', updated_at = ");
        query.push_bind(moment(now)).push(" where id in ");
        query.push_tuples(pending, |mut row, id| {
            row.push_bind(Id(id.0));
        });
        query.build().persistent(false).execute(&mut **call).await.map_err(undone(call.step))?;
    }
    Ok(())
}

pub(super) async fn sealed(call: &mut Call, log: LogId) -> Result<Vec<Batch>> {
    let rows: Vec<BatchRow> = sqlx::query_as(concat!(
        "select ",
        batch_columns!(),
        " from batches b where b.log = $1 and b.state = 'sealed' order by b.stream_id, b.content desc, b.position_from"
    ))
    .bind(Id(log.0))
    .fetch_all(&mut **call)
    .await
    .map_err(undone(call.step))?;
    read_all(rows, BatchRow::read)
}

pub(super) async fn at(
    call: &mut Call,
    log: LogId,
    stream: StreamId,
    position: Position,
) -> Result<Vec<Batch>> {
    let contents =
        Lane::ALL.map(Lane::name).into_iter().chain(ErrorOutputType::ALL.map(ErrorOutputType::as_str));
    let mut batches = Vec::new();
    for content in contents {
        batches.extend(of_content_at(call, log, stream, content, position).await?);
    }
    Ok(batches)
}

/// Ranges of one content do not overlap, so only the last that begins there or before can hold the record.
async fn of_content_at(
    call: &mut Call,
    log: LogId,
    stream: StreamId,
    content: &'static str,
    position: Position,
) -> Result<Option<Batch>> {
    let row: Option<BatchRow> = sqlx::query_as(concat!(
        "select ",
        batch_columns!(),
        " from batches b where b.log = $1 and b.stream_id = $2 and b.content = $3 and b.position_from <= $4 \
         order by b.position_from desc limit 1"
    ))
    .bind(Id(log.0))
    .bind(number(stream.0))
    .bind(content)
    .bind(number(position.0))
    .fetch_optional(&mut **call)
    .await
    .map_err(undone(call.step))?;
    Ok(row.map(BatchRow::read).transpose()?.filter(|batch| batch.range.contains(position)))
}

pub(super) async fn by_id(call: &mut Call, id: BatchId) -> Result<Option<Batch>> {
    let row: Option<BatchRow> =
        sqlx::query_as(concat!("select ", batch_columns!(), " from batches b where b.id = $1"))
            .bind(Id(id.0))
            .fetch_optional(&mut **call)
            .await
            .map_err(undone(call.step))?;
    row.map(BatchRow::read).transpose()
}

pub(super) async fn list(call: &mut Call, filter: &Filter) -> Result<Vec<Batch>> {
    let query = match Listing::of_batches(filter) {
        Listing::OfStream { stream, state } => sqlx::query_as(concat!(
            "select ",
            batch_columns!(),
            " from batches b where b.stream = $1 and (cast($2 as text) is null or b.state = $2) \
             order by b.sealed_at desc, b.id limit $3"
        ))
        .bind(Some(stream))
        .bind(state),
        Listing::Open { state } => sqlx::query_as(concat!(
            "select ",
            batch_columns!(),
            " from batches b where b.state not in ",
            done_states!(),
            " and b.state = $1 \
             and cast($2 as text) is null order by b.sealed_at desc, b.id limit $3"
        ))
        .bind(Some(state))
        .bind(None::<&str>),
        Listing::OfAll { state } => sqlx::query_as(concat!(
            "select ",
            batch_columns!(),
            " from batches b where (cast($1 as text) is null or b.state = $1) \
             and cast($2 as text) is null order by b.sealed_at desc, b.id limit $3"
        ))
        .bind(state)
        .bind(None::<&str>),
    };
    let rows: Vec<BatchRow> =
        query.bind(listing::limit(filter)).fetch_all(&mut **call).await.map_err(undone(call.step))?;
    read_all(rows, BatchRow::read)
}

pub(super) async fn unfinished(call: &mut Call, stream: StreamId) -> Result<u64> {
    let count: i64 = sqlx::query_scalar(concat!(
        "select count(*) from batches where state not in ",
        done_states!(),
        " and state in ('sealed', 'uploaded', 'in_load') and stream_id = $1"
    ))
    .bind(number(stream.0))
    .fetch_one(&mut **call)
    .await
    .map_err(undone(call.step))?;
    row::revision(count)
}

pub(super) async fn waiting(call: &mut Call) -> Result<Vec<Waiting>> {
    let rows: Vec<WaitingRow> = sqlx::query_as(concat!(
        "select stream_id, copy_target, count(*) as batches, min(oldest_arrival) as oldest_arrival from batches \
         where state not in ",
        done_states!(),
        " and state = 'uploaded' group by stream_id, copy_target order by 4, 1, min(sealed_at)"
    ))
    .fetch_all(&mut **call)
    .await
    .map_err(undone(call.step))?;
    Ok(row::merge_equal_targets(read_all(rows, WaitingRow::read)?))
}

pub(super) async fn waiting_of(
    call: &mut Call,
    stream: StreamId,
    target: &CopyTarget,
    limit: u32,
) -> Result<Vec<Batch>> {
    let spellings = spellings(call, stream, target).await?;
    if spellings.is_empty() {
        return Ok(Vec::new());
    }
    let mut query = QueryBuilder::<Database>::new(concat!(
        "select ",
        batch_columns!(),
        " from batches b where b.state not in ",
        done_states!(),
        " and b.state = 'uploaded' and b.stream_id = "
    ));
    query.push_bind(number(stream.0)).push(" and cast(b.copy_target as text) in ");
    query.push_tuples(spellings, |mut row, spelling| {
        row.push_bind(spelling);
    });
    query.push(" order by b.oldest_arrival, b.log, b.position_from limit ").push_bind(i64::from(limit));
    let rows: Vec<BatchRow> =
        query.build_query_as().persistent(false).fetch_all(&mut **call).await.map_err(undone(call.step))?;
    read_all(rows, BatchRow::read)
}

/// The ways in which a target is written in the stream's waiting batches: an older version of this program may have left a member out
/// that has its default here, and those batches wait for the same load.
async fn spellings(call: &mut Call, stream: StreamId, target: &CopyTarget) -> Result<Vec<String>> {
    let written: Vec<(String, Json<CopyTarget>)> = sqlx::query_as(concat!(
        "select cast(copy_target as text), copy_target from batches where state not in ",
        done_states!(),
        " and state = 'uploaded' and stream_id = $1 group by copy_target"
    ))
    .bind(number(stream.0))
    .fetch_all(&mut **call)
    .await
    .map_err(undone(call.step))?;
    Ok(written.into_iter().filter(|(_, read)| read.0 == *target).map(|(text, _)| text).collect())
}
