//! One HTTP connection: each request meets the script.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::Fault;
use super::script::Script;

type AnyBody = BoxBody<Bytes, hyper::Error>;
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The slowest upstream call in a test, and then some.
const UPSTREAM_LIMIT: Duration = Duration::from_secs(120);

pub(super) async fn relay(client: TcpStream, upstream: SocketAddr, script: Arc<Script>) {
    let upstream_client: Client<HttpConnector, AnyBody> = Client::builder(TokioExecutor::new()).build_http();
    let service = service_fn(|request| answer(request, upstream, &script, &upstream_client));
    // An error here is a cut connection: by the client, or by a fault of ours.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(client), service).await;
}

/// An error makes hyper close the connection without an answer.
async fn answer(
    request: Request<Incoming>,
    upstream: SocketAddr,
    script: &Script,
    client: &Client<HttpConnector, AnyBody>,
) -> Result<Response<AnyBody>, Cause> {
    script.note_head(head(&request));
    match script.decide(&summary(&request)) {
        None => pass_on(request, upstream, client).await,
        Some(Fault::Stall) => {
            script.unstalled().await;
            pass_on(request, upstream, client).await
        }
        Some(Fault::Delay(delay)) => {
            tokio::time::sleep(delay).await;
            pass_on(request, upstream, client).await
        }
        Some(Fault::Status(status)) => refuse_with(status, request).await,
        Some(Fault::CutAfter) => {
            let lost = pass_on(request, upstream, client).await?;
            lost.into_body().collect().await?;
            Err("the answer is lost".into())
        }
        Some(Fault::CutBefore | Fault::Refuse) => Err("the connection is cut".into()),
    }
}

async fn pass_on(
    request: Request<Incoming>,
    upstream: SocketAddr,
    client: &Client<HttpConnector, AnyBody>,
) -> Result<Response<AnyBody>, Cause> {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    parts.uri = Uri::builder().scheme("http").authority(upstream.to_string()).path_and_query(path).build()?;
    let forwarded = Request::from_parts(parts, body.boxed());
    let response = tokio::time::timeout(UPSTREAM_LIMIT, client.request(forwarded)).await??;
    Ok(response.map(BodyExt::boxed))
}

/// Reads the request to its end first: an answer before that makes clients see a broken pipe.
async fn refuse_with(status: u16, request: Request<Incoming>) -> Result<Response<AnyBody>, Cause> {
    let speaks_json = request.headers().contains_key("x-amz-target");
    request.into_body().collect().await?;
    let status = StatusCode::from_u16(status)?;
    let code = error_code(status, speaks_json);
    let (content_type, body) = match speaks_json {
        true => ("application/x-amz-json-1.1", format!(r#"{{"__type":"{code}","message":"injected"}}"#)),
        false => (
            "application/xml",
            format!("<Error><Code>{code}</Code><Message>injected</Message><RequestId>0</RequestId></Error>"),
        ),
    };
    let body = Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed();
    Ok(Response::builder().status(status).header("content-type", content_type).body(body)?)
}

fn error_code(status: StatusCode, speaks_json: bool) -> &'static str {
    match (status.as_u16(), speaks_json) {
        (400, _) => "ValidationException",
        (403, true) => "AccessDeniedException",
        (403, false) => "AccessDenied",
        (404, true) => "ResourceNotFoundException",
        (404, false) => "NoSuchBucket",
        (409, _) => "ConditionalRequestConflict",
        (412, _) => "PreconditionFailed",
        (429, _) => "ThrottlingException",
        (503, true) => "ServiceUnavailableException",
        (503, false) => "SlowDown",
        (_, true) => "InternalServerException",
        (_, false) => "InternalError",
    }
}

fn head(request: &Request<Incoming>) -> String {
    let line = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        format!("\n{name}: {}", String::from_utf8_lossy(value.as_bytes()))
    };
    let headers: String = request.headers().iter().map(line).collect();
    format!("{}{headers}", summary(request))
}

fn summary(request: &Request<Incoming>) -> String {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    match request.headers().get("x-amz-target").and_then(|target| target.to_str().ok()) {
        Some(target) => format!("{} {path} {target}", request.method()),
        None => format!("{} {path}", request.method()),
    }
}
