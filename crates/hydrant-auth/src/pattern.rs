//! Patterns as IAM has them: `*` for any characters, `?` for one.

use regex::{Regex, RegexBuilder};

/// A longer pattern is no pattern of names that are 64 characters long.
const LEN_MAX: usize = 128;

/// A compiled pattern; matches whole texts.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    /// `None` matches everything.
    regex: Option<Regex>,
}

impl Pattern {
    /// `None` where it is too long to be one.
    pub(crate) fn new(pattern: &str, ignore_case: bool) -> Option<Self> {
        if pattern.len() > LEN_MAX {
            return None;
        }
        if pattern == "*" {
            return Some(Self { regex: None });
        }
        let mut regex = String::from("^");
        let mut buffer = [0; 4];
        for character in pattern.chars() {
            match character {
                '*' => regex.push_str(".*"),
                '?' => regex.push('.'),
                other => regex.push_str(&regex::escape(other.encode_utf8(&mut buffer))),
            }
        }
        regex.push('$');
        let mut builder = RegexBuilder::new(&regex);
        let built = builder.dot_matches_new_line(true).case_insensitive(ignore_case).build();
        built.ok().map(|regex| Self { regex: Some(regex) })
    }

    pub(crate) fn is_everything(&self) -> bool {
        self.regex.is_none()
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        self.regex.as_ref().is_none_or(|regex| regex.is_match(text))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Pattern::new(pattern, false).unwrap().matches(text)
    }

    #[test]
    fn stars_and_question_marks_are_iams() {
        for (pattern, good, bad) in [
            ("orders", &["orders"][..], &["order", "orders2", "Orders", "my-orders", "orders\n"][..]),
            ("orders-*", &["orders-", "orders-eu"], &["orders", "x-orders-eu"]),
            ("*-eu", &["-eu", "orders-eu"], &["orders-eu-1"]),
            ("o?ders", &["orders", "o.ders"], &["oders", "orrders"]),
            ("a.c", &["a.c"], &["abc"]),
            ("a*b*c", &["abc", "aXbYc", "abbcc"], &["acb", "ab"]),
            ("*", &["", "anything"], &[]),
            ("", &[""], &["x"]),
        ] {
            for text in good {
                assert!(matches(pattern, text), "{pattern} {text}");
            }
            for text in bad {
                assert!(!matches(pattern, text), "{pattern} {text}");
            }
        }
        assert!(Pattern::new("put*", true).unwrap().matches("PutRecord"));
        assert!(Pattern::new(&"x".repeat(LEN_MAX + 1), false).is_none());
    }

    /// As one would write it down from the definition.
    fn model(pattern: &[char], text: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('*', rest)) => (0..=text.len()).any(|skipped| model(rest, &text[skipped..])),
            Some((wanted, rest)) => text
                .split_first()
                .is_some_and(|(found, after)| (*wanted == '?' || wanted == found) && model(rest, after)),
        }
    }

    proptest! {
        #[test]
        fn every_pattern_matches_what_its_definition_says(pattern in "[ab.*?]{0,6}", text in "[ab.]{0,6}") {
            let model = model(&pattern.chars().collect::<Vec<_>>(), &text.chars().collect::<Vec<_>>());
            prop_assert_eq!(matches(&pattern, &text), model);
        }
    }
}
