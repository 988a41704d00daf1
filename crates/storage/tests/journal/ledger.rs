//! A scripted owner of a journal and the book it keeps: what it committed, what it was told is durable,
//! what it released. After any crash the book knows which journals are right.

use std::sync::Arc;

use bytes::Bytes;
use stdx::clock::Monotonic;
use storage::disk::SimulatedDisk;
use storage::{Journal, JournalSettings, OpenError, Position, Staged, SyncMode, Work, Writer};

use crate::support::{SeenRecord, settings};

/// What one owner knows, over all its lives.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    sync: SyncMode,
    /// What every frame holds: index 0 is position 1.
    frames: Vec<Frame>,
    /// The newest position that must be there.
    durable: u64,
    /// Nothing before this position must be there.
    released: u64,
    /// Makes every record different from every other, in all lives.
    drawn: u64,
}

#[derive(Clone, Debug, Default)]
struct Frame {
    records: Vec<SeenRecord>,
    waiters: Vec<u64>,
}

/// Whether the disk went along to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Full,
    CutShort,
    /// The journal did not open: it is damaged.
    Refused,
}

/// How an owner that came to its end leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    Gone,
    Flushed,
}

impl Ledger {
    pub(crate) fn new(sync: SyncMode) -> Ledger {
        Ledger { sync, frames: Vec::new(), durable: 0, released: 0, drawn: 0 }
    }

    /// The newest position that must be there.
    pub(crate) fn durable(&self) -> u64 {
        self.durable
    }

    /// One life: opens the journal in `disk`, compares it with the book, and goes on for so many
    /// frames, or until the disk fails.
    pub(crate) fn live(&mut self, disk: &SimulatedDisk, frames: u64) -> Life {
        self.live_and(disk, frames, Leave::Gone)
    }

    pub(crate) fn live_and(&mut self, disk: &SimulatedDisk, frames: u64, leave: Leave) -> Life {
        let settings =
            JournalSettings { sync: self.sync, spare_files_max: 2, ..settings(32 << 10) };
        let mut seen = Vec::new();
        let opened = storage::open(Arc::new(disk.clone()), settings, &mut |record| {
            seen.push((record.position.0, record.tag, record.payload.to_vec()));
        });
        let mut opened = match opened {
            Ok(opened) => opened,
            Err(OpenError::Io { .. }) => return Life::CutShort,
            Err(OpenError::Corrupt { .. } | OpenError::Newer { .. }) => return Life::Refused,
        };
        self.compare(&seen, opened.journal.durable().0);
        for _ in 0..frames {
            if self.write_a_frame(&opened.journal, &mut opened.writer) == Life::CutShort {
                return Life::CutShort;
            }
            if self.draw().is_multiple_of(4) {
                self.released = self.released.max(self.durable.saturating_sub(3));
                opened.journal.release_before(Position(self.released));
            }
            let rests = match self.draw() % 10 {
                0 | 1 => self.rest(|| opened.writer.work(Monotonic(0))),
                2 => self.flush(&mut opened.writer),
                _ => Life::Full,
            };
            if rests == Life::CutShort {
                return Life::CutShort;
            }
        }
        match leave {
            Leave::Gone => Life::Full,
            Leave::Flushed => self.flush(&mut opened.writer),
        }
    }

    /// What was seen must be what was committed: all that had been durable, in order, nothing of
    /// what was lost before, and nothing else. What is seen once must stay.
    fn compare(&mut self, seen: &[SeenRecord], end: u64) {
        assert!(end >= self.durable, "durable up to {}, seen up to {end}", self.durable);
        self.frames.resize(usize::try_from(end).unwrap(), Frame::default());
        let all: Vec<SeenRecord> =
            self.frames.iter().flat_map(|frame| frame.records.iter().cloned()).collect();
        let missing = all.len().checked_sub(seen.len()).expect("nothing was invented");
        assert_eq!(seen, &all[missing..]);
        for (position, _, _) in &all[..missing] {
            assert!(*position < self.released, "{position} is missing, not released");
        }
        self.durable = end;
    }

    fn write_a_frame(&mut self, journal: &Journal<u64>, writer: &mut Writer<u64>) -> Life {
        let mut staged = Staged::default();
        for _ in 0..=self.draw() % 3 {
            let records = self.stage(&mut staged);
            let Ok(committed) = journal.commit(&mut staged, Monotonic(0)) else {
                return Life::CutShort;
            };
            let frame = self.frame(committed.position);
            for (tag, payload) in records {
                frame.records.push((committed.position.0, tag, payload));
            }
            let late = frame.waiters.len() as u64;
            frame.waiters.push(late);
        }
        match writer.work(Monotonic(0)) {
            Work::Wrote { position, waiters } => {
                let expected = &self.frame(position).waiters;
                assert_eq!(waiters.len(), expected.len());
                if self.sync == SyncMode::Always {
                    self.durable = position.0;
                }
                Life::Full
            }
            Work::Poisoned { abandoned, .. } => {
                assert!(!abandoned.is_empty());
                assert!(journal.poison().is_some());
                Life::CutShort
            }
            Work::Full { .. } => {
                assert!(journal.is_full());
                Life::CutShort
            }
            Work::Idle { .. } => panic!("urged frames are due"),
        }
    }

    /// One commit of one or two records, and a waiter.
    fn stage(&mut self, staged: &mut Staged<u64>) -> Vec<(u8, Vec<u8>)> {
        let mut records = Vec::new();
        for _ in 0..=self.draw() % 2 {
            let number = self.draw();
            let tag = number.to_le_bytes()[0];
            let len = usize::try_from(number >> 32).unwrap() % 5_000;
            let body = vec![number.to_le_bytes()[1]; len];
            staged.record_with(
                tag,
                |out| out.extend_from_slice(&number.to_le_bytes()),
                Bytes::from(body.clone()),
            );
            records.push((tag, [&number.to_le_bytes()[..], &body].concat()));
        }
        staged.wait(self.drawn);
        staged.urge();
        records
    }

    /// Lets the writer do what it does when nobody waits.
    fn rest(&mut self, mut work: impl FnMut() -> Work<u64>) -> Life {
        loop {
            match work() {
                Work::Idle { .. } => return Life::Full,
                // A frame without records: a seal, or word of a release.
                Work::Wrote { position, waiters } => {
                    assert!(waiters.is_empty());
                    assert!(self.frame(position).records.is_empty());
                }
                Work::Full { .. } | Work::Poisoned { .. } => return Life::CutShort,
            }
        }
    }

    fn flush(&mut self, writer: &mut Writer<u64>) -> Life {
        let rested = self.rest(|| writer.flush(Monotonic(0)));
        if rested == Life::Full {
            self.durable = self.frames.len() as u64;
        }
        rested
    }

    fn frame(&mut self, position: Position) -> &mut Frame {
        let index = usize::try_from(position.0).unwrap() - 1;
        if self.frames.len() <= index {
            self.frames.resize(index + 1, Frame::default());
        }
        &mut self.frames[index]
    }

    /// The next of a sequence without end and without repetition.
    fn draw(&mut self) -> u64 {
        self.drawn += 1;
        let mixed = self.drawn.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    }
}
