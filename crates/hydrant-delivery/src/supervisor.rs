//! Starts a worker for each lane of a stream that has something to do. Idle streams cost nothing.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    sync::Arc,
};

use hydrant_types::{Lane, StreamId, StreamName, StreamStatus};
use tokio::{
    sync::Notify,
    task::{Id, JoinError, JoinSet},
};
use tracing::error;

use crate::{
    attach::Attached,
    stream::{Progress, Shared, Worker},
};

/// The task that listens to the log and to the stream table.
pub(crate) struct Supervisor {
    shared: Arc<Shared>,
    /// Where lanes without a worker stand.
    resting: HashMap<(StreamId, Lane), Progress>,
    working: HashMap<(StreamId, Lane), Arc<Notify>>,
    tasks: JoinSet<Progress>,
    lane_of: HashMap<Id, (StreamId, Lane)>,
    /// Streams whose records nobody knows what to do with, said once.
    orphans: HashSet<StreamId>,
}

impl Supervisor {
    /// Goes on from where log and metastore say that each stream stands.
    pub(crate) fn new(shared: Arc<Shared>, attached: &Attached) -> Self {
        let mut resting: HashMap<(StreamId, Lane), Progress> = HashMap::new();
        for (id, tail) in shared.log.streams() {
            resting.insert((id, Lane::Delivery), Progress { sealed: tail.trimmed, ..Progress::default() });
        }
        let mut positions = attached.positions.clone();
        // Backups first: the delivery's alone would trim what they still need.
        positions.sort_by_key(|position| Reverse(position.lane));
        for position in positions {
            resting.entry((position.stream, position.lane)).or_default().sealed = position.sealed;
            // A crash between "uploaded" and the trim leaves this to do, also for a stream that never gets another record.
            shared.trims.safe(position.stream, position.lane, position.uploaded);
        }
        for batch in &attached.sealed {
            let Some(lane) = batch.content.lane() else { continue };
            resting.entry((batch.stream, lane)).or_default().waiting.push(batch.clone());
        }
        Self {
            shared,
            resting,
            working: HashMap::new(),
            tasks: JoinSet::new(),
            lane_of: HashMap::new(),
            orphans: HashSet::new(),
        }
    }

    /// Runs until the service stops, then waits for the workers to end their steps.
    ///
    /// # Cancel safety
    /// Safe as a crash is.
    pub(crate) async fn run(mut self) {
        let shared = self.shared.clone();
        let mut generation = shared.streams.generation();
        self.look_everywhere();
        loop {
            tokio::select! {
                () = shared.stopping.cancelled() => break,
                changed = shared.log.changed() => changed.into_iter().for_each(|id| self.look(id)),
                Ok(()) = generation.changed() => self.look_everywhere(),
                Some(ended) = self.tasks.join_next_with_id() => self.ended(ended),
            }
        }
        while let Some(ended) = self.tasks.join_next_with_id().await {
            self.ended(ended);
        }
    }

    /// At the start, and when the stream table changed.
    fn look_everywhere(&mut self) {
        let streams = self.shared.streams.snapshot().streams();
        self.shared.metrics.keep_only(&streams.iter().map(|stream| &stream.name).collect());
        self.working.values().for_each(|wake| wake.notify_one());
        let mut ids: Vec<_> = self.resting.keys().map(|(id, _)| *id).collect();
        ids.extend(self.shared.log.streams().into_iter().map(|(id, _)| id));
        ids.extend(streams.iter().map(|stream| stream.id));
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter().for_each(|id| self.look(id));
    }

    fn look(&mut self, id: StreamId) {
        self.look_at(id, Lane::Delivery);
        if self.resting.contains_key(&(id, Lane::Backup)) || self.shared.trims.has(id, Lane::Backup) {
            self.look_at(id, Lane::Backup);
        }
    }

    /// Wakes the lane's worker, or starts one where there is something to do.
    fn look_at(&mut self, id: StreamId, lane: Lane) {
        if let Some(wake) = self.working.get(&(id, lane)) {
            return wake.notify_one();
        }
        let stream = self.shared.streams.by_id(id);
        let mut progress = match self.resting.get(&(id, lane)) {
            Some(progress) => progress.clone(),
            None if lane == Lane::Delivery => Progress::default(),
            None => Progress { sealed: self.shared.trims.begin(id, lane), ..Progress::default() },
        };
        if progress.stopped {
            let discarding = stream.as_ref().is_some_and(|stream| stream.is_discarding());
            if !discarding || progress.stopped_discarding {
                return;
            }
            // What stopped it need not be overcome any more.
            progress.stopped = false;
            self.shared.metrics.stream_goes_on();
        }
        let tail = self.shared.log.tail(id);
        let unread = tail.is_some_and(|tail| tail.next > progress.sealed);
        let deleting = stream.as_ref().is_some_and(|stream| stream.status == StreamStatus::Deleting);
        let busy = unread || !progress.waiting.is_empty();
        match stream.map(|stream| stream.name.clone()).or_else(|| name_of(&progress)) {
            // The delivery's worker is the one that removes the stream.
            Some(name) if busy || (deleting && lane == Lane::Delivery) => {
                self.start(id, lane, name, progress)
            }
            Some(_) => {}
            None if busy => self.orphaned(id),
            None => {
                // Removed, here or through another node, after everything was delivered.
                self.resting.remove(&(id, lane));
                self.shared.trims.forget(id);
                if tail.is_some() {
                    self.shared.log.forget_stream(id);
                }
            }
        }
    }

    fn start(&mut self, id: StreamId, lane: Lane, name: StreamName, progress: Progress) {
        self.resting.remove(&(id, lane));
        self.shared.metrics.begin(&name, lane);
        let wake = Arc::new(Notify::new());
        let worker = Worker::new(self.shared.clone(), (id, lane), name, progress, wake.clone());
        let task = self.tasks.spawn(worker.run());
        self.lane_of.insert(task.id(), (id, lane));
        self.working.insert((id, lane), wake);
    }

    fn ended(&mut self, ended: Result<(Id, Progress), JoinError>) {
        let (task, progress) = match ended {
            Ok(ended) => ended,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => return,
            },
        };
        let (id, lane) = self.lane_of.remove(&task).expect("every worker was entered when it was started");
        self.working.remove(&(id, lane));
        self.resting.insert((id, lane), progress);
        if !self.shared.stopping.is_cancelled() {
            // Something may have come after it saw that there was nothing.
            self.look_at(id, lane);
        }
    }

    fn orphaned(&mut self, id: StreamId) {
        if self.orphans.insert(id) {
            error!(stream_id = %id, "the log holds records of a stream that the metastore does not know; they are kept");
            self.shared.metrics.stream_stopped();
        }
    }
}

fn name_of(progress: &Progress) -> Option<StreamName> {
    progress.waiting.first().map(|batch| batch.stream_name.clone())
}
