//! The corpora of the fuzzers in `tests/fuzz`, for tests that run without one.

use crate::workspace_root;

/// Gives every file of a target's corpus to `run`, and of each so many damaged copies: the nearest of what a fuzzer would try next. The same
/// ones each time.
///
/// # Panics
/// There is no such corpus, or it is empty.
pub fn replay_corpus(target: &str, copies: usize, run: fn(&[u8])) {
    let corpus = workspace_root().join("tests/fuzz/corpus").join(target);
    let entries = std::fs::read_dir(&corpus).unwrap_or_else(|e| panic!("{}: {e}", corpus.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("the corpus is listed").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", corpus.display());
    let mut random = fastrand::Rng::with_seed(7);
    for path in paths {
        let file = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        run(&file);
        for _ in 0..copies {
            run(&damaged(file.clone(), &mut random));
        }
    }
}

/// A few bytes replaced, inserted or removed; one in four is cut somewhere too.
fn damaged(mut bytes: Vec<u8>, random: &mut fastrand::Rng) -> Vec<u8> {
    for _ in 0..random.usize(1..6) {
        let at = random.usize(..=bytes.len());
        match random.u8(..3) {
            0 if at < bytes.len() => bytes[at] = random.u8(..),
            1 if at < bytes.len() => drop(bytes.remove(at)),
            _ => bytes.insert(at, random.u8(..)),
        }
    }
    if random.u8(..4) == 0 {
        bytes.truncate(random.usize(..=bytes.len()));
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_near_and_not_the_same() {
        let mut random = fastrand::Rng::with_seed(1);
        let whole = b"a request of some length".to_vec();
        let copies: Vec<_> = (0..100).map(|_| damaged(whole.clone(), &mut random)).collect();
        assert!(copies.iter().all(|copy| copy.len() <= whole.len() + 5));
        assert!(copies.iter().filter(|copy| **copy != whole).count() > 90);
        assert!(copies.iter().any(|copy| copy.len() < whole.len() / 2), "some are cut");
        damaged(Vec::new(), &mut random);
    }
}
