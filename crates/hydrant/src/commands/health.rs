//! `hydrant health`: for container health checks, where the image has no other program.

use std::{io::Write, net::SocketAddr, process::ExitCode, time::Duration};

use anyhow::{Context, Result, bail};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A health check that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Ask a service whether it is ready.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The admin listener, or the Redshift stand-in.
    #[arg(long, default_value = "127.0.0.1:4574")]
    address: SocketAddr,
}

/// Asks `/health/ready`; says nothing when it is, or as JSON `{"ready":true}`.
///
/// # Errors
/// It does not answer 200.
pub async fn run(args: Args, as_json: bool, out: &mut dyn Write) -> Result<ExitCode> {
    let answer = tokio::time::timeout(TIMEOUT, ask(args.address)).await.context("no answer in time")??;
    let status = answer.split_ascii_whitespace().nth(1).unwrap_or_default();
    if status != "200" {
        bail!("{}: {}", args.address, answer.lines().next().unwrap_or("no answer"));
    }
    if as_json {
        writeln!(out, "{}", json!({"ready": true}))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn ask(address: SocketAddr) -> Result<String> {
    let mut stream = TcpStream::connect(address).await.with_context(|| format!("connect to {address}"))?;
    let request = format!("GET /health/ready HTTP/1.0\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    // A status line and a few headers; nobody needs more than this.
    stream.take(16 * 1024).read_to_string(&mut answer).await?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use axum::{Router, http::StatusCode, routing::get};
    use tokio::net::TcpListener;

    use super::*;

    async fn health(status: StatusCode, as_json: bool) -> Result<String> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let router = Router::new().route("/health/ready", get(move || async move { status }));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let mut out = Vec::new();
        run(Args { address }, as_json, &mut out).await?;
        Ok(String::from_utf8(out)?)
    }

    #[tokio::test]
    async fn a_service_that_is_ready_is_a_success_and_as_json_one_object() {
        assert_eq!(health(StatusCode::OK, true).await.unwrap(), "{\"ready\":true}\n");
        assert_eq!(health(StatusCode::OK, false).await.unwrap(), "");
    }

    #[tokio::test]
    async fn a_service_that_is_not_ready_is_an_error_with_its_status() {
        let error = health(StatusCode::SERVICE_UNAVAILABLE, true).await.unwrap_err();
        assert!(error.to_string().contains("503"), "{error}");
    }
}
