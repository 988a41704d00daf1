//! Transactions: what a transactional channel publishes and settles is collected, and takes effect
//! when it is committed: all of it in one turn of the virtual host, which is one commit of the
//! journal, so that a crash keeps all of it or nothing.
//!
//! As in RabbitMQ: a message is routed when it is published, so that an unknown exchange is refused
//! then, but the default exchange looks for its queue at the commit; a delivery is outstanding no
//! more once it is collected, yet counts against the prefetch until the commit; a commit publishes
//! first and settles then, and if a full queue refuses some of it, the rest is done and the commit is
//! refused; a rollback makes collected deliveries outstanding again.

use std::sync::Arc;

use domain::binding::QueueId;
use domain::refusal::Refusal;
use stdx::fault::{Fault, planted};

use super::Vhost;
use super::chunks::BatchChunk;
use super::publish::routed;
use super::sessions::{Channel, Collected, Settlement, To, Transaction, Unsettled};
use super::turn::Journaled;
use crate::chunk::Chunk;
use crate::event::Reply;
use crate::limits;
use crate::operation::{ChannelId, FurtherKeys, Operation, Outcome, PublishRun, Tags};
use crate::session_id::SessionId;

impl Vhost {
    /// What the requests of class `tx` do.
    pub(crate) fn transaction_request(
        &mut self,
        session: SessionId,
        channel: ChannelId,
        request: &Operation,
    ) -> Result<Option<Reply>, Refusal> {
        let Some(state) = self.channel_mut(session, channel) else { return Ok(None) };
        if let Operation::SelectTransactions { .. } = request {
            if state.confirms.is_some() {
                return Err(Refusal::Confirming);
            }
            state.transaction.get_or_insert_default();
            return Ok(Some(Reply::TransactionsSelected));
        }
        let Some(transaction) =
            state.transaction.as_mut().map(|boxed| std::mem::take(&mut **boxed))
        else {
            return Err(Refusal::NotTransactional);
        };
        self.no_longer_held(session, transaction.bytes);
        if let Operation::Rollback { .. } = request {
            if let Some(state) = self.channel_mut(session, channel) {
                state.take_back(transaction.settlements);
            }
            return Ok(Some(Reply::RolledBack));
        }
        self.commit(session, channel, transaction).map(Some)
    }

    fn commit(
        &mut self,
        session: SessionId,
        channel: ChannelId,
        transaction: Transaction,
    ) -> Result<Reply, Refusal> {
        let Some(state) = self.session_mut(session) else { return Ok(Reply::Committed) };
        let outbox = Arc::clone(&state.outbox);
        let refused_before = self.stats.refused;
        // From here on it is like any batch: in flight until it is safe.
        outbox.taken(transaction.bytes);
        let mut chunks: Vec<BatchChunk> =
            transaction.chunks.into_iter().map(BatchChunk::shared).collect();
        for Collected { run, to } in transaction.publishes {
            let Some(chunk) = chunks.get_mut(run.chunk as usize) else { continue };
            let (queues, also) = match to {
                To::Queues(queues) => (queues.into(), FurtherKeys::default()),
                To::Named(also) => (self.named_queues(run, &also, chunk), also),
            };
            self.count_committed(run, chunk, queues.len());
            self.publish_to(session, (run, &also), &queues, chunk);
        }
        let refused = self.stats.refused - refused_before;
        for Settlement { delivery, outcome, .. } in transaction.settlements {
            self.settle_delivery(session, channel, &delivery, outcome);
        }
        // Dead letters of a transaction belong to it, however many they are.
        self.bury_all_dead();
        let any = chunks.iter().any(|chunk| self.chunks.is_journaled(chunk));
        for chunk in &mut chunks {
            self.chunks.leave(chunk);
        }
        let journaled = if any { Journaled::Yes } else { Journaled::No };
        self.turn.batch_applied(outbox, transaction.bytes, journaled);
        let changed = !self.turn.staged.is_empty() || !self.turn.settled.is_empty();
        if changed && !planted(Fault::CommitBeforeSync) {
            self.gate(session);
        }
        if refused > 0 { Err(Refusal::PartialTransaction) } else { Ok(Reply::Committed) }
    }

    fn count_committed(&mut self, run: PublishRun, chunk: &BatchChunk, queues: usize) {
        let Some(message) = chunk.chunk.message(run.first) else { return };
        let source = self.topology.exchange_id(message.exchange);
        // It may have gone since.
        if source.is_some() || message.exchange.is_empty() {
            self.tallies.count_routed(source, run.count, queues);
        }
    }

    /// The queues that the default exchange knows now by the keys of these messages.
    fn named_queues(
        &mut self,
        run: PublishRun,
        also: &[Box<[u8]>],
        chunk: &BatchChunk,
    ) -> Vec<QueueId> {
        let Some(message) = chunk.chunk.message(run.first) else { return Vec::new() };
        let named = routed(&message, also);
        // The default exchange is there always.
        _ = self.topology.route(&named, &mut self.route);
        std::mem::take(&mut self.route.queues)
    }

    /// Keeps publishes for the commit; `self.route` says where they go.
    pub(crate) fn collect_publishes(
        &mut self,
        session: SessionId,
        run: PublishRun,
        also: &[Box<[u8]>],
        chunk: &Arc<Chunk>,
    ) -> Result<(), Refusal> {
        let by_name = chunk.message(run.first).is_some_and(|message| message.exchange.is_empty());
        let to = if by_name {
            To::Named(also.into())
        } else {
            To::Queues(self.route.queues.as_slice().into())
        };
        let Some(transaction) = self.transaction_mut(session, run.channel) else { return Ok(()) };
        let before_bytes = transaction.bytes;
        transaction.publish(run, to, chunk);
        let more_bytes = transaction.bytes - before_bytes;
        self.held(session, more_bytes)
    }

    /// Keeps the end of deliveries for the commit.
    pub(crate) fn collect_settlements(
        &mut self,
        session: SessionId,
        channel: ChannelId,
        tags: Tags,
        outcome: Outcome,
    ) -> Result<(), Refusal> {
        let Some(state) = self.channel_mut(session, channel) else { return Ok(()) };
        let taken = state.take_unsettled(tags).map_err(Refusal::UnknownDeliveryTag)?;
        self.stats.settled_late += taken.late;
        let Some(transaction) = self.transaction_mut(session, channel) else { return Ok(()) };
        let before_bytes = transaction.bytes;
        for (first_tag, delivery) in taken.deliveries {
            transaction.settle(Settlement { first_tag, delivery, outcome });
        }
        let more_bytes = transaction.bytes - before_bytes;
        self.held(session, more_bytes)
    }

    /// A channel ends: what it has not committed never happens; its collected deliveries, which
    /// return to their queues.
    pub(crate) fn forget_transaction(
        &mut self,
        session: SessionId,
        channel: ChannelId,
    ) -> Vec<Unsettled> {
        let state = self.channel_mut(session, channel);
        let Some(transaction) = state.and_then(|state| state.transaction.take()) else {
            return Vec::new();
        };
        self.no_longer_held(session, transaction.bytes);
        transaction.settlements.iter().map(|settlement| settlement.delivery).collect()
    }

    fn transaction_mut(
        &mut self,
        session: SessionId,
        channel: ChannelId,
    ) -> Option<&mut Transaction> {
        self.channel_mut(session, channel)?.transaction.as_deref_mut()
    }

    /// A transaction of the session holds so much more. Refused beyond the limits, but for what is
    /// alone: one message is as large as any may be.
    fn held(&mut self, session: SessionId, bytes: usize) -> Result<(), Refusal> {
        self.transactions_bytes += bytes;
        let total = self.transactions_bytes;
        let Some(state) = self.session_mut(session) else { return Ok(()) };
        state.transactions_bytes += bytes;
        let alone = state.transactions_bytes == bytes;
        if !alone && state.transactions_bytes > limits::TRANSACTION_BYTES_MAX {
            return Err(Refusal::TransactionTooLarge(limits::TRANSACTION_BYTES_MAX));
        }
        if total > limits::TRANSACTIONS_BYTES_TOTAL {
            return Err(Refusal::TransactionsTooLarge(limits::TRANSACTIONS_BYTES_TOTAL));
        }
        Ok(())
    }

    fn no_longer_held(&mut self, session: SessionId, bytes: usize) {
        self.transactions_bytes -= bytes;
        if let Some(state) = self.session_mut(session) {
            state.transactions_bytes -= bytes;
        }
    }
}

impl Channel {
    /// Collected deliveries are outstanding again.
    fn take_back(&mut self, settlements: Vec<Settlement>) {
        self.unsettled.extend(settlements.into_iter().map(|back| (back.first_tag, back.delivery)));
    }
}
