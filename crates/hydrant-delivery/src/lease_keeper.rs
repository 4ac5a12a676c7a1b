//! Keeps a lease by renewing it, and says when it is lost.

use std::{sync::Arc, time::Duration};

use hydrant_metastore::{Kind, Lease, Metastore};
use tokio::{task::AbortHandle, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// A lease that is renewed three times within its time to live, until this is dropped.
pub(crate) struct KeptLease {
    lease: Arc<Lease>,
    lost: CancellationToken,
    renewing: AbortHandle,
}

/// What an unanswered renewal means.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// Nobody else wants it (the log is locked on disk as well): go on.
    IsFine,
    /// Somebody else may have it once its time is over.
    IsLoss,
}

impl KeptLease {
    /// Keeps `lease`, whose time to live began no earlier than `asked_at`.
    pub(crate) fn new(
        metastore: Arc<dyn Metastore>,
        lease: Lease,
        ttl: Duration,
        asked_at: Instant,
        unanswered: Unanswered,
    ) -> Self {
        let (lease, lost) = (Arc::new(lease), CancellationToken::new());
        let renewing = tokio::spawn(renew(metastore, lease.clone(), ttl, asked_at, unanswered, lost.clone()));
        Self { lease, lost, renewing: renewing.abort_handle() }
    }

    /// The lease, for what is changed under it.
    pub(crate) fn lease(&self) -> Arc<Lease> {
        self.lease.clone()
    }

    /// Waits until somebody else has, or may have, it.
    pub(crate) async fn lost(&self) {
        self.lost.cancelled().await;
    }
}

impl Drop for KeptLease {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

async fn renew(
    metastore: Arc<dyn Metastore>,
    lease: Arc<Lease>,
    ttl: Duration,
    mut renewed_at: Instant,
    unanswered: Unanswered,
    lost: CancellationToken,
) {
    loop {
        tokio::time::sleep(ttl / 3).await;
        let asked_at = Instant::now();
        match tokio::time::timeout(ttl / 3, metastore.renew_lease(&lease, ttl)).await {
            Ok(Ok(())) => renewed_at = asked_at,
            Ok(Err(error)) if error.kind() == Kind::Moved => {
                warn!(resource = %lease.resource, %error, "a lease was lost");
                return lost.cancel();
            }
            Ok(Err(error)) => debug!(resource = %lease.resource, %error, "a lease was not renewed"),
            Err(_) => debug!(resource = %lease.resource, "a lease was not renewed in time"),
        }
        // A third is left for what is under way to notice.
        if unanswered == Unanswered::IsLoss && renewed_at.elapsed() >= ttl * 2 / 3 {
            warn!(resource = %lease.resource, "a lease could not be renewed and is given up");
            return lost.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::world::{Node, World};

    const TTL: Duration = Duration::from_millis(240);

    async fn kept(node: &Node, unanswered: Unanswered) -> KeptLease {
        let asked_at = Instant::now();
        let lease = node.metastore.acquire_lease("table:t", "us", TTL).await.unwrap().unwrap();
        KeptLease::new(node.metastore.clone(), lease, TTL, asked_at, unanswered)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_lease_is_renewed_for_as_long_as_it_is_kept_and_runs_out_afterwards() {
        let world = World::new();
        let node = world.open("a").await;
        let lease = kept(&node, Unanswered::IsLoss).await;
        tokio::time::sleep(TTL * 2).await;
        assert!(node.metastore.acquire_lease("table:t", "them", TTL).await.unwrap().is_none());
        assert!(!lease.lost.is_cancelled());
        drop(lease);
        tokio::time::sleep(TTL * 2).await;
        assert!(node.metastore.acquire_lease("table:t", "them", TTL).await.unwrap().is_some());
        node.stop().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_lease_that_cannot_be_renewed_is_given_up_before_anybody_else_can_have_it() {
        let world = World::new();
        let node = world.open("a").await;
        let begun = Instant::now();
        let lease = kept(&node, Unanswered::IsLoss).await;
        node.metastore.silence("renew_lease");
        lease.lost().await;
        assert!(begun.elapsed() < TTL, "{:?}", begun.elapsed());
        node.stop().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_log_that_is_locked_on_disk_too_is_kept_while_nobody_answers_but_not_once_somebody_has_it() {
        let world = World::new();
        let node = world.open("a").await;
        let lease = kept(&node, Unanswered::IsFine).await;
        node.metastore.set_away(true);
        tokio::time::sleep(TTL * 2).await;
        assert!(!lease.lost.is_cancelled());
        // It has run out by now, and somebody is quicker than the next renewal.
        lease.renewing.abort();
        node.metastore.set_away(false);
        node.metastore.acquire_lease("table:t", "them", TTL * 100).await.unwrap().unwrap();
        let ours = (*lease.lease()).clone();
        let again = KeptLease::new(node.metastore.clone(), ours, TTL, Instant::now(), Unanswered::IsFine);
        again.lost().await;
        node.stop().await.unwrap();
    }
}
