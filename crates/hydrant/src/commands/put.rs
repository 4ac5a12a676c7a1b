//! `hydrant put`: newline-delimited records from a file or standard input.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, Result};
use hydrant_client::{
    Client,
    batcher::{Batch, PutError},
};
use hydrant_types::{ByteSize, limits};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::{sync::mpsc, task::JoinSet};

use super::endpoint;
use crate::demo::thousands;

/// Calls under way at once; each holds at most 4 MiB of records.
const CALLS_MAX: usize = 4;
/// A line that is longer than any record is not read into memory whole.
const LINE_BYTES_MAX: u64 = limits::RECORD_BYTES_MAX as u64 + 2;

/// Put newline-delimited records from a file or standard input.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// To which stream.
    stream: String,
    /// From which file; standard input when not given, or `-`.
    file: Option<PathBuf>,
    /// Put lines without their newline. With it, as by default, objects in S3 have one record a line.
    #[arg(long)]
    strip_newline: bool,
    #[command(flatten)]
    endpoint: endpoint::Args,
}

#[derive(Default)]
struct Counts {
    records: u64,
    bytes: u64,
    failed: u64,
}

/// What the reading thread gives.
enum Read1 {
    Batch(Batch),
    TooLarge { line: u64 },
    Failed(io::Error),
}

/// Puts every line, and fails (exit 1) when one was not acknowledged.
///
/// # Errors
/// The input cannot be read.
pub async fn run(args: Args, as_json: bool, out: &mut dyn Write) -> Result<ExitCode> {
    let client = args.endpoint.client().await?;
    let (input, length): (Box<dyn Read + Send>, Option<u64>) = match &args.file {
        Some(path) if path.as_os_str() != "-" => {
            let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
            let length = file.metadata().ok().map(|metadata| metadata.len());
            (Box::new(file), length)
        }
        _ => (Box::new(io::stdin()), None),
    };
    // Two batches ahead of the calls: the reader never waits for the network, and memory is bounded.
    let (sender, receiver) = mpsc::channel(2);
    let strip_newline = args.strip_newline;
    std::thread::spawn(move || read_batches(BufReader::new(input), strip_newline, &sender));
    let counts = send_all(&client, &args.stream, receiver, length).await?;
    if as_json {
        let answer = json!({"records": counts.records, "bytes": counts.bytes, "failed": counts.failed});
        writeln!(out, "{answer}")?;
    } else {
        writeln!(
            out,
            "{} records acknowledged, {}; {} failed",
            thousands(counts.records),
            ByteSize(counts.bytes),
            thousands(counts.failed)
        )?;
    }
    Ok(if counts.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read_batches(mut input: impl BufRead, strip_newline: bool, sender: &mpsc::Sender<Read1>) {
    let mut batch = Batch::default();
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        match (&mut input).take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => {
                let _ = sender.blocking_send(Read1::Failed(error));
                return;
            }
        }
        if strip_newline && line.last() == Some(&b'\n') {
            line.pop();
        }
        if line.len() > limits::RECORD_BYTES_MAX {
            if line.last() != Some(&b'\n') && input.skip_until(b'\n').is_err() {
                return;
            }
            if sender.blocking_send(Read1::TooLarge { line: number }).is_err() {
                return;
            }
            continue;
        }
        if !batch.has_room_for(line.len())
            && sender.blocking_send(Read1::Batch(std::mem::take(&mut batch))).is_err()
        {
            return;
        }
        batch.push(&line);
    }
    if !batch.is_empty() {
        let _ = sender.blocking_send(Read1::Batch(batch));
    }
}

async fn send_all(
    client: &Client,
    stream: &str,
    mut batches: mpsc::Receiver<Read1>,
    length: Option<u64>,
) -> Result<Counts> {
    let progress = progress_bar(length)?;
    let mut counts = Counts::default();
    let mut calls = JoinSet::new();
    while let Some(read) = batches.recv().await {
        match read {
            Read1::Failed(error) => return Err(error).context("read the input"),
            Read1::TooLarge { line } => {
                counts.failed += 1;
                progress
                    .suspend(|| tracing::error!(line, "longer than a record may be (1,000 KiB): not put"));
            }
            Read1::Batch(batch) => {
                if calls.len() == CALLS_MAX {
                    count(&mut counts, calls.join_next().await, &progress);
                }
                let (client, stream) = (client.clone(), stream.to_owned());
                calls.spawn(async move {
                    let (records, bytes) = (batch.len(), batch.bytes());
                    (records, bytes, batch.put(&client, &stream).await)
                });
            }
        }
    }
    while let Some(call) = calls.join_next().await {
        count(&mut counts, Some(call), &progress);
    }
    progress.finish_and_clear();
    Ok(counts)
}

type Call = (usize, usize, Result<(), PutError>);

fn count(counts: &mut Counts, call: Option<Result<Call, tokio::task::JoinError>>, progress: &ProgressBar) {
    let Some(Ok((records, bytes, outcome))) = call else { return };
    let failed = outcome.as_ref().err().map_or(0, PutError::records);
    counts.records += (records - failed) as u64;
    counts.bytes += bytes as u64;
    counts.failed += failed as u64;
    progress.inc(bytes as u64);
    if let Err(error) = outcome {
        progress.suspend(|| tracing::error!("{}", crate::app::format_chain(&error)));
    }
}

/// Hidden by itself where stderr is no terminal.
fn progress_bar(length: Option<u64>) -> Result<ProgressBar> {
    let (bar, template) = match length {
        Some(length) => (ProgressBar::new(length), "{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}"),
        None => (ProgressBar::new_spinner(), "{spinner} {bytes} {bytes_per_sec}"),
    };
    Ok(bar.with_style(ProgressStyle::with_template(template)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8], strip_newline: bool) -> (Vec<usize>, Vec<u64>) {
        let (sender, mut receiver) = mpsc::channel(100);
        read_batches(text, strip_newline, &sender);
        drop(sender);
        let (mut batches, mut too_large) = (Vec::new(), Vec::new());
        while let Ok(read) = receiver.try_recv() {
            match read {
                Read1::Batch(batch) => batches.push(batch.len()),
                Read1::TooLarge { line } => too_large.push(line),
                Read1::Failed(error) => panic!("{error}"),
            }
        }
        (batches, too_large)
    }

    #[test]
    fn lines_are_cut_into_calls_of_500() {
        assert_eq!(read("x\n".repeat(1_201).as_bytes(), false), (vec![500, 500, 201], vec![]));
        assert_eq!(read(b"last without newline", true), (vec![1], vec![]));
        assert_eq!(read(b"", false), (vec![], vec![]));
    }

    #[test]
    fn a_line_that_is_no_record_is_named_and_the_others_are_put() {
        let text = format!("a\n{}\nb\n", "x".repeat(3_000_000));
        assert_eq!(read(text.as_bytes(), false), (vec![2], vec![2]));
    }
}
