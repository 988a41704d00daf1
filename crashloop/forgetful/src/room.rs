//! A small disk, and one that fails: how many bytes the watched directory may hold, and which write
//! or sync gets an error. Both stand in a file, `FORGETFUL_DISK`, that may be rewritten while the
//! process runs: one `name=number` a line.
//!
//! | name | meaning |
//! | --- | --- |
//! | `capacity` | bytes that all files may have together; without it there is no bound |
//! | `fail_write` | the so manieth write, or setting aside of space, from now on gets EIO |
//! | `fail_sync` | the so manieth sync of a file from now on gets EIO |
//!
//! A file takes as many bytes as it is long, until its last name goes. Bytes that it has may be
//! overwritten at any time; a new name, a rename included, needs [`NAME_BYTES`]. A write that does not
//! fit ends where the disk does, as a disk's do.

use std::collections::HashMap;
use std::ffi::c_int;
use std::path::Path;

use crate::real::{self, die};

/// What must be free for a change of names.
const NAME_BYTES: u64 = 4096;

/// What the control file may be long.
const CONTROL_BYTES_MAX: usize = 256;

/// What is asked of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Write,
    Sync,
}

/// The disk's state.
#[derive(Debug)]
pub(crate) struct Room {
    control_fd: c_int,
    /// What the control file said when it was read last.
    control: Vec<u8>,
    capacity: Option<u64>,
    fail_write: Option<u64>,
    fail_sync: Option<u64>,
    used: u64,
    /// The files that have names: how many, and how long they are.
    files: HashMap<u64, (u32, u64)>,
}

impl Room {
    pub(crate) fn new(control_fd: c_int, directory: &Path) -> Self {
        let mut room = Self {
            control_fd,
            control: Vec::new(),
            capacity: None,
            fail_write: None,
            fail_sync: None,
            used: 0,
            files: HashMap::new(),
        };
        if room.find_files(directory).is_err() {
            die("the files of FORGETFUL_DIR can't be counted");
        }
        room
    }

    fn find_files(&mut self, directory: &Path) -> std::io::Result<()> {
        use std::os::unix::fs::MetadataExt;
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                self.find_files(&entry.path())?;
            } else if metadata.is_file() {
                self.named(metadata.ino());
                self.is_long(metadata.ino(), metadata.len());
            }
        }
        Ok(())
    }

    /// A file got a name.
    pub(crate) fn named(&mut self, inode: u64) {
        self.files.entry(inode).or_default().0 += 1;
    }

    /// A file lost a name.
    pub(crate) fn unnamed(&mut self, inode: u64) {
        let Some((names, length)) = self.files.get_mut(&inode) else { return };
        *names -= 1;
        if *names == 0 {
            self.used -= *length;
            self.files.remove(&inode);
        }
    }

    /// A file has this length now.
    pub(crate) fn is_long(&mut self, inode: u64, length: u64) {
        let Some((_, known)) = self.files.get_mut(&inode) else { return };
        self.used = self.used - *known + length;
        *known = length;
    }

    /// What is left.
    fn free(&self) -> u64 {
        self.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(self.used))
    }

    /// The capacity and what is left of it, if there is a bound.
    pub(crate) fn bound(&mut self) -> Option<(u64, u64)> {
        self.read_control();
        Some((self.capacity?, self.free()))
    }

    /// How many of `wanted` bytes behind the end of a file there is room for.
    pub(crate) fn allows(&mut self, inode: u64, wanted: u64) -> u64 {
        self.read_control();
        if self.files.contains_key(&inode) { wanted.min(self.free()) } else { wanted }
    }

    /// Whether there is room for another name.
    pub(crate) fn allows_name(&mut self) -> bool {
        self.read_control();
        self.free() >= NAME_BYTES
    }

    /// Whether this one is to fail.
    pub(crate) fn fails(&mut self, request: Request) -> bool {
        self.read_control();
        let left = match request {
            Request::Write => &mut self.fail_write,
            Request::Sync => &mut self.fail_sync,
        };
        match left {
            None | Some(0) => false,
            Some(left) => {
                *left -= 1;
                *left == 0
            }
        }
    }

    fn read_control(&mut self) {
        let mut bytes = [0; CONTROL_BYTES_MAX];
        // SAFETY: the buffer lives until the call returns.
        let read =
            unsafe { real::pread(self.control_fd, bytes.as_mut_ptr().cast(), bytes.len(), 0) };
        let bytes = &bytes[..usize::try_from(read).unwrap_or_else(|_| die("FORGETFUL_DISK"))];
        if bytes == self.control {
            return;
        }
        self.control = bytes.to_vec();
        let text = String::from_utf8_lossy(bytes).into_owned();
        let number = |name: &str| {
            let mut lines = text.lines().filter_map(|line| line.trim().split_once('='));
            lines.find(|(found, _)| *found == name).and_then(|(_, number)| number.parse().ok())
        };
        self.capacity = number("capacity");
        self.fail_write = number("fail_write");
        self.fail_sync = number("fail_sync");
    }
}
