//! The model's patterns, which are Java's, matched against the whole text as Java's `matches` does.
//!
//! The engine is linear in the text whatever the text is; it has no look-around. A pattern that begins with "not these" is two
//! expressions; one that looks around further in has a function.

use std::sync::OnceLock;

use regex::Regex;

/// What a whole text must match.
#[derive(Debug)]
pub(crate) struct Pattern {
    printed: &'static str,
    java: &'static str,
    check: Option<fn(&str) -> bool>,
    compiled: OnceLock<Compiled>,
}

#[derive(Debug)]
pub(crate) struct Compiled {
    whole: Regex,
    /// The text must not begin with this.
    not: Option<Regex>,
}

impl Pattern {
    #[cfg(test)]
    pub(crate) const fn new(java: &'static str) -> Self {
        Self::printed(java, java)
    }

    /// `java`, and what is printed for it.
    pub(crate) const fn printed(printed: &'static str, java: &'static str) -> Self {
        Self { printed, java, check: None, compiled: OnceLock::new() }
    }

    /// Checked by a function that is equal to it.
    pub(crate) const fn checked(java: &'static str, check: fn(&str) -> bool) -> Self {
        Self { printed: java, java, check: Some(check), compiled: OnceLock::new() }
    }

    /// As the service prints it.
    pub(crate) fn as_str(&self) -> &'static str {
        self.printed
    }

    /// Whether the whole of `text` matches.
    pub(crate) fn matches(&self, text: &str) -> bool {
        if let Some(check) = self.check {
            return check(text);
        }
        let compiled = self
            .compiled
            .get_or_init(|| self.compile().expect("the model's patterns are constants that a test compiles"));
        let Compiled { whole, not } = compiled;
        whole.is_match(text) && !not.as_ref().is_some_and(|not| not.is_match(text))
    }

    pub(crate) fn compile(&self) -> Result<Compiled, regex::Error> {
        let (not, whole) = match (self.check, negative_head(self.java)) {
            (Some(_), _) => (None, ""),
            (None, Some((not, whole))) => (Some(not), whole),
            (None, None) => (None, self.java),
        };
        Ok(Compiled {
            whole: Regex::new(&format!(r"\A(?:{})\z", translate(whole)))?,
            not: not.map(|not| Regex::new(&format!(r"\A(?:{})", translate(not)))).transpose()?,
        })
    }
}

/// `^(?!A)B` as `A` and `B`; `A` has no groups.
fn negative_head(java: &str) -> Option<(&str, &str)> {
    java.strip_prefix("^(?!")?.split_once(')')
}

/// Java's classes are ASCII, and its `.` is anything but a line end.
fn translate(java: &str) -> String {
    let (mut rust, mut in_class, mut letters) = (String::with_capacity(java.len()), false, java.chars());
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => {
                let escaped = letters.next();
                let class = match escaped {
                    Some('d') => "0-9",
                    Some('w') => "a-zA-Z_0-9",
                    Some('s') => r" \t\n\x0B\x0C\r",
                    Some('S') if !in_class => {
                        rust.push_str(r"[^ \t\n\x0B\x0C\r]");
                        continue;
                    }
                    other => {
                        rust.push('\\');
                        rust.extend(other);
                        continue;
                    }
                };
                rust.push_str(&if in_class { class.to_owned() } else { format!("[{class}]") });
            }
            '.' if !in_class => rust.push_str(r"[^\n\r\u{85}\u{2028}\u{2029}]"),
            '[' => {
                in_class = true;
                rust.push('[');
            }
            ']' => {
                in_class = false;
                rust.push(']');
            }
            letter => rust.push(letter),
        }
    }
    rust
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_the_whole_text_as_java_does() {
        for (pattern, good, bad) in [
            ("[a-z]+", "abc", "abc1"),
            (r"\d{3}", "123", "١٢٣"),
            (r"[\w\.\-]{1,5}", "a_.-9", "ä"),
            (".*", "any — text", "two\nlines"),
            (".*", "", "a\rb"),
            (".*", "tab\tand nul\0", "a\u{2028}b"),
            (r"|\.[a-z.*]+", ".a*", ".A"),
            (r"^$|[a-z/_]+", "", "A"),
            ("a|bc", "bc", "abc"),
            (r"^\S+$", "ä", "a b"),
            (r"^\S+$", "a", "a\u{b}"),
            (r"^(?!\s*$).+", " a ", "  "),
            (r"^(?!\s*$).+", "\u{a0}", ""),
            (r"^(?!\s*$).+", "a", "a\nb"),
            (r"^(?!aws:)[\p{L}:]*$", "aw:s", "aws:a"),
            (r"^(?!aws:)[\p{L}:]*$", "Größe", "a1"),
            (r"[\u0001-\uFFFF]*", "a\nä", "a\0"),
            (r"s3:\/\/.*", "s3://b", "s3:/b"),
        ] {
            let leaked = Pattern::new(pattern);
            assert!(leaked.matches(good), "{pattern} {good:?}");
            assert!(!leaked.matches(bad), "{pattern} {bad:?}");
        }
    }

    #[test]
    fn tag_keys_of_aws_and_odd_characters_are_refused() {
        let pattern = Pattern::new(r"^(?!aws:)[\p{L}\p{Z}\p{N}_.:\/=+\-@%]*$");
        for good in ["team", "a b", "Größe", "x:y/z=+-@%", "hydrant:gzip-level", ""] {
            assert!(pattern.matches(good), "{good}");
        }
        for bad in ["aws:team", "a\nb", "a*"] {
            assert!(!pattern.matches(bad), "{bad}");
        }
    }

    #[test]
    fn a_function_takes_the_place_of_an_expression() {
        let pattern = Pattern::checked("(?<!-)x", |text| text == "x");
        assert!(pattern.matches("x") && !pattern.matches("-x") && pattern.compile().is_ok());
    }
}
