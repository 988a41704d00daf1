//! The journal's frames, as the checker sees them: what is in each, which of them are written, and
//! which may be there although nobody said so.

use storage::SyncMode;
use storage::disk::Faults;

use super::Life;
use crate::checker::Turn;
use crate::checker::snapshot::Snapshot;
use crate::stall::Stepped;
use crate::violation::{Violation, broken, demand};

/// A frame that was begun and is not written.
#[derive(Clone, Debug)]
pub(super) struct Begun {
    snapshot: Snapshot,
    /// It has everything up to here.
    turn: Turn,
}

/// Why everything is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occasion {
    /// A frame was due.
    Frame,
    /// The broker stops, and knows exactly what it delivered.
    Stop,
}

/// How a life ended, as far as the disk is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// What was not synced may be gone.
    Unsynced,
    /// Everything written is there.
    Nothing,
}

impl Life {
    /// The journal's writer does one step, or goes on with it; says whether it wrote something.
    pub(crate) fn step(&mut self) -> Result<bool, Violation> {
        // Whatever came since a step began comes too late for its frame.
        let late = self.stalled.take();
        let now = || Begun { snapshot: self.checker.snapshot(), turn: self.checker.turn };
        let begun = late.clone().unwrap_or_else(now);
        let stepped = self.process.step();
        self.trace.line(format!("the writer steps: {stepped:?}"));
        match stepped {
            Stepped::Stalled => {
                self.stalled = Some(begun);
                self.see_and_write()?;
                Ok(false)
            }
            Stepped::Done(Ok(true)) => {
                self.written(Occasion::Frame, late)?;
                Ok(true)
            }
            Stepped::Done(Ok(false)) => {
                if self.process.broker.is_disk_full() {
                    // Whatever comes now comes too late for the frame that waits for room.
                    self.waiting.get_or_insert(begun);
                }
                self.see_and_write()?;
                Ok(false)
            }
            Stepped::Done(Err(_poison)) => {
                self.failed(begun.snapshot)?;
                Ok(false)
            }
        }
    }

    /// A frame was written: the one that waited for room, the one that took its time, or one with
    /// everything up to now.
    pub(super) fn written(
        &mut self,
        occasion: Occasion,
        late: Option<Begun>,
    ) -> Result<(), Violation> {
        let clean = occasion == Occasion::Stop;
        // A stop writes the one that waits and another one behind it.
        let begun = self.waiting.take().filter(|_| !clean).or(late);
        let turn = begun.as_ref().map_or(self.checker.turn, |begun| begun.turn);
        self.checker.writing(turn);
        self.see()?;
        self.checker.written(turn);
        let snapshot = match begun {
            Some(begun) => begun.snapshot,
            None => Snapshot { clean, ..self.checker.snapshot() },
        };
        if clean {
            self.frames.clear();
        } else if self.sync == SyncMode::Always {
            // Where bits rot the newest frame counts as torn, and the one before it is found.
            self.frames.drain(..self.frames.len().saturating_sub(1));
        }
        self.frames.push(snapshot);
        self.see_and_write()
    }

    /// From now on some operations of the disk take long.
    pub(crate) fn stall_from(&mut self, seed: u64) {
        self.trace.line("the disk stalls now and then".to_owned());
        self.process.stall_from(seed);
    }

    /// What the disk was at is done, and nothing takes long any more.
    pub(super) fn end_stalls(&mut self) -> Result<(), Violation> {
        self.process.end_stalls();
        while self.stalled.is_some() {
            self.step()?;
        }
        Ok(())
    }

    /// A frame may or may not have been written, and nothing will be any more.
    pub(super) fn failed(&mut self, before: Snapshot) -> Result<(), Violation> {
        self.checker.begin_turn();
        if !self.checker.poisoned {
            demand!(self.disk_fails(), PoisonTold, "the broker gives up on a disk that works");
            self.torn = Some(self.waiting.take().map_or(before, |begun| begun.snapshot));
        }
        self.gives_up()
    }

    /// Whether anything has failed on the disk.
    pub(super) fn disk_fails(&self) -> bool {
        let Faults { fail_write, fail_sync, power_out, .. } = self.faults;
        let counts = self.disk.counts();
        let reached = |at: Option<u64>, count: u64| at.is_some_and(|at| at <= count);
        reached(fail_write, counts.writes)
            || reached(fail_sync, counts.syncs)
            || reached(power_out, counts.operations)
    }

    /// Nothing will be written any more.
    pub(super) fn gives_up(&mut self) -> Result<(), Violation> {
        if !self.checker.poisoned {
            self.checker.poison();
        }
        self.see_and_write()?;
        for (key, session) in &self.checker.sessions {
            demand!(
                session.closing || session.ended,
                PoisonTold,
                "session {key} was not told that the journal can't be written"
            );
        }
        Ok(())
    }

    /// The vhost has stopped while the writer was at a frame: that may still be written, and nobody
    /// is told.
    pub(super) fn last_frame(&mut self) -> Result<(), Violation> {
        let Some(begun) = self.stalled.take() else { return Ok(()) };
        self.process.end_stalls();
        let stepped = loop {
            match self.process.step() {
                Stepped::Stalled => {}
                Stepped::Done(stepped) => break stepped,
            }
        };
        self.trace.line(format!("the writer's last step: {stepped:?}"));
        self.checker.poisoned = true;
        match stepped {
            Ok(true) => self.written(Occasion::Frame, Some(begun)),
            Ok(false) => Ok(()),
            Err(_poison) => {
                self.torn = Some(self.waiting.take().map_or(begun.snapshot, |it| it.snapshot));
                Ok(())
            }
        }
    }

    /// What may be found after this life, newest first.
    pub(crate) fn outcomes(&self, loss: Loss) -> Vec<Snapshot> {
        let newest = match (loss, self.sync) {
            (Loss::Unsynced, SyncMode::Interval { .. } | SyncMode::Never) => self.frames.len(),
            (Loss::Unsynced, SyncMode::Always) | (Loss::Nothing, _) => 1,
        };
        let frames = self.frames.iter().rev().take(newest);
        self.unsure().into_iter().chain(frames).cloned().collect()
    }

    /// What may be found where bits rot: the newest frame counts as torn if it is not whole. In a life
    /// that has written none that is the last one of the lives before, of which `before` is known.
    pub(crate) fn outcomes_where_bits_rot(&self, before: &[Snapshot]) -> Vec<Snapshot> {
        let before = if self.frames.len() == 1 { before } else { &[] };
        let own = self.unsure().into_iter().chain(self.frames.iter().rev());
        own.chain(before).cloned().collect()
    }

    /// What would be there if the frame that failed, or was being written, made it to the disk.
    fn unsure(&self) -> Option<&Snapshot> {
        let begun = self.stalled.as_ref().map(|begun| self.waiting.as_ref().unwrap_or(begun));
        self.torn.as_ref().or(begun.map(|begun| &begun.snapshot))
    }
}
