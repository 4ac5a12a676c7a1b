//! From S3 into Redshift: what is uploaded and waits becomes loads, one at a time per table.
//!
//! A reconciler: it takes no input but the metastore, and a signal only wakes it sooner than its timer. So a start after a crash and
//! normal work are the same.

pub mod machine;
mod statement;
mod table;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use hydrant_redshift::WarehouseClient;
use tokio::{
    task::{Id, JoinError, JoinSet},
    time::Instant,
};
use tracing::debug;

use crate::stream::Shared;
use table::{Ended, TableWorker};

/// Tables that are loaded at once by one node; others wait their turn. Each is a task that mostly waits: the bound is above what one would
/// have, since tables whose COPY fails keep their place until it succeeds or is given up.
const TABLES_MAX: usize = 1024;
/// Uploads that come together are looked at together.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// Looks for work and gives each table a worker.
pub(crate) struct Loader {
    shared: Arc<Shared>,
    warehouse: Arc<dyn WarehouseClient>,
    working: HashSet<String>,
    /// Tables whose worker could not go on (another node has the lease, the metastore is away): left alone until then.
    resting: HashMap<String, Instant>,
    tasks: JoinSet<Ended>,
    table_of: HashMap<Id, String>,
}

impl Loader {
    pub(crate) fn new(shared: Arc<Shared>, warehouse: Arc<dyn WarehouseClient>) -> Self {
        Self {
            shared,
            warehouse,
            working: HashSet::new(),
            resting: HashMap::new(),
            tasks: JoinSet::new(),
            table_of: HashMap::new(),
        }
    }

    /// Runs until the service stops, then waits for the workers to reach the end of their step.
    pub(crate) async fn run(mut self) {
        let shared = self.shared.clone();
        let mut look_at = Instant::now();
        loop {
            let look = tokio::select! {
                () = shared.stopping.cancelled() => break,
                () = shared.loader_wake.notified() => true,
                () = tokio::time::sleep_until(look_at) => true,
                Some(ended) = self.tasks.join_next_with_id() => self.ended(ended),
            };
            if look {
                tokio::time::sleep(LOOK_PAUSE).await;
                self.look().await;
                look_at = Instant::now() + shared.settings.loader_interval;
            }
        }
        while let Some(ended) = self.tasks.join_next_with_id().await {
            self.ended(ended);
        }
    }

    /// Starts a worker for each table that has an unfinished load or batches that wait.
    async fn look(&mut self) {
        let waiting = self.shared.metastore.waiting().await;
        let unfinished = self.shared.metastore.unfinished_loads().await;
        let (waiting, unfinished) = match (waiting, unfinished) {
            (Ok(waiting), Ok(unfinished)) => (waiting, unfinished),
            (Err(error), _) | (_, Err(error)) => {
                debug!(%error, "the loader looks again later");
                return;
            }
        };
        let mut oldest = HashMap::new();
        for waiting in &waiting {
            let oldest = oldest.entry(waiting.target.table_key()).or_insert(waiting.oldest_arrival);
            *oldest = waiting.oldest_arrival.min(*oldest);
        }
        self.shared.metrics.oldest_waiting(oldest);
        let now = Instant::now();
        self.resting.retain(|_, until| *until > now);
        let targets =
            unfinished.iter().map(|load| &load.target).chain(waiting.iter().map(|waiting| &waiting.target));
        for table in targets.map(hydrant_types::CopyTarget::table_key) {
            let free = self.working.len() < TABLES_MAX && !self.resting.contains_key(&table);
            if free && self.working.insert(table.clone()) {
                let worker = TableWorker::new(self.shared.clone(), self.warehouse.clone(), table.clone());
                let task = self.tasks.spawn(worker.run());
                self.table_of.insert(task.id(), table);
            }
        }
    }

    /// Whether to look again at once: something may have come after the worker saw that there was nothing.
    fn ended(&mut self, ended: Result<(Id, Ended), JoinError>) -> bool {
        let (task, ended) = match ended {
            Ok(ended) => ended,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // Nobody aborts workers but the end of the runtime.
                Err(_) => return false,
            },
        };
        let table = self.table_of.remove(&task).expect("every worker was entered when it was started");
        self.working.remove(&table);
        match ended {
            Ended::NothingLeft => true,
            Ended::NotNow => {
                self.resting.insert(table, Instant::now() + self.shared.settings.loader_interval);
                false
            }
        }
    }
}
