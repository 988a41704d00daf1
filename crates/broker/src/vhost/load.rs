//! Reading messages back: the owner never waits for the disk, so what is wanted is asked for, and
//! whoever wants it looks again when it is there. While it is read in order, the next is read ahead.

use std::collections::VecDeque;
use std::sync::Arc;

use domain::binding::QueueId;
use domain::run::Place;

use super::Vhost;
use super::chunks::sealed::Waiting;
use super::job::Job;
use super::load_job::{LoadJob, Loaded, ReadError};
use crate::event::Closing;
use crate::limits;
use crate::operation::Operation;
use crate::session_id::SessionId;

/// Reads that are under way, and those that wait for one of them to end.
#[derive(Debug, Default)]
pub(crate) struct Loads {
    in_flight: usize,
    /// Slot, key, and the message wanted.
    waiting: VecDeque<(u32, u64, u32)>,
}

/// Who wants a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// A queue, to deliver it.
    Queue(QueueId),
    /// A session, to get it.
    Session(SessionId),
    /// Whoever buries the dead looks at every turn.
    Turn,
}

impl Vhost {
    /// How many messages at a place, side by side, can be read at once; if none, they are asked for.
    pub(crate) fn reach(&mut self, place: Place, wanted: Wanted) -> Option<u32> {
        let found = self.chunks.find(place).map(|here| here.count);
        if self.chunks.sealed(place.chunk).is_none() {
            return found;
        }
        if found.is_some() {
            self.read_ahead(place);
        } else {
            let run = self.chunks.sealed_mut(place.chunk)?;
            run.waiting.add(wanted);
            self.start_reading(place.chunk, place.index);
        }
        found
    }

    /// How many messages of the queue, from the next on, can be read at once. `None`: none, and they
    /// are asked for.
    pub(crate) fn readable(&mut self, queue: QueueId) -> Option<u32> {
        if self.chunks.segments.is_empty() {
            return Some(u32::MAX);
        }
        let front = self.queues.get(&queue).and_then(|slot| slot.queue.front());
        front.map_or(Some(u32::MAX), |front| self.reach(front.place, Wanted::Queue(queue)))
    }

    /// `count` messages from a place on were handed out: a block that ends there has done its work.
    pub(crate) fn handed_out(&mut self, place: Place, count: u32) {
        if let Some((run, blocks)) = self.chunks.sealed_and_blocks(place.chunk) {
            blocks.used_up(run, place.index + count);
        }
    }

    /// Whether the operation waits until a message is read: it and whatever comes after it in its
    /// session.
    pub(crate) fn must_wait(&mut self, session: SessionId, operation: &Operation) -> bool {
        let Operation::Get { channel, queue, .. } = operation else { return false };
        if self.chunks.segments.is_empty() || !self.is_open(session, *channel) {
            return false;
        }
        let Ok((id, _)) = self.usable_queue(session, *channel, queue) else { return false };
        self.deliver(id);
        while self.may_be_due(id) {
            self.expire_messages(id);
        }
        let front = self.queues.get(&id).and_then(|slot| slot.queue.front());
        front.is_some_and(|front| self.reach(front.place, Wanted::Session(session)).is_none())
    }

    /// Asks for what follows while there is still something of what was read.
    fn read_ahead(&mut self, place: Place) {
        let Some(run) = self.chunks.sealed(place.chunk) else { return };
        if run.loading {
            return;
        }
        let (end, bytes) = run.read_until(place.index);
        if end < run.records && bytes < run.window_bytes / 2 {
            self.start_reading(place.chunk, end);
        }
    }

    fn start_reading(&mut self, slot: u32, index: u32) {
        let window_max_bytes = self.window_max_bytes();
        let Some(run) = self.chunks.sealed_mut(slot) else { return };
        if run.loading {
            return;
        }
        run.loading = true;
        // Whoever reads on reads more at a time.
        let wider = (run.window_bytes * 2).max(limits::READ_WINDOW_BYTES_MIN);
        run.window_bytes = wider.min(window_max_bytes);
        let key = run.key;
        self.loads.waiting.push_back((slot, key, index));
        self.hand_out_reads();
    }

    /// What a read may bring, so that all who read have room for two each.
    fn window_max_bytes(&self) -> usize {
        let readers = self.loads.in_flight + self.loads.waiting.len() + 1;
        let share = self.memory.blocks_bytes() / (2 * readers);
        share.clamp(limits::READ_WINDOW_BYTES_MIN, limits::READ_WINDOW_BYTES_MAX)
    }

    fn hand_out_reads(&mut self) {
        while self.loads.in_flight < limits::READS_AT_ONCE_MAX
            && let Some((slot, key, index)) = self.loads.waiting.pop_front()
        {
            let Some(run) = self.chunks.sealed(slot).filter(|run| run.key == key) else { continue };
            let (segment, number) = (Arc::clone(&run.segment), run.run);
            let window_bytes = run.window_bytes;
            let job = LoadJob { slot, key, segment, run: number, index, window_bytes };
            self.loads.in_flight += 1;
            self.turn.jobs.push(Job::Load(job));
        }
    }

    /// A read is done: whoever waits looks again.
    pub(crate) fn loaded(&mut self, loaded: Loaded) {
        self.loads.in_flight = self.loads.in_flight.saturating_sub(1);
        let Loaded { slot, key, blocks } = loaded;
        // What has just come stays until whoever waits for it has looked, however large it is.
        self.drop_old_blocks();
        let run = self.chunks.sealed_and_blocks(slot).filter(|(run, _)| run.key == key);
        let mut waiting = Waiting::default();
        if let Some((run, known)) = run {
            run.loading = false;
            waiting = std::mem::take(&mut run.waiting);
            match blocks {
                Ok(blocks) => {
                    self.stats.read_back_bytes +=
                        blocks.iter().map(|block| block.chunk.bytes().len() as u64).sum::<u64>();
                    known.add(slot, run, blocks);
                }
                Err(error) => self.storage_failed(&error),
            }
        }
        self.hand_out_reads();
        self.look_again(waiting);
    }

    /// Whoever waited for what is gone by now looks at what is there instead.
    pub(crate) fn wake_who_waits_in_vain(&mut self) {
        while !self.chunks.waiting_in_vain.is_empty() {
            let waiting = std::mem::take(&mut self.chunks.waiting_in_vain);
            self.look_again(waiting);
        }
    }

    fn look_again(&mut self, waiting: Waiting) {
        for queue in waiting.queues {
            self.mark_dirty(queue);
        }
        for session in waiting.sessions {
            self.go_on(session);
        }
    }

    fn drop_old_blocks(&mut self) {
        let bytes_max = self.memory.blocks_bytes();
        while let Some((slot, key, first)) = self.chunks.blocks.pop_excess(bytes_max) {
            if let Some((run, blocks)) = self.chunks.sealed_and_blocks(slot)
                && run.key == key
            {
                blocks.drop_at(run, first);
            }
        }
    }

    /// Reads at once what can't be waited for. Rare: something goes for good, and with it who would
    /// look again.
    pub(crate) fn read_now(&mut self, place: Place) {
        let Some(run) = self.chunks.sealed(place.chunk) else { return };
        let (segment, number) = (Arc::clone(&run.segment), run.run);
        let window_bytes = limits::READ_WINDOW_BYTES_MIN;
        match super::load_job::read_blocks(&segment, number, place.index, window_bytes) {
            Ok(read) => {
                if let Some((run, blocks)) = self.chunks.sealed_and_blocks(place.chunk) {
                    blocks.add(place.chunk, run, read);
                }
            }
            Err(error) => self.storage_failed(&error),
        }
    }

    /// What can't be read can't be delivered, and must not be lost: the vhost stops.
    pub(crate) fn storage_failed(&mut self, error: &ReadError) {
        let (file, operation) = (error.file(), error.operation());
        let poison = self.journal.stop(&file, operation, std::io::Error::other(error.cause()));
        tracing::error!(reason = %poison, "the virtual host stops: its storage failed");
        // Whoever waits for the journal is let go by its writer.
        self.turn.calls_writer = true;
        self.poisoned(&Closing::Poisoned(poison));
    }
}

impl Waiting {
    fn add(&mut self, wanted: Wanted) {
        match wanted {
            Wanted::Queue(queue) if !self.queues.contains(&queue) => self.queues.push(queue),
            Wanted::Session(session) if !self.sessions.contains(&session) => {
                self.sessions.push(session);
            }
            Wanted::Queue(_) | Wanted::Session(_) | Wanted::Turn => {}
        }
    }
}
