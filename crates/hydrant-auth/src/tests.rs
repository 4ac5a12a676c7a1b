//! What is refused, and the pieces that the tests share.
#![allow(clippy::unwrap_used, reason = "helpers of tests, which the lint does not know as such")]

mod keys;
mod properties;
mod refusals;
mod vectors;

use std::{sync::Arc, time::Duration};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{
        PayloadChecksumKind, SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign,
    },
    sign::v4,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use hydrant_testkit::ManualClock;
use hydrant_types::{Clock, Secret, Timestamp};
use sha2::{Digest, Sha256};

use crate::{AccessKey, AccessKeys, Authenticator, Caller, Error, Head, Realm, Service};

const FIREHOSE: Service = Service {
    name: "firehose",
    resource: "deliverystream",
    actions: &["PutRecord", "PutRecordBatch", "DescribeDeliveryStream", "ListDeliveryStreams"],
};
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
/// 2015-08-30T12:36:00Z, AWS's examples' moment.
const THEN: Timestamp = Timestamp(1_440_938_160_000);

fn key(id: &str) -> AccessKey {
    AccessKey {
        id: id.to_owned(),
        secret: Secret::new(SECRET),
        actions: vec!["*".to_owned()],
        streams: vec!["*".to_owned()],
        calls_per_sec: None,
    }
}

fn clock_at(at: Timestamp) -> (ManualClock, Arc<dyn Clock>) {
    let clock = ManualClock::new(at);
    (clock.clone(), Arc::new(clock))
}

fn authenticator(keys: Vec<AccessKey>, service: Service) -> (Authenticator, ManualClock) {
    let (clock, shared) = clock_at(THEN);
    let keys = AccessKeys::new(keys, &service, &shared).unwrap();
    let realm = Realm::new("us-east-1", "123456789012");
    (Authenticator::with_keys(keys, service, realm, shared), clock)
}

/// A request as a test changes it: every part is text.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sent {
    method: Method,
    path: String,
    query: Option<String>,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Sent {
    fn put() -> Self {
        let header = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
        Self {
            method: Method::POST,
            path: "/".to_owned(),
            query: None,
            headers: vec![
                header("host", "localhost:4573"),
                header("content-type", "application/x-amz-json-1.1"),
                header("x-amz-target", "Firehose_20150804.PutRecord"),
            ],
            body: br#"{"DeliveryStreamName":"orders","Record":{"Data":"YQ=="}}"#.to_vec(),
        }
    }

    fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(found, _)| found == name);
        std::str::from_utf8(&found.unwrap_or_else(|| panic!("{name}")).1).unwrap()
    }

    fn set(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.headers.retain(|(found, _)| found != name);
        self.add(name, value);
    }

    fn add(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
    }

    fn map(&self) -> HeaderMap {
        let pair = |(name, value): &(String, Vec<u8>)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_bytes(value).unwrap())
        };
        let mut map = HeaderMap::new();
        for (name, value) in self.headers.iter().map(pair) {
            map.append(name, value);
        }
        map
    }

    fn verify(&self, authenticator: &Authenticator) -> Result<Caller, Error> {
        let headers = self.map();
        let head = Head {
            method: &self.method,
            path: &self.path,
            query: self.query.as_deref(),
            headers: &headers,
            authority: None,
        };
        let claim = authenticator.claim(&head)?.expect("somebody is asked");
        claim.verify(Sha256::digest(&self.body).into())
    }

    /// Signed by AWS's own signer.
    fn signed(mut self, id: &str, at: Timestamp, settings: SigningSettings) -> Self {
        let identity = Credentials::new(id, SECRET, None, None, "test").into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region("us-east-1")
            .name("firehose")
            .time(std::time::UNIX_EPOCH + Duration::from_millis(at.as_millis()))
            .settings(settings)
            .build()
            .unwrap()
            .into();
        let target = match &self.query {
            Some(query) => format!("http://{}{}?{query}", self.header("host"), self.path),
            None => format!("http://{}{}", self.header("host"), self.path),
        };
        let texts: Vec<(&str, &str)> = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), std::str::from_utf8(value).unwrap()))
            .collect();
        let body = SignableBody::Bytes(&self.body);
        let signable =
            SignableRequest::new(self.method.as_str(), &target, texts.iter().copied(), body).unwrap();
        let (instructions, _) = sign(signable, &params).unwrap().into_parts();
        let mut request = Request::builder().uri(&target).body(()).unwrap();
        instructions.apply_to_request_http1x(&mut request);
        self.query = request.uri().query().map(str::to_owned);
        for (name, value) in request.headers() {
            self.set(name.as_str(), value);
        }
        self
    }
}

fn in_headers() -> SigningSettings {
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::Headers;
    settings
}

fn with_payload_header() -> SigningSettings {
    let mut settings = in_headers();
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    settings
}

fn in_query(expires: u64) -> SigningSettings {
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(Duration::from_secs(expires));
    settings
}
