//! `hydrant log`: look into a record log, and settle a disagreement between it and the metastore.

mod reconcile;

use std::{io::Write, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use hydrant_log::inspect::{self, Report, StreamReport};
use hydrant_types::ByteSize;

use super::state;
use crate::demo::thousands;

/// Look into a record log, and settle a disagreement between it and the metastore.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show which streams and segments a record log holds. Reads only.
    Inspect(LookArgs),
    /// Check every byte that is still needed. Reads only; fails (exit 1) for a damaged log.
    Verify(LookArgs),
    /// Say which of record log and metastore is the odd one, when the service refuses to start.
    Reconcile(reconcile::Args),
}

#[derive(Debug, clap::Args)]
struct LookArgs {
    /// The log's directory; else the one that the configuration names.
    dir: Option<PathBuf>,
    #[command(flatten)]
    service: state::Args,
}

/// Runs the subcommand.
///
/// # Errors
/// There is no record log, or it cannot be read.
pub async fn run(args: Args, as_json: bool, out: &mut dyn Write) -> Result<ExitCode> {
    match args.command {
        Command::Inspect(args) => look(args, inspect::inspect, as_json, out).await,
        Command::Verify(args) => look(args, inspect::verify, as_json, out).await,
        Command::Reconcile(args) => reconcile::run(args, as_json, out).await,
    }
}

async fn look(
    args: LookArgs,
    read: fn(&std::path::Path) -> std::io::Result<Report>,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<ExitCode> {
    let dir = match args.dir {
        Some(dir) => dir,
        None => args.service.load()?.log.dir,
    };
    let name = dir.display().to_string();
    let report = tokio::task::spawn_blocking(move || read(&dir))
        .await?
        .with_context(|| format!("look into the record log in {name}"))?;
    if as_json {
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        show(&report, out)?;
    }
    Ok(if report.damage.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn show(report: &Report, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "record log {}", report.log_id)?;
    match report.metastore {
        Some(metastore) => writeln!(out, "metastore  {metastore}")?,
        None => writeln!(out, "metastore  not registered with one yet")?,
    }
    if report.torn_bytes > 0 {
        writeln!(
            out,
            "torn tail  {}, which no answer depended on; cut at the next start",
            ByteSize(report.torn_bytes)
        )?;
    }
    if report.encrypted_frames > 0 {
        writeln!(
            out,
            "encrypted  {} frames: their check sums were checked, their contents were not (that needs their keys)",
            thousands(report.encrypted_frames)
        )?;
    }
    let mut streams = super::table(&["STREAM ID", "TRIMMED TO", "SEALED TO", "NEXT", "KEPT", ""]);
    for (id, stream) in &report.streams {
        streams.add_row([
            id.to_string(),
            thousands(stream.trimmed.0),
            thousands(stream.sealed.0),
            thousands(stream.next.0),
            thousands(stream.next.0.saturating_sub(stream.trimmed.0)),
            notes(stream),
        ]);
    }
    writeln!(out, "\n{}", streams.trim_fmt())?;
    match report.segments.is_empty() {
        true => writeln!(out, "\nno segment holds records")?,
        false => writeln!(out, "\n{}", segment_table(report).trim_fmt())?,
    }
    for damage in &report.damage {
        writeln!(out, "\nDAMAGED {} at offset {}: {}", damage.path, damage.offset, damage.reason)?;
    }
    Ok(())
}

fn notes(stream: &StreamReport) -> String {
    let keys: Vec<_> = stream.data_keys.iter().map(|key| key.0.to_string()).collect();
    let needs = (!keys.is_empty()).then(|| format!("needs data keys {}", keys.join(", ")));
    let closed = stream.closed.then(|| "closed".to_owned());
    closed.into_iter().chain(needs).collect::<Vec<_>>().join(", ")
}

fn segment_table(report: &Report) -> comfy_table::Table {
    let mut segments = super::table(&["SEGMENT", "", "BYTES", "STREAMS"]);
    for segment in &report.segments {
        segments.add_row([
            segment.path.clone(),
            if segment.sealed { "sealed" } else { "open" }.to_owned(),
            ByteSize(segment.bytes).to_string(),
            segment.streams.to_string(),
        ]);
    }
    segments
}
