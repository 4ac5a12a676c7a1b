//! The streams as this node knows them: read on every put without a lock, kept beside the log, so that a node starts and
//! accepts while the metastore is away.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use hydrant_metastore::Metastore;
use hydrant_types::{Stream, StreamId, StreamName};
use tokio::sync::watch;

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
    /// The metastore did not answer.
    #[error("read the streams from the metastore")]
    Metastore(#[from] hydrant_metastore::Error),
}

/// The streams as this node knows them.
pub struct StreamTable {
    metastore: Arc<dyn Metastore>,
    copy: PathBuf,
    snapshot: ArcSwap<Snapshot>,
    /// Serialises refreshes, so that an older answer cannot overwrite a newer one.
    refreshing: tokio::sync::Mutex<()>,
    generation: watch::Sender<u64>,
}

impl StreamTable {
    /// Reads the table from the metastore, or from the copy beside the log where the metastore is away.
    ///
    /// # Errors
    /// [`Error`]: neither could be read.
    pub async fn load(metastore: Arc<dyn Metastore>, log_dir: &Path) -> Result<Arc<Self>, Error> {
        let copy = log_dir.join("streams.json");
        let table = Self {
            metastore,
            copy,
            snapshot: ArcSwap::default(),
            refreshing: tokio::sync::Mutex::new(()),
            generation: watch::Sender::new(0),
        };
        match table.refresh().await {
            Ok(()) => {}
            Err(Error::Metastore(source)) => {
                let streams = Self::read_copy(&table.copy)?
                    .ok_or_else(|| Error::NoCopy { path: table.copy.clone(), source })?;
                table.snapshot.store(Arc::new(Snapshot::new(streams)));
            }
            Err(error) => return Err(error),
        }
        Ok(Arc::new(table))
    }

    /// The copy that is kept in a log's directory, if there is one.
    ///
    /// # Errors
    /// [`Error::BadCopy`].
    pub fn read_copy(path: &Path) -> Result<Option<Vec<Stream>>, Error> {
        let bad = |reason: String| Error::BadCopy { path: path.to_owned(), reason };
        match std::fs::read(path) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|e| bad(e.to_string())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(bad(error.to_string())),
        }
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

    /// Reads the table anew. Called after each change through this node, on a timer, and once for an unknown name.
    ///
    /// # Errors
    /// [`Error`]; the table stays as it was.
    pub async fn refresh(&self) -> Result<(), Error> {
        let _one_at_a_time = self.refreshing.lock().await;
        let streams = self.metastore.streams().await?;
        let known = self.snapshot.load();
        let same = known.by_id.len() == streams.len()
            && streams.iter().all(|s| known.by_id.get(&s.id).is_some_and(|k| **k == *s));
        if same && self.copy.exists() {
            return Ok(());
        }
        let text = serde_json::to_vec(&streams).expect("streams are plain data");
        write_durably(&self.copy, &text)
            .map_err(|source| Error::WriteCopy { path: self.copy.clone(), source })?;
        self.snapshot.store(Arc::new(Snapshot::new(streams)));
        self.generation.send_modify(|generation| *generation += 1);
        Ok(())
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
