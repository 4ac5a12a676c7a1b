//! Loads: the batches that one COPY takes together.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{BucketName, LoadId, ObjectKey, StreamId, StreamName, Timestamp};

/// Where COPY runs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Warehouse {
    /// A provisioned cluster, by its identifier.
    Cluster(String),
    /// A serverless workgroup, by its name.
    Workgroup(String),
}

impl fmt::Display for Warehouse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster(name) => write!(f, "cluster:{name}"),
            Self::Workgroup(name) => write!(f, "workgroup:{name}"),
        }
    }
}

/// What COPY is to load into, and how. Batches of a stream with equal targets may share a load.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CopyTarget {
    /// Cluster or workgroup.
    pub warehouse: Warehouse,
    /// AWS region of the warehouse.
    pub region: String,
    /// Database.
    pub database: String,
    /// The Data API's DbUser, for clusters.
    pub username: Option<String>,
    /// The Data API's SecretArn.
    pub secret_arn: Option<String>,
    /// Table as the user wrote it: `events`, `schema.events`, `"Quoted"`.
    pub table: String,
    /// Column list as the user wrote it, without parentheses.
    pub columns: Option<String>,
    /// COPY options as the user wrote them.
    pub options: Option<String>,
    /// The role COPY reads S3 with.
    pub role_arn: String,
    /// How long a failing COPY is tried again, from its first attempt.
    pub retry_secs: u32,
}

impl CopyTarget {
    /// Names the table across streams and nodes; one COPY at a time runs for each of these. Spellings that Redshift takes for one table
    /// are one here: names are folded to lower case where they are not quoted, and `public` is where a table without a schema is.
    pub fn table_key(&self) -> String {
        let table = match self.table.contains('"') {
            true => self.table.clone(),
            false => self.table.trim().to_ascii_lowercase(),
        };
        let table = table.strip_prefix("public.").unwrap_or(&table);
        format!("{}/{}/{}/{table}", self.region, self.warehouse, self.database)
    }
}

/// The Data API's id of a statement.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StatementId(pub String);

impl fmt::Display for StatementId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A load: one manifest, one COPY at a time. One row in the metastore.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Also what the ledger beside the target table records.
    pub id: LoadId,
    /// Whose batches.
    pub stream: StreamId,
    /// The stream's name when it was planned.
    pub stream_name: StreamName,
    /// Where to.
    pub target: CopyTarget,
    /// Bucket of the manifest.
    pub bucket: BucketName,
    /// Key of the manifest.
    pub manifest_key: ObjectKey,
    /// What is already true of it.
    pub state: LoadState,
    /// When it was planned.
    pub planned_at: Timestamp,
    /// When its first statement was submitted: from here RetryOptions count.
    pub first_submitted_at: Option<Timestamp>,
    /// Milliseconds within that time in which the warehouse could not be reached; they do not count.
    pub unreachable_ms: u64,
    /// When its state last changed.
    pub updated_at: Timestamp,
}

/// What is already true of a load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum LoadState {
    /// The statement of this attempt may or may not have been submitted; its token and name are fixed.
    Planned {
        /// 1 for the first.
        attempt: u32,
        /// The Data API's ClientToken of this attempt.
        token: String,
        /// Not to be submitted before.
        not_before: Timestamp,
    },
    /// The Data API took the statement.
    Submitted {
        /// Which attempt.
        attempt: u32,
        /// Its ClientToken.
        token: String,
        /// The Data API's id.
        statement: StatementId,
    },
    /// The transaction with COPY and ledger row is committed.
    Committed {
        /// The attempt that did it, or was found to have done it.
        attempt: u32,
        /// Rows that COPY reported, where it did.
        rows: Option<u64>,
    },
    /// Given up; its manifest was copied under `errors/`, its batches are parked.
    Abandoned {
        /// The last attempt.
        attempt: u32,
        /// Where the manifest was copied to.
        errors_manifest_key: ObjectKey,
        /// Firehose's error code (developer guide, "Data delivery error codes"), such as `Redshift.TableNotFound`.
        code: String,
        /// The warehouse's words.
        reason: String,
    },
}

impl LoadState {
    /// The state's name, as in the metastore's `state` column.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Planned { .. } => "planned",
            Self::Submitted { .. } => "submitted",
            Self::Committed { .. } => "committed",
            Self::Abandoned { .. } => "abandoned",
        }
    }

    /// The attempt it is at or ended with.
    pub fn attempt(&self) -> u32 {
        match self {
            Self::Planned { attempt, .. }
            | Self::Submitted { attempt, .. }
            | Self::Committed { attempt, .. }
            | Self::Abandoned { attempt, .. } => *attempt,
        }
    }

    /// Whether nothing is left to do.
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Committed { .. } | Self::Abandoned { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_table_has_one_key_however_it_is_written() {
        let key = |table: &str| {
            CopyTarget {
                warehouse: Warehouse::Workgroup("local".to_owned()),
                region: "us-east-1".to_owned(),
                database: "dev".to_owned(),
                username: None,
                secret_arn: None,
                table: table.to_owned(),
                columns: None,
                options: None,
                role_arn: String::new(),
                retry_secs: 0,
            }
            .table_key()
        };
        assert_eq!(key("events"), "us-east-1/workgroup:local/dev/events");
        for same in ["EVENTS", "public.events", "Public.Events"] {
            assert_eq!(key(same), key("events"), "{same}");
        }
        for other in ["\"Events\"", "app.events", "event"] {
            assert_ne!(key(other), key("events"), "{other}");
        }
    }
}
