//! Runs statements: takes them, answers for them, carries them out one transaction each.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use aws_sdk_s3::Client;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info};
use uuid::Uuid;

use crate::{
    copy::{self, LoadReport},
    engine::{Done, Engine, Transaction},
    error::{Error, SqlError},
    field::ResultSet,
    sql,
    statement::{Sql, Statement, Status, Target},
};

/// Statements that run at once; others wait as SUBMITTED.
const RUNNING_MAX: usize = 8;
/// The Data API's own limit of statements that are submitted or started.
pub(crate) const ACTIVE_MAX: usize = 500;
/// Statements are answered for this long, as the Data API does.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// Beyond these the ones that ended first are forgotten sooner.
const KEPT_MAX: usize = 10_000;
const KEPT_TEXT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Between attempts to store how a statement ended.
const STORE_RETRY: Duration = Duration::from_millis(500);
/// For a statement that is cancelled to end; the answer is given then, whatever.
const CANCEL_LIMIT: Duration = Duration::from_secs(10);
/// For statements that are cut off by a stop.
const STOP_LIMIT: Duration = Duration::from_secs(5);

const CANCELLED: &str = "Query cancelled on user's request";
const STOPPED: &str = "The statement was cut off by a stop";
const CUT_OFF: &str = "The statement was cut off by a restart";

/// The stand-in's statements.
pub(crate) struct Runner {
    pub(crate) engine: Arc<dyn Engine>,
    database: String,
    s3: Client,
    entries: Mutex<HashMap<String, Entry>>,
    /// Held from the look for a token until the statement is stored: the same token is never taken twice, and never answered
    /// for before it is on disk.
    submitting: tokio::sync::Mutex<()>,
    running: Semaphore,
    stopping: CancellationToken,
    tasks: TaskTracker,
}

/// A statement that is known.
#[derive(Clone)]
struct Entry {
    statement: Statement,
    /// Somebody wants it to end.
    cancel: CancellationToken,
    /// How it ended is stored.
    ended: CancellationToken,
}

/// A statement to be taken.
pub(crate) struct Request {
    pub(crate) sqls: Vec<String>,
    pub(crate) is_batch: bool,
    pub(crate) name: Option<String>,
    pub(crate) token: Option<String>,
    pub(crate) target: Target,
}

/// Why a statement was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The token belongs to another request.
    TokenReused,
    /// Too many are under way.
    TooMany,
    /// It could not be stored.
    Failed,
}

/// What a statement has come to.
struct Work {
    statement: Statement,
    /// COPYs that were rolled back.
    failed_loads: Vec<LoadReport>,
}

impl Runner {
    /// Takes over what is stored; what never ended was cut off.
    pub(crate) async fn start(
        engine: Arc<dyn Engine>,
        s3: Client,
        database: String,
    ) -> Result<Arc<Self>, Error> {
        let stopping = CancellationToken::new();
        let mut entries = HashMap::new();
        for mut statement in engine.statements().await? {
            if !statement.status.has_ended() {
                statement.abort(CUT_OFF);
                statement.updated_ms = now_ms();
                statement = engine.end(&statement).await?;
            }
            let entry = Entry { statement, cancel: stopping.child_token(), ended: CancellationToken::new() };
            entry.ended.cancel();
            entries.insert(entry.statement.id.clone(), entry);
        }
        info!(statements = entries.len(), "the Redshift stand-in is ready");
        Ok(Arc::new(Self {
            engine,
            database,
            s3,
            entries: Mutex::new(entries),
            submitting: tokio::sync::Mutex::default(),
            running: Semaphore::new(RUNNING_MAX),
            stopping,
            tasks: TaskTracker::new(),
        }))
    }

    /// Cuts off what runs, and waits until that is stored.
    pub(crate) async fn stop(&self) {
        self.stopping.cancel();
        self.tasks.close();
        if tokio::time::timeout(STOP_LIMIT, self.tasks.wait()).await.is_err() {
            error!("statements did not end in time; the next start says that they were cut off");
        }
    }

    /// Takes a statement, stores it and starts it. The same token with the same request is the same statement.
    pub(crate) async fn submit(self: &Arc<Self>, request: Request) -> Result<Statement, Refusal> {
        let _turn = self.submitting.lock().await;
        let fingerprint = fingerprint(&request);
        if let Some(token) = &request.token
            && let Some(known) = self.by_token(token)
        {
            return if known.request == fingerprint { Ok(known) } else { Err(Refusal::TokenReused) };
        }
        self.forget_old().await;
        let active = self.entries.lock().values().filter(|entry| !entry.statement.status.has_ended()).count();
        if active >= ACTIVE_MAX {
            return Err(Refusal::TooMany);
        }
        let sqls = request.sqls.clone();
        let statement = new_statement(request, fingerprint);
        if let Err(failure) = self.engine.submit(&statement).await {
            error!(error = %with_cause(&failure), "a statement could not be stored");
            return Err(Refusal::Failed);
        }
        let entry = Entry {
            statement: statement.clone(),
            cancel: self.stopping.child_token(),
            ended: CancellationToken::new(),
        };
        self.entries.lock().insert(statement.id.clone(), entry.clone());
        let runner = self.clone();
        self.tasks.spawn(async move { runner.run(entry, sqls).await });
        Ok(statement)
    }

    fn by_token(&self, token: &str) -> Option<Statement> {
        let entries = self.entries.lock();
        let known = entries.values().find(|entry| entry.statement.token.as_deref() == Some(token));
        known.map(|entry| entry.statement.clone())
    }

    pub(crate) fn get(&self, id: &str) -> Option<Statement> {
        self.entries.lock().get(id).map(|entry| entry.statement.clone())
    }

    /// Those that are wanted, in no order.
    pub(crate) fn list(&self, wanted: impl Fn(&Statement) -> bool) -> Vec<Statement> {
        let entries = self.entries.lock();
        let statements = entries.values().map(|entry| &entry.statement);
        statements.filter(|statement| wanted(statement)).cloned().collect()
    }

    /// Cancels a statement; gives how it stands then: one that was about to commit may have done so.
    pub(crate) async fn cancel(&self, id: &str) -> Option<Status> {
        let entry = self.entries.lock().get(id).cloned()?;
        entry.cancel.cancel();
        // Whether it ended in time or not, what is known then is the answer.
        let _ = tokio::time::timeout(CANCEL_LIMIT, entry.ended.cancelled()).await;
        self.get(id).map(|statement| statement.status)
    }

    /// Carries a statement out. Whatever happens, it has ended afterwards.
    async fn run(self: Arc<Self>, entry: Entry, sqls: Vec<String>) {
        let Entry { mut statement, cancel, ended } = entry;
        let id = statement.id.clone();
        let runner = self.clone();
        let (begun, token) = (statement.clone(), cancel.clone());
        // A task of its own, so that a panic is a failed statement and not one that runs for ever.
        let work = tokio::spawn(async move { runner.work(begun, sqls, &token).await });
        let mut failed_loads = Vec::new();
        match work.await {
            Ok(work) => {
                statement = work.statement;
                failed_loads = work.failed_loads;
            }
            Err(panic) => {
                error!(statement = id, error = %panic, "a statement ended in a panic");
                statement.fail("ERROR: internal error of the Redshift stand-in");
            }
        }
        for report in &failed_loads {
            if let Err(failure) = self.engine.store_failed_load(report).await {
                error!(error = %with_cause(&failure), "load errors could not be stored");
            }
        }
        if let Some(stored) = self.stored(statement).await {
            self.put(stored);
        }
        ended.cancel();
    }

    /// Stores how it ended, until that is known; `None` where the stand-in stops before.
    async fn stored(&self, mut statement: Statement) -> Option<Statement> {
        if statement.status == Status::Finished {
            // It was stored with its commit.
            return Some(statement);
        }
        statement.updated_ms = now_ms();
        loop {
            match self.engine.end(&statement).await {
                Ok(stored) => return Some(stored),
                Err(failure) => {
                    error!(error = %with_cause(&failure), "how a statement ended could not be stored")
                }
            }
            if self.stopping.is_cancelled() {
                return None;
            }
            tokio::time::sleep(STORE_RETRY).await;
        }
    }

    async fn work(&self, mut statement: Statement, sqls: Vec<String>, cancel: &CancellationToken) -> Work {
        let mut failed_loads = Vec::new();
        let turn = tokio::select! {
            () = cancel.cancelled() => None,
            turn = self.running.acquire() => turn.ok(),
        };
        if turn.is_none() {
            statement.abort(self.reason());
            return Work { statement, failed_loads };
        }
        statement.status = Status::Started;
        statement.updated_ms = now_ms();
        self.put(statement.clone());
        match self.carry_out(&mut statement, &sqls, cancel, &mut failed_loads).await {
            Ok(()) => {}
            Err(Stop::Cancelled) => statement.abort(self.reason()),
            Err(Stop::Failed(SqlError(words))) => statement.fail(&words),
        }
        Work { statement, failed_loads }
    }

    fn reason(&self) -> &'static str {
        if self.stopping.is_cancelled() { STOPPED } else { CANCELLED }
    }

    fn put(&self, statement: Statement) {
        if let Some(entry) = self.entries.lock().get_mut(&statement.id) {
            entry.statement = statement;
        }
    }

    /// All SQL texts in one transaction, which also stores that it is done.
    async fn carry_out(
        &self,
        statement: &mut Statement,
        sqls: &[String],
        cancel: &CancellationToken,
        failed_loads: &mut Vec<LoadReport>,
    ) -> Result<(), Stop> {
        if statement.target.database != self.database {
            let database = &statement.target.database;
            return Err(SqlError(format!("FATAL: database \"{database}\" does not exist")).into());
        }
        let mut transaction = tokio::select! {
            () = cancel.cancelled() => return Err(Stop::Cancelled),
            begun = self.engine.begin() => begun?,
        };
        let mut results = Vec::with_capacity(sqls.len());
        let outcome = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(Stop::Cancelled),
            outcome = self.all(statement, sqls, transaction.as_mut(), &mut results, failed_loads) => outcome.map_err(Stop::Failed),
        };
        if outcome.is_err() {
            transaction.cancel().await;
            return outcome;
        }
        statement.status = Status::Finished;
        statement.updated_ms = now_ms();
        // Not to be cancelled from here: the commit decides.
        transaction.commit(statement, &results).await.map_err(|error| {
            statement.sqls.iter_mut().for_each(|sql| sql.status = Status::Aborted);
            Stop::Failed(error)
        })
    }

    async fn all(
        &self,
        statement: &mut Statement,
        sqls: &[String],
        transaction: &mut dyn Transaction,
        results: &mut Vec<Option<ResultSet>>,
        failed_loads: &mut Vec<LoadReport>,
    ) -> Result<(), SqlError> {
        let query_id = statement.query_id;
        for (sql, text) in statement.sqls.iter_mut().zip(sqls) {
            let begun = Instant::now();
            sql.status = Status::Started;
            let outcome = self.one(text, query_id, transaction, failed_loads).await;
            sql.duration_ns = begun.elapsed().as_nanos() as u64;
            match outcome {
                Ok(done) => {
                    sql.status = Status::Finished;
                    sql.rows = Some(done.rows);
                    sql.result_bytes = done.result.as_ref().map(|result| result.bytes as u64);
                    results.push(done.result);
                }
                Err(error) => {
                    sql.status = Status::Failed;
                    sql.error = Some(error.0.clone());
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    async fn one(
        &self,
        text: &str,
        query_id: i64,
        transaction: &mut dyn Transaction,
        failed_loads: &mut Vec<LoadReport>,
    ) -> Result<Done, SqlError> {
        let text = sql::single(text)?;
        if sql::first_word(text) != "COPY" {
            return transaction.run(text).await;
        }
        let mut report = LoadReport { query_id, ..LoadReport::default() };
        let done = copy::run(text, &self.s3, transaction, &mut report).await;
        if done.is_err() {
            failed_loads.push(report);
        }
        done
    }

    /// Forgets what ended more than a day ago, and the oldest of too many.
    async fn forget_old(&self) {
        let forgotten = {
            let mut entries = self.entries.lock();
            let forgotten = to_forget(entries.values().map(|entry| &entry.statement), now_ms());
            for id in &forgotten {
                entries.remove(id);
            }
            forgotten
        };
        if forgotten.is_empty() {
            return;
        }
        if let Err(failure) = self.engine.forget(&forgotten).await {
            error!(error = %with_cause(&failure), "old statements could not be forgotten; the next start tries again");
        }
    }
}

/// Why a statement's transaction is not committed.
enum Stop {
    Cancelled,
    Failed(SqlError),
}

impl From<SqlError> for Stop {
    fn from(error: SqlError) -> Self {
        Self::Failed(error)
    }
}

fn to_forget<'a>(statements: impl Iterator<Item = &'a Statement>, now_ms: u64) -> Vec<String> {
    let before = now_ms.saturating_sub(KEPT.as_millis() as u64);
    let mut ended: Vec<&Statement> = statements.filter(|statement| statement.status.has_ended()).collect();
    ended.sort_by_key(|statement| std::cmp::Reverse(statement.updated_ms));
    let mut bytes = 0;
    let mut forgotten = Vec::new();
    for (at, statement) in ended.into_iter().enumerate() {
        bytes += statement.text_len();
        if at >= KEPT_MAX || bytes > KEPT_TEXT_BYTES_MAX || statement.updated_ms < before {
            forgotten.push(statement.id.clone());
        }
    }
    forgotten
}

fn fingerprint(request: &Request) -> String {
    let parts = serde_json::json!([request.sqls, request.is_batch, request.name, request.target]);
    hex::encode(Sha256::digest(parts.to_string()))
}

fn new_statement(request: Request, fingerprint: String) -> Statement {
    let now = now_ms();
    let id = Uuid::new_v4();
    Statement {
        id: id.to_string(),
        name: request.name,
        token: request.token,
        request: fingerprint,
        target: request.target,
        is_batch: request.is_batch,
        sqls: request.sqls.iter().map(|text| Sql::new(sql::redacted(text))).collect(),
        status: Status::Submitted,
        error: None,
        created_ms: now,
        updated_ms: now,
        query_id: (id.as_u128() % 1_000_000_000_000) as i64,
    }
}

fn with_cause(error: &Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(id: usize, updated_ms: u64, text: &str) -> Statement {
        let request = Request {
            sqls: vec![text.to_owned()],
            is_batch: false,
            name: None,
            token: None,
            target: Target::default(),
        };
        let statement = new_statement(request, String::new());
        Statement { id: id.to_string(), status: Status::Finished, updated_ms, ..statement }
    }

    #[test]
    fn statements_are_kept_for_a_day_and_not_too_many_of_them() {
        let now = 10 * KEPT.as_millis() as u64;
        let day = KEPT.as_millis() as u64;
        let old = [ended(1, now - day - 1, ""), ended(2, now - day, "")];
        assert_eq!(to_forget(old.iter(), now), ["1"]);
        let many: Vec<Statement> = (0..KEPT_MAX + 2).map(|at| ended(at, now - at as u64, "")).collect();
        assert_eq!(to_forget(many.iter(), now), [KEPT_MAX.to_string(), (KEPT_MAX + 1).to_string()]);
        let half = "x".repeat(KEPT_TEXT_BYTES_MAX / 2);
        let large: Vec<Statement> = (0..3).map(|at| ended(at, now - at as u64, &half)).collect();
        assert_eq!(to_forget(large.iter(), now), ["2"]);
    }

    #[test]
    fn what_has_not_ended_is_never_forgotten() {
        let running = Statement { status: Status::Started, ..ended(1, 0, "") };
        assert!(to_forget([running].iter(), u64::MAX).is_empty());
    }
}
