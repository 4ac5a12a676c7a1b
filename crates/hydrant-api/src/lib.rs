//! The Firehose protocol over HTTP: JSON 1.1, validation, operations.
//!
//! ```text
//!  connection ─▶ server ─▶ exchange, body ─▶ operations ─┬─ put ─▶ scanner ─▶ ingest ─▶ record log
//!                (limits)  (AWS's shapes)                 └─ control ─▶ shape, model ─▶ metastore
//! ```
//!
//! The wire format and every error text are Firehose's own; nothing here is a rule of the domain. Checks come in the service's order:
//! SerializationException, then all shape violations in one ValidationException, then what only the settings together can say.

#[doc(hidden)]
pub mod bench;
mod body;
mod create;
mod describe;
mod error;
mod exchange;
mod jdbc;
mod metrics;
mod model;
mod operations;
mod put;
mod put_json;
mod scanner;
mod server;
mod shape;

use std::sync::Arc;

use hydrant_ingest::{Ingest, StreamTable};
use hydrant_log::RecordLog;
use hydrant_metastore::Metastore;
use hydrant_types::{Clock, Entropy};
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use error::ApiError;
pub use server::Settings;

/// What the API is served from.
pub struct Deps {
    /// Where records go.
    pub log: Arc<dyn RecordLog>,
    /// Where streams are created.
    pub metastore: Arc<dyn Metastore>,
    /// The streams this node knows.
    pub streams: Arc<StreamTable>,
    /// Arrival times.
    pub clock: Arc<dyn Clock>,
    /// Request ids.
    pub entropy: Arc<dyn Entropy>,
    /// Where figures are shown.
    pub registry: Registry,
}

/// Serves until `shutdown`, then finishes the requests that are under way.
///
/// # Errors
/// The registry refused a metric.
pub async fn serve(
    listener: TcpListener,
    deps: Deps,
    settings: Settings,
    shutdown: CancellationToken,
) -> Result<(), prometheus::Error> {
    let ingest = Ingest::new(
        deps.log.clone(),
        deps.streams.clone(),
        deps.clock.clone(),
        &deps.registry,
        &settings.ingest,
    )?;
    let forgetting = tokio::spawn(forget_gone_streams(ingest.clone(), deps.streams.clone()));
    let exchange = exchange::Exchange {
        operations: operations::Operations {
            ingest,
            metastore: deps.metastore,
            streams: deps.streams,
            log: deps.log,
            clock: deps.clock.clone(),
            account_id: settings.account_id.clone(),
            region: settings.region.clone(),
        },
        clock: deps.clock,
        entropy: deps.entropy,
        metrics: metrics::Metrics::new(&deps.registry)?,
        body_timeout: settings.body_timeout,
    };
    server::accept(Arc::new(exchange), &settings, listener, shutdown).await;
    forgetting.abort();
    Ok(())
}

/// Series of streams that are gone are dropped when the table changes; until the table is.
async fn forget_gone_streams(ingest: Ingest, streams: Arc<StreamTable>) {
    let mut generation = streams.generation();
    drop(streams);
    while generation.changed().await.is_ok() {
        ingest.forget_gone_streams();
    }
}
