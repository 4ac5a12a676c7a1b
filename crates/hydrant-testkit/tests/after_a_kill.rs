//! What a test leaves behind that ends by `kill -9`: nothing.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may end with a panic and may print")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use hydrant_testkit::{Postgres, Process, Scratch, SeaweedFs, eventually};
use serde_json::{Value, json};

const VARIABLE: &str = "HYDRANT_TESTKIT_IS_TO_BE_KILLED";
const LIMIT: Duration = Duration::from_secs(60);

/// Not a test of its own: the process that the test below starts and kills.
#[tokio::test]
async fn a_test_that_is_killed() {
    if std::env::var_os(VARIABLE).is_none() {
        return;
    }
    let scratch = Scratch::new();
    let sleeper = Process::start(Path::new("/bin/sleep"), ["600"]);
    let postgres = Postgres::start().await;
    let seaweedfs = SeaweedFs::start(&["landing"]).await;
    let ready = json!({
        "directory": scratch.path(),
        "sleeper": sleeper.pid(),
        "postgres": port_of(postgres.url()),
        "seaweedfs": port_of(&seaweedfs.endpoint_url()),
    });
    println!("\n{ready}");
    std::future::pending::<()>().await;
}

fn port_of(url: &str) -> u16 {
    let after_host = url.rsplit_once("127.0.0.1:").unwrap().1;
    after_host.split('/').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn servers_programs_and_directories_are_gone() {
    let own = std::env::current_exe().unwrap();
    let arguments = ["--exact", "a_test_that_is_killed", "--nocapture"];
    let doomed = Process::start_with(&own, arguments, |command| {
        command.env(VARIABLE, "1");
    });
    let ready = doomed.first_json_line(LIMIT).await;
    assert!(everything(&ready).all(|(_, is_there)| is_there), "{ready}");
    doomed.kill9().await;
    eventually("nothing is left", LIMIT, async || {
        everything(&ready).all(|(_, is_there)| !is_there).then_some(())
    })
    .await;
}

fn everything(ready: &Value) -> impl Iterator<Item = (&'static str, bool)> {
    let listens = |name: &str| {
        std::net::TcpStream::connect(("127.0.0.1", ready[name].as_u64().unwrap() as u16)).is_ok()
    };
    let directory = PathBuf::from(ready["directory"].as_str().unwrap());
    [
        ("directory", directory.exists()),
        // Not the process's directory: one that has ended and that nobody waited for has it still.
        ("sleeper", Path::new(&format!("/proc/{}/exe", ready["sleeper"])).exists()),
        ("postgres", listens("postgres")),
        ("seaweedfs", listens("seaweedfs")),
    ]
    .into_iter()
}
