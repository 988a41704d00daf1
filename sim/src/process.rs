//! A broker process in the simulation: a broker whose time, randomness, writer and background
//! tasks are moved by hand.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use broker::{
    Broker, BrokerSettings, ConnectRefusal, Disks, FirstUser, OpenError, Recovered, Session, Wake,
    WriterDrive,
};
use domain::name::Name;
use stdx::clock::{Clock as _, ManualClock};
use storage::SyncMode;
use storage::disk::{Disk, SimulatedDisk};

use crate::background::Tasks;
use crate::paced::PacedDisk;
use crate::random::Random;
use crate::stall::{Pen, Stalls, Stepped};

/// How a broker is set up for one life.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) sync: SyncMode,
    pub(crate) file_bytes: u64,
    pub(crate) checkpoint_bytes: u64,
    pub(crate) memory_bytes: usize,
    pub(crate) seed: u64,
    /// What the wall shows when it starts, in milliseconds since the run began.
    pub(crate) began_ms: u64,
}

/// A running broker.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) broker: Arc<Broker>,
    pub(crate) clock: Arc<ManualClock>,
    tasks: Arc<Tasks>,
    pen: Pen,
}

/// Remembers that its session was woken.
#[derive(Debug, Default)]
pub(crate) struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Woken {
    /// Whether it was woken since the last call.
    pub(crate) fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

/// The disk of the one virtual host. The catalogue is written at the first start only, and no rule
/// of the simulation is about it: it begins anew with each life, on a disk that does not fail.
#[derive(Debug)]
struct OneVhost(SimulatedDisk);

impl Disks for OneVhost {
    fn catalogue(&self) -> std::io::Result<Arc<dyn Disk>> {
        Ok(Arc::new(SimulatedDisk::new()))
    }

    fn vhost(&self, _name: &Name) -> std::io::Result<Arc<dyn Disk>> {
        Ok(Arc::new(PacedDisk(self.0.clone())))
    }

    fn erase_vhost(&self, _name: &Name) -> std::io::Result<()> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}

impl Process {
    pub(crate) fn start(
        disk: &SimulatedDisk,
        setup: &Setup,
    ) -> Result<(Process, Recovered), OpenError> {
        let clock = Arc::new(ManualClock::started_after(setup.began_ms));
        let tasks = Arc::new(Tasks::default());
        let draws = AtomicU64::new(setup.seed);
        let settings = BrokerSettings {
            disks: Arc::new(OneVhost(disk.clone())),
            first_user: FirstUser::guest(None),
            sync: setup.sync,
            journal_file_bytes: Some(setup.file_bytes),
            memory_bytes_max: setup.memory_bytes,
            checkpoint_bytes: Some(setup.checkpoint_bytes),
            consumer_timeout_ms: None,
            clock: Arc::clone(&clock) as _,
            entropy: Arc::new(move || Random::new(draws.fetch_add(1, Ordering::Relaxed)).next()),
            background: Arc::clone(&tasks) as _,
            drive: WriterDrive::ByHand,
        };
        let (broker, mut recovered) = Broker::open(settings)?;
        let Some(recovered) = recovered.pop() else { unreachable!("there is one vhost") };
        Ok((Process { broker, clock, tasks, pen: Pen::default() }, recovered))
    }

    /// From now on some operations of the disk take long.
    pub(crate) fn stall_from(&mut self, seed: u64) {
        self.pen.stall_by(Stalls::new(seed));
        self.tasks.stall_by(Stalls::new(!seed));
    }

    /// No operation takes long any more, also none of those that are under way.
    pub(crate) fn end_stalls(&mut self) {
        self.pen.end_stalls();
        self.tasks.end_stalls();
    }

    /// Whether something waits for an operation that takes long.
    pub(crate) fn is_stalled(&self) -> bool {
        self.pen.is_stalled() || self.tasks.is_stalled(self.clock.monotonic())
    }

    /// The journal's writer does one step, or goes on with the one that is under way.
    pub(crate) fn step(&mut self) -> Stepped {
        self.pen.step(&self.broker, self.clock.monotonic())
    }

    pub(crate) fn connect(&self) -> Result<(Session, Arc<Woken>), ConnectRefusal> {
        let woken = Arc::new(Woken::default());
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let Ok(user) = self.broker.authenticate_external("guest", peer) else {
            unreachable!("guest may log in from this machine")
        };
        let session = self.broker.connect(&user, "/", Arc::clone(&woken) as _)?;
        Ok((session, woken))
    }

    /// Whether the broker has given up.
    pub(crate) fn is_poisoned(&self) -> bool {
        matches!(self.connect(), Err(ConnectRefusal::Poisoned(_)))
    }

    /// Whether anything could be done in the background.
    pub(crate) fn has_background(&self) -> bool {
        self.tasks.any(self.clock.monotonic())
    }

    /// Something in the background moves, by `choice`; says whether there was anything.
    pub(crate) fn run_background(&self, choice: u64) -> bool {
        self.tasks.go_on(self.clock.monotonic(), choice)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.pen.abandon();
        self.tasks.abandon();
    }
}
