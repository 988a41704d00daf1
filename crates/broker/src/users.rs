//! Users: who they are, and what is kept of them.

use std::sync::Arc;

use domain::name::Name;

use crate::passwords::PasswordHash;
use crate::tokens::{Limits, Scopes};

/// The user of a first start; from this machine only (RabbitMQ's `loopback_users`).
pub const GUEST: &str = "guest";

/// RabbitMQ's tag of those who may publish in the names of others.
const IMPERSONATOR: &str = "impersonator";

/// Somebody who has logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    name: Name,
    tags: Arc<[Box<str>]>,
    /// Those of the token that was shown, if it was one.
    limits: Option<Arc<Limits>>,
}

impl User {
    pub(crate) fn new(name: Name, account: &Account) -> User {
        User { name, tags: Arc::clone(&account.tags), limits: None }
    }

    /// The same, with a token that is good for less than its user.
    pub(crate) fn limited(self, limits: Arc<Limits>) -> User {
        User { limits: Some(limits), ..self }
    }

    /// Whoever has no tags and is in already.
    pub(crate) fn inside(name: Name, limits: Option<Arc<Limits>>) -> User {
        User { name, tags: Arc::default(), limits }
    }

    pub(crate) fn limits(&self) -> Option<&Arc<Limits>> {
        self.limits.as_ref()
    }

    /// Whether requests of that kind are allowed to whoever came; all are without a token.
    pub fn may(&self, scope: Scopes) -> bool {
        self.limits.as_ref().is_none_or(|limits| limits.scopes.allow(scope))
    }

    /// The tags.
    pub fn tags(&self) -> &[Box<str>] {
        &self.tags
    }

    /// The name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Whether it came with a token.
    pub fn has_token(&self) -> bool {
        self.limits.is_some()
    }

    /// Whether the user has that tag. Tags are about the whole node: a token for one virtual host has
    /// none.
    pub fn has_tag(&self, tag: &str) -> bool {
        let elsewhere = self.limits.as_ref().is_some_and(|limits| limits.vhost.is_some());
        !elsewhere && self.tags.iter().any(|known| **known == *tag)
    }

    /// Whether the user may publish in the names of others.
    pub fn may_impersonate(&self) -> bool {
        self.has_tag(IMPERSONATOR)
    }
}

/// From where a user may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// From this machine only.
    Loopback,
    /// From anywhere.
    Anywhere,
}

/// What is kept of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) tags: Arc<[Box<str>]>,
    pub(crate) password: PasswordHash,
    /// The imported hash that `password` took the place of: importing it again changes nothing.
    pub(crate) replaced: Option<[u8; 32]>,
    pub(crate) reach: Reach,
}

/// Why a login failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginRefusal {
    /// No such user, or another password. Which of the two is nobody's business.
    #[error("unknown user or wrong password")]
    BadCredentials,
    /// The user may come from this machine only.
    #[error("this user may only connect from this machine")]
    LoopbackOnly,
    /// The desk is full.
    #[error("too many logins are waiting to be checked")]
    TooMany,
}
