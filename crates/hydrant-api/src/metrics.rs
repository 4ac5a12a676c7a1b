//! What operators see of requests.

use std::collections::HashMap;

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

use crate::error::{self, ApiError};

/// Requests by outcome. The label's values are our own error codes, all there from the start.
#[derive(Debug)]
pub(crate) struct Metrics {
    ok: IntCounter,
    refused: HashMap<&'static str, IntCounter>,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let requests = IntCounterVec::new(
            Opts::new(
                "hydrant_api_requests_total",
                "Requests answered, by error code; `ok` for those without.",
            ),
            &["code"],
        )?;
        registry.register(Box::new(requests.clone()))?;
        let counter = |code: &'static str| (code, requests.with_label_values(&[code]));
        Ok(Self { ok: counter("ok").1, refused: error::CODES.into_iter().map(counter).collect() })
    }

    pub(crate) fn answered(&self, error: Option<&ApiError>) {
        match error {
            None => self.ok.inc(),
            Some(error) => {
                if let Some(counter) = self.refused.get(error.code) {
                    counter.inc();
                }
            }
        }
    }
}
