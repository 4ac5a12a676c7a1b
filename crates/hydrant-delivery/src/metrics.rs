//! What operators see. Names mirror CloudWatch's (`DeliveryToS3.Records` → `hydrant_delivery_to_s3_records_total`).
//!
//! Figures without a stream exist at zero from the start, a stream's from when it first has something to do; they go when the stream
//! goes.

mod backlog;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use hydrant_types::{Content, Lane, StreamName, Timestamp};
use parking_lot::Mutex;
use prometheus::{
    IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    core::{Collector, Desc},
    proto::MetricFamily,
};
use tracing::warn;

use self::backlog::Backlog;
use crate::{Deps, memory_budget::MemoryBudget, object_store::CODES, upload_gates::UploadGates};

pub use backlog::show_backlog;

/// Label `code` for what S3 made up: a label's values are bounded.
const CODE_OTHER: &str = "other";

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
    backup_records: IntCounterVec,
    backup_bytes: IntCounterVec,
    processing_failed: IntCounterVec,
    redshift_records: IntCounterVec,
    redshift_bytes: IntCounterVec,
    redshift_attempts: IntCounterVec,
    seals: IntCounterVec,
    streams_stopped: IntGauge,
    streams_failing: IntGaugeVec,
    loads_abandoned: IntCounterVec,
    attempts_dropped: IntCounter,
    discarded_records: IntCounter,
    discarded_bytes: IntCounter,
    /// Streams that have series, to find those to be removed.
    shown: Mutex<HashSet<StreamName>>,
    backlog: Backlog,
    memory: Memory,
}

/// What is held in memory. Read when somebody looks.
#[derive(Clone)]
struct Memory(Arc<MemoryInner>);

struct MemoryInner {
    encoders: MemoryBudget,
    gates: UploadGates,
    encoder_bytes: IntGauge,
    upload_bytes: IntGauge,
}

impl Metrics {
    /// What is shown, from now on; after [`show_backlog`] in place of that.
    pub(crate) fn new(deps: &Deps, encoders: MemoryBudget, gates: UploadGates) -> Self {
        let memory = Memory(Arc::new(MemoryInner {
            encoders,
            gates,
            encoder_bytes: gauge(
                "hydrant_delivery_encoder_memory_bytes",
                "Memory of the encoders of open batches",
            ),
            upload_bytes: gauge(
                "hydrant_delivery_upload_bytes",
                "Bytes of object bodies in memory for upload",
            ),
        }));
        let inner = Inner {
            s3_records: counters(
                "hydrant_delivery_to_s3_records_total",
                "Records uploaded to S3",
                &["stream"],
            ),
            s3_bytes: counters(
                "hydrant_delivery_to_s3_bytes_total",
                "Bytes of records uploaded, before compression",
                &["stream"],
            ),
            s3_objects: counters(
                "hydrant_delivery_to_s3_objects_total",
                "Objects uploaded to S3",
                &["stream"],
            ),
            s3_object_bytes: counters(
                "hydrant_delivery_to_s3_object_bytes_total",
                "Bytes of objects uploaded, after compression",
                &["stream"],
            ),
            s3_attempts: counters(
                "hydrant_delivery_to_s3_attempts_total",
                "PUTs to S3 by outcome",
                &["stream", "outcome"],
            ),
            backup_records: counters(
                "hydrant_backup_to_s3_records_total",
                "Records uploaded to the backup bucket",
                &["stream"],
            ),
            backup_bytes: counters(
                "hydrant_backup_to_s3_bytes_total",
                "Bytes of records uploaded to the backup bucket, before compression",
                &["stream"],
            ),
            processing_failed: counters(
                "hydrant_processing_failed_records_total",
                "Records that failed in processing and are in error output",
                &["stream"],
            ),
            redshift_records: counters(
                "hydrant_delivery_to_redshift_records_total",
                "Records committed in Redshift",
                &["stream"],
            ),
            redshift_bytes: counters(
                "hydrant_delivery_to_redshift_bytes_total",
                "Bytes of records committed in Redshift, before compression",
                &["stream"],
            ),
            redshift_attempts: counters(
                "hydrant_delivery_to_redshift_attempts_total",
                "COPY statements by outcome; unknown ones are looked up until they are known",
                &["stream", "outcome"],
            ),
            seals: counters("hydrant_delivery_seals_total", "Batches sealed by what led to it", &["reason"]),
            streams_stopped: gauge(
                "hydrant_delivery_streams_stopped",
                "Streams whose delivery stopped and needs a person; the log says why",
            ),
            streams_failing: IntGaugeVec::new(
                Opts::new(
                    "hydrant_delivery_to_s3_failing_streams",
                    "Streams whose last upload failed, by the code it failed with",
                ),
                &["code"],
            )
            .expect("the name is valid"),
            discarded_records: counter(
                "hydrant_delivery_discarded_records_total",
                "Records thrown away because their stream was deleted so",
            ),
            discarded_bytes: counter(
                "hydrant_delivery_discarded_bytes_total",
                "Bytes of records thrown away because their stream was deleted so",
            ),
            loads_abandoned: counters(
                "hydrant_delivery_to_redshift_abandoned_total",
                "Loads given up after the stream's retry duration; their batches are parked",
                &["stream"],
            ),
            attempts_dropped: counter(
                "hydrant_delivery_attempts_dropped_total",
                "Attempts not written to the metastore because it was away or busy",
            ),
            shown: Mutex::default(),
            backlog: Backlog::new(deps),
            memory,
        };
        let metrics = Self(Arc::new(inner));
        metrics.begin_at_zero();
        metrics.register(&deps.registry);
        metrics
    }

    fn begin_at_zero(&self) {
        for reason in ["size", "age", "closing"] {
            self.0.seals.with_label_values(&[reason]);
        }
        for code in CODES.into_iter().chain([CODE_OTHER]) {
            self.0.streams_failing.with_label_values(&[code]);
        }
    }

    fn register(&self, registry: &Registry) {
        let inner = &self.0;
        let collectors: [Box<dyn Collector>; 19] = [
            Box::new(inner.s3_records.clone()),
            Box::new(inner.s3_bytes.clone()),
            Box::new(inner.s3_objects.clone()),
            Box::new(inner.s3_object_bytes.clone()),
            Box::new(inner.s3_attempts.clone()),
            Box::new(inner.backup_records.clone()),
            Box::new(inner.backup_bytes.clone()),
            Box::new(inner.processing_failed.clone()),
            Box::new(inner.redshift_records.clone()),
            Box::new(inner.redshift_bytes.clone()),
            Box::new(inner.redshift_attempts.clone()),
            Box::new(inner.seals.clone()),
            Box::new(inner.streams_stopped.clone()),
            Box::new(inner.streams_failing.clone()),
            Box::new(inner.loads_abandoned.clone()),
            Box::new(inner.attempts_dropped.clone()),
            Box::new(inner.discarded_records.clone()),
            Box::new(inner.discarded_bytes.clone()),
            Box::new(inner.memory.clone()),
        ];
        inner.backlog.show(registry);
        for collector in collectors {
            if let Err(error) = registry.register(collector) {
                warn!(%error, "a metric is registered twice: this one is not shown");
            }
        }
    }

    /// The lane has something to do: a counter whose first value were 1 would hide that it grew.
    pub(crate) fn begin(&self, stream: &StreamName, lane: Lane) {
        let (label, inner) = (self.label(stream), &self.0);
        let delivery = [&inner.s3_records, &inner.s3_bytes, &inner.s3_objects, &inner.s3_object_bytes];
        let backup = [&inner.backup_records, &inner.backup_bytes];
        let counters: &[_] = if lane == Lane::Delivery { &delivery } else { &backup };
        for counters in counters {
            counters.with_label_values(&label);
        }
        for outcome in Outcome::ALL {
            inner.s3_attempts.with_label_values(&[stream.as_str(), outcome.name()]);
        }
    }

    /// The stream has something to load.
    pub(crate) fn begin_load(&self, stream: &StreamName) {
        let (label, inner) = (self.label(stream), &self.0);
        for counters in [&inner.redshift_records, &inner.redshift_bytes, &inner.loads_abandoned] {
            counters.with_label_values(&label);
        }
        for outcome in Outcome::ALL {
            inner.redshift_attempts.with_label_values(&[stream.as_str(), outcome.name()]);
        }
    }

    pub(crate) fn s3_attempt(&self, stream: &StreamName, outcome: Outcome) {
        let [stream] = self.label(stream);
        self.0.s3_attempts.with_label_values(&[stream, outcome.name()]).inc();
    }

    pub(crate) fn uploaded(
        &self,
        stream: &StreamName,
        content: Content,
        records: u64,
        bytes: u64,
        object_bytes: u64,
    ) {
        let (label, inner) = (self.label(stream), &self.0);
        if content == Content::Backup {
            inner.backup_records.with_label_values(&label).inc_by(records);
            inner.backup_bytes.with_label_values(&label).inc_by(bytes);
            return;
        }
        inner.s3_records.with_label_values(&label).inc_by(records);
        inner.s3_bytes.with_label_values(&label).inc_by(bytes);
        inner.s3_objects.with_label_values(&label).inc();
        inner.s3_object_bytes.with_label_values(&label).inc_by(object_bytes);
    }

    pub(crate) fn processing_failed(&self, stream: &StreamName, records: u64) {
        if records > 0 {
            self.0.processing_failed.with_label_values(&self.label(stream)).inc_by(records);
        }
    }

    pub(crate) fn sealed(&self, reason: &'static str) {
        self.0.seals.with_label_values(&[reason]).inc();
    }

    pub(crate) fn redshift_attempt(&self, stream: &StreamName, outcome: Outcome) {
        let [stream] = self.label(stream);
        self.0.redshift_attempts.with_label_values(&[stream, outcome.name()]).inc();
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

    /// A stream's uploads failed with `before`, and now with `now`; `None` where they do not.
    pub(crate) fn uploads_fail(&self, before: Option<&str>, now: Option<&str>) {
        let of = |code: &str| {
            let shown = CODES.into_iter().find(|known| *known == code).unwrap_or(CODE_OTHER);
            self.0.streams_failing.with_label_values(&[shown])
        };
        if let Some(code) = now {
            of(code).inc();
        }
        if let Some(code) = before {
            of(code).dec();
        }
    }

    /// One that had stopped.
    pub(crate) fn stream_goes_on(&self) {
        self.0.streams_stopped.dec();
    }

    /// Without the stream, whose series go with it.
    pub(crate) fn discarded(&self, records: u64, bytes: u64) {
        self.0.discarded_records.inc_by(records);
        self.0.discarded_bytes.inc_by(bytes);
    }

    /// The oldest record of a lane that is on its way to S3.
    pub(crate) fn oldest_staging(&self, stream: &StreamName, lane: Lane, oldest: Option<Timestamp>) {
        self.0.backlog.staging(stream, lane, oldest);
    }

    /// The oldest record that waits for a load, by table; tables that are not named have none.
    pub(crate) fn oldest_waiting(&self, by_table: HashMap<String, Timestamp>) {
        self.0.backlog.waiting(by_table);
    }

    /// The oldest record in this node's load into a table.
    pub(crate) fn oldest_loading(&self, table_key: &str, oldest: Option<Timestamp>) {
        self.0.backlog.loading(table_key, oldest);
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
        self.0.backlog.keep_only(streams);
    }

    fn forget(&self, stream: &StreamName) {
        let inner = &self.0;
        for counters in [
            &inner.s3_records,
            &inner.s3_bytes,
            &inner.s3_objects,
            &inner.s3_object_bytes,
            &inner.backup_records,
            &inner.backup_bytes,
            &inner.processing_failed,
            &inner.redshift_records,
            &inner.redshift_bytes,
            &inner.loads_abandoned,
        ] {
            // Fails only where the stream never had one.
            let _ = counters.remove_label_values(&[stream.as_str()]);
        }
        for outcome in Outcome::ALL {
            for attempts in [&inner.s3_attempts, &inner.redshift_attempts] {
                let _ = attempts.remove_label_values(&[stream.as_str(), outcome.name()]);
            }
        }
    }
}

impl Collector for Memory {
    fn desc(&self) -> Vec<&Desc> {
        [self.0.encoder_bytes.desc(), self.0.upload_bytes.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let inner = &self.0;
        inner.encoder_bytes.set(inner.encoders.used() as i64);
        inner.upload_bytes.set(inner.gates.bytes_in_use() as i64);
        [inner.encoder_bytes.collect(), inner.upload_bytes.collect()].concat()
    }
}

fn counters(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    IntCounterVec::new(Opts::new(name, help), labels).expect("the name is valid")
}

fn counter(name: &str, help: &str) -> IntCounter {
    IntCounter::new(name, help).expect("the name is valid")
}

fn gauge(name: &str, help: &str) -> IntGauge {
    IntGauge::new(name, help).expect("the name is valid")
}

#[cfg(test)]
mod tests;
