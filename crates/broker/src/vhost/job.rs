//! What the owner wants done by somebody who may wait for the disk, and what comes back of it.

use std::sync::Arc;

use storage::disk::Disk;
use storage::remove_segment;

use super::Vhost;
use super::load_job::{LoadJob, Loaded};
use super::seal_job::{SealError, SealJob, Sealed};

/// Work that may wait for the disk.
#[derive(Debug)]
pub(crate) enum Job {
    /// Messages are read back.
    Load(LoadJob),
    /// Messages move to a segment.
    Seal(Box<SealJob>),
    /// Segments that nothing refers to are deleted.
    Delete { disk: Arc<dyn Disk>, segments: Vec<u64> },
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Done {
    Loaded(Loaded),
    Sealed(Result<Sealed, SealError>),
    Deleted,
}

impl Job {
    /// Waits for the disk; not on the owner's time.
    pub(crate) fn run(self) -> Done {
        match self {
            Job::Load(load) => Done::Loaded(load.run()),
            Job::Seal(seal) => Done::Sealed(seal.run()),
            Job::Delete { disk, segments } => {
                for segment in segments {
                    if let Err(error) = remove_segment(&*disk, segment) {
                        // Harmless: the next start finds that nothing refers to it.
                        tracing::warn!(segment, %error, "a segment could not be deleted");
                    }
                }
                Done::Deleted
            }
        }
    }
}

impl Vhost {
    /// A job is done.
    pub(crate) fn job_done(&mut self, done: Done) {
        match done {
            Done::Loaded(loaded) => self.loaded(loaded),
            Done::Sealed(outcome) => self.sealed(outcome),
            Done::Deleted => {}
        }
    }
}
