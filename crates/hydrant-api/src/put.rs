//! PutRecord and PutRecordBatch: limits, and the answer.

use hydrant_log::{Appended, Payload};
use hydrant_types::{LogId, RecordId, StreamId, StreamName, limits};

use crate::{
    error::ApiError,
    model,
    put_json::{Form, PutJson, Record, Records, Text},
    scanner,
    shape::{self, violate},
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
        _ => violate(&mut reader.violations, "record", "Member must not be null"),
    }
    reader.finish(stream)
}

/// A PutRecordBatch without the scanner.
pub(crate) fn parse_batch(body: &[u8]) -> Result<PutInput, ApiError> {
    let input = PutJson::read(body, Form::Batch)?;
    let mut reader = Reader::new(body.len());
    let stream = reader.stream(input.stream)?;
    match input.records {
        Records::Absent => violate(&mut reader.violations, "records", "Member must not be null"),
        Records::WrongType => return Err(shape::wrong_type("records", "a list")),
        Records::List(records, count) => {
            shape::check_length(count, 1, limits::BATCH_RECORDS_MAX, "records", &mut reader.violations);
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
    violations: Vec<String>,
}

impl Reader {
    fn new(body_len: usize) -> Self {
        Self { payload: Payload::with_capacity(body_len / 4 * 3), violations: Vec::new() }
    }

    /// `None` where it is not a name; then there is a violation.
    fn stream(&mut self, stream: Text<'_>) -> Result<Option<StreamName>, ApiError> {
        let path = "deliveryStreamName";
        match stream {
            Text::Absent => violate(&mut self.violations, path, "Member must not be null"),
            Text::WrongType => return Err(shape::wrong_type(path, "a string")),
            Text::Is(stream) => {
                shape::check_text(&stream, &model::NAME, path, &mut self.violations);
                return Ok(stream.parse().ok());
            }
        }
        Ok(None)
    }

    fn record(&mut self, path: &str, record: Record<'_>) -> Result<(), ApiError> {
        let data_path = || format!("{path}.data");
        match record {
            Record::Absent => violate(&mut self.violations, path, "Member must not be null"),
            Record::WrongType => return Err(shape::wrong_type(path, "an object")),
            Record::Data(Text::Absent) => {
                violate(&mut self.violations, &data_path(), "Member must not be null")
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
        shape::check_length(bytes, 0, limits::RECORD_BYTES_MAX, path, &mut self.violations);
        self.payload.end_record();
        Ok(())
    }

    fn finish(self, stream: Option<StreamName>) -> Result<PutInput, ApiError> {
        match stream {
            Some(stream) if self.violations.is_empty() => Ok(PutInput { stream, payload: self.payload }),
            _ => Err(ApiError::validation(&self.violations)),
        }
    }
}

/// The answer to PutRecord.
pub(crate) fn answer_one(log: LogId, stream: StreamId, appended: Appended) -> Vec<u8> {
    let mut body = Vec::with_capacity(RecordId::TEXT_LEN + 40);
    body.extend_from_slice(b"{\"RecordId\":\"");
    RecordId { log, stream, position: appended.first }.write_to(&mut body);
    body.extend_from_slice(b"\",\"Encrypted\":false}");
    body
}

/// The answer to PutRecordBatch: compact, and with `"FailedPutCount":0` near the start, which Fluent Bit looks for.
pub(crate) fn answer_batch(log: LogId, stream: StreamId, appended: Appended) -> Vec<u8> {
    const ENTRY: &[u8] = b"{\"RecordId\":\"";
    let records = appended.records as usize;
    let mut body = Vec::with_capacity(80 + records * (RecordId::TEXT_LEN + ENTRY.len() + 3));
    body.extend_from_slice(b"{\"FailedPutCount\":0,\"Encrypted\":false,\"RequestResponses\":[");
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
