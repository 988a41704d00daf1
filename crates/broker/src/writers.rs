//! Who writes the journals: a thread that sleeps until there is something to write, or a hand that
//! turns it step by step in a simulation.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use stdx::abort_on_panic::AbortOnPanic;
use stdx::clock::{Clock, Monotonic};
use storage::{Poison, Work, Writer};

use crate::confirms::{Waiter, abandon, release};
use crate::event::Closing;
use crate::hub::{Bell, Hub};

/// How the writer is woken and told to stop.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    state: Mutex<AlarmState>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
struct AlarmState {
    rung: bool,
    stop: bool,
}

impl Alarm {
    fn state(&self) -> MutexGuard<'_, AlarmState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sleeps until rung, stopped, or `for_ns` have passed; returns whether to stop.
    fn sleep(&self, for_ns: Option<u64>) -> bool {
        let mut state = self.state();
        if !state.rung && !state.stop {
            state = match for_ns {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(ns) => {
                    let waited = self.changed.wait_timeout(state, Duration::from_nanos(ns));
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        state.rung = false;
        state.stop
    }

    fn stop(&self) {
        self.state().stop = true;
        self.changed.notify_one();
    }
}

impl Bell for Alarm {
    fn ring(&self) {
        self.state().rung = true;
        self.changed.notify_one();
    }
}

/// One step of writing: what is due is written and synced, and whoever waited for it learns.
/// `Ok(None)`: nothing is due, ever; `Ok(Some(at))`: nothing before `at`.
fn step(
    hub: &Arc<Hub>,
    writer: &mut Writer<Waiter>,
    work: impl FnOnce(&mut Writer<Waiter>) -> Work<Waiter>,
) -> Result<Step, Poison> {
    match work(writer) {
        Work::Wrote { waiters, .. } => {
            release(waiters);
            Ok(Step::Wrote)
        }
        Work::Idle { wake_at } => Ok(Step::Idle(wake_at)),
        Work::Poisoned { poison, abandoned } => {
            tracing::error!(vhost = %hub.name, reason = %poison, "the journal can't be written any more");
            hub.poison(&Closing::Poisoned(poison.clone()));
            abandon(abandoned);
            Err(poison)
        }
    }
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Wrote,
    Idle(Option<Monotonic>),
}

/// A journal's writer with whoever drives it.
#[derive(Debug)]
pub(crate) enum Driven {
    /// A thread of its own.
    Thread { alarm: Arc<Alarm>, thread: Mutex<Option<JoinHandle<Result<(), Poison>>>> },
    /// Somebody calls [`Driven::step`].
    ByHand { writer: Mutex<Box<Writer<Waiter>>> },
}

impl Driven {
    pub(crate) fn thread(
        hub: Arc<Hub>,
        mut writer: Writer<Waiter>,
        alarm: Arc<Alarm>,
        clock: Arc<dyn Clock>,
    ) -> std::io::Result<Driven> {
        let bell = Arc::clone(&alarm);
        let run = move || {
            // Without its writer a journal would take commits for ever and confirm none.
            let _whole = AbortOnPanic::while_doing("writing a journal");
            drive(&hub, &mut writer, &bell, &*clock)
        };
        let thread = std::thread::Builder::new().name("journal".to_owned()).spawn(run)?;
        Ok(Driven::Thread { alarm, thread: Mutex::new(Some(thread)) })
    }

    pub(crate) fn by_hand(writer: Writer<Waiter>) -> Driven {
        Driven::ByHand { writer: Mutex::new(Box::new(writer)) }
    }

    /// Does one step by hand; nothing where a thread does it.
    pub(crate) fn step(&self, hub: &Arc<Hub>, now: Monotonic) -> Option<Result<Step, Poison>> {
        match self {
            Driven::Thread { .. } => None,
            Driven::ByHand { writer } => {
                let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
                Some(step(hub, &mut writer, |writer| writer.work(now)))
            }
        }
    }

    /// Writes and syncs everything gathered, and stops.
    pub(crate) fn finish(&self, hub: &Arc<Hub>, now: Monotonic) -> Result<(), Poison> {
        match self {
            Driven::Thread { alarm, thread } => {
                alarm.stop();
                let taken = thread.lock().unwrap_or_else(PoisonError::into_inner).take();
                match taken.map(JoinHandle::join) {
                    Some(Ok(done)) => done,
                    Some(Err(panic)) => std::panic::resume_unwind(panic),
                    None => Ok(()),
                }
            }
            Driven::ByHand { writer } => {
                let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
                while step(hub, &mut writer, |writer| writer.flush(now))? == Step::Wrote {}
                Ok(())
            }
        }
    }
}

fn drive(
    hub: &Arc<Hub>,
    writer: &mut Writer<Waiter>,
    alarm: &Alarm,
    clock: &dyn Clock,
) -> Result<(), Poison> {
    loop {
        let now = clock.monotonic();
        let Step::Idle(wake_at) = step(hub, writer, |writer| writer.work(now))? else { continue };
        let for_ns = wake_at.map(|at| at.0.saturating_sub(clock.monotonic().0));
        if alarm.sleep(for_ns) {
            while step(hub, writer, |writer| writer.flush(clock.monotonic()))? == Step::Wrote {}
            return Ok(());
        }
    }
}
