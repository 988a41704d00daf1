//! What a queue could deliver: new messages in order of arrival, and among them those that came
//! back, each at its original place. Knows which of them goes unread next.

use std::collections::{BTreeSet, VecDeque};

use stdx::fault::{Fault, planted};

use crate::run::{Deadline, Direction, Lane, Move, Relocation, Run, Runs, Sequence, Span};

/// How many runs there may be room for without need.
const SPARE_RUNS: usize = 256;

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

    /// Whether this message is there.
    pub(crate) fn has(&self, message: Sequence) -> bool {
        let behind = self.fresh.partition_point(|run| run.end() <= message);
        let fresh = self.fresh.get(behind).is_some_and(|run| run.first <= message);
        fresh || self.scattered.has(message)
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

    /// What [`Ready::take`] would cut from.
    pub(crate) fn front(&self) -> Option<Run> {
        match (self.scattered.first().copied(), self.fresh.front().copied()) {
            (Some(scattered), Some(fresh)) if fresh.first < scattered.first => {
                // Fresh ones before a scattered one: not past it.
                Some(fresh.split(scattered.first.since(fresh.first)).0)
            }
            (scattered, fresh) => scattered.or(fresh),
        }
    }

    /// Takes up to `count` neighbouring messages off the front.
    pub(crate) fn take(&mut self, count: u32) -> Option<Run> {
        let front = self.front()?;
        if self.scattered.first().is_some_and(|run| run.first == front.first) {
            return self.take_scattered(front.first, count);
        }
        self.take_fresh(count.min(front.count))
    }

    /// What [`Ready::take_due`] would cut from.
    pub(crate) fn front_due(&self, now: u64) -> Option<Run> {
        if let Some(first) = self.scattered_due(now) {
            return self.scattered.at(first);
        }
        self.fresh.front().filter(|run| run.label.deadline.is_over(now)).copied()
    }

    /// Takes up to `count` messages that are over at `now`, as many as lie side by side.
    pub(crate) fn take_due(&mut self, now: u64, count: u32) -> Option<Run> {
        if let Some(first) = self.scattered_due(now) {
            return self.take_scattered(first, count);
        }
        let due = self.fresh.front().is_some_and(|run| run.label.deadline.is_over(now));
        if due { self.take_fresh(count) } else { None }
    }

    fn scattered_due(&self, now: u64) -> Option<Sequence> {
        let (deadline, first) = self.deadlines.first()?;
        deadline.is_over(now).then_some(*first)
    }

    /// Takes out what there is of these spans, which are in order and apart; the pieces go to `taken`.
    pub(crate) fn take_out(&mut self, spans: &[Span], taken: &mut Vec<Run>) {
        for span in spans {
            let (first, end) = (span.first, span.end());
            for run in self.scattered.within(first, end) {
                if self.take_scattered(run.first, run.count).is_none() {
                    continue;
                }
                let [before, inside, behind] = run.cut(first, end);
                taken.extend(inside);
                for rest in [before, behind].into_iter().flatten() {
                    self.scatter(rest);
                }
            }
        }
        self.take_out_fresh(spans, taken);
    }

    /// Everything between the first and the last span is gone through once, and of the rest only the
    /// shorter side is moved, and once, however many the spans are.
    fn take_out_fresh(&mut self, spans: &[Span], taken: &mut Vec<Run>) {
        let (Some(front), Some(back)) = (spans.first(), spans.last()) else { return };
        let begin = self.fresh.partition_point(|run| run.end() <= front.first);
        let beyond = self.fresh.partition_point(|run| run.first < back.end());
        if begin >= beyond {
            return;
        }
        let mut left = Vec::new();
        let mut spans = spans.iter().peekable();
        for run in self.fresh.drain(begin..beyond) {
            let mut rest = Some(run);
            while let (Some(run), Some(span)) = (rest, spans.peek()) {
                let [before, inside, behind] = run.cut(span.first, span.end());
                self.fresh_messages -= inside.map_or(0, |inside| u64::from(inside.count));
                taken.extend(inside);
                left.extend(before);
                rest = behind;
                // What is left of the run, or the next one, lies behind the span.
                if run.end() < span.end() {
                    break;
                }
                spans.next();
            }
            left.extend(rest);
        }
        if begin < self.fresh.len() / 2 {
            let front: Vec<Run> = self.fresh.drain(..begin).collect();
            for run in front.into_iter().chain(left).rev() {
                self.fresh.push_front(run);
            }
        } else {
            let behind: Vec<Run> = self.fresh.drain(begin..).collect();
            self.fresh.extend(left.into_iter().chain(behind));
        }
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
        let whole = self.scattered.at(first)?.count;
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

    /// The fresh runs, in order.
    pub(crate) fn fresh(&self) -> impl Iterator<Item = &Run> {
        self.fresh.iter()
    }

    /// How many fresh runs there is room for.
    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        self.fresh.capacity()
    }

    /// The scattered runs, in order.
    pub(crate) fn scattered(&self) -> impl Iterator<Item = &Run> {
        self.scattered.iter()
    }

    /// The runs of which some messages are from `at` on or, newest first, before it: the fresh ones
    /// and the scattered ones.
    pub(crate) fn lanes(&self, at: Sequence, direction: Direction) -> [Lane<'_>; 2] {
        let fresh: Lane<'_> = match direction {
            Direction::OldestFirst => {
                let begin = self.fresh.partition_point(|run| run.end() <= at);
                Box::new(self.fresh.range(begin..))
            }
            Direction::NewestFirst => {
                let end = self.fresh.partition_point(|run| run.first < at);
                Box::new(self.fresh.range(..end).rev())
            }
        };
        [fresh, self.scattered.lane(at, direction)]
    }

    /// Keeps at their new places what is here of what was moved.
    pub(crate) fn relocate(&mut self, moves: &[Move], old: &mut Vec<Run>) {
        for run in self.scattered.touched(moves) {
            self.scattered.take_at(run.first, run.count);
            let mut relocation = Relocation::new(moves, old);
            relocation.apply(run);
            // A run with a deadline that fell into pieces: each is found under its own.
            for piece in relocation.into_runs() {
                self.scatter(piece);
            }
        }
        self.relocate_fresh(moves, old);
    }

    /// What lies behind the last that was moved is not looked at, however long it is.
    fn relocate_fresh(&mut self, moves: &[Move], old: &mut Vec<Run>) {
        let (Some(front), Some(back)) = (moves.first(), moves.last()) else { return };
        let begin = self.fresh.partition_point(|run| run.end() <= front.first);
        let end = self.fresh.partition_point(|run| run.first < back.end());
        if begin >= end {
            return;
        }
        let mut relocation = Relocation::new(moves, old);
        for run in self.fresh.drain(..end) {
            relocation.apply(run);
        }
        let mut runs = relocation.into_runs();
        if let (Some(last), Some(next)) = (runs.last(), self.fresh.front_mut())
            && last.continues_with(next)
        {
            *next = Run { count: last.count + next.count, ..*last };
            runs.pop();
        }
        for run in runs.into_iter().rev() {
            self.fresh.push_front(run);
        }
        let used = self.fresh.len().max(SPARE_RUNS);
        if self.fresh.capacity() / 4 >= used {
            self.fresh.shrink_to(used);
        }
    }

    /// Moves everything to `gone`.
    pub(crate) fn drain(&mut self, gone: &mut Vec<Run>) {
        self.fresh_messages = 0;
        self.deadlines.clear();
        gone.extend(self.scattered.drain());
        gone.extend(self.fresh.drain(..));
    }
}
