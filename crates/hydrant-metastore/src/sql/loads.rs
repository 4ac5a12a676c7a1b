//! Loads and their batches.

use hydrant_types::{Batch, BatchId, BucketName, Load, LoadId, LoadState, ObjectKey, Timestamp};
use sqlx::{QueryBuilder, types::Json};

use super::{Database, attempts, call::Call, leases};
use crate::{
    Attempt, Error, Filter, Lease, NewLoad,
    column::{Id, number},
    error::Result,
    failure::undone,
    listing::{self, Listing},
    load_change::{self, Change},
    row::{BatchRow, LoadColumns, LoadRow, ObjectRow, batch_columns, load_columns, moment, read_all},
    sql::ROWS_MAX,
};

pub(super) async fn plan(call: &mut Call, table_lease: &Lease, new: &NewLoad) -> Result<()> {
    leases::check(call, table_lease).await?;
    let existing = locked(call, new.load.id).await?;
    let taken = batch_ids(call, new.load.id).await?;
    if load_change::planning(existing.as_ref().map(|load| (load, taken.as_slice())), new)? == Change::Made {
        return Ok(());
    }
    check_table_free(call, &new.load).await?;
    load_change::check_uploaded(new, &candidates(call, &new.batches).await?)?;
    insert(call, &new.load).await?;
    insert_batches(call, new).await?;
    take_batches(call, new).await
}

/// The batches of a load in manifest order.
async fn batch_ids(call: &mut Call, load: LoadId) -> Result<Vec<BatchId>> {
    let ids: Vec<Id> =
        sqlx::query_scalar("select batch_id from load_batches where load_id = $1 order by ordinal")
            .bind(Id(load.0))
            .fetch_all(&mut **call)
            .await
            .map_err(undone(call.step))?;
    Ok(ids.into_iter().map(|id| BatchId(id.0)).collect())
}

async fn check_table_free(call: &mut Call, load: &Load) -> Result<()> {
    let other: Option<(Id, String)> = sqlx::query_as(
        "select id, state from loads where table_key = $1 and state in ('planned', 'submitted') limit 1",
    )
    .bind(load.target.table_key())
    .fetch_optional(&mut **call)
    .await
    .map_err(undone(call.step))?;
    other.map_or(Ok(()), |(id, state)| Err(load_change::still_loading(LoadId(id.0), &state)))
}

async fn candidates(call: &mut Call, batches: &[BatchId]) -> Result<Vec<load_change::Candidate>> {
    let mut candidates = Vec::with_capacity(batches.len());
    for batches in batches.chunks(ROWS_MAX) {
        let mut query =
            QueryBuilder::<Database>::new("select id, stream_id, state from batches where id in ");
        query.push_tuples(batches, |mut row, id| {
            row.push_bind(Id(id.0));
        });
        query.push(concat!(" order by id", for_update!()));
        let rows: Vec<load_change::Candidate> = query
            .build_query_as()
            .persistent(false)
            .fetch_all(&mut **call)
            .await
            .map_err(undone(call.step))?;
        candidates.extend(rows);
    }
    Ok(candidates)
}

async fn insert(call: &mut Call, load: &Load) -> Result<()> {
    let columns = LoadColumns::from(&load.state);
    sqlx::query(
        "insert into loads (id, stream, stream_id, table_key, copy_target, bucket, manifest_key, state, attempt, token, \
         not_before, statement, planned_at, first_submitted_at, unreachable_ms, updated_at) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
    )
    .bind(Id(load.id.0))
    .bind(load.stream_name.as_str())
    .bind(number(load.stream.0))
    .bind(load.target.table_key())
    .bind(Json(&load.target))
    .bind(load.bucket.as_str())
    .bind(load.manifest_key.as_str())
    .bind(columns.state)
    .bind(columns.attempt)
    .bind(columns.token)
    .bind(columns.not_before)
    .bind(columns.statement)
    .bind(moment(load.planned_at))
    .bind(load.first_submitted_at.map(moment))
    .bind(number(load.unreachable_ms))
    .bind(moment(load.updated_at))
    .execute(&mut **call)
    .await
    .map(drop)
    .map_err(undone(call.step))
}

async fn insert_batches(call: &mut Call, new: &NewLoad) -> Result<()> {
    let rows: Vec<_> = new.batches.iter().enumerate().collect();
    for rows in rows.chunks(ROWS_MAX) {
        let mut query =
            QueryBuilder::<Database>::new("insert into load_batches (load_id, ordinal, batch_id) ");
        query.push_values(rows, |mut row, (ordinal, batch)| {
            row.push_bind(Id(new.load.id.0)).push_bind(*ordinal as i64).push_bind(Id(batch.0));
        });
        query.build().persistent(false).execute(&mut **call).await.map_err(undone(call.step))?;
    }
    Ok(())
}

async fn take_batches(call: &mut Call, new: &NewLoad) -> Result<()> {
    sqlx::query(
        "update batches set state = 'in_load', load_id = $1, updated_at = $2 \
         where id in (select batch_id from load_batches where load_id = $1)",
    )
    .bind(Id(new.load.id.0))
    .bind(moment(new.load.updated_at))
    .execute(&mut **call)
    .await
    .map(drop)
    .map_err(undone(call.step))
}

/// What [`advance`] is to do.
pub(super) struct Advance<'a> {
    pub(super) load: LoadId,
    pub(super) expected: &'a LoadState,
    pub(super) next: &'a LoadState,
    pub(super) attempt: Option<&'a Attempt>,
    pub(super) now: Timestamp,
}

pub(super) async fn advance(call: &mut Call, table_lease: &Lease, advance: Advance<'_>) -> Result<()> {
    leases::check(call, table_lease).await?;
    let current = locked(call, advance.load).await?;
    let change = load_change::advancing(advance.load, current.as_ref(), advance.expected, advance.next)?;
    if change == Change::Made {
        return Ok(());
    }
    write_state(call, &advance).await?;
    end_batches(call, &advance).await?;
    match advance.attempt {
        Some(attempt) => attempts::add(call, std::slice::from_ref(attempt)).await,
        None => Ok(()),
    }
}

async fn write_state(call: &mut Call, advance: &Advance<'_>) -> Result<()> {
    let columns = LoadColumns::from(advance.next);
    sqlx::query(
        "update loads set state = $2, attempt = $3, token = $4, not_before = $5, \
         statement = case when $6 then statement else $7 end, rows = $8, errors_manifest_key = $9, code = $10, reason = $11, \
         first_submitted_at = case when $12 then coalesce(first_submitted_at, $13) else first_submitted_at end, \
         updated_at = $13 where id = $1",
    )
    .bind(Id(advance.load.0))
    .bind(columns.state)
    .bind(columns.attempt)
    .bind(columns.token)
    .bind(columns.not_before)
    .bind(advance.next.is_done())
    .bind(columns.statement)
    .bind(columns.rows)
    .bind(columns.errors_manifest_key)
    .bind(columns.code)
    .bind(columns.reason)
    .bind(matches!(advance.next, LoadState::Submitted { .. }))
    .bind(moment(advance.now))
    .execute(&mut **call)
    .await
    .map(drop)
    .map_err(undone(call.step))
}

async fn end_batches(call: &mut Call, advance: &Advance<'_>) -> Result<()> {
    let Some((state, reason)) = load_change::state_of_batches(advance.next) else { return Ok(()) };
    sqlx::query(
        "update batches set state = $2, reason = $3, updated_at = $4 where load_id = $1 and state = 'in_load'",
    )
    .bind(Id(advance.load.0))
    .bind(state)
    .bind(reason)
    .bind(moment(advance.now))
    .execute(&mut **call)
    .await
    .map(drop)
    .map_err(undone(call.step))
}

pub(super) async fn add_unreachable(
    call: &mut Call,
    table_lease: &Lease,
    load: LoadId,
    millis: u64,
) -> Result<()> {
    leases::check(call, table_lease).await?;
    let done = sqlx::query(
        "update loads set unreachable_ms = unreachable_ms + $2 where id = $1 and state in ('planned', 'submitted')",
    )
    .bind(Id(load.0))
    .bind(number(millis))
    .execute(&mut **call)
    .await
    .map_err(undone(call.step))?;
    match done.rows_affected() {
        0 => Err(Error::LoadMoved {
            id: load,
            expected: "under way".to_owned(),
            found: "done or gone".to_owned(),
        }),
        _ => Ok(()),
    }
}

async fn locked(call: &mut Call, id: LoadId) -> Result<Option<Load>> {
    let row: Option<LoadRow> =
        sqlx::query_as(concat!("select ", load_columns!(), " from loads l where l.id = $1", for_update!()))
            .bind(Id(id.0))
            .fetch_optional(&mut **call)
            .await
            .map_err(undone(call.step))?;
    row.map(LoadRow::read).transpose()
}

pub(super) async fn unfinished(call: &mut Call) -> Result<Vec<Load>> {
    let rows: Vec<LoadRow> = sqlx::query_as(concat!(
        "select ",
        load_columns!(),
        " from loads l where l.state in ('planned', 'submitted') order by l.planned_at, l.id"
    ))
    .fetch_all(&mut **call)
    .await
    .map_err(undone(call.step))?;
    read_all(rows, LoadRow::read)
}

pub(super) async fn by_id(call: &mut Call, id: LoadId) -> Result<Option<Load>> {
    let row: Option<LoadRow> =
        sqlx::query_as(concat!("select ", load_columns!(), " from loads l where l.id = $1"))
            .bind(Id(id.0))
            .fetch_optional(&mut **call)
            .await
            .map_err(undone(call.step))?;
    row.map(LoadRow::read).transpose()
}

pub(super) async fn batches(call: &mut Call, id: LoadId) -> Result<Vec<Batch>> {
    let rows: Vec<BatchRow> = sqlx::query_as(concat!(
        "select ",
        batch_columns!(),
        " from load_batches lb join batches b on b.id = lb.batch_id where lb.load_id = $1 order by lb.ordinal"
    ))
    .bind(Id(id.0))
    .fetch_all(&mut **call)
    .await
    .map_err(undone(call.step))?;
    read_all(rows, BatchRow::read)
}

pub(super) async fn objects(call: &mut Call, id: LoadId) -> Result<Vec<(BucketName, ObjectKey)>> {
    let rows: Vec<ObjectRow> = sqlx::query_as(
        "select b.bucket, b.object_key from load_batches lb join batches b on b.id = lb.batch_id \
         where lb.load_id = $1 order by lb.ordinal",
    )
    .bind(Id(id.0))
    .fetch_all(&mut **call)
    .await
    .map_err(undone(call.step))?;
    read_all(rows, ObjectRow::read)
}

pub(super) async fn of_batch(call: &mut Call, id: BatchId) -> Result<Vec<Load>> {
    let rows: Vec<LoadRow> = sqlx::query_as(concat!(
        "select ",
        load_columns!(),
        " from load_batches lb join loads l on l.id = lb.load_id where lb.batch_id = $1 \
         order by l.planned_at desc, l.id"
    ))
    .bind(Id(id.0))
    .fetch_all(&mut **call)
    .await
    .map_err(undone(call.step))?;
    read_all(rows, LoadRow::read)
}

pub(super) async fn list(call: &mut Call, filter: &Filter) -> Result<Vec<Load>> {
    let query = match Listing::of_loads(filter) {
        Listing::OfStream { stream, state } => sqlx::query_as(concat!(
            "select ",
            load_columns!(),
            " from loads l where l.stream = $1 and (cast($2 as text) is null or l.state = $2) \
             order by l.planned_at desc, l.id limit $3"
        ))
        .bind(Some(stream))
        .bind(state),
        Listing::Open { state } => sqlx::query_as(concat!(
            "select ",
            load_columns!(),
            " from loads l where l.state in ('planned', 'submitted') and l.state = $1 \
             and cast($2 as text) is null order by l.planned_at desc, l.id limit $3"
        ))
        .bind(Some(state))
        .bind(None::<&str>),
        Listing::OfAll { state } => sqlx::query_as(concat!(
            "select ",
            load_columns!(),
            " from loads l where (cast($1 as text) is null or l.state = $1) \
             and cast($2 as text) is null order by l.planned_at desc, l.id limit $3"
        ))
        .bind(state)
        .bind(None::<&str>),
    };
    let rows: Vec<LoadRow> =
        query.bind(listing::limit(filter)).fetch_all(&mut **call).await.map_err(undone(call.step))?;
    read_all(rows, LoadRow::read)
}
