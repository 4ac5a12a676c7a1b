//! Rows of streams.

use hydrant_types::{Destination, Stream, StreamEncryption, StreamId, StreamStatus, StreamVersion, Tags};
use sqlx::types::Json;

use super::{Table, stream_id};
use crate::{StreamChanges, column::Moment, error::Result};

#[derive(sqlx::FromRow)]
pub(crate) struct StreamRow {
    id: i64,
    name: String,
    status: String,
    version: i64,
    destination: Json<Destination>,
    created_at: Moment,
    updated_at: Option<Moment>,
    tags: Json<Tags>,
    encryption: Json<StreamEncryption>,
    declared_in: Option<String>,
}

impl StreamRow {
    pub(crate) fn read(self) -> Result<Stream> {
        let table = Table("streams");
        Ok(Stream {
            id: StreamId(table.unsigned(self.id)?),
            name: table.parsed(self.name)?,
            status: match self.status.as_str() {
                "active" => StreamStatus::Active,
                "deleting" => StreamStatus::Deleting,
                other => return Err(table.unreadable(format!("status {other}"))),
            },
            version: table.version(self.version)?,
            destination: self.destination.0,
            created_at: self.created_at.0,
            updated_at: self.updated_at.map(|at| at.0),
            tags: self.tags.0,
            encryption: self.encryption.0,
            declared_in: self.declared_in,
        })
    }
}

/// A stream that changed, and the revision that was in force when it was read.
#[derive(sqlx::FromRow)]
pub(crate) struct ChangedStreamRow {
    revision: i64,
    #[sqlx(flatten)]
    stream: StreamRow,
}

/// What [`ChangedStreamRow`]s say together; `revision` was in force before they were read.
pub(crate) fn read_changes(revision: u64, rows: Vec<ChangedStreamRow>) -> Result<StreamChanges> {
    let mut changes =
        StreamChanges { revision, changed: Vec::with_capacity(rows.len()), removed: Vec::new() };
    for row in rows {
        // The same in every row: they are of one snapshot.
        changes.revision = super::revision(row.revision)?;
        match row.stream.status.as_str() {
            "removed" => changes.removed.push(stream_id(row.stream.id)?),
            _ => changes.changed.push(row.stream.read()?),
        }
    }
    Ok(changes)
}

/// What a change of a stream starts from.
#[derive(sqlx::FromRow)]
pub(crate) struct StandingRow {
    pub(crate) status: String,
    version: i64,
    tags: Json<Tags>,
    encryption: Json<StreamEncryption>,
    pub(crate) declared_in: Option<String>,
}

impl StandingRow {
    pub(crate) fn version(&self) -> Result<StreamVersion> {
        Table("streams").version(self.version)
    }

    /// The version that a change of the settings makes.
    pub(crate) fn next_version(&self) -> Result<StreamVersion> {
        Table("streams").version(self.version.saturating_add(1))
    }

    pub(crate) fn tags(&self) -> &Tags {
        &self.tags.0
    }

    pub(crate) fn encryption(&self) -> &StreamEncryption {
        &self.encryption.0
    }
}

/// The name of a status in the `status` column.
pub(crate) fn status_name(status: StreamStatus) -> &'static str {
    match status {
        StreamStatus::Active => "active",
        StreamStatus::Deleting => "deleting",
    }
}
