//! The service model's shapes as data, and the one function that checks a value against them.
//!
//! Bounds and texts: the service model `firehose/2015-08-04`. Wrong JSON types give SerializationException; violated constraints are all
//! collected into one ValidationException, in the wording without the value that the service has used since 2026.

use std::{collections::HashMap, sync::LazyLock};

use parking_lot::RwLock;
use regex::Regex;
use serde_json::Value;

use crate::error::ApiError;

/// What a member's value may be.
#[derive(Debug)]
pub(crate) enum Shape {
    /// Length in characters, and what the whole must match.
    Text {
        min: usize,
        max: usize,
        pattern: Pattern,
    },
    /// One of these; printed in the service's own order.
    Enum(&'static [&'static str]),
    Integer {
        min: i64,
        max: i64,
    },
    Boolean,
    List {
        min: usize,
        max: usize,
        item: &'static Shape,
    },
    Struct(&'static [Member]),
}

/// What a whole text must match.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pattern {
    /// This expression of the model.
    Regex(&'static str),
    /// Printed as this; checked by a function, for expressions that look ahead, which our engine does not.
    Checked(&'static str, fn(&str) -> bool),
    /// Printed as this, and checked as that: the service prints some otherwise than the model has them.
    Printed(&'static str, &'static str),
}

/// A member of a structure.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) name: &'static str,
    pub(crate) required: bool,
    pub(crate) shape: &'static Shape,
}

pub(crate) const fn required(name: &'static str, shape: &'static Shape) -> Member {
    Member { name, required: true, shape }
}

pub(crate) const fn optional(name: &'static str, shape: &'static Shape) -> Member {
    Member { name, required: false, shape }
}

/// Most of the model's texts: any characters but line ends.
pub(crate) const fn text(min: usize, max: usize) -> Shape {
    pattern(min, max, ".*")
}

pub(crate) const fn pattern(min: usize, max: usize, pattern: &'static str) -> Shape {
    Shape::Text { min, max, pattern: Pattern::Regex(pattern) }
}

/// More than any honest request has; what is beyond is not looked at, so that an answer stays small.
const VIOLATIONS_MAX: usize = 1_000;

/// Checks `input` against the members of its operation.
pub(crate) fn check(input: &Value, members: &'static [Member]) -> Result<(), ApiError> {
    let mut violations = Vec::new();
    check_struct(input, members, "", &mut violations)?;
    if violations.is_empty() { Ok(()) } else { Err(ApiError::validation(&violations)) }
}

fn check_struct(
    value: &Value,
    members: &'static [Member],
    path: &str,
    violations: &mut Vec<String>,
) -> Result<(), ApiError> {
    let object = value.as_object().ok_or_else(|| wrong_type(path, "an object"))?;
    for member in members {
        let path = child(path, member.name);
        match object.get(member.name) {
            // A null is as if the member were not there.
            None | Some(Value::Null) if member.required => {
                violate(violations, &path, "Member must not be null")
            }
            None | Some(Value::Null) => {}
            Some(value) => check_value(value, member.shape, &path, violations)?,
        }
    }
    Ok(())
}

fn check_value(
    value: &Value,
    shape: &'static Shape,
    path: &str,
    violations: &mut Vec<String>,
) -> Result<(), ApiError> {
    match shape {
        Shape::Struct(members) => check_struct(value, members, path, violations)?,
        Shape::Boolean => {
            value.as_bool().ok_or_else(|| wrong_type(path, "true or false"))?;
        }
        Shape::Integer { min, max } => {
            let number = value.as_i64().ok_or_else(|| wrong_type(path, "an integer"))?;
            if number < *min {
                violate(violations, path, &format!("Member must have value greater than or equal to {min}"));
            }
            if number > *max {
                violate(violations, path, &format!("Member must have value less than or equal to {max}"));
            }
        }
        Shape::Enum(values) => {
            let text = value.as_str().ok_or_else(|| wrong_type(path, "a string"))?;
            if !values.contains(&text) {
                violate(
                    violations,
                    path,
                    &format!("Member must satisfy enum value set: [{}]", values.join(", ")),
                );
            }
        }
        Shape::Text { .. } => {
            let text = value.as_str().ok_or_else(|| wrong_type(path, "a string"))?;
            check_text(text, shape, path, violations);
        }
        Shape::List { min, max, item } => {
            let items = value.as_array().ok_or_else(|| wrong_type(path, "a list"))?;
            check_length(items.len(), *min, *max, path, violations);
            for (at, value) in items.iter().enumerate() {
                if violations.len() >= VIOLATIONS_MAX {
                    break;
                }
                check_value(value, item, &format!("{path}.{}.member", at + 1), violations)?;
            }
        }
    }
    Ok(())
}

/// Checks a text against a shape that is one.
pub(crate) fn check_text(text: &str, shape: &'static Shape, path: &str, violations: &mut Vec<String>) {
    let Shape::Text { min, max, pattern } = shape else { return };
    check_length(text.chars().count(), *min, *max, path, violations);
    let (printed, matches) = match pattern {
        Pattern::Regex(regex) => (regex, matches_whole(regex, text)),
        Pattern::Checked(printed, check) => (printed, check(text)),
        Pattern::Printed(printed, regex) => (printed, matches_whole(regex, text)),
    };
    if !matches {
        violate(violations, path, &format!("Member must satisfy regular expression pattern: {printed}"));
    }
}

pub(crate) fn check_length(length: usize, min: usize, max: usize, path: &str, violations: &mut Vec<String>) {
    if length > max {
        violate(violations, path, &format!("Member must have length less than or equal to {max}"));
    }
    if length < min {
        violate(violations, path, &format!("Member must have length greater than or equal to {min}"));
    }
}

/// Adds one violation in the service's words.
pub(crate) fn violate(violations: &mut Vec<String>, path: &str, constraint: &str) {
    violations.push(format!("Value at '{path}' failed to satisfy constraint: {constraint}"));
}

pub(crate) fn wrong_type(path: &str, expected: &str) -> ApiError {
    match path {
        "" => ApiError::serialization(format!("The request is not {expected}.")),
        path => ApiError::serialization(format!("Member '{path}' has the wrong type: expected {expected}.")),
    }
}

/// `extendedS3DestinationConfiguration.bucketARN`: the service prints members with a lower-case first letter.
fn child(path: &str, name: &str) -> String {
    let mut lower: String = name.chars().take(1).flat_map(char::to_lowercase).collect();
    lower.push_str(&name[1..]);
    if path.is_empty() { lower } else { format!("{path}.{lower}") }
}

/// Java's `matches`: the whole text. Patterns are constants of the model, so there are few, and each is compiled once.
fn matches_whole(pattern: &'static str, text: &str) -> bool {
    static COMPILED: LazyLock<RwLock<HashMap<&'static str, Regex>>> = LazyLock::new(RwLock::default);
    if let Some(regex) = COMPILED.read().get(pattern) {
        return regex.is_match(text);
    }
    let regex = compile(pattern);
    let matches = regex.is_match(text);
    COMPILED.write().insert(pattern, regex);
    matches
}

/// As Java reads it: `\d` and `\w` are ASCII, and a line end is not any character (`R`).
fn compile(pattern: &str) -> Regex {
    let ascii = pattern.replace(r"\d", "[0-9]").replace(r"\w", "[a-zA-Z_0-9]");
    Regex::new(&format!("^(?R:{ascii})$")).expect("the model's patterns are constants that a test compiles")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NAME: Shape = pattern(1, 4, "[a-z]+");
    const LIST: Shape = Shape::List { min: 1, max: 2, item: &NAME };
    const MEMBERS: &[Member] = &[
        required("Name", &NAME),
        optional("Many", &LIST),
        optional("Size", &Shape::Integer { min: 1, max: 3 }),
    ];

    fn message(input: Value) -> String {
        check(&input, MEMBERS).unwrap_err().message.unwrap()
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
    fn a_wrong_type_is_a_serialization_error() {
        for input in [
            json!({"Name": 1}),
            json!({"Name": "a", "Size": "1"}),
            json!([]),
            json!({"Name": "a", "Many": {}}),
        ] {
            assert_eq!(check(&input, MEMBERS).unwrap_err().code, "SerializationException", "{input}");
        }
    }

    #[test]
    fn null_is_absent_and_unknown_members_are_ignored() {
        assert!(check(&json!({"Name": "a", "Size": null, "Else": 1}), MEMBERS).is_ok());
    }

    #[test]
    fn patterns_match_the_whole_text_as_java_does() {
        for (pattern, good, bad) in [
            ("[a-z]+", "abc", "abc1"),
            (r"\d{3}", "123", "١٢٣"),
            (r"[\w\.\-]{1,5}", "a_.-9", "ä"),
            (".*", "any — text", "two\nlines"),
            (".*", "", "a\rb"),
            (r"|\.[a-z.*]+", ".a*", ".A"),
            (r"^$|[a-z/_]+", "", "A"),
            ("a|bc", "bc", "abc"),
        ] {
            assert!(matches_whole(pattern, good), "{pattern} {good:?}");
            assert!(!matches_whole(pattern, bad), "{pattern} {bad:?}");
        }
    }

    #[test]
    fn an_endless_list_of_violations_is_cut() {
        const ENDLESS: Shape = Shape::List { min: 0, max: usize::MAX, item: &NAME };
        const ANY: &[Member] = &[optional("Many", &ENDLESS)];
        let names = vec!["x1"; 100_000];
        let error = check(&json!({"Many": names}), ANY).unwrap_err();
        assert!(error.message.unwrap().starts_with("1000 validation errors detected: "));
    }
}
