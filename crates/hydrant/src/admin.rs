//! The admin listener: metrics and health. Never for producers.

use std::sync::Arc;

use axum::{Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use prometheus::{Registry, TextEncoder};
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;

/// How the service stands, for `/health/ready`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// Not accepting yet.
    Starting,
    /// Accepting and delivering.
    Ready,
    /// Accepting; the metastore is away since the start, so nothing is delivered yet.
    AcceptingOnly,
    /// Not accepting any more.
    Stopping,
}

/// Sets what `/health/ready` answers.
#[derive(Debug, Clone)]
pub struct ReadinessSwitch(Arc<watch::Sender<Readiness>>);

impl ReadinessSwitch {
    /// A switch at [`Readiness::Starting`].
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Readiness::Starting)))
    }

    /// Says how the service stands from now on.
    pub fn set(&self, readiness: Readiness) {
        self.0.send_replace(readiness);
    }

    fn get(&self) -> Readiness {
        *self.0.borrow()
    }
}

#[derive(Clone)]
struct Shared {
    registry: Registry,
    readiness: ReadinessSwitch,
}

/// Serves until `shutdown`.
///
/// # Errors
/// The listener failed.
pub async fn serve(
    listener: TcpListener,
    registry: Registry,
    readiness: ReadinessSwitch,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/health/live", get(|| async { "live\n" }))
        .route("/health/ready", get(ready))
        .with_state(Shared { registry, readiness });
    axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned()).await
}

async fn metrics(State(shared): State<Shared>) -> impl IntoResponse {
    match TextEncoder::new().encode_to_string(&shared.registry.gather()) {
        Ok(text) => (StatusCode::OK, [("content-type", prometheus::TEXT_FORMAT)], text),
        Err(error) => {
            (StatusCode::INTERNAL_SERVER_ERROR, [("content-type", "text/plain")], error.to_string())
        }
    }
}

async fn ready(State(shared): State<Shared>) -> (StatusCode, &'static str) {
    match shared.readiness.get() {
        Readiness::Ready => (StatusCode::OK, "ready\n"),
        Readiness::AcceptingOnly => (StatusCode::OK, "accepting; delivery waits for the metastore\n"),
        Readiness::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        Readiness::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
    }
}
