//! The bell at a connection's door: the broker rings when events wait or there is room again. Rung
//! while the connection is at work it only leaves a mark, so that nobody is woken for nothing. Rung
//! while it sleeps, whoever rings may run the errand himself if it is small: at low rates waking
//! another thread costs more than the work it is woken for.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError, Weak};
use std::task::Waker;

use broker::Wake;

/// The task waits for something.
const ASLEEP: u8 = 0;
/// The task is at work and will look before it sleeps.
const AWAKE: u8 = 1;
/// It rang since the task last looked.
const RUNG: u8 = 2;

/// What is left to do after an errand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Errand {
    /// Nothing: the task sleeps on.
    Done,
    /// The task has to wake up.
    ForTheTask,
}

/// Somebody for whom a ringing thread can do the work.
pub(super) trait Resident: Send + Sync {
    /// Does what the ring is about, if it is little and nobody else is at it. Must not block.
    fn run_errand(&self) -> Errand;
}

/// Wakes one task.
pub(super) struct Bell {
    state: AtomicU8,
    task: Mutex<Option<Waker>>,
    resident: Weak<dyn Resident>,
}

impl std::fmt::Debug for Bell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bell").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Bell {
    pub(super) fn new(resident: Weak<dyn Resident>) -> Bell {
        Bell { state: AtomicU8::new(AWAKE), task: Mutex::default(), resident }
    }

    /// The task is at work from now on; `task` wakes it once it sleeps again.
    pub(super) fn awake(&self, task: &Waker) {
        // A ring that woke the task must still be seen by `answer`.
        _ = self.state.compare_exchange(ASLEEP, AWAKE, Ordering::AcqRel, Ordering::Acquire);
        let mut known = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.as_ref().is_some_and(|known| known.will_wake(task)) {
            *known = Some(task.clone());
        }
    }

    /// Whether it rang since this was last asked.
    pub(super) fn answer(&self) -> bool {
        self.state.compare_exchange(RUNG, AWAKE, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// The task is about to wait. False if it rang meanwhile and should look first.
    pub(super) fn sleep(&self) -> bool {
        self.state.compare_exchange(AWAKE, ASLEEP, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

impl Bell {
    /// Runs an errand until nothing rings any more, and leaves the task asleep. Between a ring and
    /// this call the task, or somebody else's errand, may have answered: then there is nothing to do.
    pub(super) fn serve(&self, mut work: impl FnMut() -> Errand) -> Errand {
        while self.answer() {
            if work() == Errand::ForTheTask {
                return Errand::ForTheTask;
            }
            if self.sleep() {
                break;
            }
        }
        Errand::Done
    }

    /// Leaves a mark; says whether the task was asleep.
    fn ring(&self) -> bool {
        self.state.swap(RUNG, Ordering::AcqRel) == ASLEEP
    }

    fn wake_task(&self) {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = &*task {
            task.wake_by_ref();
        }
    }
}

impl Wake for Bell {
    fn wake(&self) {
        if self.ring() {
            self.wake_task();
        }
    }

    fn wake_or_serve(&self) {
        if self.ring() {
            let errand = self.resident.upgrade().map(|resident| resident.run_errand());
            if errand != Some(Errand::Done) {
                self.wake_task();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicU32;

    #[derive(Default)]
    struct Counter(AtomicU32);

    impl std::task::Wake for Counter {
        fn wake(self: Arc<Counter>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    struct Nobody;

    impl Resident for Nobody {
        fn run_errand(&self) -> Errand {
            Errand::ForTheTask
        }
    }

    fn bell() -> Bell {
        Bell::new(Weak::<Nobody>::new())
    }

    /// Runs errands as a connection does: looks, works, and goes to sleep again.
    struct Servant {
        bell: Arc<Bell>,
        small: bool,
    }

    impl Resident for Servant {
        fn run_errand(&self) -> Errand {
            let outcome = if self.small { Errand::Done } else { Errand::ForTheTask };
            self.bell.serve(|| outcome)
        }
    }

    #[test]
    fn a_small_errand_is_run_without_waking_the_task() {
        for (small, woken) in [(true, 0), (false, 1)] {
            let counter = Arc::new(Counter::default());
            let resident = Arc::new_cyclic(|resident: &Weak<Servant>| Servant {
                bell: Arc::new(Bell::new(Weak::<Servant>::clone(resident))),
                small,
            });
            let bell = &resident.bell;
            bell.awake(&Waker::from(Arc::clone(&counter)));
            assert!(bell.sleep());
            bell.wake_or_serve();
            assert_eq!(counter.0.load(Ordering::Relaxed), woken);
        }
    }

    #[test]
    fn an_errand_that_somebody_else_has_run_is_over() {
        let (bell, task) = (bell(), Waker::from(Arc::new(Counter::default())));
        bell.awake(&task);
        assert!(bell.sleep());
        // It rings, but the task is quicker and sleeps again before the errand begins.
        assert!(bell.ring());
        bell.awake(&task);
        assert!(bell.answer());
        assert!(bell.sleep());
        let mut ran = 0;
        let outcome = bell.serve(|| {
            ran += 1;
            Errand::Done
        });
        assert_eq!((outcome, ran), (Errand::Done, 0));
        // Rung again while it runs, it runs once more.
        assert!(bell.ring());
        let outcome = bell.serve(|| {
            ran += 1;
            if ran == 1 {
                assert!(!bell.ring());
            }
            Errand::Done
        });
        assert_eq!((outcome, ran), (Errand::Done, 2));
        assert!(bell.ring());
    }

    #[test]
    fn a_ring_wakes_a_sleeper_once_and_marks_the_others() {
        let (bell, counter) = (bell(), Arc::new(Counter::default()));
        let task = Waker::from(Arc::clone(&counter));
        let woken = || counter.0.load(Ordering::Relaxed);
        bell.awake(&task);
        bell.wake();
        assert_eq!((woken(), bell.sleep(), bell.answer(), bell.answer()), (0, false, true, false));
        assert!(bell.sleep());
        bell.wake();
        bell.wake();
        assert_eq!(woken(), 1);
        bell.awake(&task);
        assert!(bell.answer());
        assert!(bell.sleep());
        // Woken by its socket: the bell has nothing to say.
        bell.awake(&task);
        assert!(!bell.answer());
        bell.wake();
        assert_eq!((woken(), bell.answer()), (1, true));
    }
}
