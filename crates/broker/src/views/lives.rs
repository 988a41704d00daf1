//! How long messages take, of a queue or of all of a virtual host.

use crate::histogram::Histogram;

/// How long messages take, in microseconds, and how often they are tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageLives {
    /// From coming into a queue to the first delivery. To the millisecond; a queue that is long knows
    /// it to a few percent, and what was found at a start has waited since then.
    pub queued: Histogram,
    /// From delivery to settlement, to four milliseconds.
    pub handling: Histogram,
    /// Deliveries that an acknowledged message took. A classic queue knows that it was more than one,
    /// not how many.
    pub attempts: Histogram,
}
