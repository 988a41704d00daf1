//! A disk is what the journal needs of one: a directory of flat files, durable when synced.
//!
//! A trait, so that the same journal runs on the machine's file system and on a simulated one that
//! crashes, tears, forgets and rots from a seed; later on an object store.

mod real;
mod salvage;
mod simulated;

use std::fmt::Debug;
use std::io::{self, IoSlice};

pub use real::RealDisk;
pub(crate) use real::create_directory;
pub(crate) use salvage::is_unreadable;
pub use salvage::{SalvageDisk, UnreadPlace};
pub use simulated::{DiskCounts, Faults, Rot, SimulatedDisk, Stall};

/// What the system's memory and files are cut into, or a multiple of it.
pub(crate) const PAGE_BYTES: usize = 4096;

/// The most slices one write may have, by POSIX as Linux has it.
const SLICES_MAX: usize = 1024;

/// One directory of files.
pub trait Disk: Send + Sync + Debug {
    /// The names of all files, in no order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens an existing file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Creates an empty file; an existing one of that name is an error.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// As [`Disk::create`], for a file that is written once from front to back and not read soon:
    /// what is written to it in whole pages of [`PAGE_BYTES`], from memory and to offsets that are
    /// multiples of that, need not pass through the system's cache.
    fn create_streamed(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.create(name)
    }

    /// Gives a file another name, in place of whatever had it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Deletes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes every creation, renaming and removal so far durable.
    fn sync_dir(&self) -> io::Result<()>;
}

/// One open file; stays usable when it is renamed.
pub trait DiskFile: Send + Sync + Debug {
    /// How long the file is.
    fn bytes(&self) -> io::Result<u64>;

    /// Reads into `buffer` from `offset`; fewer bytes than asked for only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes the slices one behind the other from `offset`; says how many bytes it managed.
    fn write_vectored_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;

    /// Sets space aside so that the file is at least so long; what is new reads as zeros. Says how
    /// long the file is now: less where the system can't do that. Full disks may keep a part.
    fn allocate(&self, bytes: u64) -> io::Result<u64>;

    /// Makes everything written so far durable, with the file's length.
    fn sync(&self) -> io::Result<()>;
}

/// Writes all slices one behind the other, in as many writes as the system wants.
pub(crate) fn write_all(
    file: &dyn DiskFile,
    mut slices: &mut [IoSlice<'_>],
    mut offset: u64,
) -> io::Result<()> {
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        let count = slices.len().min(SLICES_MAX);
        let written = file.write_vectored_at(&slices[..count], offset)?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        offset += written as u64;
        IoSlice::advance_slices(&mut slices, written);
    }
    Ok(())
}
