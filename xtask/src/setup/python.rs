//! The Python environment with all that comes from PyPI.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::{succeeds, tools};
use crate::steps::Steps;
use crate::workspace_root;

const REQUIREMENTS: &str = include_str!("../../requirements.txt");
const REQUIREMENTS_FILE: &str = "xtask/requirements.txt";

/// The Python of the tests.
pub(crate) fn python() -> PathBuf {
    environment().join("bin/python")
}

/// Makes the environment anew whenever the list of requirements is another; half an environment is never taken for a
/// whole one, as the list is written into it last.
pub(super) fn install(steps: &mut Steps) -> anyhow::Result<()> {
    let environment = environment();
    let installed_list = environment.join("requirements.txt");
    let is_whole = fs::read_to_string(&installed_list).is_ok_and(|list| list == REQUIREMENTS);
    // The system's Python may have gone, or be another, since.
    if is_whole && succeeds(Command::new(python()).args(["-c", "import boto3"])) {
        return Ok(());
    }
    if environment.exists() {
        fs::remove_dir_all(&environment)
            .with_context(|| format!("cannot remove {}", environment.display()))?;
    }
    let mut make = Command::new("python3");
    make.args(["-m", "venv"]).arg(&environment);
    steps.run("python environment", make)?;
    steps.run("python packages", pip_install(Path::new(REQUIREMENTS_FILE))).context(NO_PYPI)?;
    fs::write(&installed_list, REQUIREMENTS)
        .with_context(|| format!("cannot write {}", installed_list.display()))
}

pub(super) const NO_PYPI: &str = "the packages cannot be fetched from PyPI";

/// Installs exactly what a file of the workspace lists.
pub(super) fn pip_install(requirements: &Path) -> Command {
    let mut command = Command::new(python());
    command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]);
    command.args(["--retries", "5", "--timeout", "60", "--requirement"]);
    command.arg(workspace_root().join(requirements));
    command
}

pub(super) fn environment() -> PathBuf {
    tools().join("venv")
}
