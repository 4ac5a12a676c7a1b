//! How much one stream may take a second. Firehose has quotas; Hydrant has none unless it is told.

use std::{
    num::{NonZeroU32, NonZeroU64},
    sync::Arc,
    time::Duration,
};

use governor::{
    Quota, RateLimiter, clock, middleware::NoOpMiddleware, state::InMemoryState, state::NotKeyed,
};
use hydrant_types::{Clock, limits};

/// What each stream may take a second on this node. `None` is no quota.
///
/// A second's worth may come at once, and at least one largest call, so that a small quota slows calls down and forbids none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quotas {
    /// Records.
    pub records_per_sec: Option<NonZeroU32>,
    /// Bytes of records, counted in units of 256.
    pub bytes_per_sec: Option<NonZeroU64>,
    /// Calls.
    pub calls_per_sec: Option<NonZeroU32>,
}

/// Bytes are counted in these: governor's steps are whole nanoseconds, too coarse for single bytes at gigabytes a second.
const BYTES_UNIT: u64 = 256;

/// One stream's quotas, and what is left of them.
pub(crate) struct Limiter {
    bytes: Option<Bucket>,
    records: Option<Bucket>,
    calls: Option<Bucket>,
}

type Bucket = RateLimiter<NotKeyed, InMemoryState, Monotonic, NoOpMiddleware<Duration>>;

impl Limiter {
    /// `None` where there are no quotas.
    pub(crate) fn new(quotas: Quotas, clock: &Arc<dyn Clock>) -> Option<Self> {
        let bucket = |per_sec: NonZeroU32, call_max: u32| {
            let burst = per_sec.max(NonZeroU32::new(call_max).unwrap_or(NonZeroU32::MIN));
            RateLimiter::direct_with_clock(
                Quota::per_second(per_sec).allow_burst(burst),
                Monotonic(clock.clone()),
            )
        };
        let bytes = quotas.bytes_per_sec.map(|bytes| {
            let units = u32::try_from(bytes.get().div_ceil(BYTES_UNIT)).unwrap_or(u32::MAX);
            bucket(
                NonZeroU32::new(units).unwrap_or(NonZeroU32::MIN),
                units_of(limits::BATCH_BYTES_MAX as u64),
            )
        });
        let records = quotas.records_per_sec.map(|records| bucket(records, limits::BATCH_RECORDS_MAX as u32));
        let calls = quotas.calls_per_sec.map(|calls| bucket(calls, 1));
        (quotas != Quotas::default()).then_some(Self { bytes, records, calls })
    }

    /// Takes a call's share, or names the quota that is used up. A call that is refused for its later quotas has used the earlier ones; the
    /// one that binds most often comes first.
    pub(crate) fn admit(&self, records: u32, bytes: u64) -> Result<(), &'static str> {
        take(self.bytes.as_ref(), units_of(bytes), "bytes per second")?;
        take(self.records.as_ref(), records, "records per second")?;
        take(self.calls.as_ref(), 1, "calls per second")
    }
}

fn units_of(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(BYTES_UNIT)).unwrap_or(u32::MAX)
}

fn take(bucket: Option<&Bucket>, amount: u32, what: &'static str) -> Result<(), &'static str> {
    match (bucket, NonZeroU32::new(amount)) {
        (Some(bucket), Some(amount)) => match bucket.check_n(amount) {
            Ok(Ok(())) => Ok(()),
            // Not now; or, of a source with larger calls than the API's, never.
            Ok(Err(_)) | Err(_) => Err(what),
        },
        _ => Ok(()),
    }
}

/// Our clock as governor wants it.
#[derive(Clone)]
struct Monotonic(Arc<dyn Clock>);

impl clock::Clock for Monotonic {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.monotonic()
    }
}

#[cfg(test)]
mod tests {
    use hydrant_testkit::ManualClock;

    use super::*;

    fn limiter(quotas: Quotas) -> (Limiter, ManualClock) {
        let clock = ManualClock::default();
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        (Limiter::new(quotas, &shared).expect("there are quotas"), clock)
    }

    #[test]
    fn there_are_no_quotas_unless_they_are_given() {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::default());
        assert!(Limiter::new(Quotas::default(), &clock).is_none());
    }

    #[test]
    fn a_seconds_worth_of_calls_is_admitted_and_more_as_time_passes() {
        let (limiter, clock) = limiter(Quotas { calls_per_sec: NonZeroU32::new(10), ..Quotas::default() });
        for _ in 0..10 {
            assert_eq!(limiter.admit(1, 1), Ok(()));
        }
        assert_eq!(limiter.admit(1, 1), Err("calls per second"));
        clock.advance(Duration::from_millis(100));
        assert_eq!(limiter.admit(1, 1), Ok(()));
        assert_eq!(limiter.admit(1, 1), Err("calls per second"));
    }

    #[test]
    fn a_quota_below_one_call_slows_calls_down_and_forbids_none() {
        let (limiter, clock) = limiter(Quotas { records_per_sec: NonZeroU32::new(100), ..Quotas::default() });
        assert_eq!(limiter.admit(500, 0), Ok(()));
        assert_eq!(limiter.admit(1, 0), Err("records per second"));
        clock.advance(Duration::from_secs(5));
        assert_eq!(limiter.admit(500, 0), Ok(()));
    }

    #[test]
    fn bytes_are_counted_over_calls_and_empty_records_cost_none() {
        let (limiter, clock) =
            limiter(Quotas { bytes_per_sec: NonZeroU64::new(8 << 20), ..Quotas::default() });
        assert_eq!(limiter.admit(1, 4 << 20), Ok(()));
        assert_eq!(limiter.admit(1, 4 << 20), Ok(()));
        assert_eq!(limiter.admit(1, 256), Err("bytes per second"));
        assert_eq!(limiter.admit(500, 0), Ok(()));
        clock.advance(Duration::from_millis(510));
        assert_eq!(limiter.admit(1, 4 << 20), Ok(()));
    }

    #[test]
    fn a_quota_of_gigabytes_is_kept_too() {
        let (limiter, clock) =
            limiter(Quotas { bytes_per_sec: NonZeroU64::new(4 << 30), ..Quotas::default() });
        let calls = |limiter: &Limiter| (0..2_000).take_while(|_| limiter.admit(1, 4 << 20).is_ok()).count();
        assert_eq!(calls(&limiter), 1024);
        clock.advance(Duration::from_millis(500));
        assert!((500..=540).contains(&calls(&limiter)));
    }
}
