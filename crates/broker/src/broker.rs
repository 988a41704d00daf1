//! The handle that protocols hold: who may come in, and into which virtual host.

use std::net::IpAddr;
use std::sync::Arc;

use domain::name::Name;
use stdx::clock::Clock;
use storage::disk::Disk;
use storage::{JournalSettings, Opened, Poison, ReplaySummary, SyncMode};

use crate::event::Closing;
pub use crate::hub::Background;
use crate::hub::Hub;
use crate::limits;
use crate::outbox::{InflightShare, Outbox, Wake};
use crate::recover::{Recovery, ReplayError};
use crate::session::{Draws, Session};
use crate::users::{self, LoginRefusal, User};
use crate::vhost::Vhost;
use crate::vhost::stats::Stats;
use crate::vhost::timers::Moment;
use crate::writers::{Alarm, Driven, Step};

/// A virtual host's name and the place of its journal.
#[derive(Clone, Debug)]
pub struct VhostDisk {
    /// The name, `/` for the one that every client knows.
    pub name: Name,
    /// The directory that belongs to it alone.
    pub disk: Arc<dyn Disk>,
}

/// Who drives the journals' writers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriterDrive {
    /// A thread for each.
    Threads,
    /// [`Broker::step`]: for simulations.
    ByHand,
}

/// A source of random numbers.
pub type Entropy = Arc<dyn Fn() -> u64 + Send + Sync>;

/// What a broker is started with.
pub struct BrokerSettings {
    /// Its virtual hosts.
    pub vhosts: Vec<VhostDisk>,
    /// When the journal is synced.
    pub sync: SyncMode,
    /// The nominal size of a journal file; `None`: storage's own choice.
    pub journal_file_bytes: Option<u64>,
    /// Bytes of journal after which a checkpoint is written; `None`: [`limits::CHECKPOINT_BYTES`].
    pub checkpoint_bytes: Option<u64>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Random numbers.
    pub entropy: Entropy,
    /// Where long tenures go on.
    pub background: Arc<dyn Background>,
    /// Who writes.
    pub drive: WriterDrive,
}

impl std::fmt::Debug for BrokerSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BrokerSettings")
            .field("vhosts", &self.vhosts)
            .field("sync", &self.sync)
            .field("drive", &self.drive)
            .finish_non_exhaustive()
    }
}

/// Why a broker does not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The journal can't be read.
    #[error("vhost '{vhost}': {error}")]
    Journal {
        /// Whose.
        vhost: Name,
        /// Why.
        error: storage::OpenError,
    },
    /// The journal's records can't be understood.
    #[error("vhost '{vhost}': {error}")]
    Replay {
        /// Whose.
        vhost: Name,
        /// Why.
        error: ReplayError,
    },
    /// The system gives no thread for the writer.
    #[error("no thread for the journal's writer: {0}")]
    Thread(std::io::Error),
}

/// Why a client is not let in.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConnectRefusal {
    /// There is no such virtual host.
    #[error("no such vhost")]
    NoSuchVhost,
    /// The broker stops.
    #[error("the broker is stopping")]
    Stopping,
    /// The virtual host can't write any more.
    #[error("the vhost takes no more writes: {0}")]
    Poisoned(Poison),
}

/// What recovery found in a virtual host.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// Whose.
    pub vhost: Name,
    /// Queues that survived.
    pub queues: usize,
    /// Messages that survived.
    pub messages: u64,
    /// What the journal had.
    pub summary: ReplaySummary,
}

/// The broker.
#[derive(Debug)]
pub struct Broker {
    vhosts: Vec<(Arc<Hub>, Driven)>,
    clock: Arc<dyn Clock>,
    share: Arc<InflightShare>,
    draws: Draws,
}

impl Broker {
    /// Recovers every virtual host and starts it.
    pub fn open(settings: BrokerSettings) -> Result<(Arc<Broker>, Vec<Recovered>), OpenError> {
        let mut vhosts = Vec::with_capacity(settings.vhosts.len());
        let mut recovered = Vec::with_capacity(settings.vhosts.len());
        for vhost in &settings.vhosts {
            let (hub, driven, found) = open_vhost(vhost, &settings)?;
            vhosts.push((hub, driven));
            recovered.push(found);
        }
        let (clock, share, draws) = (settings.clock, Arc::default(), Draws(settings.entropy));
        Ok((Arc::new(Broker { vhosts, clock, share, draws }), recovered))
    }

    /// Checks a name and a password.
    pub fn authenticate(
        &self,
        user: &str,
        password: &[u8],
        peer: IpAddr,
    ) -> Result<User, LoginRefusal> {
        users::authenticate(user, password, peer)
    }

    /// Lets in whoever has proved to be `user` by other means than a password, if there is such a user.
    pub fn authenticate_external(&self, user: &str, peer: IpAddr) -> Result<User, LoginRefusal> {
        users::authenticate_external(user, peer)
    }

    /// Lets a user into a virtual host. `wake` is called when the session should look at its
    /// events, or may read again.
    pub fn connect(
        self: &Arc<Broker>,
        _user: &User,
        vhost: &str,
        wake: Arc<dyn Wake>,
    ) -> Result<Session, ConnectRefusal> {
        let found = self.vhosts.iter().find(|(hub, _)| hub.name.as_str() == vhost);
        let (hub, _) = found.ok_or(ConnectRefusal::NoSuchVhost)?;
        let outbox = Arc::new(Outbox::new(wake, Arc::clone(&self.share)));
        let id = hub.connect(&outbox).map_err(|closing| match closing {
            Closing::Shutdown => ConnectRefusal::Stopping,
            Closing::Poisoned(poison) => ConnectRefusal::Poisoned(poison),
        })?;
        let draws = self.draws.clone();
        Ok(Session { hub: Arc::clone(hub), id, outbox, draws, over: false })
    }

    /// Tells every session that the broker stops; new ones are refused from now on.
    pub fn close(&self) {
        for (hub, _) in &self.vhosts {
            hub.close(&Closing::Shutdown);
        }
    }

    /// Sessions that are not over.
    pub fn session_count(&self) -> usize {
        self.vhosts.iter().map(|(hub, _)| hub.session_count()).sum()
    }

    /// What a virtual host has counted since it started.
    pub fn stats(&self, vhost: &str) -> Option<Stats> {
        let found = self.vhosts.iter().find(|(hub, _)| hub.name.as_str() == vhost);
        found.map(|(hub, _)| hub.stats())
    }

    /// Writes and syncs everything, and stops the writers. Call it when the sessions are over.
    pub fn finish(&self) -> Result<(), Poison> {
        for (hub, driven) in &self.vhosts {
            hub.seal();
            driven.finish(hub, self.clock.monotonic())?;
        }
        Ok(())
    }

    /// Lets every writer that is driven by hand do one step. Returns whether any wrote something.
    pub fn step(&self) -> Result<bool, Poison> {
        let mut wrote = false;
        for (hub, driven) in &self.vhosts {
            if let Some(done) = driven.step(hub, self.clock.monotonic()) {
                wrote |= done? == Step::Wrote;
            }
        }
        Ok(wrote)
    }
}

fn open_vhost(
    vhost: &VhostDisk,
    settings: &BrokerSettings,
) -> Result<(Arc<Hub>, Driven, Recovered), OpenError> {
    let name = vhost.name.clone();
    let mut journal_settings = JournalSettings::new(draw(&settings.entropy));
    journal_settings.sync = settings.sync;
    if let Some(bytes) = settings.journal_file_bytes {
        journal_settings.file_bytes = bytes;
    }
    let checkpoint_bytes = settings.checkpoint_bytes.unwrap_or(limits::CHECKPOINT_BYTES);
    let now = Moment::now(&*settings.clock);
    let mut recovery = Recovery::new(now);
    let opened = storage::open(Arc::clone(&vhost.disk), journal_settings, &mut |record| {
        recovery.record(&record);
    });
    let Opened { journal, writer, summary, .. } =
        opened.map_err(|error| OpenError::Journal { vhost: name.clone(), error })?;
    let restored =
        recovery.finish().map_err(|error| OpenError::Replay { vhost: name.clone(), error })?;
    let found = Recovered {
        vhost: name.clone(),
        queues: restored.queues.len(),
        messages: restored.queues.iter().map(|(_, slot)| slot.queue.ready_messages()).sum(),
        summary,
    };
    let state = Vhost::new(restored, journal, draw(&settings.entropy), checkpoint_bytes, now);
    let alarm = Arc::new(Alarm::default());
    let hub = Arc::new(Hub::new(
        name,
        state,
        Arc::clone(&settings.clock),
        Arc::clone(&alarm) as Arc<dyn crate::hub::Bell>,
        Arc::clone(&settings.background),
    ));
    let driven = match settings.drive {
        WriterDrive::ByHand => Driven::by_hand(writer),
        WriterDrive::Threads => {
            Driven::thread(Arc::clone(&hub), writer, alarm, Arc::clone(&settings.clock))
                .map_err(OpenError::Thread)?
        }
    };
    if found.summary.frames > 0 {
        // What was read becomes the new start, so that the old files can go.
        hub.checkpoint();
    }
    Ok((hub, driven, found))
}

fn draw(entropy: &Entropy) -> Box<dyn FnMut() -> u64 + Send> {
    let entropy = Arc::clone(entropy);
    Box::new(move || entropy())
}
