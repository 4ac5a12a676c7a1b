//! `hydrant bench`: generate load, measure it, and account for every record.
//!
//! Bodies are built from a template in which only a number changes, so that the generator, which shares the machine with the
//! server, costs little. Calls are not retried: a failure is counted as one.

mod account;
mod body;
mod load;
mod report;
mod server_cost;

use std::{io::Write, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Result, bail};
use hydrant_client::{Client, Signing};
use hydrant_types::limits;
use indicatif::{ProgressBar, ProgressStyle};

use self::{
    account::{Acknowledged, Objects, Patience, Table},
    body::{Run, Shape, Streams, Template},
    load::Load,
    report::Report,
    server_cost::ServerCost,
};
use super::endpoint;
use crate::dev;

/// From the last acknowledgement until what is missing is called lost: longer than any buffering interval in `dev`, and than most elsewhere.
const ARRIVAL_MAX: Duration = Duration::from_secs(120);

/// Generate load, measure it, and account for every record.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// To which stream.
    stream: String,
    /// To this many streams in turn, named STREAM-0000 and so on.
    #[arg(long, default_value_t = 1)]
    streams: u64,
    /// Which call.
    #[arg(long, value_enum, default_value_t = Operation::PutRecordBatch)]
    operation: Operation,
    /// Stop after this many records, rounded up to whole calls.
    #[arg(long, default_value_t = 100_000)]
    records: u64,
    /// Stop after this many seconds at the latest.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Records per second, over all connections; flat out when not given. Latency then counts from when a call was due, waiting for
    /// a free connection included.
    #[arg(long)]
    rate: Option<u64>,
    /// Bytes of each record.
    #[arg(long, default_value_t = 1_000)]
    record_bytes: usize,
    /// Records in a PutRecordBatch.
    #[arg(long, default_value_t = limits::BATCH_RECORDS_MAX)]
    records_per_call: usize,
    /// What a record's text is like; it decides how well it compresses.
    #[arg(long, value_enum, default_value_t = Shape::Json)]
    shape: Shape,
    /// Calls under way at once.
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// The server's process, to report its CPU time per GB of records and its peak memory; with --verify that of delivery too.
    #[arg(long, value_name = "PID")]
    server_pid: Option<u32>,
    /// Afterwards look for every acknowledged record in the objects below this prefix.
    #[arg(long, value_name = "s3://BUCKET/PREFIX")]
    verify: Option<String>,
    /// The S3 server of --verify; AWS S3 when not given. Credentials: the usual AWS chain.
    #[arg(long, value_name = "URL")]
    s3_endpoint_url: Option<String>,
    /// Afterwards count the rows of every acknowledged record in this table: it needs a column `n BIGINT`, and may have `run
    /// VARCHAR(12)` and `text`.
    #[arg(long, value_name = "TABLE", requires = "redshift_endpoint_url")]
    verify_table: Option<String>,
    /// The Redshift Data API of --verify-table; one that takes any credentials, as `hydrant redshift-local`.
    #[arg(long, value_name = "URL")]
    redshift_endpoint_url: Option<String>,
    /// The workgroup of --verify-table.
    #[arg(long, value_name = "NAME", default_value = dev::WORKGROUP)]
    redshift_workgroup: String,
    /// The database of --verify-table.
    #[arg(long, value_name = "NAME", default_value = dev::DATABASE)]
    redshift_database: String,
    /// How long to go on looking after everything was found, for duplicates that come later.
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = humantime::parse_duration)]
    settle: Duration,
    #[command(flatten)]
    endpoint: endpoint::Args,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Operation {
    PutRecord,
    PutRecordBatch,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::PutRecord => "PutRecord",
            Self::PutRecordBatch => "PutRecordBatch",
        }
    }
}

/// Generates the load and reports. Exit 1 when a record was lost or is there twice, or nothing was acknowledged.
///
/// # Errors
/// The arguments do not fit together, or S3 or the table cannot be read.
pub async fn run(args: Args, as_json: bool, out: &mut dyn Write) -> Result<ExitCode> {
    let records_per_call = check(&args)?;
    // Before the load: a place that cannot be looked at must not cost a run.
    let objects = match &args.verify {
        Some(place) => Some(Objects::new(place, args.s3_endpoint_url.as_deref()).await?),
        None => None,
    };
    let table = table(&args)?;
    let signing = args.endpoint.signing().await?;
    let signed = !matches!(signing, Signing::None);
    let load = Arc::new(load(&args, signing, records_per_call)?);

    let before = args.server_pid.map(ServerCost::now).transpose()?;
    let (mut seen, elapsed) = load.clone().drive(args.connections).await?;
    load.progress.finish_and_clear();

    let acknowledged = Acknowledged::new(std::mem::take(&mut seen.acknowledged));
    let mut report = Report {
        operation: args.operation.name(),
        run: load.run.id(),
        signed,
        seen: &seen,
        records: acknowledged.records(),
        bytes: acknowledged.records() * args.record_bytes as u64,
        elapsed,
        server: None,
        verified: None,
        verified_table: None,
    };
    let patience = Patience { arrival: ARRIVAL_MAX, settle: args.settle };
    if let Some(objects) = objects {
        report.verified = Some(objects.verify(&load.run, &acknowledged, patience).await?);
    }
    if let Some(table) = table {
        report.verified_table = Some(table.verify(&acknowledged, patience).await?);
    }
    // After the verification: delivering is part of what a record costs.
    if let (Some(pid), Some(before)) = (args.server_pid, before) {
        report.server = Some(ServerCost::now(pid)?.since(&before, report.bytes, report.records));
    }
    match as_json {
        true => writeln!(out, "{}", report.json())?,
        false => report.show(out)?,
    }
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn table(args: &Args) -> Result<Option<Table>> {
    let (Some(name), Some(url)) = (&args.verify_table, &args.redshift_endpoint_url) else { return Ok(None) };
    Table::new(name, url, &args.redshift_workgroup, &args.redshift_database).map(Some)
}

fn load(args: &Args, signing: Signing, records_per_call: usize) -> Result<Load> {
    let run = Run::random();
    let streams = Streams::new(&args.stream, args.streams);
    let template =
        Template::new(args.operation, &streams, &run, args.record_bytes, records_per_call, args.shape);
    let calls = args.records.div_ceil(records_per_call as u64);
    Ok(Load {
        client: Client::new(&args.endpoint.endpoint_url, signing),
        operation: args.operation,
        run,
        template,
        records_per_call: records_per_call as u64,
        calls,
        time_max: Duration::from_secs(args.seconds),
        interval: args.rate.map(|rate| Duration::from_secs_f64(records_per_call as f64 / rate as f64)),
        progress: progress_bar(calls)?,
    })
}

fn check(args: &Args) -> Result<usize> {
    let records_per_call = match args.operation {
        Operation::PutRecord => 1,
        Operation::PutRecordBatch => args.records_per_call,
    };
    if !(1..=limits::BATCH_RECORDS_MAX).contains(&records_per_call) {
        bail!("--records-per-call {records_per_call}: expected 1 to {}", limits::BATCH_RECORDS_MAX);
    }
    if !(body::RECORD_BYTES_MIN..=limits::RECORD_BYTES_MAX).contains(&args.record_bytes) {
        bail!(
            "--record-bytes {}: expected {} to {}",
            args.record_bytes,
            body::RECORD_BYTES_MIN,
            limits::RECORD_BYTES_MAX
        );
    }
    if records_per_call * args.record_bytes > limits::BATCH_BYTES_MAX {
        bail!(
            "{records_per_call} records of {} bytes are more than the 4 MiB of one call",
            args.record_bytes
        );
    }
    if args.connections == 0 || args.connections > 1024 {
        bail!("--connections {}: expected 1 to 1024", args.connections);
    }
    if !(1..=limits::STREAMS_MAX as u64).contains(&args.streams) {
        bail!("--streams {}: expected 1 to {}", args.streams, limits::STREAMS_MAX);
    }
    if args.rate == Some(0) {
        bail!("--rate 0: expected at least one record per second");
    }
    Ok(records_per_call)
}

fn progress_bar(calls: u64) -> Result<ProgressBar> {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} calls {per_sec} {eta}")?;
    Ok(ProgressBar::new(calls).with_style(style))
}
