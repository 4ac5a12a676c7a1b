//! The service model's shapes, and the one function that checks a value against them.
//!
//! Wrong JSON types give SerializationException; violated constraints are all collected into one ValidationException, in the wording
//! without the value that the service has used since 2026.

mod pattern;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::error::ApiError;

pub(crate) use pattern::Pattern;

/// What a member's value may be.
#[derive(Debug)]
pub(crate) enum Shape {
    /// Length in characters, and what the whole must match.
    Text {
        min: usize,
        max: usize,
        pattern: Option<Pattern>,
    },
    /// One of these; printed in the service's own order.
    Enum(&'static [&'static str]),
    Integer {
        min: i64,
        max: i64,
    },
    Double {
        min: f64,
        max: f64,
    },
    Boolean,
    /// Seconds since 1970.
    Timestamp,
    /// Base64; the length is that of the bytes.
    Blob {
        min: usize,
        max: usize,
    },
    List {
        min: usize,
        max: usize,
        item: &'static Shape,
    },
    /// Keys are texts.
    Map {
        min: usize,
        max: usize,
        key: &'static Shape,
        value: &'static Shape,
    },
    Struct(&'static [Member]),
}

impl Shape {
    /// Whether a structure has a member of this name.
    pub(crate) fn has_member(&self, name: &str) -> bool {
        matches!(self, Self::Struct(members) if members.iter().any(|member| member.name == name))
    }
}

/// A member of a structure.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) name: &'static str,
    pub(crate) required: bool,
    pub(crate) shape: &'static Shape,
}

/// More than any honest request has; what is beyond is not told, so that an answer stays small.
const FINDINGS_MAX: usize = 1_000;

/// What is wrong with a value, in the order of the model's members.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    found: Vec<Finding>,
    /// Whether a member that the model does not have is one. The service ignores such; in a file it is a misspelling.
    unknown_members: bool,
    wrong_type: Option<Finding>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) path: Path,
    /// In words.
    pub(crate) text: String,
}

/// Where in an input.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Path {
    /// As the service prints it: `extendedS3DestinationConfiguration.bucketARN`, `records.2.member.data`.
    pub(crate) printed: String,
    /// As RFC 6901 has it: `/ExtendedS3DestinationConfiguration/BucketARN`, `/Records/1/Data`.
    pub(crate) pointer: String,
}

/// A path of which only the printed form matters.
impl From<&str> for Path {
    fn from(printed: &str) -> Self {
        Self { printed: printed.to_owned(), pointer: String::new() }
    }
}

impl Path {
    /// The service prints members with a lower-case first letter.
    fn member(&self, name: &str) -> Self {
        let mut letters = name.chars();
        let first = letters.next().map(|letter| letter.to_ascii_lowercase());
        let dot = if self.printed.is_empty() { "" } else { "." };
        let first = first.map(String::from).unwrap_or_default();
        Self {
            printed: format!("{}{dot}{first}{}", self.printed, letters.as_str()),
            pointer: pointer_to(&self.pointer, name),
        }
    }

    fn item(&self, at: usize) -> Self {
        Self {
            printed: format!("{}.{}.member", self.printed, at + 1),
            pointer: format!("{}/{at}", self.pointer),
        }
    }

    /// The keys or values of a map.
    fn of_map(&self, part: &str) -> Self {
        Self { printed: format!("{}.{part}", self.printed), pointer: self.pointer.clone() }
    }
}

/// The member `name` of what is at `pointer`.
pub(crate) fn pointer_to(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}

impl Findings {
    /// Checks `input` against an operation's shape.
    pub(crate) fn of(input: &Value, shape: &'static Shape) -> Self {
        let mut findings = Self::default();
        findings.check(input, shape, &Path::default());
        findings
    }

    /// Checks what stands in the place of the member `name`.
    pub(crate) fn of_member(value: &Value, shape: &'static Shape, name: &str) -> Self {
        let mut findings = Self::default();
        findings.check(value, shape, &Path::default().member(name));
        findings
    }

    /// As [`Findings::of`], and members that the model does not have are found too.
    pub(crate) fn of_strict(input: &Value, shape: &'static Shape) -> Self {
        let mut findings = Self { unknown_members: true, ..Self::default() };
        findings.check(input, shape, &Path::default());
        findings
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty() && self.wrong_type.is_none()
    }

    /// Everything that was found; wrong types first.
    pub(crate) fn into_all(self) -> impl Iterator<Item = Finding> {
        let wrong_type =
            self.wrong_type.map(|Finding { path, text }| Finding { path, text: format!("expected {text}") });
        wrong_type.into_iter().chain(self.found)
    }

    /// The answer to a request in which this was found: none where it is nothing.
    pub(crate) fn refusal(&self) -> Result<(), ApiError> {
        match &self.wrong_type {
            Some(Finding { path, text }) => Err(wrong_type(&path.printed, text)),
            None if self.found.is_empty() => Ok(()),
            None => Err(ApiError::validation(&self.found)),
        }
    }

    fn check(&mut self, value: &Value, shape: &'static Shape, path: &Path) {
        if self.found.len() >= FINDINGS_MAX && self.wrong_type.is_some() {
            return;
        }
        match (shape, value) {
            (Shape::Struct(members), Value::Object(object)) => self.check_struct(object, members, path),
            (Shape::Boolean, Value::Bool(_)) | (Shape::Timestamp, Value::Number(_)) => {}
            (Shape::Integer { min, max }, Value::Number(number)) => match number.as_i64() {
                Some(number) => self.check_range(number, *min, *max, path),
                None => self.has_wrong_type(path, "an integer"),
            },
            (Shape::Double { min, max }, Value::Number(number)) => {
                self.check_range(number.as_f64().unwrap_or(f64::INFINITY), *min, *max, path);
            }
            (Shape::Enum(values), Value::String(text)) => {
                if !values.contains(&text.as_str()) {
                    let constraint = format!("Member must satisfy enum value set: [{}]", values.join(", "));
                    self.violates(path, &constraint);
                }
            }
            (Shape::Text { .. }, Value::String(text)) => self.check_text(text, shape, path),
            (Shape::Blob { min, max }, Value::String(text)) => match STANDARD.decode(text) {
                Ok(bytes) => self.check_length(bytes.len(), *min, *max, path),
                Err(_) => self.has_wrong_type(path, "a string of base64"),
            },
            (Shape::List { min, max, item }, Value::Array(items)) => {
                self.check_length(items.len(), *min, *max, path);
                for (at, value) in items.iter().enumerate() {
                    self.check_present(value, item, &path.item(at));
                }
            }
            (Shape::Map { min, max, key, value }, Value::Object(object)) => {
                self.check_length(object.len(), *min, *max, path);
                for (name, held) in object {
                    // The key is the caller's text, which is nothing to print.
                    self.check_text(name, key, &path.of_map("key"));
                    self.check_present(held, value, &path.of_map("value"));
                }
            }
            _ => self.has_wrong_type(path, shape.json_type()),
        }
    }

    fn check_struct(
        &mut self,
        object: &serde_json::Map<String, Value>,
        members: &'static [Member],
        path: &Path,
    ) {
        for member in members {
            match object.get(member.name) {
                // A null is as if the member were not there.
                None | Some(Value::Null) if !member.required => {}
                value => {
                    self.check_present(
                        value.unwrap_or(&Value::Null),
                        member.shape,
                        &path.member(member.name),
                    );
                }
            }
        }
        if self.unknown_members {
            for name in object.keys().filter(|name| !members.iter().any(|member| member.name == *name)) {
                let names: Vec<&str> = members.iter().map(|member| member.name).collect();
                self.add(
                    &path.member(name),
                    format!("there is no such member; there are {}", names.join(", ")),
                );
            }
        }
    }

    fn check_present(&mut self, value: &Value, shape: &'static Shape, path: &Path) {
        match value {
            Value::Null => self.violates(path, "Member must not be null"),
            value => self.check(value, shape, path),
        }
    }

    fn check_range<N: PartialOrd + std::fmt::Display>(&mut self, number: N, min: N, max: N, path: &Path) {
        if number < min {
            self.violates(path, &format!("Member must have value greater than or equal to {min}"));
        }
        if number > max {
            self.violates(path, &format!("Member must have value less than or equal to {max}"));
        }
    }

    /// Checks a text against a shape that is one.
    pub(crate) fn check_text(&mut self, text: &str, shape: &'static Shape, path: &Path) {
        let Shape::Text { min, max, pattern } = shape else { return };
        self.check_length(text.chars().count(), *min, *max, path);
        if let Some(pattern) = pattern.as_ref().filter(|pattern| !pattern.matches(text)) {
            self.violates(
                path,
                &format!("Member must satisfy regular expression pattern: {}", pattern.as_str()),
            );
        }
    }

    pub(crate) fn check_length(&mut self, length: usize, min: usize, max: usize, path: &Path) {
        if length > max {
            self.violates(path, &format!("Member must have length less than or equal to {max}"));
        }
        if length < min {
            self.violates(path, &format!("Member must have length greater than or equal to {min}"));
        }
    }

    /// Notes a violated constraint in the service's words.
    pub(crate) fn violates(&mut self, path: &Path, constraint: &str) {
        self.add(path, format!("Value at '{}' failed to satisfy constraint: {constraint}", path.printed));
    }

    fn add(&mut self, path: &Path, text: String) {
        if self.found.len() < FINDINGS_MAX {
            self.found.push(Finding { path: path.clone(), text });
        }
    }

    /// One is enough: nothing else is told then. Of a file all are wanted.
    fn has_wrong_type(&mut self, path: &Path, expected: &str) {
        if self.wrong_type.is_none() {
            self.wrong_type = Some(Finding { path: path.clone(), text: expected.to_owned() });
        } else if self.unknown_members {
            self.add(path, format!("expected {expected}"));
        }
    }
}

impl Shape {
    /// What it is in JSON, in words.
    fn json_type(&self) -> &'static str {
        match self {
            Self::Text { .. } | Self::Enum(_) => "a string",
            Self::Integer { .. } => "an integer",
            Self::Double { .. } => "a number",
            Self::Boolean => "true or false",
            Self::Timestamp => "a number of seconds since 1970",
            Self::Blob { .. } => "a string of base64",
            Self::List { .. } => "a list",
            Self::Map { .. } | Self::Struct(_) => "an object",
        }
    }
}

/// Checks `input` against the shape of its operation.
pub(crate) fn check(input: &Value, shape: &'static Shape) -> Result<(), ApiError> {
    Findings::of(input, shape).refusal()
}

pub(crate) fn wrong_type(path: &str, expected: &str) -> ApiError {
    match path {
        "" => ApiError::serialization(format!("The request is not {expected}.")),
        path => ApiError::serialization(format!("Member '{path}' has the wrong type: expected {expected}.")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    static NAME: Shape = Shape::Text { min: 1, max: 4, pattern: Some(Pattern::new("[a-z]+")) };
    static LIST: Shape = Shape::List { min: 1, max: 2, item: &NAME };
    static ENDLESS: Shape = Shape::List { min: 0, max: usize::MAX, item: &NAME };
    static MAP: Shape = Shape::Map { min: 0, max: 2, key: &NAME, value: &NAME };
    static INTEGER: Shape = Shape::Integer { min: 1, max: 3 };
    static SHARE: Shape = Shape::Double { min: 0.0, max: 1.0 };
    static BLOB: Shape = Shape::Blob { min: 1, max: 2 };
    static TIME: Shape = Shape::Timestamp;
    static KIND: Shape = Shape::Enum(&["B", "A"]);

    const fn optional(name: &'static str, shape: &'static Shape) -> Member {
        Member { name, required: false, shape }
    }

    static INPUT: Shape = Shape::Struct(&[
        Member { name: "Name", required: true, shape: &NAME },
        optional("Many", &LIST),
        optional("Size", &INTEGER),
        optional("Endless", &ENDLESS),
        optional("Map", &MAP),
        optional("Share", &SHARE),
        optional("Blob", &BLOB),
        optional("Time", &TIME),
        optional("Kind", &KIND),
    ]);

    fn refusal(input: &Value) -> ApiError {
        check(input, &INPUT).unwrap_err()
    }

    fn pointers(input: &Value) -> Vec<String> {
        Findings::of_strict(input, &INPUT).into_all().map(|finding| finding.path.pointer).collect()
    }

    fn message(input: Value) -> String {
        refusal(&input).message.unwrap()
    }

    #[test]
    fn all_violations_come_in_one_message() {
        assert_eq!(
            message(json!({"Many": ["ok", "ABCDE", "x"], "Size": 9})),
            "5 validation errors detected: \
             Value at 'name' failed to satisfy constraint: Member must not be null; \
             Value at 'many' failed to satisfy constraint: Member must have length less than or equal to 2; \
             Value at 'many.2.member' failed to satisfy constraint: Member must have length less than or equal to 4; \
             Value at 'many.2.member' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-z]+; \
             Value at 'size' failed to satisfy constraint: Member must have value less than or equal to 3"
        );
        assert!(message(json!({"Name": ""})).starts_with("2 validation errors"));
        assert!(message(json!({})).starts_with("1 validation error detected: "));
    }

    #[test]
    fn every_kind_of_shape_has_its_constraints() {
        for (member, value, path, constraint) in [
            ("Size", json!(0), "size", "Member must have value greater than or equal to 1"),
            ("Share", json!(1.5), "share", "Member must have value less than or equal to 1"),
            ("Share", json!(-1), "share", "Member must have value greater than or equal to 0"),
            ("Blob", json!(""), "blob", "Member must have length greater than or equal to 1"),
            ("Blob", json!("YWJj"), "blob", "Member must have length less than or equal to 2"),
            ("Kind", json!("a"), "kind", "Member must satisfy enum value set: [B, A]"),
            ("Many", json!([]), "many", "Member must have length greater than or equal to 1"),
            ("Many", json!([null]), "many.1.member", "Member must not be null"),
            ("Map", json!({"A": "b"}), "map.key", "Member must satisfy regular expression pattern: [a-z]+"),
            ("Map", json!({"a": "B"}), "map.value", "Member must satisfy regular expression pattern: [a-z]+"),
            ("Map", json!({"a": null}), "map.value", "Member must not be null"),
            (
                "Map",
                json!({"a": "b", "b": "b", "c": "b"}),
                "map",
                "Member must have length less than or equal to 2",
            ),
        ] {
            let message = message(json!({"Name": "a", member: value}));
            let expected = format!(
                "1 validation error detected: Value at '{path}' failed to satisfy constraint: {constraint}"
            );
            assert_eq!(message, expected);
        }
        let good =
            json!({"Name": "a", "Share": 0.5, "Blob": "YQ==", "Time": 1.5e9, "Kind": "A", "Map": {"a": "b"}});
        assert!(check(&good, &INPUT).is_ok());
    }

    #[test]
    fn a_wrong_type_anywhere_is_a_serialization_error() {
        for input in [
            json!({"Name": 1}),
            json!({"Name": "a", "Size": "1"}),
            json!({"Name": "a", "Size": 1.5}),
            json!({"Name": "a", "Size": u64::MAX}),
            json!([]),
            json!({"Name": "a", "Many": {}}),
            json!({"Name": "a", "Map": []}),
            json!({"Name": "a", "Share": "0.5"}),
            json!({"Name": "a", "Blob": "a"}),
            json!({"Name": "a", "Time": "2026-01-02T03:04:05Z"}),
            json!({"Name": "TOO LONG", "Kind": ["A"]}),
        ] {
            assert_eq!(refusal(&input).code, "SerializationException", "{input}");
        }
        // Also behind more violations than are told.
        let late = json!({"Name": "a", "Endless": vec!["X"; 2_000], "Time": "now"});
        assert_eq!(refusal(&late).code, "SerializationException");
    }

    #[test]
    fn null_is_absent_and_unknown_members_are_found_only_where_they_are_wanted() {
        let input = json!({"Name": "a", "Size": null, "Else": 1, "": 2});
        assert!(check(&input, &INPUT).is_ok());
        assert_eq!(pointers(&input), ["/", "/Else"]);
    }

    #[test]
    fn a_file_is_told_every_wrong_type() {
        let input = json!({"Name": 1, "Size": "x", "Many": ["a", 2], "Kind": "C", "a/b": 1});
        assert_eq!(pointers(&input), ["/Name", "/Many/1", "/Size", "/Kind", "/a~1b"]);
    }

    #[test]
    fn an_endless_list_of_violations_is_cut() {
        let error = refusal(&json!({"Name": "a", "Endless": vec!["x1"; 100_000]}));
        assert!(error.message.unwrap().starts_with("1000 validation errors detected: "));
    }
}
