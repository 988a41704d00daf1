//! A disk that may refuse to give bytes back: pages that can't be read read as zeros, and it is
//! remembered which they are. For whoever wants to know what is left, and says so.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use super::{Disk, DiskFile, PAGE_BYTES, write_all};

/// The pages of files that could not be read, by the file's name and the page's number.
type Unread = BTreeMap<String, BTreeSet<u64>>;

/// Another disk, of which whatever can be read is read.
#[derive(Debug)]
pub struct SalvageDisk {
    disk: Arc<dyn Disk>,
    unread: Arc<Mutex<Unread>>,
}

/// Bytes that the disk does not give back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadPlace {
    /// The file.
    pub file: String,
    /// Where they start.
    pub offset: u64,
    /// How many.
    pub bytes: u64,
}

#[derive(Debug)]
struct SalvageFile {
    name: String,
    file: Box<dyn DiskFile>,
    unread: Arc<Mutex<Unread>>,
}

/// Whether a read failed because the disk does not give back what is there.
pub(crate) fn is_unreadable(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::IO.raw_os_error())
}

fn lock(unread: &Mutex<Unread>) -> MutexGuard<'_, Unread> {
    unread.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SalvageDisk {
    /// The same directory.
    pub fn new(disk: Arc<dyn Disk>) -> SalvageDisk {
        SalvageDisk { disk, unread: Arc::default() }
    }

    /// What could not be read so far, in the order of the files' names.
    pub fn unread(&self) -> Vec<UnreadPlace> {
        let mut places: Vec<UnreadPlace> = Vec::new();
        for (file, pages) in &*lock(&self.unread) {
            for page in pages {
                let offset = page.saturating_mul(PAGE_BYTES as u64);
                match places.last_mut() {
                    Some(last) if last.file == *file && last.offset + last.bytes == offset => {
                        last.bytes += PAGE_BYTES as u64;
                    }
                    _apart => {
                        let (file, bytes) = (file.clone(), PAGE_BYTES as u64);
                        places.push(UnreadPlace { file, offset, bytes });
                    }
                }
            }
        }
        places
    }

    fn salvage(&self, name: &str, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(SalvageFile { name: name.to_owned(), file, unread: Arc::clone(&self.unread) })
    }
}

impl UnreadPlace {
    /// Writes zeros there, as far as the file goes, and syncs them: then the disk gives those back.
    pub fn overwrite(&self, disk: &dyn Disk) -> io::Result<()> {
        let file = disk.open(&self.file)?;
        let end = file.bytes()?.min(self.offset.saturating_add(self.bytes));
        let mut at = self.offset;
        while at < end {
            let bytes = usize::try_from(end - at).unwrap_or(PAGE_BYTES).min(PAGE_BYTES);
            write_all(&*file, &mut [IoSlice::new(&[0; PAGE_BYTES][..bytes])], at)?;
            at += bytes as u64;
        }
        file.sync()
    }
}

impl Disk for SalvageDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.disk.open(name).map(|file| self.salvage(name, file))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.disk.create(name).map(|file| self.salvage(name, file))
    }

    fn create_streamed(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.disk.create_streamed(name).map(|file| self.salvage(name, file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir()
    }
}

impl SalvageFile {
    /// Page by page, so that only what can't be read is lost.
    fn read_pages(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let page_bytes = PAGE_BYTES as u64;
        let left = self.file.bytes()?.saturating_sub(offset);
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let mut done = 0;
        while done < len {
            let at = offset + done as u64;
            let to_end = usize::try_from(page_bytes - at % page_bytes).unwrap_or(PAGE_BYTES);
            let page = &mut buffer[done..len.min(done + to_end)];
            match self.file.read_at(page, at) {
                Ok(read) if read < page.len() => return Ok(done + read),
                Ok(_) => {}
                Err(error) if is_unreadable(&error) => {
                    page.fill(0);
                    lock(&self.unread)
                        .entry(self.name.clone())
                        .or_default()
                        .insert(at / page_bytes);
                }
                Err(error) => return Err(error),
            }
            done += page.len();
        }
        Ok(done)
    }
}

impl DiskFile for SalvageFile {
    fn bytes(&self) -> io::Result<u64> {
        self.file.bytes()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match self.file.read_at(buffer, offset) {
            Err(error) if is_unreadable(&error) => self.read_pages(buffer, offset),
            outcome => outcome,
        }
    }

    fn write_vectored_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.file.write_vectored_at(slices, offset)
    }

    fn allocate(&self, bytes: u64) -> io::Result<u64> {
        self.file.allocate(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SimulatedDisk;

    #[test]
    fn what_can_be_read_is_read_and_the_rest_is_named() {
        let bytes: Vec<u8> = (1..=251).cycle().take(5 * PAGE_BYTES + 100).collect();
        let simulated = SimulatedDisk::with_files([("file".to_owned(), bytes.clone())].into());
        // Into the second and third page, and the last.
        assert!(simulated.spoil("file", PAGE_BYTES + 10..2 * PAGE_BYTES + 1));
        assert!(simulated.spoil("file", 5 * PAGE_BYTES..5 * PAGE_BYTES + 1));
        let disk: Arc<dyn Disk> = Arc::new(simulated);
        let mut found = vec![7; bytes.len() + 50];
        let plain = disk.open("file").unwrap().read_at(&mut found, 3).unwrap_err();
        assert!(is_unreadable(&plain));
        let salvage = SalvageDisk::new(Arc::clone(&disk));
        let file = salvage.open("file").unwrap();
        assert_eq!(file.read_at(&mut found, 3).unwrap(), bytes.len() - 3);
        for (at, byte) in found[..bytes.len() - 3].iter().enumerate() {
            let (page, is) = ((at + 3) / PAGE_BYTES, bytes[at + 3]);
            assert_eq!(*byte, if [1, 2, 5].contains(&page) { 0 } else { is }, "byte {at}");
        }
        let place = |page: u64, pages: u64| UnreadPlace {
            file: "file".to_owned(),
            offset: page * PAGE_BYTES as u64,
            bytes: pages * PAGE_BYTES as u64,
        };
        assert_eq!(salvage.unread(), [place(1, 2), place(5, 1)]);
        for place in salvage.unread() {
            place.overwrite(&*disk).unwrap();
        }
        let mut healed = vec![7; bytes.len() + 50];
        assert_eq!(disk.open("file").unwrap().read_at(&mut healed, 3).unwrap(), bytes.len() - 3);
        assert_eq!(healed, found, "the same, and no longer");
    }
}
