//! PutRecord and PutRecordBatch: limits, and the answer.

use hydrant_log::{Appended, Payload};
use hydrant_types::{LogId, RecordId, StreamId, StreamName, limits};

use crate::{
    error::ApiError,
    model,
    put_json::{Form, PutJson, Record, Records, Text},
    scanner,
    shape::{self, Findings},
};

/// A put, read and within every limit of its shape.
pub(crate) struct PutInput {
    pub(crate) stream: StreamName,
    pub(crate) payload: Payload,
}

/// Reads a PutRecord body.
pub(crate) fn read_one(body: &[u8]) -> Result<PutInput, ApiError> {
    match scanner::put_record(body) {
        Some(input) => Ok(input),
        None => parse_one(body),
    }
}

/// Reads a PutRecordBatch body.
pub(crate) fn read_batch(body: &[u8]) -> Result<PutInput, ApiError> {
    let input = match scanner::put_record_batch(body) {
        Some(input) => input,
        None => parse_batch(body)?,
    };
    if input.payload.data_bytes() > limits::BATCH_BYTES_MAX as u64 {
        return Err(ApiError::invalid_argument("Records size exceeds 4 MB limit"));
    }
    Ok(input)
}

/// A PutRecord without the scanner.
pub(crate) fn parse_one(body: &[u8]) -> Result<PutInput, ApiError> {
    let input = PutJson::read(body, Form::One)?;
    let mut reader = Reader::new(body.len());
    let stream = reader.stream(input.stream)?;
    match input.records {
        Records::List(records, _) => {
            for record in records {
                reader.record("record", record)?;
            }
        }
        _ => reader.findings.violates(&"record".into(), "Member must not be null"),
    }
    reader.finish(stream)
}

/// A PutRecordBatch without the scanner.
pub(crate) fn parse_batch(body: &[u8]) -> Result<PutInput, ApiError> {
    let input = PutJson::read(body, Form::Batch)?;
    let mut reader = Reader::new(body.len());
    let stream = reader.stream(input.stream)?;
    match input.records {
        Records::Absent => reader.findings.violates(&"records".into(), "Member must not be null"),
        Records::WrongType => return Err(shape::wrong_type("records", "a list")),
        Records::List(records, count) => {
            reader.findings.check_length(count, 1, limits::BATCH_RECORDS_MAX, &"records".into());
            for (at, record) in records.into_iter().enumerate() {
                reader.record(&format!("records.{}.member", at + 1), record)?;
            }
        }
    }
    reader.finish(stream)
}

/// Collects records and violations.
struct Reader {
    payload: Payload,
    findings: Findings,
}

impl Reader {
    fn new(body_len: usize) -> Self {
        Self { payload: Payload::with_capacity(body_len / 4 * 3), findings: Findings::default() }
    }

    /// `None` where it is not a name; then there is a violation.
    fn stream(&mut self, stream: Text<'_>) -> Result<Option<StreamName>, ApiError> {
        let path = "deliveryStreamName";
        match stream {
            Text::Absent => self.findings.violates(&path.into(), "Member must not be null"),
            Text::WrongType => return Err(shape::wrong_type(path, "a string")),
            Text::Is(stream) => {
                self.findings.check_text(&stream, model::shape("DeliveryStreamName"), &path.into());
                return Ok(stream.parse().ok());
            }
        }
        Ok(None)
    }

    fn record(&mut self, path: &str, record: Record<'_>) -> Result<(), ApiError> {
        let data_path = || format!("{path}.data");
        match record {
            Record::Absent => self.findings.violates(&path.into(), "Member must not be null"),
            Record::WrongType => return Err(shape::wrong_type(path, "an object")),
            Record::Data(Text::Absent) => {
                self.findings.violates(&data_path().as_str().into(), "Member must not be null")
            }
            Record::Data(Text::WrongType) => {
                return Err(shape::wrong_type(&data_path(), "a string of base64"));
            }
            Record::Data(Text::Is(data)) => self.data(&data_path(), &data)?,
        }
        Ok(())
    }

    fn data(&mut self, path: &str, data: &str) -> Result<(), ApiError> {
        scanner::decode_into(data.as_bytes(), self.payload.buffer())
            .ok_or_else(|| ApiError::serialization(format!("Member '{path}' is not base64 with padding.")))?;
        let bytes = self.payload.record_bytes_current();
        self.findings.check_length(bytes, 0, limits::RECORD_BYTES_MAX, &path.into());
        self.payload.end_record();
        Ok(())
    }

    fn finish(self, stream: Option<StreamName>) -> Result<PutInput, ApiError> {
        self.findings.refusal()?;
        let stream = stream.expect("what the model takes for a name is one");
        Ok(PutInput { stream, payload: self.payload })
    }
}

/// The answer to PutRecord.
pub(crate) fn answer_one(log: LogId, stream: StreamId, appended: Appended) -> Vec<u8> {
    let mut body = Vec::with_capacity(RecordId::TEXT_LEN + 40);
    body.extend_from_slice(b"{\"RecordId\":\"");
    RecordId { log, stream, position: appended.first }.write_to(&mut body);
    body.extend_from_slice(b"\",\"Encrypted\":");
    body.extend_from_slice(json_bool(appended.encrypted));
    body.push(b'}');
    body
}

/// The answer to PutRecordBatch: compact, and with `"FailedPutCount":0` near the start, which Fluent Bit looks for.
pub(crate) fn answer_batch(log: LogId, stream: StreamId, appended: Appended) -> Vec<u8> {
    const ENTRY: &[u8] = b"{\"RecordId\":\"";
    let records = appended.records as usize;
    let mut body = Vec::with_capacity(80 + records * (RecordId::TEXT_LEN + ENTRY.len() + 3));
    body.extend_from_slice(b"{\"FailedPutCount\":0,\"Encrypted\":");
    body.extend_from_slice(json_bool(appended.encrypted));
    body.extend_from_slice(b",\"RequestResponses\":[");
    for at in 0..u64::from(appended.records) {
        if at > 0 {
            body.push(b',');
        }
        body.extend_from_slice(ENTRY);
        RecordId { log, stream, position: appended.first.plus(at) }.write_to(&mut body);
        body.extend_from_slice(b"\"}");
    }
    body.extend_from_slice(b"]}");
    body
}

fn json_bool(value: bool) -> &'static [u8] {
    if value { b"true" } else { b"false" }
}
