//! A disk that keeps what was synced and nothing else.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::SystemTime;

use parking_lot::Mutex;
use tempfile::TempDir;

use crate::disk::Disk;

/// Notes what each sync makes durable; [`after_power_cut`](Self::after_power_cut) lays that out.
#[derive(Debug, Default)]
pub(super) struct ForgetfulDisk(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    files: HashMap<Inode, Vec<u8>>,
    directories: HashMap<Inode, BTreeMap<OsString, Entry>>,
    /// How many more syncs work; `None` is all of them.
    syncs_left: Option<usize>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    inode: Inode,
    is_dir: bool,
}

/// Numbers are given out again after a deletion, so the time of birth belongs to them.
type Inode = (u64, Option<SystemTime>);

impl ForgetfulDisk {
    /// `syncs` more syncs work; those after them fail and keep nothing.
    pub(super) fn power_off_after(&self, syncs: usize) {
        self.0.lock().syncs_left = Some(syncs);
    }

    pub(super) fn power_on(&self) {
        self.0.lock().syncs_left = None;
    }

    /// What is left of `root`. Files whose entry is durable and whose contents never were are empty.
    pub(super) fn after_power_cut(&self, root: &Path) -> TempDir {
        let left = tempfile::tempdir().unwrap();
        self.0.lock().lay_out(inode(&fs::metadata(root).unwrap()), left.path());
        left
    }
}

impl Kept {
    fn sync(&mut self) -> io::Result<()> {
        match &mut self.syncs_left {
            None => Ok(()),
            Some(0) => Err(io::Error::other("the power is off")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    fn lay_out(&self, directory: Inode, place: &Path) {
        for (name, entry) in self.directories.get(&directory).into_iter().flatten() {
            let path = place.join(name);
            if entry.is_dir {
                fs::create_dir(&path).unwrap();
                self.lay_out(entry.inode, &path);
            } else {
                fs::write(path, self.files.get(&entry.inode).map_or(&[][..], Vec::as_slice)).unwrap();
            }
        }
    }
}

impl Disk for ForgetfulDisk {
    fn sync_file(&self, file: &File) -> io::Result<()> {
        let mut kept = self.0.lock();
        kept.sync()?;
        let metadata = file.metadata()?;
        let mut contents = vec![0; metadata.len() as usize];
        file.read_exact_at(&mut contents, 0)?;
        kept.files.insert(inode(&metadata), contents);
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut kept = self.0.lock();
        kept.sync()?;
        let mut entries = BTreeMap::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            // A file may be renamed or removed by another thread meanwhile: then it is not there.
            let Ok(metadata) = entry.metadata() else { continue };
            entries.insert(entry.file_name(), Entry { inode: inode(&metadata), is_dir: metadata.is_dir() });
        }
        kept.directories.insert(inode(&fs::metadata(path)?), entries);
        Ok(())
    }
}

fn inode(metadata: &Metadata) -> Inode {
    (metadata.ino(), metadata.created().ok())
}
