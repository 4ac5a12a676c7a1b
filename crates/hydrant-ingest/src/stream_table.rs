//! The streams as this node knows them: read on every put without a lock, kept beside the log, so that a node starts and
//! accepts while the metastore is away.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use hydrant_metastore::{Kind, Metastore};
use hydrant_types::{MetastoreId, Stream, StreamId, StreamName};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, OwnedMutexGuard, watch};

/// One state of the table.
#[derive(Debug, Default)]
pub struct Snapshot {
    by_name: HashMap<StreamName, Arc<Stream>>,
    by_id: HashMap<StreamId, Arc<Stream>>,
}

impl Snapshot {
    fn new(streams: Vec<Stream>) -> Self {
        let streams: Vec<_> = streams.into_iter().map(Arc::new).collect();
        Self {
            by_name: streams.iter().map(|s| (s.name.clone(), s.clone())).collect(),
            by_id: streams.iter().map(|s| (s.id, s.clone())).collect(),
        }
    }

    /// The stream of this name.
    pub fn by_name(&self, name: &str) -> Option<&Arc<Stream>> {
        self.by_name.get(name)
    }

    /// The stream with this id.
    pub fn by_id(&self, id: StreamId) -> Option<&Arc<Stream>> {
        self.by_id.get(&id)
    }

    /// All of them, by name.
    pub fn streams(&self) -> Vec<Arc<Stream>> {
        let mut streams: Vec<_> = self.by_name.values().cloned().collect();
        streams.sort_by(|a, b| a.name.cmp(&b.name));
        streams
    }
}

/// The table could not be made or refreshed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The metastore did not answer, and there is no copy beside the log.
    #[error("read the streams from the metastore (there is no copy at {path} either)")]
    NoCopy {
        /// Where the copy would be.
        path: PathBuf,
        /// Why the metastore did not answer.
        source: hydrant_metastore::Error,
    },
    /// The copy is not readable.
    #[error("read the copy of the stream table at {path}: {reason}")]
    BadCopy {
        /// Where it is.
        path: PathBuf,
        /// What does not hold.
        reason: String,
    },
    /// The copy could not be written.
    #[error("write the copy of the stream table at {path}")]
    WriteCopy {
        /// Where it should be.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The metastore is another one, or older than it was, and lacks streams that this node takes records for (design decision D5).
    /// Going on would forget where what is in the log is to go.
    #[error(
        "the metastore does not know {count} of this node's streams ({example} is one) and is {odd}: it was wiped or restored, or the \
         wrong one is configured. Put the right database back, or run `hydrant log reconcile --new-metastore`"
    )]
    StreamsMissing {
        /// How many.
        count: usize,
        /// One of them.
        example: StreamName,
        /// What is odd about the metastore.
        odd: &'static str,
    },
    /// The metastore did not answer, or refused.
    #[error("read the streams from the metastore")]
    Metastore(#[from] hydrant_metastore::Error),
}

/// What is kept beside the log.
#[derive(Debug, Serialize, Deserialize)]
struct TableCopy {
    #[serde(flatten)]
    past: Past,
    streams: Vec<Stream>,
}

/// From which metastore, and from when, a table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Past {
    metastore: MetastoreId,
    revision: u64,
}

impl Past {
    /// What is odd about `now` where it does not follow from this.
    fn odd(self, now: Self) -> Option<&'static str> {
        if now.metastore != self.metastore {
            return Some("another one than before");
        }
        (now.revision < self.revision).then_some("older than it was")
    }
}

/// The streams as this node knows them.
pub struct StreamTable {
    metastore: Arc<dyn Metastore>,
    copy: PathBuf,
    snapshot: ArcSwap<Snapshot>,
    /// What the snapshot and the copy are of; held while they are replaced, so that an older answer cannot overwrite a newer one.
    past: Arc<Mutex<Option<Past>>>,
    generation: watch::Sender<u64>,
}

impl StreamTable {
    /// The copy's file in a log's directory.
    pub const COPY_NAME: &str = "streams.json";

    /// Reads the table from the metastore, or from the copy beside the log where the metastore is away.
    ///
    /// # Errors
    /// [`Error`]: neither could be read, or they do not belong together.
    pub async fn load(metastore: Arc<dyn Metastore>, log_dir: &Path) -> Result<Arc<Self>, Error> {
        let copy = read(&log_dir.join(Self::COPY_NAME))?;
        let has_copy = copy.is_some();
        let table = Self::new(metastore, log_dir, copy);
        match table.refresh().await {
            Ok(()) => {}
            Err(Error::Metastore(source)) if may_come_back(&source) => {
                if !has_copy {
                    return Err(Error::NoCopy { path: table.copy, source });
                }
            }
            Err(error) => return Err(error),
        }
        Ok(Arc::new(table))
    }

    /// Reads the table from the copy beside the log alone, for a start while the metastore is away; `None` where there is no copy.
    ///
    /// # Errors
    /// [`Error::BadCopy`].
    pub fn from_copy(metastore: Arc<dyn Metastore>, log_dir: &Path) -> Result<Option<Arc<Self>>, Error> {
        let copy = read(&log_dir.join(Self::COPY_NAME))?;
        Ok(copy.map(|copy| Arc::new(Self::new(metastore, log_dir, Some(copy)))))
    }

    fn new(metastore: Arc<dyn Metastore>, log_dir: &Path, copy: Option<TableCopy>) -> Self {
        let past = copy.as_ref().map(|copy| copy.past);
        Self {
            metastore,
            copy: log_dir.join(Self::COPY_NAME),
            snapshot: ArcSwap::from_pointee(Snapshot::new(copy.map(|copy| copy.streams).unwrap_or_default())),
            past: Arc::new(Mutex::new(past)),
            generation: watch::Sender::new(0),
        }
    }

    /// The streams in the copy that is kept in a log's directory, if there is one.
    ///
    /// # Errors
    /// [`Error::BadCopy`].
    pub fn read_copy(path: &Path) -> Result<Option<Vec<Stream>>, Error> {
        Ok(read(path)?.map(|copy| copy.streams))
    }

    /// The table as it is now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// The stream of this name, as this node knows it; no lock, no I/O.
    pub fn get(&self, name: &str) -> Option<Arc<Stream>> {
        self.snapshot.load().by_name(name).cloned()
    }

    /// The stream with this id, as this node knows it.
    pub fn by_id(&self, id: StreamId) -> Option<Arc<Stream>> {
        self.snapshot.load().by_id(id).cloned()
    }

    /// Counts up with each change of the table.
    pub fn generation(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// Reads the table anew, where the metastore's has changed. Called after each change through this node, on a timer, and for unknown
    /// names. A stream is known only once the copy beside the log has it: what is acknowledged for it has a way after any restart.
    ///
    /// # Errors
    /// [`Error`]; the table stays as it was.
    ///
    /// # Cancel safety
    /// The copy may be ahead of the table; the next refresh brings it up.
    pub async fn refresh(&self) -> Result<(), Error> {
        let past = self.past.clone().lock_owned().await;
        // The revision first: the streams are then at least as new.
        let now = Past {
            metastore: self.metastore.id().await?,
            revision: self.metastore.streams_revision().await?,
        };
        if *past == Some(now) {
            return Ok(());
        }
        let streams = self.metastore.streams().await?;
        if let Some(odd) = past.and_then(|past| past.odd(now)) {
            refuse_missing(&self.snapshot.load(), &streams, odd)?;
        }
        let mut past = self.write_copy(past, TableCopy { past: now, streams: streams.clone() }).await?;
        self.snapshot.store(Arc::new(Snapshot::new(streams)));
        *past = Some(now);
        self.generation.send_modify(|generation| *generation += 1);
        Ok(())
    }

    /// The guard goes with the write: where the caller is cancelled meanwhile, the next refresh still waits for it.
    async fn write_copy(
        &self,
        guard: OwnedMutexGuard<Option<Past>>,
        copy: TableCopy,
    ) -> Result<OwnedMutexGuard<Option<Past>>, Error> {
        let path = self.copy.clone();
        let written = tokio::task::spawn_blocking(move || {
            let text = serde_json::to_vec(&copy).expect("streams are plain data");
            write_durably(&path, &text).map(|()| guard)
        });
        let written = written.await.unwrap_or_else(|panic| Err(std::io::Error::other(panic)));
        written.map_err(|source| Error::WriteCopy { path: self.copy.clone(), source })
    }
}

/// Whether the same question may be answered later.
fn may_come_back(error: &hydrant_metastore::Error) -> bool {
    matches!(error.kind(), Kind::Retry | Kind::OutcomeUnknown)
}

fn refuse_missing(known: &Snapshot, found: &[Stream], odd: &'static str) -> Result<(), Error> {
    let is_there =
        |stream: &Stream| found.iter().any(|found| found.id == stream.id && found.name == stream.name);
    let missing: Vec<_> = known.streams().into_iter().filter(|stream| !is_there(stream)).collect();
    match missing.first() {
        None => Ok(()),
        Some(stream) => {
            Err(Error::StreamsMissing { count: missing.len(), example: stream.name.clone(), odd })
        }
    }
}

fn read(path: &Path) -> Result<Option<TableCopy>, Error> {
    let bad = |reason: String| Error::BadCopy { path: path.to_owned(), reason };
    match std::fs::read(path) {
        Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|e| bad(e.to_string())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(bad(error.to_string())),
    }
}

/// Replaces a small file so that a crash leaves the old or the new one.
fn write_durably(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let temporary = path.with_extension("tmp");
    let file = std::fs::File::create(&temporary)?;
    std::io::Write::write_all(&mut &file, text)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    std::fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}
