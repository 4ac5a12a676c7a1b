//! Equal failures in a row are kept as two rows, however many they are: the first, and the newest with a count. An outage
//! of a day must not fill the table, and a person wants to see since when and until when.
//!
//! Pure: the stores read the newest rows of each subject and step, add the new attempts here, and write what changed.

use std::collections::{HashMap, HashSet};

use crate::{
    Attempt, Subject,
    column::Moment,
    error::Result,
    row::{AttemptRow, subject_columns},
};

/// The newest rows of some subjects and steps, to which attempts are added.
pub(crate) struct Runs {
    rows: Vec<Row>,
    /// Where the newest rows of each subject and step are in `rows`, oldest first.
    newest: HashMap<(Subject, String), Vec<usize>>,
}

struct Row {
    attempt: AttemptRow,
    stored: bool,
    changed: bool,
}

/// What is to be written.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Changes {
    /// New rows, oldest first; their ids are to be given.
    pub(crate) inserts: Vec<AttemptRow>,
    /// Rows that stand for more than before.
    pub(crate) updates: Vec<AttemptRow>,
}

/// What some attempts are of, each subject once.
pub(crate) fn subjects<'a>(attempts: impl Iterator<Item = &'a Attempt>) -> Vec<Subject> {
    let mut seen = HashSet::new();
    attempts.map(|attempt| attempt.subject).filter(|subject| seen.insert(*subject)).collect()
}

impl Runs {
    /// Begins with what is stored: of each subject and step at least the newest two rows, oldest first.
    pub(crate) fn new(stored: Vec<AttemptRow>) -> Result<Self> {
        let mut runs = Self { rows: Vec::with_capacity(stored.len()), newest: HashMap::new() };
        for attempt in stored {
            let subject = attempt.subject()?;
            runs.push(subject, Row { attempt, stored: true, changed: false });
        }
        Ok(runs)
    }

    /// Adds an attempt that is newer than all before.
    pub(crate) fn add(&mut self, attempt: &Attempt) {
        match self.end_of_run(attempt) {
            Some(at) => self.rows[at].absorb(attempt),
            None => {
                let row = Row { attempt: new_row(attempt), stored: false, changed: true };
                self.push(attempt.subject, row);
            }
        }
    }

    /// What is to be written.
    pub(crate) fn changes(self) -> Changes {
        let mut changes = Changes::default();
        for row in self.rows.into_iter().filter(|row| row.changed) {
            if row.stored {
                changes.updates.push(row.attempt);
            } else {
                changes.inserts.push(row.attempt);
            }
        }
        changes
    }

    /// The row that takes the attempt in: the newest, where it and the one before are failures like this one.
    fn end_of_run(&self, attempt: &Attempt) -> Option<usize> {
        let newest = self.newest.get(&(attempt.subject, attempt.step.to_owned()))?;
        let [.., first, last] = newest[..] else { return None };
        let equal = |at: usize| {
            let row = &self.rows[at].attempt;
            attempt.outcome != "ok" && row.outcome == attempt.outcome && row.code == attempt.code
        };
        (equal(first) && equal(last)).then_some(last)
    }

    fn push(&mut self, subject: Subject, row: Row) {
        let key = (subject, row.attempt.step.clone());
        self.newest.entry(key).or_default().push(self.rows.len());
        self.rows.push(row);
    }
}

impl Row {
    fn absorb(&mut self, attempt: &Attempt) {
        self.attempt.times += 1;
        self.attempt.message.clone_from(&attempt.message);
        self.attempt.started_at = Moment(attempt.started_at);
        self.attempt.ended_at = Moment(attempt.ended_at);
        self.changed = true;
    }
}

fn new_row(attempt: &Attempt) -> AttemptRow {
    let (batch_id, load_id) = subject_columns(attempt.subject);
    AttemptRow {
        id: 0,
        batch_id,
        load_id,
        step: attempt.step.to_owned(),
        outcome: attempt.outcome.to_owned(),
        code: attempt.code.clone(),
        message: attempt.message.clone(),
        times: 1,
        started_at: Moment(attempt.started_at),
        ended_at: Moment(attempt.ended_at),
    }
}

#[cfg(test)]
mod tests {
    use hydrant_types::{BatchId, Timestamp};
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn attempt(outcome: &'static str, code: Option<&str>, at: u64) -> Attempt {
        Attempt {
            subject: Subject::Batch(BatchId(Uuid::from_u128(1))),
            step: "put_object",
            started_at: Timestamp(at),
            ended_at: Timestamp(at + 1),
            outcome,
            code: code.map(str::to_owned),
            message: Some(format!("at {at}")),
        }
    }

    fn summary(rows: &[AttemptRow]) -> Vec<(String, i64, u64)> {
        rows.iter().map(|row| (row.outcome.clone(), row.times, row.started_at.0.as_millis())).collect()
    }

    /// Adds attempts in calls of any sizes, storing what changed after each call as a database would.
    fn store(calls: &[Vec<Attempt>]) -> Vec<AttemptRow> {
        let mut table: Vec<AttemptRow> = Vec::new();
        for call in calls {
            let newest = table.iter().rev().take(2).rev().cloned().collect();
            let mut runs = Runs::new(newest).unwrap();
            for attempt in call {
                runs.add(attempt);
            }
            let changes = runs.changes();
            for row in changes.updates {
                let at = table.iter().position(|known| known.id == row.id).unwrap();
                table[at] = row;
            }
            for mut row in changes.inserts {
                row.id = table.len() as i64 + 1;
                table.push(row);
            }
        }
        table
    }

    #[test]
    fn a_long_outage_is_two_rows_and_its_end_a_third() {
        let mut all: Vec<Attempt> =
            (0..100).map(|at| attempt("failed", Some("S3.AccessDenied"), at)).collect();
        all.push(attempt("ok", None, 100));
        let rows = store(&[all]);
        assert_eq!(
            summary(&rows),
            [("failed".to_owned(), 1, 0), ("failed".to_owned(), 99, 99), ("ok".to_owned(), 1, 100)]
        );
    }

    #[test]
    fn another_code_begins_a_new_run() {
        let rows = store(&[vec![
            attempt("failed", Some("a"), 0),
            attempt("failed", Some("a"), 1),
            attempt("failed", Some("b"), 2),
            attempt("failed", Some("a"), 3),
        ]]);
        assert_eq!(rows.len(), 4);
    }

    #[test]
    fn successes_are_never_merged() {
        let rows = store(&[(0..5).map(|at| attempt("ok", None, at)).collect()]);
        assert_eq!(rows.len(), 5);
    }

    proptest! {
        #[test]
        fn rows_are_the_same_however_attempts_are_cut_into_calls(codes in prop::collection::vec(0u8..3, 0..40), cut in 1usize..10) {
            let all: Vec<Attempt> = codes
                .iter()
                .enumerate()
                .map(|(at, code)| match code {
                    0 => attempt("ok", None, at as u64),
                    1 => attempt("failed", Some("a"), at as u64),
                    _ => attempt("failed", Some("b"), at as u64),
                })
                .collect();
            let calls: Vec<Vec<Attempt>> = all.chunks(cut).map(<[_]>::to_vec).collect();
            let rows = store(&calls);
            let mut whole = store(std::slice::from_ref(&all));
            for row in &mut whole {
                row.id = 0;
            }
            let mut cut_up = rows;
            for row in &mut cut_up {
                row.id = 0;
            }
            prop_assert_eq!(&cut_up, &whole);
            prop_assert_eq!(cut_up.iter().map(|row| row.times).sum::<i64>(), all.len() as i64);
        }
    }
}
