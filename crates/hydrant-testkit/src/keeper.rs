//! What must not outlive the test's process: its children and its temporary directories.
//!
//! A test can end by passing, by a panic, by Ctrl-C or by `kill -9`, and statics are never dropped. So the kernel does the
//! work: children ask for a signal when their parent ends (`setpriv --pdeathsig`), and a small shell waits for the end of
//! a pipe and then removes the directories.
//!
//! The kernel's "parent" is the *thread* that started the child, and a test's thread ends with the test. Children are
//! therefore started by one thread that lives as long as the process.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, SyncSender};

use parking_lot::Mutex;
use tempfile::TempDir;

type Started = std::io::Result<Child>;

/// Starts `command` from the thread that never ends.
pub(crate) fn spawn(command: Command) -> Started {
    static STARTER: OnceLock<SyncSender<(Command, SyncSender<Started>)>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (requests, receiver) = mpsc::sync_channel::<(Command, SyncSender<Started>)>(0);
        std::thread::Builder::new()
            .name("starts-children".to_owned())
            .spawn(move || {
                for (mut command, answer) in receiver {
                    // The asker waits for the answer; if it is gone, so is the need for the child.
                    let _ = answer.send(command.spawn());
                }
            })
            .expect("the process can start a thread");
        requests
    });
    let (answer, started) = mpsc::sync_channel(1);
    starter.send((command, answer)).expect("the starting thread never ends");
    started.recv().expect("the starting thread answers")
}

/// A command line that dies by `signal` (a name without `SIG`) when this process ends.
pub(crate) fn dying_with_us(signal: &str, program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", signal]).arg(program);
    command
}

/// A temporary directory, removed when dropped and also when the process ends in any other way.
#[derive(Debug)]
pub struct Scratch(TempDir);

impl Scratch {
    /// A new, empty directory.
    ///
    /// # Panics
    /// When the directory cannot be made.
    pub fn new() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("hydrant-test-")
            .tempdir()
            .expect("a temporary directory can be made");
        remove_at_end(directory.path());
        Self(directory)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

/// Reads directories line by line and removes them when the pipe ends; the second is for servers that are still dying.
const JANITOR: &str =
    r#"while IFS= read -r directory; do set -- "$@" "$directory"; done; sleep 1; rm -rf -- "$@""#;

#[expect(clippy::zombie_processes, reason = "it ends after us, when its pipe does")]
fn remove_at_end(directory: &Path) {
    static JANITOR_INPUT: OnceLock<Mutex<ChildStdin>> = OnceLock::new();
    let input = JANITOR_INPUT.get_or_init(|| {
        let mut command = Command::new("sh");
        command.args(["-c", JANITOR, "janitor"]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // A group of its own: Ctrl-C must end the test, not the one who cleans up after it.
        command.process_group(0);
        let mut child = command.spawn().expect("sh can be started");
        Mutex::new(child.stdin.take().expect("stdin was asked for"))
    });
    let mut line = directory.as_os_str().as_encoded_bytes().to_vec();
    line.push(b'\n');
    input.lock().write_all(&line).expect("the janitor lives until our end");
}
