//! Requests: what a batch asks for, applied to the picture, and what must be told for it.

use broker::Reply;
use broker::operation::{
    Answer, BindingChange, ChannelId, Destination, Operation, Outcome, PrefetchScope, Unroutable,
    Verb,
};
use domain::refusal::Refusal;

use super::sessions::{Channel, Expected, Told};
use super::{ChannelKey, Checker, SessionKey};
use crate::message::MessageId;

impl Checker {
    /// Anything but a publish.
    pub(crate) fn operation(&mut self, session: SessionKey, operation: &Operation) {
        self.safe = 0;
        let over = self.poisoned || self.session(session).end_asked;
        if over && !matches!(operation, Operation::End) {
            return;
        }
        match operation {
            Operation::OpenChannel { channel } => self.open_channel(session, *channel),
            Operation::CloseChannel { channel, answer } => {
                self.close_channel(session, *channel, *answer);
            }
            Operation::End => self.end(session),
            Operation::Settle { channel, tags, outcome, verb } => {
                if let Some(key) = self.open(session, *channel)
                    && let Err(refusal) = self.settle(key, *tags, *outcome)
                {
                    self.refuse(session, key, *verb, refusal);
                }
            }
            Operation::Publish(_)
            | Operation::PublishAlso { .. }
            | Operation::Lease(_)
            | Operation::SettleLeases(_)
            | Operation::Remove(_)
            | Operation::Done(_)
            | Operation::Introduce(_)
            | Operation::ResumeDeliveries
            | Operation::SelectConfirms { .. }
            | Operation::SelectTransactions { .. }
            | Operation::Commit { .. }
            | Operation::Rollback { .. }
            | Operation::SetPrefetch { .. }
            | Operation::Consume { .. }
            | Operation::ConsumeReplies { .. }
            | Operation::Cancel { .. }
            | Operation::Get { .. }
            | Operation::Recover { .. }
            | Operation::DeclareExchange { .. }
            | Operation::DeleteExchange { .. }
            | Operation::DeclareQueue { .. }
            | Operation::DeleteQueue { .. }
            | Operation::PurgeQueue { .. }
            | Operation::Bind { .. } => self.answered(session, operation),
        }
    }

    /// A request that is answered or refused as a whole.
    fn answered(&mut self, session: SessionKey, request: &Operation) {
        let Some((number, verb, answer)) = asker(request) else { return };
        let Some(key) = self.open(session, number) else { return };
        let requested = self.request(session, key, answer, request);
        if is_about_topology(request) && self.topology_changed > self.durable {
            // The answer may wait for whoever's change.
            self.hold(session);
        }
        match requested {
            Ok(told) if answer == Answer::Wanted => self.expect(session, key, told),
            Ok(_unwanted) => {}
            Err(refusal) => self.refuse(session, key, verb, refusal),
        }
    }

    fn request(
        &mut self,
        session: SessionKey,
        channel: ChannelKey,
        answer: Answer,
        operation: &Operation,
    ) -> Result<Told, Refusal> {
        use Operation as O;
        match operation {
            O::SelectConfirms { .. } => {
                if self.channel(channel).transaction.is_some() {
                    return Err(Refusal::Transactional);
                }
                self.channel(channel).publishes.get_or_insert_default();
                Ok(Told::Exactly(Reply::ConfirmsSelected))
            }
            O::SelectTransactions { .. } | O::Commit { .. } | O::Rollback { .. } => {
                self.transaction(session, channel, operation)
            }
            O::SetPrefetch { count, scope, .. } => Ok(Told::PrefetchSet(match scope {
                PrefetchScope::Consumer => {
                    self.channel(channel).prefetch = *count;
                    None
                }
                PrefetchScope::Channel => {
                    self.channel(channel).limit = *count;
                    Some(*count)
                }
            })),
            O::Consume { consume, .. } => self.consume(session, channel, consume, answer),
            O::Cancel { consumer_tag, .. } => {
                Ok(self.cancel(session, channel, consumer_tag.as_str(), answer))
            }
            O::Get { queue, acknowledgement, .. } => {
                let queue = self.usable_queue(session, channel, queue.as_str())?;
                self.session(session).may_get_unseen(queue, *acknowledgement);
                Ok(Told::Got { queue, acknowledgement: *acknowledgement })
            }
            O::Recover { .. } => {
                self.requeue_all(channel);
                Ok(Told::Recovered)
            }
            O::DeclareExchange { exchange, declare, settings, .. } => {
                self.declare_exchange(exchange, *declare, settings)
            }
            O::DeleteExchange { exchange, only_if_unused, .. } => {
                self.delete_exchange(exchange, *only_if_unused)
            }
            O::DeclareQueue { queue, declare, declaration, .. } => {
                self.declare_queue(session, channel, queue.as_str(), *declare, declaration)
            }
            O::DeleteQueue { queue, only_if_unused, only_if_empty, .. } => {
                self.delete_queue(session, channel, queue, *only_if_unused, *only_if_empty)
            }
            O::PurgeQueue { queue, .. } => self.purge(session, channel, queue.as_str()),
            O::Bind { change, source, destination, routing_key, arguments, .. } => {
                let goal = self.goal(session, channel, source, destination);
                let key = routing_key.to_vec();
                let bound = goal
                    .and_then(|goal| self.bind(*change, source.as_str(), goal, key, &arguments.0));
                match (bound, change, destination) {
                    // A binding whose end is not there is not there either.
                    (Err(Refusal::NotFound(..)), BindingChange::Remove, Destination::Queue(_)) => {
                        Ok(Told::Exactly(Reply::QueueUnbound))
                    }
                    (
                        Err(Refusal::NotFound(..)),
                        BindingChange::Remove,
                        Destination::Exchange(_),
                    ) => Ok(Told::Exactly(Reply::ExchangeUnbound)),
                    (bound, _, _) => bound,
                }
            }
            O::Publish(_)
            | O::PublishAlso { .. }
            | O::ConsumeReplies { .. }
            | O::Lease(_)
            | O::SettleLeases(_)
            | O::Remove(_)
            | O::Done(_)
            | O::Settle { .. }
            | O::OpenChannel { .. }
            | O::CloseChannel { .. }
            | O::Introduce(_)
            | O::ResumeDeliveries
            | O::End => Ok(Told::Recovered),
        }
    }

    /// The channel of that number, if it takes requests.
    pub(crate) fn open(&self, session: SessionKey, number: ChannelId) -> Option<ChannelKey> {
        let key = *self.sessions.get(&session)?.asked.get(&number)?;
        self.channels.get(&key)?.open.then_some(key)
    }

    pub(super) fn channel(&mut self, key: ChannelKey) -> &mut Channel {
        self.channels.entry(key).or_insert_with(|| Channel::new(0, 0))
    }

    pub(super) fn session(&mut self, key: SessionKey) -> &mut super::Session {
        self.sessions.entry(key).or_default()
    }

    /// The session must be told this, once the journal has what it promises.
    pub(super) fn expect(&mut self, session: SessionKey, channel: ChannelKey, told: Told) {
        let (number, asked, safe) = (self.channel(channel).number, self.turn, self.safe);
        if safe > self.durable {
            self.hold(session);
        }
        self.session(session).expected.push_back(Expected { number, channel, asked, safe, told });
    }

    fn refuse(&mut self, session: SessionKey, key: ChannelKey, verb: Verb, refusal: Refusal) {
        self.clear_channel(key);
        self.channel(key).open = false;
        self.safe = 0;
        self.expect(session, key, Told::Refused { verb, refusal });
    }

    fn open_channel(&mut self, session: SessionKey, number: ChannelId) {
        if let Some(key) = self.session(session).asked.get(&number).copied() {
            self.refuse(session, key, Verb::OpenChannel, Refusal::ChannelOpen);
            return;
        }
        let key = self.key();
        self.channels.insert(key, Channel::new(session, number));
        self.session(session).asked.insert(number, key);
        self.expect(session, key, Told::Opened);
    }

    fn close_channel(&mut self, session: SessionKey, number: ChannelId, answer: Answer) {
        let Some(key) = self.session(session).asked.remove(&number) else { return };
        self.clear_channel(key);
        let channel = self.channel(key);
        channel.open = false;
        if channel.confirmed < channel.published() {
            // Its last confirms come before the answer, and may wait for the journal.
            self.hold(session);
        }
        if answer == Answer::Wanted {
            self.expect(session, key, Told::Closed);
        }
    }

    fn end(&mut self, session: SessionKey) {
        let channels: Vec<ChannelKey> =
            std::mem::take(&mut self.session(session).asked).into_values().collect();
        let last = channels.last().copied();
        for key in channels {
            self.clear_channel(key);
            let channel = self.channel(key);
            channel.open = false;
            if channel.confirmed < channel.published() {
                self.hold(session);
            }
        }
        let owned = self.queues.iter().filter(|(_, queue)| queue.owner == Some(session));
        let owned: Vec<_> = owned.map(|(key, _)| *key).collect();
        for queue in owned {
            self.remove_queue(queue);
        }
        self.session(session).end_asked = true;
        let channel = last.unwrap_or_default();
        let asked = self.turn;
        let expected = Expected { number: 0, channel, asked, safe: 0, told: Told::Ended };
        self.session(session).expected.push_back(expected);
    }

    /// A channel's consumers go, and what it had not settled returns.
    pub(super) fn clear_channel(&mut self, key: ChannelKey) {
        let consumers = std::mem::take(&mut self.channel(key).consumers);
        let mut queues: Vec<_> =
            consumers.into_values().filter_map(|consumer| self.leave(consumer)).collect();
        self.requeue_all(key);
        if let Some(transaction) = self.channel(key).transaction.take() {
            for (_, delivery, _) in transaction.settlements {
                self.end_delivery(delivery, Outcome::Requeued);
            }
        }
        queues.sort_unstable();
        queues.dedup();
        for queue in queues {
            self.remove_if_abandoned(queue);
        }
    }

    /// A publish; the message is known already.
    pub(crate) fn publish(
        &mut self,
        session: SessionKey,
        number: ChannelId,
        unroutable: Unroutable,
        id: MessageId,
    ) {
        self.safe = 0;
        if self.poisoned {
            return;
        }
        let Some(key) = self.open(session, number) else { return };
        match self.routed(id) {
            Ok(queues) if self.channel(key).transaction.is_some() => {
                self.collect(key, id, unroutable, queues);
            }
            Ok(queues) => _ = self.enqueue(session, key, id, unroutable, &queues),
            Err(refusal) => self.refuse(session, key, Verb::Publish, refusal),
        }
    }
}

fn is_about_topology(operation: &Operation) -> bool {
    matches!(
        operation,
        Operation::DeclareExchange { .. }
            | Operation::DeleteExchange { .. }
            | Operation::DeclareQueue { .. }
            | Operation::DeleteQueue { .. }
            | Operation::PurgeQueue { .. }
            | Operation::Bind { .. }
    )
}

/// Who asks, what for, and whether an answer is wanted.
fn asker(operation: &Operation) -> Option<(ChannelId, Verb, Answer)> {
    use Operation as O;
    Some(match operation {
        O::SelectConfirms { channel, answer } => (*channel, Verb::SelectConfirms, *answer),
        O::SelectTransactions { channel } => (*channel, Verb::SelectTransactions, Answer::Wanted),
        O::Commit { channel } => (*channel, Verb::Commit, Answer::Wanted),
        O::Rollback { channel } => (*channel, Verb::Rollback, Answer::Wanted),
        O::SetPrefetch { channel, .. } => (*channel, Verb::SetPrefetch, Answer::Wanted),
        O::Consume { channel, answer, .. } => (*channel, Verb::Consume, *answer),
        O::Cancel { channel, answer, .. } => (*channel, Verb::Cancel, *answer),
        O::Get { channel, .. } => (*channel, Verb::Get, Answer::Wanted),
        O::Recover { channel, answer: Answer::Wanted } => (*channel, Verb::Recover, Answer::Wanted),
        O::Recover { channel, answer: Answer::Unwanted } => {
            (*channel, Verb::RecoverAsync, Answer::Unwanted)
        }
        O::DeclareExchange { channel, answer, .. } => (*channel, Verb::DeclareExchange, *answer),
        O::DeleteExchange { channel, answer, .. } => (*channel, Verb::DeleteExchange, *answer),
        O::DeclareQueue { channel, answer, .. } => (*channel, Verb::DeclareQueue, *answer),
        O::DeleteQueue { channel, answer, .. } => (*channel, Verb::DeleteQueue, *answer),
        O::PurgeQueue { channel, answer, .. } => (*channel, Verb::PurgeQueue, *answer),
        O::Bind { channel, change, destination, answer, .. } => {
            let verb = match (destination, change) {
                (Destination::Queue(_), BindingChange::Add) => Verb::BindQueue,
                (Destination::Queue(_), BindingChange::Remove) => Verb::UnbindQueue,
                (Destination::Exchange(_), BindingChange::Add) => Verb::BindExchange,
                (Destination::Exchange(_), BindingChange::Remove) => Verb::UnbindExchange,
            };
            (*channel, verb, *answer)
        }
        O::Publish(_)
        | O::PublishAlso { .. }
        | O::ConsumeReplies { .. }
        | O::Lease(_)
        | O::SettleLeases(_)
        | O::Remove(_)
        | O::Done(_)
        | O::Settle { .. }
        | O::OpenChannel { .. }
        | O::CloseChannel { .. }
        | O::Introduce(_)
        | O::ResumeDeliveries
        | O::End => return None,
    })
}
