//! Why a broker does not start.

use std::io;

use domain::name::Name;

use crate::catalogue::{StoreError, Unwritten};
use crate::passwords::HashFailed;
use crate::recover::ReplayError;

/// Why a broker does not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The catalogue's journal can't be read.
    #[error("the catalogue of users and vhosts: {0}")]
    Catalogue(storage::OpenError),
    /// The catalogue's records can't be understood.
    #[error("the catalogue of users and vhosts: {0}")]
    CatalogueReplay(ReplayError),
    /// The catalogue can't be written.
    #[error("the catalogue of users and vhosts can't be written: {0}")]
    CatalogueUnwritten(Unwritten),
    /// The first user's password can't be hashed.
    #[error(transparent)]
    Hash(#[from] HashFailed),
    /// A directory can't be used.
    #[error("the directory of {what} can't be used: {error}")]
    Disk {
        /// The catalogue or a virtual host.
        what: Box<str>,
        /// Why.
        error: io::Error,
    },
    /// The journal can't be read.
    #[error("vhost '{vhost}': {error}")]
    Journal {
        /// Whose.
        vhost: Name,
        /// Why.
        error: storage::OpenError,
    },
    /// The journal's records can't be understood.
    #[error("vhost '{vhost}': {error}")]
    Replay {
        /// Whose.
        vhost: Name,
        /// Why.
        error: ReplayError,
    },
    /// Segments are there, and what referred to them is lost.
    #[error(
        "vhost '{vhost}': {segments} segment files with messages are there, {first} and so on, but the \
         journal that said whose they are is lost: files of it are missing. Nothing was changed. \
         Restore the data directory from a backup; or let `postroom repair --data-dir DIR` say what \
         can be brought back, and do that"
    )]
    Orphaned {
        /// Whose.
        vhost: Name,
        /// How many.
        segments: usize,
        /// The first of them.
        first: String,
    },
    /// The system gives no thread for the writer.
    #[error("no thread for the journal's writer: {0}")]
    Thread(std::io::Error),
}

impl From<StoreError> for OpenError {
    fn from(error: StoreError) -> OpenError {
        match error {
            StoreError::Journal(error) => OpenError::Catalogue(error),
            StoreError::Replay(error) => OpenError::CatalogueReplay(error),
            StoreError::Unwritten(error) => OpenError::CatalogueUnwritten(error),
            StoreError::Hash(failed) => OpenError::Hash(failed),
        }
    }
}
