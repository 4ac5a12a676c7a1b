//! Settings as they come: a file's text, and the environment laid over it. What is no setting, or has the wrong type, is told: all of it.

use std::ops::Range;

use serde::Deserialize as _;
use toml::{
    Spanned, Table, Value,
    de::{DeTable, DeValue, Deserializer, Error},
};

use super::{Environment, Faults, raw::Raw};

/// Those that are settings and have the right type; the rest is in `faults`.
#[derive(Default)]
pub(super) struct Settings {
    table: Table,
    faults: Vec<String>,
    wrong_types: bool,
}

impl Settings {
    /// `name` is what faults call `text`.
    ///
    /// # Errors
    /// The text is no TOML: the first fault of its syntax.
    pub(super) fn of_file(text: &str, name: &str) -> Result<Self, Faults> {
        let said = |error: &Error| place_and_problem(error, text, name);
        let mut document = DeTable::parse(text).map_err(|error| Faults(vec![said(&error)]))?;
        let mut errors = Vec::new();
        // serde stops at the first that it cannot take: without that one, to find the next.
        while let Err(error) = Raw::deserialize(Deserializer::from(document.clone())) {
            let removed = error.span().is_some_and(|span| remove(document.get_mut(), &span));
            errors.push(error);
            if !removed {
                break;
            }
        }
        errors.sort_by_key(|error| error.span().map(|span| span.start));
        let table = Table::deserialize(Deserializer::from(document));
        Ok(Self {
            table: table.map_err(|error| Faults(vec![said(&error)]))?,
            faults: errors.iter().map(said).collect(),
            wrong_types: errors.iter().any(is_wrong_type),
        })
    }

    /// Lays `HYDRANT_<SECTION>__<KEY>` over them. Variables without two underscores are not ours to read.
    pub(super) fn overlay(&mut self, environment: &Environment) {
        for (name, value) in environment {
            let place = name.strip_prefix("HYDRANT_").and_then(|rest| rest.split_once("__"));
            let Some((section, key)) = place.map(|(a, b)| (a.to_ascii_lowercase(), b.to_ascii_lowercase()))
            else {
                continue;
            };
            if !is_text(value) {
                self.faults.push(format!("{name}: is not UTF-8"));
                self.wrong_types = true;
                continue;
            }
            let setting = Table::from_iter([(key, Value::String(value.clone()))]);
            // By itself, so that its name can be told.
            let alone = Table::from_iter([(section.clone(), Value::Table(setting.clone()))]);
            if let Err(error) = alone.try_into::<Raw>() {
                self.faults.push(format!("{name}: {}", without_value(error.message())));
                self.wrong_types |= is_wrong_type(&error);
            } else if let Value::Table(there) =
                self.table.entry(section).or_insert_with(|| Value::Table(Table::new()))
            {
                there.extend(setting);
            }
        }
    }

    /// The text at `path`, where there is one.
    pub(super) fn text_at(&self, path: &[&str]) -> Option<String> {
        let value = path.iter().skip(1).try_fold(self.table.get(path[0])?, |value, key| value.get(key));
        value.and_then(Value::as_str).map(str::to_owned)
    }

    /// All settings, and faults of names that are none.
    ///
    /// # Errors
    /// All faults, where one is a wrong type: to go on would be to call it missing.
    pub(super) fn into_raw(mut self) -> Result<(Raw, Faults), Faults> {
        if self.wrong_types {
            return Err(Faults(self.faults));
        }
        match self.table.try_into() {
            Ok(raw) => Ok((raw, Faults(self.faults))),
            Err(error) => {
                self.faults.push(without_value(error.message()).to_owned());
                Err(Faults(self.faults))
            }
        }
    }
}

/// Whether a value of [`super::process_environment`] was text.
pub(super) fn is_text(value: &str) -> bool {
    !value.contains(char::REPLACEMENT_CHARACTER)
}

/// The other fault that a document without syntax faults can have is a name that is no setting's.
fn is_wrong_type(error: &Error) -> bool {
    !error.message().starts_with("unknown field")
}

/// Removes the innermost setting whose key or value is at `span`; false where there is none.
fn remove(table: &mut DeTable<'_>, span: &Range<usize>) -> bool {
    let inside = table.iter_mut().any(|(_, value)| match value.get_mut() {
        DeValue::Table(inner) => remove(inner, span),
        DeValue::Array(elements) => elements.iter_mut().any(|element| match element.get_mut() {
            DeValue::Table(inner) => remove(inner, span),
            _ => false,
        }),
        _ => false,
    });
    if inside {
        return true;
    }
    let settings = table.len();
    let holds = |at: Range<usize>| at.start <= span.start && span.end <= at.end;
    let taken = std::mem::take(table).into_iter();
    table.extend(taken.filter(|(key, value)| !holds(Spanned::span(key)) && !holds(value.span())));
    table.len() < settings
}

/// Line, column and problem, without the line itself: there may be a password in it.
fn place_and_problem(error: &Error, text: &str, name: &str) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("{name}: line {line}, column {column}: {}", without_value(error.message()))
}

/// A value of the wrong type is quoted in the problem, and may be a secret.
fn without_value(problem: &str) -> &str {
    let quotes = problem.starts_with("invalid type: ") || problem.starts_with("invalid value: ");
    match problem.rfind(", expected ").filter(|_| quotes) {
        Some(at) => &problem[at + 2..],
        None => problem,
    }
}
