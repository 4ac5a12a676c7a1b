//! What processing leaves of a batch: perhaps nothing, and beside it the records that failed.

use hydrant_metastore::{Error, Filter, Kind, Uploaded};
use hydrant_types::{Batch, BatchState, Content, ErrorOutputType, Position};

use crate::fixture::{
    Fixture, NOW, abandoned, committed, error_output, is_lease_lost, later, object, to_redshift, to_s3,
    uploaded,
};

on_both!(
    error_output_is_a_batch_of_its_own_that_comes_with_the_upload,
    a_batch_of_which_nothing_is_left_is_empty_and_stays_so,
    an_upload_that_is_refused_leaves_no_error_output,
    a_repetition_brings_no_error_output_back_that_is_past_retention,
    error_output_is_neither_sealed_nor_discarded,
    error_output_does_not_move_the_lane,
    a_record_is_found_in_its_batch_and_the_error_output_beside_it,
    an_upload_that_is_in_one_call_twice_is_one,
    thousands_of_uploads_with_error_output_fit_into_one_call,
    an_empty_batch_is_in_no_load,
);

async fn error_output_is_a_batch_of_its_own_that_comes_with_the_upload(fixture: Fixture) {
    let metastore = &fixture.metastore;
    for (name, destination) in [("clicks", to_s3()), ("events", to_redshift("events"))] {
        let stream = fixture.stream(name, &destination).await;
        let (log, lease) = fixture.log().await;
        let sealed = Batch {
            oldest_arrival: later(1),
            sealed_at: later(2),
            updated_at: later(2),
            ..fixture.batch(&stream, log, 3, 13)
        };
        metastore.seal_batches(&lease, std::slice::from_ref(&sealed)).await.unwrap();
        let failed = fixture.failed(4);
        let upload = Uploaded { failed: vec![failed.clone()], ..uploaded(&sealed) };
        metastore.mark_uploaded(&lease, std::slice::from_ref(&upload), later(5)).await.unwrap();
        metastore.mark_uploaded(&lease, &[upload], later(9)).await.unwrap();
        assert_eq!(fixture.state_of(sealed.id).await.object(), Some(&object(sealed.id)));
        let expected = error_output(&sealed, &failed, later(5));
        assert_eq!(expected.range, sealed.range);
        assert_eq!(metastore.batch(failed.id).await.unwrap(), Some(expected));
    }
    assert_eq!(metastore.batches(&Filter::default()).await.unwrap().len(), 4);
}

async fn a_batch_of_which_nothing_is_left_is_empty_and_stays_so(fixture: Fixture) {
    let metastore = &fixture.metastore;
    for (name, destination) in [("clicks", to_s3()), ("events", to_redshift("events"))] {
        let stream = fixture.stream(name, &destination).await;
        let (log, lease) = fixture.log().await;
        let batches = fixture.sealed(&stream, log, &lease, 2).await;
        let nothing = |batch, failed| Uploaded { object: None, failed, ..uploaded(batch) };
        let failed = fixture.failed(10);
        let uploads = [nothing(&batches[0], vec![failed.clone()]), nothing(&batches[1], vec![])];
        metastore.mark_uploaded(&lease, &uploads, later(5)).await.unwrap();
        metastore.mark_uploaded(&lease, &uploads, later(9)).await.unwrap();
        for batch in &batches {
            let expected = Batch { state: BatchState::Empty, updated_at: later(5), ..batch.clone() };
            assert_eq!(metastore.batch(batch.id).await.unwrap(), Some(expected));
        }
        let expected = error_output(&batches[0], &failed, later(5));
        assert_eq!(metastore.batch(failed.id).await.unwrap(), Some(expected));
        assert_eq!(metastore.unfinished_batches(stream.id).await.unwrap(), 0);
        assert_eq!(metastore.sealed_batches(log).await.unwrap(), []);
        assert_eq!(metastore.sealed_to(log).await.unwrap()[0].uploaded, Position(20), "may be trimmed");
        let other = metastore.mark_uploaded(&lease, &[uploaded(&batches[0])], later(9)).await;
        assert_eq!(
            other.unwrap_err().to_string(),
            format!("batch {} is empty, expected sealed", batches[0].id)
        );
        metastore.mark_deleting(stream.id, NOW).await.unwrap();
        let discarded = metastore.discard_batches(&lease, &[batches[0].id], later(9)).await;
        assert!(matches!(discarded, Err(Error::BatchMoved { .. })), "{discarded:?}");
    }
    let empty = Filter { state: Some("empty".to_owned()), ..Filter::default() };
    assert_eq!(metastore.batches(&empty).await.unwrap().len(), 4);
    assert_eq!(metastore.sweep(later(5), 100).await.unwrap(), 0);
    assert_eq!(metastore.sweep(later(6), 100).await.unwrap(), 6);
}

async fn an_upload_that_is_refused_leaves_no_error_output(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let stream = fixture.stream("clicks", &to_s3()).await;
    let (log, lease) = fixture.log().await;
    let batches = fixture.sealed(&stream, log, &lease, 2).await;
    let with_failed = |batch, failed| Uploaded { failed: vec![failed], ..uploaded(batch) };
    // More records than there are, and an id that another batch has.
    let mut taken = fixture.failed(1);
    taken.id = batches[1].id;
    for broken in [fixture.failed(11), fixture.failed(0), taken] {
        let good = fixture.failed(1);
        let uploads = [with_failed(&batches[0], good.clone()), with_failed(&batches[1], broken)];
        let refused = metastore.mark_uploaded(&lease, &uploads, NOW).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Rejected, "{refused}");
        assert_eq!(metastore.batch(good.id).await.unwrap(), None);
        assert_eq!(metastore.sealed_batches(log).await.unwrap(), batches);
    }
    let former = lease.clone();
    let lease = fixture.lease(&former.resource).await;
    let upload = with_failed(&batches[0], fixture.failed(1));
    assert!(is_lease_lost(&metastore.mark_uploaded(&former, std::slice::from_ref(&upload), NOW).await));
    assert_eq!(metastore.batches(&Filter::default()).await.unwrap().len(), 2);
    metastore.mark_uploaded(&lease, &[upload], NOW).await.unwrap();
}

async fn a_repetition_brings_no_error_output_back_that_is_past_retention(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let stream = fixture.stream("events", &to_redshift("events")).await;
    let (log, lease) = fixture.log().await;
    let batches = fixture.sealed(&stream, log, &lease, 1).await;
    let failed = fixture.failed(1);
    let upload = Uploaded { failed: vec![failed.clone()], ..uploaded(&batches[0]) };
    metastore.mark_uploaded(&lease, std::slice::from_ref(&upload), NOW).await.unwrap();
    assert_eq!(metastore.sweep(later(1), 100).await.unwrap(), 1, "the batch beside it waits for its load");
    metastore.mark_uploaded(&lease, &[upload], later(2)).await.unwrap();
    assert_eq!(metastore.batch(failed.id).await.unwrap(), None);
}

async fn error_output_is_neither_sealed_nor_discarded(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let stream = fixture.stream("clicks", &to_s3()).await;
    let (log, lease) = fixture.log().await;
    let content = Content::Failed { error: ErrorOutputType::DecompressionFailed, records: 1 };
    let sealed = Batch { content, ..fixture.batch(&stream, log, 0, 10) };
    let refused = metastore.seal_batches(&lease, std::slice::from_ref(&sealed)).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Rejected, "{refused}");
    assert_eq!(metastore.batch(sealed.id).await.unwrap(), None);
    let batches = fixture.sealed(&stream, log, &lease, 1).await;
    let failed = fixture.failed(1);
    let upload = Uploaded { failed: vec![failed.clone()], ..uploaded(&batches[0]) };
    metastore.mark_uploaded(&lease, &[upload], NOW).await.unwrap();
    metastore.mark_deleting(stream.id, NOW).await.unwrap();
    let refused = metastore.discard_batches(&lease, &[failed.id], NOW).await;
    assert!(matches!(refused, Err(Error::BatchMoved { .. })), "{refused:?}");
}

async fn error_output_does_not_move_the_lane(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let stream = fixture.stream("clicks", &to_s3()).await;
    let (log, lease) = fixture.log().await;
    let batches = fixture.sealed(&stream, log, &lease, 2).await;
    let upload = Uploaded { failed: vec![fixture.failed(2)], ..uploaded(&batches[1]) };
    metastore.mark_uploaded(&lease, &[upload], NOW).await.unwrap();
    let positions = metastore.sealed_to(log).await.unwrap();
    assert_eq!(positions.len(), 1);
    assert_eq!((positions[0].sealed, positions[0].uploaded), (Position(20), Position(0)));
    assert_eq!(metastore.unfinished_batches(stream.id).await.unwrap(), 1);
}

async fn a_record_is_found_in_its_batch_and_the_error_output_beside_it(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let stream = fixture.stream("clicks", &to_s3()).await;
    let (log, lease) = fixture.log().await;
    let batches = fixture.sealed(&stream, log, &lease, 2).await;
    let backup = fixture.backup(&stream, log, 0, 20);
    metastore.seal_batches(&lease, std::slice::from_ref(&backup)).await.unwrap();
    let failed = fixture.failed(2);
    let upload = Uploaded { failed: vec![failed.clone()], ..uploaded(&batches[0]) };
    metastore.mark_uploaded(&lease, &[upload], NOW).await.unwrap();
    let found = async |position| {
        let found = metastore.batches_at(log, stream.id, Position(position)).await.unwrap();
        found.into_iter().map(|batch| batch.id).collect::<Vec<_>>()
    };
    assert_eq!(found(9).await, [batches[0].id, backup.id, failed.id]);
    assert_eq!(found(10).await, [batches[1].id, backup.id]);
}

async fn an_upload_that_is_in_one_call_twice_is_one(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let stream = fixture.stream("clicks", &to_s3()).await;
    let (log, lease) = fixture.log().await;
    let batches = fixture.sealed(&stream, log, &lease, 1).await;
    let upload = Uploaded { failed: vec![fixture.failed(1)], ..uploaded(&batches[0]) };
    let other = Uploaded { object: None, ..upload.clone() };
    let refused = metastore.mark_uploaded(&lease, &[upload.clone(), other], NOW).await;
    assert!(matches!(refused, Err(Error::BatchMoved { .. })), "{refused:?}");
    assert_eq!(fixture.state_of(batches[0].id).await, BatchState::Sealed);
    metastore.mark_uploaded(&lease, &[upload.clone(), upload], NOW).await.unwrap();
    assert_eq!(metastore.batches(&Filter::default()).await.unwrap().len(), 2);
}

async fn thousands_of_uploads_with_error_output_fit_into_one_call(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let stream = fixture.stream("clicks", &to_s3()).await;
    let (log, lease) = fixture.log().await;
    let batches = fixture.sealed(&stream, log, &lease, 2_500).await;
    let upload = |batch| Uploaded { failed: vec![fixture.failed(1)], ..uploaded(batch) };
    let uploads: Vec<Uploaded> = batches.iter().map(upload).collect();
    metastore.mark_uploaded(&lease, &uploads, NOW).await.unwrap();
    let counted = fixture.rows("select cast(count(*) as text) from batches where failed_records = 1").await;
    assert_eq!(counted, ["2500"]);
}

async fn an_empty_batch_is_in_no_load(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let stream = fixture.stream("events", &to_redshift("events")).await;
    let (log, lease) = fixture.log().await;
    let batches = fixture.sealed(&stream, log, &lease, 3).await;
    let nothing = Uploaded { object: None, ..uploaded(&batches[1]) };
    let failed = fixture.failed(1);
    let some = Uploaded { failed: vec![failed.clone()], ..uploaded(&batches[0]) };
    metastore.mark_uploaded(&lease, &[some, nothing, uploaded(&batches[2])], NOW).await.unwrap();
    assert_eq!(metastore.waiting().await.unwrap()[0].batches, 2);
    let table = fixture.table(&stream.destination.copy_target().unwrap()).await;
    let refused = metastore.plan_load(&table, &fixture.load(&stream, &batches[..2])).await;
    assert!(matches!(refused, Err(Error::BatchMoved { id, .. }) if id == batches[1].id), "{refused:?}");
    fixture.ended(&stream, &table, &batches[..1], &committed(9), NOW).await;
    fixture.ended(&stream, &table, &batches[2..], &abandoned(), NOW).await;
    let kept = error_output(&batches[0], &failed, NOW);
    assert_eq!(metastore.batch(failed.id).await.unwrap(), Some(kept), "loads are not its business");
}
