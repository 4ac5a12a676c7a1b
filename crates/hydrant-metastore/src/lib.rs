//! Streams, batches, loads and leases behind one trait; Postgres and SQLite.

pub mod error;
mod store;

pub use error::{Error, Kind};
pub use store::*;
