//! Space on the disk that is held back for the moment in which there is none left: a file that is
//! deleted then, so that acknowledgements can still be written down and what they free can go.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use broker::Relief;
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

/// The file in the data directory.
const NAME: &str = "reserve";

/// The reserve of a data directory.
#[derive(Debug)]
pub(crate) struct Reserve {
    path: PathBuf,
    state: Mutex<State>,
}

/// What there is of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing: used, or not made yet.
    Missing,
    /// A file of so many bytes.
    Held(u64),
    /// The file system can't set space aside.
    Unsupported,
}

impl Reserve {
    /// The reserve of this data directory, with what a former process left of it.
    pub(crate) fn of(data_dir: &Path) -> Reserve {
        let path = data_dir.join(NAME);
        let held = fs::metadata(&path).map(|file| State::Held(file.len()));
        Reserve { state: Mutex::new(held.unwrap_or(State::Missing)), path }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether less is held than there should be.
    pub(crate) fn is_short_of(&self, bytes: u64) -> bool {
        match *self.state() {
            State::Missing => bytes > 0,
            State::Held(held) => held < bytes,
            State::Unsupported => false,
        }
    }

    /// Sees to it that so many bytes are held; nothing is done if they are.
    pub(crate) fn hold(&self, bytes: u64) -> io::Result<()> {
        let mut state = self.state();
        if matches!(*state, State::Unsupported) || *state == State::Held(bytes) {
            return Ok(());
        }
        self.remove()?;
        *state = State::Missing;
        if bytes == 0 {
            *state = State::Held(0);
            return Ok(());
        }
        let file = OpenOptions::new().write(true).create_new(true).open(&self.path)?;
        match fallocate(&file, FallocateFlags::empty(), 0, bytes) {
            Ok(()) => *state = State::Held(bytes),
            Err(error) => {
                drop(file);
                self.remove()?;
                if matches!(error, Errno::OPNOTSUPP | Errno::NOSYS) {
                    tracing::warn!("this file system can't set space aside; there is no reserve");
                    *state = State::Unsupported;
                } else {
                    return Err(error.into());
                }
            }
        }
        Ok(())
    }

    /// Gives it back to the disk.
    pub(crate) fn give_back(&self) -> Relief {
        let mut state = self.state();
        let State::Held(bytes @ 1..) = *state else { return Relief::NothingLeft };
        *state = State::Missing;
        match self.remove() {
            Ok(()) => {
                tracing::warn!(bytes, "the disk is full; what was held in reserve is used");
                Relief::GaveBack
            }
            Err(error) => {
                tracing::error!(%error, "the reserve could not be given back to the full disk");
                Relief::NothingLeft
            }
        }
    }

    fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            outcome => outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_held_used_once_and_held_again() {
        let folder = std::env::temp_dir().join(format!("server-reserve-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let reserve = Reserve::of(&folder);
        let on_disk = || fs::metadata(folder.join(NAME)).map(|file| file.len()).ok();
        assert!(reserve.is_short_of(1) && !reserve.is_short_of(0));
        assert_eq!(reserve.give_back(), Relief::NothingLeft);
        reserve.hold(8192).unwrap();
        if *reserve.state() != State::Unsupported {
            assert_eq!(on_disk(), Some(8192));
            assert!(!reserve.is_short_of(8192) && reserve.is_short_of(8193));
            assert_eq!(reserve.give_back(), Relief::GaveBack);
            assert_eq!((on_disk(), reserve.give_back()), (None, Relief::NothingLeft));
            assert!(reserve.is_short_of(8192));
            reserve.hold(4096).unwrap();
            assert_eq!(on_disk(), Some(4096));
            // What a former process left is ours.
            assert_eq!(Reserve::of(&folder).give_back(), Relief::GaveBack);
            Reserve::of(&folder).hold(8192).unwrap();
            assert_eq!(on_disk(), Some(8192));
        }
        Reserve::of(&folder).hold(0).unwrap();
        assert_eq!(on_disk(), None);
        fs::remove_dir_all(&folder).unwrap();
    }
}
