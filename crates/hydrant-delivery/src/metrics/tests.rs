use std::collections::BTreeSet;

use hydrant_log::RecordLog;
use hydrant_metastore::Metastore;
use hydrant_types::Stream;

use super::*;
use crate::tests::world::{Node, World, records, to_s3};

const FRESHNESS: &str = "hydrant_delivery_to_s3_data_freshness_seconds";
const OLDEST: &str = "hydrant_oldest_undelivered_age_seconds";

fn metrics(world: &World, node: &Node) -> Metrics {
    Metrics::new(&world.deps(node), MemoryBudget::new(1), UploadGates::new(1, 1))
}

fn seconds_ago(world: &World, seconds: u64) -> Timestamp {
    Timestamp(world.clock.now().0 - seconds * 1000 - 1)
}

/// Puts a record that arrived so long ago.
async fn put(world: &World, node: &Node, stream: &Stream, seconds: u64) {
    node.put_at(stream, &records("r", 0..1, 10), seconds_ago(world, seconds)).await.unwrap();
}

#[track_caller]
fn shows(node: &Node, line: &str) {
    let text = node.metrics();
    assert!(text.lines().any(|shown| shown.starts_with(line)), "{line} in {text}");
}

#[tokio::test]
async fn the_oldest_undelivered_record_may_wait_for_a_load_or_be_in_one() {
    let world = World::new();
    let node = world.open("a").await;
    let metrics = metrics(&world, &node);
    metrics.oldest_waiting(HashMap::from([("t".to_owned(), seconds_ago(&world, 20))]));
    shows(&node, &format!("{OLDEST} 20."));
    metrics.oldest_loading("t", Some(seconds_ago(&world, 30)));
    shows(&node, &format!("{OLDEST} 30."));
    metrics.oldest_waiting(HashMap::new());
    shows(&node, &format!("{OLDEST} 30."));
    metrics.oldest_loading("t", None);
    assert!(node.metrics().contains(&format!("{OLDEST} 0\n")));
    node.stop().await.unwrap();
}

/// The metastore is away since the start.
#[tokio::test]
async fn before_delivery_starts_the_ages_are_those_of_what_the_log_holds() {
    let world = World::new();
    let node = world.open("a").await;
    crate::show_backlog(&world.deps(&node));
    assert!(node.metrics().contains(&format!("{OLDEST} 0\n")));
    let (orders, clicks) =
        (node.create("orders", to_s3("o/")).await, node.create("clicks", to_s3("c/")).await);
    put(&world, &node, &orders, 50).await;
    put(&world, &node, &orders, 7).await;
    put(&world, &node, &clicks, 20).await;
    for _ in 0..2 {
        shows(&node, &format!("{OLDEST} 50."));
        shows(&node, &format!("{FRESHNESS}{{stream=\"orders\"}} 50."));
        shows(&node, &format!("{FRESHNESS}{{stream=\"clicks\"}} 20."));
    }
    let tail = node.tail(&orders);
    node.log.trim(orders.id, tail.trimmed.plus(1));
    shows(&node, &format!("{FRESHNESS}{{stream=\"orders\"}} 7."));
    shows(&node, &format!("{OLDEST} 20."));
    node.log.trim(orders.id, tail.next);
    assert!(!node.metrics().contains("orders"), "what is in S3 has no age");
    node.stop().await.unwrap();
}

#[tokio::test]
async fn once_delivery_starts_it_shows_the_ages_and_there_is_no_gap() {
    let world = World::new();
    let node = world.open("a").await;
    crate::show_backlog(&world.deps(&node));
    let stream = node.create("orders", to_s3("o/")).await;
    put(&world, &node, &stream, 50).await;
    let metrics = metrics(&world, &node);
    // No worker has looked yet.
    shows(&node, &format!("{OLDEST} 50."));
    metrics.oldest_staging(&stream.name, Lane::Delivery, Some(seconds_ago(&world, 60)));
    shows(&node, &format!("{OLDEST} 60."));
    let text = node.metrics();
    assert_eq!(text.lines().filter(|line| line.starts_with(FRESHNESS)).count(), 1, "{text}");
    node.stop().await.unwrap();
}

#[tokio::test]
async fn records_of_a_stream_that_nobody_knows_have_an_age_too() {
    let world = World::new();
    let node = world.open("a").await;
    let _metrics = metrics(&world, &node);
    let stream = node.create("orders", to_s3("o/")).await;
    put(&world, &node, &stream, 50).await;
    node.metastore.mark_deleting(stream.id, world.clock.now()).await.unwrap();
    node.metastore.remove_stream(stream.id, world.clock.now()).await.unwrap();
    node.streams.refresh().await.unwrap();
    shows(&node, &format!("{OLDEST} 50."));
    assert!(!node.metrics().contains("orders"));
    node.stop().await.unwrap();
}

#[tokio::test]
async fn a_streams_outcomes_exist_at_zero_once_it_has_something_to_do_and_its_series_go_with_it() {
    let world = World::new();
    let node = world.open("a").await;
    let metrics = metrics(&world, &node);
    let (orders, clicks) = ("orders".parse().unwrap(), "clicks".parse().unwrap());
    for stream in [&orders, &clicks] {
        metrics.begin(stream, Lane::Delivery);
        metrics.begin_load(stream);
    }
    for step in ["s3", "redshift"] {
        for outcome in ["ok", "failed", "unknown"] {
            let labels = format!("{{outcome=\"{outcome}\",stream=\"orders\"}}");
            shows(&node, &format!("hydrant_delivery_to_{step}_attempts_total{labels} 0"));
        }
    }
    shows(&node, "hydrant_delivery_to_redshift_abandoned_total{stream=\"orders\"} 0");
    metrics.s3_attempt(&orders, Outcome::Failed);
    metrics.uploaded(&orders, Content::Delivery, 3, 30, 10);
    metrics.oldest_staging(&orders, Lane::Delivery, Some(seconds_ago(&world, 5)));
    metrics.redshift_attempt(&clicks, Outcome::Ok);
    metrics.loaded(&clicks, 1, 10);
    shows(&node, "hydrant_delivery_to_s3_attempts_total{outcome=\"failed\",stream=\"orders\"} 1");
    shows(&node, "hydrant_delivery_to_s3_records_total{stream=\"orders\"} 3");
    shows(&node, &format!("{FRESHNESS}{{stream=\"orders\"}} 5."));
    shows(&node, &format!("{OLDEST} 5."));
    metrics.keep_only(&HashSet::from([&clicks]));
    assert!(!node.metrics().contains("orders"), "{}", node.metrics());
    shows(&node, "hydrant_delivery_to_redshift_records_total{stream=\"clicks\"} 1");
    shows(&node, "hydrant_delivery_to_redshift_attempts_total{outcome=\"ok\",stream=\"clicks\"} 1");
    assert!(node.metrics().contains(&format!("{OLDEST} 0\n")));
    node.stop().await.unwrap();
}

#[tokio::test]
async fn the_reference_lists_exactly_the_names_of_deliveries() {
    let world = World::new();
    let node = world.open("a").await;
    let of_others: BTreeSet<String> = names(&node);
    let metrics = metrics(&world, &node);
    let stream = "orders".parse().unwrap();
    for lane in Lane::ALL {
        metrics.begin(&stream, lane);
        metrics.oldest_staging(&stream, lane, Some(world.clock.now()));
    }
    metrics.begin_load(&stream);
    metrics.processing_failed(&stream, 1);
    let shown: BTreeSet<String> = names(&node).difference(&of_others).cloned().collect();
    let reference = include_str!("../../../../docs/metrics.md");
    let section = reference.split("\n## ").find(|section| section.starts_with("Deliveries\n")).unwrap();
    let listed = section.lines().filter_map(|line| line.strip_prefix("| `")?.split(['`', '{']).next());
    assert_eq!(listed.map(str::to_owned).collect::<BTreeSet<_>>(), shown);
    node.stop().await.unwrap();
}

fn names(node: &Node) -> BTreeSet<String> {
    node.registry.gather().iter().map(|family| family.name().to_owned()).collect()
}
