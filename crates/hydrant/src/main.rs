//! The binary: command line, configuration, start and stop in order.
//!
//! Data goes to stdout, talk to stderr. Exit codes: 0 done, 1 failed, 2 usage, 64 configuration.

#![expect(unreachable_pub, reason = "a binary has no outside: `pub` says that other modules use it")]

mod admin;
mod app;
mod aws;
mod cli;
mod commands;
mod config;
mod declared;
mod demo;
mod descriptors;
mod dev;
mod reload;
mod stream_files;
mod warehouse_query;

use std::process::ExitCode;

use clap::Parser;

/// glibc gives the pages of a 0.7 MB request body back to the system each time; mimalloc keeps them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    init_logging(cli.log_json, cli.command.log_default());
    aws::install_tls_provider();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return cli::failed(&anyhow::Error::new(error).context("start the runtime")),
    };
    let outcome = runtime.block_on(commands::run(cli));
    // A blocking read of standard input or of a slow disk must not keep a finished command from ending.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match outcome {
        Ok(code) => code,
        Err(error) => cli::failed(&error),
    }
}

fn init_logging(json: bool, default: &str) {
    use std::io::IsTerminal;

    use tracing_subscriber::{EnvFilter, fmt};
    let wanted = std::env::var("HYDRANT_LOG").ok();
    let parsed = wanted.as_deref().map(EnvFilter::try_new).transpose();
    let (filter, fault) = match parsed {
        Ok(filter) => (filter.unwrap_or_else(|| EnvFilter::new(default)), None),
        Err(error) => (EnvFilter::new(default), Some(error)),
    };
    let builder = fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    if json {
        builder.json().init()
    } else {
        builder.init()
    }
    if let Some(error) = fault {
        tracing::warn!(%error, default, "HYDRANT_LOG is not a filter: the default is used");
    }
}
