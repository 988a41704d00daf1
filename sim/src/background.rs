//! Background tasks: each stops before every disk operation and goes on when it is chosen. Where the
//! disk stalls, some operations take their time, and until that has passed nobody chooses the task.

use std::sync::{Mutex, MutexGuard, PoisonError};

use broker::Background;
use stdx::clock::Monotonic;

use crate::paced::{Paced, Progress, Stops};
use crate::stall::Stalls;

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
    stalls: Option<Stalls>,
}

/// A task that is stopped before a disk operation.
#[derive(Debug)]
struct Begun {
    paced: Paced<()>,
    /// When the operation may be done.
    from: Monotonic,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("begun", &self.begun).finish_non_exhaustive()
    }
}

impl State {
    /// Those that are due come to the others.
    fn call_up(&mut self, now: Monotonic) {
        let (due, later) = std::mem::take(&mut self.timed)
            .into_iter()
            .partition::<Vec<_>, _>(|(at, _)| *at <= now);
        self.timed = later;
        self.waiting.extend(due.into_iter().map(|(_, task)| task));
    }

    /// Takes out one of those that can move, by `choice`; begins it if need be.
    fn choose(&mut self, now: Monotonic, choice: u64) -> Option<(usize, Begun)> {
        let movable: Vec<usize> =
            (0..self.begun.len()).filter(|at| self.begun[*at].from <= now).collect();
        let at = choice.checked_rem((movable.len() + self.waiting.len()) as u64)?;
        let at = usize::try_from(at).unwrap_or(0);
        if let Some(at) = movable.get(at) {
            return Some((*at, self.begun.remove(*at)));
        }
        let task = self.waiting.remove(at - movable.len());
        let paced = Paced::new(Stops::Everywhere, task);
        Some((self.begun.len(), Begun { paced, from: now }))
    }
}

impl Tasks {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on some of their disk operations take long.
    pub(crate) fn stall_by(&self, stalls: Stalls) {
        self.state().stalls = Some(stalls);
    }

    /// No operation takes long any more, also none of those that are under way.
    pub(crate) fn end_stalls(&self) {
        let mut state = self.state();
        state.stalls = None;
        for begun in &mut state.begun {
            begun.from = Monotonic::default();
        }
    }

    /// Whether there is one that could move, now or when the disk has done what it is at.
    pub(crate) fn any(&self, now: Monotonic) -> bool {
        let state = self.state();
        let due = state.timed.iter().any(|(at, _)| *at <= now);
        due || !state.waiting.is_empty() || !state.begun.is_empty()
    }

    /// Whether one of them waits for an operation that takes long.
    pub(crate) fn is_stalled(&self, now: Monotonic) -> bool {
        self.state().begun.iter().any(|begun| begun.from > now)
    }

    /// One of them moves; `choice` says which. Whether there was any.
    pub(crate) fn go_on(&self, now: Monotonic, choice: u64) -> bool {
        let mut state = self.state();
        state.call_up(now);
        let Some((at, mut begun)) = state.choose(now, choice) else { return false };
        // A task may ask for another one.
        drop(state);
        match begun.paced.go() {
            Progress::Done => {
                begun.paced.join();
            }
            Progress::Stopped => {
                let mut state = self.state();
                let stall_ms = state.stalls.as_mut().and_then(Stalls::of_task);
                begun.from = stall_ms.map_or(now, |ms| now.plus_ms(ms));
                state.begun.insert(at, begun);
            }
        }
        true
    }

    /// The process is gone, whatever was under way.
    pub(crate) fn abandon(&self) {
        let begun = std::mem::take(&mut self.state().begun);
        for begun in begun {
            begun.paced.abandon();
        }
        // Last, since those may ask for others on their way out. What is never run must not stay: it
        // holds the broker, and the broker holds this.
        let (waiting, timed) = {
            let mut state = self.state();
            (std::mem::take(&mut state.waiting), std::mem::take(&mut state.timed))
        };
        drop((waiting, timed));
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
