//! A batch: what one read of a socket asked for. A protocol hands its builder the pieces of each
//! publish while parsing; they are laid down once, in chunks, in the shape storage will write.

use crate::chunk::{Chunk, ChunkBuilder, MessageHead, Persistence};
use crate::operation::{ChannelId, FurtherKeys, Operation, PublishRun, Unroutable};

/// Operations in order, and the messages they publish.
#[derive(Debug, Default)]
pub struct Batch {
    operations: Vec<Operation>,
    /// Persistent messages lie apart from transient ones, so that the journal writes only the former.
    persistent: Open,
    transient: Open,
    /// Sealed chunks; an open one takes its number when its first message comes.
    chunks: Vec<Option<Chunk>>,
    /// Bytes that lie with the operations: further routing keys, messages to be moved, results.
    beside_bytes: usize,
}

/// A chunk being filled, and its number in the batch.
#[derive(Debug, Default)]
struct Open {
    builder: ChunkBuilder,
    number: Option<u32>,
}

impl Open {
    /// Lays a whole message down behind the others.
    #[inline]
    fn lay_down(&mut self, head: &MessageHead<'_>, body: &[u8]) {
        self.builder.message(head, u32::try_from(body.len()).unwrap_or(u32::MAX));
        self.builder.body(body);
        self.builder.end();
    }
}

/// A large message whose body arrives in many reads; it becomes a chunk of its own.
#[derive(Debug)]
pub struct LargeMessage {
    builder: ChunkBuilder,
    missing_bytes: u32,
    also: FurtherKeys,
    persistence: Persistence,
    priority: Option<u8>,
    expiration_ms: Option<u64>,
}

impl LargeMessage {
    /// Starts with the head; `body_bytes` is what the publisher announced. Memory is taken as the
    /// body arrives, not on the announcement's word.
    pub fn begin(head: &MessageHead<'_>, body_bytes: u32) -> LargeMessage {
        let mut builder = ChunkBuilder::default();
        builder.message_unreserved(head, body_bytes);
        LargeMessage {
            builder,
            missing_bytes: body_bytes,
            also: FurtherKeys::default(),
            persistence: head.persistence,
            priority: head.priority,
            expiration_ms: head.expiration_ms,
        }
    }

    /// Routes it by further keys too.
    #[must_use]
    pub fn also(self, also: FurtherKeys) -> LargeMessage {
        LargeMessage { also, ..self }
    }

    /// How many bytes of the body are still to come.
    pub fn missing_bytes(&self) -> u32 {
        self.missing_bytes
    }

    /// Appends a piece of the body; whatever is beyond the announced size is not taken.
    ///
    /// Returns how many bytes are still missing.
    pub fn body(&mut self, piece: &[u8]) -> u32 {
        let taken = piece.len().min(self.missing_bytes as usize);
        self.builder.body(&piece[..taken]);
        self.missing_bytes -= u32::try_from(taken).unwrap_or(self.missing_bytes);
        self.missing_bytes
    }
}

impl Batch {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// Bytes of the messages in it.
    pub fn len_bytes(&self) -> usize {
        let sealed: usize = self.chunks.iter().flatten().map(|chunk| chunk.bytes().len()).sum();
        sealed + self.persistent.builder.len_bytes() + self.transient.builder.len_bytes()
    }

    /// What it takes of its session's room until it is applied and safe.
    pub(crate) fn cost_bytes(&self) -> usize {
        self.len_bytes()
            + self.operations.len() * std::mem::size_of::<Operation>()
            + self.beside_bytes
    }

    /// Adds any operation but a publish.
    pub fn push(&mut self, operation: Operation) {
        if let Operation::Remove(removal) = &operation {
            self.beside_bytes += removal.cost_bytes();
        }
        if let Operation::SettleLeases(settlements) = &operation {
            self.beside_bytes += settlements.cost_bytes();
        }
        self.operations.push(operation);
    }

    /// Adds the publish of a message whose body is at hand.
    #[inline]
    pub fn publish(
        &mut self,
        channel: ChannelId,
        unroutable: Unroutable,
        head: &MessageHead<'_>,
        body: &[u8],
    ) {
        let (open, number) = self.open(head.persistence);
        let index = open.builder.count();
        let same_route = index > 0 && open.builder.last_route_is(head.exchange, head.routing_key);
        open.lay_down(head, body);
        if same_route
            && let Some(Operation::Publish(run)) = self.operations.last_mut()
            && run.chunk == number
            && run.channel == channel
            && run.unroutable == unroutable
            && (run.priority, run.expiration_ms) == (head.priority, head.expiration_ms)
        {
            run.count += 1;
            return;
        }
        let run = PublishRun {
            channel,
            chunk: number,
            first: index,
            count: 1,
            unroutable,
            persistence: head.persistence,
            priority: head.priority,
            expiration_ms: head.expiration_ms,
        };
        self.operations.push(Operation::Publish(run));
    }

    /// Adds the publish of a message that is to be routed by further keys too.
    pub fn publish_also(
        &mut self,
        channel: ChannelId,
        unroutable: Unroutable,
        head: &MessageHead<'_>,
        body: &[u8],
        also: FurtherKeys,
    ) {
        if also.is_empty() {
            return self.publish(channel, unroutable, head, body);
        }
        let (open, chunk) = self.open(head.persistence);
        let first = open.builder.count();
        open.lay_down(head, body);
        let run = PublishRun {
            channel,
            chunk,
            first,
            count: 1,
            unroutable,
            persistence: head.persistence,
            priority: head.priority,
            expiration_ms: head.expiration_ms,
        };
        self.push_one(run, also);
    }

    /// Adds the publish of a large message that is complete.
    pub fn publish_large(
        &mut self,
        channel: ChannelId,
        unroutable: Unroutable,
        message: LargeMessage,
    ) {
        debug_assert_eq!(message.missing_bytes, 0, "only whole messages are published");
        let mut builder = message.builder;
        builder.end();
        let chunk = u32::try_from(self.chunks.len()).unwrap_or(u32::MAX);
        self.chunks.push(Some(builder.finish()));
        let run = PublishRun {
            channel,
            chunk,
            first: 0,
            count: 1,
            unroutable,
            persistence: message.persistence,
            priority: message.priority,
            expiration_ms: message.expiration_ms,
        };
        self.push_one(run, message.also);
    }

    /// A run of one message.
    fn push_one(&mut self, run: PublishRun, also: FurtherKeys) {
        if also.is_empty() {
            self.operations.push(Operation::Publish(run));
            return;
        }
        let bytes: usize = also.iter().map(|key| key.len()).sum();
        self.beside_bytes += std::mem::size_of_val(&*also) + bytes;
        self.operations.push(Operation::PublishAlso { run, also });
    }

    /// The chunk for messages of that kind, and its number.
    #[inline]
    fn open(&mut self, persistence: Persistence) -> (&mut Open, u32) {
        let open = match persistence {
            Persistence::Persistent => &mut self.persistent,
            Persistence::Transient => &mut self.transient,
        };
        let number = *open.number.get_or_insert_with(|| {
            self.chunks.push(None);
            u32::try_from(self.chunks.len() - 1).unwrap_or(u32::MAX)
        });
        (open, number)
    }

    /// Everything in it, for whoever looks at a protocol without a broker behind it.
    pub fn into_parts(mut self) -> (Vec<Operation>, Vec<Chunk>) {
        let Sealed { operations, chunks, .. } = self.seal();
        (operations, chunks)
    }

    /// Whether it ends its session.
    pub(crate) fn ends(&self) -> bool {
        self.operations.iter().any(|operation| matches!(operation, Operation::End))
    }

    /// Takes everything out, ready to be applied; the builder is empty afterwards.
    pub(crate) fn seal(&mut self) -> Sealed {
        for open in [&mut self.persistent, &mut self.transient] {
            let Open { builder, number } = std::mem::take(open);
            if let Some(number) = number {
                self.chunks[number as usize] = Some(builder.finish());
            }
        }
        self.beside_bytes = 0;
        let chunks = std::mem::take(&mut self.chunks).into_iter().flatten().collect();
        Sealed { operations: std::mem::take(&mut self.operations), chunks }
    }
}

/// A batch on its way to the owner.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) operations: Vec<Operation>,
    pub(crate) chunks: Vec<Chunk>,
}
