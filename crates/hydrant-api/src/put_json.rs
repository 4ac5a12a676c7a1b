//! PutRecord and PutRecordBatch as serde_json reads them: the specification that the scanner is held to.
//!
//! Only what is looked at is kept, and of a list no more than may be in it, so that no body makes more of itself in memory than it is
//! on the wire. A wrong type is noted rather than refused here, since only the caller knows the member's path. Unknown members are
//! passed over; of a member that is repeated the last counts.

use std::{borrow::Cow, fmt};

use hydrant_types::limits;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::error::ApiError;

/// Either operation's input.
pub(crate) struct PutJson<'a> {
    pub(crate) stream: Text<'a>,
    pub(crate) records: Records<'a>,
}

/// `Records` of a PutRecordBatch, or the `Record` of a PutRecord as a list of one.
pub(crate) enum Records<'a> {
    /// Not given, or null.
    Absent,
    WrongType,
    /// The first records, one more than there may be at most; and how many there are.
    List(Vec<Record<'a>>, usize),
}

/// One record.
pub(crate) enum Record<'a> {
    Absent,
    WrongType,
    Data(Text<'a>),
}

/// A member that should be a string.
pub(crate) enum Text<'a> {
    Absent,
    WrongType,
    Is(Cow<'a, str>),
}

/// Which operation's members are read.
#[derive(Clone, Copy)]
pub(crate) enum Form {
    One,
    Batch,
}

impl<'a> PutJson<'a> {
    /// Reads a body; anything but one JSON object is refused.
    pub(crate) fn read(body: &'a [u8], form: Form) -> Result<Self, ApiError> {
        let text =
            std::str::from_utf8(body).map_err(|_| ApiError::serialization("The request is not UTF-8."))?;
        let mut json = serde_json::Deserializer::from_str(text);
        form.deserialize(&mut json)
            .and_then(|input| json.end().map(|()| input))
            .map_err(|error| not_json(&error))
    }
}

/// What is wrong with a body that cannot be read.
pub(crate) fn not_json(error: &serde_json::Error) -> ApiError {
    match error.classify() {
        serde_json::error::Category::Data => ApiError::serialization("The request is not an object."),
        _ => ApiError::serialization(format!("The request is not JSON: {error}")),
    }
}

impl<'de> DeserializeSeed<'de> for Form {
    type Value = PutJson<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<PutJson<'de>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Form {
    type Value = PutJson<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<PutJson<'de>, A::Error> {
        let mut input = PutJson { stream: Text::Absent, records: Records::Absent };
        while let Some(Name(name)) = members.next_key()? {
            match (name.as_ref(), self) {
                ("DeliveryStreamName", _) => input.stream = members.next_value()?,
                ("Records", Self::Batch) => input.records = members.next_value()?,
                ("Record", Self::One) => input.records = Records::List(vec![members.next_value()?], 1),
                _ => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        Ok(input)
    }
}

/// A member's name, borrowed where it has no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Scalars of the wrong type.
macro_rules! scalars_are {
    ($wrong:expr) => {
        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            Ok($wrong)
        }
        fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
            Ok($wrong)
        }
        fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
            Ok($wrong)
        }
        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
            Ok($wrong)
        }
    };
}

macro_rules! strings_are {
    ($wrong:expr) => {
        fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
            Ok($wrong)
        }
    };
}

macro_rules! lists_are {
    ($wrong:expr) => {
        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            while items.next_element::<IgnoredAny>()?.is_some() {}
            Ok($wrong)
        }
    };
}

macro_rules! objects_are {
    ($wrong:expr) => {
        fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
            while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            Ok($wrong)
        }
    };
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Text::Absent)
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text::Is(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text::Is(Cow::Owned(text.to_owned())))
            }
            scalars_are!(Text::WrongType);
            lists_are!(Text::WrongType);
            objects_are!(Text::WrongType);
        }
        deserializer.deserialize_any(TextVisitor)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Record<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RecordVisitor;
        impl<'de> Visitor<'de> for RecordVisitor {
            type Value = Record<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Record::Absent)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
                let mut data = Text::Absent;
                while let Some(Name(name)) = members.next_key()? {
                    match name.as_ref() {
                        "Data" => data = members.next_value()?,
                        _ => drop(members.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(Record::Data(data))
            }
            scalars_are!(Record::WrongType);
            strings_are!(Record::WrongType);
            lists_are!(Record::WrongType);
        }
        deserializer.deserialize_any(RecordVisitor)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Records<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RecordsVisitor;
        impl<'de> Visitor<'de> for RecordsVisitor {
            type Value = Records<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Records::Absent)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut records = Vec::new();
                while records.len() <= limits::BATCH_RECORDS_MAX {
                    match items.next_element()? {
                        Some(record) => records.push(record),
                        None => {
                            let count = records.len();
                            return Ok(Records::List(records, count));
                        }
                    }
                }
                let mut count = records.len();
                while items.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Records::List(records, count))
            }
            scalars_are!(Records::WrongType);
            strings_are!(Records::WrongType);
            objects_are!(Records::WrongType);
        }
        deserializer.deserialize_any(RecordsVisitor)
    }
}
