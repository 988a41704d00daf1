//! The catalogue's content and the changes it can take.

use std::collections::{BTreeMap, BTreeSet};

use domain::name::Name;

use crate::own_limits::{ConnectionsMax, LimitKind, Limited, Max};
use crate::permissions::{Permission, TopicPermission};
use crate::tokens::{Token, TokenKey};
use crate::users::Account;
use crate::vhost_notes::VhostNotes;

/// What a policy or parameter belongs to: its component (`policy` is one), its virtual host (empty:
/// the whole node), its name.
pub(crate) type ParameterKey = (Name, Name, Name);

/// Everything in the catalogue, in order, so that it is written alike every time.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Register {
    pub(crate) vhosts: BTreeSet<Name>,
    /// What is noted of them.
    pub(crate) notes: BTreeMap<Name, VhostNotes>,
    /// Virtual hosts that were deleted and whose files may still be there.
    pub(crate) doomed: BTreeSet<Name>,
    pub(crate) users: BTreeMap<Name, Account>,
    /// By user, then by virtual host.
    pub(crate) permissions: BTreeMap<Name, BTreeMap<Name, Permission>>,
    /// By user and virtual host, then by exchange.
    pub(crate) topics: BTreeMap<(Name, Name), BTreeMap<Name, TopicPermission>>,
    /// JSON, as it came.
    pub(crate) parameters: BTreeMap<ParameterKey, Box<str>>,
    pub(crate) tokens: BTreeMap<TokenKey, Token>,
    /// Of single virtual hosts and users.
    pub(crate) limits: BTreeMap<(Limited, LimitKind), Max>,
}

/// One change: something is there from now on, in place of what had its name, or it is no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Vhost(Name),
    User(Name, Account),
    Permission {
        user: Name,
        vhost: Name,
        permission: Permission,
    },
    TopicPermission {
        user: Name,
        vhost: Name,
        exchange: Name,
        permission: TopicPermission,
    },
    Parameter(ParameterKey, Box<str>),
    VhostNotes(Name, VhostNotes),
    Token(TokenKey, Token),
    Limit(Limited, LimitKind, Max),
    /// It is gone, with everything that was granted there; its files may not be.
    VhostDeleted(Name),
    /// Nothing is left of its files.
    VhostErased(Name),
    /// It is gone, with everything that was granted to it.
    UserDeleted(Name),
    PermissionCleared {
        user: Name,
        vhost: Name,
    },
    TopicPermissionCleared {
        user: Name,
        vhost: Name,
        exchange: Name,
    },
    ParameterCleared(ParameterKey),
    TokenRevoked(TokenKey),
    LimitCleared(Limited, LimitKind),
}

impl Register {
    pub(crate) fn apply(&mut self, change: Change) {
        match change {
            Change::Vhost(name) => {
                self.doomed.remove(&name);
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
            Change::VhostNotes(name, notes) => {
                self.notes.insert(name, notes);
            }
            Change::Token(key, token) => {
                self.tokens.insert(key, token);
            }
            Change::Limit(of, kind, max) => {
                self.limits.insert((of, kind), max);
            }
            Change::VhostDeleted(name) => self.delete_vhost(name),
            Change::VhostErased(name) => {
                self.doomed.remove(&name);
            }
            Change::UserDeleted(name) => self.delete_user(&name),
            Change::PermissionCleared { user, vhost } => {
                if let Some(vhosts) = self.permissions.get_mut(&user) {
                    vhosts.remove(&vhost);
                }
                self.permissions.retain(|_, vhosts| !vhosts.is_empty());
            }
            Change::TopicPermissionCleared { user, vhost, exchange } => {
                if let Some(exchanges) = self.topics.get_mut(&(user, vhost)) {
                    exchanges.remove(&exchange);
                }
                self.topics.retain(|_, exchanges| !exchanges.is_empty());
            }
            Change::ParameterCleared(key) => {
                self.parameters.remove(&key);
            }
            Change::TokenRevoked(key) => {
                self.tokens.remove(&key);
            }
            Change::LimitCleared(of, kind) => {
                self.limits.remove(&(of, kind));
            }
        }
    }

    fn delete_vhost(&mut self, name: Name) {
        self.vhosts.remove(&name);
        self.notes.remove(&name);
        for vhosts in self.permissions.values_mut() {
            vhosts.remove(&name);
        }
        self.permissions.retain(|_, vhosts| !vhosts.is_empty());
        self.topics.retain(|(_, vhost), _| *vhost != name);
        self.parameters.retain(|(_, vhost, _), _| *vhost != name);
        self.tokens.retain(|_, token| token.vhost.as_ref() != Some(&name));
        self.limits.retain(|(of, _), _| !matches!(of, Limited::Vhost(vhost) if *vhost == name));
        self.doomed.insert(name);
    }

    fn delete_user(&mut self, name: &Name) {
        self.users.remove(name);
        self.permissions.remove(name);
        self.topics.retain(|(user, _), _| user != name);
        self.tokens.retain(|(user, _), _| user != name);
        self.limits.retain(|(of, _), _| !matches!(of, Limited::User(user) if user == name));
    }

    /// The changes that make this state from nothing.
    pub(crate) fn restated(&self) -> impl Iterator<Item = Change> {
        let doomed = self.doomed.iter().cloned().map(Change::VhostDeleted);
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
        let notes =
            self.notes.iter().map(|(name, notes)| Change::VhostNotes(name.clone(), notes.clone()));
        let tokens =
            self.tokens.iter().map(|(key, token)| Change::Token(key.clone(), token.clone()));
        let limits =
            self.limits.iter().map(|((of, kind), max)| Change::Limit(of.clone(), *kind, *max));
        let granted = permissions.chain(topics).chain(parameters).chain(notes).chain(tokens);
        let granted = granted.chain(limits);
        doomed.chain(vhosts).chain(users).chain(granted)
    }

    /// How many connections one virtual host and one user may have, and channels, where that is set.
    pub(crate) fn connections_max(&self, vhost: &Name, user: &Name) -> ConnectionsMax {
        let of = |of| self.limits.get(&(of, LimitKind::Connections)).copied();
        let vhost = of(Limited::Vhost(vhost.clone()));
        let user_channels = self.channels_max(user);
        ConnectionsMax { vhost, user: of(Limited::User(user.clone())), user_channels }
    }

    /// How many channels one user may have, over all its connections.
    pub(crate) fn channels_max(&self, user: &Name) -> Max {
        let key = (Limited::User(user.clone()), LimitKind::Channels);
        self.limits.get(&key).copied().flatten()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::passwords::PasswordHash;
    use crate::tokens::Scopes;
    use crate::users::Reach;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn made() -> Vec<Change> {
        let password = PasswordHash::nothing();
        let account = Account { tags: [].into(), password, replaced: None, reach: Reach::Anywhere };
        let mut changes = Vec::new();
        for vhost in ["a", "b"] {
            changes.push(Change::Vhost(name(vhost)));
            changes.push(Change::VhostNotes(name(vhost), VhostNotes::default()));
            let key = (name("policy"), name(vhost), name("p"));
            changes.push(Change::Parameter(key, "{}".into()));
        }
        for user in ["u", "v"] {
            changes.push(Change::User(name(user), account.clone()));
            for vhost in ["a", "b"] {
                let (user, vhost) = (name(user), name(vhost));
                let permission = Permission::default();
                let change =
                    Change::Permission { user: user.clone(), vhost: vhost.clone(), permission };
                changes.push(change);
                let (exchange, permission) = (name("x"), TopicPermission::default());
                let key = (user.clone(), vhost.clone());
                let vhost_only = Some(vhost.clone());
                changes.push(Change::TopicPermission { user, vhost, exchange, permission });
                let token = Token::of("secret", Scopes::default(), vhost_only, 1, None);
                changes.push(Change::Token(key, token));
            }
        }
        changes
    }

    fn after(changes: &[Change]) -> Register {
        let mut register = Register::default();
        changes.iter().cloned().for_each(|change| register.apply(change));
        register
    }

    /// What is left of a name that is deleted would be somebody else's when the name is given again.
    #[test]
    fn what_is_deleted_leaves_nothing_behind() {
        let mut changes = made();
        changes.extend([Change::UserDeleted(name("u")), Change::VhostDeleted(name("a"))]);
        let register = after(&changes);
        let text = format!("{:?}", register.restated().skip(1).collect::<Vec<_>>());
        assert!(!text.contains("\"u\"") && !text.contains("\"a\""), "{text}");
        assert_eq!(register.doomed, BTreeSet::from([name("a")]));
        assert_eq!(register.restated().count(), 8, "{text}");
        assert_eq!(after(&register.restated().collect::<Vec<_>>()), register);

        changes.push(Change::VhostErased(name("a")));
        assert!(after(&changes).doomed.is_empty());
        changes.pop();
        changes.push(Change::Vhost(name("a")));
        let again = after(&changes);
        assert!(again.doomed.is_empty() && again.vhosts.contains("a"));
    }

    #[test]
    fn what_is_cleared_is_gone_and_the_rest_stays() {
        let (user, vhost) = (name("u"), name("a"));
        let key = (name("policy"), vhost.clone(), name("p"));
        for (change, left) in [
            (Change::PermissionCleared { user: user.clone(), vhost: vhost.clone() }, 19),
            (
                Change::TopicPermissionCleared {
                    user: user.clone(),
                    vhost: vhost.clone(),
                    exchange: name("x"),
                },
                19,
            ),
            (Change::ParameterCleared(key), 19),
            (Change::TokenRevoked((user.clone(), vhost.clone())), 19),
            (Change::TokenRevoked((user, name("nothing"))), 20),
        ] {
            let mut changes = made();
            assert_eq!(after(&changes).restated().count(), 20);
            changes.push(change.clone());
            assert_eq!(after(&changes).restated().count(), left, "{change:?}");
        }
    }
}
