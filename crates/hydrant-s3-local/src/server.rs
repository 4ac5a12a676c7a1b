//! The HTTP side: an accept loop with limits, and an orderly end.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use s3s::service::S3Service;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tower::Service;
use tracing::{debug, warn};

use crate::unread_body::DrainedOnDrop;

/// More wait in the kernel's queue until others have ended.
const CONNECTIONS_MAX: usize = 1_024;
/// A client that has connected has this long to say what it wants.
const HEADER_LIMIT: Duration = Duration::from_secs(30);
/// Requests under way at the stop get this long.
const GRACE: Duration = Duration::from_secs(5);
/// After a failed accept (no file descriptors left, say) the next one would fail at once too.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Serves until `shutdown`.
pub(crate) async fn run(listener: TcpListener, service: S3Service, shutdown: CancellationToken) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let connections = GracefulShutdown::new();
    // Cancel safe: a permit or a connection that is dropped at the stop is one that nobody was promised.
    while let Some((stream, permit)) = shutdown.run_until_cancelled(next(&listener, &permits)).await {
        let serving = server().serve_connection(TokioIo::new(stream), handler(service.clone())).into_owned();
        let serving = connections.watch(serving);
        tokio::spawn(async move {
            if let Err(error) = serving.await {
                debug!(error, "connection ended early");
            }
            drop(permit);
        });
    }
    drop(listener);
    if tokio::time::timeout(GRACE, connections.shutdown()).await.is_err() {
        warn!(?GRACE, "requests still under way at the stop were cut off");
    }
}

async fn next(listener: &TcpListener, permits: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    let permit = Arc::clone(permits).acquire_owned().await.expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Without it, small answers wait for the client's delayed acknowledgement.
                let _ = stream.set_nodelay(true);
                return (stream, permit);
            }
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
            }
        }
    }
}

fn server() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_LIMIT);
    builder
}

fn handler(
    service: S3Service,
) -> impl hyper::service::Service<
    http::Request<Incoming>,
    Response = s3s::HttpResponse,
    Error = s3s::HttpError,
    Future = impl Future<Output = Result<s3s::HttpResponse, s3s::HttpError>> + Send + 'static,
> + Send
+ 'static {
    service_fn(move |request: http::Request<Incoming>| {
        let mut service = service.clone();
        Service::call(&mut service, DrainedOnDrop::of(request))
    })
}
