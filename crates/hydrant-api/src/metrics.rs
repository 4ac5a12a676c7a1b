//! What operators see of requests; names mirror CloudWatch's PutRecord.Requests, PutRecord.Latency and so on.

use std::{collections::HashMap, time::Duration};

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry, exponential_buckets,
};

use crate::{
    error::{self, ApiError},
    operations::Operation,
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
