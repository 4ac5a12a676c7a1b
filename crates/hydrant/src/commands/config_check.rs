//! `hydrant config check`.

use std::{io::Write, process::ExitCode};

use anyhow::Result;
use serde_json::json;

use crate::cli::ConfigArgs;

/// Check a configuration and the streams in its files.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Check the configuration, the certificate and every stream that a file declares, and report all faults with file, line and key.
    /// Asks neither metastore nor S3.
    Check(ConfigArgs),
}

/// Runs the subcommand.
///
/// # Errors
/// [`crate::config::Faults`]: what is wrong.
pub fn run(args: Args, as_json: bool, out: &mut dyn Write) -> Result<ExitCode> {
    let Command::Check(args) = args.command;
    let (_, files) = args.load_with_files()?;
    let streams = files.streams.as_deref().unwrap_or_default();
    if as_json {
        let streams: Vec<_> = streams
            .iter()
            .map(|file| json!({"DeliveryStreamName": file.stream, "file": file.name}))
            .collect();
        writeln!(out, "{}", json!({"valid": true, "streams": streams}))?;
        return Ok(ExitCode::SUCCESS);
    }
    for file in streams {
        writeln!(out, "{}: stream {}", file.name, file.stream)?;
    }
    tracing::info!(streams = streams.len(), "the configuration is valid");
    Ok(ExitCode::SUCCESS)
}
