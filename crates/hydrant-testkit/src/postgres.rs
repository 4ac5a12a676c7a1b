//! PostgreSQL as its own server process.

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, geteuid, kill_process};

use crate::eventually::{blocking, poll};
use crate::{Process, Scratch, free_port, workspace_root};

/// The server that a whole test run shares, as a URL such as `postgres://app@127.0.0.1:5432/postgres`.
const SHARED_URL_VARIABLE: &str = "HYDRANT_TEST_POSTGRES_URL";
const INSTALLATIONS: &str = "/usr/lib/postgresql";
/// Where `cargo xtask setup` puts one for who may not install packages.
const IN_TOOLS: &str = ".tools/postgresql/bin";
const VERSION_MIN: u32 = 15;
/// PostgreSQL refuses to run as root; the Debian package makes this user.
const SYSTEM_USER: &str = "postgres";
const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// Another process can take a port between our look and the server's bind.
const START_ATTEMPTS: usize = 5;

/// A PostgreSQL server, version 15 or later, that trusts every connection from this machine.
#[derive(Debug)]
pub struct Postgres {
    url: String,
    programs: PathBuf,
    /// Nothing where somebody else runs the server.
    own: Option<Arc<Own>>,
}

#[derive(Debug)]
struct Own {
    programs: PathBuf,
    directory: Scratch,
    port: u16,
    durable: bool,
    server: Mutex<Option<Process>>,
}

impl Postgres {
    /// The server that tests share, each with a database of its own: the one of `HYDRANT_TEST_POSTGRES_URL`, else one
    /// that this process starts at the first call. It does not fsync. Blocks while it starts (two seconds).
    ///
    /// # Panics
    /// When PostgreSQL is not installed or does not start.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| match std::env::var(SHARED_URL_VARIABLE) {
            Ok(url) => Self { url, programs: installed_programs(), own: None },
            Err(_) => Self::start_blocking(false),
        })
    }

    /// A server for one test, to be crashed, stopped and paused. It fsyncs, as real ones do.
    ///
    /// # Panics
    /// When PostgreSQL is not installed or does not start.
    pub async fn start() -> Self {
        blocking(|| Self::start_blocking(true)).await
    }

    /// The URL of the server's own database, for asking about the server.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Makes an empty database and gives its URL.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn database(&self) -> String {
        let (programs, server) = (self.programs.clone(), self.url.clone());
        blocking(move || {
            let name = format!("test_{}", uuid::Uuid::new_v4().simple());
            // Nobody connects to template0, so that databases can be made at the same time.
            let output = psql(&programs, &server, &format!("CREATE DATABASE {name} TEMPLATE template0"));
            assert!(output.status.success(), "no new database: {}", String::from_utf8_lossy(&output.stderr));
            let (base, _) = server.rsplit_once('/').expect("a database URL has a path");
            format!("{base}/{name}")
        })
        .await
    }

    /// Ends the server without a checkpoint, as a crash does (`pg_ctl stop -m immediate`). What was committed is there
    /// again after [`restart`](Self::restart).
    pub async fn crash(&self) {
        self.own().end(Signal::QUIT).await;
    }

    /// Ends the server in order, dropping its connections (`pg_ctl stop -m fast`).
    pub async fn stop(&self) {
        self.own().end(Signal::INT).await;
    }

    /// Starts it again on the same port and data, stopping it before where it runs.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn restart(&self) {
        let own = self.own();
        own.end(Signal::INT).await;
        blocking(move || own.run().unwrap_or_else(|error| panic!("{error}"))).await;
    }

    /// Stops all of the server's processes in their tracks: connections stay open and nothing is answered.
    pub fn pause(&self) {
        self.own().signal_all(Signal::STOP);
    }

    /// Lets the server go on.
    pub fn resume(&self) {
        self.own().signal_all(Signal::CONT);
    }

    fn start_blocking(durable: bool) -> Self {
        let programs = installed_programs();
        for _ in 0..START_ATTEMPTS {
            let own = Own::initialised(programs.clone(), durable);
            match own.run() {
                Ok(()) => return Self { url: own.url(), programs, own: Some(Arc::new(own)) },
                Err(error) => eprintln!("{error}; trying another port"),
            }
        }
        panic!("PostgreSQL does not start, see above");
    }

    fn own(&self) -> Arc<Own> {
        Arc::clone(self.own.as_ref().expect("a shared server is not for stopping: use Postgres::start()"))
    }
}

impl Own {
    fn initialised(programs: PathBuf, durable: bool) -> Self {
        let directory = Scratch::new();
        give_to_server(directory.path());
        let mut initdb = as_server_user(&programs.join("initdb"));
        initdb.arg("-D").arg(directory.path().join("data"));
        initdb.args(["-U", "app", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync"]);
        let output =
            initdb.current_dir(directory.path()).output().expect("initdb was found, so it can be started");
        assert!(output.status.success(), "initdb failed: {}", String::from_utf8_lossy(&output.stderr));
        Self { programs, directory, port: free_port(), durable, server: Mutex::new(None) }
    }

    fn url(&self) -> String {
        format!("postgres://app@127.0.0.1:{}/postgres", self.port)
    }

    /// Starts the server and waits until it answers a query.
    fn run(&self) -> Result<(), String> {
        // The change of user clears what the kernel was asked for before, so setpriv comes twice.
        let mut command = as_server_user(Path::new("setpriv"));
        command.args(["--pdeathsig", "QUIT"]).arg(self.programs.join("postgres"));
        command.arg("-D").arg(self.directory.path().join("data")).arg("-k").arg(self.directory.path());
        command.args(["-p", &self.port.to_string(), "-c", "listen_addresses=127.0.0.1"]);
        command.args(["-c", "max_connections=400"]);
        if !self.durable {
            command.args(["-c", "fsync=off", "-c", "full_page_writes=off"]);
        }
        command.current_dir(self.directory.path());
        let server = Process::spawn("PostgreSQL".to_owned(), command);
        let ready = poll(START_LIMIT, || {
            if server.exit_status().is_some() {
                return Some(false);
            }
            psql(&self.programs, &self.url(), "SELECT 1").status.success().then_some(true)
        });
        match ready {
            Ok(true) => {
                *self.server.lock() = Some(server);
                Ok(())
            }
            _ => Err(format!("PostgreSQL did not start: {}", server.stderr())),
        }
    }

    async fn end(self: &Arc<Self>, how: Signal) {
        let own = Arc::clone(self);
        blocking(move || {
            let Some(server) = own.server.lock().take() else { return };
            server.resume();
            server.signal(how);
            server.wait_blocking(STOP_LIMIT);
        })
        .await;
    }

    fn signal_all(&self, signal: Signal) {
        let running = self.server.lock();
        let Some(server) = running.as_ref() else { return };
        // The first process first, so that it starts no other meanwhile.
        server.signal(signal);
        for child in children_of(server.pid()) {
            // It may have ended since.
            let _ = kill_process(child, signal);
        }
    }
}

impl Drop for Own {
    /// An immediate stop lets the server give its shared memory back, which a kill does not.
    fn drop(&mut self) {
        if let Some(server) = self.server.get_mut().take() {
            server.resume();
            server.signal(Signal::QUIT);
            // Not `wait_blocking`, which panics: a server that will not go is killed when `server` is dropped.
            let _ = poll(STOP_LIMIT, || server.exit_status());
        }
    }
}

fn psql(programs: &Path, url: &str, statement: &str) -> Output {
    Command::new(programs.join("psql"))
        .args(["--no-psqlrc", "--quiet", "--dbname", url, "--command", statement])
        .env("PGCONNECT_TIMEOUT", "20")
        .output()
        .expect("psql is installed with the server")
}

/// The oldest that the project supports, where there are several: what works there works on the others.
fn installed_programs() -> PathBuf {
    let oldest = std::fs::read_dir(INSTALLATIONS)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|version| *version >= VERSION_MIN && programs_of(*version).join("initdb").exists())
        .min();
    let in_tools =
        || Some(workspace_root().join(IN_TOOLS)).filter(|programs| programs.join("initdb").exists());
    oldest.map(programs_of).or_else(in_tools).unwrap_or_else(|| {
        panic!(
            "PostgreSQL {VERSION_MIN} or later is not installed: run `cargo xtask setup`, or `apt-get install postgresql`"
        )
    })
}

fn programs_of(version: u32) -> PathBuf {
    Path::new(INSTALLATIONS).join(version.to_string()).join("bin")
}

fn as_server_user(program: &Path) -> Command {
    if !geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    let user = format!("--reuid={SYSTEM_USER}");
    let group = format!("--regid={SYSTEM_USER}");
    command.args([&user, &group, "--clear-groups"]).arg(program);
    command
}

fn give_to_server(directory: &Path) {
    if !geteuid().is_root() {
        return;
    }
    let users = std::fs::read_to_string("/etc/passwd").expect("every Linux has /etc/passwd");
    let user = users
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.len() > 3 && fields[0] == SYSTEM_USER)
        .expect("the package of PostgreSQL makes the user postgres");
    let id = |field: &str| field.parse::<u32>().expect("ids in /etc/passwd are numbers");
    chown(directory, Some(id(user[2])), Some(id(user[3]))).expect("root may give its files away");
}

fn children_of(parent: u32) -> Vec<Pid> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten();
    processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| parent_of(*pid) == Some(parent))
        .filter_map(Pid::from_raw)
        .collect()
}

fn parent_of(pid: i32) -> Option<u32> {
    // proc_pid_stat(5): pid (name) state ppid …, and the name may hold anything.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(") ")?;
    after_name.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(postgres: &Postgres, url: &str, statement: &str) -> Output {
        psql(&postgres.programs, url, statement)
    }

    #[tokio::test]
    async fn databases_of_the_shared_server_are_empty_and_apart() {
        let postgres = Postgres::shared();
        let (one, two) = (postgres.database().await, postgres.database().await);
        assert!(ask(postgres, &one, "CREATE TABLE t (i int)").status.success());
        assert!(!ask(postgres, &two, "SELECT * FROM t").status.success());
    }

    #[tokio::test]
    async fn what_was_committed_survives_a_crash_on_the_same_url() {
        let postgres = Postgres::start().await;
        let url = postgres.database().await;
        assert!(ask(&postgres, &url, "CREATE TABLE t (i int)").status.success());
        postgres.crash().await;
        assert!(!ask(&postgres, &url, "SELECT * FROM t").status.success());
        postgres.restart().await;
        assert!(ask(&postgres, &url, "SELECT * FROM t").status.success());
    }

    #[tokio::test]
    async fn a_paused_server_answers_nothing_until_it_is_resumed() {
        let postgres = Postgres::start().await;
        postgres.pause();
        let (programs, url) = (postgres.programs.clone(), postgres.url().to_owned());
        let question = blocking(move || psql(&programs, &url, "SELECT 1").status.success());
        let mut question = std::pin::pin!(question);
        let early = tokio::time::timeout(Duration::from_millis(300), &mut question).await;
        assert!(early.is_err(), "a paused server answered");
        postgres.resume();
        assert!(question.await);
    }
}
