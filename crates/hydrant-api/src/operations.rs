//! What each operation does.

mod streams;

use std::sync::Arc;

use bytes::Bytes;
use hydrant_auth::Caller;
use hydrant_ingest::{Error as IngestError, Ingest, Room};
use hydrant_log::{CallKey, RecordLog};
use hydrant_types::limits;
use serde_json::Value;

use crate::{access, control::Control, control_json, encryption, error::ApiError, model, put, shape};

/// Largest body of an operation that is no put. The largest honest one is a few hundred KiB: the columns and options of a COPY.
const CONTROL_BODY_BYTES_MAX: usize = 1024 * 1024;

/// The operations of the service model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Operation {
    PutRecord,
    PutRecordBatch,
    CreateDeliveryStream,
    DeleteDeliveryStream,
    DescribeDeliveryStream,
    ListDeliveryStreams,
    UpdateDestination,
    TagDeliveryStream,
    UntagDeliveryStream,
    ListTagsForDeliveryStream,
    StartDeliveryStreamEncryption,
    StopDeliveryStreamEncryption,
}

impl Operation {
    pub(crate) const ALL: [Self; 12] = [
        Self::PutRecord,
        Self::PutRecordBatch,
        Self::CreateDeliveryStream,
        Self::DeleteDeliveryStream,
        Self::DescribeDeliveryStream,
        Self::ListDeliveryStreams,
        Self::UpdateDestination,
        Self::TagDeliveryStream,
        Self::UntagDeliveryStream,
        Self::ListTagsForDeliveryStream,
        Self::StartDeliveryStreamEncryption,
        Self::StopDeliveryStreamEncryption,
    ];

    /// As in the service model.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::PutRecord => "PutRecord",
            Self::PutRecordBatch => "PutRecordBatch",
            Self::CreateDeliveryStream => "CreateDeliveryStream",
            Self::DeleteDeliveryStream => "DeleteDeliveryStream",
            Self::DescribeDeliveryStream => "DescribeDeliveryStream",
            Self::ListDeliveryStreams => "ListDeliveryStreams",
            Self::UpdateDestination => "UpdateDestination",
            Self::TagDeliveryStream => "TagDeliveryStream",
            Self::UntagDeliveryStream => "UntagDeliveryStream",
            Self::ListTagsForDeliveryStream => "ListTagsForDeliveryStream",
            Self::StartDeliveryStreamEncryption => "StartDeliveryStreamEncryption",
            Self::StopDeliveryStreamEncryption => "StopDeliveryStreamEncryption",
        }
    }

    /// The operation that the header `X-Amz-Target` names.
    pub(crate) fn of_target(target: &str) -> Option<Self> {
        let name = target.strip_prefix("Firehose_20150804.")?;
        Self::ALL.into_iter().find(|operation| operation.name() == name)
    }

    pub(crate) fn body_bytes_max(self) -> usize {
        match self {
            Self::PutRecord | Self::PutRecordBatch => limits::REQUEST_BODY_BYTES_MAX,
            _ => CONTROL_BODY_BYTES_MAX,
        }
    }

    /// Part of a call's name, where its retry is recognised. Never changed: a retry may come after an upgrade.
    pub(crate) fn call_tag(self) -> Option<u8> {
        match self {
            Self::PutRecord => Some(0),
            Self::PutRecordBatch => Some(1),
            _ => None,
        }
    }
}

/// The operations and what they need.
pub(crate) struct Operations {
    pub(crate) ingest: Ingest,
    pub(crate) log: Arc<dyn RecordLog>,
    pub(crate) control: Control,
}

type Answer = Result<Vec<u8>, ApiError>;

impl Operations {
    /// Runs `operation` for `caller`, where the caller may. `call` names the producer's call; `room` is what the body has, and is grown
    /// where more is made of it.
    pub(crate) async fn run(
        &self,
        operation: Operation,
        body: Bytes,
        room: &mut Room,
        call: Option<CallKey>,
        caller: &Caller,
    ) -> Answer {
        match operation {
            Operation::PutRecord | Operation::PutRecordBatch => self.put(operation, body, call, caller).await,
            _ => {
                let input = allowed_input(caller, operation, &body, room)?;
                // What follows may wait; the texts are in the input now.
                drop(body);
                self.run_control(operation, &input).await
            }
        }
    }

    async fn run_control(&self, operation: Operation, input: &Value) -> Answer {
        shape::check(input, model::input(operation.name()))?;
        let answer = match operation {
            Operation::CreateDeliveryStream => self.create(input).await,
            Operation::DeleteDeliveryStream => self.delete(input).await,
            Operation::DescribeDeliveryStream => self.describe(input).await,
            Operation::ListDeliveryStreams => Ok(self.list(input)),
            Operation::UpdateDestination => self.update(input).await,
            Operation::TagDeliveryStream => self.tag(input).await,
            Operation::UntagDeliveryStream => self.untag(input).await,
            Operation::ListTagsForDeliveryStream => self.list_tags(input).await,
            Operation::StartDeliveryStreamEncryption => self.start_encryption(input).await,
            Operation::StopDeliveryStreamEncryption => self.stop_encryption(input).await,
            Operation::PutRecord | Operation::PutRecordBatch => Err(ApiError::internal()),
        };
        answer.map(|answer| answer.to_string().into_bytes())
    }

    async fn put(&self, operation: Operation, body: Bytes, call: Option<CallKey>, caller: &Caller) -> Answer {
        let one = operation == Operation::PutRecord;
        let read = if one { put::read_one } else { put::read_batch };
        let put = read(&body).map_err(|error| access::refused_put(caller, operation, &body, error))?;
        access::put(caller, operation, &put.stream)?;
        // What follows may wait; the records are in the payload now.
        drop(body);
        let stream = self.ingest.stream(put.stream.as_str()).await.map_err(|e| self.refusal(e))?;
        let appended = self.ingest.put(&stream, put.payload, call).await.map_err(|e| self.refusal(e))?;
        let give = if one { put::answer_one } else { put::answer_batch };
        Ok(give(self.ingest.log_id(), stream.id, appended))
    }

    fn refusal(&self, error: IngestError) -> ApiError {
        match error {
            IngestError::NotFound(name) => ApiError::not_found(&name, &self.control.account_id),
            IngestError::NotActive(name) => ApiError::not_active(&name, &self.control.account_id),
            IngestError::Key(error) => encryption::put_refusal(&error),
            IngestError::Unavailable(_) => ApiError::unavailable(),
        }
    }
}

/// The input of an operation that is no put, where the caller may do that to the stream it names; `room` grows by what it takes.
fn allowed_input(
    caller: &Caller,
    operation: Operation,
    body: &[u8],
    room: &mut Room,
) -> Result<Value, ApiError> {
    let input = control_json::read(body, |bytes| room.grow(bytes).map_err(|_| ApiError::unavailable()));
    access::control(caller, operation, input.as_ref().ok())?;
    input
}
