//! A database that is away, that dies, and that does not say what it did.

use std::time::Duration;

use hydrant_metastore::{Error, Kind, Metastore, NewStream, open};
use hydrant_testkit::{Fault, FaultProxy, Postgres, Scratch, eventually};
use hydrant_types::{DataKeyId, Stream, StreamEncryption, StreamStatus, StreamVersion, Tags, WrappedDataKey};

use crate::fixture::{FIRST, Fixture, LONG, NOW, planned, submitted, to_redshift, to_s3, uploaded};

const SOON: Duration = Duration::from_secs(20);
/// As it is sent; the zero tells it from the setting `synchronous_commit`.
const COMMIT: &str = "commit\0";

/// A metastore behind a proxy, and the proxy.
async fn behind_a_proxy(fixture: &Fixture) -> (std::sync::Arc<dyn Metastore>, FaultProxy) {
    let (before, after) = fixture.url.split_once('@').unwrap();
    let (address, database) = after.split_once('/').unwrap();
    let proxy = FaultProxy::tcp(address).await;
    let metastore = open(&format!("{before}@{}/{database}", proxy.address()), false).await.unwrap();
    (metastore, proxy)
}

#[tokio::test]
async fn a_commit_without_an_answer_is_in_doubt_and_repeating_the_call_settles_it() {
    let fixture = Fixture::postgres().await;
    let stream = fixture.stream("events", &to_redshift("events")).await;
    let (log, lease) = fixture.log().await;
    let table = fixture.table(&stream.destination.copy_target().unwrap()).await;
    let batches = [fixture.batch(&stream, log, 0, 10), fixture.batch(&stream, log, 10, 20)];
    let uploads: Vec<_> = batches.iter().map(uploaded).collect();
    let new = fixture.load(&stream, &batches);
    let (metastore, proxy) = behind_a_proxy(&fixture).await;

    // `CutAfter`: it was done; `CutBefore`: it was not. The caller cannot tell, and need not.
    for fault in [Fault::CutAfter, Fault::CutBefore] {
        macro_rules! repeated {
            ($call:expr) => {{
                proxy.inject_matching(COMMIT, 1, fault.clone());
                let error = $call.await.map(drop).unwrap_err();
                assert_eq!(error.kind(), Kind::OutcomeUnknown, "{error}");
                proxy.heal();
                $call.await.unwrap()
            }};
        }
        repeated!(metastore.seal_batches(&lease, &batches));
        repeated!(metastore.mark_uploaded(&lease, &uploads, NOW));
        repeated!(metastore.plan_load(&table, &new));
        repeated!(metastore.renew_lease(&table, LONG));
        repeated!(metastore.register_log(log, "node-1:/elsewhere", NOW));
        let other = format!("table:{fault:?}");
        let taken = repeated!(metastore.acquire_lease(&other, "node-1", LONG)).unwrap();
        repeated!(metastore.release_lease(&taken));
    }
    let id = new.load.id;
    proxy.inject_matching(COMMIT, 1, Fault::CutAfter);
    let advance = async || metastore.advance_load(&table, id, &planned(1), &submitted(1), None, NOW).await;
    assert_eq!(advance().await.unwrap_err().kind(), Kind::OutcomeUnknown);
    proxy.heal();
    advance().await.unwrap();
    assert_eq!(fixture.load_state(id).await, submitted(1));
    assert_eq!(fixture.metastore.load_batches(id).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_creation_in_doubt_is_found_out_by_looking() {
    let fixture = Fixture::postgres().await;
    let (metastore, proxy) = behind_a_proxy(&fixture).await;
    let new = NewStream::new("clicks".parse().unwrap(), to_s3());
    proxy.inject_matching(COMMIT, 1, Fault::CutAfter);
    let error = metastore.create_stream(&new, NOW).await.unwrap_err();
    assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error}");
    proxy.heal();
    assert!(matches!(metastore.create_stream(&new, NOW).await, Err(Error::StreamExists(_))));
    assert_eq!(metastore.stream(&new.name).await.unwrap().unwrap().destination, new.destination);
}

#[tokio::test]
async fn a_change_of_a_stream_in_doubt_is_settled_by_repeating_it_or_by_looking() {
    let fixture = Fixture::postgres().await;
    let (metastore, proxy) = behind_a_proxy(&fixture).await;
    let key = WrappedDataKey { id: DataKeyId(1), wrapped_by: "arn".to_owned(), wrapped: "AA==".to_owned() };
    let (none, next) =
        (StreamEncryption::default(), StreamEncryption { data_keys: vec![key], ..Default::default() });
    for (at, fault) in [Fault::CutAfter, Fault::CutBefore].into_iter().enumerate() {
        let was_done = matches!(fault, Fault::CutAfter);
        let stream = fixture.stream(&format!("s{at}"), &to_s3()).await;
        let set = Tags::from([("a".to_owned(), "b".to_owned())]);
        macro_rules! in_doubt {
            ($call:expr) => {{
                proxy.inject_matching(COMMIT, 1, fault.clone());
                let error = $call.await.map(drop).unwrap_err();
                assert_eq!(error.kind(), Kind::OutcomeUnknown, "{error}");
                proxy.heal();
                $call.await
            }};
        }
        in_doubt!(metastore.change_tags(stream.id, &set, &[])).unwrap();
        in_doubt!(metastore.set_encryption(stream.id, &none, &next)).unwrap();
        in_doubt!(metastore.set_declared_in(stream.id, Some("a.toml"))).unwrap();
        let again = in_doubt!(metastore.update_destination(stream.id, FIRST, &to_redshift("t"), NOW));
        match was_done {
            true => assert!(matches!(again, Err(Error::VersionMoved { found: StreamVersion(2), .. }))),
            false => assert_eq!(again.unwrap().version, StreamVersion(2)),
        }
        let expected = Stream {
            tags: set,
            encryption: next.clone(),
            declared_in: Some("a.toml".to_owned()),
            version: StreamVersion(2),
            destination: to_redshift("t"),
            updated_at: Some(NOW),
            ..stream
        };
        assert_eq!(metastore.stream(&expected.name).await.unwrap(), Some(expected));
    }
}

#[tokio::test]
async fn a_connection_that_breaks_before_the_commit_has_changed_nothing() {
    let fixture = Fixture::postgres().await;
    let stream = fixture.stream("clicks", &to_s3()).await;
    let (log, lease) = fixture.log().await;
    let batch = fixture.batch(&stream, log, 0, 10);
    let (metastore, proxy) = behind_a_proxy(&fixture).await;
    proxy.inject_matching("insert into batches", 1, Fault::CutAfter);
    let error = metastore.seal_batches(&lease, std::slice::from_ref(&batch)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Retry, "{error}");
    assert_eq!(fixture.metastore.batch(batch.id).await.unwrap(), None);
    proxy.heal();
    metastore.seal_batches(&lease, &[batch]).await.unwrap();
}

#[tokio::test]
async fn a_call_that_is_dropped_leaves_the_store_usable_and_holds_no_lock() {
    let fixture = Fixture::postgres().await;
    let (metastore, proxy) = behind_a_proxy(&fixture).await;
    let lease = metastore.acquire_lease("table:t", "a", LONG).await.unwrap().unwrap();
    for _call in 0..12 {
        proxy.inject_matching("update leases", 1, Fault::Stall);
        let dropped =
            tokio::time::timeout(Duration::from_millis(50), metastore.renew_lease(&lease, LONG)).await;
        assert!(dropped.is_err(), "a stalled call was answered");
        proxy.heal();
    }
    tokio::time::timeout(SOON, metastore.renew_lease(&lease, LONG)).await.unwrap().unwrap();
    tokio::time::timeout(SOON, fixture.metastore.renew_lease(&lease, LONG)).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_server_that_crashes_is_away_until_it_is_back_with_all_that_was_answered() {
    let server = Postgres::start().await;
    let metastore = open(&server.database().await, true).await.unwrap();
    let stream =
        metastore.create_stream(&NewStream::new("clicks".parse().unwrap(), to_s3()), NOW).await.unwrap();
    server.crash().await;
    let away = metastore.streams().await.unwrap_err();
    assert_eq!(away.kind(), Kind::Retry, "{away}");
    let away = metastore.mark_deleting(stream.id, NOW).await.unwrap_err();
    assert_eq!(away.kind(), Kind::Retry, "{away}");
    server.restart().await;
    let streams = eventually("the server is back", SOON, async || metastore.streams().await.ok()).await;
    assert_eq!(streams, [stream]);
}

#[tokio::test]
async fn a_server_that_answers_nothing_ends_each_call_and_is_used_again_when_it_does() {
    let server = Postgres::start().await;
    let metastore = open(&server.database().await, true).await.unwrap();
    let stream =
        metastore.create_stream(&NewStream::new("clicks".parse().unwrap(), to_s3()), NOW).await.unwrap();
    server.pause();
    let (read, written) = tokio::join!(
        tokio::time::timeout(SOON, metastore.streams()),
        tokio::time::timeout(SOON, metastore.mark_deleting(stream.id, NOW)),
    );
    assert_eq!(read.expect("the call ends").unwrap_err().kind(), Kind::Retry);
    assert_eq!(written.expect("the call ends").unwrap_err().kind(), Kind::Retry);
    server.resume();
    let again = eventually("the server answers again", SOON, async || metastore.streams().await.ok()).await;
    assert_eq!(again[0].status, StreamStatus::Active);
}

#[tokio::test]
async fn a_postgres_that_is_away_at_the_start_is_looked_at_when_it_is_there() {
    let server = Postgres::start().await;
    let url = server.database().await;
    server.stop().await;
    let metastore = open(&url, false).await.unwrap();
    assert_eq!(metastore.id().await.unwrap_err().kind(), Kind::Retry);
    assert_eq!(open(&url, true).await.map(drop).unwrap_err().kind(), Kind::Retry);
    server.restart().await;
    let found = eventually("the server is back", SOON, async || match metastore.id().await {
        Err(error) if error.kind() == Kind::Retry => None,
        other => Some(other),
    })
    .await;
    assert!(matches!(found, Err(Error::NotMigrated)), "{found:?}");
    assert!(matches!(metastore.streams().await, Err(Error::NotMigrated)));
    hydrant_metastore::migrate(&url).await.unwrap();
    metastore.id().await.unwrap();
}

#[tokio::test]
async fn a_url_that_names_no_database_is_refused_without_repeating_its_password() {
    let directory = Scratch::new();
    let missing = format!("sqlite://{}", directory.path().join("missing/hydrant.db").display());
    for url in [
        "mysql://me:hunter2@host/db",
        "postgres://me:hunter2@host:port/db",
        "/var/lib/hydrant.db",
        "sqlite::memory:",
        "sqlite://",
        &missing,
    ] {
        let error = open(url, true).await.map(drop).unwrap_err();
        assert!(matches!(error, Error::BadUrl { .. }), "{url}: {error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn a_process_that_holds_the_file_for_a_moment_is_waited_for() {
    let fixture = Fixture::sqlite().await;
    let other = sqlx::SqlitePool::connect(&fixture.url).await.unwrap();
    let mut transaction = other.begin_with("begin immediate").await.unwrap();
    sqlx::query("update meta set streams_revision = 40").execute(&mut *transaction).await.unwrap();
    let new = NewStream::new("clicks".parse().unwrap(), to_s3());
    let (created, ()) = tokio::join!(fixture.metastore.create_stream(&new, NOW), async {
        // Reads go on meanwhile, and see what is committed.
        assert_eq!(fixture.metastore.streams_revision().await.unwrap(), 0);
        transaction.commit().await.unwrap();
    });
    created.unwrap();
    assert_eq!(fixture.metastore.streams_revision().await.unwrap(), 41);
}
