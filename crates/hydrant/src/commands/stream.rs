//! `hydrant stream`: the control API from the shell.

use std::{io::Write, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, bail};
use hydrant_client::Client;
use serde_json::{Value, json};

use super::endpoint;

/// Create, list, describe and delete delivery streams.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Create a stream: from the JSON that aws-cli takes, or one that delivers gzip to S3.
    Create(CreateArgs),
    /// List streams.
    List(ListArgs),
    /// Describe a stream.
    Describe(NameArgs),
    /// Delete a stream; what was acknowledged is delivered first.
    Delete(NameArgs),
}

#[derive(Debug, clap::Args)]
struct CreateArgs {
    /// The stream's name; with --cli-input-json it may be in the file instead.
    name: Option<String>,
    /// The input of CreateDeliveryStream, exactly as `aws firehose create-delivery-stream --cli-input-json` takes it.
    #[arg(long, value_name = "FILE", conflicts_with = "s3_bucket", required_unless_present = "s3_bucket")]
    cli_input_json: Option<PathBuf>,
    /// Deliver gzip to this bucket.
    #[arg(long, value_name = "BUCKET")]
    s3_bucket: Option<String>,
    /// Before the date in each object's key, such as `orders/`.
    #[arg(long, requires = "s3_bucket")]
    prefix: Option<String>,
    /// Kept and shown; AWS demands one.
    #[arg(long, default_value = "arn:aws:iam::000000000000:role/hydrant", requires = "s3_bucket")]
    role_arn: String,
    #[command(flatten)]
    endpoint: endpoint::Args,
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    endpoint: endpoint::Args,
}

#[derive(Debug, clap::Args)]
struct NameArgs {
    /// The stream's name.
    name: String,
    #[command(flatten)]
    endpoint: endpoint::Args,
}

/// Runs the subcommand.
///
/// # Errors
/// The service refused, or does not answer.
pub async fn run(args: Args, as_json: bool, out: &mut dyn Write) -> Result<ExitCode> {
    match args.command {
        Command::Create(args) => create(args, as_json, out).await?,
        Command::List(args) => list(&args.endpoint.client().await?, as_json, out).await?,
        Command::Describe(args) => describe(args, out).await?,
        Command::Delete(args) => delete(args, as_json, out).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn create(args: CreateArgs, as_json: bool, out: &mut dyn Write) -> Result<()> {
    let input = create_input(&args)?;
    let answer = args.endpoint.client().await?.call("CreateDeliveryStream", &input).await?;
    match as_json {
        true => writeln!(out, "{answer}")?,
        false => writeln!(out, "{}", answer["DeliveryStreamARN"].as_str().unwrap_or_default())?,
    }
    Ok(())
}

fn create_input(args: &CreateArgs) -> Result<Value> {
    let mut input = match (&args.cli_input_json, &args.s3_bucket) {
        (Some(path), _) => {
            let text = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
            serde_json::from_slice(&text).with_context(|| format!("{} is not JSON", path.display()))?
        }
        (None, Some(bucket)) => json!({"ExtendedS3DestinationConfiguration": {
            "RoleARN": args.role_arn,
            "BucketARN": format!("arn:aws:s3:::{bucket}"),
            "Prefix": args.prefix,
            "CompressionFormat": "GZIP",
        }}),
        (None, None) => bail!("expected --cli-input-json or --s3-bucket"),
    };
    let named = args.name.clone().or_else(|| input["DeliveryStreamName"].as_str().map(str::to_owned));
    input["DeliveryStreamName"] = named.context("the stream has no name: give it as argument")?.into();
    Ok(input)
}

async fn list(client: &Client, as_json: bool, out: &mut dyn Write) -> Result<()> {
    let mut names: Vec<Value> = Vec::new();
    loop {
        let mut input = json!({"Limit": 1000});
        if let Some(last) = names.last() {
            input["ExclusiveStartDeliveryStreamName"] = last.clone();
        }
        let page = client.call("ListDeliveryStreams", &input).await?;
        names.extend(page["DeliveryStreamNames"].as_array().cloned().unwrap_or_default());
        if page["HasMoreDeliveryStreams"] != true {
            break;
        }
    }
    if as_json {
        writeln!(out, "{}", Value::from(names))?;
        return Ok(());
    }
    let mut table = super::table(&["STREAM", "STATUS", "VERSION", "DESTINATION"]);
    for name in names {
        let described = client.call("DescribeDeliveryStream", &json!({"DeliveryStreamName": name})).await?;
        let stream = &described["DeliveryStreamDescription"];
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        table.add_row([
            text(&name),
            text(&stream["DeliveryStreamStatus"]),
            text(&stream["VersionId"]),
            destination(stream),
        ]);
    }
    writeln!(out, "{}", table.trim_fmt())?;
    Ok(())
}

/// In one line: `s3://bucket/prefix`, or the table.
fn destination(stream: &Value) -> String {
    let described = &stream["Destinations"][0];
    if let Some(table) = described["RedshiftDestinationDescription"]["CopyCommand"]["DataTableName"].as_str()
    {
        return format!("Redshift table {table}");
    }
    let s3 = &described["S3DestinationDescription"];
    let bucket = s3["BucketARN"].as_str().unwrap_or_default().rsplit(':').next().unwrap_or_default();
    format!("s3://{bucket}/{}", s3["Prefix"].as_str().unwrap_or_default())
}

async fn describe(args: NameArgs, out: &mut dyn Write) -> Result<()> {
    let input = json!({"DeliveryStreamName": args.name});
    let answer = args.endpoint.client().await?.call("DescribeDeliveryStream", &input).await?;
    writeln!(out, "{}", serde_json::to_string_pretty(&answer["DeliveryStreamDescription"])?)?;
    Ok(())
}

async fn delete(args: NameArgs, as_json: bool, out: &mut dyn Write) -> Result<()> {
    let input = json!({"DeliveryStreamName": args.name});
    args.endpoint.client().await?.call("DeleteDeliveryStream", &input).await?;
    tracing::info!(stream = args.name, "deleting: what was acknowledged is delivered first");
    if as_json {
        // Firehose answers {}; this says what it means.
        let answer = json!({"DeliveryStreamName": args.name, "DeliveryStreamStatus": "DELETING"});
        writeln!(out, "{answer}")?;
    }
    Ok(())
}
