//! Afterwards: is every acknowledged record at the destination, once?

use std::{
    collections::{BTreeSet, HashMap},
    ops::Range,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use hydrant_delivery::decoder;
use serde::Serialize;
use serde_json::Value;

use super::body::Run;
use crate::{aws, config, warehouse_query};

const POLL: Duration = Duration::from_millis(500);
/// Ranges of numbers in one statement: some 30 kB of SQL, below the Data API's 100 kB.
const RANGES_PER_STATEMENT: usize = 500;

/// The numbers of the records that were acknowledged: ranges in order, with gaps between them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Acknowledged {
    ranges: Vec<Range<u64>>,
}

impl Acknowledged {
    /// From pieces in any order, no two of which overlap.
    pub(super) fn new(mut pieces: Vec<Range<u64>>) -> Self {
        pieces.sort_unstable_by_key(|piece| piece.start);
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for piece in pieces.into_iter().filter(|piece| !piece.is_empty()) {
            match ranges.last_mut() {
                Some(last) if last.end == piece.start => last.end = piece.end,
                _ => ranges.push(piece),
            }
        }
        Self { ranges }
    }

    pub(super) fn records(&self) -> u64 {
        self.ranges.iter().map(|range| range.end - range.start).sum()
    }

    fn contains(&self, number: u64) -> bool {
        let after = self.ranges.partition_point(|range| range.start <= number);
        after > 0 && self.ranges[after - 1].contains(&number)
    }
}

/// How many acknowledged records were found, are missing, are there more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Accounts {
    pub(super) found: u64,
    pub(super) lost: u64,
    pub(super) duplicated: u64,
}

impl Accounts {
    pub(super) fn are_good(&self) -> bool {
        self.lost == 0 && self.duplicated == 0
    }
}

/// How long to look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// From the last acknowledgement until what is missing is called lost.
    pub(super) arrival: Duration,
    /// After the last record was found, for duplicates that come later.
    pub(super) settle: Duration,
}

impl Patience {
    /// Looks again and again: until all is there and has been for the time to settle, or was not there in time.
    async fn look(self, mut look: impl AsyncFnMut() -> Result<Accounts>) -> Result<Accounts> {
        let begun = Instant::now();
        let mut complete_since = None;
        loop {
            // Before it looks: what it sees is at least as new.
            let now = Instant::now();
            let accounts = look().await?;
            if accounts.lost == 0 {
                let since = *complete_since.get_or_insert_with(Instant::now);
                if now.saturating_duration_since(since) >= self.settle {
                    return Ok(accounts);
                }
            } else if now.saturating_duration_since(begun) >= self.arrival {
                return Ok(accounts);
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// Objects below a prefix.
pub(super) struct Objects {
    client: aws_sdk_s3::Client,
    bucket: String,
    prefix: String,
}

impl Objects {
    /// From `s3://BUCKET/PREFIX`, with the usual AWS chain.
    pub(super) async fn new(place: &str, endpoint_url: Option<&str>) -> Result<Self> {
        let (bucket, prefix) = place
            .strip_prefix("s3://")
            .map(|rest| rest.split_once('/').unwrap_or((rest, "")))
            .with_context(|| format!("--verify {place}: expected s3://BUCKET/PREFIX"))?;
        let settings = config::S3 {
            endpoint_url: endpoint_url.map(str::to_owned),
            force_path_style: endpoint_url.is_some(),
            ..config::S3::default()
        };
        let client = aws::s3_client(&aws::sdk_config(None, None).await, &settings);
        Ok(Self { client, bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }

    /// Looks for every acknowledged record of the run.
    pub(super) async fn verify(
        self,
        run: &Run,
        acknowledged: &Acknowledged,
        patience: Patience,
    ) -> Result<Accounts> {
        let mut reader = Reader { place: self, read: BTreeSet::new(), times: HashMap::new() };
        let look = async || {
            reader.read_new_objects(run).await?;
            Ok(reader.accounts(acknowledged))
        };
        patience.look(look).await
    }
}

struct Reader {
    place: Objects,
    read: BTreeSet<String>,
    /// How often each of the run's records was seen.
    times: HashMap<u64, u32>,
}

impl Reader {
    fn accounts(&self, acknowledged: &Acknowledged) -> Accounts {
        let (mut found, mut duplicated) = (0, 0);
        for (_, times) in self.times.iter().filter(|(number, _)| acknowledged.contains(**number)) {
            found += 1;
            duplicated += u64::from(*times > 1);
        }
        Accounts { found, lost: acknowledged.records() - found, duplicated }
    }

    async fn read_new_objects(&mut self, run: &Run) -> Result<()> {
        let Objects { client, bucket, prefix } = &self.place;
        let mut pages = client.list_objects_v2().bucket(bucket).prefix(prefix).into_paginator().send();
        while let Some(page) = pages.next().await {
            for object in page.context("list the objects")?.contents() {
                let key = object.key().unwrap_or_default();
                if self.read.insert(key.to_owned()) {
                    self.read_object(key, run).await?;
                }
            }
        }
        Ok(())
    }

    async fn read_object(&mut self, key: &str, run: &Run) -> Result<()> {
        let object = self.place.client.get_object().bucket(&self.place.bucket).key(key).send().await;
        let object = object.with_context(|| format!("read {key}"))?;
        let content_encoding = object.content_encoding().map(str::to_owned);
        let body = object.body.collect().await?.into_bytes();
        let compression = decoder::compression_of(&body, content_encoding.as_deref(), key);
        let records = decoder::records(&body, compression)
            .with_context(|| format!("decode {key} as {}", compression.as_api()))?;
        for number in records.split(|byte| *byte == b'\n').filter_map(|line| run.number_of(line)) {
            *self.times.entry(number).or_default() += 1;
        }
        Ok(())
    }
}

/// A table with a column `n BIGINT`, behind a Redshift Data API that takes any credentials.
pub(super) struct Table {
    name: String,
    endpoint_url: String,
    workgroup: String,
    database: String,
}

impl Table {
    pub(super) fn new(name: &str, endpoint_url: &str, workgroup: &str, database: &str) -> Result<Self> {
        let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '"');
        ensure!(
            !name.is_empty() && name.chars().all(is_name),
            "--verify-table {name}: expected TABLE or SCHEMA.TABLE"
        );
        let [name, endpoint_url, workgroup, database] =
            [name, endpoint_url, workgroup, database].map(str::to_owned);
        Ok(Self { name, endpoint_url, workgroup, database })
    }

    /// Counts the rows of every acknowledged record, by their numbers.
    pub(super) async fn verify(&self, acknowledged: &Acknowledged, patience: Patience) -> Result<Accounts> {
        patience.look(async || self.accounts(acknowledged).await).await
    }

    async fn accounts(&self, acknowledged: &Acknowledged) -> Result<Accounts> {
        let (mut found, mut duplicated) = (0, 0);
        for ranges in acknowledged.ranges.chunks(RANGES_PER_STATEMENT) {
            let sql = self.count(ranges);
            let rows = warehouse_query::run(&self.endpoint_url, &self.workgroup, &self.database, &sql).await;
            let rows = rows.with_context(|| format!("count the rows of {}", self.name))?;
            let figure = |at: usize| rows.first().and_then(|row| row.get(at)).and_then(Value::as_u64);
            found += figure(0).context("count(*) gave no number")?;
            duplicated += figure(1).context("count gave no number")?;
        }
        Ok(Accounts { found, lost: acknowledged.records() - found, duplicated })
    }

    /// Of the records in `ranges`: how many are there, and how many of them more than once.
    fn count(&self, ranges: &[Range<u64>]) -> String {
        let among: Vec<String> =
            ranges.iter().map(|range| format!("n BETWEEN {} AND {}", range.start, range.end - 1)).collect();
        format!(
            "SELECT count(*), count(CASE WHEN times > 1 THEN 1 END) FROM \
             (SELECT n, count(*) AS times FROM {} WHERE {} GROUP BY n) AS counted",
            self.name,
            among.join(" OR ")
        )
    }
}

#[cfg(test)]
mod tests;
