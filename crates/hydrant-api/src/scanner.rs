//! PutRecord and PutRecordBatch read straight into the log's frame.
//!
//! The scanner takes the JSON that SDKs write: the two known members in any order, any white space, `Data` without escapes. Anything
//! else it declines (`None`), and serde_json decides ([`crate::put_json`]); a property test holds that both agree. It is several times
//! faster than parsing into values (`benches/scanner.rs`), and decodes base64 where the record is to lie.

use base64::Engine as _;
use hydrant_log::Payload;
use hydrant_types::{StreamName, limits};

use crate::put::PutInput;

/// Reads a PutRecordBatch body; `None` for one it does not know.
pub(crate) fn put_record_batch(body: &[u8]) -> Option<PutInput> {
    scan(body, "Records", |cursor, payload| {
        cursor.byte(b'[')?;
        loop {
            if payload.records() as usize == limits::BATCH_RECORDS_MAX {
                return None;
            }
            cursor.record(payload)?;
            if cursor.try_byte(b',') {
                continue;
            }
            return cursor.byte(b']');
        }
    })
}

/// Reads a PutRecord body; `None` for one it does not know.
pub(crate) fn put_record(body: &[u8]) -> Option<PutInput> {
    scan(body, "Record", |cursor, payload| cursor.record(payload))
}

/// What is beyond a limit is declined too: the other reader has the words for it.
fn scan(
    body: &[u8],
    records: &str,
    read: impl Fn(&mut Cursor<'_>, &mut Payload) -> Option<()>,
) -> Option<PutInput> {
    let mut cursor = Cursor { rest: body };
    let mut payload = Payload::with_capacity(body.len() / 4 * 3);
    let mut stream: Option<StreamName> = None;
    let mut read_records = false;
    cursor.byte(b'{')?;
    loop {
        let name = cursor.text()?;
        cursor.byte(b':')?;
        if name == "DeliveryStreamName" && stream.is_none() {
            stream = Some(cursor.text()?.parse().ok()?);
        } else if name == records && !read_records {
            read(&mut cursor, &mut payload)?;
            read_records = true;
        } else {
            return None;
        }
        if !cursor.try_byte(b',') {
            break;
        }
    }
    cursor.byte(b'}')?;
    cursor.skip_space();
    if !cursor.rest.is_empty() || !read_records {
        return None;
    }
    Some(PutInput { stream: stream?, payload })
}

struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn skip_space(&mut self) {
        let space = self.rest.iter().take_while(|byte| matches!(byte, b' ' | b'\n' | b'\t' | b'\r')).count();
        self.rest = &self.rest[space..];
    }

    fn byte(&mut self, byte: u8) -> Option<()> {
        self.try_byte(byte).then_some(())
    }

    fn try_byte(&mut self, byte: u8) -> bool {
        self.skip_space();
        let found = self.rest.first() == Some(&byte);
        if found {
            self.rest = &self.rest[1..];
        }
        found
    }

    /// A string without escapes or control characters.
    fn raw_text(&mut self) -> Option<&'a [u8]> {
        self.byte(b'"')?;
        let end = memchr::memchr2(b'"', b'\\', self.rest)?;
        if self.rest[end] == b'\\' {
            return None;
        }
        let text = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        Some(text)
    }

    fn text(&mut self) -> Option<&'a str> {
        let text = self.raw_text()?;
        if text.iter().any(|byte| *byte < 0x20) {
            return None;
        }
        std::str::from_utf8(text).ok()
    }

    /// `{"Data":"…"}`
    fn record(&mut self, payload: &mut Payload) -> Option<()> {
        self.byte(b'{')?;
        if self.text()? != "Data" {
            return None;
        }
        self.byte(b':')?;
        let data = self.raw_text()?;
        self.byte(b'}')?;
        // Longer than any record, whatever the padding: declined before it is decoded.
        if data.len() > limits::RECORD_BYTES_MAX / 3 * 4 + 8 {
            return None;
        }
        decode_into(data, payload.buffer())?;
        if payload.record_bytes_current() > limits::RECORD_BYTES_MAX {
            return None;
        }
        payload.end_record();
        Some(())
    }
}

/// Decodes padded standard base64 to the end of `out`.
pub(crate) fn decode_into(data: &[u8], out: &mut Vec<u8>) -> Option<()> {
    static ENGINE: std::sync::LazyLock<base64::engine::Simd> =
        std::sync::LazyLock::new(|| base64::engine::Simd::standard(base64::engine::general_purpose::PAD));
    let start = out.len();
    out.resize(start + data.len() / 4 * 3 + 3, 0);
    match ENGINE.decode_slice(data, &mut out[start..]) {
        Ok(length) => {
            out.truncate(start + length);
            Some(())
        }
        Err(_) => {
            out.truncate(start);
            None
        }
    }
}

#[cfg(test)]
mod tests;
