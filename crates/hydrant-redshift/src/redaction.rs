//! Credentials that users may write into COPY options are in no log and no error.

use std::sync::LazyLock;

use regex::Regex;

/// The text with credentials of COPY made unreadable, as Redshift itself shows it.
pub(crate) fn redacted(text: &str) -> String {
    static CREDENTIALS: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r"(?i)\b(credentials|access_key_id|secret_access_key|session_token)(\s+as)?(\s*)'(?:[^'\\]|''|\\.)*('|$)",
        )
        .expect("a constant that a test compiles")
    });
    CREDENTIALS.replace_all(text, "$1$2$3'***'").into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_not_shown_and_roles_are() {
        let text = "syntax error in COPY t FROM 's3://b/k' IAM_ROLE 'arn:x' CREDENTIALS AS 'aws_secret_access_key=it''s' \
                    access_key_id 'AKIA' SECRET_ACCESS_KEY 'cut";
        assert_eq!(
            redacted(text),
            "syntax error in COPY t FROM 's3://b/k' IAM_ROLE 'arn:x' CREDENTIALS AS '***' \
             access_key_id '***' SECRET_ACCESS_KEY '***'"
        );
    }
}
