//! Streams and their settings.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use hydrant_metastore::{Error, Kind, NewStream};
use hydrant_types::{Stream, StreamId, StreamName, StreamStatus, StreamVersion, limits};

use crate::fixture::{FIRST, Fixture, NOW, later, to_redshift, to_s3};

on_both!(
    a_created_stream_is_found_by_its_name_and_listed,
    a_name_that_is_taken_is_refused_and_changes_nothing,
    of_many_creations_of_one_name_at_once_one_succeeds,
    streams_created_at_once_have_ids_of_their_own,
    a_name_is_free_again_once_its_stream_is_removed_and_the_id_is_not,
    deleting_and_removing_may_be_repeated,
    only_a_stream_that_is_being_deleted_is_removed,
    an_id_that_was_never_given_is_no_stream,
    the_revision_grows_with_each_change_and_not_with_a_repetition,
    an_imported_stream_is_as_it_was_and_later_ids_are_greater,
    an_import_never_takes_another_streams_id_or_name,
    a_stream_is_imported_and_created_at_once_under_one_name_only_once,
    no_more_streams_than_the_limit_are_created,
);

fn name(name: &str) -> StreamName {
    name.parse().unwrap()
}

async fn a_created_stream_is_found_by_its_name_and_listed(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let events = fixture.stream("events", &to_redshift("events")).await;
    let clicks = fixture.stream("clicks", &to_s3()).await;
    assert_eq!((clicks.version, clicks.status), (FIRST, StreamStatus::Active));
    assert_eq!(metastore.stream(&name("clicks")).await.unwrap().as_ref(), Some(&clicks));
    assert_eq!(metastore.stream(&name("Clicks")).await.unwrap(), None);
    assert_eq!(metastore.streams().await.unwrap(), [clicks, events.clone()]);
    assert_eq!(metastore.destination(events.id, FIRST).await.unwrap(), Some(to_redshift("events")));
    assert_eq!(metastore.destination(events.id, StreamVersion(2)).await.unwrap(), None);
}

async fn a_name_that_is_taken_is_refused_and_changes_nothing(fixture: Fixture) {
    let first = fixture.stream("clicks", &to_s3()).await;
    let revision = fixture.metastore.streams_revision().await.unwrap();
    let again = fixture
        .metastore
        .create_stream(&NewStream::new(first.name.clone(), to_redshift("t")), later(1))
        .await;
    assert!(matches!(&again, Err(Error::StreamExists(taken)) if *taken == first.name));
    assert_eq!(again.unwrap_err().kind(), Kind::Rejected);
    assert_eq!(fixture.metastore.streams().await.unwrap(), [first]);
    assert_eq!(fixture.metastore.streams_revision().await.unwrap(), revision);
}

async fn of_many_creations_of_one_name_at_once_one_succeeds(fixture: Fixture) {
    let new = NewStream::new(name("clicks"), to_s3());
    let created = join_all((0..8).map(|_| fixture.metastore.create_stream(&new, NOW))).await;
    let (created, refused): (Vec<_>, Vec<_>) = created.into_iter().partition(Result::is_ok);
    assert_eq!(created.len(), 1);
    assert!(refused.iter().all(|result| matches!(result, Err(Error::StreamExists(_)))));
}

async fn streams_created_at_once_have_ids_of_their_own(fixture: Fixture) {
    let new: Vec<_> = (0..8).map(|at| NewStream::new(name(&format!("s{at}")), to_s3())).collect();
    let created = join_all(new.iter().map(|new| fixture.metastore.create_stream(new, NOW))).await;
    let ids: BTreeSet<StreamId> = created.into_iter().map(|stream| stream.unwrap().id).collect();
    assert_eq!(ids.len(), 8);
}

async fn a_name_is_free_again_once_its_stream_is_removed_and_the_id_is_not(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let first = fixture.stream("clicks", &to_s3()).await;
    metastore.mark_deleting(first.id, later(1)).await.unwrap();
    let taken = metastore.create_stream(&NewStream::new(first.name.clone(), to_s3()), later(2)).await;
    assert!(
        matches!(taken, Err(Error::StreamExists(_))),
        "a stream that is being deleted has its name still"
    );
    metastore.remove_stream(first.id, later(3)).await.unwrap();
    assert_eq!(metastore.stream(&first.name).await.unwrap(), None);
    let second = fixture.stream("clicks", &to_redshift("t")).await;
    assert!(second.id > first.id);
    assert_eq!(metastore.streams().await.unwrap(), [second]);
    // Its batches are delivered with the settings that they were sealed under, also now.
    assert_eq!(metastore.destination(first.id, FIRST).await.unwrap(), Some(to_s3()));
}

async fn deleting_and_removing_may_be_repeated(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let stream = fixture.stream("clicks", &to_s3()).await;
    for at in [1, 2] {
        metastore.mark_deleting(stream.id, later(at)).await.unwrap();
        assert_eq!(metastore.stream(&stream.name).await.unwrap().unwrap().status, StreamStatus::Deleting);
    }
    for at in [3, 4] {
        metastore.remove_stream(stream.id, later(at)).await.unwrap();
    }
    let gone = metastore.mark_deleting(stream.id, later(5)).await.unwrap_err();
    assert_eq!(gone.to_string(), format!("stream {} is removed, expected active or deleting", stream.id));
    assert_eq!(metastore.streams().await.unwrap(), []);
}

async fn only_a_stream_that_is_being_deleted_is_removed(fixture: Fixture) {
    let stream = fixture.stream("clicks", &to_s3()).await;
    let error = fixture.metastore.remove_stream(stream.id, NOW).await.unwrap_err();
    assert_eq!(error.to_string(), format!("stream {} is active, expected deleting", stream.id));
    assert_eq!(error.kind(), Kind::Moved);
    assert_eq!(fixture.metastore.streams().await.unwrap(), [stream]);
}

async fn an_id_that_was_never_given_is_no_stream(fixture: Fixture) {
    for id in [StreamId(7), StreamId(u64::MAX)] {
        assert!(matches!(fixture.metastore.mark_deleting(id, NOW).await, Err(Error::NoSuchStream(_))));
        assert!(matches!(fixture.metastore.remove_stream(id, NOW).await, Err(Error::NoSuchStream(_))));
    }
}

async fn the_revision_grows_with_each_change_and_not_with_a_repetition(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let mut last = metastore.streams_revision().await.unwrap();
    let mut grown = async || {
        let now = metastore.streams_revision().await.unwrap();
        let grown = now > last;
        last = now;
        grown
    };
    let stream = fixture.stream("clicks", &to_s3()).await;
    assert!(grown().await);
    metastore.mark_deleting(stream.id, NOW).await.unwrap();
    assert!(grown().await);
    metastore.mark_deleting(stream.id, NOW).await.unwrap();
    assert!(!grown().await);
    metastore.remove_stream(stream.id, NOW).await.unwrap();
    assert!(grown().await);
    metastore.remove_stream(stream.id, NOW).await.unwrap();
    assert!(!grown().await);
    metastore.import_stream(&Stream { id: StreamId(70), ..stream }).await.unwrap();
    assert!(grown().await);
}

fn from_another_metastore(status: StreamStatus) -> Stream {
    Stream {
        id: StreamId(41),
        name: name("orders"),
        status,
        version: StreamVersion(3),
        destination: to_redshift("orders"),
        created_at: NOW,
        updated_at: Some(later(1_000)),
        tags: Default::default(),
        encryption: Default::default(),
        declared_in: None,
    }
}

async fn an_imported_stream_is_as_it_was_and_later_ids_are_greater(fixture: Fixture) {
    for status in [StreamStatus::Active, StreamStatus::Deleting] {
        let mut stream = from_another_metastore(status);
        if status == StreamStatus::Deleting {
            (stream.id, stream.name) = (StreamId(40), name("old-orders"));
        }
        for _repetition in 0..2 {
            fixture.metastore.import_stream(&stream).await.unwrap();
        }
        assert_eq!(fixture.metastore.stream(&stream.name).await.unwrap(), Some(stream));
    }
    assert_eq!(fixture.stream("new", &to_s3()).await.id, StreamId(42));
    assert_eq!(
        fixture.metastore.destination(StreamId(41), StreamVersion(3)).await.unwrap(),
        Some(to_redshift("orders"))
    );
}

async fn an_import_never_takes_another_streams_id_or_name(fixture: Fixture) {
    let there = fixture.stream("clicks", &to_s3()).await;
    let same_id = Stream { id: there.id, ..from_another_metastore(StreamStatus::Active) };
    let error = fixture.metastore.import_stream(&same_id).await.unwrap_err();
    assert!(matches!(&error, Error::StreamMoved { found, .. } if found.contains("clicks")), "{error}");
    let same_name = Stream { name: there.name.clone(), ..from_another_metastore(StreamStatus::Active) };
    let error = fixture.metastore.import_stream(&same_name).await.unwrap_err();
    assert!(matches!(error, Error::StreamExists(_)), "{error}");
    assert_eq!(fixture.metastore.streams().await.unwrap(), [there]);
    // A refused import gives nothing away either: ids go on where they were.
    assert_eq!(fixture.stream("next", &to_s3()).await.id, StreamId(2));
}

async fn a_stream_is_imported_and_created_at_once_under_one_name_only_once(fixture: Fixture) {
    let stream = from_another_metastore(StreamStatus::Active);
    let new = NewStream::new(stream.name.clone(), to_s3());
    let (created, imported) =
        tokio::join!(fixture.metastore.create_stream(&new, NOW), fixture.metastore.import_stream(&stream),);
    let refused = match (created, imported) {
        (Ok(_), Err(error)) | (Err(error), Ok(())) => error,
        (created, imported) => panic!("{created:?} {imported:?}"),
    };
    assert!(matches!(refused, Error::StreamExists(_)), "{refused}");
}

async fn no_more_streams_than_the_limit_are_created(fixture: Fixture) {
    let max = limits::STREAMS_MAX;
    let numbers = format!("with recursive n (i) as (select 1 union all select i + 1 from n where i < {max})");
    fixture
        .sql(&format!(
            "begin; update meta set stream_id_last = {max}, streams_revision = 1; \
             insert into streams (id, name, status, version, created_at, revision) {numbers} \
             select i, 's' || i, 'active', 1, '2026-01-02T03:04:05.678Z', 1 from n; \
             insert into stream_versions (stream_id, version, destination, created_at) \
             select id, 1, '{{}}', created_at from streams; commit"
        ))
        .await
        .unwrap();
    let one_more = fixture.metastore.create_stream(&NewStream::new(name("one-more"), to_s3()), NOW).await;
    assert!(matches!(one_more, Err(Error::TooManyStreams(limit)) if limit == max));
    fixture.metastore.mark_deleting(StreamId(7), NOW).await.unwrap();
    assert!(fixture.metastore.create_stream(&NewStream::new(name("one-more"), to_s3()), NOW).await.is_err());
    fixture.metastore.remove_stream(StreamId(7), NOW).await.unwrap();
    fixture.stream("one-more", &to_s3()).await;
}
