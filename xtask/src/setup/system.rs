//! System packages, by apt.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

use super::{postgres, succeeds};
use crate::steps::Steps;

/// The distribution's newest: 15 in Debian 12.
pub(super) const POSTGRES: &str = "postgresql";
const APT: &str = "/usr/bin/apt-get";
/// Another program that installs packages at the same time, such as an automatic upgrade, is waited for.
const APT_OPTIONS: [&str; 4] = ["-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3"];

/// apt, and how to call it as root.
#[derive(Debug, Clone, Copy)]
pub(super) struct Installer {
    prefix: &'static [&'static str],
}

/// Packages whose programs do not work here, besides PostgreSQL's.
pub(super) fn missing() -> Vec<&'static str> {
    let mut missing = Vec::new();
    // Debian has the module `venv` without this package, but not what it needs to work.
    if !succeeds(Command::new("python3").args(["-c", "import venv, ensurepip"])) {
        missing.push("python3-venv");
    }
    // `setpriv` ties the test servers' lives to the tests'.
    if !succeeds(Command::new("setpriv").arg("--version")) {
        missing.push("util-linux");
    }
    missing
}

/// # Errors
/// A text that says what to run by hand.
pub(super) fn install(
    steps: &mut Steps,
    installer: Option<Installer>,
    packages: &[&'static str],
) -> anyhow::Result<()> {
    let names = packages.join(" ");
    let Some(installer) = installer else { bail!(by_hand(&names)) };
    steps
        .run("package lists", installer.apt_get(&["update", "--quiet"]))
        .context("the package lists cannot be fetched")?;
    let install = [&["install", "--yes", "--quiet", "--no-install-recommends"], packages].concat();
    steps.run("system packages", installer.apt_get(&install)).with_context(|| by_hand(&names))?;
    let mut still_missing = missing();
    if packages.contains(&POSTGRES) && !postgres::is_installed() {
        still_missing.push(POSTGRES);
    }
    if !still_missing.is_empty() {
        bail!(
            "apt-get installed {names}, but this is still missing or too old: {}. {}",
            still_missing.join(", "),
            postgres::NEEDED
        );
    }
    Ok(())
}

fn by_hand(packages: &str) -> String {
    match Path::new(APT).exists() {
        true => format!("missing: {packages}. Run `sudo apt-get install {packages}`, then this again"),
        false => format!(
            "missing: {packages} (as Debian calls them). This machine has no apt-get: install them in its own way. {}",
            postgres::NEEDED
        ),
    }
}

impl Installer {
    /// Nothing where there is no apt, or where only a password would make us root.
    pub(super) fn find() -> Option<Self> {
        if !Path::new(APT).exists() {
            return None;
        }
        let user = Command::new("id").arg("--user").output().ok()?;
        if user.stdout.trim_ascii() == b"0" {
            return Some(Self { prefix: &[] });
        }
        succeeds(Command::new("sudo").args(["-n", "true"])).then_some(Self { prefix: &["sudo", "-n"] })
    }

    fn apt_get(self, arguments: &[&str]) -> Command {
        let words =
            [self.prefix, &["env", "DEBIAN_FRONTEND=noninteractive", APT], &APT_OPTIONS, arguments].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        command
    }
}
