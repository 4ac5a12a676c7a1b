//! What is thrown away of a stream that is being deleted.

use hydrant_metastore::{Error, Filter, Kind, Lease, NewStream};
use hydrant_types::{Batch, BatchId, BatchState, LogId, Position, Stream, StreamStatus, Tags};

use crate::fixture::{
    Fixture, NOW, SHORT, abandoned, committed, is_lease_lost, later, object, to_redshift, to_s3, uploaded,
};

on_both!(
    what_is_sealed_or_waits_for_a_load_is_discarded_once_and_may_be_repeated,
    nothing_is_discarded_of_a_stream_that_goes_on,
    a_batch_that_is_further_is_not_discarded_and_nothing_of_the_call_is_changed,
    what_is_discarded_is_neither_uploaded_nor_loaded,
    of_an_upload_and_a_discard_at_once_one_is_refused,
    of_a_load_and_a_discard_at_once_one_is_refused,
    a_former_holder_of_the_log_discards_nothing,
    thousands_are_discarded_in_one_call,
    what_is_discarded_is_kept_as_long_as_what_is_delivered,
    a_stream_that_is_being_deleted_takes_the_tag_that_discards_and_no_other_change,
);

fn ids(batches: &[Batch]) -> Vec<BatchId> {
    batches.iter().map(|batch| batch.id).collect()
}

/// Two batches that are uploaded and one that is sealed, of a stream to Redshift that is being deleted.
async fn deleted(fixture: &Fixture) -> (Stream, LogId, Lease, Vec<Batch>) {
    let stream = fixture.stream("events", &to_redshift("events")).await;
    let (log, lease) = fixture.log().await;
    let mut batches = fixture.uploaded(&stream, log, &lease, 2).await;
    let sealed = fixture.batch(&stream, log, 20, 30);
    fixture.metastore.seal_batches(&lease, std::slice::from_ref(&sealed)).await.unwrap();
    batches.push(sealed);
    fixture.metastore.mark_deleting(stream.id, NOW).await.unwrap();
    (stream, log, lease, batches)
}

async fn what_is_sealed_or_waits_for_a_load_is_discarded_once_and_may_be_repeated(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let (stream, log, lease, batches) = deleted(&fixture).await;
    metastore.discard_batches(&lease, &ids(&batches[..1]), later(5)).await.unwrap();
    for _repetition in 0..2 {
        metastore.discard_batches(&lease, &ids(&batches), later(9)).await.unwrap();
    }
    let objects = [Some(object(batches[0].id)), Some(object(batches[1].id)), None];
    for ((batch, object), at) in batches.iter().zip(objects).zip([later(5), later(9), later(9)]) {
        let expected = Batch { state: BatchState::Discarded { object }, updated_at: at, ..batch.clone() };
        assert_eq!(metastore.batch(batch.id).await.unwrap(), Some(expected));
    }
    assert_eq!(metastore.unfinished_batches(stream.id).await.unwrap(), 0);
    assert_eq!(metastore.waiting().await.unwrap(), []);
    assert_eq!(metastore.sealed_batches(log).await.unwrap(), []);
    assert_eq!(metastore.sealed_to(log).await.unwrap()[0].uploaded, Position(30), "the log may be trimmed");
    let discarded = Filter { state: Some("discarded".to_owned()), ..Filter::default() };
    assert_eq!(metastore.batches(&discarded).await.unwrap().len(), 3);
    metastore.remove_stream(stream.id, NOW).await.unwrap();
    // A call whose answer was lost is repeated, also when the stream is gone.
    metastore.discard_batches(&lease, &ids(&batches), later(11)).await.unwrap();
}

async fn nothing_is_discarded_of_a_stream_that_goes_on(fixture: Fixture) {
    let (_, _, lease, deleted) = deleted(&fixture).await;
    let stream = fixture.stream("clicks", &to_s3()).await;
    let (log, other_lease) = fixture.log().await;
    let batches = fixture.sealed(&stream, log, &other_lease, 1).await;
    let error =
        fixture.metastore.discard_batches(&lease, &[deleted[2].id, batches[0].id], NOW).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Rejected, "{error}");
    for batch in [&deleted[2], &batches[0]] {
        assert_eq!(fixture.state_of(batch.id).await, BatchState::Sealed);
    }
}

async fn a_batch_that_is_further_is_not_discarded_and_nothing_of_the_call_is_changed(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let (events, clicks) =
        (fixture.stream("events", &to_redshift("events")).await, fixture.stream("clicks", &to_s3()).await);
    let (log, lease) = fixture.log().await;
    let delivered = fixture.uploaded(&clicks, log, &lease, 1).await;
    let batches = fixture.uploaded(&events, log, &lease, 3).await;
    let (lost_log, lost_lease) = fixture.log().await;
    let lost = fixture.sealed(&clicks, lost_log, &lost_lease, 1).await;
    metastore.retire_log(lost_log, NOW).await.unwrap();
    let table = fixture.table(&events.destination.copy_target().unwrap()).await;
    fixture.ended(&events, &table, &batches[..1], &committed(10), NOW).await;
    fixture.ended(&events, &table, &batches[1..2], &abandoned(), NOW).await;
    metastore.plan_load(&table, &fixture.load(&events, &batches[2..])).await.unwrap();
    let sealed = fixture.batch(&events, log, 30, 40);
    metastore.seal_batches(&lease, std::slice::from_ref(&sealed)).await.unwrap();
    for stream in [&events, &clicks] {
        metastore.mark_deleting(stream.id, NOW).await.unwrap();
    }
    for (id, state) in [
        (delivered[0].id, "delivered"),
        (batches[0].id, "loaded"),
        (batches[1].id, "parked"),
        (batches[2].id, "in_load"),
        (lost[0].id, "lost"),
        (BatchId(fixture.uuid()), "gone"),
    ] {
        let error = metastore.discard_batches(&lease, &[sealed.id, id], NOW).await.unwrap_err();
        assert_eq!(error.to_string(), format!("batch {id} is {state}, expected sealed or uploaded"));
        assert_eq!(error.kind(), Kind::Moved);
        assert_eq!(fixture.state_of(sealed.id).await, BatchState::Sealed);
    }
}

async fn what_is_discarded_is_neither_uploaded_nor_loaded(fixture: Fixture) {
    let (stream, _, lease, batches) = deleted(&fixture).await;
    fixture.metastore.discard_batches(&lease, &ids(&batches), NOW).await.unwrap();
    let upload = fixture.metastore.mark_uploaded(&lease, &[uploaded(&batches[2])], later(1)).await;
    assert!(matches!(upload, Err(Error::BatchMoved { .. })), "{upload:?}");
    let table = fixture.table(&stream.destination.copy_target().unwrap()).await;
    let load = fixture.metastore.plan_load(&table, &fixture.load(&stream, &batches[..1])).await;
    assert!(matches!(load, Err(Error::BatchMoved { .. })), "{load:?}");
    assert_eq!(fixture.state_of(batches[2].id).await, BatchState::Discarded { object: None });
}

async fn of_an_upload_and_a_discard_at_once_one_is_refused(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let stream = fixture.stream("clicks", &to_s3()).await;
    let (log, lease) = fixture.log().await;
    let batches = fixture.sealed(&stream, log, &lease, 8).await;
    metastore.mark_deleting(stream.id, NOW).await.unwrap();
    for batch in &batches {
        let uploads = [uploaded(batch)];
        let discards = [batch.id];
        let (upload, discard) = tokio::join!(
            metastore.mark_uploaded(&lease, &uploads, NOW),
            metastore.discard_batches(&lease, &discards, NOW)
        );
        let state = fixture.state_of(batch.id).await;
        match (upload, discard) {
            (Ok(()), Err(Error::BatchMoved { .. })) => {
                assert_eq!(state, BatchState::Delivered { object: object(batch.id) });
            }
            (Err(Error::BatchMoved { .. }), Ok(())) => {
                assert_eq!(state, BatchState::Discarded { object: None });
            }
            both => panic!("{both:?}"),
        }
    }
}

async fn of_a_load_and_a_discard_at_once_one_is_refused(fixture: Fixture) {
    let metastore = &fixture.metastore;
    for round in 0..6 {
        let table = format!("events{round}");
        let stream = fixture.stream(&table, &to_redshift(&table)).await;
        let (log, lease) = fixture.log().await;
        let batches = fixture.uploaded(&stream, log, &lease, 3).await;
        metastore.mark_deleting(stream.id, NOW).await.unwrap();
        let table = fixture.table(&stream.destination.copy_target().unwrap()).await;
        let (load, all) = (fixture.load(&stream, &batches), ids(&batches));
        let (planned, discarded) =
            tokio::join!(metastore.plan_load(&table, &load), metastore.discard_batches(&lease, &all, NOW));
        let mut states = Vec::new();
        for id in &all {
            states.push(fixture.state_of(*id).await.name());
        }
        match (planned, discarded) {
            (Ok(()), Err(Error::BatchMoved { .. })) => assert_eq!(states, ["in_load"; 3]),
            (Err(Error::BatchMoved { .. }), Ok(())) => assert_eq!(states, ["discarded"; 3]),
            both => panic!("{both:?}"),
        }
    }
}

async fn a_former_holder_of_the_log_discards_nothing(fixture: Fixture) {
    let (_, log, _, batches) = deleted(&fixture).await;
    let resource = format!("log:{log}");
    let former = fixture.metastore.acquire_lease(&resource, "node-1", SHORT).await.unwrap().unwrap();
    fixture.lease(&resource).await;
    let refused = fixture.metastore.discard_batches(&former, &ids(&batches), NOW).await;
    assert!(is_lease_lost(&refused), "{refused:?}");
    assert_eq!(fixture.state_of(batches[2].id).await, BatchState::Sealed);
}

async fn thousands_are_discarded_in_one_call(fixture: Fixture) {
    let stream = fixture.stream("clicks", &to_s3()).await;
    let (log, lease) = fixture.log().await;
    let batches = fixture.sealed(&stream, log, &lease, 2_500).await;
    fixture.metastore.mark_deleting(stream.id, NOW).await.unwrap();
    fixture.metastore.discard_batches(&lease, &ids(&batches), NOW).await.unwrap();
    assert_eq!(fixture.metastore.unfinished_batches(stream.id).await.unwrap(), 0);
    fixture.metastore.discard_batches(&lease, &[], NOW).await.unwrap();
}

async fn what_is_discarded_is_kept_as_long_as_what_is_delivered(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let (_, log, lease, batches) = deleted(&fixture).await;
    metastore.discard_batches(&lease, &ids(&batches), later(7)).await.unwrap();
    assert_eq!(metastore.sweep(later(7), 100).await.unwrap(), 0);
    assert_eq!(metastore.sweep(later(8), 100).await.unwrap(), 3);
    assert_eq!(metastore.batches(&Filter::default()).await.unwrap(), []);
    assert_eq!(metastore.sealed_to(log).await.unwrap()[0].uploaded, Position(30));
}

async fn a_stream_that_is_being_deleted_takes_the_tag_that_discards_and_no_other_change(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let full: Tags = (0..50).map(|at| (format!("key-{at}"), String::new())).collect();
    let new = NewStream { tags: full.clone(), ..NewStream::new("clicks".parse().unwrap(), to_s3()) };
    let stream = metastore.create_stream(&new, NOW).await.unwrap();
    let tag = |key: &str, value: &str| Tags::from([(key.to_owned(), value.to_owned())]);
    let discard = tag("hydrant:on-delete", "discard");
    assert!(matches!(metastore.change_tags(stream.id, &discard, &[]).await, Err(Error::TooManyTags(50))));
    metastore.mark_deleting(stream.id, NOW).await.unwrap();
    let both = Tags::from_iter(discard.clone().into_iter().chain(tag("team", "shop")));
    for (set, remove) in [
        (both, vec![]),
        (tag("hydrant:on-delete", "deliver"), vec![]),
        (Tags::new(), vec!["hydrant:on-delete".to_owned()]),
        (discard.clone(), vec!["key-1".to_owned()]),
    ] {
        let refused = metastore.change_tags(stream.id, &set, &remove).await;
        assert!(matches!(refused, Err(Error::StreamMoved { .. })), "{set:?} {remove:?}: {refused:?}");
    }
    let revision = metastore.streams_revision().await.unwrap();
    for _repetition in 0..2 {
        metastore.change_tags(stream.id, &discard, &[]).await.unwrap();
    }
    let found = metastore.stream(&stream.name).await.unwrap().unwrap();
    assert_eq!((found.status, found.tags.len()), (StreamStatus::Deleting, 51), "nothing could make room");
    assert!(found.is_discarding());
    assert_eq!(metastore.streams_revision().await.unwrap(), revision + 1, "other nodes notice, once");
    let refused = metastore.change_tags(stream.id, &Tags::new(), &["hydrant:on-delete".to_owned()]).await;
    assert!(refused.is_err(), "it is never taken back");
    metastore.remove_stream(stream.id, NOW).await.unwrap();
    assert!(matches!(metastore.change_tags(stream.id, &discard, &[]).await, Err(Error::StreamMoved { .. })));
}
