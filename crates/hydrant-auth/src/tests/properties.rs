//! What AWS's signer signs verifies, nothing that differs by a byte does, and nothing at all panics.

use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;

fn requests() -> impl Strategy<Value = Sent> {
    let query =
        prop::option::of(vec(("[a-zA-Z0-9._~-]{1,8}", "([a-zA-Z0-9._~-]|%20|%2F|%E1%88%B4){0,8}"), 1..4));
    let headers = vec(("x-[a-z]{1,8}", "[!-~]( {0,3}[!-~]){0,20}"), 0..5);
    let path = "(/[a-zA-Z0-9._~-]{1,8}|/%2F|/%20a|/\\.\\.|/\\.|/){0,4}/";
    (prop_oneof![Just(Method::POST), Just(Method::GET)], path, query, headers, vec(any::<u8>(), 0..300))
        .prop_map(|(method, path, query, headers, body)| {
            let mut sent = Sent { method, path, body, ..Sent::put() };
            sent.query = query.map(|pairs| {
                pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
            });
            for (name, value) in headers {
                sent.set(&name, value);
            }
            sent
        })
}

fn settings() -> impl Strategy<Value = SigningSettings> {
    prop_oneof![
        Just(()).prop_map(|()| in_headers()),
        Just(()).prop_map(|()| with_payload_header()),
        (1..604_800_u64).prop_map(in_query)
    ]
}

/// What a change is made to.
#[derive(Debug, Clone, Copy)]
enum Part {
    Header,
    Body,
    Query,
    Path,
    Method,
}

fn parts() -> impl Strategy<Value = Part> {
    prop_oneof![
        4 => Just(Part::Header),
        2 => Just(Part::Body),
        2 => Just(Part::Query),
        1 => Just(Part::Path),
        1 => Just(Part::Method)
    ]
}

/// Another byte of the same kind at `at`.
fn change(bytes: &mut [u8], at: Index, by: u8) -> bool {
    if bytes.is_empty() {
        return false;
    }
    let byte = &mut bytes[at.index(bytes.len())];
    let before = *byte;
    // Letters and digits only: white space and escapes may mean the same in several ways.
    if !byte.is_ascii_alphanumeric() {
        return false;
    }
    *byte = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"[usize::from(by) % 62];
    *byte != before
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn what_awss_signer_signs_verifies(sent in requests(), settings in settings()) {
        let (authenticator, _) = authenticator(vec![key("AKIA1")], FIREHOSE);
        let signed = sent.signed("AKIA1", THEN, settings);
        let verified = signed.verify(&authenticator);
        prop_assert!(verified.is_ok(), "{:?} {:?}", verified, signed);
    }

    #[test]
    fn nothing_that_was_changed_verifies(
        sent in requests(),
        settings in settings(),
        part in parts(),
        which in any::<Index>(),
        at in any::<Index>(),
        by in any::<u8>(),
    ) {
        let (authenticator, _) = authenticator(vec![key("AKIA1"), key("AKIA2")], FIREHOSE);
        let signed = sent.signed("AKIA1", THEN, settings);
        let mut changed = signed.clone();
        let different = match part {
            Part::Header => {
                let header = which.index(changed.headers.len());
                change(&mut changed.headers[header].1, at, by)
            }
            Part::Body => {
                changed.body.insert(at.index(changed.body.len() + 1), by);
                true
            }
            Part::Path => {
                let mut path = changed.path.clone().into_bytes();
                let different = change(&mut path, at, by);
                changed.path = String::from_utf8(path).unwrap();
                // A segment that the next one takes back, or an escape that means the same.
                different && !changed.path.contains("..") && !changed.path.contains('%')
            }
            Part::Query => {
                let mut query = changed.query.clone().unwrap_or_default().into_bytes();
                let different = change(&mut query, at, by);
                changed.query = Some(String::from_utf8(query).unwrap()).filter(|query| !query.is_empty());
                // `%2f` is `%2F`.
                different && !changed.query.as_ref().unwrap().eq_ignore_ascii_case(signed.query.as_ref().unwrap())
            }
            Part::Method => {
                changed.method = Method::PUT;
                true
            }
        };
        prop_assume!(different);
        prop_assert!(changed.verify(&authenticator).is_err(), "{:?}", changed);
    }

    #[test]
    fn no_bytes_make_a_panic(
        authorization in prop::option::of(vec(32_u8..=255, 0..200)),
        date in prop::option::of(vec(32_u8..=255, 0..40)),
        payload in prop::option::of(vec(32_u8..=255, 0..70)),
        query in prop::option::of("\\PC{0,200}"),
        path in "\\PC{0,40}",
    ) {
        let (authenticator, _) = authenticator(vec![key("AKIA1")], FIREHOSE);
        let mut sent = Sent { path, query, ..Sent::put() };
        let headers = [("authorization", authorization), ("x-amz-date", date), ("x-amz-content-sha256", payload)];
        for (name, value) in headers {
            if let Some(value) = value {
                sent.set(name, value.into_iter().filter(|byte| *byte != 127).collect::<Vec<_>>());
            }
        }
        let error = sent.verify(&authenticator).unwrap_err();
        prop_assert!(Error::CODES.contains(&error.code()));
    }

    /// Almost right: the parser's deeper branches.
    #[test]
    fn no_broken_signature_makes_a_panic(
        settings in settings(),
        cut in any::<Index>(),
        put in "[ -~]{0,12}",
        date in "[0-9TZ]{14,17}",
        on_date in any::<bool>(),
    ) {
        let (authenticator, _) = authenticator(vec![key("AKIA1")], FIREHOSE);
        let mut sent = Sent::put().signed("AKIA1", THEN, settings);
        let broken = |text: &str| {
            let at = cut.index(text.len() + 1);
            format!("{}{put}{}", &text[..at], &text[(at + 1).min(text.len())..])
        };
        match (&sent.query, on_date) {
            (Some(query), true) => sent.query = Some(query.replace("20150830T123600Z", &date)),
            (Some(query), false) => sent.query = Some(broken(query)),
            (None, true) => sent.set("x-amz-date", date),
            (None, false) => { let text = broken(sent.header("authorization")); sent.set("authorization", text) }
        }
        if let Err(error) = sent.verify(&authenticator) {
            prop_assert!(Error::CODES.contains(&error.code()));
        }
    }
}
