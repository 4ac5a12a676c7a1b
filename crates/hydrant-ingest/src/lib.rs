//! Admits records from any source: quotas, retry recognition, append, answer.

pub mod stream_table;

pub use stream_table::StreamTable;
