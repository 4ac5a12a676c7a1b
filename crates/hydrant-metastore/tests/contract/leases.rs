//! Leases and their epochs.

use std::time::Duration;

use futures_util::future::join_all;
use hydrant_metastore::{Error, Kind, Lease};
use hydrant_testkit::eventually;

use crate::fixture::{
    Fixture, LONG, NOW, SHORT, committed, is_lease_lost, planned, submitted, to_redshift, uploaded,
};

const SOON: Duration = Duration::from_secs(10);

on_both!(
    a_lease_that_is_held_is_nobody_elses,
    of_many_owners_at_once_one_gets_the_lease,
    of_many_owners_at_once_one_gets_a_lease_that_has_run_out,
    a_lease_that_has_run_out_is_anybodys_and_its_former_holder_is_fenced,
    an_owner_that_takes_its_own_lease_again_fences_its_former_life,
    a_lease_that_ran_out_and_that_nobody_took_is_its_holders_still,
    a_lease_that_is_renewed_does_not_run_out,
    a_lease_that_is_given_back_is_free_at_once,
    giving_back_a_lease_that_was_lost_takes_it_from_nobody,
    every_change_under_a_lost_lease_is_refused_and_changes_nothing,
    leases_run_on_the_databases_clock,
);

async fn acquire(fixture: &Fixture, owner: &str, ttl: Duration) -> Option<Lease> {
    fixture.metastore.acquire_lease("table:t", owner, ttl).await.unwrap()
}

/// Takes the lease as soon as it has run out.
async fn acquire_soon(fixture: &Fixture, owner: &str) -> Lease {
    eventually("the lease runs out", SOON, async || acquire(fixture, owner, LONG).await).await
}

async fn a_lease_that_is_held_is_nobody_elses(fixture: Fixture) {
    let lease = acquire(&fixture, "a", LONG).await.unwrap();
    assert_eq!((lease.resource.as_str(), lease.owner.as_str()), ("table:t", "a"));
    assert_eq!(acquire(&fixture, "b", LONG).await, None);
    let other = fixture.metastore.acquire_lease("table:u", "b", LONG).await.unwrap();
    assert!(other.is_some(), "another table is another lease");
    fixture.metastore.renew_lease(&lease, LONG).await.unwrap();
}

async fn of_many_owners_at_once_one_gets_the_lease(fixture: Fixture) {
    let owners: Vec<String> = (0..8).map(|at| format!("node-{at}")).collect();
    let taken = join_all(owners.iter().map(|owner| acquire(&fixture, owner, LONG))).await;
    assert_eq!(taken.into_iter().flatten().count(), 1);
}

async fn of_many_owners_at_once_one_gets_a_lease_that_has_run_out(fixture: Fixture) {
    let former = acquire(&fixture, "former", Duration::ZERO).await.unwrap();
    let owners: Vec<String> = (0..8).map(|at| format!("node-{at}")).collect();
    let taken = join_all(owners.iter().map(|owner| acquire(&fixture, owner, LONG))).await;
    let taken: Vec<Lease> = taken.into_iter().flatten().collect();
    assert_eq!(taken.len(), 1);
    assert!(taken[0].epoch > former.epoch);
}

async fn a_lease_that_has_run_out_is_anybodys_and_its_former_holder_is_fenced(fixture: Fixture) {
    let former = acquire(&fixture, "a", SHORT).await.unwrap();
    let present = acquire_soon(&fixture, "b").await;
    assert!(present.epoch > former.epoch);
    let error = fixture.metastore.renew_lease(&former, LONG).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Moved);
    assert_eq!(error.to_string(), format!("lease table:t is held by b with epoch {}", present.epoch));
    assert_eq!(acquire(&fixture, "a", LONG).await, None);
    fixture.metastore.renew_lease(&present, LONG).await.unwrap();
}

async fn an_owner_that_takes_its_own_lease_again_fences_its_former_life(fixture: Fixture) {
    let former = acquire(&fixture, "a", LONG).await.unwrap();
    let present = acquire(&fixture, "a", LONG).await.unwrap();
    assert!(present.epoch > former.epoch);
    assert!(is_lease_lost(&fixture.metastore.renew_lease(&former, LONG).await));
    fixture.metastore.renew_lease(&present, LONG).await.unwrap();
}

async fn a_lease_that_ran_out_and_that_nobody_took_is_its_holders_still(fixture: Fixture) {
    let lease = acquire(&fixture, "a", Duration::ZERO).await.unwrap();
    fixture.metastore.renew_lease(&lease, LONG).await.unwrap();
    assert_eq!(acquire(&fixture, "b", LONG).await, None);
}

async fn a_lease_that_is_renewed_does_not_run_out(fixture: Fixture) {
    let lease = acquire(&fixture, "a", Duration::from_millis(300)).await.unwrap();
    fixture.metastore.renew_lease(&lease, LONG).await.unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(acquire(&fixture, "b", LONG).await, None);
}

async fn a_lease_that_is_given_back_is_free_at_once(fixture: Fixture) {
    let lease = acquire(&fixture, "a", LONG).await.unwrap();
    for _repetition in 0..2 {
        fixture.metastore.release_lease(&lease).await.unwrap();
    }
    let error = fixture.metastore.renew_lease(&lease, LONG).await.unwrap_err();
    assert!(matches!(&error, Error::LeaseLost { holder, .. } if holder == "nobody"), "{error}");
    let next = acquire(&fixture, "b", LONG).await.unwrap();
    assert!(next.epoch > lease.epoch);
}

async fn giving_back_a_lease_that_was_lost_takes_it_from_nobody(fixture: Fixture) {
    let former = acquire(&fixture, "a", Duration::ZERO).await.unwrap();
    let present = acquire(&fixture, "b", LONG).await.unwrap();
    fixture.metastore.release_lease(&former).await.unwrap();
    fixture.metastore.renew_lease(&present, LONG).await.unwrap();
}

async fn every_change_under_a_lost_lease_is_refused_and_changes_nothing(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let stream = fixture.stream("clicks", &to_redshift("events")).await;
    let target = stream.destination.copy_target().unwrap();
    let (log, log_lease) = fixture.log().await;
    let table = fixture.table(&target).await;
    let batches = fixture.uploaded(&stream, log, &log_lease, 2).await;
    let sealed = fixture.batch(&stream, log, 20, 30);
    metastore.seal_batches(&log_lease, std::slice::from_ref(&sealed)).await.unwrap();
    let load = fixture.load(&stream, &batches[..1]);
    metastore.plan_load(&table, &load).await.unwrap();

    for lease in [&log_lease, &table] {
        metastore.release_lease(lease).await.unwrap();
        metastore.acquire_lease(&lease.resource, "node-2", LONG).await.unwrap().unwrap();
    }
    let next = fixture.batch(&stream, log, 30, 40);
    assert!(is_lease_lost(&metastore.seal_batches(&log_lease, std::slice::from_ref(&next)).await));
    assert!(is_lease_lost(&metastore.mark_uploaded(&log_lease, &[uploaded(&sealed)], NOW).await));
    let second = fixture.load(&stream, &batches[1..]);
    assert!(is_lease_lost(&metastore.plan_load(&table, &second).await));
    let advanced = metastore.advance_load(&table, load.load.id, &planned(1), &submitted(1), None, NOW).await;
    assert!(is_lease_lost(&advanced));
    // Also a repetition: whoever lost the lease does not go on.
    let repeated = metastore.advance_load(&table, load.load.id, &committed(1), &planned(1), None, NOW).await;
    assert!(is_lease_lost(&repeated));
    assert!(is_lease_lost(&metastore.add_unreachable(&table, load.load.id, 5).await));

    assert_eq!(metastore.batch(next.id).await.unwrap(), None);
    assert_eq!(metastore.batch(sealed.id).await.unwrap(), Some(sealed));
    assert_eq!(metastore.load(load.load.id).await.unwrap(), Some(load.load));
    assert_eq!(metastore.load(second.load.id).await.unwrap(), None);
}

async fn leases_run_on_the_databases_clock(fixture: Fixture) {
    acquire(&fixture, "a", Duration::from_secs(3600)).await.unwrap();
    let query = if fixture.is_sqlite() {
        "select (julianday(expires_at) - julianday('now')) * 86400 between 3590 and 3600.01 \
         and abs(julianday(acquired_at) - julianday('now')) * 86400 < 10 from leases"
    } else {
        "select expires_at - now() between interval '3590 s' and interval '3600 s' \
         and now() - acquired_at < interval '10 s' from leases"
    };
    let query = format!("select case when ({query}) then 'so' else 'not so' end");
    assert_eq!(fixture.rows(&query).await, ["so"]);
}
