//! Where a path leads: a name in one of the directories watched, or elsewhere.

use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr, c_int};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use powerloss::Before;

use crate::real;

/// A file or directory, whatever its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    device: u64,
    pub(crate) inode: u64,
}

/// What a file descriptor or name stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Status {
    pub(crate) identity: Identity,
    pub(crate) length: u64,
    kind: libc::mode_t,
}

impl Status {
    pub(crate) fn is_file(&self) -> bool {
        self.kind == libc::S_IFREG
    }

    pub(crate) fn is_directory(&self) -> bool {
        self.kind == libc::S_IFDIR
    }

    fn of(status: &libc::stat) -> Self {
        Self {
            identity: Identity { device: status.st_dev, inode: status.st_ino },
            length: u64::try_from(status.st_size).unwrap_or(0),
            kind: status.st_mode & libc::S_IFMT,
        }
    }

    pub(crate) fn of_descriptor(fd: c_int) -> Option<Self> {
        // SAFETY: all zeros is a valid `stat`, and fstat fills it; it is not one of our functions.
        unsafe {
            let mut status: libc::stat = std::mem::zeroed();
            (libc::fstat(fd, &raw mut status) == 0).then(|| Self::of(&status))
        }
    }

    pub(crate) fn of_name(dirfd: c_int, path: &CStr) -> Option<Self> {
        let flags = libc::AT_SYMLINK_NOFOLLOW;
        // SAFETY: as above, with a C string for the path.
        unsafe {
            let mut status: libc::stat = std::mem::zeroed();
            (libc::fstatat(dirfd, path.as_ptr(), &raw mut status, flags) == 0)
                .then(|| Self::of(&status))
        }
    }

    /// What the undo log says of a name that stands for `status`.
    pub(crate) fn before(status: Option<&Self>) -> Before {
        match status {
            None => Before::Nothing,
            Some(status) if status.is_directory() => Before::Directory,
            Some(status) => Before::File(status.identity.inode),
        }
    }
}

/// The directories watched, each with its path relative to the topmost.
#[derive(Debug, Default)]
pub(crate) struct Directories {
    paths: HashMap<Identity, PathBuf>,
}

impl Directories {
    /// `root` and all directories below it.
    pub(crate) fn below(root: &Path) -> std::io::Result<Self> {
        let mut directories = Self::default();
        let mut waiting = vec![PathBuf::new()];
        while let Some(path) = waiting.pop() {
            let metadata = std::fs::metadata(root.join(&path))?;
            let identity = Identity { device: metadata.dev(), inode: metadata.ino() };
            for entry in std::fs::read_dir(root.join(&path))? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    waiting.push(path.join(entry.file_name()));
                }
            }
            directories.paths.insert(identity, path);
        }
        Ok(directories)
    }

    pub(crate) fn path_of(&self, identity: Identity) -> Option<&Path> {
        self.paths.get(&identity).map(PathBuf::as_path)
    }

    pub(crate) fn add(&mut self, identity: Identity, path: PathBuf) {
        self.paths.insert(identity, path);
    }

    pub(crate) fn remove(&mut self, identity: Identity) {
        self.paths.remove(&identity);
    }

    pub(crate) fn rename(&mut self, from: &Path, to: &Path) {
        for path in self.paths.values_mut() {
            if let Ok(below) = path.strip_prefix(from) {
                *path = if below.as_os_str().is_empty() { to.into() } else { to.join(below) };
            }
        }
    }

    /// The name that `path` means, if it lies in a directory watched. Links on the way there are
    /// followed, because the directory is asked who it is.
    pub(crate) fn place_of(&self, dirfd: c_int, path: &CStr) -> Option<PathBuf> {
        let bytes = path.to_bytes();
        let bytes = &bytes[..=bytes.iter().rposition(|byte| *byte != b'/')?];
        let name_at = bytes.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        let (parent, name) = bytes.split_at(name_at);
        let parent = if parent.is_empty() { b".".as_slice() } else { parent };
        let parent = identity_of_directory(dirfd, &CString::new(parent).ok()?)?;
        let name = match name {
            b"." | b".." => return None,
            name => OsStr::from_bytes(name),
        };
        Some(self.path_of(parent)?.join(name))
    }
}

fn identity_of_directory(dirfd: c_int, path: &CStr) -> Option<Identity> {
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
    // SAFETY: the path is a C string; the descriptor is ours and closed once.
    unsafe {
        let fd = real::openat(dirfd, path.as_ptr(), flags, 0);
        if fd < 0 {
            return None;
        }
        let status = Status::of_descriptor(fd);
        real::close(fd);
        status.map(|status| status.identity)
    }
}
