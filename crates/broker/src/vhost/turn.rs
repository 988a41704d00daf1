//! A turn: some batches applied, then everything they changed made one commit and everything they
//! have to say handed to the outboxes. The order matters: what must wait for the journal is put
//! behind its gate before the commit could open it.

use std::collections::VecDeque;
use std::sync::Arc;

use domain::binding::{QueueId, Target};
use domain::dead_letter::Reason;
use domain::queue::Look;
use domain::run::{Durability, Run};
use stdx::clock::Monotonic;
use stdx::fault::{Fault, planted};
use storage::{Nudge, Position, Staged};

use super::Vhost;
use super::job::Job;
use super::sessions::Gate;
use crate::confirms::{Waiter, abandon};
use crate::done::LastWords;
use crate::event::{Closing, Event};
use crate::journaled::binding_records::BindingRecord;
use crate::journaled::checkpoint_records::{Checkpoint, QueueState};
use crate::journaled::message_records::{Mark, put_settled};
use crate::journaled::segment_records::{Alive, Kept, KeptRecord, put_next_segment};
use crate::journaled::{exchange_records, queue_records, tag};
use crate::operation::{ChannelId, Destination};
use crate::outbox::{Outbox, WakeList};
use crate::session_id::SessionId;
use crate::traces::Passing;

/// What has gathered since the last turn was finished.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    pub(crate) staged: Staged<Waiter>,
    /// Queues that may be able to deliver.
    pub(crate) dirty: Vec<QueueId>,
    /// Queues from which journaled messages were delivered.
    pub(crate) delivered: Vec<QueueId>,
    /// Queues that journaled messages left.
    pub(crate) settled: Vec<QueueId>,
    /// Sessions that are to be told something.
    pub(crate) touched: Vec<SessionId>,
    /// What consumers whose queue went are to be told.
    pub(crate) cancelled: VecDeque<(SessionId, Event)>,
    /// Sessions some of whose events wait for the turn's commit.
    gated: Vec<SessionId>,
    /// Channels with publishes to confirm.
    pub(crate) confirming: Vec<(SessionId, ChannelId)>,
    /// Sessions whose deliveries were held back for want of room.
    pub(crate) starved: Vec<SessionId>,
    /// Sessions that are over.
    pub(crate) ended: Vec<SessionId>,
    /// What queues have given up and was not yet dead-lettered.
    pub(crate) dead: VecDeque<Dead>,
    /// Bytes of dead letters written in this turn.
    pub(crate) dead_bytes: usize,
    /// Batches whose memory is free once they are applied.
    settled_rooms: Vec<(Arc<Outbox>, usize)>,
    /// The first of the dead waits until it is read from the disk.
    pub(crate) dead_waits: bool,
    /// For whoever may wait for the disk.
    pub(crate) jobs: Vec<Job>,
    /// The journal's writer has to look, whatever it waits for.
    pub(crate) calls_writer: bool,
    pub(crate) wake: WakeList,
}

/// Messages that a queue has given up and that still count for it.
#[derive(Clone, Debug)]
pub(crate) struct Dead {
    pub(crate) queue: QueueId,
    pub(crate) run: Run,
    pub(crate) reason: Reason,
    /// What its last consumer said.
    pub(crate) said: LastWords,
}

impl Turn {
    pub(crate) fn batch_applied(
        &mut self,
        outbox: Arc<Outbox>,
        bytes: usize,
        journaled: Journaled,
    ) {
        match journaled {
            Journaled::Yes => self.staged.wait(Waiter::Room { outbox, bytes }),
            Journaled::No => self.settled_rooms.push((outbox, bytes)),
        }
    }
}

/// Whether a batch's messages are on their way to the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Journaled {
    Yes,
    No,
}

/// What is left to do after a turn.
#[derive(Debug, Default)]
pub(crate) struct Finished {
    /// The journal's writer slept and has something to do.
    pub(crate) nudge_writer: bool,
    /// Queues have more to deliver: another turn is due.
    pub(crate) more: bool,
    /// Sessions that have something to look at.
    pub(crate) wake: WakeList,
    /// What is to be done by somebody who may wait for the disk.
    pub(crate) jobs: Vec<Job>,
    /// When another turn is due whatever happens, in milliseconds.
    pub(crate) due_ms: Option<u64>,
    /// Spans that are over, if somebody wants them.
    pub(crate) spans: Option<Passing>,
}

impl Vhost {
    /// Ends the turn. The caller nudges the writer and wakes the sessions, once it has let the vhost go.
    pub(crate) fn finish_turn(&mut self, now: Monotonic) -> Finished {
        self.wake_who_waits_in_vain();
        let mut finished = Finished { more: self.deliver_dirty(), ..Finished::default() };
        self.bury_dead();
        self.tell_cancelled();
        self.write_watermarks();
        self.write_settled();
        self.write_done();
        if self.is_checkpoint_due() {
            self.write_checkpoint();
        }
        self.hand_over_events();
        let waiting = self.confirm_journaled(now);
        if !self.turn.staged.is_empty() {
            match self.journal.commit(&mut self.turn.staged, now) {
                Ok(committed) => {
                    self.committed(committed.position, &waiting);
                    finished.nudge_writer = committed.nudge == Nudge::Writer;
                }
                Err(poison) => {
                    abandon(self.turn.staged.abandon());
                    self.poisoned(&Closing::Poisoned(poison));
                    self.hand_over_events();
                }
            }
        }
        self.confirm_the_rest(now);
        finished.nudge_writer |= self.release_journal() == Nudge::Writer;
        self.look_after_storage();
        finished.nudge_writer |= std::mem::take(&mut self.turn.calls_writer);
        self.free_rooms();
        self.remove_ended();
        finished.jobs = std::mem::take(&mut self.turn.jobs);
        finished.wake = std::mem::take(&mut self.turn.wake);
        finished.spans = self.residences.as_mut().and_then(|it| it.take_done());
        self.turn.dead_bytes = 0;
        finished.more |= !self.turn.dirty.is_empty();
        finished.more |= !self.chunks.waiting_in_vain.is_empty();
        if !self.is_poisoned() {
            finished.more |= !self.turn.dead.is_empty() && !self.turn.dead_waits;
            finished.more |= self.rest.is_checkpoint_due() || self.wants_beginning();
            finished.due_ms = self.timers.next_ms();
            finished.more |= finished.due_ms.is_some_and(|due_ms| due_ms <= self.now.ms);
        }
        finished
    }

    fn deliver_dirty(&mut self) -> bool {
        let dirty = std::mem::take(&mut self.turn.dirty);
        if self.is_poisoned() {
            // Everybody has been told to go.
            return false;
        }
        let mut more = Vec::new();
        for queue in &dirty {
            if let Some(slot) = self.queues.get_mut(queue) {
                slot.dirty = false;
            }
            if self.deliver(*queue) {
                more.push(*queue);
            }
        }
        let left = !more.is_empty();
        for queue in more {
            self.mark_dirty(queue);
        }
        left
    }

    fn write_settled(&mut self) {
        let lost = planted(Fault::AckLostAtCheckpoint) && self.is_checkpoint_due();
        let mut settled = std::mem::take(&mut self.turn.settled);
        for queue in settled.drain(..) {
            let Some(slot) = self.queues.get_mut(&queue) else { continue };
            let spans = &mut slot.settled;
            if lost {
                spans.clear();
                continue;
            }
            self.turn.staged.record(tag::SETTLED, |out| put_settled(out, queue, spans));
            spans.clear();
        }
        self.turn.settled = settled;
    }

    fn hand_over_events(&mut self) {
        let mut touched = std::mem::take(&mut self.turn.touched);
        for session in touched.drain(..) {
            let Some(state) = self.sessions.get_mut(session.index()) else { continue };
            state.touched = false;
            state.events_bytes = 0;
            let gate = std::mem::take(&mut state.gate);
            if state.events.is_empty() && gate != Gate::Successors {
                // A change that nobody wanted an answer to: there is nothing to hold back.
                continue;
            }
            if gate > Gate::Open {
                let ticket = state.outbox.hold(&mut state.events);
                let outbox = Arc::clone(&state.outbox);
                self.turn.staged.wait(Waiter::Gate { outbox, ticket });
                self.turn.gated.push(session);
            } else {
                state.outbox.append(&mut state.events);
                self.turn.wake.push(Arc::clone(&state.outbox));
            }
        }
        self.turn.touched = touched;
        // Only now do the outboxes know what they hold: whoever has written it all meanwhile would
        // not ask for more.
        let mut starved = std::mem::take(&mut self.turn.starved);
        starved.sort_unstable();
        starved.dedup();
        for session in starved.drain(..) {
            let outbox = self.sessions.get(session.index()).map(|state| Arc::clone(&state.outbox));
            if outbox.is_some_and(|outbox| outbox.may_resume()) {
                self.resume_deliveries(session);
            }
        }
        self.turn.starved = starved;
    }

    /// Attaches the confirms of what was journaled to the commit; returns whose they are.
    fn confirm_journaled(&mut self, since: Monotonic) -> Vec<(SessionId, ChannelId)> {
        let mut journaled = Vec::new();
        let mut rest = Vec::new();
        for (session, channel) in std::mem::take(&mut self.turn.confirming) {
            let Some(state) = self.sessions.get_mut(session.index()) else { continue };
            let Some(confirms) =
                state.channels.get_mut(&channel).and_then(|it| it.confirms.as_mut())
            else {
                continue;
            };
            if !confirms.is_due() {
                // Its publishes were those of a channel that is closed.
                continue;
            }
            if std::mem::take(&mut confirms.journaled) {
                let (staged, outbox) = (&mut self.turn.staged, &state.outbox);
                confirms.take_due(|first, last| {
                    let outbox = Arc::clone(outbox);
                    staged.wait(Waiter::Confirm { outbox, channel, first, last, since });
                });
                journaled.push((session, channel));
            } else {
                rest.push((session, channel));
            }
        }
        self.turn.confirming = rest;
        journaled
    }

    fn committed(&mut self, position: Position, confirming: &[(SessionId, ChannelId)]) {
        let durable = self.journal.durable();
        for (session, channel) in confirming {
            let state = self.sessions.get_mut(session.index());
            let channel = state.and_then(|state| state.channels.get_mut(channel));
            if let Some(confirms) = channel.and_then(|channel| channel.confirms.as_mut()) {
                confirms.stand_at(position, durable);
            }
        }
        for session in self.turn.gated.drain(..) {
            if let Some(state) = self.sessions.get_mut(session.index()) {
                state.gate_position = position;
            }
        }
        self.chunks.committed(position);
        self.rest.is_over();
        self.doom_segments(position);
        if std::mem::take(&mut self.done.staged) {
            self.done.position = position;
        }
        if std::mem::take(&mut self.topology_staged) {
            self.topology_position = position;
        }
        if std::mem::take(&mut self.checkpoint_staged) {
            self.checkpoint_pending = Some(position);
            self.journal.mark_checkpoint(position);
        }
    }

    /// Lets journal files go of which nothing is needed: what lies before the oldest live message
    /// and before the checkpoint is either gone or said again later.
    fn release_journal(&mut self) -> Nudge {
        // Older files may go only once the checkpoint that replaces them is on disk.
        if self.checkpoint_pending.is_some_and(|pending| pending <= self.journal.durable()) {
            self.checkpoint = self.checkpoint_pending.take().unwrap_or(self.checkpoint);
        }
        let oldest = self.chunks.oldest().unwrap_or(self.checkpoint);
        let needed = oldest.min(self.checkpoint);
        if needed <= self.released {
            return Nudge::No;
        }
        self.released = needed;
        self.journal.release_before(needed)
    }

    /// Confirms what needed no journal: at once, or behind what the channel still waits for. What its
    /// session is told only later, returned messages among it, goes before that, too.
    fn confirm_the_rest(&mut self, since: Monotonic) {
        let durable = self.journal.durable();
        for (session, channel) in std::mem::take(&mut self.turn.confirming) {
            let Some(state) = self.sessions.get_mut(session.index()) else { continue };
            let Some(confirms) =
                state.channels.get_mut(&channel).and_then(|it| it.confirms.as_mut())
            else {
                continue;
            };
            let outbox = &state.outbox;
            if state.gate_position > confirms.position {
                confirms.stand_at(state.gate_position, durable);
            }
            let (journal, position) = (&self.journal, confirms.position);
            let wake = &mut self.turn.wake;
            confirms.take_due(|first, last| {
                let outbox_too = Arc::clone(outbox);
                let waiter = Waiter::Confirm { outbox: outbox_too, channel, first, last, since };
                if journal.when_durable(position, waiter).is_some() {
                    outbox.confirm_at_once(channel, first, last);
                    wake.push(Arc::clone(outbox));
                }
            });
        }
    }

    fn free_rooms(&mut self) {
        for (outbox, bytes) in self.turn.settled_rooms.drain(..) {
            outbox.give_back(bytes, &mut self.turn.wake);
        }
    }

    fn remove_ended(&mut self) {
        for session in std::mem::take(&mut self.turn.ended) {
            self.sessions.try_remove(session.index());
        }
    }

    /// The vhost can't write: every session is told why, and none is let in.
    pub(crate) fn poisoned(&mut self, why: &Closing) {
        if self.is_poisoned() {
            return;
        }
        for (_, state) in &mut self.sessions {
            // What waited for the journal is never told; what comes now waits for nothing.
            state.outbox.silence();
            state.gate = Gate::Open;
        }
        self.close_sessions(why);
        // What waited for the disk waits no longer; sessions end.
        let parked: Vec<SessionId> = (self.sessions.iter())
            .filter(|(_, state)| !state.parked.is_empty())
            .map(|(index, _)| SessionId(index as u64))
            .collect();
        for session in parked {
            self.go_on(session);
        }
    }

    fn is_checkpoint_due(&self) -> bool {
        let bytes = self.journal.bytes_since_checkpoint();
        if self.rest.is_checkpoint_due() || self.wants_beginning() {
            return true;
        }
        // What it says again of done messages is not to be said all the time.
        let again_bytes = self.done.bytes();
        if self.sealing.wants_checkpoint && bytes >= self.checkpoint_bytes / 16 + again_bytes {
            return true;
        }
        bytes >= self.checkpoint_bytes + again_bytes && !self.turn.staged.is_empty()
    }

    /// Says the whole topology and every queue's state again, so that older files can go.
    pub(crate) fn write_checkpoint(&mut self) {
        self.checkpoint_staged = true;
        self.sealing.wants_checkpoint = false;
        self.turn_journal_to_rest();
        let staged = &mut self.turn.staged;
        let checkpoint =
            Checkpoint { next_queue: self.next_queue, next_chunk: self.chunks.next_id() };
        staged.record(tag::CHECKPOINT, |out| checkpoint.put(out));
        staged.urge();
        let durable = |name: &str| !name.starts_with("amq.");
        for exchange in self.topology.exchanges() {
            if exchange.settings.durable && durable(exchange.name.as_str()) {
                staged.record(tag::EXCHANGE_DECLARED, |out| {
                    exchange_records::put_declared(out, &exchange.name, &exchange.settings);
                });
            }
        }
        for (id, slot) in self.queues.iter().filter(|(_, slot)| slot.is_journaled()) {
            staged.record(tag::QUEUE_DECLARED, |out| {
                queue_records::put_declared(out, *id, &slot.name, &slot.declaration);
            });
            let state = QueueState {
                queue: *id,
                next: slot.queue.next_sequence(),
                watermark: slot.watermark,
            };
            staged.record(tag::QUEUE_STATE, |out| state.put(out));
        }
        self.write_leases();
        self.write_done_again();
        for binding in self.journaled_bindings() {
            self.turn.staged.record(tag::BINDING_MADE, |out| binding.put(out));
        }
        self.write_segment_states();
    }

    /// Says of all segments what is alive in them.
    fn write_segment_states(&mut self) {
        let next = self.chunks.segments.next_number();
        self.turn.staged.record(tag::NEXT_SEGMENT, |out| put_next_segment(out, next));
        if self.chunks.segments.is_empty() || planted(Fault::CheckpointWithoutSegments) {
            return;
        }
        let mut queues: Vec<QueueId> =
            self.queues.iter().filter(|(_, slot)| slot.is_journaled()).map(|(id, _)| *id).collect();
        queues.sort_unstable();
        let mut runs = Vec::new();
        for queue in queues {
            let Some(slot) = self.queues.get(&queue) else { continue };
            slot.queue.collect(&mut |run| self.is_stated(run), &mut runs);
            // What it has given up is its own until it is buried.
            let dead = self.turn.dead.iter().filter(|dead| dead.queue == queue);
            runs.extend(dead.map(|dead| dead.run).filter(|run| self.is_stated(run) == Look::Take));
            runs.sort_unstable_by_key(|run| (run.place.chunk, run.first));
            for lie_together in runs.chunk_by(|one, next| one.place.chunk == next.place.chunk) {
                let alive = lie_together.iter().map(|run| self.alive(run, run.place.index));
                let alive: Vec<Alive> = alive.collect();
                let Some(first) = lie_together.first() else { continue };
                let Some(sealed) = self.chunks.sealed(first.place.chunk) else { continue };
                let (segment, run) = (sealed.segment.number(), sealed.run);
                let state = KeptRecord { segment, run, queue, alive };
                self.turn.staged.record(tag::KEPT, |out| state.put(out));
            }
            runs.clear();
        }
    }

    /// What is to be known of a run that lies in a segment from an index on.
    pub(crate) fn alive(&self, run: &Run, index: u32) -> Alive {
        Alive {
            kept: Kept { first: run.first, count: run.count, index },
            mark: Mark {
                level: run.label.level,
                deadline_wall_ms: self.on_the_wall(run.label.deadline),
            },
            counts: run.label.counts,
        }
    }

    fn is_stated(&self, run: &Run) -> Look {
        match (self.chunks.in_memory(run.place.chunk), run.label.durability) {
            // What is in memory is younger than what is on disk.
            (Some(_), _) | (None, Durability::InMemory) => Look::Skip,
            (None, Durability::Journaled) => Look::Take,
        }
    }

    fn journaled_bindings(&self) -> Vec<BindingRecord> {
        let mut found = Vec::new();
        for exchange in self.topology.exchanges() {
            for (target, key, arguments) in exchange.bindings.iter() {
                if !self.is_binding_journaled(&exchange.name, target) {
                    continue;
                }
                let destination = match target {
                    Target::Queue(id) => self.queue_name(id).cloned().map(Destination::Queue),
                    Target::Exchange(id) => {
                        self.topology.exchange_name(id).cloned().map(Destination::Exchange)
                    }
                };
                found.extend(destination.map(|destination| BindingRecord {
                    source: exchange.name.clone(),
                    destination,
                    key: key.into(),
                    arguments: arguments.clone(),
                }));
            }
        }
        found
    }
}
