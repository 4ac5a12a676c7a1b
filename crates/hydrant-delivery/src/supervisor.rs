//! Starts a worker for each stream that has something to do. Idle streams cost nothing.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use hydrant_types::{StreamId, StreamName, StreamStatus};
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
    /// Where streams without a worker stand.
    resting: HashMap<StreamId, Progress>,
    working: HashMap<StreamId, Arc<Notify>>,
    tasks: JoinSet<Progress>,
    stream_of: HashMap<Id, StreamId>,
    /// Streams whose records nobody knows what to do with, said once.
    orphans: HashSet<StreamId>,
}

impl Supervisor {
    /// Goes on from where log and metastore say that each stream stands.
    pub(crate) fn new(shared: Arc<Shared>, attached: &Attached) -> Self {
        let mut resting: HashMap<StreamId, Progress> = HashMap::new();
        for (id, tail) in shared.log.streams() {
            resting.insert(id, Progress { sealed: tail.trimmed, ..Progress::default() });
        }
        for position in &attached.positions {
            resting.entry(position.stream).or_default().sealed = position.sealed;
            // A crash between "uploaded" and the trim leaves this to do, also for a stream that never gets another record.
            shared.log.trim(position.stream, position.uploaded);
        }
        for batch in &attached.sealed {
            resting.entry(batch.stream).or_default().waiting.push(batch.clone());
        }
        Self {
            shared,
            resting,
            working: HashMap::new(),
            tasks: JoinSet::new(),
            stream_of: HashMap::new(),
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
        let mut ids: Vec<_> = self.resting.keys().copied().collect();
        ids.extend(self.shared.log.streams().into_iter().map(|(id, _)| id));
        ids.extend(streams.iter().map(|stream| stream.id));
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter().for_each(|id| self.look(id));
    }

    /// Wakes the stream's worker, or starts one where there is something to do.
    fn look(&mut self, id: StreamId) {
        if let Some(wake) = self.working.get(&id) {
            return wake.notify_one();
        }
        let mut progress = self.resting.get(&id).cloned().unwrap_or_default();
        let stream = self.shared.streams.by_id(id);
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
            Some(name) if busy || deleting => self.start(id, name, progress),
            Some(_) => {}
            None if busy => self.orphaned(id),
            None => {
                // Removed, here or through another node, after everything was delivered.
                self.resting.remove(&id);
                if tail.is_some() {
                    self.shared.log.forget_stream(id);
                }
            }
        }
    }

    fn start(&mut self, id: StreamId, name: StreamName, progress: Progress) {
        self.resting.remove(&id);
        self.shared.metrics.begin(&name);
        let wake = Arc::new(Notify::new());
        let worker = Worker::new(self.shared.clone(), id, name, progress, wake.clone());
        let task = self.tasks.spawn(worker.run());
        self.stream_of.insert(task.id(), id);
        self.working.insert(id, wake);
    }

    fn ended(&mut self, ended: Result<(Id, Progress), JoinError>) {
        let (task, progress) = match ended {
            Ok(ended) => ended,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => return,
            },
        };
        let id = self.stream_of.remove(&task).expect("every worker was entered when it was started");
        self.working.remove(&id);
        self.resting.insert(id, progress);
        if !self.shared.stopping.is_cancelled() {
            // Something may have come after it saw that there was nothing.
            self.look(id);
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
