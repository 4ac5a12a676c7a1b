//! The build's own commands: `cargo xtask setup`, `check`, `test` and `e2e`.
//!
//! `test` is what the README tells people to run and all that `.ci/run` calls. It installs what the tests need (see
//! [`setup`]), then formats, lints, builds and tests with one build profile. Nothing but the standard library and
//! `anyhow`, so that it is built in seconds on a fresh clone.

mod cargo;
mod setup;
mod steps;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};

use cargo::cargo;
use steps::Steps;

const USAGE: &str = "usage: cargo xtask COMMAND

  setup   install what the tests need: PostgreSQL (system package), and into .tools/ the S3 server, AWS clients, Node.js
  check   formatting, lints and documentation, warnings denied
  test    setup, check, then unit, property, contract and end-to-end tests: everything that CI runs
  e2e     setup, then the end-to-end tests alone";
const USAGE_CODE: u8 = 2;

/// The package of the end-to-end tests.
const END_TO_END: &str = "hydrant-e2e";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut steps = Steps::default();
    let outcome = match words[..] {
        ["setup"] => setup::install(&mut steps),
        ["check"] => check(&mut steps),
        ["test"] => test(&mut steps),
        ["e2e"] => end_to_end(&mut steps),
        ["help" | "--help" | "-h"] => {
            eprintln!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(USAGE_CODE);
        }
    };
    steps.summarise();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nxtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn check(steps: &mut Steps) -> anyhow::Result<()> {
    steps.run("formatting", cargo(&["fmt", "--all", "--check"])).context("run `cargo fmt --all`")?;
    steps.run(
        "lints",
        cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"]),
    )?;
    let mut documentation = cargo(&["doc", "--workspace", "--no-deps", "--locked", "--quiet"]);
    documentation.env("RUSTDOCFLAGS", "--deny warnings");
    steps.run("documentation", documentation)
}

fn test(steps: &mut Steps) -> anyhow::Result<()> {
    setup::install(steps)?;
    check(steps)?;
    build(steps)?;
    // nextest does not run them. They come first, so that the last lines are the tests' own summary.
    steps.run("documentation tests", cargo(&["test", "--workspace", "--doc", "--locked", "--quiet"]))?;
    steps.run("tests", tests(&["--workspace"])?)
}

fn end_to_end(steps: &mut Steps) -> anyhow::Result<()> {
    setup::install(steps)?;
    build(steps)?;
    steps.run("end-to-end tests", tests(&["--package", END_TO_END])?)
}

/// Programs and tests in one go: built apart, cargo would choose other features and build much of it twice.
fn build(steps: &mut Steps) -> anyhow::Result<()> {
    steps.run("build", cargo(&["build", "--workspace", "--bins", "--tests", "--locked"]))
}

/// Tests of `packages`, below one PostgreSQL server for the whole run.
fn tests(packages: &[&str]) -> anyhow::Result<Command> {
    let programs = built_programs()?;
    let mut command = Command::new(programs.join("with-postgres"));
    command.arg(cargo::program()).args(runner()).args(packages);
    command.args(["--lib", "--bins", "--tests", "--locked", "--no-fail-fast"]);
    command.env("HYDRANT_TEST_BINARY", programs.join("hydrant"));
    command.env("HYDRANT_TEST_PYTHON", setup::python());
    command.env("HYDRANT_TEST_NODE", setup::node());
    // A snapshot that differs is a failure; it is accepted by a person, with `cargo insta review`.
    command.env("INSTA_UPDATE", "no");
    Ok(cargo::in_workspace(command))
}

/// nextest where it is installed: it ends tests that hang and says how long each took. To build it takes minutes that a
/// newcomer should not have to wait, and cargo's own runner runs the same tests.
fn runner() -> &'static [&'static str] {
    match setup::succeeds(&mut cargo(&["nextest", "--version"])) {
        true => &["nextest", "run"],
        false => &["test"],
    }
}

/// This program lies beside the ones just built, wherever the target directory is.
fn built_programs() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find this program's own file")?;
    let folder = own.parent().context("a program lies in a folder")?.to_owned();
    if !folder.join("with-postgres").exists() {
        bail!("{} holds no test programs: start this with `cargo xtask`", folder.display());
    }
    Ok(folder)
}

fn workspace_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask/ lies in the workspace")
}
