//! What the broker must not do, each kind with what is needed to find the reason.

use std::fmt;
use std::path::PathBuf;

use crate::message::MessageId;

/// A promise broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    /// Confirmed, persistent, in a durable queue, never settled: and not there.
    Lost { queue: String, id: MessageId },
    /// There, but not what was published.
    Damaged { queue: String, id: MessageId },
    /// Never published to this queue.
    Invented { queue: String, what: String },
    /// Settled, purged, transient or found missing before, and there again.
    Resurrected { queue: String, id: MessageId, why: &'static str },
    /// There twice, or with two consumers at once.
    Doubled { queue: String, id: MessageId },
    /// A publisher's messages in another order than published.
    Reordered { queue: String, first: MessageId, second: MessageId },
    /// Delivered before and not marked as redelivered.
    Unmarked { queue: String, id: MessageId },
    /// The queue says it holds more or less than it does.
    Miscounted { queue: String, said: u64, found: u64 },
    /// The queue hands out less than it says it holds, and nothing more for long.
    Stuck { queue: String, said: u64, found: u64 },
    /// A queue, exchange or binding that was answered for is gone.
    TopologyLost { what: String },
    /// A queue, exchange or binding that was deleted or should not outlive a restart is there.
    TopologyResurrected { what: String },
    /// A file changed without the preloaded library seeing it.
    Escaped { names: Vec<PathBuf> },
    /// The broker did not start, did not stop, or died by itself.
    Process { what: String },
    /// A client was refused something, or nothing moved.
    Refused { what: String },
}

impl Violation {
    /// Whether a planted fault can be behind it. A client that is refused something, or a write that
    /// the preloaded library misses, says nothing about what was kept.
    pub(crate) fn proves_a_fault(&self) -> bool {
        !matches!(self, Self::Refused { .. } | Self::Escaped { .. })
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost { queue, id } => write!(f, "lost: confirmed message {id} of {queue}"),
            Self::Damaged { queue, id } => write!(f, "damaged: message {id} in {queue}"),
            Self::Invented { queue, what } => write!(f, "invented: {what} in {queue}"),
            Self::Resurrected { queue, id, why } => {
                write!(f, "resurrected: message {id} in {queue}, which was {why}")
            }
            Self::Doubled { queue, id } => write!(f, "doubled: message {id} in {queue}"),
            Self::Reordered { queue, first, second } => {
                write!(f, "reordered: {second} came before {first} in {queue}")
            }
            Self::Unmarked { queue, id } => {
                write!(f, "unmarked: {id} of {queue} comes back without the redelivered flag")
            }
            Self::Miscounted { queue, said, found } => {
                write!(f, "miscounted: {queue} says {said} messages and holds {found}")
            }
            Self::Stuck { queue, said, found } => {
                write!(f, "stuck: {queue} says {said} messages and hands out only {found}")
            }
            Self::TopologyLost { what } => write!(f, "lost: {what}"),
            Self::TopologyResurrected { what } => write!(f, "resurrected: {what}"),
            Self::Escaped { names } => {
                write!(f, "escaped: changed without the preloaded library seeing it: {names:?}")
            }
            Self::Process { what } => write!(f, "process: {what}"),
            Self::Refused { what } => write!(f, "refused: {what}"),
        }
    }
}
