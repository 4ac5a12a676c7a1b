//! How long records have waited. Computed when somebody looks, so that it grows also while nothing happens.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use hydrant_ingest::StreamTable;
use hydrant_log::RecordLog;
use hydrant_types::{Clock, Lane, Position, StreamId, StreamName, Timestamp};
use parking_lot::Mutex;
use prometheus::{
    Gauge, GaugeVec, Opts, Registry,
    core::{Collector, Desc},
    proto::MetricFamily,
};
use tracing::warn;

use crate::Deps;

/// Shows how long records have waited before [`crate::start`] can be called: while the metastore is away since the start, only the
/// record log knows. `start` takes it over.
pub fn show_backlog(deps: &Deps) {
    Backlog::new(deps).show(&deps.registry);
}

/// The ages of what is not delivered. Clones share them.
#[derive(Clone)]
pub(super) struct Backlog(Arc<Inner>);

struct Inner {
    log: Arc<dyn RecordLog>,
    streams: Arc<StreamTable>,
    clock: Arc<dyn Clock>,
    /// What workers say of their lanes; the log is asked for all other streams.
    staging: Mutex<HashMap<(StreamName, Lane), Timestamp>>,
    /// By table: what waits for a load of any node.
    waiting: Mutex<HashMap<String, Timestamp>>,
    /// By table: what is in this node's load.
    loading: Mutex<HashMap<String, Timestamp>>,
    /// Arrivals that were read from the log, with the positions they belong to: each is read once.
    read: Mutex<HashMap<StreamId, (Position, Timestamp)>>,
    s3_freshness: GaugeVec,
    backup_freshness: GaugeVec,
    oldest: Gauge,
}

impl Backlog {
    pub(super) fn new(deps: &Deps) -> Self {
        Self(Arc::new(Inner {
            log: deps.log.clone(),
            streams: deps.streams.clone(),
            clock: deps.clock.clone(),
            staging: Mutex::default(),
            waiting: Mutex::default(),
            loading: Mutex::default(),
            read: Mutex::default(),
            s3_freshness: GaugeVec::new(
                Opts::new(
                    "hydrant_delivery_to_s3_data_freshness_seconds",
                    "Age of the oldest record that is not in S3; absent when there is none",
                ),
                &["stream"],
            )
            .expect("the name is valid"),
            backup_freshness: GaugeVec::new(
                Opts::new(
                    "hydrant_backup_to_s3_data_freshness_seconds",
                    "Age of the oldest record that is not in the backup bucket; absent when there is none",
                ),
                &["stream"],
            )
            .expect("the name is valid"),
            oldest: Gauge::new(
                "hydrant_oldest_undelivered_age_seconds",
                "Age of the oldest record that is not at its destination, S3 or Redshift, backups aside; 0 when there is none",
            )
            .expect("the name is valid"),
        }))
    }

    /// In place of the one that is shown, if one is.
    pub(super) fn show(&self, registry: &Registry) {
        // Fails only where none is.
        let _ = registry.unregister(Box::new(self.clone()));
        if let Err(error) = registry.register(Box::new(self.clone())) {
            warn!(%error, "the ages of records that wait are not shown");
        }
    }

    /// The oldest record of a lane that is on its way to S3.
    pub(super) fn staging(&self, stream: &StreamName, lane: Lane, oldest: Option<Timestamp>) {
        set(&mut self.0.staging.lock(), &(stream.clone(), lane), oldest);
    }

    /// The oldest record that waits for a load, by table; tables that are not named have none.
    pub(super) fn waiting(&self, by_table: HashMap<String, Timestamp>) {
        *self.0.waiting.lock() = by_table;
    }

    /// The oldest record in this node's load into a table.
    pub(super) fn loading(&self, table_key: &str, oldest: Option<Timestamp>) {
        set(&mut self.0.loading.lock(), table_key, oldest);
    }

    pub(super) fn keep_only(&self, streams: &HashSet<&StreamName>) {
        self.0.staging.lock().retain(|(stream, _), _| streams.contains(stream));
    }
}

fn set<K, Q>(ages: &mut HashMap<K, Timestamp>, key: &Q, oldest: Option<Timestamp>)
where
    K: std::hash::Hash + Eq + std::borrow::Borrow<Q>,
    Q: std::hash::Hash + Eq + ToOwned<Owned = K> + ?Sized,
{
    match oldest {
        Some(oldest) => ages.insert(key.to_owned(), oldest),
        None => ages.remove(key),
    };
}

impl Inner {
    /// The oldest record of each stream that has some in the log and no worker that says so. No name: the stream is not known.
    fn in_log(&self, taken: &HashSet<StreamName>) -> Vec<(Option<StreamName>, Timestamp)> {
        let mut read = self.read.lock();
        let before = std::mem::take(&mut *read);
        let mut found = Vec::new();
        for (id, tail) in self.log.streams() {
            let name = self.streams.by_id(id).map(|stream| stream.name.clone());
            if tail.trimmed == tail.next || name.as_ref().is_some_and(|name| taken.contains(name)) {
                continue;
            }
            let arrival = match before.get(&id) {
                Some(&(at, arrival)) if at == tail.trimmed => Some(arrival),
                _ => self.arrival(id, tail.trimmed),
            };
            if let Some(arrival) = arrival {
                read.insert(id, (tail.trimmed, arrival));
                found.push((name, arrival));
            }
        }
        found
    }

    /// `None` where it was trimmed since, or is damaged: who delivers it says so.
    fn arrival(&self, stream: StreamId, at: Position) -> Option<Timestamp> {
        self.log.read(stream, at, 1).ok()?.frames.first().map(|part| part.arrival)
    }
}

impl Collector for Backlog {
    fn desc(&self) -> Vec<&Desc> {
        [self.0.s3_freshness.desc(), self.0.backup_freshness.desc(), self.0.oldest.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let inner = &self.0;
        let taken = inner.staging.lock().clone();
        let by_workers = taken.keys().map(|(stream, _)| stream.clone()).collect();
        let mut unsafe_yet: Vec<_> = inner
            .in_log(&by_workers)
            .into_iter()
            .map(|(stream, arrival)| (stream, Lane::Delivery, arrival))
            .collect();
        unsafe_yet.extend(taken.into_iter().map(|((stream, lane), arrival)| (Some(stream), lane, arrival)));
        let now = inner.clock.now();
        let mut oldest = now;
        inner.s3_freshness.reset();
        inner.backup_freshness.reset();
        for (stream, lane, arrival) in unsafe_yet {
            let freshness = match lane {
                Lane::Delivery => &inner.s3_freshness,
                Lane::Backup => &inner.backup_freshness,
            };
            if lane == Lane::Delivery {
                oldest = oldest.min(arrival);
            }
            if let Some(stream) = stream {
                freshness.with_label_values(&[stream.as_str()]).set(now.since(arrival).as_secs_f64());
            }
        }
        for tables in [&inner.waiting, &inner.loading] {
            oldest = tables.lock().values().fold(oldest, |oldest, arrival| oldest.min(*arrival));
        }
        inner.oldest.set(now.since(oldest).as_secs_f64());
        [inner.s3_freshness.collect(), inner.backup_freshness.collect(), inner.oldest.collect()].concat()
    }
}
