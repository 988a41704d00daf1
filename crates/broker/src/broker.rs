//! The handle that protocols hold: who may come in, and into which virtual host.

mod progress;

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard};

use domain::name::Name;
use stdx::clock::Clock;
use storage::disk::Disk;
use storage::{JournalSettings, Opened, Poison, ReplaySummary, SyncMode};

use crate::alarms::{AlarmBoard, Alarms, Resource};
use crate::catalogue::{Catalogue, Store};
use crate::connection_limits::{ConnectionLimits, Full, Places};
use crate::connections::{Connection, Connections, Introduction};
use crate::disks::Disks;
use crate::event::Closing;
use crate::first_user::FirstUser;
pub use crate::hub::Background;
use crate::hub::Hub;
use crate::limits;
use crate::logins::{Desk, Login};
use crate::looks::Looks;
use crate::memory::{MemoryBudget, MessagesMemory};
use crate::node::Node;
pub use crate::opening::OpenError;
use crate::outbox::{InflightShare, Outbox, Wake};
use crate::permissions::Access;
use crate::recover::{AfterLoss, Recovery};
use crate::session::{Draws, Session};
use crate::sight::Sight;
use crate::traces::SpanSink;
use crate::users::{GUEST, LoginRefusal, User};
use crate::vhost::sessions::Entry;
use crate::vhost::stats::Stats;
use crate::vhost::timers::Moment;
use crate::vhost::{Restored, Surroundings, Vhost};
use crate::writers::{Alarm, Driven, Pen, Step};
use progress::Progress;

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
    /// Where everything is kept.
    pub disks: Arc<dyn Disks>,
    /// Who there is before anybody else.
    pub first_user: FirstUser,
    /// When the journal is synced.
    pub sync: SyncMode,
    /// The nominal size of a journal file; `None`: storage's own choice.
    pub journal_file_bytes: Option<u64>,
    /// Bytes of journal after which a checkpoint is written; `None`: [`limits::CHECKPOINT_BYTES`].
    pub checkpoint_bytes: Option<u64>,
    /// How much memory bodies may take, in bytes, in all virtual hosts together; over half of it they
    /// move to the disk.
    pub memory_bytes_max: usize,
    /// How long a delivery of a quorum queue may be unsettled where neither consumer nor queue says
    /// (RabbitMQ's `consumer_timeout`), in milliseconds; `None`: for ever.
    pub consumer_timeout_ms: Option<u64>,
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
            .field("disks", &self.disks)
            .field("first_user", &self.first_user)
            .field("sync", &self.sync)
            .field("drive", &self.drive)
            .finish_non_exhaustive()
    }
}

/// Why a client is not let in.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConnectRefusal {
    /// There is no such virtual host.
    #[error("no such vhost")]
    NoSuchVhost,
    /// The user has no permission on it.
    #[error("the user has no permission on the vhost")]
    NotAllowed,
    /// There are too many connections already.
    #[error("a connection limit is reached")]
    Full(Full),
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
    /// What a repair had to give up.
    pub after_loss: AfterLoss,
}

/// Who wants to come in.
enum Coming {
    /// For a few requests, and counted as no connection.
    Visitor,
    /// With a connection.
    Client,
    /// With a connection that is there to see.
    Introduced(Introduction),
}

/// A virtual host that runs.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) hub: Arc<Hub>,
    pub(crate) driven: Driven,
    looks: Arc<Looks>,
}

/// The broker.
#[derive(Debug)]
pub struct Broker {
    pub(crate) hosts: RwLock<BTreeMap<Name, Arc<Host>>>,
    /// Held while a virtual host is made or deleted.
    pub(crate) making: Mutex<()>,
    pub(crate) catalogue: Arc<Catalogue>,
    desk: Arc<Desk>,
    pub(crate) settings: BrokerSettings,
    pub(crate) share: Arc<InflightShare>,
    pub(crate) alarms: Arc<AlarmBoard>,
    pub(crate) places: Arc<Places>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) node: Node,
    /// Where spans go, if anybody wants them.
    pub(crate) spans: OnceLock<Arc<dyn SpanSink>>,
}

impl Broker {
    /// Recovers the catalogue and every virtual host in it, and starts them.
    pub fn open(settings: BrokerSettings) -> Result<(Arc<Broker>, Vec<Recovered>), OpenError> {
        let catalogue = Arc::new(open_catalogue(&settings)?);
        let random = (settings.entropy)();
        let desk = Desk::new(Arc::clone(&catalogue), Arc::clone(&settings.clock), random);
        let memory = MemoryBudget::new(settings.memory_bytes_max);
        let share = Arc::new(InflightShare::new(memory));
        let names: Vec<Name> = catalogue.read().vhosts.iter().cloned().collect();
        let alarms = Arc::new(AlarmBoard::default());
        let mut hosts = BTreeMap::new();
        let mut recovered = Vec::with_capacity(names.len());
        for name in names {
            let (host, found) = open_vhost(&name, &settings, &share, &alarms)?;
            hosts.insert(name, Arc::new(host));
            recovered.push(found);
        }
        let (now, wall_ms) = (settings.clock.monotonic(), settings.clock.wall_ms());
        let node = Node::started_at(now.ms(), wall_ms);
        let broker = Broker {
            hosts: RwLock::new(hosts),
            making: Mutex::default(),
            catalogue,
            desk: Arc::new(desk),
            settings,
            share,
            alarms,
            places: Arc::default(),
            connections: Arc::default(),
            node,
            spans: OnceLock::new(),
        };
        broker.tell_own_limits();
        broker.erase_doomed();
        Ok((Arc::new(broker), recovered))
    }

    /// Checks a name and a password as far as that takes no time.
    pub fn authenticate(
        &self,
        user: &str,
        password: &[u8],
        peer: IpAddr,
    ) -> Result<Login, LoginRefusal> {
        self.desk.login(user, password, peer)
    }

    /// Lets in whoever has proved to be `user` by other means than a password, if there is such a user.
    pub fn authenticate_external(&self, user: &str, peer: IpAddr) -> Result<User, LoginRefusal> {
        self.desk.external(user, peer)
    }

    /// Whether there is the user whose password everybody knows.
    pub fn has_guest(&self) -> bool {
        self.catalogue.account(GUEST).is_some()
    }

    /// Whether nobody may log in from another machine.
    pub fn is_loopback_only(&self) -> bool {
        self.catalogue.is_loopback_only()
    }

    /// How many connections there may be from now on; who is already in stays.
    pub fn limit_connections(&self, limits: ConnectionLimits) {
        self.places.limit(limits);
    }

    /// Raises an alarm: whoever publishes is blocked until all alarms are cleared.
    pub fn block(&self, resource: Resource) {
        self.alarms.raise(resource);
    }

    /// Clears an alarm.
    pub fn unblock(&self, resource: Resource) {
        self.alarms.clear(resource);
    }

    /// The alarms that are raised.
    pub fn alarms(&self) -> Alarms {
        self.alarms.raised()
    }

    /// Whether this alarm was raised by [`Broker::block`] and not cleared.
    pub fn is_blocked(&self, resource: Resource) -> bool {
        self.alarms.is_raised(resource)
    }

    /// A virtual host that can't write any more, and why, if there is one.
    pub fn poisoned(&self) -> Option<(Name, Poison)> {
        let poison = |host: Arc<Host>| Some((host.hub.name.clone(), host.hub.poisoned()?));
        self.all().into_iter().find_map(poison)
    }

    /// How much of what is published may be on its way to the disk, in bytes, in all sessions
    /// together; never more than [`limits::INFLIGHT_BYTES_TOTAL`], nor less than one read of each.
    pub fn limit_inflight(&self, bytes: usize) {
        self.share.limit(bytes);
    }

    /// Whether some journal found no room on the disk and has not gone on since.
    pub fn is_disk_full(&self) -> bool {
        self.alarms.is_disk_full()
    }

    /// Lets a user into a virtual host. `wake` is called when the session should look at its
    /// events, or may read again.
    pub fn connect(
        self: &Arc<Broker>,
        user: &User,
        vhost: &str,
        wake: Arc<dyn Wake>,
    ) -> Result<Session, ConnectRefusal> {
        self.enter(user, vhost, wake, Coming::Client)
    }

    /// As [`Broker::connect`], for a client that is introduced: its connection is there to see, and
    /// can be closed by others.
    pub fn connect_introduced(
        self: &Arc<Broker>,
        user: &User,
        vhost: &str,
        wake: Arc<dyn Wake>,
        introduction: Introduction,
    ) -> Result<Session, ConnectRefusal> {
        self.enter(user, vhost, wake, Coming::Introduced(introduction))
    }

    /// As [`Broker::connect`], for a few requests of somebody who has no connection of his own here:
    /// it counts as none.
    pub fn visit(
        self: &Arc<Broker>,
        user: &User,
        vhost: &str,
        wake: Arc<dyn Wake>,
    ) -> Result<Session, ConnectRefusal> {
        self.enter(user, vhost, wake, Coming::Visitor)
    }

    pub(crate) fn access(
        &self,
        user: &User,
        vhost: &str,
    ) -> Result<(Arc<Host>, Arc<Access>), ConnectRefusal> {
        let host = self.hosts().get(vhost).cloned().ok_or(ConnectRefusal::NoSuchVhost)?;
        let access = self.catalogue.access(user, &host.hub.name);
        Ok((host, access.ok_or(ConnectRefusal::NotAllowed)?))
    }

    fn enter(
        &self,
        user: &User,
        vhost: &str,
        wake: Arc<dyn Wake>,
        coming: Coming,
    ) -> Result<Session, ConnectRefusal> {
        let version = self.catalogue.version();
        let (host, access) = self.access(user, vhost)?;
        let take = || {
            let name = user.name();
            let own = || self.catalogue.read().connections_max(&host.hub.name, name);
            self.places.take(vhost, name.as_str(), own).map_err(ConnectRefusal::Full)
        };
        let (place, connection) = match coming {
            Coming::Visitor => (None, None),
            Coming::Client => (Some(take()?), None),
            Coming::Introduced(introduction) => {
                let place = take()?;
                let (user, vhost) = (user.name().clone(), host.hub.name.clone());
                let connection = Connection::new(user, vhost, introduction, self.wall_ms());
                (Some(place), Some(Arc::new(connection)))
            }
        };
        let outbox = Arc::new(Outbox::new(wake, Arc::clone(&self.share)));
        let channels = place.as_ref().map(|place| Arc::clone(place.channels()));
        let entry = Entry { connection: connection.clone(), channels };
        let connected = host.hub.connect(&outbox, access, entry);
        let id = connected.map_err(|closing| match closing {
            Closing::Shutdown => ConnectRefusal::Stopping,
            Closing::Poisoned(poison) => ConnectRefusal::Poisoned(poison),
            Closing::Deleted | Closing::Forced(_) => ConnectRefusal::NoSuchVhost,
        })?;
        if self.catalogue.version() != version {
            // Whoever changed something may have looked at the sessions before this one was there.
            self.settle_in(user);
        }
        let draws = Draws(Arc::clone(&self.settings.entropy));
        Ok(Session {
            hub: Arc::clone(&host.hub),
            id,
            outbox,
            draws,
            alarms: Arc::clone(&self.alarms),
            _place: place,
            registered: connection.map(|connection| self.connections.register(connection)),
            over: false,
        })
    }

    #[cold]
    fn settle_in(&self, user: &User) {
        let name = user.name();
        if self.catalogue.account(name.as_str()).is_some() {
            self.readmit(name);
        } else {
            self.close_user(name, &format!("user '{name}' is deleted"));
        }
    }

    /// Tells every session that the broker stops; new ones are refused from now on.
    pub fn close(&self) {
        for host in self.all() {
            host.hub.close(&Closing::Shutdown);
        }
    }

    /// What messages take of the memory, and may take.
    pub fn messages_memory(&self) -> MessagesMemory {
        self.share.messages_memory()
    }

    /// Every virtual host to be looked at, by name.
    pub fn sights(&self) -> Vec<Sight> {
        self.all().iter().map(|host| self.look_at(host)).collect()
    }

    /// A virtual host to be looked at.
    pub fn sight(&self, vhost: &str) -> Option<Sight> {
        self.hosts().get(vhost).map(|host| self.look_at(host))
    }

    fn look_at(&self, host: &Host) -> Sight {
        let clock = Arc::clone(&self.settings.clock);
        Sight { hub: Arc::clone(&host.hub), looks: Arc::clone(&host.looks), clock }
    }

    /// The time by which everything in the broker goes.
    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.settings.clock
    }

    /// Sessions that are not over.
    pub fn session_count(&self) -> usize {
        self.all().iter().map(|host| host.hub.session_count()).sum()
    }

    /// What each virtual host has counted since it started.
    pub fn stats(&self) -> Vec<(Name, Stats)> {
        self.all().iter().map(|host| (host.hub.name.clone(), host.hub.stats())).collect()
    }

    /// Writes and syncs everything, and stops the writers. Call it when the sessions are over.
    pub fn finish(&self) -> Result<(), Poison> {
        for host in self.all() {
            host.hub.seal();
            host.driven.finish(&host.hub, self.settings.clock.monotonic())?;
        }
        Ok(())
    }

    /// Lets every writer that is driven by hand do one step. Returns whether any wrote something.
    pub fn step(&self) -> Result<bool, Poison> {
        let mut wrote = false;
        for host in self.all() {
            let now = self.settings.clock.monotonic();
            if let Some(done) = host.driven.step(&host.hub, now) {
                wrote |= done? == Step::Wrote;
            }
        }
        Ok(wrote)
    }

    pub(crate) fn hub(&self, vhost: &str) -> Option<Arc<Hub>> {
        self.hosts().get(vhost).map(|host| Arc::clone(&host.hub))
    }

    /// The ways into all virtual hosts of this moment.
    pub(crate) fn hubs(&self) -> Vec<Arc<Hub>> {
        self.hosts().values().map(|host| Arc::clone(&host.hub)).collect()
    }

    pub(crate) fn wall_ms(&self) -> u64 {
        self.settings.clock.wall_ms()
    }

    fn hosts(&self) -> RwLockReadGuard<'_, BTreeMap<Name, Arc<Host>>> {
        self.hosts.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The virtual hosts of this moment; nothing long is done under the lock.
    fn all(&self) -> Vec<Arc<Host>> {
        self.hosts().values().cloned().collect()
    }
}

fn journal_settings(settings: &BrokerSettings) -> JournalSettings {
    let mut journal_settings = JournalSettings::new(draw(&settings.entropy));
    if let Some(bytes) = settings.journal_file_bytes {
        journal_settings.file_bytes = bytes;
    }
    journal_settings
}

fn open_catalogue(settings: &BrokerSettings) -> Result<Catalogue, OpenError> {
    let disk = settings
        .disks
        .catalogue()
        .map_err(|error| OpenError::Disk { what: "the catalogue".into(), error })?;
    let mut journal_settings = journal_settings(settings);
    journal_settings.file_bytes = journal_settings.file_bytes.min(limits::CATALOGUE_FILE_BYTES);
    let now = settings.clock.monotonic();
    let first = || settings.first_user.changes();
    let opened = Store::open(disk, journal_settings, now, first)?;
    Ok(Catalogue::new(opened, Arc::clone(&settings.clock)))
}

pub(crate) fn open_vhost(
    name: &Name,
    settings: &BrokerSettings,
    share: &Arc<InflightShare>,
    alarms: &Arc<AlarmBoard>,
) -> Result<(Host, Recovered), OpenError> {
    let name = name.clone();
    let disk = settings
        .disks
        .vhost(&name)
        .map_err(|error| OpenError::Disk { what: format!("vhost '{name}'").into(), error })?;
    let mut journal_settings = journal_settings(settings);
    journal_settings.sync = settings.sync;
    let checkpoint_bytes = settings.checkpoint_bytes;
    let checkpoint_bytes =
        checkpoint_bytes.unwrap_or(limits::CHECKPOINT_BYTES.min(journal_settings.file_bytes));
    let now = Moment::now(&*settings.clock);
    let mut recovery = Recovery::new(now);
    let mut progress = Progress::new(&name, &*settings.clock);
    let opened = storage::open(Arc::clone(&disk), journal_settings, &mut |record| {
        progress.record(&record);
        recovery.record(&record);
    });
    let Opened { journal, writer, summary, .. } =
        opened.map_err(|error| OpenError::Journal { vhost: name.clone(), error })?;
    let after_loss = recovery.after_loss();
    let has_basis = recovery.has_basis(summary.first);
    let mut restored =
        recovery.finish(&disk).map_err(|error| OpenError::Replay { vhost: name.clone(), error })?;
    let unreferenced = unreferenced(&*disk, &mut restored)
        .and_then(|numbers| if has_basis { delete(&*disk, &numbers) } else { Ok(numbers) })
        .map_err(|error| OpenError::Disk { what: format!("vhost '{name}'").into(), error })?;
    if let Some(first) = unreferenced.first() {
        let (segments, first) = (unreferenced.len(), storage::segment_file_name(*first));
        return Err(OpenError::Orphaned { vhost: name, segments, first });
    }
    let found = Recovered {
        vhost: name.clone(),
        queues: restored.queues.len(),
        messages: restored
            .queues
            .iter()
            .map(|(_, slot)| slot.queue.ready_messages() + slot.queue.leased_messages())
            .sum(),
        summary,
        after_loss,
    };
    let state = Vhost::new(
        restored,
        Surroundings { journal, disk, memory: share.memory(), inflight: Arc::clone(share) },
        draw(&settings.entropy),
        checkpoint_bytes,
        settings.consumer_timeout_ms,
        now,
    );
    let alarm = Arc::new(Alarm::default());
    let hub = Arc::new(Hub::new(
        name,
        state,
        Arc::clone(&settings.clock),
        Arc::clone(&alarm) as Arc<dyn crate::hub::Bell>,
        Arc::clone(&settings.background),
    ));
    alarms.watched_by(&hub);
    let writer = Pen::new(writer, Arc::clone(alarms), Arc::clone(&settings.disks));
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
    Ok((Host { hub, driven, looks: Arc::default() }, found))
}

/// Segments that nothing refers to: the process ended before the journal knew of them, or before they
/// were deleted. Their numbers are never given again.
fn unreferenced(disk: &dyn Disk, restored: &mut Restored) -> io::Result<Vec<u64>> {
    let mut numbers = storage::list_segments(disk)?;
    for number in &numbers {
        restored.chunks.segments.give_no_more(*number);
    }
    numbers.retain(|number| !restored.chunks.segments.contains(*number));
    Ok(numbers)
}

/// Deletes segments; says which are left.
fn delete(disk: &dyn Disk, numbers: &[u64]) -> io::Result<Vec<u64>> {
    numbers.iter().try_for_each(|number| storage::remove_segment(disk, *number))?;
    Ok(Vec::new())
}

fn draw(entropy: &Entropy) -> Box<dyn FnMut() -> u64 + Send> {
    let entropy = Arc::clone(entropy);
    Box::new(move || entropy())
}
