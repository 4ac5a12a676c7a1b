//! File descriptors: what connections may not take from the record log, S3 and the metastore.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// For everything but the API's connections: segments, the metastore's and S3's connections, the admin listener's, with room to spare.
const RESERVED: u64 = 512;
/// Fewer connections are no service.
const CONNECTIONS_MIN: u64 = 64;

/// Raises the process's limit as far as it may go itself, and says how many connections the API may then have, at most `wanted`.
pub fn connections_max(wanted: usize) -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let needed = wanted as u64 + RESERVED;
    let possible = maximum.unwrap_or(u64::MAX).min(needed.max(current.unwrap_or(u64::MAX)));
    if current.is_some_and(|current| current < possible) {
        let raised = Rlimit { current: Some(possible), maximum };
        // Refused where the system has a limit of its own; then it stays as it is.
        let _ = setrlimit(Resource::Nofile, raised);
    }
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let connections = within(limit, wanted);
    if connections < wanted {
        warn!(
            limit,
            connections,
            wanted,
            "the process may open so few files that the API takes fewer connections at a time"
        );
    }
    connections
}

/// How many of `wanted` connections fit where `limit` files may be open.
fn within(limit: u64, wanted: usize) -> usize {
    let left = limit.saturating_sub(RESERVED).max(CONNECTIONS_MIN.min(limit / 2));
    usize::try_from(left).unwrap_or(usize::MAX).min(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_what_stores_and_delivers() {
        for (limit, connections) in [
            (u64::MAX, 10_000),
            (65_536, 10_000),
            (10_512, 10_000),
            (10_000, 9_488),
            (1_024, 512),
            (600, 88),
            (512, 64),
            (100, 50),
        ] {
            assert_eq!(within(limit, 10_000), connections, "{limit}");
        }
    }
}
