//! What is done to each record before it is written (`ProcessingConfiguration`). The same records become the same bytes, whenever and in
//! whatever pieces they are processed: what is put again after a crash is what was put before.

mod cloudwatch_logs;

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hydrant_types::{ErrorOutputType, Processing, Timestamp};
use serde::Serialize;

use self::cloudwatch_logs::Decompression;

/// What one line of error output takes beside the record.
const ERROR_LINE_BYTES: u64 = 384;

/// The processors of a stream, in the order in which Firehose applies them: decompression, extraction of messages, delimiter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pipeline {
    decompression: Option<Decompression>,
    delimiter: Vec<u8>,
}

/// What becomes of a record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome<'a> {
    /// It is written so, with the pipeline's delimiter after it.
    Kept(Cow<'a, [u8]>),
    /// Nothing of it is to be written, and nothing is wrong with it.
    Dropped,
    /// It goes into error output.
    Failed(Failure),
}

/// Why a record cannot be processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) error: ErrorOutputType,
    code: &'static str,
    message: &'static str,
}

impl Pipeline {
    /// What these processors do; `None` where that is nothing. Processors that are not known here were refused when they were given.
    pub(crate) fn of(processing: &Processing) -> Option<Self> {
        let decompression = processing.active("Decompression").map(|_| Decompression {
            extract_messages: processing
                .active("CloudWatchLogProcessing")
                .and_then(|processor| processor.parameter("DataMessageExtraction"))
                .is_some_and(|value| value.eq_ignore_ascii_case("true")),
        });
        let delimiter = processing
            .active("AppendDelimiterToRecord")
            .map(|processor| unescaped(processor.parameter("Delimiter").unwrap_or("\\n")));
        let pipeline = Self { decompression, delimiter: delimiter.unwrap_or_default() };
        (pipeline.decompression.is_some() || !pipeline.delimiter.is_empty()).then_some(pipeline)
    }

    /// Whether records may become longer than they are by more than a delimiter.
    pub(crate) fn expands(&self) -> bool {
        self.decompression.is_some()
    }

    /// How records fail in it; `None` where none can.
    pub(crate) fn error(&self) -> Option<ErrorOutputType> {
        self.decompression.map(|_| Decompression::FAILED.error)
    }

    /// Follows every record that is kept.
    pub(crate) fn delimiter(&self) -> &[u8] {
        &self.delimiter
    }

    /// Processes one record. Computes: not for async workers.
    pub(crate) fn process<'a>(&self, record: &'a [u8]) -> Outcome<'a> {
        match &self.decompression {
            Some(decompression) => decompression.process(record),
            None => Outcome::Kept(Cow::Borrowed(record)),
        }
    }
}

impl Failure {
    /// The record's line in error output. It depends on nothing but the record and its batch, so that it can be written again.
    pub(crate) fn line(&self, record: &[u8], arrival: Timestamp, ended: Timestamp) -> Vec<u8> {
        let line = Line {
            raw_data: STANDARD.encode(record),
            error_code: self.code,
            error_message: self.message,
            attempts_made: 1,
            arrival_timestamp: arrival.0,
            attempt_ending_timestamp: ended.0,
        };
        let mut line = serde_json::to_vec(&line).expect("a struct of texts and numbers is JSON");
        line.push(b'\n');
        line
    }

    /// No line of a record of so many bytes is longer.
    pub(crate) fn line_bytes_max(record_bytes: usize) -> u64 {
        (record_bytes as u64).div_ceil(3) * 4 + ERROR_LINE_BYTES
    }
}

/// Members and their order are those of Firehose's failed records (developer guide, "Data transformation failure handling").
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    raw_data: String,
    error_code: &'a str,
    error_message: &'a str,
    attempts_made: u32,
    arrival_timestamp: u64,
    attempt_ending_timestamp: u64,
}

/// A delimiter as it is given: `\n`, `\r`, `\t` and `\\` written with a backslash, everything else as it is.
fn unescaped(given: &str) -> Vec<u8> {
    let mut delimiter = String::with_capacity(given.len());
    let mut characters = given.chars();
    while let Some(character) = characters.next() {
        match (character, characters.as_str().chars().next()) {
            ('\\', Some(escaped @ ('n' | 'r' | 't' | '\\'))) => {
                delimiter.push(match escaped {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    _ => '\\',
                });
                characters.next();
            }
            _ => delimiter.push(character),
        }
    }
    delimiter.into_bytes()
}

#[cfg(test)]
mod tests {
    use hydrant_types::Processor;

    use super::*;

    pub(super) fn processing(processors: &[(&str, &[(&str, &str)])]) -> Processing {
        let processors = processors.iter().map(|(kind, parameters)| Processor {
            kind: (*kind).to_owned(),
            parameters: parameters.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
        });
        Processing { enabled: true, processors: processors.collect() }
    }

    #[test]
    fn a_delimiter_is_a_newline_or_what_is_given() {
        let delimiter = |parameters: &[(&str, &str)]| {
            let processing = processing(&[("AppendDelimiterToRecord", parameters)]);
            Pipeline::of(&processing).map(|pipeline| pipeline.delimiter)
        };
        assert_eq!(delimiter(&[]).unwrap(), b"\n");
        for (given, meant) in [
            ("\\n", "\n"),
            ("\n", "\n"),
            ("\\r\\n", "\r\n"),
            ("\\\\n", "\\n"),
            ("|\\x\\", "|\\x\\"),
            (", ", ", "),
        ] {
            assert_eq!(delimiter(&[("Delimiter", given)]).unwrap(), meant.as_bytes(), "{given:?}");
        }
    }

    #[test]
    fn what_is_switched_off_does_nothing() {
        let mut processing = processing(&[("AppendDelimiterToRecord", &[]), ("Decompression", &[])]);
        assert!(Pipeline::of(&processing).unwrap().expands());
        processing.enabled = false;
        assert_eq!(Pipeline::of(&processing), None);
        assert_eq!(Pipeline::of(&Processing::default()), None);
    }

    #[test]
    fn a_failed_record_is_one_line_within_the_bound_that_memory_is_taken_by() {
        let failure = Decompression::FAILED;
        for length in [0, 1, 2, 3, 1000] {
            let record = vec![0xff; length];
            let line = failure.line(&record, Timestamp(u64::MAX), Timestamp(u64::MAX));
            assert!(line.len() as u64 <= Failure::line_bytes_max(length), "{}", line.len());
        }
        let line = failure.line(b"abc", Timestamp(1_789_014_240_448), Timestamp(1_789_014_301_529));
        assert_eq!(
            String::from_utf8(line).unwrap(),
            "{\"rawData\":\"YWJj\",\"errorCode\":\"Decompression failed.\",\"errorMessage\":\"Decompression failed because input data does not \
             conform to cloudwatch log.\",\"attemptsMade\":1,\"arrivalTimestamp\":1789014240448,\"attemptEndingTimestamp\":1789014301529}\n"
        );
    }
}
