//! What the server's process has used, from /proc.

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// CPU time and memory of a process at one moment.
pub(super) struct ServerCost {
    cpu_seconds: f64,
    rss_bytes_peak: u64,
}

impl ServerCost {
    pub(super) fn now(pid: u32) -> Result<Self> {
        let read = |name: &str| {
            std::fs::read_to_string(format!("/proc/{pid}/{name}"))
                .with_context(|| format!("--server-pid {pid}"))
        };
        let stat = read("stat")?;
        // The name is in parentheses and may hold blanks; user and system time are fields 14 and 15 (proc(5)).
        let fields: Vec<&str> =
            stat.rsplit_once(')').context("read /proc/PID/stat")?.1.split_ascii_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap_or_default();
        let per_second = rustix::param::clock_ticks_per_second() as f64;
        let rss_bytes_peak = read("status")?
            .lines()
            .find_map(|line| {
                line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
            })
            .unwrap_or_default()
            * 1024;
        Ok(Self { cpu_seconds: (ticks(11) + ticks(12)) / per_second, rss_bytes_peak })
    }

    pub(super) fn since(&self, before: &Self, bytes: u64, records: u64) -> Value {
        let cpu_seconds = self.cpu_seconds - before.cpu_seconds;
        json!({
            "cpu_seconds": cpu_seconds,
            "cpu_seconds_per_gb": cpu_seconds / (bytes.max(1) as f64 / 1e9),
            "cpu_us_per_record": cpu_seconds * 1e6 / records.max(1) as f64,
            "rss_bytes_peak": self.rss_bytes_peak,
        })
    }
}
