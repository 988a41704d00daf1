//! Background tasks, each on a thread of its own that moves only when it is told to, and then as far
//! as its next disk operation. So a task can be anywhere when a batch is applied, when the writer
//! steps and when the life ends, and yet only one thread moves at a time: a run repeats exactly.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use broker::Background;
use stdx::clock::Monotonic;
use storage::disk::{Disk, DiskFile, SimulatedDisk};

type Task = Box<dyn FnOnce() + Send>;

/// The tasks of one process that are not done.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Not begun, in the order in which they came.
    waiting: Vec<Task>,
    timed: Vec<(Monotonic, Task)>,
    /// Begun, and stopped before a disk operation.
    begun: Vec<Begun>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("begun", &self.begun).finish_non_exhaustive()
    }
}

/// A task with its thread.
#[derive(Debug)]
struct Begun {
    turnstile: Arc<Turnstile>,
    thread: JoinHandle<()>,
}

/// What lets a task's thread and the rest move in turns.
#[derive(Debug, Default)]
struct Turnstile {
    moves: Mutex<Moves>,
    changed: Condvar,
}

/// Who moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Moves {
    #[default]
    TheRest,
    TheTask,
    /// The task is done.
    NobodyAnyMore,
    /// The process is gone: the task finds no disk any more, and ends.
    Abandoned,
}

thread_local! {
    /// Of the task on this thread.
    static TURNSTILE: RefCell<Option<Arc<Turnstile>>> = const { RefCell::new(None) };
}

impl Turnstile {
    fn moves(&self) -> MutexGuard<'_, Moves> {
        self.moves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The task stops here until it is told to go on.
    fn stop(&self) -> io::Result<()> {
        let mut moves = self.moves();
        if *moves == Moves::TheTask {
            *moves = Moves::TheRest;
            self.changed.notify_all();
        }
        self.await_turn(moves)
    }

    fn await_turn(&self, mut moves: MutexGuard<'_, Moves>) -> io::Result<()> {
        loop {
            match *moves {
                Moves::TheTask => return Ok(()),
                Moves::NobodyAnyMore | Moves::Abandoned => {
                    return Err(io::Error::other("the process is gone"));
                }
                Moves::TheRest => {
                    moves = self.changed.wait(moves).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    /// Lets the task go on to its next stop; says whether it is done.
    fn go(&self) -> bool {
        let mut moves = self.moves();
        *moves = Moves::TheTask;
        self.changed.notify_all();
        while *moves == Moves::TheTask {
            moves = self.changed.wait(moves).unwrap_or_else(PoisonError::into_inner);
        }
        *moves == Moves::NobodyAnyMore
    }

    fn set(&self, to: Moves) {
        *self.moves() = to;
        self.changed.notify_all();
    }
}

impl Begun {
    fn with(task: Task) -> Begun {
        let turnstile = Arc::new(Turnstile::default());
        let own = Arc::clone(&turnstile);
        let thread = std::thread::spawn(move || {
            // It may have been told to go before it got here.
            if own.await_turn(own.moves()).is_err() {
                return;
            }
            TURNSTILE.set(Some(Arc::clone(&own)));
            task();
            own.set(Moves::NobodyAnyMore);
        });
        Begun { turnstile, thread }
    }
}

impl Tasks {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one of them could move.
    pub(crate) fn any(&self, now: Monotonic) -> bool {
        let state = self.state();
        let due = state.timed.iter().any(|(at, _)| *at <= now);
        due || !state.waiting.is_empty() || !state.begun.is_empty()
    }

    /// One of them moves; `choice` says which. Whether there was any.
    pub(crate) fn go_on(&self, now: Monotonic, choice: u64) -> bool {
        let mut state = self.state();
        let (due, later) = std::mem::take(&mut state.timed)
            .into_iter()
            .partition::<Vec<_>, _>(|(at, _)| *at <= now);
        state.timed = later;
        state.waiting.extend(due.into_iter().map(|(_, task)| task));
        let (begun, waiting) = (state.begun.len(), state.waiting.len());
        let Some(at) = choice.checked_rem((begun + waiting) as u64) else { return false };
        let at = usize::try_from(at).unwrap_or(0);
        if at >= begun {
            let task = state.waiting.remove(at - begun);
            state.begun.push(Begun::with(task));
        }
        let at = at.min(begun);
        let turnstile = Arc::clone(&state.begun[at].turnstile);
        // A task may ask for another one.
        drop(state);
        if turnstile.go() {
            let done = self.state().begun.remove(at);
            if let Err(panic) = done.thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
        true
    }

    /// The process is gone, whatever was under way.
    pub(crate) fn abandon(&self) {
        let mut state = self.state();
        state.waiting.clear();
        state.timed.clear();
        let begun = std::mem::take(&mut state.begun);
        drop(state);
        for Begun { turnstile, thread } in begun {
            turnstile.set(Moves::Abandoned);
            // A task that does not survive the loss of its disk is none of this run's rules.
            drop(thread.join());
        }
    }
}

impl Background for Tasks {
    fn run(&self, task: Task) {
        self.state().waiting.push(task);
    }

    fn run_waiting(&self, task: Task) {
        self.run(task);
    }

    fn run_at(&self, at: Monotonic, task: Task) {
        self.state().timed.push((at, task));
    }
}

/// The disk as a process sees it: a task in the background stops before everything it does there.
#[derive(Debug)]
pub(crate) struct PacedDisk(pub(crate) SimulatedDisk);

#[derive(Debug)]
struct PacedFile(Box<dyn DiskFile>);

fn stop() -> io::Result<()> {
    let turnstile = TURNSTILE.with_borrow(Clone::clone);
    turnstile.map_or(Ok(()), |turnstile| turnstile.stop())
}

fn paced(file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
    Box::new(PacedFile(file))
}

impl Disk for PacedDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        stop()?;
        self.0.list()
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        stop()?;
        self.0.open(name).map(paced)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        stop()?;
        self.0.create(name).map(paced)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        stop()?;
        self.0.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        stop()?;
        self.0.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        stop()?;
        self.0.sync_dir()
    }
}

impl DiskFile for PacedFile {
    fn bytes(&self) -> io::Result<u64> {
        stop()?;
        self.0.bytes()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        stop()?;
        self.0.read_at(buffer, offset)
    }

    fn write_vectored_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        stop()?;
        self.0.write_vectored_at(slices, offset)
    }

    fn allocate(&self, bytes: u64) -> io::Result<u64> {
        stop()?;
        self.0.allocate(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        stop()?;
        self.0.sync()
    }
}
