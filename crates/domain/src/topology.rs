//! The topology of a virtual host: its exchanges, the names of its queues, and the bindings
//! between them. Decides what may be declared, bound and deleted, and where a message goes.

pub mod routing;

pub mod bindings;

use hashbrown::{HashMap, HashSet};

use crate::binding::{BindingArguments, ExchangeId, QueueId, Target};
use crate::exchange::headers::Headers;
use crate::exchange::{ALTERNATE_EXCHANGE, ExchangeSettings, ExchangeType};
use crate::name::Name;
use crate::refusal::{ArgumentProblem, Kind, Refusal};
use crate::table::{Table, Value, equivalent};
use bindings::Bindings;

type Map<K, V> = HashMap<K, V, foldhash::fast::FixedState>;

/// An exchange with the bindings from it.
#[derive(Debug)]
pub struct Exchange {
    /// Its name.
    pub name: Name,
    /// What it was declared with.
    pub settings: ExchangeSettings,
    /// The bindings from it.
    pub bindings: Bindings,
    alternate: Option<Name>,
}

/// Exchanges, queue names and bindings.
#[derive(Debug, Default)]
pub struct Topology {
    exchanges: Map<ExchangeId, Exchange>,
    exchange_ids: Map<Name, ExchangeId>,
    queue_ids: Map<Name, QueueId>,
    /// The exchanges with a binding to a target.
    sources: Map<Target, HashSet<ExchangeId, foldhash::fast::FixedState>>,
    next_exchange: u64,
}

/// Whether a request changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Yes.
    Made,
    /// It was so already.
    None,
}

/// Which end of a removal went with it: the exchange that lost its last binding.
pub type Orphans = Vec<Name>;

impl Topology {
    /// A topology with the exchanges that every virtual host has (AMQP 0-9-1 §3.1.3.1 and RabbitMQ).
    pub fn with_predeclared_exchanges() -> Topology {
        let mut topology = Topology::default();
        for (name, exchange_type) in [
            ("amq.direct", ExchangeType::Direct),
            ("amq.fanout", ExchangeType::Fanout),
            ("amq.topic", ExchangeType::Topic),
            ("amq.headers", ExchangeType::Headers),
            ("amq.match", ExchangeType::Headers),
        ] {
            let settings = ExchangeSettings {
                exchange_type,
                durable: true,
                auto_delete: false,
                internal: false,
                arguments: Table::default(),
            };
            if let Ok(name) = Name::new(name) {
                topology.insert_exchange(name, settings);
            }
        }
        topology
    }

    /// The exchange of that name; the default exchange is none of them.
    pub fn exchange(&self, name: &str) -> Option<&Exchange> {
        self.exchange_ids.get(name).and_then(|id| self.exchanges.get(id))
    }

    /// The number of the exchange of that name; the default exchange has none.
    pub fn exchange_id(&self, name: &str) -> Option<ExchangeId> {
        self.exchange_ids.get(name).copied()
    }

    /// The exchange of that number.
    pub fn exchange_at(&self, id: ExchangeId) -> Option<&Exchange> {
        self.exchanges.get(&id)
    }

    /// The numbers of all exchanges.
    pub fn exchange_numbers(&self) -> impl Iterator<Item = ExchangeId> {
        self.exchanges.keys().copied()
    }

    /// The bindings that lead to a target: source, key, arguments.
    pub fn bindings_to(
        &self,
        target: Target,
    ) -> impl Iterator<Item = (&Name, &[u8], &BindingArguments)> {
        let sources = self.sources.get(&target).into_iter().flatten();
        sources.filter_map(|id| self.exchanges.get(id)).flat_map(move |exchange| {
            exchange.bindings.to(target).map(|(key, arguments)| (&exchange.name, key, arguments))
        })
    }

    /// All exchanges.
    pub fn exchanges(&self) -> impl Iterator<Item = &Exchange> {
        self.exchanges.values()
    }

    /// The queue of that name.
    pub fn queue(&self, name: &str) -> Option<QueueId> {
        self.queue_ids.get(name).copied()
    }

    /// The exchange that a target stands for, if it is one.
    pub fn exchange_name(&self, id: ExchangeId) -> Option<&Name> {
        self.exchanges.get(&id).map(|exchange| &exchange.name)
    }

    /// A queue takes its name.
    pub fn add_queue(&mut self, name: Name, queue: QueueId) {
        self.queue_ids.insert(name, queue);
    }

    /// A queue goes, with its bindings. Returns the auto-delete exchanges that thereby lost their
    /// last binding and went too.
    pub fn remove_queue(&mut self, name: &str) -> Orphans {
        match self.queue_ids.remove(name) {
            Some(queue) => self.remove_bindings_to(Target::Queue(queue)),
            None => Orphans::new(),
        }
    }

    /// Fails unless there is such an exchange. The default exchange is always there.
    pub fn find_exchange(&self, name: &Name) -> Result<(), Refusal> {
        if name.is_empty() || self.exchange_ids.contains_key(name) {
            Ok(())
        } else {
            Err(Refusal::NotFound(Kind::Exchange, name.clone()))
        }
    }

    /// Makes an exchange, or compares it with the one that exists.
    pub fn declare_exchange(
        &mut self,
        name: &Name,
        settings: &ExchangeSettings,
    ) -> Result<Change, Refusal> {
        if name.is_empty() {
            return Err(Refusal::DefaultExchange);
        }
        if let Some(current) = self.exchange(name.as_str()) {
            return compare(name, settings, &current.settings).map(|()| Change::None);
        }
        if name.is_reserved() {
            return Err(Refusal::ReservedName(Kind::Exchange, name.clone()));
        }
        if let Some(value) = settings.arguments.get(ALTERNATE_EXCHANGE)
            && value.as_text().is_none()
        {
            return Err(Refusal::InvalidArgument {
                kind: Kind::Exchange,
                name: name.clone(),
                argument: ALTERNATE_EXCHANGE.into(),
                problem: ArgumentProblem::UnacceptableType(value.type_name()),
            });
        }
        self.insert_exchange(name.clone(), settings.clone());
        Ok(Change::Made)
    }

    fn insert_exchange(&mut self, name: Name, settings: ExchangeSettings) {
        let id = ExchangeId(self.next_exchange);
        self.next_exchange += 1;
        let alternate = settings.arguments.get(ALTERNATE_EXCHANGE).and_then(Value::as_text);
        let alternate = alternate.and_then(|name| Name::new(name).ok());
        let bindings = Bindings::new(settings.exchange_type);
        self.exchange_ids.insert(name.clone(), id);
        self.exchanges.insert(id, Exchange { name, settings, bindings, alternate });
    }

    /// Whether an exchange may be deleted (RabbitMQ: deleting what is not there works).
    pub fn may_delete_exchange(
        &self,
        name: &Name,
        only_if_unused: bool,
    ) -> Result<Change, Refusal> {
        if name.is_empty() {
            return Err(Refusal::DefaultExchange);
        }
        if name.is_reserved() {
            return Err(Refusal::ReservedName(Kind::Exchange, name.clone()));
        }
        let Some(exchange) = self.exchange(name.as_str()) else {
            return Ok(Change::None);
        };
        if only_if_unused && !exchange.bindings.is_empty() {
            return Err(Refusal::InUse(Kind::Exchange, name.clone()));
        }
        Ok(Change::Made)
    }

    /// An exchange goes, with its bindings. Returns the auto-delete exchanges that thereby lost
    /// their last binding and went too, this one not among them.
    pub fn remove_exchange(&mut self, name: &str) -> Orphans {
        match self.drop_exchange(name) {
            Some(id) => self.remove_bindings_to(Target::Exchange(id)),
            None => Orphans::new(),
        }
    }

    /// An exchange goes with the bindings from it; those to it are left to the caller.
    fn drop_exchange(&mut self, name: &str) -> Option<ExchangeId> {
        let id = self.exchange_ids.remove(name)?;
        if let Some(exchange) = self.exchanges.remove(&id) {
            for target in exchange.bindings.targets() {
                self.forget_source(target, id);
            }
        }
        Some(id)
    }

    /// Makes a binding.
    pub fn bind(
        &mut self,
        source: &Name,
        target: Target,
        key: &[u8],
        arguments: &BindingArguments,
    ) -> Result<Change, Refusal> {
        let id = self.source(source)?;
        let Some(exchange) = self.exchanges.get_mut(&id) else {
            return Ok(Change::None);
        };
        if exchange.settings.exchange_type == ExchangeType::Headers {
            Headers::check(arguments)?;
        }
        let change = exchange.bindings.add(key, target, arguments);
        if change == Change::Made {
            self.sources.entry(target).or_default().insert(id);
        }
        Ok(change)
    }

    /// Removes a binding. Also says whether the source, an auto-delete exchange, lost its last one
    /// and went; its own going may take others along.
    pub fn unbind(
        &mut self,
        source: &Name,
        target: Target,
        key: &[u8],
        arguments: &BindingArguments,
    ) -> Result<(Change, Orphans), Refusal> {
        let id = self.source(source)?;
        let Some(exchange) = self.exchanges.get_mut(&id) else {
            return Ok((Change::None, Orphans::new()));
        };
        let change = exchange.bindings.remove(key, target, arguments);
        if change == Change::None {
            return Ok((change, Orphans::new()));
        }
        if !exchange.bindings.leads_to(target) {
            self.forget_source(target, id);
        }
        Ok((change, self.delete_if_orphaned(id)))
    }

    /// Makes a binding that was decided before: nothing is checked.
    pub fn restore_binding(
        &mut self,
        source: &Name,
        target: Target,
        key: &[u8],
        arguments: &BindingArguments,
    ) {
        let Ok(id) = self.source(source) else { return };
        let Some(exchange) = self.exchanges.get_mut(&id) else { return };
        exchange.bindings.add(key, target, arguments);
        self.sources.entry(target).or_default().insert(id);
    }

    /// Removes a binding whose removal was decided before: nothing else goes with it.
    pub fn forget_binding(
        &mut self,
        source: &Name,
        target: Target,
        key: &[u8],
        arguments: &BindingArguments,
    ) {
        let Ok(id) = self.source(source) else { return };
        let Some(exchange) = self.exchanges.get_mut(&id) else { return };
        exchange.bindings.remove(key, target, arguments);
        if !exchange.bindings.leads_to(target) {
            self.forget_source(target, id);
        }
    }

    /// A queue went, as was decided before: exchanges that went with it are told of by themselves.
    pub fn forget_queue(&mut self, name: &str) {
        if let Some(queue) = self.queue_ids.remove(name) {
            self.drop_bindings_to(Target::Queue(queue));
        }
    }

    /// An exchange went, as was decided before: others that went with it are told of by themselves.
    pub fn forget_exchange(&mut self, name: &str) {
        if let Some(id) = self.drop_exchange(name) {
            self.drop_bindings_to(Target::Exchange(id));
        }
    }

    /// The target that a destination's name stands for.
    pub fn exchange_target(&self, name: &Name) -> Result<Target, Refusal> {
        self.source(name).map(Target::Exchange)
    }

    fn source(&self, name: &Name) -> Result<ExchangeId, Refusal> {
        if name.is_empty() {
            return Err(Refusal::DefaultExchange);
        }
        let found = self.exchange_ids.get(name).copied();
        found.ok_or_else(|| Refusal::NotFound(Kind::Exchange, name.clone()))
    }

    fn forget_source(&mut self, target: Target, source: ExchangeId) {
        if let Some(sources) = self.sources.get_mut(&target) {
            sources.remove(&source);
            if sources.is_empty() {
                self.sources.remove(&target);
            }
        }
    }

    fn remove_bindings_to(&mut self, target: Target) -> Orphans {
        let mut orphans = Orphans::new();
        for id in self.drop_bindings_to(target) {
            orphans.append(&mut self.delete_if_orphaned(id));
        }
        orphans
    }

    /// Removes all bindings to a target; returns the exchanges that had one.
    fn drop_bindings_to(&mut self, target: Target) -> Vec<ExchangeId> {
        let sources: Vec<ExchangeId> = self.sources.remove(&target).into_iter().flatten().collect();
        for id in &sources {
            if let Some(exchange) = self.exchanges.get_mut(id) {
                exchange.bindings.remove_target(target);
            }
        }
        sources
    }

    fn delete_if_orphaned(&mut self, id: ExchangeId) -> Orphans {
        let Some(exchange) = self.exchanges.get(&id) else {
            return Orphans::new();
        };
        if !exchange.settings.auto_delete || !exchange.bindings.is_empty() {
            return Orphans::new();
        }
        let name = exchange.name.clone();
        let mut orphans = self.remove_exchange(name.as_str());
        orphans.insert(0, name);
        orphans
    }
}

/// Compares a declaration with what exists (AMQP 0-9-1 §1.7.2.1.3; RabbitMQ
/// `rabbit_exchange:assert_equivalence`).
pub fn compare(
    name: &Name,
    received: &ExchangeSettings,
    current: &ExchangeSettings,
) -> Result<(), Refusal> {
    let pairs = [
        (
            "type",
            Some(Value::text(received.exchange_type.as_str())),
            Some(Value::text(current.exchange_type.as_str())),
        ),
        ("durable", Some(Value::Bool(received.durable)), Some(Value::Bool(current.durable))),
        (
            "auto_delete",
            Some(Value::Bool(received.auto_delete)),
            Some(Value::Bool(current.auto_delete)),
        ),
        ("internal", Some(Value::Bool(received.internal)), Some(Value::Bool(current.internal))),
        (
            ALTERNATE_EXCHANGE,
            received.arguments.get(ALTERNATE_EXCHANGE).cloned(),
            current.arguments.get(ALTERNATE_EXCHANGE).cloned(),
        ),
    ];
    for (setting, received, current) in pairs {
        if !equivalent(received.as_ref(), current.as_ref()) {
            let (kind, name) = (Kind::Exchange, name.clone());
            return Err(Refusal::Inequivalent { kind, name, setting, received, current });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
