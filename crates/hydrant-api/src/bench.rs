//! The two readers of a PutRecordBatch, for `benches/scanner.rs`. Not part of the interface.

use crate::{put, scanner};

/// Records and bytes, as the scanner reads them; `None` where it declines.
pub fn scan(body: &[u8]) -> Option<(u32, u64)> {
    scanner::put_record_batch(body).map(|input| (input.payload.records(), input.payload.data_bytes()))
}

/// The same by serde_json.
pub fn parse(body: &[u8]) -> Option<(u32, u64)> {
    put::parse_batch(body).ok().map(|input| (input.payload.records(), input.payload.data_bytes()))
}
