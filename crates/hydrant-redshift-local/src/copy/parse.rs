//! COPY's text: one pass over its tokens.
//!
//! Source: Amazon Redshift Database Developer Guide, "COPY" and its pages of parameters.

use std::{iter::Peekable, vec::IntoIter};

use super::{
    CopyJob,
    lexer::{Token, tokens},
    options::{CopyOptions, Format, TimeFormat},
};
use crate::error::SqlError;

struct Parser {
    tokens: Peekable<IntoIter<Token>>,
}

/// Reads a COPY statement. What it does not know it refuses by name.
pub(crate) fn parse(sql: &str) -> Result<CopyJob, SqlError> {
    let mut parser = Parser { tokens: tokens(sql)?.into_iter().peekable() };
    parser.keyword("COPY")?;
    let table = parser.table()?;
    let columns = parser.columns()?;
    parser.keyword("FROM")?;
    let from = parser.text()?;
    if !from.starts_with("s3://") {
        return Err(SqlError::new(format!("COPY from '{from}' is not supported: expected an s3:// path")));
    }
    let mut options = CopyOptions::default();
    let mut seen: Vec<String> = Vec::new();
    while let Some(token) = parser.tokens.next() {
        let Token::Word(word) = &token else { return Err(near(&token)) };
        let word = word.to_ascii_uppercase();
        if seen.contains(&word) {
            return Err(SqlError::new(format!("conflicting or redundant options: {word} is given twice")));
        }
        parser.option(&word, &token, &mut options)?;
        seen.push(word);
    }
    check_combinations(&options, &seen)?;
    Ok(CopyJob { table, columns, from, options, types: Vec::new() })
}

fn near(token: &Token) -> SqlError {
    SqlError::new(format!("syntax error at or near \"{}\"", token.shown()))
}

fn at_end() -> SqlError {
    SqlError::new("syntax error at end of input")
}

impl Parser {
    fn next(&mut self) -> Result<Token, SqlError> {
        self.tokens.next().ok_or_else(at_end)
    }

    fn keyword(&mut self, keyword: &str) -> Result<(), SqlError> {
        match self.next()? {
            Token::Word(word) if word.eq_ignore_ascii_case(keyword) => Ok(()),
            other => Err(near(&other)),
        }
    }

    fn try_keyword(&mut self, keyword: &str) -> bool {
        let is_keyword =
            |token: &Token| matches!(token, Token::Word(word) if word.eq_ignore_ascii_case(keyword));
        self.tokens.next_if(is_keyword).is_some()
    }

    fn try_symbol(&mut self, symbol: char) -> bool {
        self.tokens.next_if_eq(&Token::Symbol(symbol)).is_some()
    }

    fn text(&mut self) -> Result<String, SqlError> {
        match self.next()? {
            Token::Text(text) => Ok(text),
            other => Err(near(&other)),
        }
    }

    fn try_text(&mut self) -> Option<String> {
        match self.tokens.next_if(|token| matches!(token, Token::Text(_)))? {
            Token::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Text after an optional AS.
    fn as_text(&mut self) -> Result<String, SqlError> {
        self.try_keyword("AS");
        self.text()
    }

    fn as_number(&mut self) -> Result<u64, SqlError> {
        self.try_keyword("AS");
        let token = self.next()?;
        let text = match &token {
            Token::Word(text) | Token::Text(text) => text,
            _ => return Err(near(&token)),
        };
        text.parse().map_err(|_| near(&token))
    }

    fn as_character(&mut self) -> Result<u8, SqlError> {
        let text = self.as_text()?;
        match text.as_bytes() {
            [character] if character.is_ascii() => Ok(*character),
            _ => Err(SqlError::new(format!("'{text}': expected a single ASCII character"))),
        }
    }

    /// A name; Redshift's names without quotes are lower case.
    fn name(&mut self) -> Result<String, SqlError> {
        match self.next()? {
            Token::Word(name) => Ok(name.to_lowercase()),
            Token::Quoted(name) => Ok(name),
            other => Err(near(&other)),
        }
    }

    /// `schema.table`, each part quoted or not.
    fn table(&mut self) -> Result<Vec<String>, SqlError> {
        let mut parts = vec![self.name()?];
        while self.try_symbol('.') {
            parts.push(self.name()?);
        }
        Ok(parts)
    }

    fn columns(&mut self) -> Result<Vec<String>, SqlError> {
        let mut columns = Vec::new();
        if !self.try_symbol('(') {
            return Ok(columns);
        }
        loop {
            let name = self.name()?;
            if columns.contains(&name) {
                return Err(SqlError::new(format!("column \"{name}\" specified more than once")));
            }
            columns.push(name);
            if self.try_symbol(')') {
                return Ok(columns);
            }
            match self.next()? {
                Token::Symbol(',') => {}
                other => return Err(near(&other)),
            }
        }
    }

    fn option(&mut self, word: &str, token: &Token, options: &mut CopyOptions) -> Result<(), SqlError> {
        match word {
            "MANIFEST" => options.manifest = true,
            "GZIP" => options.gzip = true,
            "IAM_ROLE" => {
                if !self.try_keyword("default") {
                    self.text()?;
                }
            }
            "CREDENTIALS" => drop(self.as_text()?),
            "WITH" => {
                self.keyword("CREDENTIALS")?;
                self.as_text()?;
            }
            "ACCESS_KEY_ID" | "SECRET_ACCESS_KEY" | "SESSION_TOKEN" => drop(self.as_text()?),
            "REGION" => options.region = Some(self.as_text()?),
            "FORMAT" => self.format()?,
            "JSON" => options.format = self.json()?,
            "CSV" => {
                let quote = if self.try_keyword("QUOTE") { self.as_character()? } else { b'"' };
                options.format = Format::Csv { quote };
            }
            "DELIMITER" => options.delimiter = Some(self.as_character()?),
            "IGNOREHEADER" => options.ignore_header = self.as_number()?,
            "NULL" => options.null_as = Some(self.as_text()?),
            "TIMEFORMAT" => options.time_format = time_format(&self.as_text()?),
            "DATEFORMAT" => {
                self.try_keyword("AS");
                options.date_format = self.try_text().map_or(TimeFormat::Default, |text| time_format(&text));
            }
            "ENCODING" => self.encoding()?,
            "BLANKSASNULL" => options.blanks_as_null = true,
            "EMPTYASNULL" => options.empty_as_null = true,
            "TRUNCATECOLUMNS" => options.truncate_columns = true,
            "TRIMBLANKS" => options.trim_blanks = true,
            "FILLRECORD" => options.fill_record = true,
            "IGNOREBLANKLINES" => options.ignore_blank_lines = true,
            "REMOVEQUOTES" => options.remove_quotes = true,
            "ESCAPE" => options.escape = true,
            "ACCEPTANYDATE" => options.accept_any_date = true,
            "ROUNDEC" => options.round_decimals = true,
            "EXPLICIT_IDS" => options.explicit_ids = true,
            "ACCEPTINVCHARS" => {
                self.try_keyword("AS");
                options.accept_inv_chars =
                    Some(self.try_text().and_then(|text| text.chars().next()).unwrap_or('?'));
            }
            "MAXERROR" => options.max_error = self.max_error()?,
            "IGNOREALLERRORS" => options.max_error = u64::MAX,
            "NOLOAD" => options.no_load = true,
            "COMPUPDATE" | "STATUPDATE" => {
                let _ = ["PRESET", "ON", "OFF", "TRUE", "FALSE"].iter().any(|word| self.try_keyword(word));
            }
            "COMPROWS" | "READRATIO" => drop(self.as_number()?),
            "BZIP2"
            | "LZOP"
            | "ZSTD"
            | "FIXEDWIDTH"
            | "AVRO"
            | "PARQUET"
            | "ORC"
            | "SHAPEFILE"
            | "ENCRYPTED"
            | "MASTER_SYMMETRIC_KEY"
            | "SSH" => return Err(unsupported(word)),
            _ => return Err(near(token)),
        }
        Ok(())
    }

    /// FORMAT [AS] is followed by the format, which is read as if it stood alone.
    fn format(&mut self) -> Result<(), SqlError> {
        self.try_keyword("AS");
        match self.tokens.peek() {
            Some(Token::Word(_)) => Ok(()),
            Some(other) => Err(near(other)),
            None => Err(at_end()),
        }
    }

    fn json(&mut self) -> Result<Format, SqlError> {
        self.try_keyword("AS");
        match self.try_text() {
            None => Ok(Format::JsonAuto { ignore_case: false }),
            Some(text) if text.eq_ignore_ascii_case("auto") => Ok(Format::JsonAuto { ignore_case: false }),
            Some(text) if text.eq_ignore_ascii_case("auto ignorecase") => {
                Ok(Format::JsonAuto { ignore_case: true })
            }
            Some(url) if url.starts_with("s3://") => Ok(Format::JsonPaths(url)),
            Some(other) => Err(SqlError::new(format!(
                "JSON '{other}' is not supported: expected 'auto', 'auto ignorecase' or an s3:// path"
            ))),
        }
    }

    fn encoding(&mut self) -> Result<(), SqlError> {
        self.try_keyword("AS");
        match self.next()? {
            Token::Word(name) | Token::Text(name) if name.eq_ignore_ascii_case("utf8") => Ok(()),
            Token::Word(name) | Token::Text(name) => Err(unsupported(&format!("ENCODING {name}"))),
            other => Err(near(&other)),
        }
    }

    fn max_error(&mut self) -> Result<u64, SqlError> {
        match self.as_number()? {
            // 0 and 1 mean the same, as a COPY fails with the first error either way.
            0 | 1 => Ok(0),
            number @ 2..=100_000 => Ok(number - 1),
            number => Err(SqlError::new(format!("MAXERROR {number} is out of range: 0 to 100000"))),
        }
    }
}

fn unsupported(option: &str) -> SqlError {
    SqlError::new(format!("COPY option {option} is not supported by this Redshift stand-in"))
}

fn time_format(text: &str) -> TimeFormat {
    match text.to_ascii_lowercase().as_str() {
        "auto" => TimeFormat::Auto,
        "epochsecs" => TimeFormat::EpochSeconds,
        "epochmillisecs" => TimeFormat::EpochMilliseconds,
        _ => TimeFormat::Pattern(super::datetime::pattern(text)),
    }
}

fn check_combinations(options: &CopyOptions, seen: &[String]) -> Result<(), SqlError> {
    const CREDENTIALS: [&str; 4] = ["IAM_ROLE", "CREDENTIALS", "WITH", "ACCESS_KEY_ID"];
    let has = |word: &str| seen.iter().any(|seen| seen == word);
    let mut credentials = CREDENTIALS.iter().filter(|word| has(word));
    if let (Some(one), Some(other)) = (credentials.next(), credentials.next()) {
        return Err(SqlError::new(format!("conflicting or redundant options: {one} and {other}")));
    }
    let (name, conflicts): (&str, &[&str]) = match options.format {
        Format::JsonAuto { .. } | Format::JsonPaths(_) => (
            "JSON",
            &[
                "CSV",
                "DELIMITER",
                "ESCAPE",
                "FILLRECORD",
                "IGNOREBLANKLINES",
                "NULL",
                "READRATIO",
                "REMOVEQUOTES",
            ],
        ),
        Format::Csv { .. } => ("CSV", &["JSON", "REMOVEQUOTES", "ESCAPE"]),
        Format::Delimited if options.remove_quotes => ("REMOVEQUOTES", &["ESCAPE"]),
        Format::Delimited => return Ok(()),
    };
    match conflicts.iter().find(|word| has(word)) {
        Some(word) => Err(SqlError::new(format!(
            "conflicting or redundant options: {name} is not compatible with {word}"
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
