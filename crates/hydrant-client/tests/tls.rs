//! The client over TLS, by the certificates that the environment names: in processes of their own, for that is where they are read from.
#![allow(clippy::unwrap_used, reason = "helpers of tests, which the lint does not know as such")]

use std::{convert::Infallible, path::Path, process::Command};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hydrant_client::{CallError, Client};
use hydrant_testkit::Ca;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpListener;

/// In the child's environment: what to call.
const ENDPOINT: &str = "HYDRANT_CLIENT_TEST_ENDPOINT";

/// A server that answers every call with `{"a":1}`, and the PEM of the CA that it is certified by.
async fn serve() -> (String, String) {
    let ca = Ca::new();
    let acceptor = ca.acceptor();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // Who does not trust it hangs up.
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let answer = service_fn(async |_: Request<Incoming>| {
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"{\"a\":1}"))))
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    });
    (endpoint, ca.pem().to_owned())
}

/// Runs the test `child` alone with these roots; whether it passed.
async fn passes(child: &'static str, endpoint: &str, roots: &Path) -> bool {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", child, "--include-ignored"]).env(ENDPOINT, endpoint);
    command.env("SSL_CERT_FILE", roots).env_remove("SSL_CERT_DIR");
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("running 1 test"), "{said}");
    output.status.success()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_is_checked_by_the_certificates_that_the_environment_names() {
    let (endpoint, pem) = serve().await;
    let (_, other) = serve().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.pem");
    std::fs::write(&path, pem).unwrap();
    assert!(passes("it_is_trusted", &endpoint, &path).await);
    std::fs::write(&path, other).unwrap();
    assert!(passes("it_is_not_trusted", &endpoint, &path).await);
    assert!(passes("nobody_is_trusted", &endpoint, Path::new("/nowhere/ca.pem")).await);
}

async fn call() -> Result<serde_json::Value, CallError> {
    let endpoint = std::env::var(ENDPOINT).unwrap();
    Client::unsigned(&endpoint).call("ListDeliveryStreams", &json!({})).await
}

#[tokio::test]
#[ignore = "run by the test above"]
async fn it_is_trusted() {
    assert_eq!(call().await.unwrap(), json!({"a": 1}));
}

#[tokio::test]
#[ignore = "run by the test above"]
async fn it_is_not_trusted() {
    let error = call().await.unwrap_err();
    assert!(
        matches!(&error, CallError::Unreachable { .. }) && error.to_string().contains("certificate"),
        "{error}"
    );
}

#[tokio::test]
#[ignore = "run by the test above"]
async fn nobody_is_trusted() {
    let error = call().await.unwrap_err();
    assert!(matches!(&error, CallError::NoRoots { .. }) && !error.is_retryable(), "{error}");
    assert!(error.to_string().contains("SSL_CERT_FILE"), "{error}");
    let plain = Client::unsigned("http://127.0.0.1:1").call("ListDeliveryStreams", &json!({})).await;
    assert!(matches!(plain, Err(CallError::Unreachable { .. })), "no certificates are needed for plain HTTP");
}
