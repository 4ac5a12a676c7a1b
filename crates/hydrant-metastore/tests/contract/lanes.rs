//! The ways on which a stream's records leave the log: each is sealed and uploaded by itself.

use hydrant_metastore::{Error, Kind, SealedTo, Uploaded};
use hydrant_types::{Batch, BatchState, Lane, Position};

use crate::fixture::{Fixture, NOW, later, object, to_redshift, to_s3, uploaded};

on_both!(
    each_lane_is_sealed_by_itself_and_is_its_own_without_a_gap,
    how_far_a_lane_is_uploaded_is_its_own_batches_business,
    an_id_is_never_given_to_another_lane,
    a_person_says_where_each_lane_goes_on,
    what_is_sealed_of_both_lanes_is_listed_by_lane_and_lost_with_the_log,
    a_backup_is_delivered_by_its_upload_and_never_waits_for_a_load,
    a_backup_is_never_empty,
    a_backup_is_discarded_with_its_stream,
    a_record_is_in_a_batch_of_each_lane,
);

async fn each_lane_is_sealed_by_itself_and_is_its_own_without_a_gap(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let stream = fixture.stream("clicks", &to_s3()).await;
    let (log, lease) = fixture.log().await;
    let delivery = [fixture.batch(&stream, log, 0, 10), fixture.batch(&stream, log, 10, 30)];
    // A backup that was switched on later begins where it begins.
    let backup = [fixture.backup(&stream, log, 7, 25), fixture.backup(&stream, log, 25, 26)];
    let all = [delivery[1].clone(), backup[1].clone(), backup[0].clone(), delivery[0].clone()];
    for _repetition in 0..2 {
        metastore.seal_batches(&lease, &all).await.unwrap();
    }
    for batch in &all {
        assert_eq!(metastore.batch(batch.id).await.unwrap().as_ref(), Some(batch));
    }
    for wrong in [fixture.backup(&stream, log, 30, 40), fixture.batch(&stream, log, 26, 40)] {
        let refused = metastore.seal_batches(&lease, &[wrong]).await;
        assert!(matches!(refused, Err(Error::NotAdjacent { .. })), "{refused:?}");
    }
    let next = [fixture.backup(&stream, log, 26, 40), fixture.batch(&stream, log, 30, 40)];
    metastore.seal_batches(&lease, &next).await.unwrap();
}

async fn how_far_a_lane_is_uploaded_is_its_own_batches_business(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let (clicks, orders) =
        (fixture.stream("clicks", &to_s3()).await, fixture.stream("orders", &to_s3()).await);
    let (log, lease) = fixture.log().await;
    let delivery = fixture.sealed(&clicks, log, &lease, 2).await;
    let backup = [fixture.backup(&clicks, log, 0, 15), fixture.backup(&clicks, log, 15, 20)];
    metastore.seal_batches(&lease, &backup).await.unwrap();
    fixture.uploaded(&orders, log, &lease, 1).await;
    let at = |stream, lane, sealed, uploaded| SealedTo {
        stream,
        lane,
        sealed: Position(sealed),
        uploaded: Position(uploaded),
    };
    let expected = |delivered, backed_up| {
        [
            at(clicks.id, Lane::Delivery, 20, delivered),
            at(clicks.id, Lane::Backup, 20, backed_up),
            at(orders.id, Lane::Delivery, 10, 10),
        ]
    };
    assert_eq!(metastore.sealed_to(log).await.unwrap(), expected(0, 0));
    metastore.mark_uploaded(&lease, &[uploaded(&backup[0])], NOW).await.unwrap();
    assert_eq!(metastore.sealed_to(log).await.unwrap(), expected(0, 15));
    metastore.mark_uploaded(&lease, &delivery.iter().map(uploaded).collect::<Vec<_>>(), NOW).await.unwrap();
    assert_eq!(metastore.sealed_to(log).await.unwrap(), expected(20, 15));
    assert_eq!(metastore.unfinished_batches(clicks.id).await.unwrap(), 1);
    assert_eq!(metastore.sweep(later(1), 100).await.unwrap(), 4);
    assert_eq!(metastore.sealed_to(log).await.unwrap(), expected(20, 15), "kept without the batches");
}

async fn an_id_is_never_given_to_another_lane(fixture: Fixture) {
    let stream = fixture.stream("clicks", &to_s3()).await;
    let (log, lease) = fixture.log().await;
    let sealed = fixture.sealed(&stream, log, &lease, 1).await;
    let other = Batch { id: sealed[0].id, ..fixture.backup(&stream, log, 0, 10) };
    let refused = fixture.metastore.seal_batches(&lease, &[other]).await;
    assert!(matches!(refused, Err(Error::BatchMoved { id, .. }) if id == sealed[0].id), "{refused:?}");
}

async fn a_person_says_where_each_lane_goes_on(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let stream = fixture.stream("clicks", &to_s3()).await;
    let (log, lease) = fixture.log().await;
    let positions = [(stream.id, Lane::Backup, Position(70)), (stream.id, Lane::Delivery, Position(100))];
    for _repetition in 0..2 {
        metastore.set_sealed_to(log, &positions).await.unwrap();
    }
    let read: Vec<_> =
        metastore.sealed_to(log).await.unwrap().iter().map(|to| (to.lane, to.sealed, to.uploaded)).collect();
    let expected =
        [(Lane::Delivery, Position(100), Position(100)), (Lane::Backup, Position(70), Position(70))];
    assert_eq!(read, expected);
    let next = [fixture.batch(&stream, log, 100, 110), fixture.backup(&stream, log, 70, 110)];
    metastore.seal_batches(&lease, &next).await.unwrap();
}

async fn what_is_sealed_of_both_lanes_is_listed_by_lane_and_lost_with_the_log(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let (clicks, orders) =
        (fixture.stream("clicks", &to_s3()).await, fixture.stream("orders", &to_s3()).await);
    let (log, lease) = fixture.log().await;
    let expected = [
        fixture.batch(&clicks, log, 10, 20),
        fixture.batch(&clicks, log, 20, 30),
        fixture.backup(&clicks, log, 0, 15),
        fixture.backup(&clicks, log, 15, 30),
        fixture.batch(&orders, log, 0, 5),
    ];
    let mixed: Vec<Batch> = [4, 2, 1, 3, 0].map(|at: usize| expected[at].clone()).into();
    metastore.seal_batches(&lease, &mixed).await.unwrap();
    assert_eq!(metastore.sealed_batches(log).await.unwrap(), expected);
    metastore.retire_log(log, NOW).await.unwrap();
    for batch in &expected {
        assert_eq!(fixture.state_of(batch.id).await, BatchState::Lost);
    }
}

async fn a_backup_is_delivered_by_its_upload_and_never_waits_for_a_load(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let stream = fixture.stream("events", &to_redshift("events")).await;
    let (log, lease) = fixture.log().await;
    let delivery = fixture.batch(&stream, log, 0, 10);
    let backup = fixture.backup(&stream, log, 0, 10);
    metastore.seal_batches(&lease, &[delivery.clone(), backup.clone()]).await.unwrap();
    let wrong = Uploaded { delivered: false, ..uploaded(&backup) };
    let refused = metastore.mark_uploaded(&lease, &[wrong], NOW).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Rejected, "{refused}");
    metastore.mark_uploaded(&lease, &[uploaded(&delivery), uploaded(&backup)], NOW).await.unwrap();
    assert_eq!(fixture.state_of(backup.id).await, BatchState::Delivered { object: object(backup.id) });
    let waiting = metastore.waiting().await.unwrap();
    assert_eq!(waiting.iter().map(|row| row.batches).collect::<Vec<_>>(), [1]);
    let target = stream.destination.copy_target().unwrap();
    let waiting = metastore.waiting_batches(stream.id, &target, 10).await.unwrap();
    assert_eq!(waiting.iter().map(|batch| batch.id).collect::<Vec<_>>(), [delivery.id]);
    assert_eq!(metastore.unfinished_batches(stream.id).await.unwrap(), 1);
}

async fn a_backup_is_never_empty(fixture: Fixture) {
    let stream = fixture.stream("clicks", &to_s3()).await;
    let (log, lease) = fixture.log().await;
    let backup = fixture.backup(&stream, log, 0, 10);
    fixture.metastore.seal_batches(&lease, std::slice::from_ref(&backup)).await.unwrap();
    let nothing = Uploaded { object: None, ..uploaded(&backup) };
    let refused = fixture.metastore.mark_uploaded(&lease, &[nothing], NOW).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Rejected, "{refused}");
    assert_eq!(fixture.state_of(backup.id).await, BatchState::Sealed);
}

async fn a_backup_is_discarded_with_its_stream(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let stream = fixture.stream("clicks", &to_s3()).await;
    let (log, lease) = fixture.log().await;
    let backup = fixture.backup(&stream, log, 0, 10);
    metastore.seal_batches(&lease, std::slice::from_ref(&backup)).await.unwrap();
    metastore.mark_deleting(stream.id, NOW).await.unwrap();
    metastore.discard_batches(&lease, &[backup.id], NOW).await.unwrap();
    assert_eq!(fixture.state_of(backup.id).await, BatchState::Discarded { object: None });
    assert_eq!(metastore.sealed_to(log).await.unwrap()[0].uploaded, Position(10));
}

async fn a_record_is_in_a_batch_of_each_lane(fixture: Fixture) {
    let stream = fixture.stream("clicks", &to_s3()).await;
    let (log, lease) = fixture.log().await;
    let delivery = [fixture.batch(&stream, log, 0, 10), fixture.batch(&stream, log, 10, 20)];
    let backup = fixture.backup(&stream, log, 5, 15);
    let all = [backup.clone(), delivery[0].clone(), delivery[1].clone()];
    fixture.metastore.seal_batches(&lease, &all).await.unwrap();
    for (position, expected) in [
        (4, vec![&delivery[0]]),
        (5, vec![&delivery[0], &backup]),
        (10, vec![&delivery[1], &backup]),
        (15, vec![&delivery[1]]),
        (20, vec![]),
    ] {
        let found = fixture.metastore.batches_at(log, stream.id, Position(position)).await.unwrap();
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{position}");
    }
}
