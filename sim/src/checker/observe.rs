//! Events: what a session was told, held against what it must be told.

use broker::operation::{Acknowledgement, ChannelId, Verb};
use broker::{DeliveryRun, Event, Reply};
use domain::refusal::Refusal;

use super::queue::{Known, QueueKey, Whereabouts};
use super::sessions::{Expected, Told, Unsettled};
use super::{ChannelKey, Checker, ConsumerKey, SessionKey, Turn};
use crate::message::MessageId;
use crate::violation::{Violation, broken, demand};

/// A delivery as its receiver sees it.
struct Delivery {
    session: SessionKey,
    channel: ChannelKey,
    queue: QueueKey,
    consumer: Option<ConsumerKey>,
    acknowledgement: Acknowledgement,
    tag: u64,
    redelivered: bool,
    message: MessageId,
}

impl Checker {
    /// A session was told something.
    pub(crate) fn event(&mut self, session: SessionKey, event: &Event) -> Result<(), Violation> {
        if self.session(session).ended {
            return broken!(OverIsOver, "session {session} has ended and hears {event:?}");
        }
        match event {
            Event::Delivered(run) => self.delivered_run(session, run),
            Event::Confirmed { channel, first, last } => {
                self.confirmed(session, *channel, *first, *last)
            }
            Event::ConsumerCancelled { channel, consumer_tag } => {
                self.cancelled(session, *channel, consumer_tag.as_str())
            }
            Event::Nacked { .. } => {
                broken!(Answered, "session {session} hears {event:?}, and no queue is limited")
            }
            Event::Closing(_) => {
                demand!(
                    self.stopping || self.poisoned,
                    PoisonTold,
                    "session {session} has to go for no reason"
                );
                self.session(session).closing = true;
                Ok(())
            }
            Event::Got { .. }
            | Event::GotNothing { .. }
            | Event::Returned { .. }
            | Event::LeaseAnswer(_)
            | Event::RemovalAnswer(_)
            | Event::DoneAnswer(_)
            | Event::Taken { .. }
            | Event::Reply { .. }
            | Event::Refused { .. }
            | Event::Ended => self.answer(session, event),
        }
    }

    /// Something that a request asked for, in the order of the requests.
    fn answer(&mut self, session: SessionKey, event: &Event) -> Result<(), Violation> {
        let Some(expected) = self.session(session).expected.pop_front() else {
            return broken!(Answered, "session {session} asked for nothing and hears {event:?}");
        };
        demand!(
            expected.safe <= self.durable,
            SafeBeforeTold,
            "session {session} hears {event:?} of turn {}, the journal has {}",
            expected.safe,
            self.durable
        );
        let Expected { number, channel, asked, ref told, .. } = expected;
        let wrong =
            || broken!(Answered, "session {session} should hear {expected:?} and hears {event:?}");
        match (event, told) {
            (Event::Reply { channel: heard, reply }, told) if *heard == number => {
                if !self.replied(session, channel, told, reply) {
                    return wrong();
                }
                if *reply == Reply::ChannelClosed {
                    self.all_confirmed(channel)?;
                }
                Ok(())
            }
            (
                Event::Refused { channel: heard, verb, refusal },
                Told::Refused { verb: meant, refusal: reason },
            ) if *heard == number && verb == meant && alike(reason, refusal) => {
                self.channel(channel).seen_consumers.clear();
                Ok(())
            }
            (
                Event::Refused { channel: heard, verb: Verb::Get, refusal: Refusal::NotFound(..) },
                Told::Got { queue, .. },
            ) if *heard == number && self.has_gone(*queue) => {
                // It went while what it had was read from the disk; what has its name by the time
                // that this is heard came later.
                self.clear_channel(channel);
                self.channel(channel).open = false;
                self.channel(channel).seen_consumers.clear();
                Ok(())
            }
            (
                Event::Got { channel: heard, tag, redelivered, remaining, chunk, index, .. },
                Told::Got { queue, acknowledgement },
            ) if *heard == number => {
                let Some(message) = chunk.message(*index) else { return wrong() };
                let message = self.messages.recognise(&message)?;
                // It may have come before its queue went, or from what has its name since.
                let has = |key: &QueueKey| {
                    let queue = self.queues.get(key);
                    queue.is_some_and(|queue| queue.place(message).is_some())
                };
                let queue = self.namesake(*queue).filter(has).unwrap_or(*queue);
                self.left(session, queue, asked, *remaining);
                self.take_delivery(&Delivery {
                    session,
                    channel,
                    queue,
                    consumer: None,
                    acknowledgement: *acknowledgement,
                    tag: *tag,
                    redelivered: *redelivered,
                    message,
                })
            }
            (Event::GotNothing { channel: heard }, Told::Got { queue, .. }) if *heard == number => {
                let queue = self.namesake(*queue).unwrap_or(*queue);
                self.left(session, queue, asked, 0);
                Ok(())
            }
            (
                Event::Returned { channel: heard, chunk, index },
                Told::Returned { message, publish },
            ) if *heard == number => {
                let Some(returned) = chunk.message(*index) else { return wrong() };
                if self.messages.recognise(&returned)? != *message {
                    return wrong();
                }
                let publishes = self.channel(channel).publishes.as_mut();
                if let (Some(publishes), Some(publish)) = (publishes, *publish) {
                    publishes[publish].to_return = false;
                }
                Ok(())
            }
            (Event::Ended, Told::Ended) => {
                self.session(session).ended = true;
                self.session(session).seen.clear();
                Ok(())
            }
            _other => wrong(),
        }
    }

    /// Whether the queue that was meant is no more.
    pub(super) fn has_gone(&self, queue: QueueKey) -> bool {
        self.queues.get(&queue).is_none_or(|queue| queue.deleted)
    }

    /// The queue, or what has its name by now.
    fn namesake(&self, queue: QueueKey) -> Option<QueueKey> {
        let known = self.queues.get(&queue)?;
        if known.deleted { self.names.get(&known.name).copied() } else { Some(queue) }
    }

    /// A get said how many messages are left; that is judged if it was said just now, and nothing came
    /// between that was waiting for the disk, too.
    fn left(&mut self, session: SessionKey, queue: QueueKey, asked: Turn, count: u64) {
        if self.session(session).held.is_none() && asked == self.turn {
            self.left.push((queue, count));
        }
    }

    /// Takes an answer in; false if it is not the one that was due.
    fn replied(
        &mut self,
        session: SessionKey,
        channel: ChannelKey,
        told: &Told,
        reply: &Reply,
    ) -> bool {
        let within = |bounds: &(u64, u64), count: u64| (bounds.0..=bounds.1).contains(&count);
        let number = self.channel(channel).number;
        match (told, reply) {
            (Told::Opened, Reply::ChannelOpened) => {
                self.session(session).seen.insert(number, channel);
            }
            (Told::Closed, Reply::ChannelClosed) => {
                self.session(session).seen.remove(&number);
            }
            (Told::PrefetchSet(limit), Reply::PrefetchSet) => {
                let state = self.channel(channel);
                state.seen_limit = limit.unwrap_or(state.seen_limit);
            }
            (Told::Consuming(consumer), Reply::Consuming { consumer_tag }) => {
                return self.consuming(channel, *consumer, consumer_tag.as_str());
            }
            (Told::Cancelled(tag), Reply::Cancelled { consumer_tag }) => {
                self.channel(channel).seen_consumers.remove(tag);
                return tag == consumer_tag.as_str();
            }
            (
                Told::QueueDeclared { queue, name, messages, consumers },
                Reply::QueueDeclared { queue: heard, messages: count, consumers: consuming },
            ) => {
                if name.is_none() {
                    self.rename(channel, *queue, heard.as_str());
                }
                let named = name.as_ref().is_none_or(|name| name == heard.as_str());
                return named && within(messages, *count) && consuming == consumers;
            }
            (Told::QueueDeleted { messages }, Reply::QueueDeleted { messages: count })
            | (Told::QueuePurged { messages }, Reply::QueuePurged { messages: count }) => {
                return within(messages, *count);
            }
            (Told::Exactly(exactly), reply) => return exactly == reply,
            (Told::Recovered, Reply::Recovered) => {}
            _other => return false,
        }
        true
    }

    fn consuming(&mut self, channel: ChannelKey, consumer: ConsumerKey, tag: &str) -> bool {
        let Some(known) = self.consumers.get_mut(&consumer) else { return false };
        let asked = std::mem::replace(&mut known.tag, tag.to_owned());
        let made_up = asked.starts_with('?');
        let state = self.channel(channel);
        if made_up && state.consumers.remove(&asked).is_some() {
            state.consumers.insert(tag.to_owned(), consumer);
        }
        state.seen_consumers.insert(tag.to_owned(), consumer);
        made_up || asked == tag
    }

    /// The broker has made up a queue's name.
    fn rename(&mut self, channel: ChannelKey, key: QueueKey, name: &str) {
        let Some(queue) = self.queues.get_mut(&key) else { return };
        let old = std::mem::replace(&mut queue.name, name.to_owned());
        if self.names.remove(&old).is_some() {
            self.names.insert(name.to_owned(), key);
        }
        self.topology.rename_queue(&old, name);
        let state = self.channel(channel);
        if state.last_queue.as_ref() == Some(&old) {
            state.last_queue = Some(name.to_owned());
        }
    }

    fn delivered_run(&mut self, session: SessionKey, run: &DeliveryRun) -> Result<(), Violation> {
        let tag = run.consumer_tag.as_str();
        let Some(channel) = self.session(session).seen.get(&run.channel).copied() else {
            return broken!(OverIsOver, "a delivery for closed channel {}", run.channel);
        };
        let known = self.channel(channel).seen_consumers.get(tag).copied();
        let quiet = (channel, tag.to_owned());
        let known = known.or_else(|| self.session(session).quietly_cancelled.get(&quiet).copied());
        let Some(key) = known else {
            return broken!(OverIsOver, "session {session}: a delivery for no consumer, {tag}");
        };
        let Some(consumer) = self.consumers.get(&key).cloned() else { return Ok(()) };
        for nth in 0..run.count {
            let Some(message) = run.chunk.message(run.first + nth) else {
                return broken!(Intact, "a delivery past the end of its chunk");
            };
            let message = self.messages.recognise(&message)?;
            if consumer.acknowledgement == Acknowledgement::Manual {
                self.check_limits(key, channel)?;
            }
            self.take_delivery(&Delivery {
                session,
                channel,
                queue: consumer.queue,
                consumer: Some(key),
                acknowledgement: consumer.acknowledgement,
                tag: run.first_tag + u64::from(nth),
                redelivered: run.redelivered,
                message,
            })?;
        }
        Ok(())
    }

    /// Whether the consumer may get one more.
    fn check_limits(&mut self, consumer: ConsumerKey, key: ChannelKey) -> Result<(), Violation> {
        let limit = self.consumers.get(&consumer).map_or(0, |consumer| consumer.limit);
        let channel = self.channel(key);
        let limits =
            [(limit, channel.in_hand_of(consumer)), (channel.seen_limit, channel.in_hand())];
        for (limit, in_hand) in limits {
            demand!(
                limit == 0 || in_hand < usize::from(limit),
                PrefetchKept,
                "session {} channel {} holds {in_hand} of {limit} and gets one more",
                channel.session,
                channel.number
            );
        }
        Ok(())
    }

    fn take_delivery(&mut self, delivery: &Delivery) -> Result<(), Violation> {
        let Delivery { session, channel, queue, message, tag, .. } = *delivery;
        let state = self.channel(channel);
        demand!(
            tag == state.last_tag + 1,
            TagsConsecutive,
            "session {session} channel {}: tag {tag} follows {}",
            state.number,
            state.last_tag
        );
        state.last_tag = tag;
        let (held, now_ms, turn) = (self.session(session).held, self.now_ms, self.turn);
        let foggy = self.is_foggy(queue);
        self.die_by_now(message);
        let place = self.queues.get(&queue).and_then(|state| state.place(message));
        // News of a channel that is closed by now are of the past, and say nothing of who has it.
        let is_past = held.is_some() && !self.channel(channel).open;
        if let Some(place) = place.filter(|_| !is_past) {
            self.refuse_whoever_had(queue, place, channel);
        }
        let is_open = self.channel(channel).open;
        let Some(state) = self.queues.get_mut(&queue) else { return Ok(()) };
        if state.deleted {
            demand!(held.is_some(), OverIsOver, "a delivery from the deleted {}", state.name);
            self.hand_over(delivery, u64::MAX);
            return Ok(());
        }
        let name = &state.name;
        let mixed = state.is_mixed() || state.stirred == turn;
        let gone_since = held.is_some() && !is_open;
        let Some(place) = state.place(message) else {
            if gone_since {
                return Ok(());
            }
            return broken!(DeliveredOnce, "message {message} is not in {name} any more");
        };
        let Some(entry) = state.entries.get_mut(&place) else { return Ok(()) };
        demand!(
            entry.whereabouts == Whereabouts::Ready || gone_since,
            DeliveredOnce,
            "message {message} of {name} is with somebody else"
        );
        // What may not wait goes to whoever can take it in the turn in which it comes.
        demand!(
            held.is_some() || !entry.is_due(now_ms) || entry.since == turn,
            Expired,
            "message {message} of {name} is delivered at {now_ms}, and was due at {:?}",
            entry.deadline_ms
        );
        let level = entry.level;
        let right = match entry.redelivered {
            Known::Perhaps => true,
            Known::Yes => delivery.redelivered,
            Known::No => !delivery.redelivered,
        };
        demand!(
            right || foggy,
            RedeliveredMark,
            "message {message} of {name}: redelivered is {}, delivered before: {:?}",
            delivery.redelivered,
            entry.redelivered
        );
        if held.is_none() {
            let last = self.delivered.insert((queue, session, level), place);
            demand!(
                mixed || last.is_none_or(|last| last < place),
                DeliveredInOrder,
                "session {session} gets place {place} of {name} after {last:?}"
            );
        }
        self.hand_over(delivery, place);
        Ok(())
    }

    /// A message is in its receiver's hands; on a channel that is closed since, it has returned.
    fn hand_over(&mut self, delivery: &Delivery, place: u64) {
        let Delivery { channel, queue, consumer, tag, .. } = *delivery;
        let now_ms = self.now_ms;
        let is_open = self.channel(channel).open;
        let returned = !is_open && delivery.acknowledgement == Acknowledgement::Manual;
        self.dies_once(delivery.message);
        if !returned {
            // What has returned meanwhile may have died since.
            self.lives_yet(queue, delivery.message);
        }
        if is_open && delivery.acknowledgement == Acknowledgement::Manual {
            let unsettled = Unsettled { queue, place, consumer };
            self.channel(channel).unsettled.insert(tag, unsettled);
        }
        let Some(state) = self.queues.get_mut(&queue) else { return };
        if delivery.acknowledgement == Acknowledgement::Automatic {
            state.remove(place);
        } else if let Some(entry) = state.entries.get_mut(&place) {
            entry.redelivered = Known::Yes;
            entry.perhaps_died = false;
            if is_open {
                entry.there = Known::Yes;
                entry.leaving = false;
                entry.whereabouts = Whereabouts::Delivered;
            } else if entry.is_due(now_ms) {
                // When it died, and what became of its letter since, nobody can say.
                self.give_up(queue, place, "expired", Known::Perhaps);
            }
        }
    }

    fn confirmed(
        &mut self,
        session: SessionKey,
        number: ChannelId,
        first: u64,
        last: u64,
    ) -> Result<(), Violation> {
        let Some(key) = self.session(session).seen.get(&number).copied() else {
            return broken!(OverIsOver, "session {session}: a confirm for closed channel {number}");
        };
        demand!(
            !self.poisoned || !self.session(session).closing,
            OverIsOver,
            "session {session} channel {number}: a confirm after the end of all writing"
        );
        let durable = self.durable;
        let channel = self.channel(key);
        demand!(
            first == channel.confirmed + 1 && first <= last && last <= channel.published(),
            ConfirmedInOrder,
            "session {session} channel {number}: {first} to {last} of {} follow {}",
            channel.published(),
            channel.confirmed
        );
        let publishes = channel.publishes.as_deref().unwrap_or_default();
        let (from, count) = (usize::try_from(first - 1).unwrap_or(0), last - first + 1);
        for publish in publishes.iter().skip(from).take(usize::try_from(count).unwrap_or(0)) {
            demand!(
                publish.journaled.is_none_or(|turn| turn <= durable),
                SafeBeforeTold,
                "session {session} channel {number}: a confirm among {first} to {last} of turn \
                 {:?}, the journal has {durable}",
                publish.journaled
            );
            demand!(
                !publish.to_return,
                ReturnedBeforeConfirm,
                "session {session} channel {number}: a confirm among {first} to {last}"
            );
        }
        channel.confirmed = last;
        Ok(())
    }

    /// A closed channel has heard of all its publishes: nobody else would.
    fn all_confirmed(&mut self, key: ChannelKey) -> Result<(), Violation> {
        let channel = self.channel(key);
        demand!(
            channel.confirmed == channel.published(),
            ConfirmedInOrder,
            "session {} channel {} is closed with {} of {} confirmed",
            channel.session,
            channel.number,
            channel.confirmed,
            channel.published()
        );
        Ok(())
    }

    fn cancelled(
        &mut self,
        session: SessionKey,
        number: ChannelId,
        tag: &str,
    ) -> Result<(), Violation> {
        let channel = self.session(session).seen.get(&number).copied();
        let known = channel.and_then(|key| self.channel(key).seen_consumers.remove(tag));
        let expected = known.is_some_and(|key| self.session(session).cancellations.remove(&key));
        demand!(expected, Answered, "session {session}: nobody ended consumer {tag}");
        Ok(())
    }
}

/// Whether two refusals have the same reason; which setting differs is for the rules' own tests.
fn alike(one: &Refusal, other: &Refusal) -> bool {
    match (one, other) {
        (
            Refusal::Inequivalent { kind, name, .. },
            Refusal::Inequivalent { kind: other_kind, name: other_name, .. },
        ) => kind == other_kind && name == other_name,
        (
            Refusal::ExclusiveUse(name)
            | Refusal::NotFound(_, name)
            | Refusal::Locked(name)
            | Refusal::NotEmpty(name)
            | Refusal::InUse(_, name),
            _,
        ) if name.as_str().starts_with('?') => {
            // The broker has made up a name that is not known yet.
            std::mem::discriminant(one) == std::mem::discriminant(other)
        }
        _exactly => one == other,
    }
}
