//! The operations' shapes: Amazon Data Firehose's published service model, read once.
//!
//! Source: `model/firehose-2015-08-04.json`, which is botocore's `firehose/2015-08-04/service-2.json` without its documentation. Where the
//! service is known to print something else than its model says, the tables here say so.

use std::{collections::HashMap, sync::LazyLock};

use serde::{Deserialize, Deserializer, de};

use crate::{
    jdbc,
    shape::{Member, Pattern, Shape},
};

const FILE: &str = include_str!("../model/firehose-2015-08-04.json");

/// Enums whose values the service prints in another order than the model has.
const PRINTED_ENUMS: [(&str, &[&str]); 3] = [
    ("CompressionFormat", &["ZIP", "HADOOP_SNAPPY", "Snappy", "GZIP", "UNCOMPRESSED"]),
    (
        "ProcessorType",
        &[
            "Decompression",
            "Lambda",
            "RecordDeAggregation",
            "MetadataExtraction",
            "AppendDelimiterToRecord",
            "CloudWatchLogProcessing",
        ],
    ),
    (
        "ProcessorParameterName",
        &[
            "DataMessageExtraction",
            "NumberOfRetries",
            "Delimiter",
            "RoleArn",
            "JsonParsingEngine",
            "SubRecordType",
            "MetadataExtractionQuery",
            "BufferIntervalInSeconds",
            "LambdaArn",
            "BufferSizeInMBs",
            "CompressionFormat",
        ],
    ),
];

/// Patterns that the service prints otherwise than the model has them.
const PRINTED_PATTERNS: [(&str, &str); 1] = [("FileExtension", r"^(|\.[0-9a-z!\-_.*'()]+)$")];

type Check = fn(&str) -> bool;

/// Patterns that our engine does not have, and what checks them.
const CHECKED_PATTERNS: [(&str, Check); 1] = [("ClusterJDBCURL", jdbc::matches)];

static MODEL: LazyLock<Model> =
    LazyLock::new(|| Model::read(FILE).expect("the model is a constant that a test reads"));

struct Model {
    shapes: HashMap<String, &'static Shape>,
    operations: HashMap<String, Operation>,
}

/// The shape of an operation's input.
///
/// # Panics
/// Where there is no such operation.
pub(crate) fn input(operation: &str) -> &'static Shape {
    shape(&MODEL.operations[operation].input.shape)
}

/// The shape of this name.
///
/// # Panics
/// Where there is none.
pub(crate) fn shape(name: &str) -> &'static Shape {
    MODEL.shapes[name]
}

/// The file, as far as it is read.
#[derive(Deserialize)]
struct File {
    operations: HashMap<String, Operation>,
    shapes: HashMap<String, Raw>,
}

#[derive(Deserialize)]
struct Operation {
    input: Reference,
    #[cfg(test)]
    output: Reference,
    #[cfg(test)]
    #[serde(default)]
    errors: Vec<Reference>,
}

#[derive(Deserialize)]
struct Reference {
    shape: String,
}

/// A shape as the file has it.
#[derive(Deserialize)]
struct Raw {
    #[serde(rename = "type")]
    kind: Kind,
    #[serde(default)]
    members: InOrder,
    #[serde(default)]
    required: Vec<String>,
    #[serde(rename = "enum", default)]
    values: Vec<String>,
    member: Option<Reference>,
    key: Option<Reference>,
    value: Option<Reference>,
    pattern: Option<String>,
    min: Option<i64>,
    max: Option<i64>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Structure,
    String,
    Integer,
    Double,
    Boolean,
    Timestamp,
    Blob,
    List,
    Map,
}

/// The members in the file's order, which is the order in which their violations are told.
#[derive(Default)]
struct InOrder(Vec<(String, Reference)>);

impl<'de> Deserialize<'de> for InOrder {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> de::Visitor<'de> for Members {
            type Value = InOrder;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("members by name")
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<InOrder, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(InOrder(members))
            }
        }
        from.deserialize_map(Members)
    }
}

impl Model {
    fn read(text: &str) -> Result<Self, String> {
        let file: File = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let mut builder = Builder { raw: &file.shapes, built: HashMap::new(), under_way: Vec::new() };
        for name in file.shapes.keys() {
            builder.build(name)?;
        }
        let shapes = builder.built;
        match file.operations.values().find(|operation| !shapes.contains_key(&operation.input.shape)) {
            Some(operation) => Err(format!("there is no shape {}", operation.input.shape)),
            None => Ok(Self { shapes, operations: file.operations }),
        }
    }
}

/// Makes shapes, each after those it refers to. They live as long as the program.
struct Builder<'a> {
    raw: &'a HashMap<String, Raw>,
    built: HashMap<String, &'static Shape>,
    under_way: Vec<String>,
}

impl Builder<'_> {
    fn build(&mut self, name: &str) -> Result<&'static Shape, String> {
        if let Some(shape) = self.built.get(name) {
            return Ok(shape);
        }
        if self.under_way.iter().any(|outer| outer == name) {
            return Err(format!("shape {name} contains itself"));
        }
        let raw = self.raw.get(name).ok_or_else(|| format!("there is no shape {name}"))?;
        self.under_way.push(name.to_owned());
        let shape: &'static Shape = Box::leak(Box::new(self.make(name, raw)?));
        self.under_way.pop();
        self.built.insert(name.to_owned(), shape);
        Ok(shape)
    }

    fn make(&mut self, name: &str, raw: &Raw) -> Result<Shape, String> {
        let length = |bound: Option<i64>, otherwise| bound.map_or(otherwise, |n| n.max(0) as usize);
        let (length_min, length_max) = (length(raw.min, 0), length(raw.max, usize::MAX));
        let (min, max) = (raw.min.unwrap_or(i64::MIN), raw.max.unwrap_or(i64::MAX));
        Ok(match raw.kind {
            Kind::Structure => Shape::Struct(self.members(raw)?),
            Kind::String if !raw.values.is_empty() => Shape::Enum(printed_values(name, &raw.values)?),
            Kind::String => {
                let pattern = raw.pattern.as_deref().map(|pattern| read_pattern(name, pattern));
                Shape::Text { min: length_min, max: length_max, pattern }
            }
            Kind::Integer => Shape::Integer { min, max },
            Kind::Double => Shape::Double { min: min as f64, max: max as f64 },
            Kind::Boolean => Shape::Boolean,
            Kind::Timestamp => Shape::Timestamp,
            Kind::Blob => Shape::Blob { min: length_min, max: length_max },
            Kind::List => {
                let item = self.refer(name, raw.member.as_ref())?;
                Shape::List { min: length_min, max: length_max, item }
            }
            Kind::Map => Shape::Map {
                min: length_min,
                max: length_max,
                key: self.refer(name, raw.key.as_ref())?,
                value: self.refer(name, raw.value.as_ref())?,
            },
        })
    }

    fn members(&mut self, raw: &Raw) -> Result<&'static [Member], String> {
        let mut members = Vec::with_capacity(raw.members.0.len());
        for (name, reference) in &raw.members.0 {
            let shape = self.build(&reference.shape)?;
            members.push(Member { name: leak(name), required: raw.required.contains(name), shape });
        }
        Ok(Vec::leak(members))
    }

    fn refer(&mut self, name: &str, reference: Option<&Reference>) -> Result<&'static Shape, String> {
        self.build(&reference.ok_or_else(|| format!("shape {name} does not say what it holds"))?.shape)
    }
}

fn leak(text: &str) -> &'static str {
    String::leak(text.to_owned())
}

fn printed_values(name: &str, values: &[String]) -> Result<&'static [&'static str], String> {
    let Some((_, printed)) = PRINTED_ENUMS.iter().find(|(shape, _)| *shape == name) else {
        return Ok(Vec::leak(values.iter().map(|value| leak(value)).collect()));
    };
    let same = printed.len() == values.len() && values.iter().all(|value| printed.contains(&value.as_str()));
    same.then_some(*printed).ok_or_else(|| format!("the values of {name} are not the ones printed"))
}

fn read_pattern(name: &str, pattern: &str) -> Pattern {
    let pattern = leak(pattern);
    if let Some((_, check)) = CHECKED_PATTERNS.iter().find(|(shape, _)| *shape == name) {
        return Pattern::checked(pattern, *check);
    }
    let printed = PRINTED_PATTERNS.iter().find(|(shape, _)| *shape == name);
    Pattern::printed(printed.map_or(pattern, |(_, printed)| printed), pattern)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use hydrant_types::limits;
    use serde_json::{Value, json};

    use super::*;
    use crate::{operations, put, shape};

    #[test]
    fn every_operation_of_the_model_is_ours_and_no_other() {
        let ours: HashSet<&str> =
            operations::Operation::ALL.iter().map(|operation| operation.name()).collect();
        let model: HashSet<&str> = MODEL.operations.keys().map(String::as_str).collect();
        assert_eq!(ours, model);
    }

    #[test]
    fn every_pattern_of_the_model_compiles() {
        let mut patterns = 0;
        for (name, shape) in &MODEL.shapes {
            if let Shape::Text { pattern: Some(pattern), .. } = shape {
                assert!(pattern.compile().is_ok(), "{name}: {pattern:?}");
                patterns += 1;
            }
        }
        assert!(patterns > 50, "{patterns} patterns were tried");
    }

    #[test]
    fn every_table_names_shapes_that_there_are() {
        let file: Value = serde_json::from_str(FILE).unwrap();
        for (name, printed) in PRINTED_PATTERNS {
            assert_ne!(file["shapes"][name]["pattern"], printed, "{name}");
        }
        for name in
            PRINTED_ENUMS.map(|(name, _)| name).into_iter().chain(CHECKED_PATTERNS.map(|(name, _)| name))
        {
            assert!(file["shapes"][name].is_object(), "{name}");
        }
    }

    /// Every error that an operation has in the model has a code that is counted, but for those that nothing here can lead to.
    #[test]
    fn every_code_of_the_model_is_known() {
        const NEVER: [&str; 1] = ["InvalidSourceException"];
        for (name, operation) in &MODEL.operations {
            assert!(MODEL.shapes.contains_key(&operation.output.shape), "{name}");
            for error in &operation.errors {
                let code = error.shape.as_str();
                assert!(crate::error::CODES.contains(&code) || NEVER.contains(&code), "{name}: {code}");
            }
        }
    }

    #[test]
    fn the_limits_of_puts_are_the_models() {
        let Shape::Blob { min: 0, max } = super::shape("Data") else { panic!("Data is a blob") };
        assert_eq!(*max, limits::RECORD_BYTES_MAX);
        let Shape::List { min: 1, max, .. } = super::shape("PutRecordBatchRequestEntryList") else {
            panic!("Records is a list")
        };
        assert_eq!(*max, limits::BATCH_RECORDS_MAX);
        let Shape::Text { min: 1, max, .. } = super::shape("DeliveryStreamName") else {
            panic!("a name is a text")
        };
        assert_eq!(*max, limits::STREAM_NAME_LEN_MAX);
    }

    /// Puts have a reader of their own, for speed; it finds what the model says.
    #[test]
    fn puts_are_refused_as_the_model_says() {
        let long = "n".repeat(65);
        for (operation, input) in [
            ("PutRecord", json!({})),
            ("PutRecord", json!({"DeliveryStreamName": long, "Record": {}})),
            ("PutRecord", json!({"DeliveryStreamName": "a b", "Record": {"Data": null}})),
            ("PutRecord", json!({"DeliveryStreamName": "", "Record": null})),
            ("PutRecord", json!({"DeliveryStreamName": 1, "Record": {"Data": "YQ=="}})),
            ("PutRecord", json!({"DeliveryStreamName": "s", "Record": {"Data": "?"}})),
            ("PutRecord", json!({"DeliveryStreamName": "s", "Record": {"Data": "YWFh".repeat(341_334)}})),
            ("PutRecordBatch", json!({"Records": []})),
            ("PutRecordBatch", json!({"DeliveryStreamName": "s", "Records": [{"Data": ""}, {}, null]})),
            ("PutRecordBatch", json!({"DeliveryStreamName": "ä", "Records": {}})),
            ("PutRecordBatch", json!({"DeliveryStreamName": "s", "Records": vec![json!({"Data": ""}); 501]})),
        ] {
            let body = input.to_string();
            let read = match operation {
                "PutRecord" => put::read_one(body.as_bytes()),
                _ => put::read_batch(body.as_bytes()),
            };
            let (found, expected) =
                (read.err().unwrap(), shape::check(&input, super::input(operation)).unwrap_err());
            assert_eq!(found.code, expected.code, "{body:.100}");
            if found.code == "ValidationException" {
                assert_eq!(found.message, expected.message);
            }
        }
    }

    #[test]
    fn a_model_that_makes_no_sense_is_refused() {
        for (text, words) in [
            (r#"{"operations":{},"shapes":{"A":{"type":"list","member":{"shape":"A"}}}}"#, "contains itself"),
            (r#"{"operations":{},"shapes":{"A":{"type":"list","member":{"shape":"B"}}}}"#, "no shape B"),
            (r#"{"operations":{},"shapes":{"A":{"type":"list"}}}"#, "what it holds"),
            (r#"{"operations":{},"shapes":{"A":{"type":"float"}}}"#, "float"),
            (
                r#"{"operations":{},"shapes":{"CompressionFormat":{"type":"string","enum":["LZ4"]}}}"#,
                "not the ones printed",
            ),
        ] {
            let error = Model::read(text).err().unwrap();
            assert!(error.contains(words), "{error}");
        }
    }
}
