//! The two things that every decision takes from outside: time and chance (design decision D16).

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use uuid::Uuid;

use crate::Timestamp;

/// Where the time comes from. Waiting is tokio's (`tokio::time`), which tests pause; this is for asking.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock, for what is written down. It may step in either direction.
    fn now(&self) -> Timestamp;

    /// Time since some fixed moment, never stepping back, for ages and deadlines.
    fn monotonic(&self) -> Duration;
}

/// Where chance comes from: ids, jitter, keys.
pub trait Entropy: Send + Sync + 'static {
    /// A new version 4 UUID.
    fn uuid(&self) -> Uuid;

    /// A number in `0.0..1.0`.
    fn fraction(&self) -> f64 {
        (self.uuid().as_u128() >> 96) as f64 / f64::from(u32::MAX)
    }

    /// Fills `bytes`, for keys and nonces: every bit is as good as a UUID's random ones are.
    fn fill(&self, bytes: &mut [u8]) {
        for piece in bytes.chunks_mut(12) {
            let uuid = self.uuid().into_bytes();
            // Without the middle, where version and variant are.
            let random = uuid[..6].iter().chain(&uuid[10..]);
            piece.iter_mut().zip(random).for_each(|(byte, random)| *byte = *random);
        }
    }
}

/// The operating system's clocks.
#[derive(Debug, Clone)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    pub fn new() -> Self {
        Self { started: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(since_epoch.as_millis() as u64)
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}

/// The operating system's randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn uuid(&self) -> Uuid {
        Uuid::new_v4()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_of_what_is_filled_is_random() {
        let (mut ones, mut zeros) = ([0; 33], [0xff; 33]);
        for _ in 0..100 {
            let mut bytes = [0; 33];
            SystemEntropy.fill(&mut bytes);
            ones.iter_mut().zip(&bytes).for_each(|(seen, byte)| *seen |= byte);
            zeros.iter_mut().zip(&bytes).for_each(|(seen, byte)| *seen &= byte);
        }
        assert_eq!((ones, zeros), ([0xff; 33], [0; 33]));
    }
}
