//! `hydrant delivery`: what is under way, what failed and why.

use std::{io::Write, process::ExitCode};

use anyhow::{Result, bail};
use hydrant_metastore::{Attempt, Filter, Metastore, Subject};
use hydrant_types::{Batch, BatchId, BatchState, ByteSize, Content, Load, LoadId, StreamName};
use serde_json::{Value, json};

use super::{
    locate::{batch_state, discarded, load_state},
    state, table,
};
use crate::demo::thousands;

/// Show what is under way, what failed and why.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List batches and loads, newest first.
    List(ListArgs),
    /// Show one batch or load with every attempt.
    Show(ShowArgs),
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Of this stream only.
    #[arg(long)]
    stream: Option<StreamName>,
    /// In this state only: sealed, uploaded, delivered, in_load, loaded, parked, empty, lost, discarded; planned, submitted, committed, abandoned.
    #[arg(long)]
    state: Option<String>,
    /// At most this many batches and this many loads.
    #[arg(long, default_value_t = 50)]
    limit: u32,
    #[command(flatten)]
    metastore: state::Args,
}

#[derive(Debug, clap::Args)]
struct ShowArgs {
    /// A batch's or a load's id; a batch's is at the end of its object's key.
    id: String,
    #[command(flatten)]
    metastore: state::Args,
}

const BATCH_STATES: [&str; 9] =
    ["sealed", "uploaded", "delivered", "in_load", "loaded", "parked", "empty", "lost", "discarded"];
const LOAD_STATES: [&str; 4] = ["planned", "submitted", "committed", "abandoned"];

/// Runs the subcommand.
///
/// # Errors
/// The metastore does not answer, or there is no such delivery.
pub async fn run(args: Args, as_json: bool, out: &mut dyn Write) -> Result<ExitCode> {
    match args.command {
        Command::List(args) => list(args, as_json, out).await,
        Command::Show(args) => show(args, as_json, out).await,
    }
}

async fn list(args: ListArgs, as_json: bool, out: &mut dyn Write) -> Result<ExitCode> {
    let wanted = |states: &[&str]| args.state.as_deref().is_none_or(|state| states.contains(&state));
    if !wanted(&BATCH_STATES) && !wanted(&LOAD_STATES) {
        bail!(
            "--state {}: expected one of {}, {}",
            args.state.unwrap_or_default(),
            BATCH_STATES.join(", "),
            LOAD_STATES.join(", ")
        );
    }
    let metastore = args.metastore.open().await?;
    let filter = Filter { stream: args.stream.clone(), state: args.state.clone(), limit: args.limit };
    let batches = if wanted(&BATCH_STATES) { metastore.batches(&filter).await? } else { Vec::new() };
    let loads = if wanted(&LOAD_STATES) { metastore.loads(&filter).await? } else { Vec::new() };
    if as_json {
        let batches = batches_json(metastore.as_ref(), &batches).await?;
        writeln!(out, "{}", serde_json::to_string_pretty(&json!({"batches": batches, "loads": loads}))?)?;
        return Ok(ExitCode::SUCCESS);
    }
    if batches.is_empty() && loads.is_empty() {
        writeln!(out, "no deliveries")?;
    }
    if !batches.is_empty() {
        batch_table(metastore.as_ref(), &batches, out).await?;
    }
    if !loads.is_empty() {
        load_table(metastore.as_ref(), &loads, out).await?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Batches as they are, and `trouble` where the last try of one failed.
async fn batches_json(metastore: &dyn Metastore, batches: &[Batch]) -> Result<Vec<Value>> {
    let mut all = Vec::with_capacity(batches.len());
    for batch in batches {
        let mut listed = serde_json::to_value(batch)?;
        if batch.state == BatchState::Sealed
            && let Some((attempt, times)) = last_failure(metastore, Subject::Batch(batch.id)).await?
        {
            listed["trouble"] = json!({"code": attempt.code, "message": attempt.message, "times": times});
        }
        all.push(listed);
    }
    Ok(all)
}

async fn batch_table(metastore: &dyn Metastore, batches: &[Batch], out: &mut dyn Write) -> Result<()> {
    let mut table =
        table(&["BATCH", "STREAM", "CONTENT", "RECORDS", "SIZE", "STATE", "SINCE", "OBJECT", "TROUBLE"]);
    for batch in batches {
        table.add_row([
            batch.id.to_string(),
            batch.stream_name.to_string(),
            batch.content.name().to_owned(),
            thousands(records(batch)),
            ByteSize(batch.bytes).to_string(),
            batch.state.name().to_owned(),
            batch.updated_at.to_string(),
            object(batch),
            batch_trouble(metastore, batch).await?,
        ]);
    }
    writeln!(out, "{}", table.trim_fmt())?;
    Ok(())
}

/// How many records its object holds, or is to hold, as far as they do not fail.
fn records(batch: &Batch) -> u64 {
    match batch.content {
        Content::Failed { records, .. } => records,
        Content::Delivery | Content::Backup => batch.range.records(),
    }
}

fn object(batch: &Batch) -> String {
    match batch.state {
        BatchState::Empty => "-".to_owned(),
        _ => format!("s3://{}/{}", batch.bucket, batch.key),
    }
}

/// Why a batch does not get on: its last failed try, or why it was parked.
async fn batch_trouble(metastore: &dyn Metastore, batch: &Batch) -> Result<String> {
    match &batch.state {
        BatchState::Parked { reason, .. } => Ok(reason.clone()),
        BatchState::Sealed => Ok(failure(last_failure(metastore, Subject::Batch(batch.id)).await?)),
        BatchState::Discarded { .. } => Ok(discarded(batch).to_owned()),
        _ => Ok(match batch.content {
            Content::Failed { records, .. } => {
                format!("{} of {} records failed", thousands(records), thousands(batch.range.records()))
            }
            Content::Delivery | Content::Backup => String::new(),
        }),
    }
}

async fn last_failure(metastore: &dyn Metastore, subject: Subject) -> Result<Option<(Attempt, u64)>> {
    let attempts = metastore.attempts(subject).await?;
    Ok(attempts.into_iter().rev().find(|(attempt, _)| attempt.outcome != "ok"))
}

/// Nothing where nothing failed.
fn failure(failed: Option<(Attempt, u64)>) -> String {
    let Some((attempt, times)) = failed else { return String::new() };
    let code = attempt.code.as_deref().unwrap_or(attempt.outcome);
    format!("{code} ({times}x): {}", attempt.message.as_deref().unwrap_or("-"))
}

async fn load_table(metastore: &dyn Metastore, loads: &[Load], out: &mut dyn Write) -> Result<()> {
    let mut table = table(&["LOAD", "STREAM", "TABLE", "COPY", "SINCE", "MANIFEST", "TROUBLE"]);
    for load in loads {
        let trouble = match load.state.is_done() {
            true => String::new(),
            false => failure(last_failure(metastore, Subject::Load(load.id)).await?),
        };
        table.add_row([
            load.id.to_string(),
            load.stream_name.to_string(),
            load.target.table.clone(),
            load_state(load),
            load.updated_at.to_string(),
            format!("s3://{}/{}", load.bucket, load.manifest_key),
            trouble,
        ]);
    }
    writeln!(out, "{}", table.trim_fmt())?;
    Ok(())
}

async fn show(args: ShowArgs, as_json: bool, out: &mut dyn Write) -> Result<ExitCode> {
    let metastore = args.metastore.open().await?;
    if let Ok(id) = args.id.parse::<BatchId>()
        && let Some(batch) = metastore.batch(id).await?
    {
        let loads = metastore.loads_of_batch(id).await?;
        let attempts = metastore.attempts(Subject::Batch(id)).await?;
        return print(
            &json!({
                "summary": batch_state(&batch),
                "batch": batch,
                "loads": loads,
                "attempts": attempts_json(&attempts),
            }),
            as_json,
            out,
        );
    }
    if let Ok(id) = args.id.parse::<LoadId>()
        && let Some(load) = metastore.load(id).await?
    {
        let batches = metastore.load_batches(id).await?;
        let attempts = metastore.attempts(Subject::Load(id)).await?;
        return print(
            &json!({"load": load, "batches": batches, "attempts": attempts_json(&attempts)}),
            as_json,
            out,
        );
    }
    bail!("no batch or load has the id {}", args.id);
}

/// Every try of a batch or a load, oldest first.
pub(super) fn attempts_json(attempts: &[(Attempt, u64)]) -> Value {
    attempts
        .iter()
        .map(|(attempt, times)| {
            json!({
                "step": attempt.step,
                "outcome": attempt.outcome,
                "times": times,
                "started_at": attempt.started_at.to_string(),
                "ended_at": attempt.ended_at.to_string(),
                "code": attempt.code,
                "message": attempt.message,
            })
        })
        .collect()
}

fn print(answer: &Value, as_json: bool, out: &mut dyn Write) -> Result<ExitCode> {
    if as_json {
        writeln!(out, "{}", serde_json::to_string_pretty(answer)?)?;
    } else {
        outline(answer, 0, out)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints nested data as indented `name  value` lines; times in UTC, absent members left out.
fn outline(value: &Value, depth: usize, out: &mut dyn Write) -> std::io::Result<()> {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(members) => {
            members.iter().filter(|(_, value)| !value.is_null()).try_for_each(|(name, value)| match value {
                Value::Object(_) | Value::Array(_) => {
                    writeln!(out, "{indent}{name}")?;
                    outline(value, depth + 1, out)
                }
                _ => writeln!(out, "{indent}{name:<16} {}", scalar(name, value)),
            })
        }
        Value::Array(items) => items.iter().enumerate().try_for_each(|(at, item)| {
            writeln!(out, "{indent}[{}]", at + 1)?;
            outline(item, depth + 1, out)
        }),
        other => writeln!(out, "{indent}{}", scalar("", other)),
    }
}

fn scalar(name: &str, value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(n) if matches!(name, "oldest_arrival" | "not_before") || name.ends_with("_at") => {
            n.as_u64().map_or_else(|| n.to_string(), |millis| hydrant_types::Timestamp(millis).to_string())
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outline_shows_times_as_times_and_leaves_out_what_is_absent() {
        let mut text = Vec::new();
        let batch =
            json!({"id": "b", "sealed_at": 1_700_000_000_123_u64, "load": null, "range": {"from": 1}});
        outline(&batch, 0, &mut text).unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "id               b\nrange\n  from             1\nsealed_at        2023-11-14T22:13:20.123Z\n"
        );
    }
}
