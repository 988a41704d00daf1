//! Why a scenario could not be carried out. What the messages came to is a result, not a failure.

use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },

    #[error("the broker could not be signalled: {0}")]
    Signal(rustix::io::Errno),

    #[error("the broker did not stop within {0} s of SIGTERM")]
    SlowStop(u64),

    #[error("no free port: {0}")]
    Port(io::Error),

    #[error("amqpload {what} said what is no result: {said}")]
    NoResult { what: String, said: String },

    #[error("the broker does not answer: {0}")]
    NoAnswer(String),

    #[error("{what} is not to be read: is process {pid} gone?")]
    Proc { what: &'static str, pid: u32 },
}

impl Failure {
    pub(crate) fn file(path: &Path) -> impl FnOnce(io::Error) -> Failure {
        move |error| Failure::File { path: path.to_path_buf(), error }
    }
}
