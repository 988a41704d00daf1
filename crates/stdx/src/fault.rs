//! Planted faults: known bugs that can be switched on, so that the tests can be shown to catch them.
//!
//! A build without the feature `planted-faults` contains none of them: [`planted`] is a constant
//! `false` there. With it, the environment variable `POSTROOM_PLANTED_FAULT` names the one that is on.

/// A bug that some test must catch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Confirms leave when the frame is handed over, before it is synced.
    ConfirmBeforeSync,
    /// A transaction's commit is answered before it is synced.
    CommitBeforeSync,
    /// Frames are believed without looking at their checksum.
    SkippedChecksum,
    /// A new or renamed file's directory entry is not synced.
    ForgottenDirectorySync,
    /// The newest of a channel's waiting confirms leaves first.
    ConfirmOutOfOrder,
    /// A requeued message goes to the end of its queue.
    RequeueToTail,
    /// What is settled in the turn of a checkpoint is not written down.
    AckLostAtCheckpoint,
    /// What a purge dropped is not written down.
    PurgeForgotten,
    /// A segment is deleted while one message in it is still alive.
    SegmentDeletedEarly,
    /// A checkpoint does not say what is alive in segments.
    CheckpointWithoutSegments,
    /// A checkpoint does not say what is leased without a connection.
    CheckpointWithoutLeases,
    /// A checkpoint does not say what became of messages.
    CheckpointWithoutDone,
    /// Leases, and their ends, are told before they are synced.
    LeaseToldBeforeSync,
    /// A token is good for whatever lease its message has.
    StaleLeaseToken,
}

/// Every planted fault with the name that switches it on.
pub const FAULTS: [(&str, Fault); 14] = [
    ("confirm-before-sync", Fault::ConfirmBeforeSync),
    ("commit-before-sync", Fault::CommitBeforeSync),
    ("skipped-checksum", Fault::SkippedChecksum),
    ("forgotten-directory-sync", Fault::ForgottenDirectorySync),
    ("confirm-out-of-order", Fault::ConfirmOutOfOrder),
    ("requeue-to-tail", Fault::RequeueToTail),
    ("ack-lost-at-checkpoint", Fault::AckLostAtCheckpoint),
    ("purge-forgotten", Fault::PurgeForgotten),
    ("segment-deleted-early", Fault::SegmentDeletedEarly),
    ("checkpoint-without-segments", Fault::CheckpointWithoutSegments),
    ("checkpoint-without-leases", Fault::CheckpointWithoutLeases),
    ("checkpoint-without-done", Fault::CheckpointWithoutDone),
    ("lease-told-before-sync", Fault::LeaseToldBeforeSync),
    ("stale-lease-token", Fault::StaleLeaseToken),
];

/// Whether `fault` is switched on in this process.
#[cfg(feature = "planted-faults")]
pub fn planted(fault: Fault) -> bool {
    use std::sync::OnceLock;
    static ON: OnceLock<Option<Fault>> = OnceLock::new();
    let on = ON.get_or_init(|| {
        let name = std::env::var("POSTROOM_PLANTED_FAULT").ok()?;
        FAULTS.iter().find(|(known, _)| *known == name).map(|(_, fault)| *fault)
    });
    *on == Some(fault)
}

/// Whether `fault` is switched on in this process: never, in this build.
#[cfg(not(feature = "planted-faults"))]
#[inline]
pub const fn planted(_fault: Fault) -> bool {
    false
}
