//! Admits records from any source: stream lookup, quotas, encryption, retry recognition, append, answer.
//!
//! ```text
//!  source ─▶ room (bytes in flight) ─▶ stream (table, no lock) ─▶ quota, key ─▶ record log ─▶ answer
//!                                          │ unknown name: look once
//!                                          ▼
//!                                      metastore
//! ```
//!
//! The API is one source; Kinesis and Kafka will be others. Nothing here knows HTTP, and nothing here waits for the metastore on
//! the way of a record whose stream is known. Retries are recognised by the log itself, as part of the append.
//! Records of a stream whose encryption is ENABLED get their data key here ([`Keyring`]), and are refused where it cannot be had.

mod ingest;
pub mod keyring;
mod lookup;
pub mod master_keys;
mod metrics;
mod quota;
pub mod stream_table;

pub use ingest::{Error, Ingest, Room, Settings};
pub use keyring::Keyring;
pub use master_keys::{MasterKey, MasterKeyError, MasterKeys};
pub use quota::Quotas;
pub use stream_table::StreamTable;
