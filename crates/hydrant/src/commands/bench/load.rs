//! The load: calls over many connections, flat out or at a rate, and what came of them.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use bytes::Bytes;
use hdrhistogram::Histogram;
use hydrant_client::Client;
use indicatif::ProgressBar;
use serde_json::Value;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{
    Operation,
    body::{Run, Template},
};

/// What all connections share.
pub(super) struct Load {
    pub(super) client: Client,
    pub(super) operation: Operation,
    pub(super) run: Run,
    pub(super) template: Template,
    pub(super) records_per_call: u64,
    pub(super) calls: u64,
    pub(super) time_max: Duration,
    /// Between two calls of all connections together, where a rate is asked for.
    pub(super) interval: Option<Duration>,
    pub(super) progress: ProgressBar,
}

/// What one connection, and then all together, have seen.
pub(super) struct Seen {
    pub(super) latency_us: Histogram<u64>,
    /// Numbers of the records that were acknowledged, in pieces.
    pub(super) acknowledged: Vec<Range<u64>>,
    pub(super) calls_acknowledged: u64,
    /// Calls of which some records were acknowledged.
    pub(super) calls_partly: u64,
    pub(super) calls_failed: u64,
    pub(super) records_failed: u64,
    pub(super) last_failure: Option<String>,
}

impl Seen {
    pub(super) fn new() -> Self {
        // Up to ten minutes, three significant digits.
        let latency_us = Histogram::new_with_bounds(1, 600_000_000, 3).expect("these bounds are legal");
        Self {
            latency_us,
            acknowledged: Vec::new(),
            calls_acknowledged: 0,
            calls_partly: 0,
            calls_failed: 0,
            records_failed: 0,
            last_failure: None,
        }
    }

    fn add(&mut self, other: Self) {
        self.latency_us.add(&other.latency_us).expect("the bounds are equal");
        self.acknowledged.extend(other.acknowledged);
        self.calls_acknowledged += other.calls_acknowledged;
        self.calls_partly += other.calls_partly;
        self.calls_failed += other.calls_failed;
        self.records_failed += other.records_failed;
        self.last_failure = self.last_failure.take().or(other.last_failure);
    }

    fn count(&mut self, numbers: Range<u64>, answered: Answered) {
        let records = numbers.end - numbers.start;
        let acknowledged: u64 = answered.acknowledged.iter().map(|piece| piece.end - piece.start).sum();
        match acknowledged {
            0 => self.calls_failed += 1,
            n if n < records => self.calls_partly += 1,
            _ => self.calls_acknowledged += 1,
        }
        self.records_failed += records - acknowledged;
        self.acknowledged.extend(answered.acknowledged);
        self.last_failure = answered.failure.or(self.last_failure.take());
    }
}

impl Load {
    /// Makes the calls; gives what was seen, and how long it took.
    pub(super) async fn drive(self: Arc<Self>, connections: usize) -> Result<(Seen, Duration)> {
        let begun = Instant::now();
        let next_call = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        for _ in 0..connections {
            tasks.spawn(connection(self.clone(), begun, next_call.clone()));
        }
        let mut seen = Seen::new();
        while let Some(one) = tasks.join_next().await {
            seen.add(one.context("a connection panicked")?);
        }
        Ok((seen, begun.elapsed()))
    }

    /// When a call is to be made, where a rate is asked for.
    fn due(&self, begun: Instant, call: u64) -> Option<Instant> {
        self.interval.map(|interval| begun + interval.mul_f64(call as f64))
    }

    async fn call(&self, numbers: Range<u64>, body: Bytes) -> Answered {
        match self.client.attempt(self.operation.name(), body, Uuid::new_v4(), 1).await {
            Ok(_) if self.operation == Operation::PutRecord => Answered::all(numbers),
            Ok(answer) => Answered::by_record(&answer, numbers),
            Err(error) => {
                Answered { acknowledged: Vec::new(), failure: Some(crate::app::format_chain(&error)) }
            }
        }
    }
}

async fn connection(load: Arc<Load>, begun: Instant, next_call: Arc<AtomicU64>) -> Seen {
    let ends = begun + load.time_max;
    let mut seen = Seen::new();
    loop {
        let call = next_call.fetch_add(1, Ordering::Relaxed);
        let due = load.due(begun, call);
        if call >= load.calls || due.is_some_and(|due| due >= ends) {
            return seen;
        }
        if let Some(due) = due {
            tokio::time::sleep_until(due.into()).await;
        }
        if Instant::now() >= ends {
            return seen;
        }
        let numbers = load.run.numbers(call, load.records_per_call);
        let body = load.template.body(call, numbers.clone());
        // From when it was due: a server that stalls delays calls that have not been made yet, and they are to be seen.
        let from = due.unwrap_or_else(Instant::now);
        let answered = load.call(numbers.clone(), body).await;
        seen.latency_us.saturating_record(from.elapsed().as_micros() as u64);
        load.progress.inc(1);
        seen.count(numbers, answered);
    }
}

/// What one call came to.
#[derive(Debug, PartialEq, Eq)]
struct Answered {
    acknowledged: Vec<Range<u64>>,
    failure: Option<String>,
}

impl Answered {
    fn all(numbers: Range<u64>) -> Self {
        Self { acknowledged: vec![numbers], failure: None }
    }

    /// As a PutRecordBatch answer says, record by record.
    fn by_record(answer: &[u8], numbers: Range<u64>) -> Self {
        // As Firehose, Hydrant says near the start that all is well; the whole answer need not be parsed 500 records at a time.
        let head = &answer[..answer.len().min(64)];
        if head.windows(18).any(|part| part == b"\"FailedPutCount\":0") {
            return Self::all(numbers);
        }
        let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
        let entries = answer["RequestResponses"].as_array().map(Vec::as_slice).unwrap_or_default();
        let (mut acknowledged, mut failure) = (Vec::new(), None);
        for (at, number) in numbers.enumerate() {
            match entries.get(at) {
                Some(entry) if entry["RecordId"].is_string() && entry["ErrorCode"].is_null() => {
                    acknowledged.push(number..number + 1);
                }
                Some(entry) => failure = Some(failure_of(entry)),
                None => failure = Some("the service answered for fewer records".to_owned()),
            }
        }
        Self { acknowledged, failure }
    }
}

fn failure_of(entry: &Value) -> String {
    let text = |name: &str| entry[name].as_str().unwrap_or("-");
    format!("{}: {}", text("ErrorCode"), text("ErrorMessage"))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use axum::{Router, routing::post};
    use serde_json::json;
    use tokio::net::TcpListener;

    use super::{
        super::body::{Shape, Streams},
        *,
    };

    #[test]
    fn each_record_of_a_call_that_partly_failed_is_accounted_for_by_itself() {
        let answer = json!({"FailedPutCount": 2, "RequestResponses": [
            {"RecordId": "1"},
            {"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "Slow down."},
            {"RecordId": "3"},
        ]});
        let answered = Answered::by_record(answer.to_string().as_bytes(), 100..104);
        assert_eq!(answered.acknowledged, [100..101, 102..103]);
        let mut seen = Seen::new();
        seen.count(100..104, answered);
        assert_eq!((seen.calls_acknowledged, seen.calls_partly, seen.calls_failed), (0, 1, 0));
        assert_eq!(seen.records_failed, 2);
        assert_eq!(seen.last_failure.unwrap(), "the service answered for fewer records");
    }

    #[test]
    fn an_answer_without_failures_acknowledges_all_wherever_it_says_so() {
        let early = json!({"FailedPutCount": 0, "RequestResponses": []}).to_string();
        let late = r#"{"RequestResponses": [{"RecordId": "1", "ErrorCode": null}, {"RecordId": "2"}], "FailedPutCount": 0}"#;
        let acknowledged = |answer: &str| {
            let pieces = Answered::by_record(answer.as_bytes(), 5..7).acknowledged;
            super::super::account::Acknowledged::new(pieces).records()
        };
        assert_eq!((acknowledged(&early), acknowledged(late)), (2, 2));
        assert_eq!((acknowledged(""), acknowledged("{\"FailedPutCount\":10}")), (0, 0));
    }

    /// Answers PutRecord, the first call only after a while.
    async fn server_that_stalls_first(stall: Duration) -> String {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let calls = Arc::new(AtomicU64::new(0));
        let answer = move || async move {
            if calls.fetch_add(1, Ordering::Relaxed) == 0 {
                tokio::time::sleep(stall).await;
            }
            "{\"RecordId\":\"1\"}"
        };
        let router = Router::new().route("/", post(answer));
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}")
    }

    fn load(endpoint_url: &str, calls: u64, rate: f64, time_max: Duration) -> Arc<Load> {
        let run = Run::random();
        let template = Template::new(Operation::PutRecord, &Streams::new("s", 1), &run, 100, 1, Shape::Json);
        Arc::new(Load {
            client: Client::unsigned(endpoint_url),
            operation: Operation::PutRecord,
            run,
            template,
            records_per_call: 1,
            calls,
            time_max,
            interval: Some(Duration::from_secs_f64(1.0 / rate)),
            progress: ProgressBar::hidden(),
        })
    }

    #[tokio::test]
    async fn a_stall_is_seen_by_every_call_that_was_due_meanwhile() {
        let stall = Duration::from_millis(600);
        let endpoint_url = server_that_stalls_first(stall).await;
        // All 20 are due within 200 ms; one connection can make 19 of them only after the stall.
        let load = load(&endpoint_url, 20, 100.0, Duration::from_secs(30));
        let (seen, _) = load.drive(1).await.unwrap();
        assert_eq!(seen.calls_acknowledged, 20, "{:?}", seen.last_failure);
        assert!(seen.latency_us.min() >= 390_000, "{} µs", seen.latency_us.min());
    }

    #[tokio::test]
    async fn calls_that_would_be_due_after_the_end_are_not_made() {
        let endpoint_url = server_that_stalls_first(Duration::ZERO).await;
        let load = load(&endpoint_url, 1_000, 10.0, Duration::from_millis(250));
        let (seen, elapsed) = load.drive(4).await.unwrap();
        assert!(seen.calls_acknowledged <= 3, "{}", seen.calls_acknowledged);
        assert!(elapsed < Duration::from_secs(10), "{elapsed:?}");
    }
}
