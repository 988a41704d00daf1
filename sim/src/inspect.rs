//! Looks at what a crash left: a broker of its own is started on a copy of the disk, asked for
//! everything a client can ask, and thrown away.

use std::collections::BTreeMap;

use broker::operation::{
    Acknowledgement, Answer, BindingChange, Declare, Destination, Operation, Unroutable,
};
use broker::{Batch, Event, MessageHead, Persistence, Recovered, Session};
use domain::binding::BindingArguments;
use domain::exchange::ExchangeSettings;
use domain::name::Name;
use domain::queue::QueueDeclaration;
use storage::disk::SimulatedDisk;

use crate::checker::named;
use crate::checker::snapshot::{Found, FoundQueue, FoundRoute, Snapshot};
use crate::checker::topology::{Binding, Goal, headers_fit};
use crate::message::{Content, Messages};
use crate::process::{Process, Setup};
use crate::violation::{Rule, Violation, broken, demand};
use crate::vocabulary::{KEYS, Names, header_samples};

const CHANNEL: u16 = 1;

/// What is got here stays here: nothing is refused on this channel.
const GETTING: u16 = 2;

struct Inspector {
    process: Process,
    session: Session,
    /// Why the broker gave up, if it did.
    gave_up: Option<String>,
}

/// What is there, as far as `candidates` can tell how to ask for it.
pub(crate) fn inspect(
    disk: &SimulatedDisk,
    setup: &Setup,
    names: &Names,
    messages: &Messages,
    candidates: &[Snapshot],
) -> Result<Found, Violation> {
    let (process, recovered) = match Process::start(disk, setup) {
        Ok(started) => started,
        Err(error) => return broken!(Starts, "{error}"),
    };
    let mut inspector = Inspector::new(process)?;
    match look(&mut inspector, &recovered, names, messages, candidates) {
        Err(wrong) if wrong.rule == Rule::Intact => Err(wrong),
        looked => inspector.goes_on().and(looked),
    }
}

fn look(
    inspector: &mut Inspector,
    recovered: &Recovered,
    names: &Names,
    messages: &Messages,
    candidates: &[Snapshot],
) -> Result<Found, Violation> {
    let mut found = Found::default();
    for name in &names.exchanges {
        let of = |snapshot: &Snapshot| snapshot.topology.exchanges.get(name).cloned();
        let settings: Vec<_> = candidates.iter().filter_map(of).collect();
        if let Some(settings) = inspector.exchange(name, &settings)? {
            found.exchanges.insert(name.clone(), settings);
        }
    }
    let mut count = 0;
    for name in &names.queues {
        let of =
            |snapshot: &Snapshot| snapshot.queues.get(name).map(|queue| queue.declaration.clone());
        let declarations: Vec<_> = candidates.iter().filter_map(of).collect();
        if let Some(queue) = inspector.queue(name, &declarations, messages)? {
            count += queue.messages.len() as u64;
            found.queues.insert(name.clone(), queue);
        }
    }
    demand!(
        recovered.messages >= count && recovered.queues == found.queues.len(),
        Recovers,
        "the broker says that it found {recovered:?}, clients see {count} messages in {:?}",
        found.queues.keys()
    );
    found.routes = inspector.routes(&found)?;
    Ok(found)
}

impl Inspector {
    fn new(process: Process) -> Result<Inspector, Violation> {
        let session = match process.connect() {
            Ok((session, _)) => session,
            Err(error) => return broken!(Starts, "nobody is let in: {error}"),
        };
        let mut inspector = Inspector { process, session, gave_up: None };
        inspector.ask(Operation::OpenChannel { channel: CHANNEL });
        inspector.ask(Operation::OpenChannel { channel: GETTING });
        Ok(inspector)
    }

    /// Asks for one thing. After a refusal the channel is opened anew.
    fn ask(&mut self, operation: Operation) -> Vec<Event> {
        let mut batch = Batch::default();
        batch.push(operation);
        self.submit(batch)
    }

    fn submit(&mut self, mut batch: Batch) -> Vec<Event> {
        let mut events = Vec::new();
        self.session.submit(&mut batch);
        // Some answers wait for the journal, some for what lies on the disk.
        while matches!(self.process.broker.step(), Ok(true)) || self.process.run_background(0) {}
        self.session.take(&mut events);
        for event in &events {
            if let Event::Closing(why) = event {
                self.gave_up = Some(format!("{why:?}"));
            }
        }
        let told = events.iter().map(Event::cost_bytes).sum();
        self.session.written(told);
        if events.iter().any(|event| matches!(event, Event::Refused { .. })) {
            let mut batch = Batch::default();
            batch.push(Operation::CloseChannel { channel: CHANNEL, answer: Answer::Wanted });
            batch.push(Operation::OpenChannel { channel: CHANNEL });
            self.session.submit(&mut batch);
            self.session.take(&mut Vec::new());
        }
        events
    }

    /// What a broker that gave up says is not what it found.
    fn goes_on(&self) -> Result<(), Violation> {
        match &self.gave_up {
            Some(why) => broken!(Starts, "it gave up: {why}"),
            None => Ok(()),
        }
    }

    /// Whether the request worked.
    fn works(&mut self, operation: Operation) -> bool {
        let events = self.ask(operation);
        !events.iter().any(|event| matches!(event, Event::Refused { .. }))
    }

    fn exchange(
        &mut self,
        name: &str,
        known: &[ExchangeSettings],
    ) -> Result<Option<ExchangeSettings>, Violation> {
        let Some(any) = known.first().cloned().or_else(|| Some(settings_of_none())) else {
            return Ok(None);
        };
        if !self.works(declare_exchange(name, Declare::Passive, any)) {
            return Ok(None);
        }
        for settings in known {
            if self.works(declare_exchange(name, Declare::Active, settings.clone())) {
                return Ok(Some(settings.clone()));
            }
        }
        broken!(Recovers, "exchange {name} is there with settings it never had, or should be gone")
    }

    fn queue(
        &mut self,
        name: &str,
        known: &[QueueDeclaration],
        messages: &Messages,
    ) -> Result<Option<FoundQueue>, Violation> {
        if !self.works(declare_queue(name, Declare::Passive, QueueDeclaration::default())) {
            return Ok(None);
        }
        let declaration = known.iter().find(|declaration| {
            self.works(declare_queue(name, Declare::Active, (*declaration).clone()))
        });
        let Some(declaration) = declaration.cloned() else {
            return broken!(Recovers, "queue {name} is there as it never was, or should be gone");
        };
        let mut found = FoundQueue { declaration, messages: Vec::new() };
        // Not settled: what is looked at must not go.
        for event in self.drain(name, Acknowledgement::Manual) {
            if let Event::Got { redelivered, chunk, index, .. } = event {
                let Some(message) = chunk.message(index) else { continue };
                found.messages.push((messages.recognise(&message)?, redelivered));
            }
        }
        Ok(Some(found))
    }

    /// Everything that is ready in a queue.
    fn drain(&mut self, name: &str, acknowledgement: Acknowledgement) -> Vec<Event> {
        let mut all = Vec::new();
        loop {
            let queue = named(name);
            let mut events = self.ask(Operation::Get { channel: GETTING, queue, acknowledgement });
            let more = events.iter().any(|event| matches!(event, Event::Got { .. }));
            all.append(&mut events);
            if !more {
                return all;
            }
        }
    }

    /// Where messages go from every exchange, with every key and set of headers.
    fn routes(&mut self, found: &Found) -> Result<Vec<FoundRoute>, Violation> {
        let mut probes = Messages::default();
        let mut routes = BTreeMap::new();
        let public = found.exchanges.iter().filter(|(_, settings)| !settings.internal);
        for (exchange, _) in public {
            let mut batch = Batch::default();
            for key in KEYS {
                for headers in header_samples() {
                    let key = key.as_bytes();
                    let content = probe(exchange, key, headers.clone());
                    let id = probes.add(content.clone());
                    add(&mut batch, &content, id, Unroutable::Dropped);
                    let (exchange, key) = (exchange.clone(), key.to_vec());
                    let queues = Vec::new();
                    routes.insert(id, FoundRoute { exchange, key, headers, queues });
                }
            }
            self.submit(batch);
        }
        for name in found.queues.keys() {
            for event in self.drain(name, Acknowledgement::Automatic) {
                if let Event::Got { chunk, index, .. } = event {
                    let Some(message) = chunk.message(index) else { continue };
                    let id = probes.recognise(&message)?;
                    if let Some(route) = routes.get_mut(&id) {
                        route.queues.push(name.clone());
                    }
                }
            }
        }
        Ok(routes.into_values().collect())
    }
}

/// Whether `binding` is really there, told apart from everything else that `all` may contain. `None`:
/// no message can tell, since it matches none.
pub(crate) fn has_binding(
    disk: &SimulatedDisk,
    setup: &Setup,
    binding: &Binding,
    all: &[Binding],
) -> Result<Option<bool>, Violation> {
    let (process, _) = Process::start(disk, setup)
        .map_err(|error| Violation { rule: Rule::Starts, detail: error.to_string() })?;
    let mut inspector = Inspector::new(process)?;
    for other in all.iter().filter(|other| other.source == binding.source && *other != binding) {
        inspector.ask(unbind(CHANNEL, other));
    }
    let exchange = named(&binding.source);
    if !exchange.is_reserved() {
        let (channel, answer, only_if_unused) = (CHANNEL, Answer::Wanted, true);
        let there = inspector.works(declare_exchange(
            &binding.source,
            Declare::Passive,
            settings_of_none(),
        ));
        let delete = Operation::DeleteExchange { channel, exchange, only_if_unused, answer };
        let bound = there && !inspector.works(delete);
        return inspector.goes_on().map(|()| Some(bound));
    }
    // A predeclared exchange can't be deleted: a message shows whether the binding leads anywhere.
    let by_headers = ["amq.headers", "amq.match"].contains(&&*binding.source);
    if by_headers && !headers_fit(&binding.arguments, &binding.arguments) {
        return Ok(None);
    }
    let mut key = String::from_utf8_lossy(&binding.key).into_owned();
    if binding.source == "amq.topic" {
        key = key.replace(['*', '#'], "x");
    }
    let content = probe(&binding.source, key.as_bytes(), binding.arguments.clone());
    let mut batch = Batch::default();
    add(&mut batch, &content, 1, Unroutable::Returned);
    let events = inspector.submit(batch);
    inspector.goes_on()?;
    Ok(Some(!events.iter().any(|event| matches!(event, Event::Returned { .. }))))
}

fn probe(exchange: &str, key: &[u8], headers: domain::table::Table) -> Content {
    Content {
        exchange: named(exchange),
        routing_key: key.into(),
        also: Box::default(),
        persistence: Persistence::Transient,
        priority: None,
        headers,
        body_bytes: 0,
        expiration_ms: None,
    }
}

fn add(batch: &mut Batch, content: &Content, id: u64, unroutable: Unroutable) {
    let properties = content.properties(id);
    let head = MessageHead {
        persistence: content.persistence,
        exchange: content.exchange.as_str(),
        routing_key: &content.routing_key,
        properties: &properties,
        ..MessageHead::default()
    };
    batch.publish(CHANNEL, unroutable, &head, &content.body(id));
}

/// A passive declaration compares no settings.
fn settings_of_none() -> ExchangeSettings {
    ExchangeSettings {
        exchange_type: domain::exchange::ExchangeType::Direct,
        durable: false,
        auto_delete: false,
        internal: false,
        arguments: domain::table::Table::default(),
    }
}

fn declare_exchange(name: &str, declare: Declare, settings: ExchangeSettings) -> Operation {
    let (channel, exchange, answer) = (CHANNEL, named(name), Answer::Wanted);
    Operation::DeclareExchange { channel, exchange, declare, settings: settings.into(), answer }
}

fn declare_queue(name: &str, declare: Declare, declaration: QueueDeclaration) -> Operation {
    let (channel, queue, answer) = (CHANNEL, named(name), Answer::Wanted);
    Operation::DeclareQueue { channel, queue, declare, declaration: declaration.into(), answer }
}

/// The removal of a binding.
pub(crate) fn unbind(channel: u16, binding: &Binding) -> Operation {
    let name = |name: &str| -> Name { named(name) };
    Operation::Bind {
        channel,
        change: BindingChange::Remove,
        source: name(&binding.source),
        destination: match &binding.goal {
            Goal::Queue(queue) => Destination::Queue(name(queue)),
            Goal::Exchange(exchange) => Destination::Exchange(name(exchange)),
        },
        routing_key: binding.key.clone().into(),
        arguments: BindingArguments(binding.arguments.clone()),
        answer: Answer::Wanted,
    }
}
