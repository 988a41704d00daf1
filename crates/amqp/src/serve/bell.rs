//! The bell at a connection's door: the broker rings when events wait or there is room again. Rung
//! while the connection is at work it only leaves a mark, so that nobody is woken for nothing.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::Waker;

use broker::Wake;

/// The task waits for something.
const ASLEEP: u8 = 0;
/// The task is at work and will look before it sleeps.
const AWAKE: u8 = 1;
/// It rang since the task last looked.
const RUNG: u8 = 2;

/// Wakes one task.
#[derive(Debug)]
pub(super) struct Bell {
    state: AtomicU8,
    task: Mutex<Option<Waker>>,
}

impl Default for Bell {
    fn default() -> Bell {
        Bell { state: AtomicU8::new(AWAKE), task: Mutex::default() }
    }
}

impl Bell {
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

impl Wake for Bell {
    fn wake(&self) {
        if self.state.swap(RUNG, Ordering::AcqRel) == ASLEEP {
            let task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(task) = &*task {
                task.wake_by_ref();
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

    #[test]
    fn a_ring_wakes_a_sleeper_once_and_marks_the_others() {
        let (bell, counter) = (Bell::default(), Arc::new(Counter::default()));
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
