use hydrant_testkit::{Postgres, Scratch};
use sqlx::AssertSqlSafe;

use super::*;

async fn ask(pool: &PgPool, what: &str) -> String {
    sqlx::query_scalar(AssertSqlSafe(format!("show {what}"))).fetch_one(pool).await.unwrap()
}

#[tokio::test]
async fn connections_to_postgres_wait_for_the_disk_and_for_nobody_for_ever_whatever_the_defaults() {
    let url = Postgres::shared().database().await;
    let name = url.rsplit('/').next().unwrap();
    let plain = PgPool::connect(&url).await.unwrap();
    for setting in [
        "synchronous_commit = off",
        "statement_timeout = 0",
        "default_transaction_isolation = 'serializable'",
    ] {
        let statement = AssertSqlSafe(format!("alter database {name} set {setting}"));
        sqlx::raw_sql(statement).execute(&plain).await.unwrap();
    }
    for url in [url.clone(), format!("{url}?options=-c%20synchronous_commit%3Doff")] {
        let pool = postgres_pool(postgres_options(&url).unwrap());
        for (setting, value) in POSTGRES_SETTINGS {
            assert_eq!(ask(&pool, setting).await, value, "{setting}");
        }
    }
}

#[tokio::test]
async fn a_migration_may_take_its_time() {
    let url = Postgres::shared().database().await;
    let options = postgres_options(&url).unwrap().options(MIGRATION_SETTINGS);
    let pool = postgres_pool(options);
    assert_eq!(ask(&pool, "statement_timeout").await, "0");
    assert_eq!(ask(&pool, "lock_timeout").await, "0");
    assert_eq!(ask(&pool, "synchronous_commit").await, "on");
}

#[tokio::test]
async fn sqlite_has_one_writer_that_waits_for_the_disk_and_readers_that_never_write() {
    let directory = Scratch::new();
    let url = format!("sqlite://{}", directory.path().join("hydrant.db").display());
    let (writer, reader) = sqlite_pools(&url).await.unwrap();
    assert_eq!(writer.options().get_max_connections(), 1);
    for pool in [&writer, &reader] {
        let pragma = async |name: &str| -> String {
            let select = format!("select cast({name} as text) from pragma_{name}");
            sqlx::query_scalar(AssertSqlSafe(select)).fetch_one(pool).await.unwrap()
        };
        assert_eq!(pragma("journal_mode").await, "wal");
        assert_eq!(pragma("synchronous").await, "2", "FULL");
        assert_eq!(pragma("foreign_keys").await, "1");
    }
    let written = sqlx::raw_sql("create table t (i)").execute(&reader).await.unwrap_err();
    assert!(written.to_string().contains("readonly"), "{written}");
    sqlx::raw_sql("create table t (i)").execute(&writer).await.unwrap();
}

#[test]
fn both_databases_have_the_same_migrations() {
    let list = |migrator: &Migrator| -> Vec<(i64, String)> {
        migrator.iter().map(|migration| (migration.version, migration.description.to_string())).collect()
    };
    assert_eq!(list(&POSTGRES), list(&SQLITE));
}
