//! One bucket: its objects' files, and their descriptions in memory.
//!
//! The lock orders everything that can be seen: an object appears in the map after it is durable, under the same write
//! lock that decided its condition. So the loser of a race between conditional puts is told of the winner only when the
//! winner can no longer be lost.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;
use s3s::crypto::{Checksum as _, Sha256};
use s3s::dto::ETagCondition;
use s3s::{S3Error, S3Result, s3_error};
use tempfile::NamedTempFile;

use crate::Error;
use crate::listing::{self, Page, Query};
use crate::object::{Described, Object};
use crate::object_file::{Received, read_description};
use crate::store::{OBJECTS, Place, UPLOADS, at, entries, failed};
use crate::upload::Upload;

/// Every method blocks: on the disk, or on a lock that is held over disk work.
pub(crate) struct Bucket {
    path: PathBuf,
    created_ms: u64,
    place: Place,
    index: RwLock<Index>,
}

/// What is in the bucket.
#[derive(Default)]
pub(crate) struct Index {
    pub(crate) objects: BTreeMap<String, Arc<Object>>,
    pub(crate) uploads: BTreeMap<String, Upload>,
    /// Deleted: whoever still holds the bucket must not put anything into it.
    pub(crate) closed: bool,
}

/// What must hold for a put to happen.
#[derive(Debug, Default)]
pub(crate) struct Condition {
    if_match: Option<ETagCondition>,
    must_be_new: bool,
}

impl Condition {
    /// # Errors
    /// `NotImplemented` for an If-None-Match other than `*`, as S3 has it.
    pub(crate) fn new(
        if_match: Option<ETagCondition>,
        if_none_match: Option<ETagCondition>,
    ) -> S3Result<Self> {
        match if_none_match {
            Some(ETagCondition::ETag(_)) => {
                Err(s3_error!(NotImplemented, "If-None-Match takes nothing but * for writes"))
            }
            other => Ok(Self { if_match, must_be_new: other.is_some() }),
        }
    }

    fn check(&self, existing: Option<&Object>) -> S3Result<()> {
        if self.must_be_new && existing.is_some() {
            return Err(precondition_failed());
        }
        match (&self.if_match, existing) {
            (None, _) | (Some(ETagCondition::Any), Some(_)) => Ok(()),
            (Some(_), None) => Err(no_such_key()),
            (Some(ETagCondition::ETag(wanted)), Some(object)) if *wanted == object.etag() => Ok(()),
            (Some(ETagCondition::ETag(_)), Some(_)) => Err(precondition_failed()),
        }
    }
}

impl Bucket {
    /// Reads the descriptions of all objects and uploads.
    pub(crate) fn open(path: PathBuf, created_ms: u64, place: Place) -> Result<Self, Error> {
        let mut index = Index::default();
        for shard in entries(&path.join(OBJECTS))? {
            // As in `Store::open`: nothing is shown that only the kernel's cache knows.
            place.disk().sync_dir(&shard).map_err(at("sync", &shard))?;
            for file in entries(&shard)? {
                let object: Object = read_at_start(&file)?;
                index.objects.insert(object.key.clone(), Arc::new(object));
            }
        }
        for directory in entries(&path.join(UPLOADS))? {
            let upload = Upload::open(place.disk(), &directory)?;
            index.uploads.insert(upload.plan.id.clone(), upload);
        }
        for part in [OBJECTS, UPLOADS] {
            let part = path.join(part);
            place.disk().sync_dir(&part).map_err(at("sync", &part))?;
        }
        Ok(Self { path, created_ms, place, index: RwLock::new(index) })
    }

    pub(crate) fn created_ms(&self) -> u64 {
        self.created_ms
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) fn index(&self) -> &RwLock<Index> {
        &self.index
    }

    /// Where an upload under way is kept.
    pub(crate) fn upload_path(&self, id: &str) -> PathBuf {
        self.path.join(UPLOADS).join(id)
    }

    /// # Errors
    /// `NoSuchKey`.
    pub(crate) fn describe(&self, key: &str) -> S3Result<Arc<Object>> {
        self.index.read().objects.get(key).cloned().ok_or_else(no_such_key)
    }

    /// The object and its file, of the same version whatever is put meanwhile.
    ///
    /// # Errors
    /// `NoSuchKey`.
    pub(crate) fn read(&self, key: &str) -> S3Result<(Arc<Object>, File)> {
        let index = self.index.read();
        let object = index.objects.get(key).cloned().ok_or_else(no_such_key)?;
        let path = self.file_path(key);
        let file = File::open(&path).map_err(failed("open", &path))?;
        Ok((object, file))
    }

    /// Makes a body the object of its key, if `condition` holds. Durable when it returns.
    ///
    /// # Errors
    /// `PreconditionFailed`, `NoSuchKey` (If-Match without an object), `NoSuchBucket` (deleted meanwhile).
    pub(crate) fn put(&self, body: Received, object: Object, condition: &Condition) -> S3Result<()> {
        let described = body.describe(self.place.disk(), &object);
        let file = described.map_err(failed("write", &self.place.tmp()))?;
        self.put_into(&mut self.index.write(), file, object, condition)
    }

    /// The end of [`put`](Self::put), for a described file, and for who holds the lock already.
    pub(crate) fn put_into(
        &self,
        index: &mut Index,
        file: NamedTempFile,
        object: Object,
        condition: &Condition,
    ) -> S3Result<()> {
        // Whoever waited for the lock while the disk failed must not be told that all is well.
        self.place.check()?;
        index.check_open()?;
        condition.check(index.objects.get(&object.key).map(Arc::as_ref))?;
        let path = self.file_path(&object.key);
        self.place.make_dir(path.parent().expect("the path was joined from a directory and a name"))?;
        file.persist(&path).map_err(|error| failed("rename", &path)(error.error))?;
        self.place.settle(&path)?;
        index.objects.insert(object.key.clone(), Arc::new(object));
        Ok(())
    }

    /// Durable when it returns. A key that does not exist is no error (S3 API reference, DeleteObject).
    ///
    /// # Errors
    /// `PreconditionFailed` where another ETag than that of If-Match is there.
    pub(crate) fn delete(&self, key: &str, if_match: Option<ETagCondition>) -> S3Result<()> {
        let mut index = self.index.write();
        self.place.check()?;
        let existing = index.objects.get(key).map(Arc::as_ref);
        Condition { if_match, must_be_new: false }.check(existing)?;
        if existing.is_none() {
            return Ok(());
        }
        let path = self.file_path(key);
        fs::remove_file(&path).map_err(failed("remove", &path))?;
        self.place.settle(&path)?;
        index.objects.remove(key);
        Ok(())
    }

    pub(crate) fn list(&self, query: Query<'_>) -> Page {
        listing::page(&self.index.read().objects, query)
    }

    /// Ends the bucket's life, uploads under way included.
    ///
    /// # Errors
    /// `BucketNotEmpty`.
    pub(crate) fn close_if_empty(&self) -> S3Result<()> {
        let mut index = self.index.write();
        if !index.objects.is_empty() {
            return Err(s3_error!(BucketNotEmpty, "The bucket you tried to delete is not empty"));
        }
        index.closed = true;
        Ok(())
    }

    /// By the key's hash: a key may be longer than a file's name, hold `//`, or be another key's folder.
    fn file_path(&self, key: &str) -> PathBuf {
        let mut hasher = Sha256::new();
        hasher.update(key.as_bytes());
        let name = hex::encode(hasher.finalize());
        let (shard, rest) = name.split_at(2);
        self.path.join(OBJECTS).join(shard).join(rest)
    }
}

impl Index {
    /// # Errors
    /// `NoSuchBucket` when the bucket was deleted since it was looked up.
    pub(crate) fn check_open(&self) -> S3Result<()> {
        match self.closed {
            false => Ok(()),
            true => Err(s3_error!(NoSuchBucket, "The specified bucket does not exist")),
        }
    }
}

pub(crate) fn read_at_start<D: Described>(path: &Path) -> Result<D, Error> {
    let file = File::open(path).map_err(at("open", path))?;
    read_description(&file).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => Error::Damaged { path: path.to_owned() },
        _ => at("read", path)(error),
    })
}

fn no_such_key() -> S3Error {
    s3_error!(NoSuchKey, "The specified key does not exist.")
}

fn precondition_failed() -> S3Error {
    s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold")
}
