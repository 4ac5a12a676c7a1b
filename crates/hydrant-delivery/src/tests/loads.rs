//! From S3 into Redshift.

use std::time::Duration;

use hydrant_metastore::{Metastore, Subject, Uploaded};
use hydrant_testkit::eventually;
use hydrant_types::{Batch, BatchId, BatchState, Entropy, LoadState, Position, PositionRange, StoredObject};

use super::{
    objects::Mood,
    warehouse::{Answer, Verdict},
    world::{BUCKET, Node, PATIENCE, World, records, table_key, to_redshift},
};
use crate::Body;

async fn with_stream(retry_secs: u32) -> (World, Node, hydrant_types::Stream) {
    let world = World::new();
    let node = world.start("a").await;
    let stream = node.create("orders", to_redshift("o/", "events", retry_secs)).await;
    (world, node, stream)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_while_a_copy_runs_becomes_one_load_with_one_manifest() {
    let (world, node, stream) = with_stream(3600).await;
    // The first load cannot be submitted for a while; batches pile up behind it.
    world.warehouse.let_answer("submit", [Answer::Unreachable; 25]);
    let mut put = Vec::new();
    for n in 0..4 {
        let records = records("orders", n * 10..(n + 1) * 10, 10);
        node.put(&stream, &records).await;
        put.extend(records);
        let sealed = n as usize + 1;
        eventually("it is uploaded", PATIENCE, async || {
            (world.objects.records_under(BUCKET, "o/").len() == sealed).then_some(())
        })
        .await;
    }
    node.settled(&stream).await;
    let loads = node.loads().await;
    assert_eq!(loads.len(), 2, "the three that waited are one load: {loads:?}");
    assert!(
        loads.iter().all(|load| matches!(load.state, LoadState::Committed { attempt: 1, rows: Some(_) }))
    );
    assert_eq!(node.metastore.load_batches(loads[1].id).await.unwrap().len(), 3);
    assert_eq!(world.warehouse.rows(&table_key("events")), put);
    assert_eq!(world.warehouse.statements().len(), 2);
    let manifest = world.objects.content(BUCKET, loads[1].manifest_key.as_str()).unwrap();
    let batches = node.batches(&stream).await;
    let entries = batches[1..]
        .iter()
        .map(|batch| format!("{{\"url\":\"s3://landing/{}\",\"mandatory\":true}}", batch.key));
    let expected = format!("{{\"entries\":[{}]}}", entries.collect::<Vec<_>>().join(","));
    assert_eq!(String::from_utf8(manifest).unwrap(), expected);
    assert!(batches.iter().all(|batch| matches!(batch.state, BatchState::Loaded { .. })));
    let metrics = node.metrics();
    assert!(
        metrics.contains("hydrant_delivery_to_redshift_records_total{stream=\"orders\"} 40"),
        "{metrics}"
    );
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_fails_until_its_retries_run_out_is_given_up_and_the_stream_goes_on() {
    let (world, node, stream) = with_stream(0).await;
    world.warehouse.let_end([Verdict::Fail("ERROR: Load into table 'events' failed")]);
    node.put(&stream, &records("orders", 0..5, 10)).await;
    node.settled(&stream).await;
    let load = node.loads().await.remove(0);
    let LoadState::Abandoned { attempt, errors_manifest_key, code, reason } = &load.state else {
        panic!("{:?}", load.state)
    };
    assert_eq!((*attempt, code.as_str()), (1, "Redshift.DataLoadFailed"));
    assert!(reason.contains("Load into table"));
    let name = load.manifest_key.as_str().strip_prefix("o/").unwrap();
    assert_eq!(errors_manifest_key.as_str(), format!("o/errors/{name}"));
    let copy = world.objects.stored(BUCKET, errors_manifest_key.as_str()).unwrap();
    assert_eq!(copy, world.objects.stored(BUCKET, load.manifest_key.as_str()).unwrap());
    let parked = node.batches(&stream).await.remove(0);
    let BatchState::Parked { reason: why, .. } = &parked.state else { panic!("{:?}", parked.state) };
    assert_eq!(why, reason);
    assert!(world.objects.stored(BUCKET, parked.key.as_str()).is_some(), "its object stays");
    let attempts = node.metastore.attempts(Subject::Load(load.id)).await.unwrap();
    assert_eq!(attempts[0].0.code.as_deref(), Some("Redshift.DataLoadFailed"));

    let next = records("orders", 5..8, 10);
    node.put(&stream, &next).await;
    node.settled(&stream).await;
    assert_eq!(world.warehouse.rows(&table_key("events")), next);
    assert!(node.metrics().contains("hydrant_delivery_to_redshift_abandoned_total{stream=\"orders\"} 1"));
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_failed_is_tried_again_with_a_new_token_and_the_same_manifest() {
    let (world, node, stream) = with_stream(3600).await;
    world.warehouse.let_end([Verdict::Fail("ERROR: no"), Verdict::Abort, Verdict::Abort]);
    let put = records("orders", 0..5, 10);
    node.put(&stream, &put).await;
    node.settled(&stream).await;
    let load = node.loads().await.remove(0);
    assert_eq!(load.state, LoadState::Committed { attempt: 4, rows: Some(5) });
    let names: Vec<String> = (1..=4).map(|n| format!("hydrant:orders:{}:{n}.", load.id)).collect();
    assert_eq!(world.warehouse.statements(), names);
    assert_eq!(world.warehouse.rows(&table_key("events")), put);
    let outcomes: Vec<_> = node.metastore.attempts(Subject::Load(load.id)).await.unwrap();
    let codes: Vec<_> =
        outcomes.iter().map(|(attempt, times)| (attempt.outcome, attempt.code.as_deref(), *times)).collect();
    assert_eq!(codes[0], ("failed", Some("Redshift.DataLoadFailed"), 1));
    assert_eq!(codes.last().unwrap(), &("ok", None, 1));
    assert!(
        outcomes.windows(2).all(|pair| pair[0].0.started_at <= pair[1].0.started_at),
        "each with its own begin"
    );
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_the_warehouse_refuses_is_retried_and_given_up_like_one_that_failed() {
    let (world, node, stream) = with_stream(0).await;
    world.warehouse.let_answer("submit", [Answer::Refused]);
    node.put(&stream, &records("orders", 0..5, 10)).await;
    node.settled(&stream).await;
    let load = node.loads().await.remove(0);
    assert!(
        matches!(&load.state, LoadState::Abandoned { code, .. } if code == "AccessDeniedException"),
        "{load:?}"
    );
    assert!(world.warehouse.statements().is_empty());
    node.stop().await.unwrap();
}

/// Nobody saw whether the statement was taken, and for a while nobody may look.
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_outcome_is_looked_up_until_it_is_known_and_neither_repeated_nor_given_up() {
    let (world, node, stream) = with_stream(0).await;
    world.warehouse.lose_next_answer();
    world.warehouse.let_answer("find", [Answer::Refused; 8]);
    let put = records("orders", 0..5, 10);
    node.put(&stream, &put).await;
    eventually("it was looked for in vain", PATIENCE, async || {
        (world.warehouse.calls("find") >= 5).then_some(())
    })
    .await;
    assert!(matches!(node.loads().await[0].state, LoadState::Planned { attempt: 1, .. }));
    node.settled(&stream).await;
    assert_eq!(node.loads().await[0].state, LoadState::Committed { attempt: 1, rows: Some(5) });
    assert_eq!((world.warehouse.calls("submit"), world.warehouse.statements().len()), (1, 1));
    assert_eq!(world.warehouse.rows(&table_key("events")), put);
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_may_have_been_submitted_before_a_restart_is_looked_for_first() {
    let (world, node, stream) = with_stream(0).await;
    world.warehouse.lose_next_answer();
    world.warehouse.let_answer("find", [Answer::Refused; 10_000]);
    let put = records("orders", 0..5, 10);
    node.put(&stream, &put).await;
    eventually("it is submitted", PATIENCE, async || {
        (!world.warehouse.statements().is_empty()).then_some(())
    })
    .await;
    node.stop().await.unwrap();
    let node = world.start("a").await;
    let asked = world.warehouse.calls("find");
    eventually("it is looked for", PATIENCE, async || {
        (world.warehouse.calls("find") > asked + 3).then_some(())
    })
    .await;
    assert_eq!(world.warehouse.calls("submit"), 1, "not submitted again before that is answered");
    world.warehouse.answer_all("find");
    node.settled(&stream).await;
    assert_eq!(node.loads().await[0].state, LoadState::Committed { attempt: 1, rows: Some(5) });
    assert_eq!((world.warehouse.calls("submit"), world.warehouse.rows(&table_key("events"))), (1, put));
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_tells_how_a_statement_ended_that_nobody_remembers() {
    let (world, node, stream) = with_stream(3600).await;
    world.warehouse.forget_statements_that_ended();
    world.warehouse.let_end([Verdict::Fail("ERROR: no"), Verdict::Commit]);
    let put = records("orders", 0..5, 10);
    node.put(&stream, &put).await;
    node.settled(&stream).await;
    assert_eq!(node.loads().await[0].state, LoadState::Committed { attempt: 2, rows: None });
    assert_eq!(world.warehouse.rows(&table_key("events")), put);
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_division_by_zero_is_believed_only_when_the_ledger_holds_the_load() {
    let (world, node, stream) = with_stream(3600).await;
    world.warehouse.let_end([Verdict::ClaimLoaded]);
    let put = records("orders", 0..5, 10);
    node.put(&stream, &put).await;
    node.settled(&stream).await;
    assert_eq!(node.loads().await[0].state, LoadState::Committed { attempt: 2, rows: Some(5) });
    assert_eq!(world.warehouse.rows(&table_key("events")), put);
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn time_in_which_the_warehouse_cannot_be_reached_does_not_count_against_the_retries() {
    let (world, node, stream) = with_stream(1).await;
    // Submitted, then out of reach for longer than the retries last, then failed once.
    world.warehouse.let_end([Verdict::Fail("ERROR: no")]);
    world.warehouse.let_answer("describe", [Answer::Unreachable; 40]);
    let put = records("orders", 0..5, 10);
    node.put(&stream, &put).await;
    node.settled(&stream).await;
    let load = node.loads().await.remove(0);
    assert_eq!(load.state, LoadState::Committed { attempt: 2, rows: Some(5) }, "not given up");
    assert!(
        load.unreachable_ms > 1000,
        "it was away for longer than the retries last: {} ms",
        load.unreachable_ms
    );
    assert_eq!(world.warehouse.rows(&table_key("events")), put);
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_holds_a_bounded_number_of_objects() {
    let world = World::new();
    let node = world.open("a").await;
    let stream = node.create("orders", to_redshift("o/", "events", 3600)).await;
    let lease =
        node.metastore.acquire_lease("log:test", "test", Duration::from_secs(60)).await.unwrap().unwrap();
    let now = world.clock.now();
    // Another node's: this one has no log for them, and loads them all the same.
    let log = hydrant_types::LogId(world.entropy.uuid());
    node.metastore.register_log(log, "another", now).await.unwrap();
    let batches: Vec<Batch> = (0..1001u64)
        .map(|n| {
            let id = BatchId(world.entropy.uuid());
            Batch {
                id,
                stream: stream.id,
                stream_name: stream.name.clone(),
                stream_version: stream.version,
                log,
                range: PositionRange::new(Position(n), Position(n + 1)).unwrap(),
                content: hydrant_types::Content::Delivery,
                processed_bytes: 10,
                bytes: 10,
                oldest_arrival: now,
                bucket: BUCKET.parse().unwrap(),
                key: format!("o/2026/01/02/03/{n}").parse().unwrap(),
                copy_target: stream.destination.copy_target(),
                state: BatchState::Sealed,
                sealed_at: now,
                updated_at: now,
            }
        })
        .collect();
    node.metastore.seal_batches(&lease, &batches).await.unwrap();
    let uploaded: Vec<Uploaded> = batches
        .iter()
        .enumerate()
        .map(|(n, batch)| {
            let body = Body::plain(format!("{n}\n").into_bytes().into());
            let object = StoredObject { etag: "e".to_owned(), bytes: body.bytes.len() as u64 };
            world.objects.store(BUCKET, batch.key.as_str(), body);
            Uploaded { id: batch.id, object: Some(object), delivered: false, failed: Vec::new() }
        })
        .collect();
    node.metastore.mark_uploaded(&lease, &uploaded, now).await.unwrap();
    node.stop().await.unwrap();
    let node = world.start("a").await;
    eventually("all are loaded", PATIENCE, async || {
        (node.metastore.unfinished_batches(stream.id).await.unwrap() == 0).then_some(())
    })
    .await;
    let mut sizes = Vec::new();
    for load in node.loads().await {
        sizes.push(node.metastore.load_batches(load.id).await.unwrap().len());
    }
    assert_eq!(sizes, [1000, 1]);
    assert_eq!(world.warehouse.rows(&table_key("events")).len(), 1001);
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_and_nodes_that_load_into_one_table_take_turns() {
    let world = World::new();
    let nodes = [world.start("a").await, world.start("b").await];
    let one = nodes[0].create("one", to_redshift("one/", "events", 3600)).await;
    let two = nodes[0].create("two", to_redshift("two/", "events", 3600)).await;
    nodes[1].streams.refresh().await.unwrap();
    let mut put = Vec::new();
    for round in 0..5u64 {
        for (n, node) in nodes.iter().enumerate() {
            for (m, stream) in [&one, &two].into_iter().enumerate() {
                let first = round * 1000 + (n * 100 + m * 10) as u64;
                let records = records(stream.name.as_str(), first..first + 5, 10);
                node.put(stream, &records).await;
                put.extend(records);
            }
        }
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    for node in &nodes {
        node.settled(&one).await;
        node.settled(&two).await;
    }
    assert_eq!(world.warehouse.running_max(), 1, "one COPY at a time");
    let mut rows = world.warehouse.rows(&table_key("events"));
    rows.sort();
    put.sort();
    assert_eq!(rows, put);
    // A node that finds the table taken does not ask for it all the time.
    for node in nodes {
        let asked = node.metastore.calls("acquire_lease");
        assert!(asked < 500, "{asked} times");
        node.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_age_of_what_waits_for_a_load_is_shown_until_it_is_loaded_also_by_another_node() {
    let (world, node, stream) = with_stream(3600).await;
    let key = format!("table:{}", table_key("events"));
    let another =
        node.metastore.acquire_lease(&key, "another", Duration::from_secs(60)).await.unwrap().unwrap();
    let arrival = hydrant_types::Timestamp(world.clock.now().0 - 100_000);
    node.put_at(&stream, &records("orders", 0..1, 10), arrival).await.unwrap();
    let shown =
        || node.metrics().lines().any(|line| line.starts_with("hydrant_oldest_undelivered_age_seconds 1"));
    eventually("it is uploaded", PATIENCE, async || {
        matches!(node.batches(&stream).await.first()?.state, BatchState::Uploaded { .. }).then_some(())
    })
    .await;
    eventually("its age is shown", PATIENCE, async || shown().then_some(())).await;
    node.metastore.release_lease(&another).await.unwrap();
    node.settled(&stream).await;
    eventually("nothing is old any more", PATIENCE, async || {
        node.metrics().contains("hydrant_oldest_undelivered_age_seconds 0\n").then_some(())
    })
    .await;
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_submitted_before_its_manifest_is_there() {
    let (world, node, stream) = with_stream(3600).await;
    // The batch is uploaded and waits; then the bucket refuses what comes next, the manifest.
    let key = format!("table:{}", table_key("events"));
    let another =
        node.metastore.acquire_lease(&key, "another", Duration::from_secs(60)).await.unwrap().unwrap();
    let put = records("orders", 0..5, 10);
    node.put(&stream, &put).await;
    eventually("it is uploaded", PATIENCE, async || {
        matches!(node.batches(&stream).await.first()?.state, BatchState::Uploaded { .. }).then_some(())
    })
    .await;
    world.objects.set_mood(BUCKET, Mood::Refuses("S3.AccessDenied"));
    node.metastore.release_lease(&another).await.unwrap();
    let puts = world.objects.puts();
    eventually("the manifest is tried", PATIENCE, async || (world.objects.puts() > puts + 2).then_some(()))
        .await;
    assert_eq!(world.warehouse.calls("submit"), 0);
    world.objects.set_mood(BUCKET, Mood::Well);
    node.settled(&stream).await;
    assert_eq!(world.warehouse.rows(&table_key("events")), put);
    let load = node.loads().await.remove(0);
    let attempts = node.metastore.attempts(Subject::Load(load.id)).await.unwrap();
    assert_eq!(
        (attempts[0].0.step, attempts[0].0.code.as_deref()),
        ("put_manifest", Some("S3.AccessDenied"))
    );
    node.stop().await.unwrap();
}
