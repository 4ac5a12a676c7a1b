//! Attempts, for people.

use std::collections::HashSet;

use sqlx::QueryBuilder;
use uuid::Uuid;

use super::{Database, call::Call};
use crate::{
    Attempt, Subject,
    attempt_runs::{self, Runs},
    column::Id,
    error::Result,
    failure::undone,
    row::{AttemptRow, attempt_columns, read_all, subject_columns},
    sql::ROWS_MAX,
};

pub(super) async fn of(call: &mut Call, subject: Subject) -> Result<Vec<(Attempt, u64)>> {
    let query = match subject {
        Subject::Batch(id) => sqlx::query_as(concat!(
            "select ",
            attempt_columns!(),
            " from attempts a where a.batch_id = $1 order by a.id"
        ))
        .bind(Id(id.0)),
        Subject::Load(id) => sqlx::query_as(concat!(
            "select ",
            attempt_columns!(),
            " from attempts a where a.load_id = $1 order by a.id"
        ))
        .bind(Id(id.0)),
    };
    let rows: Vec<AttemptRow> = query.fetch_all(&mut **call).await.map_err(undone(call.step))?;
    read_all(rows, AttemptRow::read)
}

pub(super) async fn add(call: &mut Call, attempts: &[Attempt]) -> Result<()> {
    for attempts in attempts.chunks(ROWS_MAX) {
        let attempts = with_subject(call, attempts).await?;
        let mut runs = Runs::new(newest(call, &attempts).await?)?;
        attempts.iter().for_each(|attempt| runs.add(attempt));
        let changes = runs.changes();
        for row in changes.updates {
            lengthen(call, row).await?;
        }
        insert(call, changes.inserts).await?;
    }
    Ok(())
}

/// Those whose batch or load is (still) there: one that is not must not keep the others from being written.
async fn with_subject<'a>(call: &mut Call, attempts: &'a [Attempt]) -> Result<Vec<&'a Attempt>> {
    let (batches, loads) = subjects(attempts.iter());
    let mut there = existing(call, "select id from batches where id in ", &batches).await?;
    there.extend(existing(call, "select id from loads where id in ", &loads).await?);
    Ok(attempts.iter().filter(|attempt| there.contains(&subject_id(attempt.subject))).collect())
}

async fn existing(call: &mut Call, select: &'static str, ids: &[Id]) -> Result<HashSet<Uuid>> {
    if ids.is_empty() {
        return Ok(HashSet::new());
    }
    let mut query = QueryBuilder::<Database>::new(select);
    query.push_tuples(ids, |mut row, id| {
        row.push_bind(*id);
    });
    let rows: Vec<Id> = query
        .build_query_scalar()
        .persistent(false)
        .fetch_all(&mut **call)
        .await
        .map_err(undone(call.step))?;
    Ok(rows.into_iter().map(|id| id.0).collect())
}

/// The newest two rows of each subject and step that attempts are added to, oldest first.
async fn newest(call: &mut Call, attempts: &[&Attempt]) -> Result<Vec<AttemptRow>> {
    let (batches, loads) = subjects(attempts.iter().copied());
    let mut rows = Vec::new();
    for (column, ids) in [("batch_id", batches), ("load_id", loads)] {
        if ids.is_empty() {
            continue;
        }
        let mut query = QueryBuilder::<Database>::new(concat!(
            "select ",
            attempt_columns!(),
            " from (select *, row_number() over (partition by "
        ));
        query
            .push(column)
            .push(", step order by id desc) as age from attempts where ")
            .push(column)
            .push(" in ");
        query.push_tuples(&ids, |mut row, id| {
            row.push_bind(*id);
        });
        query.push(") a where a.age <= 2 order by a.id");
        let newest: Vec<AttemptRow> = query
            .build_query_as()
            .persistent(false)
            .fetch_all(&mut **call)
            .await
            .map_err(undone(call.step))?;
        rows.extend(newest);
    }
    Ok(rows)
}

async fn lengthen(call: &mut Call, row: AttemptRow) -> Result<()> {
    sqlx::query("update attempts set times = $2, message = $3, started_at = $4, ended_at = $5 where id = $1")
        .bind(row.id)
        .bind(row.times)
        .bind(row.message)
        .bind(row.started_at)
        .bind(row.ended_at)
        .execute(&mut **call)
        .await
        .map(drop)
        .map_err(undone(call.step))
}

async fn insert(call: &mut Call, rows: Vec<AttemptRow>) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut query = QueryBuilder::<Database>::new(
        "insert into attempts (batch_id, load_id, step, outcome, code, message, times, started_at, ended_at) ",
    );
    query.push_values(rows, |mut row, attempt| {
        row.push_bind(attempt.batch_id)
            .push_bind(attempt.load_id)
            .push_bind(attempt.step)
            .push_bind(attempt.outcome)
            .push_bind(attempt.code)
            .push_bind(attempt.message)
            .push_bind(attempt.times)
            .push_bind(attempt.started_at)
            .push_bind(attempt.ended_at);
    });
    query.build().persistent(false).execute(&mut **call).await.map(drop).map_err(undone(call.step))
}

/// The batches and the loads that attempts are of, each once.
fn subjects<'a>(attempts: impl Iterator<Item = &'a Attempt>) -> (Vec<Id>, Vec<Id>) {
    let columns: Vec<_> = attempt_runs::subjects(attempts).into_iter().map(subject_columns).collect();
    (
        columns.iter().filter_map(|(batch, _)| *batch).collect(),
        columns.iter().filter_map(|(_, load)| *load).collect(),
    )
}

fn subject_id(subject: Subject) -> Uuid {
    match subject {
        Subject::Batch(id) => id.0,
        Subject::Load(id) => id.0,
    }
}
