//! Names this node does not know: each is looked up once in the metastore before it is refused, and no flood of them reaches the metastore.

use std::time::Duration;

use tokio::{
    sync::Mutex,
    time::{Instant, sleep_until, timeout},
};
use tracing::debug;

use crate::{ingest::Error, stream_table};

/// Between two looks. Calls that come meanwhile wait for the next and share it, so that a flood of unknown names costs the metastore ten small
/// queries a second, and yet no name is refused that was not looked up after it was asked for.
const INTERVAL: Duration = Duration::from_millis(100);
/// A metastore that is away must not hold calls longer than an SDK waits.
const TIMEOUT: Duration = Duration::from_secs(2);

/// One look at a time, shared by all who wait for it.
#[derive(Debug, Default)]
pub(crate) struct Lookup {
    last: Mutex<Option<Look>>,
}

#[derive(Debug, Clone, Copy)]
struct Look {
    begun: Instant,
    /// `None` while it is under way, and for ever when whoever looked was cancelled.
    answered: Option<bool>,
}

impl Lookup {
    /// What `get` finds once `refresh` has brought up to date what it looks in.
    ///
    /// # Errors
    /// `NotFound` when the metastore does not have it; `Unavailable` when it cannot be asked: then it may exist, and the
    /// caller is to come again.
    pub(crate) async fn find<T>(
        &self,
        name: &str,
        get: impl Fn() -> Option<T>,
        refresh: impl AsyncFnOnce() -> Result<(), stream_table::Error>,
    ) -> Result<T, Error> {
        let answered = self.look(refresh).await;
        match get() {
            Some(found) => Ok(found),
            None if answered => Err(Error::NotFound(name.to_owned())),
            None => Err(Error::Unavailable(
                "the stream is not known here, and the metastore cannot be asked".to_owned(),
            )),
        }
    }

    /// Looks, or takes the answer of a look that was begun after this call; whether there was one.
    async fn look(&self, refresh: impl AsyncFnOnce() -> Result<(), stream_table::Error>) -> bool {
        let asked = Instant::now();
        let mut last = self.last.lock().await;
        if let Some(Look { begun, answered: Some(answered) }) = *last
            && begun >= asked
        {
            return answered;
        }
        if let Some(before) = *last {
            sleep_until(before.begun + INTERVAL).await;
        }
        // Noted before it is done: looks that are cancelled keep the interval too.
        let begun = Instant::now();
        *last = Some(Look { begun, answered: None });
        let answered = match timeout(TIMEOUT, refresh()).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                debug!(%error, "an unknown stream could not be looked up");
                false
            }
            Err(_) => false,
        };
        *last = Some(Look { begun, answered: Some(answered) });
        answered
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    /// A metastore that takes a while, and in which a stream may appear.
    #[derive(Default)]
    struct Store {
        looks: AtomicUsize,
        /// The stream is there from this look on.
        appears_at: usize,
        away: bool,
    }

    impl Store {
        async fn refresh(&self) -> Result<(), stream_table::Error> {
            self.looks.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(5)).await;
            if self.away { std::future::pending().await } else { Ok(()) }
        }

        fn get(&self) -> Option<&'static str> {
            let looks = self.looks.load(Ordering::Relaxed);
            (self.appears_at > 0 && looks >= self.appears_at).then_some("stream")
        }

        fn looks(&self) -> usize {
            self.looks.load(Ordering::Relaxed)
        }
    }

    async fn find(lookup: &Lookup, store: &Store) -> Result<&'static str, Error> {
        lookup.find("orders", || store.get(), async || store.refresh().await).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_is_refused_only_after_it_was_looked_up() {
        let (lookup, store) = (Lookup::default(), Store::default());
        assert!(matches!(find(&lookup, &store).await, Err(Error::NotFound(_))));
        assert_eq!(store.looks(), 1);
        // Asked for again directly afterwards: the former look is no answer, for the stream may have been created since.
        assert!(matches!(find(&lookup, &store).await, Err(Error::NotFound(_))));
        assert_eq!(store.looks(), 2);
        let store = Store { appears_at: 1, ..Store::default() };
        assert_eq!(find(&lookup, &store).await.unwrap(), "stream");
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_unknown_names_costs_ten_looks_a_second() {
        let (lookup, store) = (Arc::new(Lookup::default()), Arc::new(Store::default()));
        let begun = Instant::now();
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..200 {
            let (lookup, store) = (lookup.clone(), store.clone());
            calls.spawn(async move {
                for _ in 0..20 {
                    assert!(matches!(find(&lookup, &store).await, Err(Error::NotFound(_))));
                }
            });
        }
        calls.join_all().await;
        let seconds = begun.elapsed().as_secs_f64();
        assert!(
            store.looks() as f64 <= seconds * 10.0 + 1.0,
            "{} looks in {seconds} s for 4,000 calls",
            store.looks()
        );
        assert!(seconds < 5.0, "calls waited {seconds} s");
    }

    #[tokio::test(start_paused = true)]
    async fn looks_that_are_cancelled_keep_the_interval_too() {
        let (lookup, store) = (Lookup::default(), Store::default());
        let begun = Instant::now();
        for _ in 0..20 {
            let look = timeout(Duration::from_millis(1), find(&lookup, &store)).await;
            assert!(look.is_err(), "cancelled");
        }
        assert!(begun.elapsed() < INTERVAL && store.looks() == 1, "{} looks", store.looks());
        assert!(
            matches!(find(&lookup, &store).await, Err(Error::NotFound(_))),
            "not the cancelled look's answer"
        );
        assert_eq!(store.looks(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_metastore_that_is_away_holds_a_call_two_seconds_and_refuses_no_name() {
        let (lookup, store) = (Lookup::default(), Store { away: true, ..Store::default() });
        let begun = Instant::now();
        assert!(matches!(find(&lookup, &store).await, Err(Error::Unavailable(_))));
        assert!((TIMEOUT..TIMEOUT + Duration::from_millis(10)).contains(&begun.elapsed()));
    }
}
