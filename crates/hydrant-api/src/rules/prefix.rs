//! Prefixes of object keys and the expressions in them: `!{namespace:value}`.

use std::fmt;

use hydrant_types::limits;

use crate::input::{Faults, Node};

/// Longest evaluated prefix, so that a key with date, name and extension behind it is within S3's 1,024 bytes.
pub(crate) const EVALUATED_BYTES_MAX: usize = 512;
const _: () = assert!(EVALUATED_BYTES_MAX < limits::OBJECT_KEY_LEN_MAX / 2 + 1);

/// A new one at each occurrence.
const RANDOM_STRING_LEN: usize = 11;

/// Letters that have a meaning in a pattern of `java.time`, as the service takes them.
const PATTERN_LETTERS: &str = "ABDEFGHKLMNOQSWXYZacdeghkmnqsuvwxyz";

/// A part of a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    Literal(&'a str),
    /// A pattern of Java's DateTimeFormatter.
    Timestamp(&'a str),
    RandomString,
    ErrorOutputType,
    /// A key of the jq query, or one that the Lambda function gives.
    PartitionKey(&'a str),
}

/// Why a text is no prefix; printed in the service's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BadPrefix {
    InvalidExpression,
    InvalidNamespace(String),
    InvalidConversion,
    ControlCharacter,
}

impl fmt::Display for BadPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidExpression => f.write_str("Invalid expression usage"),
            Self::InvalidNamespace(name) => {
                write!(f, "Namespace to the left of colon ({name}) is an invalid keyword!")
            }
            Self::InvalidConversion => {
                f.write_str("Invalid conversion character used in the value of the expression in Prefix")
            }
            Self::ControlCharacter => f.write_str("Control characters are not allowed"),
        }
    }
}

/// The parts of a prefix, in order; neighbouring parts are not both literal.
pub(crate) fn parse(prefix: &str) -> Result<Vec<Part<'_>>, BadPrefix> {
    if prefix.chars().any(char::is_control) {
        return Err(BadPrefix::ControlCharacter);
    }
    let (mut parts, mut rest) = (Vec::new(), prefix);
    while let Some((literal, after)) = rest.split_once("!{") {
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        let (expression, after) = after.split_once('}').ok_or(BadPrefix::InvalidExpression)?;
        parts.push(parse_expression(expression)?);
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Literal(rest));
    }
    Ok(parts)
}

fn parse_expression(expression: &str) -> Result<Part<'_>, BadPrefix> {
    let (namespace, value) = expression.split_once(':').ok_or(BadPrefix::InvalidExpression)?;
    match (namespace, value) {
        ("timestamp" | "firehose" | "partitionKeyFromQuery" | "partitionKeyFromLambda", "") => {
            Err(BadPrefix::InvalidExpression)
        }
        ("timestamp", pattern) => check_pattern(pattern).map(|()| Part::Timestamp(pattern)),
        ("firehose", "random-string") => Ok(Part::RandomString),
        ("firehose", "error-output-type") => Ok(Part::ErrorOutputType),
        ("firehose", _) => Err(BadPrefix::InvalidExpression),
        ("partitionKeyFromQuery" | "partitionKeyFromLambda", key) => Ok(Part::PartitionKey(key)),
        (unknown, _) => Err(BadPrefix::InvalidNamespace(unknown.to_owned())),
    }
}

/// What stands between single quotes is literal.
fn check_pattern(pattern: &str) -> Result<(), BadPrefix> {
    let mut quoted = false;
    for letter in pattern.chars() {
        match letter {
            '\'' => quoted = !quoted,
            _ if quoted => {}
            '[' | ']' | '#' | '{' | '}' => return Err(BadPrefix::InvalidConversion),
            letter if letter.is_ascii_alphabetic() && !PATTERN_LETTERS.contains(letter) => {
                return Err(BadPrefix::InvalidConversion);
            }
            _ => {}
        }
    }
    if quoted { Err(BadPrefix::InvalidConversion) } else { Ok(()) }
}

/// No key that the prefix begins has less of it.
fn evaluated_bytes_min(parts: &[Part<'_>]) -> usize {
    let bytes = parts.iter().map(|part| match part {
        Part::Literal(text) => text.len(),
        Part::RandomString => RANDOM_STRING_LEN,
        _ => 0,
    });
    bytes.sum()
}

/// Whether a text has expressions, or something that looks like one.
pub(crate) fn has_expressions(prefix: &str) -> bool {
    prefix.contains("!{")
}

fn bad(at: &Node<'_>, constraint: impl fmt::Display, faults: &mut Faults) {
    let message = format!("The supplied prefix(es) do not satisfy the following constraint: {constraint}");
    faults.invalid(at, message);
}

/// Redshift's staging takes literal prefixes only.
pub(super) fn check_none(config: &Node<'_>, faults: &mut Faults) {
    let (prefix, error_prefix) = (config.at("Prefix"), config.at("ErrorOutputPrefix"));
    let expressions = prefix.text().is_some_and(has_expressions);
    if expressions || error_prefix.filled().is_some() {
        let at = if expressions { &prefix } else { &error_prefix };
        let constraint =
            "Prefix Expressions or ErrorOutputPrefix is currently not supported for this destination";
        bad(at, constraint, faults);
    }
}

/// Checks `Prefix` and `ErrorOutputPrefix` of an S3 configuration.
pub(super) fn check(config: &Node<'_>, partitioned: bool, faults: &mut Faults) {
    let (prefix, error_prefix) = (config.at("Prefix"), config.at("ErrorOutputPrefix"));
    let parts = read(&prefix, "prefix", faults);
    let error_parts = read(&error_prefix, "ErrorOutputPrefix", faults);
    let (Some(parts), Some(error_parts)) = (parts, error_parts) else { return };
    let is_literal = |part: &Part<'_>| matches!(part, Part::Literal(_));
    let is_partition = |part: &Part<'_>| matches!(part, Part::PartitionKey(_));
    if parts.contains(&Part::ErrorOutputType) {
        let constraint = "Prefix must not contain any occurrence of !{firehose:error-output-type}";
        bad(&prefix, constraint, faults);
    }
    if !parts.iter().all(is_literal) && error_prefix.filled().is_none() {
        let constraint = "ErrorOutputPrefix cannot be null or empty when Prefix contains expressions";
        bad(&prefix, constraint, faults);
    }
    if !error_parts.iter().all(is_literal) && !error_parts.contains(&Part::ErrorOutputType) {
        let constraint =
            "ErrorOutputPrefix must contain at least one occurrence of !{firehose:error-output-type}";
        bad(&error_prefix, constraint, faults);
    }
    if error_parts.iter().any(is_partition) {
        let constraint = "Dynamic Partitioning Namespaces can't be part of an error prefix expression";
        bad(&error_prefix, constraint, faults);
    }
    if partitioned && !parts.iter().any(is_partition) {
        let constraint =
            "S3 Prefix should contain Dynamic Partitioning namespaces when Dynamic Partitioning is enabled";
        bad(config, constraint, faults);
    }
}

/// A prefix's parts; `None` where it is none, which is noted.
fn read<'a>(at: &Node<'a>, evaluated: &str, faults: &mut Faults) -> Option<Vec<Part<'a>>> {
    let parts = match parse(at.text().unwrap_or_default()) {
        Ok(parts) => parts,
        Err(error) => {
            bad(at, error, faults);
            return None;
        }
    };
    // In bytes, as S3 counts a key.
    if evaluated_bytes_min(&parts) > EVALUATED_BYTES_MAX {
        bad(
            at,
            format!("Length of evaluated {evaluated} cannot be greater than {EVALUATED_BYTES_MAX}"),
            faults,
        );
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn prefixes_are_literals_and_expressions() {
        assert_eq!(parse(""), Ok(vec![]));
        assert_eq!(parse("a/!b}{/"), Ok(vec![Part::Literal("a/!b}{/")]));
        let all = "a/!{timestamp:yyyy'/T'}!{firehose:random-string}/!{partitionKeyFromQuery:id}\
                   !{partitionKeyFromLambda:x:y}!{firehose:error-output-type}";
        let expected = vec![
            Part::Literal("a/"),
            Part::Timestamp("yyyy'/T'"),
            Part::RandomString,
            Part::Literal("/"),
            Part::PartitionKey("id"),
            Part::PartitionKey("x:y"),
            Part::ErrorOutputType,
        ];
        assert_eq!(parse(all), Ok(expected));
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        use BadPrefix::{ControlCharacter, InvalidConversion, InvalidExpression, InvalidNamespace};
        for (prefix, error) in [
            ("a/!{", InvalidExpression),
            ("!{timestamp}", InvalidExpression),
            ("!{timestamp:}", InvalidExpression),
            ("!{firehose:random}", InvalidExpression),
            ("!{partitionKeyFromQuery:}", InvalidExpression),
            ("!{Timestamp:yyyy}", InvalidNamespace("Timestamp".to_owned())),
            ("!{:yyyy}", InvalidNamespace(String::new())),
            ("!{timestamp:yyyy-mm-DDThh}", InvalidConversion),
            ("!{timestamp:yyyy'T}", InvalidConversion),
            ("!{timestamp:[yyyy]}", InvalidConversion),
            ("a\u{7}", ControlCharacter),
            ("a\u{85}", ControlCharacter),
        ] {
            assert_eq!(parse(prefix), Err(error), "{prefix:?}");
        }
    }

    proptest! {
        /// Whatever is parsed is the whole prefix, piece by piece.
        #[test]
        fn nothing_of_a_prefix_is_lost(prefix in r"(!\{|\}|:|timestamp|firehose|random-string|yyyy|'|[a-zä\n/]){0,20}") {
            if let Ok(parts) = parse(&prefix) {
                let mut written = String::new();
                for part in parts {
                    match part {
                        Part::Literal(text) => written.push_str(text),
                        Part::Timestamp(pattern) => written.push_str(&format!("!{{timestamp:{pattern}}}")),
                        Part::RandomString => written.push_str("!{firehose:random-string}"),
                        Part::ErrorOutputType => written.push_str("!{firehose:error-output-type}"),
                        Part::PartitionKey(_) => unreachable!("no such namespace is generated"),
                    }
                }
                prop_assert_eq!(written, prefix);
            }
        }
    }
}
