//! Who consumes a queue: they take turns, and whoever can take nothing more is left out of the
//! round until it can, so that a turn never searches.

use std::collections::{HashSet, VecDeque};

/// The number of a consumer while the process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConsumerId(pub u64);

/// The consumers of one queue.
#[derive(Debug, Default)]
pub struct Consumers {
    /// Whose turn it is stands in front.
    round: VecDeque<ConsumerId>,
    /// Those without credit or room.
    waiting: HashSet<ConsumerId, foldhash::fast::FixedState>,
    exclusive: Option<ConsumerId>,
    /// Whether there ever was one: an auto-delete queue goes with its last, not before its first.
    used: bool,
}

impl Consumers {
    /// How many.
    pub fn count(&self) -> u32 {
        u32::try_from(self.round.len() + self.waiting.len()).unwrap_or(u32::MAX)
    }

    /// Whether one consumes alone.
    pub fn has_exclusive(&self) -> bool {
        self.exclusive.is_some()
    }

    /// Whether there were consumers and none is left.
    pub fn all_left(&self) -> bool {
        self.used && self.count() == 0
    }

    /// Adds one at the end of the round.
    pub fn add(&mut self, consumer: ConsumerId) {
        self.used = true;
        self.round.push_back(consumer);
    }

    /// Adds one that consumes alone.
    pub fn add_exclusive(&mut self, consumer: ConsumerId) {
        self.add(consumer);
        self.exclusive = Some(consumer);
    }

    /// Removes one.
    pub fn remove(&mut self, consumer: ConsumerId) {
        if !self.waiting.remove(&consumer) {
            self.round.retain(|known| *known != consumer);
        }
        self.exclusive = self.exclusive.filter(|known| *known != consumer);
    }

    /// Whose turn it is.
    pub fn front(&self) -> Option<ConsumerId> {
        self.round.front().copied()
    }

    /// Whether nobody else takes part in the round.
    pub fn front_is_alone(&self) -> bool {
        self.round.len() == 1
    }

    /// The one in front had its turn.
    pub fn turn(&mut self) {
        if self.round.len() > 1 {
            self.round.rotate_left(1);
        }
    }

    /// The one in front can take nothing more for now.
    pub fn wait(&mut self) {
        self.waiting.extend(self.round.pop_front());
    }

    /// A consumer may be able to take something again. Whether it was waiting.
    pub fn resume(&mut self, consumer: ConsumerId) -> bool {
        let waited = self.waiting.remove(&consumer);
        if waited {
            self.round.push_back(consumer);
        }
        waited
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = ConsumerId> {
        self.round.iter().chain(&self.waiting).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_take_turns_and_one_without_credit_is_left_out() {
        let mut consumers = Consumers::default();
        (0..3).for_each(|id| consumers.add(ConsumerId(id)));
        let mut served = Vec::new();
        for turn in 0..7 {
            if turn == 3 {
                consumers.wait();
            }
            served.extend(consumers.front().map(|id| id.0));
            consumers.turn();
        }
        assert_eq!(served, [0, 1, 2, 1, 2, 1, 2]);
        assert!(consumers.resume(ConsumerId(0)));
        assert!(!consumers.resume(ConsumerId(0)));
        assert_eq!(consumers.count(), 3);
        (0..3).for_each(|id| consumers.remove(ConsumerId(id)));
        assert!(consumers.all_left());
    }
}
