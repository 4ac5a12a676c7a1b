//! `hydrant put`: newline-delimited records from a file or standard input.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, Result, anyhow};
use hydrant_client::{
    Client,
    batcher::{Batch, PutError},
};
use hydrant_types::{ByteSize, limits};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::{
    sync::mpsc,
    task::{Id, JoinError, JoinSet},
};

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
    /// Leave out the newline at the end of each record. Without this flag a record keeps its newline, so that an object in S3 has one
    /// record a line; with it, records follow one another directly.
    #[arg(long)]
    strip_newline: bool,
    #[command(flatten)]
    endpoint: endpoint::Args,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    /// Acknowledged.
    records: u64,
    /// Of the acknowledged records.
    bytes: u64,
    failed: u64,
}

/// What the reading thread gives.
enum Input {
    Batch(Batch),
    TooLarge {
        line: u64,
    },
    /// The last: everything that was read before it has been given.
    Failed(io::Error),
}

/// Puts every line, and fails (exit 1) when one was not acknowledged.
///
/// # Errors
/// The input cannot be read; what was read before is put and counted nevertheless.
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
    let reader = std::thread::spawn(move || read_batches(BufReader::new(input), strip_newline, &sender));
    let (counts, input_failed) = send_all(&client, &args.stream, receiver, length).await?;
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
    if let Some(error) = input_failed {
        return Err(error).context("read the input");
    }
    // It has hung up, so it is about to end; a panic must not look like the end of the input.
    reader.join().map_err(|_| anyhow!("the reading thread panicked"))?;
    Ok(if counts.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Gives everything in `input`, at last what ended it before its end. A receiver that has hung up ends it too.
fn read_batches(input: impl BufRead, strip_newline: bool, sender: &mpsc::Sender<Input>) {
    let mut batch = Batch::default();
    let read = fill_batches(input, strip_newline, &mut batch, sender);
    if !batch.is_empty() && sender.blocking_send(Input::Batch(batch)).is_err() {
        return;
    }
    if let Err(error) = read {
        let _ = sender.blocking_send(Input::Failed(error));
    }
}

/// Leaves in `batch` what was read last.
fn fill_batches(
    mut input: impl BufRead,
    strip_newline: bool,
    batch: &mut Batch,
    sender: &mpsc::Sender<Input>,
) -> io::Result<()> {
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        if (&mut input).take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let is_whole = line.last() == Some(&b'\n');
        if strip_newline && is_whole {
            line.pop();
        }
        if line.len() > limits::RECORD_BYTES_MAX {
            if sender.blocking_send(Input::TooLarge { line: number }).is_err() {
                break;
            }
            if !is_whole {
                input.skip_until(b'\n')?;
            }
            continue;
        }
        if !batch.has_room_for(line.len())
            && sender.blocking_send(Input::Batch(std::mem::take(batch))).is_err()
        {
            break;
        }
        batch.push(&line);
    }
    Ok(())
}

/// Puts what comes; gives what came of it, and why the input ended before its end.
async fn send_all(
    client: &Client,
    stream: &str,
    mut input: mpsc::Receiver<Input>,
    length: Option<u64>,
) -> Result<(Counts, Option<io::Error>)> {
    let mut calls = Calls::new(progress_bar(length)?);
    let mut input_failed = None;
    while let Some(read) = input.recv().await {
        match read {
            Input::Failed(error) => input_failed = Some(error),
            Input::TooLarge { line } => {
                calls.counts.failed += 1;
                calls
                    .progress
                    .suspend(|| tracing::error!(line, "longer than a record may be (1,000 KiB): not put"));
            }
            Input::Batch(batch) => {
                if calls.under_way.len() == CALLS_MAX {
                    calls.join_one().await;
                }
                let (client, stream) = (client.clone(), stream.to_owned());
                calls.spawn(Size::of(&batch), async move { batch.put(&client, &stream).await });
            }
        }
    }
    while !calls.under_way.is_empty() {
        calls.join_one().await;
    }
    calls.progress.finish_and_clear();
    Ok((calls.counts, input_failed))
}

/// How much one call holds.
#[derive(Clone, Copy)]
struct Size {
    records: u64,
    bytes: u64,
}

impl Size {
    fn of(batch: &Batch) -> Self {
        Self { records: batch.len() as u64, bytes: batch.bytes() as u64 }
    }
}

/// The calls under way, and what came of the others.
struct Calls {
    under_way: JoinSet<Result<(), PutError>>,
    /// Of each call under way: a task that panicked cannot say it itself.
    sizes: HashMap<Id, Size>,
    counts: Counts,
    progress: ProgressBar,
}

impl Calls {
    fn new(progress: ProgressBar) -> Self {
        Self { under_way: JoinSet::new(), sizes: HashMap::new(), counts: Counts::default(), progress }
    }

    fn spawn(&mut self, size: Size, put: impl Future<Output = Result<(), PutError>> + Send + 'static) {
        let id = self.under_way.spawn(put).id();
        self.sizes.insert(id, size);
    }

    async fn join_one(&mut self) {
        let Some(ended) = self.under_way.join_next_with_id().await else { return };
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let size = self.sizes.remove(&id).expect("every call's size is noted when it is spawned");
        match ended {
            Ok((_, Ok(()))) => self.count(size, 0),
            Ok((_, Err(error))) => {
                self.count(size, error.records() as u64);
                self.complain(&error);
            }
            Err(panic) => {
                self.count(size, size.records);
                self.complain(&panic);
            }
        }
        self.progress.inc(size.bytes);
    }

    fn count(&mut self, size: Size, failed: u64) {
        let acknowledged = size.records - failed;
        self.counts.records += acknowledged;
        self.counts.failed += failed;
        // Which records of a call failed is not known here: each is taken to be of the call's mean size.
        self.counts.bytes += size.bytes * acknowledged / size.records;
    }

    fn complain(&self, error: &dyn std::error::Error) {
        self.progress.suspend(|| tracing::error!("{}", crate::app::format_chain(error)));
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

    /// Everything that was given: sizes of the batches, numbers of the lines that are too large, what failed.
    #[derive(Debug, Default, PartialEq)]
    struct Given {
        batches: Vec<usize>,
        too_large: Vec<u64>,
        failed: Option<io::ErrorKind>,
    }

    fn read(input: impl BufRead, strip_newline: bool) -> Given {
        let (sender, mut receiver) = mpsc::channel(100);
        read_batches(input, strip_newline, &sender);
        drop(sender);
        let mut given = Given::default();
        while let Ok(input) = receiver.try_recv() {
            assert_eq!(given.failed, None, "a failure is the last");
            match input {
                Input::Batch(batch) => given.batches.push(batch.len()),
                Input::TooLarge { line } => given.too_large.push(line),
                Input::Failed(error) => given.failed = Some(error.kind()),
            }
        }
        given
    }

    /// Gives `text`, then fails.
    fn then_fails(text: String) -> impl BufRead {
        struct Fails;
        impl Read for Fails {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::ConnectionReset.into())
            }
        }
        BufReader::new(io::Cursor::new(text).chain(Fails))
    }

    #[test]
    fn lines_are_cut_into_calls_of_500() {
        let batches = |text: &str, strip| read(text.as_bytes(), strip);
        let of = |batches: &[usize]| Given { batches: batches.to_vec(), ..Given::default() };
        assert_eq!(batches(&"x\n".repeat(1_201), false), of(&[500, 500, 201]));
        assert_eq!(batches("last without newline", true), of(&[1]));
        assert_eq!(batches("", false), of(&[]));
    }

    #[test]
    fn a_line_that_is_no_record_is_named_and_the_others_are_put() {
        let max = limits::RECORD_BYTES_MAX;
        // With one byte too many, with the newline beyond what is read at once, and far too long.
        for (bytes, strip_newline) in [
            (max, false),
            (max + 1, false),
            (max + 1, true),
            (max + 2, true),
            (3_000_000, false),
            (3_000_000, true),
        ] {
            let text = format!("a\n{}\nb\n", "x".repeat(bytes));
            let given = read(text.as_bytes(), strip_newline);
            let expected = Given { batches: vec![2], too_large: vec![2], failed: None };
            assert_eq!(given, expected, "{bytes} bytes, strip_newline {strip_newline}");
        }
    }

    #[test]
    fn the_largest_record_is_put() {
        let max = limits::RECORD_BYTES_MAX;
        for (bytes, strip_newline) in [(max - 1, false), (max, true)] {
            let text = format!("{}\nb\n", "x".repeat(bytes));
            let expected = Given { batches: vec![2], ..Given::default() };
            assert_eq!(read(text.as_bytes(), strip_newline), expected, "{bytes} {strip_newline}");
        }
    }

    #[test]
    fn what_was_read_before_the_input_failed_is_given_and_then_the_failure() {
        let failed = Some(io::ErrorKind::ConnectionReset);
        let given = read(then_fails("x\n".repeat(3)), false);
        assert_eq!(given, Given { batches: vec![3], too_large: vec![], failed });
        // In the middle of a line that is too long.
        let given = read(then_fails(format!("x\n{}", "y".repeat(2_000_000))), false);
        assert_eq!(given, Given { batches: vec![1], too_large: vec![2], failed });
    }

    #[tokio::test]
    async fn only_what_was_acknowledged_counts_as_put() {
        let mut calls = Calls::new(ProgressBar::hidden());
        let size = Size { records: 4, bytes: 400 };
        calls.spawn(size, async { Ok(()) });
        calls.spawn(size, async {
            let source = hydrant_client::CallError::Credentials("none".to_owned());
            Err(PutError::Call { records: 4, source })
        });
        calls.spawn(size, async {
            Err(PutError::Entries { records: 1, code: "C".to_owned(), message: "m".to_owned() })
        });
        calls.spawn(size, async { panic!("a call that panics on purpose") });
        for _ in 0..4 {
            calls.join_one().await;
        }
        assert!(calls.under_way.is_empty() && calls.sizes.is_empty());
        assert_eq!(calls.counts, Counts { records: 7, bytes: 700, failed: 9 });
    }

    #[tokio::test]
    async fn records_read_before_the_input_failed_are_put_and_counted() {
        let (sender, receiver) = mpsc::channel(2);
        let mut batch = Batch::default();
        batch.push(b"x");
        sender.send(Input::Batch(batch)).await.unwrap();
        sender.send(Input::Failed(io::ErrorKind::ConnectionReset.into())).await.unwrap();
        drop(sender);
        let client = Client::unsigned("not a URL");
        let (counts, failed) = send_all(&client, "s", receiver, None).await.unwrap();
        assert_eq!(counts, Counts { records: 0, bytes: 0, failed: 1 });
        assert_eq!(failed.unwrap().kind(), io::ErrorKind::ConnectionReset);
    }
}
