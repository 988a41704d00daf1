//! Counting: what happens to messages is added up where it happens, once for each run of messages.
//! How fast it goes comes from samples, and only what has changed since the last one is sampled, so
//! that what rests costs nothing.

use std::collections::{BTreeMap, VecDeque};

use domain::binding::{ExchangeId, QueueId};
use domain::run::Sequence;

use super::Vhost;
use super::timeline::Timeline;
use crate::limits;
use crate::operation::ChannelId;
use crate::rate::per_second;
use crate::session_id::SessionId;
use crate::views::counts::{Activity, ExchangeCounts, MessageCounts, Round, Tally};
use crate::views::lives::MessageLives;
use crate::views::queue::QueueTraffic;

/// What a virtual host counts beside its queues and channels.
#[derive(Debug, Default)]
pub(crate) struct Tallies {
    pub(crate) totals: Tally<MessageCounts>,
    pub(crate) exchanges: super::Map<Source, Tally<ExchangeCounts>>,
    pub(crate) lives: Box<MessageLives>,
    /// So many queues have their own.
    lives_granted: usize,
    /// What has changed since the last sample, or had just before.
    listed: Listed,
    /// What is yet to be looked at for the present sample.
    due: Listed,
    /// When the virtual host began to count, in milliseconds.
    pub(crate) started_ms: u64,
    /// When the last sample was begun, in milliseconds.
    sampled_ms: u64,
    round: Round,
    /// The totals of the last minute, oldest first, each with its time.
    pub(crate) samples: VecDeque<TotalsSample>,
}

/// What a virtual host had counted at a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TotalsSample {
    /// When, in milliseconds since 1970.
    pub wall_ms: u64,
    /// All that was counted by then.
    pub counts: MessageCounts,
}

/// The class of errors that have none.
const UNNAMED_ERRORS: &str = "unnamed";

/// The class of errors of which there are too many classes.
const OTHER_ERRORS: &str = "other";

/// What messages come from. `None`: the default exchange.
pub(crate) type Source = Option<ExchangeId>;

#[derive(Debug, Default)]
struct Listed {
    queues: Vec<QueueId>,
    channels: Vec<(SessionId, ChannelId)>,
    exchanges: Vec<Source>,
}

/// What is counted of a queue.
#[derive(Clone, Debug, Default)]
pub(crate) struct QueueTally {
    pub(crate) tally: Tally<MessageCounts>,
    /// When something was last counted, in milliseconds.
    pub(crate) touched_ms: u64,
    /// When its messages came.
    pub(crate) timeline: Timeline,
    /// How long they take here; known of so many queues.
    pub(crate) lives: Option<Box<MessageLives>>,
    /// How often who leased one said what went wrong, by its class.
    pub(crate) errors: BTreeMap<Box<str>, u64>,
    ready_sampled: u64,
    unacked_sampled: u64,
    ready_rate: f64,
    unacked_rate: f64,
}

impl QueueTally {
    /// The first thing of a queue is counted that has so many messages, the oldest of them found at the
    /// start or just come.
    pub(crate) fn of(ready: u64, oldest: Option<Sequence>, tallies: &mut Tallies) -> QueueTally {
        let mut timeline = Timeline::default();
        if let Some(oldest) = oldest {
            timeline.mark(oldest, tallies.started_ms, oldest);
        }
        let lives = tallies.grant_lives();
        QueueTally { ready_sampled: ready, timeline, lives, ..QueueTally::default() }
    }

    /// Holders of leases said what went wrong.
    pub(crate) fn count_errors(&mut self, class: &str, count: u32) {
        let class = if class.is_empty() { UNNAMED_ERRORS } else { class };
        let is_known = self.errors.contains_key(class);
        let class = if is_known || self.errors.len() < limits::ERROR_CLASSES_MAX {
            class
        } else {
            OTHER_ERRORS
        };
        *self.errors.entry(class.into()).or_default() += u64::from(count);
    }

    /// Errors by class.
    pub(crate) fn errors(&self) -> Vec<(Box<str>, u64)> {
        self.errors.iter().map(|(class, count)| (class.clone(), *count)).collect()
    }

    pub(crate) fn traffic(&self) -> QueueTraffic {
        QueueTraffic {
            counts: self.tally.counts,
            rates: self.tally.rates,
            ready_rate: self.ready_rate,
            unacked_rate: self.unacked_rate,
        }
    }
}

impl Tallies {
    pub(crate) fn starting_at(now_ms: u64) -> Tallies {
        Tallies { started_ms: now_ms, sampled_ms: now_ms, ..Tallies::default() }
    }

    /// What a queue that begins to count gets to know of its messages' lives, if there are not too
    /// many yet that know.
    pub(crate) fn grant_lives(&mut self) -> Option<Box<MessageLives>> {
        if self.lives_granted >= limits::QUEUE_LIVES_MAX {
            return None;
        }
        self.lives_granted += 1;
        Some(Box::default())
    }

    /// A queue goes.
    pub(crate) fn queue_goes(&mut self, tally: Option<&QueueTally>) {
        self.lives_granted -= usize::from(tally.is_some_and(|tally| tally.lives.is_some()));
    }

    /// Something of a queue is counted that rested.
    pub(crate) fn list_queue(&mut self, queue: QueueId) {
        self.listed.queues.push(queue);
    }

    /// Something of a channel is counted that rested.
    pub(crate) fn list_channel(&mut self, session: SessionId, channel: ChannelId) {
        self.listed.channels.push((session, channel));
    }

    /// Messages were published to an exchange, and went into so many queues each.
    pub(crate) fn count_routed(&mut self, source: Source, count: u32, queues: usize) {
        let tally = self.exchanges.entry(source).or_default();
        tally.counts.published_in += u64::from(count);
        tally.counts.published_out += u64::from(count) * queues as u64;
        if !std::mem::replace(&mut tally.listed, true) {
            self.listed.exchanges.push(source);
        }
    }
}

/// Whether there is more to sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sampling {
    More,
    Done,
}

impl Vhost {
    /// Where something that happens to a queue's messages is counted, for what is rare.
    pub(crate) fn count_in_queue(&mut self, queue: QueueId) -> Option<&mut MessageCounts> {
        let slot = self.queues.get_mut(&queue)?;
        Some(slot.count(queue, &mut self.tallies, self.now.ms))
    }

    /// Where something that happens on a channel is counted.
    pub(crate) fn count_in_channel(
        &mut self,
        session: SessionId,
        channel: ChannelId,
    ) -> Option<&mut MessageCounts> {
        let state = self.sessions.get_mut(session.index())?.channels.get_mut(&channel)?;
        Some(state.count((session, channel), &mut self.tallies))
    }

    /// Begins a sample: everything that has changed is to be looked at, slice by slice.
    pub(crate) fn begin_sample(&mut self, now: super::Moment) {
        let tallies = &mut self.tallies;
        let elapsed_ms = now.ms.saturating_sub(tallies.sampled_ms);
        tallies.round = Round { number: tallies.round.number + 1, elapsed_ms };
        tallies.sampled_ms = now.ms;
        let listed = std::mem::take(&mut tallies.listed);
        tallies.due.queues.extend(listed.queues);
        tallies.due.channels.extend(listed.channels);
        tallies.due.exchanges.extend(listed.exchanges);
        tallies.totals.sample(tallies.round);
        let sample = TotalsSample { wall_ms: now.wall_ms, counts: tallies.totals.counts };
        if tallies.samples.len() >= limits::SAMPLES_KEPT {
            tallies.samples.pop_front();
        }
        tallies.samples.push_back(sample);
    }

    /// Goes on with the sample that was begun, as far as one slice goes.
    pub(crate) fn sample_slice(&mut self) -> Sampling {
        let mut left = limits::LOOK_SLICE;
        let round = self.tallies.round;
        while left > 0
            && let Some(queue) = self.tallies.due.queues.pop()
        {
            left -= 1;
            self.sample_queue(queue, round);
        }
        while left > 0
            && let Some((session, channel)) = self.tallies.due.channels.pop()
        {
            left -= 1;
            let state = self.sessions.get_mut(session.index());
            let state = state.and_then(|state| state.channels.get_mut(&channel));
            if let Some(state) = state
                && state.tally.sample(round) == Activity::Busy
            {
                self.tallies.listed.channels.push((session, channel));
            }
        }
        while left > 0
            && let Some(source) = self.tallies.due.exchanges.pop()
        {
            left -= 1;
            if source.is_some_and(|id| self.topology.exchange_name(id).is_none()) {
                self.tallies.exchanges.remove(&source);
            } else if let Some(tally) = self.tallies.exchanges.get_mut(&source)
                && tally.sample(round) == Activity::Busy
            {
                self.tallies.listed.exchanges.push(source);
            }
        }
        if left == 0 { Sampling::More } else { Sampling::Done }
    }

    fn sample_queue(&mut self, queue: QueueId, round: Round) {
        let Some(slot) = self.queues.get_mut(&queue) else { return };
        let (ready, unacked) = (slot.queue.ready_messages(), slot.queue.leased_messages());
        let Some(it) = &mut slot.tally else { return };
        it.ready_rate = per_second(ready, it.ready_sampled, round.elapsed_ms);
        it.unacked_rate = per_second(unacked, it.unacked_sampled, round.elapsed_ms);
        (it.ready_sampled, it.unacked_sampled) = (ready, unacked);
        if it.tally.sample(round) == Activity::Busy {
            self.tallies.listed.queues.push(queue);
        }
    }
}
