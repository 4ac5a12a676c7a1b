//! Streams, batches, loads and leases behind one trait; Postgres and SQLite.
//!
//! The metastore is the truth about deliveries: every state change is a compare-and-set on a row, in a transaction that also checks
//! the lease of whoever makes it. It is never asked when a record is accepted. Its tables are meant to be read by people; the
//! migrations say what they hold.
//!
//! Opened by [`open`]; every call ends within half a minute, whatever the database does. Whether a failure may have been a success is
//! told in one place (`failure`).
//!
//! What a call leads to is decided by small pure functions (`sealing`, `uploading`, `discarding`, `load_change`, `attempt_runs`) on the rows that were
//! read in the transaction; both databases run the same statements (`sql`).

#![allow(clippy::duplicate_mod, reason = "the statements of `sql` are compiled once for each database")]

mod attempt_runs;
mod column;
mod discarding;
pub mod error;
mod failure;
mod listing;
mod load_change;
mod open;
mod row;
mod sealing;
mod sql;
mod store;
mod uploading;

pub use error::{Error, Kind};
pub use open::{migrate, open, open_unasked};
pub use store::*;
