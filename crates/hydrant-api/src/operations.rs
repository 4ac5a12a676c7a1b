//! What each operation does.

use std::sync::Arc;

use bytes::Bytes;
use hydrant_ingest::{Error as IngestError, Ingest, StreamTable};
use hydrant_log::{Appended, CallKey, RecordLog};
use hydrant_metastore::{Error as StoreError, Kind, Metastore};
use hydrant_types::{Clock, LogId, Stream, StreamId, StreamStatus, limits};
use serde_json::{Value, json};
use tracing::{error, warn};

use crate::{create, describe, error::ApiError, model, put, put_json, shape};

/// Names returned by ListDeliveryStreams when no Limit is given.
const LIST_LIMIT_DEFAULT: u64 = 10;

/// Largest body of an operation that is no put. The largest honest one is a few dozen KiB; parsed into values, a body takes many
/// times its size.
const CONTROL_BODY_BYTES_MAX: usize = 1024 * 1024;

/// The operations that there are; the others of the service model are answered as if they were unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Operation {
    PutRecord,
    PutRecordBatch,
    CreateDeliveryStream,
    DescribeDeliveryStream,
    ListDeliveryStreams,
    DeleteDeliveryStream,
}

impl Operation {
    pub(crate) const ALL: [Self; 6] = [
        Self::PutRecord,
        Self::PutRecordBatch,
        Self::CreateDeliveryStream,
        Self::DescribeDeliveryStream,
        Self::ListDeliveryStreams,
        Self::DeleteDeliveryStream,
    ];

    /// As in the service model.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::PutRecord => "PutRecord",
            Self::PutRecordBatch => "PutRecordBatch",
            Self::CreateDeliveryStream => "CreateDeliveryStream",
            Self::DescribeDeliveryStream => "DescribeDeliveryStream",
            Self::ListDeliveryStreams => "ListDeliveryStreams",
            Self::DeleteDeliveryStream => "DeleteDeliveryStream",
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
    pub(crate) fn call_name(self) -> Option<u8> {
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
    pub(crate) metastore: Arc<dyn Metastore>,
    pub(crate) streams: Arc<StreamTable>,
    pub(crate) log: Arc<dyn RecordLog>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) account_id: String,
    pub(crate) region: String,
}

type Answer = Result<Vec<u8>, ApiError>;

impl Operations {
    /// Runs `operation`. `call` names the producer's call.
    pub(crate) async fn run(&self, operation: Operation, body: Bytes, call: Option<CallKey>) -> Answer {
        match operation {
            Operation::PutRecord => self.put(put::read_one, put::answer_one, body, call).await,
            Operation::PutRecordBatch => self.put(put::read_batch, put::answer_batch, body, call).await,
            Operation::CreateDeliveryStream => self.create(&input(&body)?).await,
            Operation::DescribeDeliveryStream => self.describe(&input(&body)?).await,
            Operation::ListDeliveryStreams => self.list(&input(&body)?),
            Operation::DeleteDeliveryStream => self.delete(&input(&body)?).await,
        }
    }

    async fn put(
        &self,
        read: fn(&[u8]) -> Result<put::PutInput, ApiError>,
        give: fn(LogId, StreamId, Appended) -> Vec<u8>,
        body: Bytes,
        call: Option<CallKey>,
    ) -> Answer {
        let put = read(&body)?;
        // What follows may wait; the records are in the payload now.
        drop(body);
        let stream = self.ingest.stream(put.stream.as_str()).await.map_err(|e| self.refusal(e))?;
        let appended = self.ingest.put(&stream, put.payload, call).await.map_err(|e| self.refusal(e))?;
        Ok(give(self.ingest.log_id(), stream.id, appended))
    }

    fn refusal(&self, error: IngestError) -> ApiError {
        match error {
            IngestError::NotFound(name) => ApiError::not_found(&name, &self.account_id),
            IngestError::NotActive(name) => ApiError::not_active(&name, &self.account_id),
            IngestError::Unavailable(_) => ApiError::unavailable(),
        }
    }

    async fn create(&self, input: &Value) -> Answer {
        let (name, destination) = create::read(input)?;
        match self.metastore.create_stream(&name, &destination, self.clock.now()).await {
            Ok(_) => {}
            Err(StoreError::StreamExists(_)) => {
                let account = &self.account_id;
                return Err(ApiError::in_use(format!(
                    "Firehose {name} under accountId {account} already exists"
                )));
            }
            Err(StoreError::TooManyStreams(limit)) => {
                return Err(ApiError::limit_exceeded(format!(
                    "You have already consumed your firehose quota of {limit} hoses."
                )));
            }
            Err(error) => return Err(store_failure("create the stream", &error)),
        }
        self.refresh().await;
        answer(&json!({"DeliveryStreamARN": describe::arn(&self.region, &self.account_id, name.as_str())}))
    }

    async fn describe(&self, input: &Value) -> Answer {
        shape::check(input, model::DESCRIBE)?;
        let stream = self.find(input).await?;
        answer(&describe::describe(&stream, &self.region, &self.account_id))
    }

    async fn find(&self, input: &Value) -> Result<Arc<Stream>, ApiError> {
        let name = input["DeliveryStreamName"].as_str().unwrap_or_default();
        self.ingest.find(name).await.map_err(|e| self.refusal(e))
    }

    fn list(&self, input: &Value) -> Answer {
        shape::check(input, model::LIST)?;
        let limit = input["Limit"].as_u64().unwrap_or(LIST_LIMIT_DEFAULT) as usize;
        let after = input["ExclusiveStartDeliveryStreamName"].as_str().unwrap_or_default();
        // All streams are direct put so far.
        let of_type = matches!(input["DeliveryStreamType"].as_str(), None | Some("DirectPut"));
        let snapshot = self.streams.snapshot();
        let mut names: Vec<String> = match of_type {
            true => snapshot
                .streams()
                .iter()
                .map(|s| s.name.to_string())
                .filter(|name| name.as_str() > after)
                .collect(),
            false => Vec::new(),
        };
        let has_more = names.len() > limit;
        names.truncate(limit);
        answer(&json!({"DeliveryStreamNames": names, "HasMoreDeliveryStreams": has_more}))
    }

    /// Puts are refused from the moment this answers: the log's writer orders it behind every call it has acknowledged. A stream that
    /// is being deleted already may be deleted again.
    async fn delete(&self, input: &Value) -> Answer {
        shape::check(input, model::DELETE)?;
        let stream = self.find(input).await?;
        if stream.status == StreamStatus::Active {
            let marked = self.metastore.mark_deleting(stream.id, self.clock.now()).await;
            marked.map_err(|error| store_failure("delete the stream", &error))?;
            self.refresh().await;
        }
        // An empty stream may be gone already, closed by delivery.
        if self.streams.by_id(stream.id).is_some() {
            self.log.close_stream(stream.id).await.map_err(|error| {
                warn!(stream = %stream.name, %error, "the stream is marked for deletion and not closed yet");
                ApiError::unavailable()
            })?;
        }
        answer(&json!({}))
    }

    /// What was committed is committed; other nodes, and this one if it fails here, see it a few seconds later.
    async fn refresh(&self) {
        if let Err(error) = self.streams.refresh().await {
            warn!(%error, "the stream table was not refreshed after a change");
        }
    }
}

/// The request as a value; anything but an object is refused.
fn input(body: &[u8]) -> Result<Value, ApiError> {
    // SDKs send `{}` for an empty input; nothing at all means the same.
    if body.is_empty() {
        return Ok(json!({}));
    }
    match serde_json::from_slice(body) {
        Ok(input @ Value::Object(_)) => Ok(input),
        Ok(_) => Err(shape::wrong_type("", "an object")),
        Err(error) => Err(put_json::not_json(&error)),
    }
}

fn answer(value: &Value) -> Answer {
    Ok(value.to_string().into_bytes())
}

fn store_failure(step: &str, error: &StoreError) -> ApiError {
    match error.kind() {
        Kind::Retry | Kind::OutcomeUnknown | Kind::Moved => {
            let source = std::error::Error::source(error).map(ToString::to_string);
            warn!(step, %error, source, "the metastore did not do it; the caller is asked to try again");
            ApiError::unavailable()
        }
        Kind::Rejected => {
            let source = std::error::Error::source(error).map(ToString::to_string);
            error!(step, %error, source, "the metastore refused");
            ApiError::internal()
        }
    }
}
