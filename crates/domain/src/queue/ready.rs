//! What a queue could deliver: new messages in order of arrival, and before them those that came
//! back, each at its original place.

use std::collections::VecDeque;

use stdx::fault::{Fault, planted};

use crate::run::{Run, Runs};

/// Ready messages, oldest first.
#[derive(Debug, Default)]
pub struct Ready {
    /// Never delivered, in order.
    fresh: VecDeque<Run>,
    fresh_messages: u64,
    /// Returned; may lie before or between the fresh ones.
    returned: Runs,
}

impl Ready {
    pub(crate) fn messages(&self) -> u64 {
        self.fresh_messages + self.returned.messages()
    }

    /// Adds a run behind everything that ever came in.
    pub(crate) fn push(&mut self, run: Run) {
        self.fresh_messages += u64::from(run.count);
        if let Some(last) = self.fresh.back_mut()
            && last.continues_with(&run)
        {
            last.count += run.count;
            return;
        }
        self.fresh.push_back(run);
    }

    /// Takes a returned run in, at its original place.
    pub(crate) fn put_back(&mut self, run: Run) {
        if planted(Fault::RequeueToTail) {
            self.fresh_messages += u64::from(run.count);
            self.fresh.push_back(run);
            return;
        }
        self.returned.insert(run);
    }

    /// Takes up to `count` neighbouring messages off the front.
    pub(crate) fn take(&mut self, count: u32) -> Option<Run> {
        let returned = self.returned.first().map(|run| run.first);
        let fresh = self.fresh.front_mut();
        match (returned, fresh) {
            (Some(returned), Some(fresh)) if fresh.first < returned => {
                // Fresh ones before a returned one: not past it.
                let before = u32::try_from(returned.0 - fresh.first.0).unwrap_or(u32::MAX);
                self.take_fresh(count.min(before))
            }
            (Some(_), _) => self.returned.pop(count),
            (None, Some(_)) => self.take_fresh(count),
            (None, None) => None,
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

    /// Moves everything to `gone`.
    pub(crate) fn drain(&mut self, gone: &mut Vec<Run>) {
        self.fresh_messages = 0;
        gone.extend(self.returned.drain());
        gone.extend(self.fresh.drain(..));
    }
}
