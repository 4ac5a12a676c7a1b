//! What bounds uploads: bytes of bodies in memory, PUTs under way, and one bucket's share of both.
//!
//! A bucket that does not answer would otherwise take everything and hold up the others. It gets half at most (an object that is bigger
//! goes alone), and once a call to it went unanswered, one upload at a time asks whether it answers while the others wait outside; none
//! of them holds a body meanwhile.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use hydrant_types::{BucketName, EndpointUrl};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::object_store::PutOptions;

/// One permit of the byte semaphores.
const UNIT_BYTES: u64 = 1024;

/// A bucket where it is: two endpoints may each have one of the same name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    endpoint: Option<EndpointUrl>,
    bucket: BucketName,
}

impl Place {
    pub(crate) fn new(bucket: &BucketName, options: &PutOptions) -> Self {
        Self { endpoint: options.tagged.endpoint.clone(), bucket: bucket.clone() }
    }
}

/// The gates of all buckets. Clones share them.
#[derive(Clone)]
pub(crate) struct UploadGates(Arc<Inner>);

struct Inner {
    shared: Limits,
    bytes_max: u64,
    uploads_max: usize,
    buckets: Mutex<HashMap<Place, Arc<BucketGate>>>,
}

#[derive(Clone)]
struct Limits {
    units: Arc<Semaphore>,
    units_max: u32,
    puts: Arc<Semaphore>,
}

struct BucketGate {
    limits: Limits,
    unreachable: AtomicBool,
    probe: Arc<Semaphore>,
}

/// The right to hold a body of some size; given back when dropped.
pub(crate) struct Admission {
    gates: UploadGates,
    gate: Arc<BucketGate>,
    bucket_units: OwnedSemaphorePermit,
    shared_units: OwnedSemaphorePermit,
}

/// The right to ask a bucket whether it answers again; the next one gets it when it is dropped.
pub(crate) struct Probe {
    gate: Arc<BucketGate>,
    _turn: OwnedSemaphorePermit,
}

/// The right to have one PUT under way; given back when dropped.
pub(crate) struct PutTurn {
    _bucket: OwnedSemaphorePermit,
    _shared: OwnedSemaphorePermit,
}

impl Limits {
    fn new(bytes_max: u64, uploads_max: usize) -> Self {
        let units_max = u32::try_from(bytes_max / UNIT_BYTES).unwrap_or(u32::MAX).max(1);
        Self {
            units: Arc::new(Semaphore::new(units_max as usize)),
            units_max,
            puts: Arc::new(Semaphore::new(uploads_max.max(1))),
        }
    }

    /// What is bigger than everything takes everything, and so goes alone.
    async fn take(&self, bytes: u64) -> OwnedSemaphorePermit {
        acquire(&self.units, self.units_of(bytes)).await
    }

    fn units_of(&self, bytes: u64) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX).min(self.units_max)
    }
}

impl UploadGates {
    pub(crate) fn new(bytes_max: u64, uploads_max: usize) -> Self {
        Self(Arc::new(Inner {
            shared: Limits::new(bytes_max, uploads_max),
            bytes_max,
            uploads_max,
            buckets: Mutex::default(),
        }))
    }

    /// Waits until a body of at most `bytes` for this bucket may be in memory.
    ///
    /// # Cancel safety
    /// Safe: the place in the queue is lost, nothing else.
    pub(crate) async fn admit(&self, bucket: &Place, bytes: u64) -> Admission {
        let gate = self.gate(bucket);
        // Bucket before shared, everywhere: what waits for the shared ones cannot be waited for by who has them.
        let bucket_units = gate.limits.take(bytes).await;
        let shared_units = self.0.shared.take(bytes).await;
        Admission { gates: self.clone(), gate, bucket_units, shared_units }
    }

    /// Whether calls to this bucket went unanswered lately.
    pub(crate) fn is_unreachable(&self, bucket: &Place) -> bool {
        self.0.buckets.lock().get(bucket).is_some_and(|gate| gate.unreachable.load(Ordering::Relaxed))
    }

    /// Waits until the bucket answers (`None`), or until it is the caller's turn to ask.
    ///
    /// # Cancel safety
    /// Safe: the place in the queue is lost, nothing else.
    pub(crate) async fn probe(&self, bucket: &Place) -> Option<Probe> {
        let gate = self.gate(bucket);
        if !gate.unreachable.load(Ordering::Relaxed) {
            return None;
        }
        let turn = acquire(&gate.probe, 1).await;
        gate.unreachable.load(Ordering::Relaxed).then_some(Probe { gate, _turn: turn })
    }

    /// Bytes of bodies in memory.
    pub(crate) fn bytes_in_use(&self) -> u64 {
        let limits = &self.0.shared;
        (limits.units_max as usize - limits.units.available_permits()) as u64 * UNIT_BYTES
    }

    fn gate(&self, bucket: &Place) -> Arc<BucketGate> {
        let mut buckets = self.0.buckets.lock();
        if let Some(gate) = buckets.get(bucket) {
            return gate.clone();
        }
        // Gates that nobody uses and that are open have nothing to remember.
        buckets.retain(|_, gate| Arc::strong_count(gate) > 1 || gate.unreachable.load(Ordering::Relaxed));
        let gate = Arc::new(BucketGate {
            limits: Limits::new(self.0.bytes_max / 2, self.0.uploads_max / 2),
            unreachable: AtomicBool::new(false),
            probe: Arc::new(Semaphore::new(1)),
        });
        buckets.insert(bucket.clone(), gate.clone());
        gate
    }
}

impl Admission {
    /// Gives back what a smaller body leaves.
    pub(crate) fn shrink(&mut self, bytes: u64) {
        shrink(&mut self.bucket_units, self.gate.limits.units_of(bytes));
        shrink(&mut self.shared_units, self.gates.0.shared.units_of(bytes));
    }

    /// Waits for the right to begin the PUT.
    pub(crate) async fn put_turn(&self) -> PutTurn {
        let bucket = acquire(&self.gate.limits.puts, 1).await;
        let shared = acquire(&self.gates.0.shared.puts, 1).await;
        PutTurn { _bucket: bucket, _shared: shared }
    }

    /// Says whether the bucket answered, whatever it answered.
    pub(crate) fn answered(&self, answered: bool) {
        self.gate.unreachable.store(!answered, Ordering::Relaxed);
    }
}

impl Probe {
    /// Says that the bucket answered, whatever it answered.
    pub(crate) fn answered(&self) {
        self.gate.unreachable.store(false, Ordering::Relaxed);
    }
}

fn shrink(permit: &mut OwnedSemaphorePermit, units: u32) {
    let excess = permit.num_permits().saturating_sub(units as usize);
    drop(permit.split(excess));
}

async fn acquire(semaphore: &Arc<Semaphore>, permits: u32) -> OwnedSemaphorePermit {
    semaphore.clone().acquire_many_owned(permits).await.expect("the semaphore is never closed")
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn bucket(name: &str) -> Place {
        Place::new(&name.parse().unwrap(), &PutOptions::default())
    }

    #[tokio::test]
    async fn half_of_the_bytes_stay_for_others() {
        let gates = UploadGates::new(100 * 1024, 8);
        let mut hogs = Vec::new();
        for _ in 0..5 {
            hogs.push(gates.admit(&bucket("stuck"), 10 * 1024).await);
        }
        assert!(gates.admit(&bucket("stuck"), 10 * 1024).now_or_never().is_none());
        assert!(gates.admit(&bucket("well"), 50 * 1024).now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_bucket_without_answer_is_probed_by_one_until_it_answers() {
        let gates = UploadGates::new(100 * 1024, 8);
        gates.admit(&bucket("b"), 1).await.answered(false);
        assert!(gates.is_unreachable(&bucket("b")));
        assert!(gates.probe(&bucket("another")).await.is_none());
        let probe = gates.probe(&bucket("b")).await.expect("the first may ask");
        let stuck = bucket("b");
        let (mut second, mut third) = (Box::pin(gates.probe(&stuck)), Box::pin(gates.probe(&stuck)));
        assert!(second.as_mut().now_or_never().is_none(), "one at a time");
        assert!(third.as_mut().now_or_never().is_none());
        drop(probe);
        let probe = second.now_or_never().unwrap().expect("the first had no answer: the next may ask");
        probe.answered();
        drop(probe);
        assert!(third.now_or_never().unwrap().is_none(), "the others need not ask any more");
        assert!(!gates.is_unreachable(&bucket("b")));
    }

    #[tokio::test]
    async fn a_bucket_of_the_same_name_elsewhere_is_another_one() {
        let gates = UploadGates::new(100 * 1024, 8);
        gates.admit(&bucket("b"), 1).await.answered(false);
        let mut elsewhere = PutOptions::default();
        elsewhere.tagged.endpoint = EndpointUrl::parse("http://elsewhere");
        assert!(!gates.is_unreachable(&Place::new(&"b".parse().unwrap(), &elsewhere)));
    }

    #[tokio::test]
    async fn a_body_that_came_out_smaller_gives_back_the_rest() {
        let gates = UploadGates::new(100 * 1024, 8);
        let mut admission = gates.admit(&bucket("b"), 50 * 1024).await;
        admission.shrink(1000);
        assert_eq!(gates.bytes_in_use(), 1024);
        drop(admission);
        assert_eq!(gates.bytes_in_use(), 0);
    }
}
