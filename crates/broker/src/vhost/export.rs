//! What is in a virtual host, as definitions.

use std::collections::HashSet;

use domain::binding::Target;
use domain::name::Name;

use super::Vhost;
use crate::definitions::{BindingDefinition, ExchangeDefinition, QueueDefinition};
use crate::operation::Destination;

/// The definitions of one virtual host, each section in order of names.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) exchanges: Vec<ExchangeDefinition>,
    pub(crate) queues: Vec<QueueDefinition>,
    pub(crate) bindings: Vec<BindingDefinition>,
}

impl Vhost {
    /// All of it but what every virtual host has, and what goes with a connection.
    pub(crate) fn contents(&self, vhost: &Name) -> Contents {
        let mut contents = Contents::default();
        let lasting = self.queues.iter().filter(|(_, slot)| !slot.declaration.exclusive);
        let kept: HashSet<_> = lasting.clone().map(|(id, _)| *id).collect();
        contents.queues.extend(lasting.map(|(_, slot)| QueueDefinition {
            vhost: vhost.clone(),
            name: slot.name.clone(),
            declaration: (*slot.declaration).clone(),
        }));
        for exchange in self.topology.exchanges() {
            let name = &exchange.name;
            if !name.is_empty() && !name.is_reserved() {
                let (vhost, name) = (vhost.clone(), name.clone());
                let settings = exchange.settings.clone();
                contents.exchanges.push(ExchangeDefinition { vhost, name, settings });
            }
            for (target, key, arguments) in exchange.bindings.iter() {
                let destination = match target {
                    Target::Queue(id) if !kept.contains(&id) => None,
                    Target::Queue(id) => self.queue_name(id).cloned().map(Destination::Queue),
                    Target::Exchange(id) => {
                        self.topology.exchange_name(id).cloned().map(Destination::Exchange)
                    }
                };
                contents.bindings.extend(destination.map(|destination| BindingDefinition {
                    vhost: vhost.clone(),
                    source: name.clone(),
                    destination,
                    routing_key: key.into(),
                    arguments: arguments.clone(),
                }));
            }
        }
        contents.queues.sort_by(|one, other| one.name.cmp(&other.name));
        contents.exchanges.sort_by(|one, other| one.name.cmp(&other.name));
        let order = |it: &BindingDefinition| {
            let (kind, name) = match &it.destination {
                Destination::Queue(name) => (0, name.clone()),
                Destination::Exchange(name) => (1, name.clone()),
            };
            (it.source.clone(), kind, name, it.routing_key.clone())
        };
        contents.bindings.sort_by_cached_key(order);
        contents
    }
}
