//! Scripts against a whole broker on a simulated disk, without sockets or threads: what sessions
//! ask for, and what they are told.
//!
//! A line is `SESSION VERB ARGUMENTS`, or `sync` (the journal's writer does its work), `crash` (the
//! power fails and the broker starts again), `stop` (a clean stop and a start). Every line says
//! what the sessions were told by it; lines that say nothing are left out.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's own code")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use broker::operation::*;
use broker::{
    Background, Batch, Broker, BrokerSettings, Disks, Event, FirstUser, LargeMessage, MessageHead,
    Persistence, Reply, Session, Wake, WriterDrive,
};
use domain::binding::BindingArguments;
use domain::exchange::{ExchangeSettings, ExchangeType};
use domain::name::Name;
use domain::queue::QueueDeclaration;
use domain::table::Table;
use stdx::clock::ManualClock;
use storage::SyncMode;
use storage::disk::{Disk, SimulatedDisk};

#[derive(Debug)]
struct Silent;

impl Wake for Silent {
    fn wake(&self) {}
}

#[derive(Default)]
struct Later(Mutex<Vec<Box<dyn FnOnce() + Send>>>);

impl std::fmt::Debug for Later {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Later")
    }
}

impl Background for Later {
    fn run(&self, task: Box<dyn FnOnce() + Send>) {
        self.0.lock().unwrap().push(task);
    }
}

struct World {
    disk: Arc<SimulatedDisk>,
    broker: Arc<Broker>,
    clock: Arc<ManualClock>,
    later: Arc<Later>,
    sessions: BTreeMap<String, Session>,
}

fn name(text: &str) -> Name {
    Name::new(if text == "-" { "" } else { text }).unwrap()
}

/// The disk of the one virtual host; the catalogue begins anew with each start.
#[derive(Debug)]
struct OneVhost(Arc<SimulatedDisk>);

impl Disks for OneVhost {
    fn catalogue(&self) -> std::io::Result<Arc<dyn Disk>> {
        Ok(Arc::new(SimulatedDisk::new()))
    }

    fn vhost(&self, _name: &Name) -> std::io::Result<Arc<dyn Disk>> {
        Ok(Arc::clone(&self.0) as _)
    }
}

fn open(disk: &Arc<SimulatedDisk>, clock: &Arc<ManualClock>, later: &Arc<Later>) -> Arc<Broker> {
    let draws = std::sync::atomic::AtomicU64::new(1);
    let settings = BrokerSettings {
        disks: Arc::new(OneVhost(Arc::clone(disk))),
        first_user: FirstUser::guest(None),
        sync: SyncMode::Always,
        journal_file_bytes: Some(64 << 10),
        checkpoint_bytes: None,
        clock: Arc::clone(clock) as _,
        entropy: Arc::new(move || draws.fetch_add(1, std::sync::atomic::Ordering::Relaxed)),
        background: Arc::clone(later) as _,
        drive: WriterDrive::ByHand,
    };
    Broker::open(settings).unwrap().0
}

impl World {
    fn new() -> World {
        let disk = Arc::new(SimulatedDisk::new());
        let clock = Arc::new(ManualClock::default());
        let later = Arc::new(Later::default());
        let broker = open(&disk, &clock, &later);
        World { disk, broker, clock, later, sessions: BTreeMap::new() }
    }

    fn run(&mut self, line: &str) -> Vec<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["sync"] => {
                self.clock.advance_ms(100);
                while self.broker.step().unwrap() {}
            }
            ["crash"] => {
                // The old broker's sessions must not be heard of again: they go with its disk.
                self.sessions.clear();
                self.disk = Arc::new(self.disk.crash(7));
                self.broker = open(&self.disk, &self.clock, &self.later);
            }
            ["stop"] => {
                self.broker.close();
                self.sessions.clear();
                self.broker.finish().unwrap();
                self.broker = open(&self.disk, &self.clock, &self.later);
            }
            [session, verb, ref arguments @ ..] => self.ask(session, verb, arguments),
            _ => panic!("{line}"),
        }
        loop {
            let tasks = std::mem::take(&mut *self.later.0.lock().unwrap());
            if tasks.is_empty() {
                break;
            }
            for task in tasks {
                task();
            }
        }
        self.told()
    }

    fn ask(&mut self, session: &str, verb: &str, arguments: &[&str]) {
        if verb == "leave" {
            self.sessions.remove(session);
            return;
        }
        let broker = &self.broker;
        let session = self.sessions.entry(session.to_owned()).or_insert_with(|| {
            let user = broker.authenticate_external("guest", [127, 0, 0, 1].into()).unwrap();
            let mut session = broker.connect(&user, "/", Arc::new(Silent)).unwrap();
            let mut batch = Batch::default();
            batch.push(Operation::OpenChannel { channel: 1 });
            session.submit(&mut batch);
            session.take(&mut Vec::new());
            session
        });
        let mut batch = Batch::default();
        request(&mut batch, verb, arguments);
        session.submit(&mut batch);
    }

    fn told(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        for (name, session) in &mut self.sessions {
            let mut events = Vec::new();
            session.take(&mut events);
            said.extend(events.iter().map(|event| format!("{name}: {}", text(event))));
            session.written(events.iter().map(Event::cost_bytes).sum());
        }
        said
    }
}

const CHANNEL: ChannelId = 1;
/// From here on a body is published as a large one.
const LARGE_BYTES_MIN: usize = 10;

fn request(batch: &mut Batch, verb: &str, arguments: &[&str]) {
    let (channel, answer) = (CHANNEL, Answer::Wanted);
    let number = |at: usize| arguments[at].parse::<u64>().unwrap();
    let has = |flag: &str| arguments.contains(&flag);
    let settle = |tags, outcome| Operation::Settle { channel, tags, outcome, verb: Verb::Ack };
    let operation = match verb {
        "publish" => return publish(batch, arguments),
        "confirms" => Operation::SelectConfirms { channel, answer },
        "queue" => {
            let declaration = QueueDeclaration {
                durable: has("durable"),
                exclusive: has("exclusive"),
                auto_delete: has("auto"),
                arguments: Table::default(),
            };
            let declare = if has("passive") { Declare::Passive } else { Declare::Active };
            let declaration = Box::new(declaration);
            Operation::DeclareQueue {
                channel,
                queue: name(arguments[0]),
                declare,
                declaration,
                answer,
            }
        }
        "exchange" => {
            let settings = ExchangeSettings {
                exchange_type: ExchangeType::parse(arguments[1]).unwrap(),
                durable: has("durable"),
                auto_delete: has("auto"),
                internal: false,
                arguments: Table::default(),
            };
            Operation::DeclareExchange {
                channel,
                exchange: name(arguments[0]),
                declare: Declare::Active,
                settings: Box::new(settings),
                answer,
            }
        }
        "bind" | "unbind" => Operation::Bind {
            channel,
            change: if verb == "bind" { BindingChange::Add } else { BindingChange::Remove },
            source: name(arguments[0]),
            destination: Destination::Queue(name(arguments[1])),
            routing_key: arguments[2].as_bytes().into(),
            arguments: BindingArguments::default(),
            answer,
        },
        "delete" => Operation::DeleteQueue {
            channel,
            queue: name(arguments[0]),
            only_if_unused: has("if-unused"),
            only_if_empty: has("if-empty"),
            answer,
        },
        "purge" => Operation::PurgeQueue { channel, queue: name(arguments[0]), answer },
        "consume" => {
            let consume = Consume {
                queue: name(arguments[0]),
                consumer_tag: name(arguments[1]),
                acknowledgement: if has("no-ack") {
                    Acknowledgement::Automatic
                } else {
                    Acknowledgement::Manual
                },
                sharing: if has("exclusive") { Sharing::Exclusive } else { Sharing::Shared },
                arguments: Table::default(),
            };
            Operation::Consume { channel, consume: Box::new(consume), answer }
        }
        "cancel" => Operation::Cancel { channel, consumer_tag: name(arguments[0]), answer },
        "get" => Operation::Get {
            channel,
            queue: name(arguments[0]),
            acknowledgement: Acknowledgement::Manual,
        },
        "prefetch" => {
            let scope =
                if has("global") { PrefetchScope::Channel } else { PrefetchScope::Consumer };
            Operation::SetPrefetch { channel, count: number(0).try_into().unwrap(), scope }
        }
        "ack" => settle(Tags::One(number(0)), Outcome::Acknowledged),
        "ack-up-to" => settle(Tags::UpTo(number(0)), Outcome::Acknowledged),
        "requeue" => settle(Tags::One(number(0)), Outcome::Requeued),
        "reject" => settle(Tags::One(number(0)), Outcome::Rejected),
        "recover" => Operation::Recover { channel, answer },
        "open" => Operation::OpenChannel { channel },
        "close" => Operation::CloseChannel { channel, answer },
        _ => panic!("{verb}"),
    };
    batch.push(operation);
}

/// EXCHANGE KEY[,ALSO…] BODY… [transient] [mandatory]
fn publish(batch: &mut Batch, arguments: &[&str]) {
    let flags = ["transient", "mandatory"];
    let exchange = name(arguments[0]);
    let persistence = if arguments.contains(&"transient") {
        Persistence::Transient
    } else {
        Persistence::Persistent
    };
    let unroutable =
        if arguments.contains(&"mandatory") { Unroutable::Returned } else { Unroutable::Dropped };
    let (key, also) = arguments[1].split_once(',').unwrap_or((arguments[1], ""));
    let also: FurtherKeys =
        also.split(',').filter(|key| !key.is_empty()).map(|key| key.as_bytes().into()).collect();
    for body in arguments[2..].iter().filter(|word| !flags.contains(word)) {
        let head = MessageHead {
            persistence,
            exchange: exchange.as_str(),
            routing_key: key.as_bytes(),
            properties: &[0, 0],
        };
        if body.len() < LARGE_BYTES_MIN {
            batch.publish_also(CHANNEL, unroutable, &head, body.as_bytes(), also.clone());
        } else {
            let bytes = body.len().try_into().unwrap();
            let mut large = LargeMessage::begin(&head, bytes).also(also.clone());
            large.body(body.as_bytes());
            batch.publish_large(CHANNEL, unroutable, large);
        }
    }
}

fn text(event: &Event) -> String {
    let body = |chunk: &broker::Chunk, index| {
        String::from_utf8_lossy(chunk.message(index).unwrap().body).into_owned()
    };
    match event {
        Event::Delivered(run) => {
            let mark = if run.redelivered { "'" } else { "" };
            let bodies: Vec<String> = (run.first..run.first + run.count)
                .map(|index| format!("{}{mark}", body(&run.chunk, index)))
                .collect();
            format!("{}#{} {}", run.consumer_tag, run.first_tag, bodies.join(" "))
        }
        Event::Got { tag, redelivered, remaining, chunk, index, .. } => {
            let mark = if *redelivered { "'" } else { "" };
            format!("got#{tag} {}{mark}, {remaining} left", body(chunk, *index))
        }
        Event::GotNothing { .. } => "nothing".to_owned(),
        Event::Confirmed { first, last, .. } => format!("confirmed {first}-{last}"),
        Event::Returned { chunk, index, .. } => format!("returned {}", body(chunk, *index)),
        Event::Reply { reply: Reply::QueueDeclared { queue, messages, consumers }, .. } => {
            let shown =
                if queue.as_str().starts_with("amq.gen-") { "generated" } else { queue.as_str() };
            format!("{shown} has {messages}, {consumers} consumers")
        }
        Event::Reply { reply, .. } => {
            format!("{reply:?}").split([' ', '{']).next().unwrap().to_owned()
        }
        Event::Refused { refusal, .. } => {
            format!("refused {}", format!("{refusal:?}").split([' ', '(', '{']).next().unwrap())
        }
        Event::ConsumerCancelled { consumer_tag, .. } => format!("cancelled {consumer_tag}"),
        Event::Closing(_) => "closing".to_owned(),
        Event::Ended => "ended".to_owned(),
    }
}

/// Runs a script; `expected` has a line `LINE -> WHAT` for every line that says something.
fn check(script: &str) {
    let mut world = World::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (command, expected) = line.split_once("->").unwrap_or((line, ""));
        let expected: Vec<&str> =
            expected.split(';').map(str::trim).filter(|word| !word.is_empty()).collect();
        assert_eq!(world.run(command.trim()), expected, "at `{line}` of\n{script}");
    }
}

#[test]
fn a_confirm_waits_for_the_sync_and_a_delivery_does_not() {
    check(
        "a queue q durable ->
         sync -> a: q has 0, 0 consumers
         a confirms -> a: ConfirmsSelected
         a consume q c -> a: Consuming
         a publish - q one two -> a: c#1 one two
         sync -> a: confirmed 1-2
         a ack-up-to 2
         a publish - q three transient -> a: c#3 three; a: confirmed 3-3",
    );
}

#[test]
fn a_queue_takes_one_copy_however_many_keys_lead_to_it() {
    check(
        "a queue q durable
         a queue r
         a exchange x topic
         a bind x q k.*
         a bind x r l.#
         sync -> a: q has 0, 0 consumers; a: r has 0, 0 consumers; a: ExchangeDeclared; \
                 a: QueueBound; a: QueueBound
         a confirms -> a: ConfirmsSelected
         a publish - nowhere,q,r,q one mandatory
         a publish x k.1,k.2,l.1 two
         a publish x k.1 three
         a publish x k.1,l large-enough
         a publish x m,n four mandatory -> a: returned four
         sync -> a: confirmed 1-5
         a get q -> a: got#1 one, 3 left
         a get q -> a: got#2 two, 2 left
         a get q -> a: got#3 three, 1 left
         a get q -> a: got#4 large-enough, 0 left
         a get r -> a: got#5 one, 2 left
         a get r -> a: got#6 two, 1 left
         a get r -> a: got#7 large-enough, 0 left
         a publish missing q,r five -> a: refused NotFound
         a close -> a: ChannelClosed
         sync
         crash
         b get q -> b: got#1 one', 3 left",
    );
}

#[test]
fn what_no_queue_takes_is_returned_before_it_is_confirmed() {
    check(
        "a confirms -> a: ConfirmsSelected
         a publish - nowhere one mandatory -> a: returned one; a: confirmed 1-1
         a publish - nowhere two -> a: confirmed 2-2
         a publish missing key three -> a: refused NotFound
         a publish - nowhere four
         a close -> a: ChannelClosed
         a open -> a: ChannelOpened",
    );
}

#[test]
fn a_confirm_that_needs_no_disk_never_overtakes_one_that_does() {
    check(
        "a queue q durable
         sync -> a: q has 0, 0 consumers
         a confirms -> a: ConfirmsSelected
         a publish - q kept
         a publish - nowhere dropped
         sync -> a: confirmed 1-2",
    );
}

#[test]
fn confirmed_messages_and_their_topology_survive_a_crash() {
    check(
        "a queue q durable
         a queue gone
         a exchange x topic durable
         a bind x q k.*
         sync -> a: q has 0, 0 consumers; a: gone has 0, 0 consumers; a: ExchangeDeclared; a: QueueBound
         a confirms -> a: ConfirmsSelected
         a publish x k.1 one two three
         a publish x k.2 fleeting transient
         sync -> a: confirmed 1-4
         a get q -> a: got#1 one, 3 left
         a ack 1
         a get q -> a: got#2 two, 2 left
         sync
         crash
         b queue q passive -> b: q has 2, 0 consumers
         b get q -> b: got#1 two', 1 left
         b get q -> b: got#2 three, 0 left
         b publish x k.3 four
         b get q -> b: got#3 four, 0 left
         b queue gone passive -> b: refused NotFound",
    );
}

#[test]
fn a_clean_stop_marks_exactly_what_was_delivered() {
    check(
        "a queue q durable
         sync -> a: q has 0, 0 consumers
         a publish - q one two three
         a prefetch 2 -> a: PrefetchSet
         a consume q c -> a: Consuming; a: c#1 one two
         a ack 1 -> a: c#3 three
         a requeue 3 -> a: c#4 three'
         stop
         b consume q c -> b: Consuming; b: c#1 two' three'",
    );
}

#[test]
fn requeued_messages_return_to_their_place_and_consumers_take_turns() {
    check(
        "a queue q -> a: q has 0, 0 consumers
         a publish - q 1 2 3 4
         a get q -> a: got#1 1, 3 left
         a get q -> a: got#2 2, 2 left
         a requeue 1
         a get q -> a: got#3 1', 2 left
         a requeue 3
         a requeue 2
         b prefetch 1 -> b: PrefetchSet
         b consume q b -> b: Consuming; b: b#1 1'
         c prefetch 2 -> c: PrefetchSet
         c consume q c -> c: Consuming; c: c#1 2'; c: c#2 3
         b ack 1 -> b: b#2 4
         a publish - q 5 6
         c ack-up-to 2 -> c: c#3 5 6
         c leave
         b ack 2 -> b: b#3 5'
         b cancel b -> b: Cancelled
         a queue q passive -> a: q has 1, 0 consumers
         b ack 3
         b ack 3 -> b: refused UnknownDeliveryTag",
    );
}

#[test]
fn what_belongs_to_a_session_goes_with_it() {
    check(
        "a queue mine exclusive -> a: mine has 0, 0 consumers
         a queue auto auto -> a: auto has 0, 0 consumers
         b consume mine c -> b: refused Locked
         b close -> b: ChannelClosed
         b open -> b: ChannelOpened
         b consume auto c -> b: Consuming
         a consume auto c -> a: Consuming
         b cancel c -> b: Cancelled
         a queue auto passive -> a: auto has 0, 1 consumers
         a leave
         b queue auto passive -> b: refused NotFound
         b close -> b: ChannelClosed
         b open -> b: ChannelOpened
         b queue mine passive -> b: refused NotFound",
    );
}

#[test]
fn deleting_a_queue_tells_its_consumers_and_their_late_acks_are_harmless() {
    check(
        "a queue q -> a: q has 0, 0 consumers
         a consume q c -> a: Consuming
         b publish - q 1 -> a: c#1 1
         a queue other -> a: other has 0, 0 consumers
         b delete q -> a: cancelled c; b: QueueDeleted
         a ack 1
         a queue - -> a: generated has 0, 0 consumers
         a consume - d exclusive -> a: Consuming
         a cancel d -> a: Cancelled
         a cancel d -> a: Cancelled
         b delete q -> b: QueueDeleted",
    );
}

#[test]
fn purged_and_deleted_stays_gone_after_a_crash() {
    check(
        "a queue q durable
         a queue r durable
         sync -> a: q has 0, 0 consumers; a: r has 0, 0 consumers
         a confirms -> a: ConfirmsSelected
         a publish - q 1 2
         a publish - r 3
         sync -> a: confirmed 1-3
         a get q -> a: got#1 1, 1 left
         a purge q
         a delete r
         sync -> a: QueuePurged; a: QueueDeleted
         crash
         b get q -> b: got#1 1', 0 left
         b queue r durable
         sync -> b: r has 0, 0 consumers",
    );
}
