//! The leases without a connection of a virtual host, and who waits for one: who holds what until
//! when. What a lease means for a queue is not known here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domain::binding::QueueId;
use domain::name::Name;
use domain::run::{Direction, Durability, Sequence};
use stdx::fault::{Fault, planted};

use super::Map;
use crate::lease::LeaseToken;
use crate::session_id::SessionId;

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    /// By the first message of each run.
    held: BTreeMap<(QueueId, Sequence), Held>,
    /// When each of these ends, in milliseconds.
    ends: BTreeSet<(u64, QueueId, Sequence)>,
    messages: usize,
    /// How many messages of each queue rest.
    resting: Map<QueueId, u64>,
    waiters: Map<WaiterId, Waiter>,
    /// When each of these has waited for long enough, in milliseconds.
    waits: BTreeSet<(u64, WaiterId)>,
    next_waiter: u64,
    /// When the timer goes off that looks after all this, in milliseconds.
    pub(crate) timer_ms: Option<u64>,
}

/// Neighbouring messages of a queue, leased together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) count: u32,
    /// What only the holder knows.
    pub(crate) epoch: u64,
    /// On the clock that never steps.
    pub(crate) until_ms: u64,
    pub(crate) length_ms: u64,
    /// When the messages were handed out; `None`: before the last start.
    pub(crate) since_ms: Option<u64>,
    pub(crate) durability: Durability,
    /// Whose name it was asked in. Nobody's, which is empty: the messages wait until their delay is
    /// over.
    pub(crate) holder: Name,
    /// How far the holder is, as it last said.
    pub(crate) progress: Option<Arc<str>>,
}

impl Held {
    /// Whether these are leased to nobody, and come back when their time is over.
    pub(crate) fn is_resting(&self) -> bool {
        self.holder.is_empty()
    }

    /// The first `count` messages, and what is left, if anything.
    fn split(self, count: u32) -> (Held, Option<Held>) {
        if count >= self.count {
            return (self, None);
        }
        let rest = Held { count: self.count - count, ..self.clone() };
        (Held { count, ..self }, Some(rest))
    }

    /// Whether `next` is the same lease, but for which messages.
    pub(crate) fn is_alike(&self, next: &Held) -> bool {
        (self.epoch, self.until_ms, self.length_ms) == (next.epoch, next.until_ms, next.length_ms)
            && self.holder == next.holder
    }
}

/// Somebody who waits for messages; later ones have greater numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct WaiterId(u64);

/// A request for messages that was not answered yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiter {
    pub(crate) session: SessionId,
    pub(crate) ticket: u64,
    pub(crate) queue: QueueId,
    pub(crate) messages_max: u32,
    pub(crate) lease_ms: u64,
    pub(crate) until_ms: u64,
}

/// Who waits at one queue.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    /// The longest waiting first.
    pub(crate) line: BTreeSet<WaiterId>,
    /// Of these: whoever has waited for long enough, and only waits for what is being read.
    pub(crate) impatient: BTreeSet<WaiterId>,
    pub(crate) turn: Turn,
}

/// Whose turn it is at a queue that has consumers too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Turn {
    #[default]
    Consumers,
    Waiters,
}

impl Leases {
    /// How many messages are leased.
    pub(crate) fn messages(&self) -> usize {
        self.messages
    }

    /// How many messages of a queue wait until their delay is over.
    pub(crate) fn resting(&self, queue: QueueId) -> u64 {
        self.resting.get(&queue).copied().unwrap_or(0)
    }

    /// All runs, by queue and place.
    pub(crate) fn held(&self) -> impl Iterator<Item = (QueueId, Sequence, &Held)> {
        self.held.iter().map(|((queue, first), held)| (*queue, *first, held))
    }

    /// The runs of one queue.
    pub(crate) fn held_of(&self, queue: QueueId) -> impl Iterator<Item = (Sequence, &Held)> {
        let all = (queue, Sequence(0))..=(queue, Sequence(u64::MAX));
        self.held.range(all).map(|((_, first), held)| (*first, held))
    }

    /// The first lease, in the direction, of one of the messages from the first to before the last.
    pub(crate) fn touching(
        &self,
        queue: QueueId,
        (first, end): (Sequence, Sequence),
        direction: Direction,
    ) -> Option<(Sequence, &Held)> {
        let before = |at: Sequence| {
            let found = self.held.range((queue, Sequence(0))..(queue, at)).next_back();
            found.filter(|((_, at), held)| at.plus(held.count) > first)
        };
        let found = match direction {
            Direction::OldestFirst => {
                let inside = || self.held.range((queue, first)..(queue, end)).next();
                before(first).or_else(inside)
            }
            Direction::NewestFirst => before(end),
        };
        found.map(|((_, at), held)| (*at, held))
    }

    /// Messages that are not leased yet, are from now on.
    pub(crate) fn hold(&mut self, queue: QueueId, first: Sequence, held: Held) {
        self.messages += held.count as usize;
        if held.is_resting() {
            *self.resting.entry(queue).or_default() += u64::from(held.count);
        }
        self.ends.insert((held.until_ms, queue, first));
        self.held.insert((queue, first), held);
    }

    /// Whether the token is that of the present lease of its message.
    pub(crate) fn is_valid(&self, token: LeaseToken, now_ms: u64) -> bool {
        let range = ..=(token.queue, token.message);
        self.held.range(range).next_back().is_some_and(|((queue, first), held)| {
            *queue == token.queue
                && token.message < first.plus(held.count)
                && (held.epoch == token.epoch || planted(Fault::StaleLeaseToken))
                && held.until_ms > now_ms
        })
    }

    /// Ends the leases of what there is of `count` messages from `first` on.
    pub(crate) fn take(
        &mut self,
        queue: QueueId,
        first: Sequence,
        count: u32,
    ) -> Vec<(Sequence, Held)> {
        let end = first.plus(count);
        let mut taken = Vec::new();
        let before = self.held.range(..(queue, first)).next_back();
        if let Some(((of, at), held)) = before
            && *of == queue
            && at.plus(held.count) > first
        {
            self.cut(queue, *at, first);
        }
        while let Some(((_, at), held)) = self.held.range((queue, first)..(queue, end)).next() {
            let at = *at;
            if at.plus(held.count) > end {
                self.cut(queue, at, end);
            }
            taken.extend(self.remove(queue, at).map(|held| (at, held)));
        }
        taken
    }

    /// Divides a run; `at` lies within it, not at its beginning.
    fn cut(&mut self, queue: QueueId, first: Sequence, at: Sequence) {
        let Some(held) = self.remove(queue, first) else { return };
        let (front, rest) = held.split(u32::try_from(at.0 - first.0).unwrap_or(u32::MAX));
        self.hold(queue, first, front);
        if let Some(rest) = rest {
            self.hold(queue, at, rest);
        }
    }

    fn remove(&mut self, queue: QueueId, first: Sequence) -> Option<Held> {
        let held = self.held.remove(&(queue, first))?;
        self.ends.remove(&(held.until_ms, queue, first));
        self.messages -= held.count as usize;
        if held.is_resting()
            && let Some(resting) = self.resting.get_mut(&queue)
        {
            *resting -= u64::from(held.count);
            if *resting == 0 {
                self.resting.remove(&queue);
            }
        }
        Some(held)
    }

    /// Takes out a run whose time is over.
    pub(crate) fn take_due(&mut self, now_ms: u64) -> Option<(QueueId, Sequence, Held)> {
        let (until_ms, queue, first) = *self.ends.first()?;
        if until_ms > now_ms {
            return None;
        }
        self.remove(queue, first).map(|held| (queue, first, held))
    }

    /// A queue is gone, and with it what is leased of it.
    pub(crate) fn forget(&mut self, queue: QueueId) {
        let firsts: Vec<Sequence> = self.held_of(queue).map(|(first, _)| first).collect();
        for first in firsts {
            self.remove(queue, first);
        }
    }

    /// How many wait.
    pub(crate) fn waiters(&self) -> usize {
        self.waiters.len()
    }

    /// Somebody waits from now on.
    pub(crate) fn add_waiter(&mut self, waiter: Waiter) -> WaiterId {
        let id = WaiterId(self.next_waiter);
        self.next_waiter += 1;
        self.waits.insert((waiter.until_ms, id));
        self.waiters.insert(id, waiter);
        id
    }

    /// Somebody waits no longer.
    pub(crate) fn remove_waiter(&mut self, id: WaiterId) -> Option<Waiter> {
        let waiter = self.waiters.remove(&id)?;
        self.waits.remove(&(waiter.until_ms, id));
        Some(waiter)
    }

    /// All who wait, the longest waiting first.
    pub(crate) fn all_waiters(&self) -> Vec<WaiterId> {
        let mut all: Vec<WaiterId> = self.waiters.keys().copied().collect();
        all.sort_unstable();
        all
    }

    /// Whoever has waited for long enough; its time is not looked at again.
    pub(crate) fn take_impatient(&mut self, now_ms: u64) -> Option<(WaiterId, QueueId)> {
        let (until_ms, id) = *self.waits.first()?;
        if until_ms > now_ms {
            return None;
        }
        self.waits.pop_first();
        Some((id, self.waiters.get(&id)?.queue))
    }

    /// When something is to be looked at next.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        let end = self.ends.first().map(|(until_ms, _, _)| *until_ms);
        let wait = self.waits.first().map(|(until_ms, _)| *until_ms);
        end.into_iter().chain(wait).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUE: QueueId = QueueId(5);

    fn held(count: u32, until_ms: u64) -> Held {
        Held {
            since_ms: None,
            count,
            epoch: until_ms,
            until_ms,
            length_ms: 1,
            durability: Durability::Journaled,
            holder: Name::default(),
            progress: None,
        }
    }

    fn leases() -> Leases {
        let mut leases = Leases::default();
        for queue in [QueueId(4), QUEUE, QueueId(6)] {
            leases.hold(queue, Sequence(10), held(5, 300));
            leases.hold(queue, Sequence(15), held(1, 100));
            leases.hold(queue, Sequence(20), held(3, 200));
        }
        leases
    }

    fn shown(leases: &Leases) -> String {
        assert_eq!(leases.held.len(), leases.ends.len());
        let messages: u32 = leases.held.values().map(|held| held.count).sum();
        assert_eq!(leases.messages(), messages as usize);
        let of_queue = leases.held().filter(|(queue, _, _)| *queue == QUEUE);
        let shown = of_queue.map(|(_, first, held)| {
            assert!(leases.ends.contains(&(held.until_ms, QUEUE, first)));
            format!("{}+{}@{}", first.0, held.count, held.until_ms)
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_is_taken_is_cut_out() {
        for (first, count, taken, left) in [
            (10, 5, "10+5", "15+1@100 20+3@200"),
            (12, 1, "12+1", "10+2@300 13+2@300 15+1@100 20+3@200"),
            (13, 8, "13+2 15+1 20+1", "10+3@300 21+2@200"),
            (16, 4, "", "10+5@300 15+1@100 20+3@200"),
            (0, 10, "", "10+5@300 15+1@100 20+3@200"),
            (23, 9, "", "10+5@300 15+1@100 20+3@200"),
            (0, u32::MAX, "10+5 15+1 20+3", ""),
        ] {
            let mut leases = leases();
            let pieces = leases.take(QUEUE, Sequence(first), count);
            let pieces: Vec<String> =
                pieces.iter().map(|(first, held)| format!("{}+{}", first.0, held.count)).collect();
            assert_eq!((pieces.join(" ").as_str(), shown(&leases).as_str()), (taken, left));
        }
    }

    #[test]
    fn the_next_lease_is_found_from_either_end() {
        use Direction::{NewestFirst, OldestFirst};
        let leases = leases();
        for (first, end, direction, expected) in [
            (0, 100, OldestFirst, Some(10)),
            (0, 100, NewestFirst, Some(20)),
            (12, 14, OldestFirst, Some(10)),
            (12, 14, NewestFirst, Some(10)),
            (15, 20, OldestFirst, Some(15)),
            (15, 20, NewestFirst, Some(15)),
            (16, 20, OldestFirst, None),
            (16, 20, NewestFirst, None),
            (16, 21, OldestFirst, Some(20)),
            (23, 99, OldestFirst, None),
            (23, 99, NewestFirst, None),
        ] {
            let found = leases.touching(QUEUE, (Sequence(first), Sequence(end)), direction);
            let found = found.map(|(first, _)| first.0);
            assert_eq!(found, expected, "{first}..{end} {direction:?}");
        }
    }

    #[test]
    fn a_token_is_valid_for_its_own_lease_alone() {
        let leases = leases();
        let token = |queue, message, epoch| LeaseToken { queue, message: Sequence(message), epoch };
        for (message, epoch, valid) in
            [(9, 300, false), (10, 300, true), (14, 300, true), (15, 300, false), (15, 100, true)]
        {
            assert_eq!(leases.is_valid(token(QUEUE, message, epoch), 99), valid, "{message}");
            assert!(!leases.is_valid(token(QUEUE, message, epoch), 300), "its time is over");
            assert!(!leases.is_valid(token(QueueId(7), message, epoch), 99));
        }
    }

    #[test]
    fn they_end_in_time_and_go_with_their_queue() {
        let mut leases = leases();
        leases.forget(QueueId(4));
        leases.forget(QueueId(6));
        assert_eq!(leases.next_ms(), Some(100));
        assert_eq!(leases.take_due(99), None);
        let due = leases.take_due(250).map(|(queue, first, held)| (queue, first.0, held.count));
        assert_eq!(due, Some((QUEUE, 15, 1)));
        assert_eq!(leases.next_ms(), Some(200));
        assert_eq!(shown(&leases), "10+5@300 20+3@200");
        leases.forget(QUEUE);
        assert_eq!((leases.next_ms(), leases.messages()), (None, 0));
    }
}
