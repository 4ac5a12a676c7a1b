//! Chance that can be repeated.

use hydrant_types::Entropy;
use parking_lot::Mutex;
use uuid::Uuid;

/// The variable that repeats a run.
const SEED_VARIABLE: &str = "HYDRANT_TEST_SEED";

/// An [`Entropy`] with a seed. When a test fails while it holds one, the seed is printed.
#[derive(Debug)]
pub struct SeededEntropy {
    seed: u64,
    generator: Mutex<fastrand::Rng>,
}

impl SeededEntropy {
    /// Always the same sequence for the same seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, generator: Mutex::new(fastrand::Rng::with_seed(seed)) }
    }

    /// A new sequence every run, or the one of the environment variable `HYDRANT_TEST_SEED`.
    ///
    /// # Panics
    /// When the variable is no number.
    pub fn from_environment() -> Self {
        let seed = match std::env::var(SEED_VARIABLE) {
            Ok(text) => {
                text.parse().unwrap_or_else(|_| panic!("{SEED_VARIABLE} is not a 64-bit number: {text}"))
            }
            Err(_) => fastrand::u64(..),
        };
        Self::new(seed)
    }

    /// The seed of this sequence.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// A generator of its own for a part of a test, derived from the sequence.
    pub fn fork(&self) -> fastrand::Rng {
        self.generator.lock().fork()
    }
}

impl Entropy for SeededEntropy {
    fn uuid(&self) -> Uuid {
        let bytes = self.generator.lock().u128(..).to_ne_bytes();
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }
}

impl Drop for SeededEntropy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("repeat this run with {SEED_VARIABLE}={}", self.seed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_ids() {
        let (one, two) = (SeededEntropy::new(7), SeededEntropy::new(7));
        let ids: Vec<Uuid> = (0..3).map(|_| one.uuid()).collect();
        assert_eq!(ids, (0..3).map(|_| two.uuid()).collect::<Vec<_>>());
        assert_ne!(ids[0], ids[1]);
        assert_eq!(ids[0].get_version_num(), 4);
    }
}
