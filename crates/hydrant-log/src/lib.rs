//! A durable record log: append, read a range, trim.
//!
//! One log per node, shared by all streams and cut into segment files. Acknowledging a call means that its bytes are covered by
//! an `fdatasync`; one thread writes, and one sync acknowledges every call that waited for it (group commit). Delivery reads the
//! log back, so that there is no second buffer to be rebuilt after a crash, and memory does not grow with what waits.
//!
//! ```text
//!  append ─▶ queue ─▶ writer: write, fdatasync ─▶ publish ─▶ answer
//!                                                   │
//!                    read ◀── extents per stream ◀──┘      trim ─▶ checkpoint ─▶ recycle segments
//! ```
//!
//! Records of a call that comes with a [`DataKey`] are encrypted where they are sealed, on the caller's side; the writer, a start and
//! `verify` need no key.
//!
//! What was rejected: a file per stream (a sync each), an embedded key-value store (writes everything twice and compacts what is only ever
//! trimmed). `docs/log-format.md` has the bytes and the crash cases.

mod calls;
mod checkpoint;
pub mod chunk;
pub mod disk;
mod encryption;
pub mod error;
mod fields;
mod file_log;
mod footer;
pub mod frame;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod group;
pub mod inspect;
mod metrics;
mod reader;
mod record_log;
mod recovery;
mod scan;
mod segment;
mod store;
mod streams;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod writer;

pub use chunk::{Chunk, FramePart};
pub use encryption::{DataKey, DataKeys};
pub use file_log::{Deps, FileLog, Settings};
pub use frame::Payload;
pub use record_log::{Append, Appended, CallKey, RecordLog, StreamTail};
