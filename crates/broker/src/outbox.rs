//! A session's outbox: events wait here until its protocol takes them. Bounded by what deliveries
//! may take ([`limits::OUTBOX_BYTES_MAX`]); everything else in it answers a request of the session,
//! so that whoever stops reading stops filling it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::event::Event;
use crate::limits;
use crate::memory::{MemoryBudget, MemoryShare, MessagesMemory};
use crate::operation::ChannelId;

/// How a session is told that something waits for it. Must not block.
pub trait Wake: Send + Sync + std::fmt::Debug {
    /// Events wait, or there is room again: somebody else is to look.
    fn wake(&self);

    /// As [`Wake::wake`], but the calling thread may do what there is to do, if it is little and
    /// does not block.
    fn wake_or_serve(&self) {
        self.wake();
    }
}

/// How much of what is on its way to the disk each session may have: the whole, shared out among
/// all there are, so that many together are bounded too and none needs to know of the others.
#[derive(Debug)]
pub(crate) struct InflightShare {
    sessions: AtomicUsize,
    /// The whole.
    total_bytes: AtomicUsize,
    memory: Arc<MemoryBudget>,
    /// Rooms that are given back when there is memory for more.
    held: Mutex<Vec<(Arc<Outbox>, usize)>>,
}

/// Sessions to be woken, each once. No lock may be held when they are: the first few may be served
/// on the spot.
#[derive(Debug, Default)]
pub(crate) struct WakeList(Vec<Arc<Outbox>>);

impl WakeList {
    /// Adds a session, unless it was among the last to be added.
    pub(crate) fn push(&mut self, outbox: Arc<Outbox>) {
        if !self.0.iter().rev().take(8).any(|known| Arc::ptr_eq(known, &outbox)) {
            self.0.push(outbox);
        }
    }

    /// Wakes them all and empties the list.
    pub(crate) fn wake(&mut self) {
        let few = self.0.len() <= limits::SERVED_ON_THE_SPOT_MAX;
        for outbox in self.0.drain(..) {
            outbox.nudge(|wake| if few { wake.wake_or_serve() } else { wake.wake() });
        }
    }
}

impl InflightShare {
    pub(crate) fn new(memory: Arc<MemoryBudget>) -> InflightShare {
        let total_bytes = AtomicUsize::new(limits::INFLIGHT_BYTES_TOTAL);
        InflightShare { sessions: AtomicUsize::new(0), total_bytes, memory, held: Mutex::default() }
    }

    /// From now on all together may have so much. What is on its way already stays.
    pub(crate) fn limit(&self, total_bytes: usize) {
        let total_bytes = total_bytes.min(limits::INFLIGHT_BYTES_TOTAL);
        self.total_bytes.store(total_bytes, Ordering::Relaxed);
    }

    /// What messages take of the memory.
    pub(crate) fn messages_memory(&self) -> MessagesMemory {
        self.memory.used()
    }

    /// A virtual host comes, and has its share of the memory.
    pub(crate) fn memory(&self) -> MemoryShare {
        self.memory.share()
    }

    fn held(&self) -> MutexGuard<'_, Vec<(Arc<Outbox>, usize)>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is memory again: rooms that were held back are given back.
    pub(crate) fn give_back_held(&self, wake: &mut WakeList) {
        let held = std::mem::take(&mut *self.held());
        for (outbox, bytes) in held {
            if outbox.settled(bytes) {
                wake.push(outbox);
            }
        }
    }

    fn bytes(&self) -> usize {
        let sessions = self.sessions.load(Ordering::Relaxed).max(1);
        let share = self.total_bytes.load(Ordering::Relaxed) / sessions;
        share.clamp(limits::INFLIGHT_BYTES_MIN, limits::INFLIGHT_BYTES_MAX)
    }
}

/// Events on their way to one session.
#[derive(Debug)]
pub struct Outbox {
    events: Mutex<Events>,
    /// Set when the session has been woken and has not looked yet, so that it is woken once.
    woken: AtomicBool,
    wake: Arc<dyn Wake>,
    share: Arc<InflightShare>,
    /// Deliveries put in and not yet written to the socket.
    waiting_bytes: AtomicUsize,
    /// The owner held deliveries back for want of room.
    starved: AtomicBool,
    /// Publishes taken from the session and not yet safe.
    inflight_bytes: AtomicUsize,
    /// The session stopped reading for want of room.
    paused: AtomicBool,
}

/// Events that may go, and behind them those that wait for the journal.
#[derive(Debug, Default)]
struct Events {
    ready: Vec<Event>,
    /// Groups in order; each may go when its ticket, and all before it, are opened.
    held: VecDeque<(u64, Vec<Event>)>,
    last_ticket: u64,
    /// Nothing that depends on the journal is told any more.
    silenced: bool,
}

impl Outbox {
    pub(crate) fn new(wake: Arc<dyn Wake>, share: Arc<InflightShare>) -> Outbox {
        share.sessions.fetch_add(1, Ordering::Relaxed);
        Outbox {
            share,
            events: Mutex::default(),
            woken: AtomicBool::new(false),
            wake,
            waiting_bytes: AtomicUsize::new(0),
            starved: AtomicBool::new(false),
            inflight_bytes: AtomicUsize::new(0),
            paused: AtomicBool::new(false),
        }
    }

    fn events(&self) -> MutexGuard<'_, Events> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, events: &[Event]) {
        let bytes: usize = events.iter().map(Event::cost_bytes).sum();
        if bytes > 0 {
            self.waiting_bytes.fetch_add(bytes, Ordering::AcqRel);
        }
    }

    /// Adds events in order; the session is woken by a [`WakeList`].
    pub(crate) fn append(&self, events: &mut Vec<Event>) {
        self.count(events);
        let mut inner = self.events();
        match inner.held.back_mut() {
            Some((_, behind)) => behind.append(events),
            None => inner.ready.append(events),
        }
    }

    /// Adds events that must not be told before the journal has what they tell of. They, and
    /// whatever is appended later, wait for [`Outbox::open`] with the ticket returned.
    pub(crate) fn hold(&self, events: &mut Vec<Event>) -> u64 {
        self.count(events);
        let mut inner = self.events();
        inner.last_ticket += 1;
        let ticket = inner.last_ticket;
        inner.held.push_back((ticket, std::mem::take(events)));
        ticket
    }

    /// What was held under tickets up to this one may go.
    pub(crate) fn open(&self, ticket: u64) {
        let mut inner = self.events();
        while let Some((held, _)) = inner.held.front()
            && *held <= ticket
            && let Some((_, mut events)) = inner.held.pop_front()
        {
            inner.ready.append(&mut events);
        }
    }

    /// What is held is never told, because the journal will not have it; only that a session has
    /// ended is true anyway. Nor are confirms, even if the frame that is being written makes it to
    /// the disk: what had to be told before them is forgotten.
    pub(crate) fn silence(&self) {
        let mut inner = self.events();
        inner.silenced = true;
        for event in std::mem::take(&mut inner.held).into_iter().flat_map(|(_, events)| events) {
            if matches!(event, Event::Ended) {
                inner.ready.push(event);
            } else {
                self.waiting_bytes.fetch_sub(event.cost_bytes(), Ordering::AcqRel);
            }
        }
    }

    /// Adds a confirm of something that is durable, before everything held; neighbours of the same
    /// channel become one range. Whatever had to go before it was attached to the journal before it.
    pub(crate) fn confirm(&self, channel: ChannelId, first: u64, last: u64) {
        let mut inner = self.events();
        if !inner.silenced {
            push_confirm(&mut inner.ready, channel, first, last);
        }
    }

    /// Adds a confirm of something that needs no journal, behind everything held.
    pub(crate) fn confirm_at_once(&self, channel: ChannelId, first: u64, last: u64) {
        let mut inner = self.events();
        let inner = &mut *inner;
        let behind = inner.held.back_mut().map_or(&mut inner.ready, |(_, events)| events);
        push_confirm(behind, channel, first, last);
    }

    /// Wakes the session's own task. May be called under any lock.
    pub(crate) fn wake(&self) {
        self.nudge(|wake| wake.wake());
    }

    /// Wakes the session for something that is not among its events.
    pub(crate) fn rouse(&self) {
        self.wake.wake();
    }

    /// Wakes the session unless it has been woken and has not looked since.
    fn nudge(&self, wake: impl FnOnce(&dyn Wake)) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            wake(&*self.wake);
        }
    }

    /// Bytes that deliveries may still add. Something always fits into an empty outbox, however
    /// large it is.
    pub(crate) fn room_bytes(&self) -> usize {
        limits::OUTBOX_BYTES_MAX.saturating_sub(self.waiting_bytes.load(Ordering::Acquire))
    }

    /// The owner holds deliveries back; the session will ask for them when it has room.
    pub(crate) fn starve(&self) {
        self.starved.store(true, Ordering::Release);
    }

    /// Moves all events to the end of `into`. Clears the wake first, so that nothing is missed.
    pub(crate) fn take(&self, into: &mut Vec<Event>) {
        self.woken.store(false, Ordering::Release);
        let mut inner = self.events();
        if into.is_empty() {
            std::mem::swap(&mut inner.ready, into);
        } else {
            into.append(&mut inner.ready);
        }
    }

    /// `bytes` of deliveries were written. Whether the owner should now be asked to go on.
    pub(crate) fn written(&self, bytes: usize) -> bool {
        if bytes == 0 {
            return false;
        }
        let before = self.waiting_bytes.fetch_sub(bytes, Ordering::AcqRel);
        before.saturating_sub(bytes) <= limits::OUTBOX_BYTES_MAX / 2
            && self.starved.load(Ordering::Acquire)
            && self.starved.swap(false, Ordering::AcqRel)
    }

    /// Whether the owner, having held deliveries back, should try again at once: everything may
    /// have been written before the session could know that it starved.
    pub(crate) fn may_resume(&self) -> bool {
        self.waiting_bytes.load(Ordering::Acquire) <= limits::OUTBOX_BYTES_MAX / 2
            && self.starved.swap(false, Ordering::AcqRel)
    }

    /// `bytes` of publishes were taken from the session.
    pub(crate) fn taken(&self, bytes: usize) {
        self.inflight_bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    /// Whether the session should stop reading until it is woken.
    pub(crate) fn is_full(&self) -> bool {
        let share_bytes = self.share.bytes();
        if self.inflight_bytes.load(Ordering::Acquire) <= share_bytes {
            return false;
        }
        self.paused.store(true, Ordering::SeqCst);
        // What was settled between the look and the mark would never wake us: look again.
        self.inflight_bytes.load(Ordering::SeqCst) > share_bytes
    }

    /// `bytes` of publishes are safe, or gone: their room is the session's again as soon as there
    /// is memory for more.
    pub(crate) fn give_back(self: Arc<Outbox>, bytes: usize, wake: &mut WakeList) {
        if !self.share.memory.is_over() {
            if self.settled(bytes) {
                wake.push(self);
            }
            return;
        }
        let share = Arc::clone(&self.share);
        share.held().push((self, bytes));
        // Whoever made room in between has not seen it.
        if !share.memory.is_over() {
            share.give_back_held(wake);
        }
    }

    /// `bytes` of publishes are safe, or gone; whether the session may wait for this.
    pub(crate) fn settled(&self, bytes: usize) -> bool {
        let before = self.inflight_bytes.fetch_sub(bytes, Ordering::SeqCst);
        before.saturating_sub(bytes) <= self.share.bytes() / 2
            && self.paused.load(Ordering::SeqCst)
            && self.paused.swap(false, Ordering::SeqCst)
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.share.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}

fn push_confirm(events: &mut Vec<Event>, channel: ChannelId, first: u64, last: u64) {
    if let Some(Event::Confirmed { channel: same, last: before, .. }) = events.last_mut()
        && *same == channel
        && *before + 1 == first
    {
        *before = last;
        return;
    }
    events.push(Event::Confirmed { channel, first, last });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Reply;

    #[derive(Debug)]
    struct Asleep;

    impl Wake for Asleep {
        fn wake(&self) {}
    }

    fn reply() -> Event {
        Event::Reply { channel: 1, reply: Reply::ChannelOpened }
    }

    #[test]
    fn whoever_does_not_hear_what_was_held_hears_no_confirm_either() {
        let share = Arc::new(InflightShare::new(MemoryBudget::new(usize::MAX)));
        let outbox = Outbox::new(Arc::new(Asleep), share);
        let ticket = outbox.hold(&mut vec![reply()]);
        outbox.confirm(1, 1, 1);
        outbox.silence();
        // The frame that was being written when writing ended made it to the disk.
        outbox.open(ticket);
        outbox.confirm(1, 2, 3);
        let mut told = Vec::new();
        outbox.take(&mut told);
        assert!(
            matches!(told[..], [Event::Confirmed { channel: 1, first: 1, last: 1 }]),
            "{told:?}"
        );
    }
}
