//! A disk that forgets what was not synced, tears what was being written, fills up, fails and rots:
//! all from a seed, so that a run repeats exactly.
//!
//! It keeps what a file looks like to the process and what of it is durable; between the two are the
//! writes since the last sync. The directory has the same two sides. A crash builds a new disk from the
//! durable side and an arbitrary part of the rest:
//!
//! - of every write since the last sync any sectors, one of them cut at any byte;
//! - of the directory's changes since its last sync any, as long as those of one file keep their order.

mod file;
mod random;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use super::{Disk, DiskFile};
use file::{Inode, SimulatedFile};
use random::SplitMix64;

/// A directory in memory. A clone is another handle of the same one.
#[derive(Clone, Debug, Default)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
}

/// What shall go wrong. Operations are counted from 1, over the life of the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// This write fails with EIO.
    pub fail_write: Option<u64>,
    /// This sync of a file fails with EIO; what it should have made durable is then lost at a
    /// crash, although the process still sees it and later syncs succeed: as Linux does.
    pub fail_sync: Option<u64>,
    /// The power goes out during this operation (a write, sync, creation, renaming, removal or
    /// directory sync). It and everything after it fails; a write may still reach the disk.
    pub power_out: Option<u64>,
    /// This read fails with EIO.
    pub fail_read: Option<u64>,
    /// This creation, renaming or removal fails with EIO and changes nothing.
    pub fail_entry_change: Option<u64>,
    /// This sync of the directory fails with EIO and makes nothing durable.
    pub fail_directory_sync: Option<u64>,
    /// So many bytes fit into all files; what is over fails with ENOSPC. May be changed at any time, as
    /// all of this.
    pub capacity_bytes: Option<u64>,
    /// There is room for so many files; to create another fails with ENOSPC.
    pub files_max: Option<usize>,
    /// Some operations take long.
    pub stall: Option<Stall>,
    /// Synced bytes rot.
    pub rot: Option<Rot>,
    /// A write takes at most so many bytes at a time.
    pub write_bytes_max: Option<usize>,
}

/// Operations that take long. Nothing waits in a simulation: what they took is added up, for
/// whoever keeps the clock ([`SimulatedDisk::take_stalled_ms`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stall {
    /// Of so many operations one stalls.
    pub every: u64,
    /// For so long.
    pub ms: u64,
}

/// One bit that flips, in what some file has durably.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rot {
    /// Just before this operation.
    pub at: u64,
    /// Decides which bit of which file.
    pub seed: u64,
}

/// How often the disk was asked for what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskCounts {
    /// Everything that changes something: everything below together, and space set aside.
    pub operations: u64,
    /// Writes.
    pub writes: u64,
    /// Syncs of files.
    pub syncs: u64,
    /// Creations, renamings and removals.
    pub entry_changes: u64,
    /// Syncs of the directory.
    pub directory_syncs: u64,
    /// Reads; these are no operations in the sense above.
    pub reads: u64,
}

/// A change of the directory that is not synced yet.
#[derive(Clone, Debug)]
struct EntryChange {
    inode: usize,
    /// The name the file loses.
    from: Option<String>,
    /// The name the file gets.
    to: Option<String>,
}

#[derive(Debug, Default)]
struct State {
    inodes: Vec<Inode>,
    entries: BTreeMap<String, usize>,
    durable_entries: BTreeMap<String, usize>,
    entry_changes: Vec<EntryChange>,
    faults: Faults,
    counts: DiskCounts,
    power: Power,
    stalled_ms: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Power {
    #[default]
    On,
    Out,
}

/// Whether an operation reaches the disk in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Done,
    /// The power goes out while it happens.
    Interrupted,
}

impl SimulatedDisk {
    /// An empty disk that works.
    pub fn new() -> SimulatedDisk {
        SimulatedDisk::default()
    }

    /// A disk that holds these files, durably.
    pub fn with_files(files: BTreeMap<String, Vec<u8>>) -> SimulatedDisk {
        let mut state = State::default();
        for (name, bytes) in files {
            state.entries.insert(name, state.inodes.len());
            state.inodes.push(Inode::durable(bytes));
        }
        state.durable_entries = state.entries.clone();
        SimulatedDisk { state: Arc::new(Mutex::new(state)) }
    }

    /// All files as the process sees them.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.state();
        let entries = state.entries.iter();
        entries.map(|(name, inode)| (name.clone(), state.inodes[*inode].seen.clone())).collect()
    }

    /// From now on this goes wrong.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// How often the disk was asked for what.
    pub fn counts(&self) -> DiskCounts {
        self.state().counts
    }

    /// Flips one bit of a file, on the disk as well as in sight; false if it is not there.
    pub fn flip_bit(&self, name: &str, offset: usize, bit: u32) -> bool {
        let mut state = self.state();
        let Some(inode) = state.entries.get(name).copied() else { return false };
        state.inodes[inode].flip_bit(offset, bit)
    }

    /// Bytes of a file can't be read any more, until all of them are written again; false if it is not
    /// there. A crash mends them.
    pub fn spoil(&self, name: &str, bytes: std::ops::Range<usize>) -> bool {
        let mut state = self.state();
        let Some(inode) = state.entries.get(name).copied() else { return false };
        state.inodes[inode].spoil(bytes);
        true
    }

    /// How long operations have stalled since this was asked last.
    pub fn take_stalled_ms(&self) -> u64 {
        std::mem::take(&mut self.state().stalled_ms)
    }

    /// The disk as it is found after the power failed: a new one, without faults. The same disk can
    /// crash many times, with many outcomes.
    #[must_use]
    pub fn crash(&self, seed: u64) -> SimulatedDisk {
        let state = self.state();
        let mut random = SplitMix64::new(seed);
        let mut entries = state.durable_entries.clone();
        // Of the changes of one file any first part is kept, whatever happens to other files'.
        let mut lost: HashMap<usize, bool> = HashMap::new();
        for change in &state.entry_changes {
            let is_lost = lost.entry(change.inode).or_insert(false);
            *is_lost = *is_lost || random.below(3) == 0;
            if !*is_lost {
                change.apply(&mut entries);
            }
        }
        let mut inodes = vec![None; state.inodes.len()];
        let mut crashed = State::default();
        for (name, inode) in entries {
            let kept = *inodes[inode].get_or_insert_with(|| {
                crashed.inodes.push(Inode::durable(state.inodes[inode].crash(&mut random)));
                crashed.inodes.len() - 1
            });
            crashed.entries.insert(name, kept);
        }
        crashed.durable_entries = crashed.entries.clone();
        SimulatedDisk { state: Arc::new(Mutex::new(crashed)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, inode: usize) -> Box<dyn DiskFile> {
        Box::new(SimulatedFile::new(self.clone(), inode))
    }
}

impl EntryChange {
    fn apply(&self, entries: &mut BTreeMap<String, usize>) {
        if let Some(from) = &self.from
            && entries.get(from) == Some(&self.inode)
        {
            entries.remove(from);
        }
        if let Some(to) = &self.to {
            entries.insert(to.clone(), self.inode);
        }
    }
}

impl State {
    /// Counts an operation that changes something.
    fn begin(&mut self) -> io::Result<Fate> {
        if self.power == Power::Out {
            return Err(power_is_out());
        }
        self.counts.operations += 1;
        if self.faults.power_out.is_some_and(|at| self.counts.operations >= at) {
            self.power = Power::Out;
            return Ok(Fate::Interrupted);
        }
        if let Some(rot) = self.faults.rot
            && rot.at == self.counts.operations
        {
            self.rot(rot.seed);
        }
        if let Some(stall) = self.faults.stall
            && self.counts.operations.is_multiple_of(stall.every)
        {
            self.stalled_ms += stall.ms;
        }
        Ok(Fate::Done)
    }

    /// Flips one bit among all that is durable.
    fn rot(&mut self, seed: u64) {
        let mut random = SplitMix64::new(seed);
        let inodes: Vec<usize> = self.durable_entries.values().copied().collect();
        let bytes: usize = inodes.iter().map(|inode| self.inodes[*inode].durable_bytes()).sum();
        let (mut offset, bit) = (random.below(bytes.max(1)), random.below(8));
        for inode in inodes {
            let inode = &mut self.inodes[inode];
            if offset < inode.durable_bytes() {
                inode.flip_bit(offset, u32::try_from(bit).unwrap_or(0));
                return;
            }
            offset -= inode.durable_bytes();
        }
    }

    fn change_entry(&mut self, change: EntryChange) -> io::Result<()> {
        let fate = self.begin()?;
        self.counts.entry_changes += 1;
        if self.faults.fail_entry_change == Some(self.counts.entry_changes) {
            return Err(Errno::IO.into());
        }
        change.apply(&mut self.entries);
        self.entry_changes.push(change);
        fate.into_result()
    }

    fn bytes_in_use(&self) -> u64 {
        self.entries.values().map(|inode| self.inodes[*inode].seen.len() as u64).sum()
    }

    /// How long a file may get, if the disk has an end.
    fn bytes_at_most(&self, inode: usize) -> Option<usize> {
        let free = self.faults.capacity_bytes?.saturating_sub(self.bytes_in_use());
        let free = usize::try_from(free).unwrap_or(usize::MAX);
        Some(self.inodes[inode].seen.len().saturating_add(free))
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        if self.power == Power::Out {
            return Err(power_is_out());
        }
        self.entries.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Fate {
    fn into_result(self) -> io::Result<()> {
        match self {
            Fate::Done => Ok(()),
            Fate::Interrupted => Err(power_is_out()),
        }
    }
}

fn power_is_out() -> io::Error {
    io::Error::other("the simulated power is out")
}

impl Disk for SimulatedDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let state = self.state();
        if state.power == Power::Out {
            return Err(power_is_out());
        }
        Ok(state.entries.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let inode = self.state().find(name)?;
        Ok(self.file(inode))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        if state.entries.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if state.faults.files_max.is_some_and(|most| state.entries.len() >= most) {
            return Err(Errno::NOSPC.into());
        }
        let inode = state.inodes.len();
        state.inodes.push(Inode::default());
        state.change_entry(EntryChange { inode, from: None, to: Some(name.to_owned()) })?;
        drop(state);
        Ok(self.file(inode))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        let inode = state.find(from)?;
        let (from, to) = (Some(from.to_owned()), Some(to.to_owned()));
        state.change_entry(EntryChange { inode, from, to })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        let inode = state.find(name)?;
        state.change_entry(EntryChange { inode, from: Some(name.to_owned()), to: None })
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.state();
        let fate = state.begin()?;
        state.counts.directory_syncs += 1;
        if state.faults.fail_directory_sync == Some(state.counts.directory_syncs) {
            return Err(Errno::IO.into());
        }
        if fate == Fate::Done {
            state.durable_entries = state.entries.clone();
            state.entry_changes.clear();
        }
        fate.into_result()
    }
}

#[cfg(test)]
mod tests;
