//! What operators see. Names mirror CloudWatch's (`DeliveryToS3.Records` → `hydrant_delivery_to_s3_records_total`).
//!
//! All outcomes exist at zero from the start; a stream's series go when the stream goes.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use hydrant_types::{Clock, StreamName, Timestamp};
use parking_lot::Mutex;
use prometheus::{
    Gauge, GaugeVec, IntCounterVec, IntGauge, Opts, Registry,
    core::{Collector, Desc},
    proto::MetricFamily,
};
use tracing::warn;

use crate::{memory_budget::MemoryBudget, upload_gates::UploadGates};

/// How an attempt ended; label `outcome`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Ok,
    Failed,
    Unknown,
}

impl Outcome {
    const ALL: [Self; 3] = [Self::Ok, Self::Failed, Self::Unknown];

    /// As in the label and in the metastore's attempts.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

/// All of this crate's metrics. Clones share them.
#[derive(Clone)]
pub(crate) struct Metrics(Arc<Inner>);

struct Inner {
    s3_records: IntCounterVec,
    s3_bytes: IntCounterVec,
    s3_objects: IntCounterVec,
    s3_object_bytes: IntCounterVec,
    s3_attempts: IntCounterVec,
    redshift_records: IntCounterVec,
    redshift_bytes: IntCounterVec,
    redshift_attempts: IntCounterVec,
    seals: IntCounterVec,
    streams_stopped: IntGauge,
    loads_abandoned: IntCounterVec,
    attempts_dropped: prometheus::IntCounter,
    /// Streams that have series, to find those to be removed.
    shown: Mutex<HashSet<StreamName>>,
    ages: Ages,
}

/// Ages are computed when somebody looks, so that they grow also while nothing happens.
#[derive(Clone)]
struct Ages(Arc<AgesInner>);

struct AgesInner {
    clock: Arc<dyn Clock>,
    staging: Mutex<HashMap<StreamName, Timestamp>>,
    /// By table: what waits for a load of any node.
    waiting: Mutex<HashMap<String, Timestamp>>,
    /// By table: what is in this node's load.
    loading: Mutex<HashMap<String, Timestamp>>,
    encoders: MemoryBudget,
    gates: UploadGates,
    s3_freshness: GaugeVec,
    oldest: Gauge,
    encoder_bytes: IntGauge,
    upload_bytes: IntGauge,
}

impl Metrics {
    pub(crate) fn new(
        registry: &Registry,
        clock: Arc<dyn Clock>,
        encoders: MemoryBudget,
        gates: UploadGates,
    ) -> Self {
        let ages = Ages(Arc::new(AgesInner {
            clock,
            staging: Mutex::default(),
            waiting: Mutex::default(),
            loading: Mutex::default(),
            encoders,
            gates,
            s3_freshness: GaugeVec::new(
                Opts::new(
                    "hydrant_delivery_to_s3_data_freshness_seconds",
                    "Age of the oldest record that was read for delivery and is not in S3; absent when there is none",
                ),
                &["stream"],
            )
            .expect("the name is valid"),
            oldest: Gauge::new(
                "hydrant_oldest_undelivered_age_seconds",
                "Age of the oldest record that is not at its destination, S3 or Redshift; 0 when there is none",
            )
            .expect("the name is valid"),
            encoder_bytes: gauge("hydrant_delivery_encoder_memory_bytes", "Memory of the encoders of open batches"),
            upload_bytes: gauge("hydrant_delivery_upload_bytes", "Bytes of object bodies in memory for upload"),
        }));
        let inner = Inner {
            s3_records: counters("hydrant_delivery_to_s3_records_total", "Records uploaded to S3", "stream"),
            s3_bytes: counters(
                "hydrant_delivery_to_s3_bytes_total",
                "Bytes of records uploaded, before compression",
                "stream",
            ),
            s3_objects: counters("hydrant_delivery_to_s3_objects_total", "Objects uploaded to S3", "stream"),
            s3_object_bytes: counters(
                "hydrant_delivery_to_s3_object_bytes_total",
                "Bytes of objects uploaded, after compression",
                "stream",
            ),
            s3_attempts: counters(
                "hydrant_delivery_to_s3_attempts_total",
                "PUTs to S3 by outcome",
                "outcome",
            ),
            redshift_records: counters(
                "hydrant_delivery_to_redshift_records_total",
                "Records committed in Redshift",
                "stream",
            ),
            redshift_bytes: counters(
                "hydrant_delivery_to_redshift_bytes_total",
                "Bytes of records committed in Redshift, before compression",
                "stream",
            ),
            redshift_attempts: counters(
                "hydrant_delivery_to_redshift_attempts_total",
                "COPY statements by outcome; unknown ones are looked up until they are known",
                "outcome",
            ),
            seals: counters("hydrant_delivery_seals_total", "Batches sealed by what led to it", "reason"),
            streams_stopped: gauge(
                "hydrant_delivery_streams_stopped",
                "Streams whose delivery stopped and needs a person; the log says why",
            ),
            loads_abandoned: counters(
                "hydrant_delivery_to_redshift_abandoned_total",
                "Loads given up after the stream's retry duration; their batches are parked",
                "stream",
            ),
            attempts_dropped: prometheus::IntCounter::new(
                "hydrant_delivery_attempts_dropped_total",
                "Attempts not written to the metastore because it was away or busy",
            )
            .expect("the name is valid"),
            shown: Mutex::default(),
            ages,
        };
        let metrics = Self(Arc::new(inner));
        metrics.begin_at_zero();
        metrics.register(registry);
        metrics
    }

    fn begin_at_zero(&self) {
        for outcome in Outcome::ALL {
            self.0.s3_attempts.with_label_values(&[outcome.name()]);
            self.0.redshift_attempts.with_label_values(&[outcome.name()]);
        }
        for reason in ["size", "age", "closing"] {
            self.0.seals.with_label_values(&[reason]);
        }
    }

    fn register(&self, registry: &Registry) {
        let inner = &self.0;
        let collectors: [Box<dyn Collector>; 13] = [
            Box::new(inner.s3_records.clone()),
            Box::new(inner.s3_bytes.clone()),
            Box::new(inner.s3_objects.clone()),
            Box::new(inner.s3_object_bytes.clone()),
            Box::new(inner.s3_attempts.clone()),
            Box::new(inner.redshift_records.clone()),
            Box::new(inner.redshift_bytes.clone()),
            Box::new(inner.redshift_attempts.clone()),
            Box::new(inner.seals.clone()),
            Box::new(inner.streams_stopped.clone()),
            Box::new(inner.loads_abandoned.clone()),
            Box::new(inner.attempts_dropped.clone()),
            Box::new(inner.ages.clone()),
        ];
        for collector in collectors {
            if let Err(error) = registry.register(collector) {
                warn!(%error, "a metric is registered twice: this one is not shown");
            }
        }
    }

    pub(crate) fn s3_attempt(&self, outcome: Outcome) {
        self.0.s3_attempts.with_label_values(&[outcome.name()]).inc();
    }

    pub(crate) fn uploaded(&self, stream: &StreamName, records: u64, bytes: u64, object_bytes: u64) {
        let label = self.label(stream);
        self.0.s3_records.with_label_values(&label).inc_by(records);
        self.0.s3_bytes.with_label_values(&label).inc_by(bytes);
        self.0.s3_objects.with_label_values(&label).inc();
        self.0.s3_object_bytes.with_label_values(&label).inc_by(object_bytes);
    }

    pub(crate) fn sealed(&self, reason: &'static str) {
        self.0.seals.with_label_values(&[reason]).inc();
    }

    pub(crate) fn redshift_attempt(&self, outcome: Outcome) {
        self.0.redshift_attempts.with_label_values(&[outcome.name()]).inc();
    }

    pub(crate) fn loaded(&self, stream: &StreamName, records: u64, bytes: u64) {
        let label = self.label(stream);
        self.0.redshift_records.with_label_values(&label).inc_by(records);
        self.0.redshift_bytes.with_label_values(&label).inc_by(bytes);
    }

    pub(crate) fn abandoned(&self, stream: &StreamName) {
        self.0.loads_abandoned.with_label_values(&self.label(stream)).inc();
    }

    pub(crate) fn attempt_dropped(&self) {
        self.0.attempts_dropped.inc();
    }

    pub(crate) fn stream_stopped(&self) {
        self.0.streams_stopped.inc();
    }

    /// The oldest record of a stream that is on its way to S3.
    pub(crate) fn oldest_staging(&self, stream: &StreamName, oldest: Option<Timestamp>) {
        set(&mut self.0.ages.0.staging.lock(), stream, oldest);
    }

    /// The oldest record that waits for a load, by table; tables that are not named have none.
    pub(crate) fn oldest_waiting(&self, by_table: HashMap<String, Timestamp>) {
        *self.0.ages.0.waiting.lock() = by_table;
    }

    /// The oldest record in this node's load into a table.
    pub(crate) fn oldest_loading(&self, table_key: &str, oldest: Option<Timestamp>) {
        set(&mut self.0.ages.0.loading.lock(), table_key, oldest);
    }

    fn label<'a>(&self, stream: &'a StreamName) -> [&'a str; 1] {
        let mut shown = self.0.shown.lock();
        if !shown.contains(stream) {
            shown.insert(stream.clone());
        }
        [stream.as_str()]
    }

    /// Removes the series of all streams but these: a stream that is gone shows nothing any more.
    pub(crate) fn keep_only(&self, streams: &HashSet<&StreamName>) {
        let gone: Vec<StreamName> =
            self.0.shown.lock().extract_if(|stream| !streams.contains(stream)).collect();
        gone.iter().for_each(|stream| self.forget(stream));
        self.0.ages.0.staging.lock().retain(|stream, _| streams.contains(stream));
    }

    fn forget(&self, stream: &StreamName) {
        let inner = &self.0;
        for counters in [
            &inner.s3_records,
            &inner.s3_bytes,
            &inner.s3_objects,
            &inner.s3_object_bytes,
            &inner.redshift_records,
            &inner.redshift_bytes,
            &inner.loads_abandoned,
        ] {
            // Fails only where the stream never had one.
            let _ = counters.remove_label_values(&[stream.as_str()]);
        }
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

impl Collector for Ages {
    fn desc(&self) -> Vec<&Desc> {
        let inner = &self.0;
        [
            inner.s3_freshness.desc(),
            inner.oldest.desc(),
            inner.encoder_bytes.desc(),
            inner.upload_bytes.desc(),
        ]
        .concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let inner = &self.0;
        let now = inner.clock.now();
        let mut oldest = now;
        inner.s3_freshness.reset();
        for (stream, arrival) in inner.staging.lock().iter() {
            inner.s3_freshness.with_label_values(&[stream.as_str()]).set(now.since(*arrival).as_secs_f64());
            oldest = oldest.min(*arrival);
        }
        for tables in [&inner.waiting, &inner.loading] {
            oldest = tables.lock().values().fold(oldest, |oldest, arrival| oldest.min(*arrival));
        }
        inner.oldest.set(now.since(oldest).as_secs_f64());
        inner.encoder_bytes.set(inner.encoders.used() as i64);
        inner.upload_bytes.set(inner.gates.bytes_in_use() as i64);
        [
            inner.s3_freshness.collect(),
            inner.oldest.collect(),
            inner.encoder_bytes.collect(),
            inner.upload_bytes.collect(),
        ]
        .concat()
    }
}

fn counters(name: &str, help: &str, label: &str) -> IntCounterVec {
    IntCounterVec::new(Opts::new(name, help), &[label]).expect("the name is valid")
}

fn gauge(name: &str, help: &str) -> IntGauge {
    IntGauge::new(name, help).expect("the name is valid")
}

#[cfg(test)]
mod tests {
    use hydrant_types::SystemClock;

    use super::*;

    fn text(registry: &Registry) -> String {
        prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap()
    }

    #[test]
    fn the_oldest_undelivered_record_may_wait_for_a_load_or_be_in_one() {
        let (registry, clock) = (Registry::new(), Arc::new(SystemClock::new()));
        let metrics = Metrics::new(&registry, clock.clone(), MemoryBudget::new(1), UploadGates::new(1, 1));
        let seconds_ago = |seconds: u64| Timestamp(clock.now().0 - seconds * 1000 - 1);
        let shows = |age: &str| {
            let text = text(&registry);
            assert!(text.contains(&format!("hydrant_oldest_undelivered_age_seconds {age}")), "{text}");
        };
        metrics.oldest_waiting(HashMap::from([("t".to_owned(), seconds_ago(20))]));
        shows("20.");
        metrics.oldest_loading("t", Some(seconds_ago(30)));
        shows("30.");
        metrics.oldest_waiting(HashMap::new());
        shows("30.");
        metrics.oldest_loading("t", None);
        shows("0\n");
    }

    #[test]
    fn outcomes_exist_at_zero_and_a_streams_series_go_with_it() {
        let registry = Registry::new();
        let clock = Arc::new(SystemClock::new());
        let metrics = Metrics::new(&registry, clock.clone(), MemoryBudget::new(1), UploadGates::new(1, 1));
        let begun = text(&registry);
        assert!(begun.contains("hydrant_delivery_to_s3_attempts_total{outcome=\"failed\"} 0"), "{begun}");
        let stream = "orders".parse().unwrap();
        metrics.uploaded(&stream, 3, 30, 10);
        metrics.oldest_staging(&stream, Some(Timestamp(clock.now().0 - 5_000)));
        let running = text(&registry);
        assert!(running.contains("hydrant_delivery_to_s3_records_total{stream=\"orders\"} 3"), "{running}");
        assert!(
            running.contains("hydrant_delivery_to_s3_data_freshness_seconds{stream=\"orders\"} 5"),
            "{running}"
        );
        assert!(running.contains("hydrant_oldest_undelivered_age_seconds 5"), "{running}");
        metrics.loaded(&"clicks".parse().unwrap(), 1, 10);
        metrics.keep_only(&HashSet::from([&"clicks".parse().unwrap()]));
        let after = text(&registry);
        assert!(!after.contains("orders"), "{after}");
        assert!(after.contains("hydrant_delivery_to_redshift_records_total{stream=\"clicks\"} 1"), "{after}");
        assert!(after.contains("hydrant_oldest_undelivered_age_seconds 0"), "{after}");
    }
}
