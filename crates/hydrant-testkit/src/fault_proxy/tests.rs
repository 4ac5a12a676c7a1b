use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

/// Counts what reaches it and answers with the path it was asked for.
struct Upstream {
    address: SocketAddr,
    served: Arc<AtomicUsize>,
}

async fn upstream() -> Upstream {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&served);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let counter = Arc::clone(&counter);
            let service = service_fn(move |request: http::Request<Incoming>| {
                let counter = Arc::clone(&counter);
                async move {
                    let path = request.uri().to_string();
                    request.into_body().collect().await?;
                    counter.fetch_add(1, Ordering::SeqCst);
                    Ok::<_, hyper::Error>(http::Response::new(Full::new(Bytes::from(path))))
                }
            });
            let connection =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    });
    Upstream { address, served }
}

async fn put(proxy: &FaultProxy, path: &str) -> Option<(u16, String)> {
    let client: Client<_, Full<Bytes>> =
        Client::builder(TokioExecutor::new()).retry_canceled_requests(false).build_http();
    let request = http::Request::put(format!("{}{path}", proxy.url())).body(Full::from("body")).unwrap();
    let response = client.request(request).await.ok()?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.ok()?.to_bytes();
    Some((status, String::from_utf8_lossy(&body).into_owned()))
}

#[tokio::test]
async fn a_path_passes_as_it_came() {
    let upstream = upstream().await;
    let proxy = FaultProxy::http(&upstream.address.to_string()).await;
    assert_eq!(put(&proxy, "/b//a%2Fb?x=1").await, Some((200, "/b//a%2Fb?x=1".to_owned())));
    assert_eq!(proxy.requests(), ["PUT /b//a%2Fb?x=1"]);
}

#[tokio::test]
async fn a_lost_answer_is_of_a_request_that_was_served() {
    let upstream = upstream().await;
    let proxy = FaultProxy::http(&upstream.address.to_string()).await;
    proxy.inject_next(1, Fault::CutAfter);
    assert_eq!(put(&proxy, "/one").await, None);
    assert_eq!(upstream.served.load(Ordering::SeqCst), 1);
    assert_eq!(put(&proxy, "/two").await.unwrap().0, 200);
    assert_eq!(proxy.faults(), 1);
}

#[tokio::test]
async fn a_fixed_status_reaches_only_what_it_is_meant_for() {
    let upstream = upstream().await;
    let proxy = FaultProxy::http(&upstream.address.to_string()).await;
    proxy.inject_matching("/bad/", 2, Fault::Status(403));
    assert_eq!(put(&proxy, "/good/1").await.unwrap().0, 200);
    let (status, body) = put(&proxy, "/bad/1").await.unwrap();
    assert_eq!((status, body.contains("<Code>AccessDenied</Code>")), (403, true));
    assert_eq!(put(&proxy, "/bad/2").await.unwrap().0, 403);
    assert_eq!(put(&proxy, "/bad/3").await.unwrap().0, 200);
    assert_eq!(upstream.served.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn refused_connections_come_back_on_the_same_port() {
    let upstream = upstream().await;
    let proxy = FaultProxy::http(&upstream.address.to_string()).await;
    assert!(put(&proxy, "/before").await.is_some());
    proxy.inject(Fault::Refuse);
    crate::eventually("connections are refused", Duration::from_secs(10), async || {
        let error = TcpStream::connect(proxy.address()).await.err()?;
        (error.kind() == std::io::ErrorKind::ConnectionRefused).then_some(())
    })
    .await;
    proxy.heal();
    let back =
        crate::eventually("the port is back", Duration::from_secs(10), async || put(&proxy, "/after").await);
    assert_eq!(back.await.0, 200);
}

#[tokio::test]
async fn what_was_stalled_goes_on_when_healed() {
    let upstream = upstream().await;
    let proxy = FaultProxy::http(&upstream.address.to_string()).await;
    proxy.inject(Fault::Stall);
    let mut asked = std::pin::pin!(put(&proxy, "/slow"));
    assert!(tokio::time::timeout(Duration::from_millis(200), &mut asked).await.is_err());
    assert_eq!(upstream.served.load(Ordering::SeqCst), 0);
    proxy.heal();
    assert_eq!(asked.await.unwrap().0, 200);
}

#[tokio::test]
async fn a_tcp_answer_is_lost_after_the_matching_bytes_were_passed_on() {
    let echo = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = echo.local_addr().unwrap();
    let heard = tokio::spawn(async move {
        let (mut stream, _) = echo.accept().await.unwrap();
        let mut all = Vec::new();
        let mut piece = [0; 64];
        while let Ok(length @ 1..) = stream.read(&mut piece).await {
            all.extend_from_slice(&piece[..length]);
            if stream.write_all(b"done").await.is_err() {
                break;
            }
        }
        all
    });
    let proxy = FaultProxy::tcp(&address.to_string()).await;
    proxy.inject_matching("COMMIT", 1, Fault::CutAfter);
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    let mut answer = [0; 4];
    client.write_all(b"INSERT").await.unwrap();
    client.read_exact(&mut answer).await.unwrap();
    client.write_all(b"COMMIT").await.unwrap();
    assert!(client.read_exact(&mut answer).await.is_err());
    assert_eq!(heard.await.unwrap(), b"INSERTCOMMIT");
}
