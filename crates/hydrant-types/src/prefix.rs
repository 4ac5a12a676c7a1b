//! Prefixes of object keys and the expressions in them: `!{namespace:value}`.
//!
//! Source: the developer guide's page "Custom prefixes for Amazon S3 objects"
//! (<https://docs.aws.amazon.com/firehose/latest/dev/s3-prefixes.html>). It calls the value of a timestamp a pattern of Java's
//! `DateTimeFormatter`; what is not said there is as OpenJDK has it, which printed the values that the tests compare with.

mod pattern;
mod zone;

use std::{fmt, ops::RangeInclusive};

use jiff::Zoned;

use crate::{Entropy, ErrorOutputType};

pub use pattern::Pattern;
pub use zone::time_zone;

/// Characters of a `!{firehose:random-string}`.
const RANDOM_STRING_LEN: usize = 11;

/// `Prefix` or `ErrorOutputPrefix`, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix<'a>(Vec<Part<'a>>);

/// A part of a prefix. Printed as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part<'a> {
    /// Stands for itself.
    Literal(&'a str),
    /// `!{timestamp:<pattern>}`: when the object's oldest record arrived.
    Timestamp(Pattern<'a>),
    /// `!{firehose:random-string}`: a new one at each occurrence.
    RandomString,
    /// `!{firehose:error-output-type}`
    ErrorOutputType,
    /// `!{partitionKeyFromQuery:<key>}`: a key of the jq query.
    PartitionKeyFromQuery(&'a str),
    /// `!{partitionKeyFromLambda:<key>}`: a key that the Lambda function gives.
    PartitionKeyFromLambda(&'a str),
}

/// Why a text is no prefix, in the service's words where they are known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPrefix {
    /// `!{` opens something that is no expression.
    #[error("Invalid expression usage")]
    InvalidExpression,
    /// There is no such namespace.
    #[error("Namespace to the left of colon ({0}) is an invalid keyword!")]
    InvalidNamespace(String),
    /// A timestamp's pattern is none.
    #[error("Invalid conversion character used in the value of the expression in Prefix")]
    InvalidConversion,
    /// A character that nobody wants in a key.
    #[error("Control characters are not allowed")]
    ControlCharacter,
}

impl<'a> Prefix<'a> {
    /// Reads a prefix; neighbouring parts are not both literal.
    ///
    /// # Errors
    /// The text is none.
    pub fn parse(text: &'a str) -> Result<Self, BadPrefix> {
        if text.chars().any(char::is_control) {
            return Err(BadPrefix::ControlCharacter);
        }
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((literal, after)) = rest.split_once("!{") {
            if !literal.is_empty() {
                parts.push(Part::Literal(literal));
            }
            let (expression, after) = after.split_once('}').ok_or(BadPrefix::InvalidExpression)?;
            parts.push(Part::of_expression(expression)?);
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest));
        }
        Ok(Self(parts))
    }

    /// The parts, in order.
    pub fn parts(&self) -> &[Part<'a>] {
        &self.0
    }

    /// Whether any part is an expression.
    pub fn has_expressions(&self) -> bool {
        self.0.iter().any(|part| !matches!(part, Part::Literal(_)))
    }

    /// Whether any part is the time.
    pub fn has_timestamp(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Timestamp(_)))
    }

    /// Whether any part is a partition's key.
    pub fn has_partition_key(&self) -> bool {
        let is_key = |part: &Part<'_>| {
            matches!(part, Part::PartitionKeyFromQuery(_) | Part::PartitionKeyFromLambda(_))
        };
        self.0.iter().any(is_key)
    }

    /// How many bytes it has, whenever and wherever it is evaluated; partition keys are not counted.
    pub fn bytes(&self) -> RangeInclusive<usize> {
        let least = self.0.iter().map(|part| *part.bytes().start()).sum();
        let most = self.0.iter().map(|part| *part.bytes().end()).sum();
        least..=most
    }

    /// What it stands for: every timestamp is `at`, every random string another one of `entropy`. `None` where a part stands for nothing:
    /// a partition key, an error output type where there is no `error`.
    pub fn evaluate(
        &self,
        at: &Zoned,
        error: Option<ErrorOutputType>,
        entropy: &dyn Entropy,
    ) -> Option<String> {
        let mut evaluated = String::new();
        for part in &self.0 {
            match part {
                Part::Literal(text) => evaluated.push_str(text),
                Part::Timestamp(pattern) => pattern.format(at, &mut evaluated),
                Part::RandomString => {
                    evaluated.push_str(&entropy.uuid().to_string()[..RANDOM_STRING_LEN]);
                }
                Part::ErrorOutputType => evaluated.push_str(error?.as_str()),
                Part::PartitionKeyFromQuery(_) | Part::PartitionKeyFromLambda(_) => return None,
            }
        }
        Some(evaluated)
    }
}

impl<'a> Part<'a> {
    fn of_expression(expression: &'a str) -> Result<Self, BadPrefix> {
        let (namespace, value) = expression.split_once(':').ok_or(BadPrefix::InvalidExpression)?;
        match (namespace, value) {
            ("timestamp" | "firehose" | "partitionKeyFromQuery" | "partitionKeyFromLambda", "") => {
                Err(BadPrefix::InvalidExpression)
            }
            ("timestamp", pattern) => {
                Pattern::parse(pattern).map(Part::Timestamp).ok_or(BadPrefix::InvalidConversion)
            }
            ("firehose", "random-string") => Ok(Part::RandomString),
            ("firehose", "error-output-type") => Ok(Part::ErrorOutputType),
            ("firehose", _) => Err(BadPrefix::InvalidExpression),
            ("partitionKeyFromQuery", key) => Ok(Part::PartitionKeyFromQuery(key)),
            ("partitionKeyFromLambda", key) => Ok(Part::PartitionKeyFromLambda(key)),
            (unknown, _) => Err(BadPrefix::InvalidNamespace(unknown.to_owned())),
        }
    }

    fn bytes(&self) -> RangeInclusive<usize> {
        match self {
            Self::Literal(text) => text.len()..=text.len(),
            Self::Timestamp(pattern) => pattern.bytes(),
            Self::RandomString => RANDOM_STRING_LEN..=RANDOM_STRING_LEN,
            Self::ErrorOutputType => {
                let lengths = ErrorOutputType::ALL.map(|error| error.as_str().len());
                let (least, most) = (lengths.iter().min(), lengths.iter().max());
                least.copied().unwrap_or_default()..=most.copied().unwrap_or_default()
            }
            Self::PartitionKeyFromQuery(_) | Self::PartitionKeyFromLambda(_) => 0..=0,
        }
    }
}

impl fmt::Display for Prefix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| part.fmt(f))
    }
}

impl fmt::Display for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(text) => f.write_str(text),
            Self::Timestamp(pattern) => write!(f, "!{{timestamp:{}}}", pattern.as_str()),
            Self::RandomString => f.write_str("!{firehose:random-string}"),
            Self::ErrorOutputType => f.write_str("!{firehose:error-output-type}"),
            Self::PartitionKeyFromQuery(key) => write!(f, "!{{partitionKeyFromQuery:{key}}}"),
            Self::PartitionKeyFromLambda(key) => write!(f, "!{{partitionKeyFromLambda:{key}}}"),
        }
    }
}

#[cfg(test)]
mod tests;
