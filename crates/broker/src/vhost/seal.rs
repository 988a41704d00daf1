//! Sealing: the oldest messages in memory move to a segment on disk, so that memory and the journal
//! hold the young ones only. What is alive in segments that are mostly dead moves the same way.
//!
//! The owner chooses what to copy and hands it to a job that may wait for the disk; meanwhile
//! messages go on being delivered and settled. When the job is done, what is still alive is kept at
//! its new place, and the journal says so; what lay there before goes.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::binding::QueueId;
use domain::queue::Look;
use domain::run::{Durability, Move, Place, Run};
use hashbrown::HashMap;
use storage::{Position, Segment, SegmentSync};

use super::Vhost;
use super::chunks::sealed::SealedRun;
use super::job::Job;
use super::seal_job::{Part, Piece, Placed, SealError, SealJob, Sealed, Source, Weigh};
use super::timers::Timer;
use crate::journaled::segment_records::{Alive, KeptRecord};
use crate::journaled::tag;
use crate::limits;
use crate::memory::Room;

/// Where sealing stands.
#[derive(Debug)]
pub(crate) struct Sealing {
    /// A job is under way.
    busy: bool,
    /// Segments that it reads from: they stay until it is done, dead or not.
    reading: Vec<u64>,
    /// No earlier than this, in milliseconds: the last one failed.
    retry_at_ms: u64,
    /// What one copies from memory, in bytes: less where the disk had no room for more.
    job_bytes: usize,
    /// When segments may be written anew next, in milliseconds.
    rewrite_at_ms: u64,
    /// When the timer goes off that looks after all this, in milliseconds.
    timer_ms: Option<u64>,
    /// Where the last commit stands.
    committed: Position,
    /// Segments that nothing refers to once the journal is synced up to a position.
    doomed: Vec<(Position, u64)>,
    /// A checkpoint would let journal files go.
    pub(crate) wants_checkpoint: bool,
    /// Something is to be sealed, and there is no journal yet.
    waits_for_beginning: bool,
}

impl Default for Sealing {
    fn default() -> Sealing {
        Sealing {
            busy: false,
            reading: Vec::new(),
            retry_at_ms: 0,
            job_bytes: limits::SEAL_JOB_BYTES,
            rewrite_at_ms: 0,
            timer_ms: None,
            committed: Position(0),
            doomed: Vec::new(),
            wants_checkpoint: false,
            waits_for_beginning: false,
        }
    }
}

impl Sealing {
    /// There was no room for that: later, and less of the `memory_bytes` that there are. As long as
    /// nothing moves publishers may have no memory, and are told so only when the disk is used up.
    fn found_no_room(&mut self, now_ms: u64, memory_bytes: usize) {
        self.retry_at_ms = now_ms + limits::SEAL_RETRY_MS;
        self.job_bytes = (self.job_bytes.min(memory_bytes) / 2).max(limits::SEAL_JOB_BYTES_LEAST);
    }

    /// There was.
    fn found_room(&mut self) {
        self.job_bytes = (2 * self.job_bytes).min(limits::SEAL_JOB_BYTES);
    }
}

/// What is to be copied.
#[derive(Clone, Copy, Debug)]
enum Choice<'c> {
    /// Chunks in memory younger than this stay.
    Older(u64),
    /// What lies in these segments.
    Segments(&'c [u64]),
}

impl Vhost {
    /// Looks whether there is something to seal, to rewrite or to delete; called when a turn ends.
    pub(crate) fn look_after_storage(&mut self) {
        let bytes = self.chunks.memory_bytes() + self.chunks.blocks.bytes();
        if self.memory.tell(bytes) == Room::More {
            self.inflight.give_back_held(&mut self.turn.wake);
        }
        self.delete_segments();
        if self.is_poisoned() {
            return;
        }
        // What went without a word in the journal is covered by what was said before.
        self.doom_segments(self.sealing.committed);
        if !self.sealing.busy && self.sealing.retry_at_ms <= self.now.ms {
            let age = self.age_to_seal();
            self.sealing.waits_for_beginning = age.is_some() && !self.has_journal();
            if self.sealing.waits_for_beginning {
                // A start takes segments without a journal for what is left of a lost one.
            } else if let Some(age) = age {
                self.start_sealing(Choice::Older(age));
            } else if self.chunks.segments.is_changed() && self.sealing.rewrite_at_ms <= self.now.ms
            {
                self.chunks.segments.seen();
                self.sealing.rewrite_at_ms = self.now.ms + limits::REWRITE_PAUSE_MS;
                let segments = self
                    .chunks
                    .segments
                    .worth_rewriting(self.memory.dead_bytes(), self.memory.small_bytes());
                if !segments.is_empty() {
                    self.start_sealing(Choice::Segments(&segments));
                }
            }
        }
        self.come_to_rest();
        self.time_storage();
    }

    /// Whether anything stands in the journal.
    fn has_journal(&self) -> bool {
        self.journal.durable() > Position(0)
    }

    /// Whether a checkpoint is to be written only so that there is a journal.
    pub(crate) fn wants_beginning(&self) -> bool {
        let empty = self.checkpoint_pending.is_none() && self.journal.bytes_since_checkpoint() == 0;
        self.sealing.waits_for_beginning && empty && !self.has_journal()
    }

    /// Sees to it that somebody looks again although nothing happens.
    fn time_storage(&mut self) {
        let now_ms = self.now.ms;
        let busy = self.sealing.busy;
        // What is written and not synced waits for a sync that may be far.
        let soon = self.checkpoint_pending.is_some()
            || self.sealing.waits_for_beginning
            || self.waits_for_journal();
        let waits = !busy
            && (self.chunks.memory_bytes() > self.memory.idle_bytes()
                || self.chunks.segments.is_changed());
        let at_ms = if soon {
            now_ms + limits::STORAGE_LOOK_MS
        } else if waits {
            now_ms + limits::SEAL_IDLE_MS / 2
        } else {
            u64::MAX
        };
        let at_ms = at_ms.min(self.rest.next_look_ms().unwrap_or(u64::MAX));
        if at_ms == u64::MAX {
            return;
        }
        if self.sealing.timer_ms.is_none_or(|set_ms| at_ms < set_ms) {
            self.sealing.timer_ms = Some(at_ms);
            self.timers.set(at_ms, Timer::Storage);
        }
    }

    /// Whether a segment may be deleted now or once the journal has written what it was given.
    fn waits_for_journal(&self) -> bool {
        let (durable, synced) = (self.journal.durable(), self.journal.synced());
        let mut positions = self.sealing.doomed.iter().map(|(position, _)| *position);
        positions.any(|position| position > durable || position <= synced)
    }

    /// Whether a segment may be deleted once the journal is synced.
    pub(crate) fn waits_for_sync(&self) -> bool {
        !self.sealing.doomed.is_empty()
    }

    /// Whether nothing lies in memory that rest would have moved.
    pub(crate) fn is_memory_emptied(&self) -> bool {
        !self.sealing.busy && (self.chunks.oldest().is_none() || self.age_to_seal().is_none())
    }

    pub(crate) fn storage_timer(&mut self) {
        self.sealing.timer_ms = None;
    }

    /// Chunks older than this are to be sealed now; `None`: there is no reason.
    fn age_to_seal(&self) -> Option<u64> {
        let memory_bytes = self.chunks.memory_bytes();
        let wanted_bytes = self.memory.wanted_bytes(memory_bytes);
        let pinned = self.journal.old_before();
        let pins = self.chunks.oldest().is_some_and(|oldest| oldest < pinned);
        let empties = self.rest.empties_memory();
        let lies = memory_bytes > self.memory.idle_bytes() || empties;
        let idle_ms = if empties { limits::REST_MS } else { limits::SEAL_IDLE_MS };
        if wanted_bytes.is_none() && !pins && !lies {
            return None;
        }
        let mut left = memory_bytes;
        let mut age_limit = None;
        for arrival in self.chunks.arrivals.iter() {
            let Some(bytes) = self.chunks.bytes_of(arrival.slot, arrival.age) else { continue };
            let too_much = wanted_bytes.is_some_and(|wanted_bytes| left > wanted_bytes);
            let too_long = lies && arrival.at_ms.saturating_add(idle_ms) <= self.now.ms;
            let position = self.chunks.position_of(arrival.slot);
            let in_the_way = pins && position.is_none_or(|position| position < pinned);
            if !too_much && !too_long && !in_the_way {
                break;
            }
            age_limit = Some(arrival.age + 1);
            left = left.saturating_sub(bytes);
            if memory_bytes - left >= self.sealing.job_bytes {
                break;
            }
        }
        age_limit
    }

    fn start_sealing(&mut self, choice: Choice<'_>) {
        let number = self.chunks.segments.take_number();
        let mut sources = Sources::default();
        let mut pieces = Vec::new();
        let mut runs = Vec::new();
        let mut sync = SegmentSync::Unsynced;
        let mut queues: Vec<QueueId> = self.queues.keys().copied().collect();
        queues.sort_unstable();
        for queue in queues {
            let Some(slot) = self.queues.get(&queue) else { continue };
            slot.queue.collect(&mut |run| self.look(choice, run), &mut runs);
            if runs.is_empty() {
                continue;
            }
            runs.sort_unstable_by_key(|run| (run.label.level, run.first));
            let weighed = slot.queue.settings().bytes_max.is_some();
            let weigh = if weighed { Weigh::Bodies } else { Weigh::No };
            for level in runs.chunk_by(|one, next| one.label.level == next.label.level) {
                let mut parts = Vec::with_capacity(level.len());
                for run in level {
                    let Some(source) = sources.of(run.place.chunk, self) else { continue };
                    if run.label.durability == Durability::Journaled {
                        sync = SegmentSync::Synced;
                    }
                    let (first, count, index) = (run.first, run.count, run.place.index);
                    parts.push(Part { first, count, source, index });
                }
                pieces.push(Piece { queue, weigh, parts });
            }
            runs.clear();
        }
        if pieces.is_empty() {
            return;
        }
        self.sealing.busy = true;
        if let Choice::Segments(numbers) = choice {
            self.sealing.reading = numbers.to_vec();
        }
        let disk = Arc::clone(&self.disk);
        let job = SealJob { number, disk, sources: sources.list, pieces, sync };
        self.turn.jobs.push(Job::Seal(Box::new(job)));
    }

    fn look(&self, choice: Choice<'_>, run: &Run) -> Look {
        let slot = run.place.chunk;
        match (choice, self.chunks.in_memory(slot)) {
            (Choice::Older(limit), Some((_, age))) if age < limit => Look::Take,
            // What follows is younger.
            (Choice::Older(_), Some(_)) => Look::Stop,
            (Choice::Segments(_), Some(_)) | (Choice::Older(_), None) => Look::Skip,
            (Choice::Segments(numbers), None) => {
                let number = self.chunks.sealed(slot).map(|run| run.segment.number());
                let chosen = number.is_some_and(|number| numbers.binary_search(&number).is_ok());
                if chosen { Look::Take } else { Look::Skip }
            }
        }
    }

    /// A job is done.
    pub(crate) fn sealed(&mut self, outcome: Result<Sealed, SealError>) {
        self.sealing.busy = false;
        self.sealing.reading.clear();
        if self.is_poisoned() {
            return;
        }
        match outcome {
            Ok(sealed) => {
                self.sealing.found_room();
                self.take_over(sealed);
            }
            Err(SealError::Write(error)) if error.is_no_space() => {
                tracing::warn!(%error, "no room to move messages out of memory; it is tried again");
                self.sealing.found_no_room(self.now.ms, self.chunks.memory_bytes());
            }
            Err(SealError::Write(error)) => self.storage_failed(&error.into()),
            Err(SealError::Read(error)) => self.storage_failed(&error),
        }
    }

    fn take_over(&mut self, sealed: Sealed) {
        let segment = Arc::new(sealed.segment);
        let number = segment.number();
        let file_bytes = segment.file_bytes();
        self.stats.sealed_bytes += file_bytes;
        let mut slots: BTreeMap<u32, u32> = BTreeMap::new();
        for placed in sealed.placed {
            let run = placed.run;
            let known = slots.get(&run).copied();
            let index = known.unwrap_or_else(|| self.insert_run(&segment, &placed));
            slots.insert(run, index);
            self.relocate(number, run, index, &placed.piece);
            self.tell_growth(placed.piece.queue);
        }
        if slots.is_empty() {
            self.chunks.segments.doom(number);
        }
        for index in slots.into_values() {
            self.chunks.release_slot(index, 1);
        }
        let rest_ms = file_bytes / limits::REWRITE_BYTES_PER_MS;
        self.sealing.rewrite_at_ms = self.now.ms + rest_ms.max(limits::REWRITE_PAUSE_MS);
        self.sealing.wants_checkpoint = true;
    }

    /// Whoever looks after the broker learns of a queue that grows long before the disk is full.
    fn tell_growth(&mut self, queue: QueueId) {
        let Some(slot) = self.queues.get_mut(&queue) else { return };
        let messages = slot.queue.ready_messages();
        slot.growth_told = slot.growth_told.min(messages);
        if messages < limits::GROWTH_TOLD_MESSAGES || messages / 2 < slot.growth_told {
            return;
        }
        slot.growth_told = messages;
        let (name, consumers) = (&slot.name, slot.queue.consumers.count());
        tracing::warn!(
            queue = %name, messages, consumers,
            "a queue grows faster than it is consumed; its messages move to the disk"
        );
    }

    /// A slot for a run of a new segment; it counts one until everything is moved.
    fn insert_run(&mut self, segment: &Arc<Segment>, placed: &Placed) -> u32 {
        let key = self.chunks.segments.take_key();
        let weights = placed.weights.clone();
        let sealed = SealedRun::new(Arc::clone(segment), placed.run, key, weights);
        self.chunks.insert_sealed(sealed, 1)
    }

    /// What is still alive of a piece is kept at its new place.
    fn relocate(&mut self, segment: u64, run: u32, slot_index: u32, piece: &Piece) {
        let mut moves = Vec::with_capacity(1);
        let mut index = 0;
        for part in &piece.parts {
            let place = Place { chunk: slot_index, index };
            index += part.count;
            match moves.last_mut() {
                Some(Move { first, count, .. }) if first.plus(*count) == part.first => {
                    *count += part.count;
                }
                _apart => moves.push(Move { first: part.first, count: part.count, place }),
            }
        }
        let Some(slot) = self.queues.get_mut(&piece.queue) else { return };
        let mut old = std::mem::take(&mut self.gone);
        slot.queue.relocate(&moves, &mut old);
        old.sort_unstable_by_key(|run| run.first);
        let mut alive: Vec<Alive> = Vec::new();
        let mut at = 0;
        for before in old.drain(..) {
            self.chunks.hold_slot(slot_index, before.count);
            self.chunks.release(&before);
            while moves.get(at).is_some_and(|it| it.end() <= before.first) {
                at += 1;
            }
            let Some(it) = moves.get(at) else { continue };
            if before.label.durability == Durability::InMemory {
                continue;
            }
            let offset = u32::try_from(before.first.0 - it.first.0).unwrap_or(u32::MAX);
            let index = it.place.index + offset;
            let next = self.alive(&before, index);
            match alive.last_mut() {
                Some(last) if last.continues_with(&next) => last.kept.count += before.count,
                _apart => alive.push(next),
            }
        }
        old.shrink_to(limits::RUNS_KEPT_MAX);
        self.gone = old;
        if !alive.is_empty() {
            let record = KeptRecord { segment, run, queue: piece.queue, alive };
            self.turn.staged.record(tag::KEPT, |out| record.put(out));
        }
    }

    /// What nothing refers to any more goes when the journal has said so for good.
    pub(crate) fn doom_segments(&mut self, position: Position) {
        self.sealing.committed = position;
        let doomed = self.chunks.segments.take_doomed();
        if !doomed.is_empty() {
            self.rest.is_over();
        }
        self.sealing.doomed.extend(doomed.into_iter().map(|number| (position, number)));
    }

    fn delete_segments(&mut self) {
        if self.sealing.doomed.is_empty() {
            return;
        }
        let synced = self.journal.synced();
        let mut gone = Vec::new();
        let reading = &self.sealing.reading;
        self.sealing.doomed.retain(|(position, number)| {
            let goes = *position <= synced && !reading.contains(number);
            if goes {
                gone.push(*number);
            }
            !goes
        });
        if !gone.is_empty() {
            self.turn.jobs.push(Job::Delete { disk: Arc::clone(&self.disk), segments: gone });
        }
    }
}

/// What the parts of a job are copied from, each once.
#[derive(Default)]
struct Sources {
    list: Vec<Source>,
    by_slot: HashMap<u32, u32, foldhash::fast::FixedState>,
    last: Option<(u32, u32)>,
}

impl Sources {
    fn of(&mut self, slot: u32, vhost: &Vhost) -> Option<u32> {
        if let Some((last, source)) = self.last
            && last == slot
        {
            return Some(source);
        }
        let source = if let Some(source) = self.by_slot.get(&slot) {
            *source
        } else {
            let source = if let Some((chunk, _)) = vhost.chunks.in_memory(slot) {
                Source::Chunk(Arc::clone(chunk))
            } else {
                let sealed = vhost.chunks.sealed(slot)?;
                Source::Run { segment: Arc::clone(&sealed.segment), run: sealed.run }
            };
            let index = u32::try_from(self.list.len()).ok()?;
            self.list.push(source);
            self.by_slot.insert(slot, index);
            index
        };
        self.last = Some((slot, source));
        Some(source)
    }
}
