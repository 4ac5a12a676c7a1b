//! Whether a log and a metastore belong together (design decision D5).

use std::time::Duration;

use hydrant_metastore::Metastore;
use hydrant_types::Position;
use prometheus::Registry;

use super::world::{BUCKET, World, records, to_s3};
use crate::{AttachError, attach};

/// A node that has delivered five records of one stream and was stopped.
async fn delivered(world: &World) -> hydrant_types::Stream {
    let node = world.start("a").await;
    let stream = node.create("orders", to_s3("o/")).await;
    node.put(&stream, &records("orders", 0..5, 10)).await;
    node.settled(&stream).await;
    node.stop().await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_together_goes_on_where_it_was() {
    let world = World::new();
    let stream = delivered(&world).await;
    let node = world.start("a").await;
    node.put(&stream, &records("orders", 5..8, 10)).await;
    node.settled(&stream).await;
    let ranges: Vec<_> =
        node.batches(&stream).await.iter().map(|batch| (batch.range.from.0, batch.range.to.0)).collect();
    assert_eq!(ranges, [(0, 5), (5, 8)]);
    assert_eq!(world.objects.records_under(BUCKET, "o/").len(), 2);
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_log_is_refused_by_the_metastore_that_knew_the_old_one() {
    let world = World::new();
    delivered(&world).await;
    std::fs::remove_dir_all(world.log_dir("a")).unwrap();
    let node = world.open("a").await;
    let refused = node.attach().await.unwrap_err();
    assert!(matches!(refused, AttachError::OtherLog { .. }), "{refused}");
    assert!(!refused.is_unavailable());
    assert!(refused.to_string().contains("hydrant log reconcile --new-log"), "{refused}");
    // The command's answer: the old log is given up, and the new one is welcome.
    let registered = node.metastore.logs().await.unwrap().remove(0);
    node.metastore.retire_log(registered.id, world.clock.now()).await.unwrap();
    node.attach().await.unwrap();
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_given_up_is_refused() {
    let world = World::new();
    delivered(&world).await;
    let node = world.open("a").await;
    node.metastore.retire_log(hydrant_log::RecordLog::log_id(&*node.log), world.clock.now()).await.unwrap();
    let refused = node.attach().await.unwrap_err();
    assert!(matches!(refused, AttachError::Retired { .. }), "{refused}");
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_metastore_is_refused_by_the_log_that_remembers_the_old_one() {
    let world = World::new();
    delivered(&world).await;
    // Compared before anything else: the copy of the stream table beside the log says nothing yet.
    let (log, metastore) = (world.open_log("a", &Registry::new()), world.open_metastore("another.db").await);
    let refused = attach(&log, &metastore, "a", &world.clock).await.unwrap_err();
    assert!(matches!(refused, AttachError::OtherMetastore { .. }), "{refused}");
    assert!(refused.to_string().contains("hydrant log reconcile --new-metastore"), "{refused}");
    assert!(metastore.logs().await.unwrap().is_empty(), "nothing was registered there");
    tokio::task::spawn_blocking(move || log.shutdown()).await.unwrap();
}

fn copy_dir(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_restored_from_a_copy_is_refused() {
    let world = World::new();
    let stream = delivered(&world).await;
    let kept = world.log_dir("kept");
    copy_dir(&world.log_dir("a"), &kept);
    let node = world.start("a").await;
    node.put(&stream, &records("orders", 5..8, 10)).await;
    node.settled(&stream).await;
    node.stop().await.unwrap();
    std::fs::remove_dir_all(world.log_dir("a")).unwrap();
    std::fs::rename(&kept, world.log_dir("a")).unwrap();
    let node = world.open("a").await;
    let refused = node.attach().await.unwrap_err();
    let AttachError::LogOlder { sealed, next, .. } = refused else { panic!("{refused}") };
    assert_eq!((sealed, next), (Position(8), Position(5)));
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_metastore_that_was_restored_from_a_backup_is_refused() {
    let world = World::new();
    let stream = delivered(&world).await;
    let database = world.log_dir("hydrant.db");
    let node = world.open("a").await;
    node.stop().await.unwrap();
    let backup = world.log_dir("backup");
    for suffix in ["", "-wal", "-shm"] {
        let _ =
            std::fs::copy(format!("{}{suffix}", database.display()), format!("{}{suffix}", backup.display()));
    }
    let node = world.start("a").await;
    node.put(&stream, &records("orders", 5..8, 10)).await;
    node.settled(&stream).await;
    node.stop().await.unwrap();
    let node = world.open_with("a", "backup").await;
    let refused = node.attach().await.unwrap_err();
    let AttachError::MetastoreOlder { known, sealed, .. } = refused else { panic!("{refused}") };
    assert_eq!((known, sealed), (Position(5), Position(8)));
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_whose_lease_another_process_holds_is_refused_and_its_own_lease_is_taken_again_at_once() {
    let world = World::new();
    delivered(&world).await;
    let node = world.open("a").await;
    // A crash leaves the lease; the same node need not wait for it to run out.
    let first = node.attach().await.unwrap();
    let again = node.attach().await.unwrap();
    assert_eq!((&first.lease.resource, &first.lease.owner), (&again.lease.resource, &again.lease.owner));
    node.metastore.release_lease(&again.lease).await.unwrap();
    node.metastore
        .acquire_lease(&again.lease.resource, "another", Duration::from_secs(60))
        .await
        .unwrap()
        .unwrap();
    let refused = node.attach().await.unwrap_err();
    assert!(matches!(refused, AttachError::InUse { .. }), "{refused}");
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_metastore_that_is_away_says_nothing_about_whether_they_belong_together() {
    let world = World::new();
    delivered(&world).await;
    let node = world.open("a").await;
    node.metastore.set_away(true);
    // The id is known from reading the stream table, or is asked for: either way there is no refusal.
    let failed = node.attach().await.unwrap_err();
    assert!(failed.is_unavailable(), "{failed}");
    node.metastore.set_away(false);
    node.attach().await.unwrap();
    node.stop().await.unwrap();
}
