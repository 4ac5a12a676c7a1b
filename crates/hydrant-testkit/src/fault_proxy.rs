//! A proxy that misbehaves on command, in front of S3, the Data API, Hydrant itself (HTTP) or Postgres (TCP).
//!
//! ```text
//!  client ──▶ FaultProxy ──▶ upstream
//!               │ each request (HTTP) or each piece that a client sends (TCP) asks the script:
//!               │ pass, delay, stall, cut before, cut after, answer with a status
//! ```
//!
//! The most valuable one is [`Fault::CutAfter`]: the work was done and nobody was told.

mod accept;
mod http_relay;
mod script;
mod tcp_relay;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::free_port;
use script::Script;

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// New connections are refused, open ones are cut; whatever is asked for. Lasts until healed.
    Refuse,
    /// Requests are taken and nothing is answered; when healed they are passed on.
    Stall,
    /// The connection is cut before anything reached the upstream.
    CutBefore,
    /// The upstream has done the work; its answer is thrown away and the connection cut.
    CutAfter,
    /// The request is passed on this much later.
    Delay(Duration),
    /// Answered by the proxy with this status and an AWS error: XML as S3 has it, or JSON 1.1 where the request has
    /// `x-amz-target`. The upstream sees nothing. HTTP only; a TCP proxy cuts instead.
    Status(u16),
}

/// A listening proxy; ends when dropped.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    script: Arc<Script>,
    accepting: JoinHandle<()>,
}

#[derive(Debug, Clone, Copy)]
enum Protocol {
    Http,
    Tcp,
}

impl FaultProxy {
    /// Passes HTTP/1.1 requests to `upstream` (`127.0.0.1:4573`, or with `http://` in front), headers and paths as they
    /// came, so that signatures stay valid.
    ///
    /// # Panics
    /// When `upstream` is no address.
    pub async fn http(upstream: &str) -> Self {
        Self::listen(upstream, Protocol::Http).await
    }

    /// Passes bytes to `upstream` (`127.0.0.1:5432`).
    ///
    /// # Panics
    /// When `upstream` is no address.
    pub async fn tcp(upstream: &str) -> Self {
        Self::listen(upstream, Protocol::Tcp).await
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every request meets `fault` until [`heal`](Self::heal).
    pub fn inject(&self, fault: Fault) {
        self.script.set(fault, None, None);
    }

    /// The next `times` requests meet `fault`, those after them pass.
    pub fn inject_next(&self, times: usize, fault: Fault) {
        self.script.set(fault, Some(times), None);
    }

    /// The next `times` requests with `text` in them meet `fault`, all others pass. HTTP: in the summary as
    /// [`requests`](Self::requests) has it. TCP: in the bytes of one piece, such as `COMMIT`.
    pub fn inject_matching(&self, text: &str, times: usize, fault: Fault) {
        self.script.set(fault, Some(times), Some(text.to_owned()));
    }

    /// From now on all is passed; what was stalled goes on.
    pub fn heal(&self) {
        self.script.heal();
    }

    /// How many requests met a fault so far.
    pub fn faults(&self) -> usize {
        self.script.faults()
    }

    /// What was asked for, oldest first, the faulty ones included; the last 10,000. HTTP: `PUT /bucket/key`, or
    /// `POST / RedshiftData.ExecuteStatement`. Empty for TCP.
    pub fn requests(&self) -> Vec<String> {
        self.script.requests()
    }

    /// The same with their headers, one `name: value` a line after the first. HTTP only.
    pub fn heads(&self) -> Vec<String> {
        self.script.heads()
    }

    async fn listen(upstream: &str, protocol: Protocol) -> Self {
        let upstream: SocketAddr = upstream
            .trim_start_matches("http://")
            .trim_end_matches('/')
            .parse()
            .unwrap_or_else(|_| panic!("not an IP address with a port: {upstream}"));
        // Reserved, not the kernel's choice: while connections are refused nobody listens, and nobody else may begin to.
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let listener = TcpListener::bind(address).await.expect("a reserved port can be had");
        let script = Arc::new(Script::default());
        let accepting = tokio::spawn(accept::accept_until_dropped(
            listener,
            address,
            upstream,
            protocol,
            Arc::clone(&script),
        ));
        Self { address, script, accepting }
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

#[cfg(test)]
mod tests;
