//! What waits to go out of a connection: events that are not yet frames, and bytes that the socket
//! has not yet taken. Events stay events, sharing their bodies with everybody else, until there is
//! room for their bytes.

use broker::{DeliveryRun, Event};

/// Bytes laid down before they are written. Enough for one good write; more would only lie there.
pub(super) const PORTION_BYTES: usize = 256 << 10;

/// Bytes that the socket may leave behind before the client is no longer read: answers to a client
/// that does not read them.
const PENDING_BYTES_MAX: usize = 1 << 20;

/// Events that may wait before the client is no longer read. Deliveries are bounded by the broker;
/// these are answers to a client that asks and asks and reads nothing.
const EVENTS_MAX: usize = 16_384;

/// Bytes of messages that a client asked for, or got back, and that wait unread before it is no
/// longer read itself.
const ANSWERS_BYTES_MAX: usize = 4 << 20;

/// What a thread with other duties may write for a connection: few events of few bytes. More is the
/// work of the connection's own task, on a core of its own.
const SMALL_EVENTS_MAX: usize = 8;
const SMALL_BYTES_MAX: usize = 8 << 10;

/// Room that an empty buffer keeps.
const KEPT_BYTES: usize = 4096;

/// Events and bytes on their way to the socket.
#[derive(Debug, Default)]
pub(super) struct Outflow {
    events: Vec<Event>,
    /// The first event that is not yet frames.
    next: usize,
    /// Of the events that are not yet frames: what those cost that the client brought about.
    answers_bytes: usize,
    pending: Vec<u8>,
    written: usize,
    /// What the events that became the pending bytes took of the session's outbox.
    cost_bytes: usize,
}

impl Outflow {
    /// Lets the broker put more events behind those that wait.
    pub(super) fn fill(&mut self, put: impl FnOnce(&mut Vec<Event>)) {
        if self.next > 0 {
            self.events.drain(..self.next);
            self.next = 0;
        }
        let known = self.events.len();
        put(&mut self.events);
        self.answers_bytes += self.events.iter().skip(known).map(answer_bytes).sum::<usize>();
    }

    /// The next event, or as much of it as makes a portion.
    pub(super) fn next_event(&mut self) -> Option<Event> {
        let event = self.events.get_mut(self.next)?;
        if let Event::Delivered(run) = event
            && let Some(front) = split_off_front(run)
        {
            self.cost_bytes += run_bytes(&front);
            return Some(Event::Delivered(front));
        }
        // What is left in its place costs nothing to keep.
        let event = std::mem::replace(event, Event::Ended);
        self.next += 1;
        if self.next == self.events.len() {
            self.events.clear();
            self.next = 0;
        }
        self.cost_bytes += event.cost_bytes();
        self.answers_bytes -= answer_bytes(&event);
        Some(event)
    }

    /// Bytes that the socket has not taken.
    pub(super) fn pending(&self) -> &[u8] {
        self.pending.get(self.written..).unwrap_or_default()
    }

    /// More bytes that it has not taken.
    pub(super) fn keep(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// The socket has taken so many more.
    pub(super) fn advance(&mut self, bytes: usize) {
        self.written += bytes;
        if self.written >= self.pending.len() {
            self.written = 0;
            if self.pending.capacity() > KEPT_BYTES {
                self.pending = Vec::new();
            } else {
                self.pending.clear();
            }
        }
    }

    /// What may be given back to the session's outbox, once everything laid down is written.
    pub(super) fn take_cost(&mut self) -> usize {
        if self.pending().is_empty() { std::mem::take(&mut self.cost_bytes) } else { 0 }
    }

    /// Whether so little waits that whoever has it may as well write it.
    pub(super) fn is_small(&self) -> bool {
        let waiting = self.events.get(self.next..).unwrap_or_default();
        waiting.len() <= SMALL_EVENTS_MAX
            && waiting.iter().map(Event::cost_bytes).sum::<usize>() <= SMALL_BYTES_MAX
    }

    /// Whether so much waits that the client should first read.
    pub(super) fn is_full(&self) -> bool {
        self.pending().len() > PENDING_BYTES_MAX
            || self.events.len() - self.next > EVENTS_MAX
            || self.answers_bytes > ANSWERS_BYTES_MAX
    }
}

/// What an event costs that the client itself brought about. Deliveries are bounded by the broker,
/// and a client that is slow to take them must still be heard.
fn answer_bytes(event: &Event) -> usize {
    if let Event::Delivered(_) = event { 0 } else { event.cost_bytes() }
}

fn run_bytes(run: &DeliveryRun) -> usize {
    run.chunk.span_bytes(run.first, run.count)
}

/// Cuts a portion off the front of a long run, leaving the rest. `None`: it is short enough.
fn split_off_front(run: &mut DeliveryRun) -> Option<DeliveryRun> {
    let bytes = run_bytes(run);
    if bytes <= PORTION_BYTES || run.count < 2 {
        return None;
    }
    // By the average size; a portion is a rule of thumb, not a limit.
    let count = u64::from(run.count) * PORTION_BYTES as u64 / bytes as u64;
    let count = u32::try_from(count).unwrap_or(1).clamp(1, run.count - 1);
    let front = DeliveryRun { count, ..run.clone() };
    run.first += count;
    run.first_tag += u64::from(count);
    run.count -= count;
    Some(front)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use broker::{ChunkBuilder, MessageHead, Persistence};
    use domain::name::Name;

    use super::*;

    fn run(messages: u32, body_bytes: u32) -> DeliveryRun {
        let head = MessageHead {
            persistence: Persistence::Transient,
            exchange: "",
            routing_key: b"q",
            properties: &[0, 0],
            ..MessageHead::default()
        };
        let mut chunk = ChunkBuilder::default();
        for _ in 0..messages {
            chunk.message(&head, body_bytes);
            chunk.body(&vec![0; body_bytes as usize]);
            chunk.end();
        }
        DeliveryRun {
            channel: 1,
            consumer_tag: Name::new("c").unwrap(),
            first_tag: 7,
            redelivered: false,
            counts: None,
            chunk: Arc::new(chunk.finish()),
            first: 0,
            count: messages,
        }
    }

    #[test]
    fn long_runs_go_out_in_portions_and_cost_the_same_in_all() {
        for (messages, body_bytes, portions) in [(3, 10, 1), (1, 1 << 20, 1), (1_000, 1_024, 4)] {
            let run = run(messages, body_bytes);
            let whole = run_bytes(&run);
            let mut outflow = Outflow::default();
            outflow.fill(|events| events.push(Event::Delivered(run)));
            let (mut next, mut count) = (0, 0);
            while let Some(Event::Delivered(run)) = outflow.next_event() {
                assert_eq!((run.first, run.first_tag), (next, 7 + u64::from(next)));
                next += run.count;
                count += 1;
            }
            assert_eq!((next, count), (messages, portions));
            assert_eq!(outflow.take_cost(), whole);
            assert_eq!(outflow.take_cost(), 0);
        }
    }

    #[test]
    fn cost_is_given_back_when_the_last_byte_is_written() {
        let mut outflow = Outflow::default();
        outflow.fill(|events| events.push(Event::Delivered(run(1, 10))));
        assert!(outflow.next_event().is_some());
        assert!(outflow.next_event().is_none());
        outflow.keep(b"abc");
        outflow.keep(b"def");
        outflow.advance(4);
        assert_eq!(outflow.take_cost(), 0);
        assert_eq!(outflow.pending(), b"ef");
        outflow.advance(2);
        assert_ne!(outflow.take_cost(), 0);
        assert!(outflow.pending().is_empty());
    }

    #[test]
    fn answers_nobody_reads_stop_the_reading() {
        let mut outflow = Outflow::default();
        outflow.keep(&vec![0; PENDING_BYTES_MAX]);
        assert!(!outflow.is_full());
        outflow.keep(&[0]);
        assert!(outflow.is_full());
        outflow.advance(1);
        assert!(!outflow.is_full());
        let nothing = (0..=EVENTS_MAX).map(|_| Event::GotNothing { channel: 1 });
        outflow.fill(|events| events.extend(nothing));
        assert!(outflow.is_full());
        assert!(outflow.next_event().is_some());
        assert!(!outflow.is_full());
    }

    #[test]
    fn returned_messages_nobody_reads_stop_the_reading_and_deliveries_do_not() {
        let body_bytes = u32::try_from(ANSWERS_BYTES_MAX).unwrap();
        let large = run(1, body_bytes);
        let returned =
            Event::Returned { channel: 1, chunk: Arc::clone(&large.chunk), index: large.first };
        let mut outflow = Outflow::default();
        outflow.fill(|events| events.push(Event::Delivered(large)));
        assert!(!outflow.is_full());
        outflow.fill(|events| events.push(returned));
        assert!(outflow.is_full());
        while outflow.next_event().is_some() {}
        assert!(!outflow.is_full());
    }
}
