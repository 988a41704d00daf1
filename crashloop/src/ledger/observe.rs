//! Comparing the ledger with what a restarted broker holds. What was in doubt is decided by what is
//! seen, so that the next restart is compared with facts again.

use std::collections::{BTreeSet, HashMap};

use super::{Ledger, Standing, Unmarked};
use crate::message::{Arrival, MessageId};
use crate::violation::Violation;

impl Ledger {
    /// A queue's whole content after a restart, in the order of delivery, and the count it gave.
    pub(crate) fn observe_queue(
        &mut self,
        queue: &str,
        said: u64,
        arrivals: &[Arrival],
        unmarked: Unmarked,
    ) {
        let found = arrivals.len() as u64;
        if said != found {
            self.violations.push(Violation::Miscounted { queue: queue.to_owned(), said, found });
        }
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
            self.observe_copy(queue, id, arrival.redelivered, unmarked);
        }
        self.observe_absence(queue, &seen);
    }

    fn observe_copy(
        &mut self,
        queue: String,
        id: MessageId,
        redelivered: bool,
        unmarked: Unmarked,
    ) {
        let Some(copy) = self.copy_mut(&queue, id) else { return };
        let (standing, delivered) = (copy.standing, copy.delivered.is_some());
        let mark_due = std::mem::take(&mut copy.mark_due);
        copy.standing = Standing::Must;
        copy.delivered.get_or_insert_with(std::time::Instant::now);
        if let Standing::Gone(why) = standing {
            self.violations.push(Violation::Resurrected { queue, id, why });
            return;
        }
        if !delivered {
            return;
        }
        self.totals.settled_back += u64::from(standing == Standing::MayBeBack);
        if redelivered {
            self.totals.duplicates_marked += 1;
        } else {
            self.totals.duplicates_unmarked += 1;
            if mark_due && unmarked == Unmarked::IsViolation {
                self.violations.push(Violation::Unmarked { queue, id });
            }
        }
    }

    fn observe_absence(&mut self, queue: &str, seen: &BTreeSet<MessageId>) {
        let Some(book) = self.queues.get_mut(queue) else { return };
        for (id, copy) in &mut book.copies {
            match copy.standing {
                Standing::Must if !seen.contains(id) => {
                    let queue = queue.to_owned();
                    self.violations.push(Violation::Lost { queue, id: *id });
                    copy.standing = Standing::Gone("found missing before");
                }
                Standing::MayBe | Standing::MayBeBack if !seen.contains(id) => {
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
