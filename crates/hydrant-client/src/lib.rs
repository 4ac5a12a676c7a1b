//! A small Firehose client: signs, retries, batches.
//!
//! It speaks AWS JSON 1.1 to any Firehose endpoint, the real one included, and passes JSON through as it is given: what
//! `aws firehose … --cli-input-json` takes is what [`Client::call`] takes. Retries are those of the AWS SDKs: a 5xx, a throttle or a lost
//! connection is tried again under the same `amz-sdk-invocation-id`.

pub mod batcher;
mod signing;

use std::{sync::Arc, time::Duration};

use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, SharedCredentialsProvider},
};
use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client as HttpClient, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use serde_json::Value;
use uuid::Uuid;

/// As the SDKs' "standard" retry mode.
pub const ATTEMPTS_MAX: usize = 3;
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(20);
/// For one attempt: a 4 MiB batch over a slow line.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Below the time after which servers close an idle connection, so that a call is seldom sent into a closing one.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// No answer of Firehose's API is near this.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What the SDKs' "standard" mode tries again whatever the status: throttles and passing faults.
const RETRYABLE_CODES: [&str; 16] = [
    "BandwidthLimitExceeded",
    "EC2ThrottledException",
    "LimitExceededException",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "RequestTimeout",
    "RequestTimeoutException",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "TransactionInProgressException",
];

/// A call did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The service refused, or failed.
    #[error("{code}: {message}")]
    Service {
        /// HTTP status.
        status: u16,
        /// As in `__type`.
        code: String,
        /// The service's words.
        message: String,
    },
    /// No answer was got.
    #[error("{endpoint} does not answer: {reason}")]
    Unreachable {
        /// What was called.
        endpoint: String,
        /// Why.
        reason: String,
    },
    /// There are no credentials to sign with.
    #[error("no AWS credentials: {0}")]
    Credentials(String),
    /// The endpoint is `https://`, and there are no certificates to check it by.
    #[error(
        "there are no root certificates to check {endpoint} by ({reason}): install the system's, or name a file in SSL_CERT_FILE"
    )]
    NoRoots {
        /// What was called.
        endpoint: String,
        /// Why there are none.
        reason: String,
    },
    /// The endpoint is not a URL.
    #[error("{0:?} is not an http:// or https:// URL")]
    Endpoint(String),
}

impl CallError {
    /// Whether the same call may succeed later, as the SDKs see it.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Service { status, code, .. } => {
                matches!(status, 429 | 500 | 502 | 503 | 504) || RETRYABLE_CODES.contains(&code.as_str())
            }
            Self::Unreachable { .. } => true,
            Self::Credentials(_) | Self::NoRoots { .. } | Self::Endpoint(_) => false,
        }
    }
}

/// Trusts the system's certificates, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name. Where there are none nobody is trusted, and it is
/// said why: plain HTTP can still be spoken.
fn tls() -> (rustls::ClientConfig, Option<String>) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = || {
        rustls::ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("ring knows TLS 1.2 and 1.3")
    };
    match builder().with_native_roots() {
        Ok(with_roots) => (with_roots.with_no_client_auth(), None),
        Err(error) => {
            let nobody = builder().with_root_certificates(rustls::RootCertStore::empty());
            (nobody.with_no_client_auth(), Some(error.to_string()))
        }
    }
}

/// How calls are signed.
#[derive(Debug, Clone)]
pub enum Signing {
    /// Not at all.
    None,
    /// SigV4 for this region.
    V4 {
        /// Of the signature's scope.
        region: String,
        /// Asked for each call; they may run out.
        credentials: SharedCredentialsProvider,
    },
}

/// A Firehose endpoint. Cheap to clone; clones share connections.
#[derive(Debug, Clone)]
pub struct Client {
    http: HttpClient<HttpsConnector<HttpConnector>, Full<Bytes>>,
    endpoint: String,
    signing: Signing,
    /// Why nobody is trusted, where that is so.
    no_roots: Option<String>,
}

impl Client {
    /// Calls are not signed.
    pub fn unsigned(endpoint: &str) -> Self {
        Self::new(endpoint, Signing::None)
    }

    /// Calls are signed as `signing` says.
    pub fn new(endpoint: &str, signing: Signing) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        // A call's last, short packet must not wait for the acknowledgement of the ones before.
        tcp.set_nodelay(true);
        // The one around it decides which schemes there are.
        tcp.enforce_http(false);
        let (tls, no_roots) = tls();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let http = HttpClient::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(1024)
            .build(connector);
        Self { http, endpoint: endpoint.trim_end_matches('/').to_owned(), signing, no_roots }
    }

    /// Calls `operation` with `input` as it is, and gives the answer. Tried up to three times.
    ///
    /// # Errors
    /// [`CallError`] of the last attempt.
    pub async fn call(&self, operation: &str, input: &Value) -> Result<Value, CallError> {
        let body = Bytes::from(input.to_string());
        let answer = self.call_raw(operation, body).await?;
        Ok(serde_json::from_slice(&answer).unwrap_or(Value::Null))
    }

    /// As [`Client::call`], with JSON text in and out.
    ///
    /// # Errors
    /// [`CallError`] of the last attempt.
    pub async fn call_raw(&self, operation: &str, body: Bytes) -> Result<Bytes, CallError> {
        let invocation = Uuid::new_v4();
        let mut attempt = 0;
        (|| {
            attempt += 1;
            self.attempt(operation, body.clone(), invocation, attempt)
        })
        .retry(
            ExponentialBuilder::default()
                .with_min_delay(BACKOFF_MIN)
                .with_max_delay(BACKOFF_MAX)
                .with_max_times(ATTEMPTS_MAX - 1)
                .with_jitter(),
        )
        .when(CallError::is_retryable)
        .await
    }

    /// One attempt, without retry: for load generators, which count failures.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn attempt(
        &self,
        operation: &str,
        body: Bytes,
        invocation: Uuid,
        attempt: usize,
    ) -> Result<Bytes, CallError> {
        let request = self.request(operation, body, invocation, attempt).await?;
        let exchange = async {
            let response = self.http.request(request).await.map_err(|e| self.unreachable(chain(&e)))?;
            self.answer(response).await
        };
        tokio::time::timeout(ATTEMPT_TIMEOUT, exchange)
            .await
            .unwrap_or_else(|_| Err(self.unreachable("no answer in time".to_owned())))
    }

    async fn request(
        &self,
        operation: &str,
        body: Bytes,
        invocation: Uuid,
        attempt: usize,
    ) -> Result<Request<Full<Bytes>>, CallError> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}/", self.endpoint))
            .header(header::CONTENT_TYPE, "application/x-amz-json-1.1")
            .header("x-amz-target", format!("Firehose_20150804.{operation}"))
            .header("amz-sdk-invocation-id", invocation.to_string())
            .header("amz-sdk-request", format!("attempt={attempt}; max={ATTEMPTS_MAX}"))
            .header(header::USER_AGENT, concat!("hydrant/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(body.clone()))
            .map_err(|_| CallError::Endpoint(self.endpoint.clone()))?;
        if let (Some("https"), Some(reason)) = (request.uri().scheme_str(), &self.no_roots) {
            return Err(CallError::NoRoots { endpoint: self.endpoint.clone(), reason: reason.clone() });
        }
        let host =
            request.uri().authority().ok_or_else(|| CallError::Endpoint(self.endpoint.clone()))?.to_string();
        let host = HeaderValue::from_str(&host).map_err(|_| CallError::Endpoint(self.endpoint.clone()))?;
        request.headers_mut().insert(header::HOST, host);
        if let Signing::V4 { region, credentials } = &self.signing {
            let credentials = self.credentials(credentials).await?;
            signing::sign(&mut request, &body, region, credentials)?;
        }
        Ok(request)
    }

    async fn credentials(&self, provider: &SharedCredentialsProvider) -> Result<Credentials, CallError> {
        provider.provide_credentials().await.map_err(|e| CallError::Credentials(e.to_string()))
    }

    async fn answer(&self, response: Response<Incoming>) -> Result<Bytes, CallError> {
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|e| self.unreachable(chain(e.as_ref())))?.to_bytes();
        if parts.status.is_success() {
            return Ok(body);
        }
        let error: Value = serde_json::from_slice(&body).unwrap_or_default();
        let text = |name: &str| error[name].as_str();
        let header = parts.headers.get("x-amzn-errortype").and_then(|code| code.to_str().ok());
        Err(CallError::Service {
            status: parts.status.as_u16(),
            code: short_code(text("__type").or(header).unwrap_or("UnknownError")).to_owned(),
            message: text("message").or(text("Message")).unwrap_or_default().to_owned(),
        })
    }

    fn unreachable(&self, reason: String) -> CallError {
        CallError::Unreachable { endpoint: self.endpoint.clone(), reason }
    }
}

/// `com.amazonaws.firehose#Code:http://…` is `Code`.
fn short_code(code: &str) -> &str {
    let code = code.split(':').next().unwrap_or(code);
    code.rsplit('#').next().unwrap_or(code)
}

/// An error with its causes: hyper's own words say only that connecting failed.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, code: &str) -> CallError {
        CallError::Service { status, code: code.to_owned(), message: String::new() }
    }

    #[test]
    fn what_the_sdks_try_again_is_tried_again() {
        for (status, code) in [
            (503, "ServiceUnavailableException"),
            (500, "InternalFailure"),
            (429, "TooManyRequestsException"),
            (400, "ThrottlingException"),
            (400, "LimitExceededException"),
            (408, "RequestTimeoutException"),
        ] {
            assert!(refused(status, code).is_retryable(), "{status} {code}");
        }
        for (status, code) in [
            (400, "ServiceUnavailableException"),
            (400, "ResourceNotFoundException"),
            (400, "ValidationException"),
            (403, "InvalidSignatureException"),
            (413, "RequestEntityTooLargeException"),
            (501, "UnknownError"),
        ] {
            assert!(!refused(status, code).is_retryable(), "{status} {code}");
        }
        assert!(!CallError::Credentials(String::new()).is_retryable());
    }

    #[test]
    fn codes_are_taken_without_namespace_and_suffix() {
        for code in
            ["Code", "com.amazonaws.firehose#Code", "Code:http://internal.amazon.com/", "a#Code:http://b#c/"]
        {
            assert_eq!(short_code(code), "Code", "{code}");
        }
    }
}
