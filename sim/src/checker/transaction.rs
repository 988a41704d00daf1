//! Transactions: what a channel collects, and what its commit does at once.

use broker::Reply;
use broker::operation::{Operation, Outcome, Unroutable};
use domain::refusal::Refusal;

use super::queue::QueueKey;
use super::sessions::{Collected, Publish, Told, Transaction};
use super::{ChannelKey, Checker, SessionKey};
use crate::message::MessageId;

impl Checker {
    pub(super) fn transaction(
        &mut self,
        session: SessionKey,
        channel: ChannelKey,
        request: &Operation,
    ) -> Result<Told, Refusal> {
        let state = self.channel(channel);
        if let Operation::SelectTransactions { .. } = request {
            if state.publishes.is_some() {
                return Err(Refusal::Confirming);
            }
            state.transaction.get_or_insert_default();
            return Ok(Told::Exactly(Reply::TransactionsSelected));
        }
        let transaction = state.transaction.as_mut().ok_or(Refusal::NotTransactional)?;
        let Transaction { publishes, settlements } = std::mem::take(transaction);
        if let Operation::Rollback { .. } = request {
            let back = settlements.into_iter().map(|(tag, delivery, _)| (tag, delivery));
            state.unsettled.extend(back);
            return Ok(Told::Exactly(Reply::RolledBack));
        }
        let mut journaled = false;
        for Collected { message, unroutable, queues } in publishes {
            let queues = match queues {
                Some(queues) => queues,
                None => self.routed(message).unwrap_or_default(),
            };
            journaled |= self.enqueue(session, channel, message, unroutable, &queues);
        }
        for (_, delivery, outcome) in settlements {
            let queue = self.queues.get(&delivery.queue).filter(|queue| !queue.deleted);
            let entry = queue.and_then(|queue| queue.entries.get(&delivery.place));
            let leaves = matches!(outcome, Outcome::Acknowledged | Outcome::Rejected);
            journaled |= leaves && entry.is_some_and(|entry| entry.journaled);
            self.end_delivery(delivery, outcome);
        }
        // Letters of a transaction belong to it.
        self.bury();
        if journaled {
            self.safe = self.turn;
        }
        // The answer may wait for what others did in this turn, too.
        self.hold(session);
        Ok(Told::Exactly(Reply::Committed))
    }

    /// The queues that a message is routed to now.
    pub(super) fn routed(&self, id: MessageId) -> Result<Vec<QueueKey>, Refusal> {
        let Some(content) = self.messages.content(id) else { return Ok(Vec::new()) };
        let names = &self.names;
        let keys: Vec<&[u8]> = content.keys().collect();
        let there = |name: &str| names.contains_key(name);
        let exchange = content.exchange.as_str();
        let queues = self.topology.route(exchange, &keys, &content.headers, there)?;
        Ok(queues.iter().filter_map(|name| names.get(name).copied()).collect())
    }

    /// Keeps a publish for the commit.
    pub(super) fn collect(
        &mut self,
        channel: ChannelKey,
        message: MessageId,
        unroutable: Unroutable,
        queues: Vec<QueueKey>,
    ) {
        let content = self.messages.content(message);
        let by_name = content.is_some_and(|content| content.exchange.is_empty());
        let queues = (!by_name).then_some(queues);
        if let Some(transaction) = &mut self.channel(channel).transaction {
            transaction.publishes.push(Collected { message, unroutable, queues });
        }
    }

    /// A message goes to these queues, or back; says whether the journal must have it.
    pub(super) fn enqueue(
        &mut self,
        session: SessionKey,
        channel: ChannelKey,
        message: MessageId,
        unroutable: Unroutable,
        queues: &[QueueKey],
    ) -> bool {
        let content = self.messages.content(message).cloned();
        let now = (self.turn, self.now_ms);
        let (mut journaled, mut taken) = (false, false);
        for queue in queues {
            let queue = self.queues.get_mut(queue).filter(|queue| !queue.deleted);
            if let (Some(queue), Some(content)) = (queue, &content) {
                journaled |= queue.enqueue(message, content, now);
                taken = true;
            }
        }
        let to_return = !taken && unroutable == Unroutable::Returned;
        let since = journaled.then_some(self.turn);
        let publishes = &mut self.channel(channel).publishes;
        let publish = publishes.as_mut().map(|publishes| {
            publishes.push(Publish { journaled: since, to_return });
            publishes.len() - 1
        });
        if to_return {
            self.safe = 0;
            self.expect(session, channel, Told::Returned { message, publish });
        }
        journaled
    }
}
