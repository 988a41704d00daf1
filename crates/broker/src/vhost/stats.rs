//! What a virtual host counts since it started.

/// Counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Messages published, whether any queue took them or not.
    pub published: u64,
    /// Messages that no queue took and nobody wanted back.
    pub unroutable_dropped: u64,
    /// Messages returned to their publisher.
    pub unroutable_returned: u64,
    /// Messages handed to consumers, repeated ones included.
    pub delivered: u64,
    /// Messages acknowledged, or settled by being sent.
    pub acknowledged: u64,
    /// Messages that returned to their queue.
    pub requeued: u64,
    /// Messages rejected for good: dropped, as RabbitMQ does without a dead-letter exchange.
    pub rejected_dropped: u64,
    /// Messages dropped by a purge or with their queue.
    pub purged: u64,
}
