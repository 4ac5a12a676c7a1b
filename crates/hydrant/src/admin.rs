//! The admin listener: metrics and health. Never for producers.
//!
//! Where a token is configured, all but the health paths want it. Those stay open: what asks them (a load balancer, an orchestrator)
//! has no place for a secret, and learns one word.

use std::{pin::pin, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use hydrant_types::Secret;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use prometheus::{Registry, TextEncoder};
use subtle::ConstantTimeEq;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

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
    /// `None`: everybody who reaches the listener may ask.
    token: Option<Secret>,
}

/// Serves until `shutdown`.
///
/// # Errors
/// The listener failed.
pub async fn serve(
    listener: TcpListener,
    registry: Registry,
    readiness: ReadinessSwitch,
    token: Option<Secret>,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let shared = Shared { registry, readiness, token };
    let router = Router::new()
        .route("/metrics", get(metrics))
        // Covers the routes above it, not those below.
        .route_layer(middleware::from_fn_with_state(shared.clone(), authorized))
        .route("/health/live", get(|| async { "live\n" }))
        .route("/health/ready", get(ready))
        .with_state(shared);
    accept(listener, router, shutdown).await;
    Ok(())
}

/// Prometheus, probes, a person: more are not answered at a time; the rest wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 64;
/// From a connection, or an answer, to the end of the next request's headers.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// A client that is there longer, whatever it does, connects again.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(600);
/// For an answer that is under way when the connection is to end.
const GRACE: Duration = Duration::from_secs(2);
/// After a failed accept: most likely the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// axum's own loop has no limits, and this listener may be bound where strangers are: the token keeps nobody from connecting.
async fn accept(listener: TcpListener, router: Router, shutdown: CancellationToken) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let tasks = TaskTracker::new();
    loop {
        let accepted = async {
            let permit = permits.clone().acquire_owned().await.expect("the semaphore is never closed");
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accepted => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (router, shutdown) = (router.clone(), shutdown.clone());
        tasks.spawn(async move {
            connection(stream, router, shutdown).await;
            drop(permit);
        });
    }
    tasks.close();
    tasks.wait().await;
}

async fn connection(stream: TcpStream, router: Router, shutdown: CancellationToken) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut served = pin!(served);
    tokio::select! {
        // How it ended is the client's affair.
        _ = served.as_mut() => return,
        () = shutdown.cancelled() => {}
        () = tokio::time::sleep(CONNECTION_TIMEOUT) => {}
    }
    served.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(GRACE, served).await;
}

async fn authorized(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    if shared.token.as_ref().is_none_or(|token| bears(request.headers(), token)) {
        return next.run(request).await;
    }
    let words = "this needs the header `Authorization: Bearer …` with the token of admin.token\n";
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")], words).into_response()
}

/// Whether the one Authorization header has the token. In constant time, as far as the token's length is not told by it.
fn bears(headers: &HeaderMap, token: &Secret) -> bool {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(only), None) = (given.next(), given.next()) else { return false };
    let Some((scheme, credentials)) = only.as_bytes().split_at_checked("Bearer ".len()) else { return false };
    scheme.eq_ignore_ascii_case(b"Bearer ") && credentials.ct_eq(token.reveal().as_bytes()).into()
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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    use super::*;

    const TOKEN: &str = "a-token-of-some-length";

    /// The status of a GET with these header lines.
    async fn status(token: Option<&str>, path: &str, lines: &str) -> String {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let token = token.map(Secret::new);
        let served =
            tokio::spawn(serve(listener, Registry::new(), ReadinessSwitch::new(), token, stop.clone()));
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n{lines}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        stop.cancel();
        served.await.unwrap().unwrap();
        if answer.contains(" 401 ") {
            assert!(answer.contains("www-authenticate: Bearer") && !answer.contains(TOKEN), "{answer}");
        }
        answer.split(' ').nth(1).unwrap().to_owned()
    }

    #[tokio::test]
    async fn metrics_want_the_token_where_there_is_one() {
        assert_eq!(status(None, "/metrics", "").await, "200");
        assert_eq!(
            status(Some(TOKEN), "/metrics", &format!("authorization: Bearer {TOKEN}\r\n")).await,
            "200"
        );
        assert_eq!(
            status(Some(TOKEN), "/metrics", &format!("Authorization: bearer {TOKEN}\r\n")).await,
            "200"
        );
        let longer = format!("authorization: Bearer {TOKEN}x\r\n");
        let shorter = format!("authorization: Bearer {}\r\n", &TOKEN[1..]);
        let basic = format!("authorization: Basic {TOKEN}\r\n");
        let twice = format!("authorization: Bearer {TOKEN}\r\n").repeat(2);
        for lines in
            ["", "authorization: Bearer\r\n", "authorization: x\r\n", &longer, &shorter, &basic, &twice]
        {
            assert_eq!(status(Some(TOKEN), "/metrics", lines).await, "401", "{lines}");
        }
        assert_eq!(status(Some(TOKEN), "/metrics/", "").await, "404");
    }

    #[tokio::test]
    async fn health_is_open() {
        assert_eq!(status(Some(TOKEN), "/health/live", "").await, "200");
        assert_eq!(status(Some(TOKEN), "/health/ready", "").await, "503", "starting");
    }
}
