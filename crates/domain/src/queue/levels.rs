//! The ready messages of a queue with priorities: a sub-queue for each level, the highest first.
//!
//! In a queue that cycles nothing starves: what waits when a cycle begins is overtaken by at most
//! [`OVERTAKERS_MAX`] later messages of higher priority before it is delivered. (RabbitMQ's
//! documentation promises cycles for classic queues; its releases up to 4.2 are strict. Within
//! this bound a client sees both.)

use std::collections::BTreeMap;

use super::ready::Ready;
use crate::run::{Deadline, Move, Run, Sequence, Span};

/// How many messages that came during a cycle may be delivered before one that it began with.
pub const OVERTAKERS_MAX: u32 = 16;

/// Whether low levels may wait for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fairness {
    /// The highest level first, always.
    Strict,
    /// In cycles.
    Cycles,
}

/// Whose turn it is, and for how long.
struct Turn {
    level: u8,
    count_max: u32,
    cycle: Cycle,
}

/// What a turn means to the cycle it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cycle {
    GoesOn,
    Begins,
    /// By messages that came after it began.
    Overtaken,
}

/// Ready messages by level.
#[derive(Debug)]
pub(crate) struct Levels {
    /// Those with messages.
    by_level: BTreeMap<u8, Ready>,
    messages: u64,
    fairness: Fairness,
    /// What came before it belongs to the present cycle.
    cycle_end: Sequence,
    /// Messages delivered that came after it.
    overtakers: u32,
}

impl Levels {
    pub(crate) fn new(fairness: Fairness) -> Levels {
        Levels {
            by_level: BTreeMap::new(),
            messages: 0,
            fairness,
            cycle_end: Sequence(0),
            overtakers: 0,
        }
    }

    pub(crate) fn messages(&self) -> u64 {
        self.messages
    }

    pub(crate) fn next_deadline(&self) -> Deadline {
        self.by_level.values().map(Ready::next_deadline).min().unwrap_or(Deadline::NEVER)
    }

    pub(crate) fn push(&mut self, run: Run) {
        self.messages += u64::from(run.count);
        self.by_level.entry(run.label.level).or_default().push(run);
    }

    pub(crate) fn put_back(&mut self, run: Run) {
        self.messages += u64::from(run.count);
        self.by_level.entry(run.label.level).or_default().put_back(run);
    }

    /// What [`Levels::take`] would cut from.
    pub(crate) fn front(&self, next: Sequence) -> Option<Run> {
        let turn = self.turn(next)?;
        let run = self.by_level.get(&turn.level)?.front()?;
        Some(run.split(turn.count_max).0)
    }

    /// Takes up to `count` neighbouring messages, the next to be delivered; `next` is the sequence
    /// that the next message will get.
    pub(crate) fn take(&mut self, count: u32, next: Sequence) -> Option<Run> {
        let turn = self.turn(next)?;
        if turn.cycle == Cycle::Begins {
            self.cycle_end = next;
            self.overtakers = 0;
        }
        let run = self.by_level.get_mut(&turn.level)?.take(count.min(turn.count_max));
        if turn.cycle == Cycle::Overtaken {
            self.overtakers += run.map_or(0, |run| run.count);
        }
        self.taken(turn.level, run)
    }

    /// Whose turn it is.
    fn turn(&self, next: Sequence) -> Option<Turn> {
        let (&top, ready) = self.by_level.last_key_value()?;
        let alone = Turn { level: top, count_max: u32::MAX, cycle: Cycle::GoesOn };
        if self.fairness == Fairness::Strict {
            return Some(alone);
        }
        let top_first = ready.first()?;
        let goes_on = self.by_level.values().any(|ready| ready.first() < Some(self.cycle_end));
        let (cycle, cycle_end, overtakers) = if goes_on {
            (Cycle::GoesOn, self.cycle_end, self.overtakers)
        } else {
            (Cycle::Begins, next, 0)
        };
        if self.by_level.len() == 1 {
            return Some(Turn { cycle, ..alone });
        }
        if top_first < cycle_end {
            return Some(Turn { count_max: distance(top_first, cycle_end), cycle, ..alone });
        }
        let may = OVERTAKERS_MAX.saturating_sub(overtakers);
        if may > 0 {
            return Some(Turn { count_max: may, cycle: Cycle::Overtaken, ..alone });
        }
        let waiting = self.by_level.iter().rev().find_map(|(level, ready)| {
            ready.first().filter(|first| *first < cycle_end).map(|first| (*level, first))
        });
        let (level, first) = waiting?;
        Some(Turn { level, count_max: distance(first, cycle_end), cycle })
    }

    /// What [`Levels::take_due`] would cut from.
    pub(crate) fn front_due(&self, now: u64) -> Option<Run> {
        let due = |ready: &&Ready| ready.next_deadline().is_over(now);
        self.by_level.values().find(due)?.front_due(now)
    }

    /// Takes up to `count` messages that are over at `now`.
    pub(crate) fn take_due(&mut self, now: u64, count: u32) -> Option<Run> {
        let (&level, ready) =
            self.by_level.iter_mut().find(|(_, ready)| ready.next_deadline().is_over(now))?;
        let run = ready.take_due(now, count);
        self.taken(level, run)
    }

    /// The ready messages of each level.
    pub(crate) fn each(&self) -> impl Iterator<Item = &Ready> {
        self.by_level.values()
    }

    pub(crate) fn relocate(&mut self, moves: &[Move], old: &mut Vec<Run>) {
        for ready in self.by_level.values_mut() {
            ready.relocate(moves, old);
        }
    }

    /// Takes out what there is of the `count` messages from `first` on.
    pub(crate) fn take_out(&mut self, spans: &[Span], taken: &mut Vec<Run>) {
        let before = taken.len();
        for ready in self.by_level.values_mut() {
            ready.take_out(spans, taken);
        }
        let out = taken.get(before..).unwrap_or_default();
        self.messages -= out.iter().map(|run| u64::from(run.count)).sum::<u64>();
        self.by_level.retain(|_, ready| ready.messages() > 0);
    }

    fn taken(&mut self, level: u8, run: Option<Run>) -> Option<Run> {
        self.messages -= run.map_or(0, |run| u64::from(run.count));
        if self.by_level.get(&level).is_some_and(|ready| ready.messages() == 0) {
            self.by_level.remove(&level);
        }
        run
    }

    pub(crate) fn drain(&mut self, gone: &mut Vec<Run>) {
        self.messages = 0;
        for ready in std::mem::take(&mut self.by_level).values_mut() {
            ready.drain(gone);
        }
    }
}

fn distance(first: Sequence, end: Sequence) -> u32 {
    u32::try_from(end.0.saturating_sub(first.0)).unwrap_or(u32::MAX).max(1)
}
