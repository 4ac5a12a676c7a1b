//! The operations on streams. Inputs have the shape that the model says.

use std::sync::Arc;

use hydrant_types::{Stream, StreamName, StreamOptions, limits};
use serde_json::{Value, json};
use tracing::warn;

use super::Operations;
use crate::{
    control::{self, ATTEMPTS_MAX},
    create, describe,
    encryption::{self, KeyChoice},
    error::ApiError,
    input::{Faults, Node},
    tags, update,
};

/// Names returned by ListDeliveryStreams when no Limit is given.
const LIST_LIMIT_DEFAULT: u64 = 10;

type Answer = Result<Value, ApiError>;

impl Operations {
    pub(super) async fn create(&self, input: &Value) -> Answer {
        let control = &self.control;
        let mut faults = Faults::default();
        let creation = create::read(&Node::root(input), &control.region, &mut faults);
        let created = control.create(faults.or(creation)?, None).await?;
        let arn = describe::arn(&control.region, &control.account_id, created.name.as_str());
        Ok(json!({"DeliveryStreamARN": arn}))
    }

    pub(super) async fn describe(&self, input: &Value) -> Answer {
        let stream = self.find(input).await?;
        Ok(describe::describe(&stream, &self.control.region, &self.control.account_id))
    }

    /// As this node knows it, also while the metastore is away.
    async fn find(&self, input: &Value) -> Result<Arc<Stream>, ApiError> {
        self.ingest.find(name_in(input)).await.map_err(|error| self.refusal(error))
    }

    pub(super) fn list(&self, input: &Value) -> Value {
        let limit = input["Limit"].as_u64().unwrap_or(LIST_LIMIT_DEFAULT) as usize;
        let after = input["ExclusiveStartDeliveryStreamName"].as_str().unwrap_or_default();
        // All streams are direct put so far.
        let of_type = matches!(input["DeliveryStreamType"].as_str(), None | Some("DirectPut"));
        let streams = self.control.streams.snapshot().streams();
        let mut rest = streams.iter().filter(|stream| of_type && stream.name.as_str() > after);
        let names: Vec<&StreamName> = rest.by_ref().take(limit).map(|stream| &stream.name).collect();
        json!({"DeliveryStreamNames": names, "HasMoreDeliveryStreams": rest.next().is_some()})
    }

    /// Puts to this node are refused from the moment this answers: the log's writer orders it behind every call it has acknowledged. Other
    /// nodes refuse them once they have read the stream table again. A stream that is being deleted already may be deleted again.
    pub(super) async fn delete(&self, input: &Value) -> Answer {
        let control = &self.control;
        // As the metastore has it: by this node's table the name may be that of a stream that is gone, and of another by now.
        let stream = self.changeable(input, true).await?;
        control.mark_deleting(&stream).await?;
        // An empty stream may be gone already, closed by delivery.
        if control.streams.by_id(stream.id).is_some() {
            self.log.close_stream(stream.id).await.map_err(|error| {
                warn!(stream = %stream.name, %error, "the stream is marked for deletion and not closed yet");
                ApiError::unavailable()
            })?;
        }
        Ok(json!({}))
    }

    /// The stream that an input names, if the API may change it now; `also_deleting` where it may be in deletion.
    async fn changeable(&self, input: &Value, also_deleting: bool) -> Result<Stream, ApiError> {
        let name = name_in(input).parse().map_err(|_| self.not_found(input))?;
        Ok(self.control.changeable(&name, also_deleting).await?)
    }

    fn not_found(&self, input: &Value) -> ApiError {
        ApiError::not_found(name_in(input), &self.control.account_id)
    }

    pub(super) async fn update(&self, input: &Value) -> Answer {
        let stream = self.changeable(input, false).await?;
        let specified = input["CurrentDeliveryStreamVersionId"].as_str().unwrap_or_default();
        let current = stream.version.to_string();
        if specified != current {
            return Err(control::version_moved(&stream.name, &current, specified));
        }
        let destination_id = input["DestinationId"].as_str().unwrap_or_default();
        if destination_id != describe::DESTINATION_ID {
            return Err(ApiError::invalid_argument(format!("Destination Id {destination_id} not found")));
        }
        let destination = update::apply(&stream.destination, input)?;
        self.control.update(&stream, &destination).await?;
        Ok(json!({}))
    }

    pub(super) async fn tag(&self, input: &Value) -> Answer {
        let mut faults = Faults::default();
        let set = tags::read(&Node::root(input).at("Tags"), &mut faults);
        // A deletion that does not get on can be turned to throwing away what is left.
        let turned = StreamOptions::turns_to_discard(&set, &[]);
        let stream = self.changeable(input, turned).await?;
        self.control.change_tags(&stream, &faults.or(Some(set))?, &[]).await?;
        Ok(json!({}))
    }

    pub(super) async fn untag(&self, input: &Value) -> Answer {
        let stream = self.changeable(input, false).await?;
        let keys = tags::read_keys(&Node::root(input).at("TagKeys"));
        self.control.change_tags(&stream, &hydrant_types::Tags::new(), &keys).await?;
        Ok(json!({}))
    }

    pub(super) async fn list_tags(&self, input: &Value) -> Answer {
        let stream = self.find(input).await?;
        let limit = input["Limit"].as_u64().map_or(limits::STREAM_TAGS_MAX, |limit| limit as usize);
        Ok(tags::page(&stream.tags, input["ExclusiveStartTagKey"].as_str(), limit))
    }

    pub(super) async fn start_encryption(&self, input: &Value) -> Answer {
        let stream = self.changeable(input, false).await?;
        let mut faults = Faults::default();
        let key = encryption::read(&Node::root(input), true, &self.control.region, &mut faults);
        // Without a configuration it is AWS's own key.
        let key = faults.or(Some(key.unwrap_or(KeyChoice::Default)))?;
        self.change_encryption(input, stream, Some(&key)).await
    }

    pub(super) async fn stop_encryption(&self, input: &Value) -> Answer {
        let stream = self.changeable(input, false).await?;
        self.change_encryption(input, stream, None).await
    }

    /// `stream` as it was read. Answers once this node's puts go by the change.
    async fn change_encryption(&self, input: &Value, stream: Stream, key: Option<&KeyChoice>) -> Answer {
        let mut stream = stream;
        for _ in 0..ATTEMPTS_MAX {
            let next = self.control.next_encryption(&stream, key)?;
            if self.control.change_encryption(&stream, &next).await? {
                return match self.control.refresh().await {
                    true => Ok(json!({})),
                    false => Err(ApiError::unavailable()),
                };
            }
            stream = self.changeable(input, false).await?;
        }
        Err(ApiError::unavailable())
    }
}

fn name_in(input: &Value) -> &str {
    input["DeliveryStreamName"].as_str().unwrap_or_default()
}
