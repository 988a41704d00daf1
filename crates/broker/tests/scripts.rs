//! Scripts against a whole broker on a simulated disk, without sockets or threads: what sessions
//! ask for, and what they are told.
//!
//! A line is `SESSION VERB ARGUMENTS`, or `sync` (the journal's writer does its work), `crash` (the
//! power fails and the broker starts again), `stop` (a clean stop and a start). Every line says
//! what the sessions were told by it; lines that say nothing are left out. `+` joins requests into
//! one batch.

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
use domain::table::{Table, Value};
use stdx::clock::{Clock as _, ManualClock, Monotonic};
use storage::SyncMode;
use storage::disk::{Disk, SimulatedDisk};

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

    fn run_at(&self, at: Monotonic, task: Task) {
        self.timed.lock().unwrap().push((at, task));
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
            ["wait", ms] => self.clock.advance_ms(ms.parse().unwrap()),
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
            let tasks = self.later.take(self.clock.monotonic());
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
        let mut words = vec![verb];
        words.extend(arguments);
        for words in words.split(|word| *word == "+") {
            request(&mut batch, words[0], &words[1..]);
        }
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

fn settle(verb: &str, tag: u64) -> Operation {
    let (tags, outcome) = match verb {
        "ack" => (Tags::One(tag), Outcome::Acknowledged),
        "ack-up-to" => (Tags::UpTo(tag), Outcome::Acknowledged),
        "requeue" => (Tags::One(tag), Outcome::Requeued),
        "reject" => (Tags::One(tag), Outcome::Rejected),
        "fail" => (Tags::One(tag), Outcome::Failed),
        _ => panic!("{verb}"),
    };
    Operation::Settle { channel: CHANNEL, tags, outcome, verb: Verb::Ack }
}

fn request(batch: &mut Batch, verb: &str, arguments: &[&str]) {
    let (channel, answer) = (CHANNEL, Answer::Wanted);
    let number = |at: usize| arguments[at].parse::<u64>().unwrap();
    let has = |flag: &str| arguments.contains(&flag);
    let operation = match verb {
        "publish" => return publish(batch, arguments),
        "tx" => Operation::SelectTransactions { channel },
        "commit" => Operation::Commit { channel },
        "rollback" => Operation::Rollback { channel },
        "confirms" => Operation::SelectConfirms { channel, answer },
        "queue" => declare_queue(arguments),
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
                arguments: table(arguments),
            };
            Operation::Consume { channel, consume: Box::new(consume), answer }
        }
        "replies" => replies(arguments),
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
        "ack" | "ack-up-to" | "requeue" | "reject" | "fail" => settle(verb, number(0)),
        "introduce" => Operation::Introduce(SessionTraits { cancel_notify: CancelNotify::Heard }),
        "recover" => Operation::Recover { channel, answer },
        "open" => Operation::OpenChannel { channel },
        "close" => Operation::CloseChannel { channel, answer },
        _ => panic!("{verb}"),
    };
    batch.push(operation);
}

/// The words NAME=VALUE as a table; numbers are numbers, `true` is a flag, `-` the empty text.
fn table(arguments: &[&str]) -> Table {
    let mut table = Table::default();
    for (name, value) in arguments.iter().filter_map(|word| word.split_once('=')) {
        let value = match (value.parse::<i64>(), value) {
            (Ok(number), _) => Value::I64(number),
            (_, "true") => Value::Bool(true),
            (_, "-") => Value::text(""),
            (_, text) => Value::text(text),
        };
        table.push(name, value);
    }
    table
}

/// QUEUE [durable] [exclusive] [auto] [passive] [NAME=VALUE…]
fn declare_queue(arguments: &[&str]) -> Operation {
    let has = |flag: &str| arguments.contains(&flag);
    let declaration = QueueDeclaration {
        durable: has("durable"),
        exclusive: has("exclusive"),
        auto_delete: has("auto"),
        arguments: table(arguments),
    };
    let declare = if has("passive") { Declare::Passive } else { Declare::Active };
    let (queue, declaration) = (name(arguments[0]), Box::new(declaration));
    let (channel, answer) = (CHANNEL, Answer::Wanted);
    Operation::DeclareQueue { channel, queue, declare, declaration, answer }
}

/// TAG ADDRESS [ack]
fn replies(arguments: &[&str]) -> Operation {
    let acknowledgement = if arguments.contains(&"ack") {
        Acknowledgement::Manual
    } else {
        Acknowledgement::Automatic
    };
    let (consumer_tag, address) = (name(arguments[0]), name(arguments[1]));
    let (channel, answer) = (CHANNEL, Answer::Wanted);
    Operation::ConsumeReplies { channel, consumer_tag, address, acknowledgement, answer }
}

/// EXCHANGE KEY[,ALSO…] BODY… [transient] [mandatory] [ttl=MS] [priority=N]
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
    let options = table(arguments);
    let option = |name: &str| options.get(name).and_then(Value::as_integer);
    let bodies = arguments[2..].iter().filter(|word| !flags.contains(word) && !word.contains('='));
    for body in bodies {
        let head = MessageHead {
            persistence,
            exchange: exchange.as_str(),
            routing_key: key.as_bytes(),
            priority: option("priority").map(|priority| priority.try_into().unwrap()),
            expiration_ms: option("ttl").map(|ms| ms.try_into().unwrap()),
            ..MessageHead::default()
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
            let counts = run.counts.map_or(String::new(), |counts| {
                format!(" ({} failures of {})", counts.failures, counts.acquisitions)
            });
            format!("{}#{} {}{counts}", run.consumer_tag, run.first_tag, bodies.join(" "))
        }
        Event::Got { tag, redelivered, remaining, chunk, index, .. } => {
            let mark = if *redelivered { "'" } else { "" };
            format!("got#{tag} {}{mark}, {remaining} left", body(chunk, *index))
        }
        Event::GotNothing { .. } => "nothing".to_owned(),
        Event::Confirmed { first, last, .. } => format!("confirmed {first}-{last}"),
        Event::Nacked { first, .. } => format!("nacked {first}"),
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

#[test]
fn messages_go_unread_when_they_are_due() {
    check(
        "a queue q durable x-message-ttl=100
         sync -> a: q has 0, 0 consumers
         a publish - q one
         a publish - q two ttl=30
         a publish - q three ttl=900
         wait 29
         a queue q passive -> a: q has 3, 0 consumers
         wait 1
         a queue q passive -> a: q has 2, 0 consumers
         a get q -> a: got#1 one, 1 left
         wait 90
         a queue q passive -> a: q has 0, 0 consumers
         a requeue 1
         a get q -> a: nothing",
    );
    check(
        "a queue q -> a: q has 0, 0 consumers
         a publish - q none ttl=0
         a get q -> a: nothing",
    );
    check(
        "a queue q -> a: q has 0, 0 consumers
         a publish - q none ttl=0 + get q -> a: nothing",
    );
    check(
        "a queue q -> a: q has 0, 0 consumers
         a publish - q late ttl=50
         a get q -> a: got#1 late, 0 left
         b consume q c -> b: Consuming
         wait 60
         a requeue 1 + publish - q at-once ttl=0 -> b: c#1 at-once",
    );
    check(
        "a queue q -> a: q has 0, 0 consumers
         a consume q c no-ack -> a: Consuming
         a publish - q at-once ttl=0 -> a: c#1 at-once",
    );
}

#[test]
fn deadlines_outlive_the_process() {
    check(
        "a queue q durable
         sync -> a: q has 0, 0 consumers
         a publish - q short ttl=1000
         a publish - q long ttl=5000
         a publish - q for-ever
         sync
         wait 900
         crash
         a queue q passive -> a: q has 2, 0 consumers
         wait 4000
         a queue q passive -> a: q has 1, 0 consumers",
    );
}

#[test]
fn a_queue_too_long_drops_its_front_or_refuses() {
    check(
        "a queue q x-max-length=2 -> a: q has 0, 0 consumers
         a publish - q a b c d
         a get q -> a: got#1 c, 1 left
         a publish - q e
         a requeue 1
         a get q -> a: got#2 d, 1 left",
    );
    check(
        "a queue q x-max-length=2 x-overflow=reject-publish -> a: q has 0, 0 consumers
         a confirms -> a: ConfirmsSelected
         a publish - q a b c d -> a: nacked 3; a: nacked 4; a: confirmed 1-2
         a queue q passive -> a: q has 2, 0 consumers",
    );
    check(
        "a queue q x-max-length-bytes=5 -> a: q has 0, 0 consumers
         a publish - q aa bb cc
         a get q -> a: got#1 bb, 1 left
         a publish - q toolong
         a get q -> a: nothing",
    );
    // Who can take a message at once has it before it is too many.
    check(
        "a queue q x-max-length=0 -> a: q has 0, 0 consumers
         a prefetch 1 -> a: PrefetchSet
         a consume q c -> a: Consuming
         a publish - q a b -> a: c#1 a
         a ack 1",
    );
}

#[test]
fn dead_letters_go_where_they_belong_in_one_step() {
    check(
        "a queue dead durable
         a queue q durable x-dead-letter-exchange=- x-dead-letter-routing-key=dead
         sync -> a: dead has 0, 0 consumers; a: q has 0, 0 consumers
         a publish - q one two
         sync
         a get q -> a: got#1 one, 1 left
         a reject 1
         a queue dead passive -> a: dead has 1, 0 consumers
         sync
         crash
         a get dead -> a: got#1 one, 0 left
         a get q -> a: got#2 two, 0 left",
    );
    check(
        "a queue b x-max-length=1 -> a: b has 0, 0 consumers
         a queue q x-message-ttl=10 x-dead-letter-exchange=- x-dead-letter-routing-key=b -> a: q has 0, 0 consumers
         a publish - q one two
         wait 10
         a get b -> a: got#1 two, 0 left",
    );
    // Nobody rejected it: it would go round for ever.
    check(
        "a queue q x-message-ttl=10 x-dead-letter-exchange=- -> a: q has 0, 0 consumers
         a publish - q one
         wait 10
         a queue q passive -> a: q has 0, 0 consumers",
    );
}

#[test]
fn priorities_and_single_active_consumers() {
    check(
        "a queue q x-max-priority=5 -> a: q has 0, 0 consumers
         a publish - q low
         a publish - q high priority=9
         a publish - q middle priority=3
         a get q -> a: got#1 high, 2 left
         a requeue 1
         a get q -> a: got#2 high', 2 left
         a get q -> a: got#3 middle, 1 left",
    );
    check(
        "a queue q x-single-active-consumer=true -> a: q has 0, 0 consumers
         a consume q first -> a: Consuming
         b consume q second x-priority=9 -> b: Consuming
         a publish - q one two -> a: first#1 one two
         a cancel first -> a: Cancelled
         a publish - q three -> b: second#1 three
         a close -> a: ChannelClosed; b: second#2 one' two'",
    );
    check(
        "a queue q -> a: q has 0, 0 consumers
         a consume q low x-priority=-1 -> a: Consuming
         b prefetch 1 -> b: PrefetchSet
         b consume q high x-priority=10 -> b: Consuming
         a publish - q one two -> a: low#1 two; b: high#1 one
         b ack 1
         a publish - q three -> b: high#2 three",
    );
}

#[test]
fn a_quorum_queue_counts_failures_and_gives_up() {
    check(
        "a queue dead durable
         a queue q durable x-queue-type=quorum x-delivery-limit=1 x-dead-letter-exchange=- x-dead-letter-routing-key=dead
         sync -> a: dead has 0, 0 consumers; a: q has 0, 0 consumers
         a consume q c -> a: Consuming
         a publish - q one transient -> a: c#1 one
         sync
         a requeue 1 -> a: c#2 one' (0 failures of 1)
         a fail 2 -> a: c#3 one' (1 failures of 2)
         sync
         crash
         a consume q c -> a: Consuming; a: c#1 one' (1 failures of 2)
         a fail 1
         a get dead -> a: got#2 one, 0 left",
    );
    check("a queue q x-queue-type=quorum -> a: refused InvalidProperty");
}

#[test]
fn unused_queues_and_slow_consumers_lose_their_place() {
    check(
        "a queue q x-expires=100 -> a: q has 0, 0 consumers
         a consume q c -> a: Consuming
         wait 500
         a cancel c -> a: Cancelled
         wait 60
         a queue q x-expires=100 -> a: q has 0, 0 consumers
         wait 60
         a get q -> a: nothing
         wait 99
         a purge q -> a: QueuePurged
         wait 1
         a queue q passive -> a: refused NotFound",
    );
    check(
        "a queue q x-consumer-timeout=100 -> a: q has 0, 0 consumers
         a introduce
         a consume q c -> a: Consuming
         a publish - q one -> a: c#1 one
         wait 100 -> a: cancelled c
         a ack 1
         a get q -> a: got#2 one', 0 left
         a ack 2
         b consume q d -> b: Consuming
         a publish - q two -> b: d#1 two
         wait 100 -> b: refused ConsumerTimedOut
         a get q -> a: got#3 two', 0 left",
    );
}

#[test]
fn a_transaction_takes_effect_when_it_is_committed_and_is_safe_when_it_is_answered() {
    check(
        "a queue q durable
         a exchange x fanout
         a bind x q -
         sync -> a: q has 0, 0 consumers; a: ExchangeDeclared; a: QueueBound
         a publish - q 1 2 3
         sync
         a tx -> a: TransactionsSelected
         a get q -> a: got#1 1, 2 left
         a get q -> a: got#2 2, 1 left
         a ack 1
         a requeue 2
         a publish - q 4 a-large-message
         a publish x k 5
         a publish - nowhere 6 mandatory
         a publish - nowhere,q 7
         b queue q passive -> b: q has 1, 0 consumers
         a commit
         b consume q c -> b: Consuming; b: c#1 2'; b: c#2 3; b: c#3 4; \
                          b: c#4 a-large-message; b: c#5 5; b: c#6 7
         sync -> a: returned 6; a: Committed
         crash
         b get q -> b: got#1 2', 5 left",
    );
}

#[test]
fn a_crash_keeps_all_of_a_transaction_or_nothing() {
    for (end, left) in [
        ("commit", "b: got#1 1', 1 left"),
        (
            "commit
         sync -> a: Committed",
            "b: got#1 2', 1 left",
        ),
    ] {
        check(&format!(
            "a queue q durable
             sync -> a: q has 0, 0 consumers
             a publish - q 1 2
             sync
             a tx -> a: TransactionsSelected
             a get q -> a: got#1 1, 1 left
             a get q -> a: got#2 2, 0 left
             sync
             a ack 1
             a publish - q 3
             a {end}
             crash
             b get q -> {left}"
        ));
    }
}

#[test]
fn a_rollback_forgets_publishes_and_makes_deliveries_outstanding_again() {
    check(
        "a queue q -> a: q has 0, 0 consumers
         a publish - q 1 2 3 4 5
         a tx -> a: TransactionsSelected
         a prefetch 4 -> a: PrefetchSet
         a consume q c -> a: Consuming; a: c#1 1 2 3 4
         a ack 2
         a ack 2 -> a: refused UnknownDeliveryTag
         a close -> a: ChannelClosed
         a open -> a: ChannelOpened
         a tx -> a: TransactionsSelected
         a tx -> a: TransactionsSelected
         a prefetch 4 -> a: PrefetchSet
         a consume q c -> a: Consuming; a: c#1 1' 2'; a: c#3 3' 4'
         a ack 2
         a reject 3
         a publish - q 6
         a rollback -> a: RolledBack
         a queue q passive -> a: q has 1, 1 consumers
         a ack-up-to 3
         a commit -> a: Committed; a: c#5 5
         a commit -> a: Committed
         a requeue 4
         a ack 5
         a publish - q 7
         a leave
         b get q -> b: got#1 4', 1 left
         b get q -> b: got#2 5', 0 left",
    );
}

#[test]
fn where_a_message_goes_is_decided_when_it_is_published_but_queues_are_named_at_the_commit() {
    check(
        "a queue q -> a: q has 0, 0 consumers
         a exchange x direct -> a: ExchangeDeclared
         a bind x q k -> a: QueueBound
         a tx -> a: TransactionsSelected
         a publish x k 1
         a publish x l 2
         a publish - late 3
         a unbind x q k -> a: QueueUnbound
         a bind x q l -> a: QueueBound
         a queue late -> a: late has 0, 0 consumers
         a commit -> a: Committed
         a get q -> a: got#1 1, 0 left
         a get late -> a: got#2 3, 0 left
         a publish x l 4 mandatory
         a publish - late 5 mandatory
         a delete q -> a: QueueDeleted
         a delete late -> a: QueueDeleted
         a commit -> a: returned 4; a: returned 5; a: Committed
         a publish missing k 6 -> a: refused NotFound",
    );
}

#[test]
fn transactions_and_confirms_exclude_each_other() {
    check(
        "a commit -> a: refused NotTransactional
         a close -> a: ChannelClosed
         a open -> a: ChannelOpened
         a rollback -> a: refused NotTransactional
         a close -> a: ChannelClosed
         a open -> a: ChannelOpened
         a confirms -> a: ConfirmsSelected
         a tx -> a: refused Confirming
         a close -> a: ChannelClosed
         a open -> a: ChannelOpened
         a tx -> a: TransactionsSelected
         a confirms -> a: refused Transactional",
    );
}

#[test]
fn a_direct_reply_goes_to_whoever_has_that_address_and_nowhere_else() {
    check(
        "a replies r amq.rabbitmq.reply-to.1 -> a: Consuming
         b queue amq.rabbitmq.reply-to passive -> b: amq.rabbitmq.reply-to has 0, 1 consumers
         b queue amq.rabbitmq.reply-to.1 -> b: amq.rabbitmq.reply-to.1 has 0, 1 consumers
         b confirms -> b: ConfirmsSelected
         b publish - amq.rabbitmq.reply-to.1 1 mandatory -> a: r#1 1; b: confirmed 1-1
         b publish - amq.rabbitmq.reply-to.1 2 3 a-large-reply -> \
           a: r#2 2 3; a: r#4 a-large-reply; b: confirmed 2-4
         b publish amq.fanout amq.rabbitmq.reply-to.1 4 -> b: confirmed 5-5
         b publish - amq.rabbitmq.reply-to 5 mandatory -> b: returned 5; b: confirmed 6-6
         b queue q -> b: q has 0, 0 consumers
         b publish - q,amq.rabbitmq.reply-to.1 6 -> a: r#5 6; b: confirmed 7-7
         b publish - amq.rabbitmq.reply-to.1,amq.rabbitmq.reply-to.1 7 -> a: r#6 7; b: confirmed 8-8
         b get q -> b: got#1 6, 0 left
         a cancel r -> a: Cancelled
         b publish - amq.rabbitmq.reply-to.1 8 mandatory -> b: returned 8; b: confirmed 9-9
         a replies r amq.rabbitmq.reply-to.2 -> a: Consuming
         b publish - amq.rabbitmq.reply-to.1 9 -> b: confirmed 10-10
         a close -> a: ChannelClosed
         a open -> a: ChannelOpened
         b publish - amq.rabbitmq.reply-to.2 10 -> b: confirmed 11-11
         b queue amq.rabbitmq.reply-to.2 passive -> b: refused NotFound",
    );
}

#[test]
fn a_reply_of_a_transaction_goes_at_the_commit() {
    check(
        "a replies r amq.rabbitmq.reply-to.1 -> a: Consuming
         b tx -> b: TransactionsSelected
         b publish - amq.rabbitmq.reply-to.1 1
         b rollback -> b: RolledBack
         b publish - amq.rabbitmq.reply-to.1 2
         b commit -> a: r#1 2; b: Committed",
    );
}

#[test]
fn a_channel_consumes_replies_once_and_acknowledges_none() {
    check(
        "a replies r amq.rabbitmq.reply-to.1 ack -> a: refused RepliesAcknowledged
         a close -> a: ChannelClosed
         a open -> a: ChannelOpened
         a queue q -> a: q has 0, 0 consumers
         a consume q c -> a: Consuming
         a replies c amq.rabbitmq.reply-to.2 -> a: refused ConsumerTagTaken
         b publish - amq.rabbitmq.reply-to.2 1 mandatory -> b: returned 1
         a close -> a: ChannelClosed
         a open -> a: ChannelOpened
         a replies r amq.rabbitmq.reply-to.3 -> a: Consuming
         a replies s amq.rabbitmq.reply-to.4 -> a: refused RepliesConsumed
         b publish - amq.rabbitmq.reply-to.3 2 mandatory -> b: returned 2
         b publish - amq.rabbitmq.reply-to.4 3 mandatory -> b: returned 3",
    );
}

#[test]
fn a_full_queue_refuses_some_of_a_transaction_and_the_rest_is_done() {
    check(
        "a queue full durable x-max-length=1 x-overflow=reject-publish
         a queue q durable
         sync -> a: full has 0, 0 consumers; a: q has 0, 0 consumers
         a publish - q 1
         a tx -> a: TransactionsSelected
         a get q -> a: got#1 1, 0 left
         a ack 1
         a publish - full 2 3
         a publish - q 4
         a commit
         sync -> a: refused PartialTransaction
         a close -> a: ChannelClosed
         a open -> a: ChannelOpened
         a get full -> a: got#1 2, 0 left
         a get q -> a: got#2 4, 0 left",
    );
}
