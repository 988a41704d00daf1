//! The done messages that queues tell of: those that were done last, as many as each queue's limits
//! and the memory allow. What being done means for a queue is not known here.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use domain::binding::QueueId;
use domain::queue::settings::DoneLimits;
use domain::run::{Direction, Durability, Sequence};
use storage::Position;

use super::Map;
use super::timers::Moment;
use crate::done::{DoneMessage, KeptMessage};
use crate::limits;
use crate::views::queue::DoneTotals;

/// Those of a virtual host.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// The queues that tell of any.
    queues: Map<QueueId, DoneQueue>,
    bytes: u64,
    /// Queues of which the journal is to hear.
    changed: Vec<QueueId>,
    /// Something about them is on its way to the journal.
    pub(crate) staged: bool,
    /// Where the last change that is to survive stands.
    pub(crate) position: Position,
}

/// Those of a queue.
#[derive(Debug)]
struct DoneQueue {
    limits: DoneLimits,
    kept: BTreeMap<Sequence, Kept>,
    /// In the order in which they were done.
    order: VecDeque<Sequence>,
    bytes: u64,
    /// Of which the journal has not heard.
    fresh: Vec<Sequence>,
    is_timed: bool,
}

#[derive(Debug)]
struct Kept {
    message: Arc<DoneMessage>,
    /// On the clock that never steps.
    until_ms: u64,
    durability: Durability,
}

/// A part of the heaviest queue goes at once, so that it is not looked for again and again.
const SHARE_AT_ONCE: u64 = 16;

impl Done {
    /// Whether no queue tells of any.
    pub(crate) fn is_unused(&self) -> bool {
        self.queues.is_empty()
    }

    /// A queue tells of done messages from now on.
    pub(crate) fn keep(&mut self, queue: QueueId, limits: DoneLimits) {
        self.forget_queue(queue);
        let (kept, order, fresh) = (BTreeMap::new(), VecDeque::new(), Vec::new());
        let queued = DoneQueue { limits, kept, order, bytes: 0, fresh, is_timed: false };
        self.queues.insert(queue, queued);
    }

    /// A queue goes.
    pub(crate) fn forget_queue(&mut self, queue: QueueId) {
        if let Some(gone) = self.queues.remove(&queue) {
            self.bytes -= gone.bytes;
        }
    }

    /// The limits of a queue, if it tells of done messages.
    pub(crate) fn limits(&self, queue: QueueId) -> Option<DoneLimits> {
        self.queues.get(&queue).map(|it| it.limits)
    }

    /// How much it tells of, if it does.
    pub(crate) fn totals(&self, queue: QueueId) -> Option<DoneTotals> {
        let it = self.queues.get(&queue)?;
        Some(DoneTotals { messages: it.kept.len() as u64, bytes: it.bytes })
    }

    /// What all queues tell of takes so much memory.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A message is done; its queue tells of it from now on, in place of older ones if need be. The
    /// journal is to hear of it.
    pub(crate) fn add(&mut self, message: DoneMessage, durability: Durability, until_ms: u64) {
        let (queue, sequence) = (message.id.queue, message.id.message);
        self.restore(message, durability, until_ms);
        let Some(it) = self.queues.get_mut(&queue) else { return };
        if durability == Durability::Journaled && it.kept.contains_key(&sequence) {
            if it.fresh.is_empty() {
                self.changed.push(queue);
            }
            it.fresh.push(sequence);
            self.staged = true;
        }
    }

    /// As [`Done::add`], but the journal knows.
    pub(crate) fn restore(&mut self, message: DoneMessage, durability: Durability, until_ms: u64) {
        let (queue, sequence) = (message.id.queue, message.id.message);
        let Some(it) = self.queues.get_mut(&queue) else { return };
        if it.kept.contains_key(&sequence) {
            return;
        }
        let bytes = message.cost_bytes();
        it.bytes += bytes;
        self.bytes += bytes;
        it.order.push_back(sequence);
        it.kept.insert(sequence, Kept { message: Arc::new(message), until_ms, durability });
        while it.kept.len() as u64 > it.limits.messages_max || it.bytes > it.limits.bytes_max {
            self.bytes -= it.drop_first();
        }
        while self.bytes > limits::DONE_BYTES_MAX {
            self.lighten();
        }
    }

    /// The queue that tells of most tells of less.
    fn lighten(&mut self) {
        let Some(heaviest) = self.queues.values_mut().max_by_key(|it| it.bytes) else { return };
        let left = heaviest.bytes - heaviest.bytes / SHARE_AT_ONCE;
        while heaviest.bytes >= left.max(1) {
            self.bytes -= heaviest.drop_first();
        }
    }

    /// A message is told of no longer.
    pub(crate) fn retain(&mut self, queue: QueueId, mut is_done: impl FnMut(Sequence) -> bool) {
        let Some(it) = self.queues.get_mut(&queue) else { return };
        let order = std::mem::take(&mut it.order);
        for sequence in order {
            if is_done(sequence) {
                it.order.push_back(sequence);
            } else {
                self.bytes -= it.remove(sequence);
            }
        }
    }

    /// Forgets what a queue tells of; returns how many they were.
    pub(crate) fn clear(&mut self, queue: QueueId) -> u64 {
        let Some(it) = self.queues.get_mut(&queue) else { return 0 };
        self.bytes -= it.bytes;
        it.bytes = 0;
        it.order.clear();
        it.fresh.clear();
        let count = it.kept.len() as u64;
        it.kept.clear();
        count
    }

    /// Forgets up to `count` that were told of for long enough; returns whether there are more.
    pub(crate) fn expire(&mut self, queue: QueueId, now_ms: u64, count: u32) -> bool {
        let Some(it) = self.queues.get_mut(&queue) else { return false };
        it.is_timed = false;
        for _ in 0..count {
            if it.first_until_ms().is_none_or(|until_ms| until_ms > now_ms) {
                return false;
            }
            self.bytes -= it.drop_first();
        }
        true
    }

    /// When somebody has to look, if nobody is going to.
    pub(crate) fn time(&mut self, queue: QueueId) -> Option<u64> {
        let it = self.queues.get_mut(&queue)?;
        let until_ms = it.first_until_ms().filter(|_| !it.is_timed)?;
        it.is_timed = true;
        Some(until_ms)
    }

    /// The queues that tell of any.
    pub(crate) fn queues(&self) -> Vec<QueueId> {
        let mut queues: Vec<QueueId> = self.queues.keys().copied().collect();
        queues.sort_unstable();
        queues
    }

    /// What the journal has not heard of yet, by queue.
    pub(crate) fn take_fresh(&mut self) -> Vec<(QueueId, Vec<Arc<DoneMessage>>)> {
        let changed = std::mem::take(&mut self.changed);
        let fresh = changed.into_iter().filter_map(|queue| {
            let it = self.queues.get_mut(&queue)?;
            let fresh = std::mem::take(&mut it.fresh).into_iter();
            // What had to make room in the same turn was never told of.
            let messages =
                fresh.filter_map(|sequence| Some(Arc::clone(&it.kept.get(&sequence)?.message)));
            Some((queue, messages.collect()))
        });
        fresh.collect()
    }

    /// All of a queue that are to survive, in the order in which they were done.
    pub(crate) fn lasting(&self, queue: QueueId) -> impl Iterator<Item = &Arc<DoneMessage>> {
        let it = self.queues.get(&queue).into_iter();
        it.flat_map(|it| it.order.iter().filter_map(|sequence| it.kept.get(sequence)))
            .filter(|kept| kept.durability == Durability::Journaled)
            .map(|kept| &kept.message)
    }

    /// What became of a message.
    pub(crate) fn find(
        &self,
        queue: QueueId,
        message: Sequence,
        now: Moment,
    ) -> Option<KeptMessage> {
        let it = self.queues.get(&queue)?;
        it.kept.get(&message).filter(|kept| kept.until_ms > now.ms).map(|kept| kept.told(now))
    }

    /// A queue's, from the one behind a place on.
    pub(crate) fn behind(
        &self,
        queue: QueueId,
        behind: Option<Sequence>,
        direction: Direction,
        now: Moment,
    ) -> Box<dyn Iterator<Item = KeptMessage> + '_> {
        let Some(it) = self.queues.get(&queue) else { return Box::new(std::iter::empty()) };
        let told = move |kept: &Kept| (kept.until_ms > now.ms).then(|| kept.told(now));
        match direction {
            Direction::OldestFirst => {
                let first = behind.map_or(Sequence(0), |behind| behind.plus(1));
                Box::new(it.kept.range(first..).filter_map(move |(_, kept)| told(kept)))
            }
            Direction::NewestFirst => {
                let end = behind.unwrap_or(Sequence(u64::MAX));
                Box::new(it.kept.range(..end).rev().filter_map(move |(_, kept)| told(kept)))
            }
        }
    }
}

impl DoneQueue {
    fn first_until_ms(&self) -> Option<u64> {
        self.order.front().and_then(|first| self.kept.get(first)).map(|kept| kept.until_ms)
    }

    /// Forgets the one that was done first; returns its bytes.
    fn drop_first(&mut self) -> u64 {
        let first = self.order.pop_front();
        first.map_or(0, |first| self.remove(first))
    }

    fn remove(&mut self, message: Sequence) -> u64 {
        let bytes = self.kept.remove(&message).map_or(0, |kept| kept.message.cost_bytes());
        self.bytes -= bytes;
        bytes
    }
}

impl Kept {
    fn told(&self, now: Moment) -> KeptMessage {
        let left_ms = self.until_ms.saturating_sub(now.ms);
        let until_wall_ms = now.wall_ms.saturating_add(left_ms);
        KeptMessage { message: Arc::clone(&self.message), until_wall_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::done::{DoneOutcome, LastWords};
    use crate::message_id::MessageId;

    const NOW: Moment = Moment { ms: 1_000, wall_ms: 5_000 };

    fn message(queue: u64, sequence: u64, result_bytes: usize) -> DoneMessage {
        let result = (result_bytes > 0).then(|| "x".repeat(result_bytes).into());
        DoneMessage {
            id: MessageId { queue: QueueId(queue), message: Sequence(sequence) },
            outcome: DoneOutcome::Acknowledged,
            dead_lettered: false,
            attempts: 1,
            published_wall_ms: None,
            done_wall_ms: 0,
            said: LastWords { result, ..LastWords::default() },
        }
    }

    fn done(messages_max: u64, bytes_max: u64) -> Done {
        let mut done = Done::default();
        done.keep(QueueId(1), DoneLimits { ttl_ms: 10, messages_max, bytes_max });
        done
    }

    fn sequences(done: &Done, behind: Option<u64>, direction: Direction) -> Vec<u64> {
        let behind = behind.map(Sequence);
        done.behind(QueueId(1), behind, direction, NOW).map(|it| it.message.id.message.0).collect()
    }

    #[test]
    fn the_oldest_make_room_by_number_and_by_bytes() {
        let mut by_number = done(3, u64::MAX);
        for sequence in [5, 1, 9, 7] {
            by_number.add(message(1, sequence, 0), Durability::Journaled, 2_000);
        }
        assert_eq!(sequences(&by_number, None, Direction::OldestFirst), [1, 7, 9]);
        assert_eq!(sequences(&by_number, Some(1), Direction::OldestFirst), [7, 9]);
        assert_eq!(sequences(&by_number, Some(9), Direction::NewestFirst), [7, 1]);
        let fresh: Vec<u64> =
            by_number.take_fresh()[0].1.iter().map(|it| it.id.message.0).collect();
        assert_eq!(fresh, [1, 9, 7], "what made room is not written");
        assert!(by_number.take_fresh().is_empty());

        let one = message(1, 0, 100).cost_bytes();
        let mut by_bytes = done(u64::MAX, 2 * one);
        for sequence in 0..5 {
            by_bytes.add(message(1, sequence, 100), Durability::InMemory, 2_000);
        }
        assert_eq!(sequences(&by_bytes, None, Direction::OldestFirst), [3, 4]);
        assert_eq!(by_bytes.bytes(), 2 * one);
        assert!(by_bytes.take_fresh().is_empty(), "it goes with the process");
        by_bytes.add(message(1, 9, 1_000), Durability::InMemory, 2_000);
        assert_eq!(by_bytes.totals(QueueId(1)), Some(DoneTotals::default()));
        assert_eq!(by_bytes.bytes(), 0);
    }

    #[test]
    fn the_heaviest_queue_makes_room_for_all() {
        let mut done = done(u64::MAX, u64::MAX);
        done.keep(QueueId(2), DoneLimits { ttl_ms: 10, messages_max: 9, bytes_max: u64::MAX });
        done.add(message(2, 0, 1 << 20), Durability::Journaled, 2_000);
        for sequence in 0..100 {
            done.add(message(1, sequence, 1 << 20), Durability::Journaled, 2_000);
        }
        assert!(done.bytes() <= limits::DONE_BYTES_MAX);
        assert!(done.bytes() > limits::DONE_BYTES_MAX / 2);
        assert!(done.find(QueueId(2), Sequence(0), NOW).is_some());
        let all = sequences(&done, None, Direction::NewestFirst);
        assert_eq!(all[0], 99);
        let total = |queue| done.totals(QueueId(queue)).unwrap().bytes;
        assert_eq!(total(1) + total(2), done.bytes());
    }

    #[test]
    fn they_go_when_their_time_is_over() {
        let mut done = done(9, u64::MAX);
        for (sequence, until_ms) in [(1, 1_100), (2, 1_100), (3, 1_200)] {
            done.add(message(1, sequence, 0), Durability::Journaled, until_ms);
        }
        assert_eq!(done.time(QueueId(1)), Some(1_100));
        assert_eq!(done.time(QueueId(1)), None, "somebody is going to look");
        assert!(done.expire(QueueId(1), 1_100, 1), "more than one turn does");
        assert!(!done.expire(QueueId(1), 1_100, 9));
        assert_eq!(done.time(QueueId(1)), Some(1_200));
        assert_eq!(done.find(QueueId(1), Sequence(3), NOW).unwrap().until_wall_ms, 5_200);
        let late = Moment { ms: 1_200, wall_ms: 9_000 };
        assert!(done.find(QueueId(1), Sequence(3), late).is_none(), "nobody has looked yet");
        assert_eq!(done.clear(QueueId(1)), 1);
        assert_eq!((done.bytes(), done.time(QueueId(1))), (0, None));
    }

    #[test]
    fn what_is_there_again_is_not_done() {
        let mut done = done(9, u64::MAX);
        for sequence in 0..4 {
            done.restore(message(1, sequence, 0), Durability::Journaled, 2_000);
        }
        done.retain(QueueId(1), |sequence| sequence.0 % 2 == 0);
        assert_eq!(sequences(&done, None, Direction::OldestFirst), [0, 2]);
        assert_eq!(done.lasting(QueueId(1)).count(), 2);
        assert!(done.take_fresh().is_empty(), "the journal knows them");
        done.forget_queue(QueueId(1));
        assert!(done.is_unused() && done.bytes() == 0);
    }
}
