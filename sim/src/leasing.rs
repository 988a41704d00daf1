//! A run about leases without a connection: clients come and go, lease, settle, extend and forget,
//! with right tokens and stale ones, beside others that get messages as AMQP has it; lives end as in
//! any run. A ledger knows who held what and when.

mod ledger;

use std::collections::BTreeMap;
use std::sync::Arc;

use broker::lease::{
    LeaseAnswer, LeaseEnd, LeaseReply, LeaseRequest, LeaseSettlement, LeaseSettlements,
};
use broker::operation::{
    Acknowledgement, Answer, Declare, Operation, Outcome as Settled, Tags, Unroutable, Verb,
};
use broker::{Batch, Event, MessageHead, Persistence, Session};
use domain::queue::QueueDeclaration;
use domain::table::{Table, Value};
use stdx::clock::Clock as _;
use storage::SyncMode;
use storage::disk::{Faults, SimulatedDisk};

use crate::checker::named;
use crate::process::{Process, Setup, Woken};
use crate::random::Random;
use crate::run::Outcome;
use crate::trace::{Lines, Trace};
use crate::violation::{Violation, broken, demand};
use ledger::Ledger;

/// Both durable. The second counts, and drops what fails too often.
const QUEUES: [&str; 2] = ["jobs", "strict"];
const CHANNEL: u16 = 1;
const CLIENTS_MAX: usize = 5;
const LEASE_MS: [u64; 5] = [1, 20, 100, 500, 3_000];
/// How long messages that are given back wait.
const DELAY_MS: [u64; 5] = [0, 0, 1, 100, 3_000];
const WAIT_MS: [u64; 4] = [0, 0, 10, 200];

/// In which time everything that anybody may have leased comes back.
const ALL_LEASES_MS: u64 = 4_000;

/// Background steps at one moment, and rounds until nothing is left to do.
const STEPS_MAX: u32 = 20_000;

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    PowerLoss,
    Kill,
    Stop,
}

/// What goes on from life to life.
struct Run {
    random: Random,
    disk: SimulatedDisk,
    ledger: Ledger,
    trace: Trace,
    /// What the wall shows, in milliseconds since the run began.
    now_ms: u64,
    next_ticket: u64,
}

/// One life.
struct Life {
    process: Process,
    clients: BTreeMap<u64, Client>,
    next_client: u64,
    poisoned: bool,
}

struct Client {
    session: Session,
    _woken: Arc<Woken>,
    published: Vec<u64>,
    /// What it got and has not settled, by tag.
    got: BTreeMap<u64, u64>,
    /// Gets that are not answered: they may wait for the disk, and what comes behind with them.
    getting: u32,
}

/// Makes the run of that seed.
pub fn run_leases(seed: u64, lines: Lines) -> Outcome {
    let mut run = Run {
        random: Random::new(seed ^ 0x6c65_6173_6573),
        disk: SimulatedDisk::new(),
        ledger: Ledger::default(),
        trace: Trace::new(lines),
        now_ms: 0,
        next_ticket: 1,
    };
    let count = run.random.between(2, 5);
    let in_life = (0..count).find_map(|_| run.life().err());
    let violation = in_life.or_else(|| run.drain().err());
    if let Some(violation) = &violation {
        run.trace.line(format!("VIOLATION {violation}"));
    }
    Outcome { seed, hash: run.trace.hash(), violation, lines: run.trace.into_lines() }
}

impl Run {
    fn life(&mut self) -> Result<(), Violation> {
        let ending =
            self.random.one_of([Ending::PowerLoss, Ending::PowerLoss, Ending::Kill, Ending::Stop]);
        let mut life = self.begin()?;
        let faults = if ending != Ending::Stop && self.random.chance(60) {
            let operations = self.disk.counts().operations + self.random.between(1, 400);
            Faults { power_out: Some(operations), ..Faults::default() }
        } else {
            Faults::default()
        };
        self.disk.set_faults(faults);
        let background_percent = self.random.one_of([5, 30, 80]);
        for _ in 0..self.random.between(40, 300) {
            self.act(&mut life)?;
            if self.random.chance(background_percent) {
                for _ in 0..self.random.one_of([1, 1, 3, 20]) {
                    life.process.run_background(self.random.next());
                }
            }
            self.see(&mut life)?;
            if life.poisoned {
                break;
            }
        }
        self.end(life, ending)
    }

    /// Starts a broker, and sees to it that the queues are there.
    fn begin(&mut self) -> Result<Life, Violation> {
        self.disk.set_faults(Faults::default());
        let setup = Setup {
            sync: SyncMode::Always,
            file_bytes: self.random.one_of([8 << 10, 32 << 10]),
            checkpoint_bytes: self.random.one_of([8 << 10, 64 << 10]),
            memory_bytes: self.random.one_of([16 << 10, 64 << 10, 2 << 20]),
            seed: self.random.next(),
            began_ms: self.now_ms,
        };
        self.trace.line(format!("a life begins at {}: {setup:?}", self.now_ms));
        let process = match Process::start(&self.disk, &setup) {
            Ok((process, recovered)) => {
                self.trace.line(format!("{recovered:?}"));
                process
            }
            Err(error) => return broken!(Starts, "{error}"),
        };
        let mut life = Life { process, clients: BTreeMap::new(), next_client: 0, poisoned: false };
        let client = self.connect(&mut life)?;
        let mut batch = Batch::default();
        for name in QUEUES {
            batch.push(declare(name));
        }
        life.submit(client, &mut batch);
        self.settle(&mut life)?;
        Ok(life)
    }

    fn connect(&mut self, life: &mut Life) -> Result<u64, Violation> {
        let Ok((session, woken)) = life.process.connect() else {
            return broken!(PoisonTold, "nobody is let in");
        };
        let client = Client {
            session,
            _woken: woken,
            published: Vec::new(),
            got: BTreeMap::new(),
            getting: 0,
        };
        life.next_client += 1;
        let key = life.next_client;
        self.trace.line(format!("client {key} comes"));
        life.clients.insert(key, client);
        let mut batch = Batch::default();
        batch.push(Operation::OpenChannel { channel: CHANNEL });
        batch.push(Operation::SelectConfirms { channel: CHANNEL, answer: Answer::Unwanted });
        life.submit(key, &mut batch);
        Ok(key)
    }

    fn act(&mut self, life: &mut Life) -> Result<(), Violation> {
        let clients: Vec<u64> = life.clients.keys().copied().collect();
        let Some(client) = self.random.pick(&clients).copied() else {
            return self.connect(life).map(drop);
        };
        match self.random.below(100) {
            0..16 => self.publish(life, client),
            // Whoever gets may have to wait for the disk, and what it asks next with it: it asks of
            // nothing that is judged by when it was asked.
            16..40 if is_getter(client) => self.get(life, client),
            16..68 if is_getter(client) => self.settle_got(life, client),
            16..36 => self.lease(life, client),
            36..68 => self.settle_some(life, client),
            68..82 => {
                let stepped = life.process.broker.step();
                self.trace.line(format!("the writer steps: {stepped:?}"));
            }
            82..91 => self.pass(life, &[1, 1, 5, 30, 150, 800]),
            91..94 if clients.len() < CLIENTS_MAX => self.connect(life).map(drop)?,
            91..97 => {
                self.trace.line(format!("client {client} is lost"));
                self.ledger.leaves(client);
                if let Some(client) = life.clients.remove(&client) {
                    let now = life.process.clock.wall_ms();
                    client.got.values().for_each(|id| self.ledger.amqp_ends(*id, now));
                }
            }
            _settle => self.settle(life)?,
        }
        Ok(())
    }

    fn pass(&mut self, life: &Life, several: &[u64]) {
        let ms = self.random.pick(several).copied().unwrap_or(0);
        self.trace.line(format!("{ms} ms pass"));
        life.process.clock.advance_ms(ms);
        self.now_ms += ms;
    }

    fn publish(&mut self, life: &mut Life, client: u64) {
        let queue = self.random.one_of(QUEUES);
        let mut batch = Batch::default();
        let mut ids = Vec::new();
        for _ in 0..self.random.one_of([1, 2, 5, 30]) {
            let bytes = self.random.one_of([10, 60, 60, 900]);
            let id = self.ledger.publish(queue, bytes);
            let head = MessageHead {
                persistence: Persistence::Persistent,
                routing_key: queue.as_bytes(),
                ..MessageHead::default()
            };
            batch.publish(CHANNEL, Unroutable::Dropped, &head, &self.ledger.body(id));
            ids.push(id);
        }
        self.trace.line(format!("client {client} publishes {ids:?} to {queue}"));
        if let Some(client) = life.clients.get_mut(&client) {
            client.published.extend(ids);
        }
        life.submit(client, &mut batch);
    }

    fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }

    fn lease(&mut self, life: &mut Life, client: u64) {
        let request = LeaseRequest {
            ticket: self.ticket(),
            queue: named(self.random.one_of(QUEUES)),
            messages_max: self.random.one_of([1, 2, 5, 40]),
            lease_ms: self.random.one_of(LEASE_MS),
            wait_ms: self.random.one_of(WAIT_MS),
        };
        self.ask_lease(life, client, request);
    }

    fn ask_lease(&mut self, life: &mut Life, client: u64, request: LeaseRequest) {
        self.trace.line(format!("client {client} asks {request:?}"));
        let now = life.process.clock.wall_ms();
        self.ledger.ask_lease(client, &request, now);
        let mut batch = Batch::default();
        batch.push(Operation::Lease(Box::new(request)));
        life.submit(client, &mut batch);
    }

    /// Ends or extends leases: some that are held, some that are over, some twice.
    fn settle_some(&mut self, life: &mut Life, client: u64) {
        let end = match self.random.below(10) {
            0..4 => LeaseEnd::Acknowledged { result: None },
            4 => LeaseEnd::Rejected(None),
            5 | 6 => LeaseEnd::Failed { error: None, delay_ms: self.random.one_of(DELAY_MS) },
            7 => LeaseEnd::Released { delay_ms: self.random.one_of(DELAY_MS) },
            _extend => {
                LeaseEnd::Extended { lease_ms: self.random.one_of(LEASE_MS), progress: None }
            }
        };
        let mut items = Vec::new();
        let first = self.ledger.pick_token(&mut self.random);
        let run = self.random.one_of([1, 1, 4, 20]);
        for offset in 0..run {
            let known = first.and_then(|first| self.ledger.token(first + offset));
            items.extend(known.map(|token| LeaseSettlement { token, end: end.clone() }));
        }
        if self.random.chance(10) {
            items.extend(items.first().cloned());
        }
        let ticket = self.ticket();
        self.ask_settle(life, client, LeaseSettlements { ticket, items });
    }

    fn ask_settle(&mut self, life: &mut Life, client: u64, settlements: LeaseSettlements) {
        self.trace.line(format!("client {client} asks {settlements:?}"));
        let now = life.process.clock.wall_ms();
        self.ledger.ask_settle(client, &settlements, now);
        let mut batch = Batch::default();
        batch.push(Operation::SettleLeases(Box::new(settlements)));
        life.submit(client, &mut batch);
    }

    fn get(&mut self, life: &mut Life, client: u64) {
        let queue = self.random.one_of(QUEUES);
        self.trace.line(format!("client {client} gets from {queue}"));
        let (channel, queue, acknowledgement) = (CHANNEL, named(queue), Acknowledgement::Manual);
        if let Some(client) = life.clients.get_mut(&client) {
            client.getting += 1;
        }
        let mut batch = Batch::default();
        batch.push(Operation::Get { channel, queue, acknowledgement });
        life.submit(client, &mut batch);
    }

    fn settle_got(&mut self, life: &mut Life, client: u64) {
        let now = life.process.clock.wall_ms();
        let Some(state) = life.clients.get_mut(&client) else { return };
        if state.getting > 0 {
            return;
        }
        let Some((tag, id)) = state.got.pop_first() else { return };
        let outcome = self.random.one_of([Settled::Acknowledged, Settled::Requeued]);
        self.trace.line(format!("client {client} settles what it got, {id}: {outcome:?}"));
        self.ledger.amqp_ends(id, now);
        if outcome == Settled::Acknowledged {
            self.ledger.amqp_acknowledged(id, now);
        }
        let (channel, tags, verb) = (CHANNEL, Tags::One(tag), Verb::Ack);
        let mut batch = Batch::default();
        batch.push(Operation::Settle { channel, tags, outcome, verb });
        life.submit(client, &mut batch);
    }

    /// Takes in everything that was told.
    fn see(&mut self, life: &mut Life) -> Result<(), Violation> {
        let now = life.process.clock.wall_ms();
        let mut events = Vec::new();
        for (key, client) in &mut life.clients {
            client.session.take(&mut events);
            client.session.written(events.iter().map(Event::cost_bytes).sum());
            for event in events.drain(..) {
                match event {
                    Event::LeaseAnswer(answer) => self.answer(*key, &answer)?,
                    Event::Got { tag, redelivered, chunk, index, .. } => {
                        let Some(message) = chunk.message(index) else {
                            return broken!(Intact, "a message past the end of its chunk");
                        };
                        let id = self.ledger.got(message.body, redelivered, now)?;
                        self.trace.line(format!("client {key} got {id}"));
                        client.got.insert(tag, id);
                        client.getting -= 1;
                    }
                    Event::Confirmed { first, last, .. } => {
                        for number in first..=last {
                            let at = usize::try_from(number - 1).unwrap_or(usize::MAX);
                            let id = client.published.get(at).copied();
                            self.ledger.confirmed(id.unwrap_or_default());
                        }
                    }
                    Event::Closing(_) => life.poisoned = true,
                    Event::GotNothing { .. } => client.getting -= 1,
                    Event::Reply { .. } | Event::Ended => {}
                    Event::Delivered(_)
                    | Event::Nacked { .. }
                    | Event::RemovalAnswer(_)
                    | Event::DoneAnswer(_)
                    | Event::Taken { .. }
                    | Event::Returned { .. }
                    | Event::Refused { .. }
                    | Event::ConsumerCancelled { .. } => {
                        return broken!(Answered, "client {key} hears {event:?}");
                    }
                }
            }
        }
        Ok(())
    }

    fn answer(&mut self, client: u64, answer: &LeaseAnswer) -> Result<(), Violation> {
        let ticket = answer.ticket;
        match &answer.outcome {
            Ok(LeaseReply::Leased(runs)) => {
                let leased = self.ledger.leased(client, ticket, runs)?;
                self.trace.line(format!("client {client} has, by {ticket}: {leased}"));
            }
            Ok(LeaseReply::Settled(statuses)) => {
                self.trace.line(format!("client {client} hears of {ticket}: {statuses:?}"));
                self.ledger.settled(client, ticket, statuses)?;
            }
            Err(refusal) => return broken!(Answered, "{ticket} was refused: {refusal:?}"),
        }
        Ok(())
    }

    /// Everything that can be done is done; then nobody may wait whose time is over.
    fn settle(&mut self, life: &mut Life) -> Result<(), Violation> {
        self.trace.line("everything settles".to_owned());
        let mut quiet = 0;
        while quiet < 20 && !life.poisoned {
            self.pass(life, &[10]);
            let mut steps = 0;
            while life.process.run_background(0) {
                steps += 1;
                demand!(steps < STEPS_MAX, NothingHangs, "the background never comes to rest");
            }
            let wrote = matches!(life.process.broker.step(), Ok(true));
            quiet = if wrote { 0 } else { quiet + 1 };
            self.see(life)?;
        }
        if life.poisoned { Ok(()) } else { self.ledger.nobody_waits(life.process.clock.wall_ms()) }
    }

    fn end(&mut self, mut life: Life, ending: Ending) -> Result<(), Violation> {
        self.trace.line(format!("the life ends by {ending:?}"));
        if ending == Ending::Stop && !life.poisoned {
            life.process.broker.close();
            self.see(&mut life)?;
            life.clients.clear();
            let finished = life.process.broker.finish();
            demand!(finished.is_ok(), PoisonTold, "it can't stop: {finished:?}");
        }
        drop(life);
        self.ledger.crash();
        let seed = self.random.next();
        self.disk = match ending {
            Ending::PowerLoss => self.disk.crash(seed),
            Ending::Kill | Ending::Stop => SimulatedDisk::with_files(self.disk.files()),
        };
        self.now_ms += self.random.one_of([0, 1, 50, 700]);
        Ok(())
    }

    /// The last life: everything that must be there comes, once.
    fn drain(&mut self) -> Result<(), Violation> {
        let mut life = self.begin()?;
        self.pass(&life, &[ALL_LEASES_MS]);
        self.settle(&mut life)?;
        let client = self.connect(&mut life)?;
        for queue in QUEUES {
            loop {
                let ticket = self.ticket();
                let (queue, messages_max) = (named(queue), 1_000);
                let (lease_ms, wait_ms) = (ALL_LEASES_MS, 0);
                let request = LeaseRequest { ticket, queue, messages_max, lease_ms, wait_ms };
                self.ask_lease(&mut life, client, request);
                self.settle(&mut life)?;
                let held = self.ledger.held_by(ticket);
                if held.is_empty() {
                    break;
                }
                let items = held.into_iter();
                let end = LeaseEnd::Acknowledged { result: None };
                let items = items.map(|token| LeaseSettlement { token, end: end.clone() });
                let (ticket, items) = (self.ticket(), items.collect());
                self.ask_settle(&mut life, client, LeaseSettlements { ticket, items });
                self.settle(&mut life)?;
            }
        }
        self.ledger.all_came()
    }
}

impl Life {
    fn submit(&mut self, client: u64, batch: &mut Batch) {
        if let Some(client) = self.clients.get_mut(&client) {
            client.session.submit(batch);
        }
    }
}

fn declare(name: &str) -> Operation {
    let mut arguments = Table::default();
    if name != QUEUES[0] {
        arguments.push("x-queue-type", Value::text("quorum"));
        arguments.push("x-delivery-limit", Value::I64(3));
    }
    let declaration =
        QueueDeclaration { durable: true, exclusive: false, auto_delete: false, arguments };
    let (queue, declaration) = (named(name), Box::new(declaration));
    let (channel, declare, answer) = (CHANNEL, Declare::Active, Answer::Wanted);
    Operation::DeclareQueue { channel, queue, declare, declaration, answer }
}

/// Every third client gets messages as AMQP has it; the others lease them.
fn is_getter(client: u64) -> bool {
    client % 3 == 2
}

/// Whether messages of the queue go when they fail too often.
fn may_vanish(queue: &str) -> bool {
    queue != QUEUES[0]
}
