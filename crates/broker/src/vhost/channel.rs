//! Channels and sessions: opening, closing, answering, refusing.

use domain::credit::Credit;
use domain::queue::Return;
use domain::refusal::Refusal;

use super::Vhost;
use super::sessions::{Channel, Confirms, Gate, ReplyConsumer, SessionState};
use crate::channel_limits::UserChannels;
use crate::event::{Event, Reply};
use crate::operation::{Answer, ChannelId, Operation, PrefetchScope, Verb};
use crate::session_id::SessionId;

impl Vhost {
    pub(crate) fn tell(&mut self, session: SessionId, event: Event) {
        let Some(state) = self.sessions.get_mut(session.index()) else { return };
        state.events_bytes += event.cost_bytes();
        state.events.push(event);
        self.touch(session);
    }

    /// At the end of the turn the session is looked at.
    pub(crate) fn touch(&mut self, session: SessionId) {
        let Some(state) = self.sessions.get_mut(session.index()) else { return };
        if !state.touched {
            state.touched = true;
            self.turn.touched.push(session);
        }
    }

    /// Tells of consumers whose queue went, behind the answer to whoever deleted it: clients that wait
    /// for that take nothing else for it (RabbitMQ has the same order).
    pub(crate) fn tell_cancelled(&mut self) {
        while let Some((session, event)) = self.turn.cancelled.pop_front() {
            self.tell(session, event);
        }
    }

    pub(crate) fn reply(
        &mut self,
        session: SessionId,
        channel: ChannelId,
        answer: Answer,
        reply: Option<Reply>,
    ) {
        if let (Answer::Wanted, Some(reply)) = (answer, reply) {
            self.tell(session, Event::Reply { channel, reply });
        }
    }

    /// Refuses a request: the channel ends here and now, as in RabbitMQ; its number stays taken
    /// until it is closed.
    pub(crate) fn refuse(
        &mut self,
        session: SessionId,
        channel: ChannelId,
        verb: Verb,
        refusal: Refusal,
    ) {
        self.clear_channel(session, channel);
        if let Some(state) = self.channel_mut(session, channel) {
            state.failed = true;
            self.tell(session, Event::Refused { channel, verb, refusal });
        }
    }

    pub(crate) fn session_mut(&mut self, session: SessionId) -> Option<&mut SessionState> {
        self.sessions.get_mut(session.index())
    }

    pub(crate) fn channel_mut(
        &mut self,
        session: SessionId,
        channel: ChannelId,
    ) -> Option<&mut Channel> {
        self.session_mut(session)?.channels.get_mut(&channel)
    }

    pub(crate) fn channel(&self, session: SessionId, channel: ChannelId) -> Option<&Channel> {
        self.sessions.get(session.index())?.channels.get(&channel)
    }

    pub(crate) fn is_open(&self, session: SessionId, channel: ChannelId) -> bool {
        self.channel(session, channel).is_some_and(|channel| !channel.failed)
    }

    pub(crate) fn open_channel(&mut self, session: SessionId, channel: ChannelId) {
        let Some(state) = self.session_mut(session) else { return };
        if state.channels.contains_key(&channel) {
            self.refuse(session, channel, Verb::OpenChannel, Refusal::ChannelOpen);
            return;
        }
        let place = match state.user_channels.as_ref().map(UserChannels::open).transpose() {
            Ok(place) => place,
            Err(channels_max) => {
                let user = state.access.user.clone();
                let refusal = Refusal::ChannelLimit { user, channels_max };
                self.tell(session, Event::Refused { channel, verb: Verb::OpenChannel, refusal });
                return;
            }
        };
        state.channels.insert(channel, Channel { place, ..Channel::default() });
        self.stats.channels_opened += 1;
        self.reply(session, channel, Answer::Wanted, Some(Reply::ChannelOpened));
    }

    pub(crate) fn close_channel(&mut self, session: SessionId, channel: ChannelId, answer: Answer) {
        self.clear_channel(session, channel);
        let closed = self.session_mut(session).and_then(|state| state.channels.remove(&channel));
        self.stats.channels_closed += u64::from(closed.is_some());
        if let Some(confirms) = closed.and_then(|closed| closed.confirms) {
            self.confirm_closed(session, channel, confirms);
        }
        self.reply(session, channel, answer, Some(Reply::ChannelClosed));
    }

    /// A closed channel's last confirms go before the number can be used again: to its next user
    /// they would be lies. And nothing follows the end of a session.
    fn confirm_closed(&mut self, session: SessionId, channel: ChannelId, confirms: Confirms) {
        if self.is_poisoned() {
            return;
        }
        let mut confirms = confirms;
        // As events, so that what was returned before comes before.
        confirms.take_due(|first, last| {
            self.tell(session, Event::Confirmed { channel, first, last });
        });
        if confirms.journaled || confirms.position > self.journal.durable() {
            self.close_gate(session, Gate::Successors);
        }
    }

    /// Stops a channel's consumers and returns what it had not settled.
    fn clear_channel(&mut self, session: SessionId, channel: ChannelId) {
        self.end_replies(session, channel);
        let collected = self.forget_transaction(session, channel);
        let Some(state) = self.channel_mut(session, channel) else { return };
        let consumers = std::mem::take(&mut state.consumers);
        let unsettled = std::mem::take(&mut state.unsettled);
        state.credit = Credit::default();
        state.expired.clear();
        state.place = None;
        let mut queues: Vec<_> =
            consumers.values().filter_map(|consumer| self.remove_consumer(*consumer)).collect();
        // That the broker stops is no failure of a message.
        let how = if self.closing.is_some() { Return::Released } else { Return::Failed };
        for delivery in unsettled.values().chain(&collected) {
            self.requeue(delivery, how);
        }
        queues.sort_unstable();
        queues.dedup();
        for queue in queues {
            self.delete_if_abandoned(queue);
        }
    }

    /// The session is over.
    pub(crate) fn end(&mut self, session: SessionId) {
        let Some(state) = self.session_mut(session) else { return };
        let mut channels: Vec<ChannelId> = state.channels.keys().copied().collect();
        // In a fixed order, so that what returns to queues does so alike in every run.
        channels.sort_unstable();
        let queues = std::mem::take(&mut state.exclusive_queues);
        let waiters = std::mem::take(&mut state.waiters);
        self.stats.channels_closed += channels.len() as u64;
        for waiter in waiters {
            self.leave_line(waiter);
        }
        for channel in channels {
            self.clear_channel(session, channel);
            let state = self.channel_mut(session, channel);
            if let Some(confirms) = state.and_then(|state| state.confirms.take()) {
                self.confirm_closed(session, channel, confirms);
            }
        }
        for queue in queues {
            self.remove_queue(queue);
        }
        self.tell(session, Event::Ended);
        self.turn.ended.push(session);
    }

    /// What a request of an open channel does; `None`: it answers by other means.
    pub(crate) fn request_reply(
        &mut self,
        session: SessionId,
        operation: Operation,
    ) -> Result<Option<Reply>, Refusal> {
        use Operation as O;
        match operation {
            O::SelectConfirms { channel, .. } => {
                if let Some(state) = self.channel_mut(session, channel) {
                    if state.transaction.is_some() {
                        return Err(Refusal::Transactional);
                    }
                    state.confirms.get_or_insert_with(Confirms::default);
                }
                Ok(Some(Reply::ConfirmsSelected))
            }
            O::SelectTransactions { channel } | O::Commit { channel } | O::Rollback { channel } => {
                self.transaction_request(session, channel, &operation)
            }
            O::SetPrefetch { channel, count, scope } => {
                self.set_prefetch(session, channel, count, scope);
                Ok(Some(Reply::PrefetchSet))
            }
            O::Consume { channel, consume, .. } => {
                self.consume(session, channel, *consume).map(Some)
            }
            O::ConsumeReplies { channel, consumer_tag: tag, address, acknowledgement, .. } => {
                let consumer = ReplyConsumer { tag, address };
                self.consume_replies(session, channel, consumer, acknowledgement)
            }
            O::Cancel { channel, consumer_tag, .. } => {
                Ok(Some(self.cancel(session, channel, consumer_tag)))
            }
            O::Get { channel, queue, acknowledgement } => {
                self.get(session, channel, &queue, acknowledgement).map(|()| None)
            }
            O::Recover { channel, .. } => {
                self.recover(session, channel);
                Ok(Some(Reply::Recovered))
            }
            O::DeclareExchange { exchange, declare, settings, .. } => {
                self.declare_exchange(session, &exchange, declare, &settings).map(Some)
            }
            O::DeleteExchange { exchange, only_if_unused, .. } => {
                self.delete_exchange(session, &exchange, only_if_unused).map(Some)
            }
            O::DeclareQueue { channel, queue, declare, declaration, .. } => {
                self.declare_queue(session, channel, queue, declare, *declaration).map(Some)
            }
            O::DeleteQueue { channel, queue, only_if_unused, only_if_empty, .. } => {
                self.delete_queue(session, channel, &queue, only_if_unused, only_if_empty).map(Some)
            }
            O::PurgeQueue { channel, queue, .. } => {
                self.purge_queue(session, channel, &queue).map(Some)
            }
            O::Bind { channel, change, source, destination, routing_key, arguments, .. } => {
                let record = crate::journaled::binding_records::BindingRecord {
                    source,
                    destination,
                    key: routing_key,
                    arguments,
                };
                self.change_binding(session, channel, change, record).map(Some)
            }
            O::Publish(_)
            | O::PublishAlso { .. }
            | O::Settle { .. }
            | O::OpenChannel { .. }
            | O::CloseChannel { .. }
            | O::Lease(_)
            | O::SettleLeases(_)
            | O::Remove(_)
            | O::Done(_)
            | O::Introduce(_)
            | O::ResumeDeliveries
            | O::End => Ok(None),
        }
    }

    fn set_prefetch(
        &mut self,
        session: SessionId,
        channel: ChannelId,
        count: u16,
        scope: PrefetchScope,
    ) {
        let Some(state) = self.channel_mut(session, channel) else { return };
        match scope {
            PrefetchScope::Consumer => state.prefetch = count,
            PrefetchScope::Channel => {
                state.credit = state.credit.with_limit(count);
                self.resume_channel(session, channel);
            }
        }
    }
}
