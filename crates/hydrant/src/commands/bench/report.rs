//! What a run came to, as JSON and in words.

use std::{io::Write, time::Duration};

use hydrant_types::ByteSize;
use serde_json::{Value, json};

use super::{account::Accounts, load::Seen};
use crate::demo::thousands;

pub(super) struct Report<'a> {
    pub(super) operation: &'static str,
    /// In each record, as its member `run`.
    pub(super) run: &'a str,
    pub(super) signed: bool,
    pub(super) seen: &'a Seen,
    /// Acknowledged, as are the bytes.
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) elapsed: Duration,
    pub(super) server: Option<Value>,
    pub(super) verified: Option<Accounts>,
    pub(super) verified_table: Option<Accounts>,
}

impl Report<'_> {
    /// Something was acknowledged, and where it was looked for, it is there once.
    pub(super) fn is_good(&self) -> bool {
        self.records > 0 && [self.verified, self.verified_table].iter().flatten().all(Accounts::are_good)
    }

    pub(super) fn json(&self) -> Value {
        let quantile = |q: f64| self.seen.latency_us.value_at_quantile(q);
        let mut report = json!({
            "operation": self.operation,
            "run": self.run,
            "signed": self.signed,
            "calls_acknowledged": self.seen.calls_acknowledged,
            "calls_partly_acknowledged": self.seen.calls_partly,
            "calls_failed": self.seen.calls_failed,
            "last_failure": self.seen.last_failure,
            "records": self.records,
            "records_failed": self.seen.records_failed,
            "bytes": self.bytes,
            "seconds": self.elapsed.as_secs_f64(),
            "records_per_second": self.records as f64 / self.elapsed.as_secs_f64(),
            "latency_us": {
                "p50": quantile(0.5),
                "p90": quantile(0.9),
                "p99": quantile(0.99),
                "p99.9": quantile(0.999),
                "max": self.seen.latency_us.max(),
            },
        });
        // Absent where not asked for.
        for (name, accounts) in [("verified", self.verified), ("verified_table", self.verified_table)] {
            if let Some(accounts) = accounts {
                report[name] = json!(accounts);
            }
        }
        if let Some(server) = &self.server {
            report["server"] = server.clone();
        }
        report
    }

    pub(super) fn show(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let seconds = self.elapsed.as_secs_f64();
        writeln!(
            out,
            "{}: {} records, {} in {seconds:.1} s  ({} records/s, {}/s)",
            self.operation,
            thousands(self.records),
            ByteSize(self.bytes),
            thousands((self.records as f64 / seconds) as u64),
            ByteSize((self.bytes as f64 / seconds) as u64),
        )?;
        self.show_calls(out)?;
        self.show_latency(out)?;
        if let Some(server) = &self.server {
            show_server(server, out)?;
        }
        for (place, accounts) in [("objects", self.verified), ("table", self.verified_table)] {
            if let Some(Accounts { found, lost, duplicated }) = accounts {
                writeln!(
                    out,
                    "verified {place}: {} found, {} lost, {} duplicated",
                    thousands(found),
                    thousands(lost),
                    thousands(duplicated)
                )?;
            }
        }
        Ok(())
    }

    fn show_calls(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let seen = self.seen;
        writeln!(
            out,
            "calls    {} acknowledged, {} partly, {} failed ({} records not acknowledged); {}",
            seen.calls_acknowledged,
            seen.calls_partly,
            seen.calls_failed,
            thousands(seen.records_failed),
            if self.signed { "signed" } else { "not signed" }
        )?;
        match &seen.last_failure {
            Some(failure) => writeln!(out, "         last failure: {failure}"),
            None => Ok(()),
        }
    }

    fn show_latency(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let milliseconds = |q: f64| self.seen.latency_us.value_at_quantile(q) as f64 / 1000.0;
        writeln!(
            out,
            "latency  p50 {:.2} ms   p90 {:.2} ms   p99 {:.2} ms   p99.9 {:.2} ms   max {:.2} ms",
            milliseconds(0.5),
            milliseconds(0.9),
            milliseconds(0.99),
            milliseconds(0.999),
            self.seen.latency_us.max() as f64 / 1000.0,
        )
    }
}

fn show_server(server: &Value, out: &mut dyn Write) -> std::io::Result<()> {
    let number = |name: &str| server[name].as_f64().unwrap_or_default();
    writeln!(
        out,
        "server   {:.2} CPU-s per GB of records, {:.1} µs of CPU per record, peak memory {}",
        number("cpu_seconds_per_gb"),
        number("cpu_us_per_record"),
        ByteSize(server["rss_bytes_peak"].as_u64().unwrap_or_default()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(seen: &Seen, signed: bool, verified: Option<Accounts>) -> Report<'_> {
        Report {
            operation: "PutRecordBatch",
            run: "0123456789ab",
            signed,
            seen,
            records: 1_000,
            bytes: 100_000,
            elapsed: Duration::from_secs(2),
            server: None,
            verified,
            verified_table: None,
        }
    }

    #[test]
    fn it_says_whether_calls_were_signed() {
        let seen = Seen::new();
        for (signed, words) in [(true, "; signed\n"), (false, "; not signed\n")] {
            let report = report(&seen, signed, None);
            assert_eq!(report.json()["signed"], signed);
            let mut text = Vec::new();
            report.show(&mut text).unwrap();
            assert!(String::from_utf8(text).unwrap().contains(words));
        }
    }

    #[test]
    fn a_lost_or_a_duplicated_record_is_a_failure() {
        let seen = Seen::new();
        let good = Accounts { found: 1_000, lost: 0, duplicated: 0 };
        for (verified, is_good) in [
            (None, true),
            (Some(good), true),
            (Some(Accounts { found: 999, lost: 1, ..good }), false),
            (Some(Accounts { duplicated: 1, ..good }), false),
        ] {
            assert_eq!(report(&seen, true, verified).is_good(), is_good, "{verified:?}");
            let in_table = Report { verified_table: verified, ..report(&seen, true, None) };
            assert_eq!(in_table.is_good(), is_good, "{verified:?}");
        }
        assert!(!Report { records: 0, ..report(&seen, true, None) }.is_good());
    }
}
