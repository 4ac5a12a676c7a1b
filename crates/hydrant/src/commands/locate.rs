//! `hydrant where`: the way of one record.

use std::{io::Write, process::ExitCode};

use anyhow::{Context, Result};
use hydrant_metastore::{Attempt, Metastore, Subject};
use hydrant_types::{Batch, BatchState, ByteSize, Content, Lane, Load, LoadState, RecordId, Timestamp};
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

/// Prints where the record is: every batch that holds it, and where it is not in one of the delivery, why. Fails (exit 1) for a RecordId that
/// this metastore's logs never gave.
///
/// # Errors
/// The metastore does not answer, or the id is not one.
pub async fn run(args: Args, as_json: bool, out: &mut dyn Write) -> Result<ExitCode> {
    let id: RecordId = args.record_id.parse().with_context(|| format!("{:?}", args.record_id))?;
    let metastore = args.state.open().await?;
    let mut found = Vec::new();
    for batch in metastore.batches_at(id.log, id.stream, id.position).await? {
        let loads = metastore.loads_of_batch(batch.id).await?;
        let attempts = metastore.attempts(Subject::Batch(batch.id)).await?;
        found.push(Found { batch, loads, attempts });
    }
    let is_delivery = |found: &Found| found.batch.content == Content::Delivery;
    let missing = match found.iter().any(is_delivery) {
        true => None,
        false => Some(without_batch(metastore.as_ref(), id).await?),
    };
    if as_json {
        let answer = answer(metastore.as_ref(), id, &found, missing.as_ref()).await?;
        writeln!(out, "{}", serde_json::to_string_pretty(&answer)?)?;
    } else {
        show(id, &found, missing.as_ref(), out)?;
    }
    Ok(missing.map_or(ExitCode::SUCCESS, |missing| missing.code))
}

/// A batch that holds the record, or may.
struct Found {
    batch: Batch,
    loads: Vec<Load>,
    attempts: Vec<(Attempt, u64)>,
}

/// Why the record is in no batch of the delivery.
struct Missing {
    state: &'static str,
    text: String,
    code: ExitCode,
}

async fn answer(
    metastore: &dyn Metastore,
    id: RecordId,
    found: &[Found],
    missing: Option<&Missing>,
) -> Result<Value> {
    let mut batches = Vec::new();
    for Found { batch, loads, attempts } in found {
        batches.push(json!({
            "batch": batch,
            "attempts": attempts_json(attempts),
            "loads": loads_json(metastore, loads).await?,
        }));
    }
    let record = json!({"log": id.log, "stream": id.stream, "position": id.position});
    let mut answer = json!({"record": record, "batches": batches});
    if let Some(missing) = missing {
        answer["state"] = missing.state.into();
        answer["explanation"] = missing.text.as_str().into();
    }
    Ok(answer)
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

/// Still in the log, or fallen out of retention, or never ours.
async fn without_batch(metastore: &dyn Metastore, id: RecordId) -> Result<Missing> {
    let logs = metastore.logs().await?;
    let log = logs.iter().find(|log| log.id == id.log);
    let sealed = metastore.sealed_to(id.log).await?;
    let sealed = sealed.iter().find(|to| (to.stream, to.lane) == (id.stream, Lane::Delivery));
    let (state, text, code) = match (log, sealed.map(|to| to.sealed)) {
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
    Ok(Missing { state, text, code })
}

fn show(
    id: RecordId,
    found: &[Found],
    missing: Option<&Missing>,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    match (found.first(), missing) {
        (_, Some(missing)) => {
            writeln!(out, "record {} of stream {}: {}", id.position, id.stream, missing.text)?
        }
        (Some(Found { batch, .. }), None) => writeln!(
            out,
            "record {} of stream {} (version {})",
            id.position, batch.stream_name, batch.stream_version
        )?,
        (None, None) => {}
    }
    found.iter().try_for_each(|found| show_found(found, out))
}

fn show_found(found: &Found, out: &mut dyn Write) -> std::io::Result<()> {
    let Found { batch, loads, attempts } = found;
    writeln!(out, "  {}", holds(batch))?;
    writeln!(out, "  sealed     {}", batch.sealed_at)?;
    match batch.state {
        BatchState::Empty => writeln!(out, "  object     none")?,
        _ => writeln!(out, "  object     s3://{}/{}", batch.bucket, batch.key)?,
    }
    writeln!(out, "  state      {}", batch_state(batch))?;
    for load in loads {
        show_load(load, out)?;
    }
    if let (BatchState::Sealed, Some((last, times))) = (&batch.state, attempts.last()) {
        let message = last.message.as_deref().unwrap_or("-");
        writeln!(out, "  last try   {} ({times} so far): {message}", last.outcome)?;
    }
    Ok(())
}

/// What a batch holds of its range.
fn holds(batch: &Batch) -> String {
    let (id, records, size) = (batch.id, batch.range.records(), ByteSize(batch.bytes));
    match batch.content {
        Content::Delivery => format!("batch      {id} of {records} records, {size}"),
        Content::Backup => format!("backup     {id} of {records} records, {size}"),
        Content::Failed { error, records: failed } => format!(
            "failed     {id}: error output ({}) of {failed} of the batch's {records} records; this record may be among them",
            error.as_str()
        ),
    }
}

/// A batch's state in words, and since when.
pub fn batch_state(batch: &Batch) -> String {
    let since = batch.updated_at;
    match &batch.state {
        BatchState::Parked { reason, .. } => format!("parked: {reason} since {since}"),
        BatchState::Lost => {
            format!("lost: its record log was given up before the object was uploaded since {since}")
        }
        BatchState::Empty => format!("empty: processing left nothing of it to be delivered, since {since}"),
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

#[cfg(test)]
mod tests {
    use hydrant_types::{
        BatchId, ErrorOutputType, LogId, Position, PositionRange, StoredObject, StreamId, StreamVersion,
    };

    use super::*;

    fn found(content: Content, state: BatchState) -> Found {
        let batch = Batch {
            id: BatchId(uuid::Uuid::nil()),
            stream: StreamId(1),
            stream_name: "clicks".parse().unwrap(),
            stream_version: StreamVersion(2),
            log: LogId(uuid::Uuid::nil()),
            range: PositionRange::new(Position(0), Position(10)).unwrap(),
            content,
            bytes: 2048,
            processed_bytes: 2048,
            oldest_arrival: Timestamp(0),
            bucket: "demo".parse().unwrap(),
            key: "k".parse().unwrap(),
            copy_target: None,
            state,
            sealed_at: Timestamp(0),
            updated_at: Timestamp(0),
        };
        Found { batch, loads: Vec::new(), attempts: Vec::new() }
    }

    #[test]
    fn every_batch_that_may_hold_a_record_is_shown_with_what_it_holds() {
        let delivered = || BatchState::Delivered { object: StoredObject { etag: "e".to_owned(), bytes: 1 } };
        let failed = Content::Failed { error: ErrorOutputType::DecompressionFailed, records: 3 };
        let all = [
            found(Content::Delivery, BatchState::Empty),
            found(Content::Backup, delivered()),
            found(failed, delivered()),
        ];
        let id = RecordId { log: LogId(uuid::Uuid::nil()), stream: StreamId(1), position: Position(4) };
        let mut text = Vec::new();
        show(id, &all, None, &mut text).unwrap();
        let (nil, zero) = (uuid::Uuid::nil(), Timestamp(0));
        let expected = format!(
            "record 4 of stream clicks (version 2)\n\
             \x20 batch      {nil} of 10 records, {size}\n  sealed     {zero}\n  object     none\n\
             \x20 state      empty: processing left nothing of it to be delivered, since {zero}\n\
             \x20 backup     {nil} of 10 records, {size}\n  sealed     {zero}\n  object     s3://demo/k\n\
             \x20 state      delivered since {zero}\n\
             \x20 failed     {nil}: error output (decompression-failed) of 3 of the batch's 10 records; this record may be among them\n\
             \x20 sealed     {zero}\n  object     s3://demo/k\n  state      delivered since {zero}\n",
            size = ByteSize(2048),
        );
        assert_eq!(String::from_utf8(text).unwrap(), expected);
        let missing =
            Missing { state: "in_log", text: "not yet in a batch".to_owned(), code: ExitCode::SUCCESS };
        let mut text = Vec::new();
        show(id, &all[1..2], Some(&missing), &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.starts_with("record 4 of stream 1: not yet in a batch\n  backup     "), "{text}");
    }
}
