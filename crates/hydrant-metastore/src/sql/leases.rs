//! Leases, on the database's clock alone.

use std::time::Duration;

use hydrant_types::LeaseEpoch;

use super::call::Call;
use crate::{
    Error, Lease,
    column::number,
    error::Result,
    failure::undone,
    row::{self, LeaseRow},
};

pub(super) async fn acquire(
    call: &mut Call,
    resource: &str,
    owner: &str,
    ttl: Duration,
) -> Result<Option<Lease>> {
    // The row is made first, so that there is one to lock; nobody holds it yet.
    sqlx::query("insert into leases (resource, epoch) values ($1, 1) on conflict (resource) do nothing")
        .bind(resource)
        .execute(&mut **call)
        .await
        .map_err(undone(call.step))?;
    let row = locked(call, resource).await?.ok_or_else(|| lost(resource, None))?;
    if row.owner.as_deref() != Some(owner) && !row.has_run_out {
        return Ok(None);
    }
    // Also an owner that has it still gets a new epoch: its former life may have left a statement under way.
    let epoch = row.epoch + 1;
    sqlx::query(concat!(
        "update leases set owner = $2, epoch = $3, acquired_at = ",
        now!(),
        ", expires_at = ",
        in_4_milliseconds!(),
        " where resource = $1"
    ))
    .bind(resource)
    .bind(owner)
    .bind(epoch)
    .bind(milliseconds(ttl))
    .execute(&mut **call)
    .await
    .map_err(undone(call.step))?;
    let epoch = LeaseEpoch(row::revision(epoch)?);
    Ok(Some(Lease { resource: resource.to_owned(), owner: owner.to_owned(), epoch }))
}

pub(super) async fn renew(call: &mut Call, lease: &Lease, ttl: Duration) -> Result<()> {
    check(call, lease).await?;
    sqlx::query(concat!(
        "update leases set expires_at = ",
        in_4_milliseconds!(),
        " where resource = $1 and owner = $2 and epoch = $3"
    ))
    .bind(&lease.resource)
    .bind(&lease.owner)
    .bind(number(lease.epoch.0))
    .bind(milliseconds(ttl))
    .execute(&mut **call)
    .await
    .map(drop)
    .map_err(undone(call.step))
}

pub(super) async fn release(call: &mut Call, lease: &Lease) -> Result<()> {
    sqlx::query(
        "update leases set owner = null, acquired_at = null, expires_at = null \
         where resource = $1 and owner = $2 and epoch = $3",
    )
    .bind(&lease.resource)
    .bind(&lease.owner)
    .bind(number(lease.epoch.0))
    .execute(&mut **call)
    .await
    .map(drop)
    .map_err(undone(call.step))
}

/// Fails where somebody else has taken the lease since; nobody can until the transaction ends. One that has run out and that nobody
/// took is still its holder's: the epoch says so.
pub(super) async fn check(call: &mut Call, lease: &Lease) -> Result<()> {
    match locked(call, &lease.resource).await? {
        Some(row) if row.owner.as_deref() == Some(&lease.owner) && row.epoch == number(lease.epoch.0) => {
            Ok(())
        }
        row => Err(lost(&lease.resource, row)),
    }
}

async fn locked(call: &mut Call, resource: &str) -> Result<Option<LeaseRow>> {
    sqlx::query_as(concat!(
        "select owner, epoch, expires_at is null or expires_at <= ",
        now!(),
        " as has_run_out from leases where resource = $1",
        for_update!()
    ))
    .bind(resource)
    .fetch_optional(&mut **call)
    .await
    .map_err(undone(call.step))
}

fn lost(resource: &str, row: Option<LeaseRow>) -> Error {
    let holder = match row.map(|row| (row.owner, row.epoch)) {
        Some((Some(owner), epoch)) => format!("{owner} with epoch {epoch}"),
        _ => "nobody".to_owned(),
    };
    Error::LeaseLost { resource: resource.to_owned(), holder }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
