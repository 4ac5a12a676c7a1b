//! What of Redshift's SQL is not the engine's own.

use std::sync::LazyLock;

use regex::Regex;

use crate::error::SqlError;

/// How deep guarded divisions are followed into divisors; each level doubles the text.
const GUARD_DEPTH_MAX: u32 = 6;

/// A stretch of SQL.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Token<'a> {
    /// White space, or a comment.
    Blank(&'a str),
    /// A name, keyword or number.
    Word(&'a str),
    /// `'…'`, `"…"` or `$tag$…$tag$`, quotes included.
    Quoted(&'a str),
    Symbol(&'a str),
}

impl<'a> Token<'a> {
    fn text(self) -> &'a str {
        match self {
            Self::Blank(text) | Self::Word(text) | Self::Quoted(text) | Self::Symbol(text) => text,
        }
    }

    fn is_word(self, word: &str) -> bool {
        matches!(self, Self::Word(text) if text.eq_ignore_ascii_case(word))
    }

    fn is_symbol(self, symbol: &str) -> bool {
        matches!(self, Self::Symbol(text) if text == symbol)
    }
}

fn tokens<'a>(sql: &'a str) -> Vec<Token<'a>> {
    let mut tokens = Vec::new();
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let (token, len): (fn(&'a str) -> Token<'a>, usize) = match first {
            c if c.is_whitespace() => (Token::Blank, run(rest, char::is_whitespace)),
            '-' if rest.starts_with("--") => (Token::Blank, rest.find('\n').unwrap_or(rest.len())),
            '/' if rest.starts_with("/*") => (Token::Blank, rest.find("*/").map_or(rest.len(), |at| at + 2)),
            '\'' | '"' => (Token::Quoted, quoted_len(rest, first)),
            '$' => match dollar_quoted_len(rest) {
                Some(len) => (Token::Quoted, len),
                None => (Token::Symbol, 1),
            },
            c if is_word(c) => (Token::Word, run(rest, is_word)),
            c => (Token::Symbol, c.len_utf8()),
        };
        tokens.push(token(&rest[..len]));
        rest = &rest[len..];
    }
    tokens
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// How many bytes at the start belong to it.
fn run(text: &str, belongs: fn(char) -> bool) -> usize {
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

/// A doubled quote ends one stretch and begins another, which comes to the same.
fn quoted_len(text: &str, quote: char) -> usize {
    text[1..].find(quote).map_or(text.len(), |at| at + 2)
}

fn dollar_quoted_len(text: &str) -> Option<usize> {
    let tag_len = text[1..].find('$')? + 2;
    let tag = &text[..tag_len];
    if !tag[1..tag_len - 1].chars().all(is_word) {
        return None;
    }
    text[tag_len..].find(tag).map(|at| tag_len + at + tag_len)
}

/// The one statement that a text holds, without its final semicolon.
///
/// # Errors
/// Where it holds none, several, or one that would end the transaction it runs in.
pub(crate) fn single(sql: &str) -> Result<&str, SqlError> {
    let mut at = 0;
    let mut end = None;
    for token in tokens(sql) {
        match (token, end) {
            (Token::Symbol(";"), None) => end = Some(at),
            (Token::Blank(_) | Token::Symbol(";"), _) | (_, None) => {}
            (_, Some(_)) => {
                return Err(SqlError::new("cannot insert multiple commands into a prepared statement"));
            }
        }
        at += token.text().len();
    }
    let statement = &sql[..end.unwrap_or(sql.len())];
    match first_word(statement).as_str() {
        "" if statement.trim().is_empty() => Err(SqlError::new("the statement is empty")),
        word @ ("BEGIN" | "START" | "COMMIT" | "END" | "ROLLBACK" | "ABORT" | "SAVEPOINT" | "RELEASE") => {
            Err(SqlError::new(format!(
                "{word} is not supported by this Redshift stand-in: each statement, or batch of them, is a transaction"
            )))
        }
        _ => Ok(statement),
    }
}

/// The first word, in capitals.
pub(crate) fn first_word(sql: &str) -> String {
    let first = tokens(sql).into_iter().find(|token| !matches!(token, Token::Blank(_)));
    match first {
        Some(Token::Word(word)) => word.to_ascii_uppercase(),
        _ => String::new(),
    }
}

/// Whether the engine gives rows for it.
pub(crate) fn returns_rows(sql: &str) -> bool {
    matches!(first_word(sql).as_str(), "SELECT" | "WITH" | "VALUES" | "SHOW" | "EXPLAIN" | "")
}

/// Rewrites what both engines write differently from Redshift: `GETDATE()` and `SYSDATE`.
pub(crate) fn rewrite(sql: &str) -> String {
    let tokens = tokens(sql);
    let mut out = String::with_capacity(sql.len());
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        at += 1;
        if token.is_word("sysdate") {
            out.push_str("CURRENT_TIMESTAMP");
        } else if token.is_word("getdate")
            && let Some(end) = empty_parentheses(&tokens, at)
        {
            out.push_str("CURRENT_TIMESTAMP");
            at = end;
        } else {
            out.push_str(token.text());
        }
    }
    out
}

/// Where `( )` that begins at `at` ends.
fn empty_parentheses(tokens: &[Token<'_>], at: usize) -> Option<usize> {
    let open = after_blanks(tokens, at);
    tokens.get(open).filter(|token| token.is_symbol("("))?;
    let close = after_blanks(tokens, open + 1);
    tokens.get(close).filter(|token| token.is_symbol(")"))?;
    Some(close + 1)
}

fn after_blanks(tokens: &[Token<'_>], mut at: usize) -> usize {
    while matches!(tokens.get(at), Some(Token::Blank(_))) {
        at += 1;
    }
    at
}

/// What SQLite does not have: the schema `public`, TRUNCATE, and an error for a division by zero.
pub(crate) fn rewrite_for_sqlite(sql: &str) -> String {
    static TRUNCATE: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?i)^\s*truncate\s+(table\s+)?").expect("a constant that a test compiles")
    });
    let sql = TRUNCATE.replace(sql, "DELETE FROM ");
    let tokens = tokens(&sql);
    let tokens = without_public(&tokens);
    guarded(&tokens, 0)
}

fn without_public<'a>(tokens: &[Token<'a>]) -> Vec<Token<'a>> {
    let mut kept = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let dot = after_blanks(tokens, at + 1);
        let is_public = token.is_word("public") || token.text() == "\"public\"";
        if is_public && tokens.get(dot).is_some_and(|next| next.is_symbol(".")) {
            at = dot + 1;
            continue;
        }
        kept.push(*token);
        at += 1;
    }
    kept
}

/// SQLite gives NULL for a division by zero. Each divisor is written so that zero makes `abs` overflow, which is an error.
fn guarded(tokens: &[Token<'_>], depth: u32) -> String {
    let mut out = String::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        at += 1;
        out.push_str(token.text());
        if !(token.is_symbol("/") || token.is_symbol("%")) || depth == GUARD_DEPTH_MAX {
            continue;
        }
        let Some(end) = operand_end(tokens, at) else { continue };
        let divisor = guarded(&tokens[at..end], depth + 1);
        if divisor.trim().parse::<f64>().is_ok_and(|number| number != 0.0) {
            out.push_str(&divisor);
        } else {
            out.push_str(&format!(
                "(({divisor}) + abs(CASE WHEN ({divisor}) = 0 THEN -9223372036854775807 - 1 ELSE 0 END))"
            ));
        }
        at = end;
    }
    out
}

/// Where the operand that begins at `at` ends: signs, then a group, a CASE, a literal, or a name with what it is called with.
fn operand_end(tokens: &[Token<'_>], at: usize) -> Option<usize> {
    let mut at = after_blanks(tokens, at);
    while matches!(tokens.get(at), Some(Token::Symbol("-" | "+"))) {
        at = after_blanks(tokens, at + 1);
    }
    match tokens.get(at)? {
        Token::Symbol("(") => group_end(tokens, at),
        token if token.is_word("case") => case_end(tokens, at),
        Token::Word(_) | Token::Quoted(_) => Some(name_end(tokens, at + 1)),
        _ => None,
    }
}

/// Beyond a name or number: its dotted parts, its arguments, FILTER and OVER.
fn name_end(tokens: &[Token<'_>], mut end: usize) -> usize {
    loop {
        let next = after_blanks(tokens, end);
        match tokens.get(next) {
            Some(Token::Symbol(".")) => end = (next + 2).min(tokens.len()),
            Some(Token::Symbol("(")) => match group_end(tokens, next) {
                Some(after) => end = after,
                None => return end,
            },
            Some(word) if word.is_word("over") || word.is_word("filter") => end = next + 1,
            _ => return end,
        }
    }
}

fn group_end(tokens: &[Token<'_>], at: usize) -> Option<usize> {
    let mut depth = 0;
    for (offset, token) in tokens[at..].iter().enumerate() {
        match token {
            Token::Symbol("(") => depth += 1,
            Token::Symbol(")") => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at + offset + 1);
        }
    }
    None
}

fn case_end(tokens: &[Token<'_>], at: usize) -> Option<usize> {
    let mut depth = 0;
    for (offset, token) in tokens[at..].iter().enumerate() {
        depth += i32::from(token.is_word("case")) - i32::from(token.is_word("end"));
        if depth == 0 {
            return Some(at + offset + 1);
        }
    }
    None
}

/// Whether a division stands outside of quotes.
pub(crate) fn divides(sql: &str) -> bool {
    tokens(sql).iter().any(|token| token.is_symbol("/") || token.is_symbol("%"))
}

/// The text with credentials of COPY made unreadable, as Redshift shows it.
pub(crate) fn redacted(sql: &str) -> String {
    static CREDENTIALS: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r"(?i)\b(credentials|access_key_id|secret_access_key|session_token)(\s+as)?(\s*)'(?:[^'\\]|''|\\.)*('|$)",
        )
        .expect("a constant that a test compiles")
    });
    CREDENTIALS.replace_all(sql, "$1$2$3'***'").into_owned()
}

/// An identifier that keeps its case, of both engines.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A name of several parts, each an identifier.
pub(crate) fn qualified(parts: &[String]) -> String {
    parts.iter().map(|part| identifier(part)).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_outside_of_quotes_is_rewritten() {
        assert_eq!(
            rewrite("INSERT INTO t VALUES ('getdate() it''s', GETDATE( ), sysdate, \"sysdate\") -- sysdate"),
            "INSERT INTO t VALUES ('getdate() it''s', CURRENT_TIMESTAMP, CURRENT_TIMESTAMP, \"sysdate\") -- sysdate"
        );
        assert!(divides("SELECT 1 / 0") && !divides("SELECT '1/0' /* / */"));
    }

    #[test]
    fn the_first_word_is_found_behind_comments() {
        assert_eq!(first_word("  copy t FROM"), "COPY");
        assert_eq!(first_word("-- a\n/* b */ Select 1"), "SELECT");
        assert_eq!(first_word("(select 1)"), "");
    }

    #[test]
    fn a_text_holds_one_statement_that_does_not_end_the_transaction() {
        assert_eq!(single("SELECT ';' ; -- end\n ;").unwrap(), "SELECT ';' ");
        for (sql, words) in [
            ("SELECT 1; SELECT 2", "multiple commands"),
            (" ; ", "empty"),
            ("commit", "COMMIT is not supported"),
            ("/* sly */ ROLLBACK", "ROLLBACK is not supported"),
        ] {
            let SqlError(said) = single(sql).unwrap_err();
            assert!(said.contains(words), "{sql}: {said}");
        }
    }

    #[test]
    fn divisors_are_guarded_and_other_numbers_left_alone() {
        assert_eq!(rewrite_for_sqlite("SELECT a / 2, '1/0'"), "SELECT a / 2, '1/0'");
        assert_eq!(
            rewrite_for_sqlite("SELECT 1/(b) FROM public.t"),
            "SELECT 1/(((b)) + abs(CASE WHEN ((b)) = 0 THEN -9223372036854775807 - 1 ELSE 0 END)) FROM t"
        );
        let deep = format!("SELECT {}1{}", "1/(".repeat(200), ")".repeat(200));
        assert!(rewrite_for_sqlite(&deep).len() < 1_000_000, "the text must not grow without bound");
        assert_eq!(rewrite_for_sqlite("SELECT 1 / "), "SELECT 1 / ");
        assert_eq!(rewrite_for_sqlite("TRUNCATE TABLE public.t"), "DELETE FROM t");
    }

    #[test]
    fn credentials_are_not_shown() {
        let shown = redacted(
            "COPY t FROM 's3://b/k' CREDENTIALS 'aws_access_key_id=A;aws_secret_access_key=it''s' \
             ACCESS_KEY_ID AS 'AKIA' secret_access_key 'hidden' SESSION_TOKEN 'unterminated",
        );
        assert_eq!(
            shown,
            "COPY t FROM 's3://b/k' CREDENTIALS '***' ACCESS_KEY_ID AS '***' secret_access_key '***' SESSION_TOKEN '***'"
        );
    }

    #[test]
    fn no_name_ends_an_identifier() {
        assert_eq!(qualified(&["a\"b".to_owned(), "c".to_owned()]), "\"a\"\"b\".\"c\"");
    }
}
