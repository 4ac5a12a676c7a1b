//! The worker of one table: holds its lease, and takes one load after the other through its states.

use std::{sync::Arc, time::Duration};

use hydrant_metastore::{Attempt, Error as StoreError, Kind as StoreKind, NewLoad, Subject};
use hydrant_redshift::{WarehouseClient, copy_statement, manifest};
use hydrant_types::{
    CopyTarget, Load, LoadId, LoadState, NameError, ObjectKey, S3Settings, StreamId, StreamOptions, Timestamp,
};
use tokio::time::Instant;
use tracing::{Instrument as _, debug, error, info, info_span, warn};

use super::machine::{self, Event, Outcome as Next, RetryPolicy};
use crate::{
    Body, ObjectStoreError, PutOptions,
    backoff::Backoff,
    lease_keeper::{KeptLease, Unanswered},
    metrics::Outcome,
    object_key,
    recorder::with_causes,
    stream::Shared,
};

/// Takes one table's loads through their states.
pub(super) struct TableWorker {
    pub(super) shared: Arc<Shared>,
    pub(super) warehouse: Arc<dyn WarehouseClient>,
    table: String,
}

/// How a worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// Nothing waits for the table any more.
    NothingLeft,
    /// Another node loads it, or something failed: tried again later.
    NotNow,
}

/// Why the worker ends before there is nothing left to do. The next look starts another.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error("the service is stopping")]
    Stopping,
    #[error("the table's lease is lost")]
    LeaseLost,
    #[error("the metastore has moved on")]
    Metastore(#[from] StoreError),
    #[error("name the manifest")]
    Key(#[from] NameError),
    #[error("the settings that its batches were sealed under are gone")]
    SettingsGone,
    #[error("{0}")]
    Illegal(#[from] machine::IllegalTransition),
}

impl TableWorker {
    pub(super) fn new(shared: Arc<Shared>, warehouse: Arc<dyn WarehouseClient>, table: String) -> Self {
        Self { shared, warehouse, table }
    }

    /// Works until nothing waits for the table. Dropping it is safe as a crash is.
    pub(super) async fn run(self) -> Ended {
        let (metastore, ttl) = (&self.shared.metastore, self.shared.settings.lease_ttl);
        let resource = format!("table:{}", self.table);
        let asked_at = Instant::now();
        let lease = match metastore.acquire_lease(&resource, &self.shared.settings.node, ttl).await {
            Ok(Some(lease)) => lease,
            // Another node loads this table.
            Ok(None) => return Ended::NotNow,
            Err(error) => {
                debug!(%error, table = self.table, "the lease is taken later");
                return Ended::NotNow;
            }
        };
        let lease = KeptLease::new(metastore.clone(), lease, ttl, asked_at, Unanswered::IsLoss);
        let end = tokio::select! {
            () = self.shared.stopping.cancelled() => Err(End::Stopping),
            () = lease.lost() => Err(End::LeaseLost),
            end = self.work(&lease) => end,
        };
        self.shared.metrics.oldest_loading(&self.table, None);
        if let Err(error) = metastore.release_lease(&lease.lease()).await {
            debug!(%error, "a lease runs out by itself");
        }
        match end {
            Ok(()) => return Ended::NothingLeft,
            Err(End::Stopping | End::LeaseLost) => {}
            Err(End::Metastore(error)) if error.kind() == StoreKind::Moved => {
                info!(table = self.table, error = %with_causes(&error), "the load is read anew");
            }
            Err(End::Metastore(error)) if error.kind() != StoreKind::Rejected => {
                debug!(table = self.table, error = %with_causes(&error), "loading waits for the metastore");
            }
            Err(end) => {
                error!(table = self.table, error = %with_causes(&end), "loading this table stopped; it is tried again")
            }
        }
        Ended::NotNow
    }

    async fn work(&self, lease: &KeptLease) -> Result<(), End> {
        loop {
            let unfinished = self.shared.metastore.unfinished_loads().await?;
            let mine = unfinished.into_iter().find(|load| load.target.table_key() == self.table);
            let (load, fresh) = match mine {
                Some(load) => (load, false),
                None => match self.plan(lease).await? {
                    Some(load) => (load, true),
                    None => return Ok(()),
                },
            };
            let span = info_span!("load", stream = %load.stream_name, delivery_id = %load.id, table = %load.target.table);
            self.finish(load, fresh, lease).instrument(span).await?;
        }
    }

    /// Makes a load of what has waited longest for this table.
    async fn plan(&self, lease: &KeptLease) -> Result<Option<Load>, End> {
        let waiting = self.shared.metastore.waiting().await?;
        let Some(next) = waiting.into_iter().find(|waiting| waiting.target.table_key() == self.table) else {
            return Ok(None);
        };
        self.plan_for(next.stream, &next.target, lease).await
    }

    async fn plan_for(
        &self,
        stream: StreamId,
        target: &CopyTarget,
        lease: &KeptLease,
    ) -> Result<Option<Load>, End> {
        let limit = manifest::ENTRIES_MAX as u32;
        let batches = self.shared.metastore.waiting_batches(stream, target, limit).await?;
        let Some(first) = batches.first() else { return Ok(None) };
        let now = self.shared.clock.now();
        let id = LoadId(self.shared.entropy.uuid());
        let destination = self.shared.metastore.destination(stream, first.stream_version).await?;
        let prefix = destination.and_then(|destination| destination.s3().prefix.clone());
        let load = Load {
            id,
            stream,
            stream_name: first.stream_name.clone(),
            target: target.clone(),
            bucket: first.bucket.clone(),
            manifest_key: object_key::manifest(prefix.as_deref(), &first.stream_name, now, id)?,
            state: LoadState::Planned { attempt: 1, token: copy_statement::token(id, 1), not_before: now },
            planned_at: now,
            first_submitted_at: None,
            unreachable_ms: 0,
            updated_at: now,
        };
        let new = NewLoad { load, batches: batches.iter().map(|batch| batch.id).collect() };
        let lease = lease.lease();
        self.decided(|| self.shared.metastore.plan_load(&lease, &new)).await?;
        Ok(Some(new.load))
    }

    /// Takes a load to its end. `fresh`: it was planned here, a moment ago.
    async fn finish(&self, mut load: Load, mut fresh: bool, lease: &KeptLease) -> Result<(), End> {
        let batches = self.shared.metastore.load_batches(load.id).await?;
        let oldest = batches.iter().map(|batch| batch.oldest_arrival).min();
        self.shared.metrics.oldest_loading(&self.table, oldest);
        self.shared.metrics.begin_load(&load.stream_name);
        let mut manifest_is_there = false;
        let mut begun = load.updated_at;
        while !load.state.is_done() {
            let event = match load.state.clone() {
                LoadState::Planned { not_before, .. } => {
                    self.wait_until(not_before, self.copy_retry(&load)).await;
                    begun = self.shared.clock.now();
                    self.submit(&mut load, lease, &mut manifest_is_there, fresh).await?
                }
                LoadState::Submitted { statement, .. } => self.follow(&mut load, lease, &statement).await?,
                LoadState::Committed { .. } | LoadState::Abandoned { .. } => break,
            };
            self.advance(&mut load, lease, &event, begun).await?;
            // An attempt that follows in here has not been submitted by anybody.
            fresh = true;
        }
        let records: u64 = batches.iter().map(|batch| batch.range.records()).sum();
        let bytes = batches.iter().map(|batch| batch.bytes).sum();
        match &load.state {
            LoadState::Committed { rows, .. } => {
                self.shared.metrics.loaded(&load.stream_name, records, bytes);
                info!(batches = batches.len(), records, rows, "loaded");
            }
            _ => self.shared.metrics.abandoned(&load.stream_name),
        }
        Ok(())
    }

    /// Between a failed COPY and its next attempt: as the stream's tags say now, or the settings.
    fn copy_retry(&self, load: &Load) -> Duration {
        let stream = self.shared.streams.by_id(load.stream);
        let tagged = stream.and_then(|stream| StreamOptions::of_checked(&stream.tags).copy_retry);
        tagged.unwrap_or(self.shared.settings.copy_retry)
    }

    /// By the wall clock, which may have stepped back: never longer than the pause that was meant.
    async fn wait_until(&self, moment: Timestamp, longest: Duration) {
        let wait = moment.since(self.shared.clock.now()).min(longest);
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    /// Writes the state that follows from an event.
    async fn advance(
        &self,
        load: &mut Load,
        lease: &KeptLease,
        event: &Event,
        begun: Timestamp,
    ) -> Result<(), End> {
        let policy = RetryPolicy { copy_retry: self.copy_retry(load) };
        let now = self.shared.clock.now();
        let next = match machine::step(load, event, now, policy) {
            Next::Next(next) => next,
            Next::Illegal(illegal) => return Err(illegal.into()),
            Next::Key(error) => return Err(error.into()),
        };
        if let LoadState::Abandoned { errors_manifest_key, code, reason, .. } = &next {
            self.put_manifest(load, errors_manifest_key).await?;
            error!(code, reason, manifest = %errors_manifest_key, "the load is given up: its batches wait for a person");
        }
        let attempt = attempt_of(load.id, event, begun, now);
        if let Some(attempt) = &attempt {
            self.shared.metrics.redshift_attempt(
                &load.stream_name,
                match attempt.outcome {
                    "ok" => Outcome::Ok,
                    _ => Outcome::Failed,
                },
            );
            if let (LoadState::Planned { not_before, .. }, Some(message)) = (&next, &attempt.message) {
                warn!(code = attempt.code, reason = message, next_attempt = %not_before, "COPY failed");
            }
        }
        let (id, expected) = (load.id, load.state.clone());
        let lease = lease.lease();
        self.decided(|| {
            self.shared.metastore.advance_load(&lease, id, &expected, &next, attempt.as_ref(), now)
        })
        .await?;
        if matches!(next, LoadState::Submitted { .. }) {
            load.first_submitted_at.get_or_insert(now);
        }
        load.state = next;
        load.updated_at = now;
        Ok(())
    }

    /// Puts the load's manifest under `key`, trying on until it is there.
    pub(super) async fn put_manifest(&self, load: &Load, key: &ObjectKey) -> Result<(), End> {
        let objects = self.shared.metastore.load_objects(load.id).await?;
        let body = Body::plain(manifest::render(&objects).into());
        let s3 = self.s3_settings(load).await?;
        let mut backoff = Backoff::new(&self.shared.settings, &*self.shared.entropy);
        let (limit, mut said) = (self.shared.settings.upload_timeout, false);
        loop {
            let begun = self.shared.clock.now();
            let options = PutOptions::new(
                &s3,
                hydrant_types::Lane::Delivery,
                self.shared.streams.by_id(load.stream).as_deref(),
            );
            let put = self.shared.objects.put(&load.bucket, key, body.clone(), &options);
            let error = match tokio::time::timeout(limit, put).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) => error,
                Err(_) => ObjectStoreError::timed_out("put", &load.bucket, key, limit),
            };
            if !std::mem::replace(&mut said, true) {
                warn!(code = error.code, error = %with_causes(&error), "the manifest cannot be put; trying on");
            }
            self.note(load, "put_manifest", begun, Outcome::Failed, Some((&error.code, &error.message)));
            tokio::time::sleep(backoff.next()).await;
        }
    }

    /// Manifests are written as the load's first batch was: it gave the load its bucket and prefix.
    async fn s3_settings(&self, load: &Load) -> Result<S3Settings, End> {
        let batches = self.shared.metastore.load_batches(load.id).await?;
        let version = batches.first().ok_or(End::SettingsGone)?.stream_version;
        let destination = self.shared.metastore.destination(load.stream, version).await?;
        Ok(destination.ok_or(End::SettingsGone)?.s3().clone())
    }

    pub(super) fn note(
        &self,
        load: &Load,
        step: &'static str,
        started_at: Timestamp,
        outcome: Outcome,
        error: Option<(&str, &str)>,
    ) {
        self.shared.recorder.attempt(Attempt {
            subject: Subject::Load(load.id),
            step,
            started_at,
            ended_at: self.shared.clock.now(),
            outcome: outcome.name(),
            code: error.map(|(code, _)| code.to_owned()),
            message: error.map(|(_, message)| message.to_owned()),
        });
    }

    /// Repeats a metastore call that may be repeated, until it is known whether it was done.
    pub(super) async fn decided<F>(&self, call: impl Fn() -> F) -> Result<(), End>
    where
        F: Future<Output = Result<(), StoreError>>,
    {
        let mut backoff = Backoff::new(&self.shared.settings, &*self.shared.entropy);
        loop {
            match call().await {
                Err(error) if matches!(error.kind(), StoreKind::Retry | StoreKind::OutcomeUnknown) => {
                    tokio::time::sleep(backoff.next()).await;
                }
                decided => return decided.map_err(End::from),
            }
        }
    }
}

/// The attempt that an event ends, for people to read.
fn attempt_of(load: LoadId, event: &Event, started_at: Timestamp, ended_at: Timestamp) -> Option<Attempt> {
    let (outcome, code, message) = match event {
        Event::Submitted(_) => return None,
        Event::Finished { .. } | Event::AlreadyLoaded => ("ok", None, None),
        Event::Ended => ("failed", Some("Aborted".to_owned()), Some("the statement was cut off".to_owned())),
        Event::Refused { code, message } | Event::Failed { code, message } => {
            ("failed", Some(code.clone()), Some(message.clone()))
        }
    };
    Some(Attempt { subject: Subject::Load(load), step: "copy", started_at, ended_at, outcome, code, message })
}
