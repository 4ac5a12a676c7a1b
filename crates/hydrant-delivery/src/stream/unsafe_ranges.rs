//! Which sealed batches of a stream are not yet uploaded, and so how far the log may be trimmed.

use std::collections::BTreeMap;

use hydrant_types::{Position, PositionRange, Timestamp};

/// Sealed, not yet uploaded. Uploads end in any order; the log is trimmed up to the first that has not.
#[derive(Debug)]
pub(super) struct UnsafeRanges {
    oldest_arrivals: BTreeMap<Position, Timestamp>,
    sealed: Position,
}

impl UnsafeRanges {
    /// Nothing is on its way; everything before `sealed` is safe.
    pub(super) fn new(sealed: Position) -> Self {
        Self { oldest_arrivals: BTreeMap::new(), sealed }
    }

    /// A batch was sealed.
    pub(super) fn add(&mut self, range: PositionRange, oldest_arrival: Timestamp) {
        self.oldest_arrivals.insert(range.from, oldest_arrival);
        self.sealed = self.sealed.max(range.to);
    }

    /// A batch was uploaded.
    pub(super) fn remove(&mut self, range: PositionRange) {
        self.oldest_arrivals.remove(&range.from);
    }

    /// A batch was not sealed after all, and so none that follows it.
    pub(super) fn not_sealed(&mut self, range: PositionRange) {
        self.oldest_arrivals.split_off(&range.from);
        self.sealed = self.sealed.min(range.from);
    }

    /// Everything before is uploaded.
    pub(super) fn safe_to(&self) -> Position {
        self.oldest_arrivals.first_key_value().map_or(self.sealed, |(&from, _)| from)
    }

    /// Everything before is sealed.
    pub(super) fn sealed_to(&self) -> Position {
        self.sealed
    }

    /// The arrival of the oldest record in them.
    pub(super) fn oldest_arrival(&self) -> Option<Timestamp> {
        self.oldest_arrivals.values().min().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(from: u64, to: u64) -> PositionRange {
        PositionRange::new(Position(from), Position(to)).unwrap()
    }

    #[test]
    fn the_log_is_trimmed_up_to_the_first_batch_that_is_not_uploaded() {
        let mut ranges = UnsafeRanges::new(Position(5));
        assert_eq!(ranges.safe_to(), Position(5));
        for (from, to) in [(5, 9), (9, 12), (12, 20)] {
            ranges.add(range(from, to), Timestamp(from));
        }
        ranges.remove(range(9, 12));
        assert_eq!(ranges.safe_to(), Position(5));
        ranges.remove(range(5, 9));
        assert_eq!((ranges.safe_to(), ranges.oldest_arrival()), (Position(12), Some(Timestamp(12))));
        ranges.remove(range(12, 20));
        assert_eq!((ranges.safe_to(), ranges.oldest_arrival()), (Position(20), None));
    }

    #[test]
    fn what_was_not_sealed_after_all_is_to_be_read_again_with_all_that_follows() {
        let mut ranges = UnsafeRanges::new(Position(5));
        for (from, to) in [(5, 9), (9, 12), (12, 20)] {
            ranges.add(range(from, to), Timestamp(from));
        }
        ranges.not_sealed(range(9, 12));
        ranges.not_sealed(range(12, 20));
        assert_eq!((ranges.sealed_to(), ranges.safe_to()), (Position(9), Position(5)));
        ranges.remove(range(5, 9));
        assert_eq!((ranges.sealed_to(), ranges.safe_to()), (Position(9), Position(9)));
        assert_eq!(ranges.oldest_arrival(), None);
    }
}
