//! A durable record log: append, read a range, trim.

pub mod chunk;
pub mod error;
pub mod frame;
mod record_log;

pub use chunk::{Chunk, FramePart};
pub use frame::Payload;
pub use record_log::{Append, Appended, CallKey, RecordLog, StreamTail};
