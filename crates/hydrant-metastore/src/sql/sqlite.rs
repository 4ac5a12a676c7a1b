//! SQLite's words.

use std::time::Duration;

pub(super) type Database = sqlx::Sqlite;

/// How a writing transaction begins: it takes the file's one lock for writing, and so needs none for rows.
const BEGIN: &str = "begin immediate";

/// There is no server to wait for: how long another process may hold the file is limited by SQLite's own busy time-out.
const CALL_LIMIT: Option<Duration> = None;

/// See `BEGIN`.
macro_rules! for_update {
    () => {
        ""
    };
}

/// See `BEGIN`.
macro_rules! for_share {
    () => {
        ""
    };
}

/// The time of SQLite's clock, in the form of every other time.
macro_rules! now {
    () => {
        "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"
    };
}

/// The time in `$4` milliseconds.
macro_rules! in_4_milliseconds {
    () => {
        "strftime('%Y-%m-%dT%H:%M:%fZ', 'now', ($4 / 1000.0) || ' seconds')"
    };
}

#[path = "attempts.rs"]
mod attempts;
#[path = "batches.rs"]
mod batches;
#[path = "call.rs"]
mod call;
#[path = "leases.rs"]
mod leases;
#[path = "loads.rs"]
mod loads;
#[path = "record_logs.rs"]
mod record_logs;
#[path = "retention.rs"]
mod retention;
#[path = "store.rs"]
mod store;
#[path = "stream_changes.rs"]
mod stream_changes;
#[path = "streams.rs"]
mod streams;

pub(crate) use store::Store;
