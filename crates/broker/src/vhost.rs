//! A virtual host: everything in it is one plain struct with one owner. Batches are applied one
//! after the other; [`Vhost::apply`] never waits. What a turn changed becomes one commit of the
//! journal, what it has to tell goes to the sessions' outboxes, when the turn is finished.

mod channel;
mod consume;
mod declare;
mod delete;
mod lease;
mod lease_end;
mod remove;

mod deliver;
pub(crate) mod import;
mod permit;
mod reply_to;
mod transaction;

mod overflow;
mod publish;
mod settle;

mod dead_letter;
mod expiry;

mod ending;

pub(crate) mod turn;
pub(crate) mod browse;
pub(crate) mod views;

mod seal;

mod rest;

mod load;

pub(crate) mod job;

pub(crate) mod seal_job;

pub(crate) mod load_job;

mod handing;
pub(crate) mod sessions;
pub(crate) mod residences;
pub(crate) mod chunks;
pub(crate) mod done;
pub(crate) mod queues;
pub(crate) mod leases;
pub(crate) mod stats;
pub(crate) mod tags;
pub(crate) mod tallies;
mod timeline;
pub(crate) mod timers;

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::binding::QueueId;
use domain::name::Name;
use domain::run::{Run, Sequence};
use domain::topology::Topology;
use domain::topology::routing::Route;
use hashbrown::HashMap;
use storage::disk::Disk;
use storage::{Journal, Poison, Position};

use crate::batch::Sealed;
use crate::confirms::Waiter;
use crate::event::{Closing, Event};
use crate::lease::LeaseReply;
use crate::memory::MemoryShare;
use crate::operation::{ChannelId, Operation};
use crate::outbox::{InflightShare, Outbox};
use crate::own_limits::Max;
use crate::permissions::Access;
use crate::session_id::SessionId;
use chunks::{BatchChunk, Chunks};
use done::Done;
use leases::{Held, Leases};
use load::Loads;
use queues::{ConsumerSlot, QueueSlot};
use residences::Residences;
use rest::Rest;
use seal::Sealing;
use sessions::{Entry, SessionState, Work};
use stats::Stats;
use tallies::Tallies;
use timers::{Moment, Timers};
use turn::{Journaled, Turn};

type Map<K, V> = HashMap<K, V, foldhash::fast::FixedState>;

/// A source of random numbers, handed in so that a simulated run repeats exactly.
pub(crate) type Entropy = Box<dyn FnMut() -> u64 + Send>;

/// The owner's state.
pub(crate) struct Vhost {
    topology: Topology,
    queues: Map<QueueId, QueueSlot>,
    /// Their numbers in order, so that whoever looks at them can go on where he stopped.
    roster: BTreeSet<QueueId>,
    next_queue: u64,
    consumers: Map<domain::queue::consumers::ConsumerId, ConsumerSlot>,
    next_consumer: u64,
    sessions: slab::Slab<SessionState>,
    /// Who gets direct replies, by address.
    reply_addresses: Map<Name, (SessionId, ChannelId)>,
    chunks: Chunks,
    /// What this virtual host has of the memory for bodies.
    memory: MemoryShare,
    /// What publishers have on their way to the disk.
    inflight: Arc<InflightShare>,
    sealing: Sealing,
    rest: Rest,
    loads: Loads,
    leases: Leases,
    /// What became of messages, for the queues that tell of it.
    done: Done,
    /// Where segments are; never touched by the owner itself but for what can't wait.
    disk: Arc<dyn Disk>,
    journal: Arc<Journal<Waiter>>,
    turn: Turn,
    /// Where the last checkpoint stands; nothing before it is needed for topology.
    checkpoint: Position,
    checkpoint_staged: bool,
    /// Bytes of journal after which the next one is due.
    checkpoint_bytes: u64,
    /// How long a delivery may be unsettled where neither consumer nor queue says; `None`: for ever.
    consumer_timeout_ms: Option<u64>,
    /// How many queues there may be.
    queues_max: Max,
    /// Where the next one stands, until it is durable.
    checkpoint_pending: Option<Position>,
    /// Where the last change of the durable topology stands.
    topology_position: Position,
    /// This turn changed it.
    topology_staged: bool,
    /// What the journal was last told it may let go before.
    released: Position,
    entropy: Entropy,
    /// Memory that open transactions hold.
    transactions_bytes: usize,
    stats: Stats,
    tallies: Tallies,
    /// Where traced messages are, if anybody wants to know.
    residences: Option<Box<Residences>>,
    /// Why the sessions are being closed; new ones are not let in.
    closing: Option<Closing>,
    /// The time of the present turn.
    now: Moment,
    timers: Timers,
    // Buffers kept between operations.
    route: Route,
    gone: Vec<Run>,
    /// Of the run that is being published, what a full queue refused: offsets from its first.
    refused: Vec<u32>,
}

impl std::fmt::Debug for Vhost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vhost")
            .field("queues", &self.queues.len())
            .field("sessions", &self.sessions.len())
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}

/// What a virtual host starts with: what recovery found.
#[derive(Debug, Default)]
pub(crate) struct Restored {
    pub(crate) topology: Topology,
    pub(crate) queues: Vec<(QueueId, QueueSlot)>,
    pub(crate) next_queue: u64,
    pub(crate) chunks: Chunks,
    /// Leases that go on, with their queues and first messages.
    pub(crate) leases: Vec<(QueueId, Sequence, Held)>,
    /// What became of messages.
    pub(crate) done: Done,
}

/// How far a batch came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Done,
    /// It waits for the disk.
    Parked,
}

/// What a virtual host stands on.
#[derive(Debug)]
pub(crate) struct Surroundings {
    pub(crate) journal: Arc<Journal<Waiter>>,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) memory: MemoryShare,
    pub(crate) inflight: Arc<InflightShare>,
}

/// A batch that waits for the owner.
#[derive(Debug)]
pub(crate) struct Submitted {
    pub(crate) session: SessionId,
    pub(crate) batch: Sealed,
    /// What it takes of the session's room.
    pub(crate) cost_bytes: usize,
}

impl Vhost {
    pub(crate) fn new(
        restored: Restored,
        host: Surroundings,
        entropy: Entropy,
        checkpoint_bytes: u64,
        consumer_timeout_ms: Option<u64>,
        now: Moment,
    ) -> Vhost {
        let mut vhost = Vhost {
            topology: restored.topology,
            roster: restored.queues.iter().map(|(id, _)| *id).collect(),
            queues: restored.queues.into_iter().collect(),
            next_queue: restored.next_queue,
            consumers: Map::default(),
            next_consumer: 0,
            sessions: slab::Slab::new(),
            reply_addresses: Map::default(),
            chunks: restored.chunks,
            memory: host.memory,
            inflight: host.inflight,
            sealing: Sealing::default(),
            rest: Rest::default(),
            loads: Loads::default(),
            leases: Leases::default(),
            done: restored.done,
            disk: host.disk,
            journal: host.journal,
            turn: Turn::default(),
            checkpoint: Position::default(),
            checkpoint_staged: false,
            checkpoint_bytes,
            consumer_timeout_ms,
            queues_max: None,
            checkpoint_pending: None,
            topology_position: Position::default(),
            topology_staged: false,
            released: Position::default(),
            entropy,
            transactions_bytes: 0,
            stats: Stats::default(),
            tallies: Tallies::starting_at(now.ms),
            residences: None,
            closing: None,
            now,
            timers: Timers::default(),
            route: Route::default(),
            gone: Vec::new(),
            refused: Vec::new(),
        };
        for (queue, first, held) in restored.leases {
            vhost.leases.hold(queue, first, held);
        }
        vhost.start_timers();
        vhost.time_leases();
        vhost
    }

    /// A client came. Refused, with the reason, while the vhost closes.
    pub(crate) fn add_session(
        &mut self,
        outbox: Arc<Outbox>,
        access: Arc<Access>,
        entry: Entry,
    ) -> Result<SessionId, Closing> {
        if let Some(closing) = &self.closing {
            return Err(closing.clone());
        }
        let connection = entry.connection.clone();
        let state = SessionState::new(outbox, access, entry);
        let id = SessionId(self.sessions.insert(state) as u64);
        if let Some(connection) = connection {
            // Once: a connection enters one virtual host.
            let _ = connection.session.set(id);
        }
        Ok(id)
    }

    /// How many clients there are.
    pub(crate) fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// What has been counted.
    pub(crate) fn stats(&self) -> Stats {
        let segments = self.chunks.segments.totals();
        Stats {
            memory_bytes: (self.chunks.memory_bytes() + self.chunks.blocks.bytes()) as u64,
            done_bytes: self.done.bytes(),
            segments: segments.segments,
            segment_file_bytes: segments.file_bytes,
            segment_live_bytes: segments.live_bytes,
            ..self.stats
        }
    }

    /// Applies one batch. What it changed is not yet durable and what it says not yet told:
    /// [`Vhost::finish_turn`] sees to both.
    pub(crate) fn apply(&mut self, submitted: Submitted) {
        let Submitted { session, batch, cost_bytes } = submitted;
        let Some(state) = self.session_mut(session) else { return };
        let work = Work {
            operations: batch.operations.into_iter(),
            chunks: batch.chunks.into_iter().map(BatchChunk::new).collect(),
            cost_bytes,
        };
        if state.parked.is_empty() {
            // If it is parked it goes on by itself.
            let _ = self.carry_out(session, work);
        } else {
            state.parked.push_back(work);
        }
    }

    /// Carries out a batch, or as much of it as goes before something has to be read from the disk:
    /// the rest then waits, and with it whatever its session wants next.
    fn carry_out(&mut self, session: SessionId, mut work: Work) -> Progress {
        let poisoned = self.is_poisoned();
        while let Some(operation) = work.operations.as_slice().first() {
            if !poisoned && self.must_wait(session, operation) {
                if let Some(state) = self.session_mut(session) {
                    state.parked.push_front(work);
                }
                return Progress::Parked;
            }
            let Some(operation) = work.operations.next() else { break };
            // Nothing that is asked of a vhost that can't write could be kept; sessions only end.
            if !self.is_poisoned() || matches!(operation, Operation::End) {
                self.operate(session, operation, &mut work.chunks);
                self.bury_dead();
            }
        }
        let any = work.chunks.iter().any(|chunk| self.chunks.is_journaled(chunk));
        let journaled = if any { Journaled::Yes } else { Journaled::No };
        for chunk in &mut work.chunks {
            self.chunks.leave(chunk);
        }
        if let Some(state) = self.sessions.get(session.index()) {
            self.turn.batch_applied(Arc::clone(&state.outbox), work.cost_bytes, journaled);
        }
        Progress::Done
    }

    /// A session that waited for the disk goes on where it stopped.
    pub(crate) fn go_on(&mut self, session: SessionId) {
        while let Some(work) = self.session_mut(session).and_then(|it| it.parked.pop_front()) {
            if self.carry_out(session, work) == Progress::Parked {
                return;
            }
        }
    }

    fn operate(&mut self, session: SessionId, operation: Operation, chunks: &mut [BatchChunk]) {
        match operation {
            Operation::Publish(run) => self.publish(session, run, &[], chunks),
            Operation::PublishAlso { run, also } => self.publish(session, run, &also, chunks),
            Operation::Settle { channel, tags, outcome, verb } => {
                self.settle(session, channel, tags, outcome, verb);
            }
            Operation::OpenChannel { channel } => self.open_channel(session, channel),
            Operation::CloseChannel { channel, answer } => {
                self.close_channel(session, channel, answer);
            }
            Operation::Introduce(traits) => {
                if let Some(state) = self.session_mut(session) {
                    state.traits = traits;
                }
            }
            Operation::Lease(request) => self.lease(session, &request),
            Operation::SettleLeases(settlements) => self.settle_leases(session, &settlements),
            Operation::Remove(removal) => self.remove(session, *removal),
            Operation::Done(request) => self.answer_done(session, *request),
            Operation::ResumeDeliveries => self.resume_deliveries(session),
            Operation::End => self.end(session),
            request @ (Operation::SelectConfirms { .. }
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
            | Operation::Bind { .. }) => self.request(session, request),
        }
    }

    /// The operations that ask something of an open channel and are answered.
    fn request(&mut self, session: SessionId, operation: Operation) {
        let Some((channel, verb, answer)) = operation.asker() else { return };
        if !self.is_open(session, channel) {
            return;
        }
        let permitted = self.permit(session, &operation, verb);
        let done = permitted.and_then(|()| self.request_reply(session, operation));
        match done {
            Ok(reply) => self.reply(session, channel, answer, reply),
            Err(refusal) => self.refuse(session, channel, verb, refusal),
        }
        self.tell_cancelled();
    }

    pub(crate) fn is_poisoned(&self) -> bool {
        // What was deleted is as good as a journal that can't be written.
        matches!(self.closing, Some(Closing::Poisoned(_) | Closing::Deleted))
    }

    /// Why it can't write any more, if it can't.
    pub(crate) fn poison(&self) -> Option<&Poison> {
        if let Some(Closing::Poisoned(poison)) = &self.closing { Some(poison) } else { None }
    }

    /// Tells every session that it has to go.
    pub(crate) fn close_sessions(&mut self, why: &Closing) {
        self.closing = Some(why.clone());
        let waiters = self.leases.all_waiters();
        self.send_away(&waiters, &Ok(LeaseReply::Leased(Vec::new())));
        let all: Vec<SessionId> =
            self.sessions.iter().map(|(index, _)| SessionId(index as u64)).collect();
        for session in all {
            self.tell(session, Event::Closing(why.clone()));
        }
    }

    /// Tells a user's sessions that they have to go.
    pub(crate) fn close_user(&mut self, user: &Name, why: &Closing) {
        for session in self.sessions_of(user) {
            self.tell(session, Event::Closing(why.clone()));
        }
    }

    /// From now on a user's sessions have the rights that they are given here.
    pub(crate) fn readmit(&mut self, user: &Name, anew: impl Fn(&Access) -> Arc<Access>) {
        for session in self.sessions_of(user) {
            if let Some(state) = self.session_mut(session) {
                state.access = anew(&state.access);
                state.granted.clear();
            }
        }
    }

    fn sessions_of(&self, user: &Name) -> Vec<SessionId> {
        let theirs = self.sessions.iter().filter(|(_, state)| state.access.user == *user);
        theirs.map(|(index, _)| SessionId(index as u64)).collect()
    }

    /// Wakes every session for something that concerns all of them.
    pub(crate) fn rouse_sessions(&self) {
        self.sessions.iter().for_each(|(_, session)| session.outbox.rouse());
    }

    fn queue_name(&self, queue: QueueId) -> Option<&Name> {
        self.queues.get(&queue).map(|slot| &slot.name)
    }
}
