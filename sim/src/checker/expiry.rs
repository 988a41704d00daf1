//! What time does to the picture: messages go unread.

use super::queue::{Known, Whereabouts};
use super::{Checker, QueueKey};

impl Checker {
    /// Time passes. What is due now goes when the broker next does anything.
    pub(crate) fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
        for queue in self.queues.values_mut() {
            for entry in queue.entries.values_mut() {
                if entry.whereabouts == Whereabouts::Ready && entry.is_due(self.now_ms) {
                    entry.there = Known::Perhaps;
                }
            }
        }
    }

    /// A turn begins with what is due. What may have been delivered unseen before is in doubt.
    pub(super) fn expire(&mut self) {
        let queues: Vec<QueueKey> = self.queues.keys().copied().collect();
        for key in queues {
            let foggy = self.is_foggy(key);
            let now_ms = self.now_ms;
            let Some(queue) = self.queues.get_mut(&key) else { continue };
            let due: Vec<u64> = queue
                .ready()
                .filter(|(_, entry)| entry.is_due(now_ms))
                .map(|(place, _)| place)
                .collect();
            for place in due {
                if !foggy {
                    queue.remove(place);
                } else if let Some(entry) = queue.entries.get_mut(&place) {
                    entry.there = Known::Perhaps;
                }
            }
        }
    }
}
