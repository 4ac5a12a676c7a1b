//! `kill -9` between any two steps: nothing acknowledged is lost, nothing arrives twice.
//!
//! The moments are made with faults outside the process: a proxy that stalls S3 holds a batch between its row and its upload;
//! one that throws an answer away leaves the work done and unrecorded.

use hydrant_e2e::Site;
use hydrant_testkit::Fault;
use sqlx::{Connection, PgConnection, Row};

/// A few batches' worth.
fn numbers() -> Vec<u64> {
    (0..2_000).collect()
}

#[tokio::test]
async fn killed_again_and_again_under_load_loses_nothing_acknowledged() {
    let site = Site::new().await;
    let mut service = site.serve().await;
    service.producer().create_s3_stream("orders").await;
    let mut acknowledged = Vec::new();
    for round in 0..5_u64 {
        let producer = service.producer();
        let process_id = service.process.pid();
        // Killed while calls are under way: after append, before or after the answer.
        let killer = tokio::spawn(async move {
            tokio::time::sleep(std::time::Duration::from_millis(40 + 30 * round)).await;
            kill(process_id);
        });
        for call in 0..10_000 {
            let first = round * 10_000_000 + call * 50;
            let some: Vec<u64> = (first..first + 50).collect();
            if !producer.try_put("orders", &some).await {
                break;
            }
            acknowledged.extend(some);
        }
        killer.await.unwrap();
        service.kill9().await;
        service = site.serve().await;
    }
    assert!(!acknowledged.is_empty(), "some calls were acknowledged");
    hydrant_testkit::eventually("all acknowledged records are in S3", hydrant_e2e::PATIENCE, async || {
        let there = site.in_s3("orders/").await;
        acknowledged.iter().all(|id| there.contains_key(id)).then_some(())
    })
    .await;
    // A call whose answer nobody saw may be there whole; none may be there twice.
    let twice: Vec<_> = site.in_s3("orders/").await.into_iter().filter(|(_, times)| *times != 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    service.stop().await;
}

fn kill(process_id: u32) {
    // Signal by number: the harness's own kill waits for the end, which is not wanted here.
    std::process::Command::new("kill")
        .args(["-9", &process_id.to_string()])
        .status()
        .expect("kill can be run");
}

#[tokio::test]
async fn killed_between_acknowledgement_and_seal() {
    let site = Site::new().await;
    let service = site.serve().await;
    let producer = service.producer();
    producer.create_s3_stream("orders").await;
    producer.put("orders", numbers()).await;
    service.kill9().await;
    let service = site.serve().await;
    site.expect_in_s3("orders/", &numbers()).await;
    service.stop().await;
}

#[tokio::test]
async fn killed_between_seal_and_upload() {
    let site = Site::new().await;
    let service = site.serve().await;
    let producer = service.producer();
    producer.create_s3_stream("orders").await;
    site.s3_proxy.inject(Fault::Stall);
    producer.put("orders", numbers()).await;
    site.wait_for_batch("sealed").await;
    service.kill9().await;
    site.s3_proxy.heal();
    let service = site.serve().await;
    site.expect_in_s3("orders/", &numbers()).await;
    service.stop().await;
}

#[tokio::test]
async fn killed_between_upload_and_its_mark() {
    let site = Site::new().await;
    let service = site.serve().await;
    let producer = service.producer();
    producer.create_s3_stream("orders").await;
    site.s3_proxy.inject_matching("PUT /landing/orders/", usize::MAX, Fault::CutAfter);
    producer.put("orders", numbers()).await;
    hydrant_testkit::eventually("an object is in S3", hydrant_e2e::PATIENCE, async || {
        (!site.keys("orders/").await.is_empty()).then_some(())
    })
    .await;
    assert!(site.batch_states().await.iter().all(|state| state == "sealed"), "nobody was told");
    service.kill9().await;
    site.s3_proxy.heal();
    let service = site.serve().await;
    site.expect_in_s3("orders/", &numbers()).await;
    service.stop().await;
}

#[tokio::test]
async fn killed_between_submit_and_its_record() {
    let site = Site::new().await;
    let service = site.serve().await;
    let producer = service.producer();
    producer.create_redshift_stream("orders", "events", 3600).await;
    site.data_api_proxy.inject_matching("BatchExecuteStatement", usize::MAX, Fault::CutAfter);
    producer.put("orders", numbers()).await;
    hydrant_testkit::eventually("the stand-in has run a COPY", hydrant_e2e::PATIENCE, async || {
        (!site.in_table().await.is_empty()).then_some(())
    })
    .await;
    assert!(site.load_states().await.iter().all(|state| state == "planned"), "nobody was told");
    service.kill9().await;
    site.data_api_proxy.heal();
    let service = site.serve().await;
    site.expect_in_table(&numbers()).await;
    site.wait_for_load("committed").await;
    service.stop().await;
}

#[tokio::test]
async fn killed_between_commit_and_its_mark() {
    let site = Site::new().await;
    let service = site.serve().await;
    let producer = service.producer();
    producer.create_redshift_stream("orders", "events", 3600).await;
    // The ledger is made first, and that is followed with DescribeStatement too.
    producer.put("orders", [1_000_000]).await;
    site.expect_in_table(&[1_000_000]).await;
    site.wait_for_load("committed").await;
    site.data_api_proxy.inject_matching("DescribeStatement", usize::MAX, Fault::Stall);
    producer.put("orders", numbers()).await;
    site.wait_for_load("submitted").await;
    hydrant_testkit::eventually("the COPY is committed", hydrant_e2e::PATIENCE, async || {
        (site.in_table().await.len() > 1).then_some(())
    })
    .await;
    service.kill9().await;
    site.data_api_proxy.heal();
    let service = site.serve().await;
    let all: Vec<u64> = numbers().into_iter().chain([1_000_000]).collect();
    site.expect_in_table(&all).await;
    service.stop().await;
}

#[tokio::test]
async fn a_warehouse_whose_answers_are_lost_loads_each_row_once() {
    let site = Site::new().await;
    let service = site.serve().await;
    let producer = service.producer();
    producer.create_redshift_stream("orders", "events", 3600).await;
    // Every answer about a statement is lost for a while, whatever was done.
    site.data_api_proxy.inject_matching("RedshiftData", 6, Fault::CutAfter);
    producer.put("orders", numbers()).await;
    site.expect_in_table(&numbers()).await;
    service.stop().await;
}

#[tokio::test]
async fn the_warehouse_killed_in_the_middle_of_a_copy_loads_each_row_once() {
    let mut site = Site::new().await;
    let service = site.serve().await;
    let producer = service.producer();
    producer.create_redshift_stream("orders", "events", 3600).await;
    let held = hold_copy_in_the_middle(&site).await;
    producer.put("orders", numbers()).await;
    site.wait_for_load("submitted").await;
    hydrant_testkit::eventually("the COPY has come to the middle", hydrant_e2e::PATIENCE, async || {
        (!hydrant_e2e::query(&site.warehouse_url, WAITING_COPIES).await.is_empty()).then_some(())
    })
    .await;
    site.kill9_redshift_local().await;
    let asked = site.data_api_proxy.requests().len();
    hydrant_testkit::eventually("the service asks for the statement", hydrant_e2e::PATIENCE, async || {
        (site.data_api_proxy.requests().len() > asked).then_some(())
    })
    .await;
    assert!(site.in_table().await.is_empty(), "half a COPY is none");
    assert_eq!(site.load_states().await, ["submitted"], "nobody knows how it ended");
    held.close().await.unwrap();
    site.restart_redshift_local().await;
    site.expect_in_table(&numbers()).await;
    site.wait_for_load("committed").await;
    let attempts =
        hydrant_e2e::query(&site.metastore_url, "SELECT attempt FROM loads ORDER BY planned_at").await;
    assert!(attempts[0].get::<i64, _>(0) > 1, "the COPY that was killed is not the one that loaded them");
    service.stop().await;
}

/// Lets no COPY into the table get past one record until the connection is closed.
async fn hold_copy_in_the_middle(site: &Site) -> PgConnection {
    hydrant_e2e::execute(
        &site.warehouse_url,
        "CREATE FUNCTION wait_for_the_test() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NEW; END $$; \
         CREATE TRIGGER wait_for_the_test BEFORE INSERT ON events FOR EACH ROW WHEN (NEW.id = 1000) \
         EXECUTE FUNCTION wait_for_the_test();",
    )
    .await;
    let mut connection = PgConnection::connect(&site.warehouse_url).await.expect("Postgres answers");
    sqlx::query("SELECT pg_advisory_lock(1)").execute(&mut connection).await.expect("the lock is free");
    connection
}

const WAITING_COPIES: &str = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = \
                              (SELECT oid FROM pg_database WHERE datname = current_database())";
