//! The Redshift Data API as a [`WarehouseClient`].
//!
//! Source: Amazon Redshift Data API Reference. Statements run asynchronously; what they did is asked for by id or by name.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use async_trait::async_trait;
use aws_config::{Region, SdkConfig};
use aws_sdk_redshiftdata::{
    Client,
    operation::describe_statement::DescribeStatementOutput,
    types::{Field, StatementStatusString, StatusString, SubStatementData},
};
use hydrant_types::{CopyTarget, LoadId, StatementId, Timestamp, Warehouse};
use parking_lot::Mutex;

use crate::{
    Error, Kind, StatementStatus, StatementSummary, Submission, WarehouseClient,
    call_error::{CallError, Effect, from_sdk, timed_out},
    classify, ledger,
    redaction::redacted,
};

/// For one call; the statements themselves run for as long as they run.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// For the short statements that are waited for: making a ledger, asking it.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(120);
/// Between two looks at a short statement: doubled each time, since DescribeStatement is throttled.
const POLL_MIN: Duration = Duration::from_millis(50);
const POLL_MAX: Duration = Duration::from_secs(2);
/// The name of those short statements.
const LEDGER_STATEMENT: &str = "hydrant:ledger";
/// Two that make the same ledger at the same time: one of them is told so, and finds it when it looks again.
const MADE_MEANWHILE: [&str; 4] =
    ["already exists", "duplicate key", "isolation violation", "could not serialize"];
/// Statements of one name: one an attempt, a few when answers were lost.
const FOUND_MAX: usize = 1000;
/// Which of the four statements of a submission is the ledger's check.
const LEDGER_CHECK: usize = 1;

/// Where the Data API is, when it is not AWS's.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Instead of AWS's endpoint of each region.
    pub endpoint_url: Option<String>,
    /// Instead of the region in each stream's JDBC URL.
    pub region: Option<String>,
    /// Instead of each stream's role in COPY.
    pub iam_role: Option<String>,
}

/// The Redshift Data API.
#[derive(Debug)]
pub struct DataApi {
    sdk: SdkConfig,
    settings: Settings,
    /// One client a region: a handful.
    clients: Mutex<HashMap<String, Client>>,
    /// The tables whose ledger was seen; no more than there are tables. A load need not ask for it each time.
    ledgers: Mutex<HashSet<String>>,
}

impl DataApi {
    /// A client with `sdk`'s credentials, HTTP client and time-outs.
    pub fn new(sdk: SdkConfig, settings: Settings) -> Self {
        Self { sdk, settings, clients: Mutex::default(), ledgers: Mutex::default() }
    }

    /// The role that COPY is to use instead of each stream's own.
    pub fn iam_role(&self) -> Option<&str> {
        self.settings.iam_role.as_deref()
    }

    fn client(&self, target: &CopyTarget) -> Client {
        let region = self.settings.region.as_ref().unwrap_or(&target.region);
        let mut clients = self.clients.lock();
        let make = || {
            let mut builder =
                aws_sdk_redshiftdata::config::Builder::from(&self.sdk).region(Region::new(region.clone()));
            if let Some(endpoint_url) = &self.settings.endpoint_url {
                builder = builder.endpoint_url(endpoint_url);
            }
            Client::from_conf(builder.build())
        };
        clients.entry(region.clone()).or_insert_with(make).clone()
    }

    /// Runs one short statement, which may be run again, to its end.
    async fn run(
        &self,
        step: &'static str,
        target: &CopyTarget,
        sql: String,
    ) -> Result<DescribeStatementOutput, Error> {
        let sign_in = SignIn::of(target);
        let submitted = within(
            step,
            Effect::Harmless,
            self.client(target)
                .execute_statement()
                .set_cluster_identifier(sign_in.cluster)
                .set_workgroup_name(sign_in.workgroup)
                .set_db_user(sign_in.db_user)
                .set_secret_arn(sign_in.secret_arn)
                .database(&target.database)
                .statement_name(LEDGER_STATEMENT)
                .sql(sql)
                .send(),
        )
        .await?;
        let id = StatementId(submitted.id.unwrap_or_default());
        let ended = tokio::time::timeout(STATEMENT_TIMEOUT, self.until_ended(step, target, &id)).await;
        ended.unwrap_or_else(|_| {
            let message = format!("statement {id} did not end within {STATEMENT_TIMEOUT:?}");
            let kind = Kind::Retry { after: None };
            Err(Error { step, code: "Redshift.ConnectionFailed".to_owned(), message, kind })
        })
    }

    async fn until_ended(
        &self,
        step: &'static str,
        target: &CopyTarget,
        id: &StatementId,
    ) -> Result<DescribeStatementOutput, Error> {
        let mut poll = POLL_MIN;
        loop {
            let described = self.describe_raw(step, target, id).await?;
            let message = || redacted(described.error.as_deref().unwrap_or_default());
            match described.status {
                Some(StatusString::Finished) => return Ok(described),
                Some(StatusString::Failed) => return Err(short_failure(step, message())),
                Some(StatusString::Aborted) => {
                    let kind = Kind::Retry { after: None };
                    return Err(Error { step, code: "Aborted".to_owned(), message: message(), kind });
                }
                _ => tokio::time::sleep(poll).await,
            }
            poll = (poll * 2).min(POLL_MAX);
        }
    }

    async fn describe_raw(
        &self,
        step: &'static str,
        target: &CopyTarget,
        id: &StatementId,
    ) -> Result<DescribeStatementOutput, Error> {
        within(step, Effect::Harmless, self.client(target).describe_statement().id(&id.0).send()).await
    }
}

/// Why a short statement failed.
fn short_failure(step: &'static str, message: String) -> Error {
    let code = match classify::code_of(&message) {
        classify::ALREADY_LOADED => "InternalError",
        code => code,
    };
    let words = message.to_lowercase();
    let kind = match code {
        "Redshift.ConnectionFailed" => Kind::Unreachable,
        "Redshift.ReadOnlyCluster" => Kind::Retry { after: None },
        _ if MADE_MEANWHILE.iter().any(|made| words.contains(made)) => Kind::Retry { after: None },
        _ => Kind::Rejected,
    };
    Error { step, code: code.to_owned(), message, kind }
}

#[async_trait]
impl WarehouseClient for DataApi {
    async fn ensure_ledger(&self, target: &CopyTarget) -> Result<(), Error> {
        let step = "create the ledger";
        let table = target.table_key();
        if self.ledgers.lock().contains(&table) {
            return Ok(());
        }
        match self.run(step, target, ledger::create(&target.table)).await {
            Ok(_) => {}
            // Who may not create tables may use one that was made for it; CREATE … IF NOT EXISTS asks for the right first.
            Err(error) if error.code == "Redshift.InsufficientPrivilege" => {
                self.run(step, target, ledger::probe(&target.table)).await.map_err(|_| error)?;
            }
            Err(error) => return Err(error),
        }
        self.ledgers.lock().insert(table);
        Ok(())
    }

    async fn submit(&self, target: &CopyTarget, submission: &Submission) -> Result<StatementId, Error> {
        let sign_in = SignIn::of(target);
        let answer = within(
            "submit COPY",
            Effect::Statement,
            self.client(target)
                .batch_execute_statement()
                .set_cluster_identifier(sign_in.cluster)
                .set_workgroup_name(sign_in.workgroup)
                .set_db_user(sign_in.db_user)
                .set_secret_arn(sign_in.secret_arn)
                .database(&target.database)
                .statement_name(&submission.statement_name)
                .client_token(&submission.client_token)
                .set_sqls(Some(submission.sqls.clone()))
                .send(),
        )
        .await?;
        answer.id.filter(|id| !id.is_empty()).map(StatementId).ok_or_else(|| Error {
            step: "submit COPY",
            code: "InternalError".to_owned(),
            message: "the answer holds no statement id".to_owned(),
            kind: Kind::OutcomeUnknown,
        })
    }

    async fn describe(&self, target: &CopyTarget, id: &StatementId) -> Result<StatementStatus, Error> {
        match self.describe_raw("describe the statement", target, id).await {
            Ok(described) => {
                let status = status_of(&described);
                if matches!(status, StatementStatus::Failed { .. }) {
                    // It may have failed because somebody dropped the ledger: the next attempt looks again.
                    self.ledgers.lock().remove(&target.table_key());
                }
                Ok(status)
            }
            Err(error) if error.code == "ResourceNotFoundException" => Ok(StatementStatus::Gone),
            Err(error) => Err(error),
        }
    }

    async fn find(&self, target: &CopyTarget, statement_name: &str) -> Result<Vec<StatementSummary>, Error> {
        let mut found = Vec::new();
        let mut next_token = None;
        loop {
            let page = within(
                "list statements",
                Effect::Harmless,
                self.client(target)
                    .list_statements()
                    .statement_name(statement_name)
                    .status(StatusString::All)
                    .set_next_token(next_token)
                    .send(),
            )
            .await?;
            // The service matches prefixes.
            let same_name = page.statements().iter().filter(|s| s.statement_name() == Some(statement_name));
            found.extend(same_name.map(|statement| {
                StatementSummary {
                    id: StatementId(statement.id().to_owned()),
                    name: statement_name.to_owned(),
                    created_at: statement
                        .created_at()
                        .and_then(|at| at.to_millis().ok())
                        .map_or(Timestamp(0), |millis| Timestamp(millis.max(0) as u64)),
                }
            }));
            next_token = page.next_token.filter(|token| !token.is_empty());
            if next_token.is_none() || found.len() >= FOUND_MAX {
                break;
            }
        }
        found.sort_by_key(|statement| std::cmp::Reverse(statement.created_at));
        Ok(found)
    }

    async fn cancel(&self, target: &CopyTarget, id: &StatementId) -> Result<(), Error> {
        let step = "cancel the statement";
        match within(step, Effect::Harmless, self.client(target).cancel_statement().id(&id.0).send()).await {
            Ok(_) => Ok(()),
            // It has ended, or is no longer known: nothing runs, which is what was wanted.
            Err(error)
                if matches!(error.code.as_str(), "ValidationException" | "ResourceNotFoundException") =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn ledger_holds(&self, target: &CopyTarget, load: LoadId) -> Result<bool, Error> {
        let step = "ask the ledger";
        let described = self.run(step, target, ledger::count(&target.table, load)).await?;
        let id = described.id;
        let result =
            within(step, Effect::Harmless, self.client(target).get_statement_result().id(id).send()).await?;
        match result.records().first().and_then(|row| row.first()) {
            Some(Field::LongValue(rows)) => Ok(*rows > 0),
            other => Err(Error {
                step,
                code: "InternalError".to_owned(),
                message: format!("count(*) gave {other:?}, expected a longValue"),
                kind: Kind::Retry { after: None },
            }),
        }
    }
}

/// Who runs the statement: a secret, a database user of a cluster, or the caller's own IAM identity.
struct SignIn {
    cluster: Option<String>,
    workgroup: Option<String>,
    db_user: Option<String>,
    secret_arn: Option<String>,
}

impl SignIn {
    fn of(target: &CopyTarget) -> Self {
        let secret_arn = target.secret_arn.clone();
        match &target.warehouse {
            Warehouse::Workgroup(name) => {
                Self { cluster: None, workgroup: Some(name.clone()), db_user: None, secret_arn }
            }
            Warehouse::Cluster(name) => Self {
                cluster: Some(name.clone()),
                workgroup: None,
                // The Data API refuses both together; the secret names a user itself.
                db_user: target.username.clone().filter(|_| secret_arn.is_none()),
                secret_arn,
            },
        }
    }
}

fn status_of(described: &DescribeStatementOutput) -> StatementStatus {
    let message = redacted(described.error.as_deref().unwrap_or_default());
    match &described.status {
        Some(StatusString::Finished) => {
            StatementStatus::Finished { rows: rows_of(described.sub_statements()) }
        }
        Some(StatusString::Failed) => failed(described.sub_statements(), message),
        Some(StatusString::Aborted) => StatementStatus::Aborted { message },
        _ => StatementStatus::Running,
    }
}

/// COPY is the only one that reports rows worth showing.
fn rows_of(sub_statements: &[SubStatementData]) -> Option<u64> {
    let copy =
        sub_statements.iter().find(|sub| sub.query_string().is_some_and(|text| text.starts_with("COPY")))?;
    u64::try_from(copy.result_rows()).ok()
}

fn failed(sub_statements: &[SubStatementData], message: String) -> StatementStatus {
    let failing = sub_statements.iter().position(|sub| sub.status() == Some(&StatementStatusString::Failed));
    let message = match failing.and_then(|at| sub_statements[at].error()) {
        Some(words) if message.is_empty() => redacted(words),
        _ => message,
    };
    let code = classify::code_of(&message);
    // Anywhere else a division by zero would be somebody's default expression, and nothing was loaded.
    let divides_by_zero = code == classify::ALREADY_LOADED;
    let already_loaded = divides_by_zero && failing == Some(LEDGER_CHECK);
    let code = if divides_by_zero { "InternalError" } else { code };
    StatementStatus::Failed { code: code.to_owned(), message, already_loaded }
}

/// Bounds a call, and says what its failure asks for.
async fn within<T, E: CallError>(
    step: &'static str,
    effect: Effect,
    call: impl Future<Output = Result<T, aws_sdk_redshiftdata::error::SdkError<E>>>,
) -> Result<T, Error> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(outcome) => outcome.map_err(|error| from_sdk(step, effect, &error)),
        Err(_) => Err(timed_out(step, effect, CALL_TIMEOUT)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sub_statement(status: StatementStatusString) -> SubStatementData {
        SubStatementData::builder().id("x").status(status).build().unwrap()
    }

    #[test]
    fn only_the_ledgers_check_says_that_a_load_was_committed_before() {
        use StatementStatusString::{Aborted, Failed, Finished};
        let words = || "ERROR: Divide by zero".to_owned();
        let check = [Finished, Failed, Aborted, Aborted].map(sub_statement);
        assert!(matches!(failed(&check, words()), StatementStatus::Failed { already_loaded: true, .. }));
        let copy = [Finished, Finished, Failed, Aborted].map(sub_statement);
        assert!(matches!(failed(&copy, words()), StatementStatus::Failed { already_loaded: false, .. }));
        assert!(matches!(failed(&[], words()), StatementStatus::Failed { already_loaded: false, .. }));
        let other = failed(&check, "ERROR: 1023 Serializable isolation violation".to_owned());
        assert!(matches!(other, StatementStatus::Failed { already_loaded: false, .. }));
    }

    #[test]
    fn the_words_of_a_part_stand_in_for_missing_ones_and_show_no_credentials() {
        let failing = SubStatementData::builder()
            .id("x")
            .status(StatementStatusString::Failed)
            .error("ERROR: syntax error at CREDENTIALS 'aws_secret_access_key=hidden'")
            .build()
            .unwrap();
        let StatementStatus::Failed { code, message, .. } = failed(&[failing], String::new()) else {
            panic!("it failed")
        };
        assert_eq!(
            (code.as_str(), message.as_str()),
            ("Redshift.SyntaxError", "ERROR: syntax error at CREDENTIALS '***'")
        );
    }

    #[test]
    fn a_ledger_that_another_makes_meanwhile_is_looked_for_again() {
        for (words, kind) in [
            ("ERROR: Relation \"hydrant_ledger_events\" already exists", Kind::Retry { after: None }),
            (
                "ERROR: duplicate key value violates unique constraint \"pg_type_typname_nsp_index\"",
                Kind::Retry { after: None },
            ),
            ("ERROR: 1023 DETAIL: Serializable isolation violation on table", Kind::Retry { after: None }),
            ("ERROR: could not connect to the database", Kind::Unreachable),
            ("ERROR: permission denied for schema public", Kind::Rejected),
        ] {
            assert_eq!(short_failure("create the ledger", words.to_owned()).kind, kind, "{words}");
        }
    }

    #[test]
    fn a_target_signs_in_as_the_data_api_asks() {
        let mut target = CopyTarget {
            warehouse: Warehouse::Cluster("c".to_owned()),
            region: "us-east-1".to_owned(),
            database: "dev".to_owned(),
            username: Some("loader".to_owned()),
            secret_arn: None,
            table: "events".to_owned(),
            columns: None,
            options: None,
            role_arn: "arn".to_owned(),
            retry_secs: 0,
        };
        let sign_in = SignIn::of(&target);
        assert_eq!((sign_in.cluster.as_deref(), sign_in.db_user.as_deref()), (Some("c"), Some("loader")));
        target.secret_arn = Some("arn:secret".to_owned());
        let sign_in = SignIn::of(&target);
        assert_eq!((sign_in.db_user, sign_in.secret_arn.as_deref()), (None, Some("arn:secret")));
        target.warehouse = Warehouse::Workgroup("w".to_owned());
        target.secret_arn = None;
        let sign_in = SignIn::of(&target);
        assert_eq!((sign_in.cluster, sign_in.workgroup.as_deref(), sign_in.db_user), (None, Some("w"), None));
    }
}
