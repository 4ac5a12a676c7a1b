//! Takes every stream's records from the log to its destination, one recorded step at a time.
//!
//! # Why it looks like this
//!
//! The record log is the buffer, the metastore is the truth, and everything in memory here may vanish at any instruction.
//! So each step is: write down what is about to be fixed, do something that may be done twice, write down that it is done.
//!
//! ```text
//!            log.changed()                       one worker per busy stream              shared by all streams
//!  record ──────────────▶ supervisor ──spawns──▶ worker: read ▶ encode ▶ cut ──seal────▶ recorder ──▶ metastore
//!   log  ◀────trim──────────────────────────────   │  (encode slots = cores)             (one transaction in flight)
//!                                                  └▶ delivery: PUT (gates: bytes, count, per bucket) ──▶ S3
//!                                                                                 │ uploaded, for Redshift
//!                                                     loader ◀─────────wakes──────┘
//!                                                       └ one task per table: lease ▶ plan ▶ manifest ▶ COPY ▶ committed
//! ```
//!
//! * A start after a crash and going on after a nap are the same code: sealed batches that are not uploaded are encoded anew
//!   and uploaded under the same key, then the log is read from where the last batch ends.
//! * Memory is flat whatever the backlog: encoders live under one budget, bodies under another. A batch beyond the first is
//!   only measured, and encoded when it is sealed.
//! * A stream's trouble is its own: it waits in its own task, holds neither memory nor slots while it waits, and a bucket that
//!   does not answer is asked by one delivery at a time, with a HEAD.
//! * The transitions of a load are one pure function, [`machine::step`].

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod attach;
mod backoff;
pub mod decoder;
mod encode_slots;
pub mod encoder;
mod lease_keeper;
mod loader;
mod memory_budget;
mod metrics;
pub mod object_key;
mod object_store;
mod processing;
mod recorder;
mod retention;
mod s3;
mod service;
mod settings;
mod stream;
mod supervisor;
#[cfg(test)]
mod tests;
mod trims;
mod upload_gates;

pub use attach::{AttachError, Attached, attach};
pub use loader::machine;
pub use metrics::show_backlog;
pub use object_store::{
    Body, Error as ObjectStoreError, Kind as ObjectStoreErrorKind, ObjectStore, PutOptions,
};
pub use s3::{AssumeRoles, S3Access, S3Objects};
pub use service::{Deps, Error, Handle, start};
pub use settings::Settings;
