//! Definitions: what shall be there, as an operator writes it down or another broker exports it.

use std::collections::BTreeMap;
use std::fmt;

use domain::binding::BindingArguments;
use domain::exchange::ExchangeSettings;
use domain::name::Name;
use domain::queue::QueueDeclaration;
use domain::refusal::Refusal;

use crate::operation::Destination;
use crate::own_limits::{Limited, OwnLimit};
use crate::passwords::PasswordHash;
use crate::permissions::{NoPattern, Permission, TopicPermission};
use crate::vhost_notes::VhostNotes;

/// A whole file of them.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the fields are the sections of RabbitMQ's format")]
pub struct Definitions {
    pub vhosts: Vec<Name>,
    /// What is noted of some of them.
    pub vhost_notes: BTreeMap<Name, VhostNotes>,
    pub users: Vec<UserDefinition>,
    pub permissions: Vec<PermissionDefinition>,
    pub topic_permissions: Vec<TopicPermissionDefinition>,
    pub parameters: Vec<ParameterDefinition>,
    /// Of single virtual hosts and users; they stand with these in the file.
    pub limits: Vec<OwnLimit>,
    pub exchanges: Vec<ExchangeDefinition>,
    pub queues: Vec<QueueDefinition>,
    pub bindings: Vec<BindingDefinition>,
}

/// A user.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields say it")]
pub struct UserDefinition {
    pub name: Name,
    pub tags: Vec<Box<str>>,
    pub password: PasswordHash,
}

/// What a user may do in a virtual host.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields say it")]
pub struct PermissionDefinition {
    pub user: Name,
    pub vhost: Name,
    pub permission: Permission,
}

/// Which routing keys a user may use at a topic exchange.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields say it")]
pub struct TopicPermissionDefinition {
    pub user: Name,
    pub vhost: Name,
    pub exchange: Name,
    pub permission: TopicPermission,
}

/// A policy or a parameter: kept, and without effect so far.
#[derive(Clone, Debug)]
pub struct ParameterDefinition {
    /// `policy` is one.
    pub component: Name,
    /// Empty: the whole node.
    pub vhost: Name,
    /// Its name.
    pub name: Name,
    /// JSON.
    pub value: Box<str>,
}

/// An exchange.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields say it")]
pub struct ExchangeDefinition {
    pub vhost: Name,
    pub name: Name,
    pub settings: ExchangeSettings,
}

/// A queue.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields say it")]
pub struct QueueDefinition {
    pub vhost: Name,
    pub name: Name,
    pub declaration: QueueDeclaration,
}

/// A binding.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields say it")]
pub struct BindingDefinition {
    pub vhost: Name,
    pub source: Name,
    pub destination: Destination,
    pub routing_key: Box<[u8]>,
    pub arguments: BindingArguments,
}

/// A section of the definitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the variants are the sections")]
pub enum Section {
    Vhosts,
    Users,
    Permissions,
    TopicPermissions,
    Parameters,
    Limits,
    Exchanges,
    Queues,
    Bindings,
}

/// What becomes of one definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It is made.
    Made,
    /// It is there and gets another value.
    Changed,
    /// It is there with other settings, and stays as it is.
    Differs,
    /// It is there.
    Nothing,
}

/// Why a definition can't be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Problem {
    /// A virtual host needs a name.
    #[error("a vhost needs a name")]
    NoName,
    /// Neither the file nor the broker has the virtual host.
    #[error("there is no vhost '{0}': add it to \"vhosts\"")]
    NoVhost(Name),
    /// Neither the file nor the broker has the user.
    #[error("there is no user '{0}': add it to \"users\"")]
    NoUser(Name),
    /// A pattern can't be compiled.
    #[error(transparent)]
    Pattern(#[from] NoPattern),
    /// A declaration that a client would not get either.
    #[error("it can't be declared")]
    Refused(Refusal),
}

/// A definition and what is wrong with it.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the fields say it")]
pub struct Misfit {
    pub section: Section,
    /// Its place in the section.
    pub index: usize,
    pub problem: Problem,
}

/// What an import does, or would do: for each definition its section, its place there and the effect.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// In the order of the sections.
    pub effects: Vec<(Section, usize, Effect)>,
}

impl Plan {
    /// How many definitions have that effect.
    pub fn count(&self, effect: Effect) -> usize {
        self.effects.iter().filter(|(.., found)| *found == effect).count()
    }
}

impl Definitions {
    /// A definition in words.
    pub fn describe(&self, section: Section, index: usize) -> impl fmt::Display {
        self.words(section, index).unwrap_or_default()
    }

    fn words(&self, section: Section, index: usize) -> Option<String> {
        Some(match section {
            Section::Vhosts => format!("vhost '{}'", self.vhosts.get(index)?),
            Section::Users => format!("user '{}'", self.users.get(index)?.name),
            Section::Permissions => {
                let PermissionDefinition { user, vhost, .. } = self.permissions.get(index)?;
                format!("permissions of user '{user}' in vhost '{vhost}'")
            }
            Section::TopicPermissions => {
                let found = self.topic_permissions.get(index)?;
                let TopicPermissionDefinition { user, vhost, exchange, .. } = found;
                format!(
                    "topic permissions of user '{user}' on exchange '{exchange}' in vhost \
                     '{vhost}'"
                )
            }
            Section::Parameters => {
                let ParameterDefinition { component, vhost, name, .. } =
                    self.parameters.get(index)?;
                let place =
                    if vhost.is_empty() { String::new() } else { format!(" in vhost '{vhost}'") };
                format!("{component} '{name}'{place}")
            }
            Section::Limits => {
                let OwnLimit { of, kind, .. } = self.limits.get(index)?;
                match of {
                    Limited::Vhost(name) => format!("{} of vhost '{name}'", kind.as_str()),
                    Limited::User(name) => format!("{} of user '{name}'", kind.as_str()),
                }
            }
            Section::Exchanges => {
                let ExchangeDefinition { vhost, name, .. } = self.exchanges.get(index)?;
                format!("exchange '{name}' in vhost '{vhost}'")
            }
            Section::Queues => {
                let QueueDefinition { vhost, name, .. } = self.queues.get(index)?;
                format!("queue '{name}' in vhost '{vhost}'")
            }
            Section::Bindings => {
                let found = self.bindings.get(index)?;
                let BindingDefinition { vhost, source, destination, routing_key, .. } = found;
                let (kind, destination) = match destination {
                    Destination::Queue(name) => ("queue", name),
                    Destination::Exchange(name) => ("exchange", name),
                };
                let key = String::from_utf8_lossy(routing_key);
                format!(
                    "binding '{key}' from exchange '{source}' to {kind} '{destination}' in vhost \
                     '{vhost}'"
                )
            }
        })
    }
}
