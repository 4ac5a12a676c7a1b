//! A line as fields: text with a delimiter, or CSV.

/// A field as written, its quotes and escapes undone in `text`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field<'a> {
    pub(super) raw: &'a str,
    pub(super) text: String,
}

/// How delimited text writes a delimiter within a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protection {
    Nothing,
    /// ESCAPE: a backslash before it.
    Backslash,
    /// REMOVEQUOTES: quotes, single or double, around the field.
    Quotes,
}

/// Splits delimited text.
pub(super) fn delimited(
    line: &str,
    delimiter: u8,
    protection: Protection,
) -> Result<Vec<Field<'_>>, &'static str> {
    let mut fields = Vec::new();
    let mut begin = 0;
    loop {
        let rest = &line[begin..];
        let (len, text) = match protection {
            Protection::Nothing => plain(rest, delimiter),
            Protection::Backslash => escaped(rest, delimiter),
            Protection::Quotes => quoted(rest, delimiter)?,
        };
        fields.push(Field { raw: &rest[..len], text });
        if begin + len == line.len() {
            return Ok(fields);
        }
        begin += len + 1;
    }
}

/// The length of the field at the start, and its text.
fn plain(rest: &str, delimiter: u8) -> (usize, String) {
    let len = rest.find(char::from(delimiter)).unwrap_or(rest.len());
    (len, rest[..len].to_owned())
}

fn escaped(rest: &str, delimiter: u8) -> (usize, String) {
    let mut text = String::new();
    let mut characters = rest.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' => text.extend(characters.next().map(|(_, c)| c)),
            c if c == char::from(delimiter) => return (at, text),
            c => text.push(c),
        }
    }
    (rest.len(), text)
}

fn quoted(rest: &str, delimiter: u8) -> Result<(usize, String), &'static str> {
    let Some(quote) = rest.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
        return Ok(plain(rest, delimiter));
    };
    let closing = rest[1..].find(quote).ok_or("Closing quote not found")?;
    let end = closing + 2;
    if end < rest.len() && rest.as_bytes()[end] != delimiter {
        return Err("Delimiter not found after closing quote");
    }
    Ok((end, rest[1..=closing].to_owned()))
}

/// Splits CSV.
pub(super) fn csv(line: &str, delimiter: u8, quote: u8) -> Result<Vec<Field<'_>>, &'static str> {
    let (delimiter, quote) = (char::from(delimiter), char::from(quote));
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let (len, text) = match rest.strip_prefix(quote) {
            Some(inner) => csv_quoted(inner, quote)?,
            None => {
                let len = rest.find(delimiter).unwrap_or(rest.len());
                (len, rest[..len].to_owned())
            }
        };
        fields.push(Field { raw: &rest[..len], text });
        match rest[len..].strip_prefix(delimiter) {
            Some(after) => rest = after,
            None if len == rest.len() => return Ok(fields),
            None => return Err("Invalid quote formatting for CSV"),
        }
    }
}

/// The length with both quotes, and what is within, doubled quotes made one.
fn csv_quoted(inner: &str, quote: char) -> Result<(usize, String), &'static str> {
    let mut text = String::new();
    let mut characters = inner.char_indices().peekable();
    while let Some((at, c)) = characters.next() {
        if c == quote && characters.next_if(|(_, next)| *next == quote).is_none() {
            return Ok((at + 2, text));
        }
        text.push(c);
    }
    Err("Invalid quote formatting for CSV")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(fields: Result<Vec<Field<'_>>, &'static str>) -> Result<Vec<String>, &'static str> {
        fields.map(|fields| fields.into_iter().map(|field| field.text).collect())
    }

    fn are(fields: &[&str]) -> Result<Vec<String>, &'static str> {
        Ok(fields.iter().map(|field| (*field).to_owned()).collect())
    }

    #[test]
    fn delimiters_can_be_protected() {
        assert_eq!(texts(delimited("a||\"b", b'|', Protection::Nothing)), are(&["a", "", "\"b"]));
        assert_eq!(texts(delimited("a\\|b|\\\\|c\\", b'|', Protection::Backslash)), are(&["a|b", "\\", "c"]));
        let fields = delimited("\\N|x", b'|', Protection::Backslash).unwrap();
        assert_eq!((fields[0].raw, fields[0].text.as_str()), ("\\N", "N"));
        assert_eq!(texts(delimited("'a|b'|\"c\"|d'", b'|', Protection::Quotes)), are(&["a|b", "c", "d'"]));
        assert_eq!(texts(delimited("'a|b", b'|', Protection::Quotes)), Err("Closing quote not found"));
        assert_eq!(texts(delimited("", b'|', Protection::Nothing)), are(&[""]));
    }

    #[test]
    fn csv_with_broken_quotes_is_refused() {
        assert_eq!(texts(csv("1,\"a\"\"b,\n\",", b',', b'"')), are(&["1", "a\"b,\n", ""]));
        for line in ["\"a", "\"a\"b", "\"a\" ,b"] {
            assert_eq!(texts(csv(line, b',', b'"')), Err("Invalid quote formatting for CSV"), "{line}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_a_csv_writer_wrote_is_read(fields in proptest::collection::vec("[a\",\n ü]{0,5}", 1..5)) {
            let mut writer = csv::WriterBuilder::new().from_writer(Vec::new());
            writer.write_record(&fields).unwrap();
            let line = String::from_utf8(writer.into_inner().unwrap()).unwrap();
            let line = line.strip_suffix('\n').unwrap();
            proptest::prop_assert_eq!(texts(super::csv(line, b',', b'"')), Ok(fields));
        }
    }
}
