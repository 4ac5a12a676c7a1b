//! The small file that says how far each stream is, beside the segments: identity, sealed, trimmed, next.

use std::{collections::BTreeMap, io, path::Path};

use hydrant_types::{Entropy, LogId, MetastoreId, StreamId};
use serde::{Deserialize, Serialize};

use crate::{disk::Disk, streams::StreamPoint};

const NAME: &str = "checkpoint.json";
const TEMPORARY: &str = "checkpoint.tmp";

/// Identity and positions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    pub(crate) log_id: LogId,
    /// Identities it had before; its older segments still carry them.
    pub(crate) former_ids: Vec<LogId>,
    /// The metastore the log is registered with, once it is.
    pub(crate) metastore: Option<MetastoreId>,
    /// Frames below were durable when this was written, and are counted in `streams`.
    pub(crate) next_lsn: u64,
    /// Groups below were durable when this was written, and are counted in `streams`.
    pub(crate) next_group: u64,
    /// The last segment's number that was given out.
    pub(crate) last_seq: u64,
    pub(crate) streams: BTreeMap<StreamId, StreamPoint>,
}

impl Checkpoint {
    /// Of an empty log.
    pub(crate) fn new(entropy: &dyn Entropy) -> Self {
        Self {
            log_id: LogId(entropy.uuid()),
            former_ids: Vec::new(),
            metastore: None,
            next_lsn: 1,
            next_group: 1,
            last_seq: 0,
            streams: BTreeMap::new(),
        }
    }

    /// Whether a segment that carries `id` is this log's.
    pub(crate) fn owns(&self, id: LogId) -> bool {
        self.log_id == id || self.former_ids.contains(&id)
    }

    /// The one in `dir`, if there is one.
    pub(crate) fn read(disk: &dyn Disk, dir: &Path) -> io::Result<Option<Self>> {
        let file = match disk.open(&dir.join(NAME)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let mut bytes = vec![0; file.len()? as usize];
        file.read_at(&mut bytes, 0)?;
        let (text, crc) = bytes.split_at(bytes.len().saturating_sub(9));
        if format!("\n{:08x}", crc32fast::hash(text)).as_bytes() != crc {
            let path = dir.join(NAME);
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{}: the check sum does not hold", path.display()),
            ));
        }
        serde_json::from_slice(text).map(Some).map_err(io::Error::from)
    }

    /// Replaces it so that a crash leaves the old or the new one.
    pub(crate) fn write(&self, disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        let mut text = serde_json::to_vec(self).map_err(io::Error::from)?;
        let crc = crc32fast::hash(&text);
        text.extend_from_slice(format!("\n{crc:08x}").as_bytes());
        let temporary = dir.join(TEMPORARY);
        let file = disk.create(&temporary)?;
        file.write_at(&text, 0)?;
        file.sync()?;
        disk.rename(&temporary, &dir.join(NAME))?;
        disk.sync_dir(dir)
    }
}
