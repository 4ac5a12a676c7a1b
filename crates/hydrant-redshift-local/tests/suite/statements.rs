//! The Data API: statements, their states, tokens, results and errors.

use std::collections::BTreeSet;

use aws_sdk_redshiftdata::types::{Field, StatementStatusString, StatusString};
use hydrant_testkit::eventually;

use crate::site::{PATIENCE, Site, on_both_engines, refusal, row};

on_both_engines! {
    a_statement_gives_its_rows_with_their_types
    columns_are_told_without_rows
    a_batch_is_one_transaction
    the_same_token_is_the_same_statement
    a_token_is_taken_once_however_many_ask_at_once
    statements_are_found_by_the_beginning_of_their_name
    a_running_statement_is_cancelled_and_leaves_nothing
    a_waiting_statement_is_cancelled_before_it_runs
    large_results_come_in_pages
    a_result_beyond_the_limit_is_an_error
    errors_are_worded_as_redshift_words_them
    a_division_by_zero_is_an_error_wherever_it_stands
    requests_beyond_the_limits_are_refused
    tables_are_listed_and_described
    each_statement_has_a_session_of_its_own
    credentials_are_not_kept
    a_locked_ledger_lets_one_of_many_through
    what_is_not_the_data_api_gets_an_answer
}

/// A statement that goes on until it is cancelled, once it has locked `busy`.
fn endless(site: &Site) -> [String; 2] {
    let work = match site.is_postgres {
        true => "SELECT pg_sleep(600)",
        false => {
            "INSERT INTO busy WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
        }
    };
    ["LOCK TABLE busy".to_owned(), work.to_owned()]
}

async fn started(site: &Site, id: &str) {
    eventually("the statement is started", PATIENCE, async || {
        let described = site.data.describe_statement().id(id).send().await.unwrap();
        (described.status == Some(StatusString::Started)).then_some(())
    })
    .await;
}

async fn a_statement_gives_its_rows_with_their_types(site: Site) {
    site.ok(
        "CREATE TABLE t (id BIGINT, price DOUBLE PRECISION, kind VARCHAR(8), is_new BOOLEAN, at TIMESTAMP)",
    )
    .await;
    let inserted = site.ok("INSERT INTO public.t VALUES (1, 1.5, 'a', true, '2026-01-02 03:04:05'), (2, NULL, NULL, NULL, NULL)").await;
    assert_eq!((inserted.result_rows, inserted.has_result_set), (2, Some(false)));
    let text = "SELECT id, price, kind, is_new, at FROM t ORDER BY id";
    let described = site.ok(text).await;
    assert_eq!((described.result_rows, described.has_result_set), (2, Some(true)));
    assert_eq!(described.query_string.as_deref(), Some(text));
    assert_eq!(described.database.as_deref(), Some("dev"));
    assert_eq!(described.workgroup_name.as_deref(), Some("local"));
    assert!(described.duration > 0 && described.redshift_query_id > 0 && described.result_size > 0);
    assert!(described.created_at.unwrap() <= described.updated_at.unwrap());
    let result = site.data.get_statement_result().id(described.id).send().await.unwrap();
    assert_eq!(result.total_num_rows, 2);
    let names: Vec<&str> = result.column_metadata().iter().map(|column| column.name().unwrap()).collect();
    assert_eq!(names, ["id", "price", "kind", "is_new", "at"]);
    let null = || Field::IsNull(true);
    assert_eq!(
        result.records,
        [
            vec![
                Field::LongValue(1),
                Field::DoubleValue(1.5),
                Field::StringValue("a".to_owned()),
                Field::BooleanValue(true),
                Field::StringValue("2026-01-02 03:04:05".to_owned())
            ],
            vec![Field::LongValue(2), null(), null(), null(), null()],
        ]
    );
    assert_eq!(site.value("SELECT count(*) FROM t").await, "2");
}

async fn columns_are_told_without_rows(site: Site) {
    site.ok("CREATE TABLE t (id BIGINT, kind VARCHAR(8))").await;
    let described = site.ok("SELECT id, kind FROM t").await;
    assert_eq!((described.result_rows, described.has_result_set), (0, Some(true)));
    let result = site.data.get_statement_result().id(described.id).send().await.unwrap();
    let names: Vec<&str> = result.column_metadata().iter().map(|column| column.name().unwrap()).collect();
    assert_eq!((names, result.total_num_rows), (vec!["id", "kind"], 0));
}

async fn a_batch_is_one_transaction(site: Site) {
    site.ok("CREATE TABLE t (id BIGINT)").await;
    let sqls = ["INSERT INTO t VALUES (1)", "SELECT id FROM missing", "INSERT INTO t VALUES (2)"];
    let id = site.batch(sqls).send().await.unwrap().id.unwrap();
    let failed = site.ended(&id).await;
    assert_eq!(failed.status, Some(StatusString::Failed));
    let words = "ERROR: relation \"missing\" does not exist";
    assert_eq!(failed.error.as_deref(), Some(words));
    let subs = failed.sub_statements();
    let states: Vec<_> = subs.iter().map(|sub| sub.status.clone().unwrap()).collect();
    use StatementStatusString::{Aborted, Failed, Finished};
    assert_eq!(states, [Finished, Failed, Aborted]);
    assert_eq!(subs[1].error.as_deref(), Some(words));
    assert_eq!(subs[2].id, format!("{id}:3"));
    assert_eq!(site.value("SELECT count(*) FROM t").await, "0");

    let sqls = ["INSERT INTO t VALUES (1), (2)", "SELECT id FROM t ORDER BY id", "SELECT 'last'"];
    let id = site.batch(sqls).send().await.unwrap().id.unwrap();
    let done = site.ended(&id).await;
    assert_eq!(done.status, Some(StatusString::Finished));
    assert_eq!(done.query_string, None);
    let shown: Vec<_> =
        done.sub_statements().iter().map(|sub| (sub.result_rows, sub.has_result_set.unwrap())).collect();
    assert_eq!(shown, [(2, false), (2, true), (1, true)]);
    let second = site.data.get_statement_result().id(format!("{id}:2")).send().await.unwrap();
    assert_eq!(second.records, [[Field::LongValue(1)], [Field::LongValue(2)]]);
    let whole = site.data.get_statement_result().id(&id).send().await.unwrap();
    assert_eq!(whole.records, [[Field::StringValue("last".to_owned())]]);
    for part in ["1", "4", "0", "x"] {
        let (code, _) = refusal(site.data.get_statement_result().id(format!("{id}:{part}")).send().await);
        assert_eq!(code, "ResourceNotFoundException", "{part}");
    }
}

async fn the_same_token_is_the_same_statement(mut site: Site) {
    site.ok("CREATE TABLE t (id BIGINT)").await;
    let insert = |site: &Site, token: &str| site.execute("INSERT INTO t VALUES (1)").client_token(token);
    let first = insert(&site, "one").send().await.unwrap().id.unwrap();
    let again = insert(&site, "one").send().await.unwrap().id.unwrap();
    assert_eq!(first, again);
    site.ended(&first).await;
    assert_eq!(insert(&site, "one").send().await.unwrap().id.unwrap(), first, "also once it has ended");
    let other = insert(&site, "two").send().await.unwrap().id.unwrap();
    assert_ne!(first, other);
    site.ended(&other).await;
    let different = [
        insert(&site, "one").sql("INSERT INTO t VALUES (2)"),
        insert(&site, "one").statement_name("named"),
        insert(&site, "one").database("other"),
    ];
    for call in different {
        let (code, _) = refusal(call.send().await);
        assert_eq!(code, "ValidationException");
    }
    site.stop().await;
    site.start().await;
    assert_eq!(insert(&site, "one").send().await.unwrap().id.unwrap(), first, "also after a restart");
    assert_eq!(site.value("SELECT count(*) FROM t").await, "2");
}

async fn a_token_is_taken_once_however_many_ask_at_once(site: Site) {
    site.ok("CREATE TABLE t (id BIGINT)").await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let call = site.execute("INSERT INTO t VALUES (1)").client_token("same");
        calls.spawn(async move { call.send().await.unwrap().id.unwrap() });
    }
    let ids: BTreeSet<String> = calls.join_all().await.into_iter().collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    site.ended(ids.first().unwrap()).await;
    assert_eq!(site.value("SELECT count(*) FROM t").await, "1");
}

async fn statements_are_found_by_the_beginning_of_their_name(site: Site) {
    let mut ids = Vec::new();
    for attempt in 0..7 {
        let name = format!("hydrant:orders:{attempt}.");
        let id = site.execute("SELECT 1").statement_name(name).send().await.unwrap().id.unwrap();
        site.ended(&id).await;
        ids.push(id);
        // The list is by milliseconds.
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    let bad = site
        .execute("SELECT x FROM nowhere")
        .statement_name("hydrant:orders:bad")
        .send()
        .await
        .unwrap()
        .id
        .unwrap();
    site.ended(&bad).await;
    let list = || site.data.list_statements().statement_name("hydrant:orders:");
    let finished = list().send().await.unwrap();
    let found: Vec<&str> = finished.statements().iter().map(|statement| statement.id()).collect();
    assert_eq!(
        found,
        ids.iter().rev().map(String::as_str).collect::<Vec<_>>(),
        "finished ones, newest first"
    );
    let all = list().status(StatusString::All).send().await.unwrap();
    assert_eq!((all.statements().len(), all.statements()[0].id()), (8, bad.as_str()));
    assert_eq!(all.statements()[0].statement_name(), Some("hydrant:orders:bad"));
    let failed = list().status(StatusString::Failed).send().await.unwrap();
    assert_eq!(failed.statements().len(), 1);
    let one = site.data.list_statements().statement_name("hydrant:orders:3.").send().await.unwrap();
    assert_eq!(one.statements().len(), 1);
    let elsewhere = list().workgroup_name("other").send().await.unwrap();
    assert!(elsewhere.statements().is_empty());

    let mut paged = Vec::new();
    let mut next_token = None;
    loop {
        let page = list().max_results(3).set_next_token(next_token).send().await.unwrap();
        paged.extend(page.statements().iter().map(|statement| statement.id().to_owned()));
        next_token = page.next_token;
        if next_token.is_none() {
            break;
        }
        // What comes meanwhile does not shift the pages.
        let new =
            site.execute("SELECT 2").statement_name("hydrant:orders:new").send().await.unwrap().id.unwrap();
        site.ended(&new).await;
    }
    assert_eq!(paged, ids.iter().rev().cloned().collect::<Vec<_>>());
    let (code, _) = refusal(list().max_results(101).send().await);
    assert_eq!(code, "ValidationException");
    let (code, _) = refusal(list().next_token("nonsense").send().await);
    assert_eq!(code, "ValidationException");
}

async fn a_running_statement_is_cancelled_and_leaves_nothing(site: Site) {
    site.ok("CREATE TABLE busy (id BIGINT)").await;
    let [lock, work] = endless(&site);
    let sqls = [lock, "INSERT INTO busy VALUES (1)".to_owned(), work];
    let id = site.batch(sqls).send().await.unwrap().id.unwrap();
    started(&site, &id).await;
    let cancelled = site.data.cancel_statement().id(&id).send().await.unwrap();
    assert_eq!(cancelled.status, Some(true));
    let described = site.ended(&id).await;
    assert_eq!(described.status, Some(StatusString::Aborted));
    assert_eq!(described.error.as_deref(), Some("Query cancelled on user's request"));
    site.ok("LOCK TABLE busy").await;
    assert_eq!(site.value("SELECT count(*) FROM busy").await, "0");
    let (code, message) = refusal(site.data.cancel_statement().id(&id).send().await);
    assert_eq!(code, "ValidationException");
    assert_eq!(message, format!("Could not cancel a query that is already in ABORTED state with ID: {id}"));
    let (code, _) = refusal(site.data.get_statement_result().id(&id).send().await);
    assert_eq!(code, "ResourceNotFoundException");
}

async fn a_waiting_statement_is_cancelled_before_it_runs(site: Site) {
    site.ok("CREATE TABLE busy (id BIGINT)").await;
    let holder = site.batch(endless(&site)).send().await.unwrap().id.unwrap();
    started(&site, &holder).await;
    let sqls = ["LOCK TABLE busy", "INSERT INTO busy VALUES (1)"];
    let waiter = site.batch(sqls).send().await.unwrap().id.unwrap();
    let described = site.data.describe_statement().id(&waiter).send().await.unwrap();
    assert!(matches!(described.status, Some(StatusString::Submitted | StatusString::Started)));
    site.data.cancel_statement().id(&waiter).send().await.unwrap();
    assert_eq!(site.ended(&waiter).await.status, Some(StatusString::Aborted));
    let described = site.data.describe_statement().id(&holder).send().await.unwrap();
    assert_eq!(described.status, Some(StatusString::Started), "the other one goes on");
    site.data.cancel_statement().id(&holder).send().await.unwrap();
    assert_eq!(site.value("SELECT count(*) FROM busy").await, "0");
}

/// Numbers from 1.
fn numbers(count: usize) -> String {
    format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) SELECT i FROM n ORDER BY i"
    )
}

async fn large_results_come_in_pages(site: Site) {
    let id = site.ok(numbers(2500)).await.id;
    let mut found = Vec::new();
    let mut pages = 0;
    let mut next_token = None;
    loop {
        let page = site.data.get_statement_result().id(&id).set_next_token(next_token).send().await.unwrap();
        assert_eq!(page.total_num_rows, 2500);
        found.extend(page.records.into_iter().flatten());
        pages += 1;
        next_token = page.next_token;
        if next_token.is_none() {
            break;
        }
    }
    assert_eq!(pages, 3);
    assert_eq!(found, (1..=2500).map(Field::LongValue).collect::<Vec<_>>());
}

async fn a_result_beyond_the_limit_is_an_error(site: Site) {
    let words = site.failure(numbers(100_001)).await;
    assert!(words.contains("larger than this Redshift stand-in keeps"), "{words}");
    let repeated = if site.is_postgres { "repeat('x', 20000000)" } else { "hex(zeroblob(10000000))" };
    let words = site.failure(format!("SELECT {repeated}")).await;
    assert!(words.contains("larger than this Redshift stand-in keeps"), "{words}");
}

async fn errors_are_worded_as_redshift_words_them(site: Site) {
    site.ok("CREATE TABLE t (id BIGINT)").await;
    for (sql, words) in [
        ("SELECT * FROM missing", "ERROR: relation \"missing\" does not exist"),
        ("SELECT nope FROM t", "ERROR: column \"nope\" does not exist"),
        ("INSERT INTO t (nope) VALUES (1)", "ERROR: column \"nope\" of relation \"t\" does not exist"),
        ("SELEKT 1", "ERROR: syntax error at or near \"SELEKT\""),
        ("SELECT 1; SELECT 2", "ERROR: cannot insert multiple commands into a prepared statement"),
        ("LOCK TABLE missing", "ERROR: relation \"missing\" does not exist"),
    ] {
        assert_eq!(site.failure(sql).await, words, "{sql}");
    }
    let words = site.failure("CREATE TABLE t (id BIGINT)").await;
    assert!(words.to_lowercase().contains("relation \"t\" already exists"), "{words}");
    let words = site.failure("COMMIT").await;
    assert!(words.contains("COMMIT is not supported"), "{words}");
    let id = site.execute("SELECT 1").database("nope").send().await.unwrap().id.unwrap();
    let described = site.ended(&id).await;
    assert_eq!(described.error.as_deref(), Some("FATAL: database \"nope\" does not exist"));
    let (code, message) = refusal(site.data.describe_statement().id("unknown").send().await);
    assert_eq!(code, "ResourceNotFoundException");
    assert!(message.contains("unknown"), "{message}");
}

async fn a_division_by_zero_is_an_error_wherever_it_stands(site: Site) {
    site.ok("CREATE TABLE t (id BIGINT, n BIGINT)").await;
    site.ok("INSERT INTO t VALUES (1, 0), (2, 4), (3, NULL)").await;
    for sql in [
        "SELECT 1 / 0",
        "SELECT 1 / (CASE WHEN count(*) = 0 THEN 1 ELSE 0 END) FROM t",
        "SELECT id, 8 / n FROM t",
        "SELECT id FROM t WHERE 1 % n = 1",
        "INSERT INTO t SELECT 1 / 0, 1",
        "UPDATE t SET n = id / n",
    ] {
        assert_eq!(site.failure(sql).await, "ERROR: Divide by zero", "{sql}");
    }
    assert_eq!(site.rows("SELECT 8 / n, 7 / 2, '1/0' FROM t WHERE n > 0").await, [row(["2", "3", "1/0"])]);
    assert_eq!(site.rows("SELECT 1 / n FROM t WHERE id = 3").await, [[None]]);
    assert_eq!(
        site.value("SELECT 1 / (CASE WHEN count(*) = 0 THEN 1 ELSE 0 END) FROM t WHERE id = 9").await,
        "1"
    );
    assert_eq!(site.value("SELECT count(*) FROM t").await, "3");
}

async fn requests_beyond_the_limits_are_refused(site: Site) {
    let long = format!("SELECT '{}'", "x".repeat(100 * 1024));
    let many = vec!["SELECT 1"; 41];
    let calls = [
        refusal(site.execute(long).send().await),
        refusal(site.execute("SELECT 1").cluster_identifier("c").send().await),
        refusal(site.execute("SELECT 1").db_user("u").send().await),
        refusal(site.execute("").send().await),
        refusal(site.execute("SELECT 1").client_token("x".repeat(65)).send().await),
        refusal(site.execute("SELECT 1").session_keep_alive_seconds(60).send().await),
        refusal(site.data.execute_statement().database("dev").sql("SELECT 1").send().await),
        refusal(site.data.execute_statement().workgroup_name("local").sql("SELECT 1").send().await),
    ];
    for (code, message) in calls {
        assert_eq!(code, "ValidationException", "{message}");
    }
    let (code, message) = refusal(site.batch(many).send().await);
    assert_eq!(
        (code.as_str(), message.as_str()),
        ("ValidationException", "Sqls must hold 1 to 40 statements.")
    );
    let forty: Vec<String> = (0..40).map(|n| format!("SELECT {n}")).collect();
    let id = site.batch(forty).send().await.unwrap().id.unwrap();
    assert_eq!(site.ended(&id).await.status, Some(StatusString::Finished));
    let id =
        site.data.execute_statement().cluster_identifier("c").db_user("u").database("dev").sql("SELECT 1");
    let id = id.send().await.unwrap().id.unwrap();
    assert_eq!(site.ended(&id).await.db_user.as_deref(), Some("u"));
}

async fn tables_are_listed_and_described(site: Site) {
    for table in ["alpha", "beta", "gamma"] {
        site.ok(format!("CREATE TABLE {table} (id BIGINT NOT NULL, kind VARCHAR(8))")).await;
    }
    let list = || site.data.list_tables().workgroup_name("local").database("dev");
    let names = |tables: &[aws_sdk_redshiftdata::types::TableMember]| {
        tables.iter().map(|table| table.name().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let all = list().send().await.unwrap();
    assert_eq!(names(all.tables()), ["alpha", "beta", "gamma"]);
    assert_eq!(all.tables()[0].schema(), Some("public"));
    let some = list().schema_pattern("public").table_pattern("%a%m%").send().await.unwrap();
    assert_eq!(names(some.tables()), ["gamma"]);
    let first = list().max_results(2).send().await.unwrap();
    assert_eq!(names(first.tables()), ["alpha", "beta"]);
    let rest = list().max_results(2).set_next_token(first.next_token).send().await.unwrap();
    assert_eq!((names(rest.tables()), rest.next_token), (vec!["gamma".to_owned()], None));

    let describe =
        |table: &str| site.data.describe_table().workgroup_name("local").database("dev").table(table);
    let described = describe("beta").schema("public").send().await.unwrap();
    let columns: Vec<_> = described
        .column_list()
        .iter()
        .map(|column| (column.name().unwrap(), column.nullable, column.length))
        .collect();
    assert_eq!(columns, [("id", 0, 0), ("kind", 1, 8)]);
    for missing in ["nowhere", "x\"; DROP TABLE beta; --"] {
        let (code, message) = refusal(describe(missing).send().await);
        assert_eq!(code, "ValidationException", "{message}");
    }
    assert_eq!(names(list().send().await.unwrap().tables()).len(), 3);
}

async fn each_statement_has_a_session_of_its_own(site: Site) {
    site.ok("CREATE TEMP TABLE mine (id BIGINT)").await;
    for _ in 0..10 {
        assert_eq!(site.failure("SELECT * FROM mine").await, "ERROR: relation \"mine\" does not exist");
    }
}

async fn credentials_are_not_kept(mut site: Site) {
    let secret = "wJalrXUtnFEMI-the-secret";
    let copy = format!(
        "COPY t FROM 's3://landing/x' ACCESS_KEY_ID 'AKIA' SECRET_ACCESS_KEY '{secret}' FORMAT CSV CREDENTIALS 'aws_secret_access_key={secret}'"
    );
    let described = site.run(&copy).await;
    let listed = site.data.list_statements().status(StatusString::All).send().await.unwrap();
    for shown in [format!("{described:?}"), format!("{listed:?}")] {
        assert!(shown.contains("SECRET_ACCESS_KEY '***'"), "{shown}");
        assert!(!shown.contains(secret), "{shown}");
    }
    if site.is_postgres {
        let kept = site.value(format!("SELECT count(*) FROM hydrant_redshift_local.statements WHERE statement LIKE '%' || reverse('{}') || '%'", secret.chars().rev().collect::<String>())).await;
        assert_eq!(kept, "0");
    }
    site.stop().await;
    for file in std::fs::read_dir(site.dir.path()).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            assert!(
                !bytes.windows(secret.len()).any(|window| window == secret.as_bytes()),
                "{}",
                path.display()
            );
        }
    }
}

async fn a_locked_ledger_lets_one_of_many_through(site: Site) {
    site.ok("CREATE TABLE t (id BIGINT)").await;
    site.ok("CREATE TABLE ledger (load_id VARCHAR(36))").await;
    let mut ids = Vec::new();
    for _ in 0..6 {
        let sqls = [
            "LOCK TABLE ledger",
            "SELECT 1 / (CASE WHEN count(*) = 0 THEN 1 ELSE 0 END) FROM ledger WHERE load_id = 'x'",
            "INSERT INTO t VALUES (1)",
            "INSERT INTO ledger VALUES ('x')",
        ];
        ids.push(site.batch(sqls).send().await.unwrap().id.unwrap());
    }
    let mut finished = 0;
    for id in ids {
        let described = site.ended(&id).await;
        match described.status {
            Some(StatusString::Finished) => finished += 1,
            _ => {
                assert_eq!(described.error.as_deref(), Some("ERROR: Divide by zero"));
                assert_eq!(described.sub_statements()[1].status, Some(StatementStatusString::Failed));
            }
        }
    }
    assert_eq!(finished, 1);
    assert_eq!(
        site.rows("SELECT count(*) FROM t UNION ALL SELECT count(*) FROM ledger").await,
        [row(["1"]), row(["1"])]
    );
}

async fn what_is_not_the_data_api_gets_an_answer(site: Site) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let ask = async |head: &str, body: &str| {
        let address = site.url.trim_start_matches("http://");
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request =
            format!("{head}\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let post = "POST / HTTP/1.1\r\nX-Amz-Target: RedshiftData.";
    let answer = ask(&format!("{post}FlyToTheMoon"), "{}").await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("UnknownOperationException"), "{answer}");
    let answer = ask(&format!("{post}ExecuteStatement"), "{\"Sql\":").await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("SerializationException"), "{answer}");
    let answer =
        ask(&format!("{post}ExecuteStatement"), "{\"Sql\":7,\"WorkgroupName\":\"w\",\"Database\":\"dev\"}")
            .await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("SerializationException"), "{answer}");
    let answer = ask(
        &format!("{post}BatchExecuteStatement"),
        "{\"Sqls\":[1],\"WorkgroupName\":\"w\",\"Database\":\"dev\"}",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("ValidationException"), "{answer}");
    let answer = ask("GET /health/ready HTTP/1.1", "").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
