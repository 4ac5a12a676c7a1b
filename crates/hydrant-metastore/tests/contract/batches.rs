//! Batches, until they are in a load.

use hydrant_metastore::{Error, Filter, Kind, Uploaded};
use hydrant_types::{Batch, BatchId, BatchState, Position, StoredObject};

use crate::fixture::{Fixture, NOW, later, object, to_redshift, to_s3, uploaded};

on_both!(
    a_sealed_batch_is_read_back_as_it_was,
    batches_of_many_streams_are_sealed_in_one_call_in_any_order,
    sealing_may_be_repeated_also_in_part,
    a_gap_or_an_overlap_is_refused_and_nothing_of_the_call_is_there,
    an_id_is_never_given_to_another_range,
    a_streams_first_batch_in_a_log_begins_anywhere,
    a_batch_of_unknown_settings_is_refused,
    an_upload_is_marked_once_and_may_be_repeated,
    another_object_for_a_batch_is_refused_and_nothing_of_the_call_is_changed,
    a_batch_that_is_for_redshift_is_never_delivered_by_its_upload,
    thousands_of_batches_fit_into_one_call,
    nothing_is_a_call_too,
    a_record_is_found_in_its_batch,
    batches_are_listed_newest_first,
    what_is_sealed_is_listed_by_stream_and_range,
);

async fn a_sealed_batch_is_read_back_as_it_was(fixture: Fixture) {
    for (name, destination) in [("clicks", to_s3()), ("events", to_redshift("public.events"))] {
        let stream = fixture.stream(name, &destination).await;
        let (log, lease) = fixture.log().await;
        let batch = Batch {
            oldest_arrival: later(7),
            sealed_at: later(9),
            updated_at: later(9),
            ..fixture.batch(&stream, log, 0, 10)
        };
        fixture.metastore.seal_batches(&lease, std::slice::from_ref(&batch)).await.unwrap();
        assert_eq!(fixture.metastore.batch(batch.id).await.unwrap(), Some(batch.clone()));
        assert_eq!(fixture.reopened().await.batch(batch.id).await.unwrap(), Some(batch));
    }
    assert_eq!(fixture.metastore.batch(BatchId(fixture.uuid())).await.unwrap(), None);
}

async fn batches_of_many_streams_are_sealed_in_one_call_in_any_order(fixture: Fixture) {
    let (log, lease) = fixture.log().await;
    let mut batches = Vec::new();
    for name in ["a", "b", "c"] {
        let stream = fixture.stream(name, &to_s3()).await;
        batches.extend([fixture.batch(&stream, log, 10, 25), fixture.batch(&stream, log, 0, 10)]);
    }
    fixture.metastore.seal_batches(&lease, &batches).await.unwrap();
    let positions = fixture.metastore.sealed_to(log).await.unwrap();
    assert_eq!(positions.iter().map(|at| at.sealed).collect::<Vec<_>>(), [Position(25); 3]);
}

async fn sealing_may_be_repeated_also_in_part(fixture: Fixture) {
    let stream = fixture.stream("clicks", &to_s3()).await;
    let (log, lease) = fixture.log().await;
    let batches = [
        fixture.batch(&stream, log, 0, 10),
        fixture.batch(&stream, log, 10, 20),
        fixture.batch(&stream, log, 20, 30),
    ];
    fixture.metastore.seal_batches(&lease, &batches[..2]).await.unwrap();
    fixture.metastore.mark_uploaded(&lease, &[uploaded(&batches[0])], NOW).await.unwrap();
    for _repetition in 0..2 {
        fixture.metastore.seal_batches(&lease, &batches).await.unwrap();
    }
    assert_eq!(fixture.metastore.batches(&Filter::default()).await.unwrap().len(), 3);
    assert_eq!(fixture.metastore.sealed_to(log).await.unwrap()[0].sealed, Position(30));
    assert!(
        matches!(fixture.state_of(batches[0].id).await, BatchState::Delivered { .. }),
        "a repetition moves nothing back"
    );
}

async fn a_gap_or_an_overlap_is_refused_and_nothing_of_the_call_is_there(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let (clicks, orders) =
        (fixture.stream("clicks", &to_s3()).await, fixture.stream("orders", &to_s3()).await);
    let (log, lease) = fixture.log().await;
    fixture.sealed(&clicks, log, &lease, 1).await;
    for (from, to) in [(11, 20), (9, 20), (0, 10), (5, 7)] {
        let (good, bad) = (fixture.batch(&orders, log, 0, 10), fixture.batch(&clicks, log, from, to));
        let error = metastore.seal_batches(&lease, &[good.clone(), bad.clone()]).await.unwrap_err();
        assert!(
            matches!(error, Error::NotAdjacent { id, sealed_to: Position(10), .. } if id == bad.id),
            "{error}"
        );
        assert_eq!(error.kind(), Kind::Moved);
        assert_eq!(metastore.batch(good.id).await.unwrap(), None);
        assert_eq!(metastore.batch(bad.id).await.unwrap(), None);
    }
    assert_eq!(metastore.sealed_to(log).await.unwrap().len(), 1);
    // Two of one call leave a gap between them.
    let apart = [fixture.batch(&clicks, log, 10, 20), fixture.batch(&clicks, log, 21, 30)];
    assert!(matches!(metastore.seal_batches(&lease, &apart).await, Err(Error::NotAdjacent { .. })));
    assert_eq!(metastore.sealed_to(log).await.unwrap()[0].sealed, Position(10));
}

async fn an_id_is_never_given_to_another_range(fixture: Fixture) {
    let (clicks, orders) =
        (fixture.stream("clicks", &to_s3()).await, fixture.stream("orders", &to_s3()).await);
    let (log, lease) = fixture.log().await;
    let sealed = fixture.sealed(&clicks, log, &lease, 1).await;
    for other in [
        fixture.batch(&clicks, log, 10, 20),
        fixture.batch(&clicks, log, 0, 9),
        fixture.batch(&orders, log, 0, 10),
    ] {
        let other = Batch { id: sealed[0].id, ..other };
        let error = fixture.metastore.seal_batches(&lease, &[other]).await.unwrap_err();
        assert!(matches!(error, Error::BatchMoved { .. }), "{error}");
    }
    assert_eq!(fixture.metastore.batch(sealed[0].id).await.unwrap().as_ref(), Some(&sealed[0]));
}

async fn a_streams_first_batch_in_a_log_begins_anywhere(fixture: Fixture) {
    let stream = fixture.stream("clicks", &to_s3()).await;
    let (log, lease) = fixture.log().await;
    let batch = fixture.batch(&stream, log, 1_000, 1_001);
    fixture.metastore.seal_batches(&lease, &[batch]).await.unwrap();
    assert_eq!(fixture.metastore.sealed_to(log).await.unwrap()[0].uploaded, Position(1_000));
}

async fn a_batch_of_unknown_settings_is_refused(fixture: Fixture) {
    let stream = fixture.stream("clicks", &to_s3()).await;
    let (log, lease) = fixture.log().await;
    let batch =
        Batch { stream_version: hydrant_types::StreamVersion(2), ..fixture.batch(&stream, log, 0, 10) };
    let error = fixture.metastore.seal_batches(&lease, std::slice::from_ref(&batch)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Rejected, "{error}");
    assert_eq!(fixture.metastore.batch(batch.id).await.unwrap(), None);
}

async fn an_upload_is_marked_once_and_may_be_repeated(fixture: Fixture) {
    for (name, destination) in [("clicks", to_s3()), ("events", to_redshift("events"))] {
        let stream = fixture.stream(name, &destination).await;
        let (log, lease) = fixture.log().await;
        let batches = fixture.sealed(&stream, log, &lease, 3).await;
        assert_eq!(fixture.metastore.unfinished_batches(stream.id).await.unwrap(), 3);
        let uploads: Vec<Uploaded> = batches.iter().map(uploaded).collect();
        fixture.metastore.mark_uploaded(&lease, &uploads[..1], later(5)).await.unwrap();
        for _repetition in 0..2 {
            fixture.metastore.mark_uploaded(&lease, &uploads, later(9)).await.unwrap();
        }
        for (batch, at) in batches.iter().zip([later(5), later(9), later(9)]) {
            let object = object(batch.id);
            let state = match name {
                "clicks" => BatchState::Delivered { object },
                _ => BatchState::Uploaded { object },
            };
            let expected = Batch { state, updated_at: at, ..batch.clone() };
            assert_eq!(fixture.metastore.batch(batch.id).await.unwrap(), Some(expected));
        }
        let left = if name == "clicks" { 0 } else { 3 };
        assert_eq!(fixture.metastore.unfinished_batches(stream.id).await.unwrap(), left);
    }
}

async fn another_object_for_a_batch_is_refused_and_nothing_of_the_call_is_changed(fixture: Fixture) {
    let stream = fixture.stream("clicks", &to_s3()).await;
    let (log, lease) = fixture.log().await;
    let batches = fixture.uploaded(&stream, log, &lease, 1).await;
    let next = fixture.batch(&stream, log, 10, 20);
    fixture.metastore.seal_batches(&lease, std::slice::from_ref(&next)).await.unwrap();
    let other = StoredObject { etag: "another".to_owned(), bytes: 42 };
    let unknown = BatchId(fixture.uuid());
    let wrong = [
        (Uploaded { object: Some(other.clone()), ..uploaded(&batches[0]) }, "delivered"),
        (
            Uploaded {
                object: Some(StoredObject { bytes: 43, ..object(batches[0].id) }),
                ..uploaded(&batches[0])
            },
            "delivered",
        ),
        (Uploaded { object: None, ..uploaded(&batches[0]) }, "delivered"),
        (Uploaded { id: unknown, object: Some(other), ..uploaded(&batches[0]) }, "gone"),
    ];
    for (upload, found) in wrong {
        let id = upload.id;
        let error =
            fixture.metastore.mark_uploaded(&lease, &[uploaded(&next), upload], later(1)).await.unwrap_err();
        assert_eq!(error.to_string(), format!("batch {id} is {found}, expected sealed"));
        assert_eq!(error.kind(), Kind::Moved);
    }
    assert_eq!(fixture.state_of(next.id).await, BatchState::Sealed);
    assert_eq!(
        fixture.state_of(batches[0].id).await,
        BatchState::Delivered { object: object(batches[0].id) }
    );
}

async fn a_batch_that_is_for_redshift_is_never_delivered_by_its_upload(fixture: Fixture) {
    for (name, destination) in [("clicks", to_s3()), ("events", to_redshift("events"))] {
        let stream = fixture.stream(name, &destination).await;
        let (log, lease) = fixture.log().await;
        let batch = &fixture.sealed(&stream, log, &lease, 1).await[0];
        let wrong = Uploaded { delivered: batch.copy_target.is_some(), ..uploaded(batch) };
        let error = fixture.metastore.mark_uploaded(&lease, &[wrong], NOW).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Rejected, "{error}");
        assert_eq!(fixture.state_of(batch.id).await, BatchState::Sealed);
    }
}

async fn thousands_of_batches_fit_into_one_call(fixture: Fixture) {
    let stream = fixture.stream("clicks", &to_s3()).await;
    let (log, lease) = fixture.log().await;
    let batches = fixture.uploaded(&stream, log, &lease, 2_500).await;
    assert_eq!(fixture.metastore.sealed_to(log).await.unwrap()[0].uploaded, Position(25_000));
    assert!(matches!(fixture.state_of(batches[2_499].id).await, BatchState::Delivered { .. }));
}

async fn nothing_is_a_call_too(fixture: Fixture) {
    let (log, lease) = fixture.log().await;
    fixture.metastore.seal_batches(&lease, &[]).await.unwrap();
    fixture.metastore.mark_uploaded(&lease, &[], NOW).await.unwrap();
    fixture.metastore.set_sealed_to(log, &[]).await.unwrap();
    fixture.metastore.record_attempts(&[]).await.unwrap();
    assert_eq!(fixture.metastore.sweep(NOW, 0).await.unwrap(), 0);
}

async fn a_record_is_found_in_its_batch(fixture: Fixture) {
    let (clicks, orders) =
        (fixture.stream("clicks", &to_s3()).await, fixture.stream("orders", &to_s3()).await);
    let (log, lease) = fixture.log().await;
    let first = fixture.batch(&clicks, log, 5, 10);
    let second = fixture.batch(&clicks, log, 10, 11);
    fixture.metastore.seal_batches(&lease, &[first.clone(), second.clone()]).await.unwrap();
    let (first, second) = (Some(first), Some(second));
    for (position, expected) in
        [(4, &None), (5, &first), (9, &first), (10, &second), (11, &None), (u64::MAX, &None)]
    {
        let found = fixture.metastore.batches_at(log, clicks.id, Position(position)).await.unwrap();
        assert_eq!(found, expected.iter().cloned().collect::<Vec<_>>(), "{position}");
    }
    assert_eq!(fixture.metastore.batches_at(log, orders.id, Position(5)).await.unwrap(), []);
    let (other, _) = fixture.log().await;
    assert_eq!(fixture.metastore.batches_at(other, clicks.id, Position(5)).await.unwrap(), []);
}

async fn batches_are_listed_newest_first(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let (clicks, orders) =
        (fixture.stream("clicks", &to_s3()).await, fixture.stream("orders", &to_s3()).await);
    let (log, lease) = fixture.log().await;
    let mut batches = Vec::new();
    for at in 0..4 {
        let stream = if at % 2 == 0 { &clicks } else { &orders };
        let from = at / 2 * 10;
        batches.push(Batch {
            sealed_at: later(at),
            updated_at: later(at),
            ..fixture.batch(stream, log, from, from + 10)
        });
    }
    metastore.seal_batches(&lease, &batches).await.unwrap();
    metastore.mark_uploaded(&lease, &[uploaded(&batches[0])], later(9)).await.unwrap();
    let list = async |stream: Option<&str>, state: Option<&str>, limit| {
        let filter = Filter {
            stream: stream.map(|name| name.parse().unwrap()),
            state: state.map(str::to_owned),
            limit,
        };
        let listed = metastore.batches(&filter).await.unwrap();
        listed
            .iter()
            .map(|batch| batches.iter().position(|known| known.id == batch.id).unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(list(None, None, 0).await, [3, 2, 1, 0]);
    assert_eq!(list(None, None, 3).await, [3, 2, 1]);
    assert_eq!(list(Some("clicks"), None, 0).await, [2, 0]);
    assert_eq!(list(Some("clicks"), Some("sealed"), 0).await, [2]);
    assert_eq!(list(None, Some("sealed"), 2).await, [3, 2]);
    assert_eq!(list(None, Some("delivered"), 0).await, [0]);
    assert_eq!(list(Some("nobody"), None, 0).await, [0; 0]);
    assert_eq!(list(None, Some("no such state"), 0).await, [0; 0]);
}

async fn what_is_sealed_is_listed_by_stream_and_range(fixture: Fixture) {
    let (clicks, orders) =
        (fixture.stream("clicks", &to_s3()).await, fixture.stream("orders", &to_s3()).await);
    let (log, lease) = fixture.log().await;
    let orders = fixture.sealed(&orders, log, &lease, 2).await;
    let clicks = fixture.sealed(&clicks, log, &lease, 3).await;
    fixture.metastore.mark_uploaded(&lease, &[uploaded(&clicks[1])], NOW).await.unwrap();
    let sealed = fixture.metastore.sealed_batches(log).await.unwrap();
    assert_eq!(sealed, [clicks[0].clone(), clicks[2].clone(), orders[0].clone(), orders[1].clone()]);
}
