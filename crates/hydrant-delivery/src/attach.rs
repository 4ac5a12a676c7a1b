//! Do this log and this metastore belong together? Asked once, before anything is delivered (design decision D5).

use std::{collections::HashMap, sync::Arc};

use hydrant_log::{FileLog, RecordLog};
use hydrant_metastore::{Error as StoreError, Kind, Lease, Metastore, SealedTo};
use hydrant_types::{Batch, Clock, Lane, LogId, MetastoreId, Position, StreamId};

use crate::Settings;

/// What a start goes on from.
#[derive(Debug)]
pub struct Attached {
    /// The right to deliver this log.
    pub(crate) lease: Lease,
    /// How far each stream is sealed and uploaded.
    pub(crate) positions: Vec<SealedTo>,
    /// Batches that are sealed and not uploaded.
    pub(crate) sealed: Vec<Batch>,
}

impl Attached {
    /// Gives the right to deliver back, for a caller that only compared.
    ///
    /// # Errors
    /// The metastore did not answer; the lease runs out by itself.
    pub async fn release(self, metastore: &Arc<dyn Metastore>) -> Result<(), StoreError> {
        metastore.release_lease(&self.lease).await
    }
}

/// Going on could lose records or deliver them twice, or the metastore does not answer.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The log was restored from a copy, or lost its end.
    #[error(
        "the record log {log} is older than the metastore: stream {stream} is sealed to position {sealed}, and the log ends at {next}. \
         Put the right log back, or run `hydrant log reconcile --new-log`"
    )]
    LogOlder {
        /// This log.
        log: LogId,
        /// The first stream that shows it.
        stream: StreamId,
        /// In the metastore.
        sealed: Position,
        /// In the log.
        next: Position,
    },
    /// The metastore was restored from a backup.
    #[error(
        "the metastore is older than the record log {log}: it knows stream {stream} as sealed to position {known}, and the log to {sealed}. \
         Put the right database back, or run `hydrant log reconcile --new-metastore`"
    )]
    MetastoreOlder {
        /// This log.
        log: LogId,
        /// The first stream that shows it.
        stream: StreamId,
        /// In the metastore.
        known: Position,
        /// In the log's own checkpoint.
        sealed: Position,
    },
    /// The metastore was wiped or replaced, or the URL is another's.
    #[error(
        "the record log {log} belongs to another metastore ({bound}; this one is {found}). Correct metastore.url, or run \
         `hydrant log reconcile --new-metastore`"
    )]
    OtherMetastore {
        /// This log.
        log: LogId,
        /// Which it is registered with.
        bound: MetastoreId,
        /// Which answers.
        found: MetastoreId,
    },
    /// The log was wiped or replaced.
    #[error(
        "this node ({node}) has another record log registered: {registered}, and the directory holds {log}. Put the old disk back, or run \
         `hydrant log reconcile --new-log`, which gives up what only the old log held"
    )]
    OtherLog {
        /// This node.
        node: String,
        /// Which log the metastore has for it.
        registered: LogId,
        /// Which is in the directory.
        log: LogId,
    },
    /// A person gave this log up.
    #[error(
        "the record log {log} was given up with `hydrant log reconcile --new-log`: start with an empty directory"
    )]
    Retired {
        /// This log.
        log: LogId,
    },
    /// Another process delivers this log.
    #[error("the record log {log} is being delivered by another process")]
    InUse {
        /// This log.
        log: LogId,
    },
    /// The log could not remember its metastore.
    #[error("note the metastore's id in the record log")]
    Bind(#[source] std::io::Error),
    /// The metastore did not answer, or refused.
    #[error("compare the record log with the metastore")]
    Metastore(#[from] StoreError),
}

impl AttachError {
    /// Whether log and metastore do not belong together, and a person has to say which is the odd one.
    pub fn is_disagreement(&self) -> bool {
        matches!(
            self,
            Self::LogOlder { .. }
                | Self::MetastoreOlder { .. }
                | Self::OtherMetastore { .. }
                | Self::OtherLog { .. }
        )
    }

    /// Whether the metastore is merely away: the same call may succeed later.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Metastore(error) if matches!(error.kind(), Kind::Retry | Kind::OutcomeUnknown))
    }
}

/// Compares log and metastore, registers the log and takes its lease.
///
/// # Errors
/// [`AttachError`].
pub async fn attach(
    log: &Arc<FileLog>,
    metastore: &Arc<dyn Metastore>,
    node: &str,
    clock: &Arc<dyn Clock>,
) -> Result<Attached, AttachError> {
    let log_id = log.log_id();
    let metastore_id = metastore.id().await?;
    if let Some(bound) = log.metastore_binding().filter(|bound| *bound != metastore_id) {
        return Err(AttachError::OtherMetastore { log: log_id, bound, found: metastore_id });
    }
    for registered in metastore.logs().await? {
        if registered.id == log_id && registered.retired_at.is_some() {
            return Err(AttachError::Retired { log: log_id });
        }
        if registered.node == node && registered.id != log_id && registered.retired_at.is_none() {
            return Err(AttachError::OtherLog {
                node: node.to_owned(),
                registered: registered.id,
                log: log_id,
            });
        }
    }
    let positions = metastore.sealed_to(log_id).await?;
    compare(log, metastore.as_ref(), &positions).await?;
    metastore.register_log(log_id, node, clock.now()).await?;
    let binding = log.clone();
    tokio::task::spawn_blocking(move || binding.bind_metastore(metastore_id))
        .await
        .map_err(|panic| AttachError::Bind(std::io::Error::other(panic)))?
        .map_err(AttachError::Bind)?;
    let ttl = Settings::default().lease_ttl;
    let lease = metastore.acquire_lease(&format!("log:{log_id}"), node, ttl).await?;
    let lease = lease.ok_or(AttachError::InUse { log: log_id })?;
    let sealed = metastore.sealed_batches(log_id).await?;
    Ok(Attached { lease, positions, sealed })
}

async fn compare(
    log: &FileLog,
    metastore: &dyn Metastore,
    positions: &[SealedTo],
) -> Result<(), AttachError> {
    let log_id = log.log_id();
    // The log forgets a stream once it is gone; its positions are kept in the metastore.
    let existing: Vec<StreamId> = metastore.streams().await?.iter().map(|stream| stream.id).collect();
    for position in positions.iter().filter(|position| existing.contains(&position.stream)) {
        let next = log.tail(position.stream).map_or(Position::FIRST, |tail| tail.next);
        if position.sealed > next {
            let SealedTo { stream, sealed, .. } = *position;
            return Err(AttachError::LogOlder { log: log_id, stream, sealed, next });
        }
    }
    // The log notes how far the delivery is sealed; the backup's batches need not be where those are.
    let deliveries = positions.iter().filter(|position| position.lane == Lane::Delivery);
    let known: HashMap<StreamId, Position> = deliveries.map(|p| (p.stream, p.sealed)).collect();
    for (stream, tail) in log.streams() {
        let known = known.get(&stream).copied().unwrap_or(Position::FIRST);
        if tail.sealed > known {
            return Err(AttachError::MetastoreOlder { log: log_id, stream, known, sealed: tail.sealed });
        }
    }
    Ok(())
}
