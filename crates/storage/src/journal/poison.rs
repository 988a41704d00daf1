//! Why a journal takes no more records: a write or a sync failed, and nobody knows what the disk holds.
//!
//! A failed sync is never tried again: the kernel may have dropped the pages it could not write, and
//! the second sync would then report a success that is none.

use std::io;
use std::sync::Arc;

use crate::operation::Operation;

/// The reason why a journal takes no more records; cheap to clone, the same for everybody who asks.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "the journal takes no more records, because its file {} could not be {}: {}{}",
    .0.file, .0.operation, .0.error, .0.operation.remedy()
)]
pub struct Poison(Arc<Cause>);

#[derive(Debug)]
pub(super) struct Cause {
    pub(super) file: String,
    pub(super) operation: Operation,
    pub(super) error: io::Error,
}

impl Operation {
    /// What is said behind the disk's word. What can't be read may be lost, so nothing is said of that.
    fn remedy(self) -> &'static str {
        if self.is_reading() {
            ""
        } else {
            "; what is confirmed is safe, remove the cause and restart"
        }
    }
}

impl Poison {
    pub(crate) fn new(file: &str, operation: Operation, error: io::Error) -> Poison {
        Poison(Arc::new(Cause { file: file.to_owned(), operation, error }))
    }

    /// The file the disk refused to serve.
    pub fn file(&self) -> &str {
        &self.0.file
    }

    /// What was being done.
    pub fn operation(&self) -> Operation {
        self.0.operation
    }

    /// What the disk said.
    pub fn io_error(&self) -> &io::Error {
        &self.0.error
    }
}
