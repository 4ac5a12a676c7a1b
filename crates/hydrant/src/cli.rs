//! The command line.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use crate::{commands, config::Faults};

/// A self-hosted delivery service that speaks Amazon Data Firehose's API.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    /// Print data as JSON.
    #[arg(long, global = true)]
    pub json: bool,
    /// Write the log as JSON lines. HYDRANT_LOG sets what is logged (default: info).
    #[arg(long, global = true, env = "HYDRANT_LOG_JSON")]
    pub log_json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run everything in one process with embedded parts: API, S3, SQLite, Redshift stand-in.
    Dev(DevArgs),
    /// Show the whole way of a record on free ports, and check that every record arrived once.
    Demo,
    /// Run the service.
    Serve(ServeArgs),
    /// Check a configuration and the streams in its files.
    Config(commands::config_check::Args),
    /// Bring the metastore's schema up to date.
    Migrate(ConfigArgs),
    /// Put newline-delimited records from a file or standard input.
    Put(commands::put::Args),
    /// Create, list, describe, change and delete delivery streams.
    Stream(commands::stream::Args),
    /// Show the way of one record: which batch, object and COPY, in which state, since when.
    Where(commands::locate::Args),
    /// Show what is under way, what failed and why.
    Delivery(commands::delivery::Args),
    /// Look into a record log, and settle a disagreement between it and the metastore.
    Log(commands::log::Args),
    /// Run the Redshift stand-in by itself.
    RedshiftLocal(commands::redshift_local::Args),
    /// Ask a running service whether it is ready, for container health checks.
    Health(commands::health::Args),
    /// Generate load, measure it, and account for every record.
    Bench(commands::bench::Args),
}

impl Command {
    /// What is logged where HYDRANT_LOG does not say: a service tells what changes, a demonstration shows it in its own words.
    pub fn log_default(&self) -> &'static str {
        match self {
            Self::Demo => "warn,aws_config=error,h2=error",
            // Outside AWS there is no instance metadata to ask for a region, and a client's HTTP/2 is the client's: nobody wants to be warned of these.
            _ => "info,aws_config=error,h2=error",
        }
    }
}

/// Which configuration file.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// The configuration file; HYDRANT_… variables override it.
    #[arg(short, long, value_name = "FILE", env = "HYDRANT_CONFIG")]
    pub config: Option<PathBuf>,
}

/// `hydrant serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Bring a Postgres metastore's schema up to date first (SQLite's always is).
    #[arg(long)]
    pub migrate: bool,
}

/// `hydrant dev`.
#[derive(Debug, Args)]
pub struct DevArgs {
    /// Where data is kept between runs.
    #[arg(long, value_name = "DIR", default_value = "./hydrant-data")]
    pub data_dir: PathBuf,
    /// The Firehose API; port 0 picks a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4573")]
    pub listen: SocketAddr,
    /// Metrics and health.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4574")]
    pub admin_listen: SocketAddr,
    /// The embedded S3.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4575")]
    pub s3_listen: SocketAddr,
    /// The Redshift stand-in.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4576")]
    pub redshift_listen: SocketAddr,
}

/// Says what failed, with its causes, and gives the exit code: 64 for a configuration, 1 for anything else.
pub fn failed(error: &anyhow::Error) -> ExitCode {
    use std::io::Write;
    // Nothing is left to do about a standard error that cannot be written.
    let _ = writeln!(std::io::stderr(), "hydrant: {error:#}");
    if error.downcast_ref::<Faults>().is_some() { ExitCode::from(64) } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Cli::command().debug_assert();
    }
}
