//! Admits records from any source: stream lookup, quotas, retry recognition, append, answer.
//!
//! ```text
//!  source ─▶ room (bytes in flight) ─▶ stream (table, no lock) ─▶ quota ─▶ record log ─▶ answer
//!                                          │ unknown name: look once
//!                                          ▼
//!                                      metastore
//! ```
//!
//! The API is one source; Kinesis and Kafka will be others. Nothing here knows HTTP, and nothing here waits for the metastore on
//! the way of a record whose stream is known. Retries are recognised by the log itself, as part of the append.

mod ingest;
mod lookup;
mod metrics;
mod quota;
pub mod stream_table;

pub use ingest::{Error, Ingest, Room, Settings};
pub use quota::Quotas;
pub use stream_table::StreamTable;
