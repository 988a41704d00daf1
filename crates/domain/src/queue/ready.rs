//! What a queue could deliver: new messages in order of arrival, and among them those that came
//! back, each at its original place. Knows which of them goes unread next.

use std::collections::{BTreeSet, VecDeque};

use stdx::fault::{Fault, planted};

use crate::run::{Deadline, Run, Runs, Sequence};

/// Ready messages, oldest first.
#[derive(Debug, Default)]
pub struct Ready {
    /// Never delivered, in order; the deadlines never decrease from front to back, so that the
    /// front goes unread first. Nearly everything is here.
    fresh: VecDeque<Run>,
    fresh_messages: u64,
    /// Returned, or due before something in front of it; may lie before or between the fresh ones.
    scattered: Runs,
    /// Where among the scattered those with a deadline begin.
    deadlines: BTreeSet<(Deadline, Sequence)>,
}

impl Ready {
    pub(crate) fn messages(&self) -> u64 {
        self.fresh_messages + self.scattered.messages()
    }

    /// The oldest message.
    pub(crate) fn first(&self) -> Option<Sequence> {
        let fresh = self.fresh.front().map(|run| run.first);
        let scattered = self.scattered.first().map(|run| run.first);
        fresh.into_iter().chain(scattered).min()
    }

    /// When the next message goes unread.
    pub(crate) fn next_deadline(&self) -> Deadline {
        let fresh = self.fresh.front().map_or(Deadline::NEVER, |run| run.label.deadline);
        let scattered = self.deadlines.first().map_or(Deadline::NEVER, |(deadline, _)| *deadline);
        fresh.min(scattered)
    }

    /// Adds a run behind everything that ever came in.
    pub(crate) fn push(&mut self, run: Run) {
        if let Some(last) = self.fresh.back_mut() {
            if last.continues_with(&run) {
                self.fresh_messages += u64::from(run.count);
                last.count += run.count;
                return;
            }
            if run.label.deadline < last.label.deadline {
                return self.scatter(run);
            }
        }
        self.fresh_messages += u64::from(run.count);
        self.fresh.push_back(run);
    }

    /// Takes a returned run in, at its original place.
    pub(crate) fn put_back(&mut self, run: Run) {
        if planted(Fault::RequeueToTail) {
            self.fresh_messages += u64::from(run.count);
            self.fresh.push_back(run);
            return;
        }
        self.scatter(run);
    }

    fn scatter(&mut self, run: Run) {
        if run.label.deadline == Deadline::NEVER {
            self.scattered.insert(run);
        } else {
            self.deadlines.insert((run.label.deadline, run.first));
            self.scattered.insert_apart(run);
        }
    }

    /// Takes up to `count` neighbouring messages off the front.
    pub(crate) fn take(&mut self, count: u32) -> Option<Run> {
        let scattered = self.scattered.first().map(|run| run.first);
        let fresh = self.fresh.front().map(|run| run.first);
        match (scattered, fresh) {
            (Some(scattered), Some(fresh)) if fresh < scattered => {
                // Fresh ones before a scattered one: not past it.
                let before = u32::try_from(scattered.0 - fresh.0).unwrap_or(u32::MAX);
                self.take_fresh(count.min(before))
            }
            (Some(scattered), _) => self.take_scattered(scattered, count),
            (None, Some(_)) => self.take_fresh(count),
            (None, None) => None,
        }
    }

    /// Takes up to `count` messages that are over at `now`, as many as lie side by side.
    pub(crate) fn take_due(&mut self, now: u64, count: u32) -> Option<Run> {
        if let Some((deadline, first)) = self.deadlines.first().copied()
            && deadline.is_over(now)
        {
            return self.take_scattered(first, count);
        }
        let due = self.fresh.front().is_some_and(|run| run.label.deadline.is_over(now));
        if due { self.take_fresh(count) } else { None }
    }

    fn take_fresh(&mut self, count: u32) -> Option<Run> {
        let run = self.fresh.front_mut()?;
        let (front, rest) = run.split(count);
        match rest {
            Some(rest) => *run = rest,
            None => {
                self.fresh.pop_front();
            }
        }
        self.fresh_messages -= u64::from(front.count);
        Some(front)
    }

    fn take_scattered(&mut self, first: Sequence, count: u32) -> Option<Run> {
        let whole = self.scattered.at(first)?;
        let run = self.scattered.take_at(first, count)?;
        let deadline = run.label.deadline;
        if deadline != Deadline::NEVER {
            self.deadlines.remove(&(deadline, first));
            if run.count < whole {
                self.deadlines.insert((deadline, run.end()));
            }
        }
        Some(run)
    }

    /// Moves everything to `gone`.
    pub(crate) fn drain(&mut self, gone: &mut Vec<Run>) {
        self.fresh_messages = 0;
        self.deadlines.clear();
        gone.extend(self.scattered.drain());
        gone.extend(self.fresh.drain(..));
    }
}
