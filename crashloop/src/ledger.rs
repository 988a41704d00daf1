//! Everything that was said between the clients and the broker, and what follows from it: which
//! message must, may or must not be in which queue. The ledger does no I/O and reads no clock; the
//! load tells it what happened, [`observe`] compares it with what a restarted broker holds.

mod observe;

mod topology;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use crate::message::{Arrival, Content, MessageId};
use crate::violation::Violation;

pub(crate) use topology::{Binding, ExchangeType, Existence};

/// What must become of a message in a queue when the broker is killed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It may be there or not: not confirmed yet, or its end was asked for and not answered.
    MayBe,
    /// It must be there: confirmed, or seen after a restart.
    Must,
    /// An ack or reject was sent. From `known` on the broker is known to have applied it.
    Settled { known: Option<Instant> },
    /// It was settled just before a restart: that may be forgotten.
    MayBeBack,
    /// It must never be seen again; the word says why.
    Gone(&'static str),
}

/// A delivery is told before the disk knows of it, so that the last ones before a kill may come
/// back without a mark; those that a slow write held up for longer may not.
const MARK_GRACE: Duration = Duration::from_millis(100);

/// Whether a delivery of a message ever reached a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delivered {
    Never,
    /// The last one before a restart; the broker may have had no time, or no power, to write it down.
    Before {
        written: bool,
    },
    /// The last one since then.
    Now(Instant),
}

impl Delivered {
    /// Whether the next delivery must be marked.
    fn is_known(self) -> bool {
        match self {
            Self::Never => false,
            Self::Before { written } => written,
            Self::Now(_) => true,
        }
    }
}

/// One message in one queue.
#[derive(Clone, Copy, Debug)]
struct Copy {
    standing: Standing,
    delivered: Delivered,
    /// The consumer that holds it.
    holder: Option<u64>,
}

#[derive(Debug)]
struct Queue {
    durable: bool,
    existence: Existence,
    copies: BTreeMap<MessageId, Copy>,
}

/// Sums for the report.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) published: u64,
    pub(crate) confirmed: u64,
    pub(crate) delivered: u64,
    pub(crate) settled: u64,
    /// Messages found in a queue after a restart and compared.
    pub(crate) verified: u64,
    /// Found after a restart, delivered before, and marked so.
    pub(crate) duplicates_marked: u64,
    pub(crate) duplicates_unmarked: u64,
    /// Settled shortly before the end, and back.
    pub(crate) settled_back: u64,
}

impl Totals {
    #[must_use]
    pub(crate) fn plus(self, more: Self) -> Self {
        Self {
            published: self.published + more.published,
            confirmed: self.confirmed + more.confirmed,
            delivered: self.delivered + more.delivered,
            settled: self.settled + more.settled,
            verified: self.verified + more.verified,
            duplicates_marked: self.duplicates_marked + more.duplicates_marked,
            duplicates_unmarked: self.duplicates_unmarked + more.duplicates_unmarked,
            settled_back: self.settled_back + more.settled_back,
        }
    }
}

/// Whether a duplicate without the redelivered flag breaks a promise, or is only counted: after a
/// power loss the broker may not know of its last deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unmarked {
    IsViolation,
    IsCounted,
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    messages: HashMap<MessageId, Content>,
    confirmed: HashSet<MessageId>,
    /// Which queues each unconfirmed message went to.
    waiting: HashMap<MessageId, Vec<String>>,
    queues: BTreeMap<String, Queue>,
    exchanges: BTreeMap<String, topology::Exchange>,
    bindings: BTreeMap<Binding, Existence>,
    /// The last first delivery of each publisher to each consumer.
    first_deliveries: HashMap<(u64, u16), MessageId>,
    /// How many messages the purges that are not answered yet may find, at least and at most.
    purges: HashMap<String, (u64, u64)>,
    pub(crate) totals: Totals,
    pub(crate) violations: Vec<Violation>,
}

impl Ledger {
    /// A message is about to be sent; it will be routed to `queues`.
    pub(crate) fn publishes(&mut self, id: MessageId, content: Content, queues: Vec<String>) {
        self.totals.published += 1;
        self.messages.insert(id, content);
        for queue in &queues {
            if let Some(queue) = self.queues.get_mut(queue) {
                let (standing, delivered) = (Standing::MayBe, Delivered::Never);
                let copy = Copy { standing, delivered, holder: None };
                queue.copies.insert(id, copy);
            }
        }
        self.waiting.insert(id, queues);
    }

    /// The broker's confirm for a message has arrived.
    pub(crate) fn confirmed(&mut self, id: MessageId) {
        self.totals.confirmed += 1;
        self.confirmed.insert(id);
        for queue in self.waiting.remove(&id).unwrap_or_default() {
            if let Some(copy) = self.copy_mut(&queue, id)
                && copy.standing == Standing::MayBe
            {
                copy.standing = Standing::Must;
            }
        }
    }

    /// A delivery has arrived at `consumer`.
    pub(crate) fn delivered(
        &mut self,
        queue: &str,
        arrival: &Arrival,
        consumer: u64,
        now: Instant,
    ) {
        self.totals.delivered += 1;
        let Some(id) = self.recognized(queue, arrival) else { return };
        let Some(copy) = self.copy_mut(queue, id) else { return };
        let (before, held) = (copy.delivered, copy.holder);
        let ended = match copy.standing {
            Standing::Settled { .. } => Some("settled"),
            Standing::Gone(why) => Some(why),
            Standing::MayBe | Standing::MayBeBack | Standing::Must => None,
        };
        copy.delivered = Delivered::Now(now);
        copy.holder = Some(consumer);
        let queue = queue.to_owned();
        if let Some(why) = ended {
            self.violations.push(Violation::Resurrected { queue, id, why });
        } else if held.is_some() {
            self.violations.push(Violation::Doubled { queue, id });
        } else if before.is_known() && !arrival.redelivered {
            self.violations.push(Violation::Unmarked { queue, id });
        } else if !arrival.redelivered {
            self.first_delivery(queue, id, consumer);
        }
    }

    /// First deliveries to one consumer follow the order of publishing.
    fn first_delivery(&mut self, queue: String, id: MessageId, consumer: u64) {
        let last = self.first_deliveries.insert((consumer, id.publisher), id);
        if let Some(last) = last
            && last > id
        {
            self.violations.push(Violation::Reordered { queue, first: id, second: last });
        }
    }

    /// An ack or a reject is about to be sent.
    pub(crate) fn settles(&mut self, queue: &str, id: MessageId) {
        self.totals.settled += 1;
        if let Some(copy) = self.copy_mut(queue, id) {
            copy.standing = Standing::Settled { known: None };
            copy.holder = None;
        }
    }

    /// The broker has answered something sent after these settlements: it has applied them.
    pub(crate) fn settled(&mut self, queue: &str, ids: &[MessageId], now: Instant) {
        for id in ids {
            if let Some(copy) = self.copy_mut(queue, *id)
                && copy.standing == (Standing::Settled { known: None })
            {
                copy.standing = Standing::Settled { known: Some(now) };
            }
        }
    }

    /// A message is about to be returned to its queue.
    pub(crate) fn requeues(&mut self, queue: &str, id: MessageId) {
        if let Some(copy) = self.copy_mut(queue, id) {
            copy.holder = None;
        }
    }

    /// What `consumer` holds is about to be returned, as its channel closes.
    pub(crate) fn closes(
        &mut self,
        queue: &str,
        held: impl IntoIterator<Item = MessageId>,
        consumer: u64,
    ) {
        for id in held {
            if let Some(copy) = self.copy_mut(queue, id)
                && copy.holder == Some(consumer)
            {
                copy.holder = None;
            }
        }
    }

    /// A purge is about to be sent: until it is answered, what is ready may be there or not.
    pub(crate) fn purges(&mut self, queue: &str) {
        let (mut fewest, mut most) = (0, 0);
        for copy in self.ready_mut(queue) {
            fewest += u64::from(copy.standing == Standing::Must);
            most += 1;
            copy.standing = Standing::MayBe;
        }
        self.purges.insert(queue.to_owned(), (fewest, most));
    }

    /// The purge is answered: what was ready must stay away.
    pub(crate) fn purged(&mut self, queue: &str, count: u64) {
        for copy in self.ready_mut(queue) {
            copy.standing = Standing::Gone("purged");
        }
        let (fewest, most) = self.purges.remove(queue).unwrap_or_default();
        self.counted(queue, count, fewest, most);
    }

    fn counted(&mut self, queue: &str, said: u64, fewest: u64, most: u64) {
        if !(fewest..=most).contains(&said) {
            let (queue, found) = (queue.to_owned(), if said < fewest { fewest } else { most });
            self.violations.push(Violation::Miscounted { queue, said, found });
        }
    }

    fn ready_mut(&mut self, queue: &str) -> impl Iterator<Item = &mut Copy> {
        let is_ready = |copy: &&mut Copy| match copy.standing {
            Standing::MayBe | Standing::Must | Standing::MayBeBack => copy.holder.is_none(),
            Standing::Settled { .. } | Standing::Gone(_) => false,
        };
        let copies = self.queues.get_mut(queue).into_iter();
        copies.flat_map(|queue| queue.copies.values_mut()).filter(is_ready)
    }

    /// The broker was killed or stopped at `now`. Settlements that it had applied for less than
    /// `grace` may be forgotten; nobody was promised more.
    pub(crate) fn restarts(&mut self, now: Instant, grace: Duration, unmarked: Unmarked) {
        self.first_deliveries.clear();
        self.purges.clear();
        self.waiting.clear();
        self.topology_restarts();
        for queue in self.queues.values_mut() {
            for (id, copy) in &mut queue.copies {
                copy.holder = None;
                if let Delivered::Now(at) = copy.delivered {
                    let written =
                        unmarked == Unmarked::IsViolation && at + MARK_GRACE.min(grace) <= now;
                    copy.delivered = Delivered::Before { written };
                }
                let persistent = self.messages.get(id).is_some_and(|content| content.persistent);
                copy.standing = match copy.standing {
                    Standing::Gone(why) => Standing::Gone(why),
                    _ if !queue.durable => Standing::Gone("in a queue that is not durable"),
                    _ if !persistent => Standing::Gone("transient"),
                    Standing::Settled { known: Some(known) } if known + grace <= now => {
                        Standing::Gone("settled")
                    }
                    Standing::Settled { .. } | Standing::MayBeBack => Standing::MayBeBack,
                    Standing::MayBe => Standing::MayBe,
                    Standing::Must => Standing::Must,
                };
            }
        }
    }

    /// Messages that must be in a queue now.
    pub(crate) fn backlog(&self, queue: &str) -> usize {
        self.queues.get(queue).map_or(0, |queue| {
            queue.copies.values().filter(|copy| copy.standing == Standing::Must).count()
        })
    }

    fn copy_mut(&mut self, queue: &str, id: MessageId) -> Option<&mut Copy> {
        self.queues.get_mut(queue)?.copies.get_mut(&id)
    }

    /// Who arrived, if it is something that was published to this queue and came unchanged.
    fn recognized(&mut self, queue: &str, arrival: &Arrival) -> Option<MessageId> {
        let known = arrival.id.and_then(|id| Some((id, *self.messages.get(&id)?)));
        let queue_name = queue.to_owned();
        let Some((id, content)) = known else {
            let length = arrival.content.length;
            let what = match arrival.id {
                Some(id) => format!("a message {id} of {length} bytes"),
                None => format!("{length} bytes without a name"),
            };
            self.violations.push(Violation::Invented { queue: queue_name, what });
            return None;
        };
        if self.copy_mut(queue, id).is_none() {
            let what = format!("message {id}, which was routed elsewhere,");
            self.violations.push(Violation::Invented { queue: queue_name, what });
            return None;
        }
        if arrival.content != content {
            self.violations.push(Violation::Damaged { queue: queue_name, id });
        }
        Some(id)
    }
}

#[cfg(test)]
mod tests;
