//! The canonical request, rebuilt from what arrived.

use std::borrow::Cow;

use http::{HeaderMap, Method, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

/// What of a request is signed besides its body.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path as it came, not decoded.
    pub path: &'a str,
    /// The query as it came, not decoded, without the question mark.
    pub query: Option<&'a str>,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The authority of the request's target: the host where there is no `Host` header, as in HTTP/2.
    pub authority: Option<&'a str>,
}

impl<'a> From<&'a http::request::Parts> for Head<'a> {
    fn from(parts: &'a http::request::Parts) -> Self {
        Self {
            method: &parts.method,
            path: parts.uri.path(),
            query: parts.uri.query(),
            headers: &parts.headers,
            authority: parts.uri.authority().map(http::uri::Authority::as_str),
        }
    }
}

/// All but the characters that are never encoded.
const DATA: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const PATH: &AsciiSet = &DATA.remove(b'/');

/// A parameter's name and value.
pub(crate) type Parameter<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

/// The query's parameters, decoded, in their order. A `+` is a plus; an escape that is none is taken as it stands.
pub(crate) fn parameters(query: &str) -> Vec<Parameter<'_>> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent_decode_str(name).into(), percent_decode_str(value).into())
        })
        .collect()
}

/// Everything up to the payload's hash. `signed` are the names of the signed headers, sorted; a parameter named `unsigned` is left out.
pub(crate) fn request(head: &Head<'_>, signed: &[&str], unsigned: &str) -> Vec<u8> {
    let mut text = Vec::with_capacity(1024);
    text.extend_from_slice(head.method.as_str().as_bytes());
    text.push(b'\n');
    path(head.path, &mut text);
    text.push(b'\n');
    if let Some(given) = head.query {
        query(given, unsigned, &mut text);
    }
    text.push(b'\n');
    for name in signed {
        lower_case(name, &mut text);
        text.push(b':');
        header_values(head, name, &mut text);
        text.push(b'\n');
    }
    text.push(b'\n');
    for (at, name) in signed.iter().enumerate() {
        if at > 0 {
            text.push(b';');
        }
        lower_case(name, &mut text);
    }
    text.push(b'\n');
    text
}

/// Without empty and dot segments, and encoded once more than it came: every service's rule but S3's.
fn path(given: &str, text: &mut Vec<u8>) {
    // What every call of a JSON service has.
    if given == "/" {
        text.push(b'/');
        return;
    }
    let mut segments: Vec<&str> = Vec::new();
    for segment in given.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    for segment in &segments {
        text.push(b'/');
        percent_encode(segment.as_bytes(), PATH).for_each(|part| text.extend_from_slice(part.as_bytes()));
    }
    if segments.is_empty() || given.ends_with('/') {
        text.push(b'/');
    }
}

fn query(given: &str, unsigned: &str, text: &mut Vec<u8>) {
    let encoded = |part: &[u8]| percent_encode(part, DATA).to_string();
    let mut pairs: Vec<(String, String)> = parameters(given)
        .into_iter()
        .filter(|(name, _)| name.as_ref() != unsigned.as_bytes())
        .map(|(name, value)| (encoded(&name), encoded(&value)))
        .collect();
    pairs.sort_unstable();
    for (at, (name, value)) in pairs.iter().enumerate() {
        if at > 0 {
            text.push(b'&');
        }
        text.extend_from_slice(name.as_bytes());
        text.push(b'=');
        text.extend_from_slice(value.as_bytes());
    }
}

/// Every value of the header in its order, with commas between; nothing where there is none.
fn header_values(head: &Head<'_>, name: &str, text: &mut Vec<u8>) {
    let begin = text.len();
    for value in head.headers.get_all(name) {
        if text.len() > begin {
            text.push(b',');
        }
        trimmed(value.as_bytes(), text);
    }
    let authority = head.authority.filter(|_| text.len() == begin && name.eq_ignore_ascii_case("host"));
    if let Some(authority) = authority {
        text.extend_from_slice(authority.as_bytes());
    }
}

/// Without white space around it, and one blank for several.
fn trimmed(value: &[u8], text: &mut Vec<u8>) {
    let value = value.trim_ascii();
    let begin = text.len();
    text.extend_from_slice(value);
    if value.windows(2).any(|pair| pair == b"  ") {
        text.truncate(begin);
        let kept = |at: &usize| value[*at] != b' ' || value[*at - 1] != b' ';
        text.extend((0..value.len()).filter(kept).map(|at| value[at]));
    }
}

fn lower_case(name: &str, text: &mut Vec<u8>) {
    let begin = text.len();
    text.extend_from_slice(name.as_bytes());
    text[begin..].make_ascii_lowercase();
}

/// The header's one value as text, `None` where there is none; `Err` where it is repeated, or no text.
pub(crate) fn single<'a>(
    headers: &'a HeaderMap,
    name: &'static str,
) -> Result<Option<&'a str>, crate::Error> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => match value.to_str() {
            Ok(text) => Ok(Some(text)),
            Err(_) if name == header::AUTHORIZATION => Err(crate::Error::Missing),
            Err(_) => Err(crate::Error::Parts(format!("The header '{name}' is not printable ASCII."))),
        },
        (Some(_), Some(_)) => Err(crate::Error::Repeated(name)),
    }
}
