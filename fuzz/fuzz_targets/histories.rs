//! Whole histories of several clients on one broker: any methods in any order with any arguments,
//! contents, transactions, direct replies, garbage, breaks and the passing of time. The broker is a
//! real one on a simulated disk, whose writer and background are moved by hand.
//!
//! Whatever is asked is answered, or the channel or connection closes. Nothing is said on a channel
//! that is not open. Delivery tags count up by one; every publish in confirm mode is answered once.
//! When all have left, no session remains, and the journal can be read again.

#![no_main]

#[path = "histories/asked.rs"]
mod asked;
#[path = "histories/heard.rs"]
mod heard;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use amqp::connection::SignsOfLife;
use amqp::{Admission, AmqpSettings, Connection, Gate, Told};
use broker::{
    Background, Batch, Broker, BrokerSettings, ConnectRefusal, Disks, FirstUser, LoginRefusal,
    Session, Wake, WriterDrive,
};
use domain::name::Name;
use libfuzzer_sys::fuzz_target;
use stdx::clock::{Clock as _, ManualClock, Monotonic};
use storage::SyncMode;
use storage::disk::{Disk, SimulatedDisk};

use self::asked::Input;
use self::heard::{CHANNEL_OPEN, Heard};

const FRAME_BYTES_MAX: u32 = 4096;
const CHANNEL_MAX: u16 = 5;
const CLIENTS: usize = 3;
const STEPS: usize = 40;

type Task = Box<dyn FnOnce() + Send>;

/// Background tasks that wait to be run.
#[derive(Default)]
struct Later {
    soon: Mutex<Vec<Task>>,
    timed: Mutex<Vec<(Monotonic, Task)>>,
}

impl std::fmt::Debug for Later {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Later")
    }
}

impl Background for Later {
    fn run(&self, task: Task) {
        self.soon.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }

    fn run_waiting(&self, task: Task) {
        self.soon.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }

    fn run_at(&self, at: Monotonic, task: Task) {
        self.timed.lock().unwrap_or_else(PoisonError::into_inner).push((at, task));
    }
}

impl Later {
    /// Drops what is left: tasks hold the broker, which holds this.
    fn forget(&self) {
        self.soon.lock().expect("one thread").clear();
        self.timed.lock().expect("one thread").clear();
    }

    fn run_due(&self, now: Monotonic) {
        let mut due = std::mem::take(&mut *self.soon.lock().expect("one thread"));
        let mut timed = self.timed.lock().expect("one thread");
        let (ripe, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut *timed).into_iter().partition(|(at, _)| *at <= now);
        *timed = rest;
        drop(timed);
        due.extend(ripe.into_iter().map(|(_, task)| task));
        due.into_iter().for_each(|task| task());
    }
}

/// The disk of the virtual host; the catalogue's is another.
#[derive(Debug)]
struct OneVhost(SimulatedDisk);

impl Disks for OneVhost {
    fn catalogue(&self) -> std::io::Result<Arc<dyn Disk>> {
        Ok(Arc::new(SimulatedDisk::new()))
    }

    fn vhost(&self, _name: &Name) -> std::io::Result<Arc<dyn Disk>> {
        Ok(Arc::new(self.0.clone()))
    }

    fn erase_vhost(&self, _name: &Name) -> std::io::Result<()> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}

fn open(disk: &SimulatedDisk, clock: &Arc<ManualClock>, later: &Arc<Later>) -> Arc<Broker> {
    let draws = AtomicU64::new(1);
    let settings = BrokerSettings {
        disks: Arc::new(OneVhost(disk.clone())),
        first_user: FirstUser::guest(None),
        sync: SyncMode::Always,
        journal_file_bytes: Some(64 << 10),
        memory_bytes_max: 1 << 20,
        checkpoint_bytes: Some(16 << 10),
        consumer_timeout_ms: Some(1_000),
        clock: Arc::clone(clock) as _,
        entropy: Arc::new(move || draws.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9)),
        background: Arc::clone(later) as _,
        drive: WriterDrive::ByHand,
    };
    Broker::open(settings).expect("the journal can be read").0
}

#[derive(Debug)]
struct Asleep;

impl Wake for Asleep {
    fn wake(&self) {}
}

/// The broker, as one connection sees it.
struct Door {
    broker: Arc<Broker>,
    session: Option<Session>,
}

impl Gate for Door {
    fn login(&mut self, user: &str, _password: &[u8]) -> Result<Admission, LoginRefusal> {
        if user == "guest" { Ok(Admission::In) } else { Err(LoginRefusal::BadCredentials) }
    }

    fn may_impersonate(&self) -> bool {
        false
    }

    fn certified_name(&self) -> Option<&str> {
        None
    }

    fn login_certified(&mut self) -> Result<String, LoginRefusal> {
        Err(LoginRefusal::BadCredentials)
    }

    fn make_name(&mut self, prefix: &str) -> Name {
        self.session.as_ref().map(|session| session.make_name(prefix)).unwrap_or_default()
    }

    fn enter(&mut self, vhost: &str, _told: Told) -> Result<(), ConnectRefusal> {
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let user = self.broker.authenticate_external("guest", peer).expect("guest is known");
        self.session = Some(self.broker.connect(&user, vhost, Arc::new(Asleep))?);
        Ok(())
    }
}

/// A client with its connection.
struct Client {
    connection: Connection,
    door: Door,
    batch: Batch,
    heard: Heard,
}

impl Client {
    fn come(broker: &Arc<Broker>) -> Client {
        let settings = AmqpSettings { message_bytes_max: 50_000, ..AmqpSettings::default() };
        let mut client = Client {
            connection: Connection::new(Arc::new(settings)),
            door: Door { broker: Arc::clone(broker), session: None },
            batch: Batch::default(),
            heard: Heard::default(),
        };
        client.heard.asked(1, CHANNEL_OPEN, true);
        client.heard.asked(2, CHANNEL_OPEN, true);
        client.say(&asked::handshake());
        client
    }

    fn say(&mut self, bytes: &[u8]) {
        let mut out = Vec::new();
        self.connection.receive(bytes, &mut self.door, &mut self.batch, &mut out);
        self.submit();
        self.heard.frames(&out);
    }

    fn submit(&mut self) {
        if let Some(session) = &mut self.door.session {
            session.submit(&mut self.batch);
        }
    }

    /// Takes what the virtual host has told; whether there was anything.
    fn listen(&mut self) -> bool {
        let mut events = Vec::new();
        if let Some(session) = &self.door.session {
            session.take(&mut events);
        }
        for event in &events {
            let mut out = Vec::new();
            self.connection.event(event, &mut self.batch, &mut out);
            self.submit();
            self.heard.frames(&out);
            if let Some(session) = &mut self.door.session {
                session.written(event.cost_bytes());
            }
        }
        !events.is_empty()
    }
}

/// Until nobody has anything left to do.
fn settle(broker: &Broker, clock: &ManualClock, later: &Later, clients: &mut [Client]) {
    let mut quiet = 0;
    for _ in 0..10_000 {
        // The journal's writer waits a little for more.
        clock.advance_ms(50);
        // A timer may come again and again for a queue in use: by itself it is nothing to wait for.
        later.run_due(clock.monotonic());
        let mut busy = broker.step().expect("the disk works");
        for client in &mut *clients {
            busy |= client.listen();
        }
        quiet = if busy { 0 } else { quiet + 1 };
        if quiet == 3 {
            return;
        }
    }
    panic!("it never comes to rest");
}

fuzz_target!(|bytes: &[u8]| {
    let (disk, clock) = (SimulatedDisk::new(), Arc::new(ManualClock::default()));
    let later = Arc::new(Later::default());
    let broker = open(&disk, &clock, &later);
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| Client::come(&broker)).collect();
    settle(&broker, &clock, &later, &mut clients);
    clients[0].say(&asked::furniture());
    settle(&broker, &clock, &later, &mut clients);
    let mut input = Input::new(bytes);
    for _ in 0..STEPS {
        let client = &mut clients[usize::from(input.byte()) % CLIENTS];
        match input.byte() {
            0..16 => clock.advance_ms(u64::from(input.number()) >> (input.byte() % 16)),
            16 => *client = Client::come(&broker),
            17 => {
                let mut out = Vec::new();
                client.connection.expire(SignsOfLife { heard: true, spoke: false }, &mut out);
                client.heard.frames(&out);
            }
            18..20 => {
                client.heard.wild = true;
                client.say(input.bytes());
            }
            asked => {
                // Some requests before the answers of the first are seen.
                for _ in 0..=asked % 4 {
                    let said = asked::something(&mut input, &mut client.heard);
                    client.say(&said);
                }
            }
        }
        settle(&broker, &clock, &later, &mut clients);
        for client in &mut clients {
            let over = client.connection.is_over();
            client.heard.all_is_answered(over);
            let said = client.heard.manners();
            if !said.is_empty() {
                client.say(&said);
            }
            if over || client.heard.over {
                *client = Client::come(&broker);
            }
        }
        settle(&broker, &clock, &later, &mut clients);
    }
    clients.clear();
    settle(&broker, &clock, &later, &mut []);
    assert_eq!(broker.session_count(), 0, "all have left");
    broker.finish().expect("the disk works");
    drop(broker);
    later.forget();
    let later = Arc::new(Later::default());
    drop(open(&disk, &clock, &later));
    later.forget();
});
