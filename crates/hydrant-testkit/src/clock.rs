//! A clock that stands still until the test moves it.

use std::sync::Arc;
use std::time::Duration;

use hydrant_types::{Clock, Timestamp};
use parking_lot::Mutex;

/// A [`Clock`] under the test's control. Clones share the same time.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<Mutex<Times>>);

#[derive(Debug)]
struct Times {
    wall: Timestamp,
    monotonic: Duration,
}

impl ManualClock {
    /// A clock whose wall time is `wall` and whose monotonic time is zero.
    pub fn new(wall: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(Times { wall, monotonic: Duration::ZERO })))
    }

    /// Lets `duration` pass on both clocks.
    pub fn advance(&self, duration: Duration) {
        let mut times = self.0.lock();
        times.wall = Timestamp(times.wall.0 + duration.as_millis() as u64);
        times.monotonic += duration;
    }

    /// Steps the wall clock alone, in either direction, as NTP or an operator does.
    pub fn set_wall(&self, wall: Timestamp) {
        self.0.lock().wall = wall;
    }
}

impl Default for ManualClock {
    /// Starts at 2026-01-02T03:04:05Z: each field of a formatted time differs from the others.
    fn default() -> Self {
        Self::new(Timestamp(1_767_323_045_000))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.0.lock().wall
    }

    fn monotonic(&self) -> Duration {
        self.0.lock().monotonic
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_passes_only_when_told_and_for_all_clones() {
        let clock = ManualClock::default();
        let other = clock.clone();
        let start = clock.now();
        clock.advance(Duration::from_millis(1_500));
        assert_eq!(other.now().0 - start.0, 1_500);
        assert_eq!(other.monotonic(), Duration::from_millis(1_500));
    }

    #[test]
    fn stepping_the_wall_clock_back_leaves_the_monotonic_one_alone() {
        let clock = ManualClock::default();
        clock.advance(Duration::from_secs(9));
        clock.set_wall(Timestamp(7));
        assert_eq!(clock.now(), Timestamp(7));
        assert_eq!(clock.monotonic(), Duration::from_secs(9));
    }
}
