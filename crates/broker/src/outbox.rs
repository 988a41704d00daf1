//! A session's outbox: events wait here until its protocol takes them. Bounded by what deliveries
//! may take ([`limits::OUTBOX_BYTES_MAX`]); everything else in it answers a request of the session,
//! so that whoever stops reading stops filling it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::event::Event;
use crate::limits;
use crate::operation::ChannelId;

/// How a session is told that something waits for it. Must not block.
pub trait Wake: Send + Sync + std::fmt::Debug {
    /// Events wait, or there is room again.
    fn wake(&self);
}

/// Events on their way to one session.
#[derive(Debug)]
pub struct Outbox {
    events: Mutex<Vec<Event>>,
    /// Set when the session has been woken and has not looked yet, so that it is woken once.
    woken: AtomicBool,
    wake: Arc<dyn Wake>,
    /// Deliveries put in and not yet written to the socket.
    waiting_bytes: AtomicUsize,
    /// The owner held deliveries back for want of room.
    starved: AtomicBool,
    /// Publishes taken from the session and not yet safe.
    inflight_bytes: AtomicUsize,
    /// The session stopped reading for want of room.
    paused: AtomicBool,
}

impl Outbox {
    pub(crate) fn new(wake: Arc<dyn Wake>) -> Outbox {
        Outbox {
            events: Mutex::default(),
            woken: AtomicBool::new(false),
            wake,
            waiting_bytes: AtomicUsize::new(0),
            starved: AtomicBool::new(false),
            inflight_bytes: AtomicUsize::new(0),
            paused: AtomicBool::new(false),
        }
    }

    fn events(&self) -> std::sync::MutexGuard<'_, Vec<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds events in order; the session is woken by [`Outbox::nudge`].
    pub(crate) fn append(&self, events: &mut Vec<Event>) {
        let bytes: usize = events.iter().map(Event::cost_bytes).sum();
        if bytes > 0 {
            self.waiting_bytes.fetch_add(bytes, Ordering::AcqRel);
        }
        self.events().append(events);
    }

    /// Adds a confirm; neighbours of the same channel become one range.
    pub(crate) fn confirm(&self, channel: ChannelId, first: u64, last: u64) {
        let mut events = self.events();
        if let Some(Event::Confirmed { channel: same, last: before, .. }) = events.last_mut()
            && *same == channel
            && *before + 1 == first
        {
            *before = last;
            return;
        }
        events.push(Event::Confirmed { channel, first, last });
    }

    /// Wakes the session unless it has been woken and has not looked since.
    pub(crate) fn nudge(&self) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            self.wake.wake();
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
        let mut events = self.events();
        if into.is_empty() {
            std::mem::swap(&mut *events, into);
        } else {
            into.append(&mut events);
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

    /// `bytes` of publishes were taken from the session.
    pub(crate) fn taken(&self, bytes: usize) {
        self.inflight_bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    /// Whether the session should stop reading until it is woken.
    pub(crate) fn is_full(&self) -> bool {
        if self.inflight_bytes.load(Ordering::Acquire) <= limits::INFLIGHT_BYTES_MAX {
            return false;
        }
        self.paused.store(true, Ordering::SeqCst);
        // What was settled between the look and the mark would never wake us: look again.
        self.inflight_bytes.load(Ordering::SeqCst) > limits::INFLIGHT_BYTES_MAX
    }

    /// `bytes` of publishes are safe, or gone; whether the session may wait for this.
    pub(crate) fn settled(&self, bytes: usize) -> bool {
        let before = self.inflight_bytes.fetch_sub(bytes, Ordering::SeqCst);
        before.saturating_sub(bytes) <= limits::INFLIGHT_BYTES_MAX / 2
            && self.paused.load(Ordering::SeqCst)
            && self.paused.swap(false, Ordering::SeqCst)
    }
}
