//! One attempt of a load in the warehouse: submitted once, followed to its end, looked for when nobody knows.

use std::time::Duration;

use hydrant_redshift::{Error, Kind, StatementStatus, Submission, copy_statement};
use hydrant_types::{Load, StatementId, Timestamp};
use tracing::{info, warn};

use super::{
    machine::Event,
    table::{End, TableWorker},
};
use crate::{backoff::Backoff, lease_keeper::KeptLease, metrics::Outcome, stream::Shared};

/// A warehouse is asked again at least this often: its COPY waits for nothing else.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

impl TableWorker {
    /// Submits the present attempt, or finds that it was. `fresh` says that nobody can have submitted it before: it was planned here, a
    /// moment ago.
    ///
    /// An attempt that may have been submitted is looked for by its name before anything else, and while nobody knows, no refusal counts:
    /// so a new attempt, or the end of the load, always follows what was seen of the last one.
    pub(super) async fn submit(
        &self,
        load: &mut Load,
        lease: &KeptLease,
        manifest_is_there: &mut bool,
        fresh: bool,
    ) -> Result<Event, End> {
        if !*manifest_is_there {
            self.put_manifest(load, &load.manifest_key.clone()).await?;
            *manifest_is_there = true;
        }
        let submission = copy_statement::submission(load, self.shared.settings.copy_iam_role.as_deref());
        let mut in_doubt = !fresh;
        let mut trouble = Trouble::new(&self.shared);
        loop {
            trouble.call_begins(&self.shared);
            match self.try_submit(load, &submission, &mut in_doubt).await {
                Ok(statement) => {
                    trouble.over();
                    return Ok(Event::Submitted(statement));
                }
                Err(error) if error.kind == Kind::Rejected && !in_doubt => {
                    return Ok(Event::Refused { code: error.code, message: error.message });
                }
                Err(error) => self.endure(load, lease, &error, &mut trouble).await?,
            }
        }
    }

    async fn try_submit(
        &self,
        load: &Load,
        submission: &Submission,
        in_doubt: &mut bool,
    ) -> Result<StatementId, Error> {
        if *in_doubt {
            let found = self.warehouse.find(&load.target, &submission.statement_name).await?;
            if let Some(statement) = found.into_iter().next() {
                return Ok(statement.id);
            }
            *in_doubt = false;
        }
        self.warehouse.ensure_ledger(&load.target).await?;
        let submitted = self.warehouse.submit(&load.target, submission).await;
        *in_doubt = submitted.as_ref().is_err_and(|error| error.kind == Kind::OutcomeUnknown);
        submitted
    }

    /// Looks at a statement until it has ended.
    pub(super) async fn follow(
        &self,
        load: &mut Load,
        lease: &KeptLease,
        statement: &StatementId,
    ) -> Result<Event, End> {
        let settings = &self.shared.settings;
        let mut trouble = Trouble::new(&self.shared);
        let mut poll = settings.poll_min;
        loop {
            trouble.call_begins(&self.shared);
            match self.look(load, statement).await {
                Ok(Some(event)) => {
                    trouble.over();
                    return Ok(event);
                }
                Ok(None) => {
                    trouble.over();
                    tokio::time::sleep(poll).await;
                    poll = (poll * 2).min(settings.poll_max);
                }
                Err(error) => self.endure(load, lease, &error, &mut trouble).await?,
            }
        }
    }

    /// How a statement ended; `None` while it runs.
    async fn look(&self, load: &Load, statement: &StatementId) -> Result<Option<Event>, Error> {
        let event = match self.warehouse.describe(&load.target, statement).await? {
            StatementStatus::Running => return Ok(None),
            StatementStatus::Finished { rows } => Event::Finished { rows },
            StatementStatus::Aborted { .. } => Event::Ended,
            StatementStatus::Failed { already_loaded: true, code, message } => {
                match self.warehouse.ledger_holds(&load.target, load.id).await? {
                    true => Event::AlreadyLoaded,
                    false => Event::Failed { code, message },
                }
            }
            StatementStatus::Failed { code, message, .. } => Event::Failed { code, message },
            StatementStatus::Gone => match self.warehouse.ledger_holds(&load.target, load.id).await? {
                true => Event::AlreadyLoaded,
                // It ended more than a day ago, and not with a commit.
                false => Event::Ended,
            },
        };
        Ok(Some(event))
    }

    /// Notes a call that gave no result, and waits. Time without an answer is taken off the load's retries.
    async fn endure(
        &self,
        load: &mut Load,
        lease: &KeptLease,
        error: &Error,
        trouble: &mut Trouble,
    ) -> Result<(), End> {
        if !trouble.said {
            trouble.said = true;
            warn!(
                code = error.code,
                error = error.message,
                "the warehouse does not take the load now; trying on"
            );
        }
        let outcome = if error.kind == Kind::OutcomeUnknown { Outcome::Unknown } else { Outcome::Failed };
        if outcome == Outcome::Unknown {
            self.shared.metrics.redshift_attempt(&load.stream_name, outcome);
        }
        self.note(load, "copy", trouble.call_began_at, outcome, Some((&error.code, &error.message)));
        let hint = match error.kind {
            Kind::Retry { after } => after.unwrap_or_default(),
            _ => Duration::ZERO,
        };
        tokio::time::sleep(trouble.backoff.next().max(hint)).await;
        if matches!(error.kind, Kind::Unreachable | Kind::OutcomeUnknown) {
            let unreachable = self.shared.clock.monotonic().saturating_sub(trouble.call_began);
            let millis = unreachable.as_millis() as u64;
            load.unreachable_ms += millis;
            let (id, lease) = (load.id, lease.lease());
            // Repeated after a lost answer it may count twice: a few seconds more of retries.
            self.decided(|| self.shared.metastore.add_unreachable(&lease, id, millis)).await?;
        }
        Ok(())
    }
}

/// Calls that fail for passing reasons, one after the other.
struct Trouble {
    backoff: Backoff,
    said: bool,
    call_began: Duration,
    call_began_at: Timestamp,
}

impl Trouble {
    fn new(shared: &Shared) -> Self {
        let settings = &shared.settings;
        let longest = settings.backoff_max.min(BACKOFF_MAX);
        Self {
            backoff: Backoff::between(settings.backoff_min, longest, &*shared.entropy),
            said: false,
            call_began: Duration::ZERO,
            call_began_at: Timestamp(0),
        }
    }

    fn call_begins(&mut self, shared: &Shared) {
        self.call_began = shared.clock.monotonic();
        self.call_began_at = shared.clock.now();
    }

    fn over(&mut self) {
        if std::mem::take(&mut self.said) {
            info!("the warehouse answers again");
            self.backoff.reset();
        }
    }
}
