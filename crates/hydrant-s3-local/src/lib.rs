//! A small durable S3 server inside the process, for `hydrant dev` and tests.
//!
//! Hydrant trims its record log as soon as S3 has answered 200 to a PUT. Whoever plays S3 must therefore mean it: here an
//! object's bytes and its directory entry are on disk before the answer goes out, conditional puts are decided under a
//! lock, and a key is any UTF-8 text of up to 1024 bytes, as on the real thing. (s3s-fs, which would be the obvious
//! choice, maps keys to paths: it fails for keys over 160 bytes and for `a` beside `a/b`, takes puts into buckets that do
//! not exist, and lets five of sixteen racing conditional puts win.)
//!
//! The protocol is s3s': signatures, chunked bodies, XML. This crate is its backend:
//!
//! ```text
//!  s3s ── api ──▶ receive ──▶ tmp/XXXX  ── fsync, rename, fsync ──▶ buckets/B/objects/ab/cdef…   (SHA-256 of the key)
//!         │       body → file,            under the bucket's lock    body, then its description
//!         │       checksums               with the condition         (key, ETag, headers, checksums)
//!         └─────▶ bucket: key → description, in memory, read back from the files at start
//! ```
//!
//! One object is one file, so that a rename replaces an object whole or not at all; the files describe themselves, so that
//! there is no index to be repaired. `kill -9` at any moment leaves the old object or the new one.
//!
//! What it does not do: versions, policies, tagging, object lock, encryption (the headers are kept and given back),
//! virtual-hosted addresses. Those that change what is stored are refused, not ignored.

mod api;
mod bucket;
mod checksums;
mod disk;
mod headers;
mod listing;
mod object;
mod object_file;
mod receive;
mod server;
mod store;
#[cfg(test)]
mod tests;
mod unread_body;
mod upload;

// The tests in here and those in tests/ share their client, which calls this crate by name.
#[cfg(test)]
extern crate self as hydrant_s3_local;

use std::path::PathBuf;
use std::sync::Arc;

use hydrant_types::Secret;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use disk::{Disk, RealDisk};
use store::Store;

/// What the server needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where everything is kept; made if missing. One server at a time may use it.
    pub dir: PathBuf,
    /// The one access key that the server knows.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: Secret,
    /// Buckets that are made at start where they do not exist.
    pub buckets: Vec<String>,
}

/// Why the server did not start. Once it serves, every failure is an answer to a request.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory could not be read or made.
    #[error("cannot {step} {}", path.display())]
    Disk {
        /// What was tried.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// Another server uses the directory.
    #[error("another process uses {}", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A file among the objects is none; no crash leaves one behind, as objects are renamed into place whole.
    #[error("{} is damaged or not an object of this server: move it away to start without it", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The settings ask for a bucket that S3 would not make.
    #[error("not a valid bucket name: {name}")]
    BucketName {
        /// The name.
        name: String,
    },
}

/// Serves S3 on `listener` until `shutdown`, then finishes requests under way (for at most five seconds).
///
/// Connections that come while the directory is read at start wait for it.
///
/// # Errors
/// When the directory cannot be used; see [`Error`].
pub async fn serve(
    listener: TcpListener,
    settings: Settings,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    serve_on(Arc::new(RealDisk), listener, settings, shutdown).await
}

async fn serve_on(
    disk: Arc<dyn Disk>,
    listener: TcpListener,
    settings: Settings,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let dir = settings.dir.clone();
    let buckets = settings.buckets.clone();
    let opened = tokio::task::spawn_blocking(move || Store::open(&dir, &buckets, disk)).await;
    let store = match opened {
        Ok(store) => store?,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    };
    let service = api::service(store, settings.access_key_id, settings.secret_access_key.reveal());
    server::run(listener, service, shutdown).await;
    Ok(())
}
