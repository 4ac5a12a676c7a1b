//! One TCP connection: each piece that the client sends meets the script.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::Fault;
use super::script::Script;

const PIECE_BYTES_MAX: usize = 64 * 1024;
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Runs until either side closes or a fault cuts both.
pub(super) async fn relay(client: TcpStream, upstream: SocketAddr, script: Arc<Script>) {
    let Ok(Ok(server)) = tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(upstream)).await else {
        return;
    };
    let _ = server.set_nodelay(true);
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let lose_answer = AtomicBool::new(false);
    tokio::select! {
        () = ask(from_client, to_server, &script, &lose_answer) => {}
        () = answer(from_server, to_client, &lose_answer) => {}
    }
}

async fn ask(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, script: &Script, lose_answer: &AtomicBool) {
    let mut piece = vec![0; PIECE_BYTES_MAX];
    loop {
        let Ok(length @ 1..) = from.read(&mut piece).await else { return };
        match script.decide_piece(&piece[..length]) {
            None => {}
            Some(Fault::Stall) => script.unstalled().await,
            Some(Fault::Delay(delay)) => tokio::time::sleep(delay).await,
            Some(Fault::CutAfter) => lose_answer.store(true, Ordering::SeqCst),
            Some(Fault::CutBefore | Fault::Refuse | Fault::Status(_)) => return,
        }
        if to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}

async fn answer(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, lose_answer: &AtomicBool) {
    let mut piece = vec![0; PIECE_BYTES_MAX];
    loop {
        let Ok(length @ 1..) = from.read(&mut piece).await else { return };
        if lose_answer.load(Ordering::SeqCst) || to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}
