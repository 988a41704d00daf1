//! How many messages there are in all queues of some virtual hosts, and how fast that changes.

use broker::Sight;
use broker::views::MessageCounts;
use serde::Serialize;

use super::message_stats::{Details, MessageStats};

/// Messages in queues.
#[derive(Serialize)]
pub(super) struct Depths {
    messages: u64,
    messages_details: Details,
    messages_ready: u64,
    messages_ready_details: Details,
    messages_unacknowledged: u64,
    messages_unacknowledged_details: Details,
}

impl Depths {
    /// Of the queues of some virtual hosts.
    pub(super) fn of(sights: &[Sight]) -> Depths {
        let (mut ready, mut unacked, mut ready_rate, mut unacked_rate) = (0, 0, 0.0, 0.0);
        for sight in sights {
            for view in &**sight.queues() {
                ready += view.ready;
                unacked += view.unacked;
                if let Some(traffic) = &view.traffic {
                    ready_rate += traffic.ready_rate;
                    unacked_rate += traffic.unacked_rate;
                }
            }
        }
        Depths {
            messages: ready + unacked,
            messages_details: Details { rate: ready_rate + unacked_rate },
            messages_ready: ready,
            messages_ready_details: Details { rate: ready_rate },
            messages_unacknowledged: unacked,
            messages_unacknowledged_details: Details { rate: unacked_rate },
        }
    }
}

/// What happened to messages in some virtual hosts; `None`: nothing ever.
pub(super) fn message_stats(sights: &[Sight]) -> Option<MessageStats> {
    let (mut counts, mut rates) = (MessageCounts::default(), MessageCounts::<f64>::default());
    for sight in sights {
        let totals = sight.totals();
        counts.add(&totals.counts);
        rates.add(&totals.rates);
    }
    MessageStats::of_channel(&counts, &rates)
}
