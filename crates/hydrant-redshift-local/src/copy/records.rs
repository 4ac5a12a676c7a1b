//! An object's bytes as records, one after the other, in a bounded buffer.

use std::io::{self, Read};

/// Redshift's limit of a row is 4 MB.
const RECORD_LEN_MAX: usize = 4 * 1024 * 1024;
const READ_LEN: usize = 64 * 1024;

/// How records follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// Lines; with `escape` a backslash takes the next byte with it.
    Lines { escape: bool },
    /// Lines, but a field in quotes may hold line ends.
    Csv { delimiter: u8, quote: u8 },
    /// JSON objects or arrays, with or without white space between them.
    Json,
}

/// Reads one record after the other.
pub(super) struct Records<R> {
    reader: R,
    framing: Framing,
    buffer: Vec<u8>,
    start: usize,
    ended: bool,
    /// Of the byte at `start`.
    line: u64,
}

/// One record.
#[derive(Debug, PartialEq)]
pub(super) struct Record<'a> {
    /// The line it begins on, from 1.
    pub(super) line: u64,
    /// Without its line end.
    pub(super) bytes: &'a [u8],
    /// It is longer than Redshift takes; `bytes` are its beginning.
    pub(super) is_too_long: bool,
}

impl<R: Read> Records<R> {
    pub(super) fn new(reader: R, framing: Framing) -> Self {
        Self { reader, framing, buffer: Vec::new(), start: 0, ended: false, line: 0 }
    }

    /// The next record, until there is none.
    pub(super) fn next(&mut self) -> io::Result<Option<Record<'_>>> {
        if self.line == 0 {
            self.skip_byte_order_mark()?;
        }
        if self.framing == Framing::Json {
            self.skip_white_space()?;
        }
        let mut scanner = Scanner::new(self.framing);
        let mut len = 0;
        loop {
            let found = self.buffer[self.start + len..].iter().position(|byte| scanner.ends_after(*byte));
            if let Some(at) = found {
                return Ok(Some(self.take(len + at + 1)));
            }
            len = self.buffer.len() - self.start;
            if len > RECORD_LEN_MAX || !self.fill()? {
                break;
            }
        }
        // The end of the object, or of what is taken: the scanner is not satisfied.
        if len == 0 {
            return Ok(None);
        }
        let is_last_line = len <= RECORD_LEN_MAX && !matches!(self.framing, Framing::Json);
        let line_end = self.buffer[self.start..].iter().position(|byte| *byte == b'\n');
        match line_end {
            Some(at) if !is_last_line => {
                let is_too_long = at >= RECORD_LEN_MAX;
                Ok(Some(Record { is_too_long, ..self.take(at + 1) }))
            }
            _ if len > RECORD_LEN_MAX => self.skip_line(),
            _ => Ok(Some(self.take(len))),
        }
    }

    /// Takes `len` bytes as a record.
    fn take(&mut self, len: usize) -> Record<'_> {
        let line = self.line;
        let range = self.start..self.start + len;
        self.line += newlines(&self.buffer[range.clone()]);
        self.start = range.end;
        let bytes = &self.buffer[range];
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        Record { line, bytes: bytes.strip_suffix(b"\r").unwrap_or(bytes), is_too_long: false }
    }

    /// Skips to the next line, keeping the beginning of this one.
    fn skip_line(&mut self) -> io::Result<Option<Record<'_>>> {
        const KEPT: usize = 1024;
        let line = self.line;
        let begin = self.buffer[self.start..self.start + KEPT].to_vec();
        self.start = self.buffer.len();
        loop {
            if let Some(at) = self.buffer[self.start..].iter().position(|byte| *byte == b'\n') {
                self.start += at + 1;
                self.line += 1;
                break;
            }
            self.start = self.buffer.len();
            if !self.fill()? {
                break;
            }
        }
        // Where it is kept does not matter to what follows.
        self.buffer.splice(..self.start, begin);
        self.start = KEPT;
        Ok(Some(Record { line, bytes: &self.buffer[..KEPT], is_too_long: true }))
    }

    fn skip_byte_order_mark(&mut self) -> io::Result<()> {
        self.line = 1;
        while self.buffer.len() < 3 && self.fill()? {}
        if self.buffer.starts_with(b"\xef\xbb\xbf") {
            self.start = 3;
        }
        Ok(())
    }

    fn skip_white_space(&mut self) -> io::Result<()> {
        loop {
            let rest = &self.buffer[self.start..];
            let found = rest.iter().position(|byte| !byte.is_ascii_whitespace());
            let blank = found.unwrap_or(rest.len());
            self.line += newlines(&rest[..blank]);
            self.start += blank;
            if found.is_some() || !self.fill()? {
                return Ok(());
            }
        }
    }

    /// Reads more; `false` at the end.
    fn fill(&mut self) -> io::Result<bool> {
        if self.ended {
            return Ok(false);
        }
        self.buffer.drain(..self.start);
        self.start = 0;
        let filled = self.buffer.len();
        self.buffer.resize(filled + READ_LEN, 0);
        let read = loop {
            match self.reader.read(&mut self.buffer[filled..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.buffer.truncate(filled + *read.as_ref().unwrap_or(&0));
        self.ended = read? == 0;
        Ok(!self.ended)
    }
}

fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// Looks at one byte after the other for the end of a record.
struct Scanner {
    framing: Framing,
    state: State,
    depth: u32,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    /// Where a field or value may begin.
    Begin,
    Within,
    Quoted,
    /// After a backslash, within quotes (JSON) or anywhere (lines).
    Escaped,
    /// After a quote within quotes: the end, or half of a doubled one.
    Quote,
    /// Something that is no JSON object or array: a record until the end of its line.
    Broken,
}

impl Scanner {
    fn new(framing: Framing) -> Self {
        Self { framing, state: State::Begin, depth: 0 }
    }

    fn ends_after(&mut self, byte: u8) -> bool {
        match self.framing {
            Framing::Lines { escape } => self.line(byte, escape),
            Framing::Csv { delimiter, quote } => self.csv(byte, delimiter, quote),
            Framing::Json => self.json(byte),
        }
    }

    fn line(&mut self, byte: u8, escape: bool) -> bool {
        if self.state == State::Escaped {
            self.state = State::Within;
            return false;
        }
        if escape && byte == b'\\' {
            self.state = State::Escaped;
        }
        byte == b'\n'
    }

    fn csv(&mut self, byte: u8, delimiter: u8, quote: u8) -> bool {
        self.state = match self.state {
            State::Quoted if byte == quote => State::Quote,
            State::Quoted => State::Quoted,
            State::Begin | State::Quote if byte == quote => State::Quoted,
            _ if byte == delimiter => State::Begin,
            _ => State::Within,
        };
        byte == b'\n' && self.state != State::Quoted
    }

    fn json(&mut self, byte: u8) -> bool {
        match (self.state, byte) {
            // A line end within a string is not JSON: the record is broken, and ends.
            (State::Broken | State::Quoted | State::Escaped, b'\n') => return true,
            (State::Broken, _) => {}
            (State::Escaped, _) => self.state = State::Quoted,
            (State::Quoted, b'\\') => self.state = State::Escaped,
            (State::Quoted, b'"') => self.state = State::Within,
            (State::Quoted, _) => {}
            (State::Begin, b'{' | b'[') => {
                self.state = State::Within;
                self.depth = 1;
            }
            (State::Begin, _) => self.state = State::Broken,
            (_, b'"') => self.state = State::Quoted,
            (_, b'{' | b'[') => self.depth += 1,
            (_, b'}' | b']') => self.depth -= 1,
            _ => {}
        }
        self.depth == 0 && self.state == State::Within
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a few bytes at a time, as networks do.
    struct Trickle<'a>(&'a [u8], usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let len = self.1.min(self.0.len()).min(buffer.len());
            buffer[..len].copy_from_slice(&self.0[..len]);
            self.0 = &self.0[len..];
            Ok(len)
        }
    }

    fn read(framing: Framing, bytes: &[u8], at_once: usize) -> Vec<(u64, String)> {
        let mut records = Records::new(Trickle(bytes, at_once), framing);
        let mut all = Vec::new();
        while let Some(record) = records.next().unwrap() {
            assert!(!record.is_too_long);
            all.push((record.line, String::from_utf8(record.bytes.to_vec()).unwrap()));
        }
        all
    }

    fn are(records: &[(u64, &str)]) -> Vec<(u64, String)> {
        records.iter().map(|(line, text)| (*line, (*text).to_owned())).collect()
    }

    #[test]
    fn records_are_found_however_the_bytes_arrive() {
        let csv = Framing::Csv { delimiter: b',', quote: b'"' };
        for at_once in [1, 3, 1000] {
            let lines = Framing::Lines { escape: false };
            assert_eq!(read(lines, b"\xef\xbb\xbfa\r\n\nb", at_once), are(&[(1, "a"), (2, ""), (3, "b")]));
            let escaped = Framing::Lines { escape: true };
            assert_eq!(
                read(escaped, b"a\\\nb\nc\\\\\nd", at_once),
                are(&[(1, "a\\\nb"), (3, "c\\\\"), (4, "d")])
            );
            assert_eq!(
                read(csv, b"1,\"a\nb\"\"\n\",x\n2,it\"s\n", at_once),
                are(&[(1, "1,\"a\nb\"\"\n\",x"), (4, "2,it\"s")])
            );
            assert_eq!(
                read(Framing::Json, b" {\"a\":\"}\\\"\"}{\"b\":[{}]}\n\n[1]\n", at_once),
                are(&[(1, "{\"a\":\"}\\\"\"}"), (1, "{\"b\":[{}]}"), (3, "[1]")])
            );
            assert_eq!(read(Framing::Json, b" \n ", at_once), []);
            assert_eq!(read(csv, b"", at_once), []);
        }
    }

    #[test]
    fn what_is_not_json_costs_its_own_line_only() {
        assert_eq!(
            read(
                Framing::Json,
                b"{\"id\":1}\nnot json\n{\"id\":2}\n{\"a\":\"cut\n{\"id\":3}\n{\"id\":4",
                1000
            ),
            are(&[
                (1, "{\"id\":1}"),
                (2, "not json"),
                (3, "{\"id\":2}"),
                (4, "{\"a\":\"cut"),
                (5, "{\"id\":3}"),
                (6, "{\"id\":4")
            ])
        );
        assert_eq!(
            read(Framing::Json, b"{\"id\":1\n{\"id\":2}\n", 1000),
            are(&[(1, "{\"id\":1"), (2, "{\"id\":2}")])
        );
    }

    #[test]
    fn a_record_beyond_the_limit_is_named_and_skipped_within_a_bounded_buffer() {
        for (framing, open) in
            [(Framing::Lines { escape: false }, "x"), (Framing::Json, "{"), (Framing::Json, "x")]
        {
            let mut bytes = open.repeat(2 * RECORD_LEN_MAX).into_bytes();
            bytes.extend(b"\n{}\n");
            let mut records = Records::new(Trickle(&bytes, READ_LEN), framing);
            assert!(records.next().unwrap().unwrap().is_too_long);
            assert!(records.buffer.capacity() < 3 * RECORD_LEN_MAX);
            assert_eq!(
                records.next().unwrap().unwrap(),
                Record { line: 2, bytes: b"{}", is_too_long: false }
            );
            assert_eq!(records.next().unwrap(), None);
        }
    }

    proptest::proptest! {
        /// Lines and CSV lose no byte but line ends, whatever comes.
        #[test]
        fn every_byte_is_in_a_record(bytes in proptest::collection::vec(proptest::sample::select(b"a\",\\{}[]\n".to_vec()), 0..60)) {
            for framing in [Framing::Lines { escape: true }, Framing::Csv { delimiter: b',', quote: b'"' }, Framing::Json] {
                let records = read(framing, &bytes, 7);
                let inside = records.concat_text();
                let outside: String = String::from_utf8_lossy(&bytes).replace('\n', "");
                proptest::prop_assert_eq!(inside.replace('\n', ""), outside);
            }
        }
    }

    trait ConcatText {
        fn concat_text(&self) -> String;
    }

    impl ConcatText for Vec<(u64, String)> {
        fn concat_text(&self) -> String {
            self.iter().map(|(_, text)| text.as_str()).collect()
        }
    }
}
