//! What operators see of the record log.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge, Registry};

/// The log's figures; no labels.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    bytes: IntGauge,
    segments: IntGauge,
    segments_free: IntGauge,
    appended_bytes: IntCounter,
    group_calls: Histogram,
    group_seconds: Histogram,
    sync_seconds: Histogram,
    duplicates: IntCounter,
    torn_bytes: IntCounter,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let seconds = || prometheus::exponential_buckets(0.000_05, 2.0, 16);
        let metrics = Self {
            bytes: IntGauge::new("hydrant_log_bytes", "Bytes of segments on disk, free ones included.")?,
            segments: IntGauge::new("hydrant_log_segments", "Segments that hold records.")?,
            segments_free: IntGauge::new("hydrant_log_segments_free", "Segments ready to be used again.")?,
            appended_bytes: IntCounter::new(
                "hydrant_log_appended_bytes_total",
                "Bytes of frames made durable.",
            )?,
            group_calls: Histogram::with_opts(
                HistogramOpts::new("hydrant_log_group_calls", "Calls that one fdatasync acknowledged.")
                    .buckets(prometheus::exponential_buckets(1.0, 2.0, 11)?),
            )?,
            group_seconds: Histogram::with_opts(
                HistogramOpts::new("hydrant_log_group_seconds", "Writing and syncing one group.")
                    .buckets(seconds()?),
            )?,
            sync_seconds: Histogram::with_opts(
                HistogramOpts::new("hydrant_log_fsync_seconds", "One fdatasync.").buckets(seconds()?),
            )?,
            duplicates: IntCounter::new(
                "hydrant_log_duplicate_calls_total",
                "Retried calls that were stored before and got the first answer again.",
            )?,
            torn_bytes: IntCounter::new(
                "hydrant_log_torn_bytes_total",
                "Bytes cut at the start: written, never acknowledged.",
            )?,
        };
        for collector in [&metrics.bytes, &metrics.segments, &metrics.segments_free] {
            registry.register(Box::new(collector.clone()))?;
        }
        for collector in [&metrics.appended_bytes, &metrics.duplicates, &metrics.torn_bytes] {
            registry.register(Box::new(collector.clone()))?;
        }
        for collector in [&metrics.group_calls, &metrics.group_seconds, &metrics.sync_seconds] {
            registry.register(Box::new(collector.clone()))?;
        }
        Ok(metrics)
    }

    pub(crate) fn committed(&self, calls: usize, bytes: u64, took: Duration) {
        self.group_calls.observe(calls as f64);
        self.group_seconds.observe(took.as_secs_f64());
        self.appended_bytes.inc_by(bytes);
    }

    pub(crate) fn synced(&self, took: Duration) {
        self.sync_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn duplicates(&self, calls: usize) {
        self.duplicates.inc_by(calls as u64);
    }

    pub(crate) fn torn(&self, bytes: u64) {
        self.torn_bytes.inc_by(bytes);
    }

    pub(crate) fn segments(&self, used: u64, free: u64, bytes: u64) {
        self.segments.set(used as i64);
        self.segments_free.set(free as i64);
        self.bytes.set(bytes as i64);
    }
}
