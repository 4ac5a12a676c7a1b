//! Tags in requests and answers.

use hydrant_types::{StreamOptions, Tags};
use serde_json::{Value, json};

use crate::{
    error::ApiError,
    input::{Faults, Node},
};

/// A list of tags; of a key that is given twice the last counts, and a tag without a value has an empty one. Those named `hydrant:…` are
/// settings, so they must mean something.
pub(crate) fn read(list: &Node<'_>, faults: &mut Faults) -> Tags {
    let mut tags = Tags::new();
    for tag in list.items() {
        let key = tag.at("Key").text().unwrap_or_default().to_owned();
        let value = tag.at("Value").text().unwrap_or_default().to_owned();
        let one = Tags::from([(key, value)]);
        if let Err(error) = StreamOptions::from_tags(&one) {
            faults.invalid(&tag, error.to_string());
        }
        tags.extend(one);
    }
    tags
}

/// The keys in a list of keys.
pub(crate) fn read_keys(list: &Node<'_>) -> Vec<String> {
    list.items().iter().filter_map(|key| key.text().map(str::to_owned)).collect()
}

/// A page of tags, by key.
pub(crate) fn page(tags: &Tags, after: Option<&str>, limit: usize) -> Value {
    let mut rest = tags.iter().filter(|(key, _)| after.is_none_or(|after| key.as_str() > after));
    let page: Vec<Value> =
        rest.by_ref().take(limit).map(|(key, value)| json!({"Key": key, "Value": value})).collect();
    json!({"Tags": page, "HasMoreTags": rest.next().is_some()})
}

pub(crate) fn too_many(tags_max: usize) -> ApiError {
    ApiError::limit_exceeded(format!("A Firehose can have at most {tags_max} tags."))
}
