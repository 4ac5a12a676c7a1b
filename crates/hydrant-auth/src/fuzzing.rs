//! What the fuzzer in `tests/fuzz` runs, and an ordinary test over its corpus. Not part of the interface.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use hydrant_types::{Clock, Secret, Timestamp};

use crate::{AccessKey, AccessKeys, Authenticator, Error, Head, Realm, Service};

const SERVICE: Service = Service { name: "firehose", resource: "deliverystream", actions: &["PutRecord"] };
/// 2015-08-30T12:36:00Z, AWS's examples' moment.
const THEN: Timestamp = Timestamp(1_440_938_160_000);

/// Time stands still.
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        THEN
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

/// A request's head made from bytes as they come on the wire: method and target, then header lines; what hyper would refuse is left out.
/// Its signature is verified in both phases. Nobody who does not know the secret is let in, and every refusal has its code.
pub fn sigv4(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let first = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let (method, target) = first.split_once(' ').unwrap_or(("POST", &first));
    let (Ok(method), Ok(uri)) = (method.parse::<Method>(), target.parse::<Uri>()) else { return };
    let mut headers = HeaderMap::new();
    for line in lines {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = parts.next().and_then(|name| HeaderName::from_bytes(name).ok());
        let value = parts.next().and_then(|value| HeaderValue::from_bytes(value.trim_ascii()).ok());
        if let (Some(name), Some(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let head = Head {
        method: &method,
        path: uri.path(),
        query: uri.query(),
        headers: &headers,
        authority: uri.authority().map(http::uri::Authority::as_str),
    };
    let clock: Arc<dyn Clock> = Arc::new(Still);
    let key = AccessKey {
        id: "AKIDEXAMPLE".to_owned(),
        // Of no published example: nothing in a corpus is signed with it.
        secret: Secret::new("fuzzed, and in no corpus"),
        actions: vec!["*".to_owned()],
        streams: vec!["*".to_owned()],
        calls_per_sec: None,
    };
    let keys = AccessKeys::new(vec![key], &SERVICE, &clock).expect("it is a key");
    let realm = Realm::new("us-east-1", "123456789012");
    let refusal = match Authenticator::with_keys(keys, SERVICE, realm, clock).claim(&head) {
        Ok(claim) => claim.expect("keys are asked for").verify([0; 32]).expect_err("nobody knows the secret"),
        Err(refusal) => refusal,
    };
    assert!(Error::CODES.contains(&refusal.code()), "{refusal:?}");
    assert!([400, 403].contains(&refusal.status()), "{refusal:?}");
    assert!(refusal.to_string().len() <= 4096 + 4 * data.len(), "{refusal}");
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_corpus_of_sigv4_holds_and_so_does_what_is_near_it() {
        hydrant_testkit::replay_corpus("sigv4", 500, super::sigv4);
    }
}
