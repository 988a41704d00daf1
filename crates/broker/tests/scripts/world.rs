//! Scripts against a whole broker on a simulated disk, without sockets or threads: what sessions
//! ask for, and what they are told; and what there is to see.
//!
//! A line is `SESSION VERB ARGUMENTS`, or `sync` (the journal's writer does its work; `try-sync` if it still can), `crash` (the
//! power fails and the broker starts again), `stop` (a clean stop and a start). Every line says
//! what the sessions were told by it; lines that say nothing are left out. `+` joins requests into
//! one batch. `wait MS` lets time pass, `rest` much of it, and `disk` says what lies there. `full LEFT
//! RESERVE` leaves so little of the disk; between `stall` and `resume` nothing is read from it. `see WHAT` says what there is (see `sights.rs`), `sample` takes
//! a sample, `kick SESSION` ends its connection.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's own code")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use broker::connections::Introduction;
use broker::lease::LeaseToken;
use broker::operation::Operation;
use broker::{
    Background, Batch, Broker, BrokerSettings, Disks, Event, FirstUser, OpenError, Recovered,
    Relief, Session, Wake, WriterDrive, rehearse,
};
use domain::name::Name;
use domain::table::{Table, Value};
use stdx::clock::{Clock as _, ManualClock, Monotonic};
use storage::SyncMode;
use storage::disk::{Disk, Faults, SimulatedDisk};

use crate::answers;
use crate::requests;

#[derive(Debug)]
struct Silent;

impl Wake for Silent {
    fn wake(&self) {}
}

type Task = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Later {
    soon: Mutex<Vec<Task>>,
    timed: Mutex<Vec<(Monotonic, Task)>>,
}

impl Later {
    /// What is to be run now.
    fn take(&self, now: Monotonic) -> Vec<Task> {
        let mut tasks = std::mem::take(&mut *self.soon.lock().unwrap());
        let mut timed = self.timed.lock().unwrap();
        let (due, rest) = std::mem::take(&mut *timed).into_iter().partition(|(at, _)| *at <= now);
        *timed = rest;
        let due: Vec<(Monotonic, Task)> = due;
        tasks.extend(due.into_iter().map(|(_, task)| task));
        tasks
    }
}

impl std::fmt::Debug for Later {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Later")
    }
}

impl Background for Later {
    fn run(&self, task: Task) {
        self.soon.lock().unwrap().push(task);
    }

    fn run_waiting(&self, task: Task) {
        self.soon.lock().unwrap().push(task);
    }

    fn run_at(&self, at: Monotonic, task: Task) {
        self.timed.lock().unwrap().push((at, task));
    }
}

/// What a broker is given.
#[derive(Clone, Copy)]
pub(crate) struct Means {
    pub(crate) memory_bytes: usize,
    pub(crate) journal_file_bytes: u64,
}

pub(crate) struct World {
    means: Means,
    pub(crate) disk: Arc<SimulatedDisk>,
    broker: Arc<Broker>,
    clock: Arc<ManualClock>,
    later: Arc<Later>,
    sessions: BTreeMap<String, Session>,
    /// The tokens that were handed out for a message, by its body.
    pub(crate) tokens: BTreeMap<String, Vec<LeaseToken>>,
    background: Pace,
}

/// When is done what is to be done in the background: reading from the disk, before all.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    AtOnce,
    Stalled,
}

/// The disk of the one virtual host; the catalogue begins anew with each start.
#[derive(Debug)]
struct OneVhost {
    catalogue: SimulatedDisk,
    vhost: Arc<SimulatedDisk>,
}

impl Disks for OneVhost {
    fn catalogue(&self) -> std::io::Result<Arc<dyn Disk>> {
        Ok(Arc::new(self.catalogue.clone()))
    }

    fn vhost(&self, _name: &Name) -> std::io::Result<Arc<dyn Disk>> {
        Ok(Arc::clone(&self.vhost) as _)
    }

    fn erase_vhost(&self, _name: &Name) -> std::io::Result<()> {
        Err(std::io::ErrorKind::Unsupported.into())
    }

    fn relieve(&self) -> Relief {
        match self.vhost.remove(RESERVE) {
            Ok(()) => Relief::GaveBack,
            Err(_nothing_there) => Relief::NothingLeft,
        }
    }
}

/// The file that is given back when the disk is full.
const RESERVE: &str = "reserve";

fn open(
    disk: &Arc<SimulatedDisk>,
    clock: &Arc<ManualClock>,
    later: &Arc<Later>,
    means: Means,
) -> Result<Arc<Broker>, OpenError> {
    let (catalogue, vhost) = (SimulatedDisk::new(), Arc::clone(disk));
    open_on(OneVhost { catalogue, vhost }, clock, later, means)
}

fn open_on(
    disks: OneVhost,
    clock: &Arc<ManualClock>,
    later: &Arc<Later>,
    means: Means,
) -> Result<Arc<Broker>, OpenError> {
    let draws = std::sync::atomic::AtomicU64::new(1);
    let settings = BrokerSettings {
        disks: Arc::new(disks),
        first_user: FirstUser::guest(None),
        sync: SyncMode::Always,
        journal_file_bytes: Some(means.journal_file_bytes),
        memory_bytes_max: means.memory_bytes,
        checkpoint_bytes: None,
        consumer_timeout_ms: None,
        clock: Arc::clone(clock) as _,
        entropy: Arc::new(move || draws.fetch_add(1, std::sync::atomic::Ordering::Relaxed)),
        background: Arc::clone(later) as _,
        drive: WriterDrive::ByHand,
    };
    Broker::open(settings).map(|(broker, _)| broker)
}

impl World {
    pub(crate) fn new(means: Means) -> World {
        World::with(SimulatedDisk::new(), means)
    }

    /// With small journal files on a disk that may have something on it.
    pub(crate) fn on(disk: SimulatedDisk, memory_bytes: usize) -> World {
        World::with(disk, Means { memory_bytes, journal_file_bytes: 64 << 10 })
    }

    /// Why a broker does not start on this disk, if it does not.
    pub(crate) fn refusal(disk: &SimulatedDisk) -> Option<OpenError> {
        let means = Means { memory_bytes: 1 << 20, journal_file_bytes: 64 << 10 };
        open(&Arc::new(disk.clone()), &Arc::default(), &Arc::default(), means).err()
    }

    /// What a start would find on this disk, without starting.
    pub(crate) fn rehearsed(disk: &SimulatedDisk) -> Result<Vec<Recovered>, OpenError> {
        let (catalogue, clock) = (SimulatedDisk::new(), Arc::default());
        let empty = OneVhost { catalogue: catalogue.clone(), vhost: Arc::default() };
        let means = Means { memory_bytes: 1 << 20, journal_file_bytes: 64 << 10 };
        open_on(empty, &clock, &Arc::default(), means)?;
        rehearse(&OneVhost { catalogue, vhost: Arc::new(disk.clone()) }, &*clock)
    }

    fn with(disk: SimulatedDisk, means: Means) -> World {
        let disk = Arc::new(disk);
        let clock = Arc::new(ManualClock::default());
        let later = Arc::new(Later::default());
        let broker = open(&disk, &clock, &later, means).unwrap();
        let (sessions, tokens) = (BTreeMap::new(), BTreeMap::new());
        World { means, disk, broker, clock, later, sessions, tokens, background: Pace::AtOnce }
    }

    pub(crate) fn run(&mut self, line: &str) -> Vec<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut seen = None;
        match words[..] {
            ["sync"] => {
                self.clock.advance_ms(100);
                while self.broker.step().unwrap() {}
            }
            ["try-sync"] => {
                self.clock.advance_ms(100);
                while self.broker.step().is_ok_and(|wrote| wrote) {}
            }
            ["rest"] => {
                for _ in 0..200 {
                    self.run("wait 50");
                    while self.broker.step().unwrap() {}
                }
            }
            ["full", left, reserve] => self.fill(left.parse().unwrap(), reserve.parse().unwrap()),
            ["disk"] => return vec![self.disk_use()],
            ["wait", ms] => self.clock.advance_ms(ms.parse().unwrap()),
            ["crash"] => {
                // The old broker's sessions must not be heard of again: they go with its disk.
                self.sessions.clear();
                self.later = Arc::default();
                self.disk = Arc::new(self.disk.crash(7));
                self.broker = open(&self.disk, &self.clock, &self.later, self.means).unwrap();
            }
            ["stop"] => {
                self.broker.close();
                self.sessions.clear();
                self.broker.finish().unwrap();
                // What it wanted to do later nobody does.
                self.later = Arc::default();
                self.broker = open(&self.disk, &self.clock, &self.later, self.means).unwrap();
            }
            ["stall"] => self.background = Pace::Stalled,
            ["resume"] => self.background = Pace::AtOnce,
            ["sample"] => self.broker.sample(),
            ["see", ref what @ ..] => seen = Some(crate::sights::see(&self.broker, what)),
            ["kick", session] => {
                let connection = self.sessions[session].connection().unwrap();
                self.broker.close_connection(connection, "kicked");
            }
            [session, verb, ref arguments @ ..] => self.ask(session, verb, arguments),
            _ => panic!("{line}"),
        }
        while self.background == Pace::AtOnce {
            let tasks = self.later.take(self.clock.monotonic());
            if tasks.is_empty() {
                break;
            }
            for task in tasks {
                task();
            }
        }
        let told = self.told();
        seen.unwrap_or(told)
    }

    /// From now on the disk has only so much room left; and so much is held in reserve.
    fn fill(&self, left_bytes: u64, reserve_bytes: u64) {
        if reserve_bytes > 0 {
            self.disk.create(RESERVE).unwrap().allocate(reserve_bytes).unwrap();
        }
        let used: usize = self.disk.files().values().map(Vec::len).sum();
        let capacity_bytes = Some(used as u64 + left_bytes);
        self.disk.set_faults(Faults { capacity_bytes, ..Faults::default() });
    }

    fn disk_use(&self) -> String {
        let files = self.disk.files();
        let bytes: usize = files.values().map(Vec::len).sum();
        let count = |kind: &str| files.keys().filter(|name| name.starts_with(kind)).count();
        let (journals, spares) = (count("journal"), count("spare"));
        let segments = count("segment");
        format!("{journals} journals, {spares} spares, {segments} segments, {} MiB", bytes >> 20)
    }

    /// Why nobody is let in, if nobody is.
    pub(crate) fn entry_refusal(&self) -> Option<String> {
        let user = self.broker.authenticate_external("guest", [127, 0, 0, 1].into()).unwrap();
        let entered = self.broker.connect(&user, "/", Arc::new(Silent));
        entered.err().map(|refusal| refusal.to_string())
    }

    fn ask(&mut self, session: &str, verb: &str, arguments: &[&str]) {
        if verb == "leave" {
            self.sessions.remove(session);
            return;
        }
        let broker = &self.broker;
        let session = self.sessions.entry(session.to_owned()).or_insert_with_key(|who| {
            let user = broker.authenticate_external("guest", [127, 0, 0, 1].into()).unwrap();
            let hello = introduction(who);
            let mut session =
                broker.connect_introduced(&user, "/", Arc::new(Silent), hello).unwrap();
            let mut batch = Batch::default();
            batch.push(Operation::OpenChannel { channel: 1 });
            session.submit(&mut batch);
            session.take(&mut Vec::new());
            session
        });
        let mut batch = Batch::default();
        let mut words = vec![verb];
        words.extend(arguments);
        for words in words.split(|word| *word == "+") {
            if matches!(words[0], "drop" | "move") {
                for removal in crate::removals::operations(broker, words[0], &words[1..]) {
                    batch.push(removal);
                }
                continue;
            }
            match words[0].strip_prefix("lease-") {
                Some(end) => batch.push(requests::settle_leases(&self.tokens, end, &words[1..])),
                None if matches!(words[0], "done" | "what" | "forget") => {
                    batch.push(crate::done::operation(&self.tokens, words[0], &words[1..]));
                }
                None => requests::request(&mut batch, words[0], &words[1..]),
            }
        }
        session.submit(&mut batch);
    }

    fn told(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        for (name, session) in &mut self.sessions {
            let mut events = Vec::new();
            session.take(&mut events);
            for event in &events {
                let text = if let Event::LeaseAnswer(answer) = event {
                    answers::lease_text(answer, &mut self.tokens)
                } else {
                    answers::text(event)
                };
                said.push(format!("{name}: {text}"));
            }
            session.written(events.iter().map(Event::cost_bytes).sum());
        }
        said
    }
}

/// A client whose port is the first letter of its name.
fn introduction(who: &str) -> Introduction {
    let port = u16::from(who.as_bytes()[0]);
    let mut client_properties = Table::default();
    client_properties.push("connection_name", Value::text(who));
    Introduction {
        protocol: "test",
        peer: ([127, 0, 0, 1], port).into(),
        local: Some(([127, 0, 0, 1], 5672).into()),
        tls: None,
        mechanism: "PLAIN".into(),
        client_properties,
        channel_max: 0,
        frame_bytes_max: 0,
        heartbeat_seconds: 0,
    }
}
