//! Why something could not be measured. What became of the messages is a result, not a failure.

use std::io;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("the broker at {address} can't be reached: {error}")]
    Unreachable { address: String, error: io::Error },

    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),

    #[error("{what} was answered {status}: {said}")]
    Refused { what: String, status: u16, said: String },

    #[error("{what} was answered with what is no answer: {said}")]
    Unintelligible { what: String, said: String },

    #[error("process {0} can't be looked at: is it gone?")]
    NoProcess(u32),

    #[error("a thread can't be started: {0}")]
    NoThread(io::Error),

    #[error("a thread gave up")]
    Panicked,
}
