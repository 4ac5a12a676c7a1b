//! `hydrant demo`: the whole way of a record, shown as it happens and checked at the end.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use aws_credential_types::Credentials;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hydrant_client::Client;
use hydrant_types::{ByteSize, Timestamp};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    aws, config,
    dev::{self, Dev, Options},
};

/// To each stream: calls of PutRecordBatch, and records in each.
const BATCH_CALLS: u64 = 4;
const BATCH_RECORDS: u64 = 500;
/// To each stream: calls of PutRecord.
const SINGLE_CALLS: u64 = 25;
/// From the last acknowledgement until everything must have arrived.
const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);
/// Rows shown from the table.
const ROWS_SHOWN: usize = 5;

/// Starts `dev` on free ports in a directory of its own, puts records, shows where they went, and checks that each arrived once.
///
/// # Errors
/// A part failed, or a record is missing or there twice.
pub async fn run(out: &mut dyn Write) -> Result<()> {
    let begun = Instant::now();
    let dir = tempfile::tempdir().context("make a temporary directory")?;
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let options = Options {
        data_dir: dir.path().join("hydrant-data"),
        listen: any,
        admin_listen: any,
        s3_listen: any,
        redshift_listen: any,
    };
    let dev = Dev::start(options, &BTreeMap::new(), CancellationToken::new()).await?;
    let endpoints = &dev.endpoints;
    writeln!(
        out,
        "Hydrant is up: Firehose API {}, S3 {}, Redshift Data API {}",
        endpoints.api, endpoints.s3, endpoints.redshift
    )?;
    writeln!(out, "It accepts unsigned calls on loopback only, and forgets everything when this ends.\n")?;
    let shown = Demonstration { s3: s3_client(&endpoints.s3).await, dev: &dev }.show(out).await;
    dev.stop().await?;
    shown?;
    writeln!(
        out,
        "\nEvery acknowledged record is in S3 once and in the table once. ({:.1} s)\n\
         Next: `hydrant dev` keeps this running, with lines to paste for aws-cli and boto3.",
        begun.elapsed().as_secs_f64()
    )?;
    Ok(())
}

struct Demonstration<'a> {
    dev: &'a Dev,
    s3: aws_sdk_s3::Client,
}

/// An object that was found, with the ids of the records in it.
struct Found {
    key: String,
    bytes: u64,
    ids: Vec<u64>,
}

impl Demonstration<'_> {
    async fn show(&self, out: &mut dyn Write) -> Result<()> {
        let client = Client::unsigned(&self.dev.endpoints.api);
        let begun = Instant::now();
        writeln!(out, "1. Records acknowledged (each is on disk, fsynced, before its 200)")?;
        for stream in [dev::STREAM_S3, dev::STREAM_REDSHIFT] {
            put(&client, stream).await?;
            writeln!(
                out,
                "   {:<14} {} records: {BATCH_CALLS} PutRecordBatch of {BATCH_RECORDS}, {SINGLE_CALLS} PutRecord",
                stream,
                thousands(expected())
            )?;
        }
        writeln!(out, "   in {:.2} s", begun.elapsed().as_secs_f64())?;

        writeln!(out, "\n2. Objects in s3://{} (buffered 1 s in dev, then gzipped)", dev::BUCKET)?;
        let direct = self.objects("s3/", out).await.context("objects of demo-s3")?;
        let staged = self.objects("redshift/2", out).await.context("objects of demo-redshift")?;

        writeln!(
            out,
            "\n3. Manifest and COPY (through the Redshift Data API, in one transaction with a ledger row)"
        )?;
        let rows = self.loaded().await?;
        self.show_manifests(out).await?;
        for copy in self.copies().await? {
            writeln!(out, "   {copy}")?;
        }

        writeln!(out, "\n4. SELECT count(*) FROM {}  =>  {}", dev::TABLE, thousands(rows))?;
        self.show_rows(out).await?;
        check_once("S3 (demo-s3)", &direct)?;
        check_once("S3 (demo-redshift)", &staged)?;
        self.check_table().await
    }

    /// Waits until the objects under `prefix` hold all records, showing each object as it appears.
    async fn objects(&self, prefix: &str, out: &mut dyn Write) -> Result<Vec<u64>> {
        let deadline = Instant::now() + ARRIVAL_TIMEOUT;
        let mut seen: BTreeMap<String, Found> = BTreeMap::new();
        loop {
            let listed = self.s3.list_objects_v2().bucket(dev::BUCKET).prefix(prefix).send().await?;
            for object in listed.contents() {
                let key = object.key().unwrap_or_default().to_owned();
                if seen.contains_key(&key) {
                    continue;
                }
                let found = self.read_object(key).await?;
                writeln!(
                    out,
                    "   {}  {}, {} records",
                    found.key,
                    ByteSize(found.bytes),
                    thousands(found.ids.len() as u64)
                )?;
                seen.insert(found.key.clone(), found);
            }
            let ids: Vec<u64> = seen.values().flat_map(|found| found.ids.iter().copied()).collect();
            if ids.len() as u64 >= expected() {
                return Ok(ids);
            }
            ensure!(
                Instant::now() < deadline,
                "only {} of {} records arrived under {prefix}",
                ids.len(),
                expected()
            );
            tokio::time::sleep(POLL).await;
        }
    }

    async fn read_object(&self, key: String) -> Result<Found> {
        let object = self.s3.get_object().bucket(dev::BUCKET).key(&key).send().await?;
        let body = object.body.collect().await?.into_bytes();
        let mut text = String::new();
        flate2::read::MultiGzDecoder::new(body.as_ref()).read_to_string(&mut text).context("gunzip")?;
        let ids = text.lines().map(record_id).collect::<Result<_>>()?;
        Ok(Found { key, bytes: body.len() as u64, ids })
    }

    async fn count(&self) -> Result<u64> {
        let rows = self.dev.query("SELECT count(*) FROM events").await?;
        rows.first().and_then(|row| row.first()).and_then(Value::as_u64).context("count(*) gave no number")
    }

    async fn loaded(&self) -> Result<u64> {
        let deadline = Instant::now() + ARRIVAL_TIMEOUT;
        loop {
            let rows = self.count().await?;
            if rows >= expected() {
                return Ok(rows);
            }
            ensure!(Instant::now() < deadline, "only {rows} of {} rows are in the table", expected());
            tokio::time::sleep(POLL).await;
        }
    }

    async fn show_manifests(&self, out: &mut dyn Write) -> Result<()> {
        let listed =
            self.s3.list_objects_v2().bucket(dev::BUCKET).prefix("redshift/manifests/").send().await?;
        for object in listed.contents() {
            let key = object.key().unwrap_or_default();
            let manifest = self.s3.get_object().bucket(dev::BUCKET).key(key).send().await?;
            let text = manifest.body.collect().await?.into_bytes();
            writeln!(out, "   {key}\n   {}", String::from_utf8_lossy(&text))?;
        }
        Ok(())
    }

    /// The COPY statements as the stand-in ran them.
    async fn copies(&self) -> Result<Vec<String>> {
        let client = crate::warehouse_query::client(&self.dev.endpoints.redshift).await;
        let statements = client
            .list_statements()
            .statement_name(format!("hydrant:{}", dev::STREAM_REDSHIFT))
            .status("ALL".into())
            .send()
            .await?;
        let mut copies = Vec::new();
        for statement in statements.statements() {
            let described = client.describe_statement().id(statement.id()).send().await?;
            let texts = described.sub_statements().iter().filter_map(|sub| sub.query_string());
            copies.extend(texts.filter(|text| text.starts_with("COPY")).map(str::to_owned));
        }
        Ok(copies)
    }

    async fn show_rows(&self, out: &mut dyn Write) -> Result<()> {
        let rows = self
            .dev
            .query(&format!(
                "SELECT id, at, kind, customer, amount FROM {} ORDER BY id LIMIT {ROWS_SHOWN}",
                dev::TABLE
            ))
            .await?;
        let mut table = crate::commands::table(&["id", "at", "kind", "customer", "amount"]);
        for row in rows {
            table.add_row(
                row.iter().map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
            );
        }
        for line in table.lines() {
            writeln!(out, "   {line}")?;
        }
        Ok(())
    }

    async fn check_table(&self) -> Result<()> {
        let distinct = self.dev.query("SELECT count(DISTINCT id) FROM events").await?;
        let distinct = distinct.first().and_then(|row| row.first()).and_then(Value::as_u64);
        let rows = self.count().await?;
        if distinct != Some(expected()) || rows != expected() {
            bail!(
                "the table holds {rows} rows with {distinct:?} different ids, expected {} of each",
                expected()
            );
        }
        Ok(())
    }
}

/// How many records each stream gets.
fn expected() -> u64 {
    BATCH_CALLS * BATCH_RECORDS + SINGLE_CALLS
}

async fn put(client: &Client, stream: &str) -> Result<()> {
    for call in 0..BATCH_CALLS {
        let records: Vec<Value> =
            (0..BATCH_RECORDS).map(|n| json!({"Data": record(call * BATCH_RECORDS + n)})).collect();
        let answer =
            client.call("PutRecordBatch", &json!({"DeliveryStreamName": stream, "Records": records})).await?;
        ensure!(answer["FailedPutCount"] == 0, "{stream}: not every record was acknowledged: {answer}");
    }
    for n in 0..SINGLE_CALLS {
        let record = json!({"Data": record(BATCH_CALLS * BATCH_RECORDS + n)});
        client.call("PutRecord", &json!({"DeliveryStreamName": stream, "Record": record})).await?;
    }
    Ok(())
}

/// One record as a shop might send it, in base64; every figure in it follows from `id`.
fn record(id: u64) -> String {
    const KINDS: [&str; 5] = ["page_viewed", "basket_filled", "order_placed", "order_paid", "order_shipped"];
    let at = Timestamp(1_795_478_400_000 + id * 137).format_utc("%Y-%m-%d %H:%M:%S%.3f");
    let spread = id.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let record = json!({
        "id": id,
        "at": at,
        "kind": KINDS[(spread >> 40) as usize % KINDS.len()],
        "customer": format!("c-{:05}", (spread >> 20) % 40_000),
        "amount": ((spread >> 8) % 50_000) as f64 / 100.0,
    });
    STANDARD.encode(format!("{record}\n"))
}

fn record_id(line: &str) -> Result<u64> {
    let record: Value = serde_json::from_str(line).context("a record in S3 is not what was put")?;
    record["id"].as_u64().context("a record in S3 has no id")
}

fn check_once(place: &str, ids: &[u64]) -> Result<()> {
    let mut sorted = ids.to_vec();
    sorted.sort_unstable();
    ensure!(sorted == (0..expected()).collect::<Vec<_>>(), "{place}: a record is missing or there twice");
    Ok(())
}

async fn s3_client(endpoint: &str) -> aws_sdk_s3::Client {
    let credentials = Credentials::new(dev::KEY, dev::KEY, None, None, "hydrant demo");
    let settings = config::S3 {
        endpoint_url: Some(endpoint.to_owned()),
        force_path_style: true,
        ..config::S3::default()
    };
    aws::s3_client(&aws::sdk_config(Some("us-east-1"), Some(credentials)).await, &settings)
}

/// `12,345`.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_is_missing_or_there_twice_is_found() {
        let all: Vec<u64> = (0..expected()).collect();
        assert!(check_once("here", &all).is_ok());
        assert!(check_once("here", &all[1..]).is_err());
        let twice: Vec<u64> = all.iter().copied().chain([7]).collect();
        assert!(check_once("here", &twice).is_err());
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(
            [thousands(0), thousands(999), thousands(2_025), thousands(1_234_567)],
            ["0", "999", "2,025", "1,234,567"]
        );
    }
}
