//! A simulated disk: it loses what was not synced, tears writes, fails, fills, and stops at any operation. Seeded.
//!
//! ```text
//!  process ──▶ SimDisk ──▶ page cache (content, names) ──▶ platter (durable)
//!                 │           survives kill()                survives power_cut(), with
//!                 │                                          any part of what is pending
//!                 └─ crash_after(n), fail_next(operation, n), capacity
//! ```
//!
//! Model: a write is pending by sectors of 512 bytes, each of which a power cut keeps or loses by itself; a sector is never torn in itself. Creations, renames and
//! removals are pending until their directory is synced, and each is kept or lost by itself. A failed sync leaves what was pending to chance, and
//! the next sync does not know of it (as on Linux).

mod hooked_log;

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;

pub use hooked_log::HookedLog;

use crate::disk::{Disk, DiskFile};

const SECTOR: usize = 512;
const PAGE: u64 = 4096;

/// What a disk is asked for that changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Writing into a file.
    Write,
    /// Syncing a file.
    Sync,
    /// Making a file.
    Create,
    /// Opening a file that is there.
    Open,
    /// Renaming a file.
    Rename,
    /// Removing a file.
    Remove,
    /// Syncing a directory.
    SyncDir,
    /// Giving a range back.
    Punch,
}

/// A disk in memory, as one process sees it. Clones are the same process.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
    process: u64,
}

#[derive(Debug, Clone, Default)]
struct Inode {
    content: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<(usize, Vec<u8>)>,
    holes: BTreeSet<u64>,
}

#[derive(Debug, Clone)]
enum NameChange {
    Set(PathBuf, u64),
    /// From, to.
    Rename(PathBuf, PathBuf, u64),
    Remove(PathBuf, u64),
}

#[derive(Clone)]
struct State {
    rng: fastrand::Rng,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    pending_names: Vec<NameChange>,
    inodes: BTreeMap<u64, Inode>,
    next_inode: u64,
    /// The process that lives; handles of others are dead.
    process: u64,
    /// Changing operations until the process dies.
    steps_left: Option<u64>,
    faults: Vec<(Operation, u64, io::ErrorKind)>,
    locked: BTreeSet<PathBuf>,
    capacity: u64,
    bytes_read: u64,
    operations: u64,
}

/// What becomes of what was pending.
#[derive(Debug, Clone, Copy)]
enum Fate {
    AllLost,
    AllKept,
    Each,
    OldestKept,
}

impl SimDisk {
    /// An empty disk of 1 GiB. The same seed gives the same losses.
    pub fn new(seed: u64) -> Self {
        let state = State {
            rng: fastrand::Rng::with_seed(seed),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending_names: Vec::new(),
            inodes: BTreeMap::new(),
            next_inode: 1,
            process: 1,
            steps_left: None,
            faults: Vec::new(),
            locked: BTreeSet::new(),
            capacity: 1 << 30,
            bytes_read: 0,
            operations: 0,
        };
        Self { state: Arc::new(Mutex::new(state)), process: 1 }
    }

    /// Ends the process: all its handles are dead, what it wrote is in the page cache. Gives the disk to the next process.
    pub fn kill(&self) -> Self {
        let mut state = self.state.lock();
        state.process += 1;
        state.steps_left = None;
        state.faults.clear();
        state.locked.clear();
        Self { state: self.state.clone(), process: state.process }
    }

    /// Ends the process and the page cache: of what was not synced, chance keeps something. Gives the disk to the next process.
    pub fn power_cut(&self) -> Self {
        let next = self.kill();
        next.state.lock().lose_pending();
        next
    }

    /// The process dies in its `steps`-th changing operation from now on (0: the next), which may take effect wholly, partly or not.
    pub fn crash_after(&self, steps: u64) {
        self.state.lock().steps_left = Some(steps);
    }

    /// Whether the process of this handle is dead.
    pub fn is_dead(&self) -> bool {
        self.state.lock().process != self.process
    }

    /// The `skip`-th next such operation fails with `error`; those after it do not.
    pub fn fail_next(&self, operation: Operation, skip: u64, error: io::ErrorKind) {
        self.state.lock().faults.push((operation, skip, error));
    }

    /// Sets how many bytes of files it takes.
    pub fn set_capacity(&self, bytes: u64) {
        self.state.lock().capacity = bytes;
    }

    /// Bytes of files on it.
    pub fn used(&self) -> u64 {
        self.state.lock().used()
    }

    /// Bytes read from it so far.
    pub fn bytes_read(&self) -> u64 {
        self.state.lock().bytes_read
    }

    /// Changing operations so far.
    pub fn operations(&self) -> u64 {
        self.state.lock().operations
    }

    /// Another disk with the same content, for a process of its own. The locks are free there.
    pub fn fork(&self) -> Self {
        let mut state = self.state.lock().clone();
        state.locked.clear();
        state.steps_left = None;
        let process = state.process;
        Self { state: Arc::new(Mutex::new(state)), process }
    }

    /// Every file with its content.
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let state = self.state.lock();
        state.names.iter().map(|(path, inode)| (path.clone(), state.inodes[inode].content.clone())).collect()
    }

    /// Changes a file's bytes behind everybody's back, durably.
    ///
    /// # Panics
    /// There is no such file.
    pub fn tamper(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state.lock();
        let inode = state.names[path];
        let inode = state.inodes.get_mut(&inode).expect("a named file has an inode");
        change(&mut inode.content);
        inode.durable = inode.content.clone();
        inode.pending.clear();
    }

    /// Runs a changing operation: `effect` with how much of it happens, or the failure that was asked for.
    fn change<T>(
        &self,
        operation: Operation,
        effect: impl FnOnce(&mut State, Extent) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.state.lock();
        state.check(self.process)?;
        state.operations += 1;
        if state.steps_left == Some(0) {
            let extent = [Extent::Nothing, Extent::Part, Extent::Whole][state.rng.usize(..3)];
            let _ = effect(&mut state, extent);
            // Nobody lives until the next process.
            state.process += 1;
            return Err(dead());
        }
        state.steps_left = state.steps_left.map(|steps| steps - 1);
        let mut failure = None;
        state.faults.retain_mut(|(of, skip, error)| {
            let is_due = *of == operation && *skip == 0 && failure.is_none();
            if is_due {
                failure = Some(*error);
            } else if *of == operation {
                *skip -= 1;
            }
            !is_due
        });
        match failure {
            Some(error) => {
                let extent = if operation == Operation::Sync { Extent::Part } else { Extent::Nothing };
                let _ = effect(&mut state, extent);
                Err(io::Error::new(error, format!("injected: {operation:?}")))
            }
            None => effect(&mut state, Extent::Whole),
        }
    }
}

/// How much of an operation happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    Nothing,
    Part,
    Whole,
}

fn dead() -> io::Error {
    io::Error::other("the process is dead")
}

fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, path.display().to_string())
}

impl State {
    fn check(&self, process: u64) -> io::Result<()> {
        if self.process == process { Ok(()) } else { Err(dead()) }
    }

    fn used(&self) -> u64 {
        self.inodes.values().map(Inode::allocated).sum()
    }

    fn inode(&self, path: &Path) -> io::Result<u64> {
        self.names.get(path).copied().ok_or_else(|| not_found(path))
    }

    fn write(&mut self, inode: u64, bytes: &[u8], offset: u64) -> io::Result<()> {
        let used = self.used();
        let capacity = self.capacity;
        let file = self.inodes.get_mut(&inode).ok_or_else(dead)?;
        let (offset, end) = (offset as usize, offset as usize + bytes.len());
        let grown = end.saturating_sub(file.content.len()) as u64;
        let filled: Vec<u64> =
            file.holes.range(offset as u64 / PAGE..(end as u64).div_ceil(PAGE)).copied().collect();
        if used + grown + filled.len() as u64 * PAGE > capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        file.holes.retain(|page| !filled.contains(page));
        if file.content.len() < end {
            file.content.resize(end, 0);
        }
        file.content[offset..end].copy_from_slice(bytes);
        file.pending.push((offset, bytes.to_vec()));
        Ok(())
    }

    fn lose_pending(&mut self) {
        let fate =
            [Fate::AllLost, Fate::AllKept, Fate::Each, Fate::Each, Fate::OldestKept][self.rng.usize(..5)];
        let changes = std::mem::take(&mut self.pending_names);
        let kept_first = self.rng.usize(..=changes.len());
        for (n, change) in changes.into_iter().enumerate() {
            let is_kept = match fate {
                Fate::AllLost => false,
                Fate::AllKept => true,
                Fate::Each => self.rng.bool(),
                Fate::OldestKept => n < kept_first,
            };
            if is_kept {
                apply(&mut self.durable_names, change);
            }
        }
        self.names = self.durable_names.clone();
        let named: BTreeSet<u64> = self.names.values().copied().collect();
        self.inodes.retain(|inode, _| named.contains(inode));
        for inode in self.inodes.values_mut() {
            inode.lose_pending(fate, &mut self.rng);
        }
    }
}

fn apply(names: &mut BTreeMap<PathBuf, u64>, change: NameChange) {
    match change {
        NameChange::Set(path, inode) => drop(names.insert(path, inode)),
        NameChange::Rename(from, to, inode) => {
            if names.get(&from) == Some(&inode) {
                names.remove(&from);
            }
            names.insert(to, inode);
        }
        NameChange::Remove(path, inode) => {
            if names.get(&path) == Some(&inode) {
                names.remove(&path);
            }
        }
    }
}

impl Inode {
    fn allocated(&self) -> u64 {
        (self.content.len() as u64).saturating_sub(self.holes.len() as u64 * PAGE)
    }

    fn sync(&mut self) {
        self.durable.clone_from(&self.content);
        self.pending.clear();
    }

    /// Takes over into what is durable what `fate` keeps of what is pending.
    fn lose_pending(&mut self, fate: Fate, rng: &mut fastrand::Rng) {
        let pending = std::mem::take(&mut self.pending);
        let sectors: usize =
            pending.iter().map(|(offset, bytes)| sectors_of(*offset, bytes.len()).count()).sum();
        let kept_first = rng.usize(..=sectors);
        let mut n = 0;
        for (offset, bytes) in pending {
            for sector in sectors_of(offset, bytes.len()) {
                let is_kept = match fate {
                    Fate::AllLost => false,
                    Fate::AllKept => true,
                    Fate::Each => rng.bool(),
                    Fate::OldestKept => n < kept_first,
                };
                n += 1;
                let (from, to) =
                    ((sector * SECTOR).max(offset), ((sector + 1) * SECTOR).min(offset + bytes.len()));
                if is_kept {
                    if self.durable.len() < to {
                        self.durable.resize(to, 0);
                    }
                    self.durable[from..to].copy_from_slice(&bytes[from - offset..to - offset]);
                }
            }
        }
        self.content.clone_from(&self.durable);
    }
}

fn sectors_of(offset: usize, len: usize) -> std::ops::Range<usize> {
    offset / SECTOR..(offset + len).div_ceil(SECTOR)
}

struct SimFile {
    disk: SimDisk,
    inode: u64,
}

impl DiskFile for SimFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.change(Operation::Write, |state, extent| {
            let len = match extent {
                Extent::Nothing => 0,
                Extent::Part => state.rng.usize(..=bytes.len()),
                Extent::Whole => bytes.len(),
            };
            state.write(self.inode, &bytes[..len], offset)
        })
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        state.check(self.disk.process)?;
        state.bytes_read += buffer.len() as u64;
        let file = state.inodes.get(&self.inode).ok_or_else(dead)?;
        let end = offset as usize + buffer.len();
        let bytes = file.content.get(offset as usize..end).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.change(Operation::Sync, |state, extent| {
            let State { inodes, rng, .. } = state;
            let file = inodes.get_mut(&self.inode).ok_or_else(dead)?;
            match extent {
                Extent::Nothing => {}
                // The page cache goes on showing what may not be on the disk.
                Extent::Part => {
                    let content = file.content.clone();
                    file.lose_pending(Fate::Each, rng);
                    file.content = content;
                }
                Extent::Whole => file.sync(),
            }
            Ok(())
        })
    }

    fn len(&self) -> io::Result<u64> {
        let state = self.disk.state.lock();
        state.check(self.disk.process)?;
        Ok(state.inodes.get(&self.inode).ok_or_else(dead)?.content.len() as u64)
    }

    fn allocated(&self) -> io::Result<u64> {
        let state = self.disk.state.lock();
        state.check(self.disk.process)?;
        Ok(state.inodes.get(&self.inode).ok_or_else(dead)?.allocated())
    }

    fn punch(&self, offset: u64, length: u64) -> io::Result<()> {
        self.disk.change(Operation::Punch, |state, extent| {
            if extent != Extent::Whole {
                return Ok(());
            }
            let file = state.inodes.get_mut(&self.inode).ok_or_else(dead)?;
            let (from, to) = (offset as usize, (offset + length) as usize);
            file.content[from..to].fill(0);
            file.pending.push((from, vec![0; to - from]));
            file.holes.extend(offset.div_ceil(PAGE)..(offset + length) / PAGE);
            Ok(())
        })
    }
}

impl Disk for SimDisk {
    fn make_dir(&self, _dir: &Path) -> io::Result<()> {
        self.state.lock().check(self.process)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        struct Held(SimDisk, PathBuf);
        impl Drop for Held {
            fn drop(&mut self) {
                let mut state = self.0.state.lock();
                if state.process == self.0.process {
                    state.locked.remove(&self.1);
                }
            }
        }
        let mut state = self.state.lock();
        state.check(self.process)?;
        let is_new = state.locked.insert(path.to_owned());
        drop(state);
        Ok(is_new.then(|| Box::new(Held(self.clone(), path.to_owned())) as Box<dyn Any + Send + Sync>))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let inode = self.change(Operation::Create, |state, extent| {
            if extent != Extent::Whole {
                return Err(dead());
            }
            let inode = state.next_inode;
            state.next_inode += 1;
            state.inodes.insert(inode, Inode::default());
            state.names.insert(path.to_owned(), inode);
            state.pending_names.push(NameChange::Set(path.to_owned(), inode));
            Ok(inode)
        })?;
        Ok(Arc::new(SimFile { disk: self.clone(), inode }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let inode = self.change(Operation::Open, |state, _| state.inode(path))?;
        Ok(Arc::new(SimFile { disk: self.clone(), inode }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state.lock();
        state.check(self.process)?;
        let here = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(here.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(Operation::Rename, |state, extent| {
            if extent == Extent::Whole {
                let inode = state.inode(from)?;
                let change = NameChange::Rename(from.to_owned(), to.to_owned(), inode);
                apply(&mut state.names, change.clone());
                state.pending_names.push(change);
            }
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change(Operation::Remove, |state, extent| {
            if extent == Extent::Whole {
                let inode = state.inode(path)?;
                let change = NameChange::Remove(path.to_owned(), inode);
                apply(&mut state.names, change.clone());
                state.pending_names.push(change);
            }
            Ok(())
        })
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        self.change(Operation::SyncDir, |state, extent| {
            if extent == Extent::Whole {
                let changes = std::mem::take(&mut state.pending_names);
                changes.into_iter().for_each(|change| apply(&mut state.durable_names, change));
                // A removed file's space comes back.
                let named: BTreeSet<u64> = state.names.values().copied().collect();
                state.inodes.retain(|inode, _| named.contains(inode));
            }
            Ok(())
        })
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        let state = self.state.lock();
        state.check(self.process)?;
        Ok(state.capacity.saturating_sub(state.used()))
    }
}
