//! A Redshift stand-in: the Data API over Postgres or SQLite, with a real COPY from S3.
//!
//! ```text
//!  Data API call ─▶ api ─▶ statements (journal, token) ─▶ runner: one transaction ─▶ engine (Postgres | SQLite)
//!                                                          │ COPY: manifest, objects ◀─ S3
//!                                                          └ outcome, in the same transaction
//! ```
//!
//! There is no Redshift to run locally, and a mock that gives canned answers proves nothing. This one runs the SQL, loads the rows and
//! survives `kill -9`: a statement's id, token and outcome are stored in the statement's own transaction. `README.md` has its limits.

mod api;
mod copy;
mod engine;
mod error;
mod field;
mod postgres;
mod runner;
mod sql;
mod sqlite;
mod statement;

use hydrant_types::Secret;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use error::Error;

/// Where tables and objects are.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `postgres://…` (14 or later), or `sqlite://path`.
    pub database_url: Secret,
    /// The database's name in the Data API; statements for another one fail.
    pub database: String,
    /// The S3 server that COPY reads from.
    pub s3: S3Settings,
}

/// The S3 server that COPY reads from.
#[derive(Debug, Clone, Default)]
pub struct S3Settings {
    /// AWS S3 when not given.
    pub endpoint_url: Option<String>,
    /// Else the usual AWS chain.
    pub region: Option<String>,
    /// `https://host/bucket/key` instead of `https://bucket.host/key`.
    pub force_path_style: bool,
    /// With the secret: instead of the usual AWS chain.
    pub access_key_id: Option<String>,
    /// With the access key.
    pub secret_access_key: Option<Secret>,
}

/// Serves the Data API until `shutdown`. Statements that are under way then are cut off and ABORTED.
///
/// # Errors
/// The database cannot be opened, or the listener failed.
pub async fn serve(
    listener: TcpListener,
    settings: Settings,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let s3 = copy::source::client(&settings.s3).await;
    let engine = engine::open(settings.database_url.reveal()).await?;
    let runner = runner::Runner::start(engine, s3, settings.database).await?;
    let served = api::serve(listener, runner.clone(), shutdown).await;
    runner.stop().await;
    served.map_err(Error::Listen)
}
