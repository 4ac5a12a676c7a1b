//! `kill -9`: what is said of a statement afterwards is what became of it.

use std::{collections::BTreeSet, time::Duration};

use aws_sdk_redshiftdata::types::{Field, StatusString};
use hydrant_testkit::eventually;
use sqlx::{Connection as _, PgConnection, SqliteConnection};

use crate::site::{PATIENCE, Site, gzip, on_both_engines};

on_both_engines! {
    outcome_token_and_result_survive_a_kill
    what_was_under_way_is_aborted_after_a_kill
    a_statement_is_finished_exactly_if_its_row_is_there
    a_stop_in_order_cuts_off_what_runs
}

/// Holds a lock in the database itself, so that the stand-in's statements wait.
enum Holder {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Holder {
    async fn lock(site: &Site, table: &str) -> Self {
        if site.is_postgres {
            let mut connection = PgConnection::connect(&site.database_url).await.unwrap();
            let lock = sqlx::AssertSqlSafe(format!("begin; lock table {table}"));
            sqlx::raw_sql(lock).execute(&mut connection).await.unwrap();
            return Self::Postgres(connection);
        }
        let mut connection = SqliteConnection::connect(&site.database_url).await.unwrap();
        sqlx::raw_sql("begin immediate").execute(&mut connection).await.unwrap();
        Self::Sqlite(connection)
    }

    async fn release(self) {
        match self {
            Self::Sqlite(connection) => connection.close().await.unwrap(),
            Self::Postgres(connection) => connection.close().await.unwrap(),
        }
    }
}

async fn outcome_token_and_result_survive_a_kill(mut site: Site) {
    site.stop().await;
    site.start_process().await;
    site.ok("CREATE TABLE events (id BIGINT)").await;
    let object = site.put("object.gz", gzip(b"{\"id\":1}{\"id\":2}")).await;
    let copy = format!("COPY events FROM '{object}' IAM_ROLE default JSON 'auto' GZIP");
    let submit = async |site: &Site| {
        let batch = site.batch([copy.as_str(), "SELECT id FROM events ORDER BY id"]);
        batch.client_token("once").statement_name("hydrant:orders:1.").send().await.unwrap().id.unwrap()
    };
    let id = submit(&site).await;
    let before = site.ended(&id).await;
    assert_eq!(before.status, Some(StatusString::Finished), "{:?}", before.error);
    let failed = site.run("SELECT * FROM missing").await;
    site.kill_and_restart().await;

    let after = site.data.describe_statement().id(&id).send().await.unwrap();
    assert_eq!(after.sub_statements(), before.sub_statements());
    assert_eq!((after.status, after.updated_at), (before.status, before.updated_at));
    assert_eq!(submit(&site).await, id, "the token is known");
    let found = site.data.list_statements().statement_name("hydrant:orders:").send().await.unwrap();
    assert_eq!(found.statements().len(), 1);
    let result = site.data.get_statement_result().id(&id).send().await.unwrap();
    assert_eq!(result.records, [[Field::LongValue(1)], [Field::LongValue(2)]]);
    let still = site.data.describe_statement().id(failed.id).send().await.unwrap();
    assert_eq!((still.status, still.error), (failed.status, failed.error));
    assert_eq!(site.value("SELECT count(*) FROM events").await, "2");
}

async fn what_was_under_way_is_aborted_after_a_kill(mut site: Site) {
    site.stop().await;
    site.start_process().await;
    site.ok("CREATE TABLE events (id BIGINT)").await;
    let object = site.put("object", "{\"id\":1}").await;
    let holder = Holder::lock(&site, "events").await;
    let submit = async |site: &Site| {
        let copy = format!("COPY events FROM '{object}' IAM_ROLE default JSON 'auto'");
        site.execute(copy).client_token("once").send().await.unwrap().id.unwrap()
    };
    let id = submit(&site).await;
    eventually("it runs", PATIENCE, async || {
        let described = site.data.describe_statement().id(&id).send().await.unwrap();
        (described.status == Some(StatusString::Started)).then_some(())
    })
    .await;
    site.kill_and_restart().await;
    let described = site.data.describe_statement().id(&id).send().await.unwrap();
    assert_eq!(described.status, Some(StatusString::Aborted));
    assert_eq!(described.error.as_deref(), Some("The statement was cut off by a restart"));
    holder.release().await;
    assert_eq!(submit(&site).await, id, "the same token is still the same, aborted, statement");
    // Whoever waited for the lock on behalf of the dead is gone: a lock of one's own shows it.
    site.ok("LOCK TABLE events").await;
    assert_eq!(site.value("SELECT count(*) FROM events").await, "0");
}

async fn a_statement_is_finished_exactly_if_its_row_is_there(mut site: Site) {
    const KILLS: u64 = 4;
    site.stop().await;
    site.start_process().await;
    site.ok("CREATE TABLE t (n BIGINT)").await;
    let mut answered = Vec::new();
    let mut next = 0_u64;
    for kill in 0..KILLS {
        let mut calls = tokio::task::JoinSet::new();
        for n in next..next + 40 {
            let call = site.execute(format!("INSERT INTO t VALUES ({n})")).client_token(format!("token-{n}"));
            calls.spawn(async move { call.send().await.ok().and_then(|answer| answer.id).map(|id| (n, id)) });
        }
        next += 40;
        tokio::time::sleep(Duration::from_millis(15 + 35 * kill)).await;
        site.process().kill9().await;
        answered.extend(calls.join_all().await.into_iter().flatten());
        site.start_process().await;
    }
    assert!(!answered.is_empty());
    let rows = site.rows("SELECT n FROM t").await;
    let there: BTreeSet<u64> = rows.iter().map(|row| row[0].as_ref().unwrap().parse().unwrap()).collect();
    assert_eq!(there.len(), rows.len(), "no row twice");
    let mut finished = BTreeSet::new();
    for (n, id) in answered {
        let described = site.data.describe_statement().id(&id).send().await.unwrap();
        match described.status {
            Some(StatusString::Finished) => assert!(finished.insert(n)),
            Some(StatusString::Aborted) => {
                assert!(!there.contains(&n), "{n} is there, and said to be aborted")
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(finished.is_subset(&there));
    // What is there without an answer was stored, and is found under its token.
    for n in there.difference(&finished) {
        let call = site.execute(format!("INSERT INTO t VALUES ({n})")).client_token(format!("token-{n}"));
        let id = call.send().await.unwrap().id.unwrap();
        assert_eq!(site.ended(&id).await.status, Some(StatusString::Finished));
    }
    assert_eq!(site.value("SELECT count(*) FROM t").await, rows.len().to_string());
}

async fn a_stop_in_order_cuts_off_what_runs(mut site: Site) {
    site.ok("CREATE TABLE events (id BIGINT)").await;
    let holder = Holder::lock(&site, "events").await;
    let id = site.execute("INSERT INTO events VALUES (1)").send().await.unwrap().id.unwrap();
    let begun = std::time::Instant::now();
    site.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(15));
    holder.release().await;
    site.start().await;
    assert_eq!(site.ended(&id).await.status, Some(StatusString::Aborted));
    assert_eq!(site.value("SELECT count(*) FROM events").await, "0");
}
