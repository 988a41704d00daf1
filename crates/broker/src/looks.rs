//! Lists of everything in a virtual host, made for whoever looks and shown to all who look soon after:
//! each is made in slices, between which the owner goes on with its work, and so seldom that looking
//! all the time takes a twentieth of a core at most.

use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use stdx::clock::Clock;

use crate::hub::Hub;
use crate::limits;
use crate::views::{BindingView, ChannelView, ConsumerView, ExchangeView, QueueView};

/// A list as it was at some moment, in a fixed order.
#[derive(Debug)]
pub struct Listing<T> {
    /// When it was made, in milliseconds since 1970.
    pub wall_ms: u64,
    items: Vec<T>,
}

impl<T> Deref for Listing<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items
    }
}

/// A list that is made now and then.
#[derive(Debug)]
pub(crate) struct Look<T> {
    shown: Mutex<Option<Shown<T>>>,
    /// Held by who makes the next one.
    making: Mutex<()>,
}

#[derive(Debug)]
struct Shown<T> {
    listing: Arc<Listing<T>>,
    /// Until when it is shown again, in nanoseconds.
    until_ns: u64,
}

impl<T> Default for Look<T> {
    fn default() -> Look<T> {
        Look { shown: Mutex::new(None), making: Mutex::default() }
    }
}

impl<T> Look<T> {
    /// The list that was made last, if it is new enough, or a new one. While somebody makes a new one,
    /// others get the old one.
    pub(crate) fn show(&self, clock: &dyn Clock, make: impl FnOnce() -> Vec<T>) -> Arc<Listing<T>> {
        if let Some(listing) = self.new_enough(clock) {
            return listing;
        }
        let _making = match self.making.try_lock() {
            Ok(making) => making,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                if let Some(shown) = &*self.shown() {
                    return Arc::clone(&shown.listing);
                }
                self.making.lock().unwrap_or_else(PoisonError::into_inner)
            }
        };
        // Whoever was waited for has made it.
        if let Some(listing) = self.new_enough(clock) {
            return listing;
        }
        let begun = clock.monotonic();
        let listing = Arc::new(Listing { wall_ms: clock.wall_ms(), items: make() });
        let ended = clock.monotonic();
        let rest_ns = ended.0.saturating_sub(begun.0).saturating_mul(limits::LOOK_AGAIN_AFTER);
        let until_ns = ended.0.saturating_add(rest_ns);
        *self.shown() = Some(Shown { listing: Arc::clone(&listing), until_ns });
        listing
    }

    fn new_enough(&self, clock: &dyn Clock) -> Option<Arc<Listing<T>>> {
        let shown = self.shown();
        let shown = shown.as_ref().filter(|shown| clock.monotonic().0 < shown.until_ns)?;
        Some(Arc::clone(&shown.listing))
    }

    /// A list that nobody looks at any more goes, and its memory with it.
    fn forget_old(&self, clock: &dyn Clock) {
        let mut shown = self.shown();
        let kept_ns = limits::LOOK_FORGOTTEN_AFTER_MS * 1_000_000;
        let now = clock.monotonic().0;
        if shown.as_ref().is_some_and(|it| it.until_ns.saturating_add(kept_ns) < now) {
            *shown = None;
        }
    }

    fn shown(&self) -> MutexGuard<'_, Option<Shown<T>>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The lists of one virtual host.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    pub(crate) queues: Look<QueueView>,
    pub(crate) exchanges: Look<ExchangeView>,
    pub(crate) bindings: Look<BindingView>,
    pub(crate) channels: Look<ChannelView>,
    pub(crate) consumers: Look<ConsumerView>,
}

impl Looks {
    /// Lists that nobody looks at any more go.
    pub(crate) fn forget_old(&self, clock: &dyn Clock) {
        self.queues.forget_old(clock);
        self.exchanges.forget_old(clock);
        self.bindings.forget_old(clock);
        self.channels.forget_old(clock);
        self.consumers.forget_old(clock);
    }
}

/// All queues, by name.
pub(crate) fn queues(hub: &Arc<Hub>) -> Vec<QueueView> {
    let mut found = Vec::new();
    let mut next = None;
    loop {
        next = hub.look(|vhost, now| vhost.queue_views(next, now, &mut found));
        if next.is_none() {
            break;
        }
    }
    found.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    found
}

/// All exchanges, by name; the default exchange comes first.
pub(crate) fn exchanges(hub: &Arc<Hub>) -> Vec<ExchangeView> {
    let mut found = vec![hub.look(|vhost, _| vhost.default_exchange())];
    let numbers = hub.look(|vhost, _| vhost.exchange_numbers());
    for slice in numbers.chunks(limits::LOOK_SLICE) {
        hub.look(|vhost, _| vhost.exchange_views(slice, &mut found));
    }
    found.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    found
}

/// All bindings, by source, destination and key.
pub(crate) fn bindings(hub: &Arc<Hub>) -> Vec<BindingView> {
    let mut found = Vec::new();
    let mut next = None;
    loop {
        next = hub.look(|vhost, _| vhost.queue_binding_views(next, &mut found));
        if next.is_none() {
            break;
        }
    }
    let numbers = hub.look(|vhost, _| vhost.exchange_numbers());
    for slice in numbers.chunks(limits::LOOK_SLICE) {
        hub.look(|vhost, _| vhost.exchange_binding_views(slice, &mut found));
    }
    sort_bindings(&mut found);
    found
}

/// Puts bindings into the order in which they are shown.
fn sort_bindings(bindings: &mut [BindingView]) {
    // Those that differ in arguments only stay as they came.
    bindings.sort_by(|one, other| {
        (&one.source, &one.destination, &one.routing_key).cmp(&(
            &other.source,
            &other.destination,
            &other.routing_key,
        ))
    });
}

/// The same, of what was found, if anything.
pub(crate) fn sorted(found: Option<Vec<BindingView>>) -> Option<Vec<BindingView>> {
    let mut found = found?;
    sort_bindings(&mut found);
    Some(found)
}

/// All channels, by connection and number.
pub(crate) fn channels(hub: &Arc<Hub>) -> Vec<ChannelView> {
    let mut found = Vec::new();
    let mut next = Some(0);
    while let Some(from) = next {
        next = hub.look(|vhost, _| vhost.channel_views(from, &mut found));
    }
    found.sort_unstable_by(|one, other| {
        (&one.connection.name, one.number).cmp(&(&other.connection.name, other.number))
    });
    found
}

/// All consumers, by connection, channel and tag.
pub(crate) fn consumers(hub: &Arc<Hub>) -> Vec<ConsumerView> {
    let mut found = Vec::new();
    let mut next = Some(0);
    while let Some(from) = next {
        next = hub.look(|vhost, _| vhost.consumer_views(from, &mut found));
    }
    found.sort_unstable_by(|one, other| {
        (&one.connection.name, one.channel, &one.consumer_tag).cmp(&(
            &other.connection.name,
            other.channel,
            &other.consumer_tag,
        ))
    });
    found
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use stdx::clock::ManualClock;

    use super::*;

    #[test]
    fn a_list_is_shown_again_for_twenty_times_as_long_as_it_took() {
        let clock = ManualClock::default();
        let look = Look::default();
        let made = Cell::new(0);
        for (wait_ms, took_ms, expected) in [
            (0, 10, 1),
            (0, 10, 1),
            (199, 10, 1),
            (1, 1_000, 2),
            (19_999, 0, 2),
            (1, 0, 3),
            (0, 0, 4),
        ] {
            clock.advance_ms(wait_ms);
            let listing = look.show(&clock, || {
                clock.advance_ms(took_ms);
                made.set(made.get() + 1);
                vec![made.get()]
            });
            assert_eq!(**listing, [expected], "after {wait_ms} ms");
        }
    }

    #[test]
    fn a_list_that_nobody_looks_at_goes() {
        let clock = ManualClock::default();
        let look = Look::default();
        let held = Arc::downgrade(&look.show(&clock, || vec![1]));
        for (wait_ms, there) in [(limits::LOOK_FORGOTTEN_AFTER_MS, true), (1, false)] {
            clock.advance_ms(wait_ms);
            look.forget_old(&clock);
            assert_eq!(held.upgrade().is_some(), there, "after {wait_ms} ms");
        }
    }
}
