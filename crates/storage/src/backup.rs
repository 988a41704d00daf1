//! A copy of one directory (a journal and its segments) while its owner goes on, and without asking
//! the owner.
//!
//! A journal refers to segments that were whole and synced before it did. They may be deleted when a
//! later part of the journal says so. So the segments are taken before the journal, which keeps those
//! that go meanwhile, and again after it, for those that came. One that came and went in between is
//! missing from the copy; whoever reads the copy finds out and begins again.
//!
//! A segment never changes and its number is never given again, so another name for the same file is
//! as good as a copy. Where the file system gives none, it is copied.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, RealDisk};
use crate::journal::{CopyError, OpenError, copy_journal};
use crate::segment::{Segment, list_segments, segment_file_name};

/// What a copy consists of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackedUp {
    /// Bytes of journal that were copied.
    pub journal_bytes: u64,
    /// Segments that have another name now and take no more disk than before.
    pub segments_linked: u64,
    /// Segments that were copied.
    pub segments_copied: u64,
}

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The original can't be read.
    #[error("{}: {error}", path.display())]
    Journal {
        /// The directory.
        path: PathBuf,
        /// Why.
        error: OpenError,
    },
    /// The original changes faster than it can be copied.
    #[error("{}: files of the journal go faster than they can be copied", path.display())]
    Outrun {
        /// The directory.
        path: PathBuf,
    },
    /// A file or a directory refuses.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl BackupError {
    /// Whether a second attempt may go better, because the owner was at work: damage to a file that
    /// is being given to its next life looks like any other damage.
    pub fn may_pass(&self) -> bool {
        match self {
            BackupError::Journal { .. } | BackupError::Outrun { .. } => true,
            BackupError::Io { error, .. } => error.kind() == io::ErrorKind::NotFound,
        }
    }
}

/// Copies the journal and the segments in the directory `from` into `to`, which is made and must
/// have none, and syncs them. Everything that was durable before is in it.
pub fn back_up(from: &Path, to: &Path) -> Result<BackedUp, BackupError> {
    let at = |path: &Path| {
        let path = path.to_path_buf();
        move |error| BackupError::Io { path, error }
    };
    // A disk is made where there is none; but this must be there.
    fs::read_dir(from).map_err(at(from))?;
    let original = RealDisk::open(from).map_err(at(from))?;
    let copy: Arc<dyn Disk> = Arc::new(RealDisk::open(to).map_err(at(to))?);
    let mut done = BackedUp::default();
    take_segments((from, &original), (to, &copy), &mut done)?;
    done.journal_bytes = copy_journal(&original, &*copy).map_err(|error| match error {
        CopyError::Read(error) => BackupError::Journal { path: from.to_path_buf(), error },
        CopyError::Write { file, error } => BackupError::Io { path: to.join(file), error },
        CopyError::Outrun => BackupError::Outrun { path: from.to_path_buf() },
    })?;
    take_segments((from, &original), (to, &copy), &mut done)?;
    copy.sync_dir().map_err(at(to))?;
    Ok(done)
}

/// Takes the segments that are not in the copy yet, or were not whole when they were copied.
fn take_segments(
    (from, original): (&Path, &RealDisk),
    (to, copy): (&Path, &Arc<dyn Disk>),
    done: &mut BackedUp,
) -> Result<(), BackupError> {
    let numbers = list_segments(original);
    for number in numbers.map_err(|error| BackupError::Io { path: from.to_path_buf(), error })? {
        let name = segment_file_name(number);
        let target = to.join(&name);
        if target.exists() {
            if Segment::open(copy, number).is_ok() {
                continue;
            }
            fs::remove_file(&target)
                .map_err(|error| BackupError::Io { path: target.clone(), error })?;
        }
        match link_or_copy(&from.join(&name), &target) {
            Ok(Taken::Linked) => done.segments_linked += 1,
            Ok(Taken::Copied) => done.segments_copied += 1,
            // Nothing needs it any more.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(BackupError::Io { path: target, error }),
        }
    }
    Ok(())
}

enum Taken {
    Linked,
    Copied,
}

fn link_or_copy(from: &Path, to: &Path) -> io::Result<Taken> {
    match fs::hard_link(from, to) {
        Ok(()) => return Ok(Taken::Linked),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(error),
        // Another file system, or one without such names, or too many of them.
        Err(_) => {}
    }
    fs::copy(from, to)?;
    File::open(to)?.sync_all()?;
    Ok(Taken::Copied)
}
