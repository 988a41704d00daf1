//! The catalogue on disk: a journal of changes, written and synced by whoever makes one; changes
//! are rare, and none counts before it is durable.

use std::sync::Arc;

use stdx::clock::Monotonic;
use storage::disk::Disk;
use storage::{Journal, JournalSettings, Poison, Record, Shortage, Staged, Work, Writer};

use crate::journaled::catalogue_records::{CatalogueRecord, put};
use crate::journaled::{Malformed, tag};
use crate::limits;
use crate::passwords::HashFailed;
use crate::recover::ReplayError;
use crate::register::{Change, Register};

/// The catalogue's journal.
#[derive(Debug)]
pub(crate) struct Store {
    journal: Arc<Journal<()>>,
    writer: Writer<()>,
    staged: Staged<()>,
}

/// A catalogue that was read.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) state: Register,
    pub(crate) store: Store,
}

/// Why a change of the catalogue was not made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unwritten {
    /// There is no room for it; when there is, it can be asked for again.
    #[error(transparent)]
    Full(#[from] Shortage),
    /// Nothing can be changed any more.
    #[error(transparent)]
    Poisoned(#[from] Poison),
}

/// Why the catalogue can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error(transparent)]
    Journal(storage::OpenError),
    #[error(transparent)]
    Replay(ReplayError),
    #[error(transparent)]
    Unwritten(#[from] Unwritten),
    #[error(transparent)]
    Hash(#[from] HashFailed),
}

/// What is read so far.
#[derive(Default)]
pub(crate) struct Replay {
    state: Register,
    /// A repair gave something up.
    after_loss: bool,
    error: Option<ReplayError>,
}

impl Replay {
    pub(crate) fn record(&mut self, record: &Record<'_>) {
        if self.error.is_some() {
            return;
        }
        if record.tag == tag::VOID {
            self.after_loss = true;
            return;
        }
        let (tag, position) = (record.tag, record.position.0);
        match CatalogueRecord::take(tag, &record.payload) {
            Ok(Some(CatalogueRecord::Checkpoint)) => self.state = Register::default(),
            Ok(Some(CatalogueRecord::Change(change))) => self.state.apply(change),
            Ok(None) => self.error = Some(ReplayError::UnknownTag { tag, position }),
            Err(Malformed) => self.error = Some(ReplayError::Malformed { tag, position }),
        }
    }

    /// What the records came to.
    pub(crate) fn finish(self) -> Result<Register, ReplayError> {
        self.error.map_or(Ok(self.state), Err)
    }
}

/// Reads the catalogue and writes nothing.
pub(crate) fn read_register(
    disk: Arc<dyn Disk>,
    settings: JournalSettings,
) -> Result<Register, StoreError> {
    let mut replay = Replay::default();
    let opened = storage::open::<()>(disk, settings, &mut |record| replay.record(&record));
    opened.map_err(StoreError::Journal)?;
    replay.finish().map_err(StoreError::Replay)
}

impl Store {
    /// Reads the catalogue. `first` is what an empty one begins with.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        settings: JournalSettings,
        now: Monotonic,
        first: impl FnOnce() -> Result<Vec<Change>, HashFailed>,
    ) -> Result<Opened, StoreError> {
        let mut replay = Replay::default();
        let opened = storage::open(disk, settings, &mut |record| replay.record(&record));
        let opened = opened.map_err(StoreError::Journal)?;
        let after_loss = replay.after_loss;
        let mut state = replay.finish().map_err(StoreError::Replay)?;
        let mut store =
            Store { journal: opened.journal, writer: opened.writer, staged: Staged::default() };
        // With all its users lost, it would let nobody in.
        if opened.summary.frames == 0 || (after_loss && state.users.is_empty()) {
            let changes = first()?;
            store.write(&changes, now)?;
            for change in changes {
                state.apply(change);
            }
        } else {
            store.checkpoint(&state, now)?;
        }
        Ok(Opened { state, store })
    }

    /// Writes changes and waits until they are durable.
    pub(crate) fn write(&mut self, changes: &[Change], now: Monotonic) -> Result<(), Unwritten> {
        for change in changes {
            put(&CatalogueRecord::Change(change.clone()), &mut self.staged);
        }
        self.flush(now)
    }

    /// Says everything again, so that older files can go.
    pub(crate) fn checkpoint(&mut self, state: &Register, now: Monotonic) -> Result<(), Unwritten> {
        put(&CatalogueRecord::Checkpoint, &mut self.staged);
        for change in state.restated() {
            put(&CatalogueRecord::Change(change), &mut self.staged);
        }
        match self.flush(now) {
            // It says nothing new, and will be tried again.
            Err(Unwritten::Full(shortage)) => {
                tracing::warn!(reason = %shortage, "the catalogue could not be written anew");
                return Ok(());
            }
            outcome => outcome?,
        }
        let position = self.journal.durable();
        self.journal.mark_checkpoint(position);
        self.journal.release_before(position);
        Ok(())
    }

    pub(crate) fn is_checkpoint_due(&self) -> bool {
        self.journal.bytes_since_checkpoint() >= limits::CATALOGUE_CHECKPOINT_BYTES
    }

    fn flush(&mut self, now: Monotonic) -> Result<(), Unwritten> {
        self.staged.urge();
        self.journal.commit(&mut self.staged, now)?;
        loop {
            match self.writer.flush(now) {
                Work::Wrote { .. } => {}
                Work::Idle { .. } => return Ok(()),
                Work::Full { shortage, .. } => {
                    // It is asked for by somebody who waits for the answer.
                    self.writer.withdraw();
                    return Err(Unwritten::Full(shortage));
                }
                Work::Poisoned { poison, .. } => return Err(Unwritten::Poisoned(poison)),
            }
        }
    }
}
