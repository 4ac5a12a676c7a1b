//! One query through the Redshift Data API, for showing people what arrived.

use std::time::Duration;

use anyhow::{Result, bail};
use aws_credential_types::Credentials;
use aws_sdk_redshiftdata::{
    Client,
    types::{Field, StatusString},
};
use serde_json::Value;

use crate::aws;

/// Between two looks at a statement that is still running.
const POLL: Duration = Duration::from_millis(20);
/// A query for show that takes longer is given up.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Runs `sql` and gives its rows, empty for a statement without a result.
///
/// # Errors
/// The statement failed, or took too long.
pub async fn run(endpoint_url: &str, workgroup: &str, database: &str, sql: &str) -> Result<Vec<Vec<Value>>> {
    let client = client(endpoint_url).await;
    tokio::time::timeout(TIMEOUT, run_with(&client, workgroup, database, sql)).await?
}

/// A client for the stand-in, which takes any credentials.
pub async fn client(endpoint_url: &str) -> Client {
    let credentials = Credentials::new("test", "test", None, None, "hydrant dev");
    let sdk = aws::sdk_config(Some("us-east-1"), Some(credentials)).await;
    let config = aws_sdk_redshiftdata::config::Builder::from(&sdk).endpoint_url(endpoint_url).build();
    Client::from_conf(config)
}

async fn run_with(client: &Client, workgroup: &str, database: &str, sql: &str) -> Result<Vec<Vec<Value>>> {
    let submitted =
        client.execute_statement().workgroup_name(workgroup).database(database).sql(sql).send().await?;
    let id = submitted.id.unwrap_or_default();
    loop {
        let statement = client.describe_statement().id(&id).send().await?;
        match statement.status {
            Some(StatusString::Finished) if statement.has_result_set == Some(true) => break,
            Some(StatusString::Finished) => return Ok(Vec::new()),
            Some(StatusString::Failed | StatusString::Aborted) => {
                bail!("{sql}: {}", statement.error.unwrap_or_default())
            }
            _ => tokio::time::sleep(POLL).await,
        }
    }
    let result = client.get_statement_result().id(&id).send().await?;
    Ok(result.records.iter().map(|row| row.iter().map(value).collect()).collect())
}

fn value(field: &Field) -> Value {
    match field {
        Field::LongValue(n) => (*n).into(),
        Field::DoubleValue(n) => (*n).into(),
        Field::BooleanValue(b) => (*b).into(),
        Field::StringValue(s) => s.as_str().into(),
        _ => Value::Null,
    }
}
