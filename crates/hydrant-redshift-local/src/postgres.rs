//! Over Postgres: real types, real locks.

use std::{str::FromStr, time::Duration};

use async_trait::async_trait;
use futures_util::TryStreamExt;
use sqlx::{
    Column as _, ConnectOptions as _, Executor as _, PgConnection, PgPool, Row as _, SqlSafeStr as _,
    TypeInfo as _, ValueRef as _,
    postgres::{PgColumn, PgConnectOptions, PgPoolOptions, PgRow},
};

use crate::{
    copy::{CopyJob, LoadError, LoadReport, Row, TableColumn},
    engine::{Done, Engine, Transaction, results_text, text_of},
    error::{Error, SqlError, database},
    field::{Column, Field, ResultSet},
    sql,
    statement::Statement,
};

const CONNECTIONS_MAX: u32 = 8;
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);
/// How soon the server notices that a stand-in is gone (`kill -9`) while its statement runs.
const CLIENT_CHECK_MS: &str = "500";
/// Redshift's code for a value that the table refuses.
const REFUSED: i32 = 1216;

/// Our own tables are in a schema of their own; what Redshift's system tables are called is found through the search path.
/// Stand-ins that start at the same time make them one after the other.
const SCHEMA: &str = "
begin;
select pg_advisory_xact_lock(4576045760);
create schema if not exists hydrant_redshift_local;
create table if not exists hydrant_redshift_local.statements (
    id text primary key, ended boolean not null, statement text not null, results text
);
create table if not exists hydrant_redshift_local.stl_load_errors (
    query bigint, tbl text, starttime timestamp default now(), filename text, line_number bigint, colname text, type text,
    raw_line text, raw_field_value text, err_code int, err_reason text
);
create or replace view hydrant_redshift_local.sys_load_error_detail as
    select query as query_id, tbl as table_name, starttime as start_time, filename as file_name, line_number,
           colname as column_name, type as column_type, err_code as error_code, err_reason as error_message
    from hydrant_redshift_local.stl_load_errors;
create table if not exists hydrant_redshift_local.stl_load_commits (
    query bigint, filename text, lines_scanned bigint, curtime timestamp default now()
);
create table if not exists hydrant_redshift_local.sys_load_history (
    query_id bigint, table_name text, data_source text, status text, loaded_rows bigint, source_file_count bigint,
    error_count bigint, end_time timestamp default now()
);
commit;";

pub(crate) struct PostgresEngine {
    /// Of statements' own sessions.
    options: PgConnectOptions,
    /// For everything else.
    pool: PgPool,
}

impl PostgresEngine {
    pub(crate) async fn open(url: &str) -> Result<Self, Error> {
        let step = "open the stand-in's database";
        let options = PgConnectOptions::from_str(url)
            .map_err(database(step))?
            .application_name("hydrant redshift-local")
            .options([
                ("search_path", "public,hydrant_redshift_local"),
                ("timezone", "UTC"),
                ("client_connection_check_interval", CLIENT_CHECK_MS),
            ]);
        let pool = PgPoolOptions::new().max_connections(CONNECTIONS_MAX).acquire_timeout(ACQUIRE_TIMEOUT);
        let pool = pool.connect_with(options.clone()).await.map_err(database(step))?;
        sqlx::raw_sql(SCHEMA).execute(&pool).await.map_err(database("make the stand-in's tables"))?;
        Ok(Self { options, pool })
    }
}

#[async_trait]
impl Engine for PostgresEngine {
    async fn statements(&self) -> Result<Vec<Statement>, Error> {
        let texts: Vec<String> =
            sqlx::query_scalar("select statement from hydrant_redshift_local.statements")
                .fetch_all(&self.pool)
                .await
                .map_err(database("read the statements"))?;
        Ok(texts.iter().filter_map(|text| serde_json::from_str(text).ok()).collect())
    }

    async fn submit(&self, statement: &Statement) -> Result<(), Error> {
        sqlx::query(
            "insert into hydrant_redshift_local.statements (id, ended, statement) values ($1, false, $2)",
        )
        .bind(&statement.id)
        .bind(text_of(statement))
        .execute(&self.pool)
        .await
        .map(drop)
        .map_err(database("store the statement"))
    }

    async fn end(&self, statement: &Statement) -> Result<Statement, Error> {
        let step = || database("store how the statement ended");
        // A commit whose answer was lost, or that a stand-in before this one sent, holds the row's lock: it is waited for.
        let updated = sqlx::query(
            "update hydrant_redshift_local.statements set ended = true, statement = $2 where id = $1 and not ended",
        )
        .bind(&statement.id)
        .bind(text_of(statement))
        .execute(&self.pool)
        .await
        .map_err(step())?;
        if updated.rows_affected() > 0 {
            return Ok(statement.clone());
        }
        let stored: Option<String> =
            sqlx::query_scalar("select statement from hydrant_redshift_local.statements where id = $1")
                .bind(&statement.id)
                .fetch_optional(&self.pool)
                .await
                .map_err(step())?;
        Ok(stored.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_else(|| statement.clone()))
    }

    async fn results(&self, id: &str) -> Result<Vec<Option<ResultSet>>, Error> {
        let text: Option<Option<String>> =
            sqlx::query_scalar("select results from hydrant_redshift_local.statements where id = $1")
                .bind(id)
                .fetch_optional(&self.pool)
                .await
                .map_err(database("read the result"))?;
        Ok(text.flatten().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
    }

    async fn forget(&self, ids: &[String]) -> Result<(), Error> {
        sqlx::query("delete from hydrant_redshift_local.statements where id = any($1)")
            .bind(ids)
            .execute(&self.pool)
            .await
            .map(drop)
            .map_err(database("forget old statements"))
    }

    async fn begin(&self) -> Result<Box<dyn Transaction>, SqlError> {
        let mut connection = self.options.connect().await?;
        let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut connection).await?;
        sqlx::raw_sql("begin").execute(&mut connection).await?;
        Ok(Box::new(PostgresTransaction { connection, pid, pool: self.pool.clone() }))
    }

    async fn store_failed_load(&self, report: &LoadReport) -> Result<(), Error> {
        let step = || database("store the load errors");
        let mut transaction = self.pool.begin().await.map_err(step())?;
        note(report, "aborted", &mut transaction).await.map_err(step())?;
        transaction.commit().await.map_err(step())
    }

    async fn tables(&self) -> Result<Vec<(String, String)>, Error> {
        sqlx::query_as(
            "select table_schema::text, table_name::text from information_schema.tables \
             where table_schema not in ('pg_catalog', 'information_schema', 'hydrant_redshift_local') order by 1, 2",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(database("list the tables"))
    }

    async fn columns(&self, table: &[String]) -> Result<Vec<TableColumn>, SqlError> {
        let mut connection = self.pool.acquire().await?;
        columns_of(table, &mut connection).await
    }
}

async fn columns_of(table: &[String], connection: &mut PgConnection) -> Result<Vec<TableColumn>, SqlError> {
    let rows = sqlx::query(
        "select a.attname::text, format_type(a.atttypid, a.atttypmod), \
         case when a.atttypid in ('varchar'::regtype, 'bpchar'::regtype) and a.atttypmod > 4 then a.atttypmod - 4 end, \
         not a.attnotnull, a.attidentity <> '' or a.attgenerated <> '' \
         from pg_attribute a where a.attrelid = to_regclass($1) and a.attnum > 0 and not a.attisdropped order by a.attnum",
    )
    .bind(sql::qualified(table))
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(TableColumn {
                name: row.try_get(0)?,
                type_name: row.try_get(1)?,
                length: row.try_get::<Option<i32>, _>(2)?.map(|length| length as usize),
                nullable: row.try_get(3)?,
                is_generated: row.try_get(4)?,
            })
        })
        .collect::<Result<_, sqlx::Error>>()
        .map_err(SqlError::from)
}

/// A transaction in a session of its own, as each statement of the Data API has; it ends with it.
struct PostgresTransaction {
    connection: PgConnection,
    pid: i32,
    pool: PgPool,
}

impl PostgresTransaction {
    async fn execute(&mut self, text: &'static str) -> Result<(), SqlError> {
        sqlx::raw_sql(text).execute(&mut self.connection).await?;
        Ok(())
    }

    /// Inserts rows with one statement, all or none.
    async fn insert_all(&mut self, insert: &str, columns: usize, rows: &[Row]) -> Result<(), sqlx::Error> {
        let mut query = sqlx::query(sqlx::AssertSqlSafe(insert.to_owned()));
        for at in 0..columns {
            let values: Vec<Option<&str>> = rows.iter().map(|row| row.values[at].as_deref()).collect();
            query = query.bind(values);
        }
        query.execute(&mut self.connection).await.map(drop)
    }

    async fn run_rows(&mut self, text: &str) -> Result<ResultSet, SqlError> {
        let mut result = ResultSet::default();
        {
            // The simple protocol gives every value as text, whatever its type.
            let mut rows = sqlx::raw_sql(sqlx::AssertSqlSafe(text.to_owned())).fetch(&mut self.connection);
            while let Some(row) = rows.try_next().await? {
                if result.columns.is_empty() {
                    result.columns = columns(row.columns());
                }
                result.push((0..row.len()).map(|at| field(&row, at)).collect())?;
            }
        }
        if result.rows.is_empty() {
            let prepared =
                (&mut self.connection).prepare(sqlx::AssertSqlSafe(text.to_owned()).into_sql_str()).await?;
            result.columns = columns(sqlx::Statement::columns(&prepared));
        }
        Ok(result)
    }
}

#[async_trait]
impl Transaction for PostgresTransaction {
    async fn run(&mut self, text: &str) -> Result<Done, SqlError> {
        let rewritten = sql::rewrite(text);
        if sql::returns_rows(text) {
            let result = self.run_rows(&rewritten).await?;
            return Ok(Done { rows: result.rows.len() as i64, result: Some(result) });
        }
        let done = sqlx::raw_sql(sqlx::AssertSqlSafe(rewritten)).execute(&mut self.connection).await?;
        Ok(Done { rows: done.rows_affected() as i64, result: None })
    }

    async fn columns(&mut self, table: &[String]) -> Result<Vec<TableColumn>, SqlError> {
        columns_of(table, &mut self.connection).await
    }

    /// All at once; where a row is refused, one by one, to find it.
    async fn insert(&mut self, job: &CopyJob, rows: Vec<Row>) -> Result<Vec<LoadError>, SqlError> {
        let insert = insert_statement(job);
        self.execute("savepoint hydrant_rows").await?;
        match self.insert_all(&insert, job.columns.len(), &rows).await {
            Ok(()) => {
                self.execute("release savepoint hydrant_rows").await?;
                return Ok(Vec::new());
            }
            Err(error) if !is_about_a_row(&error) => return Err(error.into()),
            Err(_) => self.execute("rollback to savepoint hydrant_rows").await?,
        }
        let mut refused = Vec::new();
        for row in &rows {
            self.execute("savepoint hydrant_row").await?;
            match self.insert_all(&insert, job.columns.len(), std::slice::from_ref(row)).await {
                Ok(()) => self.execute("release savepoint hydrant_row").await?,
                Err(error) if !is_about_a_row(&error) => return Err(error.into()),
                Err(error) => {
                    self.execute("rollback to savepoint hydrant_row").await?;
                    let SqlError(words) = error.into();
                    refused.push(LoadError::of_engine(row, REFUSED, words.trim_start_matches("ERROR: ")));
                }
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
        let stored = sqlx::query(
            "update hydrant_redshift_local.statements set ended = true, statement = $2, results = $3 \
             where id = $1 and not ended",
        )
        .bind(&statement.id)
        .bind(text_of(statement))
        .bind(results_text(results))
        .execute(&mut self.connection)
        .await?;
        if stored.rows_affected() == 0 {
            // Another stand-in over the same database has said that it was cut off.
            return Err(SqlError::new("the statement was ended by another Redshift stand-in"));
        }
        sqlx::raw_sql("commit").execute(&mut self.connection).await?;
        Ok(())
    }

    async fn cancel(self: Box<Self>) {
        // Where nothing runs any more, or the server is away, there is nothing to be cancelled.
        let _ = sqlx::query("select pg_cancel_backend($1)").bind(self.pid).execute(&self.pool).await;
    }
}

/// Data exceptions and violated constraints are a row's fault; anything else is not.
fn is_about_a_row(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code.starts_with("22") || code.starts_with("23"))
}

/// `insert into t (a, b) select v1::bigint, v2::text from unnest($1::text[], $2::text[]) as incoming (v1, v2)`
fn insert_statement(job: &CopyJob) -> String {
    let numbered =
        |render: &dyn Fn(usize) -> String| (1..=job.columns.len()).map(render).collect::<Vec<_>>().join(", ");
    let overriding = if job.options.explicit_ids { " overriding system value" } else { "" };
    format!(
        "insert into {} ({}){overriding} select {} from unnest({}) as incoming ({})",
        job.table_sql(),
        numbered(&|at| sql::identifier(&job.columns[at - 1])),
        numbered(&|at| format!("v{at}::{}", job.types[at - 1].type_name)),
        numbered(&|at| format!("${at}::text[]")),
        numbered(&|at| format!("v{at}")),
    )
}

async fn note(report: &LoadReport, status: &str, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    for error in &report.errors {
        sqlx::query(
            "insert into hydrant_redshift_local.stl_load_errors (query, tbl, filename, line_number, colname, type, \
             raw_line, raw_field_value, err_code, err_reason) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
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
        sqlx::query("insert into hydrant_redshift_local.stl_load_commits (query, filename, lines_scanned) values ($1, $2, $3)")
            .bind(report.query_id)
            .bind(file)
            .bind(*rows as i64)
            .execute(&mut *connection)
            .await?;
    }
    sqlx::query(
        "insert into hydrant_redshift_local.sys_load_history (query_id, table_name, data_source, status, loaded_rows, \
         source_file_count, error_count) values ($1, $2, $3, $4, $5, $6, $7)",
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

fn columns(columns: &[PgColumn]) -> Vec<Column> {
    columns.iter().map(|column| Column::new(column.name(), column.type_info().name())).collect()
}

fn field(row: &PgRow, at: usize) -> Field {
    let Ok(value) = row.try_get_raw(at) else { return Field::Null(true) };
    if value.is_null() {
        return Field::Null(true);
    }
    let kind = value.type_info().name().to_owned();
    let Ok(text) = value.as_str() else { return Field::Null(true) };
    match kind.as_str() {
        "INT2" | "INT4" | "INT8" | "OID" => text.parse().map_or(Field::Null(true), Field::Long),
        "FLOAT4" | "FLOAT8" => text.parse().map_or(Field::Null(true), Field::Double),
        "BOOL" => Field::Boolean(text == "t"),
        _ => Field::Text(text.to_owned()),
    }
}
