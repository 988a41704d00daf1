//! Scripts against a whole broker on a simulated disk, without sockets or threads: what sessions
//! ask for, and what they are told; and what there is to see.
//!
//! A line is `SESSION VERB ARGUMENTS`, or `sync` (the journal's writer does its work), `crash` (the
//! power fails and the broker starts again), `stop` (a clean stop and a start). Every line says
//! what the sessions were told by it; lines that say nothing are left out. `+` joins requests into
//! one batch. `wait MS` lets time pass, `rest` much of it, and `disk` says what lies there. `see WHAT`
//! says what there is (see `sights.rs`), `sample` takes a sample, `kick SESSION` ends its connection.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's own code")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use broker::connections::Introduction;
use broker::lease::{
    LeaseAnswer, LeaseEnd, LeaseError, LeaseReply, LeaseRequest, LeaseSettlement, LeaseSettlements,
    LeaseStatus, LeaseToken,
};
use broker::operation::*;
use broker::{
    Background, Batch, Broker, BrokerSettings, Closing, Disks, Event, FirstUser, LargeMessage,
    MessageHead, OpenError, Persistence, Reply, Session, Wake, WriterDrive,
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

    fn run_waiting(&self, task: Task) {
        self.soon.lock().unwrap().push(task);
    }

    fn run_at(&self, at: Monotonic, task: Task) {
        self.timed.lock().unwrap().push((at, task));
    }
}

/// What a broker is given.
#[derive(Clone, Copy)]
struct Means {
    memory_bytes: usize,
    journal_file_bytes: u64,
}

pub(crate) struct World {
    means: Means,
    pub(crate) disk: Arc<SimulatedDisk>,
    broker: Arc<Broker>,
    clock: Arc<ManualClock>,
    later: Arc<Later>,
    sessions: BTreeMap<String, Session>,
    /// The tokens that were handed out for a message, by its body.
    tokens: BTreeMap<String, Vec<LeaseToken>>,
}

pub(crate) fn name(text: &str) -> Name {
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

    fn erase_vhost(&self, _name: &Name) -> std::io::Result<()> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}

fn open(
    disk: &Arc<SimulatedDisk>,
    clock: &Arc<ManualClock>,
    later: &Arc<Later>,
    means: Means,
) -> Result<Arc<Broker>, OpenError> {
    let draws = std::sync::atomic::AtomicU64::new(1);
    let settings = BrokerSettings {
        disks: Arc::new(OneVhost(Arc::clone(disk))),
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
    fn new(means: Means) -> World {
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

    fn with(disk: SimulatedDisk, means: Means) -> World {
        let disk = Arc::new(disk);
        let clock = Arc::new(ManualClock::default());
        let later = Arc::new(Later::default());
        let broker = open(&disk, &clock, &later, means).unwrap();
        let (sessions, tokens) = (BTreeMap::new(), BTreeMap::new());
        World { means, disk, broker, clock, later, sessions, tokens }
    }

    pub(crate) fn run(&mut self, line: &str) -> Vec<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut seen = None;
        match words[..] {
            ["sync"] => {
                self.clock.advance_ms(100);
                while self.broker.step().unwrap() {}
            }
            ["rest"] => {
                for _ in 0..200 {
                    self.run("wait 50");
                    while self.broker.step().unwrap() {}
                }
            }
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
            ["sample"] => self.broker.sample(),
            ["see", ref what @ ..] => seen = Some(crate::sights::see(&self.broker, what)),
            ["kick", session] => {
                let connection = self.sessions[session].connection().unwrap();
                self.broker.close_connection(connection, "kicked");
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
        let told = self.told();
        seen.unwrap_or(told)
    }

    fn disk_use(&self) -> String {
        let files = self.disk.files();
        let bytes: usize = files.values().map(Vec::len).sum();
        let count = |kind: &str| files.keys().filter(|name| name.starts_with(kind)).count();
        let (journals, spares) = (count("journal"), count("spare"));
        let segments = count("segment");
        format!("{journals} journals, {spares} spares, {segments} segments, {} MiB", bytes >> 20)
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
                Some(end) => batch.push(settle_leases(&self.tokens, end, &words[1..])),
                None if matches!(words[0], "done" | "what" | "forget") => {
                    batch.push(crate::done::operation(&self.tokens, words[0], &words[1..]));
                }
                None => request(&mut batch, words[0], &words[1..]),
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
                    lease_text(answer, &mut self.tokens)
                } else {
                    text(event)
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

/// QUEUE MAX LEASE_MS [wait=MS]
fn lease(arguments: &[&str]) -> Operation {
    let number = |at: usize| arguments[at].parse().unwrap();
    let wait_ms = table(arguments).get("wait").and_then(Value::as_integer).unwrap_or(0);
    Operation::Lease(Box::new(LeaseRequest {
        ticket: 0,
        queue: name(arguments[0]),
        messages_max: number(1),
        lease_ms: number(2).into(),
        wait_ms: wait_ms.try_into().unwrap(),
    }))
}

/// BODY[@N]… [for=MS] [delay=MS] [result=JSON] [progress=JSON] [error=CLASS]: the last token handed out for the message, or the Nth.
fn settle_leases(
    tokens: &BTreeMap<String, Vec<LeaseToken>>,
    end: &str,
    arguments: &[&str],
) -> Operation {
    let options = table(arguments);
    let delay_ms = options.get("delay").and_then(Value::as_integer).unwrap_or(0);
    let delay_ms = delay_ms.try_into().unwrap();
    let told = |what: &str| {
        let text = options.get(what).map(|value| match value.as_text() {
            Some(text) => text.into(),
            None => value.as_integer().unwrap().to_string().into(),
        });
        text.map(|text: Box<str>| Arc::<str>::from(text))
    };
    let error = told("error").map(|kind: Arc<str>| {
        Arc::new(LeaseError { kind: (&*kind).into(), message: "it broke".into() })
    });
    let end = match end {
        "ack" => LeaseEnd::Acknowledged { result: told("result") },
        "fail" => LeaseEnd::Failed { error, delay_ms },
        "reject" => LeaseEnd::Rejected(error),
        "release" => LeaseEnd::Released { delay_ms },
        "extend" => LeaseEnd::Extended {
            lease_ms: options.get("for").and_then(Value::as_integer).unwrap().try_into().unwrap(),
            progress: told("progress").map(|text| (&*text).into()),
        },
        _ => panic!("{end}"),
    };
    let items = arguments.iter().filter(|word| !word.contains('=')).map(|word| {
        let (body, at) = word.split_once('@').unwrap_or((word, ""));
        let handed_out = &tokens[body];
        let at = at.parse().unwrap_or(handed_out.len());
        LeaseSettlement { token: handed_out[at - 1], end: end.clone() }
    });
    Operation::SettleLeases(Box::new(LeaseSettlements { ticket: 0, items: items.collect() }))
}

/// Leased messages by their bodies: `'` marks those delivered before, a number which attempt it is.
fn lease_text(answer: &LeaseAnswer, tokens: &mut BTreeMap<String, Vec<LeaseToken>>) -> String {
    let words: Vec<String> = match &answer.outcome {
        Err(refusal) => vec![format!("refused {refusal:?}")],
        Ok(LeaseReply::Settled(statuses)) => (statuses.iter())
            .map(|status| match status {
                LeaseStatus::Done { .. } => "done".to_owned(),
                LeaseStatus::Gone => "gone".to_owned(),
                LeaseStatus::Lost => "lost".to_owned(),
            })
            .collect(),
        Ok(LeaseReply::Leased(runs)) => {
            let mut words = vec!["leased".to_owned()];
            for (run, offset) in runs.iter().flat_map(|run| (0..run.count).map(move |at| (run, at)))
            {
                let message = run.chunk.message(run.first + offset).unwrap();
                let body = String::from_utf8_lossy(message.body).into_owned();
                let mark = if run.redelivered { "'" } else { "" };
                let attempt = match run.attempt() {
                    1 => String::new(),
                    attempt => attempt.to_string(),
                };
                words.push(format!("{body}{mark}{attempt}"));
                tokens.entry(body).or_default().push(run.token(offset));
            }
            words
        }
    };
    words.join(" ")
}

fn request(batch: &mut Batch, verb: &str, arguments: &[&str]) {
    let (channel, answer) = (CHANNEL, Answer::Wanted);
    let number = |at: usize| arguments[at].parse::<u64>().unwrap();
    let has = |flag: &str| arguments.contains(&flag);
    let operation = match verb {
        "publish" => return publish(batch, arguments),
        "flood" => {
            let (body, count) = ("x".repeat(64 << 10), number(1));
            let mut words = vec!["-", arguments[0]];
            words.extend((0..count).map(|_| body.as_str()));
            return publish(batch, &words);
        }
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
        "lease" => lease(arguments),
        "prefetch" => {
            let scope =
                if has("global") { PrefetchScope::Channel } else { PrefetchScope::Consumer };
            Operation::SetPrefetch { channel, count: number(0).try_into().unwrap(), scope }
        }
        "ack" | "ack-up-to" | "requeue" | "reject" | "fail" => settle(verb, number(0)),
        "introduce" => Operation::Introduce(SessionTraits {
            cancel_notify: CancelNotify::Heard,
            ..SessionTraits::default()
        }),
        "recover" => Operation::Recover { channel, answer },
        "open" => Operation::OpenChannel { channel },
        "close" => Operation::CloseChannel { channel, answer },
        _ => panic!("{verb}"),
    };
    batch.push(operation);
}

/// The words NAME=VALUE as a table; numbers are numbers, `true` is a flag, `-` the empty text.
pub(crate) fn table(arguments: &[&str]) -> Table {
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
        Event::LeaseAnswer(answer) => format!("{answer:?}"),
        Event::Taken { .. } => format!("{event:?}"),
        Event::RemovalAnswer(answer) => crate::removals::text(answer),
        Event::DoneAnswer(answer) => crate::done::text(answer),
        Event::Closing(Closing::Forced(why)) => format!("closing: {why}"),
        Event::Closing(_) => "closing".to_owned(),
        Event::Ended => "ended".to_owned(),
    }
}

/// Enough for all messages of a script, and so little that each moves to the disk at once.
const MEMORIES_BYTES: [usize; 2] = [1 << 20, 64];

/// Runs a script, wherever messages lie; `expected` has a line `LINE -> WHAT` for every line that says something.
pub(crate) fn check(script: &str) {
    for memory_bytes in MEMORIES_BYTES {
        check_with(memory_bytes, script, Silence::Meant);
    }
}

fn check_with(memory_bytes: usize, script: &str, silence: Silence) {
    check_within(Means { memory_bytes, journal_file_bytes: 64 << 10 }, script, silence);
}

/// As [`check`], with so little memory that messages move to the disk at once.
pub(crate) fn check_sealed(script: &str) {
    check_with(MEMORIES_BYTES[1], script, Silence::Meant);
}

/// As [`check`], with as much of everything as there usually is.
pub(crate) fn check_with_plenty(script: &str) {
    let plenty = Means { memory_bytes: 256 << 20, journal_file_bytes: 16 << 20 };
    check_within(plenty, script, Silence::Meant);
}

/// As [`check`], but what is told by lines without `->` does not matter.
pub(crate) fn check_what_matters(script: &str) {
    for memory_bytes in MEMORIES_BYTES {
        check_with(memory_bytes, script, Silence::Indifference);
    }
}

/// What it means that a line says nothing of what is told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Silence {
    Meant,
    Indifference,
}

fn check_within(means: Means, script: &str, silence: Silence) {
    let Means { memory_bytes, .. } = means;
    let mut world = World::new(means);
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (command, expected) = line.split_once("->").unwrap_or((line, ""));
        let expected: Vec<&str> =
            expected.split(';').map(str::trim).filter(|word| !word.is_empty()).collect();
        let told = world.run(command.trim());
        if silence == Silence::Indifference && !line.contains("->") {
            continue;
        }
        let (told, expected) = (apart(told.iter().map(String::as_str)), apart(expected));
        assert_eq!(told, expected, "with {memory_bytes} bytes of memory, at `{line}` of\n{script}");
    }
}

/// Deliveries one by one: how many come together depends on where the messages lay.
fn apart<'l>(lines: impl IntoIterator<Item = &'l str>) -> Vec<String> {
    let mut all = Vec::new();
    for line in lines {
        let mut words = line.split(' ');
        let (who, delivery) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        match delivery.split_once('#').and_then(|(tag, first)| Some((tag, first.parse().ok()?))) {
            Some((tag, first)) if who.ends_with(':') && !tag.starts_with("got") => {
                let numbered = (first..).zip(words);
                all.extend(
                    numbered.map(|(number, word): (u64, _)| format!("{who} {tag}#{number} {word}")),
                );
            }
            _other => all.push(line.to_owned()),
        }
    }
    all
}
