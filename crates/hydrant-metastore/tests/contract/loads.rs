//! Loads and their batches.

use hydrant_metastore::{Attempt, Error, Filter, Kind, NewLoad, Subject, Waiting};
use hydrant_types::{Batch, BatchState, Load, LoadId, LoadState};

use crate::fixture::{
    Fixture, NOW, abandoned, committed, later, object, planned, submitted, to_redshift, uploaded,
};

on_both!(
    what_is_uploaded_waits_for_a_load_by_stream_and_target,
    a_planned_load_takes_its_batches_in_manifest_order,
    planning_may_be_repeated,
    a_load_takes_only_what_waits_and_all_of_it_or_nothing,
    a_table_has_one_load_at_a_time,
    a_load_of_the_greatest_manifest_is_planned_in_one_call,
    a_committed_load_has_its_batches_loaded,
    an_abandoned_load_has_its_batches_parked_with_the_reason,
    a_load_moves_on_only_from_the_state_that_was_expected,
    of_two_who_move_a_load_on_at_once_one_succeeds,
    a_failed_attempt_is_followed_by_one_with_another_token,
    the_first_submission_and_the_newest_statement_are_kept,
    an_attempt_is_written_with_the_state_and_not_again_with_its_repetition,
    time_out_of_reach_adds_up_while_the_load_is_under_way,
    targets_are_compared_as_they_are_read_and_not_as_they_were_written,
    a_parked_batch_can_be_done_again,
    loads_are_listed_newest_first,
);

async fn what_is_uploaded_waits_for_a_load_by_stream_and_target(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let (events, orders) = (
        fixture.stream("events", &to_redshift("t")).await,
        fixture.stream("orders", &to_redshift("t")).await,
    );
    let (log, lease) = fixture.log().await;
    let old = Batch { oldest_arrival: later(1), ..fixture.batch(&orders, log, 0, 10) };
    let new = Batch { oldest_arrival: later(3), ..fixture.batch(&events, log, 0, 10) };
    let newer = Batch { oldest_arrival: later(5), ..fixture.batch(&orders, log, 10, 20) };
    let sealed = fixture.batch(&orders, log, 20, 30);
    metastore.seal_batches(&lease, &[old.clone(), new.clone(), newer.clone(), sealed]).await.unwrap();
    metastore.mark_uploaded(&lease, &[uploaded(&newer), uploaded(&old), uploaded(&new)], NOW).await.unwrap();
    let target = events.destination.copy_target().unwrap();
    let waiting = |stream: &hydrant_types::Stream, batches, oldest_arrival| Waiting {
        stream: stream.id,
        target: target.clone(),
        batches,
        oldest_arrival,
    };
    let expected = [waiting(&orders, 2, later(1)), waiting(&events, 1, later(3))];
    assert_eq!(metastore.waiting().await.unwrap(), expected);
    let ids = |batches: Vec<Batch>| batches.iter().map(|batch| batch.id).collect::<Vec<_>>();
    assert_eq!(ids(metastore.waiting_batches(orders.id, &target, 9).await.unwrap()), [old.id, newer.id]);
    assert_eq!(ids(metastore.waiting_batches(orders.id, &target, 1).await.unwrap()), [old.id]);
    let other = hydrant_types::CopyTarget { options: None, ..target };
    assert_eq!(metastore.waiting_batches(orders.id, &other, 9).await.unwrap(), []);
}

async fn a_planned_load_takes_its_batches_in_manifest_order(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let stream = fixture.stream("events", &to_redshift("events")).await;
    let (log, lease) = fixture.log().await;
    let mut batches = fixture.uploaded(&stream, log, &lease, 3).await;
    batches.reverse();
    let table = fixture.table(&stream.destination.copy_target().unwrap()).await;
    let new = fixture.load(&stream, &batches);
    metastore.plan_load(&table, &new).await.unwrap();
    let id = new.load.id;
    assert_eq!(metastore.load(id).await.unwrap().as_ref(), Some(&new.load));
    assert_eq!(metastore.unfinished_loads().await.unwrap(), [new.load]);
    let of_load = metastore.load_batches(id).await.unwrap();
    assert_eq!(of_load.iter().map(|batch| batch.id).collect::<Vec<_>>(), new.batches);
    for batch in of_load {
        assert_eq!(batch.state, BatchState::InLoad { object: object(batch.id), load: id });
    }
    let objects: Vec<_> = batches.iter().map(|batch| (batch.bucket.clone(), batch.key.clone())).collect();
    assert_eq!(metastore.load_objects(id).await.unwrap(), objects);
    assert_eq!(metastore.waiting().await.unwrap(), []);
    assert_eq!(metastore.unfinished_batches(stream.id).await.unwrap(), 3);
    assert_eq!(metastore.load(LoadId(fixture.uuid())).await.unwrap(), None);
}

async fn planning_may_be_repeated(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let stream = fixture.stream("events", &to_redshift("events")).await;
    let (log, lease) = fixture.log().await;
    let batches = fixture.uploaded(&stream, log, &lease, 2).await;
    let table = fixture.table(&stream.destination.copy_target().unwrap()).await;
    let new = fixture.load(&stream, &batches);
    for _repetition in 0..2 {
        metastore.plan_load(&table, &new).await.unwrap();
    }
    metastore.advance_load(&table, new.load.id, &planned(1), &submitted(1), None, NOW).await.unwrap();
    metastore.plan_load(&table, &new).await.unwrap();
    assert_eq!(fixture.load_state(new.load.id).await, submitted(1), "a repetition moves nothing back");
    let other = NewLoad { batches: new.batches[..1].to_vec(), ..new };
    assert!(matches!(metastore.plan_load(&table, &other).await, Err(Error::LoadMoved { .. })));
}

async fn a_load_takes_only_what_waits_and_all_of_it_or_nothing(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let stream = fixture.stream("events", &to_redshift("events")).await;
    let orders = fixture.stream("orders", &to_redshift("orders")).await;
    let (log, lease) = fixture.log().await;
    let waiting = fixture.uploaded(&stream, log, &lease, 1).await;
    let others = fixture.uploaded(&orders, log, &lease, 1).await;
    let sealed = fixture.batch(&stream, log, 10, 20);
    metastore.seal_batches(&lease, std::slice::from_ref(&sealed)).await.unwrap();
    let table = fixture.table(&stream.destination.copy_target().unwrap()).await;
    let unknown = fixture.batch(&stream, log, 20, 30);
    for (batch, found) in [(&sealed, "sealed"), (&unknown, "gone"), (&others[0], "another stream's")] {
        let new = fixture.load(&stream, &[waiting[0].clone(), batch.clone()]);
        let error = metastore.plan_load(&table, &new).await.unwrap_err();
        assert_eq!(error.to_string(), format!("batch {} is {found}, expected uploaded", batch.id));
        assert_eq!(error.kind(), Kind::Moved);
        assert_eq!(metastore.load(new.load.id).await.unwrap(), None);
        assert_eq!(
            fixture.state_of(waiting[0].id).await,
            BatchState::Uploaded { object: object(waiting[0].id) }
        );
    }
}

async fn a_table_has_one_load_at_a_time(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let stream = fixture.stream("events", &to_redshift("events")).await;
    let elsewhere = fixture.stream("orders", &to_redshift("orders")).await;
    let (log, lease) = fixture.log().await;
    let batches = fixture.uploaded(&stream, log, &lease, 2).await;
    let others = fixture.uploaded(&elsewhere, log, &lease, 1).await;
    let table = fixture.table(&stream.destination.copy_target().unwrap()).await;
    let first = fixture.load(&stream, &batches[..1]);
    metastore.plan_load(&table, &first).await.unwrap();
    let second = fixture.load(&stream, &batches[1..]);
    let id = first.load.id;
    for state in [planned(1), submitted(1)] {
        let error = metastore.plan_load(&table, &second).await.unwrap_err();
        assert!(
            matches!(&error, Error::LoadMoved { id: other, found, .. } if *other == id && found == state.name()),
            "{error}"
        );
        let next = if state == planned(1) { submitted(1) } else { committed(10) };
        metastore.advance_load(&table, id, &state, &next, None, NOW).await.unwrap();
    }
    metastore.plan_load(&table, &second).await.unwrap();
    let other_table = fixture.table(&elsewhere.destination.copy_target().unwrap()).await;
    metastore.plan_load(&other_table, &fixture.load(&elsewhere, &others)).await.unwrap();
}

async fn a_load_of_the_greatest_manifest_is_planned_in_one_call(fixture: Fixture) {
    let stream = fixture.stream("events", &to_redshift("events")).await;
    let (log, lease) = fixture.log().await;
    let batches = fixture.uploaded(&stream, log, &lease, 1_200).await;
    let table = fixture.table(&stream.destination.copy_target().unwrap()).await;
    let load = fixture.ended(&stream, &table, &batches, &committed(12_000), NOW).await;
    assert_eq!(fixture.metastore.load_objects(load).await.unwrap().len(), 1_200);
    assert_eq!(fixture.metastore.unfinished_batches(stream.id).await.unwrap(), 0);
}

async fn a_committed_load_has_its_batches_loaded(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let stream = fixture.stream("events", &to_redshift("events")).await;
    let (log, lease) = fixture.log().await;
    let batches = fixture.uploaded(&stream, log, &lease, 3).await;
    let table = fixture.table(&stream.destination.copy_target().unwrap()).await;
    let load = fixture.ended(&stream, &table, &batches[..2], &committed(20), later(60)).await;
    let row = metastore.load(load).await.unwrap().unwrap();
    assert_eq!((row.state, row.updated_at), (committed(20), later(60)));
    for batch in &batches[..2] {
        let row = metastore.batch(batch.id).await.unwrap().unwrap();
        assert_eq!(row.state, BatchState::Loaded { object: object(batch.id), load });
        assert_eq!(row.updated_at, later(60));
    }
    assert_eq!(fixture.state_of(batches[2].id).await, BatchState::Uploaded { object: object(batches[2].id) });
    assert_eq!(metastore.unfinished_loads().await.unwrap(), []);
}

async fn an_abandoned_load_has_its_batches_parked_with_the_reason(fixture: Fixture) {
    let stream = fixture.stream("events", &to_redshift("events")).await;
    let (log, lease) = fixture.log().await;
    let batches = fixture.uploaded(&stream, log, &lease, 2).await;
    let table = fixture.table(&stream.destination.copy_target().unwrap()).await;
    let load = fixture.ended(&stream, &table, &batches, &abandoned(), NOW).await;
    assert_eq!(fixture.load_state(load).await, abandoned());
    for batch in &batches {
        let reason = "relation \"events\" does not exist".to_owned();
        assert_eq!(
            fixture.state_of(batch.id).await,
            BatchState::Parked { object: object(batch.id), load, reason }
        );
    }
    assert_eq!(fixture.metastore.unfinished_batches(stream.id).await.unwrap(), 0);
    assert_eq!(fixture.metastore.waiting().await.unwrap(), []);
}

async fn a_load_moves_on_only_from_the_state_that_was_expected(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let stream = fixture.stream("events", &to_redshift("events")).await;
    let (log, lease) = fixture.log().await;
    let batches = fixture.uploaded(&stream, log, &lease, 1).await;
    let table = fixture.table(&stream.destination.copy_target().unwrap()).await;
    let new = fixture.load(&stream, &batches);
    metastore.plan_load(&table, &new).await.unwrap();
    let id = new.load.id;
    let other_token = LoadState::Planned { attempt: 1, token: "another".to_owned(), not_before: NOW };
    for wrong in [planned(2), submitted(1), other_token, committed(1)] {
        let error = metastore.advance_load(&table, id, &wrong, &submitted(7), None, NOW).await.unwrap_err();
        assert!(
            matches!(&error, Error::LoadMoved { found, .. } if found == "planned at attempt 1"),
            "{error}"
        );
        assert_eq!(error.kind(), Kind::Moved);
    }
    assert_eq!(fixture.load_state(id).await, planned(1));
    for _repetition in 0..2 {
        metastore.advance_load(&table, id, &planned(1), &submitted(1), None, NOW).await.unwrap();
    }
    metastore.advance_load(&table, id, &submitted(1), &committed(10), None, NOW).await.unwrap();
    let late = metastore.advance_load(&table, id, &planned(1), &submitted(1), None, NOW).await;
    assert!(matches!(late, Err(Error::LoadMoved { .. })), "what is older than the state is no repetition");
    let gone = LoadId(fixture.uuid());
    let error =
        metastore.advance_load(&table, gone, &planned(1), &submitted(1), None, NOW).await.unwrap_err();
    assert_eq!(error.to_string(), format!("load {gone} is gone, expected planned at attempt 1"));
}

async fn of_two_who_move_a_load_on_at_once_one_succeeds(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let stream = fixture.stream("events", &to_redshift("events")).await;
    let (log, lease) = fixture.log().await;
    let batches = fixture.uploaded(&stream, log, &lease, 1).await;
    let table = fixture.table(&stream.destination.copy_target().unwrap()).await;
    let new = fixture.load(&stream, &batches);
    metastore.plan_load(&table, &new).await.unwrap();
    let (id, from, one, two) = (new.load.id, planned(1), submitted(1), submitted(2));
    let (first, second) = tokio::join!(
        metastore.advance_load(&table, id, &from, &one, None, NOW),
        metastore.advance_load(&table, id, &from, &two, None, NOW),
    );
    assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
    assert_eq!(fixture.load_state(id).await, if first.is_ok() { one } else { two });
}

async fn a_failed_attempt_is_followed_by_one_with_another_token(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let stream = fixture.stream("events", &to_redshift("events")).await;
    let (log, lease) = fixture.log().await;
    let batches = fixture.uploaded(&stream, log, &lease, 1).await;
    let table = fixture.table(&stream.destination.copy_target().unwrap()).await;
    let new = fixture.load(&stream, &batches);
    metastore.plan_load(&table, &new).await.unwrap();
    let steps = [planned(1), submitted(1), planned(2), submitted(2), committed(10)];
    for step in steps.windows(2) {
        metastore.advance_load(&table, new.load.id, &step[0], &step[1], None, NOW).await.unwrap();
        assert_eq!(fixture.load_state(new.load.id).await, step[1]);
    }
}

async fn the_first_submission_and_the_newest_statement_are_kept(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let stream = fixture.stream("events", &to_redshift("events")).await;
    let (log, lease) = fixture.log().await;
    let batches = fixture.uploaded(&stream, log, &lease, 1).await;
    let table = fixture.table(&stream.destination.copy_target().unwrap()).await;
    let new = fixture.load(&stream, &batches);
    metastore.plan_load(&table, &new).await.unwrap();
    let id = new.load.id;
    let steps = [planned(1), submitted(1), planned(2), submitted(2), abandoned()];
    for (at, step) in steps.windows(2).enumerate() {
        metastore.advance_load(&table, id, &step[0], &step[1], None, later(at as u64)).await.unwrap();
    }
    let load: Load = metastore.load(id).await.unwrap().unwrap();
    assert_eq!((load.first_submitted_at, load.updated_at), (Some(NOW), later(3)));
    assert_eq!(fixture.rows("select statement from loads").await, ["statement-2"]);
}

async fn an_attempt_is_written_with_the_state_and_not_again_with_its_repetition(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let stream = fixture.stream("events", &to_redshift("events")).await;
    let (log, lease) = fixture.log().await;
    let batches = fixture.uploaded(&stream, log, &lease, 1).await;
    let table = fixture.table(&stream.destination.copy_target().unwrap()).await;
    let new = fixture.load(&stream, &batches);
    metastore.plan_load(&table, &new).await.unwrap();
    let id = new.load.id;
    let failed = Attempt {
        subject: Subject::Load(id),
        step: "copy",
        started_at: NOW,
        ended_at: later(5),
        outcome: "failed",
        code: Some("Redshift.TableNotFound".to_owned()),
        message: Some("no such table".to_owned()),
    };
    let refused = metastore.advance_load(&table, id, &submitted(1), &planned(2), Some(&failed), NOW).await;
    assert!(refused.is_err());
    assert_eq!(metastore.attempts(Subject::Load(id)).await.unwrap(), []);
    for _repetition in 0..2 {
        metastore.advance_load(&table, id, &planned(1), &planned(2), Some(&failed), NOW).await.unwrap();
    }
    assert_eq!(metastore.attempts(Subject::Load(id)).await.unwrap(), [(failed, 1)]);
}

async fn time_out_of_reach_adds_up_while_the_load_is_under_way(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let stream = fixture.stream("events", &to_redshift("events")).await;
    let (log, lease) = fixture.log().await;
    let batches = fixture.uploaded(&stream, log, &lease, 1).await;
    let table = fixture.table(&stream.destination.copy_target().unwrap()).await;
    let new = fixture.load(&stream, &batches);
    metastore.plan_load(&table, &new).await.unwrap();
    let id = new.load.id;
    for millis in [500, 250] {
        metastore.add_unreachable(&table, id, millis).await.unwrap();
    }
    assert_eq!(metastore.load(id).await.unwrap().unwrap().unreachable_ms, 750);
    metastore.advance_load(&table, id, &planned(1), &committed(1), None, NOW).await.unwrap();
    assert!(matches!(metastore.add_unreachable(&table, id, 1).await, Err(Error::LoadMoved { .. })));
}

async fn targets_are_compared_as_they_are_read_and_not_as_they_were_written(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let stream = fixture.stream("events", &to_redshift("events")).await;
    let (log, lease) = fixture.log().await;
    let batches = fixture.uploaded(&stream, log, &lease, 3).await;
    // As an older version of the program would have left a member out that is none, and a newer one would have added one.
    let (lift, without, with) = if fixture.is_sqlite() {
        ("", "json_remove(copy_target, '$.columns')", "json_set(copy_target, '$.later', 1)")
    } else {
        (" on batches", "copy_target - 'columns'", "copy_target || '{\"later\": 1}'")
    };
    fixture.sql(&format!("drop trigger batches_never_change_what_they_hold{lift}")).await.unwrap();
    for (batch, written) in [(&batches[0], without), (&batches[1], with)] {
        let change = format!("update batches set copy_target = {written} where id = '{}'", batch.id);
        fixture.sql(&change).await.unwrap();
    }
    let waiting = metastore.waiting().await.unwrap();
    assert_eq!(waiting.len(), 1, "{waiting:?}");
    assert_eq!(waiting[0].batches, 3);
    let found = metastore.waiting_batches(stream.id, &waiting[0].target, 9).await.unwrap();
    assert_eq!(
        found.iter().map(|batch| batch.id).collect::<Vec<_>>(),
        batches.iter().map(|batch| batch.id).collect::<Vec<_>>()
    );
}

async fn a_parked_batch_can_be_done_again(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let stream = fixture.stream("events", &to_redshift("events")).await;
    let (log, lease) = fixture.log().await;
    let batches = fixture.uploaded(&stream, log, &lease, 2).await;
    let table = fixture.table(&stream.destination.copy_target().unwrap()).await;
    let first = fixture.ended(&stream, &table, &batches, &abandoned(), NOW).await;
    fixture
        .sql("update batches set state = 'uploaded', load_id = null, reason = null where state = 'parked'")
        .await
        .unwrap();
    assert_eq!(metastore.waiting().await.unwrap()[0].batches, 2);
    let mut new = fixture.load(&stream, &batches);
    new.load.planned_at = later(100);
    metastore.plan_load(&table, &new).await.unwrap();
    metastore.advance_load(&table, new.load.id, &planned(1), &committed(20), None, later(101)).await.unwrap();
    let loads = metastore.loads_of_batch(batches[0].id).await.unwrap();
    assert_eq!(loads.iter().map(|load| load.id).collect::<Vec<_>>(), [new.load.id, first]);
    assert!(
        matches!(fixture.state_of(batches[1].id).await, BatchState::Loaded { load, .. } if load == new.load.id)
    );
    assert_eq!(
        metastore.load_batches(first).await.unwrap().len(),
        2,
        "which batches were in which load stays known"
    );
}

async fn loads_are_listed_newest_first(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let (log, lease) = fixture.log().await;
    let mut loads = Vec::new();
    for (at, name) in ["a", "b", "c"].into_iter().enumerate() {
        let stream = fixture.stream(name, &to_redshift(name)).await;
        let batches = fixture.uploaded(&stream, log, &lease, 1).await;
        let table = fixture.table(&stream.destination.copy_target().unwrap()).await;
        let mut new = fixture.load(&stream, &batches);
        new.load.planned_at = later(at as u64);
        metastore.plan_load(&table, &new).await.unwrap();
        if name == "b" {
            metastore.advance_load(&table, new.load.id, &planned(1), &committed(1), None, NOW).await.unwrap();
        }
        loads.push(new.load.id);
    }
    let list = async |stream: Option<&str>, state: Option<&str>, limit| {
        let filter = Filter {
            stream: stream.map(|name| name.parse().unwrap()),
            state: state.map(str::to_owned),
            limit,
        };
        let listed = metastore.loads(&filter).await.unwrap();
        listed.iter().map(|load| loads.iter().position(|id| *id == load.id).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(list(None, None, 0).await, [2, 1, 0]);
    assert_eq!(list(None, None, 2).await, [2, 1]);
    assert_eq!(list(Some("b"), None, 0).await, [1]);
    assert_eq!(list(Some("b"), Some("planned"), 0).await, [0; 0]);
    assert_eq!(list(None, Some("planned"), 0).await, [2, 0]);
    assert_eq!(list(None, Some("committed"), 0).await, [1]);
}
