//! The readers of what comes from outside, for benchmarks and fuzzers. Not part of the interface.

use serde_json::Value;

use crate::{
    create,
    input::{Faults, Node},
    model, put, scanner, shape,
};

/// Records and bytes, as the scanner reads them; `None` where it declines.
pub fn scan(body: &[u8]) -> Option<(u32, u64)> {
    scanner::put_record_batch(body).map(|input| (input.payload.records(), input.payload.data_bytes()))
}

/// The same by serde_json.
pub fn parse(body: &[u8]) -> Option<(u32, u64)> {
    put::parse_batch(body).ok().map(|input| (input.payload.records(), input.payload.data_bytes()))
}

/// A CreateDeliveryStream as a request has it; the error's code.
///
/// # Errors
/// It is refused.
pub fn create(body: &[u8]) -> Result<(), &'static str> {
    let input: Value = serde_json::from_slice(body).map_err(|_| "SerializationException")?;
    shape::check(&input, model::input("CreateDeliveryStream")).map_err(|error| error.code)?;
    let mut faults = Faults::default();
    let creation = create::read(&Node::root(&input), "us-east-1", &mut faults);
    faults.or(creation).map(drop).map_err(|error| error.code)
}

/// Whether a text is a prefix, with whatever expressions.
pub fn prefix(text: &str) -> bool {
    hydrant_types::Prefix::parse(text).is_ok()
}
