//! Over SQLite, for `hydrant dev`.
//!
//! Two files: tables, with the outcomes of what was committed to them; and beside it (`….statements`) the journal of statements
//! that were taken, so that taking one does not wait for a COPY. What the first says of a statement wins over the second.

use std::{
    collections::BTreeMap,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures_util::TryStreamExt;
use sqlx::{
    Column as _, ConnectOptions as _, Connection as _, Executor as _, Row as _, SqlSafeStr as _,
    SqliteConnection, SqlitePool, TypeInfo as _, ValueRef as _,
    sqlite::{
        SqliteConnectOptions, SqliteJournalMode, SqliteLockingMode, SqlitePoolOptions, SqliteRow,
        SqliteSynchronous,
    },
};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::{
    copy::{CopyJob, LoadError, LoadReport, Row, TableColumn},
    engine::{Done, Engine, Transaction, results_text, text_of},
    error::{Error, SqlError, database},
    field::{Column, Field, ResultSet},
    sql,
    statement::Statement,
};

/// Our own tables; they are not listed.
const OWN: &str = "hydrant_redshift_local_";
/// One's own transactions take turns; another program may write too.
const BUSY_TIMEOUT: Duration = Duration::from_secs(60);
/// Another stand-in uses the file: say so soon.
const JOURNAL_BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// SQLite's steps between two looks at whether the statement was cancelled.
const STEPS_BETWEEN_LOOKS: i32 = 1000;
/// Redshift's code for a value that the table refuses.
const REFUSED: i32 = 1216;

const SCHEMA: &str = "
create table if not exists hydrant_redshift_local_outcomes (
    id text primary key, statement text not null, results text not null
) strict;
create table if not exists stl_load_errors (
    query integer, tbl text, starttime text default (strftime('%Y-%m-%d %H:%M:%f', 'now')), filename text,
    line_number integer, colname text, type text, raw_line text, raw_field_value text, err_code integer, err_reason text
);
create view if not exists sys_load_error_detail as
    select query as query_id, tbl as table_name, starttime as start_time, filename as file_name, line_number,
           colname as column_name, type as column_type, err_code as error_code, err_reason as error_message
    from stl_load_errors;
create table if not exists stl_load_commits (
    query integer, filename text, lines_scanned integer, curtime text default (strftime('%Y-%m-%d %H:%M:%f', 'now'))
);
create table if not exists sys_load_history (
    query_id integer, table_name text, data_source text, status text, loaded_rows integer, source_file_count integer,
    error_count integer, end_time text default (strftime('%Y-%m-%d %H:%M:%f', 'now'))
);";

const JOURNAL: &str = "
create table if not exists statements (id text primary key, ended integer not null, statement text not null) strict;";

pub(crate) struct SqliteEngine {
    options: SqliteConnectOptions,
    /// Transactions begin one after the other.
    turn: Arc<Mutex<()>>,
    readers: SqlitePool,
    /// One connection, which locks the file: a second stand-in cannot use it.
    journal: SqlitePool,
}

impl SqliteEngine {
    pub(crate) async fn open(url: &str) -> Result<Self, Error> {
        let step = "open the stand-in's database";
        let options = SqliteConnectOptions::from_str(url)
            .map_err(database(step))?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT);
        let journal_options = options
            .clone()
            .filename(format!("{}.statements", options.get_filename().display()))
            .locking_mode(SqliteLockingMode::Exclusive)
            .busy_timeout(JOURNAL_BUSY_TIMEOUT);
        let journal_step = "open the stand-in's journal; another stand-in may use it";
        let journal = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(journal_options)
            .await
            .map_err(database(journal_step))?;
        sqlx::raw_sql(JOURNAL).execute(&journal).await.map_err(database(journal_step))?;
        let readers = SqlitePoolOptions::new().max_connections(4);
        let readers = readers.connect_with(options.clone()).await.map_err(database(step))?;
        sqlx::raw_sql(SCHEMA).execute(&readers).await.map_err(database("make the stand-in's tables"))?;
        Ok(Self { options, turn: Arc::default(), readers, journal })
    }

    async fn outcome(&self, id: &str) -> Result<Option<String>, sqlx::Error> {
        sqlx::query_scalar("select statement from hydrant_redshift_local_outcomes where id = $1")
            .bind(id)
            .fetch_optional(&self.readers)
            .await
    }
}

#[async_trait]
impl Engine for SqliteEngine {
    async fn statements(&self) -> Result<Vec<Statement>, Error> {
        let read = || database("read the statements");
        let journal: Vec<String> = sqlx::query_scalar("select statement from statements")
            .fetch_all(&self.journal)
            .await
            .map_err(read())?;
        let outcomes: Vec<String> =
            sqlx::query_scalar("select statement from hydrant_redshift_local_outcomes")
                .fetch_all(&self.readers)
                .await
                .map_err(read())?;
        let mut found = BTreeMap::new();
        for text in journal.iter().chain(&outcomes) {
            if let Ok(statement) = serde_json::from_str::<Statement>(text) {
                found.insert(statement.id.clone(), statement);
            }
        }
        Ok(found.into_values().collect())
    }

    async fn submit(&self, statement: &Statement) -> Result<(), Error> {
        sqlx::query("insert into statements (id, ended, statement) values ($1, 0, $2)")
            .bind(&statement.id)
            .bind(text_of(statement))
            .execute(&self.journal)
            .await
            .map(drop)
            .map_err(database("store the statement"))
    }

    async fn end(&self, statement: &Statement) -> Result<Statement, Error> {
        let step = || database("store how the statement ended");
        // Its transaction has ended: what it committed can be seen.
        let outcome = self.outcome(&statement.id).await.map_err(step())?;
        if let Some(committed) = outcome.and_then(|text| serde_json::from_str(&text).ok()) {
            return Ok(committed);
        }
        sqlx::query("update statements set ended = 1, statement = $2 where id = $1")
            .bind(&statement.id)
            .bind(text_of(statement))
            .execute(&self.journal)
            .await
            .map_err(step())?;
        Ok(statement.clone())
    }

    async fn results(&self, id: &str) -> Result<Vec<Option<ResultSet>>, Error> {
        let text: Option<String> =
            sqlx::query_scalar("select results from hydrant_redshift_local_outcomes where id = $1")
                .bind(id)
                .fetch_optional(&self.readers)
                .await
                .map_err(database("read the result"))?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
    }

    async fn forget(&self, ids: &[String]) -> Result<(), Error> {
        let step = || database("forget old statements");
        // In the journal last: what is only there would be taken for cut off.
        let _turn = self.turn.lock().await;
        for id in ids {
            sqlx::query("delete from hydrant_redshift_local_outcomes where id = $1")
                .bind(id)
                .execute(&self.readers)
                .await
                .map_err(step())?;
            sqlx::query("delete from statements where id = $1")
                .bind(id)
                .execute(&self.journal)
                .await
                .map_err(step())?;
        }
        Ok(())
    }

    async fn begin(&self) -> Result<Box<dyn Transaction>, SqlError> {
        let turn = self.turn.clone().lock_owned().await;
        let mut connection = self.options.connect().await?;
        let cancelled = Arc::new(AtomicBool::new(false));
        let seen = cancelled.clone();
        connection
            .lock_handle()
            .await?
            .set_progress_handler(STEPS_BETWEEN_LOOKS, move || !seen.load(Ordering::Relaxed));
        sqlx::raw_sql("begin immediate").execute(&mut connection).await?;
        Ok(Box::new(SqliteTransaction { connection, cancelled, _turn: turn }))
    }

    async fn store_failed_load(&self, report: &LoadReport) -> Result<(), Error> {
        let step = || database("store the load errors");
        let _turn = self.turn.lock().await;
        let mut transaction = self.readers.begin().await.map_err(step())?;
        note(report, "aborted", &mut transaction).await.map_err(step())?;
        transaction.commit().await.map_err(step())
    }

    async fn tables(&self) -> Result<Vec<(String, String)>, Error> {
        let names: Vec<String> = sqlx::query_scalar(
            "select name from sqlite_master where type = 'table' and name not like 'sqlite!_%' escape '!' \
             and name not in ('stl_load_errors', 'stl_load_commits', 'sys_load_history') order by name",
        )
        .fetch_all(&self.readers)
        .await
        .map_err(database("list the tables"))?;
        Ok(names
            .into_iter()
            .filter(|name| !name.starts_with(OWN))
            .map(|name| ("public".to_owned(), name))
            .collect())
    }

    async fn columns(&self, table: &[String]) -> Result<Vec<TableColumn>, SqlError> {
        let mut connection = self.readers.acquire().await?;
        columns_of(table, &mut connection).await
    }
}

/// SQLite has no schemas: `public.events` is `events`, and there is no other.
fn plain(table: &[String]) -> Option<&str> {
    match table {
        [name] => Some(name),
        [schema, name] if schema == "public" => Some(name),
        _ => None,
    }
}

async fn columns_of(
    table: &[String],
    connection: &mut SqliteConnection,
) -> Result<Vec<TableColumn>, SqlError> {
    let Some(table) = plain(table) else { return Ok(Vec::new()) };
    let rows = sqlx::query("select lower(name), type, \"notnull\" from pragma_table_info($1)")
        .bind(table)
        .fetch_all(connection)
        .await?;
    rows.iter()
        .map(|row| {
            let type_name: String = row.try_get(1)?;
            Ok(TableColumn {
                name: row.try_get(0)?,
                length: length_of(&type_name),
                nullable: row.try_get::<i64, _>(2)? == 0,
                type_name,
                is_generated: false,
            })
        })
        .collect::<Result<_, sqlx::Error>>()
        .map_err(SqlError::from)
}

/// `VARCHAR(32)` → 32
fn length_of(type_name: &str) -> Option<usize> {
    if !type_name.to_ascii_lowercase().contains("char") {
        return None;
    }
    type_name.split_once('(')?.1.split_once(')')?.0.trim().parse().ok()
}

/// A transaction in a connection of its own, which ends with it.
struct SqliteTransaction {
    connection: SqliteConnection,
    /// Looked at while SQLite works.
    cancelled: Arc<AtomicBool>,
    _turn: OwnedMutexGuard<()>,
}

impl Drop for SqliteTransaction {
    fn drop(&mut self) {
        // Where it is dropped in the middle of a step, the step ends soon, and so does the connection.
        self.cancelled.store(true, Ordering::Relaxed);
    }
}

#[async_trait]
impl Transaction for SqliteTransaction {
    async fn run(&mut self, text: &str) -> Result<Done, SqlError> {
        match sql::first_word(text).as_str() {
            // Writers take turns anyway.
            "LOCK" => return lock(text, &mut self.connection).await,
            word @ ("PRAGMA" | "ATTACH" | "DETACH") => {
                return Err(SqlError::new(format!("syntax error at or near \"{word}\"")));
            }
            _ => {}
        }
        let rewritten = sql::rewrite_for_sqlite(&sql::rewrite(text));
        run(&rewritten, sql::returns_rows(text), &mut self.connection).await.map_err(|SqlError(words)| {
            match words.ends_with("integer overflow") && sql::divides(text) {
                true => SqlError::new("Divide by zero"),
                false => SqlError(words),
            }
        })
    }

    async fn columns(&mut self, table: &[String]) -> Result<Vec<TableColumn>, SqlError> {
        columns_of(table, &mut self.connection).await
    }

    async fn insert(&mut self, job: &CopyJob, rows: Vec<Row>) -> Result<Vec<LoadError>, SqlError> {
        // The column's affinity makes numbers of text.
        let names: Vec<String> = job.columns.iter().map(|name| sql::identifier(name)).collect();
        let places: Vec<String> = (1..=names.len()).map(|at| format!("${at}")).collect();
        let table = sql::identifier(plain(&job.table).unwrap_or_default());
        let insert = format!("insert into {table} ({}) values ({})", names.join(", "), places.join(", "));
        let mut refused = Vec::new();
        for row in rows {
            let mut query = sqlx::query(sqlx::AssertSqlSafe(insert.clone()));
            for value in &row.values {
                query = query.bind(value.clone());
            }
            match query.execute(&mut self.connection).await {
                Ok(_) => {}
                Err(sqlx::Error::Database(error)) if is_about_the_row(&*error) => {
                    refused.push(LoadError::of_engine(&row, REFUSED, error.message()));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(refused)
    }

    async fn note_load(&mut self, report: &LoadReport) -> Result<(), SqlError> {
        Ok(note(report, "completed", &mut self.connection).await?)
    }

    async fn commit(
        mut self: Box<Self>,
        statement: &Statement,
        results: &[Option<ResultSet>],
    ) -> Result<(), SqlError> {
        sqlx::query(
            "insert into hydrant_redshift_local_outcomes (id, statement, results) values ($1, $2, $3)",
        )
        .bind(&statement.id)
        .bind(text_of(statement))
        .bind(results_text(results))
        .execute(&mut self.connection)
        .await?;
        sqlx::raw_sql("commit").execute(&mut self.connection).await?;
        Ok(())
    }

    async fn cancel(mut self: Box<Self>) {
        self.cancelled.store(true, Ordering::Relaxed);
        // It waits until the step under way has ended; the answer does not matter, since the connection ends here.
        let _ = self.connection.ping().await;
    }
}

/// LOCK TABLE of a table that is not there is an error, as everywhere.
async fn lock(text: &str, connection: &mut SqliteConnection) -> Result<Done, SqlError> {
    let rest = text.trim_start().get("LOCK".len()..).unwrap_or_default().trim_start();
    let rest = match rest.get(..5) {
        Some(table) if table.eq_ignore_ascii_case("TABLE") => &rest[5..],
        _ => rest,
    };
    for table in rest.split(',') {
        let look = sql::rewrite_for_sqlite(&format!("SELECT 1 FROM {} LIMIT 0", table.trim()));
        run(&look, true, connection).await?;
    }
    Ok(Done::default())
}

async fn run(sql: &str, returns_rows: bool, connection: &mut SqliteConnection) -> Result<Done, SqlError> {
    if !returns_rows {
        let done = sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(connection).await?;
        return Ok(Done { rows: done.rows_affected() as i64, result: None });
    }
    let mut result = ResultSet::default();
    {
        let mut rows = sqlx::query(sqlx::AssertSqlSafe(sql.to_owned())).fetch(&mut *connection);
        while let Some(row) = rows.try_next().await? {
            if result.columns.is_empty() {
                result.columns = columns(row.columns());
            }
            result.push(fields(&row))?;
        }
    }
    if result.rows.is_empty() {
        let prepared = connection.prepare(sqlx::AssertSqlSafe(sql.to_owned()).into_sql_str()).await?;
        result.columns = columns(sqlx::Statement::columns(&prepared));
    }
    Ok(Done { rows: result.rows.len() as i64, result: Some(result) })
}

fn is_about_the_row(error: &dyn sqlx::error::DatabaseError) -> bool {
    error.is_check_violation() || error.is_unique_violation() || error.is_foreign_key_violation()
}

async fn note(
    report: &LoadReport,
    status: &str,
    connection: &mut SqliteConnection,
) -> Result<(), sqlx::Error> {
    for error in &report.errors {
        sqlx::query(
            "insert into stl_load_errors (query, tbl, filename, line_number, colname, type, raw_line, raw_field_value, \
             err_code, err_reason) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(report.query_id)
        .bind(&report.table)
        .bind(&*error.file)
        .bind(error.line as i64)
        .bind(&error.column)
        .bind(&error.type_name)
        .bind(&error.raw)
        .bind(&error.value)
        .bind(error.code)
        .bind(&error.reason)
        .execute(&mut *connection)
        .await?;
    }
    let is_committed = status == "completed";
    for (file, rows) in report.files.iter().filter(|_| is_committed) {
        sqlx::query("insert into stl_load_commits (query, filename, lines_scanned) values ($1, $2, $3)")
            .bind(report.query_id)
            .bind(file)
            .bind(*rows as i64)
            .execute(&mut *connection)
            .await?;
    }
    sqlx::query(
        "insert into sys_load_history (query_id, table_name, data_source, status, loaded_rows, source_file_count, error_count) \
         values ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(report.query_id)
    .bind(&report.table)
    .bind(&report.source)
    .bind(status)
    .bind(if is_committed { report.loaded as i64 } else { 0 })
    .bind(report.files.len() as i64)
    .bind(report.error_count as i64)
    .execute(connection)
    .await
    .map(drop)
}

fn columns(columns: &[sqlx::sqlite::SqliteColumn]) -> Vec<Column> {
    columns.iter().map(|column| Column::new(column.name(), column.type_info().name())).collect()
}

fn fields(row: &SqliteRow) -> Vec<Field> {
    (0..row.len()).map(|at| field(row, at)).collect()
}

fn field(row: &SqliteRow, at: usize) -> Field {
    let Ok(value) = row.try_get_raw(at) else { return Field::Null(true) };
    if value.is_null() {
        return Field::Null(true);
    }
    let kind = value.type_info().name().to_owned();
    // A column of the table that is declared so; SQLite itself has only 0 and 1.
    let is_boolean = row.column(at).type_info().name() == "BOOLEAN";
    match kind.as_str() {
        "INTEGER" | "BOOLEAN" if is_boolean => {
            row.try_get_unchecked(at).map_or(Field::Null(true), Field::Boolean)
        }
        "INTEGER" | "BOOLEAN" => row.try_get_unchecked(at).map_or(Field::Null(true), Field::Long),
        "REAL" => row.try_get_unchecked(at).map_or(Field::Null(true), Field::Double),
        _ => row.try_get_unchecked::<String, _>(at).map_or(Field::Null(true), Field::Text),
    }
}
