//! Gets that are refused because their queue went while they waited for the disk. With the channel go
//! its consumers and deliveries, some time before anybody hears of it.

use super::queue::{QueueKey, Whereabouts};
use super::{ChannelKey, Checker};

impl Checker {
    /// The channels whose get waits although its queue is no more.
    fn being_refused(&self) -> impl Iterator<Item = ChannelKey> {
        let expected = self.sessions.values().flat_map(|session| &session.expected);
        let gone = expected.filter(|expected| expected.got().is_some_and(|it| self.has_gone(it)));
        gone.map(|expected| expected.channel)
    }

    /// Whether there is one.
    pub(crate) fn is_a_refusal_underway(&self) -> bool {
        self.being_refused().next().is_some()
    }

    /// A message that a channel had goes to somebody else, or the other way round: if the get of one
    /// of them is being refused, that is over by now, and everything it had has returned.
    pub(super) fn refuse_whoever_had(&mut self, queue: QueueKey, place: u64, receiver: ChannelKey) {
        let entry = self.queues.get(&queue).and_then(|state| state.entries.get(&place));
        if entry.is_none_or(|entry| entry.whereabouts == Whereabouts::Ready) {
            return;
        }
        let has = |key: &ChannelKey| {
            let unsettled = self.channels.get(key).map(|channel| channel.unsettled.values());
            unsettled.into_iter().flatten().any(|it| it.queue == queue && it.place == place)
        };
        let mut refused: Vec<ChannelKey> = self.being_refused().collect();
        refused.retain(|channel| *channel == receiver || has(channel));
        // Who had it, rather than who gets it.
        refused.sort_by_key(|channel| !has(channel));
        if let Some(channel) = refused.first().copied() {
            self.clear_channel(channel);
            self.channel(channel).open = false;
        }
    }
}
