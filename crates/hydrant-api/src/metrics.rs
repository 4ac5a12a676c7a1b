//! What operators see of requests; names mirror CloudWatch's PutRecord.Requests, PutRecord.Latency and so on.

use std::{collections::HashMap, time::Duration};

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    exponential_buckets,
};

use crate::{
    error::{self, ApiError},
    operations::Operation,
    server::Cut,
};

/// Figures by operation. The labels' values are our own operations and error codes, all there from the start.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// `None`: requests that name no operation of ours.
    by_operation: HashMap<Option<Operation>, Series>,
}

/// One operation's figures.
#[derive(Debug)]
struct Series {
    ok: IntCounter,
    refused: HashMap<&'static str, IntCounter>,
    seconds: Histogram,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let requests = IntCounterVec::new(
            Opts::new(
                "hydrant_api_requests_total",
                "Requests answered, by operation and error code; `ok` for those without.",
            ),
            &["operation", "code"],
        )?;
        registry.register(Box::new(requests.clone()))?;
        let seconds = HistogramVec::new(
            HistogramOpts::new(
                "hydrant_request_seconds",
                "From a request's headers to its answer, the way of its body included.",
            )
            .buckets(exponential_buckets(0.000_2, 2.0, 18)?),
            &["operation"],
        )?;
        registry.register(Box::new(seconds.clone()))?;
        let series = |operation: Option<Operation>| {
            let name = operation.map_or("unknown", Operation::name);
            let counter = |code: &'static str| (code, requests.with_label_values(&[name, code]));
            let series = Series {
                ok: counter("ok").1,
                refused: error::CODES.into_iter().map(counter).collect(),
                seconds: seconds.with_label_values(&[name]),
            };
            (operation, series)
        };
        let operations = Operation::ALL.into_iter().map(Some).chain([None]);
        Ok(Self { by_operation: operations.map(series).collect() })
    }

    pub(crate) fn answered(&self, operation: Option<Operation>, error: Option<&ApiError>, took: Duration) {
        let series = &self.by_operation[&operation];
        series.seconds.observe(took.as_secs_f64());
        match error {
            None => series.ok.inc(),
            Some(error) => {
                if let Some(counter) = series.refused.get(error.code) {
                    counter.inc();
                }
            }
        }
    }
}

/// Figures of connections, with or without a request on them. Every reason is there from the start.
#[derive(Debug)]
pub(crate) struct ConnectionMetrics {
    open: IntGauge,
    accepted: IntCounter,
    cut: HashMap<Cut, IntCounter>,
}

impl ConnectionMetrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let open = IntGauge::new("hydrant_api_connections", "Connections that are open.")?;
        registry.register(Box::new(open.clone()))?;
        let accepted =
            IntCounter::new("hydrant_api_connections_accepted_total", "Connections that were accepted.")?;
        registry.register(Box::new(accepted.clone()))?;
        let cut = IntCounterVec::new(
            Opts::new(
                "hydrant_api_connections_cut_total",
                "Connections that ended otherwise than by a client that was done, by reason.",
            ),
            &["reason"],
        )?;
        registry.register(Box::new(cut.clone()))?;
        let cut = Cut::ALL.into_iter().map(|reason| (reason, cut.with_label_values(&[reason.reason()])));
        Ok(Self { open, accepted, cut: cut.collect() })
    }

    /// Counts a connection; open until what is returned is dropped.
    pub(crate) fn open(&self) -> Open<'_> {
        self.accepted.inc();
        self.open.inc();
        Open(&self.open)
    }

    pub(crate) fn cut(&self, reason: Cut) {
        self.cut[&reason].inc();
    }
}

/// A connection that is counted as open.
pub(crate) struct Open<'a>(&'a IntGauge);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}
