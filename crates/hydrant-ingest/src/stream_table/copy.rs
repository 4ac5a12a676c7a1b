//! The copy of the stream table beside the log: a file of JSON lines. The first line holds every stream there was when it was written,
//! each later one what changed then; what is read is all of them in their order.
//!
//! ```text
//! {"metastore":"…","revision":7,"streams":[{"id":1,…},{"id":2,…}],"removed":[]}
//! {"metastore":"…","revision":8,"streams":[{"id":3,…}],"removed":[]}            a stream was created
//! {"metastore":"…","revision":9,"streams":[],"removed":[2]}                     another is gone
//! ```
//!
//! A line is appended and synced before what it says is known. A crash leaves it whole, or torn: without its end, or with zeros where the
//! disk had not got it (JSON has none). A torn last line was never answered for and is left out. Anything else that cannot be read is an
//! error: nothing is guessed about where records are to go. A file that does not end in a whole line, or that holds far more than there
//! is, is replaced by one of one line: written beside it, synced, renamed, and so is the older format, which was such a line without an end.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, Read as _, Write},
    path::{Path, PathBuf},
};

use hydrant_types::{MetastoreId, Stream, StreamId};
use serde::{Deserialize, Serialize};

use super::{Error, Past, Snapshot};

/// A copy that holds twice as many streams as there are, and this many more, is replaced: each stream is then written about twice, however
/// often streams change, and no change of a short table costs a rename.
const EXTRA_ENTRIES: usize = 256;

/// The file.
#[derive(Debug)]
pub(super) struct Copy {
    path: PathBuf,
    /// `None` where nothing may be appended: there is no file, or none that ends in a whole line.
    end: Option<End>,
}

/// Where the next line goes.
#[derive(Debug, Clone, Copy)]
struct End {
    /// The file's length in bytes.
    len: u64,
    /// How many streams the lines hold, those that are gone too.
    entries: usize,
}

/// What a copy says.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) past: Past,
    /// In the order of their ids.
    pub(super) streams: Vec<Stream>,
}

/// What is new about the table.
#[derive(Debug, Clone, Copy)]
pub(super) enum News<'a> {
    /// These streams, and those that are gone.
    Some(&'a [StreamId], &'a [StreamId]),
    /// All of it.
    All,
}

#[derive(Serialize)]
struct Written<'a> {
    metastore: MetastoreId,
    revision: u64,
    streams: Vec<&'a Stream>,
    removed: &'a [StreamId],
}

#[derive(Deserialize)]
struct Read {
    metastore: MetastoreId,
    revision: u64,
    streams: Vec<Stream>,
    #[serde(default)]
    removed: Vec<StreamId>,
}

impl Copy {
    /// The copy at `path`, and what it says, where there is one.
    ///
    /// # Errors
    /// [`Error::BadCopy`].
    pub(super) fn open(path: &Path) -> Result<(Self, Option<Content>), Error> {
        let bad = |reason: String| Error::BadCopy { path: path.to_owned(), reason };
        let missing = Self { path: path.to_owned(), end: None };
        let bytes = match read_durable(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((missing, None)),
            Err(error) => return Err(bad(error.to_string())),
        };
        let (content, end) = read(&bytes).map_err(|(line, reason)| bad(format!("line {line}: {reason}")))?;
        Ok((Self { end, ..missing }, Some(content)))
    }

    /// Writes what is new, so that the copy says what `table` does. Where it fails the next call writes all of it.
    pub(super) fn write(&mut self, past: Past, news: News<'_>, table: &Snapshot) -> io::Result<()> {
        let end = self.end.take();
        self.end = Some(match (end, news) {
            (Some(end), News::Some(changed, removed)) if !end.is_far_beyond(table) => {
                let streams = changed.iter().filter_map(|id| table.by_id(*id));
                let line = line(past, streams.map(|stream| &**stream).collect(), removed);
                append(&self.path, end.len, &line)?;
                end.after(&line, changed.len() + removed.len())
            }
            _ => {
                let streams = table.ordered();
                let line = line(past, streams.iter().map(|stream| &**stream).collect(), &[]);
                replace(&self.path, &line)?;
                End::START.after(&line, streams.len())
            }
        });
        Ok(())
    }
}

impl End {
    const START: Self = Self { len: 0, entries: 0 };

    fn after(self, line: &[u8], entries: usize) -> Self {
        Self { len: self.len + line.len() as u64, entries: self.entries + entries }
    }

    fn is_far_beyond(self, table: &Snapshot) -> bool {
        self.entries > 2 * table.ordered().len() + EXTRA_ENTRIES
    }
}

fn line(past: Past, streams: Vec<&Stream>, removed: &[StreamId]) -> Vec<u8> {
    let Past { metastore, revision } = past;
    let written = Written { metastore, revision, streams, removed };
    let mut line = serde_json::to_vec(&written).expect("streams are plain data");
    line.push(b'\n');
    line
}

/// What is in a file; synced first, for a process that was killed may have written what never reached the disk.
fn read_durable(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.sync_all()?;
    sync_directory_of(path)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What the lines say, and where the next may be appended; or the number of the line that says nothing, and why.
fn read(bytes: &[u8]) -> Result<(Content, Option<End>), (usize, String)> {
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
    // Never torn: it was renamed into its place.
    let first = lines.next().unwrap_or_default();
    let Read { metastore, revision, streams, .. } = parsed(first).map_err(|reason| (1, reason))?;
    let mut past = Past { metastore, revision };
    let mut end = End::START.after(first, streams.len());
    let mut known: BTreeMap<StreamId, Stream> =
        streams.into_iter().map(|stream| (stream.id, stream)).collect();
    let mut is_whole = first.ends_with(b"\n");
    let mut lines = lines.zip(2..).peekable();
    while let Some((line, number)) = lines.next() {
        if lines.peek().is_none() && is_torn(line) {
            is_whole = false;
            break;
        }
        let read = parsed(line).map_err(|reason| (number, reason))?;
        if read.metastore != past.metastore || read.revision < past.revision {
            return Err((number, "does not follow from the line before".to_owned()));
        }
        past.revision = read.revision;
        end = end.after(line, read.streams.len() + read.removed.len());
        read.removed.iter().for_each(|id| drop(known.remove(id)));
        known.extend(read.streams.into_iter().map(|stream| (stream.id, stream)));
    }
    let content = Content { past, streams: known.into_values().collect() };
    Ok((content, is_whole.then_some(end)))
}

fn parsed(line: &[u8]) -> Result<Read, String> {
    serde_json::from_slice(line).map_err(|error| error.to_string())
}

fn is_torn(line: &[u8]) -> bool {
    !line.ends_with(b"\n") || line.contains(&0)
}

/// Adds a line to a file that is there and has this length.
fn append(path: &Path, len: u64, line: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).open(path)?;
    if file.metadata()?.len() != len {
        return Err(io::Error::other("somebody else changed it"));
    }
    file.write_all(line)?;
    file.sync_data()
}

/// Replaces a file so that a crash leaves the old or the new one.
fn replace(path: &Path, line: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(line)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    sync_directory_of(path)
}

fn sync_directory_of(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
#[path = "copy/tests.rs"]
mod tests;
