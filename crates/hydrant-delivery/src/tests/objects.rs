//! An object store in memory that outlives crashes, and fails as told.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use async_trait::async_trait;
use hydrant_types::{BucketName, ObjectKey, StoredObject};
use parking_lot::Mutex;

use super::faults::{Fate, Faults};
use crate::{Body, ObjectStore, ObjectStoreError, ObjectStoreErrorKind as Kind, PutOptions, decoder};

/// How a bucket behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Well,
    /// Answers with this code.
    Refuses(&'static str),
    /// Cannot be reached.
    Down,
    /// Never answers.
    Silent,
}

pub(crate) struct Objects {
    state: Mutex<State>,
    pub(crate) faults: Faults,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<(String, String), Body>,
    moods: HashMap<String, Mood>,
    options: HashMap<(String, String), PutOptions>,
    puts: u64,
    heads: u64,
}

impl Objects {
    pub(crate) fn new(random: fastrand::Rng) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), faults: Faults::new(random) })
    }

    pub(crate) fn set_mood(&self, bucket: &str, mood: Mood) {
        self.state.lock().moods.insert(bucket.to_owned(), mood);
    }

    /// PUTs that were begun.
    pub(crate) fn puts(&self) -> u64 {
        self.state.lock().puts
    }

    /// What was asked for with the last PUT of each object: keys and options.
    pub(crate) fn asked_with(&self) -> Vec<(String, PutOptions)> {
        let state = self.state.lock();
        state.options.iter().map(|((_, key), options)| (key.clone(), options.clone())).collect()
    }

    /// HEADs that were begun.
    pub(crate) fn heads(&self) -> u64 {
        self.state.lock().heads
    }

    /// An object as it is stored.
    pub(crate) fn stored(&self, bucket: &str, key: &str) -> Option<Body> {
        self.state.lock().objects.get(&(bucket.to_owned(), key.to_owned())).cloned()
    }

    pub(crate) fn store(&self, bucket: &str, key: &str, body: Body) {
        self.state.lock().objects.insert((bucket.to_owned(), key.to_owned()), body);
    }

    /// What an object holds, decompressed.
    pub(crate) fn content(&self, bucket: &str, key: &str) -> Option<Vec<u8>> {
        let body = self.stored(bucket, key)?;
        let records = decoder::records(&body.bytes, body.compression);
        Some(records.unwrap_or_else(|error| panic!("{key}: {error}")))
    }

    /// The keys of everything in a bucket.
    pub(crate) fn keys(&self, bucket: &str) -> Vec<String> {
        let state = self.state.lock();
        state.objects.keys().filter(|(of, _)| of == bucket).map(|(_, key)| key.clone()).collect()
    }

    /// Keys and content of the objects whose key begins with `prefix` and a year: without manifests.
    pub(crate) fn records_under(&self, bucket: &str, prefix: &str) -> Vec<(String, Vec<u8>)> {
        let keys: Vec<String> = {
            let state = self.state.lock();
            let here = state.objects.keys().filter(|(of, _)| of == bucket).map(|(_, key)| key.clone());
            here.filter(|key| key.strip_prefix(prefix).is_some_and(|rest| rest.starts_with("20"))).collect()
        };
        keys.into_iter()
            .map(|key| {
                let content = self.content(bucket, &key).unwrap();
                (key, content)
            })
            .collect()
    }

    fn mood(&self, bucket: &BucketName) -> Mood {
        self.state.lock().moods.get(bucket.as_str()).copied().unwrap_or(Mood::Well)
    }

    fn put_now(&self, bucket: &BucketName, key: &ObjectKey, body: Body) -> StoredObject {
        let state = &mut *self.state.lock();
        let there = state.objects.entry((bucket.as_str().to_owned(), key.as_str().to_owned()));
        let kept = there.or_insert_with(|| body.clone());
        // Whoever puts under this key again puts the same: a batch's range and a load's manifest never change.
        assert_eq!(kept.records_crc32, body.records_crc32, "another content under {key}");
        StoredObject { etag: format!("{:08x}", kept.crc32), bytes: kept.bytes.len() as u64 }
    }
}

fn error(
    step: &'static str,
    bucket: &BucketName,
    key: &ObjectKey,
    code: &str,
    kind: Kind,
) -> ObjectStoreError {
    let message = "as told".to_owned();
    ObjectStoreError { step, bucket: bucket.clone(), key: key.clone(), code: code.to_owned(), message, kind }
}

#[async_trait]
impl ObjectStore for Objects {
    async fn put(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        body: Body,
        options: &PutOptions,
    ) -> Result<StoredObject, ObjectStoreError> {
        {
            let mut state = self.state.lock();
            state.puts += 1;
            state.options.insert((bucket.as_str().to_owned(), key.as_str().to_owned()), options.clone());
        }
        match self.mood(bucket) {
            Mood::Well => {}
            Mood::Refuses(code) => return Err(error("put", bucket, key, code, Kind::Refused)),
            Mood::Down => return Err(error("put", bucket, key, "S3.Unreachable", Kind::Unreachable)),
            Mood::Silent => std::future::pending().await,
        }
        match self.faults.draw().await {
            Fate::Done => Ok(self.put_now(bucket, key, body)),
            Fate::NotDone => Err(error("put", bucket, key, "InternalError", Kind::Refused)),
            Fate::DoneUnseen => {
                self.put_now(bucket, key, body);
                Err(error("put", bucket, key, "S3.Timeout", Kind::Unreachable))
            }
        }
    }

    async fn head(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        _options: &PutOptions,
    ) -> Result<Option<StoredObject>, ObjectStoreError> {
        self.state.lock().heads += 1;
        match self.mood(bucket) {
            Mood::Well => {}
            Mood::Refuses(code) => return Err(error("head", bucket, key, code, Kind::Refused)),
            Mood::Down => return Err(error("head", bucket, key, "S3.Unreachable", Kind::Unreachable)),
            Mood::Silent => std::future::pending().await,
        }
        if self.faults.draw().await != Fate::Done {
            return Err(error("head", bucket, key, "S3.Unreachable", Kind::Unreachable));
        }
        let there = self.stored(bucket.as_str(), key.as_str());
        Ok(there
            .map(|body| StoredObject { etag: format!("{:08x}", body.crc32), bytes: body.bytes.len() as u64 }))
    }
}
