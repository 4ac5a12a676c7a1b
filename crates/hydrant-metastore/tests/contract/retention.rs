//! What is done and old is deleted, and nothing else.

use hydrant_metastore::{Filter, Subject};
use hydrant_types::{BatchState, Position, StreamVersion};

use crate::fixture::{FIRST, Fixture, NOW, abandoned, committed, later, to_redshift, to_s3, uploaded};

on_both!(
    what_is_done_is_deleted_once_it_is_old_with_all_that_belongs_to_it,
    what_waits_for_somebody_is_never_deleted,
    a_load_stays_while_one_of_its_batches_does,
    a_sweep_deletes_no_more_than_its_limit,
    positions_outlive_their_batches,
    an_old_version_of_a_streams_settings_goes_when_no_batch_needs_it,
);

async fn what_is_done_is_deleted_once_it_is_old_with_all_that_belongs_to_it(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let stream = fixture.stream("events", &to_redshift("events")).await;
    let (log, lease) = fixture.log().await;
    let batches = fixture.uploaded(&stream, log, &lease, 2).await;
    let table = fixture.table(&stream.destination.copy_target().unwrap()).await;
    let load = fixture.ended(&stream, &table, &batches, &committed(20), later(100)).await;
    fixture
        .sql(&format!(
            "insert into attempts (batch_id, step, outcome, started_at, ended_at) \
        select id, 'put_object', 'ok', updated_at, updated_at from batches; \
        insert into attempts (load_id, step, outcome, started_at, ended_at) \
        select id, 'copy', 'ok', updated_at, updated_at from loads where id = '{load}'"
        ))
        .await
        .unwrap();
    assert_eq!(metastore.sweep(later(100), 100).await.unwrap(), 0, "not older than that");
    assert_eq!(metastore.attempts(Subject::Load(load)).await.unwrap().len(), 1);
    assert_eq!(metastore.sweep(later(101), 100).await.unwrap(), 3);
    assert_eq!(metastore.batches(&Filter::default()).await.unwrap(), []);
    assert_eq!(metastore.load(load).await.unwrap(), None);
    for table in ["attempts", "load_batches"] {
        assert_eq!(
            fixture.rows(&format!("select cast(count(*) as text) from {table}")).await,
            ["0"],
            "{table}"
        );
    }
    assert_eq!(metastore.sweep(later(101), 100).await.unwrap(), 0);
    assert_eq!(metastore.streams().await.unwrap(), [stream]);
}

async fn what_waits_for_somebody_is_never_deleted(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let stream = fixture.stream("events", &to_redshift("events")).await;
    let (log, lease) = fixture.log().await;
    let (lost_log, lost_lease) = fixture.log().await;
    let batches = fixture.uploaded(&stream, log, &lease, 3).await;
    fixture.sealed(&stream, lost_log, &lost_lease, 1).await;
    metastore.retire_log(lost_log, NOW).await.unwrap();
    let table = fixture.table(&stream.destination.copy_target().unwrap()).await;
    fixture.ended(&stream, &table, &batches[..1], &abandoned(), NOW).await;
    metastore.plan_load(&table, &fixture.load(&stream, &batches[1..2])).await.unwrap();
    let sealed = fixture.batch(&stream, log, 30, 40);
    metastore.seal_batches(&lease, &[sealed]).await.unwrap();
    assert_eq!(metastore.sweep(later(1_000_000), 100).await.unwrap(), 0);
    let mut states: Vec<&str> =
        metastore.batches(&Filter::default()).await.unwrap().iter().map(|batch| batch.state.name()).collect();
    states.sort_unstable();
    assert_eq!(states, ["in_load", "lost", "parked", "sealed", "uploaded"]);
    assert_eq!(metastore.loads(&Filter::default()).await.unwrap().len(), 2);
}

async fn a_load_stays_while_one_of_its_batches_does(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let stream = fixture.stream("events", &to_redshift("events")).await;
    let (log, lease) = fixture.log().await;
    let batches = fixture.uploaded(&stream, log, &lease, 2).await;
    let table = fixture.table(&stream.destination.copy_target().unwrap()).await;
    let load = fixture.ended(&stream, &table, &batches, &committed(20), NOW).await;
    assert_eq!(metastore.sweep(later(1), 1).await.unwrap(), 1);
    let left = metastore.batches(&Filter::default()).await.unwrap();
    assert!(
        matches!(left[..], [ref batch] if matches!(batch.state, BatchState::Loaded { load: of, .. } if of == load))
    );
    assert_eq!(metastore.loads_of_batch(left[0].id).await.unwrap().len(), 1);
}

async fn a_sweep_deletes_no_more_than_its_limit(fixture: Fixture) {
    let stream = fixture.stream("events", &to_redshift("events")).await;
    let (log, lease) = fixture.log().await;
    let batches = fixture.uploaded(&stream, log, &lease, 4).await;
    let table = fixture.table(&stream.destination.copy_target().unwrap()).await;
    for pair in batches.chunks(2) {
        fixture.ended(&stream, &table, pair, &committed(20), NOW).await;
    }
    let mut swept = Vec::new();
    while swept.last() != Some(&0) {
        swept.push(fixture.metastore.sweep(later(1), 3).await.unwrap());
    }
    assert_eq!(swept, [3, 3, 0]);
}

async fn positions_outlive_their_batches(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let stream = fixture.stream("clicks", &to_s3()).await;
    let (log, lease) = fixture.log().await;
    let batches = fixture.uploaded(&stream, log, &lease, 2).await;
    assert_eq!(metastore.sweep(later(1), 100).await.unwrap(), 2);
    assert_eq!(metastore.sealed_to(log).await.unwrap()[0].uploaded, Position(20));
    assert!(metastore.seal_batches(&lease, &[fixture.batch(&stream, log, 0, 10)]).await.is_err());
    metastore.seal_batches(&lease, &[fixture.batch(&stream, log, 20, 30)]).await.unwrap();
    assert!(metastore.mark_uploaded(&lease, &[uploaded(&batches[0])], NOW).await.is_err());
}

async fn an_old_version_of_a_streams_settings_goes_when_no_batch_needs_it(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let stream = fixture.stream("clicks", &to_s3()).await;
    let (log, lease) = fixture.log().await;
    let batches = fixture.sealed(&stream, log, &lease, 1).await;
    for version in [1, 2] {
        let at = later(u64::from(version + 1) * 1_000);
        metastore.update_destination(stream.id, StreamVersion(version), &to_s3(), at).await.unwrap();
    }
    let versions =
        async || fixture.rows("select cast(version as text) from stream_versions order by version").await;
    // Version 1 has a batch, version 2 was replaced only at 3000.
    assert_eq!(metastore.sweep(later(3_000), 100).await.unwrap(), 0);
    assert_eq!(metastore.sweep(later(3_001), 100).await.unwrap(), 1);
    assert_eq!(versions().await, ["1", "3"]);
    assert_eq!(metastore.destination(stream.id, FIRST).await.unwrap(), Some(to_s3()));
    metastore.mark_uploaded(&lease, &[uploaded(&batches[0])], NOW).await.unwrap();
    assert_eq!(metastore.sweep(later(3_001), 100).await.unwrap(), 2, "the batch, and then its version");
    assert_eq!(versions().await, ["3"]);
    assert_eq!(metastore.stream(&stream.name).await.unwrap().unwrap().version, StreamVersion(3));
}
