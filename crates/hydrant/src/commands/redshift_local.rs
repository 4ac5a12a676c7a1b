//! `hydrant redshift-local`: the stand-in by itself.

use std::{io::Write, net::SocketAddr, process::ExitCode};

use anyhow::{Context, Result};
use hydrant_redshift_local::{S3Settings, Settings};
use hydrant_types::Secret;
use serde_json::json;

use crate::app;

/// A Redshift stand-in: the Data API over Postgres or SQLite, with a real COPY from S3.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The Data API; any credentials are accepted, so mind who reaches it.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4576")]
    listen: SocketAddr,
    /// Where tables are: postgres://… or sqlite://path.
    #[arg(long, value_name = "URL", env = "HYDRANT_REDSHIFT_LOCAL_DATABASE_URL", hide_env_values = true)]
    database_url: String,
    /// The database's name in the Data API.
    #[arg(long, default_value = "dev")]
    database: String,
    /// The S3 server that COPY reads from; AWS S3 when not given.
    #[arg(long, value_name = "URL", env = "HYDRANT_REDSHIFT_LOCAL_S3_ENDPOINT_URL")]
    s3_endpoint_url: Option<String>,
    /// Region of the buckets; else the usual AWS chain, as for credentials.
    #[arg(long)]
    s3_region: Option<String>,
}

/// Serves until SIGTERM. As JSON it prints one line when it listens: `{"redshift":"http://…"}`.
///
/// # Errors
/// It could not start.
pub async fn run(args: Args, as_json: bool, out: &mut dyn Write) -> Result<ExitCode> {
    let shutdown = app::shutdown_on_signals()?;
    let listener = app::bind(args.listen, "--listen").await?;
    let address = listener.local_addr()?;
    tracing::info!(listen = %address, "the Redshift stand-in listens");
    if as_json {
        writeln!(out, "{}", json!({"redshift": format!("http://{address}")}))?;
        out.flush()?;
    }
    let settings = Settings {
        database_url: Secret::new(args.database_url),
        database: args.database,
        s3: S3Settings {
            force_path_style: args.s3_endpoint_url.is_some(),
            endpoint_url: args.s3_endpoint_url,
            region: args.s3_region,
            access_key_id: None,
            secret_access_key: None,
        },
    };
    hydrant_redshift_local::serve(listener, settings, shutdown)
        .await
        .context("serve the Redshift stand-in")?;
    Ok(ExitCode::SUCCESS)
}
