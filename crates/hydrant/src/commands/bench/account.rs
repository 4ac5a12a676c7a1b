//! Afterwards: is every acknowledged record at the destination, once?

use std::{
    collections::{BTreeSet, HashMap},
    io::{BufRead, BufReader},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::body::{first_number, number_of};
use crate::{aws, config};

/// From the last acknowledgement until what is missing is called lost: longer than any buffering interval in `dev`, and than most elsewhere.
const WAIT_MAX: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(500);

/// How many acknowledged records were found, are missing, are there more than once.
pub(super) struct Accounts {
    pub(super) found: u64,
    pub(super) lost: u64,
    pub(super) duplicated: u64,
}

pub(super) async fn verify(
    place: &str,
    endpoint_url: Option<&str>,
    acknowledged_calls: &[u64],
    records_per_call: u64,
) -> Result<Accounts> {
    let (bucket, prefix) = place
        .strip_prefix("s3://")
        .map(|rest| rest.split_once('/').unwrap_or((rest, "")))
        .with_context(|| format!("--verify {place}: expected s3://BUCKET/PREFIX"))?;
    let settings = config::S3 {
        endpoint_url: endpoint_url.map(str::to_owned),
        region: None,
        force_path_style: endpoint_url.is_some(),
    };
    let client = aws::s3_client(&aws::sdk_config(None, None).await, &settings);
    let expected: BTreeSet<u64> = acknowledged_calls
        .iter()
        .flat_map(|call| (0..records_per_call).map(move |at| first_number(*call, records_per_call) + at))
        .collect();
    let mut reader =
        Reader { client, bucket: bucket.to_owned(), read: BTreeSet::new(), times: HashMap::new() };
    let deadline = Instant::now() + WAIT_MAX;
    loop {
        reader.read_new_objects(prefix).await?;
        let found = expected.iter().filter(|number| reader.times.contains_key(number)).count() as u64;
        let lost = expected.len() as u64 - found;
        if lost == 0 || Instant::now() > deadline {
            let duplicated =
                expected.iter().filter(|number| reader.times.get(number).is_some_and(|n| *n > 1)).count();
            return Ok(Accounts { found, lost, duplicated: duplicated as u64 });
        }
        tokio::time::sleep(POLL).await;
    }
}

struct Reader {
    client: aws_sdk_s3::Client,
    bucket: String,
    read: BTreeSet<String>,
    /// How often each record's number was seen.
    times: HashMap<u64, u32>,
}

impl Reader {
    async fn read_new_objects(&mut self, prefix: &str) -> Result<()> {
        let mut pages =
            self.client.list_objects_v2().bucket(&self.bucket).prefix(prefix).into_paginator().send();
        while let Some(page) = pages.next().await {
            for object in page.context("list the objects")?.contents() {
                let key = object.key().unwrap_or_default();
                if !key.contains("manifests/") && self.read.insert(key.to_owned()) {
                    self.read_object(key).await?;
                }
            }
        }
        Ok(())
    }

    async fn read_object(&mut self, key: &str) -> Result<()> {
        let object = self.client.get_object().bucket(&self.bucket).key(key).send().await;
        let body = object.with_context(|| format!("read {key}"))?.body.collect().await?.into_bytes();
        let reader: Box<dyn BufRead> = match body.starts_with(&[0x1f, 0x8b]) {
            true => Box::new(BufReader::new(flate2::read::MultiGzDecoder::new(body.as_ref()))),
            false => Box::new(body.as_ref()),
        };
        for line in reader.split(b'\n') {
            if let Some(number) = number_of(&line.with_context(|| format!("gunzip {key}"))?) {
                *self.times.entry(number).or_default() += 1;
            }
        }
        Ok(())
    }
}
