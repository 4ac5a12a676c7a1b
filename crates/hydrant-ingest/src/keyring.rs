//! Which data key a stream's records are encrypted with, and where reads get theirs.
//!
//! ```text
//!  configured keys ──wrap──▶ data keys of a stream (metastore, stream table) ──▶ frames in the log
//! ```
//!
//! A stream has a data key of its own, so that a configured key can be changed without touching the log, and a stream's records are lost to
//! everybody with the stream. Data keys are unwrapped when they are first needed and then kept in memory; they are forgotten with
//! their stream, and all of them when the configured keys change: a key that was taken out of the configuration is of no use from then on.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use hydrant_log::{DataKey, DataKeys};
use hydrant_types::{
    CurrentKey, DataKeyId, Entropy, Stream, StreamEncryption, StreamId, StreamName, Timestamp,
};
use parking_lot::RwLock;
use tracing::error;

use crate::{
    StreamTable,
    master_keys::{KeyError, MasterKeys},
};

/// Starts and stops of encryption that are taken for a stream within 24 hours (service model, `StartDeliveryStreamEncryption`).
pub const CHANGES_PER_DAY_MAX: usize = 25;
/// Data keys that a stream may have. Each is kept for good, as some log may need it: a few hundred bytes in the stream's row.
pub const DATA_KEYS_MAX: usize = 1_000;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Encryption was started or stopped too often.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("encryption of stream {0} was started and stopped {CHANGES_PER_DAY_MAX} times within 24 hours")]
pub struct TooOften(pub StreamName);

/// Encryption was not started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// KeyARN names no configured key.
    #[error("no key {0} is configured")]
    UnknownKey(String),
    /// AWS_OWNED_CMK was asked for, and there is no default key.
    #[error("no default key is configured")]
    NoDefaultKey,
    /// It was started and stopped too often within 24 hours.
    #[error(transparent)]
    TooOften(#[from] TooOften),
    /// The stream has as many data keys as are kept.
    #[error("stream {0} has {DATA_KEYS_MAX} data keys: make a new stream")]
    TooManyKeys(StreamName),
}

/// The data keys of all streams, behind the configured keys.
pub struct Keyring {
    streams: Arc<StreamTable>,
    state: RwLock<State>,
}

struct State {
    master: Arc<MasterKeys>,
    /// Unwrapped so far; one for each stream and data key in use.
    data_keys: HashMap<(StreamId, DataKeyId), Arc<DataKey>>,
    /// Those of which it was said that they cannot be had.
    missing: HashSet<(StreamId, DataKeyId)>,
}

impl Keyring {
    /// For the streams of a table. Without configured keys ([`MasterKeys::default`]) no stream can be encrypted.
    pub fn new(master: MasterKeys, streams: Arc<StreamTable>) -> Self {
        let state = State { master: Arc::new(master), data_keys: HashMap::new(), missing: HashSet::new() };
        Self { streams, state: RwLock::new(state) }
    }

    /// Takes other configured keys. What is encrypted under one that is gone can neither be read nor added to from now on.
    pub fn replace(&self, master: MasterKeys) {
        let mut state = self.state.write();
        *state = State { master: Arc::new(master), data_keys: HashMap::new(), missing: HashSet::new() };
    }

    /// The configured keys.
    pub fn master(&self) -> Arc<MasterKeys> {
        self.state.read().master.clone()
    }

    /// What a put to `stream` is to be encrypted with; `None` where its encryption is DISABLED.
    ///
    /// # Errors
    /// [`KeyError`]: it is ENABLED and the key cannot be had. The put is to be refused, never stored in clear.
    pub fn current(&self, stream: &Stream) -> Result<Option<Arc<DataKey>>, KeyError> {
        let current = stream.encryption.current.as_ref();
        current.map(|current| self.data_key(stream, current.data_key)).transpose()
    }

    fn data_key(&self, stream: &Stream, id: DataKeyId) -> Result<Arc<DataKey>, KeyError> {
        if let Some(key) = self.state.read().data_keys.get(&(stream.id, id)) {
            return Ok(key.clone());
        }
        let wrapped = stream.encryption.data_keys.iter().find(|wrapped| wrapped.id == id);
        let wrapped =
            wrapped.ok_or_else(|| KeyError::Unknown { stream: stream.name.clone(), data_key: id })?;
        // Unwrapped under the lock: what is kept was unwrapped with the keys that are configured now.
        let mut state = self.state.write();
        match state.master.unwrap(&stream.name, wrapped) {
            Ok(key) => {
                let key = Arc::new(key);
                state.data_keys.insert((stream.id, id), key.clone());
                Ok(key)
            }
            Err(error) => {
                // Once: whoever asks comes again and again.
                if state.missing.insert((stream.id, id)) {
                    error!(stream = %stream.name, %error,
                        "a data key cannot be had: what is encrypted with it waits, and puts that need it are refused");
                }
                Err(error)
            }
        }
    }

    /// Forgets the keys of streams that are gone.
    pub fn forget_gone_streams(&self) {
        let snapshot = self.streams.snapshot();
        let exists = |stream: StreamId| snapshot.by_id(stream).is_some();
        let mut state = self.state.write();
        state.data_keys.retain(|(stream, _), _| exists(*stream));
        state.missing.retain(|(stream, _)| exists(*stream));
    }

    /// The encryption that a stream has once it is started (StartDeliveryStreamEncryption): ENABLED, with a new data key under the
    /// configured key `key_arn`, or under the default key. Started again, it gets another data key.
    ///
    /// # Errors
    /// [`StartError`]; the stream is to stay as it is.
    pub fn start(
        &self,
        stream: &Stream,
        key_arn: Option<&str>,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<StreamEncryption, StartError> {
        let changed_at = changes(stream, now)?;
        self.with_new_key(&stream.name, &stream.encryption, changed_at, key_arn, entropy)
    }

    /// The encryption of a stream that is to be created encrypted.
    ///
    /// # Errors
    /// [`StartError::UnknownKey`], [`StartError::NoDefaultKey`].
    pub fn start_new(
        &self,
        name: &StreamName,
        key_arn: Option<&str>,
        entropy: &dyn Entropy,
    ) -> Result<StreamEncryption, StartError> {
        self.with_new_key(name, &StreamEncryption::default(), Vec::new(), key_arn, entropy)
    }

    fn with_new_key(
        &self,
        name: &StreamName,
        before: &StreamEncryption,
        changed_at: Vec<Timestamp>,
        key_arn: Option<&str>,
        entropy: &dyn Entropy,
    ) -> Result<StreamEncryption, StartError> {
        let master = self.master();
        let arn = match key_arn {
            Some(arn) if !master.has(arn) => return Err(StartError::UnknownKey(arn.to_owned())),
            Some(arn) => arn,
            None => master.default_arn().ok_or(StartError::NoDefaultKey)?,
        };
        if before.data_keys.len() >= DATA_KEYS_MAX {
            return Err(StartError::TooManyKeys(name.clone()));
        }
        let id = before.data_keys.iter().map(|key| key.id.0).max().unwrap_or_default() + 1;
        let wrapped = master.new_data_key(name, DataKeyId(id), arn, &before.data_keys, entropy);
        let current = CurrentKey { key_arn: key_arn.map(str::to_owned), data_key: wrapped.id };
        let data_keys = before.data_keys.iter().cloned().chain([wrapped]).collect();
        Ok(StreamEncryption { current: Some(current), data_keys, changed_at })
    }

    /// The encryption that a stream has once it is stopped (StopDeliveryStreamEncryption): DISABLED. Its data keys stay, for what is in the log.
    ///
    /// # Errors
    /// [`TooOften`].
    pub fn stop(stream: &Stream, now: Timestamp) -> Result<StreamEncryption, TooOften> {
        let changed_at = changes(stream, now)?;
        Ok(StreamEncryption { current: None, data_keys: stream.encryption.data_keys.clone(), changed_at })
    }
}

impl DataKeys for Keyring {
    fn find(&self, stream: StreamId, id: DataKeyId) -> Option<Arc<DataKey>> {
        let stream = self.streams.by_id(stream)?;
        self.data_key(&stream, id).ok()
    }
}

/// The starts and stops of the last 24 hours, this one among them.
fn changes(stream: &Stream, now: Timestamp) -> Result<Vec<Timestamp>, TooOften> {
    let is_recent = |at: &Timestamp| now.0.saturating_sub(at.0) < DAY_MS;
    let mut changed_at: Vec<_> = stream.encryption.changed_at.iter().copied().filter(is_recent).collect();
    if changed_at.len() >= CHANGES_PER_DAY_MAX {
        return Err(TooOften(stream.name.clone()));
    }
    changed_at.push(now);
    Ok(changed_at)
}
