//! What each command does. One module a command; here the short ones.

pub mod bench;
pub mod config_check;
pub mod delivery;
pub mod endpoint;
pub mod health;
pub mod locate;
pub mod log;
pub mod put;
pub mod redshift_local;
pub mod state;
pub mod stream;

use std::{io::Write, process::ExitCode, time::Instant};

use anyhow::Result;
use serde_json::json;
use tracing::info;

use crate::{
    app::{self, Aws, Listeners, Start},
    cli::{Cli, Command, ConfigArgs, DevArgs, ServeArgs},
    config::{self, Config, Files},
    demo,
    dev::{self, Dev, Endpoints},
    reload,
};

/// Runs the command.
///
/// # Errors
/// It failed; [`crate::cli::failed`] says so.
pub async fn run(cli: Cli) -> Result<ExitCode> {
    let json = cli.json;
    let out = &mut std::io::stdout();
    match cli.command {
        Command::Dev(args) => dev(args, json, out).await,
        Command::Demo => demo(json, out).await,
        Command::Serve(args) => serve(args, json, out).await,
        Command::Config(args) => config_check::run(args, json, out),
        Command::Migrate(args) => migrate(args, json, out).await,
        Command::Put(args) => put::run(args, json, out).await,
        Command::Stream(args) => stream::run(args, json, out).await,
        Command::Where(args) => locate::run(args, json, out).await,
        Command::Delivery(args) => delivery::run(args, json, out).await,
        Command::Log(args) => log::run(args, json, out).await,
        Command::RedshiftLocal(args) => redshift_local::run(args, json, out).await,
        Command::Health(args) => health::run(args, json, out).await,
        Command::Bench(args) => bench::run(args, json, out).await,
    }
}

impl ConfigArgs {
    /// Reads and checks the configuration.
    ///
    /// # Errors
    /// [`config::Faults`].
    pub fn load(&self) -> Result<Config> {
        Ok(Config::load(self.config.as_deref(), &config::process_environment())?)
    }

    /// The same, with the files that it names.
    ///
    /// # Errors
    /// [`config::Faults`], of all of them.
    pub fn load_with_files(&self) -> Result<(Config, Files)> {
        Ok(Config::load_with_files(self.config.as_deref(), &config::process_environment(), None)?)
    }
}

/// As JSON without the talk: only that every record arrived once, and how long it took.
async fn demo(as_json: bool, out: &mut dyn Write) -> Result<ExitCode> {
    if as_json {
        let begun = Instant::now();
        demo::run(&mut std::io::sink()).await?;
        writeln!(out, "{}", json!({"passed": true, "seconds": begun.elapsed().as_secs_f64()}))?;
    } else {
        demo::run(out).await?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn serve(args: ServeArgs, as_json: bool, out: &mut dyn Write) -> Result<ExitCode> {
    // Before anything else: a SIGHUP that nobody listens for ends the process.
    let reload = Some(reload::Source::new(args.config.config.clone())?);
    let (config, files) = args.config.load_with_files()?;
    let shutdown = app::shutdown_on_signals()?;
    let listeners = Listeners::bind(&config).await?;
    let (api, admin) = (listeners.api.local_addr()?, listeners.admin.local_addr()?);
    info!(%api, %admin, "starting");
    if as_json {
        let scheme = if files.tls.is_some() { "https" } else { "http" };
        writeln!(out, "{}", json!({"api": format!("{scheme}://{api}"), "admin": format!("http://{admin}")}))?;
        out.flush()?;
    }
    let aws = Aws::from_chain(&config).await;
    let start = Start { config, files, migrate: args.migrate, reload };
    app::run(start, listeners, aws, shutdown).await?;
    Ok(ExitCode::SUCCESS)
}

async fn migrate(args: ConfigArgs, as_json: bool, out: &mut dyn Write) -> Result<ExitCode> {
    let config = args.load()?;
    hydrant_metastore::migrate(config.metastore.url.reveal()).await?;
    info!("the metastore's schema is up to date");
    if as_json {
        writeln!(out, "{}", json!({"migrated": true}))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn dev(args: DevArgs, json: bool, out: &mut dyn Write) -> Result<ExitCode> {
    let options = dev::Options {
        data_dir: args.data_dir,
        listen: app::loopback_only("--listen", args.listen)?,
        admin_listen: app::loopback_only("--admin-listen", args.admin_listen)?,
        s3_listen: app::loopback_only("--s3-listen", args.s3_listen)?,
        redshift_listen: app::loopback_only("--redshift-listen", args.redshift_listen)?,
    };
    let shutdown = app::shutdown_on_signals()?;
    let dev = Dev::start(options, &config::process_environment(), shutdown).await?;
    if json {
        writeln!(out, "{}", serde_json::to_string(&dev.endpoints)?)?;
    } else {
        welcome(&dev, out)?;
    }
    out.flush()?;
    dev.join().await?;
    Ok(ExitCode::SUCCESS)
}

/// A table as the commands print it: a heading and columns, no lines.
pub fn table(header: &[&str]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::NOTHING).set_header(header);
    table
}

/// What to point where, ready to be pasted.
fn welcome(dev: &Dev, out: &mut dyn Write) -> std::io::Result<()> {
    let Endpoints { api, admin, s3, redshift } = &dev.endpoints;
    let data_dir = dev.data_dir.display();
    write!(
        out,
        r#"
Hydrant is up. Data is kept in {data_dir}; Ctrl-C stops it.

  Firehose API       {api}     streams demo-s3 and demo-redshift
  S3                 {s3}     bucket demo, access key test, secret test
  Redshift Data API  {redshift}     workgroup local, database dev, table events
  Metrics, health    {admin}/metrics

In another terminal, with aws-cli 2 (version 1: without --cli-binary-format raw-in-base64-out):

  export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION=us-east-1
  aws firehose put-record --endpoint-url {api} --delivery-stream-name demo-redshift \
      --cli-binary-format raw-in-base64-out --record '{{"Data":"{{\"id\":1,\"kind\":\"hello\"}}\n"}}'
  aws s3 ls --recursive --endpoint-url {s3} s3://demo/
  aws redshift-data execute-statement --endpoint-url {redshift} --workgroup-name local --database dev \
      --sql "SELECT * FROM events" --query Id --output text
  aws redshift-data get-statement-result --endpoint-url {redshift} --id THE_ID_ABOVE

or with boto3:

  import boto3
  firehose = boto3.client("firehose", endpoint_url="{api}", region_name="us-east-1",
                          aws_access_key_id="test", aws_secret_access_key="test")
  firehose.put_record(DeliveryStreamName="demo-s3", Record={{"Data": b'{{"id": 2}}\n'}})

"#
    )
}
