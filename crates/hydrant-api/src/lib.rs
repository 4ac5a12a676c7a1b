//! The Firehose protocol over HTTP: JSON 1.1, validation, operations.
//!
//! ```text
//!  connection ─▶ server ─▶ exchange, body ─▶ operations ─┬─ put ─▶ scanner ─▶ ingest ─▶ record log
//!                (limits)  (AWS's shapes)                 └─ control ─▶ model ─▶ rules ─▶ metastore
//! ```
//!
//! The wire format and every error text are Firehose's own; nothing here is a rule of the domain. Checks come in the service's order:
//! SerializationException, then all shape violations in one ValidationException, then what only the settings together can say.

mod access;
#[doc(hidden)]
pub mod bench;
mod body;
mod control;
mod control_json;
mod create;
mod declare;
mod describe;
mod destination;
mod encryption;
mod error;
mod exchange;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod head;
#[cfg(test)]
mod hostile;
mod input;
mod jdbc;
mod metrics;
mod model;
mod operations;
mod put;
mod put_json;
mod rules;
mod scanner;
mod server;
mod shape;
mod tags;
mod tls;
mod update;

use std::sync::Arc;

use hydrant_auth::Authenticator;
use hydrant_ingest::{Ingest, Keyring, StreamTable};
use hydrant_log::RecordLog;
use hydrant_metastore::Metastore;
use hydrant_types::{Clock, Entropy};
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use access::SERVICE;
pub use control::Control;
pub use declare::{Change, DeclarationFault, DeclarationFaults, DeclareError, check_declaration};
pub use error::ApiError;
pub use server::Settings;
pub use tls::{TlsCertificates, TlsError};

/// What the API is served from.
pub struct Deps {
    /// Where records go.
    pub log: Arc<dyn RecordLog>,
    /// Where streams are created.
    pub metastore: Arc<dyn Metastore>,
    /// The streams this node knows.
    pub streams: Arc<StreamTable>,
    /// Who may call. Its keys can be replaced while this serves.
    pub authenticator: Arc<Authenticator>,
    /// Arrival times.
    pub clock: Arc<dyn Clock>,
    /// What streams are encrypted with.
    pub keyring: Arc<Keyring>,
    /// Request ids.
    pub entropy: Arc<dyn Entropy>,
    /// What the listener shows; `None` for plain HTTP.
    pub tls: Option<TlsCertificates>,
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
        deps.keyring.clone(),
        deps.clock.clone(),
        &deps.registry,
        &settings.ingest,
    )?;
    let forgetting = tokio::spawn(forget_gone_streams(ingest.clone(), deps.streams.clone()));
    let exchange = exchange::Exchange {
        operations: operations::Operations {
            ingest,
            log: deps.log,
            control: Control {
                metastore: deps.metastore,
                streams: deps.streams,
                clock: deps.clock.clone(),
                keyring: deps.keyring,
                entropy: deps.entropy.clone(),
                account_id: settings.account_id.clone(),
                region: settings.region.clone(),
            },
        },
        authenticator: deps.authenticator,
        clock: deps.clock,
        entropy: deps.entropy,
        metrics: metrics::Metrics::new(&deps.registry)?,
        body_timeout: settings.body_timeout,
    };
    let figures = metrics::ConnectionMetrics::new(&deps.registry)?;
    let connections = server::Connections::new(exchange, deps.tls, &settings, figures, shutdown.clone());
    server::accept(connections, settings.connections_max, listener, shutdown).await;
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
