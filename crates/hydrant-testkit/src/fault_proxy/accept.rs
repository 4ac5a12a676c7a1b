//! The accept loop. Refusing means that nobody listens: the socket is closed and bound again on the same port.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::script::Script;
use super::{Protocol, http_relay, tcp_relay};

/// A port just closed may take a moment to be free.
const REBIND_EVERY: Duration = Duration::from_millis(20);

/// Runs until its task is aborted; the connections end with it.
pub(super) async fn accept_until_dropped(
    listener: TcpListener,
    address: SocketAddr,
    upstream: SocketAddr,
    protocol: Protocol,
    script: Arc<Script>,
) {
    let mut refusing = script.refusing();
    let mut listener = Some(listener);
    loop {
        let open = match listener.take() {
            Some(open) => open,
            None => bind_again(address).await,
        };
        accept_while_willing(open, upstream, protocol, &script, &mut refusing).await;
        // The listener and all connections are closed now. The sender lives as long as `script`.
        let _ = refusing.wait_for(|refuse| !refuse).await;
    }
}

async fn accept_while_willing(
    listener: TcpListener,
    upstream: SocketAddr,
    protocol: Protocol,
    script: &Arc<Script>,
    refusing: &mut tokio::sync::watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            _ = refusing.wait_for(|refuse| *refuse) => return,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                if let Ok((client, _)) = accepted {
                    connections.spawn(relay(client, upstream, protocol, Arc::clone(script)));
                }
            }
        }
    }
}

async fn relay(client: TcpStream, upstream: SocketAddr, protocol: Protocol, script: Arc<Script>) {
    // Without it, small answers wait for the client's delayed acknowledgement.
    let _ = client.set_nodelay(true);
    match protocol {
        Protocol::Http => http_relay::relay(client, upstream, script).await,
        Protocol::Tcp => tcp_relay::relay(client, upstream, script).await,
    }
}

async fn bind_again(address: SocketAddr) -> TcpListener {
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(_) => tokio::time::sleep(REBIND_EVERY).await,
        }
    }
}
