//! Records of CloudWatch Logs subscriptions: gzipped JSON documents, each of which holds a few log events.

use std::{borrow::Cow, io::Read as _};

use flate2::read::MultiGzDecoder;
use hydrant_types::ErrorOutputType;
use serde::Deserialize;

use super::{Failure, Outcome};

/// No document is longer: CloudWatch Logs sends a megabyte at most. What a hostile record could become is bounded by it.
const DOCUMENT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The processors Decompression and CloudWatchLogProcessing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Decompression {
    /// Only the messages of the events are kept, each with a newline, instead of the document.
    pub(super) extract_messages: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    #[serde(borrow)]
    message_type: Cow<'a, str>,
    #[serde(borrow)]
    log_events: Vec<LogEvent<'a>>,
}

#[derive(Deserialize)]
struct LogEvent<'a> {
    #[serde(borrow)]
    message: Cow<'a, str>,
}

impl Decompression {
    /// Code and text are Firehose's.
    pub(super) const FAILED: Failure = Failure {
        error: ErrorOutputType::DecompressionFailed,
        code: "Decompression failed.",
        message: "Decompression failed because input data does not conform to cloudwatch log.",
    };

    pub(super) fn process<'a>(self, record: &[u8]) -> Outcome<'a> {
        let mut text = Vec::new();
        // One byte more tells what is too long from what just fits.
        let mut decoder = MultiGzDecoder::new(record).take(DOCUMENT_BYTES_MAX + 1);
        if decoder.read_to_end(&mut text).is_err() || text.len() as u64 > DOCUMENT_BYTES_MAX {
            return Outcome::Failed(Self::FAILED);
        }
        let Ok(document) = serde_json::from_slice::<Document<'_>>(&text) else {
            return Outcome::Failed(Self::FAILED);
        };
        match &*document.message_type {
            // Sent to see whether the destination takes records; of no use to anybody else.
            "CONTROL_MESSAGE" => Outcome::Dropped,
            "DATA_MESSAGE" if self.extract_messages => {
                let mut messages = Vec::with_capacity(text.len());
                for event in &document.log_events {
                    messages.extend_from_slice(event.message.as_bytes());
                    messages.push(b'\n');
                }
                if messages.is_empty() { Outcome::Dropped } else { Outcome::Kept(Cow::Owned(messages)) }
            }
            "DATA_MESSAGE" => Outcome::Kept(Cow::Owned(text)),
            _ => Outcome::Failed(Self::FAILED),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const WHOLE: Decompression = Decompression { extract_messages: false };
    const MESSAGES: Decompression = Decompression { extract_messages: true };

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("writing to memory cannot fail")
    }

    fn document(kind: &str, messages: &[&str]) -> Vec<u8> {
        let events: Vec<_> =
            messages.iter().map(|message| json!({"id": "1", "timestamp": 2, "message": message})).collect();
        let document = json!({
            "messageType": kind, "owner": "1", "logGroup": "g", "logStream": "s", "subscriptionFilters": ["f"], "logEvents": events
        });
        document.to_string().into_bytes()
    }

    fn kept(outcome: Outcome<'_>) -> Vec<u8> {
        match outcome {
            Outcome::Kept(bytes) => bytes.into_owned(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_data_message_is_its_document_or_its_messages() {
        let text = document("DATA_MESSAGE", &["one", "two \"quoted\" \u{e9}\n", ""]);
        assert_eq!(kept(WHOLE.process(&gzip(&text))), text);
        assert_eq!(kept(MESSAGES.process(&gzip(&text))), "one\ntwo \"quoted\" \u{e9}\n\n\n".as_bytes());
        let halves = [gzip(&text[..20]), gzip(&text[20..])].concat();
        assert_eq!(kept(WHOLE.process(&halves)), text, "a gzip file may have several members");
    }

    #[test]
    fn control_messages_and_empty_ones_are_dropped() {
        let control =
            gzip(&document("CONTROL_MESSAGE", &["CWL CONTROL MESSAGE: Checking health of destination"]));
        assert_eq!(WHOLE.process(&control), Outcome::Dropped);
        assert_eq!(MESSAGES.process(&control), Outcome::Dropped);
        assert_eq!(MESSAGES.process(&gzip(&document("DATA_MESSAGE", &[]))), Outcome::Dropped);
    }

    #[test]
    fn everything_else_fails() {
        let cut = gzip(&document("DATA_MESSAGE", &["one"]));
        for record in [
            &b""[..],
            b"plain text",
            &document("DATA_MESSAGE", &["not compressed"]),
            &gzip(b"not JSON"),
            &gzip(b"{}"),
            &gzip(&document("SOMETHING", &[])),
            &cut[..cut.len() - 1],
        ] {
            assert_eq!(WHOLE.process(record), Outcome::Failed(Decompression::FAILED), "{record:?}");
        }
    }

    #[test]
    fn a_record_that_becomes_too_long_fails_instead_of_taking_the_memory() {
        let mut text = document("DATA_MESSAGE", &["x"]);
        text.resize(DOCUMENT_BYTES_MAX as usize, b' ');
        assert_eq!(kept(WHOLE.process(&gzip(&text))).len() as u64, DOCUMENT_BYTES_MAX);
        text.push(b' ');
        assert_eq!(WHOLE.process(&gzip(&text)), Outcome::Failed(Decompression::FAILED));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(record: Vec<u8>, text: String) {
            WHOLE.process(&record);
            MESSAGES.process(&gzip(text.as_bytes()));
        }
    }
}
