//! What a caller asks for, as access keys name it: an action, and a stream.

use hydrant_auth::{Caller, Resource, Service};
use hydrant_types::StreamName;
use serde_json::Value;

use crate::{
    error::ApiError,
    operations::Operation,
    put_json::{Form, PutJson, Text},
};

/// Firehose as access keys and signatures know it: every operation of its service model.
pub const SERVICE: Service = Service { name: "firehose", resource: "deliverystream", actions: &ACTIONS };

/// The operations' names, one by one because a constant can be made in no other way.
const ACTIONS: [&str; Operation::ALL.len()] = {
    let mut actions = [""; Operation::ALL.len()];
    let mut at = 0;
    while at < actions.len() {
        actions[at] = Operation::ALL[at].name();
        at += 1;
    }
    actions
};

/// A put to `stream`.
pub(crate) fn put(caller: &Caller, operation: Operation, stream: &StreamName) -> Result<(), ApiError> {
    Ok(caller.may(operation.name(), Resource::Named(stream.as_str()))?)
}

/// What to answer to a put that cannot be read: a caller who may not put learns only that, before anything about its input. The one
/// case where a body is parsed twice.
pub(crate) fn refused_put(caller: &Caller, operation: Operation, body: &[u8], error: ApiError) -> ApiError {
    let name = match PutJson::read(body, Form::Batch).map(|input| input.stream) {
        Ok(Text::Is(name)) => Some(name),
        _ => None,
    };
    match caller.may(operation.name(), resource(name.as_deref())) {
        Ok(()) => error,
        Err(denied) => denied.into(),
    }
}

/// Any other operation; `input` is `None` where it is no JSON object.
pub(crate) fn control(caller: &Caller, operation: Operation, input: Option<&Value>) -> Result<(), ApiError> {
    let member = |name: &str| input.and_then(|input| input.get(name));
    let stream = member("DeliveryStreamName").and_then(Value::as_str);
    let resource = match operation {
        Operation::ListDeliveryStreams => Resource::All,
        _ => resource(stream),
    };
    caller.may(operation.name(), resource)?;
    // As in Firehose, tags at the creation need leave to tag.
    if operation == Operation::CreateDeliveryStream && member("Tags").is_some_and(|tags| !tags.is_null()) {
        caller.may("TagDeliveryStream", resource)?;
    }
    Ok(())
}

/// What is no name is refused later, for what it is.
fn resource(stream: Option<&str>) -> Resource<'_> {
    match stream {
        Some(name) if StreamName::try_from(name.to_owned()).is_ok() => Resource::Named(name),
        _ => Resource::Unnamed,
    }
}
