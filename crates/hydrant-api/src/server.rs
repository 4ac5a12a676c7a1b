//! The API's own accept loop over hyper: limits on connections and on idleness that a framework's default loop does not set.
//!
//! ```text
//!  accept ─▶ connection ─┬─ TLS handshake ─┬─▶ hyper: HTTP/1.1 or HTTP/2 ─▶ exchange
//!  (permit)  (a task)    └─ plain ─────────┘   (limits)   │
//!                              why it ended ◀── cut ◀─────┘
//! ```
//!
//! Nothing that a client does is waited for in the loop: its first byte and the handshake too are the connection's task's.

mod connection;
mod cut;

use std::{sync::Arc, time::Duration};

use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;

pub(crate) use connection::Connections;
pub(crate) use cut::Cut;

/// Limits of the listener, and of what is admitted.
#[derive(Debug, Clone)]
pub struct Settings {
    /// In ARNs and error texts.
    pub account_id: String,
    /// In ARNs.
    pub region: String,
    /// Connections beyond wait to be accepted.
    pub connections_max: usize,
    /// From the connection, or the end of the last request, to the end of a request's headers; a TLS handshake is part of it. An idle
    /// connection is closed after it too.
    pub header_timeout: Duration,
    /// From the headers to the end of the body.
    pub body_timeout: Duration,
    /// Headers of the requests under way, over all connections; beyond it calls get 503. Bytes as HTTP/2 counts them.
    pub header_bytes_max: usize,
    /// Bytes in flight, quotas.
    pub ingest: hydrant_ingest::Settings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            account_id: "000000000000".to_owned(),
            region: "us-east-1".to_owned(),
            connections_max: 10_000,
            header_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(60),
            header_bytes_max: 64 * 1024 * 1024,
            ingest: hydrant_ingest::Settings::default(),
        }
    }
}

/// After a failed accept: most likely the process is out of file descriptors, and trying at once would only burn CPU.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts until `shutdown`, then finishes the requests that are under way.
pub(crate) async fn accept(
    connections: Connections,
    connections_max: usize,
    listener: TcpListener,
    shutdown: CancellationToken,
) {
    let connections = Arc::new(connections);
    let permits = Arc::new(Semaphore::new(connections_max));
    let tasks = TaskTracker::new();
    loop {
        // The permit before the connection: what is not accepted waits in the kernel, which has a limit of its own.
        let accepted = async {
            let permit = permits.clone().acquire_owned().await.expect("the semaphore is never closed");
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accepted => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let connections = connections.clone();
        tasks.spawn(async move {
            connections.serve(stream, peer).await;
            drop(permit);
        });
    }
    // Closed before the wait: producers that come now are to find another node, not a queue.
    drop(listener);
    tasks.close();
    tasks.wait().await;
}
