//! A program under test, or one that tests need.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};

use crate::Scratch;
use crate::eventually::{blocking, poll};
use crate::keeper::{dying_with_us, spawn};

/// `/proc` counts processor time in hundredths of a second (USER_HZ) on every Linux this runs on.
const TICKS_PER_SEC: u64 = 100;
const MILLIS_PER_TICK: u64 = 1_000 / TICKS_PER_SEC;

/// A running program with its output in files. Killed when dropped, and when the test's process ends.
#[derive(Debug)]
pub struct Process {
    running: Arc<Running>,
}

#[derive(Debug)]
struct Running {
    name: String,
    pid: Pid,
    child: Mutex<Child>,
    output: Scratch,
}

impl Process {
    /// Starts `program` with `arguments`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start<A: AsRef<std::ffi::OsStr>>(program: &Path, arguments: impl IntoIterator<Item = A>) -> Self {
        Self::start_with(program, arguments, |_| {})
    }

    /// Starts `program` after `adjust` has set environment, directory and the like.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start_with<A: AsRef<std::ffi::OsStr>>(
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
        adjust: impl FnOnce(&mut Command),
    ) -> Self {
        let mut command = dying_with_us("KILL", program);
        command.args(arguments);
        adjust(&mut command);
        Self::spawn(program.display().to_string(), command)
    }

    /// Starts a command line that cares for its own end with ours.
    pub(crate) fn spawn(name: String, mut command: Command) -> Self {
        let output = Scratch::new();
        let file = |name: &str| File::create(output.path().join(name)).expect("a scratch file can be made");
        command.stdin(Stdio::null()).stdout(file(STDOUT)).stderr(file(STDERR));
        let child = spawn(command).unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let pid = Pid::from_child(&child);
        Self { running: Arc::new(Running { name, pid, child: Mutex::new(child), output }) }
    }

    /// Its process id, for as long as it was not waited for.
    pub fn pid(&self) -> u32 {
        self.running.pid.as_raw_nonzero().get() as u32
    }

    /// What it wrote to stdout so far.
    pub fn stdout(&self) -> String {
        self.running.read(STDOUT)
    }

    /// What it wrote to stderr so far.
    pub fn stderr(&self) -> String {
        self.running.read(STDERR)
    }

    /// The first line of stdout that is a JSON object, such as `hydrant dev --json` prints when it is ready.
    ///
    /// # Panics
    /// When the program ends or the limit passes before; with its output.
    pub async fn first_json_line(&self, limit: Duration) -> serde_json::Value {
        let running = Arc::clone(&self.running);
        blocking(move || {
            let found = poll(limit, || match running.json_line() {
                Some(value) => Some(Some(value)),
                // Only after it has ended is what was read surely all.
                None if running.exit_status().is_some() => Some(running.json_line()),
                None => None,
            });
            match found {
                Ok(Some(value)) => value,
                _ => panic!("{} printed no JSON line within {limit:?}{}", running.name, running.transcript()),
            }
        })
        .await
    }

    /// How it ended, or nothing while it runs.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.running.exit_status()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it still runs after `limit`; with its output.
    pub async fn wait(&self, limit: Duration) -> ExitStatus {
        let running = Arc::clone(&self.running);
        blocking(move || running.wait(limit)).await
    }

    /// SIGTERM, then waits for the end.
    ///
    /// # Panics
    /// When it still runs after `limit`; with its output.
    pub async fn terminate(&self, limit: Duration) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait(limit).await
    }

    /// SIGKILL, and waits until it is gone.
    pub async fn kill9(&self) {
        self.signal(Signal::KILL);
        self.wait(REAP_LIMIT).await;
    }

    /// SIGHUP: services read their configuration again.
    pub fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    /// Stops it in its tracks (SIGSTOP): it keeps its connections and answers nothing.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on (SIGCONT).
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Memory in use now, in bytes; 0 when it has ended.
    pub fn rss_bytes(&self) -> u64 {
        self.status_kib("VmRSS:") * 1024
    }

    /// The most memory that was in use at any time, in bytes; 0 when it has ended.
    pub fn rss_bytes_peak(&self) -> u64 {
        self.status_kib("VmHWM:") * 1024
    }

    /// Processor time used so far, of all its threads, in user and kernel mode; zero when it has ended.
    pub fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        // proc_pid_stat(5): utime and stime are fields 14 and 15; the name (field 2) may hold blanks.
        let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        let ticks: u64 =
            after_name.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        Duration::from_millis(ticks * MILLIS_PER_TICK)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.running.signal(signal);
    }

    pub(crate) fn wait_blocking(&self, limit: Duration) -> ExitStatus {
        self.running.wait(limit)
    }

    fn status_kib(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        status
            .lines()
            .find_map(|line| line.strip_prefix(field)?.trim().strip_suffix(" kB")?.parse().ok())
            .unwrap_or(0)
    }
}

const STDOUT: &str = "stdout";
const STDERR: &str = "stderr";
/// Long enough for a killed process to be gone on the busiest machine.
const REAP_LIMIT: Duration = Duration::from_secs(30);
/// How much of each output a failure shows.
const SHOWN_CHARS: usize = 4_000;

impl Running {
    fn read(&self, name: &str) -> String {
        let bytes = std::fs::read(self.output.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn json_line(&self) -> Option<serde_json::Value> {
        let text = self.read(STDOUT);
        text.lines().find_map(|line| serde_json::from_str(line).ok().filter(serde_json::Value::is_object))
    }

    fn exit_status(&self) -> Option<ExitStatus> {
        self.child.lock().try_wait().expect("our own child can be waited for")
    }

    fn wait(&self, limit: Duration) -> ExitStatus {
        match poll(limit, || self.exit_status()) {
            Ok(status) => status,
            Err(_) => panic!("{} still runs after {limit:?}{}", self.name, self.transcript()),
        }
    }

    /// Under the child's lock, so that the id cannot have been given to another process.
    fn signal(&self, signal: Signal) {
        let mut child = self.child.lock();
        if child.try_wait().expect("our own child can be waited for").is_none() {
            let _ = kill_process(self.pid, signal);
        }
    }

    fn transcript(&self) -> String {
        format!("\n--- stdout\n{}\n--- stderr\n{}", last(&self.read(STDOUT)), last(&self.read(STDERR)))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.child.lock().wait();
        if std::thread::panicking() {
            eprintln!("--- {} said on stderr\n{}", self.name, last(&self.read(STDERR)));
        }
    }
}

fn last(text: &str) -> &str {
    let start = text.char_indices().rev().nth(SHOWN_CHARS).map_or(0, |(index, _)| index);
    &text[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Process {
        Process::start(Path::new("/bin/sh"), ["-c", script])
    }

    #[tokio::test]
    async fn output_and_the_first_json_line_are_captured() {
        let process = shell(r#"echo talk; echo trouble >&2; echo '{"api":"here"}'; echo '{"api":"second"}'"#);
        assert_eq!(process.first_json_line(Duration::from_secs(10)).await["api"], "here");
        assert!(process.wait(Duration::from_secs(10)).await.success());
        assert_eq!(process.stderr(), "trouble\n");
    }

    #[tokio::test]
    async fn a_program_that_ends_without_json_is_reported_with_its_output() {
        let process = shell("echo 'bad config' >&2; exit 64");
        let waiting = tokio::spawn(async move { process.first_json_line(Duration::from_secs(10)).await });
        let panic = waiting.await.unwrap_err().into_panic();
        assert!(panic.downcast_ref::<String>().unwrap().contains("bad config"));
    }

    #[tokio::test]
    async fn terminate_gives_the_programs_own_exit_code() {
        let process = shell(r#"trap 'exit 7' TERM; echo '{}'; while :; do sleep 0.01; done"#);
        process.first_json_line(Duration::from_secs(10)).await;
        assert!(process.cpu() < Duration::from_secs(60));
        assert!(process.rss_bytes() > 0 && process.rss_bytes_peak() >= process.rss_bytes());
        assert_eq!(process.terminate(Duration::from_secs(10)).await.code(), Some(7));
    }

    #[tokio::test]
    async fn a_dropped_process_is_gone() {
        let process = shell("sleep 600");
        let pid = process.pid();
        drop(process);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }
}
