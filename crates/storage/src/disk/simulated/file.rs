//! A file of the simulated disk: what the process sees, what is durable, and the writes between.

use std::io::{self, IoSlice};
use std::ops::Range;

use rustix::io::Errno;

use super::random::SplitMix64;
use super::{Fate, Power, SimulatedDisk, power_is_out};
use crate::disk::DiskFile;

/// What a disk writes as one.
const SECTOR_BYTES: usize = 512;

/// The contents of a file, whatever its name.
#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    pub(super) seen: Vec<u8>,
    durable: Vec<u8>,
    /// Since the last sync, oldest first.
    writes: Vec<Write>,
    /// What can't be read before it is written again.
    spoiled: Vec<Range<usize>>,
}

#[derive(Clone, Debug)]
struct Write {
    offset: usize,
    bytes: Vec<u8>,
}

impl Inode {
    pub(super) fn durable(bytes: Vec<u8>) -> Inode {
        Inode { durable: bytes.clone(), seen: bytes, ..Inode::default() }
    }

    pub(super) fn spoil(&mut self, bytes: Range<usize>) {
        self.spoiled.push(bytes);
    }

    /// Whether any of the bytes can't be read.
    fn is_spoiled(&self, bytes: &Range<usize>) -> bool {
        self.spoiled.iter().any(|spoiled| spoiled.start < bytes.end && bytes.start < spoiled.end)
    }

    fn write(&mut self, offset: usize, bytes: Vec<u8>) {
        let end = offset + bytes.len();
        let left = |it: Range<usize>| [it.start..it.end.min(offset), it.start.max(end)..it.end];
        self.spoiled = self.spoiled.drain(..).flat_map(left).filter(|it| !it.is_empty()).collect();
        put(&mut self.seen, offset, &bytes);
        self.writes.push(Write { offset, bytes });
    }

    fn sync(&mut self) {
        for write in self.writes.drain(..) {
            put(&mut self.durable, write.offset, &write.bytes);
        }
        if self.durable.len() < self.seen.len() {
            self.durable.resize(self.seen.len(), 0);
        }
    }

    /// The bytes that are on the disk whatever happens: those that may rot.
    pub(super) fn durable_bytes(&self) -> usize {
        self.durable.len()
    }

    /// What a failed sync leaves: the pages count as clean, and never reach the disk.
    fn forget_writes(&mut self) {
        self.writes.clear();
    }

    pub(super) fn flip_bit(&mut self, offset: usize, bit: u32) -> bool {
        let mask = 1u8.rotate_left(bit);
        let mut flipped = false;
        for side in [&mut self.seen, &mut self.durable] {
            if let Some(byte) = side.get_mut(offset) {
                *byte ^= mask;
                flipped = true;
            }
        }
        flipped
    }

    /// What is found after the power failed.
    pub(super) fn crash(&self, random: &mut SplitMix64) -> Vec<u8> {
        let mut found = self.durable.clone();
        for write in &self.writes {
            match random.below(4) {
                0 => {}
                1 => put(&mut found, write.offset, &write.bytes),
                _ => put_some_sectors(&mut found, write, random),
            }
        }
        // A new length may be recorded without the bytes that made it.
        if found.len() < self.seen.len() && random.below(2) == 0 {
            let longer = found.len() + random.below(self.seen.len() - found.len() + 1);
            found.resize(longer, 0);
        }
        found
    }
}

/// Applies any of the write's sectors, and of one of them only a part.
fn put_some_sectors(found: &mut Vec<u8>, write: &Write, random: &mut SplitMix64) {
    let sectors = write.bytes.len().div_ceil(SECTOR_BYTES);
    let torn = random.below(sectors);
    for (index, sector) in write.bytes.chunks(SECTOR_BYTES).enumerate() {
        let offset = write.offset + index * SECTOR_BYTES;
        if index == torn {
            put(found, offset, &sector[..random.below(sector.len() + 1)]);
        } else if random.below(2) == 0 {
            put(found, offset, sector);
        }
    }
}

fn put(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if !bytes.is_empty() && file.len() < end {
        file.resize(end, 0);
    }
    if !bytes.is_empty() {
        file[offset..end].copy_from_slice(bytes);
    }
}

/// A handle of a file; follows it through renamings.
#[derive(Debug)]
pub(super) struct SimulatedFile {
    disk: SimulatedDisk,
    inode: usize,
}

impl SimulatedFile {
    pub(super) fn new(disk: SimulatedDisk, inode: usize) -> SimulatedFile {
        SimulatedFile { disk, inode }
    }
}

fn address(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(io::Error::other)
}

impl DiskFile for SimulatedFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.disk.state().inodes[self.inode].seen.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.state();
        if state.power == Power::Out {
            return Err(power_is_out());
        }
        state.counts.reads += 1;
        if state.faults.fail_read == Some(state.counts.reads) {
            return Err(Errno::IO.into());
        }
        let (inode, offset) = (&state.inodes[self.inode], address(offset)?);
        let bytes = inode.seen.get(offset..).unwrap_or(&[]);
        let read = bytes.len().min(buffer.len());
        if inode.is_spoiled(&(offset..offset + read)) {
            return Err(Errno::IO.into());
        }
        buffer[..read].copy_from_slice(&bytes[..read]);
        Ok(read)
    }

    fn write_vectored_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.state();
        let fate = state.begin()?;
        state.counts.writes += 1;
        if state.faults.fail_write == Some(state.counts.writes) {
            return Err(Errno::IO.into());
        }
        // No more than is written: what is kept until the next sync would take the room of the rest.
        let mut bytes: Vec<u8> = Vec::new();
        let bytes_max = state.faults.write_bytes_max.unwrap_or(usize::MAX);
        for slice in slices {
            let left = bytes_max - bytes.len();
            bytes.extend_from_slice(&slice[..left.min(slice.len())]);
        }
        let offset = address(offset)?;
        if let Some(longest) = state.bytes_at_most(self.inode) {
            let fits = longest.saturating_sub(offset);
            if fits == 0 && !bytes.is_empty() {
                return Err(Errno::NOSPC.into());
            }
            bytes.truncate(fits);
        }
        let written = bytes.len();
        state.inodes[self.inode].write(offset, bytes);
        fate.into_result()?;
        Ok(written)
    }

    fn allocate(&self, bytes: u64) -> io::Result<u64> {
        let mut state = self.disk.state();
        let fate = state.begin()?;
        let wanted = address(bytes)?;
        let longest = state.bytes_at_most(self.inode).unwrap_or(wanted);
        let seen = &mut state.inodes[self.inode].seen;
        if seen.len() < wanted {
            // As ext4 does: what there is is taken, whether or not it is enough.
            seen.resize(wanted.min(longest).max(seen.len()), 0);
        }
        let file_bytes = seen.len();
        fate.into_result()?;
        if file_bytes < wanted { Err(Errno::NOSPC.into()) } else { Ok(file_bytes as u64) }
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let fate = state.begin()?;
        state.counts.syncs += 1;
        if state.faults.fail_sync == Some(state.counts.syncs) {
            state.inodes[self.inode].forget_writes();
            return Err(Errno::IO.into());
        }
        if fate == Fate::Done {
            state.inodes[self.inode].sync();
        }
        fate.into_result()
    }
}
