//! `hydrant health`: for container health checks, where the image has no other program.

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use anyhow::{Context, Result, bail};
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

/// Asks `/health/ready`.
///
/// # Errors
/// It does not answer 200.
pub async fn run(args: Args) -> Result<ExitCode> {
    let answer = tokio::time::timeout(TIMEOUT, ask(args.address)).await.context("no answer in time")??;
    let status = answer.split_ascii_whitespace().nth(1).unwrap_or_default();
    if status != "200" {
        bail!("{}: {}", args.address, answer.lines().next().unwrap_or("no answer"));
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
