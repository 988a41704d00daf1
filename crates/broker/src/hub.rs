//! The door of a virtual host. The owner is a role, not a thread: whoever submits and finds the
//! vhost free applies what is waiting, its own and others', for a bounded tenure; what is left
//! then goes to a background task.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, TryLockError};

use domain::name::Name;
use stdx::abort_on_panic::AbortOnPanic;
use stdx::clock::{Clock, Monotonic};
use storage::Poison;

use crate::batch::Sealed;
use crate::connections::Connection;
use crate::event::Closing;
use crate::limits;
use crate::outbox::Outbox;
use crate::own_limits::Max;
use crate::permissions::Access;
use crate::session_id::SessionId;
use crate::times::Times;
use crate::traces::SpanSink;
use crate::vhost::import::{Known, Part};
use crate::vhost::job::Job;
use crate::vhost::sessions::Entry;
use crate::vhost::stats::Stats;
use crate::vhost::tallies::Sampling;
use crate::vhost::timers::Moment;
use crate::vhost::turn::Finished;
use crate::vhost::{Submitted, Vhost};

/// Runs a task some time soon on another thread (or later, in a simulation).
pub trait Background: Send + Sync + std::fmt::Debug {
    /// Must not run the task before it returns.
    fn run(&self, task: Box<dyn FnOnce() + Send>);

    /// As [`Background::run`], for a task that waits for the disk.
    fn run_waiting(&self, task: Box<dyn FnOnce() + Send>);

    /// Runs the task at that time, or soon after. Must not run it before it returns.
    fn run_at(&self, at: Monotonic, task: Box<dyn FnOnce() + Send>);
}

/// Tells the journal's writer that there is something to do.
pub(crate) trait Bell: Send + Sync + std::fmt::Debug {
    fn ring(&self);
}

/// A virtual host and the way into it.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) name: Name,
    inbox: Mutex<VecDeque<Submitted>>,
    owner: Mutex<Vhost>,
    clock: Arc<dyn Clock>,
    bell: Arc<dyn Bell>,
    background: Arc<dyn Background>,
    /// Jobs hold it for reading; whoever takes it for writing knows that none is at work.
    jobs: RwLock<Jobs>,
    /// When the background will come back, in milliseconds; 0: it was not asked to.
    alarm_ms: AtomicU64,
    /// How long its journal takes.
    pub(crate) times: Times,
}

/// Whether jobs are still done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Jobs {
    Done,
    /// The files that they are about go.
    Dropped,
}

/// What a panic must not interrupt.
const OWNING: &str = "changing a virtual host";

/// Whether the door was found open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tenure {
    /// Somebody else is inside, and will look at the inbox before leaving for good.
    Refused,
    /// Everything is done.
    Done,
    /// There is more to do than one tenure may.
    Exhausted,
}

impl Hub {
    pub(crate) fn new(
        name: Name,
        vhost: Vhost,
        clock: Arc<dyn Clock>,
        bell: Arc<dyn Bell>,
        background: Arc<dyn Background>,
    ) -> Hub {
        Hub {
            name,
            inbox: Mutex::default(),
            owner: Mutex::new(vhost),
            clock,
            bell,
            background,
            jobs: RwLock::new(Jobs::Done),
            alarm_ms: AtomicU64::new(0),
            times: Times::default(),
        }
    }

    fn inbox(&self) -> MutexGuard<'_, VecDeque<Submitted>> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The owner, waited for: for what is rare.
    fn owner(&self) -> MutexGuard<'_, Vhost> {
        self.owner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a batch in, and applies what waits if nobody else does.
    pub(crate) fn submit(self: &Arc<Hub>, session: SessionId, batch: Sealed, cost_bytes: usize) {
        self.inbox().push_back(Submitted { session, batch, cost_bytes });
        self.work();
    }

    fn work(self: &Arc<Hub>) {
        if self.tenure() == Tenure::Exhausted {
            let hub = Arc::clone(self);
            self.background.run(Box::new(move || hub.work()));
        }
    }

    /// Sees to it that a turn begins at that time.
    fn come_back(self: &Arc<Hub>, due_ms: u64) {
        let set_ms = self.alarm_ms.load(Ordering::Acquire);
        // A turn that is due already is done by whoever is at it.
        if set_ms != 0 && set_ms <= due_ms {
            return;
        }
        let due_ms = due_ms.max(1);
        self.alarm_ms.store(due_ms, Ordering::Release);
        // Far away, perhaps: until then nothing keeps a virtual host that is deleted.
        let hub = Arc::downgrade(self);
        let task = move || {
            let Some(hub) = hub.upgrade() else { return };
            // An earlier one may have been set since; its own task clears it.
            let _ = hub.alarm_ms.compare_exchange(due_ms, 0, Ordering::AcqRel, Ordering::Acquire);
            hub.work();
        };
        self.background.run_at(Monotonic::from_ms(due_ms), Box::new(task));
    }

    fn tenure(self: &Arc<Hub>) -> Tenure {
        let mut left = limits::TENURE_BATCHES_MAX;
        loop {
            let mut vhost = match self.owner.try_lock() {
                Ok(vhost) => vhost,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return Tenure::Refused,
            };
            let mut finished = self.turn(&mut vhost, &mut left);
            drop(vhost);
            // Not under the lock: waking takes its time, and who is woken may come to the door.
            if finished.nudge_writer {
                self.bell.ring();
            }
            finished.wake.wake();
            if let Some(spans) = finished.spans.take() {
                spans.hand_over();
            }
            for job in finished.jobs {
                self.hand_out(job);
            }
            if let Some(due_ms) = finished.due_ms {
                self.come_back(due_ms);
            }
            // Whoever came meanwhile found the door locked and left: look again after unlocking.
            if !finished.more && self.inbox().is_empty() {
                return Tenure::Done;
            }
            if left == 0 {
                return Tenure::Exhausted;
            }
        }
    }

    /// Has a job done by somebody who may wait for the disk.
    fn hand_out(self: &Arc<Hub>, job: Job) {
        let hub = Arc::clone(self);
        self.background.run_waiting(Box::new(move || {
            let done = {
                let jobs = hub.jobs.read().unwrap_or_else(PoisonError::into_inner);
                if *jobs == Jobs::Dropped {
                    return;
                }
                let _whole = AbortOnPanic::while_doing("moving messages between memory and disk");
                job.run()
            };
            hub.enter(|vhost| vhost.job_done(done));
        }));
    }

    /// Applies what waits, up to `left` batches.
    fn turn(&self, vhost: &mut Vhost, left: &mut usize) -> Finished {
        let _whole = AbortOnPanic::while_doing(OWNING);
        let waiting = {
            let mut inbox = self.inbox();
            let count = inbox.len().min(*left);
            if count == inbox.len() {
                std::mem::take(&mut *inbox)
            } else {
                inbox.drain(..count).collect()
            }
        };
        // A turn that only delivers counts as one batch, or it would not be bounded.
        *left = left.saturating_sub(waiting.len().max(1));
        let now = self.clock.monotonic();
        vhost.begin_turn(self.moment());
        for submitted in waiting {
            vhost.apply(submitted);
        }
        vhost.finish_turn(now)
    }

    fn moment(&self) -> Moment {
        Moment { ms: self.clock.monotonic().ms(), wall_ms: self.clock.wall_ms() }
    }

    /// Lets a client in.
    pub(crate) fn connect(
        self: &Arc<Hub>,
        outbox: &Arc<Outbox>,
        access: Arc<Access>,
        entry: Entry,
    ) -> Result<SessionId, Closing> {
        self.enter(|vhost| vhost.add_session(Arc::clone(outbox), access, entry))
    }

    /// Does something with the owner, and then what gathered before the door meanwhile.
    fn enter<T>(self: &Arc<Hub>, act: impl FnOnce(&mut Vhost) -> T) -> T {
        let done = {
            let _whole = AbortOnPanic::while_doing(OWNING);
            let mut vhost = self.owner();
            // What has become due since the last turn must not go to whoever it was read back for.
            vhost.begin_turn(self.moment());
            act(&mut vhost)
        };
        self.work();
        done
    }

    /// Reads from segments for somebody who looks, and may wait for the disk. `None`: the virtual host
    /// was deleted, and its files go.
    pub(crate) fn aside<T>(&self, read: impl FnOnce() -> T) -> Option<T> {
        let jobs = self.jobs.read().unwrap_or_else(PoisonError::into_inner);
        (*jobs == Jobs::Done).then(read)
    }

    /// The time it is.
    pub(crate) fn now(&self) -> Monotonic {
        self.clock.monotonic()
    }

    /// Looks at what there is, at the time it is.
    pub(crate) fn look<T>(self: &Arc<Hub>, act: impl FnOnce(&Vhost, Moment) -> T) -> T {
        let now = Moment::now(&*self.clock);
        self.enter(|vhost| act(vhost, now))
    }

    /// Begins a sample of what has changed.
    pub(crate) fn begin_sample(self: &Arc<Hub>) {
        let now = Moment::now(&*self.clock);
        self.enter(|vhost| vhost.begin_sample(now));
    }

    /// Goes on with it.
    pub(crate) fn sample_slice(self: &Arc<Hub>) -> Sampling {
        self.enter(Vhost::sample_slice)
    }

    /// Ends a connection.
    pub(crate) fn close_connection(self: &Arc<Hub>, connection: &Arc<Connection>, why: &str) {
        self.enter(|vhost| vhost.close_connection(connection, why));
    }

    /// Tells every session that it has to go, and lets no one in any more.
    pub(crate) fn close(self: &Arc<Hub>, why: &Closing) {
        self.enter(|vhost| vhost.close_sessions(why));
    }

    /// Wakes every session.
    pub(crate) fn rouse(self: &Arc<Hub>) {
        self.enter(|vhost| vhost.rouse_sessions());
    }

    /// The journal failed.
    pub(crate) fn poison(self: &Arc<Hub>, why: &Closing) {
        self.enter(|vhost| vhost.poisoned(why));
    }

    /// It was deleted: its sessions go, and when this returns nobody is at its segments any more.
    pub(crate) fn dissolve(self: &Arc<Hub>) {
        self.poison(&Closing::Deleted);
        *self.jobs.write().unwrap_or_else(PoisonError::into_inner) = Jobs::Dropped;
    }

    /// Tells a user's sessions that they have to go.
    pub(crate) fn close_user(self: &Arc<Hub>, user: &Name, why: &Closing) {
        self.enter(|vhost| vhost.close_user(user, why));
    }

    /// Gives a user's sessions other rights.
    pub(crate) fn readmit(self: &Arc<Hub>, user: &Name, anew: impl Fn(&Access) -> Arc<Access>) {
        self.enter(|vhost| vhost.readmit(user, anew));
    }

    /// Why it can't write any more, if it can't.
    pub(crate) fn poisoned(&self) -> Option<Poison> {
        self.owner().poison().cloned()
    }

    /// Journals what a clean stop knows better than a crash.
    pub(crate) fn seal(self: &Arc<Hub>) {
        self.enter(Vhost::write_exact_watermarks);
    }

    /// Journals the whole topology, so that files from before may go.
    pub(crate) fn checkpoint(self: &Arc<Hub>) {
        self.enter(Vhost::write_checkpoint);
    }

    /// What there is, for an import.
    pub(crate) fn known(self: &Arc<Hub>) -> Known {
        self.enter(|vhost| vhost.known())
    }

    /// Makes what is not there.
    pub(crate) fn import(self: &Arc<Hub>, part: &Part<'_>) {
        self.enter(|vhost| vhost.import(part));
    }

    /// How many queues there may be from now on.
    pub(crate) fn limit_queues(self: &Arc<Hub>, max: Max) {
        self.enter(|vhost| vhost.limit_queues(max));
    }

    /// Follows traced messages from now on.
    pub(crate) fn trace_to(self: &Arc<Hub>, sink: &Arc<dyn SpanSink>) {
        let (clock, name) = (Arc::clone(&self.clock), self.name.clone());
        self.enter(|vhost| vhost.trace_to(Arc::clone(sink), clock, name));
    }

    pub(crate) fn session_count(self: &Arc<Hub>) -> usize {
        self.enter(|vhost| vhost.session_count())
    }

    pub(crate) fn stats(self: &Arc<Hub>) -> Stats {
        self.enter(|vhost| vhost.stats())
    }
}
