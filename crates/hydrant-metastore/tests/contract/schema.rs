//! The tables defend themselves, and a schema is brought up to date once and by one.

use futures_util::future::join_all;
use hydrant_metastore::{Attempt, Error, Subject, Uploaded, migrate, open};
use hydrant_testkit::{Postgres, Scratch};

use crate::{
    fixture::{Fixture, NOW, abandoned, committed, to_redshift, to_s3, uploaded},
    illegal::{BROKEN_CHECKS, BROKEN_JSON, BROKEN_PROMISES, BROKEN_REFERENCES},
};

on_both!(
    every_check_refuses_a_row_that_cannot_be,
    every_reference_and_every_key_is_kept,
    what_is_fixed_never_changes,
    migrating_again_changes_nothing,
    a_schema_that_is_newer_than_the_program_is_refused,
    a_migration_that_is_another_than_the_programs_is_refused,
);

/// Streams 1 (to S3), 2 (to Redshift, with a backup) and 3 (being deleted) with batches in every state, error output of its last
/// ten records, a committed, an abandoned and a planned load, and an attempt.
async fn populate(fixture: &Fixture) {
    let (clicks, events) =
        (fixture.stream("clicks", &to_s3()).await, fixture.stream("events", &to_redshift("events")).await);
    let (log, lease) = fixture.log().await;
    let (lost_log, lost_lease) = fixture.log().await;
    fixture.sealed(&clicks, lost_log, &lost_lease, 1).await;
    fixture.metastore.retire_log(lost_log, NOW).await.unwrap();
    let delivered = fixture.uploaded(&clicks, log, &lease, 1).await;
    let sealed = fixture.batch(&clicks, log, 10, 20);
    fixture.metastore.seal_batches(&lease, &[sealed]).await.unwrap();
    let batches = fixture.uploaded(&events, log, &lease, 4).await;
    let nothing_left = fixture.batch(&events, log, 40, 50);
    let backup = fixture.backup(&events, log, 0, 10);
    fixture.metastore.seal_batches(&lease, &[nothing_left.clone(), backup.clone()]).await.unwrap();
    let failed = vec![fixture.failed(1)];
    let empty = Uploaded { object: None, failed, ..uploaded(&nothing_left) };
    fixture.metastore.mark_uploaded(&lease, &[empty, uploaded(&backup)], NOW).await.unwrap();
    let table = fixture.table(&events.destination.copy_target().unwrap()).await;
    fixture.ended(&events, &table, &batches[..1], &committed(10), NOW).await;
    fixture.ended(&events, &table, &batches[1..2], &abandoned(), NOW).await;
    let under_way = fixture.load(&events, &batches[2..3]);
    fixture.metastore.plan_load(&table, &under_way).await.unwrap();
    let gone = fixture.stream("gone", &to_s3()).await;
    let discarded = fixture.sealed(&gone, log, &lease, 1).await;
    fixture.metastore.mark_deleting(gone.id, NOW).await.unwrap();
    fixture.metastore.discard_batches(&lease, &[discarded[0].id], NOW).await.unwrap();
    let attempt = Attempt {
        subject: Subject::Batch(delivered[0].id),
        step: "put_object",
        started_at: NOW,
        ended_at: NOW,
        outcome: "ok",
        code: None,
        message: None,
    };
    fixture.metastore.record_attempts(&[attempt]).await.unwrap();
}

const UNKNOWN_ID: &str = "'00000000-0000-0000-0000-0000000000ff'";
const COLUMNS: &str = "stream, stream_id, stream_version, log, position_from, position_to, content, failed_records, bytes, \
                       processed_bytes, oldest_arrival, bucket, object_key, table_key, copy_target, state, etag, object_bytes, \
                       sealed_at, updated_at";
/// What copies a row, and which.
const COPIES: [(&str, &str); 2] =
    [("NEW_BATCH", "state = 'sealed'"), ("NEW_ERROR_OUTPUT", "content = 'decompression-failed'")];

/// Puts in what differs between tests and databases. `NEW_BATCH a = b, c = d` copies the sealed batch with other values, `NEW_ERROR_OUTPUT`
/// error output.
fn written_out(fixture: &Fixture, statement: &str) -> String {
    let other_row = if fixture.is_sqlite() { "2" } else { "false" };
    let copied = COPIES.iter().find_map(|(word, which)| Some((statement.strip_prefix(word)?, *which)));
    let statement = match copied {
        None => statement.to_owned(),
        Some((changes, which)) => {
            let mut values =
                COLUMNS.replace("position_from, position_to", "20 as position_from, 30 as position_to");
            for change in changes.split(", ").filter_map(|change| change.trim().split_once(" = ")) {
                let (column, value) = change;
                let value = value.replace("position_to", "30");
                values = values
                    .replace(&format!("20 as {column}"), column)
                    .replace(&format!("30 as {column}"), column)
                    .replace(&format!(" {column},"), &format!(" {value},"));
            }
            format!(
                "insert into batches (id, {COLUMNS}) select UNKNOWN_ID, {values} from batches where {which}"
            )
        }
    };
    statement.replace("UNKNOWN_ID", UNKNOWN_ID).replace("OTHER_ROW", other_row)
}

async fn every_check_refuses_a_row_that_cannot_be(fixture: Fixture) {
    populate(&fixture).await;
    let json = if fixture.is_sqlite() { BROKEN_JSON } else { &[] };
    for (check, statement) in BROKEN_CHECKS.iter().chain(json) {
        let statement = written_out(&fixture, statement);
        let words = fixture.refused(&statement).await;
        assert!(words.contains(check), "{statement}: expected {check}, got {words}");
    }
    // Without a change it is a batch like any other, or the statements above would show nothing.
    for (word, _) in COPIES {
        fixture.sql(&written_out(&fixture, word)).await.unwrap();
        fixture.sql(&format!("delete from batches where id = {UNKNOWN_ID}")).await.unwrap();
    }
}

async fn every_reference_and_every_key_is_kept(fixture: Fixture) {
    populate(&fixture).await;
    for (what, statement) in BROKEN_REFERENCES {
        let statement = written_out(&fixture, statement);
        let words = fixture.refused(&statement).await.to_lowercase();
        let expected = ["foreign key constraint", "unique constraint"];
        assert!(expected.iter().any(|kind| words.contains(kind)), "{what}: {statement}: {words}");
    }
}

async fn what_is_fixed_never_changes(fixture: Fixture) {
    populate(&fixture).await;
    for (words, statement) in BROKEN_PROMISES {
        let said = fixture.refused(statement).await;
        assert!(said.contains(words), "{statement}: {said}");
    }
}

#[tokio::test]
async fn no_check_is_without_a_row_that_it_refuses() {
    let fixture = Fixture::postgres().await;
    let checks = fixture
        .rows("select conname::text from pg_constraint where contype = 'c' and connamespace = 'public'::regnamespace")
        .await;
    assert!(checks.len() > 20, "{checks:?}");
    for check in checks {
        assert!(BROKEN_CHECKS.iter().any(|(known, _)| *known == check), "{check}");
    }
}

async fn migrating_again_changes_nothing(fixture: Fixture) {
    let stream = fixture.stream("clicks", &to_s3()).await;
    for _again in 0..2 {
        migrate(&fixture.url).await.unwrap();
    }
    assert_eq!(open(&fixture.url, true).await.unwrap().streams().await.unwrap(), [stream]);
}

async fn a_schema_that_is_newer_than_the_program_is_refused(fixture: Fixture) {
    let checksum = if fixture.is_sqlite() { "x'00'" } else { "'\\x00'" };
    fixture
        .sql(&format!(
            "insert into _sqlx_migrations (version, description, success, checksum, execution_time) \
             values (9001, 'from the future', true, {checksum}, 0)"
        ))
        .await
        .unwrap();
    for refused in [
        open(&fixture.url, false).await.map(drop),
        open(&fixture.url, true).await.map(drop),
        migrate(&fixture.url).await,
    ] {
        let error = refused.unwrap_err();
        assert!(matches!(error, Error::SchemaNewer { migration: 9001 }), "{error}");
        assert!(error.to_string().contains("run the newer version"), "{error}");
    }
}

async fn a_migration_that_is_another_than_the_programs_is_refused(fixture: Fixture) {
    let checksum = if fixture.is_sqlite() { "x'00'" } else { "'\\x00'" };
    fixture.sql(&format!("update _sqlx_migrations set checksum = {checksum}")).await.unwrap();
    let error = migrate(&fixture.url).await.unwrap_err();
    assert!(matches!(error, Error::SchemaDiffers { migration: 1 }), "{error}");
}

#[tokio::test]
async fn a_postgres_that_was_not_migrated_is_refused_with_the_command_that_does_it() {
    let url = Postgres::shared().database().await;
    let error = open(&url, false).await.map(drop).unwrap_err();
    assert!(matches!(error, Error::NotMigrated), "{error}");
    assert!(error.to_string().contains("`hydrant migrate`"), "{error}");
    migrate(&url).await.unwrap();
    open(&url, false).await.unwrap().id().await.unwrap();
}

#[tokio::test]
async fn processes_that_migrate_at_once_wait_for_each_other() {
    let directory = Scratch::new();
    let file = format!("sqlite://{}", directory.path().join("hydrant.db").display());
    for url in [file, Postgres::shared().database().await] {
        let stores = join_all((0..6).map(|_| open(&url, true))).await;
        let mut ids = Vec::new();
        for store in stores {
            ids.push(store.unwrap().id().await.unwrap());
        }
        ids.dedup();
        assert_eq!(ids.len(), 1);
    }
}

#[tokio::test]
async fn both_databases_hold_the_same_tables_and_columns() {
    let (sqlite, postgres) = (Fixture::sqlite().await, Fixture::postgres().await);
    let mut in_sqlite = sqlite
        .rows(
            "select t.name || '.' || c.name from sqlite_schema t join pragma_table_xinfo(t.name) c \
             where t.type = 'table' and t.name <> '_sqlx_migrations' and t.name <> 'sqlite_sequence'",
        )
        .await;
    let mut in_postgres = postgres
        .rows(
            "select table_name || '.' || column_name from information_schema.columns \
             where table_schema = 'public' and table_name <> '_sqlx_migrations'",
        )
        .await;
    in_sqlite.sort();
    in_postgres.sort();
    assert!(in_sqlite.contains(&"batches.records".to_owned()), "{in_sqlite:?}");
    assert_eq!(in_sqlite, in_postgres);
}
