//! The only owner of a journal's files: takes the gathering frame, writes it, syncs it, lets its waiters go.
//!
//! It has no thread of its own. Whoever has one calls [`Writer::work`] until it is idle, and again
//! when nudged or at the moment the writer named; a simulation calls it step by step.

use std::sync::Arc;

use stdx::clock::Monotonic;

use super::files::{Files, TurnTo};
use super::frame::{FrameHeader, payload_checksum};
use super::gathering::Gathering;
use super::poison::Poison;
use super::settings::SyncMode;
use super::shortage::{Setback, Shortage};
use super::{Extent, Journal, Sleep, Taken};
use crate::position::Position;

/// How many old files are let go before the next look at what may have gathered.
const FILES_RETIRED_AT_ONCE: usize = 2;

/// After so long a frame that had no room on the disk is tried again.
const FULL_RETRY_MS: u64 = 100;

/// Spare files go when no new file was begun for so long.
const SPARES_KEPT_MS: u64 = 10_000;

/// The writing side of a journal.
pub struct Writer<W> {
    journal: Arc<Journal<W>>,
    files: Files,
    sync: SyncMode,
    /// The frame in hand; empty between two calls, and the buffers of the next to gather.
    frame: Gathering<W>,
    /// The newest position that is synced, whatever the mode promises.
    synced: Position,
    /// The newest position that is written.
    written: Position,
    /// The newest release that stands in a written frame.
    stated: Position,
    /// The newest position that holds records.
    filled: Position,
    /// When the oldest written frame that is not synced was written.
    unsynced_since: Option<Monotonic>,
    /// What the frame in hand is, while there is no room for it.
    in_hand: Option<InHand>,
    /// Whether a file could not be let go for want of room.
    is_short: bool,
    /// When a file was begun last, or the first look was taken.
    turned_at: Option<Monotonic>,
}

/// A frame that has its place in the sequence and none on the disk.
#[derive(Clone, Copy, Debug)]
struct InHand {
    position: Position,
    released: Position,
    turn: Option<TurnTo>,
}

/// What a call did.
#[derive(Debug)]
pub enum Work<W> {
    /// A frame was written and is durable as far as the sync mode promises. Call again.
    Wrote {
        /// The position of the frame.
        position: Position,
        /// Who waited for it, in order.
        waiters: Vec<W>,
    },
    /// There is nothing to do before a nudge, or before this moment.
    Idle {
        /// When to call again without a nudge.
        wake_at: Option<Monotonic>,
    },
    /// The disk has no room for the frame. Nobody who waits was told anything; commits are taken
    /// and gather. Call again then, or when there may be room; nothing nudges until it is written.
    Full {
        /// When to try again.
        retry_at: Monotonic,
        /// What there is no room for.
        shortage: Shortage,
    },
    /// Nothing is written any more.
    Poisoned {
        /// Why.
        poison: Poison,
        /// Who waited and must not be told that anything is durable.
        abandoned: Vec<W>,
    },
}

impl<W> std::fmt::Debug for Writer<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer")
            .field("files", &self.files)
            .field("sync", &self.sync)
            .field("synced", &self.synced)
            .field("written", &self.written)
            .finish_non_exhaustive()
    }
}

impl<W> Writer<W> {
    pub(super) fn new(
        journal: Arc<Journal<W>>,
        files: Files,
        sync: SyncMode,
        synced: Position,
    ) -> Writer<W> {
        Writer {
            journal,
            files,
            sync,
            frame: Gathering::default(),
            synced,
            written: synced,
            stated: Position(0),
            filled: Position(0),
            unsynced_since: None,
            in_hand: None,
            is_short: false,
            turned_at: None,
        }
    }

    /// Writes the gathering frame if it is due: one write, one sync, and its waiters come back.
    pub fn work(&mut self, now: Monotonic) -> Work<W> {
        self.step(now, Extent::Due)
    }

    /// As [`Writer::work`], but writes whatever has gathered and syncs it in every mode; an empty
    /// frame behind it says that it is durable, so that later damage to it is told from a torn end.
    /// For a clean stop; call it until it is idle.
    pub fn flush(&mut self, now: Monotonic) -> Work<W> {
        self.step(now, Extent::Everything)
    }

    /// To be called when the waiters that [`Work::Wrote`] gave back have been told: who came for the
    /// same meanwhile, to be told next. Call again until there are none.
    pub fn latecomers(&mut self) -> Vec<W> {
        self.journal.take_latecomers()
    }

    /// Gives up the frame that has no room, for an owner that would rather say so than wait: as if it
    /// had never been committed; who waited for it comes back. None if there is no such frame, or if
    /// more was committed since.
    pub fn withdraw(&mut self) -> Option<Vec<W>> {
        let position = self.in_hand?.position;
        if !self.journal.take_back(position) {
            return None;
        }
        self.in_hand = None;
        let waiters = std::mem::take(&mut self.frame.waiters);
        self.frame.clear();
        Some(waiters)
    }

    fn step(&mut self, now: Monotonic, mut extent: Extent) -> Work<W> {
        loop {
            if let Some(in_hand) = self.in_hand.take() {
                if let Some(poison) = self.journal.poison() {
                    return self.poisoned(poison);
                }
                return self.write_out(in_hand, now);
            }
            let due_at = match self.journal.take(&mut self.frame, now, extent) {
                Taken::Frame { position, released, turn } => {
                    return self.write_out(InHand { position, released, turn }, now);
                }
                Taken::Poisoned { poison, abandoned } => {
                    return Work::Poisoned { poison, abandoned };
                }
                Taken::Nothing { due_at } => due_at,
            };
            if let Err(poison) = self.tidy(now, extent) {
                return self.poisoned(poison);
            }
            if self.retires() && !self.is_short {
                continue;
            }
            if extent == Extent::Everything
                && self.filled == self.written
                && self.written > Position(0)
            {
                extent = Extent::Seal;
                continue;
            }
            let short = self.is_short.then(|| now.plus_ms(FULL_RETRY_MS));
            let times = [due_at, self.sync_at(), self.trim_at(), short];
            let wake_at = times.into_iter().flatten().min();
            // A commit that came meanwhile found the writer awake, so nobody will nudge for it.
            if let Sleep::Asleep { until } = self.journal.fall_asleep(wake_at) {
                return Work::Idle { wake_at: until };
            }
        }
    }

    fn write_out(&mut self, mut in_hand: InHand, now: Monotonic) -> Work<W> {
        let position = in_hand.position;
        match self.write(&mut in_hand, now) {
            Ok(frame_bytes) => {
                let mut waiters = self.frame.take_waiters();
                self.frame.clear();
                self.journal.complete(position, frame_bytes, &mut waiters);
                Work::Wrote { position, waiters }
            }
            Err(Setback::Full(shortage)) => self.full(in_hand, shortage, now),
            Err(Setback::Failed(poison)) => self.poisoned(poison),
        }
    }

    /// Keeps the frame for another try. What was promised of the frames before it goes on meanwhile.
    fn full(&mut self, in_hand: InHand, shortage: Shortage, now: Monotonic) -> Work<W> {
        self.in_hand = Some(in_hand);
        if let Err(poison) = self.tidy(now, Extent::Due) {
            return self.poisoned(poison);
        }
        self.journal.set_shortage(&shortage);
        Work::Full { retry_at: now.plus_ms(FULL_RETRY_MS), shortage }
    }

    /// Writes the frame in hand and syncs it as the mode wants; says how much disk it took.
    fn write(&mut self, in_hand: &mut InHand, now: Monotonic) -> Result<u64, Setback> {
        let InHand { position, released, .. } = *in_hand;
        let payload_bytes = self.frame.pieces.len() as u64;
        let turn = match in_hand.turn {
            None if !self.files.has_room(payload_bytes) => Some(self.next_file(now)),
            Some(_) if !self.files.is_large() && self.files.has_room(payload_bytes) => None,
            turn => turn,
        };
        if let Some(to) = turn {
            self.turn(to, position, now)?;
        }
        if in_hand.turn == Some(TurnTo::Small) {
            self.files.come_to_rest();
        }
        in_hand.turn = None;
        let frame_bytes = match self.put(position, released) {
            Err(Setback::Full(_)) if self.files.has_spare_for(payload_bytes) => {
                self.turn(TurnTo::Large, position, now)?;
                self.put(position, released)?
            }
            outcome => outcome?,
        };
        self.written = position;
        if !self.frame.pieces.is_empty() {
            self.filled = position;
        }
        self.stated = released;
        self.unsynced_since.get_or_insert(now);
        if self.sync == SyncMode::Always || self.sync_at().is_some_and(|at| at <= now) {
            self.sync_written()?;
        }
        self.journal.set_files(self.files.goes_at(released), self.files.disk_use());
        Ok(frame_bytes)
    }

    /// What follows a file that is full.
    fn next_file(&self, now: Monotonic) -> TurnTo {
        match self.turned_at {
            Some(at) if now < at.plus_ms(SPARES_KEPT_MS) && self.files.is_large() => TurnTo::Whole,
            Some(_) | None => TurnTo::Large,
        }
    }

    fn turn(&mut self, to: TurnTo, first: Position, now: Monotonic) -> Result<(), Setback> {
        self.sync_written()?;
        self.files.retire(self.stated, FILES_RETIRED_AT_ONCE)?;
        // Not what the frame in hand releases: the new file's header is durable before that frame, whose
        // records may be what makes older files needless.
        self.files.turn(to, first, self.stated)?;
        self.journal.set_old_before(self.files.old_before());
        self.turned_at = Some(now);
        Ok(())
    }

    fn put(&mut self, position: Position, released: Position) -> Result<u64, Setback> {
        let pieces = &self.frame.pieces;
        let header = FrameHeader {
            generation: self.files.generation(),
            position,
            durable: self.synced,
            released,
            payload_bytes: pieces.len() as u64,
            payload_checksum: payload_checksum(pieces),
        };
        self.files.write(&header, pieces)
    }

    /// Whether a file may go: a written frame says that it is not needed.
    fn retires(&self) -> bool {
        self.files.goes_at(Position(0)).is_some_and(|at| self.stated >= at)
    }

    /// What has time until nobody waits: a late sync, and files that are not needed any more, a few
    /// at a time.
    fn tidy(&mut self, now: Monotonic, extent: Extent) -> Result<(), Poison> {
        let retires = self.retires();
        let late = self.sync_at().is_some_and(|at| at <= now);
        let late = late || self.journal.take_sync_asked();
        if late || retires || extent != Extent::Due {
            self.sync_written()?;
        }
        self.is_short = false;
        if retires {
            match self.files.retire(self.stated, FILES_RETIRED_AT_ONCE) {
                Ok(()) => {}
                Err(Setback::Full(_)) => self.is_short = true,
                Err(Setback::Failed(poison)) => return Err(poison),
            }
        }
        if self.trim_at().is_some_and(|at| at <= now) {
            self.files.trim()?;
        }
        self.turned_at.get_or_insert(now);
        self.journal.set_disk_use(self.files.disk_use());
        if self.in_hand.is_none() {
            self.frame.shrink();
        }
        Ok(())
    }

    /// When spare files go because nobody turned to one for long.
    fn trim_at(&self) -> Option<Monotonic> {
        let turned_at = self.turned_at.filter(|_| self.files.has_excess())?;
        let kept_ms = if self.files.is_at_rest() { 0 } else { SPARES_KEPT_MS };
        Some(turned_at.plus_ms(kept_ms))
    }

    fn sync_written(&mut self) -> Result<(), Poison> {
        if self.synced < self.written {
            self.files.sync()?;
            self.synced = self.written;
            self.journal.set_synced(self.synced);
        }
        self.unsynced_since = None;
        Ok(())
    }

    /// When what is written has to be synced although nothing comes.
    fn sync_at(&self) -> Option<Monotonic> {
        match (self.sync, self.unsynced_since) {
            (SyncMode::Interval { ms }, Some(since)) => Some(since.plus_ms(ms)),
            (SyncMode::Always | SyncMode::Interval { .. } | SyncMode::Never, _) => None,
        }
    }

    fn poisoned(&mut self, poison: Poison) -> Work<W> {
        let waiters = std::mem::take(&mut self.frame.waiters);
        self.frame.clear();
        self.in_hand = None;
        let abandoned = self.journal.set_poison(&poison, waiters);
        Work::Poisoned { poison, abandoned }
    }
}
