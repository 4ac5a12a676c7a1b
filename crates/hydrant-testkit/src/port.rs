//! Free ports for servers that must be told theirs.
//!
//! They come from below the kernel's ephemeral range, so that no outgoing connection takes one between our look and the
//! server's bind. Tests run in many processes at the same time, so each port is also reserved by a lock on a file, which
//! the kernel gives back when the process ends, however that ends: two SeaweedFS that picked the same port would not fail
//! but take another one, and a test would talk to its neighbour's server.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

use parking_lot::Mutex;
use rustix::process::geteuid;

const PORTS: Range<u16> = 22_100..32_700;
/// SeaweedFS puts each server's gRPC port 10000 above its HTTP port.
const PAIRED_PORTS: Range<u16> = 11_000..22_000;
pub(crate) const PAIR_DISTANCE: u16 = 10_000;

/// What this process has reserved, for as long as it lives.
static RESERVED: Mutex<BTreeMap<u16, File>> = Mutex::new(BTreeMap::new());

/// A port of 127.0.0.1 that nobody listens on, given to nobody else while this process lives.
///
/// # Panics
/// When the range is used up.
pub fn free_port() -> u16 {
    pick(PORTS, &[0])
}

/// A port that is free together with the one 10000 above it.
pub(crate) fn free_port_pair() -> u16 {
    pick(PAIRED_PORTS, &[0, PAIR_DISTANCE])
}

/// A port from which all of those `distances` above it can be had.
fn pick(range: Range<u16>, distances: &[u16]) -> u16 {
    let mut reserved = RESERVED.lock();
    // More tries than ports: the choice is random, and some come twice.
    for _ in 0..4 * range.len() {
        let port = fastrand::u16(range.clone());
        let wanted = || distances.iter().map(|distance| port + distance);
        if wanted().any(|port| reserved.contains_key(&port) || !is_free(port)) {
            continue;
        }
        let locks: Option<Vec<File>> = wanted().map(reserve).collect();
        if let Some(locks) = locks {
            reserved.extend(wanted().zip(locks));
            return port;
        }
    }
    panic!("no free port in {range:?}");
}

/// Nothing where another process has it.
fn reserve(port: u16) -> Option<File> {
    // Another user's files could not be locked: each has a folder.
    let folder = std::env::temp_dir().join(format!("hydrant-test-ports-{}", geteuid().as_raw()));
    let open = || -> io::Result<File> {
        fs::create_dir_all(&folder)?;
        File::create(folder.join(port.to_string()))
    };
    let file = open().unwrap_or_else(|error| panic!("no files can be made in {}: {error}", folder.display()));
    file.try_lock().is_ok().then_some(file)
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_port_is_given_twice() {
        let single = (0..200).map(|_| free_port());
        let paired = (0..50).map(|_| free_port_pair()).flat_map(|port| [port, port + PAIR_DISTANCE]);
        let ports: BTreeSet<u16> = single.chain(paired).collect();
        assert_eq!(ports.len(), 300);
    }

    #[test]
    fn a_port_in_use_is_not_given() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert!(!is_free(listener.local_addr().unwrap().port()));
    }

    #[test]
    fn a_port_reserved_by_another_process_is_not_given() {
        let port = free_port();
        // A lock belongs to the opened file, so a second one of this process stands for another's.
        assert!(reserve(port).is_none());
        drop(RESERVED.lock().remove(&port));
        assert!(reserve(port).is_some());
    }
}
