//! moto (<https://docs.getmoto.org>): an S3 server that checks little and answers what it was asked to store an object with, KMS headers included.

use std::time::{Duration, Instant};

use crate::{Process, free_port, tools};

const START_LIMIT: Duration = Duration::from_secs(90);
const POLL_EVERY: Duration = Duration::from_millis(100);
/// Another process can take a port between our look and the server's bind.
const START_ATTEMPTS: usize = 4;

/// A moto server; what is in it goes with it. Any access key does.
#[derive(Debug)]
pub struct Moto {
    port: u16,
    _server: Process,
}

impl Moto {
    /// Starts it and waits until it answers.
    ///
    /// # Panics
    /// When it is not installed or does not start.
    pub async fn start() -> Self {
        for _ in 0..START_ATTEMPTS {
            let port = free_port();
            let arguments =
                ["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()].map(str::to_owned);
            let server = Process::start(&tools::python(), arguments);
            if answers(&server, port).await {
                return Self { port, _server: server };
            }
            eprintln!("moto does not start: {}; trying another port", server.stderr());
        }
        panic!("moto does not start, see above");
    }

    /// `http://127.0.0.1:PORT`, for path-style requests.
    pub fn endpoint_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

async fn answers(server: &Process, port: u16) -> bool {
    let deadline = Instant::now() + START_LIMIT;
    while server.exit_status().is_none() && Instant::now() < deadline {
        if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            return true;
        }
        tokio::time::sleep(POLL_EVERY).await;
    }
    false
}
