//! Where the things that tests need are installed.
//!
//! `cargo xtask setup` puts them into `.tools/` at the workspace's root; a test that runs without xtask finds them there.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The folder of the workspace's `Cargo.toml`.
pub fn workspace_root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        here.ancestors().nth(2).expect("the crate lies in crates/ of the workspace").to_owned()
    })
}

/// The Python that has boto3 and the AWS command line (`bin/aws` beside it): `HYDRANT_TEST_PYTHON`, else
/// `.tools/venv/bin/python`.
///
/// # Panics
/// When it is not installed.
pub fn python() -> PathBuf {
    match std::env::var_os("HYDRANT_TEST_PYTHON") {
        Some(path) => PathBuf::from(path),
        None => installed("python"),
    }
}

/// Node.js (`node`) with the AWS SDK beside it (`node_modules/`): `HYDRANT_TEST_NODE`, else `.tools/node`.
///
/// # Panics
/// When it is not installed.
pub fn node() -> PathBuf {
    let path = std::env::var_os("HYDRANT_TEST_NODE")
        .map_or_else(|| workspace_root().join(".tools/node"), PathBuf::from);
    assert!(path.join("node").exists(), "{} is missing: run `cargo xtask setup`", path.display());
    path
}

/// SeaweedFS's program.
pub(crate) fn weed() -> PathBuf {
    installed("weed")
}

fn installed(program: &str) -> PathBuf {
    let path = workspace_root().join(".tools/venv/bin").join(program);
    assert!(path.exists(), "{} is missing: run `cargo xtask setup`", path.display());
    path
}

/// The built `hydrant`: `HYDRANT_TEST_BINARY`, else it is brought up to date with `cargo build` (once per process), so
/// that no test runs against yesterday's program. Blocks; call it before time matters.
///
/// # Panics
/// When it does not build.
pub fn hydrant_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("HYDRANT_TEST_BINARY") {
        Some(path) => PathBuf::from(path),
        None => build_hydrant(),
    })
}

fn build_hydrant() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "build",
            "--package",
            "hydrant",
            "--bin",
            "hydrant",
            "--message-format=json-render-diagnostics",
        ])
        .current_dir(workspace_root())
        .output()
        .expect("cargo can be started");
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "hydrant does not build:\n{talk}");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .next_back()
        .expect("cargo names the program it built")
}
