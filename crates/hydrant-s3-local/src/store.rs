//! The directory: its buckets, its lock, and what is done at start.
//!
//! ```text
//! lock                                  held while a server runs
//! tmp/                                  what is being written; emptied at start
//! buckets/NAME/created                  milliseconds since 1970
//! buckets/NAME/objects/ab/cdef…         one file an object
//! buckets/NAME/uploads/ID/upload.json   an upload under way, and its parts beside it
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock};
use rustix::fs::{FlockOperation, flock};
use s3s::path::check_bucket_name;
use s3s::{S3Error, S3Result, s3_error};
use tracing::error;
use uuid::Uuid;

use crate::Error;
use crate::bucket::Bucket;
use crate::disk::{self, Disk};
use crate::object::now_ms;

pub(crate) const OBJECTS: &str = "objects";
pub(crate) const UPLOADS: &str = "uploads";
const CREATED: &str = "created";
const LOCK: &str = "lock";
const TMP: &str = "tmp";
const BUCKETS: &str = "buckets";

/// All buckets. Every method that touches the disk blocks.
pub(crate) struct Store {
    place: Place,
    buckets: RwLock<BTreeMap<String, Arc<Bucket>>>,
    /// One bucket is made or deleted at a time; the map's own lock is never held over disk work.
    changing: Mutex<()>,
    /// Unlocked by the kernel when the file is closed, also after a kill.
    _lock: File,
}

/// Where things are put, and whether that can still be trusted.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    root: PathBuf,
    disk: Arc<dyn Disk>,
    failed: Arc<AtomicBool>,
}

impl Store {
    /// Reads the directory, makes it and the `wanted` buckets where missing, and removes what a crash left half done.
    pub(crate) fn open(root: &Path, wanted: &[String], disk: Arc<dyn Disk>) -> Result<Self, Error> {
        let place = Place { root: root.to_owned(), disk, failed: Arc::default() };
        let disk = place.disk();
        let buckets_dir = place.buckets();
        disk::create_dir_all(disk, root).map_err(at("make", root))?;
        let lock = lock(&root.join(LOCK))?;
        disk::create_dir_all(disk, &buckets_dir).map_err(at("make", &buckets_dir))?;
        empty_tmp(disk, &place.tmp())?;
        // An entry that survived a kill in the kernel's cache only is made durable before anybody is told of it.
        for directory in [root, &buckets_dir] {
            disk.sync_dir(directory).map_err(at("sync", directory))?;
        }
        let mut buckets = BTreeMap::new();
        for entry in entries(&buckets_dir)? {
            let Some(name) = entry.file_name().and_then(|name| name.to_str()).map(str::to_owned) else {
                return Err(Error::Damaged { path: entry });
            };
            let created_ms = read_created(&entry)?;
            buckets.insert(name, Arc::new(Bucket::open(entry, created_ms, place.clone())?));
        }
        let store = Self { place, buckets: RwLock::new(buckets), changing: Mutex::new(()), _lock: lock };
        for name in wanted {
            store.make_sure_of(name)?;
        }
        Ok(store)
    }

    /// The place of temporary files.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// # Errors
    /// `NoSuchBucket`, or `ServiceUnavailable` after the disk has failed.
    pub(crate) fn bucket(&self, name: &str) -> S3Result<Arc<Bucket>> {
        self.place.check()?;
        let bucket = self.buckets.read().get(name).cloned();
        bucket.ok_or_else(|| s3_error!(NoSuchBucket, "The specified bucket does not exist"))
    }

    /// Names with the times they were made, in order.
    pub(crate) fn list(&self) -> Vec<(String, u64)> {
        let buckets = self.buckets.read();
        buckets.iter().map(|(name, bucket)| (name.clone(), bucket.created_ms())).collect()
    }

    /// # Errors
    /// `BucketAlreadyOwnedByYou`, `InvalidBucketName`.
    pub(crate) fn create(&self, name: &str) -> S3Result<()> {
        self.place.check()?;
        if !check_bucket_name(name) {
            return Err(s3_error!(InvalidBucketName));
        }
        let _alone = self.changing.lock();
        if self.buckets.read().contains_key(name) {
            return Err(s3_error!(BucketAlreadyOwnedByYou));
        }
        let path = self.place.buckets().join(name);
        let created_ms = now_ms();
        self.make(&path, created_ms)?;
        let bucket = Bucket::open(path.clone(), created_ms, self.place.clone())
            .map_err(|error| failed("open", &path)(io::Error::other(error)))?;
        self.buckets.write().insert(name.to_owned(), Arc::new(bucket));
        Ok(())
    }

    /// # Errors
    /// `NoSuchBucket`, `BucketNotEmpty`.
    pub(crate) fn delete(&self, name: &str) -> S3Result<()> {
        let _alone = self.changing.lock();
        self.bucket(name)?.close_if_empty()?;
        // From here on nothing can be put into it any more.
        self.buckets.write().remove(name);
        self.place.discard(&self.place.buckets().join(name))
    }

    fn make_sure_of(&self, name: &str) -> Result<(), Error> {
        if !check_bucket_name(name) {
            return Err(Error::BucketName { name: name.to_owned() });
        }
        if self.buckets.read().contains_key(name) {
            return Ok(());
        }
        let path = self.place.buckets().join(name);
        self.create(name).map_err(|error| at("make", &path)(io::Error::other(error)))
    }

    /// Made aside and renamed, so that there is no half bucket.
    fn make(&self, path: &Path, created_ms: u64) -> S3Result<()> {
        let aside = self.place.tmp().join(Uuid::new_v4().simple().to_string());
        let disk = self.place.disk();
        let fill = || {
            for part in [OBJECTS, UPLOADS] {
                disk::create_dir_all(disk, &aside.join(part))?;
            }
            write_durably(disk, &aside.join(CREATED), created_ms.to_string().as_bytes())?;
            disk.sync_dir(&aside)?;
            fs::rename(&aside, path)
        };
        fill().map_err(failed("make", path))?;
        self.place.settle(path)
    }
}

impl Place {
    pub(crate) fn tmp(&self) -> PathBuf {
        self.root.join(TMP)
    }

    fn buckets(&self) -> PathBuf {
        self.root.join(BUCKETS)
    }

    pub(crate) fn disk(&self) -> &dyn Disk {
        &*self.disk
    }

    /// # Errors
    /// `ServiceUnavailable` once the disk has failed to make an entry durable: what it would hold after that is unknown
    /// until the directory is read again, by a restart.
    pub(crate) fn check(&self) -> S3Result<()> {
        match self.failed.load(Ordering::Acquire) {
            false => Ok(()),
            true => Err(s3_error!(ServiceUnavailable, "The disk has failed; restart the server")),
        }
    }

    /// Puts the entry `path` on disk, or ends this server's work.
    pub(crate) fn settle(&self, path: &Path) -> S3Result<()> {
        disk::sync_parent(self.disk(), path).map_err(|error| self.broken("sync", path, error))
    }

    /// Makes a directory durably, or ends this server's work: the next caller would find it there, and believe it safe.
    pub(crate) fn make_dir(&self, path: &Path) -> S3Result<()> {
        disk::create_dir_all(self.disk(), path).map_err(|error| self.broken("make", path, error))
    }

    fn broken(&self, step: &'static str, path: &Path, error: io::Error) -> S3Error {
        self.failed.store(true, Ordering::Release);
        failed(step, path)(error)
    }

    /// Takes `directory` away with all that is in it: at once from its place, then from the disk.
    pub(crate) fn discard(&self, directory: &Path) -> S3Result<()> {
        let aside = self.tmp().join(Uuid::new_v4().simple().to_string());
        fs::rename(directory, &aside).map_err(failed("remove", directory))?;
        self.settle(directory)?;
        // If this fails, the next start does it.
        if let Err(error) = fs::remove_dir_all(&aside) {
            error!(%error, path = %aside.display(), "cannot empty a removed directory");
        }
        Ok(())
    }
}

/// The paths in a directory.
pub(crate) fn entries(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let read = || fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>();
    read().map_err(at("read", directory))
}

/// An I/O error at start.
pub(crate) fn at(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Disk { step, path: path.to_owned(), source }
}

/// An I/O error of a request: logged here with what the client must not see, answered as InternalError.
pub(crate) fn failed(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> S3Error {
    move |source| {
        error!(error = %source, path = %path.display(), "cannot {step} a file");
        s3_error!(source, InternalError, "We encountered an internal error. Please try again.")
    }
}

/// A new file whose contents are on disk; its entry is not yet.
pub(crate) fn write_durably(disk: &dyn Disk, path: &Path, contents: &[u8]) -> io::Result<()> {
    fs::write(path, contents)?;
    disk.sync_file(&File::open(path)?)
}

fn lock(path: &Path) -> Result<File, Error> {
    let file = File::create(path).map_err(at("make", path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            Err(Error::InUse { path: path.parent().unwrap_or(path).to_owned() })
        }
        Err(error) => Err(at("lock", path)(error.into())),
    }
}

fn empty_tmp(disk: &dyn Disk, path: &Path) -> Result<(), Error> {
    if path.exists() {
        fs::remove_dir_all(path).map_err(at("empty", path))?;
    }
    disk::create_dir_all(disk, path).map_err(at("make", path))
}

fn read_created(bucket: &Path) -> Result<u64, Error> {
    let path = bucket.join(CREATED);
    let text = fs::read_to_string(&path).map_err(at("read", &path))?;
    text.trim().parse().map_err(|_| Error::Damaged { path })
}
