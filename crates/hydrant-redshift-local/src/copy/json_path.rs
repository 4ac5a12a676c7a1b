//! Where in a JSON record a column's value is.
//!
//! Source: Amazon Redshift Database Developer Guide, "COPY from JSON format": `$['a']['b']` or `$.a.b`, indexes as `[0]`.

use std::collections::HashMap;

use serde_json::value::RawValue;

use crate::error::SqlError;

/// A path, never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JsonPath(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Member(String),
    Index(usize),
}

/// Members by their names; numbers keep the digits that they were written with.
pub(crate) type Members<'a> = HashMap<String, &'a RawValue>;

impl JsonPath {
    pub(crate) fn parse(path: &str) -> Result<Self, SqlError> {
        let invalid = || SqlError::new(format!("Invalid JSONPath format: {path}"));
        let mut rest = path.trim().strip_prefix('$').ok_or_else(invalid)?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let (step, after) = next_step(rest).ok_or_else(invalid)?;
            steps.push(step);
            rest = after;
        }
        if steps.is_empty() { Err(invalid()) } else { Ok(Self(steps)) }
    }

    /// The value at the path in `record`.
    pub(crate) fn find<'a>(&self, record: &'a RawValue) -> Option<&'a RawValue> {
        self.0.iter().try_fold(record, |value, step| match step {
            Step::Member(name) => serde_json::from_str::<Members<'a>>(value.get()).ok()?.get(name).copied(),
            Step::Index(index) => {
                serde_json::from_str::<Vec<&'a RawValue>>(value.get()).ok()?.get(*index).copied()
            }
        })
    }
}

fn next_step(path: &str) -> Option<(Step, &str)> {
    if let Some(rest) = path.strip_prefix('.') {
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        return (!name.is_empty()).then(|| (Step::Member(name.to_owned()), after));
    }
    let rest = path.strip_prefix('[')?;
    let quote = rest.chars().next().filter(|c| matches!(c, '\'' | '"'));
    match quote {
        Some(quote) => {
            let (name, after) = rest[1..].split_once(quote)?;
            Some((Step::Member(name.to_owned()), after.strip_prefix(']')?))
        }
        None => {
            let (index, after) = rest.split_once(']')?;
            Some((Step::Index(index.trim().parse().ok()?), after))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, record: &str) -> Option<String> {
        let record: &RawValue = serde_json::from_str(record).unwrap();
        JsonPath::parse(path).unwrap().find(record).map(|value| value.get().to_owned())
    }

    #[test]
    fn both_notations_and_indexes_lead_to_the_value() {
        let record = r#"{"a":{"b":[10,{"c":1.50}]},"a.b":"dotted","2024":7}"#;
        assert_eq!(found("$.a.b[1].c", record).as_deref(), Some("1.50"));
        assert_eq!(found("$['a'][\"b\"][0]", record).as_deref(), Some("10"));
        assert_eq!(found("$['a.b']", record).as_deref(), Some("\"dotted\""));
        assert_eq!(found("$.2024", record).as_deref(), Some("7"));
        assert_eq!(found("$[1]", "[1,2]").as_deref(), Some("2"));
        assert_eq!(found("$.a.nothing", record), None);
        assert_eq!(found("$.a.b.c", record), None);
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for path in ["", "$", "a.b", "$.", "$..a", "$['a'", "$['a]", "$[x]", "$a"] {
            assert!(JsonPath::parse(path).unwrap_err().0.contains("Invalid JSONPath format"), "{path}");
        }
    }
}
