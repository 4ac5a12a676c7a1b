//! Threads for what blocks or computes: reading the log and compressing.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// As many blocking steps at a time as there are slots; the others queue in order, so that streams take turns.
#[derive(Clone)]
pub(crate) struct EncodeSlots(Arc<Semaphore>);

impl EncodeSlots {
    pub(crate) fn new(slots: usize) -> Self {
        Self(Arc::new(Semaphore::new(slots.max(1))))
    }

    /// Runs `step` on a blocking thread. A panic in it goes on in the caller.
    ///
    /// # Cancel safety
    /// A step that has begun runs to its end; its result is dropped.
    pub(crate) async fn run<T: Send + 'static>(&self, step: impl FnOnce() -> T + Send + 'static) -> T {
        let slot = self.0.clone().acquire_owned().await.expect("the semaphore is never closed");
        let work = tokio::task::spawn_blocking(move || {
            let result = step();
            drop(slot);
            result
        });
        match work.await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // Only a runtime that is shutting down cancels blocking work: nobody waits for the result.
                Err(_) => std::future::pending().await,
            },
        }
    }
}
