//! What had happened to messages that are still there: some were leased, some may have been delivered.

use domain::binding::QueueId;
use domain::run::{Run, Runs, Sequence};

use crate::vhost::leases::{Held, Leases};

/// Takes out what is leased of a queue, and notes the leases.
pub(super) fn take_leased(
    messages: &mut Runs,
    queue: QueueId,
    known: &Leases,
    leases: &mut Vec<(QueueId, Sequence, Held)>,
) -> Vec<Run> {
    let mut taken = Vec::new();
    for (first, held) in known.held_of(queue) {
        let before = taken.len();
        messages.remove(first, held.count, &mut taken);
        for run in &taken[before..] {
            leases.push((queue, run.first, Held { count: run.count, ..held.clone() }));
        }
    }
    taken
}

/// What lies before the watermark may have been delivered before the process ended.
pub(super) fn mark(run: Run, watermark: Sequence) -> impl Iterator<Item = Run> {
    let repeated = |run: Run| Run { label: run.label.repeated(), ..run };
    let (before, after) = if run.end() <= watermark {
        (Some(repeated(run)), None)
    } else if run.first >= watermark {
        (None, Some(run))
    } else {
        let count = u32::try_from(watermark.0 - run.first.0).unwrap_or(run.count);
        let (front, rest) = run.split(count);
        (Some(repeated(front)), rest)
    };
    before.into_iter().chain(after)
}
