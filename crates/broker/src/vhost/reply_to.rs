//! Direct replies: a channel consumes from a queue that is none, under an address that nobody can
//! guess, and whoever publishes to the default exchange with that address as routing key reaches
//! it without a queue: at most once, nothing kept, nothing journaled.
//!
//! An address ends with its consumer and is never given again. A reply that finds no room in the
//! requester's outbox is dropped and counted, as there is nowhere else to keep it. As in RabbitMQ
//! 4.2, a reply of a transaction goes at the commit; unlike in any RabbitMQ (some always return a
//! mandatory reply, some never), a mandatory reply is returned if its requester is gone.

use domain::name::Name;
use domain::refusal::{Kind, Refusal};

use super::Vhost;
use super::chunks::BatchChunk;
use super::sessions::ReplyConsumer;
use crate::event::{DeliveryRun, Event, Reply};
use crate::operation::{Acknowledgement, ChannelId, PublishRun, REPLY_QUEUE};
use crate::session_id::SessionId;

impl Vhost {
    pub(crate) fn consume_replies(
        &mut self,
        session: SessionId,
        channel: ChannelId,
        consumer: ReplyConsumer,
        acknowledgement: Acknowledgement,
    ) -> Result<Option<Reply>, Refusal> {
        let Some(state) = self.channel_mut(session, channel) else { return Ok(None) };
        if state.consumers.contains_key(&consumer.tag) {
            return Err(Refusal::ConsumerTagTaken(consumer.tag));
        }
        if acknowledgement == Acknowledgement::Manual {
            return Err(Refusal::RepliesAcknowledged);
        }
        if state.replies.is_some() {
            return Err(Refusal::RepliesConsumed);
        }
        let (consumer_tag, address) = (consumer.tag.clone(), consumer.address.clone());
        state.replies = Some(consumer);
        self.reply_addresses.insert(address, (session, channel));
        Ok(Some(Reply::Consuming { consumer_tag }))
    }

    /// Cancels the channel's consumer of replies if it has that tag; says whether it had.
    pub(crate) fn cancel_replies(
        &mut self,
        session: SessionId,
        channel: ChannelId,
        tag: &Name,
    ) -> bool {
        let replies = self.channel_mut(session, channel).and_then(|state| state.replies.as_ref());
        let found = replies.is_some_and(|consumer| consumer.tag == *tag);
        if found {
            self.end_replies(session, channel);
        }
        found
    }

    /// The channel gets no more replies.
    pub(crate) fn end_replies(&mut self, session: SessionId, channel: ChannelId) {
        let state = self.channel_mut(session, channel);
        if let Some(consumer) = state.and_then(|state| state.replies.take()) {
            self.reply_addresses.remove(&consumer.address);
        }
    }

    /// What a declaration of such a queue, passive or not, is answered: a server can ask whether the
    /// requester is still there. `None`: the name is an ordinary one.
    pub(crate) fn declare_reply_queue(
        &mut self,
        session: SessionId,
        channel: ChannelId,
        name: &Name,
    ) -> Option<Result<Reply, Refusal>> {
        if !name.as_str().starts_with(REPLY_QUEUE) {
            return None;
        }
        if name.as_str() != REPLY_QUEUE && !self.reply_addresses.contains_key(name) {
            return Some(Err(Refusal::NotFound(Kind::Queue, name.clone())));
        }
        if let Some(state) = self.channel_mut(session, channel) {
            state.last_queue = Some(name.clone());
        }
        Some(Ok(Reply::QueueDeclared { queue: name.clone(), messages: 0, consumers: 1 }))
    }

    /// Hands messages to those whose addresses are among their keys; says whether any is there.
    pub(crate) fn deliver_replies(
        &mut self,
        run: PublishRun,
        also: &[Box<[u8]>],
        chunk: &BatchChunk,
    ) -> bool {
        let Some(message) = chunk.chunk.message(run.first) else { return false };
        if !message.exchange.is_empty() {
            return false;
        }
        let further = also.iter().map(|key| &**key).filter(|key| *key != message.routing_key);
        let mut found = false;
        for key in std::iter::once(message.routing_key).chain(further) {
            if !key.starts_with(REPLY_QUEUE.as_bytes()) {
                continue;
            }
            let address = std::str::from_utf8(key).ok();
            let requester = address.and_then(|address| self.reply_addresses.get(address)).copied();
            if let Some((session, channel)) = requester {
                self.deliver_reply(session, channel, run, chunk);
                found = true;
            }
        }
        found
    }

    fn deliver_reply(
        &mut self,
        session: SessionId,
        channel: ChannelId,
        run: PublishRun,
        chunk: &BatchChunk,
    ) {
        let Some(state) = self.sessions.get_mut(session.index()) else { return };
        if state.outbox.room_bytes() <= state.events_bytes {
            self.stats.replies_dropped += u64::from(run.count);
            return;
        }
        let Some(state) = state.channels.get_mut(&channel) else { return };
        let Some(consumer) = &state.replies else { return };
        let (consumer_tag, first_tag) = (consumer.tag.clone(), state.last_tag + 1);
        state.last_tag += u64::from(run.count);
        let count = u64::from(run.count);
        state.count((session, channel), &mut self.tallies).delivered_no_ack += count;
        self.tallies.totals.counts.delivered_no_ack += count;
        self.stats.replies_delivered += u64::from(run.count);
        let (chunk, redelivered) = (std::sync::Arc::clone(&chunk.chunk), false);
        let PublishRun { first, count, .. } = run;
        self.tell(
            session,
            Event::Delivered(DeliveryRun {
                channel,
                consumer_tag,
                first_tag,
                redelivered,
                counts: None,
                chunk,
                first,
                count,
            }),
        );
    }
}
