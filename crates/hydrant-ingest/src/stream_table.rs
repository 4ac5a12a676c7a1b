//! The streams as this node knows them: read on every put without a lock, kept beside the log, so that a node starts and
//! accepts while the metastore is away.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use hydrant_metastore::{Kind, Metastore};
use hydrant_types::{MetastoreId, Stream, StreamId, StreamName};
use tokio::sync::{Mutex, watch};

mod copy;
mod snapshot;
#[cfg(test)]
mod testing;

use copy::{Content, Copy, News};
pub use snapshot::{Page, Snapshot};

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
    /// The copy is not readable; says at which line.
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

/// From which metastore, and from when, a table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    copy_path: PathBuf,
    known: Arc<Known>,
    /// Held while the table is replaced, so that an older answer cannot overwrite a newer one.
    state: Arc<Mutex<State>>,
}

/// What others see.
struct Known {
    snapshot: ArcSwap<Snapshot>,
    generation: watch::Sender<u64>,
}

/// What the snapshot and the copy are of.
struct State {
    past: Option<Past>,
    copy: Copy,
    /// Whether this process has compared the whole table with the metastore. A metastore that was restored while the node was down may
    /// have come to the same revision again with other changes.
    compared: bool,
}

/// What the metastore says that is not known yet.
struct Found {
    now: Past,
    /// Only what changed since, or everything.
    is_everything: bool,
    changed: Vec<Stream>,
    removed: Vec<StreamId>,
}

impl StreamTable {
    /// The copy's file in a log's directory.
    pub const COPY_NAME: &str = "streams.json";

    /// Reads the table from the metastore, or from the copy beside the log where the metastore is away.
    ///
    /// # Errors
    /// [`Error`]: neither could be read, or they do not belong together.
    pub async fn load(metastore: Arc<dyn Metastore>, log_dir: &Path) -> Result<Arc<Self>, Error> {
        let (copy, content) = Copy::open(&log_dir.join(Self::COPY_NAME))?;
        let has_copy = content.is_some();
        let table = Self::new(metastore, log_dir, copy, content);
        match table.refresh().await {
            Ok(()) => {}
            Err(Error::Metastore(source)) if may_come_back(&source) => {
                if !has_copy {
                    return Err(Error::NoCopy { path: table.copy_path, source });
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
        let (copy, content) = Copy::open(&log_dir.join(Self::COPY_NAME))?;
        Ok(content.map(|content| Arc::new(Self::new(metastore, log_dir, copy, Some(content)))))
    }

    fn new(metastore: Arc<dyn Metastore>, log_dir: &Path, copy: Copy, content: Option<Content>) -> Self {
        let past = content.as_ref().map(|content| content.past);
        let snapshot = Snapshot::new(content.map(|content| content.streams).unwrap_or_default());
        Self {
            metastore,
            copy_path: log_dir.join(Self::COPY_NAME),
            known: Arc::new(Known {
                snapshot: ArcSwap::from_pointee(snapshot),
                generation: watch::Sender::new(0),
            }),
            state: Arc::new(Mutex::new(State { past, copy, compared: false })),
        }
    }

    /// The streams in the copy that is kept in a log's directory, if there is one.
    ///
    /// # Errors
    /// [`Error::BadCopy`].
    pub fn read_copy(path: &Path) -> Result<Option<Vec<Stream>>, Error> {
        let (_, content) = Copy::open(path)?;
        Ok(content.map(|content| content.streams))
    }

    /// The table as it is now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.known.snapshot.load_full()
    }

    /// The stream of this name, as this node knows it; no lock, no I/O.
    pub fn get(&self, name: &str) -> Option<Arc<Stream>> {
        self.known.snapshot.load().by_name(name).cloned()
    }

    /// The stream with this id, as this node knows it.
    pub fn by_id(&self, id: StreamId) -> Option<Arc<Stream>> {
        self.known.snapshot.load().by_id(id).cloned()
    }

    /// Counts up with each change of the table.
    pub fn generation(&self) -> watch::Receiver<u64> {
        self.known.generation.subscribe()
    }

    /// Brings the table up to what the metastore says. Called after each change through this node, on a timer, and for unknown names; costs
    /// what changed. A stream is known only once the copy beside the log has it: what is acknowledged for it has a way after any restart.
    ///
    /// # Errors
    /// [`Error`]; the table stays as it was.
    ///
    /// # Cancel safety
    /// What the metastore had answered by then is taken over all the same; the next refresh waits for that.
    pub async fn refresh(&self) -> Result<(), Error> {
        let mut state = self.state.clone().lock_owned().await;
        let found = self.ask(&state).await?;
        if !found.is_news(&state, &self.known.snapshot.load()) {
            state.compared = true;
            return Ok(());
        }
        let known = self.known.clone();
        // The lock goes with the work: where the caller is cancelled meanwhile, the next refresh waits for it.
        let taken_over = tokio::task::spawn_blocking(move || known.take_over(&mut state, found)).await;
        taken_over
            .unwrap_or_else(|panic| Err(io::Error::other(panic)))
            .map_err(|source| Error::WriteCopy { path: self.copy_path.clone(), source })
    }

    async fn ask(&self, state: &State) -> Result<Found, Error> {
        let metastore = self.metastore.id().await?;
        let same = state.past.filter(|past| past.metastore == metastore && state.compared);
        let since = same.map_or(0, |past| past.revision);
        let mut changes = self.metastore.streams_changed(since).await?;
        let odd = state.past.and_then(|past| past.odd(Past { metastore, revision: changes.revision }));
        if let Some(odd) = odd {
            if since > 0 {
                changes = self.metastore.streams_changed(0).await?;
            }
            refuse_missing(&self.known.snapshot.load(), &changes.changed, odd)?;
        }
        Ok(Found {
            now: Past { metastore, revision: changes.revision },
            is_everything: since == 0 || odd.is_some(),
            changed: changes.changed,
            removed: changes.removed,
        })
    }
}

impl Found {
    fn is_news(&self, state: &State, known: &Snapshot) -> bool {
        state.past != Some(self.now) || self.differs(known)
    }

    /// Whether the streams are others than those that are known.
    fn differs(&self, known: &Snapshot) -> bool {
        match self.is_everything {
            true => {
                let is_known =
                    |stream: &Stream| known.by_id(stream.id).is_some_and(|known| **known == *stream);
                self.changed.len() != known.ordered().len() || !self.changed.iter().all(is_known)
            }
            false => !self.changed.is_empty() || !self.removed.is_empty(),
        }
    }
}

impl Known {
    fn take_over(&self, state: &mut State, found: Found) -> io::Result<()> {
        let before = self.snapshot.load();
        let differs = found.differs(&before);
        let Found { now, is_everything, changed, removed } = found;
        let ids: Vec<_> = changed.iter().map(|stream| stream.id).collect();
        let (news, next) = match is_everything {
            true => (News::All, Snapshot::new(changed)),
            false => (News::Some(&ids, &removed), before.with(changed, &removed)),
        };
        state.copy.write(now, news, &next)?;
        (state.past, state.compared) = (Some(now), true);
        if differs {
            self.snapshot.store(Arc::new(next));
            self.generation.send_modify(|generation| *generation += 1);
        }
        Ok(())
    }
}

/// Whether the same question may be answered later.
fn may_come_back(error: &hydrant_metastore::Error) -> bool {
    matches!(error.kind(), Kind::Retry | Kind::OutcomeUnknown)
}

fn refuse_missing(known: &Snapshot, found: &[Stream], odd: &'static str) -> Result<(), Error> {
    let there: HashMap<StreamId, &StreamName> =
        found.iter().map(|stream| (stream.id, &stream.name)).collect();
    let mut missing =
        known.ordered().iter().filter(|stream| there.get(&stream.id) != Some(&&stream.name)).peekable();
    match missing.peek().map(|stream| stream.name.clone()) {
        None => Ok(()),
        Some(example) => Err(Error::StreamsMissing { count: missing.count(), example, odd }),
    }
}
