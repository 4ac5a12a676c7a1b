//! What becomes of a load: one pure function of its state, what was seen, and the time.
//!
//! ```text
//!  Planned{attempt} ──statement found or submitted──▶ Submitted ──finished, or the ledger holds it──▶ Committed
//!     ▲   ▲                                             │   │
//!     │   └── after copy_retry ── failed, time left ────┤   └── failed, no time left ──▶ Abandoned
//!     └────── at once ─────────── aborted, or gone ─────┘
//! ```
//!
//! A new attempt has a new token, and is planned only by an event that says how the previous statement ended.

use std::time::Duration;

use hydrant_redshift::copy_statement;
use hydrant_types::{Load, LoadState, NameError, StatementId, Timestamp};

use crate::object_key;

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The Data API took the attempt's statement, now or before.
    Submitted(StatementId),
    /// The Data API refuses the attempt's statement, or what has to come before it: nothing ran.
    Refused {
        /// Firehose's error code (developer guide, "Data delivery error codes").
        code: String,
        /// The warehouse's words.
        message: String,
    },
    /// The statement's transaction is committed.
    Finished {
        /// Rows that COPY reported.
        rows: Option<u64>,
    },
    /// The statement's transaction was rolled back.
    Failed {
        /// Firehose's error code (developer guide, "Data delivery error codes").
        code: String,
        /// The warehouse's words.
        message: String,
    },
    /// The ledger holds the load: an earlier statement committed it.
    AlreadyLoaded,
    /// The statement was cancelled or cut off, or ended so long ago that nobody knows it any more, and the ledger does not hold the load.
    Ended,
}

/// How failures are tried again.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    /// Between a failed COPY and its next attempt.
    pub copy_retry: Duration,
}

/// A pair of state and event that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a load that is {state} cannot see {event}")]
pub struct IllegalTransition {
    state: &'static str,
    event: &'static str,
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Write this state.
    Next(LoadState),
    /// The pair cannot be.
    Illegal(IllegalTransition),
    /// The key of the manifest's copy would be too long.
    Key(NameError),
}

/// The state that follows. [`LoadState::Abandoned`] names where the manifest is to be copied before it is written.
pub fn step(load: &Load, event: &Event, now: Timestamp, policy: RetryPolicy) -> Outcome {
    use LoadState::{Abandoned, Committed, Planned, Submitted};
    let attempt = load.state.attempt();
    match (&load.state, event) {
        (Planned { token, .. }, Event::Submitted(statement)) => {
            Outcome::Next(Submitted { attempt, token: token.clone(), statement: statement.clone() })
        }
        (Submitted { .. }, Event::Finished { rows }) => Outcome::Next(Committed { attempt, rows: *rows }),
        (Planned { .. } | Submitted { .. }, Event::AlreadyLoaded) => {
            Outcome::Next(Committed { attempt, rows: None })
        }
        (Submitted { .. }, Event::Ended) => Outcome::Next(planned(load, now)),
        (Planned { .. }, Event::Refused { code, message })
        | (Submitted { .. }, Event::Failed { code, message }) => failed(load, code, message, now, policy),
        (Planned { .. }, Event::Finished { .. } | Event::Failed { .. } | Event::Ended)
        | (Submitted { .. }, Event::Submitted(_) | Event::Refused { .. })
        | (Committed { .. } | Abandoned { .. }, _) => {
            Outcome::Illegal(IllegalTransition { state: load.state.name(), event: event.name() })
        }
    }
}

fn planned(load: &Load, not_before: Timestamp) -> LoadState {
    let attempt = load.state.attempt() + 1;
    LoadState::Planned { attempt, token: copy_statement::token(load.id, attempt), not_before }
}

/// Tried again while RetryOptions allow it; time in which the warehouse could not be reached does not count.
fn failed(load: &Load, code: &str, message: &str, now: Timestamp, policy: RetryPolicy) -> Outcome {
    let since = load.first_submitted_at.unwrap_or(load.planned_at);
    let spent = now.since(since).saturating_sub(Duration::from_millis(load.unreachable_ms));
    if spent < Duration::from_secs(u64::from(load.target.retry_secs)) {
        return Outcome::Next(planned(load, now.plus(policy.copy_retry)));
    }
    match object_key::errors_manifest(&load.manifest_key) {
        Ok(errors_manifest_key) => Outcome::Next(LoadState::Abandoned {
            attempt: load.state.attempt(),
            errors_manifest_key,
            code: code.to_owned(),
            reason: message.to_owned(),
        }),
        Err(error) => Outcome::Key(error),
    }
}

impl Event {
    fn name(&self) -> &'static str {
        match self {
            Self::Submitted(_) => "submitted",
            Self::Refused { .. } => "refused",
            Self::Finished { .. } => "finished",
            Self::Failed { .. } => "failed",
            Self::AlreadyLoaded => "already loaded",
            Self::Ended => "ended",
        }
    }
}

#[cfg(test)]
mod tests {
    use hydrant_types::{CopyTarget, StreamId, Warehouse};

    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);
    const POLICY: RetryPolicy = RetryPolicy { copy_retry: Duration::from_secs(300) };

    fn load(state: LoadState, retry_secs: u32, first_submitted_at: Option<u64>) -> Load {
        Load {
            id: "6f0c1a52-0000-4000-8000-000000000001".parse().unwrap(),
            stream: StreamId(1),
            stream_name: "orders".parse().unwrap(),
            target: CopyTarget {
                warehouse: Warehouse::Workgroup("local".to_owned()),
                region: "us-east-1".to_owned(),
                database: "dev".to_owned(),
                username: None,
                secret_arn: None,
                table: "events".to_owned(),
                columns: None,
                options: None,
                role_arn: "arn".to_owned(),
                retry_secs,
            },
            bucket: "landing".parse().unwrap(),
            manifest_key: "p/manifests/2026/01/02/03/orders-x".parse().unwrap(),
            state,
            planned_at: Timestamp(0),
            first_submitted_at: first_submitted_at.map(Timestamp),
            unreachable_ms: 0,
            updated_at: NOW,
        }
    }

    fn states() -> Vec<LoadState> {
        let errors_manifest_key = "p/errors/manifests/x".parse().unwrap();
        vec![
            LoadState::Planned { attempt: 1, token: "t".to_owned(), not_before: NOW },
            LoadState::Submitted {
                attempt: 1,
                token: "t".to_owned(),
                statement: StatementId("s".to_owned()),
            },
            LoadState::Committed { attempt: 1, rows: None },
            LoadState::Abandoned {
                attempt: 1,
                errors_manifest_key,
                code: "c".to_owned(),
                reason: "r".to_owned(),
            },
        ]
    }

    fn events() -> Vec<Event> {
        let words = || ("Redshift.DataLoadFailed".to_owned(), "bad row".to_owned());
        let ((code, message), (code2, message2)) = (words(), words());
        vec![
            Event::Submitted(StatementId("s".to_owned())),
            Event::Refused { code, message },
            Event::Finished { rows: Some(7) },
            Event::Failed { code: code2, message: message2 },
            Event::AlreadyLoaded,
            Event::Ended,
        ]
    }

    /// Every pair: what follows, or that it cannot be.
    #[test]
    fn every_pair_of_state_and_event_is_decided() {
        let mut table = Vec::new();
        for state in states() {
            for event in events() {
                let next = match step(&load(state.clone(), 3600, Some(999_000)), &event, NOW, POLICY) {
                    Outcome::Next(next) => format!("{} {}", next.name(), next.attempt()),
                    Outcome::Illegal(_) => "-".to_owned(),
                    Outcome::Key(error) => error.to_string(),
                };
                table.push(format!("{} + {} => {next}", state.name(), event.name()));
            }
        }
        insta::assert_snapshot!(table.join("\n"), @r"
        planned + submitted => submitted 1
        planned + refused => planned 2
        planned + finished => -
        planned + failed => -
        planned + already loaded => committed 1
        planned + ended => -
        submitted + submitted => -
        submitted + refused => -
        submitted + finished => committed 1
        submitted + failed => planned 2
        submitted + already loaded => committed 1
        submitted + ended => planned 2
        committed + submitted => -
        committed + refused => -
        committed + finished => -
        committed + failed => -
        committed + already loaded => -
        committed + ended => -
        abandoned + submitted => -
        abandoned + refused => -
        abandoned + finished => -
        abandoned + failed => -
        abandoned + already loaded => -
        abandoned + ended => -
        ");
    }

    #[test]
    fn a_failure_is_tried_again_later_and_a_cut_off_statement_at_once() {
        let submitted = load(states()[1].clone(), 3600, Some(999_000));
        let Outcome::Next(LoadState::Planned { not_before, token, .. }) =
            step(&submitted, &events()[3], NOW, POLICY)
        else {
            panic!("it is tried again");
        };
        assert_eq!(not_before, NOW.plus(POLICY.copy_retry));
        assert_ne!(token, "t", "a new attempt has a new token");
        let Outcome::Next(LoadState::Planned { not_before, .. }) =
            step(&submitted, &Event::Ended, NOW, POLICY)
        else {
            panic!("it is tried again");
        };
        assert_eq!(not_before, NOW);
    }

    #[test]
    fn retries_run_out_and_time_out_of_reach_does_not_count() {
        let failed = &events()[3];
        let next = |retry_secs, unreachable_ms| {
            let load = Load { unreachable_ms, ..load(states()[1].clone(), retry_secs, Some(0)) };
            match step(&load, failed, NOW, POLICY) {
                Outcome::Next(next) => next.name(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(next(0, 0), "abandoned", "0 is no retry");
        assert_eq!(next(1_000, 0), "abandoned");
        assert_eq!(next(1_001, 0), "planned");
        assert_eq!(next(1_000, 1), "planned");
    }
}
