//! `hydrant log reconcile`: record log and metastore disagree, and a person says which is the odd one (ADR 2).
//!
//! The service's own comparison says what the disagreement is; each answer removes one, and the comparison is made again until there is none.
//! Every step may be repeated: a run that was interrupted is run again.

use std::{
    collections::{BTreeSet, HashMap},
    io::Write,
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use hydrant_delivery::{AttachError, ObjectStore, PutOptions, S3Objects};
use hydrant_ingest::stream_table::{Error::StreamsMissing, StreamTable};
use hydrant_log::{FileLog, RecordLog, StreamTail};
use hydrant_metastore::{Metastore, Uploaded};
use hydrant_types::{
    Batch, Clock, Content, Entropy, Lane, LogId, Position, StreamId, SystemClock, SystemEntropy,
};
use serde_json::json;

use super::super::state;
use crate::{
    app::{self, Aws},
    aws,
    config::Config,
};

/// Each answer removes one disagreement; there are four kinds.
const ROUNDS_MAX: usize = 8;
/// For the steps under the record log's lease.
const LEASE_TTL: std::time::Duration = std::time::Duration::from_secs(60);

/// Say which of record log and metastore is the odd one, when the service refuses to start.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("answer").required(true)))]
pub struct Args {
    /// The record log is the odd one: it was restored from a copy, wiped or replaced. What only the old one held is given up.
    #[arg(long, group = "answer")]
    new_log: bool,
    /// The metastore is the odd one: it was restored from a backup, wiped or replaced. What the log still holds and the metastore
    /// does not know of is delivered again.
    #[arg(long, group = "answer")]
    new_metastore: bool,
    #[command(flatten)]
    service: state::Args,
}

/// Settles what the service's own comparison finds, and says what was done.
///
/// # Errors
/// The other answer is asked for, or log or metastore cannot be read or written.
pub async fn run(args: Args, as_json: bool, out: &mut dyn Write) -> Result<ExitCode> {
    let config = args.service.load()?;
    let metastore =
        hydrant_metastore::open(config.metastore.url.reveal(), false).await.context("open the metastore")?;
    let mut settlement = Settlement {
        node: app::node_name(&config.log.dir),
        config,
        metastore,
        clock: Arc::new(SystemClock::new()),
        entropy: Arc::new(SystemEntropy),
        done: Vec::new(),
    };
    for _ in 0..ROUNDS_MAX {
        match settlement.compare().await? {
            None => return report(&settlement.done, as_json, out),
            Some(Disagreement::LogOlder(log, _)) if args.new_log => settlement.new_identity(log).await?,
            Some(Disagreement::LogReplaced(old, _)) if args.new_log => settlement.retire(old).await?,
            Some(Disagreement::Metastore(_)) if args.new_metastore => settlement.teach_metastore().await?,
            Some(other) => return Err(settlement.not_settled(other)),
        }
    }
    bail!("record log and metastore still disagree after {ROUNDS_MAX} steps: {}", settlement.done.join("; "))
}

/// What the service would refuse to start for, by which answer settles it.
enum Disagreement {
    /// The log that is there was restored from a copy.
    LogOlder(LogId, anyhow::Error),
    /// The log that is registered is not the one that is there.
    LogReplaced(LogId, anyhow::Error),
    /// The metastore was wiped, replaced or restored.
    Metastore(anyhow::Error),
}

impl Disagreement {
    /// `None` for what no answer settles.
    fn of(error: AttachError) -> Result<Self> {
        match &error {
            AttachError::LogOlder { log, .. } => Ok(Self::LogOlder(*log, error.into())),
            AttachError::OtherLog { registered, .. } => Ok(Self::LogReplaced(*registered, error.into())),
            AttachError::MetastoreOlder { .. } | AttachError::OtherMetastore { .. } => {
                Ok(Self::Metastore(error.into()))
            }
            _ => Err(error.into()),
        }
    }

    fn into_error(self) -> anyhow::Error {
        match self {
            Self::LogOlder(_, error) | Self::LogReplaced(_, error) | Self::Metastore(error) => error,
        }
    }
}

fn report(done: &[String], as_json: bool, out: &mut dyn Write) -> Result<ExitCode> {
    match (as_json, done.is_empty()) {
        (true, _) => writeln!(out, "{}", json!({"done": done}))?,
        (false, true) => writeln!(out, "record log and metastore agree: nothing to settle")?,
        (false, false) => {
            for line in done {
                writeln!(out, "{line}")?;
            }
            writeln!(out, "record log and metastore agree now: start the service")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

struct Settlement {
    config: Config,
    node: String,
    metastore: Arc<dyn Metastore>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    /// What was done, in words.
    done: Vec<String>,
}

impl Settlement {
    /// What the service would find at its start; `None` when it would start.
    async fn compare(&self) -> Result<Option<Disagreement>> {
        let log = self.open_log().await?;
        let outcome = hydrant_delivery::attach(&log, &self.metastore, &self.node, &self.clock).await;
        close(log).await?;
        match outcome {
            Ok(attached) => {
                attached.release(&self.metastore).await.context("give the record log's lease back")?
            }
            Err(error) => return Disagreement::of(error).map(Some),
        }
        match StreamTable::load(self.metastore.clone(), &self.config.log.dir).await {
            Ok(_) => Ok(None),
            Err(error @ StreamsMissing { .. }) => Ok(Some(Disagreement::Metastore(error.into()))),
            Err(error) => Err(error.into()),
        }
    }

    fn not_settled(&self, other: Disagreement) -> anyhow::Error {
        let so_far = match self.done.is_empty() {
            true => String::new(),
            false => format!(" (done so far: {})", self.done.join("; ")),
        };
        other.into_error().context(format!("this answer does not settle it{so_far}"))
    }

    async fn open_log(&self) -> Result<Arc<FileLog>> {
        app::open_log(&self.config, self.clock.clone(), self.entropy.clone(), prometheus::Registry::new())
            .await
    }

    /// The log was restored from a copy: a new identity, so that a position that was given out twice never names two records. It goes on behind
    /// what was uploaded.
    async fn new_identity(&mut self, old: LogId) -> Result<()> {
        let log = self.open_log().await?;
        let tails = log.streams();
        close(log).await?;
        let known = self.metastore.sealed_to(old).await?;
        let uploaded = known.into_iter().map(|to| ((to.stream, to.lane), to.uploaded)).collect();
        let positions = go_on(&tails, &uploaded, &self.backed_up().await?);
        let (dir, entropy) = (self.config.log.dir.clone(), self.entropy.clone());
        let new = tokio::task::spawn_blocking(move || FileLog::reidentify(&dir, entropy.as_ref())).await??;
        self.metastore.register_log(new, &self.node, self.clock.now()).await?;
        self.metastore.set_sealed_to(new, &positions).await?;
        self.reset_sealed(&positions).await?;
        self.metastore.retire_log(old, self.clock.now()).await?;
        let left = |lane| behind(&tails, &positions, lane, |tail| tail.next);
        self.done.push(format!(
            "record log {old} goes on as {new}; {} records in it are still to be delivered{}",
            left(Lane::Delivery),
            and_backed_up(left(Lane::Backup), "to be backed up")
        ));
        Ok(())
    }

    /// The log that was registered is gone for good.
    async fn retire(&mut self, log: LogId) -> Result<()> {
        let lost = self.metastore.sealed_batches(log).await?;
        let backups = lost.iter().filter(|batch| batch.content == Content::Backup).count();
        let delivery = lost.iter().filter(|batch| batch.content == Content::Delivery);
        let records: u64 = delivery.map(|batch| batch.range.records()).sum();
        self.metastore.retire_log(log, self.clock.now()).await?;
        self.done.push(format!(
            "record log {log} is given up: {} batches with {records} records{} were sealed and not uploaded, and are listed as lost; \
             what was acknowledged and not sealed is lost too",
            lost.len() - backups,
            and_backed_up(backups as u64, "batches of backups")
        ));
        Ok(())
    }

    /// The metastore was wiped or restored: it learns streams and positions from the log. Delivery goes on from the greatest position that both call
    /// sealed, or the oldest that the log still has.
    async fn teach_metastore(&mut self) -> Result<()> {
        let imported = self.import_streams().await?;
        let log = self.open_log().await?;
        let (log_id, tails) = (log.log_id(), log.streams());
        close(log).await?;
        let known = self.metastore.sealed_to(log_id).await?;
        let sealed = known.into_iter().map(|to| ((to.stream, to.lane), to.sealed)).collect();
        let positions = go_on(&tails, &sealed, &self.backed_up().await?);
        self.metastore.register_log(log_id, &self.node, self.clock.now()).await?;
        let found =
            self.find_uploaded(log_id, &tails.iter().map(|(id, tail)| (*id, tail.trimmed)).collect()).await?;
        self.metastore.set_sealed_to(log_id, &positions).await?;
        self.reset_sealed(&positions).await?;
        self.bind().await?;
        let again = |lane| behind(&tails, &positions, lane, |tail| tail.sealed);
        let Found { batches, empty } = found;
        let empty = match empty {
            0 => String::new(),
            empty => format!(" and {empty} were not, as is so where processing left nothing of them"),
        };
        self.done.push(format!(
            "the metastore has learnt {imported} streams and the positions of record log {log_id}; {batches} of its batches were found in S3{empty}; \
             {} records that were sealed before are delivered again{}, some perhaps twice. What was in S3 and not yet loaded into Redshift \
             when the old metastore was lost is not known to this one: look for objects without a row and COPY them by hand",
            again(Lane::Delivery),
            and_backed_up(again(Lane::Backup), "backed up again")
        ));
        Ok(())
    }

    /// Puts streams back from the copy beside the log.
    async fn import_streams(&self) -> Result<usize> {
        let copy =
            StreamTable::read_copy(&self.config.log.dir.join(StreamTable::COPY_NAME))?.unwrap_or_default();
        let there = self.metastore.streams().await?;
        let mut imported = 0;
        for stream in copy {
            if there.iter().any(|known| known.id == stream.id && known.name == stream.name) {
                continue;
            }
            if let Some(other) = there.iter().find(|known| known.id == stream.id || known.name == stream.name)
            {
                bail!(
                    "stream {} (id {}) of the record log cannot be put back: this metastore has stream {} (id {}) already. Use an empty \
                     metastore, or the right one",
                    stream.name,
                    stream.id,
                    other.name,
                    other.id
                );
            }
            self.metastore
                .import_stream(&stream)
                .await
                .with_context(|| format!("put stream {} back", stream.name))?;
            imported += 1;
        }
        Ok(imported)
    }

    /// The streams whose records go to a backup too.
    async fn backed_up(&self) -> Result<BTreeSet<StreamId>> {
        let streams = self.metastore.streams().await?;
        let backed_up = streams.iter().filter(|stream| stream.destination.lane(Lane::Backup).is_some());
        Ok(backed_up.map(|stream| stream.id).collect())
    }

    /// A restored metastore may call batches sealed that were uploaded, and whose records the log has trimmed since: their objects say so.
    /// Where there is none, processing may have left nothing of the batch. (Error output that was beside it stays without a row.)
    async fn find_uploaded(&self, log: LogId, trimmed: &HashMap<StreamId, Position>) -> Result<Found> {
        let sealed = self.metastore.sealed_batches(log).await?;
        let gone: Vec<_> = sealed
            .into_iter()
            .filter(|batch| trimmed.get(&batch.stream).is_some_and(|trimmed| batch.range.from < *trimmed))
            .collect();
        if gone.is_empty() {
            return Ok(Found { batches: 0, empty: 0 });
        }
        let aws = Aws::from_chain(&self.config).await;
        let objects = S3Objects::new(aws.s3, aws::s3_access(&self.config));
        let streams: HashMap<_, _> =
            self.metastore.streams().await?.into_iter().map(|stream| (stream.id, stream)).collect();
        let mut uploaded = Vec::with_capacity(gone.len());
        for batch in gone {
            let destination = self.metastore.destination(batch.stream, batch.stream_version).await?;
            let destination = destination.context("the settings that a batch was sealed under are gone")?;
            let lane = batch.content.lane().unwrap_or(Lane::Delivery);
            let sealed = destination.lane(lane).context("the settings of a batch's lane are gone")?;
            let options = PutOptions::new(sealed, lane, streams.get(&batch.stream));
            let object = objects.head(&batch.bucket, &batch.key, &options).await;
            let object = object.context("look for a batch's object")?;
            if object.is_none() && !self.may_be_empty(&batch).await? {
                bail!(
                    "batch {} is neither in the record log nor in S3 at s3://{}/{}",
                    batch.id,
                    batch.bucket,
                    batch.key
                );
            }
            let delivered = batch.copy_target.is_none();
            uploaded.push(Uploaded { id: batch.id, object, delivered, failed: Vec::new() });
        }
        let resource = format!("log:{log}");
        let lease = self.metastore.acquire_lease(&resource, &self.node, LEASE_TTL).await?;
        let lease = lease.context("the record log is being delivered by another process")?;
        let marked = self.metastore.mark_uploaded(&lease, &uploaded, self.clock.now()).await;
        self.metastore.release_lease(&lease).await?;
        marked?;
        let empty = uploaded.iter().filter(|upload| upload.object.is_none()).count();
        Ok(Found { batches: uploaded.len() - empty, empty })
    }

    /// Whether processing may have left nothing of a batch: only decompression does not put what it is given.
    async fn may_be_empty(&self, batch: &Batch) -> Result<bool> {
        let settings = self.metastore.destination(batch.stream, batch.stream_version).await?;
        let decompresses =
            settings.is_some_and(|settings| settings.s3().processing.active("Decompression").is_some());
        Ok(batch.content == Content::Delivery && decompresses)
    }

    /// The log notes what is sealed on every lane of a stream: the least of their positions.
    async fn reset_sealed(&self, positions: &[(StreamId, Lane, Position)]) -> Result<()> {
        let mut least: HashMap<StreamId, Position> = HashMap::new();
        for (stream, _, position) in positions {
            least.entry(*stream).and_modify(|at| *at = (*at).min(*position)).or_insert(*position);
        }
        let log = self.open_log().await?;
        for (stream, position) in least {
            log.reset_sealed(stream, position);
        }
        close(log).await
    }

    async fn bind(&self) -> Result<()> {
        let id = self.metastore.id().await?;
        let log = self.open_log().await?;
        let binding = log.clone();
        tokio::task::spawn_blocking(move || binding.bind_metastore(id))
            .await?
            .context("note the metastore's id")?;
        close(log).await
    }
}

/// What became of batches whose records the log has trimmed.
struct Found {
    /// Their objects are in S3.
    batches: usize,
    /// They have none.
    empty: usize,
}

/// Where each lane of each stream of a log goes on: behind what is `known` of it, within what the log has. The delivery is a lane of every
/// stream, the backup of those that have one or had one.
fn go_on(
    tails: &[(StreamId, StreamTail)],
    known: &HashMap<(StreamId, Lane), Position>,
    backed_up: &BTreeSet<StreamId>,
) -> Vec<(StreamId, Lane, Position)> {
    let lanes = tails.iter().flat_map(|(stream, tail)| Lane::ALL.map(|lane| (*stream, lane, tail)));
    let lanes = lanes.filter(|(stream, lane, _)| {
        *lane == Lane::Delivery || backed_up.contains(stream) || known.contains_key(&(*stream, *lane))
    });
    lanes
        .map(|(stream, lane, tail)| {
            let at = known.get(&(stream, lane)).copied().unwrap_or(Position::FIRST);
            (stream, lane, at.clamp(tail.trimmed, tail.next))
        })
        .collect()
}

/// How many records a lane goes on before the end of, over all streams.
fn behind(
    tails: &[(StreamId, StreamTail)],
    positions: &[(StreamId, Lane, Position)],
    lane: Lane,
    end: impl Fn(&StreamTail) -> Position,
) -> u64 {
    let tails: HashMap<StreamId, &StreamTail> = tails.iter().map(|(stream, tail)| (*stream, tail)).collect();
    let of_lane = positions.iter().filter(|(_, of, _)| *of == lane);
    of_lane.filter_map(|(stream, _, at)| Some(end(tails.get(stream)?).0.saturating_sub(at.0))).sum()
}

/// Words about backups, where there are any.
fn and_backed_up(count: u64, what: &str) -> String {
    if count == 0 { String::new() } else { format!(" and {count} {what}") }
}

async fn close(log: Arc<FileLog>) -> Result<()> {
    tokio::task::spawn_blocking(move || log.shutdown()).await.context("close the record log")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lane_goes_on_behind_what_is_known_of_it_within_what_the_log_has() {
        let tail = |trimmed, sealed, next| StreamTail {
            trimmed: Position(trimmed),
            sealed: Position(sealed),
            next: Position(next),
        };
        let [plain, backed_up, was_backed_up, new] = [1, 2, 3, 4].map(StreamId);
        let tails = [
            (plain, tail(0, 5, 10)),
            (backed_up, tail(3, 8, 10)),
            (was_backed_up, tail(0, 0, 10)),
            (new, tail(4, 4, 4)),
        ];
        let known = HashMap::from([
            ((plain, Lane::Delivery), Position(5)),
            ((backed_up, Lane::Delivery), Position(99)),
            ((was_backed_up, Lane::Backup), Position(2)),
        ]);
        let positions = go_on(&tails, &known, &BTreeSet::from([backed_up]));
        let expected = [
            (plain, Lane::Delivery, 5),
            (backed_up, Lane::Delivery, 10),
            (backed_up, Lane::Backup, 3),
            (was_backed_up, Lane::Delivery, 0),
            (was_backed_up, Lane::Backup, 2),
            (new, Lane::Delivery, 4),
        ];
        assert_eq!(positions, expected.map(|(stream, lane, at)| (stream, lane, Position(at))));
        assert_eq!(behind(&tails, &positions, Lane::Delivery, |tail| tail.next), 5 + 10);
        assert_eq!(behind(&tails, &positions, Lane::Backup, |tail| tail.sealed), 5);
    }
}
