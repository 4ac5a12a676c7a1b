//! Commands one after the other, each with its name and duration.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// What was run so far.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    done: Vec<Step>,
}

#[derive(Debug)]
struct Step {
    name: String,
    duration: Duration,
    passed: bool,
}

impl Steps {
    /// Runs `command` with its output shown; a failure ends the run.
    pub(crate) fn run(&mut self, name: &str, mut command: Command) -> anyhow::Result<()> {
        eprintln!("\n── {name}: {}", shown(&command));
        let started = Instant::now();
        let status = command.status();
        let passed = status.as_ref().is_ok_and(|status| status.success());
        let duration = started.elapsed();
        eprintln!("── {name}: {} after {:.1} s", outcome(passed), duration.as_secs_f64());
        self.done.push(Step { name: name.to_owned(), duration, passed });
        let status = status.with_context(|| format!("cannot start {}", shown(&command)))?;
        if !passed {
            bail!("step failed: {name} ({status})");
        }
        Ok(())
    }

    /// Prints how long each step took.
    pub(crate) fn summarise(&self) {
        if self.done.is_empty() {
            return;
        }
        eprintln!();
        for step in &self.done {
            eprintln!("  {:<20} {:>7.1} s  {}", step.name, step.duration.as_secs_f64(), outcome(step.passed));
        }
        let total: Duration = self.done.iter().map(|step| step.duration).sum();
        eprintln!("  {:<20} {:>7.1} s", "together", total.as_secs_f64());
    }
}

fn outcome(passed: bool) -> &'static str {
    if passed { "ok" } else { "FAILED" }
}

fn shown(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    let program = program.rsplit('/').next().unwrap_or(&program);
    let arguments = command.get_args().map(|argument| argument.to_string_lossy());
    std::iter::once(program.into()).chain(arguments).collect::<Vec<_>>().join(" ")
}
