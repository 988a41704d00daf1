//! A session: one client's connection to one virtual host, as a protocol sees it.

use std::sync::Arc;

use domain::name::Name;

use crate::alarms::{AlarmBoard, Alarms};
use crate::batch::Batch;
use crate::connection_limits::Place;
use crate::connections::{Connection, Registered};
use crate::event::Event;
use crate::hub::Hub;
use crate::operation::Operation;
use crate::outbox::Outbox;
use crate::session_id::SessionId;
use crate::vhost::tags;

/// Random numbers.
#[derive(Clone)]
pub(crate) struct Draws(pub(crate) Arc<dyn Fn() -> u64 + Send + Sync>);

impl std::fmt::Debug for Draws {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Draws")
    }
}

/// One client's way into a virtual host. When it is dropped, its channels close and what it had
/// not settled returns to the queues.
#[derive(Debug)]
pub struct Session {
    pub(crate) hub: Arc<Hub>,
    pub(crate) id: SessionId,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) draws: Draws,
    pub(crate) alarms: Arc<AlarmBoard>,
    /// What it takes of the places for connections, if it is one.
    pub(crate) _place: Option<Place>,
    /// Its entry among those connected, if it was introduced.
    pub(crate) registered: Option<Registered>,
    /// `End` was submitted.
    pub(crate) over: bool,
}

impl Session {
    /// Hands the batch to the virtual host and empties it. Never waits; look at
    /// [`Session::has_room`] before reading more from the client. What comes after `End` is dropped:
    /// the session's number may be another's by then.
    pub fn submit(&mut self, batch: &mut Batch) {
        if batch.is_empty() {
            return;
        }
        if self.over {
            *batch = Batch::default();
            return;
        }
        let bytes = batch.cost_bytes();
        self.outbox.taken(bytes);
        self.over |= batch.ends();
        self.hub.submit(self.id, batch.seal(), bytes);
    }

    /// Moves waiting events to the end of `events`, in order. After this the next event wakes again.
    pub fn take(&self, events: &mut Vec<Event>) {
        self.outbox.take(events);
    }

    /// Says that events worth `cost_bytes` (the sum of their [`Event::cost_bytes`]) have been
    /// written to the client, so that more may be delivered.
    pub fn written(&mut self, cost_bytes: usize) {
        if self.outbox.written(cost_bytes) {
            let mut batch = Batch::default();
            batch.push(Operation::ResumeDeliveries);
            self.submit(&mut batch);
        }
    }

    /// The connection it belongs to, if it was introduced.
    pub fn connection(&self) -> Option<&Arc<Connection>> {
        self.registered.as_ref().map(|registered| &registered.connection)
    }

    /// A name that begins with `prefix` and that nobody can guess.
    pub fn make_name(&self, prefix: &str) -> Name {
        tags::make(prefix, &mut || (self.draws.0)())
    }

    /// Whether the client may be read: false while too much of what it published is not yet safe.
    /// The session is woken when there is room again.
    pub fn has_room(&self) -> bool {
        !self.outbox.is_full()
    }

    /// The alarms that are raised; the session is woken when that changes.
    pub fn alarms(&self) -> Alarms {
        self.alarms.raised()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.over {
            let mut batch = Batch::default();
            batch.push(Operation::End);
            self.submit(&mut batch);
        }
    }
}
