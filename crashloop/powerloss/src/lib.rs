//! What a power loss leaves of a directory. A killed process loses nothing that it wrote: the page
//! cache outlives it. So that losing power can be tested too, the preloaded library `forgetful`
//! writes an undo log of everything that is not synced yet, and this crate applies it: either all of
//! it is taken back, or a random part of it, torn at sectors, as disks do.
//!
//! What counts as kept is what POSIX promises and no more: the bytes of a file after fsync or
//! fdatasync of that file, a name after fsync of its directory.

mod audit;

mod loss;

mod image;

mod record;

mod random;

pub use audit::{Snapshot, audit};
pub use loss::{Loss, LossError, LossReport, lose_power};
pub use random::Random;
pub use record::{Before, Change, LogError, Record, Step, read_log};

use std::io;
use std::path::{Path, PathBuf};

/// Where the files that lost a name are kept, so that the name can come back: beside the log.
pub fn graveyard_of(log: &Path) -> PathBuf {
    let mut name = log.as_os_str().to_owned();
    name.push(".graveyard");
    PathBuf::from(name)
}

/// Takes everything there is now as kept: forgets the log and its graveyard.
pub fn start_log(log: &Path) -> io::Result<()> {
    remove_if_there(std::fs::remove_file(log))?;
    remove_if_there(std::fs::remove_dir_all(graveyard_of(log)))?;
    std::fs::create_dir_all(graveyard_of(log))?;
    std::fs::File::create(log).map(drop)
}

fn remove_if_there(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
