//! Request bodies: a template in which only each record's number changes.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;

use super::Operation;

/// Room for the number and a little text.
pub(super) const RECORD_BYTES_MIN: usize = 32;
/// Digits of a record's number at the start of each record: a multiple of three bytes, so that its base64 can be replaced alone.
const NUMBER_DIGITS: usize = 15;
/// Before the number, also a multiple of three bytes.
const BEFORE_NUMBER: &str = "{\"n\": ";

/// What a record's text is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Shape {
    /// A JSON object with words and figures; gzip makes it about four times smaller.
    Json,
    /// JSON around random hexadecimal digits; gzip makes it about half.
    Random,
}

/// A call's body, but for the numbers.
pub(super) struct Template {
    body: Vec<u8>,
    /// Where each record's number is, as base64.
    numbers: Vec<usize>,
}

impl Template {
    pub(super) fn new(
        operation: Operation,
        stream: &str,
        record_bytes: usize,
        records_per_call: usize,
        shape: Shape,
    ) -> Self {
        let mut template = Self { body: Vec::new(), numbers: Vec::new() };
        template.text(&format!("{{\"DeliveryStreamName\":\"{stream}\","));
        match operation {
            Operation::PutRecord => {
                template.text("\"Record\":{\"Data\":\"");
                template.record(record_bytes, shape);
                template.text("\"}}");
            }
            Operation::PutRecordBatch => {
                template.text("\"Records\":[");
                for at in 0..records_per_call {
                    template.text(if at == 0 { "{\"Data\":\"" } else { ",{\"Data\":\"" });
                    template.record(record_bytes, shape);
                    template.text("\"}");
                }
                template.text("]}");
            }
        }
        template
    }

    fn text(&mut self, text: &str) {
        self.body.extend_from_slice(text.as_bytes());
    }

    fn record(&mut self, bytes: usize, shape: Shape) {
        let mut record = format!("{BEFORE_NUMBER}{:0NUMBER_DIGITS$}", 0);
        record.push_str(",\"text\":\"");
        // Closing quote, brace and newline.
        let filler = bytes.saturating_sub(record.len() + 3);
        record.push_str(&filler_of(shape, filler));
        record.push_str("\"}\n");
        self.numbers.push(self.body.len() + STANDARD.encode(BEFORE_NUMBER).len());
        self.text(&STANDARD.encode(record));
    }

    /// The body of call number `call`.
    pub(super) fn body(&self, call: u64) -> Bytes {
        let mut body = self.body.clone();
        for (number, at) in (first_number(call, self.numbers.len() as u64)..).zip(&self.numbers) {
            let digits = format!("{number:0NUMBER_DIGITS$}");
            STANDARD
                .encode_slice(digits, &mut body[*at..*at + NUMBER_DIGITS / 3 * 4])
                .expect("fifteen digits are twenty characters of base64");
        }
        body.into()
    }
}

/// The number of a call's first record.
pub(super) fn first_number(call: u64, records_per_call: u64) -> u64 {
    // JSON numbers do not begin with a zero.
    100_000_000_000_000 + call * records_per_call
}

/// The number in a record, where it is one of ours.
pub(super) fn number_of(line: &[u8]) -> Option<u64> {
    let digits = line.strip_prefix(BEFORE_NUMBER.as_bytes())?.get(..NUMBER_DIGITS)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Whether a PutRecordBatch answer acknowledges every record.
pub(super) fn all_acknowledged(answer: &[u8]) -> bool {
    let answer: serde_json::Value = match answer.get(..64.min(answer.len())) {
        // As Firehose, Hydrant says it near the start; the whole answer need not be parsed 500 records at a time.
        Some(head) if head.windows(18).any(|part| part == b"\"FailedPutCount\":0") => return true,
        _ => serde_json::from_slice(answer).unwrap_or_default(),
    };
    answer["FailedPutCount"] == 0
}

fn filler_of(shape: Shape, length: usize) -> String {
    const WORDS: [&str; 16] = [
        "order",
        "customer",
        "basket",
        "paid",
        "shipped",
        "returned",
        "warehouse",
        "invoice",
        "pending",
        "berlin",
        "mumbai",
        "toronto",
        "express",
        "standard",
        "refund",
        "voucher",
    ];
    let mut text = String::with_capacity(length + 16);
    while text.len() < length {
        match shape {
            Shape::Json => {
                text.push_str(WORDS[fastrand::usize(..WORDS.len())]);
                text.push_str(&format!("={} ", fastrand::u32(..100_000)));
            }
            Shape::Random => text.push_str(&format!("{:016x}", fastrand::u64(..))),
        }
    }
    text.truncate(length);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_is_json_of_the_asked_size_with_its_own_number() {
        let template = Template::new(Operation::PutRecordBatch, "s", 100, 3, Shape::Json);
        let body: serde_json::Value = serde_json::from_slice(&template.body(7)).unwrap();
        for (at, record) in body["Records"].as_array().unwrap().iter().enumerate() {
            let data = STANDARD.decode(record["Data"].as_str().unwrap()).unwrap();
            assert_eq!(data.len(), 100);
            let number = first_number(7, 3) + at as u64;
            assert_eq!(number_of(&data), Some(number));
            let json: serde_json::Value = serde_json::from_slice(&data).unwrap();
            assert_eq!(json["n"], number);
        }
    }
}
