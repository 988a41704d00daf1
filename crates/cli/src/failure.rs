//! Why a command did not do what it should, and the exit code that says so to scripts.

use std::path::PathBuf;

/// Why not.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The broker said no.
    #[error("{detail}{}", remedied(remedy.as_deref()))]
    Refused { status: u16, detail: String, remedy: Option<String> },

    /// Nobody answers.
    #[error(
        "no broker answers at {url}: {error}\n  remedy: start one (postroom serve), or say where it \
         is with --url or POSTROOM_URL"
    )]
    Unreachable { url: String, error: String },

    /// What answers is no broker.
    #[error("what answers at {url} is no Postroom: {what}")]
    NotABroker { url: String, what: String },

    /// A file can't be read or written.
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: std::io::Error },

    /// The arguments can't be used together.
    #[error("{0}")]
    Usage(String),

    /// The terminal or pipe is gone.
    #[error("the output can't be written: {0}")]
    Output(#[from] std::io::Error),

    /// A task ended before its work was done.
    #[error("the task failed: {0}")]
    Unfinished(String),

    /// There was nothing to take.
    #[error("the queue has no message that is ready")]
    NothingThere,

    /// There was nothing to see.
    #[error("the queue has no such message")]
    NothingFound,
}

fn remedied(remedy: Option<&str>) -> String {
    remedy.map(|remedy| format!("\n  remedy: {remedy}")).unwrap_or_default()
}

impl Failure {
    /// 1: refused or failed; 2: the command line is wrong; 3: no such thing; 4: not allowed;
    /// 5: no broker.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Failure::Usage(_) => 2,
            Failure::Refused { status: 404, .. }
            | Failure::NothingThere
            | Failure::NothingFound => 3,
            Failure::Refused { status: 401 | 403, .. } => 4,
            Failure::Unreachable { .. } | Failure::NotABroker { .. } => 5,
            Failure::Refused { .. }
            | Failure::File { .. }
            | Failure::Output(_)
            | Failure::Unfinished(_) => 1,
        }
    }
}
