//! Messages kept elsewhere from now on: which, and what becomes of the runs they are in.

use super::{Place, Run, Sequence};

/// Neighbouring messages of a queue that are kept at a new place, side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// The first message's sequence.
    pub first: Sequence,
    /// How many; at least 1.
    pub count: u32,
    /// Where the first one is kept now.
    pub place: Place,
}

impl Move {
    /// The sequence after the last message.
    pub fn end(&self) -> Sequence {
        self.first.plus(self.count)
    }
}

/// Applies moves to runs that are shown to it in order.
pub(crate) struct Relocation<'a> {
    /// Those that may concern what comes; ascending, without overlap.
    moves: &'a [Move],
    /// What was moved, with its old places.
    old: &'a mut Vec<Run>,
    /// What there is now.
    new: Vec<Run>,
}

impl<'a> Relocation<'a> {
    pub(crate) fn new(moves: &'a [Move], old: &'a mut Vec<Run>) -> Relocation<'a> {
        Relocation { moves, old, new: Vec::new() }
    }

    /// The next run goes where the moves say, in as many pieces as they cut it into.
    pub(crate) fn apply(&mut self, run: Run) {
        let mut left = Some(run);
        while let Some(run) = left.take() {
            while let Some((next, rest)) = self.moves.split_first()
                && next.end() <= run.first
            {
                self.moves = rest;
            }
            let Some(next) = self.moves.first().filter(|next| next.first < run.end()) else {
                return self.join(run);
            };
            if run.first < next.first {
                let (stays, rest) = run.split(next.first.since(run.first));
                self.join(stays);
                left = rest;
                continue;
            }
            let (moved, rest) = run.split(next.end().since(run.first));
            let index = next.place.index + run.first.since(next.first);
            self.join(Run { place: Place { index, ..next.place }, ..moved });
            self.old.push(moved);
            left = rest;
        }
    }

    fn join(&mut self, run: Run) {
        match self.new.last_mut() {
            Some(last) if last.continues_with(&run) => last.count += run.count,
            _ => self.new.push(run),
        }
    }

    /// The runs as they are now, in order; neighbours that go on from each other are one.
    pub(crate) fn into_runs(self) -> Vec<Run> {
        self.new
    }
}
