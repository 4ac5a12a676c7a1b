//! COPY's options.

use super::json_path::JsonPath;

/// How records are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Format {
    /// Text with a delimiter, Redshift's default.
    Delimited,
    Csv {
        quote: u8,
    },
    /// Members by name; column names in lower case.
    JsonAuto {
        ignore_case: bool,
    },
    /// The S3 URL of a file of paths.
    JsonPaths(String),
}

/// How dates, or times, are written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum TimeFormat {
    /// As Redshift prints them.
    #[default]
    Default,
    Auto,
    EpochSeconds,
    EpochMilliseconds,
    /// In jiff's words.
    Pattern(String),
}

/// COPY's options that have an effect.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CopyOptions {
    pub(crate) format: Format,
    /// Of a jsonpaths file, once it is read.
    pub(crate) paths: Vec<JsonPath>,
    pub(crate) manifest: bool,
    pub(crate) gzip: bool,
    /// Of the buckets.
    pub(crate) region: Option<String>,
    pub(crate) delimiter: Option<u8>,
    pub(crate) ignore_header: u64,
    pub(crate) null_as: Option<String>,
    pub(crate) time_format: TimeFormat,
    pub(crate) date_format: TimeFormat,
    pub(crate) blanks_as_null: bool,
    pub(crate) empty_as_null: bool,
    pub(crate) truncate_columns: bool,
    pub(crate) trim_blanks: bool,
    pub(crate) fill_record: bool,
    pub(crate) ignore_blank_lines: bool,
    pub(crate) remove_quotes: bool,
    pub(crate) escape: bool,
    pub(crate) accept_any_date: bool,
    pub(crate) round_decimals: bool,
    pub(crate) explicit_ids: bool,
    /// Takes the place of each byte that is not UTF-8.
    pub(crate) accept_inv_chars: Option<char>,
    /// COPY fails beyond this many rows that could not be loaded.
    pub(crate) max_error: u64,
    pub(crate) no_load: bool,
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self {
            format: Format::Delimited,
            paths: Vec::new(),
            manifest: false,
            gzip: false,
            region: None,
            delimiter: None,
            ignore_header: 0,
            null_as: None,
            time_format: TimeFormat::Default,
            date_format: TimeFormat::Default,
            blanks_as_null: false,
            empty_as_null: false,
            truncate_columns: false,
            trim_blanks: false,
            fill_record: false,
            ignore_blank_lines: false,
            remove_quotes: false,
            escape: false,
            accept_any_date: false,
            round_decimals: false,
            explicit_ids: false,
            accept_inv_chars: None,
            max_error: 0,
            no_load: false,
        }
    }
}
