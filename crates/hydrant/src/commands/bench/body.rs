//! Request bodies: a template in which only each record's number changes.

use std::{net::Ipv4Addr, ops::Range};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::Value;

use super::Operation;

/// The smallest record: everything but the text.
pub(super) const RECORD_BYTES_MIN: usize = BEFORE_NUMBER.len()
    + NUMBER_DIGITS
    + BEFORE_RUN.len()
    + RUN_DIGITS
    + BEFORE_TEXT.len()
    + AFTER_TEXT.len();
/// Before the number: a multiple of three bytes, so that the number's base64 can be replaced alone.
const BEFORE_NUMBER: &str = "{\"n\": ";
/// Digits of a record's number, also a multiple of three bytes.
const NUMBER_DIGITS: usize = 15;
const BEFORE_RUN: &str = ",\"run\":\"";
const RUN_DIGITS: usize = 12;
const BEFORE_TEXT: &str = "\",\"text\":\"";
const AFTER_TEXT: &str = "\"}\n";
/// JSON numbers do not begin with a zero, and none of a run's numbers may need a sixteenth digit.
const FIRST_NUMBERS: Range<u64> = 100_000_000_000_000..900_000_000_000_000;

/// What a record's text is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Shape {
    /// A JSON object with lines of a log in it; gzip makes it three (level 1) to five (level 6) times smaller.
    Json,
    /// JSON around random hexadecimal digits; gzip makes it about half.
    Random,
}

/// What tells this run's records from those of every other run to the same place.
pub(super) struct Run {
    /// In each record, as its member `run`.
    id: String,
    /// Of the run's first record. Random too: a table that has no column `run` can tell runs apart by `n` alone.
    first_number: u64,
}

impl Run {
    pub(super) fn random() -> Self {
        Self {
            id: format!("{:0RUN_DIGITS$x}", fastrand::u64(..1 << (4 * RUN_DIGITS))),
            first_number: fastrand::u64(FIRST_NUMBERS),
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// The numbers of a call's records.
    pub(super) fn numbers(&self, call: u64, records_per_call: u64) -> Range<u64> {
        let first = self.first_number + call * records_per_call;
        first..first + records_per_call
    }

    /// The number in a record, where it is one of this run's.
    pub(super) fn number_of(&self, line: &[u8]) -> Option<u64> {
        let (digits, rest) = line.strip_prefix(BEFORE_NUMBER.as_bytes())?.split_at_checked(NUMBER_DIGITS)?;
        let id = rest.strip_prefix(BEFORE_RUN.as_bytes())?.get(..RUN_DIGITS)?;
        if id != self.id.as_bytes() {
            return None;
        }
        std::str::from_utf8(digits).ok()?.parse().ok()
    }
}

/// To which streams calls go, in turn.
#[derive(Debug, Clone)]
pub(super) struct Streams {
    name: String,
    count: u64,
}

/// Digits behind the name of each of several streams.
const STREAM_DIGITS: usize = 4;

impl Streams {
    /// One of this name, or several: `name-0000` and so on.
    pub(super) fn new(name: &str, count: u64) -> Self {
        Self { name: name.to_owned(), count }
    }

    /// The first one's name, and the place of its digits in it where there are several.
    fn first(&self) -> (String, Option<usize>) {
        match self.count {
            1 => (self.name.clone(), None),
            _ => (format!("{}-{:0STREAM_DIGITS$}", self.name, 0), Some(self.name.len() + 1)),
        }
    }
}

/// A call's body, but for the numbers.
pub(super) struct Template {
    body: Vec<u8>,
    /// Where each record's number is, as base64.
    numbers: Vec<usize>,
    /// Where the stream's digits are, where there are several streams, and how many there are.
    stream: Option<(usize, u64)>,
}

impl Template {
    pub(super) fn new(
        operation: Operation,
        streams: &Streams,
        run: &Run,
        record_bytes: usize,
        records_per_call: usize,
        shape: Shape,
    ) -> Self {
        let mut template = Self { body: Vec::new(), numbers: Vec::new(), stream: None };
        let (stream, digits) = streams.first();
        template.text("{\"DeliveryStreamName\":");
        template.stream = digits.map(|at| (template.body.len() + 1 + at, streams.count));
        template.text(&format!("{},", Value::from(stream)));
        match operation {
            Operation::PutRecord => {
                template.text("\"Record\":{\"Data\":\"");
                template.record(run, record_bytes, shape);
                template.text("\"}}");
            }
            Operation::PutRecordBatch => {
                template.text("\"Records\":[");
                for at in 0..records_per_call {
                    template.text(if at == 0 { "{\"Data\":\"" } else { ",{\"Data\":\"" });
                    template.record(run, record_bytes, shape);
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

    fn record(&mut self, run: &Run, bytes: usize, shape: Shape) {
        let number = run.first_number;
        let text = filler_of(shape, bytes.saturating_sub(RECORD_BYTES_MIN));
        let record = format!("{BEFORE_NUMBER}{number}{BEFORE_RUN}{}{BEFORE_TEXT}{text}{AFTER_TEXT}", run.id);
        self.numbers.push(self.body.len() + STANDARD.encode(BEFORE_NUMBER).len());
        self.text(&STANDARD.encode(record));
    }

    /// The body of a call, whose records have these numbers.
    pub(super) fn body(&self, call: u64, numbers: Range<u64>) -> Bytes {
        let mut body = self.body.clone();
        if let Some((at, streams)) = self.stream {
            let digits = format!("{:0STREAM_DIGITS$}", call % streams);
            body[at..at + STREAM_DIGITS].copy_from_slice(digits.as_bytes());
        }
        for (number, at) in numbers.zip(&self.numbers) {
            let digits = format!("{number:0NUMBER_DIGITS$}");
            STANDARD
                .encode_slice(digits, &mut body[*at..*at + NUMBER_DIGITS / 3 * 4])
                .expect("fifteen digits are twenty characters of base64");
        }
        body.into()
    }
}

fn filler_of(shape: Shape, length: usize) -> String {
    let mut text = String::with_capacity(length + EVENT_BYTES_MAX);
    while text.len() < length {
        match shape {
            Shape::Json => text.push_str(&event()),
            Shape::Random => text.push_str(&format!("{:016x}", fastrand::u64(..))),
        }
    }
    text.truncate(length);
    text
}

/// More than [`event`] ever gives.
const EVENT_BYTES_MAX: usize = 400;

/// A line as a shop's services log them: the same names each time, values from short lists, and figures of its own.
fn event() -> String {
    fn one_of(choices: &[&'static str]) -> &'static str {
        choices[fastrand::usize(..choices.len())]
    }
    format!(
        "2026-11-{:02}T{:02}:{:02}:{:02}.{:03}Z level={} service={} event={} order_id={} city={} amount={}.{:02} \
         currency=EUR status={} duration_ms={} client={} trace_id={:032x} user_agent=Mozilla/5.0 ({}) ",
        fastrand::u32(1..=30),
        fastrand::u32(..24),
        fastrand::u32(..60),
        fastrand::u32(..60),
        fastrand::u32(..1000),
        one_of(&["INFO", "INFO", "INFO", "WARN"]),
        one_of(&["checkout", "basket", "warehouse", "payment"]),
        one_of(&["order_placed", "order_paid", "order_shipped", "order_returned", "voucher_used"]),
        fastrand::u32(1_000_000..10_000_000),
        one_of(&["Berlin", "Mumbai", "Toronto", "Nairobi", "Lima", "Osaka"]),
        fastrand::u32(..500),
        fastrand::u32(..100),
        one_of(&["200", "200", "200", "404", "503"]),
        fastrand::u32(..2000),
        Ipv4Addr::from_bits(fastrand::u32(..)),
        fastrand::u128(..),
        one_of(&[
            "X11; Linux x86_64",
            "Windows NT 10.0; Win64; x64",
            "iPhone; CPU iPhone OS 19_1 like Mac OS X"
        ]),
    )
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::{Compression, read::GzEncoder};

    use super::*;

    fn data_of(body: &[u8]) -> Vec<Vec<u8>> {
        let body: Value = serde_json::from_slice(body).unwrap();
        let records = body["Records"].as_array().unwrap();
        records.iter().map(|record| STANDARD.decode(record["Data"].as_str().unwrap()).unwrap()).collect()
    }

    #[test]
    fn every_record_is_json_of_the_asked_size_with_its_own_number() {
        for bytes in [RECORD_BYTES_MIN, 100, 101, 102] {
            let run = Run::random();
            let template =
                Template::new(Operation::PutRecordBatch, &Streams::new("s", 1), &run, bytes, 3, Shape::Json);
            let numbers = run.numbers(7, 3);
            let records = data_of(&template.body(0, numbers.clone()));
            assert_eq!(records.len(), 3);
            for (data, number) in records.iter().zip(numbers) {
                assert_eq!(data.len(), bytes);
                assert_eq!(run.number_of(data), Some(number));
                let json: Value = serde_json::from_slice(data).unwrap();
                assert_eq!((&json["n"], &json["run"]), (&Value::from(number), &Value::from(run.id())));
            }
        }
    }

    #[test]
    fn records_compress_as_their_shapes_say() {
        for (shape, level, ratio) in
            [(Shape::Json, 1, 2.8..3.5), (Shape::Json, 6, 4.4..5.4), (Shape::Random, 6, 1.6..2.1)]
        {
            let run = Run::random();
            let template =
                Template::new(Operation::PutRecordBatch, &Streams::new("s", 1), &run, 1000, 500, shape);
            let records = data_of(&template.body(0, run.numbers(0, 500))).concat();
            let mut gzip = Vec::new();
            GzEncoder::new(&records[..], Compression::new(level)).read_to_end(&mut gzip).unwrap();
            let measured = records.len() as f64 / gzip.len() as f64;
            assert!(ratio.contains(&measured), "{shape:?}, level {level}: {measured}");
        }
    }

    #[test]
    fn a_run_does_not_know_another_runs_record_even_by_an_equal_number() {
        let (mine, theirs) = (Run::random(), Run::random());
        let theirs = Run { first_number: mine.first_number, ..theirs };
        let template =
            Template::new(Operation::PutRecordBatch, &Streams::new("s", 1), &theirs, 100, 1, Shape::Random);
        let record = data_of(&template.body(0, theirs.numbers(0, 1))).remove(0);
        assert_eq!(theirs.number_of(&record), Some(mine.first_number));
        assert_eq!(mine.number_of(&record), None);
    }

    #[test]
    fn calls_go_to_several_streams_in_turn() {
        let run = Run::random();
        let streams = Streams::new("load", 3);
        let template = Template::new(Operation::PutRecord, &streams, &run, 100, 1, Shape::Json);
        let names: Vec<Value> = (0..4)
            .map(|call| {
                let body = template.body(call, run.numbers(call, 1));
                serde_json::from_slice::<Value>(&body).unwrap()["DeliveryStreamName"].clone()
            })
            .collect();
        assert_eq!(names, ["load-0000", "load-0001", "load-0002", "load-0000"]);
    }

    #[test]
    fn what_no_run_wrote_has_no_number() {
        let run = Run::random();
        for line in ["", "{\"n\": 1", "{\"n\": 100000000000000", "{\"entries\":[{\"url\":\"s3://b/k\"}]}"] {
            assert_eq!(run.number_of(line.as_bytes()), None, "{line}");
        }
    }
}
