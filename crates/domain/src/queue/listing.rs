//! A queue's messages in the order in which they came, ready or leased, for whoever looks at them:
//! from any of them on, without changing anything, and no more than is asked for.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::{Backlog, Queue};
use crate::run::{Direction, Lane, Run, Sequence};

/// What messages of a queue are doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// They could be delivered.
    Ready,
    /// They were, and are not settled.
    Leased,
}

impl Queue {
    /// All messages in order of arrival: those from `at` on or, newest first, those before `at`.
    pub fn listing(
        &self,
        at: Sequence,
        direction: Direction,
    ) -> impl Iterator<Item = (Run, Standing)> {
        let ready: Vec<Lane<'_>> = match &self.backlog {
            Backlog::Plain(plain) => plain.lanes(at, direction).into(),
            Backlog::Levels(levels) => {
                levels.each().flat_map(|ready| ready.lanes(at, direction)).collect()
            }
        };
        let mut lanes: Vec<(Standing, Lane<'_>)> =
            ready.into_iter().map(|lane| (Standing::Ready, lane)).collect();
        lanes.push((Standing::Leased, self.leases.lane(at, direction)));
        Merged::of(lanes, direction).map(move |(run, standing)| match direction {
            Direction::OldestFirst if run.first < at => {
                let (front, rest) = run.split(at.since(run.first));
                (rest.unwrap_or(front), standing)
            }
            Direction::NewestFirst if run.end() > at => {
                (run.split(at.since(run.first)).0, standing)
            }
            Direction::OldestFirst | Direction::NewestFirst => (run, standing),
        })
    }
}

/// Runs of several lanes in one order. No two of them overlap.
struct Merged<'q> {
    lanes: Vec<(Standing, Lane<'q>)>,
    /// The next run of each lane that has one: the greatest comes first.
    heads: BinaryHeap<Head>,
    direction: Direction,
}

/// What a run is sorted by, and the lane and the run.
#[derive(Clone, Copy)]
struct Head {
    rank: Reverse<u64>,
    lane: usize,
    run: Run,
}

impl PartialEq for Head {
    fn eq(&self, other: &Head) -> bool {
        self.rank == other.rank
    }
}

impl Eq for Head {}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Head) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Head {
    fn cmp(&self, other: &Head) -> std::cmp::Ordering {
        self.rank.cmp(&other.rank)
    }
}

impl<'q> Merged<'q> {
    fn of(lanes: Vec<(Standing, Lane<'q>)>, direction: Direction) -> Merged<'q> {
        let heads = BinaryHeap::with_capacity(lanes.len());
        let mut merged = Merged { lanes, heads, direction };
        for lane in 0..merged.lanes.len() {
            merged.refill(lane);
        }
        merged
    }

    fn refill(&mut self, lane: usize) {
        let Some((_, runs)) = self.lanes.get_mut(lane) else { return };
        let Some(run) = runs.next().copied() else { return };
        let rank = match self.direction {
            Direction::OldestFirst => run.first.0,
            Direction::NewestFirst => u64::MAX - run.first.0,
        };
        self.heads.push(Head { rank: Reverse(rank), lane, run });
    }
}

impl Iterator for Merged<'_> {
    type Item = (Run, Standing);

    fn next(&mut self) -> Option<(Run, Standing)> {
        let Head { lane, run, .. } = self.heads.pop()?;
        self.refill(lane);
        let (standing, _) = self.lanes.get(lane)?;
        Some((run, *standing))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::queue::settings::QueueSettings;
    use crate::queue::{Arrival, Bodies, Return, Returned};
    use crate::run::{Deadline, Durability, Place, Span};
    use crate::table::{Table, Value};

    struct Weightless;

    impl Bodies for Weightless {
        fn bytes(&self, _run: &Run) -> u64 {
            0
        }
    }

    fn shown(queue: &Queue, at: u64, direction: Direction) -> Vec<(u64, Standing)> {
        let mut shown = Vec::new();
        for (run, standing) in queue.listing(Sequence(at), direction) {
            let each = (run.first.0..run.end().0).map(|message| (message, standing));
            match direction {
                Direction::OldestFirst => shown.extend(each),
                Direction::NewestFirst => shown.extend(each.rev()),
            }
        }
        shown
    }

    /// Whatever happens to a queue, its listing says where each message is, in order.
    #[test]
    fn agrees_with_a_plain_map() {
        let mut seed = 7u64;
        let mut random = |below: u64| {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        let mut levels = Table::default();
        levels.push("x-max-priority", Value::I32(3));
        for round in 0..200 {
            let arguments = if round % 2 == 0 { Table::default() } else { levels.clone() };
            let mut queue = Queue::new(QueueSettings::of(&arguments));
            let mut model: BTreeMap<u64, Standing> = BTreeMap::new();
            for _ in 0..40 {
                let count = u32::try_from(1 + random(5)).unwrap();
                match random(5) {
                    0 | 1 => {
                        let run = queue.enqueue(
                            &Arrival {
                                place: Place { chunk: 1, index: 0 },
                                count,
                                durability: Durability::Journaled,
                                deadline: match random(3) {
                                    0 => Deadline(random(100)),
                                    _ => Deadline::NEVER,
                                },
                                level: u8::try_from(random(3) * (round % 2)).unwrap(),
                            },
                            &Weightless,
                        );
                        model.extend((run.first.0..run.end().0).map(|it| (it, Standing::Ready)));
                    }
                    2 => {
                        let Some(run) = queue.lease(count, &Weightless) else { continue };
                        model.extend((run.first.0..run.end().0).map(|it| (it, Standing::Leased)));
                    }
                    3 => {
                        let mut wanted = BTreeSet::new();
                        for _ in 0..count {
                            let first = random(60);
                            wanted.extend(first..first + 1 + random(4));
                        }
                        let spans = Span::of(wanted.iter().map(|at| Sequence(*at)));
                        let mut taken = Vec::new();
                        queue.take_out(&spans, &Weightless, &mut taken);
                        let out: u64 = taken.iter().map(|run| u64::from(run.count)).sum();
                        let before = model.len() as u64;
                        model.retain(|it, how| *how == Standing::Leased || !wanted.contains(it));
                        assert_eq!(model.len() as u64 + out, before);
                        let ready = model.values().filter(|how| **how == Standing::Ready);
                        assert_eq!(queue.ready_messages(), ready.count() as u64);
                    }
                    _ => {
                        let first = random(60);
                        let span = (Sequence(first), count);
                        let mut returned = Returned::default();
                        queue.release(span, Return::Released, &Weightless, &mut returned);
                        for (_, standing) in model.range_mut(first..first + u64::from(count)) {
                            *standing = Standing::Ready;
                        }
                    }
                }
                let at = random(70);
                let from: Vec<_> = model.range(at..).map(|(it, how)| (*it, *how)).collect();
                assert_eq!(shown(&queue, at, Direction::OldestFirst), from);
                let before: Vec<_> = model.range(..at).rev().map(|(it, how)| (*it, *how)).collect();
                assert_eq!(shown(&queue, at, Direction::NewestFirst), before);
            }
        }
    }
}
