//! `hydrant where`: the way of one record.

use std::{io::Write, process::ExitCode};

use anyhow::{Context, Result};
use hydrant_metastore::{Metastore, Subject};
use hydrant_types::{Batch, BatchState, Load, LoadState, RecordId, Timestamp};
use serde_json::{Value, json};

use super::{delivery::attempts_json, state};

/// Show the way of one record: which batch, object and COPY, in which state, since when.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// As PutRecord or PutRecordBatch answered it.
    record_id: String,
    #[command(flatten)]
    state: state::Args,
}

/// Prints where the record is. Fails (exit 1) for a RecordId that this metastore's logs never gave.
///
/// # Errors
/// The metastore does not answer, or the id is not one.
pub async fn run(args: Args, as_json: bool, out: &mut dyn Write) -> Result<ExitCode> {
    let id: RecordId = args.record_id.parse().with_context(|| format!("{:?}", args.record_id))?;
    let metastore = args.state.open().await?;
    let Some(batch) = metastore.batch_at(id.log, id.stream, id.position).await? else {
        return without_batch(metastore.as_ref(), id, as_json, out).await;
    };
    let loads = metastore.loads_of_batch(batch.id).await?;
    let attempts = metastore.attempts(Subject::Batch(batch.id)).await?;
    if as_json {
        let answer = json!({
            "record": record(id),
            "batch": batch,
            "attempts": attempts_json(&attempts),
            "loads": loads_json(metastore.as_ref(), &loads).await?,
        });
        writeln!(out, "{}", serde_json::to_string_pretty(&answer)?)?;
    } else {
        show(id, &batch, &loads, out)?;
        if let (BatchState::Sealed, Some((last, times))) = (&batch.state, attempts.last()) {
            writeln!(
                out,
                "  last try   {} ({times} so far): {}",
                last.outcome,
                last.message.as_deref().unwrap_or("-")
            )?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Loads, each with its attempts.
async fn loads_json(metastore: &dyn Metastore, loads: &[Load]) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    for load in loads {
        let mut one = serde_json::to_value(load)?;
        one["attempts"] = attempts_json(&metastore.attempts(Subject::Load(load.id)).await?);
        all.push(one);
    }
    Ok(all)
}

fn record(id: RecordId) -> Value {
    json!({"log": id.log, "stream": id.stream, "position": id.position})
}

/// Not in a batch: still in the log, or fallen out of retention, or never ours.
async fn without_batch(
    metastore: &dyn Metastore,
    id: RecordId,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<ExitCode> {
    let logs = metastore.logs().await?;
    let log = logs.iter().find(|log| log.id == id.log);
    let sealed = metastore.sealed_to(id.log).await?;
    let sealed = sealed.iter().find(|to| to.stream == id.stream).map(|to| to.sealed);
    let (state, text, code) = match (log, sealed) {
        (None, _) => {
            ("unknown", "its record log is not registered with this metastore".to_owned(), ExitCode::FAILURE)
        }
        (Some(_), Some(sealed)) if id.position < sealed => (
            "forgotten",
            "it was delivered or discarded, and its batch is past metastore.retention".to_owned(),
            ExitCode::SUCCESS,
        ),
        (Some(log), _) if log.retired_at.is_some() => (
            "lost",
            format!("it was in the log of {} alone, which was given up", log.node),
            ExitCode::FAILURE,
        ),
        (Some(log), _) => (
            "in_log",
            format!("acknowledged, on the disk of {}, not yet in a batch", log.node),
            ExitCode::SUCCESS,
        ),
    };
    if as_json {
        let answer = json!({"record": record(id), "state": state, "explanation": text});
        writeln!(out, "{}", serde_json::to_string_pretty(&answer)?)?;
    } else {
        writeln!(out, "record {} of stream {}: {text}", id.position, id.stream)?;
    }
    Ok(code)
}

fn show(id: RecordId, batch: &Batch, loads: &[Load], out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(
        out,
        "record {} of stream {} (version {})",
        id.position, batch.stream_name, batch.stream_version
    )?;
    writeln!(
        out,
        "  batch      {} of {} records, {}",
        batch.id,
        batch.range.records(),
        hydrant_types::ByteSize(batch.bytes)
    )?;
    writeln!(out, "  sealed     {}", batch.sealed_at)?;
    writeln!(out, "  object     s3://{}/{}", batch.bucket, batch.key)?;
    writeln!(out, "  state      {}", batch_state(batch))?;
    for load in loads {
        show_load(load, out)?;
    }
    Ok(())
}

/// A batch's state in words, and since when.
pub fn batch_state(batch: &Batch) -> String {
    let since = batch.updated_at;
    match &batch.state {
        BatchState::Parked { reason, .. } => format!("parked: {reason} since {since}"),
        BatchState::Lost => {
            format!("lost: its record log was given up before the object was uploaded since {since}")
        }
        BatchState::Discarded { .. } => format!("{} at {since}", discarded(batch)),
        state => format!("{} since {since}", state.name()),
    }
}

/// Why a batch was thrown away, and what is left of it.
pub fn discarded(batch: &Batch) -> &'static str {
    match batch.state.object() {
        None => "discarded: its stream was deleted with --discard before the upload was known to be done",
        Some(_) => {
            "discarded: its stream was deleted with --discard before a load took it; the object is still there"
        }
    }
}

fn show_load(load: &Load, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "  load       {} into {}", load.id, load.target.table)?;
    writeln!(out, "  manifest   s3://{}/{}", load.bucket, load.manifest_key)?;
    writeln!(out, "  COPY       {} since {}", load_state(load), load.updated_at)
}

/// A load's state in words, with what is to be known about it.
pub fn load_state(load: &Load) -> String {
    match &load.state {
        LoadState::Planned { attempt, not_before, .. } if *not_before > Timestamp(0) && *attempt > 1 => {
            format!("planned: attempt {attempt} not before {not_before}")
        }
        LoadState::Planned { attempt, .. } => format!("planned: attempt {attempt}"),
        LoadState::Submitted { attempt, statement, .. } => {
            format!("submitted: attempt {attempt}, statement {statement}")
        }
        LoadState::Committed { rows: Some(rows), .. } => format!("committed: {rows} rows"),
        LoadState::Committed { rows: None, .. } => "committed".to_owned(),
        LoadState::Abandoned { code, reason, .. } => format!("abandoned: {code}: {reason}"),
    }
}
