//! The API's own accept loop over hyper: limits on connections and on idleness that a framework's default loop does not set.

use std::{convert::Infallible, sync::Arc, time::Duration};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

use crate::exchange::Exchange;

/// Limits of the listener, and of what is admitted.
#[derive(Debug, Clone)]
pub struct Settings {
    /// In ARNs and error texts.
    pub account_id: String,
    /// In ARNs.
    pub region: String,
    /// Connections beyond wait to be accepted.
    pub connections_max: usize,
    /// From the connection, or the end of the last request, to the end of a request's headers. An idle connection is closed after it too.
    pub header_timeout: Duration,
    /// From the headers to the end of the body.
    pub body_timeout: Duration,
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
            ingest: hydrant_ingest::Settings::default(),
        }
    }
}

/// Read at once from a connection with HTTP/1.1, at most; a request's headers may not be longer either.
const READ_BUFFER_MAX: usize = 64 * 1024;
/// With HTTP/2, decoded.
const HEADER_BYTES_MAX: u32 = 64 * 1024;
/// Requests under way on one HTTP/2 connection: clients open a second connection beyond it.
const STREAMS_MAX: u32 = 64;
/// Bytes that an HTTP/2 connection may have sent and nobody has read yet.
const WINDOW_BYTES: u32 = 1024 * 1024;
/// For a connection that is told to end and has no request under way.
const GOODBYE: Duration = Duration::from_secs(1);
/// After a failed accept: most likely the process is out of file descriptors, and trying at once would only burn CPU.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts until `shutdown`, then finishes the requests that are under way.
pub(crate) async fn accept(
    exchange: Arc<Exchange>,
    settings: &Settings,
    listener: TcpListener,
    shutdown: CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(settings.connections_max));
    let connections = TaskTracker::new();
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
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let connection =
            serve_connection(exchange.clone(), settings.header_timeout, stream, shutdown.clone());
        connections.spawn(async move {
            connection.await;
            drop(permit);
        });
    }
    // Closed before the wait: producers that come now are to find another node, not a queue.
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// HTTP/1.1, or HTTP/2 where the client begins with it.
async fn serve_connection(
    exchange: Arc<Exchange>,
    header_timeout: Duration,
    stream: TcpStream,
    shutdown: CancellationToken,
) {
    // An answer is small and wanted at once. Refused only where the connection is gone already.
    let _ = stream.set_nodelay(true);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // Time-outs are ours: hyper's covers HTTP/1.1 only, and not the wait for the first bytes.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(READ_BUFFER_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEADER_BYTES_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES);
    let under_way = watch::Sender::new(0_usize);
    let idle = idle_for(header_timeout, under_way.subscribe());
    let service = service_fn(move |request| {
        let (exchange, counted) = (exchange.clone(), Counted::new(&under_way));
        async move {
            let response = exchange.answer(request).await;
            drop(counted);
            Ok::<_, Infallible>(response)
        }
    });
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = idle => {
            connection.as_mut().graceful_shutdown();
            timeout(GOODBYE, connection).await.unwrap_or(Ok(()))
        }
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // A client that goes away or stalls: nothing of ours failed.
        debug!(%error, "a connection ended early");
    }
}

/// A request that is under way on a connection.
struct Counted(watch::Sender<usize>);

impl Counted {
    fn new(under_way: &watch::Sender<usize>) -> Self {
        under_way.send_modify(|requests| *requests += 1);
        Self(under_way.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|requests| *requests -= 1);
    }
}

/// Returns once no request was under way for `limit`. Headers that come slowly, an answer that is not read and a connection that is
/// not used are all the same here.
async fn idle_for(limit: Duration, mut under_way: watch::Receiver<usize>) {
    loop {
        if under_way.wait_for(|requests| *requests == 0).await.is_err() {
            return;
        }
        let busy =
            timeout(limit, under_way.wait_for(|requests| *requests > 0)).await.map(|busy| busy.is_ok());
        match busy {
            Ok(true) => {}
            // The connection ends by itself.
            Ok(false) => std::future::pending::<()>().await,
            Err(_) => return,
        }
    }
}
