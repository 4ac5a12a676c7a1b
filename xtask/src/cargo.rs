//! Calling cargo from a program that cargo runs.

use std::ffi::{OsStr, OsString};
use std::process::Command;

use crate::workspace_root;

/// The very cargo that runs us, and so the pinned toolchain.
pub(crate) fn program() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// A cargo command on the workspace.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(arguments);
    in_workspace(command)
}

/// Lets `command` run at the workspace's root, as if a person had started it there.
///
/// `cargo run` tells this program about its own package in the environment. Build scripts look at these variables (ring's
/// does), so that cargo would build what depends on them again after each change from `cargo xtask` to `cargo` and back.
pub(crate) fn in_workspace(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_of_our_package(name)) {
        command.env_remove(name);
    }
    command.current_dir(workspace_root());
    command
}

fn is_of_our_package(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
}
