//! A run: messages of one queue side by side, both in the queue and where they are kept. A long
//! queue is a few runs, not many entries; runs split when their messages part ways.

mod relocation;

mod direction;

use std::collections::BTreeMap;

pub use direction::Direction;
pub(crate) use direction::Lane;
pub use relocation::Move;
pub(crate) use relocation::Relocation;

/// A message's place in its queue: given at enqueue, growing, never given twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sequence(pub u64);

impl Sequence {
    /// The sequence `count` places on.
    #[must_use]
    pub fn plus(self, count: u32) -> Sequence {
        Sequence(self.0 + u64::from(count))
    }

    /// How many places `earlier` is before this one.
    pub(crate) fn since(self, earlier: Sequence) -> u32 {
        u32::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(u32::MAX)
    }
}

/// Where a message is kept. What the numbers mean is the keeper's business; neighbours have
/// neighbouring indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which chunk.
    pub chunk: u32,
    /// Which message of the chunk.
    pub index: u32,
}

/// Whether losing the message at a crash is forbidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// It is journaled, and so must its settlement be.
    Journaled,
    /// It goes with the process.
    InMemory,
}

/// Whether a message may have been delivered before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redelivery {
    /// Never.
    First,
    /// Perhaps.
    Repeated,
}

/// When a message is to go unread: milliseconds on the owner's clock, which never steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Deadline(pub u64);

impl Deadline {
    /// It waits for ever.
    pub const NEVER: Deadline = Deadline(u64::MAX);

    /// Whether it is over at `now`, in milliseconds.
    pub fn is_over(self, now: u64) -> bool {
        self.0 <= now
    }
}

/// How often a message came back; kept by queues that limit it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Deliveries that failed (RabbitMQ's `x-delivery-count`).
    pub failures: u32,
    /// Deliveries that ended other than by an acknowledgement (RabbitMQ's `x-acquired-count`).
    pub acquisitions: u32,
}

impl Counts {
    /// The counts of a message that came back to a queue that counts.
    pub fn if_any(self) -> Option<Counts> {
        Some(self).filter(|counts| counts.acquisitions > 0)
    }
}

/// What is true of all messages of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// Whether it must survive a crash.
    pub durability: Durability,
    /// Whether it may have been delivered before.
    pub redelivery: Redelivery,
    /// Its level in a queue of priorities; 0 elsewhere.
    pub level: u8,
    /// When it goes unread.
    pub deadline: Deadline,
    /// How often it came back.
    pub counts: Counts,
}

impl Label {
    /// A new message without a deadline or a level.
    pub fn plain(durability: Durability) -> Label {
        Label {
            durability,
            redelivery: Redelivery::First,
            level: 0,
            deadline: Deadline::NEVER,
            counts: Counts::default(),
        }
    }

    /// The same, marked as delivered before.
    #[must_use]
    pub fn repeated(self) -> Label {
        Label { redelivery: Redelivery::Repeated, ..self }
    }

    /// How many deliveries a message has had that is leased; at least so many where the queue does not
    /// count them.
    pub fn attempts(&self) -> u32 {
        let before = self.counts.acquisitions.max(match self.redelivery {
            Redelivery::First => 0,
            Redelivery::Repeated => 1,
        });
        before.saturating_add(1)
    }
}

/// Messages with consecutive sequences, wherever they are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first message's sequence.
    pub first: Sequence,
    /// How many; at least 1.
    pub count: u32,
}

impl Span {
    /// The sequence after the last message.
    pub fn end(&self) -> Sequence {
        self.first.plus(self.count)
    }

    /// These messages, which are in order and each of them once.
    pub fn of(messages: impl IntoIterator<Item = Sequence>) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        for message in messages {
            match spans.last_mut() {
                Some(last) if last.end() == message => last.count += 1,
                _apart => spans.push(Span { first: message, count: 1 }),
            }
        }
        spans
    }
}

/// Messages with consecutive sequences and consecutive places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The first message's sequence.
    pub first: Sequence,
    /// How many; at least 1.
    pub count: u32,
    /// The first message's place.
    pub place: Place,
    /// Of all of them.
    pub label: Label,
}

impl Run {
    /// The sequence after the last message.
    pub fn end(&self) -> Sequence {
        self.first.plus(self.count)
    }

    /// Cuts off the first `count` messages (at most all but none: `1..=self.count`), leaving the rest.
    ///
    /// Returns the front and what is left, if anything.
    #[must_use]
    pub fn split(self, count: u32) -> (Run, Option<Run>) {
        if count >= self.count {
            return (self, None);
        }
        let rest = Run {
            first: self.first.plus(count),
            count: self.count - count,
            place: Place { index: self.place.index + count, ..self.place },
            ..self
        };
        (Run { count, ..self }, Some(rest))
    }

    /// The parts before `first`, from there to before `end`, and from `end` on; those there are.
    pub(crate) fn cut(self, first: Sequence, end: Sequence) -> [Option<Run>; 3] {
        let (before, rest) = match self {
            run if run.first >= first => (None, Some(run)),
            run if run.end() <= first => (Some(run), None),
            run => {
                let (before, rest) = run.split(first.since(run.first));
                (Some(before), rest)
            }
        };
        let (inside, behind) = match rest {
            Some(run) if run.first >= end => (None, Some(run)),
            Some(run) => {
                let (inside, behind) = run.split(end.since(run.first));
                (Some(inside), behind)
            }
            None => (None, None),
        };
        [before, inside, behind]
    }

    /// Whether `next` continues this run in every respect.
    pub fn continues_with(&self, next: &Run) -> bool {
        next.first == self.end()
            && next.place.chunk == self.place.chunk
            && next.place.index == self.place.index + self.count
            && next.label == self.label
    }
}

/// Runs in order of sequence, without overlap, from whose middle messages can be taken.
#[derive(Clone, Debug, Default)]
pub struct Runs {
    by_first: BTreeMap<Sequence, Run>,
    messages: u64,
}

impl Runs {
    /// How many messages.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_first.is_empty()
    }

    /// The run in front.
    pub fn first(&self) -> Option<&Run> {
        self.by_first.values().next()
    }

    /// All runs in order.
    pub fn iter(&self) -> impl Iterator<Item = &Run> {
        self.by_first.values()
    }

    /// Adds a run whose sequences are not there yet; joins it to a neighbour that it continues.
    pub fn insert(&mut self, run: Run) {
        self.messages += u64::from(run.count);
        if let Some((_, before)) = self.by_first.range_mut(..run.first).next_back()
            && before.continues_with(&run)
        {
            before.count += run.count;
            return;
        }
        self.by_first.insert(run.first, run);
    }

    /// Adds a run as [`Runs::insert`] does, but keeps it apart from its neighbours, so that it is
    /// found under its own first sequence.
    pub(crate) fn insert_apart(&mut self, run: Run) {
        self.messages += u64::from(run.count);
        self.by_first.insert(run.first, run);
    }

    /// The runs of which some messages are among those moved.
    pub(crate) fn touched(&self, moves: &[Move]) -> Vec<Run> {
        let mut touched: Vec<Run> = Vec::new();
        let mut moves = moves;
        // Each looks for the other, so that neither many runs nor many moves cost much.
        while let Some(next) = moves.first() {
            let seen = touched.last().map_or(Sequence(0), Run::end);
            let Some(run) = self.reaching_past(next.first.max(seen)) else { break };
            let before = moves.partition_point(|next| next.end() <= run.first);
            moves = &moves[before..];
            if before == 0 {
                touched.push(*run);
                let inside = moves.partition_point(|next| next.end() <= run.end());
                moves = &moves[inside..];
            }
        }
        touched
    }

    /// The runs of which some messages are from `at` on or, newest first, before it.
    pub(crate) fn lane(&self, at: Sequence, direction: Direction) -> Lane<'_> {
        match direction {
            Direction::OldestFirst => {
                let begin = self.reaching_past(at).map_or(at, |run| run.first);
                Box::new(self.by_first.range(begin..).map(|(_, run)| run))
            }
            Direction::NewestFirst => Box::new(self.by_first.range(..at).rev().map(|(_, run)| run)),
        }
    }

    /// The runs of which some messages are from `first` on and before `end`.
    pub(crate) fn within(&self, first: Sequence, end: Sequence) -> Vec<Run> {
        let lane = self.lane(first, Direction::OldestFirst);
        lane.take_while(|run| run.first < end).copied().collect()
    }

    /// The first run that ends behind the message `at`.
    fn reaching_past(&self, at: Sequence) -> Option<&Run> {
        let before = self.by_first.range(..=at).next_back().map(|(_, run)| run);
        let after = || self.by_first.range(at..).next().map(|(_, run)| run);
        before.filter(|run| run.end() > at).or_else(after)
    }

    /// Whether the message `at` is there.
    pub fn has(&self, at: Sequence) -> bool {
        let before = self.by_first.range(..=at).next_back();
        before.is_some_and(|(_, run)| run.end() > at)
    }

    /// The run that begins at `first`.
    pub(crate) fn at(&self, first: Sequence) -> Option<Run> {
        self.by_first.get(&first).copied()
    }

    /// Takes up to `count` messages off the front of the run that begins at `first`.
    pub(crate) fn take_at(&mut self, first: Sequence, count: u32) -> Option<Run> {
        let (front, rest) = self.by_first.remove(&first)?.split(count);
        self.by_first.extend(rest.map(|rest| (rest.first, rest)));
        self.messages -= u64::from(front.count);
        Some(front)
    }

    /// Takes up to `count` messages off the front, out of one run.
    pub fn pop(&mut self, count: u32) -> Option<Run> {
        let entry = self.by_first.first_entry()?;
        if entry.get().count > count {
            let (front, rest) = entry.get().split(count);
            // The key moves with the front; a map can't rename a key.
            entry.remove();
            self.by_first.extend(rest.map(|rest| (rest.first, rest)));
            self.messages -= u64::from(front.count);
            return Some(front);
        }
        let run = entry.remove();
        self.messages -= u64::from(run.count);
        Some(run)
    }

    /// Takes out what there is of the `count` sequences from `first` on; the pieces go to `taken`
    /// in order.
    pub fn remove(&mut self, first: Sequence, count: u32, taken: &mut Vec<Run>) {
        let end = first.plus(count);
        if let Some((_, before)) = self.by_first.range_mut(..first).next_back()
            && before.end() > first
        {
            let (front, rest) = before.split(first.since(before.first));
            *before = front;
            self.by_first.extend(rest.map(|rest| (rest.first, rest)));
        }
        while let Some((&at, &run)) = self.by_first.range(first..end).next() {
            self.by_first.remove(&at);
            let (inside, outside) = run.split(end.since(at).max(1));
            self.by_first.extend(outside.map(|rest| (rest.first, rest)));
            self.messages -= u64::from(inside.count);
            taken.push(inside);
        }
    }

    /// Takes everything out, in order.
    pub fn drain(&mut self) -> impl Iterator<Item = Run> + use<> {
        self.messages = 0;
        std::mem::take(&mut self.by_first).into_values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn run(first: u64, count: u32) -> Run {
        Run {
            first: Sequence(first),
            count,
            place: Place { chunk: 1, index: u32::try_from(first).unwrap() },
            label: Label::plain(Durability::Journaled),
        }
    }

    fn sequences(runs: &Runs) -> BTreeSet<u64> {
        runs.iter().flat_map(|run| run.first.0..run.end().0).collect()
    }

    #[test]
    fn agrees_with_a_plain_set() {
        let mut seed = 1u64;
        let mut random = |below: u64| {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        for _ in 0..300 {
            let (mut runs, mut model) = (Runs::default(), BTreeSet::new());
            for _ in 0..60 {
                let (first, count) = (random(40), 1 + random(8));
                match random(3) {
                    0 if (first..first + count).all(|at| !model.contains(&at)) => {
                        runs.insert(run(first, u32::try_from(count).unwrap()));
                        model.extend(first..first + count);
                    }
                    1 => {
                        let mut taken = Vec::new();
                        runs.remove(Sequence(first), u32::try_from(count).unwrap(), &mut taken);
                        let gone: Vec<u64> =
                            taken.iter().flat_map(|run| run.first.0..run.end().0).collect();
                        let expected: Vec<u64> =
                            model.range(first..first + count).copied().collect();
                        assert_eq!(gone, expected);
                        for run in &taken {
                            assert_eq!(u64::from(run.place.index), run.first.0);
                        }
                        model.retain(|at| !(first..first + count).contains(at));
                    }
                    _ => {
                        let popped = runs.pop(u32::try_from(count).unwrap());
                        let front = popped.map_or(0, |run| run.count);
                        for _ in 0..front {
                            model.pop_first();
                        }
                        assert_eq!(front > 0, popped.is_some());
                    }
                }
                assert_eq!(sequences(&runs), model);
                assert_eq!(runs.messages(), model.len() as u64);
            }
        }
    }
}
