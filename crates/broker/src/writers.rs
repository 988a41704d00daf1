//! Who writes the journals: a thread that sleeps until there is something to write, or a hand that
//! turns it step by step in a simulation.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use stdx::abort_on_panic::AbortOnPanic;
use stdx::clock::{Clock, Monotonic};
use storage::{Poison, Shortage, Work, Writer};

use crate::alarms::AlarmBoard;
use crate::confirms::{Waiter, abandon, release};
use crate::disks::{Disks, Relief};
use crate::event::Closing;
use crate::histogram::Histogram;
use crate::hub::{Bell, Hub};
use crate::limits;

/// How long a writer that is to stop waits for room between two tries.
const LAST_TRIES_PAUSE: Duration = Duration::from_millis(100);

/// How often those who came meanwhile are told before the next frame is looked after.
const LATECOMERS_ROUNDS_MAX: usize = 8;

/// Whether all who came late were told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Latecomers {
    Told,
    MoreCame,
}

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

/// A writer and whom it tells when the disk is full.
#[derive(Debug)]
pub(crate) struct Pen {
    writer: Writer<Waiter>,
    alarms: Arc<AlarmBoard>,
    disks: Arc<dyn Disks>,
    room: Room,
}

/// Whether there was room for the newest frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    Enough,
    None,
}

impl Pen {
    pub(crate) fn new(
        writer: Writer<Waiter>,
        alarms: Arc<AlarmBoard>,
        disks: Arc<dyn Disks>,
    ) -> Pen {
        Pen { writer, alarms, disks, room: Room::Enough }
    }

    /// One step of writing: what is due is written and synced, and whoever waited for it learns.
    fn step(
        &mut self,
        hub: &Arc<Hub>,
        work: impl FnOnce(&mut Writer<Waiter>) -> Work<Waiter>,
    ) -> Result<Step, Poison> {
        let begun = hub.now();
        match work(&mut self.writer) {
            Work::Wrote { waiters, .. } => {
                let done = hub.now();
                self.has_room(hub);
                let mut confirms = Histogram::default();
                release(waiters, done, &mut confirms);
                let _told_with_the_next_step = self.tell_latecomers(done, &mut confirms);
                hub.times.count(done.0.saturating_sub(begun.0) / 1_000, &confirms);
                Ok(Step::Wrote)
            }
            Work::Idle { wake_at } => {
                match self.tell_latecomers(begun, &mut Histogram::default()) {
                    Latecomers::Told => Ok(Step::Idle(wake_at)),
                    Latecomers::MoreCame => Ok(Step::Wrote),
                }
            }
            Work::Full { retry_at, shortage } => Ok(self.has_no_room(hub, &shortage, retry_at)),
            Work::Poisoned { poison, abandoned } => {
                tracing::error!(vhost = %hub.name, reason = %poison, "the journal can't be written any more");
                self.has_room(hub);
                hub.poison(&Closing::Poisoned(poison.clone()));
                abandon(abandoned);
                Err(poison)
            }
        }
    }

    /// Who asked for what is durable while others were being told of it comes behind them, or its
    /// confirm would overtake theirs. More may come all the time: frames must be written, too.
    fn tell_latecomers(&mut self, now: Monotonic, confirms: &mut Histogram) -> Latecomers {
        for _ in 0..LATECOMERS_ROUNDS_MAX {
            let latecomers = self.writer.latecomers();
            if latecomers.is_empty() {
                return Latecomers::Told;
            }
            release(latecomers, now, confirms);
        }
        Latecomers::MoreCame
    }

    /// Publishers are blocked, and what was kept in reserve for this moment is used.
    fn has_no_room(&mut self, hub: &Arc<Hub>, shortage: &Shortage, retry_at: Monotonic) -> Step {
        if self.room == Room::Enough {
            self.room = Room::None;
            tracing::warn!(
                vhost = %hub.name, reason = %shortage,
                "the journal waits for room on the disk; publishers are blocked, consumers go on"
            );
            self.alarms.journal_full();
        }
        match self.disks.relieve() {
            Relief::GaveBack => Step::Relieved,
            Relief::NothingLeft => Step::Full { retry_at },
        }
    }

    fn has_room(&mut self, hub: &Arc<Hub>) {
        if self.room == Room::None {
            self.room = Room::Enough;
            tracing::info!(vhost = %hub.name, "the journal has room on the disk again");
            self.alarms.journal_goes_on();
        }
    }

    /// Writes and syncs everything gathered; on a full disk not for ever.
    fn finish(
        &mut self,
        hub: &Arc<Hub>,
        mut rest: impl FnMut() -> Monotonic,
    ) -> Result<(), Poison> {
        let mut tries_left = limits::LAST_TRIES_ON_A_FULL_DISK;
        let mut now = rest();
        loop {
            match self.step(hub, |writer| writer.flush(now))? {
                Step::Wrote | Step::Relieved => {}
                Step::Idle(_) => return Ok(()),
                Step::Full { .. } if tries_left == 0 => {
                    tracing::error!(
                        vhost = %hub.name,
                        "the disk is full to the end: what was not confirmed and the newest \
                         acknowledgements are not kept"
                    );
                    return Ok(());
                }
                Step::Full { .. } => {
                    tries_left -= 1;
                    now = rest();
                }
            }
        }
    }
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Wrote,
    /// Nothing is due before that moment, if ever.
    Idle(Option<Monotonic>),
    /// There was no room, and there is more now.
    Relieved,
    /// There is no room.
    Full {
        retry_at: Monotonic,
    },
}

/// A journal's writer with whoever drives it.
#[derive(Debug)]
pub(crate) enum Driven {
    /// A thread of its own.
    Thread { alarm: Arc<Alarm>, thread: Mutex<Option<JoinHandle<Result<(), Poison>>>> },
    /// Somebody calls [`Driven::step`].
    ByHand { pen: Mutex<Box<Pen>> },
}

impl Driven {
    pub(crate) fn thread(
        hub: Arc<Hub>,
        mut pen: Pen,
        alarm: Arc<Alarm>,
        clock: Arc<dyn Clock>,
    ) -> std::io::Result<Driven> {
        let bell = Arc::clone(&alarm);
        let run = move || {
            // Without its writer a journal would take commits for ever and confirm none.
            let _whole = AbortOnPanic::while_doing("writing a journal");
            drive(&hub, &mut pen, &bell, &*clock)
        };
        let thread = std::thread::Builder::new().name("journal".to_owned()).spawn(run)?;
        Ok(Driven::Thread { alarm, thread: Mutex::new(Some(thread)) })
    }

    pub(crate) fn by_hand(pen: Pen) -> Driven {
        Driven::ByHand { pen: Mutex::new(Box::new(pen)) }
    }

    /// Does one step by hand; nothing where a thread does it.
    pub(crate) fn step(&self, hub: &Arc<Hub>, now: Monotonic) -> Option<Result<Step, Poison>> {
        match self {
            Driven::Thread { .. } => None,
            Driven::ByHand { pen } => {
                let mut pen = pen.lock().unwrap_or_else(PoisonError::into_inner);
                Some(pen.step(hub, |writer| writer.work(now)))
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
            Driven::ByHand { pen } => {
                let mut pen = pen.lock().unwrap_or_else(PoisonError::into_inner);
                pen.finish(hub, || now)
            }
        }
    }
}

fn drive(hub: &Arc<Hub>, pen: &mut Pen, alarm: &Alarm, clock: &dyn Clock) -> Result<(), Poison> {
    loop {
        let now = clock.monotonic();
        let wake_at = match pen.step(hub, |writer| writer.work(now))? {
            Step::Wrote | Step::Relieved => continue,
            Step::Idle(wake_at) => wake_at,
            Step::Full { retry_at } => Some(retry_at),
        };
        let for_ns = wake_at.map(|at| at.0.saturating_sub(clock.monotonic().0));
        if alarm.sleep(for_ns) {
            let mut pause = Duration::ZERO;
            return pen.finish(hub, || {
                std::thread::sleep(pause);
                pause = LAST_TRIES_PAUSE;
                clock.monotonic()
            });
        }
    }
}
