//! A value of a result, as the Data API gives it.

use serde::{Deserialize, Serialize};

use crate::error::SqlError;

/// Most rows of a result; more is an error, as the Data API has a limit too.
pub(crate) const ROWS_MAX: usize = 100_000;
/// Most bytes of a result.
pub(crate) const BYTES_MAX: usize = 16 * 1024 * 1024;

/// One of the Data API's `Field` members.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Field {
    #[serde(rename = "isNull")]
    Null(bool),
    #[serde(rename = "longValue")]
    Long(i64),
    #[serde(rename = "doubleValue")]
    Double(f64),
    #[serde(rename = "booleanValue")]
    Boolean(bool),
    #[serde(rename = "stringValue")]
    Text(String),
}

impl Field {
    fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Null(_) | Self::Boolean(_) => 1,
            Self::Long(_) | Self::Double(_) => 8,
        }
    }
}

/// A result column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) label: String,
    #[serde(rename = "typeName")]
    pub(crate) type_name: String,
    pub(crate) nullable: i32,
}

impl Column {
    pub(crate) fn new(name: &str, type_name: &str) -> Self {
        Self {
            name: name.to_owned(),
            label: name.to_owned(),
            type_name: type_name.to_ascii_lowercase(),
            nullable: 1,
        }
    }
}

/// Rows of a statement that has a result.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ResultSet {
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<Vec<Field>>,
    pub(crate) bytes: usize,
}

impl ResultSet {
    /// Adds a row, within the limits.
    pub(crate) fn push(&mut self, row: Vec<Field>) -> Result<(), SqlError> {
        self.bytes += row.iter().map(Field::len).sum::<usize>();
        self.rows.push(row);
        if self.rows.len() > ROWS_MAX || self.bytes > BYTES_MAX {
            return Err(SqlError::new(format!(
                "the result is larger than this Redshift stand-in keeps: {ROWS_MAX} rows, {BYTES_MAX} bytes"
            )));
        }
        Ok(())
    }
}
