//! What can be asked of a disk, as a complaint names it.

/// What was being done when the disk refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// The files of the directory were listed.
    List,
    /// A file was opened.
    Open,
    /// A file was created.
    Create,
    /// A file was read.
    Read,
    /// Bytes of a file were written.
    Write,
    /// A file was synced.
    Sync,
    /// A file was renamed.
    Rename,
    /// A file was deleted.
    Remove,
    /// The directory was synced.
    SyncDirectory,
}

impl Operation {
    /// Whether something that is there was asked for.
    pub fn is_reading(self) -> bool {
        match self {
            Operation::List | Operation::Open | Operation::Read => true,
            Operation::Create
            | Operation::Write
            | Operation::Sync
            | Operation::Rename
            | Operation::Remove
            | Operation::SyncDirectory => false,
        }
    }
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Operation::List => "listed",
            Operation::Open => "opened",
            Operation::Create => "created",
            Operation::Read => "read",
            Operation::Write => "written",
            Operation::Sync => "synced",
            Operation::Rename => "renamed",
            Operation::Remove => "deleted",
            Operation::SyncDirectory => "recorded in its directory",
        })
    }
}
