//! The frame: what one call adds to the log.

/// The records of one call in the frame's own encoding, built where they are decoded (no copy afterwards).
///
/// A caller appends a record's bytes to [`Payload::buffer`] and then calls [`Payload::end_record`]; what was appended since
/// the last end is the record.
#[derive(Debug)]
pub struct Payload {
    /// Room for the header, then the records one after the other.
    buffer: Vec<u8>,
    lengths: Vec<u32>,
    start: usize,
}
