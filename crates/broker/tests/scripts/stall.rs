//! A disk that takes its time over one virtual host's journal holds up nobody else.

#![expect(clippy::unwrap_used, reason = "a test's own code")]

use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};

use broker::operation::{Answer, Declare, Operation, Unroutable};
use broker::{
    Background, Batch, Broker, BrokerSettings, Disks, Event, FirstUser, MessageHead, Permission,
    Persistence, Session, Wake, WriterDrive,
};
use domain::name::Name;
use domain::queue::QueueDeclaration;
use stdx::clock::{Monotonic, SystemClock};
use storage::SyncMode;
use storage::disk::{Disk, DiskFile, SimulatedDisk};

/// Syncs wait before it while it is closed.
#[derive(Debug, Default)]
struct Gate {
    closed: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    fn set(&self, closed: bool) {
        *self.closed.lock().unwrap() = closed;
        self.changed.notify_all();
    }

    fn pass(&self) {
        let mut closed = self.closed.lock().unwrap();
        while *closed {
            closed = self.changed.wait(closed).unwrap();
        }
    }
}

#[derive(Debug)]
struct Gated(SimulatedDisk, Arc<Gate>);

#[derive(Debug)]
struct GatedFile(Box<dyn DiskFile>, Arc<Gate>);

impl Disk for Gated {
    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(GatedFile(self.0.open(name)?, Arc::clone(&self.1))))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(GatedFile(self.0.create(name)?, Arc::clone(&self.1))))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.0.sync_dir()
    }
}

impl DiskFile for GatedFile {
    fn bytes(&self) -> io::Result<u64> {
        self.0.bytes()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn write_vectored_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.0.write_vectored_at(slices, offset)
    }

    fn allocate(&self, bytes: u64) -> io::Result<u64> {
        self.0.allocate(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.1.pass();
        self.0.sync()
    }
}

/// The gate is before the virtual host of this name.
const SLOW: &str = "slow";

#[derive(Debug)]
struct OneIsSlow(Arc<Gate>);

impl Disks for OneIsSlow {
    fn catalogue(&self) -> io::Result<Arc<dyn Disk>> {
        Ok(Arc::new(SimulatedDisk::new()))
    }

    fn vhost(&self, name: &Name) -> io::Result<Arc<dyn Disk>> {
        let gate = if name.as_str() == SLOW { Arc::clone(&self.0) } else { Arc::default() };
        Ok(Arc::new(Gated(SimulatedDisk::new(), gate)))
    }

    fn erase_vhost(&self, _name: &Name) -> io::Result<()> {
        Ok(())
    }
}

/// Nothing here takes so long that it would be done in the background.
#[derive(Debug)]
struct Never;

impl Background for Never {
    fn run(&self, _task: Box<dyn FnOnce() + Send>) {}

    fn run_waiting(&self, _task: Box<dyn FnOnce() + Send>) {}

    fn run_at(&self, _at: Monotonic, _task: Box<dyn FnOnce() + Send>) {}
}

#[derive(Debug)]
struct Rings(Mutex<Sender<()>>);

impl Wake for Rings {
    fn wake(&self) {
        // Who is gone needs no waking.
        _ = self.0.lock().unwrap().send(());
    }
}

struct Client {
    session: Session,
    woken: Receiver<()>,
    heard: Vec<String>,
}

impl Client {
    fn enter(broker: &Arc<Broker>, vhost: &str) -> Client {
        let (sender, woken) = channel();
        let user = broker.authenticate_external("guest", [127, 0, 0, 1].into()).unwrap();
        let session = broker.connect(&user, vhost, Arc::new(Rings(Mutex::new(sender)))).unwrap();
        let mut client = Client { session, woken, heard: Vec::new() };
        let declaration = QueueDeclaration { durable: true, ..Default::default() };
        client.ask(vec![
            Operation::OpenChannel { channel: 1 },
            Operation::SelectConfirms { channel: 1, answer: Answer::Unwanted },
            Operation::DeclareQueue {
                channel: 1,
                queue: Name::new("q").unwrap(),
                declare: Declare::Active,
                declaration: Box::new(declaration),
                answer: Answer::Wanted,
            },
        ]);
        client.wait_for("QueueDeclared");
        client
    }

    fn ask(&mut self, operations: Vec<Operation>) {
        let mut batch = Batch::default();
        for operation in operations {
            batch.push(operation);
        }
        self.session.submit(&mut batch);
    }

    fn publish(&mut self) {
        let head = MessageHead {
            persistence: Persistence::Persistent,
            routing_key: b"q",
            ..MessageHead::default()
        };
        let mut batch = Batch::default();
        batch.publish(1, Unroutable::Dropped, &head, b"body");
        self.session.submit(&mut batch);
    }

    fn listen(&mut self) {
        let mut events = Vec::new();
        self.session.take(&mut events);
        self.session.written(events.iter().map(Event::cost_bytes).sum());
        self.heard.extend(events.iter().map(|event| format!("{event:?}")));
    }

    fn has_heard(&mut self, what: &str) -> bool {
        self.listen();
        self.heard.iter().any(|heard| heard.contains(what))
    }

    fn wait_for(&mut self, what: &str) {
        while !self.has_heard(what) {
            self.woken.recv().unwrap();
        }
    }
}

#[test]
fn a_stalled_journal_holds_up_its_own_confirms_and_no_others() {
    let gate = Arc::new(Gate::default());
    let draws = AtomicU64::new(1);
    let settings = BrokerSettings {
        disks: Arc::new(OneIsSlow(Arc::clone(&gate))),
        first_user: FirstUser::guest(None),
        sync: SyncMode::Always,
        journal_file_bytes: Some(64 << 10),
        memory_bytes_max: 64 << 20,
        checkpoint_bytes: None,
        consumer_timeout_ms: None,
        clock: Arc::new(SystemClock::start()),
        entropy: Arc::new(move || draws.fetch_add(1, Ordering::Relaxed)),
        background: Arc::new(Never),
        drive: WriterDrive::Threads,
    };
    let broker = Broker::open(settings).unwrap().0;
    let everything = Permission { configure: ".*".into(), write: ".*".into(), read: ".*".into() };
    for vhost in [SLOW, "other"].map(|name| Name::new(name).unwrap()) {
        broker.create_vhost(&vhost).unwrap();
        broker.grant(&Name::new("guest").unwrap(), &vhost, &everything).unwrap();
    }
    let mut slow = Client::enter(&broker, SLOW);
    let mut other = Client::enter(&broker, "other");

    gate.set(true);
    slow.publish();
    for round in 1..=20 {
        other.publish();
        other.wait_for(&format!("last: {round} }}"));
        // The vhost itself is free: only its journal takes long.
        slow.publish();
    }
    // Who comes meanwhile is let in, and other virtual hosts come and go.
    let aside = Name::new("aside").unwrap();
    broker.create_vhost(&aside).unwrap();
    broker.delete_vhost(&aside).unwrap();
    assert_eq!(broker.session_count(), 2);
    assert!(!slow.has_heard("Confirmed"), "nothing is confirmed before its sync: {:?}", slow.heard);

    gate.set(false);
    slow.wait_for("last: 21 }");
    let confirms = slow.heard.iter().filter(|heard| heard.contains("Confirmed"));
    let confirms: Vec<&String> = confirms.collect();
    assert!(confirms[0].contains("first: 1,") && confirms.len() <= 3, "{confirms:?}");
    drop((slow, other));
    broker.close();
    broker.finish().unwrap();
}
