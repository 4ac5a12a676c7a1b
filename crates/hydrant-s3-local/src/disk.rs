//! What makes data durable: the contents of files, and the entries of directories.
//!
//! A new or renamed file is safe only when its contents *and* its directory have been fsynced (fsync(2)). Everything else
//! is done with `std::fs`; these two calls are a seam, so that tests can fail them, hold them back, and see what would be
//! left had the power gone.

use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::path::Path;

/// A disk's two promises.
pub(crate) trait Disk: Debug + Send + Sync + 'static {
    /// Puts the contents of a file on disk; its entry is another matter.
    fn sync_file(&self, file: &File) -> io::Result<()>;

    /// Puts the entries of a directory on disk; what they name is another matter.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
}

/// The operating system's.
#[derive(Debug)]
pub(crate) struct RealDisk;

impl Disk for RealDisk {
    fn sync_file(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}

/// Makes `path` with all missing parents, each of them durable.
pub(crate) fn create_dir_all(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match std::fs::create_dir(path) {
        Ok(()) => sync_parent(disk, path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create_dir_all(disk, parent(path))?;
            create_dir_all(disk, path)
        }
        Err(error) => Err(error),
    }
}

/// Puts the entry `path` itself on disk.
pub(crate) fn sync_parent(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    disk.sync_dir(parent(path))
}

/// The directory that holds `path`, for the bare names that `Path::parent` answers with an empty path.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
