//! One request and its answer: AWS JSON 1.1 over HTTP, in AWS's shape whatever happens.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hydrant_auth::{Authenticator, Caller, Claim, Head};
use hydrant_log::CallKey;
use hydrant_types::{Clock, Entropy};
use hyper::body::{Body, Incoming};
use sha2::{Digest, Sha256};
use tracing::{debug, error};

use crate::{
    body::{self, BodyError},
    error::ApiError,
    head,
    metrics::Metrics,
    operations::{Operation, Operations},
};

const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.1");

/// Answers requests.
pub(crate) struct Exchange {
    pub(crate) operations: Operations,
    pub(crate) authenticator: Arc<Authenticator>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) metrics: Metrics,
    pub(crate) body_timeout: Duration,
}

impl Exchange {
    /// Every request gets an answer in AWS's shape.
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let begun = self.clock.monotonic();
        let (parts, body) = request.into_parts();
        let operation = which(&parts);
        let handled = self.handle(operation, &parts, body);
        let outcome = AssertUnwindSafe(handled).catch_unwind().await.unwrap_or_else(|_| {
            // The panic hook has written where and why.
            error!("a request's handler panicked; it was answered with InternalFailure");
            Err(ApiError::internal())
        });
        let took = self.clock.monotonic().saturating_sub(begun);
        self.metrics.answered(operation, outcome.as_ref().err(), took);
        self.respond(outcome)
    }

    /// An error without looking at the request.
    pub(crate) fn refuse(&self, error: ApiError) -> Response<Full<Bytes>> {
        self.metrics.answered(None, Some(&error), Duration::ZERO);
        self.respond(Err(error))
    }

    fn respond(&self, outcome: Result<Vec<u8>, ApiError>) -> Response<Full<Bytes>> {
        let mut response = match outcome {
            Ok(body) => Response::new(Full::new(Bytes::from(body))),
            Err(error) => error_response(&error),
        };
        let id = self.entropy.uuid();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, CONTENT_TYPE);
        for (name, value) in
            [("x-amzn-requestid", id.to_string()), ("x-amz-id-2", STANDARD.encode(id.as_bytes()))]
        {
            headers
                .insert(name, HeaderValue::try_from(value).expect("hexadecimal digits and base64 are ASCII"));
        }
        response
    }

    /// In this order: the operation, what the head says of the caller, the body, the caller's signature, what the caller may do (which needs
    /// the stream's name, and comes before everything else that the input says), the operation itself.
    async fn handle(
        &self,
        operation: Option<Operation>,
        parts: &http::request::Parts,
        body: Incoming,
    ) -> Result<Vec<u8>, ApiError> {
        let announced = body.size_hint().lower();
        let (operation, claim) = match self.admit(operation, parts, announced) {
            Ok(admitted) => admitted,
            Err(refusal) => {
                // A client that waits for leave to send gets the refusal instead.
                if !parts.headers.contains_key(header::EXPECT) {
                    body::discard(body).await;
                }
                return Err(refusal);
            }
        };
        let mut claim = claim.map(|claim| (claim, Sha256::new()));
        let hasher = claim.as_mut().map(|(_, hasher)| hasher);
        let room = self.operations.ingest.room();
        let body = body::read(body, operation.body_bytes_max(), room, self.body_timeout, hasher).await;
        let (body, mut room) = body.map_err(|error| {
            debug!(%error, announced, "a request's body was not read");
            body_refusal(&error)
        })?;
        let caller = match claim {
            Some((claim, hasher)) => claim.verify(hasher.finalize().into()).map_err(refused_caller)?,
            None => Caller::anonymous(),
        };
        let call = operation.call_tag().and_then(|tag| call_key(&parts.headers, tag, &caller));
        // The room is held until the answer, for what became of the body is in memory until then.
        let answer = self.operations.run(operation, body, &mut room, call, &caller).await;
        drop(room);
        answer
    }

    /// What can be said before the body is read.
    fn admit(
        &self,
        operation: Option<Operation>,
        parts: &http::request::Parts,
        announced: u64,
    ) -> Result<(Operation, Option<Claim>), ApiError> {
        head::check(&parts.headers)?;
        let operation = accepted(operation, &parts.headers)?;
        let claim = self.authenticator.claim(&Head::from(parts)).map_err(refused_caller)?;
        match announced <= operation.body_bytes_max() as u64 {
            true => Ok((operation, claim)),
            false => Err(ApiError::too_large(operation.body_bytes_max())),
        }
    }
}

fn refused_caller(error: hydrant_auth::Error) -> ApiError {
    debug!(%error, "a caller was not authenticated");
    error.into()
}

/// The operation that the request line and headers name; `None` where there is no such.
fn which(parts: &http::request::Parts) -> Option<Operation> {
    if parts.method != Method::POST || parts.uri.path() != "/" {
        return None;
    }
    Operation::of_target(parts.headers.get("x-amz-target")?.to_str().ok()?)
}

/// The operation, where there is one and its input is said to be JSON.
fn accepted(operation: Option<Operation>, headers: &HeaderMap) -> Result<Operation, ApiError> {
    let operation = operation.ok_or_else(ApiError::unknown_operation)?;
    match headers.get(header::CONTENT_TYPE) {
        Some(found) if !is_json(found) => Err(ApiError::serialization(format!(
            "Content-Type {found:?} is not supported: expected application/x-amz-json-1.1."
        ))),
        _ => Ok(operation),
    }
}

/// `application/x-amz-json-1.1`, and what is the same to us; with any parameters.
fn is_json(content_type: &HeaderValue) -> bool {
    let kind = content_type.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    ["application/x-amz-json-1.1", "application/x-amz-json-1.0", "application/json"]
        .iter()
        .any(|known| kind.eq_ignore_ascii_case(known))
}

fn body_refusal(error: &BodyError) -> ApiError {
    match error {
        BodyError::TooLarge(bytes_max) => ApiError::too_large(*bytes_max),
        BodyError::NoRoom => ApiError::unavailable(),
        BodyError::TimedOut => ApiError::request_timeout(),
        BodyError::Ended(_) => ApiError::serialization("The request's body ended early."),
    }
}

fn error_response(error: &ApiError) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(error.body())));
    *response.status_mut() = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static(error.code));
    response
}

/// Names the call by who calls, what, and under which id; `None` where the client gives no id, for then two calls that look alike
/// may both be meant.
fn call_key(headers: &HeaderMap, operation: u8, caller: &Caller) -> Option<CallKey> {
    let id = headers.get("amz-sdk-invocation-id")?.as_bytes();
    if id.is_empty() {
        return None;
    }
    let caller = caller.access_key_id().or_else(|| claimed_key(headers)).unwrap_or("anonymous");
    let mut text = Vec::with_capacity(caller.len() + id.len() + 2);
    text.extend_from_slice(caller.as_bytes());
    text.extend_from_slice(&[0, operation]);
    text.extend_from_slice(id);
    Some(CallKey::of(&text))
}

/// Where nobody is asked, callers are told apart by the access key they say they have.
fn claimed_key(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once("Credential=")?.1.split('/').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNED: &str = "AWS4-HMAC-SHA256 Credential=AKIA1/20260102/us-east-1/firehose/aws4_request, SignedHeaders=host, Signature=00";

    fn key(pairs: &[(&'static str, &str)], operation: u8) -> Option<CallKey> {
        let headers = pairs.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap()));
        call_key(&headers.collect(), operation, &Caller::anonymous())
    }

    #[test]
    fn a_call_is_named_by_caller_operation_and_invocation_id() {
        let id = ("amz-sdk-invocation-id", "5d2b0f2c-0000-4000-8000-000000000001");
        let named = key(&[id, ("authorization", SIGNED)], 0);
        assert!(named.is_some());
        let signed_anew = SIGNED.replace("Signature=00", "Signature=11").replace("20260102", "20260103");
        assert_eq!(key(&[id, ("authorization", &signed_anew)], 0), named);
        let others = [
            key(&[id, ("authorization", SIGNED)], 1),
            key(&[id, ("authorization", &SIGNED.replace("AKIA1", "AKIA2"))], 0),
            key(&[id], 0),
            key(
                &[
                    ("amz-sdk-invocation-id", "5d2b0f2c-0000-4000-8000-000000000002"),
                    ("authorization", SIGNED),
                ],
                0,
            ),
        ];
        for (at, other) in others.iter().enumerate() {
            assert!(other.is_some() && *other != named && !others[..at].contains(other), "{at}");
        }
    }

    #[test]
    fn a_call_without_an_id_is_nobodys_retry() {
        assert_eq!(key(&[("authorization", SIGNED)], 0), None);
        assert_eq!(key(&[("amz-sdk-invocation-id", "")], 0), None);
    }

    #[test]
    fn content_types_of_json_are_taken_with_any_parameters() {
        for good in [
            "application/x-amz-json-1.1",
            "application/x-amz-json-1.1; charset=utf-8",
            "Application/X-AMZ-JSON-1.0",
            "application/json;a=b",
        ] {
            assert!(is_json(&HeaderValue::from_str(good).unwrap()), "{good}");
        }
        for bad in ["application/cbor", "application/x-www-form-urlencoded", "application/x-amz-json", ""] {
            assert!(!is_json(&HeaderValue::from_str(bad).unwrap()), "{bad}");
        }
    }
}
