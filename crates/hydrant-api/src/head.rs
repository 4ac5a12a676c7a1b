//! What a request's headers may not be, before anything is read from them.
//!
//! A proxy in front may take the first of two headers where we would take the last. So a header that decides what is done, for whom,
//! or where the body ends, is given once or the request is refused. Framing itself (Content-Length, Transfer-Encoding) is hyper's
//! and h2's to check.

use http::{HeaderMap, HeaderName, header};

use crate::error::ApiError;

/// Given once at most; spelled as clients write them.
const ONCE: [(HeaderName, &str); 10] = [
    (header::HOST, "Host"),
    (header::CONTENT_LENGTH, "Content-Length"),
    (header::CONTENT_TYPE, "Content-Type"),
    (header::AUTHORIZATION, "Authorization"),
    (HeaderName::from_static("x-amz-target"), "X-Amz-Target"),
    (HeaderName::from_static("x-amz-date"), "X-Amz-Date"),
    (header::DATE, "Date"),
    (HeaderName::from_static("x-amz-security-token"), "X-Amz-Security-Token"),
    (HeaderName::from_static("x-amz-content-sha256"), "X-Amz-Content-Sha256"),
    (HeaderName::from_static("amz-sdk-invocation-id"), "amz-sdk-invocation-id"),
];

/// Refuses what could be read in two ways, and bodies that are not the JSON itself.
///
/// # Errors
/// A SerializationException that names the header.
pub(crate) fn check(headers: &HeaderMap) -> Result<(), ApiError> {
    for (name, spelled) in &ONCE {
        if headers.get_all(name).iter().nth(1).is_some() {
            return Err(ApiError::serialization(format!("The header {spelled} is given more than once.")));
        }
    }
    for coding in headers.get_all(header::CONTENT_ENCODING) {
        if !coding.as_bytes().eq_ignore_ascii_case(b"identity") && !coding.is_empty() {
            return Err(ApiError::serialization(format!(
                "Content-Encoding {coding:?} is not supported: send the request's JSON as it is."
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(pairs: &[(&'static str, &'static str)]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        check(&headers).err().and_then(|error| error.message)
    }

    #[test]
    fn what_decides_is_given_once() {
        for (name, spelled) in &ONCE {
            let name = name.as_str().to_owned().leak();
            assert_eq!(refusal(&[(name, "1")]), None);
            let expected = Some(format!("The header {spelled} is given more than once."));
            assert_eq!(refusal(&[(name, "1"), (name, "2")]), expected);
            assert_eq!(refusal(&[(name, "1"), (name, "1")]), expected, "the same twice is twice");
        }
        assert_eq!(refusal(&[("user-agent", "a"), ("user-agent", "b"), ("x-amz-user-agent", "c")]), None);
    }

    #[test]
    fn a_body_in_another_coding_is_refused_by_name() {
        for coding in ["gzip", "deflate", "br", "aws-chunked", "identity, gzip"] {
            let expected =
                format!("Content-Encoding {coding:?} is not supported: send the request's JSON as it is.");
            assert_eq!(refusal(&[("content-encoding", coding)]), Some(expected));
        }
        assert_eq!(refusal(&[("content-encoding", "Identity")]), None);
        assert_eq!(refusal(&[("content-encoding", "")]), None);
    }
}
