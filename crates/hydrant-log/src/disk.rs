//! What the log asks of a disk, so that tests can lose what was not synced, tear writes, fail and fill.

use std::{
    any::Any,
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
    sync::Arc,
};

/// One file, written and read at offsets.
#[expect(clippy::len_without_is_empty, reason = "nobody asks a segment whether it is empty")]
pub trait DiskFile: Send + Sync + 'static {
    /// Writes all of `bytes` at `offset`. Not durable before [`DiskFile::sync`].
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Fills `buffer` from `offset`; `UnexpectedEof` where the file is shorter.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Adds `count` bytes from `offset` to `buffer`; `UnexpectedEof` where the file is shorter.
    fn read_more(&self, buffer: &mut Vec<u8>, count: usize, offset: u64) -> io::Result<()> {
        let start = buffer.len();
        buffer.resize(start + count, 0);
        self.read_at(&mut buffer[start..], offset)
    }
    /// Makes what was written durable, the length included (fdatasync).
    fn sync(&self) -> io::Result<()>;
    /// The file's length.
    fn len(&self) -> io::Result<u64>;
    /// Bytes that it takes on the disk: fewer than its length where it has holes.
    fn allocated(&self) -> io::Result<u64>;
    /// Gives the space of a range back; it reads as zeros from then on. A file system that cannot is no error.
    fn punch(&self, offset: u64, length: u64) -> io::Result<()>;
}

/// A directory's files.
pub trait Disk: Send + Sync + 'static {
    /// Makes a directory, and those above it, durably, where they are missing.
    fn make_dir(&self, dir: &Path) -> io::Result<()>;
    /// Takes the lock `path` for as long as what it gives lives; `None` where another holds it.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>>;
    /// Makes an empty file, also where there is one, for reading and writing.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens a file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Names of the files in `dir`, in order.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Renames within a directory; durable after [`Disk::sync_dir`].
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals in `dir` durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Bytes that may still be written on the disk of `dir`.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;
}

/// Whether the disk, the quota or the process has no room for more: refused for now, not broken.
pub(crate) fn is_full(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let out_of_files = [Errno::MFILE, Errno::NFILE].map(|errno| Some(errno.raw_os_error()));
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        || out_of_files.contains(&error.raw_os_error())
}

/// The operating system's files.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

struct RealFile(File);

impl DiskFile for RealFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    /// Into memory that was not zeroed first.
    fn read_more(&self, buffer: &mut Vec<u8>, count: usize, offset: u64) -> io::Result<()> {
        let (start, end) = (buffer.len(), buffer.len() + count);
        buffer.reserve_exact(count);
        while buffer.len() < end {
            let at = offset + (buffer.len() - start) as u64;
            match rustix::io::pread(&self.0, rustix::buffer::spare_capacity(buffer), at) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // What was reserved may be more than what was asked for.
        buffer.truncate(end);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn allocated(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.blocks() * 512)
    }

    fn punch(&self, offset: u64, length: u64) -> io::Result<()> {
        use rustix::fs::{FallocateFlags, fallocate};
        match fallocate(&self.0, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, offset, length) {
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Disk for RealDisk {
    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        if dir.as_os_str().is_empty() || dir.is_dir() {
            return Ok(());
        }
        let above = dir.parent().unwrap_or(Path::new(""));
        self.make_dir(above)?;
        match std::fs::create_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
            made => made?,
        }
        // Or a power cut takes the directory away with all that was acknowledged in it.
        let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        self.sync_dir(above)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        use rustix::fs::{FlockOperation, flock};
        let file = File::create(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(RealFile(OpenOptions::new().read(true).write(true).open(path)?)))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            names.extend(entry?.file_name().into_string().ok());
        }
        names.sort();
        Ok(names)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(dir)?;
        Ok(stat.f_bavail * stat.f_frsize)
    }
}
