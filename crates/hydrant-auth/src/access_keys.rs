//! The access keys that are known, and what each allows.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwapOption;
use governor::{
    Quota, RateLimiter, clock, middleware::NoOpMiddleware, state::InMemoryState, state::NotKeyed,
};
use hmac::{Hmac, KeyInit, Mac};
use hydrant_types::{Clock, Secret};
use sha2::Sha256;

use crate::{Service, caller::Resource, error::quote, pattern::Pattern};

/// An access key as it is configured.
#[derive(Debug, Clone)]
pub struct AccessKey {
    /// `AKIA…`, or any other name of 1 to 128 letters, digits and `_ - .`.
    pub id: String,
    /// The secret access key.
    pub secret: Secret,
    /// Patterns of allowed actions: `firehose:PutRecord`, `firehose:Put*`, `*`. Upper and lower case are the same.
    pub actions: Vec<String>,
    /// Patterns of the names of streams that they are allowed on: `orders-*`.
    pub streams: Vec<String>,
    /// Calls that are answered a second; a second's worth may come at once. `None` is no limit.
    pub calls_per_sec: Option<NonZeroU32>,
}

/// What is wrong with an access key's configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The id, which must not be quoted: it may be the secret, put in the wrong place.
    #[error("access key number {0}: the id must be 1 to 128 letters, digits, '_', '-' or '.'")]
    Id(usize),
    /// Twice the same id.
    #[error("access key {0:?} is there twice")]
    Repeated(String),
    /// No secret.
    #[error("access key {0:?} has an empty secret")]
    NoSecret(String),
    /// Nothing is allowed.
    #[error("access key {0:?} allows no action")]
    NoActions(String),
    /// Nothing is allowed on anything.
    #[error("access key {0:?} allows its actions on no stream")]
    NoStreams(String),
    /// Another service's action, or none.
    #[error(
        "access key {id:?}: action {pattern:?} allows nothing: no action of the service is named so, as {example} is"
    )]
    Action {
        /// The access key.
        id: String,
        /// As it was given.
        pattern: String,
        /// One that there is.
        example: String,
    },
    /// No stream can have such a name.
    #[error(
        "access key {id:?}: stream {pattern:?} can match no name: expected 1 to 128 of a-z, A-Z, 0-9, '_', '.', '-', and '*' and '?' as \
         placeholders"
    )]
    Stream {
        /// The access key.
        id: String,
        /// As it was given.
        pattern: String,
    },
}

/// Everything that is wrong with a list of access keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, fault) in self.0.iter().enumerate() {
            let separator = if at > 0 { "; " } else { "" };
            write!(f, "{separator}{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// Access keys, checked, by their id.
pub struct AccessKeys {
    by_id: HashMap<String, Arc<Key>>,
}

impl AccessKeys {
    /// Checks `keys`, which call `service`. `clock` paces [`AccessKey::calls_per_sec`].
    ///
    /// # Errors
    /// All that is wrong with them.
    pub fn new(keys: Vec<AccessKey>, service: &Service, clock: &Arc<dyn Clock>) -> Result<Self, Faults> {
        let mut by_id = HashMap::with_capacity(keys.len());
        let mut faults = Vec::new();
        for (at, key) in keys.into_iter().enumerate() {
            if let Some(key) = Key::check(key, at, service, clock, &mut faults) {
                let id = key.id.clone();
                if by_id.insert(id.clone(), Arc::new(key)).is_some() {
                    faults.push(Fault::Repeated(id));
                }
            }
        }
        if faults.is_empty() { Ok(Self { by_id }) } else { Err(Faults(faults)) }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether nobody can call.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Arc<Key>> {
        self.by_id.get(id)
    }
}

impl fmt::Debug for AccessKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_id.keys()).finish()
    }
}

type Bucket = RateLimiter<NotKeyed, InMemoryState, Monotonic, NoOpMiddleware<Duration>>;

/// One access key.
pub(crate) struct Key {
    id: String,
    secret: Secret,
    /// Of the service's actions.
    actions: HashSet<&'static str>,
    streams: Vec<Pattern>,
    bucket: Option<Bucket>,
    /// Of the last day that was signed for: callers' clocks agree on the day, but for minutes around midnight, and deriving one takes
    /// about a microsecond.
    signing_key: ArcSwapOption<SigningKey>,
}

/// A day's signing key, in the state that every signature begins with.
struct SigningKey {
    date: String,
    mac: Hmac<Sha256>,
}

impl Key {
    fn check(
        key: AccessKey,
        at: usize,
        service: &Service,
        clock: &Arc<dyn Clock>,
        faults: &mut Vec<Fault>,
    ) -> Option<Self> {
        let AccessKey { id, secret, actions, streams, calls_per_sec } = key;
        let of_id = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        if !(1..=128).contains(&id.len()) || !id.bytes().all(of_id) {
            faults.push(Fault::Id(at + 1));
            return None;
        }
        if secret.reveal().is_empty() {
            faults.push(Fault::NoSecret(id.clone()));
        }
        if actions.is_empty() {
            faults.push(Fault::NoActions(id.clone()));
        }
        if streams.is_empty() {
            faults.push(Fault::NoStreams(id.clone()));
        }
        let mut allowed = HashSet::new();
        for pattern in actions {
            let matched = actions_of(&pattern, service);
            if matched.is_empty() {
                let example = format!("{}:{}", service.name, service.actions.first().unwrap_or(&"*"));
                faults.push(Fault::Action { id: id.clone(), pattern: quote(pattern), example });
            }
            allowed.extend(matched);
        }
        let streams = streams.into_iter().filter_map(|pattern| {
            let compiled = Some(&pattern).filter(|p| could_be_a_name(p)).and_then(|p| Pattern::new(p, false));
            if compiled.is_none() {
                faults.push(Fault::Stream { id: id.clone(), pattern: quote(pattern) });
            }
            compiled
        });
        let streams = streams.collect();
        let bucket = calls_per_sec
            .map(|calls| RateLimiter::direct_with_clock(Quota::per_second(calls), Monotonic(clock.clone())));
        Some(Self { id, secret, actions: allowed, streams, bucket, signing_key: ArcSwapOption::empty() })
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn allows(&self, action: &str, resource: Resource<'_>) -> bool {
        self.actions.contains(action)
            && match resource {
                Resource::Named(name) => self.streams.iter().any(|pattern| pattern.matches(name)),
                Resource::All => self.streams.iter().any(Pattern::is_everything),
                Resource::Unnamed => true,
            }
    }

    /// Whether one more call may be answered now.
    pub(crate) fn admits(&self) -> bool {
        self.bucket.as_ref().is_none_or(|bucket| bucket.check().is_ok())
    }

    /// What signatures of `date` begin with.
    pub(crate) fn signing_key(&self, date: &str, region: &str, service: &str) -> Hmac<Sha256> {
        match self.signing_key.load().as_deref() {
            Some(known) if known.date == date => return known.mac.clone(),
            _ => {}
        }
        let mut key = mac(format!("AWS4{}", self.secret.reveal()).as_bytes());
        for step in [date, region, service, TERMINATOR] {
            key.update(step.as_bytes());
            key = mac(&key.finalize().into_bytes());
        }
        self.signing_key.store(Some(Arc::new(SigningKey { date: date.to_owned(), mac: key.clone() })));
        key
    }
}

/// The last part of every credential scope.
pub(crate) const TERMINATOR: &str = "aws4_request";

fn mac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// The actions that an IAM pattern stands for.
fn actions_of(pattern: &str, service: &Service) -> Vec<&'static str> {
    let of_service = match pattern.split_once(':') {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(service.name) => rest,
        None if pattern == "*" => pattern,
        _ => return Vec::new(),
    };
    let Some(pattern) = Pattern::new(of_service, true) else { return Vec::new() };
    service.actions.iter().copied().filter(|action| pattern.matches(action)).collect()
}

fn could_be_a_name(pattern: &str) -> bool {
    let of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b'*' | b'?');
    !pattern.is_empty() && pattern.bytes().all(of_name)
}

/// Our clock as governor wants it.
#[derive(Clone)]
struct Monotonic(Arc<dyn Clock>);

impl clock::Clock for Monotonic {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.monotonic()
    }
}
