//! Configuration: TOML, overlaid by the environment, checked as a whole before anything starts.
//!
//! Raw text ([`raw`]) becomes a [`Config`] in one function that takes the environment as a map. All faults are reported at
//! once, each with its key and what was expected. Precedence: command line, environment, file, default.

mod raw;

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    num::{NonZeroU32, NonZeroU64},
    path::{Path, PathBuf},
    time::Duration,
};

use hydrant_ingest::Quotas;
use hydrant_types::{ByteSize, Secret};
use raw::{Flag, Number, Raw, SecretSource};

/// What the service runs with; nothing is left to check.
#[derive(Debug, Clone)]
pub struct Config {
    /// The Firehose API.
    pub api: Api,
    /// Metrics and health.
    pub admin: Admin,
    /// What each stream may put; none by default.
    pub quotas: Quotas,
    /// The record log.
    pub log: Log,
    /// State of streams and deliveries.
    pub metastore: Metastore,
    /// Where objects go.
    pub s3: S3,
    /// Where COPY runs.
    pub redshift: Redshift,
    /// How records are delivered.
    pub delivery: Delivery,
}

/// `[api]`
#[derive(Debug, Clone)]
pub struct Api {
    /// Address of the API listener.
    pub listen: SocketAddr,
    /// Account in ARNs and error texts.
    pub account_id: String,
    /// Region in ARNs.
    pub region: String,
}

/// `[admin]`
#[derive(Debug, Clone)]
pub struct Admin {
    /// Address of the admin listener.
    pub listen: SocketAddr,
}

/// `[log]`
#[derive(Debug, Clone)]
pub struct Log {
    /// Directory of the record log.
    pub dir: PathBuf,
    /// Most bytes on disk; beyond it puts get 503.
    pub bytes_max: ByteSize,
    /// Least free space on its disk; below it puts get 503.
    pub free_min: ByteSize,
}

/// `[metastore]`
#[derive(Debug, Clone)]
pub struct Metastore {
    /// `postgres://…` or `sqlite:///…`; secret for the password in it.
    pub url: Secret,
    /// How long done deliveries are kept.
    pub retention: Duration,
}

/// `[s3]`
#[derive(Debug, Clone, Default)]
pub struct S3 {
    /// For S3 servers that are not AWS's.
    pub endpoint_url: Option<String>,
    /// Else the usual AWS chain.
    pub region: Option<String>,
    /// `https://host/bucket/key` instead of `https://bucket.host/key`. Default: true where an endpoint is given.
    pub force_path_style: bool,
}

/// `[redshift]`
#[derive(Debug, Clone, Default)]
pub struct Redshift {
    /// For a Data API that is not AWS's.
    pub endpoint_url: Option<String>,
    /// Instead of the region in each stream's JDBC URL.
    pub region: Option<String>,
    /// Instead of each stream's role in COPY; `default` for the cluster's default role.
    pub iam_role: Option<String>,
}

/// `[delivery]`
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Caps every stream's buffering interval.
    pub interval_max: Option<Duration>,
    /// 1 (fast) to 9 (small).
    pub gzip_level: u32,
    /// Between a failed COPY and its next attempt.
    pub copy_retry: Duration,
}

/// Everything that is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub struct Faults(Vec<String>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration is not valid:")?;
        self.0.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

/// The environment as a map, so that tests need not touch the real one.
pub type Environment = BTreeMap<String, String>;

/// The process's environment, as far as it is text.
pub fn process_environment() -> Environment {
    std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect()
}

impl Config {
    /// Reads the file, lays the environment over it and checks the whole.
    ///
    /// # Errors
    /// [`Faults`], all of them at once; a fault of the file's syntax comes alone, with its line.
    pub fn load(path: Option<&Path>, environment: &Environment) -> Result<Self, Faults> {
        let text = match path {
            None => String::new(),
            Some(path) => std::fs::read_to_string(path)
                .map_err(|e| Faults(vec![format!("{}: cannot be read: {e}", path.display())]))?,
        };
        let name = path.map_or_else(|| "environment".to_owned(), |p| p.display().to_string());
        Self::parse(&text, &name, environment)
    }

    /// As [`Config::load`], from text; `name` is what faults call it.
    ///
    /// # Errors
    /// [`Faults`].
    pub fn parse(text: &str, name: &str, environment: &Environment) -> Result<Self, Faults> {
        // The file alone first: its faults carry a line, which the overlaid whole no longer has.
        toml::from_str::<Raw>(text).map_err(|e| Faults(vec![syntax_fault(&e, text, name)]))?;
        let mut table: toml::Table = toml::from_str(text).expect("the same text was read above");
        overlay(&mut table, environment)?;
        let raw = Raw::deserialize_table(table)?;
        validate(raw, environment)
    }
}

/// Line, column and problem, without the line itself: there may be a password in it.
fn syntax_fault(error: &toml::de::Error, text: &str, name: &str) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("{name}: line {line}, column {column}: {}", error.message())
}

impl Raw {
    fn deserialize_table(table: toml::Table) -> Result<Self, Faults> {
        table
            .try_into()
            .map_err(|e: toml::de::Error| Faults(vec![format!("HYDRANT_… environment: {}", e.message())]))
    }
}

/// Lays `HYDRANT_<SECTION>__<KEY>` over the file. Variables without two underscores are not ours to read.
fn overlay(table: &mut toml::Table, environment: &Environment) -> Result<(), Faults> {
    let mut faults = Vec::new();
    for (name, value) in environment {
        let Some((section, key)) = name.strip_prefix("HYDRANT_").and_then(|rest| rest.split_once("__"))
        else {
            continue;
        };
        let section = table
            .entry(section.to_ascii_lowercase())
            .or_insert_with(|| toml::Value::Table(toml::Table::new()));
        match section.as_table_mut() {
            Some(section) => {
                section.insert(key.to_ascii_lowercase(), toml::Value::String(value.clone()));
            }
            None => faults.push(format!("{name}: this is not a section of the configuration")),
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(Faults(faults)) }
}

/// Collects faults while values are read, so that all are reported at once.
struct Check<'a> {
    faults: Vec<String>,
    environment: &'a Environment,
}

impl Check<'_> {
    fn fault(&mut self, key: &str, problem: impl fmt::Display) {
        self.faults.push(format!("{key}: {problem}"));
    }

    fn address(&mut self, key: &str, text: Option<String>, default: &str) -> SocketAddr {
        let text = text.unwrap_or_else(|| default.to_owned());
        text.parse().unwrap_or_else(|_| {
            self.fault(key, format!("{text:?} is not an address: expected IP:PORT, such as {default}"));
            SocketAddr::from(([127, 0, 0, 1], 0))
        })
    }

    fn size(&mut self, key: &str, text: Option<String>, default: ByteSize) -> ByteSize {
        text.map_or(default, |text| {
            text.parse().unwrap_or_else(|problem| {
                self.fault(key, problem);
                default
            })
        })
    }

    fn duration(&mut self, key: &str, text: Option<String>) -> Option<Duration> {
        let text = text?;
        match humantime::parse_duration(&text) {
            Ok(Duration::ZERO) => {
                self.fault(key, "expected more than nothing");
                None
            }
            Ok(duration) => Some(duration),
            Err(_) => {
                self.fault(
                    key,
                    format!("{text:?} is not a duration: expected one such as 60s, 5m or 30days"),
                );
                None
            }
        }
    }

    fn url(&mut self, key: &str, text: Option<String>) -> Option<String> {
        let text = text?;
        let uri = text.parse::<http::Uri>().ok();
        let is_url = uri.is_some_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.host().is_some_and(|host| !host.is_empty())
        });
        if !is_url {
            self.fault(key, format!("{text:?} is not a URL: expected http://host:port or https://host"));
        }
        Some(text)
    }

    fn flag(&mut self, key: &str, flag: Option<Flag>) -> Option<bool> {
        match flag? {
            Flag::Value(value) => Some(value),
            Flag::Text(text) => text.parse().map(Some).unwrap_or_else(|_| {
                self.fault(key, format!("{text:?}: expected true or false"));
                None
            }),
        }
    }

    fn number(
        &mut self,
        key: &str,
        number: Option<Number>,
        default: u32,
        range: std::ops::RangeInclusive<u32>,
    ) -> u32 {
        let value = match number {
            None => return default,
            Some(Number::Value(value)) => u32::try_from(value).ok(),
            Some(Number::Text(text)) => text.parse().ok(),
        };
        value.filter(|value| range.contains(value)).unwrap_or_else(|| {
            self.fault(key, format!("expected a whole number from {} to {}", range.start(), range.end()));
            default
        })
    }

    fn quota(&mut self, key: &str, number: Option<Number>) -> Option<NonZeroU32> {
        number.is_some().then(|| self.number(key, number, 1, 1..=u32::MAX)).and_then(NonZeroU32::new)
    }

    fn secret(&mut self, key: &str, source: SecretSource) -> Option<Secret> {
        match source {
            SecretSource::Inline(secret) => Some(secret),
            SecretSource::From(from) => match (from.iter().next(), from.len()) {
                (Some((kind, name)), 1) if kind == "env" => {
                    let value = self.environment.get(name);
                    if value.is_none() {
                        self.fault(key, format!("the environment variable {name} is not set"));
                    }
                    value.map(Secret::new)
                }
                (Some((kind, path)), 1) if kind == "file" => match std::fs::read_to_string(path) {
                    Ok(text) => Some(Secret::new(text.trim())),
                    Err(error) => {
                        self.fault(key, format!("{path} cannot be read: {error}"));
                        None
                    }
                },
                _ => {
                    self.fault(key, "expected a string, { env = \"NAME\" } or { file = \"PATH\" }");
                    None
                }
            },
        }
    }
}

fn validate(raw: Raw, environment: &Environment) -> Result<Config, Faults> {
    let mut check = Check { faults: Vec::new(), environment };
    not_yet(&raw, &mut check);
    authentication(&raw.auth, &mut check);
    let account_id = raw.api.account_id.unwrap_or_else(|| "000000000000".to_owned());
    if account_id.len() != 12 || !account_id.bytes().all(|b| b.is_ascii_digit()) {
        check.fault("api.account_id", format!("{account_id:?}: expected 12 digits"));
    }
    let region = raw.api.region.unwrap_or_else(|| "us-east-1".to_owned());
    if region.is_empty() || !region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    {
        check.fault("api.region", format!("{region:?}: expected a region such as us-east-1"));
    }
    let endpoint_url = check.url("s3.endpoint_url", raw.s3.endpoint_url);
    let path_style = check.flag("s3.force_path_style", raw.s3.force_path_style);
    let config = Config {
        api: Api { listen: check.address("api.listen", raw.api.listen, "0.0.0.0:4573"), account_id, region },
        admin: Admin { listen: check.address("admin.listen", raw.admin.listen, "127.0.0.1:4574") },
        quotas: Quotas {
            records_per_sec: check.quota("quotas.records_per_sec", raw.quotas.records_per_sec),
            bytes_per_sec: raw.quotas.bytes_per_sec.and_then(|text| {
                let size = check.size("quotas.bytes_per_sec", Some(text), ByteSize::mib(1));
                NonZeroU64::new(size.bytes()).or_else(|| {
                    check.fault("quotas.bytes_per_sec", "expected more than nothing");
                    None
                })
            }),
            calls_per_sec: check.quota("quotas.calls_per_sec", raw.quotas.calls_per_sec),
        },
        log: Log {
            dir: raw.log.dir.map_or_else(|| PathBuf::from("/var/lib/hydrant/log"), PathBuf::from),
            bytes_max: check.size("log.bytes_max", raw.log.bytes_max, ByteSize::gib(50)),
            free_min: check.size("log.free_min", raw.log.free_min, ByteSize::gib(1)),
        },
        metastore: Metastore {
            url: metastore_url(raw.metastore.url, &mut check),
            retention: check
                .duration("metastore.retention", raw.metastore.retention)
                .unwrap_or(Duration::from_secs(30 * 24 * 3600)),
        },
        s3: S3 {
            force_path_style: path_style.unwrap_or(endpoint_url.is_some()),
            endpoint_url,
            region: raw.s3.region,
        },
        redshift: Redshift {
            endpoint_url: check.url("redshift.endpoint_url", raw.redshift.endpoint_url),
            region: raw.redshift.region,
            iam_role: raw.redshift.iam_role,
        },
        delivery: Delivery {
            interval_max: check.duration("delivery.interval_max", raw.delivery.interval_max),
            gzip_level: check.number("delivery.gzip_level", raw.delivery.gzip_level, 6, 1..=9),
            copy_retry: check
                .duration("delivery.copy_retry", raw.delivery.copy_retry)
                .unwrap_or(Duration::from_secs(300)),
        },
    };
    if config.log.bytes_max < LOG_BYTES_MIN {
        check.fault(
            "log.bytes_max",
            format!("expected at least {LOG_BYTES_MIN}, or there is no room to recycle segments"),
        );
    }
    if config.log.dir.as_os_str().is_empty() {
        check.fault("log.dir", "expected a directory");
    }
    if check.faults.is_empty() { Ok(config) } else { Err(Faults(check.faults)) }
}

/// A few segments: one being written, one being delivered, one free.
const LOG_BYTES_MIN: ByteSize = ByteSize::mib(256);

/// Keys that the configuration has a place for and that have no effect yet are refused, not ignored.
fn not_yet(raw: &Raw, check: &mut Check<'_>) {
    for (key, given, instead) in [
        ("api.tls", raw.api.tls.is_some(), "TLS is not supported yet: put a proxy in front"),
        (
            "auth.keys",
            raw.auth.keys.is_some(),
            "signatures are not verified yet: remove it and set auth.mode = \"none\"",
        ),
        (
            "streams.dir",
            raw.streams.dir.is_some(),
            "streams from files are not supported yet: create them through the API",
        ),
    ] {
        if given {
            check.fault(key, instead);
        }
    }
}

fn authentication(auth: &raw::Auth, check: &mut Check<'_>) {
    match auth.mode.as_deref() {
        Some("none") => {}
        None | Some("sigv4") => check.fault(
            "auth.mode",
            "signatures are not verified yet, and a service that only seems to check them is not started: \
             set auth.mode = \"none\" and let only your producers reach api.listen",
        ),
        Some(other) => check.fault("auth.mode", format!("{other:?}: expected \"sigv4\" or \"none\"")),
    }
}

fn metastore_url(source: Option<SecretSource>, check: &mut Check<'_>) -> Secret {
    const KEY: &str = "metastore.url";
    let Some(source) = source else {
        check.fault(KEY, "missing: expected postgres://… or sqlite:///path/to/hydrant.db");
        return Secret::new("");
    };
    let Some(url) = check.secret(KEY, source) else { return Secret::new("") };
    if !["postgres://", "postgresql://", "sqlite://"].iter().any(|scheme| url.reveal().starts_with(scheme)) {
        check.fault(KEY, "expected postgres://… or sqlite:///path/to/hydrant.db");
    }
    url
}

#[cfg(test)]
mod tests;
