//! Configuration: TOML, overlaid by the environment, checked as a whole before anything starts.
//!
//! Raw text ([`raw`]) becomes a [`Config`] in one function that takes the environment as a map. All faults are reported at
//! once, each with its key and what was expected. Precedence: command line, environment, file, default.

mod access;
mod check;
mod place;
mod raw;
mod settings;

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    num::NonZeroU64,
    path::{Path, PathBuf},
    time::Duration,
};

pub use access::{Auth, Encryption, Tls};
use check::Check;
use hydrant_api::TlsCertificates;
use hydrant_ingest::Quotas;
use hydrant_types::{ByteSize, Secret};
use raw::{Raw, SecretSource};
use settings::Settings;

use crate::{
    app::format_chain,
    stream_files::{self, StreamFile},
};

/// What the service runs with; nothing is left to check.
#[derive(Debug, Clone)]
pub struct Config {
    /// The Firehose API.
    pub api: Api,
    /// Metrics and health.
    pub admin: Admin,
    /// Who may call.
    pub auth: Auth,
    /// Keys that streams are encrypted under.
    pub encryption: Encryption,
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
    /// `streams.dir`: declares streams.
    pub streams_dir: Option<PathBuf>,
}

/// `[api]`
#[derive(Debug, Clone, PartialEq)]
pub struct Api {
    /// Address of the API listener.
    pub listen: SocketAddr,
    /// Account in ARNs and error texts.
    pub account_id: String,
    /// Region in ARNs, and of signatures.
    pub region: String,
    /// `None`: plain HTTP.
    pub tls: Option<Tls>,
}

/// `[admin]`
#[derive(Debug, Clone, PartialEq)]
pub struct Admin {
    /// Address of the admin listener.
    pub listen: SocketAddr,
    /// What all but the health paths want; there is always one where other machines reach the listener.
    pub token: Option<Secret>,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    /// Directory of the record log.
    pub dir: PathBuf,
    /// Most bytes on disk; beyond it puts get 503.
    pub bytes_max: ByteSize,
    /// Least free space on its disk; below it puts get 503.
    pub free_min: ByteSize,
}

/// `[metastore]`
#[derive(Debug, Clone, PartialEq)]
pub struct Metastore {
    /// `postgres://…` or `sqlite:///…`; secret for the password in it.
    pub url: Secret,
    /// How long done deliveries are kept.
    pub retention: Duration,
}

/// `[s3]`
#[derive(Debug, Clone, Default, PartialEq)]
pub struct S3 {
    /// For S3 servers that are not AWS's.
    pub endpoint_url: Option<String>,
    /// Else the usual AWS chain.
    pub region: Option<String>,
    /// `https://host/bucket/key` instead of `https://bucket.host/key`. Default: true where an endpoint is given.
    pub force_path_style: bool,
    /// Objects are written as each stream's RoleARN, and not with the process's own credentials.
    pub assume_roles: bool,
    /// For an STS that is not AWS's.
    pub sts_endpoint_url: Option<String>,
}

/// `[redshift]`
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Redshift {
    /// For a Data API that is not AWS's.
    pub endpoint_url: Option<String>,
    /// Instead of the region in each stream's JDBC URL.
    pub region: Option<String>,
    /// Instead of each stream's role in COPY; `default` for the cluster's default role.
    pub iam_role: Option<String>,
}

/// `[delivery]`
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Caps every stream's buffering interval.
    pub interval_max: Option<Duration>,
    /// 1 (fast) to 9 (small).
    pub gzip_level: u32,
    /// Between a failed COPY and its next attempt.
    pub copy_retry: Duration,
}

/// What is in the files that a configuration names.
#[derive(Debug)]
pub struct Files {
    /// `api.tls`
    pub tls: Option<TlsCertificates>,
    /// `streams.dir`; `None` where there is none, so that no file declares or ceases to declare anything.
    pub streams: Option<Vec<StreamFile>>,
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

/// The process's environment. What is no text in it has [`char::REPLACEMENT_CHARACTER`] where it is none: a fault, where the configuration asks for it.
pub fn process_environment() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
        .collect()
}

impl Config {
    /// Reads the file, lays the environment over it and checks the whole.
    ///
    /// # Errors
    /// [`Faults`]: all unknown keys and wrong types and, where all types are right, all that is wrong with values. A fault of the file's syntax
    /// comes alone.
    pub fn load(path: Option<&Path>, environment: &Environment) -> Result<Self, Faults> {
        let (text, name) = text_of(path)?;
        let (config, faults) = Self::parse(&text, &name, environment)?;
        faults.into_result(config)
    }

    /// The same, with what only the service needs: certificates, and streams that files declare. Those are checked for `region`, or for the
    /// configuration's own where that is `None`.
    ///
    /// # Errors
    /// [`Faults`], those of the configuration and of all these files at once, as [`Config::load`] finds them; where there is no configuration,
    /// those of the files that it names all the same.
    pub fn load_with_files(
        path: Option<&Path>,
        environment: &Environment,
        region: Option<&str>,
    ) -> Result<(Self, Files), Faults> {
        let (text, name) = text_of(path)?;
        let mut parsed = Self::parse(&text, &name, environment);
        let mut named = match &parsed {
            Ok((config, _)) => NamedFiles::of(config),
            Err(_) => NamedFiles::of_text(&text, environment),
        };
        if let Some(region) = region {
            named.region = region.to_owned();
        }
        let faults = match &mut parsed {
            Ok((_, faults)) | Err(faults) => faults,
        };
        let files = named.read(&place::of("api.tls", &text, &name, environment), faults);
        let (config, faults) = parsed?;
        faults.into_result((config, files))
    }

    /// Reads the files that this names, for a configuration that was made and not read.
    ///
    /// # Errors
    /// [`Faults`], all of them at once.
    pub fn files(&self) -> Result<Files, Faults> {
        let mut faults = Faults(Vec::new());
        let files = NamedFiles::of(self).read("", &mut faults);
        faults.into_result(files)
    }

    /// The configuration and what is wrong with it; what is wrong has some value in it. `name` is what faults call `text`.
    ///
    /// # Errors
    /// The syntax or a type is wrong, so that there is no configuration.
    fn parse(text: &str, name: &str, environment: &Environment) -> Result<(Self, Faults), Faults> {
        let mut settings = Settings::of_file(text, name)?;
        settings.overlay(environment);
        let (raw, mut faults) = settings.into_raw()?;
        let (config, values) = validate(raw, environment);
        let said = |(key, problem): (String, String)| {
            format!("{}{key}: {problem}", place::of(&key, text, name, environment))
        };
        faults.0.extend(values.into_iter().map(said));
        Ok((config, faults))
    }
}

/// The file's text, and what faults call it.
fn text_of(path: Option<&Path>) -> Result<(String, String), Faults> {
    let Some(path) = path else { return Ok((String::new(), "environment".to_owned())) };
    let text = std::fs::read_to_string(path)
        .map_err(|e| Faults(vec![format!("{}: cannot be read: {e}", path.display())]))?;
    Ok((text, path.display().to_string()))
}

/// Files that a configuration names.
struct NamedFiles {
    tls: Option<Tls>,
    streams_dir: Option<PathBuf>,
    /// Streams are declared for it.
    region: String,
}

impl NamedFiles {
    fn of(config: &Config) -> Self {
        Self {
            tls: config.api.tls.clone(),
            streams_dir: config.streams_dir.clone(),
            region: config.api.region.clone(),
        }
    }

    /// As far as a text says that is no configuration: so that its own fault hides none of theirs.
    fn of_text(text: &str, environment: &Environment) -> Self {
        // What is wrong with it has been said.
        let mut settings = Settings::of_file(text, "").unwrap_or_default();
        settings.overlay(environment);
        let tls = settings.text_at(&["api", "tls", "cert"]).zip(settings.text_at(&["api", "tls", "key"]));
        Self {
            tls: tls.map(|(cert, key)| Tls { cert: cert.into(), key: key.into() }),
            streams_dir: settings.text_at(&["streams", "dir"]).map(PathBuf::from),
            region: settings.text_at(&["api", "region"]).unwrap_or_else(|| REGION_DEFAULT.to_owned()),
        }
    }

    /// `tls_place` is where `api.tls` was given, as faults begin.
    fn read(&self, tls_place: &str, faults: &mut Faults) -> Files {
        let tls = self.tls.as_ref().and_then(|tls| {
            let loaded = TlsCertificates::load(&tls.cert, &tls.key);
            let said = |error| faults.0.push(format!("{tls_place}api.tls: {}", format_chain(&error)));
            loaded.map_err(said).ok()
        });
        let streams = self.streams_dir.as_ref().map(|dir| stream_files::read(dir, &self.region));
        let streams = streams.transpose().unwrap_or_else(|found| {
            faults.0.extend(found);
            None
        });
        Files { tls, streams }
    }
}

impl Faults {
    fn into_result<T>(self, whole: T) -> Result<T, Self> {
        if self.0.is_empty() { Ok(whole) } else { Err(self) }
    }
}

fn validate(raw: Raw, environment: &Environment) -> (Config, Vec<(String, String)>) {
    let mut check = Check { faults: Vec::new(), environment };
    let account_id = raw.api.account_id.unwrap_or_else(|| "000000000000".to_owned());
    if account_id.len() != 12 || !account_id.bytes().all(|b| b.is_ascii_digit()) {
        check.fault("api.account_id", format!("{account_id:?}: expected 12 digits"));
    }
    let region = raw.api.region.unwrap_or_else(|| REGION_DEFAULT.to_owned());
    if region.is_empty() || !region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    {
        check.fault("api.region", format!("{region:?}: expected a region such as us-east-1"));
    }
    let endpoint_url = check.url("s3.endpoint_url", raw.s3.endpoint_url);
    let sts_endpoint_url = check.url("s3.sts_endpoint_url", raw.s3.sts_endpoint_url);
    let assume_roles = check.flag("s3.assume_roles", raw.s3.assume_roles);
    if sts_endpoint_url.is_some() && !assume_roles.unwrap_or(false) {
        check.fault("s3.sts_endpoint_url", "without effect unless s3.assume_roles is true");
    }
    let path_style = check.flag("s3.force_path_style", raw.s3.force_path_style);
    let config = Config {
        api: Api {
            listen: check.address("api.listen", raw.api.listen, "0.0.0.0:4573"),
            account_id,
            region,
            tls: access::tls(raw.api.tls, &mut check),
        },
        auth: access::auth(raw.auth, &mut check),
        encryption: access::encryption(raw.encryption, &mut check),
        admin: admin(raw.admin, &mut check),
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
                .duration("metastore.retention", raw.metastore.retention, RETENTION_MAX)
                .unwrap_or(Duration::from_secs(30 * 24 * 3600)),
        },
        s3: S3 {
            force_path_style: path_style.unwrap_or(endpoint_url.is_some()),
            endpoint_url,
            region: raw.s3.region,
            assume_roles: assume_roles.unwrap_or(false),
            sts_endpoint_url,
        },
        redshift: Redshift {
            endpoint_url: check.url("redshift.endpoint_url", raw.redshift.endpoint_url),
            region: raw.redshift.region,
            iam_role: raw.redshift.iam_role,
        },
        delivery: Delivery {
            interval_max: check.duration("delivery.interval_max", raw.delivery.interval_max, INTERVAL_MAX),
            gzip_level: check.number("delivery.gzip_level", raw.delivery.gzip_level, 6, 1..=9),
            copy_retry: check
                .duration("delivery.copy_retry", raw.delivery.copy_retry, COPY_RETRY_MAX)
                .unwrap_or(Duration::from_secs(300)),
        },
        streams_dir: raw.streams.dir.map(PathBuf::from),
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
    (config, check.faults)
}

/// The longest interval that a stream can ask for.
const INTERVAL_MAX: Duration = Duration::from_secs(900);
/// RetryOptions end after two hours.
const COPY_RETRY_MAX: Duration = Duration::from_secs(7200);
/// A hundred years: for ever, for anybody who counts.
const RETENTION_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
const REGION_DEFAULT: &str = "us-east-1";

/// A few segments: one being written, one being delivered, one free.
const LOG_BYTES_MIN: ByteSize = ByteSize::mib(256);

/// Fewer could be guessed.
const ADMIN_TOKEN_MIN: usize = 16;

fn admin(raw: raw::Admin, check: &mut Check<'_>) -> Admin {
    let faults_before = check.faults.len();
    let listen = check.address("admin.listen", raw.listen, "127.0.0.1:4574");
    let token = raw.token.and_then(|source| check.secret("admin.token", source));
    match &token {
        None if !listen.ip().is_loopback() && check.faults.len() == faults_before => check.fault(
            "admin.listen",
            format!("other machines reach {listen}: set admin.token too, or listen on 127.0.0.1"),
        ),
        // It is sent in a header, as one word.
        Some(token) if !token.reveal().bytes().all(|byte| byte.is_ascii_graphic()) => {
            check.fault("admin.token", "expected letters, digits and signs of ASCII without spaces");
        }
        Some(token) if token.reveal().len() < ADMIN_TOKEN_MIN => check.fault(
            "admin.token",
            format!("expected at least {ADMIN_TOKEN_MIN} characters, such as `openssl rand -hex 32` gives"),
        ),
        _ => {}
    }
    Admin { listen, token }
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
