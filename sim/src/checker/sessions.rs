//! Sessions, their channels and consumers, as far as their own side can know them: what was asked
//! and must be answered next, and what the answers seen so far came to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use broker::Reply;
use broker::operation::{Acknowledgement, ChannelId, Outcome, Unroutable, Verb};
use domain::refusal::Refusal;

use crate::checker::queue::QueueKey;
use crate::checker::{ChannelKey, ConsumerKey, SessionKey, Turn};
use crate::message::MessageId;

/// One client.
#[derive(Debug, Default)]
pub(crate) struct Session {
    /// Channels by number, as the requests sent so far have it.
    pub(crate) asked: BTreeMap<ChannelId, ChannelKey>,
    /// Channels by number, as the answers seen so far have it.
    pub(crate) seen: BTreeMap<ChannelId, ChannelKey>,
    /// What it must be told next, in this order. Deliveries, confirms and cancellations come between.
    pub(crate) expected: VecDeque<Expected>,
    /// Consumers that the broker ended and that are not told yet.
    pub(crate) cancellations: BTreeSet<ConsumerKey>,
    /// Consumers cancelled without an answer while news were held back: what was on its way may
    /// still come.
    pub(crate) quietly_cancelled: BTreeMap<(ChannelKey, String), ConsumerKey>,
    /// Since when news may be held back until the journal has what they tell of.
    pub(crate) held: Option<Turn>,
    /// What was last held back is told once the journal has everything up to here.
    held_to: Turn,
    /// The queues from which it may have got messages unseen since then, and whether such a
    /// delivery settled itself.
    pub(crate) held_queues: BTreeMap<QueueKey, bool>,
    /// It was told to go.
    pub(crate) closing: bool,
    /// `End` was submitted.
    pub(crate) end_asked: bool,
    /// `Ended` came.
    pub(crate) ended: bool,
}

/// A channel, from its opening to its end.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) session: SessionKey,
    pub(crate) number: ChannelId,
    /// Whether it takes requests: not refused, not closed.
    pub(crate) open: bool,
    pub(crate) last_tag: u64,
    pub(crate) unsettled: BTreeMap<u64, Unsettled>,
    /// Consumers by tag, as asked.
    pub(crate) consumers: BTreeMap<String, ConsumerKey>,
    /// Consumers by tag, as answered.
    pub(crate) seen_consumers: BTreeMap<String, ConsumerKey>,
    pub(crate) last_queue: Option<String>,
    /// For consumers to come.
    pub(crate) prefetch: u16,
    /// Of the channel, as asked.
    pub(crate) limit: u16,
    /// Of the channel, as answered.
    pub(crate) seen_limit: u16,
    /// What was published since confirms were selected.
    pub(crate) publishes: Option<Vec<Publish>>,
    pub(crate) confirmed: u64,
    /// Never beside `publishes`.
    pub(crate) transaction: Option<Transaction>,
}

/// A publish that waits for its confirm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Publish {
    /// When it was, if the journal must have it before its confirm.
    pub(crate) journaled: Option<Turn>,
    /// It is to come back first.
    pub(crate) to_return: bool,
}

/// A delivery that waits to be settled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unsettled {
    pub(crate) queue: QueueKey,
    pub(crate) place: u64,
    /// None: it was got.
    pub(crate) consumer: Option<ConsumerKey>,
}

/// What a transactional channel has asked for since its last commit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transaction {
    pub(crate) publishes: Vec<Collected>,
    /// By tag.
    pub(crate) settlements: Vec<(u64, Unsettled, Outcome)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Collected {
    pub(crate) message: MessageId,
    pub(crate) unroutable: Unroutable,
    /// None: the default exchange looks for them at the commit.
    pub(crate) queues: Option<Vec<QueueKey>>,
}

/// A consumer.
#[derive(Clone, Debug)]
pub(crate) struct Consumer {
    pub(crate) session: SessionKey,
    pub(crate) channel: ChannelKey,
    pub(crate) tag: String,
    pub(crate) queue: QueueKey,
    pub(crate) acknowledgement: Acknowledgement,
    pub(crate) limit: u16,
    pub(crate) is_exclusive: bool,
}

/// Something a session must be told.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    pub(crate) number: ChannelId,
    pub(crate) channel: ChannelKey,
    /// When it was asked for.
    pub(crate) asked: Turn,
    /// The journal must have everything up to here before.
    pub(crate) safe: Turn,
    pub(crate) told: Told,
}

/// What a session must be told.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    Opened,
    Closed,
    /// A limit of the channel, if it was one.
    PrefetchSet(Option<u16>),
    Consuming(ConsumerKey),
    Cancelled(String),
    Recovered,
    QueueDeclared {
        queue: QueueKey,
        name: Option<String>,
        messages: (u64, u64),
        consumers: u32,
    },
    QueueDeleted {
        messages: (u64, u64),
    },
    QueuePurged {
        messages: (u64, u64),
    },
    Exactly(Reply),
    Got {
        queue: QueueKey,
        acknowledgement: Acknowledgement,
    },
    Returned {
        message: MessageId,
        publish: Option<usize>,
    },
    Refused {
        verb: Verb,
        refusal: Refusal,
    },
    Ended,
}

impl Expected {
    /// The queue of a get.
    pub(crate) fn got(&self) -> Option<QueueKey> {
        if let Told::Got { queue, .. } = self.told { Some(queue) } else { None }
    }
}

impl Channel {
    pub(crate) fn new(session: SessionKey, number: ChannelId) -> Channel {
        Channel {
            session,
            number,
            open: true,
            last_tag: 0,
            unsettled: BTreeMap::new(),
            consumers: BTreeMap::new(),
            seen_consumers: BTreeMap::new(),
            last_queue: None,
            prefetch: 0,
            limit: 0,
            seen_limit: 0,
            publishes: None,
            confirmed: 0,
            transaction: None,
        }
    }

    /// How many unsettled deliveries count for the channel's limit.
    pub(crate) fn in_hand(&self) -> usize {
        self.not_done().filter(|delivery| delivery.consumer.is_some()).count()
    }

    /// How many unsettled deliveries count for a consumer's limit.
    pub(crate) fn in_hand_of(&self, consumer: ConsumerKey) -> usize {
        self.not_done().filter(|delivery| delivery.consumer == Some(consumer)).count()
    }

    /// Deliveries that are not settled, or not yet for good.
    fn not_done(&self) -> impl Iterator<Item = &Unsettled> {
        let collected = self.transaction.iter().flat_map(|transaction| &transaction.settlements);
        self.unsettled.values().chain(collected.map(|(_, delivery, _)| delivery))
    }

    pub(crate) fn published(&self) -> u64 {
        self.publishes.as_ref().map_or(0, |publishes| publishes.len() as u64)
    }
}

impl Session {
    /// From now on news may be held back; these are the queues it may hear of.
    pub(crate) fn hold(
        &mut self,
        now: Turn,
        queues: impl IntoIterator<Item = (QueueKey, Acknowledgement)>,
    ) {
        self.held.get_or_insert(now);
        self.held_to = now;
        for (queue, acknowledgement) in queues {
            self.may_get_unseen(queue, acknowledgement);
        }
    }

    pub(crate) fn may_get_unseen(&mut self, queue: QueueKey, acknowledgement: Acknowledgement) {
        if self.held.is_some() {
            *self.held_queues.entry(queue).or_default() |=
                acknowledgement == Acknowledgement::Automatic;
        }
    }

    /// Whether nothing is held back once the journal has everything up to `turn`.
    pub(crate) fn is_told_by(&self, turn: Turn) -> bool {
        self.held_to <= turn
    }

    /// Nothing is held back any more.
    pub(crate) fn release(&mut self) {
        self.held = None;
        self.held_queues.clear();
        self.quietly_cancelled.clear();
    }
}
