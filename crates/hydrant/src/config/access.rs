//! `[auth]`, `[encryption]` and `api.tls`: who may call, and what is kept how.

use std::{collections::HashSet, sync::Arc};

use hydrant_auth::{AccessKey, AccessKeys, Fault as AccessKeyFault};
use hydrant_ingest::{MasterKey, MasterKeyError, MasterKeys};
use hydrant_types::{Clock, Secret, SystemClock};

use super::{
    Check,
    raw::{self, SecretSource},
};

const CHECKED: &str = "they were checked when the configuration was read";

/// `[auth]`
#[derive(Debug, Clone)]
pub enum Auth {
    /// `mode = "none"`: whoever reaches the listener may call.
    Anyone,
    /// `mode = "sigv4"`: who signs with one of these may do what it allows.
    Keys(Vec<AccessKey>),
}

impl Auth {
    /// The access keys, for the verifier; `None` where none are wanted.
    pub fn access_keys(&self, clock: &Arc<dyn Clock>) -> Option<AccessKeys> {
        match self {
            Self::Anyone => None,
            Self::Keys(keys) => {
                let keys = AccessKeys::new(keys.clone(), &hydrant_api::SERVICE, clock);
                Some(keys.expect(CHECKED))
            }
        }
    }
}

/// `[encryption]`
#[derive(Debug, Clone, Default)]
pub struct Encryption {
    keys: Vec<(String, Secret)>,
    default: Option<String>,
}

impl Encryption {
    /// One key, which is the default.
    pub fn with_default(arn: &str, key: Secret) -> Self {
        Self { keys: vec![(arn.to_owned(), key)], default: Some(arn.to_owned()) }
    }

    /// Whether no key is configured.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The configured keys.
    pub fn master_keys(&self) -> MasterKeys {
        let keys = self.keys.iter().map(|(arn, key)| MasterKey::new(arn, key).expect(CHECKED));
        MasterKeys::new(keys, self.default.as_deref()).expect(CHECKED)
    }
}

/// `api.tls`: PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The server's certificate and those between it and a root.
    pub cert: std::path::PathBuf,
    /// Its private key.
    pub key: std::path::PathBuf,
}

pub(super) fn auth(raw: raw::Auth, check: &mut Check<'_>) -> Auth {
    match raw.mode.as_deref() {
        Some("none") => {
            if !raw.keys.is_empty() {
                check.fault(
                    "auth.keys",
                    "nobody is asked for them where auth.mode is \"none\": remove one of the two",
                );
            }
            Auth::Anyone
        }
        None | Some("sigv4") => {
            if raw.keys.is_empty() {
                check.fault(
                    "auth.keys",
                    "no access key, so nobody may call: add [[auth.keys]] with access_key_id and secret_access_key, or write out \
                     auth.mode = \"none\" where only your producers reach api.listen",
                );
            }
            Auth::Keys(access_keys(raw.keys, check))
        }
        Some(other) => {
            check.fault("auth.mode", format!("{other:?}: expected \"sigv4\" or \"none\""));
            Auth::Anyone
        }
    }
}

fn access_keys(raw: Vec<raw::AuthKey>, check: &mut Check<'_>) -> Vec<AccessKey> {
    let mut keys = Vec::<AccessKey>::new();
    for (at, raw) in raw.into_iter().enumerate() {
        let whole = format!("auth.keys[{at}]");
        let name = |key: &str| format!("{whole}.{key}");
        if raw.access_key_id.is_none() {
            check.fault(&name("access_key_id"), "missing");
        }
        if raw.secret_access_key.is_none() {
            check.fault(&name("secret_access_key"), "missing");
        }
        let secret =
            raw.secret_access_key.and_then(|source| check.secret(&name("secret_access_key"), source));
        let calls_per_sec = check.quota(&name("calls_per_sec"), raw.calls_per_sec);
        let (Some(id), Some(secret)) = (raw.access_key_id, secret) else {
            continue;
        };
        let all = |pattern: &str| vec![pattern.to_owned()];
        let key = AccessKey {
            id,
            secret,
            actions: raw.actions.unwrap_or_else(|| all("firehose:*")),
            streams: raw.streams.unwrap_or_else(|| all("*")),
            calls_per_sec,
        };
        faults_of(at, &key).into_iter().for_each(|fault| check.fault(&whole, fault));
        if keys.iter().any(|other| other.id == key.id) {
            check.fault(&whole, AccessKeyFault::Repeated(key.id.clone()));
        }
        keys.push(key);
    }
    keys
}

/// What is wrong with the key that is `at` in the list.
fn faults_of(at: usize, key: &AccessKey) -> Vec<AccessKeyFault> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let checked = AccessKeys::new(vec![key.clone()], &hydrant_api::SERVICE, &clock);
    let faults = checked.err().map(|faults| faults.0).unwrap_or_default();
    let counted = |fault| match fault {
        AccessKeyFault::Id(_) => AccessKeyFault::Id(at + 1),
        fault => fault,
    };
    faults.into_iter().map(counted).collect()
}

pub(super) fn encryption(raw: raw::Encryption, check: &mut Check<'_>) -> Encryption {
    let mut encryption = Encryption { keys: Vec::new(), default: raw.default };
    let mut named = HashSet::new();
    for (at, raw) in raw.keys.into_iter().enumerate() {
        let whole = format!("encryption.keys[{at}]");
        // A key in the configuration would be in its backups, beside what it protects.
        let (Some(arn), Some(source @ SecretSource::From(_))) = (raw.arn, raw.key) else {
            let expected = "expected arn, and key as { file = \"PATH\" } or { env = \"NAME\" }";
            check.fault(&whole, expected);
            continue;
        };
        if !named.insert(arn.clone()) {
            check.fault(&whole, MasterKeyError::Twice(arn.clone()));
        }
        let Some(key) = check.secret(&format!("{whole}.key"), source) else { continue };
        if let Err(problem) = MasterKey::new(&arn, &key) {
            check.fault(&whole, problem);
        }
        encryption.keys.push((arn, key));
    }
    if let Some(default) = encryption.default.as_ref().filter(|default| !named.contains(*default)) {
        check.fault("encryption.default", MasterKeyError::NoSuchDefault(default.clone()));
    }
    encryption
}

pub(super) fn tls(raw: Option<raw::Tls>, check: &mut Check<'_>) -> Option<Tls> {
    let raw = raw?;
    let (Some(cert), Some(key)) = (raw.cert, raw.key) else {
        check.fault("api.tls", "expected cert and key, each the path of a PEM file");
        return None;
    };
    Some(Tls { cert: cert.into(), key: key.into() })
}
