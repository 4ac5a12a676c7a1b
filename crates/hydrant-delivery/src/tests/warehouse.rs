//! A warehouse in memory: statements with tokens and names, a ledger, a COPY that reads manifest and objects; it fails as told.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
};

use async_trait::async_trait;
use hydrant_redshift::{Error, Kind, StatementStatus, StatementSummary, Submission, WarehouseClient};
use hydrant_types::{CopyTarget, LoadId, StatementId, Timestamp};
use parking_lot::Mutex;

use super::{
    faults::{Fate, Faults},
    objects::Objects,
};

/// How a statement is to end, where a test says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Commit,
    /// With this message, rolled back.
    Fail(&'static str),
    Abort,
    /// As if the ledger held the load, which it does not.
    ClaimLoaded,
}

/// What a call answers, where a test says so, instead of being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Refused,
    Unreachable,
}

pub(crate) struct Warehouse {
    objects: Arc<Objects>,
    state: Mutex<State>,
    pub(crate) faults: Faults,
}

#[derive(Default)]
struct State {
    statements: BTreeMap<String, Statement>,
    tokens: HashMap<String, String>,
    tables: HashMap<String, Vec<Vec<u8>>>,
    ledger: HashSet<(String, String)>,
    verdicts: VecDeque<Verdict>,
    /// By call: answers to be given first.
    answers: HashMap<&'static str, VecDeque<Answer>>,
    /// The next submissions are done, and reported as unknown.
    unseen: u32,
    forgetful: bool,
    running_max: usize,
    calls: HashMap<&'static str, u64>,
}

struct Statement {
    name: String,
    table: String,
    sqls: Vec<String>,
    status: StatementStatus,
    /// Looks until it ends.
    left: u32,
    verdict: Verdict,
}

impl Warehouse {
    pub(crate) fn new(objects: Arc<Objects>, random: fastrand::Rng) -> Arc<Self> {
        Arc::new(Self { objects, state: Mutex::default(), faults: Faults::new(random) })
    }

    /// The next statements end so; those that follow are committed.
    pub(crate) fn let_end(&self, verdicts: impl IntoIterator<Item = Verdict>) {
        self.state.lock().verdicts.extend(verdicts);
    }

    /// The next calls of `call` answer so.
    pub(crate) fn let_answer(&self, call: &'static str, answers: impl IntoIterator<Item = Answer>) {
        self.state.lock().answers.entry(call).or_default().extend(answers);
    }

    /// No more answers of [`Warehouse::let_answer`] for `call`.
    pub(crate) fn answer_all(&self, call: &'static str) {
        self.state.lock().answers.remove(call);
    }

    /// From now on nobody knows a statement that has ended.
    pub(crate) fn forget_statements_that_ended(&self) {
        self.state.lock().forgetful = true;
    }

    /// The next submission is done, and reported as unknown.
    pub(crate) fn lose_next_answer(&self) {
        self.state.lock().unseen += 1;
    }

    /// The rows of a table, in the order in which they were loaded.
    pub(crate) fn rows(&self, table: &str) -> Vec<Vec<u8>> {
        self.state.lock().tables.get(table).cloned().unwrap_or_default()
    }

    /// The names of all statements that were submitted, oldest first.
    pub(crate) fn statements(&self) -> Vec<String> {
        self.state.lock().statements.values().map(|statement| statement.name.clone()).collect()
    }

    /// Most statements that ran at a time on one table.
    pub(crate) fn running_max(&self) -> usize {
        self.state.lock().running_max
    }

    pub(crate) fn calls(&self, call: &'static str) -> u64 {
        self.state.lock().calls.get(call).copied().unwrap_or_default()
    }

    /// What a call meets before it is done.
    async fn meet(&self, call: &'static str) -> Result<Fate, Error> {
        let answer = {
            let mut state = self.state.lock();
            *state.calls.entry(call).or_default() += 1;
            state.answers.get_mut(call).and_then(VecDeque::pop_front)
        };
        match answer {
            Some(Answer::Refused) => Err(error(call, "AccessDeniedException", Kind::Rejected)),
            Some(Answer::Unreachable) => Err(error(call, "Redshift.ConnectionFailed", Kind::Unreachable)),
            None => match self.faults.draw().await {
                Fate::NotDone if self.faults.chance(50) => {
                    Err(error(call, "ThrottlingException", Kind::Retry { after: None }))
                }
                Fate::NotDone => Err(error(call, "Redshift.ConnectionFailed", Kind::Unreachable)),
                fate => Ok(fate),
            },
        }
    }

    fn submit_now(&self, target: &CopyTarget, submission: &Submission) -> StatementId {
        let verdict = match () {
            () if self.faults.chance(8) => {
                Verdict::Fail("ERROR: Load into table failed. Check 'sys_load_error_detail'")
            }
            () if self.faults.chance(8) => Verdict::Abort,
            () => Verdict::Commit,
        };
        let state = &mut *self.state.lock();
        if let Some(id) = state.tokens.get(&submission.client_token) {
            return StatementId(id.clone());
        }
        let table = target.table_key();
        let verdict = state.verdicts.pop_front().unwrap_or(verdict);
        let running = state
            .statements
            .values()
            .filter(|statement| statement.table == table && statement.status == StatementStatus::Running)
            .count();
        state.running_max = state.running_max.max(running + 1);
        let id = format!("statement-{:06}", state.statements.len());
        state.statements.insert(
            id.clone(),
            Statement {
                name: submission.statement_name.clone(),
                table,
                sqls: submission.sqls.clone(),
                status: StatementStatus::Running,
                left: 2,
                verdict,
            },
        );
        state.tokens.insert(submission.client_token.clone(), id.clone());
        StatementId(id)
    }
}

impl State {
    /// Ends a statement as its verdict says; a commit is checked against the ledger and adds rows and ledger row together.
    fn end(&mut self, id: &str, objects: &Objects) {
        let statement = self.statements.get_mut(id).unwrap();
        let load = statement.name.split(':').nth(2).unwrap().to_owned();
        let ledger_row = (statement.table.clone(), load);
        statement.status = match statement.verdict {
            _ if self.ledger.contains(&ledger_row) => failed("ERROR: Divide by zero", true),
            Verdict::Abort => StatementStatus::Aborted { message: "cancelled".to_owned() },
            Verdict::Fail(message) => failed(message, false),
            Verdict::ClaimLoaded => failed("ERROR: Divide by zero", true),
            Verdict::Commit => match rows_of(&statement.sqls[2], objects) {
                Err(missing) => failed(&missing, false),
                Ok(rows) => {
                    let count = rows.len() as u64;
                    self.tables.entry(statement.table.clone()).or_default().extend(rows);
                    self.ledger.insert(ledger_row);
                    StatementStatus::Finished { rows: Some(count) }
                }
            },
        };
    }
}

/// The lines of all objects of the manifest that a COPY names.
fn rows_of(copy: &str, objects: &Objects) -> Result<Vec<Vec<u8>>, String> {
    let url = copy.split('\'').nth(1).unwrap();
    let read = |url: &str| {
        let (bucket, key) = url.strip_prefix("s3://").unwrap().split_once('/').unwrap();
        objects.content(bucket, key).ok_or_else(|| format!("ERROR: mandatory url {url} does not exist"))
    };
    let manifest: serde_json::Value = serde_json::from_slice(&read(url)?).unwrap();
    let entries = manifest["entries"].as_array().unwrap();
    assert!(entries.len() <= hydrant_redshift::manifest::ENTRIES_MAX, "a manifest is bounded");
    assert!(!entries.is_empty(), "nobody loads nothing");
    let mut rows = Vec::new();
    for entry in entries {
        assert_eq!(entry["mandatory"], true);
        let content = read(entry["url"].as_str().unwrap())?;
        rows.extend(content.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec));
    }
    Ok(rows)
}

fn failed(message: &str, already_loaded: bool) -> StatementStatus {
    StatementStatus::Failed {
        code: "Redshift.DataLoadFailed".to_owned(),
        message: message.to_owned(),
        already_loaded,
    }
}

fn error(step: &'static str, code: &str, kind: Kind) -> Error {
    Error { step, code: code.to_owned(), message: "as told".to_owned(), kind }
}

fn unknown(step: &'static str) -> Error {
    error(step, "InternalServerException", Kind::OutcomeUnknown)
}

#[async_trait]
impl WarehouseClient for Warehouse {
    async fn ensure_ledger(&self, _: &CopyTarget) -> Result<(), Error> {
        match self.meet("ensure_ledger").await? {
            Fate::Done => Ok(()),
            _ => Err(unknown("ensure_ledger")),
        }
    }

    async fn submit(&self, target: &CopyTarget, submission: &Submission) -> Result<StatementId, Error> {
        let fate = self.meet("submit").await?;
        let id = self.submit_now(target, submission);
        let unseen = {
            let mut state = self.state.lock();
            let unseen = state.unseen > 0;
            state.unseen = state.unseen.saturating_sub(1);
            unseen
        };
        if unseen || fate == Fate::DoneUnseen { Err(unknown("submit")) } else { Ok(id) }
    }

    async fn describe(&self, _: &CopyTarget, id: &StatementId) -> Result<StatementStatus, Error> {
        let fate = self.meet("describe").await?;
        let gone = self.faults.chance(3);
        let state = &mut *self.state.lock();
        let gone = gone || state.forgetful;
        let statement = state.statements.get_mut(&id.0).expect("only what was submitted is asked for");
        statement.left = statement.left.saturating_sub(1);
        if statement.left == 0 && statement.status == StatementStatus::Running {
            state.end(&id.0, &self.objects);
        }
        let status = state.statements[&id.0].status.clone();
        match fate {
            Fate::DoneUnseen => Err(unknown("describe")),
            // Only what has ended is forgotten.
            _ if gone && status != StatementStatus::Running => Ok(StatementStatus::Gone),
            _ => Ok(status),
        }
    }

    async fn find(&self, _: &CopyTarget, statement_name: &str) -> Result<Vec<StatementSummary>, Error> {
        if self.meet("find").await? == Fate::DoneUnseen {
            return Err(unknown("find"));
        }
        let state = self.state.lock();
        let found = state.statements.iter().rev().filter(|(_, statement)| statement.name == statement_name);
        Ok(found
            .map(|(id, statement)| StatementSummary {
                id: StatementId(id.clone()),
                name: statement.name.clone(),
                created_at: Timestamp(0),
            })
            .collect())
    }

    async fn cancel(&self, _: &CopyTarget, _: &StatementId) -> Result<(), Error> {
        Ok(())
    }

    async fn ledger_holds(&self, target: &CopyTarget, load: LoadId) -> Result<bool, Error> {
        if self.meet("ledger_holds").await? == Fate::DoneUnseen {
            return Err(unknown("ledger_holds"));
        }
        Ok(self.state.lock().ledger.contains(&(target.table_key(), load.to_string())))
    }
}
