//! The only owner of a journal's files: takes the gathering frame, writes it, syncs it, lets its waiters go.
//!
//! It has no thread of its own. Whoever has one calls [`Writer::work`] until it is idle, and again
//! when nudged or at the moment the writer named; a simulation calls it step by step.

use std::sync::Arc;

use stdx::clock::Monotonic;

use super::files::Files;
use super::frame::{FrameHeader, payload_checksum};
use super::gathering::Gathering;
use super::poison::Poison;
use super::settings::SyncMode;
use super::{Extent, Journal, Sleep, Taken};
use crate::position::Position;

/// How many old files are let go before the next look at what may have gathered.
const FILES_RETIRED_AT_ONCE: usize = 2;

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

    fn step(&mut self, now: Monotonic, mut extent: Extent) -> Work<W> {
        loop {
            let due_at = match self.journal.take(&mut self.frame, now, extent) {
                Taken::Frame { position, released } => {
                    return self.write_out(position, released, now);
                }
                Taken::Poisoned { poison, abandoned } => {
                    return Work::Poisoned { poison, abandoned };
                }
                Taken::Nothing { due_at } => due_at,
            };
            if let Err(poison) = self.tidy(now, extent) {
                return self.poisoned(poison);
            }
            if self.retires() {
                continue;
            }
            if extent == Extent::Everything
                && self.filled == self.written
                && self.written > Position(0)
            {
                extent = Extent::Seal;
                continue;
            }
            let wake_at = [due_at, self.sync_at()].into_iter().flatten().min();
            // A commit that came meanwhile found the writer awake, so nobody will nudge for it.
            if let Sleep::Asleep { until } = self.journal.fall_asleep(wake_at) {
                return Work::Idle { wake_at: until };
            }
        }
    }

    fn write_out(&mut self, position: Position, released: Position, now: Monotonic) -> Work<W> {
        match self.write(position, released, now) {
            Ok(frame_bytes) => {
                let mut waiters = self.frame.take_waiters();
                self.frame.clear();
                self.journal.complete(position, frame_bytes, &mut waiters);
                Work::Wrote { position, waiters }
            }
            Err(poison) => self.poisoned(poison),
        }
    }

    /// Writes the frame in hand and syncs it as the mode wants; says how much disk it took.
    fn write(
        &mut self,
        position: Position,
        released: Position,
        now: Monotonic,
    ) -> Result<u64, Poison> {
        let payload_bytes = self.frame.pieces.len() as u64;
        if !self.files.has_room(payload_bytes) {
            self.sync_written()?;
            self.files.retire(self.stated, FILES_RETIRED_AT_ONCE)?;
            self.files.turn(position, released)?;
            self.journal.set_old_before(self.files.old_before());
        }
        let pieces = &self.frame.pieces;
        let header = FrameHeader {
            generation: self.files.generation(),
            position,
            durable: self.synced,
            released,
            payload_bytes,
            payload_checksum: payload_checksum(pieces),
        };
        let frame_bytes = self.files.write(&header, pieces)?;
        self.written = position;
        if !pieces.is_empty() {
            self.filled = position;
        }
        self.stated = released;
        self.unsynced_since.get_or_insert(now);
        if self.sync == SyncMode::Always || self.sync_at().is_some_and(|at| at <= now) {
            self.sync_written()?;
        }
        self.journal.set_file_goes_at(self.files.goes_at(released));
        Ok(frame_bytes)
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
        if late || retires || extent != Extent::Due {
            self.sync_written()?;
        }
        if retires {
            self.files.retire(self.stated, FILES_RETIRED_AT_ONCE)?;
        }
        self.frame.shrink();
        Ok(())
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
        let abandoned = self.journal.set_poison(&poison, waiters);
        Work::Poisoned { poison, abandoned }
    }
}
