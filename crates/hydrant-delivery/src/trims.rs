//! How far the log may be trimmed: to where a stream's records are safe on every lane that it has.

use std::{collections::HashMap, sync::Arc};

use hydrant_ingest::StreamTable;
use hydrant_log::RecordLog;
use hydrant_types::{Lane, Position, StreamId};
use parking_lot::Mutex;

/// What the lanes of each stream have said.
pub(crate) struct Trims {
    log: Arc<dyn RecordLog>,
    streams: Arc<StreamTable>,
    safe: Mutex<HashMap<StreamId, Safe>>,
}

/// Before these positions everything is in S3.
#[derive(Debug, Clone, Copy, Default)]
struct Safe {
    delivery: Option<Position>,
    backup: Option<Position>,
}

impl Safe {
    fn of(&mut self, lane: Lane) -> &mut Option<Position> {
        match lane {
            Lane::Delivery => &mut self.delivery,
            Lane::Backup => &mut self.backup,
        }
    }
}

impl Trims {
    pub(crate) fn new(log: Arc<dyn RecordLog>, streams: Arc<StreamTable>) -> Self {
        Self { log, streams, safe: Mutex::default() }
    }

    /// A lane's records are safe before `to`. What is safe on every lane is given back to the log.
    pub(crate) fn safe(&self, stream: StreamId, lane: Lane, to: Position) {
        // The lock is held to the end: a lane that begins meanwhile begins before what is trimmed, or after it.
        let mut safe = self.safe.lock();
        let lanes = safe.entry(stream).or_default();
        *lanes.of(lane) = Some(to);
        let backed_up = lanes.backup.is_some() || self.has(stream, Lane::Backup);
        match (lanes.delivery, lanes.backup) {
            (Some(delivery), Some(backup)) => self.log.trim(stream, delivery.min(backup)),
            (Some(delivery), None) if !backed_up => self.log.trim(stream, delivery),
            // A lane that has said nothing yet may need all that is there.
            _ => {}
        }
    }

    /// A lane that was never here before begins with the oldest record that the log still has; from now on no record leaves without it.
    pub(crate) fn begin(&self, stream: StreamId, lane: Lane) -> Position {
        let mut safe = self.safe.lock();
        let from = self.log.tail(stream).map_or(Position::FIRST, |tail| tail.trimmed);
        *safe.entry(stream).or_default().of(lane).get_or_insert(from)
    }

    /// Whether the stream has this lane: its settings say so, or what was sealed on it.
    pub(crate) fn has(&self, stream: StreamId, lane: Lane) -> bool {
        self.streams.by_id(stream).is_some_and(|stream| stream.destination.lane(lane).is_some())
    }

    /// The stream is gone.
    pub(crate) fn forget(&self, stream: StreamId) {
        self.safe.lock().remove(&stream);
    }
}
