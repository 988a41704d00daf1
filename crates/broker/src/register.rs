//! The catalogue's content and the changes it can take.

use std::collections::{BTreeMap, BTreeSet};

use domain::name::Name;

use crate::permissions::{Permission, TopicPermission};
use crate::users::Account;

/// What a policy or parameter belongs to: its component (`policy` is one), its virtual host (empty:
/// the whole node), its name.
pub(crate) type ParameterKey = (Name, Name, Name);

/// Everything in the catalogue, in order, so that it is written alike every time.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Register {
    pub(crate) vhosts: BTreeSet<Name>,
    pub(crate) users: BTreeMap<Name, Account>,
    /// By user, then by virtual host.
    pub(crate) permissions: BTreeMap<Name, BTreeMap<Name, Permission>>,
    /// By user and virtual host, then by exchange.
    pub(crate) topics: BTreeMap<(Name, Name), BTreeMap<Name, TopicPermission>>,
    /// JSON, as it came.
    pub(crate) parameters: BTreeMap<ParameterKey, Box<str>>,
}

/// One change: something is there from now on, in place of what had its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Vhost(Name),
    User(Name, Account),
    Permission { user: Name, vhost: Name, permission: Permission },
    TopicPermission { user: Name, vhost: Name, exchange: Name, permission: TopicPermission },
    Parameter(ParameterKey, Box<str>),
}

impl Register {
    pub(crate) fn apply(&mut self, change: Change) {
        match change {
            Change::Vhost(name) => {
                self.vhosts.insert(name);
            }
            Change::User(name, account) => {
                self.users.insert(name, account);
            }
            Change::Permission { user, vhost, permission } => {
                self.permissions.entry(user).or_default().insert(vhost, permission);
            }
            Change::TopicPermission { user, vhost, exchange, permission } => {
                self.topics.entry((user, vhost)).or_default().insert(exchange, permission);
            }
            Change::Parameter(key, value) => {
                self.parameters.insert(key, value);
            }
        }
    }

    /// The changes that make this state from nothing.
    pub(crate) fn restated(&self) -> impl Iterator<Item = Change> {
        let vhosts = self.vhosts.iter().cloned().map(Change::Vhost);
        let users =
            self.users.iter().map(|(name, account)| Change::User(name.clone(), account.clone()));
        let permissions = self.permissions.iter().flat_map(|(user, vhosts)| {
            vhosts.iter().map(|(vhost, permission)| Change::Permission {
                user: user.clone(),
                vhost: vhost.clone(),
                permission: permission.clone(),
            })
        });
        let topics = self.topics.iter().flat_map(|((user, vhost), exchanges)| {
            exchanges.iter().map(|(exchange, permission)| Change::TopicPermission {
                user: user.clone(),
                vhost: vhost.clone(),
                exchange: exchange.clone(),
                permission: permission.clone(),
            })
        });
        let parameters = self
            .parameters
            .iter()
            .map(|(key, value)| Change::Parameter(key.clone(), value.clone()));
        vhosts.chain(users).chain(permissions).chain(topics).chain(parameters)
    }

    pub(crate) fn permission(&self, user: &Name, vhost: &str) -> Option<&Permission> {
        self.permissions.get(user)?.get(vhost)
    }

    pub(crate) fn topic_permissions(
        &self,
        user: &Name,
        vhost: &str,
    ) -> impl Iterator<Item = (&Name, &TopicPermission)> {
        let found = Name::new(vhost).ok().and_then(|vhost| self.topics.get(&(user.clone(), vhost)));
        found.into_iter().flatten()
    }
}
