//! When calls fail: at random with a seed, so that a run can be repeated.

use std::time::Duration;

use parking_lot::Mutex;

/// What happens to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is done and answered.
    Done,
    /// It is not done, and a failure is answered.
    NotDone,
    /// It is done, and a failure is answered.
    DoneUnseen,
}

/// Draws the fates of calls. All are done until [`Faults::set_percent`].
#[derive(Debug)]
pub(crate) struct Faults(Mutex<State>);

#[derive(Debug)]
struct State {
    random: fastrand::Rng,
    percent: u32,
}

impl Faults {
    pub(crate) fn new(random: fastrand::Rng) -> Self {
        Self(Mutex::new(State { random, percent: 0 }))
    }

    /// How many of a hundred calls fail.
    pub(crate) fn set_percent(&self, percent: u32) {
        self.0.lock().percent = percent;
    }

    /// The fate of the next call; now and then after a short delay.
    pub(crate) async fn draw(&self) -> Fate {
        let (fate, delay) = {
            let state = &mut *self.0.lock();
            let fate = match state.random.u32(0..200) {
                drawn if drawn < state.percent => Fate::NotDone,
                drawn if drawn < 2 * state.percent => Fate::DoneUnseen,
                _ => Fate::Done,
            };
            let delay = (state.percent > 0 && state.random.u32(0..5) == 0).then(|| state.random.u64(0..8));
            (fate, delay)
        };
        if let Some(millis) = delay {
            tokio::time::sleep(Duration::from_millis(millis)).await;
        }
        fate
    }

    /// True in so many of a hundred cases, while calls fail at all.
    pub(crate) fn chance(&self, percent: u32) -> bool {
        let state = &mut *self.0.lock();
        state.percent > 0 && state.random.u32(0..100) < percent
    }
}
