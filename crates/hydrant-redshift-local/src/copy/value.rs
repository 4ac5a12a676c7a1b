//! A field's text as a value of its column, by Redshift's rules and in its words, whatever the engine would take.
//!
//! Source of codes and words: Amazon Redshift Database Developer Guide, "Load error reference" and "Data conversion parameters".

use super::{TableColumn, datetime, options::CopyOptions};

/// Why a value cannot be loaded: Redshift's code, and its words.
pub(super) type Refusal = (i32, String);

const OUT_OF_RANGE: i32 = 1204;
const INVALID_DATE: i32 = 1205;
const INVALID_TIMESTAMP: i32 = 1206;
const INVALID_DIGIT: i32 = 1207;
const INVALID_FLOAT: i32 = 1208;
const INVALID_DECIMAL: i32 = 1209;
const INVALID_BOOLEAN: i32 = 1210;
const NULL_IN_NOT_NULL: i32 = 1213;

/// What COPY has to know of a column's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Integer {
        bits: u32,
        name: &'static str,
    },
    Decimal {
        precision: Option<usize>,
        scale: usize,
    },
    Float,
    Boolean,
    Date,
    Timestamp,
    Text,
    /// Left to the engine.
    Other,
}

/// The kind of a type as Postgres or the table's author writes it: `character varying(32)`, `INT8`.
fn kind_of(type_name: &str) -> Kind {
    let name = type_name.to_ascii_lowercase();
    let (base, arguments) = match name.split_once('(') {
        Some((base, rest)) => (base.trim(), rest.split(')').next().unwrap_or_default()),
        None => (name.trim(), ""),
    };
    let mut numbers = arguments.split(',').map(|number| number.trim().parse::<usize>().ok());
    match base {
        "smallint" | "int2" => Kind::Integer { bits: 16, name: "Short" },
        "integer" | "int" | "int4" => Kind::Integer { bits: 32, name: "Integer" },
        "bigint" | "int8" => Kind::Integer { bits: 64, name: "Long" },
        "decimal" | "numeric" => {
            let precision = numbers.next().flatten();
            Kind::Decimal { precision, scale: numbers.next().flatten().unwrap_or(0) }
        }
        "real" | "float4" | "float" | "float8" | "double precision" | "double" => Kind::Float,
        "boolean" | "bool" => Kind::Boolean,
        "date" => Kind::Date,
        // `timestamp(3) without time zone` is cut at its parenthesis.
        name if name.starts_with("timestamp") || name == "datetime" => Kind::Timestamp,
        name if ["char", "text", "string"].iter().any(|text| name.contains(text)) => Kind::Text,
        _ => Kind::Other,
    }
}

/// The text to be stored in `column`; `None` is NULL.
pub(super) fn checked(
    value: Option<String>,
    column: &TableColumn,
    options: &CopyOptions,
) -> Result<Option<String>, (Refusal, String)> {
    let kind = kind_of(&column.type_name);
    let value = value.and_then(|value| not_null(value, kind, options));
    let Some(value) = value else {
        if column.nullable {
            return Ok(None);
        }
        let reason = "Missing data for not-null field".to_owned();
        return Err(((NULL_IN_NOT_NULL, reason), String::new()));
    };
    match converted(&value, kind, column, options) {
        Ok(converted) => Ok(converted),
        Err(refusal) => Err((refusal, value)),
    }
}

/// Blank and empty fields are NULL by option in text, and always in other types.
fn not_null(mut value: String, kind: Kind, options: &CopyOptions) -> Option<String> {
    let is_blank = value.trim().is_empty();
    if kind != Kind::Text {
        return (!is_blank).then_some(value);
    }
    if (options.empty_as_null && value.is_empty())
        || (options.blanks_as_null && is_blank && !value.is_empty())
    {
        return None;
    }
    if options.trim_blanks {
        value.truncate(value.trim_end().len());
    }
    // Neither engine is given what Postgres cannot hold.
    value.retain(|c| c != '\0');
    Some(value)
}

fn converted(
    value: &str,
    kind: Kind,
    column: &TableColumn,
    options: &CopyOptions,
) -> Result<Option<String>, Refusal> {
    let trimmed = value.trim();
    match kind {
        Kind::Integer { bits, name } => integer(trimmed, bits, name).map(Some),
        Kind::Decimal { precision, scale } => {
            decimal(trimmed, precision, scale, options.round_decimals).map(Some)
        }
        Kind::Float => match trimmed.parse::<f64>() {
            Ok(_) => Ok(Some(trimmed.to_owned())),
            Err(_) => Err((INVALID_FLOAT, format!("Invalid float format, Value '{trimmed}'"))),
        },
        Kind::Boolean => boolean(trimmed).map(Some),
        Kind::Date => match datetime::date(trimmed, &options.date_format) {
            Some(date) => Ok(Some(date)),
            None if options.accept_any_date => Ok(None),
            None => Err((INVALID_DATE, "Invalid Date Format - length must be 10 or more".to_owned())),
        },
        Kind::Timestamp => match datetime::timestamp(trimmed, &options.time_format) {
            Some(timestamp) => Ok(Some(timestamp)),
            None if options.accept_any_date => Ok(None),
            None => Err((
                INVALID_TIMESTAMP,
                "Invalid timestamp format or value [YYYY-MM-DD HH24:MI:SS]".to_owned(),
            )),
        },
        Kind::Text => text(value, column.length, options.truncate_columns).map(Some),
        Kind::Other => Ok(Some(value.to_owned())),
    }
}

fn integer(value: &str, bits: u32, name: &str) -> Result<String, Refusal> {
    let digits = value.strip_prefix(['-', '+']).unwrap_or(value);
    let wrong = digits.char_indices().find(|(_, c)| !c.is_ascii_digit());
    if let Some((at, wrong)) = wrong.or_else(|| digits.is_empty().then_some((0, ' '))) {
        let at = at + value.len() - digits.len();
        return Err((INVALID_DIGIT, format!("Invalid digit, Value '{wrong}', Pos {at}, Type: {name}")));
    }
    let limit = 1_i128 << (bits - 1);
    match value.parse::<i128>() {
        Ok(number) if (-limit..limit).contains(&number) => Ok(number.to_string()),
        _ => Err((OUT_OF_RANGE, format!("Overflow, Value '{value}', Type: {name}"))),
    }
}

/// Digits beyond the scale are cut off, as COPY does without ROUNDEC.
fn decimal(value: &str, precision: Option<usize>, scale: usize, round: bool) -> Result<String, Refusal> {
    let digits = value.strip_prefix(['-', '+']).unwrap_or(value);
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let is_number = value.parse::<f64>().is_ok_and(f64::is_finite);
    if !is_number || !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Err((INVALID_DECIMAL, format!("Invalid digit, Value '{value}', Type: Decimal")));
    }
    let (Some(precision), true) = (precision, is_plain) else { return Ok(value.to_owned()) };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.trim_start_matches('0').len() > precision.saturating_sub(scale) {
        return Err((INVALID_DECIMAL, format!("Numeric data overflow (result precision), Value '{value}'")));
    }
    if round || fraction.len() <= scale {
        return Ok(value.to_owned());
    }
    let cut = value.len() - (fraction.len() - scale);
    Ok(value[..cut].trim_end_matches('.').to_owned())
}

fn boolean(value: &str) -> Result<String, Refusal> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "1" => Ok("1".to_owned()),
        "false" | "f" | "no" | "n" | "0" => Ok("0".to_owned()),
        _ => Err((INVALID_BOOLEAN, "Unknown boolean format".to_owned())),
    }
}

/// Lengths in Redshift are bytes.
fn text(value: &str, length: Option<usize>, truncate: bool) -> Result<String, Refusal> {
    match length {
        Some(length) if value.len() > length => {
            if !truncate {
                return Err((OUT_OF_RANGE, "String length exceeds DDL length".to_owned()));
            }
            Ok(value[..value.floor_char_boundary(length)].to_owned())
        }
        _ => Ok(value.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copy::parse::parse;

    fn stored(type_name: &str, options: &str, value: &str) -> Result<Option<String>, String> {
        let length = type_name.split(['(', ')']).nth(1).and_then(|length| length.parse().ok());
        let is_text = type_name.contains("char");
        let column = TableColumn {
            name: "c".to_owned(),
            type_name: type_name.to_owned(),
            length: length.filter(|_| is_text),
            nullable: !type_name.ends_with("not null"),
            is_generated: false,
        };
        let options = parse(&format!("COPY t FROM 's3://b/k' {options}")).unwrap().options;
        checked(Some(value.to_owned()), &column, &options)
            .map_err(|((code, reason), _)| format!("{code} {reason}"))
    }

    fn is(text: &str) -> Result<Option<String>, String> {
        Ok(Some(text.to_owned()))
    }

    #[test]
    fn integers_have_digits_and_a_range() {
        assert_eq!(stored("BIGINT", "", " -9223372036854775808 "), is("-9223372036854775808"));
        assert_eq!(stored("int4", "", "+12"), is("12"));
        for (kind, value, reason) in [
            ("smallint", "32768", "1204 Overflow, Value '32768', Type: Short"),
            ("integer", "1.5", "1207 Invalid digit, Value '.', Pos 1, Type: Integer"),
            ("bigint", "-x", "1207 Invalid digit, Value 'x', Pos 1, Type: Long"),
            ("bigint", "9223372036854775808", "1204 Overflow, Value '9223372036854775808', Type: Long"),
            ("bigint", "-", "1207 Invalid digit, Value ' ', Pos 1, Type: Long"),
        ] {
            assert_eq!(stored(kind, "", value), Err(reason.to_owned()), "{value}");
        }
    }

    #[test]
    fn decimals_are_cut_at_their_scale_and_keep_every_digit_before_it() {
        assert_eq!(stored("DECIMAL(10,2)", "", "1234.567"), is("1234.56"));
        assert_eq!(stored("DECIMAL(10,2)", "ROUNDEC", "1234.567"), is("1234.567"));
        assert_eq!(
            stored("numeric(38,0)", "", "12345678901234567890123456789.9"),
            is("12345678901234567890123456789")
        );
        assert_eq!(stored("numeric", "", "1e3"), is("1e3"));
        assert!(stored("numeric(4,2)", "", "123.4").unwrap_err().starts_with("1209 Numeric data overflow"));
        for value in ["nan", "inf", "1.2.3", "x", "1,5"] {
            assert!(stored("numeric(4,2)", "", value).unwrap_err().starts_with("1209"), "{value}");
        }
    }

    #[test]
    fn booleans_floats_dates_and_times_are_checked() {
        for value in ["true", "T", "yes", "y", "1"] {
            assert_eq!(stored("BOOL", "", value), is("1"));
        }
        assert_eq!(stored("boolean", "", "No"), is("0"));
        assert_eq!(stored("boolean", "", "maybe"), Err("1210 Unknown boolean format".to_owned()));
        assert_eq!(stored("double precision", "", "1e-3"), is("1e-3"));
        assert!(stored("real", "", "1,5").unwrap_err().starts_with("1208"));
        assert_eq!(stored("date", "DATEFORMAT 'DD.MM.YYYY'", "02.01.2026"), is("2026-01-02"));
        assert!(stored("date", "", "tomorrow").unwrap_err().starts_with("1205"));
        assert_eq!(stored("date", "ACCEPTANYDATE DATEFORMAT 'auto'", "00/00/0000"), Ok(None));
        assert_eq!(
            stored("timestamp without time zone", "TIMEFORMAT 'epochsecs'", "1767323045"),
            is("2026-01-02 03:04:05")
        );
        assert!(stored("TIMESTAMP", "", "soon").unwrap_err().starts_with("1206"));
    }

    #[test]
    fn empty_and_blank_fields_are_null_by_option_in_text_and_always_elsewhere() {
        for (kind, options, value, stored_as) in [
            ("varchar(4)", "", "", is("")),
            ("varchar(4)", "", "  ", is("  ")),
            ("varchar(4)", "EMPTYASNULL", "", Ok(None)),
            ("varchar(4)", "EMPTYASNULL", " ", is(" ")),
            ("varchar(4)", "BLANKSASNULL", " \t", Ok(None)),
            ("varchar(4)", "BLANKSASNULL", "", is("")),
            ("varchar(4)", "TRIMBLANKS", "a  ", is("a")),
            ("bigint", "", "", Ok(None)),
            ("bigint", "", "  ", Ok(None)),
            ("bigint not null", "", "", Ok(None)),
        ] {
            // A type name with words after it is of no kind that is known: it stands for any.
            let stored_as = if kind.ends_with("not null") {
                Err("1213 Missing data for not-null field".to_owned())
            } else {
                stored_as
            };
            assert_eq!(stored(kind, options, value), stored_as, "{kind} {options} {value:?}");
        }
    }

    #[test]
    fn text_is_measured_in_bytes_and_cut_between_characters() {
        assert_eq!(stored("varchar(4)", "", "für"), is("für"));
        assert_eq!(
            stored("character varying(4)", "", "fürs"),
            Err("1204 String length exceeds DDL length".to_owned())
        );
        assert_eq!(stored("varchar(4)", "TRUNCATECOLUMNS", "für immer"), is("für"));
        assert_eq!(stored("varchar(2)", "TRUNCATECOLUMNS", "fü"), is("f"));
        assert_eq!(stored("varchar(9)", "", "a\0b"), is("ab"));
        assert_eq!(stored("interval", "", "1 day"), is("1 day"), "what is not known is left to the engine");
    }
}
