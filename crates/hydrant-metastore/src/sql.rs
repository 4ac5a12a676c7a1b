//! The metastore in a SQL database.
//!
//! Postgres and SQLite run the same statements. A type that stands for either database would need a page of bounds on
//! every function, so the files of `sql/` are plain code that is compiled twice instead: once below [`postgres`] and once below
//! [`sqlite`], each of which begins with the few words that differ (how a writing transaction begins, how a row is locked, what
//! time it is).
//!
//! ```text
//! postgres.rs  sqlite.rs   the words of each
//! store.rs                 Store: the trait's calls, each on one connection (call.rs) in one transaction or none
//! streams.rs  stream_changes.rs  record_logs.rs  leases.rs  batches.rs  loads.rs  attempts.rs  retention.rs
//!                          the statements, by noun
//! ```

pub(crate) mod postgres;
pub(crate) mod sqlite;

/// Most rows that one statement takes; a greater call is several statements in its one transaction. Both databases take
/// 32,766 parameters or more.
const ROWS_MAX: usize = 1_000;
