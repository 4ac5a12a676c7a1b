//! One connection, from its first byte to its end.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{Request, StatusCode};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{io::InspectReader, sync::CancellationToken};
use tracing::debug;

use super::{Cut, Settings};
use crate::{error::ApiError, exchange::Exchange, metrics::ConnectionMetrics, tls::TlsCertificates};

/// A request's line and headers, at most: many times what an SDK sends. With HTTP/1.1 also what is read at once, and so what a
/// connection can be made to hold: smaller, and large bodies would take more reads.
const HEADER_BYTES_MAX: usize = 32 * 1024;
/// Requests under way on one HTTP/2 connection: clients open a second connection beyond it.
const STREAMS_MAX: u32 = 64;
/// Streams opened and reset before they were looked at, and streams that we reset for the client's mistakes; beyond either the
/// connection ends (CVE-2023-44487, CVE-2025-8671).
const RESETS_MAX: usize = 64;
/// Bytes that an HTTP/2 connection may have sent and nobody has read yet.
const WINDOW_BYTES: u32 = 1024 * 1024;
/// Bytes of an answer that wait in an HTTP/2 stream until the client takes them; more is written as it does.
const SEND_BUFFER_MAX: usize = 64 * 1024;
/// For a connection that is told to end and has no request under way.
const GOODBYE: Duration = Duration::from_secs(1);
/// The first byte of a TLS handshake; no method of HTTP begins so.
const TLS_HANDSHAKE: u8 = 0x16;

/// What connections are served from.
pub(crate) struct Connections {
    exchange: Arc<Exchange>,
    tls: Option<TlsCertificates>,
    header_timeout: Duration,
    headers: HeaderBudget,
    metrics: ConnectionMetrics,
    shutdown: CancellationToken,
}

impl Connections {
    pub(crate) fn new(
        exchange: Exchange,
        tls: Option<TlsCertificates>,
        settings: &Settings,
        metrics: ConnectionMetrics,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            exchange: Arc::new(exchange),
            tls,
            header_timeout: settings.header_timeout,
            headers: HeaderBudget(Arc::new(Semaphore::new(settings.header_bytes_max))),
            metrics,
            shutdown,
        }
    }

    /// Serves one connection until it ends or is cut.
    pub(super) async fn serve(&self, stream: TcpStream, peer: SocketAddr) {
        let _open = self.metrics.open();
        if let Err(cut) = self.try_serve(stream).await {
            // A client's doing: nothing of ours failed.
            debug!(%peer, reason = cut.reason(), "a connection was cut");
            self.metrics.cut(cut);
        }
    }

    async fn try_serve(&self, stream: TcpStream) -> Result<(), Cut> {
        // An answer is small and wanted at once. Refused only where the connection is gone already.
        let _ = stream.set_nodelay(true);
        let deadline = Instant::now() + self.header_timeout;
        let begun = tokio::select! {
            begun = self.begin(stream, deadline) => begun?,
            // Without a request there is nothing to be finished.
            () = self.shutdown.cancelled() => return Ok(()),
        };
        match begun {
            Some(Begun::Plain(stream)) => self.serve_http(stream, deadline).await,
            Some(Begun::Tls(stream)) => self.serve_http(stream, deadline).await,
            None => Ok(()),
        }
    }

    /// To where HTTP begins; `None` for a client that went away without a word, as load balancers do to see whether somebody listens.
    async fn begin(&self, stream: TcpStream, deadline: Instant) -> Result<Option<Begun>, Cut> {
        let first = timeout_at(deadline, first_byte(&stream)).await.map_err(|_| Cut::Idle)?;
        let Some(first) = first else { return Ok(None) };
        match (&self.tls, first == TLS_HANDSHAKE) {
            (None, false) => Ok(Some(Begun::Plain(stream))),
            (None, true) => {
                last_words(stream, "This port speaks plain HTTP, not TLS: use http://.\n").await;
                Err(Cut::PlainExpected)
            }
            (Some(_), false) => {
                last_words(stream, "This port speaks TLS: use https://.\n").await;
                Err(Cut::TlsExpected)
            }
            (Some(tls), true) => {
                let handshake = TlsAcceptor::from(tls.current()).accept(stream);
                let done = timeout_at(deadline, handshake).await.map_err(|_| Cut::HeaderTimeout)?;
                done.map(|stream| Some(Begun::Tls(Box::new(stream)))).map_err(|error| {
                    debug!(%error, "a TLS handshake failed");
                    Cut::TlsHandshake
                })
            }
        }
    }

    /// HTTP/1.1, or HTTP/2 where the client begins with it.
    async fn serve_http<S>(&self, stream: S, deadline: Instant) -> Result<(), Cut>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let activity = Arc::new(Activity::default());
        let heard = activity.clone();
        let stream = InspectReader::new(stream, move |bytes: &[u8]| {
            if !bytes.is_empty() {
                heard.heard.store(true, Ordering::Relaxed);
            }
        });
        let idle = activity.idle(deadline, self.header_timeout);
        let (exchange, headers, under_way) = (self.exchange.clone(), self.headers.clone(), activity.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let (exchange, counted) = (exchange.clone(), Counted::new(&under_way, &request));
            let held = headers.hold(&request);
            async move {
                let response = match held {
                    Some(held) => {
                        let response = exchange.answer(request).await;
                        drop(held);
                        response
                    }
                    None => {
                        drop(request);
                        exchange.refuse(ApiError::unavailable())
                    }
                };
                drop(counted);
                Ok::<_, Infallible>(response)
            }
        });
        let builder = http_builder();
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = idle => {
                connection.as_mut().graceful_shutdown();
                // What it ends with now does not matter: it was cut before.
                let _ = timeout(GOODBYE, connection).await;
                return Err(activity.cut());
            }
            () = self.shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        ended.map_err(|error| {
            debug!(%error, "a connection ended early");
            Cut::of(&*error)
        })
    }
}

/// A connection that HTTP can begin on.
enum Begun {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::server::TlsStream<TcpStream>>),
}

/// The limits of both protocols.
fn http_builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // Time-outs are ours: hyper's covers HTTP/1.1 only, and not the wait for the first bytes. More than 100 headers are refused by
    // default, and cheapest so: setting the number costs an allocation a request.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(HEADER_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEADER_BYTES_MAX as u32)
        .max_concurrent_streams(STREAMS_MAX)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_local_error_reset_streams(RESETS_MAX)
        .max_send_buf_size(SEND_BUFFER_MAX)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES);
    builder
}

/// The first byte, left where it is; `None` where there will be none.
async fn first_byte(stream: &TcpStream) -> Option<u8> {
    let mut first = [0];
    match stream.peek(&mut first).await {
        Ok(1) => Some(first[0]),
        _ => None,
    }
}

/// Says why in plain HTTP, and closes so that it can be read: a connection closed with bytes unread is reset instead.
async fn last_words(mut stream: TcpStream, words: &str) {
    let answer = format!(
        "HTTP/1.1 {}\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{words}",
        StatusCode::BAD_REQUEST,
        words.len()
    );
    let spoken = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        while stream.read(&mut [0; 4096]).await? > 0 {}
        io::Result::Ok(())
    };
    // Read or not, it is closed now.
    let _ = timeout(GOODBYE, spoken).await;
}

/// Room for the headers of the requests under way. Without it each of a hostile client's connections could hold those of
/// [`STREAMS_MAX`] requests.
#[derive(Clone)]
struct HeaderBudget(Arc<Semaphore>);

impl HeaderBudget {
    /// `None`: there is no room.
    fn hold<B>(&self, request: &Request<B>) -> Option<OwnedSemaphorePermit> {
        let headers = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len());
        let bytes: usize = headers.map(|bytes| bytes + HEADER_OVERHEAD).sum();
        let line = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
        self.0.clone().try_acquire_many_owned(u32::try_from(bytes + line).ok()?).ok()
    }
}

/// Of each header beside name and value, as HTTP/2 counts (RFC 9113, 6.5.2).
const HEADER_OVERHEAD: usize = 32;

/// What goes on on a connection.
#[derive(Default)]
struct Activity {
    under_way: watch::Sender<usize>,
    /// Something came since the last request ended.
    heard: AtomicBool,
    http_2: AtomicBool,
}

impl Activity {
    /// Returns once no request was under way for `limit`, at first until `deadline`. Headers that come slowly, an answer that is not
    /// read and a connection that is not used are all the same here.
    fn idle(&self, deadline: Instant, limit: Duration) -> impl Future<Output = ()> + use<> {
        let mut under_way = self.under_way.subscribe();
        async move {
            let mut deadline = deadline;
            // The connection holds the other end, and ends first.
            while timeout_at(deadline, under_way.wait_for(|requests| *requests > 0)).await.is_ok() {
                let _ = under_way.wait_for(|requests| *requests == 0).await;
                deadline = Instant::now() + limit;
            }
        }
    }

    /// Why a connection without a request is cut. HTTP/2 has frames that are no request's, so that there a silence cannot be told
    /// from slowness once a request was answered.
    fn cut(&self) -> Cut {
        match self.heard.load(Ordering::Relaxed) && !self.http_2.load(Ordering::Relaxed) {
            true => Cut::HeaderTimeout,
            false => Cut::Idle,
        }
    }
}

/// A request that is under way on a connection.
struct Counted(Arc<Activity>);

impl Counted {
    fn new<B>(activity: &Arc<Activity>, request: &Request<B>) -> Self {
        if request.version() == http::Version::HTTP_2 {
            activity.http_2.store(true, Ordering::Relaxed);
        }
        activity.under_way.send_modify(|requests| *requests += 1);
        Self(activity.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.heard.store(false, Ordering::Relaxed);
        self.0.under_way.send_modify(|requests| *requests -= 1);
    }
}
