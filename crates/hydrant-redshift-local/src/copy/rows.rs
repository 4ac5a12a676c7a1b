//! An object's bytes as rows of values: JSON, CSV, or text with a delimiter.

use std::{borrow::Cow, io::Read, sync::Arc};

use serde_json::value::RawValue;

use super::{
    CopyJob, LoadError, Row,
    fields::{self, Field, Protection},
    json_path::{JsonPath, Members},
    options::{CopyOptions, Format},
    records::{Framing, Records},
    value,
};
use crate::error::SqlError;

/// Redshift's codes in stl_load_errors.
const DELIMITER_NOT_FOUND: i32 = 1201;
const EXTRA_COLUMNS: i32 = 1202;
const INVALID_LINE: i32 = 1216;
const INVALID_CHARACTERS: i32 = 1220;
const INVALID_JSON: i32 = 1230;
/// Of COPY without NULL AS.
const NULL: &str = "\\N";

/// Why there is no row.
#[derive(Debug)]
pub(super) enum RowError {
    /// This one cannot be loaded.
    Row(Box<LoadError>),
    /// The object cannot be read on.
    Object(SqlError),
}

impl From<Box<LoadError>> for RowError {
    fn from(error: Box<LoadError>) -> Self {
        Self::Row(error)
    }
}

/// The rows of one object, one after the other.
pub(super) struct Rows<R> {
    job: Arc<CopyJob>,
    file: Arc<str>,
    records: Records<R>,
    headers: u64,
}

impl<R: Read> Rows<R> {
    pub(super) fn new(job: Arc<CopyJob>, file: &str, reader: R) -> Self {
        let framing = match &job.options.format {
            Format::JsonAuto { .. } | Format::JsonPaths(_) => Framing::Json,
            Format::Delimited => Framing::Lines { escape: job.options.escape },
            Format::Csv { quote } => Framing::Csv { delimiter: csv_delimiter(&job.options), quote: *quote },
        };
        let headers = if framing == Framing::Json { 0 } else { job.options.ignore_header };
        Self { job, file: file.into(), records: Records::new(reader, framing), headers }
    }

    fn read(&mut self) -> Result<Option<Row>, RowError> {
        loop {
            let record = self.records.next().map_err(|error| {
                RowError::Object(SqlError::new(format!("Unable to read {}: {error}", self.file)))
            })?;
            let Some(record) = record else { return Ok(None) };
            if self.headers > 0 {
                self.headers -= 1;
                continue;
            }
            if record.bytes.is_empty() && self.job.options.ignore_blank_lines {
                continue;
            }
            let place = Place { job: &self.job, file: &self.file, line: record.line, bytes: record.bytes };
            if record.is_too_long {
                return Err(place.refused(INVALID_LINE, "Row exceeds the maximum size of 4 MB").into());
            }
            return Ok(Some(place.row()?));
        }
    }
}

impl<R: Read> Iterator for Rows<R> {
    type Item = Result<Row, RowError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

fn csv_delimiter(options: &CopyOptions) -> u8 {
    options.delimiter.unwrap_or(b',')
}

/// A record, and where it is.
struct Place<'a> {
    job: &'a CopyJob,
    file: &'a Arc<str>,
    line: u64,
    bytes: &'a [u8],
}

impl Place<'_> {
    fn refused(&self, code: i32, reason: &str) -> Box<LoadError> {
        let raw = String::from_utf8_lossy(self.bytes);
        Box::new(LoadError::new(self.file, self.line, &raw).because(code, reason))
    }

    fn row(&self) -> Result<Row, Box<LoadError>> {
        let text = self.text()?;
        let values = match &self.job.options.format {
            Format::Delimited | Format::Csv { .. } => self.fields(&text)?,
            Format::JsonAuto { ignore_case } => self.members(&text, *ignore_case)?,
            Format::JsonPaths(_) => self.found(&text)?,
        };
        let mut checked = Vec::with_capacity(values.len());
        for (value, column) in values.into_iter().zip(&self.job.types) {
            match value::checked(value, column, &self.job.options) {
                Ok(value) => checked.push(value),
                Err(((code, reason), value)) => {
                    let error = LoadError::new(self.file, self.line, &text);
                    return Err(Box::new(error.because(code, &reason).of_value(column, &value)));
                }
            }
        }
        Ok(Row { values: checked, file: self.file.clone(), line: self.line, raw: super::beginning(&text) })
    }

    /// The record as text, by the rule for what is not UTF-8: ACCEPTINVCHARS puts its character for each byte.
    fn text(&self) -> Result<Cow<'_, str>, Box<LoadError>> {
        match (std::str::from_utf8(self.bytes), self.job.options.accept_inv_chars) {
            (Ok(text), _) => Ok(text.into()),
            (Err(_), Some(replacement)) => {
                let mut text = String::with_capacity(self.bytes.len());
                for chunk in self.bytes.utf8_chunks() {
                    text.push_str(chunk.valid());
                    text.extend(std::iter::repeat_n(replacement, chunk.invalid().len()));
                }
                Ok(text.into())
            }
            (Err(_), None) => {
                Err(self
                    .refused(INVALID_CHARACTERS, "String contains invalid or unsupported UTF8 codepoints"))
            }
        }
    }

    fn fields(&self, text: &str) -> Result<Vec<Option<String>>, Box<LoadError>> {
        let options = &self.job.options;
        let split = match options.format {
            Format::Csv { quote } => fields::csv(text, csv_delimiter(options), quote),
            _ => {
                let protection = match (options.escape, options.remove_quotes) {
                    (true, _) => Protection::Backslash,
                    (false, true) => Protection::Quotes,
                    (false, false) => Protection::Nothing,
                };
                fields::delimited(text, options.delimiter.unwrap_or(b'|'), protection)
            }
        };
        let mut fields = split.map_err(|reason| self.refused(INVALID_LINE, reason))?;
        let wanted = self.job.types.len();
        // A delimiter at the end of the line ends the last field.
        if fields.len() == wanted + 1 && fields.last().is_some_and(|field| field.raw.is_empty()) {
            fields.pop();
        }
        if fields.len() > wanted {
            return Err(self.refused(EXTRA_COLUMNS, "Extra column(s) found"));
        }
        if fields.len() < wanted && !options.fill_record {
            return Err(self.refused(DELIMITER_NOT_FOUND, "Delimiter not found"));
        }
        let null = options.null_as.as_deref().unwrap_or(NULL);
        let value = |field: Field<'_>| (field.raw != null && field.text != null).then_some(field.text);
        let mut values: Vec<Option<String>> = fields.into_iter().map(value).collect();
        // FILLRECORD: what is missing is empty, and so NULL where it is not text.
        values.resize(wanted, Some(String::new()));
        Ok(values)
    }

    /// Values by the names of columns.
    fn members(&self, text: &str, ignore_case: bool) -> Result<Vec<Option<String>>, Box<LoadError>> {
        let members: Members<'_> = serde_json::from_str(text).map_err(|_| self.not_json())?;
        let member = |column: &str| match members.get(column) {
            None if ignore_case => {
                let same = members.iter().filter(|(name, _)| name.eq_ignore_ascii_case(column));
                // The order of a map must not decide.
                same.min_by_key(|(name, _)| *name).map(|(_, value)| *value)
            }
            found => found.copied(),
        };
        self.job.types.iter().map(|column| self.scalar(member(&column.name))).collect()
    }

    /// Values by their jsonpaths.
    fn found(&self, text: &str) -> Result<Vec<Option<String>>, Box<LoadError>> {
        let record: &RawValue = serde_json::from_str(text).map_err(|_| self.not_json())?;
        let find = |path: &JsonPath| self.scalar(path.find(record));
        self.job.options.paths.iter().map(find).collect()
    }

    /// Text without its quotes; numbers, objects and arrays as they are written.
    fn scalar(&self, value: Option<&RawValue>) -> Result<Option<String>, Box<LoadError>> {
        match value.map(RawValue::get) {
            None | Some("null") => Ok(None),
            Some(text) if text.starts_with('"') => {
                serde_json::from_str(text).map(Some).map_err(|_| self.not_json())
            }
            Some(other) => Ok(Some(other.to_owned())),
        }
    }

    fn not_json(&self) -> Box<LoadError> {
        self.refused(INVALID_JSON, "Invalid value.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copy::{TableColumn, parse::parse};

    fn job(options: &str) -> Arc<CopyJob> {
        let mut job = parse(&format!("COPY t FROM 's3://b/k' {options}")).unwrap();
        let column = |name: &str, type_name: &str, length| TableColumn {
            name: name.to_owned(),
            type_name: type_name.to_owned(),
            length,
            nullable: true,
            is_generated: false,
        };
        job.types = vec![column("id", "bigint", None), column("kind", "character varying(8)", Some(8))];
        Arc::new(job)
    }

    type Read = Result<Vec<Option<String>>, (u64, String)>;

    fn read_by(job: Arc<CopyJob>, bytes: &[u8]) -> Vec<Read> {
        Rows::new(job, "f", bytes)
            .map(|row| match row {
                Ok(row) => Ok(row.values),
                Err(RowError::Row(error)) => Err((error.line, error.reason)),
                Err(RowError::Object(error)) => panic!("{error:?}"),
            })
            .collect()
    }

    fn read(options: &str, bytes: &[u8]) -> Vec<Read> {
        read_by(job(options), bytes)
    }

    fn row(id: impl Into<Option<&'static str>>, kind: impl Into<Option<&'static str>>) -> Read {
        Ok(vec![id.into().map(str::to_owned), kind.into().map(str::to_owned)])
    }

    fn refused(line: u64, reason: &str) -> Read {
        Err((line, reason.to_owned()))
    }

    #[test]
    fn json_auto_takes_members_by_their_names() {
        let rows =
            read("JSON 'auto'", b"{\"id\":1,\"kind\":\"a\"}{\"kind\":\"b\",\"id\":\"2\"}\n\n {\"ID\":3}");
        assert_eq!(rows, [row("1", "a"), row("2", "b"), row(None, None)]);
        assert_eq!(read("JSON 'auto ignorecase'", b"{\"ID\":3,\"Kind\":null}"), [row("3", None)]);
        assert_eq!(read("JSON 'auto ignorecase'", b"{\"KIND\":\"no\",\"kind\":\"yes\"}"), [row(None, "yes")]);
    }

    #[test]
    fn json_values_that_are_no_text_keep_their_writing() {
        let rows = read(
            "JSON 'auto'",
            b"{\"id\":12,\"kind\":1.50} {\"kind\":{\"a\": 1}} {\"kind\":\"\\u00fc\\n\"} {\"kind\":true}",
        );
        assert_eq!(rows, [row("12", "1.50"), row(None, "{\"a\": 1}"), row(None, "ü\n"), row(None, "true")]);
    }

    #[test]
    fn json_paths_lead_to_members_and_elements() {
        let mut job = Arc::unwrap_or_clone(job("JSON 's3://b/paths'"));
        job.options.paths = vec![JsonPath::parse("$.a.n").unwrap(), JsonPath::parse("$['tags'][1]").unwrap()];
        let rows = read_by(Arc::new(job), b"{\"a\":{\"n\":1},\"tags\":[\"x\",\"y\"]}{\"tags\":[]}");
        assert_eq!(rows, [row("1", "y"), row(None, None)]);
    }

    #[test]
    fn what_is_not_json_is_an_error_with_its_line_and_the_rest_is_read() {
        let rows = read(
            "JSON 'auto'",
            b"{\"id\":1,\"kind\":\"a\"}\nnot json\n{\"id\":2,}\n{\"id\":\xff}\n[1,2]\n{\"id\":3}",
        );
        let invalid = |line| refused(line, "Invalid value.");
        let characters = refused(4, "String contains invalid or unsupported UTF8 codepoints");
        assert_eq!(rows, [row("1", "a"), invalid(2), invalid(3), characters, invalid(5), row("3", None)]);
        assert_eq!(read("JSON 'auto'", "[".repeat(100_000).as_bytes()), [invalid(1)]);
    }

    #[test]
    fn delimited_text_and_csv_have_as_many_fields_as_there_are_columns() {
        assert_eq!(read("", b"1|a\r\n2|b|\n"), [row("1", "a"), row("2", "b")]);
        assert_eq!(read("CSV", b"1,\"a,\"\"\nb\"\n2,x\n"), [row("1", "a,\"\nb"), row("2", "x")]);
        assert_eq!(read("CSV QUOTE '%' DELIMITER ';'", b"1;%a;b%\n"), [row("1", "a;b")]);
        assert_eq!(
            read("DELIMITER ','", b"1\n1,2,3\n"),
            [refused(1, "Delimiter not found"), refused(2, "Extra column(s) found")]
        );
        assert_eq!(read("DELIMITER ',' FILLRECORD", b"1\n"), [row("1", "")]);
        assert_eq!(read("DELIMITER '\\t' ESCAPE", b"1\ta\\\tb\n"), [row("1", "a\tb")]);
        assert_eq!(read("REMOVEQUOTES", b"1|\"a|b\"\n2|'c'\n"), [row("1", "a|b"), row("2", "c")]);
    }

    #[test]
    fn headers_and_blank_lines_are_skipped_by_option() {
        assert_eq!(read("CSV IGNOREHEADER 1", b"id,kind\n1,a\n"), [row("1", "a")]);
        assert_eq!(read("IGNOREHEADER 2", b"x\n\n1|a\n"), [row("1", "a")]);
        assert_eq!(
            read("", b"1|a\n\n2|b\n"),
            [row("1", "a"), refused(2, "Delimiter not found"), row("2", "b")]
        );
        assert_eq!(read("CSV IGNOREBLANKLINES", b"1,a\n\n2,b\n"), [row("1", "a"), row("2", "b")]);
    }

    #[test]
    fn nulls_are_what_the_options_say() {
        assert_eq!(read("", b"\\N|\\N\n"), [row(None, None)]);
        assert_eq!(read("ESCAPE", b"1|\\N\n"), [row("1", None)]);
        assert_eq!(read("NULL AS 'nil'", b"nil|nil\n1|\\N\n"), [row(None, None), row("1", "\\N")]);
        assert_eq!(read("NULL AS ''", b"1|\n"), [row("1", None)]);
        assert_eq!(read("EMPTYASNULL BLANKSASNULL", b"1|\n2|  \n"), [row("1", None), row("2", None)]);
    }

    #[test]
    fn characters_that_are_not_utf8_are_refused_or_replaced_byte_by_byte() {
        let words = "String contains invalid or unsupported UTF8 codepoints";
        assert_eq!(read("", b"1|\xff\n2|b\n"), [refused(1, words), row("2", "b")]);
        assert_eq!(read("ACCEPTINVCHARS", b"1|a\xe4\xbd\n"), [row("1", "a??")]);
        assert_eq!(read("ACCEPTINVCHARS AS '^'", "1|\u{fffd}\n".as_bytes()), [row("1", "\u{fffd}")]);
        assert_eq!(read("JSON 'auto' ACCEPTINVCHARS", b"{\"id\":1,\"kind\":\"\xff\"}"), [row("1", "?")]);
    }

    #[test]
    fn a_value_that_does_not_fit_names_its_column() {
        let mut rows =
            Rows::new(job("JSON 'auto'"), "s3://b/k", b"\n{\"id\":\"1x\",\"kind\":\"a\"}".as_slice());
        let Some(Err(RowError::Row(error))) = rows.next() else { panic!("the row is refused") };
        assert_eq!((&*error.file, error.line), ("s3://b/k", 2));
        assert_eq!((error.column.as_str(), error.type_name.as_str()), ("id", "bigint"));
        assert_eq!((error.value.as_str(), error.code), ("1x", 1207));
        assert_eq!(error.reason, "Invalid digit, Value 'x', Pos 1, Type: Long");
        assert!(error.raw.contains("\"1x\""));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..80)) {
            for options in ["", "CSV", "ESCAPE", "REMOVEQUOTES ACCEPTINVCHARS", "JSON 'auto'", "JSON 'auto ignorecase' ACCEPTINVCHARS"] {
                let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
                proptest::prop_assert!(read(options, &bytes).len() <= lines + bytes.len());
            }
        }
    }
}
