//! Groups records into calls within PutRecordBatch's limits.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use hydrant_types::limits;
use serde_json::Value;

use crate::{CallError, Client};

/// Records for one PutRecordBatch.
#[derive(Debug, Default)]
pub struct Batch {
    /// As base64, in the order they came.
    records: Vec<String>,
    bytes: usize,
}

/// Not every record of a batch was acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// The call failed as a whole; none of `records` was acknowledged.
    #[error("{records} records were not acknowledged")]
    Call {
        /// How many.
        records: usize,
        /// Why.
        source: CallError,
    },
    /// Entries failed again and again; the others were acknowledged.
    #[error("{records} records were not acknowledged: {code}: {message}")]
    Entries {
        /// How many.
        records: usize,
        /// Of the last failed entry.
        code: String,
        /// Of the last failed entry.
        message: String,
    },
}

impl PutError {
    /// How many records were not acknowledged.
    pub fn records(&self) -> usize {
        match self {
            Self::Call { records, .. } | Self::Entries { records, .. } => *records,
        }
    }
}

/// How often entries that failed inside a 200 are sent again.
const ENTRY_ROUNDS_MAX: usize = 5;
/// Doubled before each of them.
const ENTRY_PAUSE: Duration = Duration::from_millis(50);

impl Batch {
    /// Whether a record of `bytes` still fits.
    pub fn has_room_for(&self, bytes: usize) -> bool {
        self.records.len() < limits::BATCH_RECORDS_MAX && self.bytes + bytes <= limits::BATCH_BYTES_MAX
    }

    /// Adds a record; the caller has asked for room, and that it is no larger than a record may be.
    pub fn push(&mut self, record: &[u8]) {
        debug_assert!(record.len() <= limits::RECORD_BYTES_MAX && self.has_room_for(record.len()));
        self.bytes += record.len();
        self.records.push(STANDARD.encode(record));
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes of the records, before base64.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Puts the records; entries that failed inside a 200, which no SDK sends again, are sent again.
    ///
    /// # Errors
    /// [`PutError`], with the number of records that were not acknowledged.
    pub async fn put(self, client: &Client, stream: &str) -> Result<(), PutError> {
        let mut pending = self.records;
        for round in 1.. {
            let answer = client
                .call_raw("PutRecordBatch", body(stream, &pending))
                .await
                .map_err(|source| PutError::Call { records: pending.len(), source })?;
            let answer = serde_json::from_slice(&answer).unwrap_or_default();
            let Some((code, message)) = keep_failed(&mut pending, &answer) else { return Ok(()) };
            if round == ENTRY_ROUNDS_MAX {
                return Err(PutError::Entries { records: pending.len(), code, message });
            }
            tokio::time::sleep(ENTRY_PAUSE * (1 << round)).await;
        }
        Ok(())
    }
}

/// The call's JSON, written at once: base64 needs no escapes, and values would hold all of it a second time.
fn body(stream: &str, records: &[String]) -> Bytes {
    let bytes: usize = records.iter().map(|data| data.len() + 12).sum();
    let mut body = String::with_capacity(bytes + stream.len() + 64);
    body.push_str("{\"DeliveryStreamName\":");
    body.push_str(&Value::from(stream).to_string());
    body.push_str(",\"Records\":[");
    for (at, data) in records.iter().enumerate() {
        body.push_str(if at == 0 { "{\"Data\":\"" } else { ",{\"Data\":\"" });
        body.push_str(data);
        body.push_str("\"}");
    }
    body.push_str("]}");
    Bytes::from(body)
}

/// Keeps the records whose entry has an error; the last one's code and message, or nothing when all were acknowledged.
fn keep_failed(pending: &mut Vec<String>, answer: &Value) -> Option<(String, String)> {
    let entries = answer["RequestResponses"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut last = None;
    let mut at = 0;
    pending.retain(|_| {
        let entry = entries.get(at);
        at += 1;
        match entry {
            Some(entry) if entry["ErrorCode"].is_null() => false,
            Some(entry) => {
                let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
                last = Some((text("ErrorCode"), text("ErrorMessage")));
                true
            }
            // An answer that is too short acknowledges nothing beyond its end.
            None => {
                last = Some((
                    "IncompleteAnswer".to_owned(),
                    "the service answered for fewer records".to_owned(),
                ));
                true
            }
        }
    });
    last
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_entries_that_failed_are_sent_again() {
        let mut pending = vec!["a".to_owned(), "b".to_owned(), "c".to_owned()];
        let answer = json!({"FailedPutCount": 1, "RequestResponses": [
            {"RecordId": "1"}, {"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "Slow down."}, {"RecordId": "3"},
        ]});
        assert_eq!(keep_failed(&mut pending, &answer).unwrap().0, "ServiceUnavailableException");
        assert_eq!(pending, ["b"]);
        let answer = json!({"FailedPutCount": 0, "RequestResponses": [{"RecordId": "2"}]});
        assert!(keep_failed(&mut pending, &answer).is_none());
        assert!(pending.is_empty());
    }

    #[test]
    fn an_answer_that_is_too_short_acknowledges_nothing_beyond_its_end() {
        let mut pending = vec!["a".to_owned(), "b".to_owned()];
        assert!(keep_failed(&mut pending, &json!({"RequestResponses": [{"RecordId": "1"}]})).is_some());
        assert_eq!(pending, ["b"]);
    }

    #[test]
    fn a_calls_json_is_what_a_serializer_writes() {
        for (stream, records) in
            [("orders", vec![]), ("a \"quoted\"\\ name", vec!["aGk=".to_owned(), String::new()])]
        {
            let expected = json!({
                "DeliveryStreamName": stream,
                "Records": records.iter().map(|data| json!({"Data": data})).collect::<Vec<_>>(),
            });
            assert_eq!(serde_json::from_slice::<Value>(&body(stream, &records)).unwrap(), expected);
        }
    }

    #[test]
    fn a_batch_is_full_at_500_records_and_at_4_mib() {
        let mut batch = Batch::default();
        for _ in 0..limits::BATCH_RECORDS_MAX {
            assert!(batch.has_room_for(1));
            batch.push(b"x");
        }
        assert!(!batch.has_room_for(1));
        let mut batch = Batch::default();
        for _ in 0..4 {
            batch.push(&vec![0; 1_000_000]);
        }
        assert!(batch.has_room_for(limits::BATCH_BYTES_MAX - 4_000_000));
        assert!(!batch.has_room_for(limits::BATCH_BYTES_MAX - 4_000_000 + 1));
    }
}
