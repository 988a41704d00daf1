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
    /// Messages rejected for good and dropped, as RabbitMQ does without a dead-letter exchange.
    pub rejected_dropped: u64,
    /// Messages that waited too long, dead-lettered or not.
    pub expired: u64,
    /// Messages that waited too long and were dropped.
    pub expired_dropped: u64,
    /// Messages that were too many in their queue, dead-lettered or not.
    pub overflowed: u64,
    /// Messages that were too many in their queue and were dropped.
    pub overflow_dropped: u64,
    /// Messages that failed too often and were dropped.
    pub failed_dropped: u64,
    /// Messages that a full queue refused to take.
    pub refused: u64,
    /// Copies that entered another queue as dead letters.
    pub dead_lettered: u64,
    /// Dead letters that no queue took: no exchange, no route, a cycle, or a full queue.
    pub dead_lettered_dropped: u64,
    /// Channels opened.
    pub channels_opened: u64,
    /// Channels closed, by whomever.
    pub channels_closed: u64,
    /// Declarations of queues that did not fail, whether anything was made or not.
    pub queues_declared: u64,
    /// Queues made.
    pub queues_created: u64,
    /// Queues that went, for whatever reason.
    pub queues_deleted: u64,
    /// Queues that were unused for too long.
    pub queues_expired: u64,
    /// Consumers that left deliveries unsettled for too long.
    pub consumers_timed_out: u64,
    /// Settlements of deliveries that had been taken back by then.
    pub settled_late: u64,
    /// Messages leased without a connection, repeated ones included.
    pub leased: u64,
    /// Leases that their holder ended as failed, to be tried again.
    pub leases_failed: u64,
    /// Leases that ran out.
    pub leases_expired: u64,
    /// Settlements of leases that were over by then.
    pub leases_lost: u64,
    /// Direct replies handed to their requesters.
    pub replies_delivered: u64,
    /// Direct replies dropped because their requester does not read.
    pub replies_dropped: u64,
    /// Messages dropped by a purge or with their queue.
    pub purged: u64,
    /// Bytes written to segments.
    pub sealed_bytes: u64,
    /// Bytes of messages read back from segments.
    pub read_back_bytes: u64,
    /// Just now: what messages take in memory, in bytes.
    pub memory_bytes: u64,
    /// Just now: what is told of done messages, which lies in memory too, in bytes.
    pub done_bytes: u64,
    /// Just now: segments on disk.
    pub segments: u64,
    /// Just now: bytes of their files.
    pub segment_file_bytes: u64,
    /// Just now: about so many of these bytes are of messages that are alive.
    pub segment_live_bytes: u64,
}
