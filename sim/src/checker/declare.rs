//! Requests about topology, decided naively.

use broker::Reply;
use broker::operation::{BindingChange, Declare, Destination};
use domain::exchange::{ALTERNATE_EXCHANGE, ExchangeSettings};
use domain::name::Name;
use domain::queue::QueueDeclaration;
use domain::refusal::{Kind, Refusal};
use domain::table::{Table, Value};

use super::queue::{Known, Queue, QueueKey};
use super::sessions::Told;
use super::topology::{Binding, Goal};
use super::{ChannelKey, Checker, SessionKey, named};
use crate::vocabulary::DEAD;

impl Checker {
    pub(super) fn declare_exchange(
        &mut self,
        name: &Name,
        declare: Declare,
        settings: &ExchangeSettings,
    ) -> Result<Told, Refusal> {
        let declared = Ok(Told::Exactly(Reply::ExchangeDeclared));
        let current = self.topology.exchanges.get(name.as_str());
        match (declare, current) {
            (Declare::Passive, _) if name.is_empty() => return declared,
            (Declare::Passive, Some(_)) => return declared,
            (Declare::Passive, None) => {
                return Err(Refusal::NotFound(Kind::Exchange, name.clone()));
            }
            (Declare::Active, _) if name.is_empty() => return Err(Refusal::DefaultExchange),
            (Declare::Active, Some(current)) => compare(name, settings, current)?,
            (Declare::Active, None) if name.is_reserved() => {
                return Err(Refusal::ReservedName(Kind::Exchange, name.clone()));
            }
            (Declare::Active, None) => {
                self.topology.exchanges.insert(name.as_str().to_owned(), settings.clone());
                if settings.durable {
                    self.change(exchange(name.as_str()));
                }
            }
        }
        if settings.durable {
            self.needs(&exchange(name.as_str()));
        }
        declared
    }

    pub(super) fn delete_exchange(
        &mut self,
        name: &Name,
        only_if_unused: bool,
    ) -> Result<Told, Refusal> {
        if name.is_empty() {
            return Err(Refusal::DefaultExchange);
        }
        if name.is_reserved() {
            return Err(Refusal::ReservedName(Kind::Exchange, name.clone()));
        }
        let text = name.as_str();
        if let Some(settings) = self.topology.exchanges.get(text) {
            if only_if_unused && self.topology.has_bindings(text) {
                return Err(Refusal::InUse(Kind::Exchange, name.clone()));
            }
            if settings.durable {
                self.change(exchange(text));
            }
            self.topology_changed = self.turn;
            self.topology.remove_exchange(text);
        }
        self.needs(&exchange(text));
        Ok(Told::Exactly(Reply::ExchangeDeleted))
    }

    pub(super) fn declare_queue(
        &mut self,
        session: SessionKey,
        channel: ChannelKey,
        asked: &str,
        declare: Declare,
        declaration: &QueueDeclaration,
    ) -> Result<Told, Refusal> {
        // A name that the broker makes is known when it is told.
        let (name, made_up) = match (asked.is_empty(), declare) {
            (true, Declare::Active) => (format!("?{}", self.key()), true),
            (true, Declare::Passive) => {
                let last = self.channel(channel).last_queue.clone();
                (last.ok_or(Refusal::NoQueueDeclaredYet)?, false)
            }
            (false, _) => (asked.to_owned(), false),
        };
        let key = match (self.names.get(&name).copied(), declare) {
            (Some(key), Declare::Passive) => {
                self.check_owner(session, key)?;
                key
            }
            (Some(key), Declare::Active) => {
                self.check_declaration(session, key, declaration)?;
                key
            }
            (None, Declare::Passive) => return Err(Refusal::NotFound(Kind::Queue, named(&name))),
            (None, Declare::Active) if name.starts_with("amq.") => {
                return Err(Refusal::ReservedName(Kind::Queue, named(&name)));
            }
            (None, Declare::Active) => self.make_queue(session, &name, declaration),
        };
        self.channel(channel).last_queue = Some(name.clone());
        let Some(state) = self.queues.get(&key) else { return Err(Refusal::NoQueueDeclaredYet) };
        let (least, most) = state.ready_bounds();
        let messages = (if self.is_foggy(key) { 0 } else { least }, most);
        let consumers = u32::try_from(state.consumers.len()).unwrap_or(u32::MAX);
        if declare == Declare::Active && state.is_durable() {
            self.needs(&queue(&name));
        }
        let name = (!made_up).then_some(name);
        Ok(Told::QueueDeclared { queue: key, name, messages, consumers })
    }

    fn make_queue(
        &mut self,
        session: SessionKey,
        name: &str,
        declaration: &QueueDeclaration,
    ) -> QueueKey {
        let owner = declaration.exclusive.then_some(session);
        let state = Queue::new(name, declaration.clone(), owner);
        if state.is_durable() {
            self.change(queue(name));
        }
        let key = self.key();
        self.queues.insert(key, state);
        self.names.insert(name.to_owned(), key);
        if name == DEAD {
            self.redirect_letters();
        }
        key
    }

    fn check_owner(&self, session: SessionKey, key: QueueKey) -> Result<(), Refusal> {
        match self.queues.get(&key) {
            Some(queue) if queue.owner.is_some_and(|owner| owner != session) => {
                Err(Refusal::Locked(named(&queue.name)))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn check_declaration(
        &self,
        session: SessionKey,
        key: QueueKey,
        declaration: &QueueDeclaration,
    ) -> Result<(), Refusal> {
        self.check_owner(session, key)?;
        let Some(queue) = self.queues.get(&key) else { return Ok(()) };
        let name = named(&queue.name);
        if queue.declaration.exclusive != declaration.exclusive {
            return Err(Refusal::Locked(name));
        }
        let current = &queue.declaration;
        let same = declaration.durable == current.durable
            && declaration.auto_delete == current.auto_delete;
        if same { Ok(()) } else { Err(inequivalent(Kind::Queue, &name)) }
    }

    /// The queue of that name, or the one declared last, if this session may use it.
    pub(super) fn usable_queue(
        &mut self,
        session: SessionKey,
        channel: ChannelKey,
        name: &str,
    ) -> Result<QueueKey, Refusal> {
        let name = if name.is_empty() {
            self.channel(channel).last_queue.clone().ok_or(Refusal::NoQueueDeclaredYet)?
        } else {
            name.to_owned()
        };
        let Some(key) = self.names.get(&name).copied() else {
            return Err(Refusal::NotFound(Kind::Queue, named(&name)));
        };
        self.check_owner(session, key).map(|()| key)
    }

    pub(super) fn delete_queue(
        &mut self,
        session: SessionKey,
        channel: ChannelKey,
        name: &Name,
        only_if_unused: bool,
        only_if_empty: bool,
    ) -> Result<Told, Refusal> {
        let key = match self.usable_queue(session, channel, name.as_str()) {
            Ok(key) => key,
            Err(Refusal::NotFound(_, name)) => {
                self.needs(&queue(name.as_str()));
                return Ok(Told::QueueDeleted { messages: (0, 0) });
            }
            Err(refusal) => return Err(refusal),
        };
        let Some(state) = self.queues.get(&key) else { return Err(Refusal::NoQueueDeclaredYet) };
        let (least, most) = state.ready_bounds();
        if only_if_unused && !state.consumers.is_empty() {
            return Err(Refusal::InUse(Kind::Queue, named(&state.name)));
        }
        if only_if_empty && least > 0 {
            return Err(Refusal::NotEmpty(named(&state.name)));
        }
        let (name, durable) = (state.name.clone(), state.is_durable());
        let messages = (if self.is_foggy(key) { 0 } else { least }, most);
        if durable {
            self.change(queue(&name));
        }
        self.remove_queue(key);
        self.needs(&queue(&name));
        Ok(Told::QueueDeleted { messages })
    }

    /// A queue goes, with its bindings; its consumers are told.
    pub(super) fn remove_queue(&mut self, key: QueueKey) {
        let Some(state) = self.queues.get_mut(&key) else { return };
        if std::mem::replace(&mut state.deleted, true) {
            return;
        }
        // What it has given up goes its way before.
        self.bury();
        let Some(state) = self.queues.get_mut(&key) else { return };
        let (name, durable) = (state.name.clone(), state.is_durable());
        for consumer in std::mem::take(&mut state.consumers) {
            let Some(known) = self.consumers.get(&consumer) else { continue };
            let (session, channel, tag) = (known.session, known.channel, known.tag.clone());
            self.channel(channel).consumers.remove(&tag);
            self.session(session).cancellations.insert(consumer);
        }
        self.names.remove(&name);
        self.topology_changed = self.turn;
        if durable {
            self.changed.insert(queue(&name), self.turn);
        }
        self.topology.remove_goal(&Goal::Queue(name));
    }

    pub(super) fn purge(
        &mut self,
        session: SessionKey,
        channel: ChannelKey,
        name: &str,
    ) -> Result<Told, Refusal> {
        let key = self.usable_queue(session, channel, name)?;
        let foggy = self.is_foggy(key);
        let Some(state) = self.queues.get_mut(&key) else {
            return Err(Refusal::NoQueueDeclaredYet);
        };
        let (least, most) = state.ready_bounds();
        let journaled =
            state.ready().any(|(_, entry)| entry.journaled && entry.there == Known::Yes);
        state.purge(if foggy { Known::Perhaps } else { Known::Yes });
        if state.is_mixed() {
            self.spare_letters_to_come();
        }
        // Its answer may have to wait, even where that is not certain.
        self.hold(session);
        if journaled && !foggy {
            self.safe = self.turn;
        }
        Ok(Told::QueuePurged { messages: (if foggy { 0 } else { least }, most) })
    }

    pub(super) fn goal(
        &mut self,
        session: SessionKey,
        channel: ChannelKey,
        source: &Name,
        destination: &Destination,
    ) -> Result<Goal, Refusal> {
        if source.is_empty() {
            return Err(Refusal::DefaultExchange);
        }
        match destination {
            Destination::Queue(name) => {
                let key = self.usable_queue(session, channel, name.as_str())?;
                let name = self.queues.get(&key).map(|queue| queue.name.clone());
                Ok(Goal::Queue(name.unwrap_or_default()))
            }
            Destination::Exchange(name) if name.is_empty() => Err(Refusal::DefaultExchange),
            Destination::Exchange(name) => {
                self.find_exchange(name.as_str())?;
                Ok(Goal::Exchange(name.as_str().to_owned()))
            }
        }
    }

    fn find_exchange(&self, name: &str) -> Result<&ExchangeSettings, Refusal> {
        let found = self.topology.exchanges.get(name);
        found.ok_or_else(|| Refusal::NotFound(Kind::Exchange, named(name)))
    }

    pub(super) fn bind(
        &mut self,
        change: BindingChange,
        source: &str,
        goal: Goal,
        key: Vec<u8>,
        arguments: &Table,
    ) -> Result<Told, Refusal> {
        let told = Told::Exactly(match (change, &goal) {
            (BindingChange::Add, Goal::Queue(_)) => Reply::QueueBound,
            (BindingChange::Remove, Goal::Queue(_)) => Reply::QueueUnbound,
            (BindingChange::Add, Goal::Exchange(_)) => Reply::ExchangeBound,
            (BindingChange::Remove, Goal::Exchange(_)) => Reply::ExchangeUnbound,
        });
        self.find_exchange(source)?;
        let binding =
            Binding { source: source.to_owned(), goal, key, arguments: arguments.clone() };
        let description = format!("binding {binding:?}");
        let durable = self.is_durable(&binding);
        let at = self.topology.bindings.iter().position(|known| *known == binding);
        match (change, at) {
            (BindingChange::Add, None) => {
                self.topology.bindings.push(binding);
                if durable {
                    self.change(description.clone());
                }
            }
            (BindingChange::Remove, Some(at)) => {
                self.topology.bindings.remove(at);
                // The source may go too, which is journaled whatever it was.
                self.topology_changed = self.turn;
                if durable {
                    self.change(description.clone());
                }
                self.topology.remove_if_orphaned(source);
            }
            (BindingChange::Add, Some(_)) | (BindingChange::Remove, None) => {}
        }
        if durable {
            self.needs(&description);
        }
        Ok(told)
    }

    /// Whether the binding survives a restart: both its ends do.
    pub(super) fn is_durable(&self, binding: &Binding) -> bool {
        let exchange =
            |name: &str| self.topology.exchanges.get(name).is_some_and(|found| found.durable);
        exchange(&binding.source)
            && match &binding.goal {
                Goal::Exchange(name) => exchange(name),
                Goal::Queue(name) => {
                    let found = self.names.get(name).and_then(|key| self.queues.get(key));
                    found.is_some_and(Queue::is_durable)
                }
            }
    }

    /// Something durable changes, and its answer waits for the journal.
    fn change(&mut self, what: String) {
        self.changed.insert(what, self.turn);
        self.topology_changed = self.turn;
    }

    /// The answer promises that this stands as it last became.
    fn needs(&mut self, what: &str) {
        self.safe = self.changed.get(what).copied().unwrap_or(0);
    }
}

fn exchange(name: &str) -> String {
    format!("exchange {name}")
}

fn queue(name: &str) -> String {
    format!("queue {name}")
}

/// A refusal of another declaration; which setting differs is not judged here.
fn inequivalent(kind: Kind, name: &Name) -> Refusal {
    let (received, current) = (None, None);
    Refusal::Inequivalent { kind, name: name.clone(), setting: "", received, current }
}

fn compare(name: &Name, one: &ExchangeSettings, other: &ExchangeSettings) -> Result<(), Refusal> {
    let alternate = |settings: &ExchangeSettings| {
        let value = settings.arguments.get(ALTERNATE_EXCHANGE).and_then(Value::as_text);
        value.map(str::to_owned)
    };
    let same = one.exchange_type == other.exchange_type
        && one.durable == other.durable
        && one.auto_delete == other.auto_delete
        && one.internal == other.internal
        && alternate(one) == alternate(other);
    if same { Ok(()) } else { Err(inequivalent(Kind::Exchange, name)) }
}
