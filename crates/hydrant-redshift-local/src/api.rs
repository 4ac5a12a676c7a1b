//! The Data API over HTTP: JSON 1.1, `RedshiftData.*`.
//!
//! Source: Amazon Redshift Data API Reference, API version 2019-12-20. Any credentials are accepted.

use std::{cmp::Reverse, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State, rejection::BytesRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    error::SqlError,
    runner::{Refusal, Request, Runner},
    sql,
    statement::{Statement, Status, Target},
};

/// The Data API's limit of a statement's text is 100 KB, and of statements 40; escaped as JSON it may be a few times that.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
const SQL_BYTES_MAX: usize = 100 * 1024;
const SQLS_MAX: usize = 40;
const NAME_LEN_MAX: usize = 500;
const TOKEN_LEN_MAX: usize = 64;
const LIST_MAX: usize = 100;
const TABLES_MAX: usize = 1000;
/// Rows in one page of a result.
const RESULT_PAGE: usize = 1000;
/// What would change what a statement does, and is not here: refused rather than ignored.
const UNSUPPORTED: [&str; 3] = ["Parameters", "SessionId", "SessionKeepAliveSeconds"];

pub(crate) async fn serve(
    listener: TcpListener,
    runner: Arc<Runner>,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/", post(call))
        .route("/health/ready", get(|| async { "ready\n" }))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(runner);
    axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned()).await
}

struct ApiError {
    status: u16,
    code: &'static str,
    message: String,
    resource: Option<String>,
}

fn error(status: u16, code: &'static str, message: impl Into<String>) -> ApiError {
    ApiError { status, code, message: message.into(), resource: None }
}

fn validation(message: impl Into<String>) -> ApiError {
    error(400, "ValidationException", message)
}

fn not_found(id: &str, message: String) -> ApiError {
    ApiError { status: 400, code: "ResourceNotFoundException", message, resource: Some(id.to_owned()) }
}

type Answer = Result<Value, ApiError>;

async fn call(
    State(runner): State<Arc<Runner>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let answer = match body.as_ref().map(|body| serde_json::from_slice::<Value>(body)) {
        Ok(Ok(input @ Value::Object(_))) => operation(&runner, target, &input).await,
        Ok(_) => Err(error(400, "SerializationException", "The request is not a JSON object.")),
        Err(rejection) => {
            Err(error(rejection.status().as_u16(), "ValidationException", rejection.body_text()))
        }
    };
    let (status, body) = match answer {
        Ok(value) => (200, value),
        Err(error) => {
            let mut body = json!({"__type": error.code, "Message": error.message, "message": error.message});
            set(&mut body, "ResourceId", error.resource.map(Value::from));
            (error.status, body)
        }
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, body.to_string()).into_response();
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1"));
    if let Ok(id) = HeaderValue::from_str(&Uuid::new_v4().to_string()) {
        response.headers_mut().insert("x-amzn-requestid", id);
    }
    response
}

async fn operation(runner: &Arc<Runner>, target: &str, input: &Value) -> Answer {
    match target.strip_prefix("RedshiftData.") {
        Some("ExecuteStatement") => execute(runner, input, false).await,
        Some("BatchExecuteStatement") => execute(runner, input, true).await,
        Some("DescribeStatement") => Ok(describe(&known(runner, input)?.0)),
        Some("ListStatements") => list(runner, input),
        Some("CancelStatement") => cancel(runner, input).await,
        Some("GetStatementResult") => result(runner, input).await,
        Some("ListTables") => list_tables(runner, input).await,
        Some("DescribeTable") => describe_table(runner, input).await,
        _ => Err(error(
            400,
            "UnknownOperationException",
            format!("{target} is not an operation of this Redshift stand-in."),
        )),
    }
}

/// A member that is text, where it is given.
fn text<'a>(input: &'a Value, name: &str) -> Result<Option<&'a str>, ApiError> {
    match &input[name] {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        _ => Err(error(400, "SerializationException", format!("{name} must be a string."))),
    }
}

fn required<'a>(input: &'a Value, name: &str) -> Result<&'a str, ApiError> {
    text(input, name)?
        .filter(|text| !text.is_empty())
        .ok_or_else(|| validation(format!("{name} must not be null or empty.")))
}

/// MaxResults, within its range.
fn page_len(input: &Value, most: usize) -> Result<usize, ApiError> {
    match &input["MaxResults"] {
        Value::Null => Ok(most),
        // As with AWS, 0 says nothing.
        number => match number.as_u64() {
            Some(0) => Ok(most),
            Some(number) if number <= most as u64 => Ok(number as usize),
            _ => Err(validation(format!("MaxResults must be between 0 and {most}."))),
        },
    }
}

/// NextToken, where it says how many were given before.
fn page_start(input: &Value) -> Result<usize, ApiError> {
    match text(input, "NextToken")? {
        None | Some("") => Ok(0),
        Some(token) => token.parse().map_err(|_| validation("NextToken is not valid.")),
    }
}

async fn execute(runner: &Arc<Runner>, input: &Value, is_batch: bool) -> Answer {
    let sqls = if is_batch { sqls(input)? } else { vec![required(input, "Sql")?.to_owned()] };
    if let Some(long) = sqls.iter().find(|sql| sql.len() > SQL_BYTES_MAX) {
        return Err(validation(format!(
            "The statement is {} bytes long, the limit is {SQL_BYTES_MAX}.",
            long.len()
        )));
    }
    if let Some(member) = UNSUPPORTED.iter().find(|member| !input[**member].is_null()) {
        return Err(validation(format!("{member} is not supported by this Redshift stand-in.")));
    }
    if text(input, "ResultFormat")?.is_some_and(|format| format != "JSON") {
        return Err(validation("ResultFormat CSV is not supported by this Redshift stand-in."));
    }
    let target = target(input)?;
    let token = limited(input, "ClientToken", TOKEN_LEN_MAX)?;
    if token.as_ref().is_some_and(String::is_empty) {
        return Err(validation("ClientToken must not be empty."));
    }
    let name = limited(input, "StatementName", NAME_LEN_MAX)?;
    let request = Request { sqls, is_batch, name, token, target };
    let statement = runner.submit(request).await.map_err(|refusal| match refusal {
        Refusal::TokenReused => validation("The ClientToken was used before with other parameters."),
        Refusal::TooMany => error(
            400,
            "ActiveStatementsExceededException",
            "Active statements exceeded the allowed quota (500).",
        ),
        Refusal::Failed => error(500, "InternalServerException", "The statement could not be stored."),
    })?;
    let mut answer = json!({"Id": statement.id, "CreatedAt": seconds(statement.created_ms)});
    add_target(&mut answer, &statement);
    Ok(answer)
}

fn limited(input: &Value, name: &str, len_max: usize) -> Result<Option<String>, ApiError> {
    match text(input, name)? {
        Some(text) if text.len() > len_max => {
            Err(validation(format!("{name} must have length less than or equal to {len_max}.")))
        }
        text => Ok(text.map(str::to_owned)),
    }
}

fn sqls(input: &Value) -> Result<Vec<String>, ApiError> {
    let sqls = input["Sqls"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !(1..=SQLS_MAX).contains(&sqls.len()) {
        return Err(validation(format!("Sqls must hold 1 to {SQLS_MAX} statements.")));
    }
    let texts = sqls.iter().map(|sql| sql.as_str().filter(|sql| !sql.is_empty()).map(str::to_owned));
    texts.collect::<Option<_>>().ok_or_else(|| validation("Sqls must hold texts that are not empty."))
}

fn target(input: &Value) -> Result<Target, ApiError> {
    let member = |name: &str| text(input, name).map(|text| text.map(str::to_owned));
    let target = Target {
        cluster: member("ClusterIdentifier")?,
        workgroup: member("WorkgroupName")?,
        database: required(input, "Database")?.to_owned(),
        db_user: member("DbUser")?,
        secret_arn: member("SecretArn")?,
    };
    match (&target.cluster, &target.workgroup) {
        (Some(_), Some(_)) => {
            Err(validation("ClusterIdentifier and WorkgroupName must not be given together."))
        }
        (None, None) => Err(validation("Either ClusterIdentifier or WorkgroupName must be given.")),
        (None, Some(_)) if target.db_user.is_some() => {
            Err(validation("DbUser must not be given with WorkgroupName."))
        }
        (Some(_), None) if target.db_user.is_some() && target.secret_arn.is_some() => {
            Err(validation("DbUser and SecretArn must not be given together."))
        }
        _ => Ok(target),
    }
}

fn add_target(answer: &mut Value, statement: &Statement) {
    let target = &statement.target;
    set(answer, "Database", Some(Value::from(target.database.as_str())));
    for (name, value) in [
        ("ClusterIdentifier", &target.cluster),
        ("WorkgroupName", &target.workgroup),
        ("DbUser", &target.db_user),
        ("SecretArn", &target.secret_arn),
    ] {
        set(answer, name, value.as_deref().map(Value::from));
    }
}

fn set(object: &mut Value, name: &str, value: Option<Value>) {
    let members: Option<&mut Map<String, Value>> = object.as_object_mut();
    if let (Some(members), Some(value)) = (members, value) {
        members.insert(name.to_owned(), value);
    }
}

fn seconds(millis: u64) -> f64 {
    millis as f64 / 1000.0
}

/// The statement that Id names, and which of its texts where it is the id of one: `<id>:2`.
fn known(runner: &Runner, input: &Value) -> Result<(Statement, Option<usize>), ApiError> {
    let id = required(input, "Id")?;
    let (whole, part) = match id.split_once(':') {
        Some((whole, part)) => (whole, Some(part)),
        None => (id, None),
    };
    let unknown = || not_found(id, format!("Query does not exist. Query ID: {id}"));
    let statement = runner.get(whole).ok_or_else(unknown)?;
    let Some(part) = part else { return Ok((statement, None)) };
    let at = part.parse::<usize>().ok().and_then(|part| part.checked_sub(1));
    match at {
        Some(at) if statement.is_batch && at < statement.sqls.len() => Ok((statement, Some(at))),
        _ => Err(unknown()),
    }
}

fn describe(statement: &Statement) -> Value {
    let rows = statement.sqls.iter().rev().find_map(|sql| sql.rows);
    let result = statement.result_at().and_then(|at| statement.sqls[at].result_bytes);
    let mut answer = json!({
        "Id": statement.id,
        "Status": statement.status.as_str(),
        "CreatedAt": seconds(statement.created_ms),
        "UpdatedAt": seconds(statement.updated_ms),
        "Duration": statement.sqls.iter().map(|sql| sql.duration_ns).sum::<u64>(),
        "HasResultSet": statement.status == Status::Finished && result.is_some(),
        "ResultRows": rows.unwrap_or(-1),
        "ResultSize": result.map_or(-1, |bytes| bytes as i64),
        "RedshiftPid": 0,
        "RedshiftQueryId": statement.query_id,
    });
    if statement.is_batch {
        answer["SubStatements"] = sub_statements(statement);
    } else {
        set(&mut answer, "QueryString", statement.sqls.first().map(|sql| sql.text.as_str().into()));
    }
    set(&mut answer, "Error", statement.error.as_deref().map(Value::from));
    add_target(&mut answer, statement);
    answer
}

fn sub_statements(statement: &Statement) -> Value {
    let part = |(at, sql): (usize, &crate::statement::Sql)| {
        let mut part = json!({
            "Id": format!("{}:{}", statement.id, at + 1),
            "Status": sql.status.as_str(),
            "CreatedAt": seconds(statement.created_ms),
            "UpdatedAt": seconds(statement.updated_ms),
            "Duration": sql.duration_ns,
            "QueryString": sql.text,
            "HasResultSet": sql.result_bytes.is_some(),
            "ResultRows": sql.rows.unwrap_or(-1),
            "ResultSize": sql.result_bytes.map_or(-1, |bytes| bytes as i64),
            "RedshiftQueryId": statement.query_id,
        });
        set(&mut part, "Error", sql.error.as_deref().map(Value::from));
        part
    };
    statement.sqls.iter().enumerate().map(part).collect()
}

fn list(runner: &Runner, input: &Value) -> Answer {
    let prefix = text(input, "StatementName")?.unwrap_or_default();
    let status = text(input, "Status")?.unwrap_or("FINISHED");
    let (cluster, workgroup) = (text(input, "ClusterIdentifier")?, text(input, "WorkgroupName")?);
    let database = text(input, "Database")?;
    let limit = page_len(input, LIST_MAX)?;
    let after = text(input, "NextToken")?.filter(|token| !token.is_empty());
    let mut matching = runner.list(|statement| {
        let target = &statement.target;
        (prefix.is_empty() || statement.name.as_deref().is_some_and(|name| name.starts_with(prefix)))
            && (status == "ALL" || status == statement.status.as_str())
            && cluster.is_none_or(|cluster| target.cluster.as_deref() == Some(cluster))
            && workgroup.is_none_or(|workgroup| target.workgroup.as_deref() == Some(workgroup))
            && database.is_none_or(|database| target.database == database)
    });
    matching.sort_by(|a, b| order(a).cmp(&order(b)));
    // The token names the last one given, so that statements that come or go meanwhile do not shift the pages.
    let from = match after {
        None => 0,
        Some(token) => {
            let last = page_end(token).ok_or_else(|| validation("NextToken is not valid."))?;
            matching.partition_point(|statement| order(statement) <= last)
        }
    };
    let page = &matching[from..matching.len().min(from + limit)];
    let mut answer = json!({"Statements": page.iter().map(summary).collect::<Vec<_>>()});
    if from + limit < matching.len() {
        set(&mut answer, "NextToken", page.last().map(|last| page_token(last).into()));
    }
    Ok(answer)
}

/// Statements are listed by this, newest first.
fn order(statement: &Statement) -> (Reverse<u64>, &str) {
    (Reverse(statement.created_ms), &statement.id)
}

fn page_token(statement: &Statement) -> String {
    format!("{}:{}", statement.created_ms, statement.id)
}

fn page_end(token: &str) -> Option<(Reverse<u64>, &str)> {
    let (created_ms, id) = token.split_once(':')?;
    Some((Reverse(created_ms.parse().ok()?), id))
}

fn summary(statement: &Statement) -> Value {
    let mut summary = json!({
        "Id": statement.id,
        "Status": statement.status.as_str(),
        "CreatedAt": seconds(statement.created_ms),
        "UpdatedAt": seconds(statement.updated_ms),
        "IsBatchStatement": statement.is_batch,
    });
    set(&mut summary, "StatementName", statement.name.as_deref().map(Value::from));
    set(&mut summary, "SecretArn", statement.target.secret_arn.as_deref().map(Value::from));
    match statement.is_batch {
        true => {
            summary["QueryStrings"] =
                statement.sqls.iter().map(|sql| Value::from(sql.text.as_str())).collect()
        }
        false => set(&mut summary, "QueryString", statement.sqls.first().map(|sql| sql.text.as_str().into())),
    }
    summary
}

async fn cancel(runner: &Runner, input: &Value) -> Answer {
    let (statement, _) = known(runner, input)?;
    let id = &statement.id;
    let too_late = |status: Status| {
        let status = status.as_str();
        validation(format!("Could not cancel a query that is already in {status} state with ID: {id}"))
    };
    if statement.status.has_ended() {
        return Err(too_late(statement.status));
    }
    match runner.cancel(id).await {
        Some(status @ (Status::Finished | Status::Failed)) => Err(too_late(status)),
        _ => Ok(json!({"Status": true})),
    }
}

async fn result(runner: &Runner, input: &Value) -> Answer {
    let (statement, part) = known(runner, input)?;
    let id = required(input, "Id")?;
    if statement.status != Status::Finished {
        let status = statement.status.as_str();
        return Err(not_found(id, format!("Query is not in FINISHED state but {status}. Query ID: {id}")));
    }
    let none = || {
        not_found(
            id,
            format!(
                "Query does not have result. Please check query status with DescribeStatement. Query ID: {id}"
            ),
        )
    };
    let at = part.or_else(|| statement.result_at()).ok_or_else(none)?;
    let mut results = runner.engine.results(&statement.id).await.map_err(|_| unavailable())?;
    let result = results.get_mut(at).and_then(Option::take).ok_or_else(none)?;
    let from = page_start(input)?;
    let total = result.rows.len();
    let page: Vec<_> = result.rows.into_iter().skip(from).take(RESULT_PAGE).collect();
    let mut answer = json!({"Records": page, "ColumnMetadata": result.columns, "TotalNumRows": total});
    if from + RESULT_PAGE < total {
        answer["NextToken"] = (from + RESULT_PAGE).to_string().into();
    }
    Ok(answer)
}

async fn list_tables(runner: &Runner, input: &Value) -> Answer {
    let (schemas, names) = (text(input, "SchemaPattern")?, text(input, "TablePattern")?);
    let (limit, from) = (page_len(input, TABLES_MAX)?, page_start(input)?);
    let tables = runner.engine.tables().await.map_err(|_| unavailable())?;
    let fits = |pattern: Option<&str>, name: &str| pattern.is_none_or(|pattern| like(pattern, name));
    let matching: Vec<Value> = tables
        .into_iter()
        .filter(|(schema, name)| fits(schemas, schema) && fits(names, name))
        .map(|(schema, name)| json!({"schema": schema, "name": name, "type": "TABLE"}))
        .collect();
    let total = matching.len();
    let mut answer = json!({"Tables": matching.into_iter().skip(from).take(limit).collect::<Vec<_>>()});
    if from + limit < total {
        answer["NextToken"] = (from + limit).to_string().into();
    }
    Ok(answer)
}

async fn describe_table(runner: &Runner, input: &Value) -> Answer {
    let table = required(input, "Table")?;
    let name: Vec<String> = text(input, "Schema")?.into_iter().chain([table]).map(str::to_owned).collect();
    let columns = runner.engine.columns(&name).await.map_err(|SqlError(words)| validation(words))?;
    if columns.is_empty() {
        let words = format!("ERROR: relation {} does not exist", sql::qualified(&name));
        return Err(validation(words));
    }
    let columns: Vec<Value> = columns
        .iter()
        .map(|column| {
            json!({
                "name": column.name,
                "label": column.name,
                "typeName": column.type_name,
                "length": column.length.unwrap_or(0),
                "nullable": i32::from(column.nullable),
            })
        })
        .collect();
    Ok(json!({"TableName": table, "ColumnList": columns}))
}

fn unavailable() -> ApiError {
    error(500, "DatabaseConnectionException", "The database behind the stand-in does not answer.")
}

/// SQL's LIKE: `%` is any text, `_` any character.
fn like(pattern: &str, name: &str) -> bool {
    let mut regex = String::from("^");
    for c in pattern.chars() {
        match c {
            '%' => regex.push_str(".*"),
            '_' => regex.push('.'),
            other => regex.push_str(&regex::escape(&other.to_string())),
        }
    }
    regex.push('$');
    regex::Regex::new(&regex).is_ok_and(|regex| regex.is_match(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_tables_are_those_of_like() {
        for (pattern, name, fits) in [
            ("events", "events", true),
            ("event", "events", false),
            ("ev%s", "events", true),
            ("%", "", true),
            ("event_", "events", true),
            ("a.b", "axb", false),
        ] {
            assert_eq!(like(pattern, name), fits, "{pattern} {name}");
        }
    }
}
