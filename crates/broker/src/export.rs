//! Exporting definitions: what there is, as an import would make it again.

use domain::name::Name;

use crate::accounts::UserView;
use crate::broker::Broker;
use crate::definitions::{Definitions, UserDefinition};
use crate::own_limits::Limited;
use crate::vhost::export::Contents;

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
            let Contents { exchanges, queues, bindings } = hub.contents();
            definitions.exchanges.extend(exchanges);
            definitions.queues.extend(queues);
            definitions.bindings.extend(bindings);
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

fn user(view: UserView) -> UserDefinition {
    UserDefinition { name: view.name, tags: view.tags.to_vec(), password: view.password }
}
