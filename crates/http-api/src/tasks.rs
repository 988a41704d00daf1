//! Long work that somebody asked for and does not wait for: what it is, how far it is, and whether it is
//! still wanted. A few at a time; those that are over are remembered for a while. They end with the
//! broker, and a restart forgets all.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::name::Name;
use serde_json::value::RawValue;
use tokio::sync::Notify;

/// So many tasks may be at work.
pub(crate) const RUNNING_MAX: usize = 8;

/// So many that are over are remembered.
const OVER_KEPT_MAX: usize = 100;

/// All tasks.
#[derive(Debug, Default)]
pub(crate) struct TaskBoard(Mutex<Tasks>);

#[derive(Debug, Default)]
struct Tasks {
    by_number: BTreeMap<u64, Arc<Task>>,
    last_number: u64,
}

/// A task.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) number: u64,
    pub(crate) wish: Wish,
    /// When it began, in milliseconds since 1970.
    pub(crate) started_at_ms: u64,
    progress: Mutex<Progress>,
    is_unwanted: AtomicBool,
    bell: Notify,
}

/// What somebody wants done with messages.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) user: Name,
    pub(crate) vhost: Name,
    pub(crate) queue: Name,
    pub(crate) deed: Deed,
    pub(crate) dry_run: DryRun,
    pub(crate) rate_per_s: u32,
}

/// What is done with messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// They go.
    Delete,
    /// They go to another queue.
    Move(Name),
    /// Dead letters go back to the queues that gave them up.
    Replay,
}

/// Whether messages are only counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DryRun {
    Yes,
    No,
}

/// What a task is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Standing {
    #[default]
    Running,
    Done,
    Cancelled,
    Failed,
}

/// How far a task is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    pub(crate) standing: Standing,
    /// Messages there were when it began.
    pub(crate) total: u64,
    /// Messages looked at.
    pub(crate) passed: u64,
    /// Those that were meant.
    pub(crate) matched: u64,
    /// Those with which it was done.
    pub(crate) done: u64,
    /// Those that others took meanwhile.
    pub(crate) gone: u64,
    /// Those that could not go where they should, and stayed.
    pub(crate) refused: u64,
    /// Some of those that were meant, where messages are only counted.
    pub(crate) sample: Vec<Box<RawValue>>,
    /// When it was over, in milliseconds since 1970.
    pub(crate) ended_at_ms: Option<u64>,
    /// Why it failed.
    pub(crate) problem: Option<String>,
}

/// As many tasks are at work as may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{RUNNING_MAX} tasks are at work already")]
pub(crate) struct TooMany;

impl TaskBoard {
    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a task in.
    pub(crate) fn add(&self, wish: Wish, total: u64, now_ms: u64) -> Result<Arc<Task>, TooMany> {
        let mut tasks = self.tasks();
        let is_over = |task: &Arc<Task>| task.progress().standing != Standing::Running;
        let over: Vec<u64> =
            tasks.by_number.values().filter(|it| is_over(it)).map(|it| it.number).collect();
        if tasks.by_number.len() - over.len() >= RUNNING_MAX {
            return Err(TooMany);
        }
        for number in over.iter().rev().skip(OVER_KEPT_MAX - 1) {
            tasks.by_number.remove(number);
        }
        // The time is in it, so that a number from before a restart does not name another task.
        tasks.last_number = now_ms.max(tasks.last_number + 1);
        let task = Arc::new(Task {
            number: tasks.last_number,
            wish,
            started_at_ms: now_ms,
            progress: Mutex::new(Progress { total, ..Progress::default() }),
            is_unwanted: AtomicBool::new(false),
            bell: Notify::new(),
        });
        tasks.by_number.insert(task.number, Arc::clone(&task));
        Ok(task)
    }

    /// The task of that number.
    pub(crate) fn task(&self, number: u64) -> Option<Arc<Task>> {
        self.tasks().by_number.get(&number).cloned()
    }

    /// All tasks, the newest first.
    pub(crate) fn all(&self) -> Vec<Arc<Task>> {
        self.tasks().by_number.values().rev().cloned().collect()
    }
}

impl Task {
    /// How far it is.
    pub(crate) fn progress(&self) -> Progress {
        self.progress_mut().clone()
    }

    /// How far it is, to be changed.
    pub(crate) fn progress_mut(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It is over.
    pub(crate) fn end(&self, standing: Standing, problem: Option<String>, now_ms: u64) {
        let mut progress = self.progress_mut();
        progress.standing = standing;
        progress.problem = problem;
        progress.ended_at_ms = Some(now_ms);
    }

    /// Nobody wants it any more.
    pub(crate) fn cancel(&self) {
        self.is_unwanted.store(true, Ordering::Release);
        self.bell.notify_one();
    }

    /// Whether nobody wants it any more.
    pub(crate) fn is_unwanted(&self) -> bool {
        self.is_unwanted.load(Ordering::Acquire)
    }

    /// Waits until nobody wants it any more.
    pub(crate) async fn unwanted(&self) {
        while !self.is_unwanted() {
            self.bell.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish() -> Wish {
        Wish {
            user: Name::from_static("u"),
            vhost: Name::from_static("/"),
            queue: Name::from_static("q"),
            deed: Deed::Delete,
            dry_run: DryRun::No,
            rate_per_s: 1,
        }
    }

    #[test]
    fn a_few_run_and_some_are_remembered() {
        let board = TaskBoard::default();
        let running: Vec<_> = (0..RUNNING_MAX).map(|_| board.add(wish(), 0, 0).unwrap()).collect();
        assert_eq!(board.add(wish(), 0, 0).err(), Some(TooMany));
        for task in running.iter().skip(1) {
            task.end(Standing::Done, None, 1);
        }
        for _ in 0..2 * OVER_KEPT_MAX {
            board.add(wish(), 0, 0).unwrap().end(Standing::Done, None, 1);
        }
        assert_eq!(board.task(1).map(|task| task.number), Some(1));
        let all = board.all();
        assert!(all.len() <= OVER_KEPT_MAX + RUNNING_MAX, "{}", all.len());
        assert!(all.is_sorted_by(|one, other| one.number > other.number));
        assert!(board.task(1).is_some(), "it is still at work");
        assert!(board.task(2).is_none(), "it was over long ago");
    }

    #[test]
    fn a_number_is_not_given_again_after_a_restart() {
        let before = TaskBoard::default();
        let last = (0..3).map(|_| before.add(wish(), 0, 1_000).unwrap().number).max();
        let after = TaskBoard::default();
        after.add(wish(), 0, 2_000).unwrap();
        assert!(after.task(last.unwrap()).is_none());
    }
}
