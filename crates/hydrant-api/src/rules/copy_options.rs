//! Options of COPY as users write them.

use crate::input::{Faults, Node};

/// They would be stored and shown in clear, and COPY has the stream's role.
const CREDENTIALS: [&str; 4] = ["CREDENTIALS", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"];

pub(super) fn check(options: &Node<'_>, faults: &mut Faults) {
    let words = words(options.text().unwrap_or_default());
    let given = |name: &&str| words.iter().any(|word| word.eq_ignore_ascii_case(name));
    if let Some(name) = CREDENTIALS.into_iter().find(given) {
        faults.invalid(
            options,
            format!(
                "CopyOptions must not contain {name}: COPY is authorized by the RoleARN of the destination."
            ),
        );
    }
}

/// The words outside of quotes. A quote that is doubled or escaped does not end the text it is in.
fn words(options: &str) -> Vec<String> {
    let mut bare = String::with_capacity(options.len());
    let (mut in_quotes, mut escaped) = (false, false);
    for letter in options.chars() {
        match letter {
            _ if escaped => escaped = false,
            '\\' if in_quotes => escaped = true,
            '\'' => {
                in_quotes = !in_quotes;
                bare.push(' ');
            }
            letter if !in_quotes => bare.push(letter),
            _ => {}
        }
    }
    let is_of_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    bare.split(|letter| !is_of_word(letter)).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refusal(options: &str) -> Option<String> {
        let (value, mut faults) = (json!(options), Faults::default());
        check(&Node::root(&value), &mut faults);
        faults.into_all().pop().and_then(|fault| fault.error.message)
    }

    #[test]
    fn credentials_are_refused_however_they_are_written() {
        for (options, name) in [
            ("CREDENTIALS 'aws_access_key_id=A;aws_secret_access_key=B'", "CREDENTIALS"),
            ("gzip credentials as 'x'", "CREDENTIALS"),
            ("NULL 'it''s' ACCESS_KEY_ID'A'", "ACCESS_KEY_ID"),
            (r"DELIMITER '\'' Secret_Access_Key 'x'", "SECRET_ACCESS_KEY"),
            ("GZIP\nSESSION_TOKEN\t'x'", "SESSION_TOKEN"),
        ] {
            let expected = format!(
                "CopyOptions must not contain {name}: COPY is authorized by the RoleARN of the destination."
            );
            assert_eq!(refusal(options), Some(expected), "{options}");
        }
    }

    #[test]
    fn the_same_words_in_quotes_are_texts() {
        for options in [
            "",
            "JSON 's3://b/credentials' GZIP",
            "NULL 'it''s CREDENTIALS'",
            r"DELIMITER '\' NULL CREDENTIALS '",
            "MY_CREDENTIALS CREDENTIALS2",
        ] {
            assert_eq!(refusal(options), None, "{options}");
        }
    }
}
