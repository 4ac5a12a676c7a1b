//! What operators see of incoming records; names mirror CloudWatch's IncomingRecords and so on.

use std::time::Duration;

use hydrant_types::StreamName;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
};

/// Figures by stream; the label's values are bounded by the streams that exist.
#[derive(Debug)]
pub(crate) struct Metrics {
    records: IntCounterVec,
    bytes: IntCounterVec,
    requests: IntCounterVec,
    throttled: IntCounterVec,
    seconds: HistogramVec,
    /// Bytes of requests that are held.
    pub(crate) in_flight: IntGauge,
}

/// One stream's figures.
#[derive(Debug)]
pub(crate) struct Series {
    records: IntCounter,
    bytes: IntCounter,
    requests: IntCounter,
    throttled: IntCounter,
    seconds: Histogram,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| -> Result<IntCounterVec, prometheus::Error> {
            let counter = IntCounterVec::new(Opts::new(name, help), &["stream"])?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let seconds = HistogramVec::new(
            HistogramOpts::new(
                "hydrant_put_seconds",
                "From the parsed request to its durable acknowledgement.",
            )
            .buckets(prometheus::exponential_buckets(0.000_1, 2.0, 16)?),
            &["stream"],
        )?;
        registry.register(Box::new(seconds.clone()))?;
        let in_flight =
            IntGauge::new("hydrant_in_flight_bytes", "Bytes of requests that are being read or stored.")?;
        registry.register(Box::new(in_flight.clone()))?;
        Ok(Self {
            records: counter("hydrant_incoming_records_total", "Records acknowledged (IncomingRecords).")?,
            bytes: counter("hydrant_incoming_bytes_total", "Bytes of records acknowledged (IncomingBytes).")?,
            requests: counter(
                "hydrant_incoming_put_requests_total",
                "Calls acknowledged (IncomingPutRequests).",
            )?,
            throttled: counter(
                "hydrant_throttled_records_total",
                "Records refused because they could not be stored then (ThrottledRecords).",
            )?,
            seconds,
            in_flight,
        })
    }

    /// Looked up once per stream and kept by the caller.
    pub(crate) fn series(&self, stream: &StreamName) -> Series {
        let label = [stream.as_str()];
        Series {
            records: self.records.with_label_values(&label),
            bytes: self.bytes.with_label_values(&label),
            requests: self.requests.with_label_values(&label),
            throttled: self.throttled.with_label_values(&label),
            seconds: self.seconds.with_label_values(&label),
        }
    }

    pub(crate) fn forget(&self, stream: &StreamName) {
        let label = [stream.as_str()];
        for counter in [&self.records, &self.bytes, &self.requests, &self.throttled] {
            // Refused only where there is no such series, which is what is wanted.
            let _ = counter.remove_label_values(&label);
        }
        let _ = self.seconds.remove_label_values(&label);
    }
}

impl Series {
    pub(crate) fn admitted(&self, records: u64, bytes: u64, took: Duration) {
        self.requests.inc();
        self.records.inc_by(records);
        self.bytes.inc_by(bytes);
        self.seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn throttled(&self, records: u64) {
        self.throttled.inc_by(records);
    }
}
