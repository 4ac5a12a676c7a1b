//! Record logs, and how far they are sealed.

use hydrant_metastore::{Error, SealedTo};
use hydrant_types::{BatchState, Lane, LogId, Position, Timestamp};

use crate::fixture::{Fixture, NOW, later, to_s3, uploaded};

on_both!(
    a_log_is_registered_once_and_moves_with_its_node,
    a_log_that_is_not_registered_takes_no_batches_and_no_positions,
    what_was_sealed_in_a_retired_log_alone_is_visible_as_lost,
    a_retired_log_stays_so_and_nothing_is_sealed_from_it,
    how_far_a_log_is_sealed_and_uploaded_follows_its_batches,
    a_person_says_where_each_stream_of_a_log_goes_on,
    the_metastores_id_is_its_own_and_stays,
);

async fn a_log_is_registered_once_and_moves_with_its_node(fixture: Fixture) {
    let (first, second) = (LogId(fixture.uuid()), LogId(fixture.uuid()));
    fixture.metastore.register_log(second, "b:/log", later(5)).await.unwrap();
    for (node, at) in [("a:/log", NOW), ("a:/log", later(10)), ("c:/log", later(20))] {
        fixture.metastore.register_log(first, node, at).await.unwrap();
    }
    let logs = fixture.metastore.logs().await.unwrap();
    let seen: Vec<(LogId, &str, Timestamp, Option<Timestamp>)> =
        logs.iter().map(|log| (log.id, log.node.as_str(), log.registered_at, log.retired_at)).collect();
    assert_eq!(seen, [(first, "c:/log", NOW, None), (second, "b:/log", later(5), None)]);
}

async fn a_log_that_is_not_registered_takes_no_batches_and_no_positions(fixture: Fixture) {
    let stream = fixture.stream("clicks", &to_s3()).await;
    let log = LogId(fixture.uuid());
    let lease = fixture.lease("log:unknown").await;
    let batch = fixture.batch(&stream, log, 0, 10);
    let sealed = fixture.metastore.seal_batches(&lease, std::slice::from_ref(&batch)).await;
    assert!(matches!(sealed, Err(Error::UnknownLog(id)) if id == log), "{sealed:?}");
    let positions = fixture.metastore.set_sealed_to(log, &[(stream.id, Lane::Delivery, Position(5))]).await;
    assert!(matches!(positions, Err(Error::UnknownLog(_))), "{positions:?}");
    let retired = fixture.metastore.retire_log(log, NOW).await;
    assert!(matches!(retired, Err(Error::UnknownLog(_))), "{retired:?}");
    assert_eq!(fixture.metastore.batch(batch.id).await.unwrap(), None);
}

async fn what_was_sealed_in_a_retired_log_alone_is_visible_as_lost(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let stream = fixture.stream("clicks", &to_s3()).await;
    let (log, lease) = fixture.log().await;
    let (other_log, other_lease) = fixture.log().await;
    let batches = fixture.sealed(&stream, log, &lease, 2).await;
    let elsewhere = fixture.sealed(&stream, other_log, &other_lease, 1).await;
    metastore.mark_uploaded(&lease, &[uploaded(&batches[0])], NOW).await.unwrap();
    for at in [1, 2] {
        metastore.retire_log(log, later(at)).await.unwrap();
    }
    assert!(matches!(fixture.state_of(batches[0].id).await, BatchState::Delivered { .. }));
    assert_eq!(fixture.state_of(batches[1].id).await, BatchState::Lost);
    assert_eq!(fixture.state_of(elsewhere[0].id).await, BatchState::Sealed);
    assert_eq!(metastore.sealed_batches(log).await.unwrap(), []);
    assert_eq!(metastore.unfinished_batches(stream.id).await.unwrap(), 1);
    let filter = hydrant_metastore::Filter { state: Some("lost".to_owned()), ..Default::default() };
    let lost = metastore.batches(&filter).await.unwrap();
    assert_eq!(
        lost.iter().map(|batch| (batch.id, batch.updated_at)).collect::<Vec<_>>(),
        [(batches[1].id, later(1))]
    );
    assert_eq!(metastore.logs().await.unwrap()[0].retired_at, Some(later(1)));
}

async fn a_retired_log_stays_so_and_nothing_is_sealed_from_it(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let stream = fixture.stream("clicks", &to_s3()).await;
    let (log, lease) = fixture.log().await;
    let batches = fixture.sealed(&stream, log, &lease, 1).await;
    metastore.retire_log(log, NOW).await.unwrap();
    metastore.register_log(log, "node-1:/var/lib/hydrant", later(1)).await.unwrap();
    assert_eq!(metastore.logs().await.unwrap()[0].retired_at, Some(NOW));
    let next = fixture.batch(&stream, log, 10, 20);
    assert!(matches!(metastore.seal_batches(&lease, &[next]).await, Err(Error::UnknownLog(_))));
    let late = metastore.mark_uploaded(&lease, &[uploaded(&batches[0])], NOW).await.unwrap_err();
    assert_eq!(late.to_string(), format!("batch {} is lost, expected sealed", batches[0].id));
}

async fn how_far_a_log_is_sealed_and_uploaded_follows_its_batches(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let (clicks, orders) =
        (fixture.stream("clicks", &to_s3()).await, fixture.stream("orders", &to_s3()).await);
    let (log, lease) = fixture.log().await;
    assert_eq!(metastore.sealed_to(log).await.unwrap(), []);
    let batches = fixture.sealed(&clicks, log, &lease, 3).await;
    fixture.uploaded(&orders, log, &lease, 1).await;
    let at = |stream, sealed, uploaded| SealedTo {
        stream,
        lane: Lane::Delivery,
        sealed: Position(sealed),
        uploaded: Position(uploaded),
    };
    assert_eq!(metastore.sealed_to(log).await.unwrap(), [at(clicks.id, 30, 0), at(orders.id, 10, 10)]);
    // The second first: what is before the first that is missing may be trimmed, and no more.
    metastore.mark_uploaded(&lease, &[uploaded(&batches[1])], NOW).await.unwrap();
    assert_eq!(metastore.sealed_to(log).await.unwrap()[0], at(clicks.id, 30, 0));
    metastore.mark_uploaded(&lease, &[uploaded(&batches[0])], NOW).await.unwrap();
    assert_eq!(metastore.sealed_to(log).await.unwrap()[0], at(clicks.id, 30, 20));
    assert_eq!(metastore.sealed_to(LogId(fixture.uuid())).await.unwrap(), []);
}

async fn a_person_says_where_each_stream_of_a_log_goes_on(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let (clicks, orders) =
        (fixture.stream("clicks", &to_s3()).await, fixture.stream("orders", &to_s3()).await);
    let (log, lease) = fixture.log().await;
    for _repetition in 0..2 {
        let positions =
            [(clicks.id, Lane::Delivery, Position(100)), (orders.id, Lane::Delivery, Position(0))];
        metastore.set_sealed_to(log, &positions).await.unwrap();
    }
    let positions = metastore.sealed_to(log).await.unwrap();
    let (lane, at) = (Lane::Delivery, Position(100));
    assert_eq!(positions, [SealedTo { stream: clicks.id, lane, sealed: at, uploaded: at }]);
    let gap = fixture.batch(&clicks, log, 0, 10);
    assert!(matches!(metastore.seal_batches(&lease, &[gap]).await, Err(Error::NotAdjacent { .. })));
    let next = [fixture.batch(&clicks, log, 100, 110), fixture.batch(&orders, log, 7, 8)];
    metastore.seal_batches(&lease, &next).await.unwrap();
}

async fn the_metastores_id_is_its_own_and_stays(fixture: Fixture) {
    let id = fixture.metastore.id().await.unwrap();
    assert_eq!(id.0.get_version_num(), 4);
    assert_eq!(fixture.reopened().await.id().await.unwrap(), id);
    let another = if fixture.is_sqlite() { Fixture::sqlite().await } else { Fixture::postgres().await };
    assert_ne!(another.metastore.id().await.unwrap(), id);
}
