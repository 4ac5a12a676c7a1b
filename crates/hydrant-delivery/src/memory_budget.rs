//! A budget of bytes that is tried, never waited for.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Bytes that may be used together.
#[derive(Clone)]
pub(crate) struct MemoryBudget(Arc<Inner>);

struct Inner {
    max: u64,
    used: AtomicU64,
}

/// What somebody has of a budget; given back when dropped.
pub(crate) struct Charge {
    budget: MemoryBudget,
    bytes: u64,
}

impl MemoryBudget {
    pub(crate) fn new(max: u64) -> Self {
        Self(Arc::new(Inner { max, used: AtomicU64::new(0) }))
    }

    /// A charge of `bytes`, or `None` where that is too much.
    pub(crate) fn try_charge(&self, bytes: u64) -> Option<Charge> {
        let mut charge = Charge { budget: self.clone(), bytes: 0 };
        charge.try_set(bytes).then_some(charge)
    }

    /// Bytes in use.
    pub(crate) fn used(&self) -> u64 {
        self.0.used.load(Ordering::Relaxed)
    }
}

impl Charge {
    /// Makes the charge `bytes`; `false` and no change where that is too much.
    pub(crate) fn try_set(&mut self, bytes: u64) -> bool {
        let inner = &self.budget.0;
        let (ours, max) = (self.bytes, inner.max);
        let changed = inner.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            let others = used - ours;
            (bytes <= ours || others + bytes <= max).then_some(others + bytes)
        });
        if changed.is_ok() {
            self.bytes = bytes;
        }
        changed.is_ok()
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.0.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_never_exceeded_and_comes_back_whole() {
        let budget = MemoryBudget::new(100);
        let mut first = budget.try_charge(60).unwrap();
        assert!(budget.try_charge(41).is_none());
        let second = budget.try_charge(40).unwrap();
        assert!(!first.try_set(61));
        drop(second);
        assert!(first.try_set(100));
        assert_eq!(budget.used(), 100);
        assert!(first.try_set(10));
        drop(first);
        assert_eq!(budget.used(), 0);
    }
}
