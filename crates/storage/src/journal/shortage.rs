//! No room on the disk: the one failure that passes by itself, so that it stops nothing for good.
//!
//! A write that found no room has promised nothing: nobody was told anything, and the same bytes go to
//! the same place later. A sync that found none is another matter: the kernel may have dropped what it
//! could not place. So room is set aside before it is written to (see `files`), and a failed sync
//! stays what it is, a reason to stop.

use std::io;
use std::sync::Arc;

use super::poison::{Cause, Poison};
use crate::operation::Operation;

/// What there is no room for; cheap to clone.
#[derive(Clone, Debug, thiserror::Error)]
#[error("there is no room on the disk: {} could not be {}: {}", .0.file, .0.operation, .0.error)]
pub struct Shortage(Arc<Cause>);

impl Shortage {
    /// The file there is no room for.
    pub fn file(&self) -> &str {
        &self.0.file
    }
}

/// Why a step of the writer did not happen.
#[derive(Debug)]
pub(super) enum Setback {
    /// For want of room: nothing was changed that a later try would not change in the same way.
    Full(Shortage),
    /// Nobody knows what the disk holds.
    Failed(Poison),
}

impl From<Poison> for Setback {
    fn from(poison: Poison) -> Setback {
        Setback::Failed(poison)
    }
}

/// Whether the disk, or the share of it that we may use, is used up.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Turns the disk's word on something that may be tried again into what it means.
pub(super) fn setback(name: &str, operation: Operation) -> impl FnOnce(io::Error) -> Setback {
    move |error| {
        if is_full(&error) {
            let file = name.to_owned();
            Setback::Full(Shortage(Arc::new(Cause { file, operation, error })))
        } else {
            Setback::Failed(Poison::new(name, operation, error))
        }
    }
}
