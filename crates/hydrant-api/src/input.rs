//! An input whose shape is right, while it is read: where one is in it, and what is wrong with it that its shape does not say.

use serde_json::Value;

use crate::{error::ApiError, shape};

static ABSENT: Value = Value::Null;

/// A place in an input. Members that are not given are places too.
#[derive(Clone)]
pub(crate) struct Node<'a> {
    value: &'a Value,
    /// RFC 6901.
    pointer: String,
}

impl<'a> Node<'a> {
    pub(crate) fn root(value: &'a Value) -> Self {
        Self { value, pointer: String::new() }
    }

    pub(crate) fn at(&self, member: &str) -> Self {
        Self {
            value: self.value.get(member).unwrap_or(&ABSENT),
            pointer: shape::pointer_to(&self.pointer, member),
        }
    }

    pub(crate) fn is_given(&self) -> bool {
        !self.value.is_null()
    }

    pub(crate) fn value(&self) -> &'a Value {
        self.value
    }

    pub(crate) fn text(&self) -> Option<&'a str> {
        self.value.as_str()
    }

    /// A text that is not empty.
    pub(crate) fn filled(&self) -> Option<&'a str> {
        self.text().filter(|text| !text.is_empty())
    }

    pub(crate) fn number(&self) -> Option<u64> {
        self.value.as_u64()
    }

    pub(crate) fn is_true(&self) -> bool {
        self.value == &Value::Bool(true)
    }

    pub(crate) fn is(&self, text: &str) -> bool {
        self.text() == Some(text)
    }

    pub(crate) fn items(&self) -> Vec<Self> {
        let items = self.value.as_array().map(Vec::as_slice).unwrap_or_default();
        let pointer = |at| format!("{}/{at}", self.pointer);
        items.iter().enumerate().map(|(at, value)| Self { value, pointer: pointer(at) }).collect()
    }
}

/// What is wrong, in the order in which it is checked: the first is what a request is answered.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Fault>);

/// One thing that is wrong.
#[derive(Debug)]
pub(crate) struct Fault {
    /// The place, as RFC 6901 has it.
    pub(crate) pointer: String,
    pub(crate) error: ApiError,
}

impl Faults {
    pub(crate) fn add(&mut self, at: &Node<'_>, error: ApiError) {
        self.0.push(Fault { pointer: at.pointer.clone(), error });
    }

    pub(crate) fn invalid(&mut self, at: &Node<'_>, message: impl Into<String>) {
        self.add(at, ApiError::invalid_argument(message));
    }

    /// Valid for Firehose, and nothing that this service does.
    pub(crate) fn not_yet(&mut self, at: &Node<'_>, what: &str) {
        self.invalid(at, format!("{what} is not supported by this service yet."));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn into_all(self) -> Vec<Fault> {
        self.0
    }

    /// `read`, or the first fault. Where nothing was read there is one.
    pub(crate) fn or<T>(self, read: Option<T>) -> Result<T, ApiError> {
        match (self.0.into_iter().next(), read) {
            (Some(fault), _) => Err(fault.error),
            (None, Some(read)) => Ok(read),
            (None, None) => Err(ApiError::internal()),
        }
    }
}
