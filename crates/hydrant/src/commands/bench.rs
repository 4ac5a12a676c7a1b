//! `hydrant bench`: generate load, measure it, and account for every record.
//!
//! Bodies are built from a template in which only a number changes, so that the generator, which shares the machine with the
//! server, costs little. Calls are not retried: a failure is counted as one.

mod account;
mod body;
mod server_cost;

use std::{
    io::Write,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use hydrant_client::Client;
use hydrant_types::{ByteSize, limits};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use self::{body::Shape, server_cost::ServerCost};
use super::endpoint;
use crate::demo::thousands;

/// Generate load, measure it, and account for every record.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// To which stream.
    stream: String,
    /// Which call.
    #[arg(long, value_enum, default_value_t = Operation::PutRecordBatch)]
    operation: Operation,
    /// Stop after this many records.
    #[arg(long, default_value_t = 100_000)]
    records: u64,
    /// Stop after this many seconds at the latest.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Records per second, over all connections; flat out when not given.
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
    /// The server's process, to report its CPU time per GB of records and its peak memory.
    #[arg(long, value_name = "PID")]
    server_pid: Option<u32>,
    /// Afterwards look for every acknowledged record in the objects below this prefix.
    #[arg(long, value_name = "s3://BUCKET/PREFIX")]
    verify: Option<String>,
    /// The S3 server of --verify; AWS S3 when not given. Credentials: the usual AWS chain.
    #[arg(long, value_name = "URL")]
    s3_endpoint_url: Option<String>,
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

/// What all connections share.
struct Load {
    client: Client,
    operation: Operation,
    template: body::Template,
    records_per_call: u64,
    calls: u64,
    next_call: AtomicU64,
    begun: Instant,
    ends: Instant,
    /// Between two calls of all connections together, where a rate is asked for.
    interval: Option<Duration>,
    progress: ProgressBar,
}

/// What one connection, and then all together, have seen.
struct Seen {
    latency_us: Histogram<u64>,
    /// Calls that were acknowledged, by number; a call's records follow from it.
    acknowledged: Vec<u64>,
    failed_calls: u64,
    last_failure: Option<String>,
}

impl Seen {
    fn new() -> Self {
        // Up to ten minutes, three significant digits.
        let latency_us = Histogram::new_with_bounds(1, 600_000_000, 3).expect("these bounds are legal");
        Self { latency_us, acknowledged: Vec::new(), failed_calls: 0, last_failure: None }
    }

    fn add(&mut self, other: Self) {
        self.latency_us.add(&other.latency_us).expect("the bounds are equal");
        self.acknowledged.extend(other.acknowledged);
        self.failed_calls += other.failed_calls;
        self.last_failure = self.last_failure.take().or(other.last_failure);
    }
}

/// Generates the load and reports. Exit 1 when a record was lost or is there twice, or nothing was acknowledged.
///
/// # Errors
/// The arguments do not fit together, or S3 cannot be read.
pub async fn run(args: Args, as_json: bool, out: &mut dyn Write) -> Result<ExitCode> {
    let records_per_call = check(&args)?;
    let template =
        body::Template::new(args.operation, &args.stream, args.record_bytes, records_per_call, args.shape);
    let begun = Instant::now();
    let calls = args.records.div_ceil(records_per_call as u64);
    let load = Arc::new(Load {
        client: args.endpoint.client().await?,
        operation: args.operation,
        template,
        records_per_call: records_per_call as u64,
        calls,
        next_call: AtomicU64::new(0),
        begun,
        ends: begun + Duration::from_secs(args.seconds),
        interval: args.rate.map(|rate| Duration::from_secs_f64(records_per_call as f64 / rate as f64)),
        progress: progress_bar(calls)?,
    });
    let before = args.server_pid.map(ServerCost::now).transpose()?;
    let mut connections = JoinSet::new();
    for _ in 0..args.connections {
        connections.spawn(connection(load.clone()));
    }
    let mut seen = Seen::new();
    while let Some(one) = connections.join_next().await {
        seen.add(one.context("a connection panicked")?);
    }
    let elapsed = begun.elapsed();
    load.progress.finish_and_clear();

    let mut report = report(&args, &load, &seen, elapsed);
    let mut code = if seen.acknowledged.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    if let Some(place) = &args.verify {
        let accounts = account::verify(
            place,
            args.s3_endpoint_url.as_deref(),
            &seen.acknowledged,
            load.records_per_call,
        )
        .await?;
        if accounts.lost > 0 || accounts.duplicated > 0 {
            code = ExitCode::FAILURE;
        }
        report["verified"] =
            json!({"found": accounts.found, "lost": accounts.lost, "duplicated": accounts.duplicated});
    }
    if let (Some(pid), Some(before)) = (args.server_pid, before) {
        report["server"] =
            ServerCost::now(pid)?.since(&before, bytes(&args, &load, &seen), records(&load, &seen));
    }
    match as_json {
        true => writeln!(out, "{report}")?,
        false => show(&report, out)?,
    }
    Ok(code)
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
    if args.rate == Some(0) {
        bail!("--rate 0: expected at least one record per second");
    }
    Ok(records_per_call)
}

async fn connection(load: Arc<Load>) -> Seen {
    let mut seen = Seen::new();
    loop {
        let call = load.next_call.fetch_add(1, Ordering::Relaxed);
        if call >= load.calls || Instant::now() >= load.ends {
            return seen;
        }
        if let Some(interval) = load.interval {
            let due = load.begun + interval.mul_f64(call as f64);
            tokio::time::sleep_until(due.into()).await;
        }
        let body = load.template.body(call);
        let begun = Instant::now();
        let outcome = load.client.attempt(load.operation.name(), body, Uuid::new_v4(), 1).await;
        seen.latency_us.saturating_record(begun.elapsed().as_micros() as u64);
        load.progress.inc(1);
        match outcome {
            Ok(answer) if load.operation == Operation::PutRecord || body::all_acknowledged(&answer) => {
                seen.acknowledged.push(call);
            }
            Ok(_) => seen.failed_calls += 1,
            Err(error) => {
                seen.failed_calls += 1;
                seen.last_failure = Some(crate::app::format_chain(&error));
            }
        }
    }
}

fn records(load: &Load, seen: &Seen) -> u64 {
    seen.acknowledged.len() as u64 * load.records_per_call
}

fn bytes(args: &Args, load: &Load, seen: &Seen) -> u64 {
    records(load, seen) * args.record_bytes as u64
}

fn report(args: &Args, load: &Load, seen: &Seen, elapsed: Duration) -> Value {
    let (records, bytes) = (records(load, seen), bytes(args, load, seen));
    let quantile = |q: f64| seen.latency_us.value_at_quantile(q);
    json!({
        "operation": args.operation.name(),
        "calls_acknowledged": seen.acknowledged.len(),
        "calls_failed": seen.failed_calls,
        "last_failure": seen.last_failure,
        "records": records,
        "bytes": bytes,
        "seconds": elapsed.as_secs_f64(),
        "records_per_second": records as f64 / elapsed.as_secs_f64(),
        "latency_us": {
            "p50": quantile(0.5),
            "p90": quantile(0.9),
            "p99": quantile(0.99),
            "p99.9": quantile(0.999),
            "max": seen.latency_us.max(),
        },
    })
}

fn show(report: &Value, out: &mut dyn Write) -> std::io::Result<()> {
    let number = |value: &Value| value.as_f64().unwrap_or_default();
    let seconds = number(&report["seconds"]);
    writeln!(
        out,
        "{}: {} records, {} in {seconds:.1} s  ({} records/s, {}/s)",
        report["operation"].as_str().unwrap_or_default(),
        thousands(report["records"].as_u64().unwrap_or_default()),
        ByteSize(report["bytes"].as_u64().unwrap_or_default()),
        thousands(number(&report["records_per_second"]) as u64),
        ByteSize((number(&report["bytes"]) / seconds) as u64),
    )?;
    writeln!(
        out,
        "calls    {} acknowledged, {} failed",
        report["calls_acknowledged"], report["calls_failed"]
    )?;
    if let Some(failure) = report["last_failure"].as_str() {
        writeln!(out, "         last failure: {failure}")?;
    }
    let latency = &report["latency_us"];
    let milliseconds = |name: &str| number(&latency[name]) / 1000.0;
    writeln!(
        out,
        "latency  p50 {:.2} ms   p90 {:.2} ms   p99 {:.2} ms   p99.9 {:.2} ms   max {:.2} ms",
        milliseconds("p50"),
        milliseconds("p90"),
        milliseconds("p99"),
        milliseconds("p99.9"),
        milliseconds("max"),
    )?;
    if let Some(server) = report.get("server") {
        writeln!(
            out,
            "server   {:.2} CPU-s per GB of records, {:.1} µs of CPU per record, peak memory {}",
            number(&server["cpu_seconds_per_gb"]),
            number(&server["cpu_us_per_record"]),
            ByteSize(server["rss_bytes_peak"].as_u64().unwrap_or_default()),
        )?;
    }
    if let Some(verified) = report.get("verified") {
        writeln!(
            out,
            "verified {} found, {} lost, {} duplicated",
            verified["found"], verified["lost"], verified["duplicated"]
        )?;
    }
    Ok(())
}

fn progress_bar(calls: u64) -> Result<ProgressBar> {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} calls {per_sec} {eta}")?;
    Ok(ProgressBar::new(calls).with_style(style))
}
