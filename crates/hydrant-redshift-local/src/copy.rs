//! COPY: what to load, from where, as which rows.
//!
//! ```text
//!  S3 body ─▶ gzip ─▶ records ─▶ rows (checked values) ─┐ a thread that may block
//!                                                        └─▶ a few batches ─▶ inserts in the statement's transaction
//! ```
//!
//! Nothing holds an object whole: memory is a few batches, whatever the objects' size.

mod datetime;
mod fields;
mod json_path;
mod lexer;
pub(crate) mod options;
pub(crate) mod parse;
mod records;
mod rows;
pub(crate) mod source;
mod value;

use std::sync::Arc;

use aws_sdk_s3::{Client, primitives::ByteStream};
use tokio::sync::mpsc;

use crate::{
    engine::{Done, Transaction},
    error::SqlError,
    sql,
};
use options::{CopyOptions, Format};
use rows::{RowError, Rows};
use source::Source;

/// Rows that are inserted with one statement.
const ROWS_AT_ONCE: usize = 500;
/// Fewer where they are large.
const BYTES_AT_ONCE: usize = 1024 * 1024;
/// Batches between the thread that reads and the one that inserts; the reader waits when they are full.
const BATCHES_AHEAD: usize = 2;
/// Raw text kept of a row.
const RAW_LEN_MAX: usize = 1024;
/// Errors of one COPY that are kept; more are counted.
const ERRORS_KEPT: usize = 1000;

/// A COPY statement, parsed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CopyJob {
    /// The parts of its name.
    pub(crate) table: Vec<String>,
    /// As given; the table's own where not.
    pub(crate) columns: Vec<String>,
    pub(crate) from: String,
    pub(crate) options: CopyOptions,
    /// Filled from the table before rows are read.
    pub(crate) types: Vec<TableColumn>,
}

impl CopyJob {
    /// The table as SQL.
    pub(crate) fn table_sql(&self) -> String {
        sql::qualified(&self.table)
    }

    /// The table as errors name it.
    fn table_name(&self) -> String {
        self.table.join(".")
    }
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TableColumn {
    pub(crate) name: String,
    /// As the engine prints it: `character varying(32)`, `BIGINT`.
    pub(crate) type_name: String,
    /// Of text, in bytes, where it is limited.
    pub(crate) length: Option<usize>,
    pub(crate) nullable: bool,
    /// An identity: COPY without a column list leaves it out.
    pub(crate) is_generated: bool,
}

/// A row of checked values, one a column of the job.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) values: Vec<Option<String>>,
    pub(crate) file: Arc<str>,
    /// From 1.
    pub(crate) line: u64,
    /// The beginning of its text.
    pub(crate) raw: String,
}

impl Row {
    fn len(&self) -> usize {
        self.values.iter().flatten().map(String::len).sum::<usize>() + self.raw.len()
    }
}

/// A row that could not be loaded.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LoadError {
    pub(crate) file: Arc<str>,
    pub(crate) line: u64,
    pub(crate) raw: String,
    pub(crate) column: String,
    pub(crate) type_name: String,
    pub(crate) value: String,
    pub(crate) code: i32,
    pub(crate) reason: String,
}

impl LoadError {
    fn new(file: &Arc<str>, line: u64, raw: &str) -> Self {
        Self {
            file: file.clone(),
            line,
            raw: beginning(raw),
            column: String::new(),
            type_name: String::new(),
            value: String::new(),
            code: 0,
            reason: String::new(),
        }
    }

    /// The engine's own refusal of a row that was found good here.
    pub(crate) fn of_engine(row: &Row, code: i32, reason: &str) -> Self {
        Self::new(&row.file, row.line, &row.raw).because(code, reason)
    }

    fn because(self, code: i32, reason: &str) -> Self {
        Self { code, reason: reason.to_owned(), ..self }
    }

    fn of_value(self, column: &TableColumn, value: &str) -> Self {
        Self {
            column: column.name.clone(),
            type_name: column.type_name.clone(),
            value: beginning(value),
            ..self
        }
    }
}

/// The beginning of a text; Postgres has no text with a zero byte in it.
fn beginning(text: &str) -> String {
    text[..text.floor_char_boundary(RAW_LEN_MAX)].replace('\0', "")
}

/// What is to be known of a COPY afterwards.
#[derive(Debug, Default)]
pub(crate) struct LoadReport {
    pub(crate) query_id: i64,
    pub(crate) table: String,
    /// As the COPY says FROM.
    pub(crate) source: String,
    /// Each object with its rows.
    pub(crate) files: Vec<(String, u64)>,
    pub(crate) loaded: u64,
    /// The first ones.
    pub(crate) errors: Vec<LoadError>,
    pub(crate) error_count: u64,
}

/// Runs a COPY within `transaction`. `report` says what it came to, also when it fails.
pub(crate) async fn run(
    text: &str,
    s3: &Client,
    transaction: &mut dyn Transaction,
    report: &mut LoadReport,
) -> Result<Done, SqlError> {
    let mut job = parse::parse(text)?;
    report.table = job.table_name();
    report.source = job.from.clone();
    let table_columns = transaction.columns(&job.table).await?;
    if table_columns.is_empty() {
        return Err(SqlError::new(format!("Cannot COPY into nonexistent table {}", job.table_name())));
    }
    job.types = column_types(&job, &table_columns)?;
    job.columns = job.types.iter().map(|column| column.name.clone()).collect();
    let source = Source::new(s3, &job.options);
    if let Format::JsonPaths(url) = &job.options.format {
        let paths = source.json_paths(url).await?;
        if paths.len() != job.columns.len() {
            return Err(SqlError::new(format!(
                "Number of jsonpaths and the number of columns should match. JSONPath size: {}, Number of columns in table or column list: {}",
                paths.len(),
                job.columns.len()
            )));
        }
        job.options.paths = paths;
    }
    let job = Arc::new(job);
    for entry in source.entries(&job).await? {
        if let Some(body) = source.open(&entry).await? {
            let before = report.loaded;
            load(&job, &entry.url, body, transaction, report).await?;
            report.files.push((entry.url, report.loaded - before));
        }
    }
    if report.files.is_empty() {
        return Err(source::nothing_at(&job.from));
    }
    transaction.note_load(report).await?;
    Ok(Done { rows: report.loaded as i64, result: None })
}

/// The columns to be loaded, in the order of values.
fn column_types(job: &CopyJob, table_columns: &[TableColumn]) -> Result<Vec<TableColumn>, SqlError> {
    if job.columns.is_empty() {
        let own = |column: &&TableColumn| !column.is_generated || job.options.explicit_ids;
        return Ok(table_columns.iter().filter(own).cloned().collect());
    }
    job.columns
        .iter()
        .map(|name| {
            let found = table_columns.iter().find(|column| column.name.eq_ignore_ascii_case(name));
            found.cloned().ok_or_else(|| {
                SqlError::new(format!(
                    "column \"{name}\" of relation \"{}\" does not exist",
                    job.table_name()
                ))
            })
        })
        .collect()
}

/// Some rows of an object, and those that are none.
#[derive(Default)]
struct Batch {
    rows: Vec<Row>,
    bytes: usize,
    refused: Vec<LoadError>,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.rows.len() + self.refused.len() >= ROWS_AT_ONCE || self.bytes >= BYTES_AT_ONCE
    }
}

/// Loads one object.
async fn load(
    job: &Arc<CopyJob>,
    url: &str,
    body: ByteStream,
    transaction: &mut dyn Transaction,
    report: &mut LoadReport,
) -> Result<(), SqlError> {
    let (sender, mut batches) = mpsc::channel(BATCHES_AHEAD);
    let (reader_job, file) = (job.clone(), url.to_owned());
    // It ends when the rows do, or when nobody takes them any more.
    let reading = tokio::task::spawn_blocking(move || {
        let bytes = source::reader(body, reader_job.options.gzip);
        read(Rows::new(reader_job, &file, bytes), &sender);
    });
    while let Some(batch) = batches.recv().await {
        insert(job, batch?, transaction, report).await?;
    }
    reading.await.map_err(|_| SqlError::new(format!("Unable to read {url}")))
}

/// Reads rows into batches, until there are none or nobody wants them.
fn read(rows: impl Iterator<Item = Result<Row, RowError>>, sender: &mpsc::Sender<Result<Batch, SqlError>>) {
    let mut batch = Batch::default();
    for row in rows {
        match row {
            Ok(row) => {
                batch.bytes += row.len();
                batch.rows.push(row);
            }
            Err(RowError::Row(error)) => batch.refused.push(*error),
            Err(RowError::Object(error)) => {
                let _ = sender.blocking_send(Err(error));
                return;
            }
        }
        if batch.is_full() && sender.blocking_send(Ok(std::mem::take(&mut batch))).is_err() {
            return;
        }
    }
    let _ = sender.blocking_send(Ok(batch));
}

async fn insert(
    job: &CopyJob,
    batch: Batch,
    transaction: &mut dyn Transaction,
    report: &mut LoadReport,
) -> Result<(), SqlError> {
    count_errors(job, batch.refused, report)?;
    if batch.rows.is_empty() || job.options.no_load {
        return Ok(());
    }
    let rows = batch.rows.len() as u64;
    let refused = transaction.insert(job, batch.rows).await?;
    report.loaded += rows - refused.len() as u64;
    count_errors(job, refused, report)
}

/// Beyond MAXERROR the whole COPY fails.
fn count_errors(job: &CopyJob, refused: Vec<LoadError>, report: &mut LoadReport) -> Result<(), SqlError> {
    report.error_count += refused.len() as u64;
    let room = ERRORS_KEPT.saturating_sub(report.errors.len());
    report.errors.extend(refused.into_iter().take(room));
    if report.error_count > job.options.max_error {
        return Err(SqlError::new(format!(
            "Load into table '{}' failed.  Check 'stl_load_errors' system table for details.",
            job.table_name()
        )));
    }
    Ok(())
}
