//! The stream table and its copy beside the log, against a real metastore.
#![allow(clippy::unwrap_used, reason = "helpers of tests, which the lint does not know as such")]

mod support;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use hydrant_ingest::{StreamTable, stream_table::Error};
use hydrant_types::{Clock, StreamStatus, Tags, limits};
use support::{Site, away, create, open_sqlite};

/// What a node knows that starts while the metastore is away.
fn from_copy(site: &Site) -> Arc<StreamTable> {
    StreamTable::from_copy(site.metastore.clone(), &site.log_dir()).unwrap().unwrap()
}

fn names(table: &StreamTable) -> Vec<String> {
    table.snapshot().streams().iter().map(|stream| stream.name.to_string()).collect()
}

/// As a backup does; nobody writes meanwhile.
fn copy_database(from: &Path, to: &Path) {
    for suffix in ["", "-wal"] {
        let file = |path: &Path| format!("{}{suffix}", path.display());
        if Path::new(&file(from)).exists() {
            std::fs::copy(file(from), file(to)).unwrap();
        }
    }
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
    copy_database(&site.dir.path().join("hydrant.db"), &backup);
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
async fn a_node_that_is_upgraded_while_the_metastore_is_away_reads_the_older_copy() {
    let site = Site::new().await;
    let stream = site.create("orders").await;
    let mut old = serde_json::to_value(&stream).unwrap();
    for newer in ["tags", "encryption", "declared_in"] {
        old.as_object_mut().unwrap().remove(newer).unwrap();
    }
    let old =
        serde_json::json!({"metastore": site.metastore.id().await.unwrap(), "revision": 1, "streams": [old]});
    std::fs::write(site.copy_path(), old.to_string()).unwrap();
    let table = from_copy(&site);
    assert_eq!(*table.get("orders").unwrap(), stream);
    let later = site.create("later").await;
    let table = StreamTable::load(site.metastore.clone(), &site.log_dir()).await.unwrap();
    assert_eq!(names(&table), ["later", "orders"]);
    site.create("more").await;
    table.refresh().await.unwrap();
    let text = std::fs::read_to_string(site.copy_path()).unwrap();
    assert_eq!(text.lines().count(), 2, "{text}");
    let table = from_copy(&site);
    assert_eq!((names(&table).len(), &*table.by_id(later.id).unwrap()), (3, &later));
}

#[tokio::test]
async fn each_change_of_a_stream_adds_a_line_to_the_copy() {
    let site = Site::new().await;
    let (orders, gone) = (site.create("orders").await, site.create("gone").await);
    let table = StreamTable::load(site.metastore.clone(), &site.log_dir()).await.unwrap();
    let metastore = &site.metastore;
    let line = async || {
        table.refresh().await.unwrap();
        let text = std::fs::read_to_string(site.copy_path()).unwrap();
        let copied = StreamTable::read_copy(&site.copy_path()).unwrap().unwrap();
        assert_eq!(copied.len(), table.snapshot().streams().len());
        assert!(copied.iter().all(|stream| *table.by_id(stream.id).unwrap() == *stream));
        text.lines().count()
    };
    assert_eq!(line().await, 1, "nothing changed");
    let now = site.clock.now();
    metastore.update_destination(orders.id, orders.version, &support::destination(), now).await.unwrap();
    assert_eq!(line().await, 2);
    assert_eq!(table.get("orders").unwrap().version.0, 2);
    metastore.change_tags(orders.id, &Tags::from([("a".to_owned(), "b".to_owned())]), &[]).await.unwrap();
    assert_eq!(line().await, 3);
    assert_eq!(table.get("orders").unwrap().tags["a"], "b");
    metastore.mark_deleting(gone.id, now).await.unwrap();
    metastore.remove_stream(gone.id, now).await.unwrap();
    let again = site.create("gone").await;
    assert_eq!(line().await, 4);
    assert_eq!(table.get("gone").unwrap().id, again.id);
    assert!(table.by_id(gone.id).is_none());
}

/// A metastore that was restored while a node was down may come to the revision that the node knows with other changes.
#[tokio::test]
async fn a_restored_metastore_that_came_to_the_same_revision_is_read_whole_at_a_start() {
    let site = Site::new().await;
    let orders = site.create("orders").await;
    let backup = site.dir.path().join("backup.db");
    copy_database(&site.dir.path().join("hydrant.db"), &backup);
    let tags = |value: &str| Tags::from([("a".to_owned(), value.to_owned())]);
    site.metastore.change_tags(orders.id, &tags("lost with the disk"), &[]).await.unwrap();
    StreamTable::load(site.metastore.clone(), &site.log_dir()).await.unwrap();
    let restored = open_sqlite(&backup).await;
    restored.change_tags(orders.id, &tags("set after the restore"), &[]).await.unwrap();
    assert_eq!(restored.streams_revision().await.unwrap(), site.metastore.streams_revision().await.unwrap());
    let table = StreamTable::load(restored, &site.log_dir()).await.unwrap();
    assert_eq!(table.get("orders").unwrap().tags, tags("set after the restore"));
    let copied = StreamTable::read_copy(&site.copy_path()).unwrap().unwrap();
    assert_eq!(copied[0].tags, tags("set after the restore"));
}

#[tokio::test]
async fn a_metastore_that_goes_back_under_a_running_node_is_refused_where_it_lacks_streams() {
    let site = Site::new().await;
    let table = StreamTable::load(site.metastore.clone(), &site.log_dir()).await.unwrap();
    let orders = site.create("orders").await;
    table.refresh().await.unwrap();
    let file = format!("sqlite://{}", site.dir.path().join("hydrant.db").display());
    let beside = sqlx::SqlitePool::connect(&file).await.unwrap();
    let run = async |statement: &'static str| {
        sqlx::raw_sql(statement).execute(&beside).await.unwrap();
    };
    // As it was before the stream was made.
    run("pragma foreign_keys = off; delete from stream_versions; delete from streams; \
         update meta set streams_revision = 0, stream_id_last = 0")
    .await;
    let refused = table.refresh().await.unwrap_err().to_string();
    assert!(refused.contains("older than it was") && refused.contains("orders"), "{refused}");
    assert_eq!(names(&table), ["orders"], "what is known stays");
    site.metastore.import_stream(&orders).await.unwrap();
    site.create("more").await;
    table.refresh().await.unwrap();
    assert_eq!(names(&table), ["more", "orders"]);
    // It goes back, and lacks nothing.
    run("update streams set revision = 5, updated_at = created_at where false; update meta set streams_revision = 1").await;
    table.refresh().await.unwrap();
    site.create("most").await;
    table.refresh().await.unwrap();
    assert_eq!(names(&table), ["more", "most", "orders"]);
    assert_eq!(StreamTable::read_copy(&site.copy_path()).unwrap().unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn refreshes_at_once_end_with_all_that_there_is() {
    let site = Site::new().await;
    let table = StreamTable::load(site.metastore.clone(), &site.log_dir()).await.unwrap();
    let mut creating = tokio::task::JoinSet::new();
    for number in 0..24 {
        let (table, metastore) = (table.clone(), site.metastore.clone());
        creating.spawn(async move {
            let name = format!("stream-{number}");
            create(metastore.as_ref(), &name).await;
            table.refresh().await.unwrap();
            assert!(table.get(&name).is_some(), "{name} is known once its refresh has ended");
        });
    }
    creating.join_all().await;
    assert_eq!(table.snapshot().streams().len(), 24);
    let copied = from_copy(&site);
    assert_eq!(names(&copied), names(&table));
}

#[tokio::test]
async fn refreshes_that_are_cancelled_leave_a_whole_copy() {
    let site = Site::new().await;
    let table = StreamTable::load(site.metastore.clone(), &site.log_dir()).await.unwrap();
    for number in 0..20 {
        site.create(&format!("stream-{number}")).await;
        let patience = std::time::Duration::from_micros(200 * number);
        let _ = tokio::time::timeout(patience, table.refresh()).await;
        // In this order: a refresh goes on when its caller is cancelled.
        let known = table.snapshot().streams();
        let copied = StreamTable::read_copy(&site.copy_path()).unwrap().expect("a whole copy");
        assert!(known.iter().all(|known| copied.contains(known)), "known before it was copied");
    }
    table.refresh().await.unwrap();
    assert_eq!(names(&table).len(), 20);
    assert_eq!(StreamTable::read_copy(&site.copy_path()).unwrap().unwrap().len(), 20);
}

/// Not a test: says what a table of the greatest size costs. `cargo nextest run -p hydrant-ingest --run-ignored only --no-capture`
#[tokio::test]
#[ignore = "measures"]
async fn how_long_it_takes_to_create_and_to_load_as_many_streams_as_there_may_be() {
    let site = Site::new().await;
    let table = StreamTable::load(site.metastore.clone(), &site.log_dir()).await.unwrap();
    let mut refreshing = Duration::ZERO;
    let begun = Instant::now();
    for number in 0..limits::STREAMS_MAX {
        site.create(&format!("stream-{number}")).await;
        let created = Instant::now();
        table.refresh().await.unwrap();
        refreshing += created.elapsed();
    }
    say(&format!(
        "{} creations, each with a refresh: {:?}, of which refreshes {refreshing:?}",
        limits::STREAMS_MAX,
        begun.elapsed()
    ));
    let begun = Instant::now();
    for _time in 0..1_000 {
        table.refresh().await.unwrap();
    }
    say(&format!("a refresh where nothing changed: {:?}", begun.elapsed() / 1_000));
    let begun = Instant::now();
    let copied = from_copy(&site).snapshot().streams().len();
    say(&format!("{copied} streams from the copy: {:?}", begun.elapsed()));
    let begun = Instant::now();
    StreamTable::load(site.metastore.clone(), &site.log_dir()).await.unwrap();
    say(&format!("from the copy, and compared with the metastore: {:?}", begun.elapsed()));
    std::fs::remove_file(site.copy_path()).unwrap();
    let begun = Instant::now();
    StreamTable::load(site.metastore.clone(), &site.log_dir()).await.unwrap();
    say(&format!("from the metastore, and copied: {:?}", begun.elapsed()));
    let begun = Instant::now();
    let page = table.snapshot().page("stream-4", 10).streams.len();
    say(&format!("a page of {page}: {:?}", begun.elapsed()));
}

fn say(what: &str) {
    std::io::Write::write_all(&mut std::io::stderr(), format!("{what}\n").as_bytes()).unwrap();
}
