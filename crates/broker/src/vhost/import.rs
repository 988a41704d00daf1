//! Definitions of one virtual host: which of them are there already, which can't be, and making
//! those that are not there.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use domain::binding::{BindingArguments, Target};
use domain::exchange::headers::Headers;
use domain::exchange::{ExchangeSettings, ExchangeType};
use domain::name::Name;
use domain::queue::{self, QueueDeclaration};
use domain::refusal::{Kind, Refusal};
use domain::table::{Table, Value};
use domain::topology::{self, Topology};

use super::Vhost;
use crate::definitions::{
    BindingDefinition, Effect, ExchangeDefinition, Misfit, Problem, QueueDefinition, Section,
};
use crate::journaled::binding_records::BindingRecord;
use crate::operation::{BindingChange, Declare, Destination};
use crate::session_id::SessionId;

/// The definitions of one virtual host, each with its place in its section.
#[derive(Debug, Default)]
pub(crate) struct Part<'d> {
    pub(crate) exchanges: Vec<(usize, &'d ExchangeDefinition)>,
    pub(crate) queues: Vec<(usize, &'d QueueDefinition)>,
    pub(crate) bindings: Vec<(usize, &'d BindingDefinition)>,
}

/// What is in a virtual host.
#[derive(Debug)]
pub(crate) struct Known {
    exchanges: BTreeMap<Name, ExchangeSettings>,
    queues: BTreeMap<Name, QueueDeclaration>,
    bindings: HashSet<Vec<u8>>,
}

impl Known {
    /// What is in a virtual host that was just made.
    pub(crate) fn empty_vhost() -> Known {
        Known::of(&Topology::with_predeclared_exchanges(), BTreeMap::new(), HashSet::new())
    }

    fn of(
        topology: &Topology,
        queues: BTreeMap<Name, QueueDeclaration>,
        bindings: HashSet<Vec<u8>>,
    ) -> Known {
        let exchanges = topology
            .exchanges()
            .map(|exchange| (exchange.name.clone(), exchange.settings.clone()))
            .collect();
        Known { exchanges, queues, bindings }
    }
}

/// A binding as bytes, equal for equal ones. An integer has no width here: JSON knows of none.
fn identity(
    source: &Name,
    destination: &Destination,
    key: &[u8],
    arguments: &BindingArguments,
) -> Vec<u8> {
    let record = BindingRecord {
        source: source.clone(),
        destination: destination.clone(),
        key: key.into(),
        arguments: BindingArguments(widened(&arguments.0)),
    };
    let mut bytes = Vec::new();
    record.put(&mut bytes);
    bytes
}

fn widened(table: &Table) -> Table {
    let mut wide = Table::default();
    for (name, value) in &table.0 {
        wide.0.push((name.clone(), widen(value)));
    }
    wide
}

fn widen(value: &Value) -> Value {
    if let Value::Array(values) = value {
        return Value::Array(values.iter().map(widen).collect());
    }
    if let Value::Table(table) = value {
        return Value::Table(widened(table));
    }
    let integer = value.as_integer().and_then(|integer| i64::try_from(integer).ok());
    integer.map_or_else(|| value.clone(), Value::I64)
}

impl Part<'_> {
    /// Finds out what becomes of each definition.
    pub(crate) fn survey(
        &self,
        mut known: Known,
        effects: &mut Vec<(Section, usize, Effect)>,
        misfits: &mut Vec<Misfit>,
    ) {
        let mut note = |section, index, found: Result<Effect, Refusal>| match found {
            Ok(effect) => effects.push((section, index, effect)),
            Err(refusal) => {
                let problem = Problem::Refused(refusal);
                misfits.push(Misfit { section, index, problem });
            }
        };
        for (index, exchange) in &self.exchanges {
            let found = known.exchange(exchange);
            note(Section::Exchanges, *index, found);
        }
        for (index, queue) in &self.queues {
            let found = known.queue(queue);
            note(Section::Queues, *index, found);
        }
        for (index, binding) in &self.bindings {
            let found = known.binding(binding);
            note(Section::Bindings, *index, found);
        }
    }
}

/// The effect on what is there, by its comparison.
fn effect(compared: &Result<(), Refusal>) -> Effect {
    if compared.is_ok() { Effect::Nothing } else { Effect::Differs }
}

impl Known {
    fn exchange(&mut self, exchange: &ExchangeDefinition) -> Result<Effect, Refusal> {
        let ExchangeDefinition { name, settings, .. } = exchange;
        if let Some(there) = self.exchanges.get(name) {
            return Ok(effect(&topology::compare(name, settings, there)));
        }
        // A topology of its own says what it would say.
        Topology::default().declare_exchange(name, settings)?;
        self.exchanges.insert(name.clone(), settings.clone());
        Ok(Effect::Made)
    }

    fn queue(&mut self, queue: &QueueDefinition) -> Result<Effect, Refusal> {
        let QueueDefinition { name, declaration, .. } = queue;
        if name.is_empty() {
            return Err(Refusal::NotFound(Kind::Queue, name.clone()));
        }
        if let Some(there) = self.queues.get(name) {
            return Ok(effect(&queue::compare(name, declaration, there)));
        }
        queue::check(name, declaration)?;
        self.queues.insert(name.clone(), declaration.clone());
        Ok(Effect::Made)
    }

    fn binding(&mut self, binding: &BindingDefinition) -> Result<Effect, Refusal> {
        let BindingDefinition { source, destination, routing_key, arguments, .. } = binding;
        if source.is_empty() {
            return Err(Refusal::DefaultExchange);
        }
        let found = self.exchanges.get(source);
        let settings = found.ok_or_else(|| Refusal::NotFound(Kind::Exchange, source.clone()))?;
        match destination {
            Destination::Queue(name) if !self.queues.contains_key(name) => {
                return Err(Refusal::NotFound(Kind::Queue, name.clone()));
            }
            Destination::Exchange(name) if !self.exchanges.contains_key(name) => {
                return Err(Refusal::NotFound(Kind::Exchange, name.clone()));
            }
            Destination::Queue(_) | Destination::Exchange(_) => {}
        }
        if settings.exchange_type == ExchangeType::Headers {
            Headers::check(arguments)?;
        }
        let new = self.bindings.insert(identity(source, destination, routing_key, arguments));
        Ok(if new { Effect::Made } else { Effect::Nothing })
    }
}

/// Who imports: nobody's session.
const NOBODY: SessionId = SessionId(u64::MAX);

impl Vhost {
    /// What there is, for a survey.
    pub(crate) fn known(&self) -> Known {
        let queues = self
            .queues
            .values()
            .map(|slot| (slot.name.clone(), (*slot.declaration).clone()))
            .collect();
        Known::of(&self.topology, queues, self.known_bindings())
    }

    fn known_bindings(&self) -> HashSet<Vec<u8>> {
        let mut bindings = HashSet::new();
        for exchange in self.topology.exchanges() {
            for (target, key, arguments) in exchange.bindings.iter() {
                let destination = match target {
                    Target::Queue(id) => self.queue_name(id).cloned().map(Destination::Queue),
                    Target::Exchange(id) => {
                        self.topology.exchange_name(id).cloned().map(Destination::Exchange)
                    }
                };
                if let Some(destination) = destination {
                    bindings.insert(identity(&exchange.name, &destination, key, arguments));
                }
            }
        }
        bindings
    }

    /// Makes what is not there. What a client has made meanwhile stays; what can't be made any more,
    /// because of that, is left out and logged.
    pub(crate) fn import(&mut self, part: &Part<'_>) {
        let there: BTreeSet<Name> =
            self.topology.exchanges().map(|exchange| exchange.name.clone()).collect();
        for (_, exchange) in part.exchanges.iter().filter(|(_, new)| !there.contains(&new.name)) {
            let ExchangeDefinition { name, settings, .. } = exchange;
            let made = self.declare_exchange(NOBODY, name, Declare::Active, settings);
            left_out(made.err());
        }
        for (_, queue) in &part.queues {
            if self.topology.queue(queue.name.as_str()).is_none() {
                self.make_queue(NOBODY, &queue.name, queue.declaration.clone());
            }
        }
        let known = if part.bindings.is_empty() { HashSet::new() } else { self.known_bindings() };
        for (_, binding) in &part.bindings {
            let BindingDefinition { source, destination, routing_key, arguments, .. } = binding;
            if known.contains(&identity(source, destination, routing_key, arguments)) {
                continue;
            }
            let record = BindingRecord {
                source: binding.source.clone(),
                destination: binding.destination.clone(),
                key: binding.routing_key.clone(),
                arguments: binding.arguments.clone(),
            };
            left_out(self.change_binding(NOBODY, 0, BindingChange::Add, record).err());
        }
    }
}

fn left_out(refusal: Option<Refusal>) {
    if let Some(refusal) = refusal {
        tracing::warn!(?refusal, "a definition can't be made any more: somebody was faster");
    }
}
