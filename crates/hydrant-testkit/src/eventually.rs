//! Waiting for a state, never for a duration.

use std::time::{Duration, Instant};

const POLL_EVERY: Duration = Duration::from_millis(20);

/// Asks `probe` until it gives a value, for at most `limit` of real time.
///
/// # Panics
/// When the limit passes, with `what` was waited for.
pub async fn eventually<T>(what: &str, limit: Duration, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        assert!(started.elapsed() < limit, "waited {limit:?} in vain: {what}");
        tokio::time::sleep(POLL_EVERY).await;
    }
}

/// The same on a thread that may block; `Err` says that the time is up.
pub(crate) fn poll<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Result<T, TimeIsUp> {
    let started = Instant::now();
    loop {
        if let Some(value) = probe() {
            return Ok(value);
        }
        if started.elapsed() >= limit {
            return Err(TimeIsUp);
        }
        std::thread::sleep(POLL_EVERY);
    }
}

/// What was waited for did not come.
#[derive(Debug)]
pub(crate) struct TimeIsUp;

/// Runs what blocks on tokio's threads for that. A paused tokio clock does not run on meanwhile.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => panic!("the runtime is stopping: {error}"),
        },
    }
}
