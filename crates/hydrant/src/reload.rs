//! What SIGHUP does: the configuration is read anew, and what can be exchanged while the service runs is exchanged. No connection is dropped.
//!
//! Access keys, the certificate, encryption keys and the streams that files declare are exchanged; where anything in the configuration or in
//! those files is wrong, none of them is. For anything else it is said which section needs a restart.

use std::{path::PathBuf, sync::Arc};

use hydrant_api::TlsCertificates;
use hydrant_auth::Authenticator;
use hydrant_ingest::Keyring;
use hydrant_types::Clock;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};
use tracing::{error, info, warn};

use crate::{
    config::{self, Auth, Config, Faults},
    declared::Declared,
};

/// SIGHUPs, and where the configuration is read from.
pub struct Source {
    path: Option<PathBuf>,
    hangups: Signal,
}

impl Source {
    /// To be made first of all: a SIGHUP that nobody listens for ends the process.
    ///
    /// # Errors
    /// The handler cannot be installed.
    pub fn new(path: Option<PathBuf>) -> std::io::Result<Self> {
        Ok(Self { path, hangups: signal(SignalKind::hangup())? })
    }
}

/// What can be exchanged.
pub struct Exchangeable {
    /// Access keys.
    pub authenticator: Arc<Authenticator>,
    /// The certificate.
    pub tls: Option<TlsCertificates>,
    /// Encryption keys.
    pub keyring: Arc<Keyring>,
    /// Streams in files.
    pub declared: watch::Sender<Declared>,
    /// For the limits of access keys.
    pub clock: Arc<dyn Clock>,
}

/// Exchanges at each SIGHUP. `running` is what the service was started with.
///
/// # Cancel safety
/// Safe: what was exchanged is exchanged.
pub async fn run(mut source: Source, running: Config, parts: Exchangeable) {
    while source.hangups.recv().await.is_some() {
        // Thousands of files may be read and checked.
        match tokio::task::block_in_place(|| exchange(&source, &running, &parts)) {
            Ok(()) => info!("the configuration was read again"),
            Err(faults) => error!(%faults, "nothing was changed: the configuration cannot be taken"),
        }
    }
}

fn exchange(source: &Source, running: &Config, parts: &Exchangeable) -> Result<(), Faults> {
    let (path, environment) = (source.path.as_deref(), config::process_environment());
    // Streams are made for the region that runs; another one takes a restart.
    let (config, files) = Config::load_with_files(path, &environment, Some(&running.api.region))?;
    // Where api.tls names other files, those of the start stay.
    if let (Some(tls), Some(read)) = (&parts.tls, &files.tls) {
        tls.replace(read);
    }
    if let Some(keys) = config.auth.access_keys(&parts.clock) {
        parts.authenticator.replace_keys(keys);
    }
    parts.keyring.replace(config.encryption.master_keys());
    parts.declared.send_replace(files.streams);
    let sections = running.needing_restart(&config);
    if !sections.is_empty() {
        warn!(sections = sections.join(", "), "changes in these sections take effect with a restart");
    }
    Ok(())
}

impl Config {
    /// Sections in which `new` differs in what only a start can change.
    fn needing_restart(&self, new: &Self) -> Vec<&'static str> {
        let is_open = |config: &Self| matches!(config.auth, Auth::Anyone);
        [
            ("api", self.api != new.api),
            ("admin", self.admin != new.admin),
            ("auth.mode", is_open(self) != is_open(new)),
            ("quotas", self.quotas != new.quotas),
            ("log", self.log != new.log),
            ("metastore", self.metastore != new.metastore),
            ("s3", self.s3 != new.s3),
            ("redshift", self.redshift != new.redshift),
            ("delivery", self.delivery != new.delivery),
        ]
        .into_iter()
        .filter_map(|(section, changed)| changed.then_some(section))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "[auth]\nmode = \"none\"\n[metastore]\nurl = \"sqlite:///tmp/h.db\"\n";
    const KEYS: &str = "[metastore]\nurl = \"sqlite:///tmp/h.db\"\n[[auth.keys]]\naccess_key_id = \"a\"\nsecret_access_key = \"b\"\n";

    fn config(text: &str) -> Config {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("hydrant.toml");
        std::fs::write(&path, text).expect("a file");
        Config::load(Some(&path), &config::Environment::new()).expect("it is valid")
    }

    #[test]
    fn what_only_a_start_can_change_is_named() {
        let with = |section: &str| config(&format!("{LEAST}{section}"));
        for (section, named) in [
            ("[api]\nlisten = \"127.0.0.1:1\"", "api"),
            ("[admin]\nlisten = \"127.0.0.1:1\"", "admin"),
            ("[quotas]\ncalls_per_sec = 1", "quotas"),
            ("[log]\nfree_min = \"2GiB\"", "log"),
            ("[s3]\nregion = \"eu-west-1\"", "s3"),
            ("[redshift]\niam_role = \"default\"", "redshift"),
            ("[delivery]\ngzip_level = 1", "delivery"),
        ] {
            assert_eq!(with("").needing_restart(&with(section)), [named]);
        }
        assert_eq!(with("").needing_restart(&config(KEYS)), ["auth.mode"]);
        assert_eq!(config(KEYS).needing_restart(&with("")), ["auth.mode"]);
    }

    #[test]
    fn what_is_exchanged_needs_no_restart() {
        let other = KEYS.replace("\"b\"", "\"c\"");
        assert!(config(KEYS).needing_restart(&config(&other)).is_empty());
        let dir = tempfile::tempdir().expect("a directory");
        let key = dir.path().join("key");
        std::fs::write(&key, "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=").expect("a file");
        let encrypted = format!(
            "{KEYS}[[encryption.keys]]\narn = \"arn:aws:kms:us-east-1:000000000000:key/a\"\nkey = {{ file = {key:?} }}\n[streams]\ndir = \"/etc\"\n"
        );
        assert!(config(KEYS).needing_restart(&config(&encrypted)).is_empty());
    }
}
