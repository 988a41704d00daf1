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

/// A directory and where it is, for a complaint.
#[derive(Clone, Copy, Debug)]
pub struct Placed<'a> {
    /// Where it is.
    pub path: &'a Path,
    /// The directory.
    pub disk: &'a Arc<dyn Disk>,
}

/// How a segment came into the copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It has another name now.
    Linked,
    /// It was copied, and synced.
    Copied,
}

/// Copies the journal and the segments in the directory `from` into `to`, which is made and must
/// have none, and syncs them. Everything that was durable before is in it.
pub fn back_up(from: &Path, to: &Path) -> Result<BackedUp, BackupError> {
    // A disk is made where there is none; but this must be there.
    fs::read_dir(from).map_err(at(from))?;
    let original: Arc<dyn Disk> = Arc::new(RealDisk::open(from).map_err(at(from))?);
    let copy: Arc<dyn Disk> = Arc::new(RealDisk::open(to).map_err(at(to))?);
    let mut take = |name: &str| link_or_copy(&from.join(name), &to.join(name));
    let (from, to) = (Placed { path: from, disk: &original }, Placed { path: to, disk: &copy });
    back_up_disk(from, to, &mut take)
}

/// As [`back_up`], between any disks; `take` puts the segment file of this name into the copy, which
/// has none of this name.
pub fn back_up_disk(
    from: Placed<'_>,
    to: Placed<'_>,
    take: &mut dyn FnMut(&str) -> io::Result<Taken>,
) -> Result<BackedUp, BackupError> {
    let mut done = BackedUp::default();
    take_segments(from, to, take, &mut done)?;
    let copied = copy_journal(&**from.disk, &**to.disk);
    done.journal_bytes = copied.map_err(|error| match error {
        CopyError::Read(error) => BackupError::Journal { path: from.path.to_path_buf(), error },
        CopyError::Write { file, error } => BackupError::Io { path: to.path.join(file), error },
        CopyError::Outrun => BackupError::Outrun { path: from.path.to_path_buf() },
    })?;
    take_segments(from, to, take, &mut done)?;
    to.disk.sync_dir().map_err(at(to.path))?;
    Ok(done)
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_path_buf();
    move |error| BackupError::Io { path, error }
}

/// Takes the segments that are not in the copy yet, or were not whole when they were copied.
fn take_segments(
    from: Placed<'_>,
    to: Placed<'_>,
    take: &mut dyn FnMut(&str) -> io::Result<Taken>,
    done: &mut BackedUp,
) -> Result<(), BackupError> {
    let taken = to.disk.list().map_err(at(to.path))?;
    for number in list_segments(&**from.disk).map_err(at(from.path))? {
        let name = segment_file_name(number);
        let target = to.path.join(&name);
        if taken.contains(&name) {
            if Segment::open(to.disk, number).is_ok() {
                continue;
            }
            to.disk.remove(&name).map_err(at(&target))?;
        }
        match take(&name) {
            Ok(Taken::Linked) => done.segments_linked += 1,
            Ok(Taken::Copied) => done.segments_copied += 1,
            // Nothing needs it any more.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(at(&target)(error)),
        }
    }
    Ok(())
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
