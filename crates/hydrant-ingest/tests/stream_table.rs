//! The stream table and its copy beside the log, against a real metastore.
#![allow(clippy::unwrap_used, reason = "helpers of tests, which the lint does not know as such")]

mod support;

use hydrant_ingest::{StreamTable, stream_table::Error};
use hydrant_types::{Clock, StreamStatus};
use support::{Site, away, create, open_sqlite};

fn names(table: &StreamTable) -> Vec<String> {
    table.snapshot().streams().iter().map(|stream| stream.name.to_string()).collect()
}

#[tokio::test]
async fn a_node_knows_its_streams_while_the_metastore_is_away() {
    let site = Site::new().await;
    let stream = site.create("orders").await;
    StreamTable::load(site.metastore.clone(), &site.log_dir()).await.unwrap();
    let table = StreamTable::load(away().await, &site.log_dir()).await.unwrap();
    assert_eq!(*table.get("orders").unwrap(), stream);
    assert_eq!(*table.by_id(stream.id).unwrap(), stream);
}

#[tokio::test]
async fn a_first_start_without_a_metastore_is_refused() {
    let site = Site::new().await;
    let refused = StreamTable::load(away().await, &site.log_dir()).await.err().unwrap();
    assert!(matches!(&refused, Error::NoCopy { path, .. } if *path == site.copy_path()), "{refused}");
}

#[tokio::test]
async fn what_another_node_changes_is_seen_at_the_next_refresh() {
    let site = Site::new().await;
    let table = StreamTable::load(site.metastore.clone(), &site.log_dir()).await.unwrap();
    let mut generation = table.generation();
    table.refresh().await.unwrap();
    assert!(!generation.has_changed().unwrap(), "nothing changed");
    let other_node = open_sqlite(&site.dir.path().join("hydrant.db")).await;
    let id = create(other_node.as_ref(), "orders").await.id;
    create(other_node.as_ref(), "Abc").await;
    table.refresh().await.unwrap();
    assert!(generation.has_changed().unwrap());
    generation.mark_unchanged();
    assert_eq!(names(&table), ["Abc", "orders"]);
    other_node.mark_deleting(id, site.clock.now()).await.unwrap();
    table.refresh().await.unwrap();
    assert_eq!(table.get("orders").unwrap().status, StreamStatus::Deleting);
    other_node.remove_stream(id, site.clock.now()).await.unwrap();
    table.refresh().await.unwrap();
    assert_eq!(names(&table), ["Abc"]);
    assert!(table.by_id(id).is_none());
}

#[tokio::test]
async fn a_stream_is_known_only_once_the_copy_has_it() {
    let site = Site::new().await;
    let table = StreamTable::load(site.metastore.clone(), &site.log_dir()).await.unwrap();
    site.create("orders").await;
    std::fs::remove_dir_all(site.log_dir()).unwrap();
    assert!(matches!(table.refresh().await, Err(Error::WriteCopy { .. })));
    assert!(table.get("orders").is_none());
    std::fs::create_dir(site.log_dir()).unwrap();
    table.refresh().await.unwrap();
    assert!(table.get("orders").is_some());
    assert_eq!(StreamTable::read_copy(&site.copy_path()).unwrap().unwrap().len(), 1);
}

#[tokio::test]
async fn a_wiped_metastore_is_refused_and_the_copy_is_kept_until_its_streams_are_put_back() {
    let site = Site::new().await;
    let stream = site.create("orders").await;
    let running = StreamTable::load(site.metastore.clone(), &site.log_dir()).await.unwrap();
    let wiped = open_sqlite(&site.dir.path().join("other.db")).await;
    let refused = StreamTable::load(wiped.clone(), &site.log_dir()).await.err().unwrap();
    assert!(matches!(&refused, Error::StreamsMissing { count: 1, .. }), "{refused}");
    let text = refused.to_string();
    assert!(text.contains("orders") && text.contains("hydrant log reconcile --new-metastore"), "{text}");
    assert_eq!(StreamTable::read_copy(&site.copy_path()).unwrap().unwrap(), std::slice::from_ref(&stream));
    drop(running);
    wiped.import_stream(&stream).await.unwrap();
    let table = StreamTable::load(wiped.clone(), &site.log_dir()).await.unwrap();
    assert_eq!(names(&table), ["orders"]);
    StreamTable::load(wiped, &site.log_dir()).await.expect("the copy is of the new metastore now");
}

#[tokio::test]
async fn a_metastore_restored_from_a_backup_is_refused_where_it_lacks_streams() {
    let site = Site::new().await;
    site.create("orders").await;
    let backup = site.dir.path().join("backup.db");
    for suffix in ["", "-wal"] {
        let file = |path: &std::path::Path| format!("{}{suffix}", path.display());
        let from = file(&site.dir.path().join("hydrant.db"));
        if std::path::Path::new(&from).exists() {
            std::fs::copy(from, file(&backup)).unwrap();
        }
    }
    let later = site.create("later").await;
    StreamTable::load(site.metastore.clone(), &site.log_dir()).await.unwrap();
    let restored = open_sqlite(&backup).await;
    assert_eq!(restored.id().await.unwrap(), site.metastore.id().await.unwrap());
    let refused = StreamTable::load(restored.clone(), &site.log_dir()).await.err().unwrap().to_string();
    assert!(refused.contains("older than it was") && refused.contains("later"), "{refused}");
    restored.import_stream(&later).await.unwrap();
    assert_eq!(names(&StreamTable::load(restored, &site.log_dir()).await.unwrap()), ["later", "orders"]);
}

#[tokio::test]
async fn a_stream_deleted_elsewhere_while_the_node_was_down_is_gone_at_its_start() {
    let site = Site::new().await;
    let id = site.create("orders").await.id;
    StreamTable::load(site.metastore.clone(), &site.log_dir()).await.unwrap();
    site.metastore.mark_deleting(id, site.clock.now()).await.unwrap();
    site.metastore.remove_stream(id, site.clock.now()).await.unwrap();
    assert!(names(&StreamTable::load(site.metastore.clone(), &site.log_dir()).await.unwrap()).is_empty());
}

#[tokio::test]
async fn a_copy_that_cannot_be_read_is_refused_with_its_path() {
    let site = Site::new().await;
    std::fs::write(site.copy_path(), "{\"streams\":").unwrap();
    let refused = StreamTable::load(site.metastore.clone(), &site.log_dir()).await.err().unwrap();
    assert!(matches!(&refused, Error::BadCopy { path, .. } if *path == site.copy_path()), "{refused}");
}

#[tokio::test]
async fn refreshes_that_are_cancelled_leave_a_whole_copy() {
    let site = Site::new().await;
    let table = StreamTable::load(site.metastore.clone(), &site.log_dir()).await.unwrap();
    for number in 0..20 {
        site.create(&format!("stream-{number}")).await;
        let patience = std::time::Duration::from_micros(200 * number);
        let _ = tokio::time::timeout(patience, table.refresh()).await;
        StreamTable::read_copy(&site.copy_path()).unwrap().expect("a whole copy");
    }
    table.refresh().await.unwrap();
    assert_eq!(names(&table).len(), 20);
    assert_eq!(StreamTable::read_copy(&site.copy_path()).unwrap().unwrap().len(), 20);
}
