//! COPY's text as tokens.

use std::{iter::Peekable, str::Chars};

use crate::error::SqlError;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// A bare word, as written.
    Word(String),
    /// A quoted identifier, without its quotes.
    Quoted(String),
    /// A string literal, its escapes undone.
    Text(String),
    Symbol(char),
}

impl Token {
    /// As errors show it. Text may be a secret.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Word(text) => text.clone(),
            Self::Quoted(text) => format!("\"{text}\""),
            Self::Text(_) => "'…'".to_owned(),
            Self::Symbol(symbol) => symbol.to_string(),
        }
    }
}

pub(super) fn tokens(sql: &str) -> Result<Vec<Token>, SqlError> {
    let mut tokens = Vec::new();
    let mut rest = sql.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            c if c.is_whitespace() => {}
            '-' if rest.next_if_eq(&'-').is_some() => drop(rest.by_ref().find(|c| *c == '\n')),
            '/' if rest.next_if_eq(&'*').is_some() => skip_comment(&mut rest),
            '\'' => tokens.push(Token::Text(text(&mut rest)?)),
            '"' => tokens.push(Token::Quoted(quoted(&mut rest)?)),
            c if is_word(c) => {
                let mut word = String::from(c);
                while let Some(c) = rest.next_if(|c| is_word(*c)) {
                    word.push(c);
                }
                tokens.push(Token::Word(word));
            }
            c => tokens.push(Token::Symbol(c)),
        }
    }
    Ok(tokens)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$')
}

fn skip_comment(rest: &mut Peekable<Chars<'_>>) {
    while let Some(c) = rest.next() {
        if c == '*' && rest.next_if_eq(&'/').is_some() {
            return;
        }
    }
}

fn unterminated() -> SqlError {
    SqlError::new("unterminated quoted string")
}

fn quoted(rest: &mut Peekable<Chars<'_>>) -> Result<String, SqlError> {
    let mut name = String::new();
    while let Some(c) = rest.next() {
        if c == '"' && rest.next_if_eq(&'"').is_none() {
            return Ok(name);
        }
        name.push(c);
    }
    Err(unterminated())
}

fn text(rest: &mut Peekable<Chars<'_>>) -> Result<String, SqlError> {
    let mut text = String::new();
    while let Some(c) = rest.next() {
        match c {
            '\'' if rest.next_if_eq(&'\'').is_none() => return Ok(text),
            '\\' => escaped(rest, &mut text)?,
            c => text.push(c),
        }
    }
    Err(unterminated())
}

/// `\t`, `\n`, `\r`, octal such as `\001`; `\N` stays, being COPY's own null; of others the backslash goes.
fn escaped(rest: &mut Peekable<Chars<'_>>, text: &mut String) -> Result<(), SqlError> {
    match rest.next().ok_or_else(unterminated)? {
        't' => text.push('\t'),
        'n' => text.push('\n'),
        'r' => text.push('\r'),
        'N' => text.push_str("\\N"),
        first @ '0'..='7' => {
            let mut code = first.to_digit(8).unwrap_or(0);
            for _ in 0..2 {
                let Some(digit) = rest.next_if(|c| c.is_digit(8)) else { break };
                code = code * 8 + digit.to_digit(8).unwrap_or(0);
            }
            text.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        other => text.push(other),
    }
    Ok(())
}
