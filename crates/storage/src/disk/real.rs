//! The machine's file system, through libc.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::{Errno, retry_on_intr};

use super::{Disk, DiskFile};

/// A directory of the machine's file system.
#[derive(Debug)]
pub struct RealDisk {
    path: PathBuf,
    directory: File,
}

impl RealDisk {
    /// The directory at `path`; it and its parents are created, durably, where they are missing.
    pub fn open(path: &Path) -> io::Result<RealDisk> {
        create_directory(path)?;
        Ok(RealDisk { path: path.to_path_buf(), directory: File::open(path)? })
    }
}

/// Creates `path` and its parents where they are missing, and syncs the directories that name them.
/// The nearest one is synced even if nothing was missing: whoever created `path` may have died
/// before doing so.
pub(crate) fn create_directory(path: &Path) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Ok(()),
    };
    if !path.is_dir() {
        if !parent.is_dir() {
            create_directory(parent)?;
        }
        match fs::create_dir(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
            Err(error) => return Err(error),
        }
    }
    match File::open(parent).and_then(|parent| parent.sync_all()) {
        // A parent we may pass through but not read can't be synced by us; its owner's business.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        outcome => outcome,
    }
}

impl Disk for RealDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).open(self.path.join(name))?;
        Ok(Box::new(RealFile(file)))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let path = self.path.join(name);
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.directory.sync_all()
    }
}

/// A file of the machine's file system.
#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.0.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_vectored_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        Ok(retry_on_intr(|| rustix::io::pwritev(&self.0, slices, offset))?)
    }

    fn allocate(&self, bytes: u64) -> io::Result<u64> {
        let present_bytes = self.bytes()?;
        if bytes <= present_bytes {
            return Ok(present_bytes);
        }
        let (flags, more_bytes) = (FallocateFlags::empty(), bytes - present_bytes);
        match retry_on_intr(|| fallocate(&self.0, flags, present_bytes, more_bytes)) {
            Ok(()) => Ok(bytes),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(present_bytes),
            Err(error) => Err(error.into()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_written_read_renamed_and_removed() {
        let folder = std::env::temp_dir().join(format!("storage-real-disk-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        let disk = RealDisk::open(&folder.join("a/b")).unwrap();
        let file = disk.create("one").unwrap();
        assert!(disk.create("one").is_err(), "an existing file is not created again");
        let written =
            file.write_vectored_at(&[IoSlice::new(b"hel"), IoSlice::new(b"lo")], 3).unwrap();
        assert_eq!(written, 5);
        file.sync().unwrap();
        disk.rename("one", "two").unwrap();
        disk.sync_dir().unwrap();
        assert_eq!(disk.list().unwrap(), ["two"]);
        let file = disk.open("two").unwrap();
        let mut bytes = [1; 16];
        assert_eq!(file.read_at(&mut bytes, 0).unwrap(), 8);
        assert_eq!(&bytes[..8], b"\0\0\0hello");
        assert_eq!(file.bytes().unwrap(), 8);
        let longer = file.allocate(4096).unwrap();
        assert!([8, 4096].contains(&longer) && file.bytes().unwrap() == longer);
        assert_eq!(file.allocate(100).unwrap(), longer, "never shorter");
        assert_eq!(file.read_at(&mut bytes, 0).unwrap().min(9), longer.min(9).try_into().unwrap());
        assert_eq!(&bytes[..8], b"\0\0\0hello");
        disk.remove("two").unwrap();
        assert!(disk.open("two").is_err());
        fs::remove_dir_all(&folder).unwrap();
    }
}
