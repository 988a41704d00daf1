//! Comparing the ledger with what a restarted broker holds. What was in doubt is decided by what is
//! seen, so that the next restart is compared with facts again.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use super::{Delivered, Ledger, Standing};
use crate::message::{Arrival, MessageId};
use crate::violation::Violation;

impl Ledger {
    /// A queue's whole content after a restart, in the order of delivery, and the count it gave.
    pub(crate) fn observe_queue(&mut self, queue: &str, said: u64, arrivals: &[Arrival]) {
        let found = arrivals.len() as u64;
        if said != found {
            self.violations.push(Violation::Miscounted { queue: queue.to_owned(), said, found });
        }
        let seen = self.observe_arrivals(queue, arrivals);
        self.observe_absence(queue, &seen, |_| true);
    }

    /// The messages in front of a queue: of each publisher, those that are there come in order and
    /// none is left out.
    pub(crate) fn observe_front(&mut self, queue: &str, arrivals: &[Arrival]) {
        let seen = self.observe_arrivals(queue, arrivals);
        let mut last_of: HashMap<u16, MessageId> = HashMap::new();
        for id in &seen {
            last_of.insert(id.publisher, *id);
        }
        let is_in_front = |id: MessageId| last_of.get(&id.publisher).is_some_and(|last| id < *last);
        self.observe_absence(queue, &seen, is_in_front);
    }

    /// The count that a queue gives after a restart, while its content remains to be seen.
    pub(crate) fn observe_count(&mut self, queue: &str, said: u64) {
        let Some(book) = self.queues.get(queue) else { return };
        let (mut fewest, mut most) = (0, 0);
        for copy in book.copies.values() {
            match copy.standing {
                Standing::Must => fewest += 1,
                Standing::MayBe | Standing::MayBeBack => most += 1,
                Standing::Settled { .. } | Standing::Gone(_) => {}
            }
        }
        self.counted(queue, said, fewest, fewest + most);
    }

    /// What a queue may hold at most.
    pub(crate) fn contents_max(&self, queue: &str) -> usize {
        self.queues.get(queue).map_or(0, |book| {
            let may_be = |standing| !matches!(standing, Standing::Gone(_));
            book.copies.values().filter(|copy| may_be(copy.standing)).count()
        })
    }

    fn observe_arrivals(&mut self, queue: &str, arrivals: &[Arrival]) -> BTreeSet<MessageId> {
        let mut seen = BTreeSet::new();
        let mut last_of = HashMap::new();
        for arrival in arrivals {
            self.totals.verified += 1;
            let Some(id) = self.recognized(queue, arrival) else { continue };
            let queue = queue.to_owned();
            if !seen.insert(id) {
                self.violations.push(Violation::Doubled { queue, id });
                continue;
            }
            if let Some(last) = last_of.insert(id.publisher, id)
                && last > id
            {
                let queue = queue.clone();
                self.violations.push(Violation::Reordered { queue, first: id, second: last });
            }
            self.observe_copy(queue, id, arrival.redelivered);
        }
        seen
    }

    fn observe_copy(&mut self, queue: String, id: MessageId, redelivered: bool) {
        let Some(copy) = self.copy_mut(&queue, id) else { return };
        let (standing, delivered) = (copy.standing, copy.delivered);
        copy.standing = Standing::Must;
        copy.delivered = Delivered::Now(Instant::now());
        if let Standing::Gone(why) = standing {
            self.violations.push(Violation::Resurrected { queue, id, why });
            return;
        }
        if delivered == Delivered::Never {
            return;
        }
        self.totals.settled_back += u64::from(standing == Standing::MayBeBack);
        if redelivered {
            self.totals.duplicates_marked += 1;
        } else {
            self.totals.duplicates_unmarked += 1;
            if delivered.is_known() {
                self.violations.push(Violation::Unmarked { queue, id });
            }
        }
    }

    fn observe_absence(
        &mut self,
        queue: &str,
        seen: &BTreeSet<MessageId>,
        is_looked_at: impl Fn(MessageId) -> bool,
    ) {
        let Some(book) = self.queues.get_mut(queue) else { return };
        let absent = |id: &MessageId| !seen.contains(id) && is_looked_at(*id);
        for (id, copy) in &mut book.copies {
            match copy.standing {
                Standing::Must if absent(id) => {
                    let queue = queue.to_owned();
                    self.violations.push(Violation::Lost { queue, id: *id });
                    copy.standing = Standing::Gone("found missing before");
                }
                Standing::MayBe | Standing::MayBeBack if absent(id) => {
                    copy.standing = Standing::Gone("found missing before");
                }
                Standing::MayBe
                | Standing::MayBeBack
                | Standing::Must
                | Standing::Settled { .. }
                | Standing::Gone(_) => {}
            }
        }
    }
}
