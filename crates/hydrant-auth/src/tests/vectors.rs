//! AWS's published test vectors, `tests/vectors`.

use std::path::{Path, PathBuf};

use http::Method;
use serde_json::Value;

use super::{Sent, authenticator, key};
use crate::{
    Error, Head, Service,
    canonical::{self, parameters},
    presented::{Presented, SIGNATURE_PARAMETER},
};

/// What the vectors call.
const SERVICE: Service = Service { name: "service", resource: "thing", actions: &["Do"] };

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

/// Request line, headers (continued ones unfolded as RFC 9112 tells receivers to), body.
fn parse(text: &str) -> Sent {
    let (head, body) = text.split_once("\n\n").unwrap_or((text.trim_end(), ""));
    let mut lines = head.lines();
    let (method, target) = lines.next().unwrap().split_once(' ').unwrap();
    let target = target.strip_suffix(" HTTP/1.1").unwrap_or(target);
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (target, None),
    };
    let mut headers: Vec<(String, Vec<u8>)> = Vec::new();
    for line in lines {
        match line.split_once(':').filter(|_| !line.starts_with(' ')) {
            Some((name, value)) => {
                headers.push((name.to_ascii_lowercase(), value.trim().as_bytes().to_vec()))
            }
            None => headers.last_mut().unwrap().1.extend_from_slice(line.as_bytes()),
        }
    }
    Sent {
        method: Method::from_bytes(method.as_bytes()).unwrap(),
        path: path.to_owned(),
        query,
        headers,
        body: body.as_bytes().to_vec(),
    }
}

/// The canonical request but for the payload's hash, which is its last line.
fn canonical(sent: &Sent) -> String {
    let headers = sent.map();
    let head = Head {
        method: &sent.method,
        path: &sent.path,
        query: sent.query.as_deref(),
        headers: &headers,
        authority: None,
    };
    let presented = Presented::read(&head).unwrap();
    String::from_utf8(canonical::request(&head, &presented.signed(), SIGNATURE_PARAMETER)).unwrap()
}

/// Each form of each vector: its name, the form, the file that is signed and the canonical request.
fn vectors() -> Vec<(String, &'static str, String, String)> {
    let mut vectors = Vec::new();
    for entry in folder().read_dir().unwrap() {
        let path = entry.unwrap().path();
        for form in ["header", "query"] {
            let read = |what: &str| std::fs::read_to_string(path.join(format!("{form}-{what}.txt")));
            if let Ok(signed) = read("signed-request") {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                vectors.push((name, form, signed, read("canonical-request").unwrap()));
            }
        }
    }
    vectors
}

/// Whether the request came with a session token, and whether that is in the query unsigned.
fn token(name: &str) -> Option<bool> {
    let context: Value =
        serde_json::from_str(&std::fs::read_to_string(folder().join(name).join("context.json")).ok()?)
            .unwrap();
    context["credentials"]["token"].as_str()?;
    Some(context["omit_session_token"].as_bool().unwrap_or_default())
}

#[test]
fn canonical_requests_are_awss() {
    let mut compared = 0;
    for (name, form, signed, expected) in vectors() {
        // A token that is not signed, in the query: no token is taken, wherever it is.
        if form == "query" && token(&name) == Some(true) {
            continue;
        }
        let (expected, _payload) = expected.rsplit_once('\n').unwrap();
        let found = canonical(&parse(&signed));
        let found = found.trim_end_matches('\n');
        if name == "double-encode-path" {
            // Its files are of two different days: only the path is to compare.
            assert_eq!(found.lines().nth(1), expected.lines().nth(1), "{name} {form}");
        } else {
            assert_eq!(found, expected, "{name} {form}");
        }
        compared += 1;
    }
    assert_eq!(compared, 63);
}

#[test]
fn signatures_verify_and_fail_for_another_body() {
    let (authenticator, _) = authenticator(vec![key("AKIDEXAMPLE")], SERVICE);
    let mut verified = 0;
    for (name, form, signed, _) in vectors() {
        let mut sent = parse(&signed);
        if let Some(unsigned) = token(&name) {
            let expected = match form {
                "header" if unsigned => Error::HeaderNotSigned("x-amz-security-token".to_owned()),
                _ => Error::Unrecognized,
            };
            assert_eq!(sent.verify(&authenticator).unwrap_err(), expected, "{name} {form}");
            continue;
        }
        // Older vectors of the same author, signed for other services.
        if name.starts_with("double-") {
            continue;
        }
        let caller = sent.verify(&authenticator);
        assert_eq!(caller.unwrap().access_key_id(), Some("AKIDEXAMPLE"), "{name} {form}");
        sent.body.push(b'!');
        assert!(sent.verify(&authenticator).is_err(), "{name} {form}");
        verified += 1;
    }
    assert_eq!(verified, 56);
}

#[test]
fn parameters_are_decoded_leniently() {
    let text = |query: &str| -> Vec<(String, String)> {
        let pair = |part: &[u8]| String::from_utf8_lossy(part).into_owned();
        parameters(query).iter().map(|(name, value)| (pair(name), pair(value))).collect()
    };
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(text("a=b&&c&=d&e=f=g"), [pair("a", "b"), pair("c", ""), pair("", "d"), pair("e", "f=g")]);
    assert_eq!(
        text("%41=%zz&%=%2&+=%2B&%E1%88%B4=1"),
        [pair("A", "%zz"), pair("%", "%2"), pair("+", "+"), pair("ሴ", "1")]
    );
}
