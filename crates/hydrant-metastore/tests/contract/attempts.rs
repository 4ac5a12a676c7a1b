//! Attempts, for people.

use hydrant_metastore::{Attempt, Subject};
use hydrant_types::{BatchId, LoadId};

use crate::fixture::{Fixture, later, to_redshift, to_s3};

on_both!(
    attempts_are_read_oldest_first_and_of_one_subject,
    an_outage_is_two_rows_however_its_failures_come,
    attempts_of_what_is_not_there_keep_nothing_else_from_being_written,
    a_thousand_attempts_fit_into_one_call,
);

fn attempt(subject: Subject, step: &'static str, code: Option<&str>, at: u64) -> Attempt {
    Attempt {
        subject,
        step,
        started_at: later(at),
        ended_at: later(at + 1),
        outcome: if code.is_some() { "failed" } else { "ok" },
        code: code.map(str::to_owned),
        message: code.map(|_| format!("at {at}")),
    }
}

async fn attempts_are_read_oldest_first_and_of_one_subject(fixture: Fixture) {
    let stream = fixture.stream("events", &to_redshift("events")).await;
    let (log, lease) = fixture.log().await;
    let batches = fixture.uploaded(&stream, log, &lease, 2).await;
    let table = fixture.table(&stream.destination.copy_target().unwrap()).await;
    let new = fixture.load(&stream, &batches);
    fixture.metastore.plan_load(&table, &new).await.unwrap();
    let (batch, load) = (Subject::Batch(batches[0].id), Subject::Load(new.load.id));
    let written = [
        attempt(batch, "put_object", Some("S3.AccessDenied"), 0),
        attempt(load, "put_manifest", None, 1),
        attempt(batch, "put_object", None, 2),
        Attempt { outcome: "unknown", ..attempt(load, "copy", Some("Timeout"), 3) },
    ];
    fixture.metastore.record_attempts(&written).await.unwrap();
    let of = async |subject| fixture.metastore.attempts(subject).await.unwrap();
    assert_eq!(of(batch).await, [(written[0].clone(), 1), (written[2].clone(), 1)]);
    assert_eq!(of(load).await, [(written[1].clone(), 1), (written[3].clone(), 1)]);
    assert_eq!(of(Subject::Batch(batches[1].id)).await, []);
}

async fn an_outage_is_two_rows_however_its_failures_come(fixture: Fixture) {
    let stream = fixture.stream("clicks", &to_s3()).await;
    let (log, lease) = fixture.log().await;
    let batch = Subject::Batch(fixture.sealed(&stream, log, &lease, 1).await[0].id);
    let all: Vec<Attempt> =
        (0..30).map(|at| attempt(batch, "put_object", Some("S3.AccessDenied"), at)).collect();
    for some in all.chunks(4) {
        fixture.metastore.record_attempts(some).await.unwrap();
    }
    let end = attempt(batch, "put_object", None, 30);
    fixture.metastore.record_attempts(std::slice::from_ref(&end)).await.unwrap();
    let kept = fixture.metastore.attempts(batch).await.unwrap();
    assert_eq!(kept, [(all[0].clone(), 1), (all[29].clone(), 29), (end, 1)]);
}

async fn attempts_of_what_is_not_there_keep_nothing_else_from_being_written(fixture: Fixture) {
    let stream = fixture.stream("clicks", &to_s3()).await;
    let (log, lease) = fixture.log().await;
    let batch = Subject::Batch(fixture.sealed(&stream, log, &lease, 1).await[0].id);
    let gone = [Subject::Batch(BatchId(fixture.uuid())), Subject::Load(LoadId(fixture.uuid()))];
    let there = attempt(batch, "put_object", None, 0);
    let written = [attempt(gone[0], "put_object", None, 0), there.clone(), attempt(gone[1], "copy", None, 0)];
    fixture.metastore.record_attempts(&written).await.unwrap();
    assert_eq!(fixture.metastore.attempts(batch).await.unwrap(), [(there, 1)]);
    for subject in gone {
        assert_eq!(fixture.metastore.attempts(subject).await.unwrap(), []);
    }
}

async fn a_thousand_attempts_fit_into_one_call(fixture: Fixture) {
    let stream = fixture.stream("clicks", &to_s3()).await;
    let (log, lease) = fixture.log().await;
    let batches = fixture.sealed(&stream, log, &lease, 700).await;
    let all: Vec<Attempt> = batches
        .iter()
        .flat_map(|batch| {
            let subject = Subject::Batch(batch.id);
            [attempt(subject, "put_object", Some("S3.SlowDown"), 0), attempt(subject, "put_object", None, 1)]
        })
        .collect();
    fixture.metastore.record_attempts(&all).await.unwrap();
    let last = fixture.metastore.attempts(Subject::Batch(batches[699].id)).await.unwrap();
    assert_eq!(last, [(all[1_398].clone(), 1), (all[1_399].clone(), 1)]);
}
