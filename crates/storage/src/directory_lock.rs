//! One process per data directory: an advisory lock that the kernel drops with its holder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::disk::create_directory;

/// The file inside the data directory that is locked; its text is the holder's process id.
const LOCK_FILE: &str = "lock";

/// Held as long as this process may touch the data directory.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

/// Why the data directory could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else has it.
    #[error(
        "another Postroom ({}) uses the data directory {}; stop it or choose another --data-dir",
        Holder(holder), path.display()
    )]
    Taken {
        /// The data directory.
        path: PathBuf,
        /// Who has it, as far as its lock file tells.
        holder: Option<u32>,
    },
    /// The directory can't be created, or its lock file can't be written.
    #[error("the data directory {} can't be used: {source}; choose another --data-dir", path.display())]
    Unusable {
        /// The data directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// How a holder is named in a sentence.
struct Holder<'a>(&'a Option<u32>);

impl std::fmt::Display for Holder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(pid) => write!(f, "pid {pid}"),
            None => f.write_str("pid unknown"),
        }
    }
}

impl DirectoryLock {
    /// Takes the lock of the directory at `path`, which is created if it is missing.
    pub fn acquire(path: &Path) -> Result<DirectoryLock, LockError> {
        let unusable = |source| LockError::Unusable { path: path.to_path_buf(), source };
        create_directory(path).map_err(unusable)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(path.join(LOCK_FILE)).map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // The holder may be about to write its id; without one the message says so.
                let _ = file.read_to_string(&mut text);
                let holder = text.trim().parse().ok();
                return Err(LockError::Taken { path: path.to_path_buf(), holder });
            }
            Err(TryLockError::Error(source)) => return Err(unusable(source)),
        }
        file.set_len(0).map_err(unusable)?;
        file.rewind().map_err(unusable)?;
        writeln!(file, "{}", std::process::id()).map_err(unusable)?;
        Ok(DirectoryLock { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_second_is_told_who_was_first() {
        let path = std::env::temp_dir().join(format!("storage-lock-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        let first = DirectoryLock::acquire(&path).unwrap();
        let refused = DirectoryLock::acquire(&path).unwrap_err();
        let expected = format!(
            "another Postroom (pid {}) uses the data directory {}; stop it or choose another \
             --data-dir",
            std::process::id(),
            path.display()
        );
        assert_eq!(refused.to_string(), expected);
        drop(first);
        let again = DirectoryLock::acquire(&path).unwrap();
        assert_eq!(
            fs::read_to_string(path.join(LOCK_FILE)).unwrap(),
            format!("{}\n", std::process::id()),
            "the id is written anew, not appended"
        );
        drop(again);
        fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let path = std::env::temp_dir().join(format!("storage-lock-file-{}", std::process::id()));
        fs::write(&path, b"not a directory").unwrap();
        let refused = DirectoryLock::acquire(&path).unwrap_err();
        assert!(refused.to_string().contains(&path.display().to_string()), "{refused}");
        fs::remove_file(&path).unwrap();
    }
}
