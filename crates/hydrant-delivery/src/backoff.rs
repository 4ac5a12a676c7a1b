//! Waiting longer after each failure, with jitter, bounded.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use hydrant_types::Entropy;

use crate::Settings;

/// Waits that double from `backoff_min` to `backoff_max`, each lengthened by up to itself at random. Never ends.
pub(crate) struct Backoff {
    builder: ExponentialBuilder,
    waits: ExponentialBackoff,
    longest: Duration,
}

impl Backoff {
    /// The waits after failed calls. Chance comes from `entropy`, so that a run can be repeated.
    pub(crate) fn new(settings: &Settings, entropy: &dyn Entropy) -> Self {
        Self::between(settings.backoff_min, settings.backoff_max, entropy)
    }

    pub(crate) fn between(shortest: Duration, longest: Duration, entropy: &dyn Entropy) -> Self {
        let seed = entropy.uuid().as_u64_pair().0;
        let builder = ExponentialBuilder::new()
            .with_min_delay(shortest)
            .with_max_delay(longest)
            .with_factor(2.0)
            .without_max_times()
            .with_jitter()
            .with_jitter_seed(seed);
        Self { builder, waits: builder.build(), longest }
    }

    /// How long to wait now.
    pub(crate) fn next(&mut self) -> Duration {
        self.waits.next().unwrap_or(self.longest)
    }

    /// After a success: start from the shortest again.
    pub(crate) fn reset(&mut self) {
        self.waits = self.builder.build();
    }
}
