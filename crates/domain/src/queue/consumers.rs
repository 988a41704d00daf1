//! Who consumes a queue: those of the highest priority take turns, and whoever can take nothing
//! more is left out of the round until it can, so that a turn never searches. In a queue with a
//! single active consumer one has all turns and the others stand by.

use std::cmp::Ordering;
use std::collections::{HashMap, VecDeque};

/// The number of a consumer while the process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConsumerId(pub u64);

/// How many consumers of a queue are served at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activity {
    /// All of them.
    #[default]
    All,
    /// One; of those that stand by, whoever has the highest priority follows it, the first among
    /// equals.
    Single,
}

/// The consumers of one queue.
#[derive(Debug, Default)]
pub struct Consumers {
    /// Those of the highest priority that could take something; whose turn it is stands in front.
    top: Round,
    /// Those of lower ones, the highest first. No round is empty, and there are none below an empty
    /// top.
    lower: Vec<Round>,
    /// Those without credit or room.
    waiting: HashMap<ConsumerId, i32, foldhash::fast::FixedState>,
    exclusive: Option<ConsumerId>,
    /// Whether there ever was one: an auto-delete queue goes with its last, not before its first.
    used: bool,
    activity: Activity,
    /// Those that stand by, in the order in which they came.
    standby: VecDeque<(ConsumerId, i32)>,
}

/// Consumers of one priority.
#[derive(Debug, Default)]
struct Round {
    priority: i32,
    /// Whose turn it is stands in front.
    members: VecDeque<ConsumerId>,
}

impl Consumers {
    /// Nobody yet.
    pub fn new(activity: Activity) -> Consumers {
        Consumers { activity, ..Consumers::default() }
    }

    /// How many.
    pub fn count(&self) -> u32 {
        let lower: usize = self.lower.iter().map(|round| round.members.len()).sum();
        let all = self.top.members.len() + lower + self.waiting.len() + self.standby.len();
        u32::try_from(all).unwrap_or(u32::MAX)
    }

    /// Whether one consumes alone.
    pub fn has_exclusive(&self) -> bool {
        self.exclusive.is_some()
    }

    /// The one that consumes alone, of its own will.
    pub fn exclusive(&self) -> Option<ConsumerId> {
        self.exclusive
    }

    /// How many could take something.
    pub fn count_with_room(&self) -> u32 {
        let lower: usize = self.lower.iter().map(|round| round.members.len()).sum();
        u32::try_from(self.top.members.len() + lower).unwrap_or(u32::MAX)
    }

    /// The one that is served, where only one is.
    pub fn single_active(&self) -> Option<ConsumerId> {
        let active = self.front().or_else(|| self.waiting.keys().next().copied());
        active.filter(|_| self.activity == Activity::Single)
    }

    /// Whether it is served: false while it stands by.
    pub fn is_active(&self, consumer: ConsumerId) -> bool {
        !self.standby.iter().any(|(known, _)| *known == consumer)
    }

    /// Whether there were consumers and none is left.
    pub fn all_left(&self) -> bool {
        self.used && self.count() == 0
    }

    /// Adds one at the end of its priority's round, or to those that stand by.
    pub fn add(&mut self, consumer: ConsumerId, priority: i32) {
        self.used = true;
        let taken = !self.top.members.is_empty() || !self.waiting.is_empty();
        if self.activity != Activity::All && taken {
            self.standby.push_back((consumer, priority));
        } else {
            self.join(consumer, priority);
        }
    }

    /// Adds one that consumes alone.
    pub fn add_exclusive(&mut self, consumer: ConsumerId, priority: i32) {
        self.add(consumer, priority);
        self.exclusive = Some(consumer);
    }

    fn join(&mut self, consumer: ConsumerId, priority: i32) {
        if self.top.members.is_empty() {
            self.top.priority = priority;
        }
        let alone = || Round { priority, members: VecDeque::from([consumer]) };
        match priority.cmp(&self.top.priority) {
            Ordering::Greater => {
                let top = std::mem::replace(&mut self.top, alone());
                self.lower.insert(0, top);
            }
            Ordering::Equal => self.top.members.push_back(consumer),
            Ordering::Less => {
                match self.lower.binary_search_by(|round| priority.cmp(&round.priority)) {
                    Ok(at) => self.lower[at].members.push_back(consumer),
                    Err(at) => self.lower.insert(at, alone()),
                }
            }
        }
    }

    /// If the top has become empty, the next round is the top.
    fn rise(&mut self) {
        if self.top.members.is_empty() && !self.lower.is_empty() {
            self.top = self.lower.remove(0);
        }
    }

    /// Removes one; if it was the single active one, another takes its place.
    pub fn remove(&mut self, consumer: ConsumerId) {
        self.exclusive = self.exclusive.filter(|known| *known != consumer);
        if self.waiting.remove(&consumer).is_none() {
            self.top.members.retain(|known| *known != consumer);
            for round in &mut self.lower {
                round.members.retain(|known| *known != consumer);
            }
            self.lower.retain(|round| !round.members.is_empty());
            self.rise();
            self.standby.retain(|(known, _)| *known != consumer);
        }
        if self.top.members.is_empty() && self.waiting.is_empty() {
            self.promote();
        }
    }

    fn promote(&mut self) {
        let highest = self.standby.iter().map(|(_, priority)| *priority).max();
        let at = self.standby.iter().position(|(_, priority)| Some(*priority) == highest);
        if let Some((consumer, priority)) = at.and_then(|at| self.standby.remove(at)) {
            self.join(consumer, priority);
        }
    }

    /// Whose turn it is.
    pub fn front(&self) -> Option<ConsumerId> {
        self.top.members.front().copied()
    }

    /// Whether nobody else takes part in the round.
    pub fn front_is_alone(&self) -> bool {
        self.top.members.len() == 1
    }

    /// The one in front had its turn.
    pub fn turn(&mut self) {
        if self.top.members.len() > 1 {
            self.top.members.rotate_left(1);
        }
    }

    /// The one in front can take nothing more for now.
    pub fn wait(&mut self) {
        if let Some(consumer) = self.top.members.pop_front() {
            self.waiting.insert(consumer, self.top.priority);
            self.rise();
        }
    }

    /// A consumer may be able to take something again. Whether it was waiting.
    pub fn resume(&mut self, consumer: ConsumerId) -> bool {
        match self.waiting.remove(&consumer) {
            Some(priority) => {
                self.join(consumer, priority);
                true
            }
            None => false,
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = ConsumerId> {
        let lower = self.lower.iter().flat_map(|round| &round.members);
        (self.top.members.iter().chain(lower).copied())
            .chain(self.waiting.keys().copied())
            .chain(self.standby.iter().map(|(consumer, _)| *consumer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `+N:P` a consumer comes with a priority, `-N` goes, `.` has a turn, `w` waits, `rN` resumes;
    /// says whose turn it was, `_` if nobody's.
    fn check(activity: Activity, script: &str, expected: &str) {
        let mut consumers = Consumers::new(activity);
        let mut served = String::new();
        for command in script.split(' ') {
            let id = |text: &str| ConsumerId(text.parse().unwrap());
            match command.split_at(1) {
                ("+", rest) => {
                    let (name, priority) = rest.split_once(':').unwrap_or((rest, "0"));
                    consumers.add(id(name), priority.parse().unwrap());
                }
                ("-", rest) => consumers.remove(id(rest)),
                ("r", rest) => assert!(consumers.resume(id(rest)), "{rest} waited"),
                ("w", _) => consumers.wait(),
                _turn => {
                    let front = consumers.front().map(|id| id.0.to_string());
                    served.push_str(&front.unwrap_or("_".to_owned()));
                    consumers.turn();
                }
            }
        }
        assert_eq!(served, expected, "{activity:?} {script}");
        let all: Vec<ConsumerId> = consumers.iter().collect();
        assert_eq!(all.len(), consumers.count() as usize);
        for id in all {
            consumers.remove(id);
        }
        assert!(consumers.all_left());
    }

    #[test]
    fn they_take_turns_and_one_without_credit_is_left_out() {
        check(Activity::All, "+0 +1 +2 . . . w . . . .", "0121212");
        check(Activity::All, "+0 +1 w . . r0 . . .", "11101");
    }

    #[test]
    fn a_higher_priority_comes_first_while_it_can_take_something() {
        check(Activity::All, "+0 +1:5 +2:-1 +3:5 . . . w w . w . w . r1 .", "13102_1");
        check(Activity::All, "+0 +1:2 . w . r1 . -1 .", "1010");
    }

    #[test]
    fn a_single_active_consumer_is_followed_by_the_next() {
        check(Activity::Single, "+0 +1 +2 . . w . r0 . -0 . -1 . -2 .", "00_012_");
        check(Activity::Single, "+0 +1:1 +2:9 +3:9 . -0 . -2 . -3 .", "0231");
        check(Activity::Single, "+0 +1 -1 . -0 .", "0_");
    }
}
