//! Exporting definitions: what there is, as an import would make it again. Virtual hosts are looked
//! at in slices, between which their owners go on; what comes or goes meanwhile may be in it or not, but
//! no binding is whose ends are not.

use std::collections::HashSet;
use std::sync::Arc;

use domain::name::Name;

use crate::accounts::UserView;
use crate::broker::Broker;
use crate::definitions::{
    BindingDefinition, Definitions, ExchangeDefinition, QueueDefinition, UserDefinition,
};
use crate::hub::Hub;
use crate::looks;
use crate::operation::Destination;
use crate::own_limits::Limited;
use crate::views::{BindingEnd, BindingView};

impl Broker {
    /// Everything there is: of the whole node, or of one virtual host without users and what they
    /// may. Queues that go with a connection are left out.
    pub fn export(&self, vhost: Option<&Name>) -> Definitions {
        let mut definitions = Definitions::default();
        match vhost {
            None => self.export_catalogue(&mut definitions),
            Some(vhost) => {
                let parameters = self.parameters().into_iter();
                definitions.parameters = parameters.filter(|found| found.vhost == *vhost).collect();
                let own = Limited::Vhost(vhost.clone());
                let limits = self.own_limits().into_iter();
                definitions.limits = limits.filter(|limit| limit.of == own).collect();
            }
        }
        for hub in self.hubs() {
            if vhost.is_some_and(|vhost| *vhost != hub.name) {
                continue;
            }
            export_vhost(&hub, &mut definitions);
        }
        definitions
    }

    fn export_catalogue(&self, definitions: &mut Definitions) {
        for vhost in self.vhosts() {
            if vhost.notes != crate::vhost_notes::VhostNotes::default() {
                definitions.vhost_notes.insert(vhost.name.clone(), vhost.notes);
            }
            definitions.vhosts.push(vhost.name);
        }
        definitions.users = self.users().into_iter().map(user).collect();
        definitions.permissions = self.permissions();
        definitions.topic_permissions = self.topic_permissions();
        definitions.parameters = self.parameters();
        definitions.limits = self.own_limits();
    }
}

/// All of it but what every virtual host has, and what goes with a connection; in order of names.
fn export_vhost(hub: &Arc<Hub>, definitions: &mut Definitions) {
    let vhost = &hub.name;
    // Before their ends, so that few are left out.
    let bindings = looks::bindings(hub);
    let exchanges = looks::exchanges(hub);
    let mut queues = looks::queues(hub);
    queues.retain(|queue| !queue.declaration.exclusive);
    let known_queues: HashSet<&Name> = queues.iter().map(|it| &it.name).collect();
    let known_exchanges: HashSet<&Name> = exchanges.iter().map(|it| &it.name).collect();
    let is_whole = |binding: &BindingView| {
        let leads_on = match &binding.destination {
            BindingEnd::Queue(name) => known_queues.contains(name),
            BindingEnd::Exchange(name) => known_exchanges.contains(name),
        };
        leads_on && !binding.source.is_empty() && known_exchanges.contains(&binding.source)
    };
    definitions.bindings.extend(bindings.into_iter().filter(is_whole).map(|binding| {
        BindingDefinition {
            vhost: vhost.clone(),
            source: binding.source,
            destination: match binding.destination {
                BindingEnd::Queue(name) => Destination::Queue(name),
                BindingEnd::Exchange(name) => Destination::Exchange(name),
            },
            routing_key: binding.routing_key,
            arguments: binding.arguments,
        }
    }));
    definitions.queues.extend(queues.iter().map(|queue| QueueDefinition {
        vhost: vhost.clone(),
        name: queue.name.clone(),
        declaration: (*queue.declaration).clone(),
    }));
    let own = exchanges.iter().filter(|it| !it.name.is_empty() && !it.name.is_reserved());
    definitions.exchanges.extend(own.map(|exchange| ExchangeDefinition {
        vhost: vhost.clone(),
        name: exchange.name.clone(),
        settings: exchange.settings.clone(),
    }));
}

fn user(view: UserView) -> UserDefinition {
    UserDefinition { name: view.name, tags: view.tags.to_vec(), password: view.password }
}
