//! The appending side of a journal: what gathers for the next frame, and who waits for which.
//!
//! A journal is a directory of files of *frames*. While one frame is written and synced by the
//! [`Writer`], the next gathers here, behind one mutex that is held to copy bytes and for nothing
//! else: group commit without timers. A frame has a [`Position`]; when its sync is done, everything
//! in it is durable at once and its waiters come back in the order in which they came.

mod copy;

mod replay;
mod writer;

mod files;

mod disk_use;
mod gathering;
mod progress;

mod file_header;
mod frame;

mod file_name;
mod shortage;

mod poison;
mod settings;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use stdx::clock::Monotonic;

pub(crate) use copy::{CopyError, copy_journal};
pub use disk_use::DiskUse;
pub use file_name::is_journal_file;
pub use poison::Poison;
pub use replay::{
    Damage, Gap, OpenError, Opened, Record, RepairSettings, ReplaySummary, Scan, Sight, TornTail,
    open, repair, scan,
};
pub use settings::{JournalSettings, SyncMode};
pub use shortage::Shortage;
pub use writer::{Work, Writer};

use crate::operation::Operation;
use crate::position::Position;
use crate::staged::Staged;
use files::TurnTo;
use gathering::Gathering;
use progress::Progress;

/// The appending side of a journal; shared by whoever commits and whoever waits.
pub struct Journal<W> {
    state: Mutex<State<W>>,
    /// The same as in the state, for those who only look.
    durable: AtomicU64,
    /// What is synced, whatever the mode promises.
    synced: AtomicU64,
    /// What lies before it is in old files.
    old_before: AtomicU64,
}

/// What a commit did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The frame the commit is in: durable when the journal is durable up to here.
    pub position: Position,
    /// Whether the writer has to be called.
    pub nudge: Nudge,
}

/// Whether the writer has to be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nudge {
    /// It works already, or will wake in time by itself.
    No,
    /// It sleeps and now has a reason to work: call [`Writer::work`] soon, from any thread.
    Writer,
}

/// What the writer does while nobody calls it.
#[derive(Clone, Copy, Debug)]
enum Sleep {
    /// It works, or has been told to.
    Awake,
    /// It waits for a nudge, or until a moment it named itself.
    Asleep { until: Option<Monotonic> },
}

struct State<W> {
    gathering: Gathering<W>,
    /// The position the gathering frame will have.
    position: Position,
    /// Who came late for the frame that is being written.
    in_flight: Vec<W>,
    /// The writer's owner tells the waiters of what was written last; whoever comes meanwhile comes
    /// behind them.
    telling: bool,
    latecomers: Vec<W>,
    durable: Position,
    /// The owner needs nothing before this.
    released: Position,
    /// A release at or past this position lets at least one file go.
    file_goes_at: Option<Position>,
    sleep: Sleep,
    poison: Option<Poison>,
    /// Why the frame in the writer's hands is not on the disk yet, if that is for want of room.
    shortage: Option<Shortage>,
    /// What the next frame wants of the file it goes to, if it wants another.
    turn: Option<TurnTo>,
    /// Somebody waits for what is written to be synced.
    sync_asked: bool,
    disk_use: DiskUse,
    progress: Progress,
    linger_ms: u64,
    gather_bytes: usize,
}

/// What the writer finds when it asks for a frame.
enum Taken<W> {
    /// A frame to write, now in the writer's hands.
    Frame { position: Position, released: Position, turn: Option<TurnTo> },
    /// Nothing is due; something will be at this moment.
    Nothing { due_at: Option<Monotonic> },
    /// Nothing will ever be written again.
    Poisoned { poison: Poison, abandoned: Vec<W> },
}

/// What the writer asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    /// The gathering frame if it is due.
    Due,
    /// Whatever has gathered.
    Everything,
    /// A frame even if nothing has gathered, so that it vouches for the one before.
    Seal,
}

impl<W> std::fmt::Debug for Journal<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.state();
        f.debug_struct("Journal")
            .field("durable", &state.durable)
            .field("gathering_bytes", &state.gathering.pieces.len())
            .field("released", &state.released)
            .field("poison", &state.poison)
            .finish_non_exhaustive()
    }
}

impl<W> Journal<W> {
    /// Moves everything in `staged` into the gathering frame: all of it into one frame, so that a
    /// crash keeps all or nothing. `now` dates a commit that is not urged. A refused commit leaves
    /// `staged` as it was.
    pub fn commit(&self, staged: &mut Staged<W>, now: Monotonic) -> Result<Committed, Poison> {
        let mut state = self.state();
        if let Some(poison) = &state.poison {
            return Err(poison.clone());
        }
        let adds_nothing = staged.is_empty();
        if !adds_nothing {
            state.gathering.append(staged, now);
        }
        let position = if adds_nothing && state.gathering.is_empty() {
            state.position.previous()
        } else {
            state.position
        };
        Ok(Committed { position, nudge: state.nudge() })
    }

    /// Gives `waiter` back if everything up to `position` is durable already, and those who waited
    /// before have been told ([`Writer::latecomers`]). Otherwise it is kept and comes back with the
    /// frame of that position, in order; one that waits past everything committed comes back with
    /// the next frame. In a poisoned journal it comes back, abandoned,
    /// when the writer is called next.
    #[must_use]
    pub fn when_durable(&self, position: Position, waiter: W) -> Option<W> {
        let mut state = self.state();
        if position <= state.durable {
            if !state.telling {
                return Some(waiter);
            }
            // Others who came before are being told right now.
            state.latecomers.push(waiter);
            return None;
        }
        if position < state.position {
            state.in_flight.push(waiter);
        } else {
            state.gathering.waiters.push(waiter);
        }
        None
    }

    /// Everything up to here is durable, as far as the sync mode promises.
    pub fn durable(&self) -> Position {
        Position(self.durable.load(Ordering::Acquire))
    }

    /// Everything up to here survives a power loss, in every sync mode: what the removal of other
    /// files may depend on.
    pub fn synced(&self) -> Position {
        Position(self.synced.load(Ordering::Acquire))
    }

    /// What lies before this position keeps files that are old by now: some newer ones are full.
    pub fn old_before(&self) -> Position {
        Position(self.old_before.load(Ordering::Relaxed))
    }

    /// Something else of the owner's on the same disk failed: nothing is written any more. Returns
    /// why; an earlier reason stands.
    pub fn stop(&self, file: &str, operation: Operation, error: io::Error) -> Poison {
        let mut state = self.state();
        state.poison.get_or_insert_with(|| Poison::new(file, operation, error)).clone()
    }

    /// The owner will not need anything before `position` after a restart: files that lie wholly
    /// before it may go. They go when the journal has said so durably, so a crash may bring
    /// some of them back, from the newest backwards.
    pub fn release_before(&self, position: Position) -> Nudge {
        let mut state = self.state();
        state.released = state.released.max(position.min(state.position));
        state.nudge()
    }

    /// How many bytes of disk the journal took after the checkpoint.
    pub fn bytes_since_checkpoint(&self) -> u64 {
        let state = self.state();
        state.progress.bytes_since_checkpoint() + state.gathering.pieces.len() as u64
    }

    /// The newest checkpoint is in the frame at `position`. After a restart the owner repeats this
    /// with the position at which it met its checkpoint.
    pub fn mark_checkpoint(&self, position: Position) {
        self.state().progress.mark_checkpoint(position);
    }

    /// How many bytes are gathered and not yet handed to the writer; what to hold publishers by.
    pub fn bytes_gathered(&self) -> usize {
        self.state().gathering.pieces.len()
    }

    /// The next frame goes into a new file that takes little of the disk, unless it would go into such a
    /// one anyway. For an owner that needs nothing of what was written so far: when it says so again
    /// and releases what was before, the journal comes down to a few MiB.
    pub fn turn_file(&self) {
        self.state().turn = Some(TurnTo::Small);
    }

    /// What is written is to be synced soon, although the sync mode promises nothing: for an owner
    /// that waits for [`Journal::synced`] while little is written.
    pub fn ask_for_sync(&self) -> Nudge {
        let mut state = self.state();
        state.sync_asked = true;
        if matches!(state.sleep, Sleep::Awake) || state.poison.is_some() {
            return Nudge::No;
        }
        state.sleep = Sleep::Awake;
        Nudge::Writer
    }

    /// What the journal's files take of the disk.
    pub fn disk_bytes(&self) -> u64 {
        self.state().disk_use.bytes()
    }

    /// Everything that was written to the disk since the journal was opened.
    pub fn bytes_written(&self) -> u64 {
        self.state().disk_use.written_bytes
    }

    /// The same in detail.
    pub fn disk_use(&self) -> DiskUse {
        self.state().disk_use
    }

    /// Whether the disk has no room for the frame that is to be written. It is tried again and again;
    /// until then commits are taken and nobody's wait ends.
    pub fn is_full(&self) -> bool {
        self.state().shortage.is_some()
    }

    /// What there is no room for, if there is none.
    pub fn shortage(&self) -> Option<Shortage> {
        self.state().shortage.clone()
    }

    /// Why the journal takes no more records, if it does not.
    pub fn poison(&self) -> Option<Poison> {
        self.state().poison.clone()
    }

    fn new(settings: &JournalSettings, durable: Position, progress: Progress) -> Journal<W> {
        Journal {
            state: Mutex::new(State {
                gathering: Gathering::default(),
                position: durable.next(),
                in_flight: Vec::new(),
                telling: false,
                latecomers: Vec::new(),
                durable,
                released: Position(0),
                file_goes_at: None,
                sleep: Sleep::Asleep { until: None },
                poison: None,
                shortage: None,
                turn: None,
                sync_asked: false,
                disk_use: DiskUse::default(),
                progress,
                linger_ms: settings.linger_ms,
                gather_bytes: settings.gather_bytes,
            }),
            durable: AtomicU64::new(durable.0),
            synced: AtomicU64::new(durable.0),
            old_before: AtomicU64::new(0),
        }
    }

    /// Swaps the gathering frame against the empty one in `frame`, if there is a reason to write.
    fn take(&self, frame: &mut Gathering<W>, now: Monotonic, extent: Extent) -> Taken<W> {
        let mut state = self.state();
        if let Some(poison) = state.poison.clone() {
            return Taken::Poisoned { poison, abandoned: state.abandon(Vec::new()) };
        }
        let due_at = state.due_at();
        let wanted = match extent {
            Extent::Due => due_at.is_some_and(|at| at <= now),
            Extent::Everything => due_at.is_some(),
            Extent::Seal => true,
        };
        if !wanted {
            return Taken::Nothing { due_at };
        }
        state.sleep = Sleep::Awake;
        std::mem::swap(&mut state.gathering, frame);
        let position = state.position;
        state.position = position.next();
        Taken::Frame { position, released: state.released, turn: state.turn.take() }
    }

    /// Sets the alarm of a writer that has nothing to do, unless something came up meanwhile.
    fn fall_asleep(&self, until: Option<Monotonic>) -> Sleep {
        let mut state = self.state();
        let earlier = match (state.due_at(), until) {
            (Some(due_at), Some(until)) => due_at < until,
            (due_at, None) => due_at.is_some(),
            (None, Some(_)) => false,
        };
        let earlier = earlier || state.sync_asked;
        state.sleep = if earlier { Sleep::Awake } else { Sleep::Asleep { until } };
        state.gathering.shrink();
        state.sleep
    }

    /// The frame at `position` is durable: its waiters, in the order in which they came.
    fn complete(&self, position: Position, frame_bytes: u64, waiters: &mut Vec<W>) {
        let mut state = self.state();
        state.durable = position;
        state.shortage = None;
        self.durable.store(position.0, Ordering::Release);
        state.progress.wrote(position, frame_bytes);
        waiters.append(&mut state.in_flight);
        state.telling = !waiters.is_empty();
    }

    fn take_latecomers(&self) -> Vec<W> {
        let mut state = self.state();
        let latecomers = std::mem::take(&mut state.latecomers);
        state.telling &= !latecomers.is_empty();
        latecomers
    }

    fn take_sync_asked(&self) -> bool {
        std::mem::take(&mut self.state().sync_asked)
    }

    fn set_synced(&self, position: Position) {
        self.synced.store(position.0, Ordering::Release);
    }

    fn set_old_before(&self, position: Position) {
        self.old_before.store(position.0, Ordering::Relaxed);
    }

    /// The frame in the writer's hands has no room on the disk.
    fn set_shortage(&self, shortage: &Shortage) {
        self.state().shortage = Some(shortage.clone());
    }

    /// The frame at `position` will not be written after all, if nothing came after it.
    fn take_back(&self, position: Position) -> bool {
        let mut state = self.state();
        let newest = state.position == position.next();
        let alone = newest && state.gathering.is_empty() && state.in_flight.is_empty();
        if alone && state.gathering.waiters.is_empty() {
            state.position = position;
            state.shortage = None;
            return true;
        }
        false
    }

    /// From which release on a file goes, and what there is.
    fn set_files(&self, goes_at: Option<Position>, disk_use: DiskUse) {
        let mut state = self.state();
        state.file_goes_at = goes_at;
        state.disk_use = disk_use;
    }

    fn set_disk_use(&self, disk_use: DiskUse) {
        self.state().disk_use = disk_use;
    }

    /// Nothing is written any more; everybody who waits is let go, oldest first.
    fn set_poison(&self, poison: &Poison, waiters: Vec<W>) -> Vec<W> {
        let mut state = self.state();
        state.poison.get_or_insert_with(|| poison.clone());
        state.shortage = None;
        state.abandon(waiters)
    }

    fn state(&self) -> MutexGuard<'_, State<W>> {
        // Nothing in here can panic half way; were it to, the state would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W> State<W> {
    /// When the gathering frame has to be written; none if there is nothing to write.
    fn due_at(&self) -> Option<Monotonic> {
        if self.file_goes_at.is_some_and(|at| self.released >= at) {
            return Some(Monotonic(0));
        }
        self.gathering.due_at(self.linger_ms, self.gather_bytes)
    }

    /// Whether the writer has to be called for what there is now.
    fn nudge(&mut self) -> Nudge {
        let Sleep::Asleep { until } = self.sleep else { return Nudge::No };
        let Some(due_at) = self.due_at() else { return Nudge::No };
        if until.is_some_and(|until| until <= due_at) {
            return Nudge::No;
        }
        self.sleep = Sleep::Awake;
        Nudge::Writer
    }

    /// Everybody who waits: first `waiters`, then those for the same frame, then those for the next.
    fn abandon(&mut self, mut waiters: Vec<W>) -> Vec<W> {
        waiters.append(&mut self.latecomers);
        waiters.append(&mut self.in_flight);
        waiters.append(&mut self.gathering.waiters);
        self.gathering.clear();
        waiters
    }
}
