//! `hydrant stream`: the control API from the shell.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use hydrant_client::Client;
use serde_json::{Value, json};

use super::endpoint;

/// Create, list, describe, change and delete delivery streams.
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
    /// Give a stream other settings: a new version, in force from the next batch on.
    Update(UpdateArgs),
    /// Delete a stream; what was acknowledged is delivered first.
    Delete(DeleteArgs),
    /// Set tags; those named hydrant:… are settings (docs/api.md lists them).
    Tag(TagArgs),
    /// Remove tags.
    Untag(UntagArgs),
    /// List a stream's tags.
    Tags(NameArgs),
    /// Encrypt a stream's records in the log from now on, under a new data key.
    StartEncryption(StartEncryptionArgs),
    /// Keep a stream's records in the log in clear from now on.
    StopEncryption(NameArgs),
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
    /// Before the date in the keys of what could not be processed, such as `errors/!{firehose:error-output-type}/`; demanded where --prefix has
    /// expressions.
    #[arg(long, requires = "s3_bucket")]
    error_output_prefix: Option<String>,
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
struct UpdateArgs {
    /// The stream's name; it may be in the file instead.
    name: Option<String>,
    /// The input of UpdateDestination, exactly as `aws firehose update-destination --cli-input-json` takes it. CurrentDeliveryStreamVersionId
    /// and DestinationId may be left out: then it is whatever the stream has now.
    #[arg(long, value_name = "FILE")]
    cli_input_json: PathBuf,
    #[command(flatten)]
    endpoint: endpoint::Args,
}

#[derive(Debug, clap::Args)]
struct DeleteArgs {
    /// The stream's name.
    name: String,
    /// Throw away what was acknowledged and not delivered yet. It is recorded what was thrown away. Also for a stream that is being
    /// deleted already and does not get on. (Sets the tag hydrant:on-delete first.)
    #[arg(long)]
    discard: bool,
    #[command(flatten)]
    endpoint: endpoint::Args,
}

#[derive(Debug, clap::Args)]
struct TagArgs {
    /// The stream's name.
    name: String,
    /// Tags to set.
    #[arg(required = true, value_name = "KEY=VALUE", value_parser = tag)]
    tags: Vec<(String, String)>,
    #[command(flatten)]
    endpoint: endpoint::Args,
}

#[derive(Debug, clap::Args)]
struct UntagArgs {
    /// The stream's name.
    name: String,
    /// Keys of tags to remove.
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<String>,
    #[command(flatten)]
    endpoint: endpoint::Args,
}

#[derive(Debug, clap::Args)]
struct StartEncryptionArgs {
    /// The stream's name.
    name: String,
    /// ARN of a configured key; without it the default key is used.
    #[arg(long, value_name = "ARN")]
    key_arn: Option<String>,
    #[command(flatten)]
    endpoint: endpoint::Args,
}

/// `KEY=VALUE`; a value may hold `=`.
fn tag(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
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
        Command::Update(args) => update(args, as_json, out).await?,
        Command::Delete(args) => delete(args, as_json, out).await?,
        Command::Tag(args) => {
            let input = json!({"DeliveryStreamName": args.name, "Tags": tag_list(&args.tags)});
            call("TagDeliveryStream", &input, &args.endpoint, as_json, out).await?;
        }
        Command::Untag(args) => {
            let input = json!({"DeliveryStreamName": args.name, "TagKeys": args.keys});
            call("UntagDeliveryStream", &input, &args.endpoint, as_json, out).await?;
        }
        Command::Tags(args) => tags(args, as_json, out).await?,
        Command::StartEncryption(args) => {
            let mut input = json!({"DeliveryStreamName": args.name});
            if let Some(arn) = args.key_arn {
                input["DeliveryStreamEncryptionConfigurationInput"] =
                    json!({"KeyType": "CUSTOMER_MANAGED_CMK", "KeyARN": arn});
            }
            call("StartDeliveryStreamEncryption", &input, &args.endpoint, as_json, out).await?;
        }
        Command::StopEncryption(args) => {
            let input = json!({"DeliveryStreamName": args.name});
            call("StopDeliveryStreamEncryption", &input, &args.endpoint, as_json, out).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// An operation whose answer says nothing but that it was done.
async fn call(
    operation: &str,
    input: &Value,
    endpoint: &endpoint::Args,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<()> {
    let answer = endpoint.client().await?.call(operation, input).await?;
    if as_json {
        writeln!(out, "{answer}")?;
    }
    Ok(())
}

fn tag_list(tags: &[(String, String)]) -> Value {
    tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect()
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
    let input = match (&args.cli_input_json, &args.s3_bucket) {
        (Some(path), _) => read_json(path)?,
        (None, Some(bucket)) => json!({"ExtendedS3DestinationConfiguration": {
            "RoleARN": args.role_arn,
            "BucketARN": format!("arn:aws:s3:::{bucket}"),
            "Prefix": args.prefix,
            "ErrorOutputPrefix": args.error_output_prefix,
            "CompressionFormat": "GZIP",
        }}),
        (None, None) => bail!("expected --cli-input-json or --s3-bucket"),
    };
    named(input, args.name.as_deref())
}

fn read_json(path: &Path) -> Result<Value> {
    let text = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is not JSON", path.display()))
}

/// The argument, where there is one, before what the input says.
fn named(mut input: Value, name: Option<&str>) -> Result<Value> {
    let name = name.or(input["DeliveryStreamName"].as_str());
    let name = name.context("the stream has no name: give it as argument")?.to_owned();
    let members = input.as_object_mut().context("expected a JSON object")?;
    members.insert("DeliveryStreamName".to_owned(), name.into());
    Ok(input)
}

async fn update(args: UpdateArgs, as_json: bool, out: &mut dyn Write) -> Result<()> {
    let mut input = named(read_json(&args.cli_input_json)?, args.name.as_deref())?;
    let client = args.endpoint.client().await?;
    let describe = json!({"DeliveryStreamName": input["DeliveryStreamName"]});
    for (member, current) in [
        ("CurrentDeliveryStreamVersionId", "/DeliveryStreamDescription/VersionId"),
        ("DestinationId", "/DeliveryStreamDescription/Destinations/0/DestinationId"),
    ] {
        if input[member].is_null() {
            let described = client.call("DescribeDeliveryStream", &describe).await?;
            input[member] = described.pointer(current).cloned().unwrap_or_default();
        }
    }
    client.call("UpdateDestination", &input).await?;
    let described = client.call("DescribeDeliveryStream", &describe).await?;
    let version = &described["DeliveryStreamDescription"]["VersionId"];
    match as_json {
        true => writeln!(out, "{}", json!({"VersionId": version}))?,
        false => writeln!(out, "version {}", version.as_str().unwrap_or_default())?,
    }
    Ok(())
}

async fn tags(args: NameArgs, as_json: bool, out: &mut dyn Write) -> Result<()> {
    let client = args.endpoint.client().await?;
    let mut tags: Vec<Value> = Vec::new();
    loop {
        let mut input = json!({"DeliveryStreamName": args.name});
        if let Some(last) = tags.last() {
            input["ExclusiveStartTagKey"] = last["Key"].clone();
        }
        let page = client.call("ListTagsForDeliveryStream", &input).await?;
        tags.extend(page["Tags"].as_array().cloned().unwrap_or_default());
        if page["HasMoreTags"] != true {
            break;
        }
    }
    if as_json {
        writeln!(out, "{}", Value::from(tags))?;
        return Ok(());
    }
    let mut table = super::table(&["KEY", "VALUE"]);
    for tag in tags {
        let text = |member: &str| tag[member].as_str().unwrap_or_default().to_owned();
        table.add_row([text("Key"), text("Value")]);
    }
    writeln!(out, "{}", table.trim_fmt())?;
    Ok(())
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

async fn delete(args: DeleteArgs, as_json: bool, out: &mut dyn Write) -> Result<()> {
    let client = args.endpoint.client().await?;
    if args.discard {
        let tag = [("hydrant:on-delete".to_owned(), "discard".to_owned())];
        let input = json!({"DeliveryStreamName": args.name, "Tags": tag_list(&tag)});
        client.call("TagDeliveryStream", &input).await.context("say that what is left is to be discarded")?;
    }
    client.call("DeleteDeliveryStream", &json!({"DeliveryStreamName": args.name})).await?;
    match args.discard {
        true => tracing::info!(stream = args.name, "deleting: what was not delivered yet is discarded"),
        false => tracing::info!(stream = args.name, "deleting: what was acknowledged is delivered first"),
    }
    if as_json {
        // Firehose answers {}; this says what it means.
        let answer = json!({"DeliveryStreamName": args.name, "DeliveryStreamStatus": "DELETING"});
        writeln!(out, "{answer}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Create {
        #[command(flatten)]
        args: CreateArgs,
    }

    #[test]
    fn prefixes_reach_the_call_as_they_are_written() {
        let (prefix, errors) = ("orders/!{timestamp:yyyy}/", "errors/!{firehose:error-output-type}/");
        let given =
            ["create", "orders", "--s3-bucket", "b", "--prefix", prefix, "--error-output-prefix", errors];
        let input = create_input(&Create::try_parse_from(given).unwrap().args).unwrap();
        let destination = &input["ExtendedS3DestinationConfiguration"];
        assert_eq!(
            (&destination["Prefix"], &destination["ErrorOutputPrefix"]),
            (&prefix.into(), &errors.into())
        );
        assert_eq!(
            (&input["DeliveryStreamName"], &destination["BucketARN"]),
            (&"orders".into(), &"arn:aws:s3:::b".into())
        );
    }
}
