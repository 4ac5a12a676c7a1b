//! Rows as they are read, and their way back into the domain's types. A row that does not hold what its type demands is
//! answered as [`Error::Unreadable`], never patched.

use std::fmt::Display;

use hydrant_types::{
    Batch, BatchId, BatchState, Content, CopyTarget, ErrorOutputType, Lane, Load, LoadId, LoadState, LogId,
    Position, PositionRange, StatementId, StoredObject, StreamId, StreamVersion, Timestamp,
};
use sqlx::types::Json;

use crate::{
    Attempt, Error, RegisteredLog, SealedTo, Subject, Waiting,
    column::{Id, Moment, number},
    error::Result,
    sealing::LogLane,
};

mod stream;

pub(crate) use stream::{ChangedStreamRow, StandingRow, StreamRow, read_changes, status_name};

/// The columns of a [`BatchRow`] by name, and never `*`: a column that a later migration adds must not change the
/// result of a statement that an older node has prepared.
macro_rules! batch_columns {
    () => {
        "b.id, b.stream, b.stream_id, b.stream_version, b.log, b.position_from, b.position_to, b.content, \
         b.failed_records, b.bytes, b.processed_bytes, b.oldest_arrival, b.bucket, b.object_key, b.copy_target, b.state, b.etag, b.object_bytes, b.load_id, \
         b.reason, b.sealed_at, b.updated_at"
    };
}
pub(crate) use batch_columns;

/// The states of batches in which nothing is left to do, as the conditions of the table's partial indexes have them.
macro_rules! done_states {
    () => {
        "('delivered', 'loaded', 'empty', 'discarded')"
    };
}
pub(crate) use done_states;

/// The columns of a [`LoadRow`].
macro_rules! load_columns {
    () => {
        "l.id, l.stream, l.stream_id, l.copy_target, l.bucket, l.manifest_key, l.state, l.attempt, l.token, \
         l.not_before, l.statement, l.rows, l.errors_manifest_key, l.code, l.reason, l.planned_at, \
         l.first_submitted_at, l.unreachable_ms, l.updated_at"
    };
}
pub(crate) use load_columns;

/// The columns of a [`StreamRow`], of `streams s join stream_versions v`.
macro_rules! stream_columns {
    () => {
        "s.id, s.name, s.status, s.version, v.destination, s.created_at, s.updated_at, s.tags, s.encryption, \
         s.declared_in"
    };
}
pub(crate) use stream_columns;

/// The columns of an [`AttemptRow`].
macro_rules! attempt_columns {
    () => {
        "a.id, a.batch_id, a.load_id, a.step, a.outcome, a.code, a.message, a.times, a.started_at, a.ended_at"
    };
}
pub(crate) use attempt_columns;

#[derive(sqlx::FromRow)]
pub(crate) struct BatchRow {
    id: Id,
    stream: String,
    stream_id: i64,
    stream_version: i64,
    log: Id,
    position_from: i64,
    position_to: i64,
    content: String,
    failed_records: Option<i64>,
    bytes: i64,
    processed_bytes: i64,
    oldest_arrival: Moment,
    bucket: String,
    object_key: String,
    copy_target: Option<Json<CopyTarget>>,
    state: String,
    etag: Option<String>,
    object_bytes: Option<i64>,
    load_id: Option<Id>,
    reason: Option<String>,
    sealed_at: Moment,
    updated_at: Moment,
}

impl BatchRow {
    pub(crate) fn read(self) -> Result<Batch> {
        let table = Table("batches");
        let range = PositionRange::new(
            Position(table.unsigned(self.position_from)?),
            Position(table.unsigned(self.position_to)?),
        );
        let object = match (self.etag, self.object_bytes) {
            (Some(etag), Some(bytes)) => Some(StoredObject { etag, bytes: table.unsigned(bytes)? }),
            _ => None,
        };
        let content = read_content(&self.content, self.failed_records)?;
        let load = self.load_id.map(|id| LoadId(id.0));
        let state = match (self.state.as_str(), object, load, self.reason) {
            ("sealed", None, None, None) => BatchState::Sealed,
            ("empty", None, None, None) => BatchState::Empty,
            ("lost", None, None, None) => BatchState::Lost,
            ("discarded", object, None, None) => BatchState::Discarded { object },
            ("uploaded", Some(object), None, None) => BatchState::Uploaded { object },
            ("delivered", Some(object), None, None) => BatchState::Delivered { object },
            ("in_load", Some(object), Some(load), None) => BatchState::InLoad { object, load },
            ("loaded", Some(object), Some(load), None) => BatchState::Loaded { object, load },
            ("parked", Some(object), Some(load), Some(reason)) => BatchState::Parked { object, load, reason },
            (state, ..) => {
                return Err(
                    table.unreadable(format!("{} is {state} with other columns than that", self.id.0))
                );
            }
        };
        Ok(Batch {
            id: BatchId(self.id.0),
            stream: StreamId(table.unsigned(self.stream_id)?),
            stream_name: table.parsed(self.stream)?,
            stream_version: table.version(self.stream_version)?,
            log: LogId(self.log.0),
            range: range.ok_or_else(|| table.unreadable("an empty range"))?,
            content,
            bytes: table.unsigned(self.bytes)?,
            processed_bytes: table.unsigned(self.processed_bytes)?,
            oldest_arrival: self.oldest_arrival.0,
            bucket: table.parsed(self.bucket)?,
            key: table.parsed(self.object_key)?,
            copy_target: self.copy_target.map(|target| target.0),
            state,
            sealed_at: self.sealed_at.0,
            updated_at: self.updated_at.0,
        })
    }
}

fn read_content(name: &str, failed_records: Option<i64>) -> Result<Content> {
    let table = Table("batches");
    let lane = known_lane(name).map(Content::from);
    let error = ErrorOutputType::ALL.into_iter().find(|error| error.as_str() == name);
    match (lane, error, failed_records) {
        (Some(content), None, None) => Ok(content),
        (None, Some(error), Some(records)) => {
            Ok(Content::Failed { error, records: table.unsigned(records)? })
        }
        _ => Err(table.unreadable(format!("content {name} with failed records {failed_records:?}"))),
    }
}

fn known_lane(name: &str) -> Option<Lane> {
    Lane::ALL.into_iter().find(|lane| lane.name() == name)
}

#[derive(sqlx::FromRow)]
pub(crate) struct LoadRow {
    id: Id,
    stream: String,
    stream_id: i64,
    copy_target: Json<CopyTarget>,
    bucket: String,
    manifest_key: String,
    state: String,
    attempt: i64,
    token: Option<String>,
    not_before: Option<Moment>,
    statement: Option<String>,
    rows: Option<i64>,
    errors_manifest_key: Option<String>,
    code: Option<String>,
    reason: Option<String>,
    planned_at: Moment,
    first_submitted_at: Option<Moment>,
    unreachable_ms: i64,
    updated_at: Moment,
}

impl LoadRow {
    pub(crate) fn read(self) -> Result<Load> {
        let table = Table("loads");
        let attempt = u32::try_from(self.attempt).map_err(|e| table.unreadable(e))?;
        let wrong = format!("{} is {} with other columns than that", self.id.0, self.state);
        let missing = || table.unreadable(wrong);
        let state = match self.state.as_str() {
            "planned" => match (self.token, self.not_before) {
                (Some(token), Some(not_before)) => {
                    LoadState::Planned { attempt, token, not_before: not_before.0 }
                }
                _ => return Err(missing()),
            },
            "submitted" => match (self.token, self.statement) {
                (Some(token), Some(statement)) => {
                    LoadState::Submitted { attempt, token, statement: StatementId(statement) }
                }
                _ => return Err(missing()),
            },
            "committed" => LoadState::Committed {
                attempt,
                rows: self.rows.map(|rows| table.unsigned(rows)).transpose()?,
            },
            "abandoned" => match (self.errors_manifest_key, self.code, self.reason) {
                (Some(key), Some(code), Some(reason)) => {
                    LoadState::Abandoned { attempt, errors_manifest_key: table.parsed(key)?, code, reason }
                }
                _ => return Err(missing()),
            },
            _ => return Err(missing()),
        };
        Ok(Load {
            id: LoadId(self.id.0),
            stream: StreamId(table.unsigned(self.stream_id)?),
            stream_name: table.parsed(self.stream)?,
            target: self.copy_target.0,
            bucket: table.parsed(self.bucket)?,
            manifest_key: table.parsed(self.manifest_key)?,
            state,
            planned_at: self.planned_at.0,
            first_submitted_at: self.first_submitted_at.map(|at| at.0),
            unreachable_ms: table.unsigned(self.unreachable_ms)?,
            updated_at: self.updated_at.0,
        })
    }
}

/// A load's state as columns; the way there of what [`LoadRow`] reads back.
pub(crate) struct LoadColumns<'a> {
    pub(crate) state: &'static str,
    pub(crate) attempt: i64,
    pub(crate) token: Option<&'a str>,
    pub(crate) not_before: Option<Moment>,
    /// `None` leaves the newest statement of a load that has ended where it is, for people.
    pub(crate) statement: Option<&'a str>,
    pub(crate) rows: Option<i64>,
    pub(crate) errors_manifest_key: Option<&'a str>,
    pub(crate) code: Option<&'a str>,
    pub(crate) reason: Option<&'a str>,
}

impl<'a> From<&'a LoadState> for LoadColumns<'a> {
    fn from(state: &'a LoadState) -> Self {
        let mut columns = Self {
            state: state.name(),
            attempt: i64::from(state.attempt()),
            token: None,
            not_before: None,
            statement: None,
            rows: None,
            errors_manifest_key: None,
            code: None,
            reason: None,
        };
        match state {
            LoadState::Planned { token, not_before, .. } => {
                columns.token = Some(token);
                columns.not_before = Some(Moment(*not_before));
            }
            LoadState::Submitted { token, statement, .. } => {
                columns.token = Some(token);
                columns.statement = Some(&statement.0);
            }
            LoadState::Committed { rows, .. } => columns.rows = rows.map(number),
            LoadState::Abandoned { errors_manifest_key, code, reason, .. } => {
                columns.errors_manifest_key = Some(errors_manifest_key.as_str());
                columns.code = Some(code);
                columns.reason = Some(reason);
            }
        }
        columns
    }
}

#[derive(sqlx::FromRow)]
pub(crate) struct LogRow {
    id: Id,
    node: String,
    registered_at: Moment,
    retired_at: Option<Moment>,
}

impl LogRow {
    pub(crate) fn read(self) -> RegisteredLog {
        RegisteredLog {
            id: LogId(self.id.0),
            node: self.node,
            registered_at: self.registered_at.0,
            retired_at: self.retired_at.map(|at| at.0),
        }
    }
}

#[derive(sqlx::FromRow)]
pub(crate) struct SealedToRow {
    stream_id: i64,
    lane: String,
    sealed_to: i64,
    /// Where the first batch begins that is sealed and not uploaded.
    unsent_from: Option<i64>,
}

impl SealedToRow {
    pub(crate) fn read(self) -> Result<SealedTo> {
        let table = Table("log_positions");
        Ok(SealedTo {
            stream: StreamId(table.unsigned(self.stream_id)?),
            lane: table.lane(&self.lane)?,
            sealed: Position(table.unsigned(self.sealed_to)?),
            uploaded: Position(table.unsigned(self.unsent_from.unwrap_or(self.sealed_to))?),
        })
    }
}

/// Where a lane is sealed to.
#[derive(sqlx::FromRow)]
pub(crate) struct PositionRow {
    log: Id,
    stream_id: i64,
    lane: String,
    sealed_to: i64,
}

impl PositionRow {
    pub(crate) fn read(self) -> Result<(LogLane, Position)> {
        let table = Table("log_positions");
        let lane = (LogId(self.log.0), StreamId(table.unsigned(self.stream_id)?), table.lane(&self.lane)?);
        Ok((lane, Position(table.unsigned(self.sealed_to)?)))
    }
}

/// Who holds a lease.
#[derive(sqlx::FromRow)]
pub(crate) struct LeaseRow {
    pub(crate) owner: Option<String>,
    pub(crate) epoch: i64,
    pub(crate) has_run_out: bool,
}

#[derive(sqlx::FromRow)]
pub(crate) struct WaitingRow {
    stream_id: i64,
    copy_target: Json<CopyTarget>,
    batches: i64,
    oldest_arrival: Moment,
}

impl WaitingRow {
    pub(crate) fn read(self) -> Result<Waiting> {
        let table = Table("batches");
        Ok(Waiting {
            stream: StreamId(table.unsigned(self.stream_id)?),
            target: self.copy_target.0,
            batches: table.unsigned(self.batches)?,
            oldest_arrival: self.oldest_arrival.0,
        })
    }
}

/// Rows of one stream whose targets are equal as this program reads them are one; the first of them is the oldest.
pub(crate) fn merge_equal_targets(rows: Vec<Waiting>) -> Vec<Waiting> {
    let mut merged: Vec<Waiting> = Vec::with_capacity(rows.len());
    for row in rows {
        match merged.iter_mut().find(|known| known.stream == row.stream && known.target == row.target) {
            Some(known) => known.batches += row.batches,
            None => merged.push(row),
        }
    }
    merged
}

#[derive(sqlx::FromRow)]
pub(crate) struct ObjectRow {
    bucket: String,
    object_key: String,
}

impl ObjectRow {
    pub(crate) fn read(self) -> Result<(hydrant_types::BucketName, hydrant_types::ObjectKey)> {
        let table = Table("batches");
        Ok((table.parsed(self.bucket)?, table.parsed(self.object_key)?))
    }
}

#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub(crate) struct AttemptRow {
    pub(crate) id: i64,
    pub(crate) batch_id: Option<Id>,
    pub(crate) load_id: Option<Id>,
    pub(crate) step: String,
    pub(crate) outcome: String,
    pub(crate) code: Option<String>,
    pub(crate) message: Option<String>,
    pub(crate) times: i64,
    pub(crate) started_at: Moment,
    pub(crate) ended_at: Moment,
}

impl AttemptRow {
    /// The attempt, and how often it happened.
    pub(crate) fn read(self) -> Result<(Attempt, u64)> {
        let table = Table("attempts");
        let attempt = Attempt {
            subject: self.subject()?,
            step: known_step(&self.step),
            started_at: self.started_at.0,
            ended_at: self.ended_at.0,
            outcome: known_outcome(&self.outcome)
                .ok_or_else(|| table.unreadable(format!("outcome {}", self.outcome)))?,
            code: self.code,
            message: self.message,
        };
        Ok((attempt, table.unsigned(self.times)?))
    }

    pub(crate) fn subject(&self) -> Result<Subject> {
        match (self.batch_id, self.load_id) {
            (Some(id), None) => Ok(Subject::Batch(BatchId(id.0))),
            (None, Some(id)) => Ok(Subject::Load(LoadId(id.0))),
            _ => Err(Table("attempts").unreadable("neither of a batch nor of a load")),
        }
    }
}

/// The names of steps are texts of the program; what a newer one wrote reads as `other`.
fn known_step(step: &str) -> &'static str {
    match step {
        "put_object" => "put_object",
        "put_manifest" => "put_manifest",
        "copy" => "copy",
        _ => "other",
    }
}

fn known_outcome(outcome: &str) -> Option<&'static str> {
    ["ok", "failed", "unknown"].into_iter().find(|known| *known == outcome)
}

/// A batch's id as a column, and a load's: one of them is empty.
pub(crate) fn subject_columns(subject: Subject) -> (Option<Id>, Option<Id>) {
    match subject {
        Subject::Batch(id) => (Some(Id(id.0)), None),
        Subject::Load(id) => (None, Some(Id(id.0))),
    }
}

/// Reads every row, or answers for the first that is not readable.
pub(crate) fn read_all<R, T>(rows: Vec<R>, read: impl Fn(R) -> Result<T>) -> Result<Vec<T>> {
    rows.into_iter().map(read).collect()
}

/// A settings version as a number.
pub(crate) fn version_number(version: StreamVersion) -> i64 {
    i64::from(version.0)
}

/// A moment as a column.
pub(crate) fn moment(at: Timestamp) -> Moment {
    Moment(at)
}

/// Reads an id that only the store itself hands out.
pub(crate) fn stream_id(id: i64) -> Result<StreamId> {
    Table("streams").unsigned(id).map(StreamId)
}

/// Reads a count that never falls.
pub(crate) fn revision(number: i64) -> Result<u64> {
    Table("meta").unsigned(number)
}

/// Names the table in what is not readable.
#[derive(Clone, Copy)]
struct Table(&'static str);

impl Table {
    fn unreadable(self, reason: impl Display) -> Error {
        Error::Unreadable { table: self.0, reason: reason.to_string() }
    }

    fn unsigned(self, number: i64) -> Result<u64> {
        u64::try_from(number).map_err(|_| self.unreadable(format!("{number} is negative")))
    }

    fn lane(self, name: &str) -> Result<Lane> {
        known_lane(name).ok_or_else(|| self.unreadable(format!("lane {name}")))
    }

    fn version(self, number: i64) -> Result<StreamVersion> {
        u32::try_from(number).map(StreamVersion).map_err(|_| self.unreadable(format!("version {number}")))
    }

    fn parsed<T>(self, text: String) -> Result<T>
    where
        T: TryFrom<String>,
        T::Error: Display,
    {
        T::try_from(text).map_err(|error| self.unreadable(error))
    }
}
